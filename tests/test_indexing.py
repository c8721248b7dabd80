"""Indexing, gathering and one-hot encoding, against NumPy and, where it is installed, PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same, shares

X = np.arange(5 * 6 * 7.0).reshape(5, 6, 7)
S = slice
BASIC = [
    0, -1, (1, 2), (1, 2, 3), (-5, -6, -7), ..., (), S(None), S(1, 4), S(None, None, 2), S(None, None, -1), S(4, 0, -2),
    S(3, 100), S(-100, 2), S(3, 1), S(1, 1), S(10, 20), (S(None), 1), (..., 1), (..., S(2, 5), 0), (0, ..., 0), None,
    (None, 1), (1, None), (..., None), (S(None), None, 2, None, S(1, None, 3)), (None, None), (1, ..., None, S(None)),
    (S(None, None, -2), S(None, None, 3), S(5, None, -1)), (np.int32(2), np.int64(-1)), (0, 1, 2, ...), (S(0, 0), 3),
]  # fmt: skip
ARRAYS = [
    [0], [0, 2, -1], [[1, 2], [3, 4]], [], (S(None), [1, 1, 0]), (..., [0, 3]), (1, [2, 3]), ([2, 3], 1),
    (S(None, None, 2), [0, -1]), ([0, 1], S(1, 3)), (S(1, 3), [2, 2], S(None, None, -1)), (0, ..., [5, 5]),
    ([1, 0], ...), (..., [1], S(2)), (S(None), S(None), [[6], [0]]), np.array([4, 0], np.int32), (2, 3, [1, 2, 1]),
]  # fmt: skip


def steep_key(key: Any, kind: type) -> Any:
    """Lists in a NumPy key as int64 tensors or left alone."""
    if isinstance(key, tuple):
        return tuple(steep_key(k, kind) for k in key)
    if isinstance(key, list | np.ndarray) and kind is st.Tensor:
        return st.tensor(np.asarray(key, np.int64 if isinstance(key, list) else key.dtype))
    return key


def numpy_key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(numpy_key(k) for k in key)
    return np.asarray(key, np.int64) if isinstance(key, list) else key


def expected_gradient(key: Any, g: Any) -> Any:
    out = np.zeros_like(X)
    np.add.at(out.reshape(-1), np.arange(X.size).reshape(X.shape)[key].reshape(-1), np.asarray(g).reshape(-1))
    return out


@pytest.mark.parametrize("key", BASIC, ids=str)
def test_basic(key: Any, rng: np.random.Generator) -> None:
    x = st.tensor(X, requires_grad=True)
    y = x[key]
    assert_same(y.detach().numpy(), np.asarray(X[key]))
    assert y.size == 0 or shares(y, x)
    g = rng.standard_normal(y.shape)
    assert_same(st.grad(y, x, st.tensor(g))[0].numpy(), expected_gradient(key, g))


@pytest.mark.parametrize("kind", [list, st.Tensor])
@pytest.mark.parametrize("key", ARRAYS, ids=str)
def test_gathering(key: Any, kind: type, rng: np.random.Generator) -> None:
    x = st.tensor(X, requires_grad=True)
    y = x[steep_key(key, kind)]
    plain = numpy_key(key)
    assert_same(y.detach().numpy(), X[plain])
    assert not shares(y, x)
    g = rng.standard_normal(y.shape)
    np.testing.assert_allclose(
        st.grad(y, x, st.tensor(g))[0].numpy(), expected_gradient(plain, g), rtol=1e-14, atol=1e-15
    )
    assert y.size == 0 or st.autograd.gradcheck(lambda t: t[steep_key(key, kind)], [x])


@pytest.mark.parametrize("key", [(1, S(None, None, 2)), [0, 2, 0], (..., [1, 1])], ids=str)
def test_second_order(key: Any) -> None:
    x = st.tensor(np.sin(X), requires_grad=True)
    assert st.autograd.gradcheck(lambda t: st.grad((t[key] ** 3).sum(), t, create_graph=True)[0], [x])


@pytest.mark.parametrize("key", BASIC, ids=str)
def test_assignment(key: Any) -> None:
    x, expected = st.tensor(X), X.copy()
    shape = X[key].shape
    value = np.arange(int(np.prod(shape))).reshape(shape)  # int64: cast to the tensor's dtype
    x[key], expected[key] = st.tensor(value), value
    assert_same(x.numpy(), expected)
    x[key], expected[key] = -1.5, -1.5
    assert_same(x.numpy(), expected)


def test_assignment_of_overlapping_and_broadcast_values() -> None:
    x, expected = st.tensor(X), X.copy()
    x[1:], expected[1:] = x[:-1], expected[:-1].copy()
    assert_same(x.numpy(), expected)
    x[::-1], expected[::-1] = x, expected.copy()
    assert_same(x.numpy(), expected)
    x[:, 2:4], expected[:, 2:4] = [[7.0], [8.0]], [[7.0], [8.0]]
    assert_same(x.numpy(), expected)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("indices", [[0], [4, 0, -1, 4], [[1, 2], [3, 0]], []], ids=str)
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_take(axis: int, indices: Any, kind: str, rng: np.random.Generator) -> None:
    x, index = st.tensor(X, requires_grad=True), np.array(indices, kind)
    y = st.take(x, st.tensor(index), axis)
    assert_same(y.detach().numpy(), np.take(X, index, axis))
    g = rng.standard_normal(y.shape)
    lead = (S(None),) * (axis % 3)
    expected = expected_gradient((*lead, index), g)
    np.testing.assert_allclose(st.grad(y, x, st.tensor(g))[0].numpy(), expected, rtol=1e-14, atol=1e-15)
    assert_same(st.take(st.tensor(X[0, 0]), st.tensor(index)).numpy(), X[0, 0][index])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_take_along_axis(axis: int, rng: np.random.Generator) -> None:
    shape = list(X.shape)
    for extent in (1, 4, 0):
        shape[axis] = extent
        index = rng.integers(-X.shape[axis], X.shape[axis], shape)
        x = st.tensor(X, requires_grad=True)
        y = st.take_along_axis(x, st.tensor(index), axis)
        assert_same(y.detach().numpy(), np.take_along_axis(X, index, axis))
        g = rng.standard_normal(shape)
        grids = list(np.indices(shape))
        grids[axis] = index
        expected = np.zeros_like(X)
        np.add.at(expected, tuple(grids), g)
        np.testing.assert_allclose(st.grad(y, x, st.tensor(g))[0].numpy(), expected, rtol=1e-14, atol=1e-15)
    view = st.tensor(X).permute_dims(2, 1, 0)[:, ::-1]
    index = rng.integers(0, 3, view.shape)
    assert_same(st.take_along_axis(view, st.tensor(index), 1).numpy(), np.take_along_axis(view.numpy(), index, 1))


def test_argmax_then_take_along_axis_is_max(rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal((4, 9, 3)))
    for axis in range(3):
        best = st.take_along_axis(x, st.argmax(x, axis, keepdims=True), axis)
        assert_same(best.numpy(), st.max(x, axis, keepdims=True).numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_one_hot(dtype: str) -> None:
    for labels in (np.array([2, 0, 1]), np.array([[1, 1], [0, 2]], np.int32), np.array(1), np.empty((0,), np.int64)):
        assert_same(st.one_hot(st.tensor(labels), 3, dtype).numpy(), np.eye(3, dtype=dtype)[labels])
    assert st.one_hot(st.tensor([4, 1])).shape == (2, 5)


def test_against_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for _ in range(20):
        shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 5)))
        axis = int(rng.integers(0, len(shape)))
        data = rng.standard_normal(shape)
        x, t = st.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        along = list(shape)
        along[axis] = int(rng.integers(1, 9))
        index = rng.integers(0, shape[axis], along)
        flat = rng.integers(0, shape[axis], int(rng.integers(1, 9)))
        for got, expected in (
            (st.take_along_axis(x, st.tensor(index), axis), torch.take_along_dim(t, torch.tensor(index), axis)),
            (st.take(x, st.tensor(flat), axis), torch.index_select(t, axis, torch.tensor(flat))),
        ):
            g = rng.standard_normal(got.shape)
            assert_same(got.detach().numpy(), expected.detach().numpy())
            ours = st.grad(got, x, st.tensor(g))[0].numpy()
            theirs = torch.autograd.grad(expected, t, torch.tensor(g))[0].numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-14)
