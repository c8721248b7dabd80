"""Reorderings, repetitions, paddings and composed products: against NumPy, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same

DTYPES = ("bool", "int32", "int64", "float32", "float64")
Pair = tuple[Callable[[Any], Any], Callable[[Any], Any]]

# On an array of shape (3, 4, 5): steep's and NumPy's.
CASES: dict[str, Pair] = {
    "flip": (st.flip, np.flip),
    "flip of an axis": (lambda x: st.flip(x, 1), lambda x: np.flip(x, 1)),
    "flip of axes": (lambda x: st.flip(x, (0, -1)), lambda x: np.flip(x, (0, -1))),
    "roll": (lambda x: st.roll(x, 7), lambda x: np.roll(x, 7)),
    "roll of axes": (lambda x: st.roll(x, (-1, 9), (0, 2)), lambda x: np.roll(x, (-1, 9), (0, 2))),
    "roll of an axis": (lambda x: st.roll(x, 2, -1), lambda x: np.roll(x, 2, -1)),
    "moveaxis": (lambda x: st.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1)),
    "moveaxis of several": (lambda x: st.moveaxis(x, (0, 2), (1, 0)), lambda x: np.moveaxis(x, (0, 2), (1, 0))),
    "swapaxes": (lambda x: st.swapaxes(x, 0, 2), lambda x: np.swapaxes(x, 0, 2)),
    "unstack": (lambda x: st.unstack(x, 1)[2], lambda x: x[:, 2]),
    "tile": (lambda x: st.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
    "tile to more axes": (lambda x: st.tile(x, (2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2))),
    "tile of 8 axes": (
        lambda x: st.tile(x[:, None, 1:, None, None], (1, 2, 2, 3, 1, 1, 2, 1)),
        lambda x: np.tile(x[:, None, 1:, None, None], (1, 2, 2, 3, 1, 1, 2, 1)),
    ),
    "tile of the last axis": (lambda x: st.tile(x, 2), lambda x: np.tile(x, 2)),
    "tile by 0": (lambda x: st.tile(x, (0, 1)), lambda x: np.tile(x, (0, 1))),
    "repeat": (lambda x: st.repeat(x, 2), lambda x: np.repeat(x, 2)),
    "repeat each": (lambda x: st.repeat(x, [0, 2, 1, 3], 1), lambda x: np.repeat(x, [0, 2, 1, 3], 1)),
    "repeat by a tensor": (lambda x: st.repeat(x, st.tensor([2, 0, 1]), 0), lambda x: np.repeat(x, [2, 0, 1], 0)),
    "pad": (lambda x: st.pad(x, 2), lambda x: np.pad(x, 2)),
    "pad of each side": (lambda x: st.pad(x, ((1, 0), (0, 0), (2, 3))), lambda x: np.pad(x, ((1, 0), (0, 0), (2, 3)))),
    "pad edge": (lambda x: st.pad(x, (1, 2), "edge"), lambda x: np.pad(x, (1, 2), "edge")),
    "pad reflect": (lambda x: st.pad(x, (2, 1), "reflect"), lambda x: np.pad(x, (2, 1), "reflect")),
    "tril": (st.tril, np.tril),
    "tril above": (lambda x: st.tril(x, 1), lambda x: np.tril(x, 1)),
    "triu": (lambda x: st.triu(x, -1), lambda x: np.triu(x, -1)),
    "matrix_transpose": (st.matrix_transpose, np.matrix_transpose),
    "meshgrid": (
        lambda x: st.meshgrid(x[0, 0], x[:, 1, 2], x[1, :, 0])[1],
        lambda x: np.meshgrid(x[0, 0], x[:, 1, 2], x[1, :, 0])[1],
    ),
    "meshgrid ij": (
        lambda x: st.meshgrid(x[0, 0], x[:, 1, 2], indexing="ij")[0],
        lambda x: np.meshgrid(x[0, 0], x[:, 1, 2], indexing="ij")[0],
    ),
    "masked_fill": (lambda x: st.masked_fill(x, x > 0, 1), lambda x: np.where(x > 0, np.ones_like(x), x)),
}
NUMBERS: dict[str, Pair] = {  # not of booleans
    "diff": (st.diff, np.diff),
    "diff twice": (lambda x: st.diff(x, 2, 1), lambda x: np.diff(x, 2, 1)),
    "diff with ends": (
        lambda x: st.diff(x, axis=0, prepend=x[:1], append=x[1:]),
        lambda x: np.diff(x, axis=0, prepend=x[:1], append=x[1:]),
    ),
    "outer": (lambda x: st.outer(x[0, 0], x[:, 1, 2]), lambda x: np.outer(x[0, 0], x[:, 1, 2])),
    "vecdot": (lambda x: st.vecdot(x, x[1:2]), lambda x: np.vecdot(x, x[1:2])),
    "vecdot of axis 1": (lambda x: st.vecdot(x, x, 1), lambda x: np.vecdot(x, x, axis=1)),
    "tensordot": (
        lambda x: st.tensordot(x, st.moveaxis(x, 0, 2), 2),
        lambda x: np.tensordot(x, np.moveaxis(x, 0, 2), 2),
    ),
    "tensordot of axes": (
        lambda x: st.tensordot(x, x, ((0, 2), (0, 2))),
        lambda x: np.tensordot(x, x, ((0, 2), (0, 2))),
    ),
    "tensordot of an axis": (lambda x: st.tensordot(x, x, (1, 1)), lambda x: np.tensordot(x, x, (1, 1))),
    "tensordot of none": (lambda x: st.tensordot(x[0, 0], x, 0), lambda x: np.tensordot(x[0, 0], x, 0)),
    "trace": (st.trace, lambda x: np.trace(x, axis1=-2, axis2=-1)),
    "trace above": (lambda x: st.trace(x, 2), lambda x: np.trace(x, 2, axis1=-2, axis2=-1)),
}
FLOATS: dict[str, Pair] = {
    "std": (lambda x: st.std(x, 1, 1.0), lambda x: np.std(x, 1, ddof=1)),
    "vector_norm": (st.vector_norm, lambda x: np.linalg.vector_norm(x)),
    "vector_norm 3": (lambda x: st.vector_norm(x, 1, ord=3), lambda x: np.linalg.vector_norm(x, axis=1, ord=3)),
    "vector_norm 1": (
        lambda x: st.vector_norm(x, (0, 2), True, 1),
        lambda x: np.linalg.vector_norm(x, axis=(0, 2), keepdims=True, ord=1),
    ),
    "vector_norm inf": (lambda x: st.vector_norm(x, 2, ord=np.inf), lambda x: np.abs(x).max(2)),
    "vector_norm -inf": (lambda x: st.vector_norm(x, 2, ord=-np.inf), lambda x: np.abs(x).min(2)),
    "cosine_similarity": (
        lambda x: st.cosine_similarity(x, x[::-1]),
        lambda x: (x * x[::-1]).sum(1) / np.sqrt((x * x).sum(1) * (x * x).sum(1)[::-1]),
    ),
}


def values(dtype: str, rng: np.random.Generator) -> Array:
    return rng.integers(0 if dtype == "bool" else -9, 2 if dtype == "bool" else 9, (3, 4, 5)).astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, dtype) for name in CASES for dtype in DTYPES),
        *((name, dtype) for name in NUMBERS for dtype in DTYPES[1:]),
    ],
)
def test_values(name: str, dtype: str, rng: np.random.Generator) -> None:
    ours, numpy = CASES[name] if name in CASES else NUMBERS[name]
    x = values(dtype, rng)
    expected = np.asarray(numpy(x))
    for view in (x, x.transpose(2, 0, 1).copy().transpose(1, 2, 0), np.repeat(x, 2, 1)[:, ::2]):
        got = ours(st.asarray(view)).numpy()
        if name.startswith(("trace", "vecdot")):  # sums of integers are int64; NumPy keeps some dtypes
            np.testing.assert_array_equal(got, expected)
        else:
            assert_same(got, expected, zero_sign=False)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("float_type", ["float32", "float64"])
def test_values_of_floats(name: str, float_type: str, rng: np.random.Generator) -> None:
    ours, numpy = FLOATS[name]
    x = rng.standard_normal((3, 4, 5)).astype(float_type)
    got = ours(st.asarray(x)).numpy()
    assert got.dtype == float_type
    np.testing.assert_allclose(got, numpy(x.astype("f8")), rtol=20 * np.finfo(float_type).eps)


@pytest.mark.parametrize("name", [*CASES, *NUMBERS, *FLOATS])
def test_gradients(name: str, rng: np.random.Generator) -> None:
    ours = {**CASES, **NUMBERS, **FLOATS}[name][0]
    x = st.tensor(rng.standard_normal((3, 4, 5)), requires_grad=True)
    assert st.autograd.gradcheck(ours, [x])
    assert st.autograd.gradgradcheck(ours, [x])


def test_small_shapes() -> None:
    empty, one = st.zeros((0, 3)), st.tensor(2.0)
    assert st.flip(empty).shape == st.roll(empty, 1, 0).shape == st.tril(empty).shape == (0, 3)
    assert st.unstack(empty) == ()
    assert st.tile(empty, (2, 2)).shape == (0, 6)
    assert st.pad(empty, ((1, 0), (0, 0))).tolist() == [[0, 0, 0]]
    assert st.diff(st.ones(1)).shape == (0,)
    assert st.diff(st.ones(3), n=5).shape == (0,)
    assert st.diff(st.ones(3), n=0, append=st.ones(1)).shape == (3,)
    assert st.tensordot(empty, st.zeros((3, 2)), 1).shape == (0, 2)
    assert st.trace(st.zeros((0, 0))).tolist() == 0
    assert (st.flip(one).item(), st.roll(one, 3).item(), st.tile(one, 2).tolist()) == (2, 2, [2, 2])
    assert (st.repeat(one, 2).tolist(), st.pad(one, 1).item()) == ([2, 2], 2)
    assert [x.tolist() for x in st.meshgrid(1.0, [2.0, 3.0])] == [[[1], [1]], [[2], [3]]]
    assert st.meshgrid() == []
    assert st.count_nonzero(st.tensor([[1, 0], [0, 3]]), 0).tolist() == [1, 1]


def test_norm_and_similarity_at_zero() -> None:
    x = st.zeros((2, 3), requires_grad=True)
    norm = st.vector_norm(x, 1)
    (g,) = st.grad(norm.sum() + st.cosine_similarity(x, st.ones((2, 3))).sum(), x)
    assert norm.tolist() == [0, 0]
    assert np.isfinite(g.numpy()).all()


ONE = st.ones((2, 3))
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: st.flip(ONE, 2), IndexError, "flip: axis 2"),
    (lambda: st.flip(ONE, (0, -2)), ValueError, "flip: an axis is given twice"),
    (lambda: st.roll(ONE, (1, 2)), ValueError, "roll: the flattened"),
    (lambda: st.roll(ONE, (1, 2), 0), ValueError, "roll: 2 shifts for 1 axes"),
    (lambda: st.roll(ONE, 1.5), TypeError, "integer"),
    (lambda: st.moveaxis(ONE, (0, 1), 0), ValueError, "moveaxis: 2 axes for 1 places"),
    (lambda: st.unstack(st.tensor(1.0)), IndexError, "unstack"),
    (lambda: st.tile(ONE, -1), ValueError, "tile: .*negative"),
    (lambda: st.repeat(ONE, [1, 2], 1), ValueError, "repeat: .*3 elements"),
    (lambda: st.repeat(ONE, -1), ValueError, "repeat: .*negative"),
    (lambda: st.repeat(ONE, 1.5), TypeError, "repeat: .*integers"),
    (lambda: st.pad(ONE, (1, 2, 3)), ValueError, "pad: .*2 dimensions"),
    (lambda: st.pad(ONE, -1), ValueError, "pad: .*negative"),
    (lambda: st.pad(ONE, 1.5), TypeError, "pad: .*integers"),
    (lambda: st.pad(ONE, 2, "reflect"), ValueError, "pad: axis 0 of 2 elements is too short"),
    (lambda: st.pad(ONE, 1, "wrap"), ValueError, "pad: mode='wrap'"),
    (lambda: st.meshgrid(ONE), ValueError, "meshgrid: .*one dimension"),
    (lambda: st.meshgrid(ONE[0], indexing="yx"), ValueError, "meshgrid: indexing='yx'"),
    (lambda: st.tril(ONE[0]), ValueError, r"tril: .*\(3,\)"),
    (lambda: st.diff(ONE, n=-1), ValueError, "diff: n=-1"),
    (lambda: st.count_nonzero(ONE, 2), IndexError, "count_nonzero: axis 2"),
    (lambda: st.outer(ONE, ONE), ValueError, "outer: .*one dimension"),
    (lambda: st.vecdot(ONE, ONE[:, :2]), ValueError, "vecdot: axis -1 has 3"),
    (lambda: st.tensordot(ONE, ONE, ((0,), (0, 1))), ValueError, "tensordot: .*equal length"),
    (lambda: st.tensordot(ONE, ONE, 3), ValueError, "tensordot: axes=3"),
    (lambda: st.tensordot(ONE, ONE, 1), ValueError, "tensordot: .*do not fit"),
    (lambda: st.matrix_transpose(ONE[0]), ValueError, "matrix_transpose"),
    (lambda: st.vector_norm(st.tensor([1, 2])), TypeError, "vector_norm: .*int64"),
]


@pytest.mark.parametrize(
    "copied",
    [
        lambda x: st.roll(x, 0),
        lambda x: st.roll(x, 6),
        lambda x: st.roll(x, (0, 3), (0, 1)),
        lambda x: st.tile(x, 1),
        lambda x: st.tile(x, ()),
        lambda x: st.tile(x[:1, :1], (2, 2)),
        lambda x: st.pad(x, 0),
    ],
)
def test_results_are_no_views(copied: Callable[[st.Tensor], st.Tensor]) -> None:
    x = st.arange(6).reshape(2, 3)
    y = copied(x)
    y += 1
    assert x.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert y.min().item() == 1


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_messages(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
