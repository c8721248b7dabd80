"""The step of an optimizer in a step that is recorded as a CUDA graph."""

from __future__ import annotations

import operator
from functools import partial
from typing import TYPE_CHECKING, Any

from ..capturing import Postponed, Recording

if TYPE_CHECKING:
    from .optimizer import Group, Optimizer

__all__ = ["record_step"]


def record_step(optimizer: Optimizer, recording: Recording, i: int, group: Group, steps: list[int]) -> None:
    """The step of group i, which the graph does from now on, with numbers that are written before each replay.

    Raises Postponed where a step as it is must come first, RuntimeError for an optimizer that is not capturable.
    """
    name = type(optimizer).__name__
    if not optimizer.capturable:
        raise RuntimeError(
            f"{name}.step: a step that is captured as a CUDA graph would repeat numbers of this optimizer, such as its "
            "learning rate: use SGD, Adam or AdamW, or call step() outside of the captured step"
        )
    before, state, masters = optimizer._steps[i], optimizer._state[i], optimizer._masters[i]
    advances = [now - n for now, n in zip(steps, before, strict=True)]  # 0 for parameters without a gradient
    params, names, groups = [*group["params"]], {*state}, len(optimizer.param_groups)

    def undo() -> None:
        optimizer._steps[i] = before
        for made in {*state} - names:
            del state[made]

    recording.undo.append(undo)
    if any(n == 1 and advance for n, advance in zip(steps, advances, strict=True)):
        raise Postponed(f"{name}: a parameter's first step makes its state")
    if not all(masters.is_current(k, p) for k, p in enumerate(params)):
        raise Postponed(f"{name}: a parameter has been changed since its last step")
    copies = [(k, p, copy) for k, p in enumerate(params) if (copy := masters.kept(k)) is not None]
    changed = {**group, "params": masters.of(params)} if group.get("master_weights") else group
    recorded = optimizer._update(changed, state, steps)
    if {*state} != names:
        raise Postponed(f"{name}: an option that was changed needs more state")
    if recorded is None:
        raise RuntimeError(f"{name}.step: the parameters are not on the device of the captured step")
    optimizer._steps[i] = steps
    if copies:
        masters.round_into(params)
    layout = _layout(optimizer, group)

    def fits() -> bool:
        if len(optimizer.param_groups) != groups:
            return False
        if optimizer._state[i] is not state or optimizer._masters[i] is not masters:
            return False
        now = optimizer.param_groups[i]
        same = len(now["params"]) == len(params) and all(map(operator.is_, now["params"], params))
        same = same and _layout(optimizer, now) == layout
        return same and all(masters.kept(k) is copy and masters.is_current(k, p) for k, p, copy in copies)

    def rewrite() -> None:
        steps = [n + advance for n, advance in zip(optimizer._steps[i], advances, strict=True)]
        optimizer._rewrite(recorded, optimizer._current_groups()[i], steps)
        optimizer._steps[i] = steps

    recording.fits.append(fits)
    recording.before.append(rewrite)
    recording.after += [partial(masters.follow, k, p) for k, p, _ in copies]


def _layout(optimizer: Optimizer, group: Any) -> tuple[bool, ...]:
    """The options that a graph cannot follow: they say which tensors are kept."""
    kept = (bool(group.get(option, True)) for _, option in optimizer._optional)
    return bool(group.get("master_weights")), *kept
