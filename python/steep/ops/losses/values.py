"""Losses of predicted values and distributions, against targets of the same shape."""

from __future__ import annotations

import math
from typing import Any

from ...checks import check_real
from ...tensor import Tensor
from .. import elementwise, logic, manipulation
from .. import reduction as reductions
from .common import SWAPPED, beside, check_not_negative, check_order, later, operand, pair, reduced

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]

LOGS = "Of log-probabilities, pass log_target=True"


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input − target)². Raises ValueError for shapes that differ.

    >>> import steep as st
    >>> st.mse_loss(st.tensor([1.0, 2.0]), st.tensor([1.0, 4.0]))
    tensor(2.)
    """
    x, t = pair("mse_loss", input, target)
    return reduced("mse_loss", elementwise.square(x - t), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|input − target|. Raises ValueError for shapes that differ."""
    x, t = pair("l1_loss", input, target)
    return reduced("l1_loss", elementwise.abs(x - t), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """½ d² where d = |input − target| ≤ delta, delta · (d − ½ delta) beyond. Huber 1964, Ann. Math. Statist. 35.

    Raises ValueError for shapes that differ and delta ≤ 0.
    """
    check_real("huber_loss: delta", delta)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta={delta} must be greater than 0")
    x, t = pair("huber_loss", input, target)
    d = elementwise.abs(x - t)
    inside = elementwise.clip(d, max=delta)  # ½ m² + delta · (d − m) with m = min(d, delta)
    return reduced("huber_loss", 0.5 * elementwise.square(inside) + delta * (d - inside), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """½ d² / beta where d = |input − target| < beta, d − ½ beta beyond: ``huber_loss`` / beta. |d| for beta = 0.

    Girshick 2015, arXiv:1504.08083. Raises ValueError for shapes that differ and beta < 0.

    >>> import steep as st
    >>> st.smooth_l1_loss(st.tensor([0.5, 3.0]), st.tensor([0.0, 0.0]), "none")
    tensor([0.125, 2.5  ])
    """
    check_not_negative("smooth_l1_loss", beta=beta)
    x, t = pair("smooth_l1_loss", input, target)
    if beta == 0:
        return reduced("smooth_l1_loss", elementwise.abs(x - t), reduction)
    return reduced("smooth_l1_loss", huber_loss(x, t, "none", beta) / beta, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", *, log_target: bool = False) -> Tensor:
    """t · (log t − x), the pointwise Kullback–Leibler divergence, of x = input, *log*-probabilities, from targets t.

    With ``log_target`` the targets are log-probabilities too. Of "mean" is over all elements; the divergence itself is
    the sum over a distribution, so ``reduction`` may also be "batchmean": the sum divided by the length of the first
    axis. Raises ValueError for shapes that differ and negative targets.

    >>> import steep as st
    >>> uniform = st.full((1, 2), 0.5)
    >>> st.kl_div(st.log(uniform), st.tensor([[1.0, 0.0]]), "batchmean")
    tensor(0.6931472)
    """
    x, t = pair("kl_div", input, target)
    check_order("kl_div", x, t)
    if log_target:
        loss = elementwise.exp(t) * (t - x)
    else:
        negative = logic.less(t.detach(), 0)
        if not later("kl_div", negative, "a target was negative") and bool(reductions.any(negative)):
            low = float(reductions.min(t.detach()))
            raise ValueError(f"kl_div: targets are probabilities, but the smallest is {low:g}; {SWAPPED} {LOGS}")
        zero = logic.equal(t, 0)
        loss = t * (elementwise.log(elementwise.where(zero, 1.0, t)) - x)
    if reduction != "batchmean":
        return reduced("kl_div", loss, reduction)
    if loss.ndim == 0:
        raise ValueError("kl_div: reduction='batchmean' needs a first axis that counts the samples, not a number")
    return reductions.sum(loss) / loss.shape[0]


def poisson_nll_loss(
    input: Any,
    target: Any,
    reduction: str = "mean",
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> Tensor:
    """−log of the Poisson distribution of counts t = target: eˣ − t · x, where x = input is the *log* of the rate.

    Without ``log_input`` x is the rate: x − t · log(x + eps). ``full`` adds the constant log t! where t > 1, by
    Stirling's formula. Raises ValueError for shapes that differ.

    >>> import steep as st
    >>> st.poisson_nll_loss(st.tensor([0.0]), st.tensor([2.0]))
    tensor(1.)
    """
    x, t = pair("poisson_nll_loss", input, target)
    check_order("poisson_nll_loss", x, t)
    loss = elementwise.exp(x) - t * x if log_input else x - t * elementwise.log(x + eps)
    if full:
        many = logic.greater(t, 1)
        count = elementwise.where(many, t, 1.0)
        factorial = count * elementwise.log(count) - count + 0.5 * elementwise.log(2 * math.pi * count)
        loss = loss + elementwise.where(many, factorial, 0.0)
    return reduced("poisson_nll_loss", loss, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, reduction: str = "mean", *, full: bool = False, eps: float = 1e-6
) -> Tensor:
    """½ (log v + (x − t)² / v), −log of the normal distribution with mean x = input and variance v = max(var, eps).

    ``var`` is a number, has input's shape or one that broadcasts to it, or lacks its last axis. ``full`` adds the
    constant ½ log 2π. The gradient passes through the limit eps (as in PyTorch). Nix and Weigend 1994. Raises
    ValueError for shapes that don't fit, negative variances and eps ≤ 0.

    >>> import steep as st
    >>> st.gaussian_nll_loss(st.tensor([1.0]), st.tensor([3.0]), st.tensor([1.0]))
    tensor(2.)
    """
    name = "gaussian_nll_loss"
    if not eps > 0:
        raise ValueError(f"{name}: eps={eps} must be greater than 0")
    x, t = pair(name, input, target)
    v = operand(var, x)
    if v.shape != x.shape and x.ndim and v.shape == x.shape[:-1]:
        v = manipulation.expand_dims(v, -1)
    v = beside(name, "var", v, x)
    negative = logic.less(v.detach(), 0)
    if not later(name, negative, "a variance was negative") and bool(reductions.any(negative)):
        raise ValueError(f"{name}: variances must not be negative, but the smallest is {float(reductions.min(v)):g}")
    v = v + (elementwise.clip(v.detach(), min=eps) - v.detach())
    loss = 0.5 * (elementwise.log(v) + elementwise.square(x - t) / v)
    return reduced(name, loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)
