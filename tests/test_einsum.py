"""einsum against NumPy's, exactly on small integers, with its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same

SIZES = {"a": 2, "b": 3, "i": 4, "j": 5, "k": 2, "l": 1, "n": 0, "A": 2, "Z": 3}
CASES = [
    *("i->i", "i->", "ij->ji", "ij->j", "ij", "ji", "ii->i", "ii", "iij->ij", "iii->i", "ijij->ji", "iji->j"),
    *("i,i->", "i,i->i", "i,j->ij", "ij,j->i", "ij,jk->ik", "ij,kj->ik", "ij,jk", "aij,ajk->aik", "aij,ajk->ika"),
    *("ij,ij->ij", "ij,ij->", "ij,ji->", "aij,bj->abi", "ij,k->ijk", "ij,k->", "ij,jk->", "ii,ij->j", "il,lj->ij"),
    *("i,ij,j->", "ij,jk,kb->ib", "a,b,i->iab", "ij,ij,ij->j", "aij,ak,bi,j->bk", "in,nj->ij", "in->i", ",i->i", ","),
    *("aZ", "Za", "aZ,ZA", "ZA,Aa->a", "aA,Aa,aA->Aa", "nn->n", "nn", "ijji->ij", "ijk,ibk->jb", "ab,kb,b"),
]
ELLIPSES = [
    *(("...->...", [(2, 3)]), ("...i->i...", [(2, 3, 4)]), ("...", [(2, 3)]), ("i...->...", [(2, 3, 4)])),
    *(("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]), ("...ij,...jk->...ik", [(6, 2, 3, 4), (2, 4, 5)])),
    *(
        ("...ij,...jk", [(1, 3, 4), (5, 4, 2)]),
        ("...i,...i->...", [(3, 1, 4), (2, 4)]),
        ("a...b->ab...", [(2, 3, 4, 5)]),
    ),
    *(("...ij,...jk->...ik", [(2, 1, 1, 1, 2, 1, 2, 3), (1, 2, 1, 1, 1, 1, 3, 1)]),),
    *(("...,...->...", [(2, 1, 1, 1, 1, 1, 1, 3)] * 2), ("...i,...i->...", [(2, 1, 1, 1, 1, 1, 2, 3), (2, 3)])),
    *(("...,...->...", [(2, 1), (3,)]), ("...ii->...i", [(2, 3, 3)]), ("i...,i->...", [(2, 3), (2,)])),
]


def arrays(shapes: list[tuple[int, ...]], dtype: str, rng: np.random.Generator) -> list[Any]:
    return [rng.integers(-4, 5, shape).astype(dtype) for shape in shapes]


def shapes_of(subscripts: str) -> list[tuple[int, ...]]:
    return [tuple(SIZES[c] for c in term) for term in subscripts.partition("->")[0].split(",")]


BROADCAST = [
    *(("ij,jk->ik", [(3, 1), (4, 2)]), ("ij,ij->ij", [(1, 3), (2, 1)]), ("i,i->", [(1,), (0,)]), ("i,i", [(0,), (1,)])),
    *(("ii,i->i", [(1, 1), (3,)]), ("ij,j", [(2, 1), (3,)]), ("ab,bk,ka->", [(2, 1), (3, 1), (4, 2)])),
    *(("aij,ajk->ik", [(1, 2, 3), (4, 3, 2)]), ("...i,i...->...", [(2, 1), (3, 2)]), ("ij,ij,ij->j", [(1, 3)] * 3)),
]
ALL = [*((subscripts, shapes_of(subscripts)) for subscripts in CASES), *ELLIPSES, *BROADCAST]


@pytest.mark.parametrize(("subscripts", "shapes"), ALL)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_values(subscripts: str, shapes: list[tuple[int, ...]], dtype: str, rng: np.random.Generator) -> None:
    operands = arrays(shapes, dtype, rng)
    expected = np.einsum(subscripts, *operands)
    assert_same(st.einsum(subscripts, *map(st.asarray, operands)).numpy(), expected, zero_sign=False)
    spaced = subscripts.replace(",", " , ").replace("->", " -> ")
    views = [st.asarray(x.copy(order="F")) for x in operands]
    assert_same(st.einsum(spaced, *views).numpy(), expected, zero_sign=False)
    reversed_views = [st.asarray(np.flip(x).copy())[(slice(None, None, -1),) * x.ndim] for x in operands]
    assert_same(st.einsum(subscripts, *reversed_views).numpy(), expected, zero_sign=False)


@pytest.mark.parametrize(("subscripts", "shapes"), ALL)
def test_gradients(subscripts: str, shapes: list[tuple[int, ...]], rng: np.random.Generator) -> None:
    inputs = [st.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    assert st.autograd.gradcheck(lambda *xs: st.einsum(subscripts, *xs), inputs)
    assert st.autograd.gradgradcheck(lambda *xs: st.einsum(subscripts, *xs), inputs)


def test_nan_beside_the_diagonal_stays_out() -> None:
    x = np.array([[1.0, np.nan], [np.inf, 2.0]])
    assert st.einsum("ii->i", st.tensor(x)).tolist() == [1, 2]


def test_operands_of_several_dtypes() -> None:
    """As NumPy's where no float32 is beside an integer."""
    values = [np.full((2, 3), 100, "u1"), np.array([True, False, True]), np.arange(2, dtype="i8")]
    for subscripts, chosen in (("ij,j->i", [0, 1]), ("ij,i->", [0, 2]), ("j,i->ij", [1, 2]), ("ij,j,i->", [0, 1, 2])):
        operands = [values[i] for i in chosen]
        assert_same(st.einsum(subscripts, *map(st.asarray, operands)).numpy(), np.einsum(subscripts, *operands))
    assert st.einsum("i,i->", st.ones(2, dtype=st.float16), st.tensor([True, False])).dtype is st.float16


