"""RMS norm: against its definition, its plain composition and differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same, check_same_function

inf, nan = math.inf, math.nan
LENGTHS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 1000]


def tensor(x: Any) -> st.Tensor:
    return st.asarray(np.asarray(x))


@pytest.mark.parametrize(("shape", "axes"), [((4, 7), 1), ((2, 3, 5), 1), ((2, 3, 5), 2), ((6,), 1), ((3, 1, 33), 1)])
@pytest.mark.parametrize("with_weight", [True, False])
def test_rms_norm_is_its_composition(
    shape: tuple[int, ...], axes: int, with_weight: bool, rng: np.random.Generator
) -> None:
    inner, last = shape[-axes:], tuple(range(-axes, 0))
    x = st.tensor(rng.standard_normal(shape) + 1, requires_grad=True)
    inputs = [x, *[st.tensor(rng.standard_normal(inner), requires_grad=True)] * with_weight]

    def plain(x: st.Tensor, weight: st.Tensor | None = None) -> st.Tensor:
        y = x / st.sqrt((x * x).mean(last, keepdims=True) + 0.1)
        return y if weight is None else y * weight

    check_same_function(lambda x, *w: st.rms_norm(x, inner, *w, eps=0.1), plain, inputs)
    assert st.autograd.gradcheck(lambda x, *w: st.rms_norm(x, inner, *w), inputs)
    assert st.autograd.gradgradcheck(lambda x, *w: st.rms_norm(x, inner, *w), inputs)


@pytest.mark.parametrize("n", [*LENGTHS, 4097, 262_144])
def test_rms_norm_against_float64(n: int, dtype: str, rng: np.random.Generator) -> None:
    eps = np.finfo(dtype).eps
    x, g = (rng.standard_normal((9, n)).astype(dtype) for _ in "xg")
    w = rng.standard_normal(n).astype(dtype)
    wide, wide_g, wide_w = (a.astype(np.longdouble) for a in (x, g, w))
    rstd = 1 / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5)
    normal, h = wide * rstd, wide_g * wide_w
    leaves = [st.tensor(a, requires_grad=True) for a in (x, w)]
    y = st.rms_norm(leaves[0], n, leaves[1], eps=1e-5)
    assert (np.abs(y.detach().numpy() - normal * w) <= 4 * eps * np.abs(normal * w)).all()
    dx, dw = (d.numpy() for d in st.grad(y, leaves, tensor(g)))
    size = np.abs(h * normal).mean(-1, keepdims=True)
    exact = rstd * (h - normal * (h * normal).mean(-1, keepdims=True))
    assert (np.abs(dx - exact) <= eps * rstd * (3 * np.abs(h) + 14 * np.abs(normal) * size)).all()
    assert (np.abs(dw - (wide_g * normal).sum(0)) <= 9 * eps * np.abs(wide_g * normal).sum(0)).all()
    (without,) = st.grad(st.rms_norm(leaves[0], n, eps=1e-5), leaves[0], tensor(g))
    exact = rstd * (g - normal * (g * normal).mean(-1, keepdims=True))
    size = np.abs(g * normal).mean(-1, keepdims=True)
    assert (np.abs(without.numpy() - exact) <= eps * rstd * (3 * np.abs(g) + 14 * np.abs(normal) * size)).all()


def test_rms_norm_of_views_and_corners(dtype: str, rng: np.random.Generator) -> None:
    base = tensor(rng.standard_normal((6, 8, 10)).astype(dtype))
    w = tensor(rng.standard_normal(20).astype(dtype))[::2]
    for x in (base[:, ::-1], base.permute_dims(1, 0, 2), base[::2], base[:1].broadcast_to((3, 8, 10))):
        assert_same(st.rms_norm(x, 10, w).numpy(), st.rms_norm(x.copy(), 10, w.copy()).numpy())
    assert st.rms_norm(st.zeros((0, 4)), 4).shape == (0, 4)
    x = st.tensor(np.array([[1, nan], [inf, 1], [0, 0], [3, 4]], dtype), requires_grad=True)
    y = st.rms_norm(x, 2, eps=0.0)
    expected = np.array([[nan, nan], [nan, 0], [nan, nan], [3 / 12.5**0.5, 4 / 12.5**0.5]])
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=4 * np.finfo(dtype).eps)
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()[3]).all()
    assert np.isnan(x.grad.numpy()[:3]).all()
    zeros = st.zeros((2, 3), requires_grad=True)  # the slope at 0 is 1 / √eps
    st.rms_norm(zeros, 3, eps=0.25).sum().backward()
    assert_same(zeros.grad.numpy(), np.full((2, 3), 2, "f4"))
