"""Sums of products in Einstein's notation, pair by pair, each pair as a matrix product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from . import creation, elementwise, linalg, logic, manipulation, reduction
from ._apply import as_tensors

__all__ = ["einsum"]

BATCH_AXES = 6  # that can stay apart: a tensor has 8 at most, and two are the matrix's
Label = str | int  # a letter, or the place of an axis under an ellipsis, counted from the last


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sums of products over the axes that ``subscripts`` names, as NumPy's and PyTorch's.

    "ij,jk->ik" is a matrix product: one letter for each axis of each operand, and those of the result. Letters that the
    result lacks are summed over; one that is repeated within an operand is its diagonal; "..." stands for axes that are
    broadcast. Without "->" the result has the letters that occur once, in the order of the alphabet. Operands are taken
    from left to right. Raises ValueError for subscripts that don't fit.

    >>> import steep as st
    >>> st.einsum("ij,j->i", st.tensor([[1.0, 2.0], [3.0, 4.0]]), st.tensor([1.0, 10.0]))
    tensor([21., 43.])
    """
    tensors = list(as_tensors(*operands))
    labels, result = _parsed(subscripts, tensors)
    sizes: dict[Label, int] = {}
    for x, names in zip(tensors, labels, strict=True):
        for name, extent in zip(names, x.shape, strict=True):
            known = sizes.setdefault(name, extent)
            if known != extent and (isinstance(name, str) or 1 not in (known, extent)):
                raise ValueError(f"einsum: {name!r} in {subscripts!r} is {known} in one place and {extent} in another")
            sizes[name] = extent if known == 1 else known
    left, names = _prepared(tensors[0], labels[0], sizes)
    for i in range(1, len(tensors)):
        right, others = _prepared(tensors[i], labels[i], sizes)
        needed = {*result, *(name for later in labels[i + 1 :] for name in later)}
        left, names = _contracted(left, names, right, others, needed)
    left, names = _summed(left, names, set(result))
    return manipulation.permute_dims(left, [names.index(name) for name in result])


def _parsed(subscripts: str, tensors: Sequence[Tensor]) -> tuple[list[list[Label]], list[Label]]:
    """The labels of the axes of each operand and of the result."""
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, not {type(subscripts).__name__}")
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(tensors):
        raise ValueError(f"einsum: {subscripts!r} is for {len(terms)} operands, not {len(tensors)}")
    labels, hidden = [], 0
    for term, x in zip(terms, tensors, strict=True):
        letters = term.replace("...", "", 1)
        rest = x.ndim - len(letters)
        if not (letters == "" or (letters.isascii() and letters.isalpha())) or ("..." not in term and rest) or rest < 0:
            raise ValueError(f"einsum: {term!r} in {subscripts!r} does not fit an operand of shape {x.shape}")
        labels.append(_spelled(term, rest))
        hidden = max(hidden, rest)
    if not arrow:
        once = sorted(c for c in set(inputs) if c.isalpha() and inputs.count(c) == 1)
        output = ("..." if hidden else "") + "".join(once)
    result = _spelled(output, hidden)
    known = {name for names in labels for name in names}
    if len(set(result)) != len(result) or not set(result) <= known:
        raise ValueError(
            f"einsum: the result {output!r} of {subscripts!r} must have letters of the operands, each once"
        )
    return labels, result


def _spelled(term: str, hidden: int) -> list[Label]:
    before, dots, after = term.partition("...")
    return [*before, *(range(hidden - 1, -1, -1) if dots else ()), *after]


def _prepared(x: Tensor, names: Sequence[Label], sizes: dict[Label, int]) -> tuple[Tensor, list[Label]]:
    """The operand with broadcast axes at their size, and repeated letters as diagonals."""
    x = manipulation.broadcast_to(x, [sizes[name] for name in names])
    left: list[Label] = []
    for name in names:
        if name not in left:
            left.append(name)
            continue
        n, first, again = sizes[name], left.index(name), len(left)  # of the axes so far, and the one that repeats
        shape = [n if i in (first, again) else 1 for i in range(x.ndim)]
        rows, columns = (
            manipulation.reshape(creation.arange(n, device=x.device), [n if i == axis else 1 for i in range(x.ndim)])
            for axis in (first, again)
        )
        on_diagonal = manipulation.broadcast_to(logic.equal(rows, columns), shape)
        zero = creation.full((), 0, dtype=x.dtype, device=x.device)
        x = reduction.sum(elementwise.where(on_diagonal, x, zero), again).astype(x.dtype)
    return x, left


def _summed(x: Tensor, names: Sequence[Label], needed: set[Label]) -> tuple[Tensor, list[Label]]:
    """Sums over the axes that nobody else needs."""
    gone = tuple(i for i, name in enumerate(names) if name not in needed)
    return (reduction.sum(x, gone) if gone else x), [name for name in names if name in needed]


def _contracted(
    x: Tensor, of_x: list[Label], y: Tensor, of_y: list[Label], needed: set[Label]
) -> tuple[Tensor, list[Label]]:
    """The product of two operands, summed over the labels that only they have."""
    x, of_x = _summed(x, of_x, needed | set(of_y))
    y, of_y = _summed(y, of_y, needed | set(of_x))
    batch = [name for name in of_x if name in of_y and name in needed]
    inner = [name for name in of_x if name in of_y and name not in needed]
    rows, columns = ([name for name in names if name not in (*batch, *inner)] for names in (of_x, of_y))

    def matrices(z: Tensor, names: list[Label], order: list[list[Label]]) -> Tensor:
        z = manipulation.permute_dims(z, [names.index(name) for part in order for name in part])
        at = len(order[0])
        shape = list(z.shape[:at])
        if at > BATCH_AXES:
            shape = [math.prod(shape)]
        for part in order[1:]:
            shape.append(math.prod(z.shape[at : at + len(part)]))
            at += len(part)
        return manipulation.reshape(z, shape)

    product = linalg.matmul(matrices(x, of_x, [batch, rows, inner]), matrices(y, of_y, [batch, inner, columns]))
    extents = {**dict(zip(of_x, x.shape, strict=True)), **dict(zip(of_y, y.shape, strict=True))}
    names = [*batch, *rows, *columns]
    return manipulation.reshape(product, [extents[name] for name in names]), names