def test_a_diagonal_is_a_view() -> None:
    x = st.zeros(3, 3)
    st.einsum("ii->i", x).fill_(1)
    assert x.tolist() == np.eye(3).tolist()
    same = st.einsum("ij->ij", x)
    assert same is not x
    same.fill_(2)
    assert x.tolist() == np.full((3, 3), 2).tolist()


def test_an_ellipsis_that_the_result_lacks_is_summed() -> None:
    """As in PyTorch; NumPy refuses it."""
    assert st.einsum("...i,...i->", st.ones((3, 4)), st.ones((1, 4))).item() == 12


X = st.ones((2, 3))
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: st.einsum("ij,jk->ik", X), ValueError, "is for 2 operands, not 1"),
    (lambda: st.einsum("ijk", X), ValueError, r"'ijk' .* does not fit an operand of shape \(2, 3\)"),
    (lambda: st.einsum("i", X), ValueError, "does not fit an operand"),
    (lambda: st.einsum("i1", X), ValueError, "does not fit an operand"),
    (lambda: st.einsum("ij->ik", X), ValueError, "letters of the operands, each once"),
    (lambda: st.einsum("ij->ii", X), ValueError, "letters of the operands, each once"),
    (lambda: st.einsum("ij,ij->", X, X.T), ValueError, "'i' in .* is 2 in one place and 3 in another"),
    (lambda: st.einsum("ii", X), ValueError, "'i' in .* is 2 in one place and 3 in another"),
    (lambda: st.einsum("ii,i", X[:, :1], X[0]), ValueError, "'i' in .* is 2 in one place and 1 in another"),
    (lambda: st.einsum("i,ii", X[0], X[:1]), ValueError, "'i' in .* is 1 in one place and 3 in another"),
    (lambda: st.einsum("i..", X), ValueError, "'i..' in .* does not fit an operand"),
    (lambda: st.einsum("...i...", X), ValueError, "does not fit an operand"),
    (lambda: st.einsum("i-j", X), ValueError, "does not fit an operand"),
    (lambda: st.einsum("ij->->i", X), ValueError, "the result '->i' of"),
    (lambda: st.einsum("ij->i.", X), ValueError, "the result 'i.' of"),
    (lambda: st.einsum("ij->i,j", X), ValueError, "the result 'i,j' of"),
    (lambda: st.einsum("ij,", X), ValueError, "is for 2 operands, not 1"),
    (lambda: st.einsum(""), ValueError, "is for 1 operands, not 0"),
    (lambda: st.einsum("...,...", X, X.T), ValueError, "einsum: "),
    (lambda: st.einsum(X, X), TypeError, "subscripts must be a string"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_messages(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
