"""Learning rates that change with the step: pass one as an optimizer's ``lr``.

A schedule is called with the number of steps done so far and returns the rate of the next one. It keeps no state, so
one may serve several optimizers; after its last step it stays where it is. Steps are the optimizer's, not epochs:
multiply by the batches of an epoch, as in Keras. Any function of the step is a schedule too.

Names and arguments are those of ``keras.optimizers.schedules`` where Keras has the schedule. What the classes of
``torch.optim.lr_scheduler`` are called here is in ``docs/coming-from.md``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from .. import hints
from ..checks import check_number
from .optimizer import Rate

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "OneCycle",
    "PiecewiseConstant",
    "PolynomialDecay",
    "Schedule",
    "Sequence",
    "StepDecay",
    "Warmup",
]


class Schedule:
    """Base class. A subclass keeps its options as attributes, which ``repr`` shows, and defines ``_rate``.

    Calling it with a number of steps, 0 or more, returns a float. Raises ValueError for fewer. Options out of range
    raise ValueError when the schedule is made, and TypeError what is no number.

    >>> import steep as st
    >>> schedule = st.optim.schedules.StepDecay(0.1, 30)
    >>> schedule
    StepDecay(initial_learning_rate=0.1, decay_steps=30, decay_rate=0.1)
    >>> [round(schedule(step), 4) for step in (0, 29, 30, 60)]
    [0.1, 0.1, 0.01, 0.001]
    """

    def __call__(self, step: float) -> float:
        if not step >= 0:
            raise ValueError(f"{type(self).__name__}: step={step} must not be negative: steps are counted from 0")
        try:
            return float(self._rate(step))
        except OverflowError:
            raise ValueError(f"{self!r}: the rate of step {step} is larger than any float") from None

    def _rate(self, step: float) -> float:
        raise NotImplementedError(f"{type(self).__name__} needs a method _rate(self, step)")

    def _checked(self, name: str, value: Any, **bounds: Any) -> Any:
        return check_number(f"{type(self).__name__}: {name}", value, **bounds)

    def _part(self, name: str, value: Any) -> Any:
        """``value``, if it is a schedule or a rate."""
        return value if callable(value) else self._checked(name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class _Decay(Schedule):
    """One that starts at ``initial_learning_rate`` and whose time is counted in ``decay_steps``."""

    def __init__(self, initial_learning_rate: float, decay_steps: float) -> None:
        self.initial_learning_rate = self._checked("initial_learning_rate", initial_learning_rate)
        self.decay_steps = self._checked("decay_steps", decay_steps, open_low=True)


class StepDecay(_Decay):
    """initial_learning_rate · decay_rate^⌊step / decay_steps⌋: multiplied by ``decay_rate`` every ``decay_steps``.

    PyTorch's ``StepLR(step_size=decay_steps, gamma=decay_rate)``, counted in steps.

    >>> import steep as st
    >>> schedule = st.optim.schedules.StepDecay(0.8, decay_steps=10, decay_rate=0.5)
    >>> schedule(9), schedule(10), schedule(25)
    (0.8, 0.4, 0.2)
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, decay_rate: float = 0.1) -> None:
        super().__init__(initial_learning_rate, decay_steps)
        self.decay_rate = self._checked("decay_rate", decay_rate)

    def _rate(self, step: float) -> float:
        return self.initial_learning_rate * self.decay_rate ** (step // self.decay_steps)


class PiecewiseConstant(Schedule):
    """``values[0]`` before the step ``boundaries[0]``, ``values[1]`` from there up to ``boundaries[1]``, and so on.

    There is one value more than there are boundaries, which ascend; otherwise ValueError. The rate changes at the
    boundary itself, as in PyTorch's ``MultiStepLR``; in Keras' ``PiecewiseConstantDecay`` it does one step later.

    >>> import steep as st
    >>> schedule = st.optim.schedules.PiecewiseConstant([100, 200], [0.1, 0.01, 0.001])
    >>> schedule(99), schedule(100), schedule(1000)
    (0.1, 0.01, 0.001)
    """

    def __init__(self, boundaries: Iterable[float], values: Iterable[float]) -> None:
        self.boundaries = _ascending(self, boundaries)
        self.values = [self._checked("values", value) for value in values]
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"PiecewiseConstant: {len(self.boundaries)} boundaries separate {len(self.boundaries) + 1} values, "
                f"not {len(self.values)}"
            )

    def _rate(self, step: float) -> float:
        return self.values[bisect_right(self.boundaries, step)]


