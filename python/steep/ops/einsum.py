"""Sums of products in Einstein's notation, pair by pair, each pair as a matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .. import dtypes
from ..tensor import Tensor
from . import diagonals, elementwise, linalg, logic, manipulation, reduction
from ._apply import as_tensors
from .dtype_functions import result_type

__all__ = ["einsum"]

BATCH_AXES = 6  # that can stay apart: a tensor has 8 at most, and two are the matrix's
Label = str | int  # a letter, or the place of an axis under an ellipsis, counted from the last
Shape = tuple[int, ...]
Change = tuple[Callable[[Tensor, Any], Tensor], Any]  # what is done to a tensor, and how
Product = Callable[[Tensor, Tensor], Tensor]


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Sums of products over the axes that ``subscripts`` names, as NumPy's and PyTorch's.

    "ij,jk->ik" is a matrix product: one letter for each axis of each operand, and those of the result. Letters that the
    result lacks are summed over; one that is repeated within an operand is its diagonal; "..." stands for axes that are
    broadcast, and so is an axis of extent 1 against others of its letter. Without "->" the result has the letters that
    occur once, in the order of the alphabet. Operands are taken from left to right. Integers stay in their common
    dtype, and wrap; booleans are combined by "and" and "or". Raises ValueError for subscripts that don't fit.

    >>> import steep as st
    >>> st.einsum("ij,j->i", st.tensor([[1.0, 2.0], [3.0, 4.0]]), st.tensor([1.0, 10.0]))
    tensor([21., 43.])
    """
    tensors = list(as_tensors(*operands))
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, not {type(subscripts).__name__}")
    if not all(x.dtype.is_floating_point for x in tensors):
        common = result_type(*tensors)
        if common is dtypes.bool:
            return logic.not_equal(einsum(subscripts, *(x.astype(dtypes.int64) for x in tensors)), 0)
        tensors = [x if x.dtype.is_floating_point else x.astype(common) for x in tensors]
    changes, products = _plan(subscripts, tuple(x.shape for x in tensors))
    factors = [_changed(x, of_x) for x, of_x in zip(tensors, changes, strict=True)]
    y = factors[0]
    for factor, (multiply, of_product) in zip(factors[1:], products, strict=True):
        y = _changed(multiply(y, factor), of_product)
    return y


def _changed(x: Tensor, changes: Sequence[Change]) -> Tensor:
    for change, how in changes:
        x = change(x, how)
    return x


@lru_cache(maxsize=512)
def _plan(subscripts: str, shapes: tuple[Shape, ...]) -> tuple[list[list[Change]], list[tuple[Product, list[Change]]]]:
    """What is done to each operand; how the result so far and the next one are multiplied, and what is done to that."""
    labels, result = _parsed(subscripts, shapes)
    sizes = _sizes(subscripts, labels, shapes)
    operands = [_Planned(names, shape) for names, shape in zip(labels, shapes, strict=True)]
    for x in operands:
        x.take_diagonals()
        x.take_away([i for i, name in enumerate(x.names) if x.shape[i] != sizes[name]], manipulation.squeeze)  # of 1
    left, products = operands[0], []
    for i, right in enumerate(operands[1:], 1):
        needed = {*result, *(name for later in operands[i + 1 :] for name in later.names)}
        multiply, left = _product(left, right, needed)
        products.append((multiply, left.changes))
    left.sum_all_but(set(result))
    left.arrange(result)
    if len(operands) == 1 and not left.changes:  # a view, rather than the operand itself
        left.changes.append((manipulation.permute_dims, tuple(range(len(result)))))
    return [x.changes for x in operands], products


