"""Running sums, products, extremes and logsumexps, against NumPy and, where it is installed, PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same

NAMES = ["cumulative_sum", "cumulative_prod", "logcumsumexp", "cummax", "cummin"]
# Lines of every kind: in rows and columns, few and many, some long enough to be cut in pieces.
SHAPES = [
    ((), None), ((0,), 0), ((1,), 0), ((7,), 0), ((3, 0, 2), 1), ((0, 3), 1), ((5, 9), 0), ((5, 9), 1), ((4, 17, 3), 1),
    ((2, 300, 33), 1), ((1, 40, 140), 1), ((19, 33), 1), ((20_000,), 0), ((3, 8192), 1), ((9000, 2), 0), ((2, 6, 1), 1),
]  # fmt: skip


def expected(name: str, x: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    """By NumPy, in float64."""
    wide = x if x.dtype.kind in "iub" else x.astype(np.float64)
    with np.errstate(all="ignore"):
        if name == "cumulative_sum":
            return np.cumsum(wide, axis)
        if name == "cumulative_prod":
            return np.cumprod(wide, axis)
        if name == "logcumsumexp":
            return np.logaddexp.accumulate(wide, axis)
        return (np.maximum if name == "cummax" else np.minimum).accumulate(wide, axis)


def values(y: Any) -> st.Tensor:
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES[1:], ids=str)
def test_values(name: str, shape: tuple[int, ...], axis: int, dtype: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    if name == "cumulative_prod":
        x = np.sign(x) * np.exp(x / 100).astype(dtype)
    got = values(getattr(st, name)(st.tensor(x), axis))
    right = expected(name, x, axis)
    assert got.dtype.name == dtype
    if name in ("cummax", "cummin"):
        assert_same(got.numpy(), right.astype(dtype))
    else:
        scale = 1e-6 if dtype == "float32" else 1e-12
        bound = np.cumsum(np.abs(x), axis) if name == "cumulative_sum" else np.abs(right)
        assert (np.abs(got.numpy() - right) <= scale * (bound + 1)).all()


def test_float32_is_summed_in_float64(rng: np.random.Generator) -> None:
    x = rng.uniform(0, 1, 200_000).astype(np.float32)
    got = st.cumulative_sum(st.tensor(x)).numpy()
    right = np.cumsum(x, dtype=np.float64)
    assert (np.abs(got - right) <= np.spacing(got) / 2 * 1.0001).all()
    half = st.tensor([1 + 2.0**-12] * 8)  # in float32 the product would lose its low bits
    assert_same(st.cumulative_prod(half).numpy(), np.cumprod(half.numpy(), dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize("kind", ["bool", "int32", "int64"])
def test_integers(kind: str, rng: np.random.Generator) -> None:
    x = (rng.integers(-(2**31), 2**31, (3, 9000)) if kind != "bool" else rng.integers(0, 2, (3, 9000))).astype(kind)
    for axis in (0, 1):
        for name in ("cumulative_sum", "cumulative_prod"):
            wide = x.astype(np.int64)
            assert_same(getattr(st, name)(st.tensor(x), axis).numpy(), expected(name, wide, axis))
        got, indices = st.cummax(st.tensor(x), axis)
        assert_same(got.numpy(), np.maximum.accumulate(x, axis))
        assert_same(st.take_along_axis(st.tensor(x), indices, axis).numpy(), got.numpy())
        assert_same(values(st.cummin(st.tensor(x), axis)).numpy(), np.minimum.accumulate(x, axis))


def test_dtype_and_initial(rng: np.random.Generator) -> None:
    x = rng.integers(-5, 5, (3, 4)).astype(np.int32)
    for axis in (0, 1, -1):
        with_zero = np.insert(np.cumsum(x, axis, np.int64), 0, 0, axis)
        assert_same(st.cumulative_sum(st.tensor(x), axis, include_initial=True).numpy(), with_zero)
        with_one = np.insert(np.cumprod(x, axis, np.int64), 0, 1, axis)
        assert_same(st.cumulative_prod(st.tensor(x), axis=axis, include_initial=True).numpy(), with_one)
    for dtype in ("int32", "int64", "float32", "float64"):
        assert_same(st.cumulative_sum(st.tensor(x), 1, dtype=dtype).numpy(), np.cumsum(x, 1, dtype))
        assert_same(st.cumulative_prod(st.tensor(x), 1, getattr(st, dtype)).numpy(), np.cumprod(x, 1, dtype))
    large = st.tensor(np.array([2**31 - 1, 1], np.int32))
    assert st.cumulative_sum(large, dtype=st.int32).tolist() == [2**31 - 1, -(2**31)]
    assert st.cumulative_sum(st.zeros((0,)), include_initial=True).tolist() == [0.0]
    assert st.cumulative_sum([1, 2, 3]).tolist() == st.tensor([1, 2, 3]).cumulative_sum().tolist() == [1, 3, 6]


@pytest.mark.parametrize("name", NAMES)
def test_views(name: str, rng: np.random.Generator) -> None:
    base = rng.uniform(0.5, 1.5, (6, 8, 10)).astype(np.float32)
    function = getattr(st, name)
    for cut in (np.s_[:, ::-1, ::3], np.s_[::2, :, 4], np.s_[:, 1:2, ::-1]):
        view, copied = st.tensor(base)[cut], st.tensor(base[cut].copy())
        for axis in range(view.ndim):
            assert_same(values(function(view, axis)).numpy(), values(function(copied, axis)).numpy())
    turned = st.tensor(base).permute_dims(2, 0, 1)
    same = values(function(st.tensor(base), 2)).permute_dims(2, 0, 1).numpy()
    assert_same(values(function(turned, 0)).numpy(), same)


@pytest.mark.parametrize("n", [6, 5000, 20_000])
def test_special_values(n: int, dtype: str, rng: np.random.Generator) -> None:
    x = rng.uniform(0.9, 1.1, n).astype(dtype)
    x[2] = np.inf
    x[4] = np.nan
    for name in NAMES:
        got = values(getattr(st, name)(st.tensor(x))).numpy()
        assert np.isfinite(got[:2]).all()
        assert (got[2:4] == (got[0] if name == "cummin" else np.inf)).all() or name == "cummin"
        assert np.isnan(got[4:]).all()
    x[4] = -np.inf
    got = st.cumulative_sum(st.tensor(x)).numpy()
    assert np.isposinf(got[3])
    assert np.isnan(got[4:]).all()
    got = st.logcumsumexp(st.tensor(x)).numpy()
    assert np.isposinf(got[2:]).all()
    x = np.full(n, -np.inf, dtype)
    x[-1] = 1
    assert_same(st.logcumsumexp(st.tensor(x)).numpy(), x)
    zeros = np.full(n, -0.0, dtype)
    assert_same(st.cumulative_sum(st.tensor(zeros)).numpy(), zeros)


def test_zero_before_what_overflows_is_zero() -> None:
    x = np.array([0.0, 1e200, 1e200, 1e200] * 3000)
    assert_same(st.cumulative_prod(st.tensor(x[:4])).numpy(), np.zeros(4))
    if st.get_default_device().type == "cpu":  # on CUDA the pieces between are multiplied first
        assert_same(st.cumulative_prod(st.tensor(x)).numpy(), np.zeros(12_000))


def test_logcumsumexp_of_large_and_small(dtype: str) -> None:
    info = np.finfo(dtype)
    x = np.array([-1000, 0, 1000, 999, float(info.max) / 2, 0], dtype)
    with np.errstate(over="ignore"):
        right = np.logaddexp.accumulate(x.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(st.logcumsumexp(st.tensor(x)).numpy(), right, rtol=2 * float(info.eps))
    tiny = st.logcumsumexp(st.tensor([0.0, -30.0], dtype=dtype))  # log1p(e^-30) is not lost beside 1
    np.testing.assert_allclose(tiny.numpy()[1], np.log1p(np.exp(-30.0)), rtol=4 * float(info.eps))


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_indices(name: str, dtype: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for shape in ((30,), (20_000,), (5, 40), (300, 3), (2, 40, 50)):
        x = rng.integers(-3, 4, shape).astype(dtype)
        x[rng.uniform(size=shape) < 1e-3] = np.nan
        for axis in range(len(shape)):
            got = getattr(st, name)(st.tensor(x), axis)
            right = getattr(torch, name)(torch.tensor(x), axis)
            assert_same(got.values.numpy(), right.values.numpy())
            assert_same(got.indices.numpy(), right.indices.numpy())
    assert getattr(st, name)([True, False, True]).indices.dtype == st.int64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((1,), 0), ((3, 4), 0), ((3, 4), -1), ((2, 3, 2), 1)], ids=str)
def test_gradients(name: str, shape: tuple[int, ...], axis: int, rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal(shape), requires_grad=True)

    def function(t: st.Tensor) -> st.Tensor:
        return values(getattr(st, name)(t, axis))

    assert st.autograd.gradcheck(function, [x])
    assert st.autograd.gradgradcheck(function, [x])


@pytest.mark.parametrize("zeros", [[0], [2], [4], [1, 3], [0, 4], [0, 1, 2, 3, 4]], ids=str)
def test_gradient_of_products_with_zeros(zeros: list[int], rng: np.random.Generator) -> None:
    data = rng.standard_normal(5)
    data[zeros] = 0
    x = st.tensor(data, requires_grad=True)
    assert st.autograd.gradcheck(st.cumulative_prod, [x])
    assert st.autograd.gradgradcheck(st.cumulative_prod, [x])
    assert st.autograd.gradgradcheck(
        lambda t: st.grad((st.cumulative_prod(t) ** 2).sum(), t, create_graph=True)[0], [x]
    )


def test_gradients_of_options(rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal((3, 4)).astype(np.float32), requires_grad=True)
    for function, neutral in ((st.cumulative_sum, 0.0), (st.cumulative_prod, 1.0)):
        y = function(x, 1, dtype=st.float64, include_initial=True)
        assert (y.shape, y.dtype) == ((3, 5), st.float64)
        assert (y[:, 0].detach().numpy() == neutral).all()
        g = rng.standard_normal((3, 5))
        (got,) = st.grad(y, x, st.tensor(g))
        (plain,) = st.grad(function(x, 1), x, st.tensor(g[:, 1:].astype(np.float32)))
        assert got.dtype == st.float32
        np.testing.assert_allclose(got.numpy(), plain.numpy(), rtol=1e-5, atol=1e-6)


def test_gradient_of_logcumsumexp_at_infinities() -> None:
    x = st.tensor([-np.inf, -np.inf, 1.0, -np.inf, 2.0], dtype=st.float64, requires_grad=True)
    (g,) = st.grad(st.logcumsumexp(x)[2:].sum(), x)
    e = 1 / (1 + np.exp(1.0))
    np.testing.assert_allclose(g.numpy(), [0, 0, 2 + e, 0, 1 - e])


@pytest.mark.parametrize("name", NAMES)
def test_large_gradients_against_torch(name: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    theirs = {"cumulative_sum": "cumsum", "cumulative_prod": "cumprod"}.get(name, name)
    for shape, axis in (((9000,), 0), ((20, 300), 1), ((300, 20), 0)):
        data, g = np.exp(rng.standard_normal(shape) / 50), rng.standard_normal(shape)
        x, t = st.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        y, right = values(getattr(st, name)(x, axis)), getattr(torch, theirs)(t, axis)
        right = right if isinstance(right, torch.Tensor) else right[0]
        got = st.grad(y, x, st.tensor(g))[0].numpy()
        wanted = torch.autograd.grad(right, t, torch.tensor(g))[0].numpy()
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10 * np.abs(wanted).max())


@pytest.mark.parametrize("name", NAMES)
def test_number_of_threads_changes_no_bit(name: str, threads: None, rng: np.random.Generator) -> None:
    for shape, axis in (((200_000,), 0), ((100_000, 3), 0), ((40, 5000), 1), ((300, 700), 0)):
        x = st.tensor(rng.uniform(0.9, 1.1, shape).astype(np.float32))
        results = []
        for count in (1, 2, 3, 7):
            st.set_num_threads(count)
            y = getattr(st, name)(x, axis)
            results.append([part.numpy().tobytes() for part in (y if isinstance(y, tuple) else (y,))])
        assert all(result == results[0] for result in results)


def test_errors() -> None:
    x = st.ones((2, 3))
    for name in NAMES:
        function = getattr(st, name)
        with pytest.raises(ValueError, match=rf"{name}: axis must be given for a tensor of shape \(2, 3\)"):
            function(x)
        with pytest.raises(IndexError, match=f"{name}: axis 2 is out of range for a tensor of 2 dimensions"):
            function(x, 2)
        with pytest.raises(IndexError, match=f"{name}: axis 0 is out of range for a tensor of 0 dimensions"):
            function(st.tensor(1.0), 0)
        with pytest.raises(TypeError, match=f"{name}: an axis must be an integer"):
            function(x, 1.5)
    with pytest.raises(TypeError, match="logcumsumexp needs a floating-point tensor, not int64"):
        st.logcumsumexp([1, 2])
