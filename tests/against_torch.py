"""The same computation in steep and in PyTorch: values, gradients, and gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import steep as st

RTOL, ATOL = 1e-11, 1e-12


def close(actual: Any, expected: Any, what: str = "", scale: float = 1.0) -> None:
    """Equal to rounding errors; None is a gradient of zeros."""
    if actual is None and expected is None:
        return
    a = np.zeros(tuple(expected.shape)) if actual is None else actual.detach().numpy()
    b = np.zeros(actual.shape) if expected is None else expected.detach().numpy(force=True)
    assert a.shape == b.shape, what
    np.testing.assert_allclose(a, b, rtol=RTOL * scale, atol=ATOL * scale, err_msg=what)


def compare(
    ours: Callable[..., Any], theirs: Callable[..., Any], arrays: Sequence[Any], second: bool = True, scale: float = 1.0
) -> None:
    """Holds ``ours(*tensors)`` against ``theirs(*tensors)`` for tensors of the same float64 arrays.

    With ``second`` also the gradients of a function of the gradients; the errors may be ``scale`` times larger.
    """
    import torch

    x = [st.tensor(a, requires_grad=True) for a in arrays]
    z = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, t = ours(*x), theirs(*z)
    close(y, t, "value", scale)
    rng = np.random.default_rng(1)
    cotangent = np.asarray(rng.standard_normal(y.shape))
    plain = st.grad(y, x, st.tensor(cotangent), retain_graph=True, allow_unused=True)
    first = st.grad(y, x, st.tensor(cotangent), create_graph=True, allow_unused=True)
    right = torch.autograd.grad(t, z, torch.tensor(cotangent), create_graph=second, allow_unused=True)
    for i, expected in enumerate(right):
        close(plain[i], expected, f"gradient {i}", scale)
        close(first[i], expected, f"gradient {i}, recorded", scale)
    if not second:
        return
    factors = [np.asarray(rng.standard_normal(a.shape)) for a in arrays]
    total = [
        sum((g * like(f)).sum() for g, f in zip(gradients, factors, strict=True) if g is not None and g.requires_grad)
        for gradients, like in ((first, st.tensor), (right, torch.tensor))
    ]
    if not isinstance(total[1], torch.Tensor):
        return
    again = torch.autograd.grad(total[1], z, allow_unused=True)
    got = st.grad(total[0], x, allow_unused=True) if isinstance(total[0], st.Tensor) else [None] * len(x)
    for i, expected in enumerate(again):
        close(got[i], expected, f"second gradient {i}", scale * 10)
