"""softmax and log_softmax over rows that no block of a GPU holds alone."""

from __future__ import annotations

import numpy as np
import pytest

import steep as st

# What a block keeps, a cluster of two, and of eight, forward and backward; one more each, and longer ones.
LENGTHS = [16_384, 16_385, 32_768, 32_769, 65_540, 131_072, 262_144, 262_145, 524_289]


def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax and log_softmax in float64."""
    wide = x.astype(np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.exp(shifted - log_sum), shifted - log_sum


@pytest.mark.parametrize("n", LENGTHS)
def test_values_and_gradients(n: int) -> None:
    rng = np.random.default_rng(n)
    x = (3 * rng.standard_normal((2, n))).astype(np.float32)
    x[1, -1] = 40  # the maximum, in the last slice
    g = rng.standard_normal((2, n)).astype(np.float32)
    softmax, log_softmax = reference(x)
    for function, y, dx in (
        (st.softmax, softmax, softmax * (g - (g * softmax).sum(axis=-1, keepdims=True))),
        (st.log_softmax, log_softmax, g - softmax * g.astype(np.float64).sum(axis=-1, keepdims=True)),
    ):
        t = st.tensor(x, requires_grad=True)
        out = function(t, axis=-1)
        np.testing.assert_allclose(out.numpy(), y, rtol=2e-6, atol=1e-12)
        (gradient,) = st.autograd.grad(out, [t], st.tensor(g))
        np.testing.assert_allclose(gradient.numpy(), dx, rtol=1e-5, atol=1e-6 * np.abs(dx).max())


@pytest.mark.parametrize("n", [40_000, 262_144])
def test_special_values(n: int) -> None:
    x = np.full((5, n), -np.inf, np.float32)
    x[1, n - 1] = 3
    x[2, n // 2] = np.nan
    x[3, 7] = np.inf
    x[4] = -1e4
    with np.errstate(invalid="ignore"):
        softmax, log_softmax = reference(x)
    np.testing.assert_allclose(st.softmax(st.tensor(x), axis=-1).numpy(), softmax, rtol=1e-6)
    np.testing.assert_allclose(st.log_softmax(st.tensor(x), axis=-1).numpy(), log_softmax, rtol=1e-6)
