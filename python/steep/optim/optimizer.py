"""What all optimizers share: parameter groups, their options, and the state kept for each parameter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, capturing
from ..checks import shown
from ..ops import to_device, zeros, zeros_like
from ..ops._apply import host_tensor
from ..stack import level_outside
from ..tensor import Parameter, Tensor
from .captured import record_step
from .master_weights import MasterWeights
from .watch import Watch

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Group", "Optimizer", "Rate"]

Group = dict[str, Any]
Rate = float | Callable[[int], float]  # a learning rate, or a schedule: the rate as a function of the step


class Optimizer:
    """Base class. A subclass names its options, the tensors it keeps for each parameter, and defines ``_update``.

    ``params`` are the tensors to train, or groups ``{"params": tensors, "lr": …}`` with options of their own. The
    options are in ``param_groups`` and may be changed at any time: ``optimizer.param_groups[0]["lr"] = 0.01``.
    ``lr`` is a number or a schedule (see ``steep.optim.schedules``): a function that is called, at each step, with the
    number of steps so far, and returns the rate. That number is counted for each group: the most updates that one of
    its parameters had.

    With ``master_weights=True`` parameters of 16 bits get float32 copies, and float32 state: the copies are trained and
    rounded into the parameters, so that steps too small for 16 bits add up. It changes nothing for wider parameters.

    Raises ValueError without parameters, for repeated ones, for computed ones, and for unknown options; TypeError for
    what is no floating-point tensor.

    >>> import steep as st
    >>> model = st.nn.Linear(3, 1)
    >>> optimizer = st.optim.Adam(model.parameters(), lr=st.optim.schedules.CosineDecay(0.5, decay_steps=2))
    >>> model(st.ones(8, 3)).square().mean().backward()
    >>> optimizer.step()
    >>> optimizer.lr
    0.25
    >>> optimizer.lr = 0.1
    """

    state_names: tuple[str, ...] = ()
    scalar_names: tuple[str, ...] = ()  # those of state_names that are one number for each parameter
    _optional: tuple[tuple[str, str], ...] = (("momentum_buffer", "momentum"), ("grad_avg", "centered"))
    _not_negative: tuple[str, ...] = ("lr", "weight_decay", "eps", "momentum")  # options, if it has them
    _shares: tuple[str, ...] = ()  # options from 0 to 1

    def __new__(cls, *args: Any, **options: Any) -> Self:
        if "learning_rate" in options:
            raise TypeError(f"{cls.__name__}: the learning rate is lr: {cls._call(options['learning_rate'])}")
        return super().__new__(cls)

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self._options = tuple(defaults)
        self._defaults = defaults
        self.param_groups: list[Group] = []
        self._steps: list[list[int]] = []  # for each group: how often each of its parameters was updated
        self._state: list[dict[str, list[Tensor]]] = []  # for each group: name -> one tensor a parameter
        self._masters: list[MasterWeights] = []  # for each group
        self._watch: Watch | None = Watch()
        if hasattr(params, "parameters") and callable(params.parameters):
            raise TypeError(f"{self._name()}: pass the model's parameters, model.parameters(), not the model")
        if isinstance(params, Tensor):
            raise TypeError(f"{self._name()}: pass a list of tensors, not one tensor: [w]")
        if not isinstance(params, Iterable):
            raise TypeError(
                f"{self._name()}: call the model's method: model.parameters()"
                if callable(params)
                else f"{self._name()}: the tensors to train come first, not {shown(params)}: {self._call(params)}"
            )
        entries = list(params)
        if not entries:
            raise ValueError(
                f"{self._name()} got no parameters: does the model register any? See model.named_parameters()"
            )
        for group in entries if isinstance(entries[0], dict) else [{"params": entries}]:
            self.add_param_group(group)

    @classmethod
    def _call(cls, rate: Any) -> str:
        """How it is made, for those who know Keras' optimizers, which find the parameters themselves."""
        rate = f"{rate:g}" if isinstance(rate, Real) else "…"
        by_function = f"lambda params: {cls.__name__}(params, lr={rate})"
        return f"use {cls.__name__}(model.parameters(), lr={rate}), or, in compile, {by_function}"

    @property
    def lr(self) -> Any:
        """The learning rate of the next step, a number, in the first group. Setting it sets that of all groups, and
        takes the place of their schedules; a schedule may be set too."""
        return self._current_groups()[0]["lr"]

    @lr.setter
    def lr(self, value: Any) -> None:
        self._check_options({**self.param_groups[0], "lr": value})
        for group in self.param_groups:
            group["lr"] = value

    def _learning_rate(self, value: Any = None) -> None:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute 'learning_rate': use lr")

    learning_rate = property(_learning_rate, _learning_rate)  # Keras' name, which to set would be without effect

    def add_param_group(self, group: Group) -> None:
        """Adds tensors to train, ``{"params": tensors}``, with the default options unless the group has its own."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"{self._name()}: a group is a dict with a 'params' entry, not {group!r:.60}")
        unknown = [key for key in group if key != "params" and key not in self._options]
        if unknown:
            raise ValueError(f"{self._name()} has no option {unknown[0]!r}: it has {', '.join(self._options)}")
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        if not params:
            raise ValueError(f"{self._name()}: group {len(self.param_groups)} has no parameters")
        group = {**self._defaults, **group, "params": params}
        self._check_options(group)
        self._check_parameters(params)
        self.param_groups.append(group)
        self._steps.append([0] * len(params))
        self._state.append({})
        self._masters.append(MasterWeights())

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters: without it the next backward adds to them."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        """Updates every parameter that has a gradient. Warns if none has one, or if zero_grad seems forgotten."""
        updated = False
        groups = self.param_groups
        recording = capturing.recording()
        if len(groups) != len(self._steps):
            raise ValueError(
                f"{self._name()}.step: param_groups holds {len(groups)} groups, and state is kept for "
                f"{len(self._steps)}: add groups by add_param_group, and make another optimizer to leave some out"
            )
        for group in groups:
            if callable(group.get("lr")):
                groups = self._current_groups()
                break
        for i, group in enumerate(groups):
            params = group["params"]
            before = self._steps[i]
            if not isinstance(params, list) or len(params) != len(before):
                raise ValueError(
                    f"{self._name()}.step: the params of group {i} are no longer the list of {len(before)} tensors "
                    "that state is kept for: add tensors by add_param_group, or make another optimizer"
                )
            steps = _core.counted(params, before)
            if steps is not None:
                updated = True
                if recording is not None:
                    record_step(self, recording, i, group, steps)
                    continue
                if group.get("master_weights"):
                    params = self._masters[i].of(params)
                    group = {**group, "params": params}
                if 0 in before:
                    self._begin(i, params, steps)
                try:
                    self._update(group, self._state[i], steps)
                except TypeError:
                    self._check_options(group)  # they may have been set since, to anything
                    raise
                except ValueError:  # raised before anything has changed
                    if not self._follow(params, self._state[i]):
                        raise
                    self._update(group, self._state[i], steps)
                self._steps[i] = steps  # only now: an update that raises has changed nothing
                if group.get("master_weights"):
                    self._masters[i].round_into(groups[i]["params"])
        if not updated:
            warnings.warn(
                f"{self._name()}.step(): no parameter has a gradient. Call loss.backward() first; if you did, the "
                "optimizer holds the parameters of another model, or of this one before they were replaced",
                stacklevel=level_outside(),
            )
        elif self._watch is not None and recording is None:
            self._look(self._watch)

    @property
    def capturable(self) -> bool:
        """Whether ``step`` may be part of a step that ``steep.cuda.graph`` captures."""
        return type(self)._rewrite is not Optimizer._rewrite

    def _look(self, watch: Watch) -> None:
        forgotten = watch.sees(self.param_groups)
        if forgotten or not watch.steps:
            self._watch = None
        if forgotten:
            warnings.warn(
                f"{self._name()}.step(): backward has added to the gradients that the step before had used, so they "
                "grow from step to step: call optimizer.zero_grad() before loss.backward(). To accumulate the "
                "gradients of several batches, call it after each step",
                stacklevel=level_outside(),
            )

    def _current_groups(self) -> list[Group]:
        """The groups, with numbers for the next step in the place of schedules."""
        return [
            {**group, "lr": self._scheduled(group["lr"], max(steps))} if callable(group.get("lr")) else group
            for group, steps in zip(self.param_groups, self._steps, strict=True)
        ]

    def _scheduled(self, schedule: Any, step: int) -> float:
        rate = schedule(step)
        if not self._number(f"the lr of step {step}, by the schedule {schedule!r},", rate) >= 0:
            raise ValueError(f"{self._name()}: lr={rate} of step {step}, by {schedule!r}, must not be negative")
        return float(rate)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot: options by group, and the state of each parameter by its position, as PyTorch lays it out.

        In the place of a schedule there is the number that it gives for the next step.
        """
        groups, state, position = [], {}, 0
        for group, tensors, steps, masters in zip(
            self._current_groups(), self._state, self._steps, self._masters, strict=True
        ):
            numbers = list(range(position, position + len(steps)))
            groups.append({**group, "params": numbers})
            for i, number in enumerate(numbers):
                if steps[i]:
                    state[number] = {"step": steps[i], **{name: tensors[name][i].copy() for name in tensors}}
                    if group.get("master_weights") and (master := masters.kept(i)) is not None:
                        state[number]["master_weight"] = master.copy()
            position += len(steps)
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over options and state. A schedule stays, and goes on at the step that was reached; the ``lr`` that
        was saved is one of its numbers.

        Raises ValueError, with nothing changed, if groups or shapes differ, and for options out of range; TypeError
        for what is no state_dict of an optimizer.
        """
        groups, state = self._parts(state_dict)
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(
                f"{self._name()}.load_state_dict: the groups have {[len(g['params']) for g in groups]} parameters, "
                f"this optimizer's {[len(g['params']) for g in self.param_groups]}"
            )
        new_steps: list[list[int]] = []
        new_state: list[dict[str, list[Tensor]]] = []
        new_options: list[Group] = []
        new_masters: list[MasterWeights] = []
        for group, saved in zip(self.param_groups, groups, strict=True):
            new_options.append({key: saved[key] for key in self._options if key in saved})
            if callable(group.get("lr")):
                new_options[-1].pop("lr", None)
            self._check_options({**group, **new_options[-1]})
            new_masters.append(MasterWeights())
            entries = [state.get(number, {}) for number in saved["params"]]
            new_steps.append([self._loaded_step(entry) for entry in entries])
            names = [name for name in self.state_names if any(name in entry for entry in entries)]
            params = group["params"]
            if {**group, **new_options[-1]}.get("master_weights"):
                params = new_masters[-1].load(params, [entry.get("master_weight") for entry in entries])
            new_state.append(
                {
                    name: [self._loaded(p, entry.get(name), name) for p, entry in zip(params, entries, strict=True)]
                    for name in names
                }
            )
        for group, options in zip(self.param_groups, new_options, strict=True):
            group.update(options)
        self._steps, self._state, self._masters = new_steps, new_state, new_masters

    def _parts(self, state_dict: Any) -> tuple[list[Any], Mapping[Any, Any]]:
        """The groups and the state of a state_dict."""
        wrong = TypeError(
            f"{self._name()}.load_state_dict: expected what an optimizer's state_dict() returns, a dict of 'state' and "
            f"'param_groups', not {state_dict!r:.60}"
        )
        if not isinstance(state_dict, Mapping):
            raise wrong
        groups, state = state_dict.get("param_groups"), state_dict.get("state")
        if not isinstance(groups, list | tuple) or not isinstance(state, Mapping):
            raise wrong
        if not all(isinstance(g, Mapping) and isinstance(g.get("params"), list | tuple) for g in groups):
            raise wrong
        if not all(isinstance(entry, Mapping) for entry in state.values()):
            raise wrong
        return list(groups), state

    def _loaded_step(self, entry: Mapping[str, Any]) -> int:
        step = entry.get("step", 0)
        try:
            count = int(step)
        except (TypeError, ValueError):
            count = -1
        if not 0 <= count < 2**63:
            raise ValueError(f"{self._name()}.load_state_dict: step={step!r} must be a number of steps")
        return count

    def _update(self, group: Group, state: dict[str, list[Tensor]], steps: list[int]) -> Any:
        """Updates the parameters of one group that have gradients; ``steps[i]`` counts this step already.

        What it returns in a CUDA graph that is recorded is for ``_rewrite``, if there is that.
        """
        raise NotImplementedError(f"{self._name()} needs a method _update(self, group, state, steps)")

    def _rewrite(self, recorded: Any, group: Group, steps: list[int]) -> None:
        """Writes the numbers of the next step to where ``_update`` has said that a graph reads them."""
        raise NotImplementedError

    def _check_options(self, group: Group) -> None:
        """Raises ValueError for options out of range."""
        if callable(group.get("lr")):
            group = {**group, "lr": self._scheduled(group["lr"], 0)}
        for name in self._not_negative:
            if name in group and not self._number(name, group[name]) >= 0:
                raise ValueError(f"{self._name()}: {name}={group[name]} must not be negative")
        for name in self._shares:
            if not 0 <= self._number(name, group[name]) <= 1:
                raise ValueError(f"{self._name()}: {name}={group[name]} must be between 0 and 1")
        betas = group.get("betas", (0, 0))
        if not isinstance(betas, list | tuple) or len(betas) != 2:
            raise TypeError(f"{self._name()}: betas={betas!r:.60} must be a pair of numbers")
        if not all(0 <= self._number("betas", beta) < 1 for beta in betas):
            raise ValueError(f"{self._name()}: betas={betas} must be at least 0 and less than 1")

    def _number(self, name: str, value: Any) -> Any:
        """``value``, if it is a real number or a tensor of one."""
        if isinstance(value, Real) or (isinstance(value, Tensor | np.ndarray) and value.size == 1):
            return value
        raise TypeError(f"{self._name()}: {name} must be a number, not {value!r:.60}")

    def _kept(self, group: Group, state: dict[str, list[Tensor]], name: str) -> list[Tensor]:
        """The state tensors called ``name``, zeros at first; empty ones for parameters that are frozen."""
        tensors = state.get(name)
        if tensors is None:
            tensors = state[name] = [
                zeros(0, dtype=p.dtype, device=p.device) if p.grad is None else self._blank(p, name)
                for p in group["params"]
            ]
        return tensors

    def _begin(self, i: int, params: list[Tensor], steps: list[int]) -> None:
        """Makes the state of those parameters of group i that are updated for the first time: they were frozen."""
        for name, tensors in self._state[i].items():
            for k, (p, step) in enumerate(zip(params, steps, strict=True)):
                if step == 1 and p.grad is not None:
                    tensors[k] = self._blank(p, name)

    def kept_names(self, group: Group) -> tuple[str, ...]:
        """The names of the tensors of a parameter's shape that are kept for each parameter of a group."""
        unused = {name for name, option in self._optional if not group.get(option, True)}
        return tuple(name for name in self.state_names if name not in unused | {*self.scalar_names})

    def _blank(self, parameter: Tensor, name: str) -> Tensor:
        if name in self.scalar_names:
            return zeros((), dtype=parameter.dtype, device=parameter.device)
        return zeros_like(parameter.detach())

    @staticmethod
    def _follow(params: list[Tensor], state: dict[str, list[Tensor]]) -> bool:
        """Brings the state to the device and dtype of parameters that have moved; whether there was any."""
        moved = False
        for tensors in state.values():
            for i, (p, kept) in enumerate(zip(params, tensors, strict=True)):
                if kept.device is not p.device or kept.dtype is not p.dtype:
                    tensors[i] = kept.to(p.dtype, p.device)
                    moved = True
        return moved

    def _loaded(self, parameter: Tensor, value: Any, name: str) -> Tensor:
        blank = self._blank(parameter, name)
        if value is None:
            return blank
        kept = value if isinstance(value, Tensor) else host_tensor(np.asarray(value))
        if kept.shape != blank.shape:
            raise ValueError(
                f"{self._name()}.load_state_dict: {name} has shape {kept.shape}, "
                + (f"not {blank.shape}" if name in self.scalar_names else f"its parameter {parameter.shape}")
            )
        kept = to_device(kept.detach(), parameter.device)
        return kept.astype(parameter.dtype, copy=True).contiguous()

    def _check_parameters(self, params: list[Any]) -> None:
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name()}: parameter {i} is a {type(p).__name__}, not a Tensor")
            if not p.dtype.is_floating_point:
                raise TypeError(
                    f"{self._name()}: parameter {i} has dtype {p.dtype.name}; only floating-point ones train"
                )
            if p.grad_fn is not None:
                raise ValueError(
                    f"{self._name()}: parameter {i} is the result of '{p.grad_fn.name}', which no update would reach: "
                    "pass the leaf it was computed from, or p.detach().requires_grad_()"
                )
            if not p.requires_grad and not isinstance(p, Parameter):
                raise ValueError(
                    f"{self._name()}: parameter {i} does not require a gradient: set p.requires_grad = True"
                )
            if id(p) in known:
                raise ValueError(f"{self._name()}: parameter {i} (of shape {p.shape}) is given twice")
            known.add(id(p))

    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [f"{self._name()}("]
        for group in self.param_groups:
            options = ", ".join(f"{key}={value}" for key, value in group.items() if key != "params")
            lines.append(f"  {len(group['params'])} parameters: {options}")
        return "\n".join([*lines, ")"])
