"""What the losses share: reductions, and the checks of shapes, dtypes and values."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ... import _core, autocasting, capturing
from ...stack import level_outside
from ...tensor import Tensor
from .. import elementwise, logic, manipulation
from .. import reduction as reductions
from .._apply import NUMBERS, as_tensor

__all__: list[str] = []

SWAPPED = "the arguments are (input, target): are they swapped?"


def reduced(name: str, loss: Tensor, how: str) -> Tensor:
    if divisor(name, loss.size, how) is None:
        return loss
    return reductions.mean(loss) if how == "mean" else reductions.sum(loss)


def divisor(name: str, count: int, how: str) -> float | None:
    """What the sum of all losses is divided by; None where each is wanted."""
    if not isinstance(how, str) or how not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction={how!r} must be 'mean', 'sum' or 'none'")
    return float(count) if how == "mean" else 1.0 if how == "sum" else None


def pair(name: str, input: Any, target: Any, called: tuple[str, str] = ("input", "target")) -> tuple[Tensor, Tensor]:
    """Floating-point tensors of one shape and dtype."""
    input = as_tensor(input, target)
    target = as_tensor(target, input)
    check_shapes(name, input, target, called)
    check_input(name, input, called[0])
    if autocasting.blocks:
        input = autocasting.in_float32(input)
    return input, target.astype(input.dtype)


def check_shapes(name: str, input: Tensor, target: Tensor, called: tuple[str, str]) -> None:
    """Raises ValueError unless they are equal."""
    if input.shape != target.shape:
        hint = "they must be equal"
        if input.ndim != target.ndim and input.size == target.size:
            shape = ", ".join(str(n) for n in (-1, *input.shape[1:]))
            hint += (
                ": broadcasting them would pair every prediction with every target, so reshape one of them first: "
                f"{called[1]}.reshape({shape})"
            )
        raise ValueError(f"{name}: {called[0]} has shape {input.shape}, {called[1]} {target.shape}; {hint}")


def operand(x: Any, input: Tensor) -> Tensor:
    """x as a tensor; a number takes the dtype of ``input``."""
    return as_tensor(np.float64(x), input).astype(input.dtype) if isinstance(x, NUMBERS) else as_tensor(x, input)


def beside(name: str, what: str, x: Any, input: Tensor) -> Tensor:
    """x in the dtype of ``input`` and of a shape that broadcasts to its."""
    x = operand(x, input)
    lengths = zip(reversed(x.shape), reversed(input.shape), strict=False)
    if x.ndim > input.ndim or any(n not in (1, m) for n, m in lengths):
        raise ValueError(f"{name}: {what} of shape {x.shape} does not broadcast to the input's shape {input.shape}")
    return x.astype(input.dtype)


def weighted(name: str, loss: Tensor, weight: Any) -> Tensor:
    """The loss of each element times its weight, if there are weights."""
    return loss if weight is None else loss * beside(name, "weight", weight, loss)


def hinge(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return elementwise.clip(x, min=0.0)


def check_not_negative(name: str, **options: float) -> None:
    for option, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name}: {option}={value} must not be negative")


def check_input(name: str, x: Tensor, called: str = "input") -> None:
    """Raises TypeError unless the model's output is floating-point."""
    if not x.dtype.is_floating_point:
        raise TypeError(f"{name}: {called} must be floating-point, not {x.dtype.name}; {SWAPPED}")


def check_probabilities(name: str, what: str, x: Tensor, otherwise: str) -> None:
    """Raises ValueError for values outside [0, 1], and says what they may be ``otherwise``."""
    if x.size == 0:
        return
    x = x.detach()
    if later(name, logic.logical_or(logic.less(x, 0), logic.greater(x, 1)), f"{what} lay outside of [0, 1]"):
        return
    low, high = extremes(x)
    if low < 0 or high > 1:  # NaN is the loss's to show
        raise ValueError(
            f"{name}: {what} must lie in [0, 1], but they range from {low:g} to {high:g}; {SWAPPED} {otherwise}"
        )


def later(name: str, wrong: Tensor, what: str) -> bool:
    """In a step that is captured as a CUDA graph, the device looks for an element that is ``wrong``, and True."""
    if capturing.recording() is None:
        return False
    _core.cuda.expect(wrong, f"{name}: in a replay of a CUDA graph {what}")
    return True


def extremes(x: Tensor) -> tuple[float, float]:
    """The least and the greatest element."""
    return float(reductions.min(x.detach())), float(reductions.max(x.detach()))


def check_order(name: str, input: Tensor, target: Tensor) -> None:
    """Warns if it is the target that would be trained."""
    if target.requires_grad and not input.requires_grad:
        _warn(f"{name}: target requires a gradient and input, the model's output, does not; {SWAPPED}")


def warn_double(name: str, activation: str, applied: str) -> None:
    """Warns that the input of a loss of logits went through an activation, unless ``fit`` runs: it names the layer."""
    _warn(
        f"{name}: input is the result of {activation}, but {name} wants logits and applies {applied} itself: training "
        f"would be slow and inexact. Leave the {activation} out"
    )


def _warn(text: str) -> None:
    """A warning at the user's line, unless the caller is ``compile``'s loss in ``fit``."""
    if level := level_outside(unless="steep.train."):
        warnings.warn(text, stacklevel=level)


def signs(name: str, target: Any, input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Targets of 1 and −1, of ``shape`` and in the dtype of ``input``."""
    target = as_tensor(target, input)
    if target.shape != shape:
        raise ValueError(
            f"{name}: for input of shape {input.shape}, target must have the shape {shape}, not {target.shape}"
        )
    odd = logic.not_equal(elementwise.abs(target.detach().astype(input.dtype)), 1)
    if not later(name, odd, "a target was neither 1 nor -1") and bool(reductions.any(odd)):
        low, high = extremes(target)
        raise ValueError(
            f"{name}: targets must be 1 or -1 (of yes/no targets t, pass 2 * t - 1), but they range from {low:g} to "
            f"{high:g}; {SWAPPED}"
        )
    return target.astype(input.dtype)


def flat(x: Tensor) -> Tensor:
    """The elements in one axis."""
    return x if x.ndim == 1 else manipulation.reshape(x, (-1,))
