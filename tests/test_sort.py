"""Sorting, searching and sets, against NumPy and, where it is installed, PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same

DTYPES = ["bool", "int32", "int64", "float32", "float64"]
# Rows of one vector, of a square of vectors, of several, and such that all threads share; tiles and merges on CUDA.
SHAPES = [
    ((0,), 0), ((1,), 0), ((2,), -1), ((15,), 0), ((33,), 0), ((47,), 0), ((48,), 0), ((255,), 0), ((257,), 0),
    ((545,), 0), ((1000,), 0), ((5, 0), 1), ((0, 5), 1), ((3, 7, 4), 1), ((100, 10), 1), ((60, 9), 0),
    ((2, 300, 3), 1), ((700, 2), 0), ((3, 20_000), 1),
]  # fmt: skip


def data(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Numbers of every size, and many equal ones; zeros of both signs, infinities and NaNs."""
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.startswith("int"):
        bits = int(kind[3:])
        x = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)
        return np.where(rng.uniform(size=shape) < 0.5, x, x % 5 - 2).astype(kind)
    x = rng.standard_normal(shape) * np.exp(rng.uniform(-60, 60, shape))
    odd = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, -np.nan, 5e-324, -1e-40])
    return np.where(rng.uniform(size=shape) < 0.5, x, rng.choice(odd, shape)).astype(kind)