class _Continuous(_Decay):
    """A decay that goes on all the time or, with ``staircase``, at the end of each ``decay_steps``."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps)
        self.decay_rate = self._checked("decay_rate", decay_rate)
        self.staircase = staircase

    def _time(self, step: float) -> float:
        return step // self.decay_steps if self.staircase else step / self.decay_steps


class ExponentialDecay(_Continuous):
    """initial_learning_rate · decay_rate^(step / decay_steps), or ^⌊step / decay_steps⌋ with ``staircase``.

    Keras' formula. PyTorch's ``ExponentialLR(gamma=decay_rate)`` is that of decay_steps=1.

    >>> import steep as st
    >>> schedule = st.optim.schedules.ExponentialDecay(0.01, decay_steps=100, decay_rate=0.25)
    >>> schedule(50), schedule(100)
    (0.005, 0.0025)
    """

    def _rate(self, step: float) -> float:
        return self.initial_learning_rate * self.decay_rate ** self._time(step)


class InverseTimeDecay(_Continuous):
    """initial_learning_rate / (1 + decay_rate · step / decay_steps), in whole decay_steps with ``staircase``.

    Keras' formula.

    >>> import steep as st
    >>> schedule = st.optim.schedules.InverseTimeDecay(0.1, decay_steps=100, decay_rate=1.0)
    >>> schedule(100), schedule(300)
    (0.05, 0.025)
    """

    def _rate(self, step: float) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._time(step))


class PolynomialDecay(_Decay):
    """From initial_learning_rate to end_learning_rate in ``decay_steps``, along (1 − step / decay_steps)^power.

    (initial_learning_rate − end_learning_rate) · (1 − step / decay_steps)^power + end_learning_rate: Keras' formula.
    ``power`` 1 is a line, which may also rise. PyTorch's ``PolynomialLR`` ends at 0.

    >>> import steep as st
    >>> schedule = st.optim.schedules.PolynomialDecay(0.5, decay_steps=100, end_learning_rate=0.25)
    >>> schedule(0), schedule(50), schedule(100), schedule(101)
    (0.5, 0.375, 0.25, 0.25)
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, end_learning_rate: float = 1e-4, power: float = 1.0
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps)
        self.end_learning_rate = self._checked("end_learning_rate", end_learning_rate)
        self.power = self._checked("power", power, open_low=True)

    def _rate(self, step: float) -> float:
        left = (1 - min(step / self.decay_steps, 1)) ** self.power
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


