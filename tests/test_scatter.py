"""gather, scatter, scatter_add, index_add and index_copy: against plain loops and PyTorch, with their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same

DTYPES = ("int32", "int64", "float32", "float64")


def along(index: Array, axis: int) -> tuple[Array, ...]:
    """The place of each element of the index in what it indexes."""
    places = list(np.indices(index.shape))
    places[axis] = index
    return tuple(places)


def case(rng: np.random.Generator) -> tuple[Array, int, Array, Array]:
    """Values, an axis, an index with other axes as long or shorter, and a source as long or longer."""
    shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 5)))
    axis = int(rng.integers(-len(shape), len(shape)))
    extents = [n if rng.random() < 0.6 else int(rng.integers(0, n + 1)) for n in shape]
    extents[axis] = int(rng.integers(0, 9))
    index = rng.integers(-shape[axis], shape[axis], extents)
    source = [n + int(rng.random() < 0.3) for n in extents]
    return rng.standard_normal(shape), axis, index, rng.standard_normal(source)


def cut(source: Array, index: Array) -> Array:
    return source[tuple(slice(n) for n in index.shape)]


@pytest.mark.parametrize("seed", range(60))
def test_by_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, axis, index, source = case(rng)
    x, i, src = st.tensor(values), st.tensor(index.astype(rng.choice(["int32", "int64"]))), st.tensor(source)
    places, part = along(index, axis), cut(source, index)
    assert_same(st.gather(x, axis, i).numpy(), values[places])
    put, added = values.copy(), values.copy()
    for place in np.ndindex(index.shape):
        at = tuple(p[place] for p in places)
        put[at] = part[place]
        added[at] += part[place]
    assert_same(st.scatter(x, axis, i, src).numpy(), put)
    assert_same(st.scatter_add(x, axis, i, src).numpy(), added)
    assert_same(x.numpy(), values)  # x itself is left alone
    number = values.copy()
    number[places] = 2.5
    assert_same(st.scatter(x, axis, index, 2.5).numpy(), number)
    lines = rng.integers(-values.shape[axis], values.shape[axis], int(rng.integers(0, 9)))
    shape = list(values.shape)
    shape[axis] = lines.size
    source = rng.standard_normal(shape)
    added, put = np.moveaxis(values.copy(), axis, 0), np.moveaxis(values.copy(), axis, 0)
    for k, line in enumerate(lines):
        added[line] += np.moveaxis(source, axis, 0)[k]
        put[line] = np.moveaxis(source, axis, 0)[k]
    assert_same(st.index_add(x, axis, lines, st.tensor(source)).numpy(), np.moveaxis(added, 0, axis))
    assert_same(st.index_copy(x, axis, lines, st.tensor(source)).numpy(), np.moveaxis(put, 0, axis))


@pytest.mark.parametrize("seed", range(8))
def test_gradients(seed: int) -> None:
    """Indices that name an element several times included: only the last value of a scatter gets the gradient."""
    rng = np.random.default_rng(100 + seed)
    values, axis, index, source = case(rng)
    x, src = st.tensor(values, requires_grad=True), st.tensor(source, requires_grad=True)
    for f in (st.scatter, st.scatter_add):
        assert st.autograd.gradcheck(lambda x, s, f=f: f(x, axis, index, s), [x, src])
        assert st.autograd.gradgradcheck(lambda x, s, f=f: f(x, axis, index, s) ** 3, [x, src])
    assert st.autograd.gradcheck(lambda x: st.gather(x, axis, index), [x])
    assert st.autograd.gradgradcheck(lambda x: st.gather(x, axis, index) ** 3, [x])
    lines = rng.integers(-values.shape[axis], values.shape[axis], 4)
    shape = list(values.shape)
    shape[axis] = 4
    source = st.tensor(rng.standard_normal(shape), requires_grad=True)
    for g in (st.index_add, st.index_copy):
        assert st.autograd.gradcheck(lambda x, s, g=g: g(x, axis, lines, s), [x, source])
        assert st.autograd.gradgradcheck(lambda x, s, g=g: g(x, axis, lines, s) ** 3, [x, source])


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_views(dtype: str, rng: np.random.Generator) -> None:
    values = (rng.standard_normal((6, 8)) * 9).astype(dtype)
    x = st.tensor(values).T[::-1, 1:]
    plain = values.T[::-1, 1:]
    index = rng.integers(-8, 8, (11, 4))
    source = (rng.standard_normal((11, 4)) * 9).astype(dtype)
    expected = plain.copy()
    np.add.at(expected, along(index, 0), source)
    assert_same(st.scatter_add(x, 0, st.tensor(index), st.tensor(source)).numpy(), expected)
    assert_same(st.gather(x, 0, st.tensor(index.T.copy()).T).numpy(), plain[along(index, 0)])
    assert st.scatter(x, 1, [[0]], 3).dtype == x.dtype


def test_many_indices(rng: np.random.Generator) -> None:
    """Sums in the order of the indices, bit for bit, where a device sorts them and threads share them."""
    for shape, axis, count in (((40,), 0, 9000), ((7, 50), 1, 600), ((6, 30), 0, 2000), ((300, 20), 1, 30)):
        values = rng.standard_normal(shape).astype(np.float32)
        extents = list(shape)
        extents[axis] = count
        index = rng.integers(0, shape[axis], extents)
        source = rng.standard_normal(extents).astype(np.float32)
        added, put = values.copy(), values.copy()
        np.add.at(added, along(index, axis), source)
        put[along(index, axis)] = source
        x, i, src = st.tensor(values), st.tensor(index), st.tensor(source)
        assert_same(st.scatter_add(x, axis, i, src).numpy(), added)
        assert_same(st.scatter(x, axis, i, src).numpy(), put)
        assert_same(st.gather(x, axis, i).numpy(), values[along(index, axis)])


def test_special_numbers() -> None:
    x = st.tensor([np.inf, 1.0, np.nan, -0.0])
    assert_same(
        st.scatter_add(x, 0, st.tensor([0, 1, 3]), st.tensor([-np.inf, np.nan, -0.0])).numpy(),
        np.array([np.nan, np.nan, np.nan, -0.0], np.float32),
    )
    assert_same(st.scatter(x, 0, [2, 1], -np.inf).numpy(), np.array([np.inf, -np.inf, -np.inf, -0.0], np.float32))


def test_alpha() -> None:
    x = st.ones(3)
    assert st.index_add(x, 0, [0, 2, 0], st.tensor([1.0, 2.0, 3.0]), alpha=-2).tolist() == [-7, 1, -3]
    assert st.index_add(st.arange(2), 0, [1], st.tensor([5]), alpha=3).tolist() == [0, 16]


def test_empty() -> None:
    x = st.ones((3, 0))
    nothing = st.zeros((2, 0), dtype=st.int64)
    assert st.gather(x, 0, nothing).shape == (2, 0)
    assert st.scatter_add(x, 0, nothing, st.ones((2, 0))).shape == (3, 0)
    y = st.ones(3)
    assert st.scatter(y, 0, [], st.ones(0)).tolist() == [1, 1, 1]
    assert st.index_add(y, 0, [], st.ones(0)).tolist() == [1, 1, 1]
    assert st.index_add(st.ones((0, 2)), 1, [0, 0], st.ones((0, 2))).shape == (0, 2)


def test_against_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for _ in range(40):
        values, axis, index, source = case(rng)
        index %= values.shape[axis]
        names = ["gather"]
        if index.shape == source.shape:  # or PyTorch's gradients have the index's shape
            names.append("scatter_add")
            if index.shape[axis] <= 1:  # of several values for one element PyTorch's don't choose one
                names.append("scatter")
        for name in names:
            x, s = st.tensor(values, requires_grad=True), st.tensor(source, requires_grad=True)
            t, u = torch.tensor(values, requires_grad=True), torch.tensor(source, requires_grad=True)
            ours = (x, axis, st.tensor(index), *([] if name == "gather" else [s]))
            theirs = (t, axis, torch.tensor(index), *([] if name == "gather" else [u]))
            got, expected = getattr(st, name)(*ours), getattr(torch, name)(*theirs)
            np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-14, atol=1e-14)
            g = rng.standard_normal(got.shape)
            left = st.grad(got, [x, s], st.tensor(g), allow_unused=True)
            right = torch.autograd.grad(expected, [t, u], torch.tensor(g), allow_unused=True)
            for a, b in zip(left, right, strict=True):
                assert (a is None) == (b is None)
                if a is not None and b is not None:
                    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13, atol=1e-14)
