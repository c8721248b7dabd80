"""Reductions over any axes, against NumPy, exact sums and, where it is installed, PyTorch."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import FLOATS, Array, assert_same, ulp

SHAPE = (3, 4, 1, 5)
AXES = [None, *(axes for r in range(5) for axes in itertools.combinations(range(4), r)), -1, 2, (-2, 0), [3, 1]]
EXACT = ("max", "min", "any", "all", "argmax", "argmin")  # the result is one of few values: no rounding
DTYPES = ("bool", "int32", "int64", "float32", "float64")


def tensor(x: Any) -> st.Tensor:
    return st.asarray(np.asarray(x))


def sample(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Small integers, so that sums and products are exact in any order."""
    return rng.integers(0 if dtype == "bool" else -2, 2 if dtype == "bool" else 3, shape).astype(dtype)


def numpy_axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
def test_all_axes(name: str, dtype: str, rng: np.random.Generator) -> None:
    x = sample(dtype, SHAPE, rng)
    for axis, keepdims in itertools.product(AXES, (False, True)):
        expected = getattr(np, name)(x, axis=numpy_axis(axis), keepdims=keepdims)
        assert_same(getattr(st, name)(tensor(x), axis, keepdims).numpy(), expected, zero_sign=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_argmax_and_argmin(name: str, dtype: str, rng: np.random.Generator) -> None:
    x = sample(dtype, SHAPE, rng)
    for axis, keepdims in itertools.product([None, 0, 1, 2, 3, -1, -3], (False, True)):
        expected = np.asarray(getattr(np, name)(x, axis=axis, keepdims=keepdims), np.int64)
        assert_same(getattr(st, name)(tensor(x), axis, keepdims).numpy(), expected)


@pytest.mark.parametrize("name", ["argmax", "argmin", "max", "min"])
def test_extrema_of_every_length_with_the_extremum_anywhere(name: str, dtype: str, rng: np.random.Generator) -> None:
    sign = 1 if "max" in name else -1
    for n in [*range(1, 70), 100, 1000, 5000]:
        x = rng.uniform(-1, 1, n + 1).astype(dtype)[1:]
        for place in {0, n // 2, n - 1}:
            special = x.copy()
            special[place] = 2 * sign
            expected = place if "arg" in name else special[place]
            assert getattr(st, name)(tensor(special)).item() == expected
            special[place] = np.nan  # wins over everything else
            got = getattr(st, name)(tensor(special)).item()
            assert got == place if "arg" in name else math.isnan(got)
    first = np.array([0, 3, 1, 3, -3, -3], dtype)
    assert getattr(st, name)(tensor(first)).item() == {"argmax": 1, "argmin": 4, "max": 3, "min": -3}[name]


def test_nan_inf_and_signs(dtype: str) -> None:
    inf, nan = np.inf, np.nan
    for x in ([inf, 1.0], [-inf, 1.0], [inf, -inf], [nan, 1.0, inf], [-0.0, -0.0], [-inf, -inf], [0.0, inf]):
        a = np.array(x * 9, dtype)
        for name in ("sum", "prod", "max", "min", "mean", "any", "all"):
            with np.errstate(invalid="ignore"):
                assert_same(getattr(st, name)(tensor(a)).numpy(), getattr(np, name)(a), zero_sign=False)


def test_integers_sum_as_int64_and_wrap() -> None:
    big = np.array([2**31 - 1] * 3, np.int32)
    assert_same(st.sum(tensor(big)).numpy(), np.array(3 * (2**31 - 1)))
    assert_same(st.prod(tensor(big)).numpy(), np.prod(big.astype(np.int64)))
    assert_same(st.sum(tensor(np.array([2**63 - 1, 1]))).numpy(), np.array(-(2**63)))


@pytest.mark.parametrize("n", [1, 7, 63, 1000, 100_003])
@pytest.mark.parametrize("axis", [0, 1])
def test_sum_accuracy(n: int, axis: int, dtype: str, rng: np.random.Generator) -> None:
    """Short chains are added in the dtype, their sums in double precision: the error doesn't grow with n."""
    shape = (n, 3) if axis == 0 else (3, n)
    for x in (rng.uniform(0, 1, shape), rng.standard_normal(shape) * np.exp(rng.uniform(-9, 9, shape))):
        a = x.astype(dtype)
        lines = np.moveaxis(a.astype(np.float64), axis, -1)
        true = np.array([math.fsum(line) for line in lines])
        size = np.array([math.fsum(np.abs(line)) for line in lines])
        for got, exact in ((st.sum(tensor(a), axis), true), (st.mean(tensor(a), axis), true / n)):
            scale = np.abs(size * (exact / true))
            error = np.abs(got.numpy().astype(np.float64) - exact)
            assert (error <= 2 * ulp(scale.astype(dtype)) + ulp(exact.astype(dtype))).all(), error / ulp(scale)


def test_var(dtype: str, rng: np.random.Generator) -> None:
    x = (rng.standard_normal(SHAPE) + 100).astype(dtype)
    wide = x.astype(np.float64)
    for axis, correction in itertools.product([None, 0, (0, 3), (1, 2, 3)], (0, 1, 0.5)):
        # The mean is rounded to the dtype: around 100 that is an error of up to 50 eps in every distance.
        expected = wide.var(axis=axis, ddof=correction, keepdims=True)
        error = np.abs(st.var(tensor(x), axis, correction, True).numpy() - expected)
        assert (error <= 20 * np.finfo(dtype).eps * expected).all()
    assert np.isnan(st.var(tensor(x), 2, 1).numpy()).all()  # 0 / 0: one element and a correction of 1
    assert np.isnan(st.var(tensor(np.empty((0,), dtype))).item())


def test_mean_of_integers_is_float32() -> None:
    assert_same(st.mean(tensor([1, 2, 4, 4])).numpy(), np.float32(2.75))
    assert_same(st.mean(tensor([True, False])).numpy(), np.float32(0.5))
    assert_same(st.mean(tensor([2**62, 2**62])).numpy(), np.float32(2**62))  # their sum is no int64


def test_logsumexp(dtype: str, rng: np.random.Generator) -> None:
    x = (rng.standard_normal(SHAPE) * 30).astype(dtype)
    wide = x.astype(np.longdouble)
    for axis, keepdims in itertools.product(AXES, (False, True)):
        if axis == ():
            continue
        top = wide.max(axis=numpy_axis(axis), keepdims=True)
        expected = np.log(np.exp(wide - top).sum(axis=numpy_axis(axis), keepdims=True)) + top
        got = st.logsumexp(tensor(x), axis, keepdims).numpy()
        assert got.shape == (expected if keepdims else expected.squeeze(numpy_axis(axis))).shape
        error = np.abs(got.reshape(expected.shape) - expected)
        # top + log(sum): sum ≥ 1 is rounded, so the logarithm has an absolute error of an eps.
        assert (error <= 2 * ulp(np.maximum(np.abs(expected), np.maximum(np.abs(top), 0.5)).astype(dtype))).all()
    inf = np.inf
    for line, value in (
        ([-inf, -inf], -inf), ([inf, 0], inf), ([inf, -inf], inf), ([1e4, 1e4], 1e4 + math.log(2)), ([-1e4], -1e4),
        ([np.nan, inf], np.nan), ([np.nan, -inf], np.nan), ([], -inf),
    ):  # fmt: skip
        assert_same(st.logsumexp(tensor(np.array(line, dtype))).numpy(), np.array(value, dtype))


def test_empty() -> None:
    for shape, axis in (((0,), None), ((0, 3), 0), ((3, 0), 1), ((3, 0), 0), ((2, 0, 3), (0, 1)), ((0, 3), 1)):
        x = np.empty(shape, np.float32)
        for name in ("sum", "prod", "any", "all"):
            assert_same(getattr(st, name)(tensor(x), axis).numpy(), getattr(np, name)(x, axis=axis))
        mean = st.mean(tensor(x), axis).numpy()
        assert (mean.shape, np.isnan(mean).all()) == (x.sum(axis=axis).shape, True)
    assert st.max(st.zeros((0, 3)), 1).shape == (0,)
    assert st.argmax(st.zeros((0, 3)), 1).shape == (0,)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "argmax", "argmin", "logsumexp"])
