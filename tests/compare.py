"""How the tests compare: bit for bit, or in ulp (units in the last place) with the exact value computed by mpmath."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpmath import mp, mpf

import steep as st

Array = np.ndarray[Any, Any]
FLOATS = ("float32", "float64")
BITS = 110  # bits of the reference: enough for 1 + exp(-x) where exp(-x) is 2^-60, and for every ulp of float64


def assert_same(actual: Any, expected: Any, zero_sign: bool = True) -> None:
    """Equal shape, dtype and elements: NaN equals NaN, and -0 differs from +0 unless ``zero_sign`` is False."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(actual, expected)
    if zero_sign and actual.dtype.kind == "f":
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]), "signs of zeros")


def shares(a: st.Tensor, b: st.Tensor) -> bool:
    """Whether one is a view of the other, or both of a third."""
    return st._core.shares_memory(a, b)


def memory_in_use() -> int:
    """The bytes of all tensors on the default device."""
    on_cuda = st.get_default_device().type == "cuda"
    return st.cuda.memory_allocated() if on_cuda else st.memory_stats()["in_use"]


def check_same_function(fused: Callable[..., Any], plain: Callable[..., Any], inputs: list[st.Tensor]) -> None:
    """Value, gradient and second derivative of a fused operation are those of its plain composition."""
    wanted = [x for x in inputs if x.requires_grad]
    results = []
    for f in (fused, plain):
        y = f(*inputs)
        weights = st.asarray(np.random.default_rng(1).standard_normal(y.shape))
        without_graph = st.grad((f(*inputs) * weights).sum(), wanted)
        first = st.grad((y * weights).sum(), wanted, create_graph=True)
        second = st.grad(sum((st.sin(g) * g).sum() for g in first), wanted, allow_unused=True)
        results.append([None if t is None else t.detach().numpy() for t in (y, *without_graph, *first, *second)])
    for got, expected in zip(*results, strict=True):
        if expected is None:  # the first derivatives don't depend on a bias
            assert got is None
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


def exact(function: Callable[..., Any], *arguments: Array) -> tuple[Array, Array]:
    """``function`` on mpmath numbers, elementwise: the values rounded to the arguments' dtype, and the ulps that are
    missing to the exact ones."""
    dtype = arguments[0].dtype
    rounded, rest = np.empty(arguments[0].shape, dtype), np.zeros(arguments[0].shape)
    with mp.workprec(BITS):
        for i, numbers in enumerate(zip(*(x.tolist() for x in arguments), strict=True)):
            value = function(*map(mpf, numbers))
            if isinstance(value, mp.mpc) or mp.isnan(value):
                rounded[i] = np.nan
                continue
            with np.errstate(over="ignore", under="ignore"):
                rounded[i] = float(value)
            if np.isfinite(rounded[i]):
                rest[i] = float((value - mpf(float(rounded[i]))) / mpf(ulp(rounded[i])))
    return rounded, rest


def ulp(x: Any) -> Any:
    """The distance between the floating-point numbers around x, as float64; that of normal 1 for infinities."""
    info = np.finfo(x.dtype)
    size = np.where(np.isfinite(x), np.abs(x), 1).astype(np.float64)
    _, exponent = np.frexp(np.maximum(size, float(info.smallest_normal)))
    return np.ldexp(1.0, exponent - 1 - info.nmant)


def ulp_error(actual: Array, rounded: Array, rest: Any = 0.0, floor: float = 0.0) -> Array:
    """|actual - exact| in ulp of the exact value, or of ``floor`` where that is larger.

    0 where both are the same NaN or infinity, infinite where only one is. ``rounded`` may be float64 for float32.
    """
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        unit = ulp(np.maximum(np.abs(rounded.astype(actual.dtype)), actual.dtype.type(floor)))
        error = np.abs((actual.astype(np.float64) - rounded.astype(np.float64)) / unit - rest)
    same = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
    finite = np.isfinite(actual) & np.isfinite(rounded)
    return np.where(finite, error, np.where(same, 0.0, np.inf))


def assert_ulp(error: Array, limit: float, *context: Array) -> None:
    """Every error is at most ``limit`` ulp; ``context`` are arrays of which the worst element's are shown."""
    if error.size:
        worst = np.unravel_index(np.argmax(error), error.shape)
        assert error[worst] <= limit, f"{error[worst]:.3f} ulp > {limit} at {[x[worst] for x in context]}"


def numbers(dtype: str, seed: int = 0, count: int = 200, limits: Sequence[float] = (1, 12, 120)) -> Array:
    """Finite test points of both signs: uniform within each of ``limits``, over the whole range of exponents, the
    smallest and largest numbers, and subnormals."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    low, high = np.log2(float(info.smallest_normal)) - info.nmant, np.log2(float(info.max))
    parts = [rng.uniform(-limit, limit, count) for limit in limits]
    parts += [sign * np.exp2(rng.uniform(low, high, count)) for sign in (1, -1)]
    parts += [sign * np.array([info.smallest_subnormal, info.tiny, info.max, info.eps, 1.0]) for sign in (1, -1)]
    points = np.concatenate(parts).astype(dtype)
    return points[np.isfinite(points) & (points != 0)]


def run(code: str) -> str:
    """The output of a Python program in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.strip()