class _Planned:
    """A tensor to come: its axes, and what is done until it has them."""

    def __init__(self, names: Sequence[Label], shape: Sequence[int]) -> None:
        self.names, self.shape = list(names), tuple(shape)
        self.changes: list[Change] = []

    def take_away(self, axes: Sequence[int], change: Callable[[Tensor, Any], Tensor]) -> None:
        if axes:
            self.changes.append((change, tuple(axes)))
            self.shape = tuple(n for i, n in enumerate(self.shape) if i not in axes)
            self.names = [name for i, name in enumerate(self.names) if i not in axes]

    def take_diagonals(self) -> None:
        """Makes one axis, the last, of those with one name."""
        for name in list(self.names):
            while self.names.count(name) > 1:
                first = self.names.index(name)
                n = self.shape[first]
                self.take_away((first, self.names.index(name, first + 1)), _diagonal)
                self.names, self.shape = [*self.names, name], (*self.shape, n)

    def sum_all_but(self, needed: set[Label]) -> None:
        self.take_away([i for i, name in enumerate(self.names) if name not in needed], _sum)

    def arrange(self, names: Sequence[Label], merged: Sequence[int] | None = None) -> None:
        """Brings the axes into an order, and then to the extents ``merged``."""
        order = [self.names.index(name) for name in names]
        if order != sorted(order):
            self.changes.append((manipulation.permute_dims, order))
        self.names, self.shape = list(names), tuple(self.shape[i] for i in order)
        if merged is not None and self.shape != tuple(merged):
            self.changes.append((manipulation.reshape, tuple(merged)))


def _diagonal(x: Tensor, axes: tuple[int, int]) -> Tensor:
    return diagonals.diagonal(x, 0, *axes)


def _sum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return reduction.sum(x, axes).astype(x.dtype)


def _transposed(x: Tensor, _: None) -> Tensor:
    return x.mT


def _product(x: _Planned, y: _Planned, needed: set[Label]) -> tuple[Product, _Planned]:
    """How two factors are multiplied, and the product, summed over the labels that only they have."""
    x.sum_all_but({*needed, *y.names})
    y.sum_all_but({*needed, *x.names})
    batch = [name for name in x.names if name in y.names and name in needed]
    inner = [name for name in x.names if name in y.names and name not in needed]
    rows, columns = ([name for name in z.names if name not in (*batch, *inner)] for z in (x, y))
    sizes = dict(zip((*x.names, *y.names), (*x.shape, *y.shape), strict=True))
    product = _Planned([*batch, *rows, *columns], [sizes[name] for name in (*batch, *rows, *columns)])

    def size(names: list[Label]) -> int:
        return math.prod(sizes[name] for name in names)

    apart = [sizes[name] for name in batch] if len(batch) <= BATCH_AXES else [size(batch)]

    def arrange_matrices(z: _Planned, rows: list[Label], columns: list[Label]) -> None:
        flips = z.names[-1] in rows  # a copy, if there must be one, goes along the last axis
        if flips:
            rows, columns = columns, rows
        z.arrange([*batch, *rows, *columns], [*apart, size(rows), size(columns)])
        if flips:
            z.changes.append((_transposed, None))

    if inner:
        arrange_matrices(x, rows, inner)
        arrange_matrices(y, inner, columns)
    else:
        x.arrange([*batch, *rows], [*apart, size(rows), 1])
        y.arrange([*batch, *columns], [*apart, 1, size(columns)])
    if (*apart, size(rows), size(columns)) != product.shape:
        product.changes.append((manipulation.reshape, product.shape))
    return linalg.matmul if inner else elementwise.multiply, product


def _sizes(subscripts: str, labels: Sequence[Sequence[Label]], shapes: Sequence[Shape]) -> dict[Label, int]:
    """The extent of each label, to which axes of extent 1 are broadcast."""
    sizes: dict[Label, int] = {}
    for names, shape in zip(labels, shapes, strict=True):
        own: dict[Label, int] = {}  # within an operand nothing is broadcast
        for name, extent in zip(names, shape, strict=True):
            first = own.setdefault(name, extent)
            known = sizes.setdefault(name, extent) if first == extent else first
            if known != extent and (first != extent or 1 not in (known, extent)):
                raise ValueError(f"einsum: {name!r} in {subscripts!r} is {known} in one place and {extent} in another")
            sizes[name] = extent if known == 1 else known
    return sizes


def _parsed(subscripts: str, shapes: Sequence[Shape]) -> tuple[list[list[Label]], list[Label]]:
    """The labels of the axes of each operand and of the result."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {subscripts!r} is for {len(terms)} operands, not {len(shapes)}")
    labels, hidden = [], 0
    for term, shape in zip(terms, shapes, strict=True):
        letters = term.replace("...", "", 1)
        rest = len(shape) - len(letters)
        if not (letters == "" or (letters.isascii() and letters.isalpha())) or ("..." not in term and rest) or rest < 0:
            raise ValueError(f"einsum: {term!r} in {subscripts!r} does not fit an operand of shape {shape}")
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