class CosineDecay(_Decay):
    """Half a cosine from initial_learning_rate down to alpha · initial_learning_rate, in ``decay_steps``.

    initial_learning_rate · ((1 − alpha) · ½ · (1 + cos(π · step / decay_steps)) + alpha): Keras' formula, and that of
    PyTorch's ``CosineAnnealingLR(T_max=decay_steps)``, whose ``eta_min`` is alpha · initial_learning_rate. Loshchilov
    and Hutter 2017, arXiv:1608.03983. Put ``Warmup`` around it for a linear start.

    >>> import steep as st
    >>> schedule = st.optim.schedules.CosineDecay(0.01, decay_steps=1000)
    >>> schedule(0), schedule(500), schedule(1000)
    (0.01, 0.005, 0.0)
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0) -> None:
        super().__init__(initial_learning_rate, decay_steps)
        self.alpha = self._checked("alpha", alpha, high=1.0)

    def _rate(self, step: float) -> float:
        return self.initial_learning_rate * ((1 - self.alpha) * _cosine(step / self.decay_steps) + self.alpha)


class CosineDecayRestarts(Schedule):
    """``CosineDecay`` again and again: each period ``t_mul`` times as long, each start ``m_mul`` times as high.

    The first period takes ``first_decay_steps``. Every one goes down to alpha · initial_learning_rate. Keras' formula;
    with m_mul = 1 that of PyTorch's ``CosineAnnealingWarmRestarts(T_0=first_decay_steps, T_mult=t_mul)``. Loshchilov
    and Hutter 2017, arXiv:1608.03983 (SGDR).

    >>> import steep as st
    >>> schedule = st.optim.schedules.CosineDecayRestarts(0.01, first_decay_steps=100, t_mul=2.0)
    >>> schedule(0), schedule(50), schedule(100), schedule(200), schedule(300)
    (0.01, 0.005, 0.01, 0.005, 0.01)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        self.initial_learning_rate = self._checked("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = self._checked("first_decay_steps", first_decay_steps, open_low=True)
        self.t_mul = self._checked("t_mul", t_mul, low=1.0)
        self.m_mul = self._checked("m_mul", m_mul)
        self.alpha = self._checked("alpha", alpha, high=1.0)

    def _rate(self, step: float) -> float:
        restarts, part = self._place(step / self.first_decay_steps)
        height = (1 - self.alpha) * self.m_mul**restarts * _cosine(part) + self.alpha
        return self.initial_learning_rate * height

    def _place(self, time: float) -> tuple[int, float]:
        """How many periods are over at ``time``, counted in first periods, and the part of the present one."""
        t_mul = self.t_mul
        if t_mul == 1:
            return int(time), time - int(time)

        def start(period: int) -> float:
            return (t_mul**period - 1) / (t_mul - 1)

        period = int(math.log1p(time * (t_mul - 1)) / math.log(t_mul))
        period += time >= start(period + 1)  # the logarithm's rounding
        return period, (time - start(period)) / t_mul**period


class OneCycle(Schedule):
    """Up to ``max_learning_rate`` in a share ``pct_start`` of ``total_steps``, then down to nearly nothing.

    Half a cosine from max_learning_rate / div_factor up, and half a one down to the start / final_div_factor, where
    the schedule stays: PyTorch's ``OneCycleLR(max_lr, total_steps)``, which also changes the momentum. Smith and Topin
    2018, arXiv:1708.07120.

    >>> import steep as st
    >>> schedule = st.optim.schedules.OneCycle(0.5, total_steps=100)
    >>> schedule(0), schedule(29), schedule(99)
    (0.02, 0.5, 2e-06)
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: float,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.max_learning_rate = self._checked("max_learning_rate", max_learning_rate)
        self.total_steps = self._checked("total_steps", total_steps, open_low=True)
        self.pct_start = self._checked("pct_start", pct_start, high=1.0)
        self.div_factor = self._checked("div_factor", div_factor, open_low=True)
        self.final_div_factor = self._checked("final_div_factor", final_div_factor, open_low=True)

    def _rate(self, step: float) -> float:
        top, start, peak = self.max_learning_rate, self.max_learning_rate / self.div_factor, self._peak()
        if step < peak:
            return start + (top - start) * (1 - _cosine(step / peak))
        end, last = start / self.final_div_factor, self.total_steps - 1
        return end + (top - end) * _cosine((step - peak) / (last - peak) if step < last else 1)

    def _peak(self) -> float:
        return self.pct_start * self.total_steps - 1  # the last step of the first part, as PyTorch counts


class Warmup(Schedule):
    """A line from ``initial_learning_rate`` up to where ``schedule`` starts, in ``warmup_steps``; then the schedule.

    ``schedule`` is one, whose own steps begin after the warm-up, or a number, at which the rate stays. Keras' formula
    for ``CosineDecay(0.0, decay_steps, warmup_target=…, warmup_steps=…)``; Goyal et al. 2017, arXiv:1706.02677.

    >>> import steep as st
    >>> schedule = st.optim.schedules.Warmup(st.optim.schedules.CosineDecay(0.5, 100), warmup_steps=10)
    >>> schedule(0), schedule(5), schedule(10), schedule(60), schedule(110)
    (0.0, 0.25, 0.5, 0.25, 0.0)
    """

    def __init__(self, schedule: Rate, warmup_steps: float, initial_learning_rate: float = 0.0) -> None:
        self.schedule = self._part("schedule", schedule)
        self.warmup_steps = self._checked("warmup_steps", warmup_steps)
        self.initial_learning_rate = self._checked("initial_learning_rate", initial_learning_rate)

    def _rate(self, step: float) -> float:
        if step >= self.warmup_steps:
            return _rate_of(self.schedule, step - self.warmup_steps)
        rise = _rate_of(self.schedule, 0) - self.initial_learning_rate
        return self.initial_learning_rate + rise * (step / self.warmup_steps)


class Sequence(Schedule):
    """Schedules one after another: the first up to the step ``boundaries[0]``, the next from there, and so on.

    Each counts its steps from where it begins, as in PyTorch's ``SequentialLR``. A number in the place of a schedule
    is a constant rate. There is one more than there are boundaries, which ascend; otherwise ValueError.

    >>> import steep as st
    >>> schedule = st.optim.schedules.Sequence([0.5, st.optim.schedules.CosineDecay(0.25, 100)], boundaries=[10])
    >>> schedule(9), schedule(10), schedule(60)
    (0.5, 0.25, 0.125)
    """

    def __init__(self, schedules: Iterable[Rate], boundaries: Iterable[float]) -> None:
        self.schedules = [self._part("schedules", schedule) for schedule in schedules]
        self.boundaries = _ascending(self, boundaries)
        if len(self.schedules) != len(self.boundaries) + 1:
            raise ValueError(
                f"Sequence: {len(self.boundaries)} boundaries separate {len(self.boundaries) + 1} schedules, "
                f"not {len(self.schedules)}"
            )

    def _rate(self, step: float) -> float:
        i = bisect_right(self.boundaries, step)
        return _rate_of(self.schedules[i], step - self.boundaries[i - 1] if i else step)


def _cosine(part: float) -> float:
    """Half a cosine from 1 at 0 to 0 at 1 and after it."""
    return 0.5 * (1 + math.cos(math.pi * min(part, 1)))


def _rate_of(schedule: Any, step: float) -> float:
    return schedule(step) if callable(schedule) else schedule


def _ascending(schedule: Schedule, boundaries: Iterable[float]) -> list[float]:
    steps = [schedule._checked("boundaries", step) for step in boundaries]
    if not all(a < b for a, b in pairwise(steps)):
        raise ValueError(f"{type(schedule).__name__}: boundaries={steps} must ascend")
    return steps


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hints.of_schedule(name)}")