def test_layouts(name: str, dtype: str, rng: np.random.Generator) -> None:
    base = rng.uniform(-1, 1, (9, 10, 130)).astype(dtype)
    x = tensor(base)
    views = [x[::2], x[:, ::-1, ::3], x.permute_dims(2, 0, 1), x[3:4].broadcast_to((5, 10, 130)), x[..., 1:], x[:, 4]]
    for view, axis in itertools.product(views, (None, 0, 1, -1)):
        packed = tensor(view.numpy().copy())
        got, expected = (getattr(st, name)(t, axis).numpy() for t in (view, packed))
        if name in EXACT:
            assert_same(got, expected)
        else:  # another order of summation; in a product every rounding counts, and they are random
            scale = {"sum": np.abs(packed.numpy()).sum(), "prod": np.abs(expected) * np.sqrt(packed.size)}
            scale = scale.get(name, np.abs(expected))
            assert (np.abs(got - expected) <= 4 * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "argmax", "argmin", "mean", "logsumexp"])
@pytest.mark.parametrize("shape", [(300_000,), (3, 100_000), (100_000, 3), (60, 70, 80), (2, 1, 90_000)])
def test_threads_do_not_change_a_bit(
    name: str, shape: tuple[int, ...], threads: None, rng: np.random.Generator
) -> None:
    x = tensor(rng.uniform(0.5, 1.5, shape).astype(np.float32))
    for view, axis in itertools.product((x, x[..., ::2], x.permute_dims(*range(x.ndim)[::-1])), (None, 0, -1)):
        results = []
        for n in (1, 2, 5):
            st.set_num_threads(n)
            results.append(getattr(st, name)(view, axis).numpy())
        assert_same(results[1], results[0])
        assert_same(results[2], results[0])