def order(x: np.ndarray[Any, Any], axis: int, descending: bool) -> Any:
    """The stable order of x along an axis."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    flipped = np.argsort(np.flip(x, axis), axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(flipped, axis)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_sort(kind: str, descending: bool, shape: tuple[int, ...], axis: int, rng: np.random.Generator) -> None:
    x = data(shape, kind, rng)
    indices = order(x, axis, descending)
    assert_same(st.argsort(st.tensor(x), axis, descending).numpy(), indices)
    assert_same(st.sort(st.tensor(x), axis, descending).numpy(), np.take_along_axis(x, indices, axis))
    if kind.startswith("float"):
        y = st.sort(st.tensor(x, requires_grad=True), axis, descending)
        assert_same(y.detach().numpy(), np.take_along_axis(x, indices, axis))


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.host(reason="about long rows that threads share")
def test_long_rows(kind: str, threads: None, rng: np.random.Generator) -> None:
    x = data((400_000,), kind, rng)
    indices = np.argsort(x, kind="stable")
    for count in (1, 2, 5):
        st.set_num_threads(count)
        assert_same(st.argsort(st.tensor(x)).numpy(), indices)
        assert_same(st.sort(st.tensor(x)).numpy(), x[indices])
        assert_same(st.topk(st.tensor(x), 1000, largest=False).indices.numpy(), indices[:1000])
        rows = st.tensor(x.reshape(100, 4000))
        assert_same(st.argsort(rows).numpy(), np.argsort(x.reshape(100, 4000), kind="stable"))


def test_sorted_and_constant_rows() -> None:
    for n in (10, 100, 5000, 40_000):
        up = np.arange(n, dtype=np.float32)
        for x in (up, up[::-1].copy(), np.zeros(n, np.float32), (up % 2).astype(np.float32)):
            assert_same(st.sort(st.tensor(x)).numpy(), np.sort(x))
            assert_same(st.argsort(st.tensor(x)).numpy(), np.argsort(x, kind="stable"))
            assert_same(st.topk(st.tensor(x), 3).values.numpy(), np.sort(x)[::-1][:3].copy())


@pytest.mark.parametrize("kind", ["int64", "uint64", "float64"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("n", [9, 100, 5000, 200_000])
def test_keys_that_differ_in_their_last_bits(kind: str, share: float, n: int, rng: np.random.Generator) -> None:
    """Beside numbers far away, which take the first bits: so many neighbours of a few numbers, some of them equal."""
    if kind == "float64":
        x, near = rng.standard_normal(n) * 1e300, 1 + rng.integers(0, n, n) * 2.0**-52
    else:
        x = rng.integers(0, 2**63, n).astype(kind)
        near = (2**62 + rng.integers(0, n, n)).astype(kind)
    x = np.where(rng.uniform(size=n) < share, near, x)
    x[:2] = x.min(), x.max()
    if kind == "int64":
        x[:2] = -(2**63), 2**63 - 1
    if kind == "uint64":
        x[:2] = 0, 2**64 - 1
    for descending in (False, True):
        indices = order(x, 0, descending)
        assert_same(st.argsort(st.tensor(x), 0, descending).numpy(), indices)
        got = st.topk(st.tensor(x), n, 0, descending)
        assert_same(got.indices.numpy(), indices)
        assert_same(got.values.numpy(), x[indices])


@pytest.mark.parametrize("lowest", [0, -50])
def test_whole_numbers_in_float64(lowest: int, rng: np.random.Generator) -> None:
    for n in (100, 5000, 200_000):
        x = rng.integers(lowest, 50, n).astype(np.float64)
        for descending in (False, True):
            assert_same(st.argsort(st.tensor(x), 0, descending).numpy(), order(x, 0, descending))


def test_views_and_methods(rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 8, 10)).astype(np.float32)
    t = st.tensor(x)
    for axis in (0, 1, 2, -1):
        assert_same(st.sort(t[:, ::-1, ::3], axis).numpy(), np.sort(x[:, ::-1, ::3], axis))
        assert_same(t.permute_dims(2, 0, 1).argsort(axis).numpy(), np.argsort(x.transpose(2, 0, 1), axis))
        assert_same(t.sort(axis=axis, descending=True, stable=False).numpy(), np.flip(np.sort(x, axis), axis))
    assert st.sort([3, 1, 2]).tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis", "k"),
    [((9,), 0, 0), ((9,), 0, 4), ((9,), -1, 9), ((300,), 0, 3), ((5, 1000), 1, 7), ((1000, 3), 0, 15), ((4, 70), 1, 1),
     ((0, 4), 1, 2), ((3, 0), 1, 0), ((2, 3000), 1, 2999)],
    ids=str,
)  # fmt: skip
def test_topk(kind: str, largest: bool, shape: tuple[int, ...], axis: int, k: int, rng: np.random.Generator) -> None:
    x = data(shape, kind, rng)
    indices = np.take(order(x, axis, largest), np.arange(k), axis)
    got = st.topk(st.tensor(x), k, axis, largest)
    assert_same(got.indices.numpy(), indices)
    assert_same(got.values.numpy(), np.take_along_axis(x, indices, axis))


def test_gradients(rng: np.random.Generator) -> None:
    for shape, axis in (((7,), 0), ((3, 4), 0), ((3, 4), -1), ((2, 3, 2), 1)):
        x = st.tensor(rng.standard_normal(shape), requires_grad=True)
        for function in (
            lambda t, axis=axis: st.sort(t, axis),
            lambda t, axis=axis: st.sort(t, axis, descending=True),
            lambda t, axis=axis: st.topk(t, 2, axis).values,
            lambda t, axis=axis: st.topk(t, 1, axis, largest=False).values,
        ):
            assert st.autograd.gradcheck(function, [x])
            assert st.autograd.gradgradcheck(lambda t, f=function: f(t) ** 2, [x])
    x = st.tensor([3.0, 1.0], requires_grad=True)
    assert not st.argsort(x).requires_grad
    assert not st.topk(x, 1).indices.requires_grad
    with st.no_grad():
        assert not st.sort(x).requires_grad


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(kind: str, side: Any, rng: np.random.Generator) -> None:
    for n, shape in ((0, (3,)), (1, (4,)), (10, ()), (10, (2, 3)), (1000, (5000,)), (100, (0,))):
        x, v = np.sort(data((n,), kind, rng)), data(shape, kind, rng)
        right = np.asarray(np.searchsorted(x, v, side))
        assert_same(st.searchsorted(st.tensor(x), st.tensor(v), side).numpy(), right)
        shuffled = rng.permutation(n)
        sorter = np.argsort(shuffled)
        assert_same(st.searchsorted(st.tensor(x[shuffled]), st.tensor(v), side, st.tensor(sorter)).numpy(), right)


def test_searchsorted_of_rows_and_dtypes(rng: np.random.Generator) -> None:
    x, v = np.sort(rng.standard_normal((2, 3, 20))), rng.standard_normal((2, 3, 7))
    got = st.searchsorted(st.tensor(x), st.tensor(v), side="right").numpy()
    right = [[np.searchsorted(x[i, j], v[i, j], "right") for j in range(3)] for i in range(2)]
    assert_same(got, np.array(right))
    assert st.searchsorted([1, 3, 5], [2.5, 3.0, 9.0]).tolist() == [1, 1, 3]
    assert st.searchsorted(st.tensor([1.0, 3.0]), 2).tolist() == 1
    views = st.searchsorted(st.tensor(x[0, 0])[::2], st.tensor(v)[:, ::2])
    assert_same(views.numpy(), np.searchsorted(x[0, 0, ::2], v[:, ::2]))


@pytest.mark.parametrize("kind", DTYPES)
def test_unique(kind: str, rng: np.random.Generator) -> None:
    for shape in ((), (0,), (1,), (40,), (7, 9), (3000,), (2, 0)):
        x = data(shape, kind, rng)
        values, indices, inverse, counts = np.unique(x, True, True, True, equal_nan=False)
        inverse = inverse.reshape(shape)
        got = st.unique_all(st.tensor(x))
        assert_same(got.values.numpy(), values, zero_sign=False)
        assert_same(got.counts.numpy(), counts)
        assert_same(got.indices.numpy(), indices)
        assert_same(got.inverse_indices.numpy(), inverse)
        assert_same(got.values.numpy()[inverse] if x.size else x, x, zero_sign=False)
        for part, whole in zip(st.unique_counts(st.tensor(x)), (got.values, got.counts), strict=True):
            assert_same(part.numpy(), whole.numpy())
        for part, whole in zip(st.unique_inverse(st.tensor(x)), (got.values, got.inverse_indices), strict=True):
            assert_same(part.numpy(), whole.numpy())
        assert_same(st.unique_values(st.tensor(x)).numpy(), got.values.numpy())
    assert not st.unique_values(st.tensor([1.0, 1.0], requires_grad=True)).requires_grad
    assert st.unique_counts([2, 1, 2])._fields == ("values", "counts")


def test_against_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for shape in ((5, 40), (3, 300), (2, 30, 4)):
        x = rng.integers(-9, 9, shape).astype(np.float32)
        x[rng.uniform(size=shape) < 0.05] = np.nan
        t = torch.tensor(x)
        for axis in range(len(shape)):
            for descending in (False, True):
                values, indices = torch.sort(t, dim=axis, descending=descending, stable=True)
                assert_same(st.sort(st.tensor(x), axis, descending).numpy(), values.numpy())
                assert_same(st.argsort(st.tensor(x), axis, descending).numpy(), indices.numpy())
                best = torch.topk(t, 2, axis, descending).values
                assert_same(st.topk(st.tensor(x), 2, axis, descending).values.numpy(), best.numpy())


def test_errors() -> None:
    x = st.ones((2, 3))
    with pytest.raises(IndexError, match="sort: axis 2 is out of range for a tensor of 2 dimensions"):
        st.sort(x, 2)
    with pytest.raises(IndexError, match="argsort: axis -1 is out of range for a tensor of 0 dimensions"):
        st.argsort(st.tensor(1.0))
    for k in (-1, 4):
        with pytest.raises(ValueError, match=rf"topk: k={k} must be from 0 to 3, the number of elements on axis 1"):
            st.topk(x, k)
    with pytest.raises(TypeError, match=r"topk: k must be an integer, not 1\.5"):
        st.topk(x, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="searchsorted: side='middle' must be 'left' or 'right'"):
        st.searchsorted(x[0], x, "middle")
    with pytest.raises(ValueError, match=r"searchsorted: sorted elements of shape \(2, 3\) must have one dimension"):
        st.searchsorted(x, st.ones((3, 3)))
    with pytest.raises(ValueError, match=r"searchsorted: sorted elements of shape \(\) must have one dimension"):
        st.searchsorted(st.tensor(1.0), x)
