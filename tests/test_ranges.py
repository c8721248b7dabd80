"""Normalisations and distances of very large and very small numbers, against long double."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st

Array = np.ndarray[Any, Any]

# From where the squares vanish to where they overflow.
SCALES = {
    "float32": [1e-37, 1e-30, 1e-22, 1e-16, 1.0, 1e16, 1e22, 1e30, 3e38],
    "float64": [1e-306, 1e-200, 1e-160, 1e-120, 1.0, 1e120, 1e160, 1e200, 1e308],
}
LENGTHS = [2, 3, 8, 33, 300, 5000]


def rows_of_scales(n: int, dtype: str, rng: np.random.Generator) -> Array:
    """A usual row after each one of another scale."""
    scales = np.array(SCALES[dtype])
    x = rng.uniform(-1, 1, (2 * len(scales), n))
    x[::2] *= scales[:, None]
    return x.astype(dtype)


def check(got: st.Tensor, expected: Array, size: Array | float, dtype: str) -> None:
    """Within eps · size, or a few of the smallest numbers."""
    limits = np.finfo(dtype)
    expected = np.where(np.abs(expected) > limits.max, np.inf, expected)
    error = np.abs(got.detach().numpy().astype(np.longdouble) - expected)
    assert (error <= limits.eps * size + 4 * np.longdouble(limits.smallest_subnormal)).all()


def root_mean_square(x: Array, eps: float) -> Array:
    return np.sqrt((x**2).mean(-1, keepdims=True) + np.longdouble(eps))


Norm = Callable[[st.Tensor, st.Tensor, float], st.Tensor]
NORMS: list[tuple[Norm, bool]] = [
    (lambda x, w, eps: st.layer_norm(x, x.shape[-1], w, eps=eps), True),
    (lambda x, w, eps: st.rms_norm(x, x.shape[-1], w, eps=eps), False),
]


def check_norm(norm: Norm, centres: bool, x: Array, eps: float, rng: np.random.Generator) -> None:
    dtype, n = str(x.dtype), x.shape[-1]
    g, w = rng.uniform(1, 2, x.shape).astype(dtype), rng.uniform(1, 2, n).astype(dtype)
    wide = x.astype(np.longdouble)
    centred = wide - wide.mean(-1, keepdims=True) if centres else wide
    rms = root_mean_square(centred, eps)
    normal, h = centred / rms, g.astype(np.longdouble) * w
    leaves = [st.tensor(a, requires_grad=True) for a in (x, w)]
    y = norm(*leaves, eps)
    check(y, normal * w, 8 * np.abs(normal * w) + 4 * np.abs(w), dtype)
    dx, dw = st.grad(y, leaves, st.asarray(g), retain_graph=True)
    slope = h - normal * (h * normal).mean(-1, keepdims=True) - (h.mean(-1, keepdims=True) if centres else 0)
    size = np.abs(h) + np.abs(h).mean(-1, keepdims=True) + np.abs(normal) * np.abs(h * normal).mean(-1, keepdims=True)
    check(dx, slope / rms, 20 * size / rms, dtype)
    check(dw, (g * normal).sum(0), 20 * (np.abs(g * normal) + 1).sum(0), dtype)
    recorded = st.grad(y, leaves, st.asarray(g), create_graph=True)  # by the formula that can be differentiated again
    check(recorded[0], slope / rms, 20 * size / rms, dtype)
    check(recorded[1], (g * normal).sum(0), 20 * (np.abs(g * normal) + 1).sum(0), dtype)


@pytest.mark.parametrize(("norm", "centres"), NORMS, ids=["layer_norm", "rms_norm"])
@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("kind", ["none", "usual", "as small"])
def test_norms(norm: Norm, centres: bool, n: int, kind: str, dtype: str, rng: np.random.Generator) -> None:
    x = rows_of_scales(n, dtype, rng)
    eps = {"none": 0.0, "usual": 1e-5, "as small": {"float32": 1e-60, "float64": 1e-306}[dtype]}[kind]
    check_norm(norm, centres, x, eps, rng)


@pytest.mark.parametrize(("norm", "centres"), NORMS, ids=["layer_norm", "rms_norm"])
def test_norms_from_end_to_end_of_the_range(norm: Norm, centres: bool, dtype: str, rng: np.random.Generator) -> None:
    largest = np.finfo(dtype).max
    for signs in ([1, -1, -1], [1, 1, -1, 0.5], [-1] * 39 + [1], [1] * 3 + [0.5]):
        check_norm(norm, centres, np.array([signs], dtype) * largest, 0.0, rng)


def test_norms_of_subnormal_numbers(dtype: str) -> None:
    """Their reciprocal, by which gradients are multiplied, is beyond the range."""
    x = np.array([[1, 2, -4]], dtype) * np.finfo(dtype).smallest_subnormal
    exact = np.array([[1, 2, -4]], np.longdouble)
    rms = np.sqrt((exact**2).mean())
    check(st.rms_norm(st.asarray(x), 3, eps=0.0), exact / rms, 8, dtype)
    exact -= exact.mean()
    check(st.layer_norm(st.asarray(x), 3, eps=0.0), exact / np.sqrt((exact**2).mean()), 8, dtype)


@pytest.mark.parametrize("shape", [(300, 9), (20, 9, 30)])
@pytest.mark.parametrize("mean", [0, 100, 1e6])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(shape: tuple[int, ...], mean: float, affine: bool, dtype: str, rng: np.random.Generator) -> None:
    """A mean that is large beside the deviation costs no digits; on the CPU squares may overflow."""
    scales = [1e-37, 1e-20, 1, 1e16, 1e19, 1e20, 1e28, 1, 1e-3] if st.get_default_device().type == "cpu" else [1] * 9
    x = rng.uniform(-1, 1, shape)
    x = ((x + mean) * np.array(scales).reshape(9, *[1] * (x.ndim - 2))).astype(dtype)
    w, b = (rng.uniform(1, 2, 9).astype(dtype) for _ in "wb")
    over, by_channel = (0, *range(2, x.ndim)), (9, *[1] * (x.ndim - 2))
    g = rng.uniform(1, 2, shape).astype(dtype)
    wide, h = x.astype(np.longdouble), g.astype(np.longdouble)
    centred = wide - wide.mean(over, keepdims=True)
    centred -= centred.mean(over, keepdims=True)  # which long double has rounded, too
    deviation = np.sqrt((centred**2).mean(over, keepdims=True) + 1e-5)
    normal = centred / deviation
    parameters = [st.tensor(p, requires_grad=True) for p in (w, b)] if affine else []
    factor, shift = (w.reshape(by_channel), b.reshape(by_channel)) if affine else (np.ones(by_channel, dtype), 0)
    leaf = st.tensor(x, requires_grad=True)
    y = st.batch_norm(leaf, None, None, *parameters, training=True)
    check(y, normal * factor + shift, 12 * (np.abs(normal * factor) + 1), dtype)
    share = (h * normal).mean(over, keepdims=True)
    slope = (h - h.mean(over, keepdims=True) - normal * share) * factor / deviation
    size = (np.abs(h) + np.abs(h).mean(over, keepdims=True) + np.abs(normal)) * 2 * factor / deviation
    sums = [(h * normal).sum(over), h.sum(over)]
    sizes = [np.abs(h * normal).sum(over) + np.abs(h).sum(over), np.abs(h).sum(over)]
    for create_graph in (False, True):
        dx, *others = st.grad(y, [leaf, *parameters], st.asarray(g), retain_graph=True, create_graph=create_graph)
        check(dx, slope, 20 * size, dtype)
        for other, exact, bound in zip(others, sums, sizes, strict=False):
            check(other, exact, 20 * bound, dtype)


def distances(a: Array, b: Array, p: float) -> tuple[Array, Array]:
    """Of long doubles, from differences that are divided by the largest; and those divided by the distance."""
    x = a[:, None] - b
    unit = np.abs(x).max(-1, keepdims=True)
    unit[unit == 0] = 1
    y = (unit * ((np.abs(x / unit) ** p).sum(-1, keepdims=True)) ** (1 / np.longdouble(p)))[..., 0]
    return y, x / np.where(y == 0, 1, y)[..., None]


@pytest.mark.host(reason="composed on CUDA, of squares")
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 7.3, 40.0])
@pytest.mark.parametrize("d", [1, 2, 3, 20, 300])
def test_cdist(p: float, d: int, dtype: str, rng: np.random.Generator) -> None:
    a, other = (rows_of_scales(d, dtype, rng) for _ in "ab")
    a[-2] /= 2 * d  # so that no distance is infinite
    other[-2] /= 2 * d
    b = np.concatenate([a[::-1], other[1::3], -a])  # some equal, and more than one panel
    leaves = [st.tensor(x, requires_grad=True) for x in (a, b)]
    exact, ratio = distances(*(x.astype(np.longdouble) for x in (a, b)), p)
    y = st.cdist(*leaves, p)
    check(y, exact, 200 * exact, dtype)
    for size in (1.0, 1e-20, 1e20):
        g = (rng.uniform(1, 2, y.shape) * size).astype(dtype)
        vanished = max(size, 1) * np.finfo(dtype).smallest_normal / np.finfo(dtype).eps  # of powers next to nothing
        slopes = g[..., None].astype(np.longdouble) * np.sign(ratio) * np.abs(ratio) ** (p - 1)
        for got, axis, sign in zip(st.grad(y, leaves, st.asarray(g), retain_graph=True), (1, 0), (1, -1), strict=True):
            check(got, sign * slopes.sum(axis), 400 * np.abs(slopes).sum(axis) + vanished, dtype)


@pytest.mark.host(reason="composed on CUDA, of squares")
@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_cdist_of_subnormal_and_of_infinite_numbers(p: float, dtype: str) -> None:
    smallest = np.finfo(dtype).smallest_subnormal
    a, b = np.array([[3, 0], [0, 0]], dtype) * smallest, np.array([[0, 4], [np.inf, 0], [np.nan, 0]], dtype)
    b[0] *= smallest
    y = st.cdist(st.asarray(a), st.asarray(b), p)
    expected = np.array([[round((3**p + 4**p) ** (1 / p)) * smallest, np.inf, np.nan], [4 * smallest, np.inf, np.nan]])
    np.testing.assert_array_equal(y.numpy(), expected.astype(dtype))