# --- gradients --------------------------------------------------------------------------------------------------------

GRADS = {
    "sum": lambda x, axis: x.sum(axis),
    "mean": lambda x, axis: x.mean(axis),
    "prod": lambda x, axis: x.prod(axis),
    "var": lambda x, axis: x.var(axis, 1.0),
    "max": lambda x, axis: x.max(axis),
    "min": lambda x, axis: x.min(axis),
    "logsumexp": st.logsumexp,
}


@pytest.mark.parametrize("name", GRADS)
def test_gradients(name: str, rng: np.random.Generator) -> None:
    x = st.tensor(rng.permutation(np.linspace(-2, 2, 24)).reshape(2, 3, 1, 4), requires_grad=True)

    def first(x: st.Tensor, axis: Any) -> st.Tensor:
        return st.grad(st.sin(GRADS[name](x, axis)).sum(), x, create_graph=True)[0]

    for axis in (None, 0, -1, (0, 3), (2,)):
        if name != "var" or axis != (2,):
            assert st.autograd.gradcheck(lambda x, a=axis: GRADS[name](x, a), [x])
            assert st.autograd.gradcheck(lambda x, a=axis: first(x, a), [x])


def test_extrema_share_the_gradient_of_ties() -> None:
    x = st.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    assert st.grad(x.max(1).sum(), x)[0].tolist() == [[0, 0.5, 0.5], pytest.approx([1 / 3] * 3)]
    assert st.grad(x.min(), x)[0].tolist() == [[1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_gradient_of_prod_beside_zeros(zeros: int) -> None:
    values = np.array([2.0, -3.0, 4.0, 0.5])
    values[1 : 1 + zeros] = 0
    x = st.tensor(values, requires_grad=True)
    expected = [np.prod(np.delete(values, i)) for i in range(4)]
    assert st.grad(x.prod(), x)[0].tolist() == expected
    (g,) = st.grad(x.prod(), x, create_graph=True)
    assert g.tolist() == expected
    hessian = [[np.prod(np.delete(values, [i, j])) if i != j else 0.0 for j in range(4)] for i in range(4)]
    assert [st.grad(g[i], x, retain_graph=True)[0].tolist() for i in range(4)] == hessian


def test_std_of_equal_elements_has_no_slope() -> None:
    x = st.tensor([[2.0, 2.0], [1.0, 3.0]], requires_grad=True)
    (g,) = st.grad(st.std(x, 1).sum(), x, create_graph=True)
    assert g.tolist() == [[0, 0], [-0.5, 0.5]]
    assert np.isfinite(st.grad(g.sum(), x)[0].numpy()).all()
    assert np.isnan(st.std(st.ones(1), correction=1.0).item())


def test_gradients_of_gradients_of_prod_of_8_axes(rng: np.random.Generator) -> None:
    x = st.tensor(rng.integers(0, 2, (2, 1, 2, 1, 1, 1, 1, 3)).astype("f8"), requires_grad=True)
    assert st.autograd.gradgradcheck(lambda x: x.prod(2), [x])


@pytest.mark.parametrize("name", GRADS)
def test_against_torch(name: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    functions = {
        "var": lambda t, a: t.var(a, correction=1), "max": torch.amax, "min": torch.amin,
        "prod": lambda t, a: t.prod(a[0]),
    }  # fmt: skip
    function = functions.get(name, getattr(torch, name, None))
    for trial in range(12):
        shape = tuple(int(n) for n in rng.integers(2, 6, rng.integers(1, 5)))
        axes = tuple(int(i) for i in rng.permutation(len(shape))[: rng.integers(1, len(shape) + 1)])
        axes = axes[:1] if name == "prod" else axes
        data = rng.integers(-3, 4, shape) * 0.5 + (0 if name in ("max", "min", "prod") else rng.random(shape))
        x, t = st.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        y, expected = GRADS[name](x, axes), function(t, axes)
        g = rng.standard_normal(y.shape)
        np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-14, atol=1e-14, err_msg=f"{trial}")
        y.backward(tensor(g))
        expected.backward(torch.tensor(g))
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("float_type", FLOATS)
def test_gradients_keep_the_dtype(float_type: str) -> None:
    for function in GRADS.values():
        x = st.tensor(np.array([1.0, 2.0, 3.0], float_type), requires_grad=True)
        assert st.grad(function(x, None), x)[0].dtype.name == float_type
