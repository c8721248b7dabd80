"""Index tensors, lists and masks in keys, read and written, against NumPy: expressions drawn at random, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same, shares

DTYPES = ("bool", "int32", "int64", "float32", "float64")
S = slice


def random_slice(rng: np.random.Generator, extent: int) -> slice:
    start, stop = (None if rng.random() < 0.4 else int(rng.integers(-extent - 1, extent + 2)) for _ in range(2))
    return slice(start, stop, (None, 1, 2, -1, -2)[rng.integers(5)])


def random_key(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A key for NumPy, mostly with arrays or lists; it may be one that NumPy refuses."""
    common = tuple(int(n) for n in rng.integers(0 if rng.random() < 0.1 else 1, 4, rng.integers(1, 3)))
    if rng.random() < 0.4:  # an ellipsis, for some axes or none
        begin, end = sorted(int(i) for i in rng.integers(0, len(shape) + 1, 2))
        return (*random_parts(rng, shape[:begin], common), ..., *random_parts(rng, shape[end:], common))
    return random_parts(rng, shape[: len(shape) - int(rng.random() < 0.3)], common)


def random_parts(rng: np.random.Generator, shape: tuple[int, ...], common: tuple[int, ...]) -> tuple[Any, ...]:
    """Something for each axis, or for several; index arrays that broadcast to ``common``."""
    key: list[Any] = []
    while shape:
        extent, kind, used = shape[0], rng.random(), 1
        if kind < 0.08:
            key.append(None)
            used = 0
        elif kind < 0.25:
            key.append(random_slice(rng, extent))
        elif kind < 0.35 and extent:
            key.append(int(rng.integers(-extent, extent)))
        elif kind < 0.4 and extent:
            key.append(np.array(rng.integers(-extent, extent)))
        elif kind < 0.5:
            used = int(rng.integers(1, len(shape) + 1))
            key.append(rng.random(shape[:used]) < 0.5)
        elif kind < 0.53:
            key.append(bool(rng.random() < 0.8))
            used = 0
        else:
            index = tuple(1 if rng.random() < 0.2 else n for n in common[int(rng.integers(0, len(common))) :])
            if extent:
                values = rng.integers(-extent, extent, index)
                key.append(values.tolist() if rng.random() < 0.3 and values.size else values)
            else:
                key.append(np.zeros((*index[:-1], 0), np.int64))
        shape = shape[used:]
    return tuple(key)


def as_steep(key: Any, rng: np.random.Generator) -> Any:
    """Arrays in a key as tensors, or left alone."""
    if isinstance(key, tuple):
        return tuple(as_steep(k, rng) for k in key)
    if not isinstance(key, np.ndarray) or rng.random() < 0.3:
        return key
    return st.tensor(key.astype(np.int32) if key.dtype == np.int64 and rng.random() < 0.3 else key)


def random_base(rng: np.random.Generator, dtype: str = "float64") -> Array:
    shape = tuple(
        int(n) for n in rng.integers(0 if rng.random() < 0.1 else 1, 5, rng.integers(0 if rng.random() < 0.1 else 2, 5))
    )
    return np.asarray(rng.standard_normal(shape) * 10, dtype)


def as_view(values: Array, rng: np.random.Generator) -> st.Tensor:
    """A tensor of these elements, in memory of another order half of the time."""
    x = st.tensor(values)
    if rng.random() < 0.5:
        return x
    order = tuple(int(i) for i in rng.permutation(x.ndim))
    out = st.empty([2 * x.shape[i] for i in order], dtype=x.dtype).permute_dims(np.argsort(order).tolist())
    out = out[tuple(slice(None, None, int(rng.choice([2, -2]))) for _ in range(x.ndim))]
    out[...] = x
    return out


@pytest.mark.parametrize("seed", range(500))
def test_as_numpy(seed: int) -> None:
    """Values, gradients, assignments, and what is refused."""
    rng = np.random.default_rng(seed)
    values = random_base(rng)
    key = random_key(rng, values.shape)
    x, ours = as_view(values, rng), as_steep(key, rng)
    try:
        expected = np.asarray(values[key])
    except IndexError:
        with pytest.raises(IndexError):
            x[ours]
        with pytest.raises(IndexError):
            x[ours] = 1.0
        return
    assert_same(x[ours].numpy(), expected)
    if expected.ndim > 8:
        return
    places = np.arange(values.size).reshape(values.shape)[key]
    x.requires_grad = True
    g = rng.standard_normal(expected.shape)
    wanted = np.zeros(values.size)
    np.add.at(wanted, places.reshape(-1), g.reshape(-1))
    got = st.grad(x[ours], x, st.tensor(g))[0].numpy()
    np.testing.assert_allclose(got, wanted.reshape(values.shape), rtol=1e-13, atol=1e-13)
    x.requires_grad = False
    shape = tuple(1 if rng.random() < 0.2 else n for n in expected.shape)[int(rng.integers(0, expected.ndim + 1)) :]
    for new in (rng.standard_normal(expected.shape), rng.integers(0, 9, shape), 7.5):
        x[ours] = st.tensor(new) if isinstance(new, np.ndarray) and rng.random() < 0.5 else new
        values[key] = new
        assert_same(x.numpy(), values)
    x[ours] += 1
    values[key] += 1
    assert_same(x.numpy(), values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(5))
def test_dtypes(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    values = (rng.standard_normal((5, 4, 3)) * 3).astype(dtype)
    x = as_view(values, rng)
    i, j = rng.integers(-5, 5, (2, 3)), rng.integers(-4, 4, 3)
    mask = rng.random((5, 4)) < 0.4
    for key in ((i, j), (i,), (S(None), j), (mask,), (i, S(None), [0, 1, 2])):
        assert_same(x[as_steep(key, rng)].numpy(), values[key])
        x[key], values[key] = 1, 1
        assert_same(x.numpy(), values)


KEYS = [
    ([0, 2], [1, 1]), ([[0], [2]], S(None), [1, 0]), (S(1, 3), [2, 0], [0, 0]), (..., [1, 1]), (None, [0, 1], ..., 2),
    ([True, False, True],), (S(None), [[True, False, True], [False, True, True], [True, True, False], [False] * 3]),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_gradients_of_gradients(key: Any, rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal((3, 4, 3)), requires_grad=True)
    assert st.autograd.gradcheck(lambda t: t[key], [x])
    assert st.autograd.gradgradcheck(lambda t: t[key] ** 3, [x])


def test_a_key_of_index_tensors_alone_is_no_view() -> None:
    x = st.arange(6).reshape(2, 3)
    assert not shares(x[[0, 1]], x)
    assert not shares(x[x >= 0], x)
    assert shares(x[st.tensor(1)], x)  # a 0-d integer tensor is an integer


def test_a_truth_value_is_a_mask_of_a_new_axis() -> None:
    x = st.arange(3)
    assert x[True].tolist() == [[0, 1, 2]]
    assert x[False].shape == (0, 3)
    assert st.tensor(5.0)[st.tensor(5.0) > 4].tolist() == [5.0]
    y = st.tensor(5.0)
    y[y > 4] = 1
    assert y.item() == 1.0


def test_other_sequences() -> None:
    x = st.arange(12).reshape(3, 4)
    assert x[range(2)].tolist() == x.numpy()[range(2)].tolist()
    assert x[(0, 1), (2, 3)].tolist() == [2, 7]
    assert x[((0, 1), (1, 2)), 0].tolist() == [[0, 4], [4, 8]]
    assert x[[], 0].shape == (0,)


def test_the_last_value_stays() -> None:
    x = st.zeros(4)
    x[[1, 1, 1, 3]] = st.tensor([1.0, 2.0, 3.0, 4.0])
    assert x.tolist() == [0, 3, 0, 4]
    x[[1, 1]] += 1
    assert x.tolist() == [0, 4, 0, 4]
    rng = np.random.default_rng(0)
    for size, inner in ((30, 1), (5000, 1), (700, 5), (3000, 64)):  # few, many, in rows
        y, expected = st.zeros((9, inner)), np.zeros((9, inner), np.float32)
        index, values = rng.integers(0, 9, size), rng.standard_normal((size, inner)).astype(np.float32)
        y[st.tensor(index)], expected[index] = st.tensor(values), values
        assert_same(y.numpy(), expected)


def test_assignment_of_parts_of_itself() -> None:
    x, expected = st.arange(6), np.arange(6)
    x[[1, 2, 3, 4, 5]], expected[[1, 2, 3, 4, 5]] = x[:-1], expected[:-1].copy()
    assert_same(x.numpy(), expected)
    x[st.arange(6) > 1], expected[2:] = x[:4], expected[:4].copy()
    assert_same(x.numpy(), expected)


def test_assignments_are_counted_as_changes() -> None:
    w, x = st.ones(3), st.ones(3, requires_grad=True)
    for key in ([0], [True, False, False]):
        y = (x * w).sum()
        w[key] = 2
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()
    index = st.tensor([0, 1])
    y = x[index].sum()
    index[0] = 2
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_assignments_that_backward_could_not_follow() -> None:
    x = st.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="an assignment to elements would change"):
        x[[0]] = 1
    y = st.zeros(3)
    with pytest.raises(RuntimeError, match="an assignment to elements would change"):
        y[[0]] = x[:1]
    with st.no_grad():
        x[[0, 2]] = 5
    assert x.tolist() == [5, 1, 5]


def test_nothing_is_written_if_an_index_is_out_of_range() -> None:
    x = st.zeros(3)
    with pytest.raises(IndexError):
        x[[0, 1, 3]] = 1
    assert x.tolist() == [0, 0, 0]
    assert x._version == 0


@pytest.mark.parametrize("shape", [(1,), (0,), (7,), (4095,), (4096,), (4097,), (100_003,), (30, 0, 2), (9, 11, 300)])
@pytest.mark.parametrize("density", [0, 0.01, 0.5, 1])
def test_nonzero(shape: tuple[int, ...], density: float, rng: np.random.Generator) -> None:
    mask = rng.random(shape) < density
    x = st.tensor(mask)
    for got, expected in zip(st.nonzero(x), np.nonzero(mask), strict=True):
        assert_same(got.numpy(), expected)
    assert_same(st.argwhere(x).numpy(), np.argwhere(mask))
    assert_same(st.argwhere(x.T if x.ndim == 2 else st.flip(x)).numpy(), np.argwhere(np.flip(mask)))
    values = rng.standard_normal(shape).astype(np.float32)
    assert_same(st.tensor(values)[x].numpy(), values[mask])
    assert_same(st.masked_select(st.tensor(values), x).numpy(), values[mask])


@pytest.mark.parametrize("dtype", DTYPES)
def test_nonzero_of_numbers(dtype: str) -> None:
    values = np.array([[0, 1, 0, 3], [-2, 0, 0, 5]]).astype(dtype)
    if dtype.startswith("float"):
        values[0, 0], values[0, 2], values[1, 1] = np.nan, -0.0, np.inf
    for got, expected in zip(st.where(st.tensor(values)), np.nonzero(values), strict=True):
        assert_same(got.numpy(), expected)


def test_masked_select_broadcasts(rng: np.random.Generator) -> None:
    values = rng.standard_normal((3, 1, 4))
    mask = rng.random((2, 1)) < 0.7
    wide = np.broadcast_to(values, (3, 2, 4))
    x = st.tensor(values, requires_grad=True)
    assert_same(st.masked_select(x, mask).detach().numpy(), wide[np.broadcast_to(mask, wide.shape)])
    assert st.autograd.gradcheck(lambda t: st.masked_select(t, mask), [x])
    assert st.autograd.gradgradcheck(lambda t: st.masked_select(t, mask) ** 2, [x])


def test_on_a_device(cuda: str) -> None:
    """Lists and arrays come to the tensor's device, and so do values; an index tensor must be there."""
    x = st.zeros(6, device=cuda)
    x[[0, 1]] = st.tensor([7.0, 8.0], device="cpu")
    x[np.arange(6) > 3] = st.tensor(5.0, device="cpu")
    assert x[np.array([0, 1, 4])].device == x.device
    assert x.tolist() == [7, 8, 0, 0, 5, 5]
    with pytest.raises(ValueError, match=r"indexing.*cpu"):
        x[st.tensor([0], device="cpu")]
    assert st.scatter_add(x, 0, [0], 1).device == st.nonzero(x)[0].device == x.device


def test_against_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    values = rng.standard_normal((5, 4, 3))
    i, j, mask = rng.integers(0, 5, (2, 1)), rng.integers(0, 4, 3), rng.random((5, 4)) < 0.5
    for key in ((i, j), (i, S(None), [0, 1, 2]), (S(None), j, None), (mask,), (S(None), S(None), [True, False, True])):
        x, t = st.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
        ours = tuple(st.tensor(k) if isinstance(k, np.ndarray) else k for k in key)
        theirs = tuple(torch.tensor(k) if isinstance(k, np.ndarray) else k for k in key)
        got, expected = x[ours], t[theirs]
        assert_same(got.detach().numpy(), expected.detach().numpy())
        g = rng.standard_normal(got.shape)
        right = torch.autograd.grad(expected, t, torch.tensor(g))[0].numpy()
        np.testing.assert_allclose(st.grad(got, x, st.tensor(g))[0].numpy(), right, rtol=1e-13, atol=1e-14)


def test_any_number_of_threads(threads: None, rng: np.random.Generator) -> None:
    table = rng.standard_normal((50, 40)).astype(np.float32)
    index = rng.integers(-50, 50, 9000)
    g = rng.standard_normal((9000, 40)).astype(np.float32)
    results = []
    for n in (1, 3):
        st.set_num_threads(n)
        x = st.tensor(table, requires_grad=True)
        y = x[index]
        y.backward(st.tensor(g))
        z = st.tensor(table)
        z[index] = st.tensor(g)
        results.append([y.detach().numpy(), x.grad.numpy(), z.numpy(), st.argwhere(st.tensor(table) > 0).numpy()])
    for one, many in zip(*results, strict=True):
        assert_same(one, many)
