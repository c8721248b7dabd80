"""Learning-rate schedules: against PyTorch and Keras' formulas, and in every optimizer."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import hints, optim
from steep.optim import schedules
from test_optim import START, tensors, train

OPTIMIZERS = sorted(
    name for name in optim.__all__ if inspect.isclass(getattr(optim, name)) and name not in ("Optimizer",)
)
EXAMPLES = [
    schedules.StepDecay(0.5, 3),
    schedules.PiecewiseConstant([2, 5], [0.5, 0.25, 0.125]),
    schedules.ExponentialDecay(0.5, 4, 0.5),
    schedules.InverseTimeDecay(0.5, 4, 2.0),
    schedules.PolynomialDecay(0.5, 9, 0.1, power=2.0),
    schedules.CosineDecay(0.5, 9, alpha=0.1),
    schedules.CosineDecayRestarts(0.5, 3, t_mul=2.0, m_mul=0.5),
    schedules.OneCycle(0.5, 12),
    schedules.Warmup(schedules.CosineDecay(0.5, 8), 3),
    schedules.Sequence([0.5, schedules.StepDecay(0.25, 2, 0.5)], [3]),
]


def names(schedule: Any) -> str:
    return type(schedule).__name__


# --- PyTorch ----------------------------------------------------------------------------------------------------------

PYTORCH: list[tuple[schedules.Schedule, Callable[[Any, Any], Any]]] = [
    (schedules.StepDecay(0.3, 7, 0.3), lambda s, o: s.StepLR(o, 7, 0.3)),
    (schedules.PiecewiseConstant([3, 10, 20], [0.3, 0.03, 3e-3, 3e-4]), lambda s, o: s.MultiStepLR(o, [3, 10, 20])),
    (schedules.PiecewiseConstant([5], [0.1, 0.3]), lambda s, o: s.ConstantLR(o, 1 / 3, 5)),
    (schedules.ExponentialDecay(0.3, 1, 0.9), lambda s, o: s.ExponentialLR(o, 0.9)),
    (schedules.PolynomialDecay(0.3, 20, 0.0), lambda s, o: s.PolynomialLR(o, 20)),
    (schedules.PolynomialDecay(0.3, 20, 0.0, 1.7), lambda s, o: s.PolynomialLR(o, 20, 1.7)),
    (schedules.PolynomialDecay(0.03, 20, 0.15), lambda s, o: s.LinearLR(o, 0.1, 0.5, 20)),
    (schedules.CosineDecay(0.3, 49, alpha=0.2), lambda s, o: s.CosineAnnealingLR(o, 49, 0.06)),
    (schedules.CosineDecayRestarts(0.3, 10, 1.0), lambda s, o: s.CosineAnnealingWarmRestarts(o, 10)),
    (schedules.CosineDecayRestarts(0.3, 5, 2, 1.0, 0.1), lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.03)),
    (schedules.OneCycle(0.3, 50), lambda s, o: s.OneCycleLR(o, 0.3, 50)),
    (
        schedules.OneCycle(0.3, 50, 0.5, 10.0, 100.0),
        lambda s, o: s.OneCycleLR(o, 0.3, 50, None, None, 0.5, "cos", True, 0.85, 0.95, 10, 100),
    ),
    (schedules.OneCycle(0.3, 50, 0.0), lambda s, o: s.OneCycleLR(o, 0.3, 50, pct_start=0.0)),
    (schedules.OneCycle(0.3, 50, 1.0), lambda s, o: s.OneCycleLR(o, 0.3, 50, pct_start=1.0)),
    (schedules.Warmup(0.3, 8, 0.1), lambda s, o: s.LinearLR(o, 1 / 3, 1.0, 8)),
    (
        schedules.Warmup(schedules.CosineDecay(0.3, 50), 8, 0.03),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 8), s.CosineAnnealingLR(o, 50)], [8]),
    ),
    (
        schedules.Sequence([0.03, schedules.ExponentialDecay(0.3, 1, 0.9), schedules.StepDecay(0.3, 7)], [6, 20]),
        lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 99), s.ExponentialLR(o, 0.9), s.StepLR(o, 7)], [6, 20]),
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), PYTORCH, ids=[f"{names(s)}-{i}" for i, (s, _) in enumerate(PYTORCH)])
def test_every_rate_is_pytorchs(ours: schedules.Schedule, theirs: Callable[[Any, Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.3, momentum=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps before the optimizer's, and of SequentialLR's own
        scheduler = theirs(torch.optim.lr_scheduler, optimizer)
        expected = []
        for _ in range(49):
            expected.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    np.testing.assert_allclose([ours(step) for step in range(49)], expected, rtol=1e-9, atol=1e-12)


# --- Keras: the formulas of https://keras.io/api/optimizers/learning_rate_schedules, in NumPy ------------------------

STEPS = np.arange(100)


def cosine_restarts(t_mul: float, m_mul: float, alpha: float) -> Any:
    """The period from its logarithm, as Keras has it; at whole periods, where that rounds, it may be the one before."""
    part = STEPS / 10
    i = np.floor(part) if t_mul == 1 else np.floor(np.log(1 - part * (1 - t_mul)) / np.log(t_mul))
    rest = part - i if t_mul == 1 else (part - (1 - t_mul**i) / (1 - t_mul)) / t_mul**i
    return 0.3 * ((1 - alpha) * 0.5 * m_mul**i * (1 + np.cos(np.pi * rest)) + alpha)


KERAS: list[tuple[schedules.Schedule, Any]] = [
    (schedules.ExponentialDecay(0.3, 20, 0.4), 0.3 * 0.4 ** (STEPS / 20)),
    (schedules.ExponentialDecay(0.3, 20, 0.4, staircase=True), 0.3 * 0.4 ** (STEPS // 20)),
    (schedules.InverseTimeDecay(0.3, 20, 0.4), 0.3 / (1 + 0.4 * STEPS / 20)),
    (schedules.InverseTimeDecay(0.3, 20, 0.4, staircase=True), 0.3 / (1 + 0.4 * (STEPS // 20))),
    (schedules.PolynomialDecay(0.3, 60, power=0.5), (0.3 - 1e-4) * (1 - np.minimum(STEPS, 60) / 60) ** 0.5 + 1e-4),
    (schedules.CosineDecay(0.3, 60, 0.1), 0.3 * (0.9 * 0.5 * (1 + np.cos(np.pi * np.minimum(STEPS, 60) / 60)) + 0.1)),
    (schedules.CosineDecayRestarts(0.3, 10, 1.0, 0.7, 0.1), cosine_restarts(1.0, 0.7, 0.1)),
    (schedules.CosineDecayRestarts(0.3, 10, 2.0, 0.7, 0.1), cosine_restarts(2.0, 0.7, 0.1)),
    (schedules.CosineDecayRestarts(0.3, 10, 1.37, 1.2), cosine_restarts(1.37, 1.2, 0.0)),
    (
        schedules.Warmup(schedules.CosineDecay(0.3, 60), 20, 0.1),
        np.where(STEPS < 20, 0.1 + 0.2 * STEPS / 20, 0.15 * (1 + np.cos(np.pi * np.clip(STEPS - 20, 0, 60) / 60))),
    ),
]


@pytest.mark.parametrize(("ours", "expected"), KERAS, ids=[f"{names(s)}-{i}" for i, (s, _) in enumerate(KERAS)])
def test_every_rate_is_kerass(ours: schedules.Schedule, expected: Any) -> None:
    np.testing.assert_allclose([ours(int(step)) for step in STEPS], expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("t_mul", [2, 3, 10, 2.0])
def test_restarts_are_exact(t_mul: float) -> None:
    """The logarithm of a power may round below a whole number: then a period would end with a rate of 0 once more."""
    schedule, start = schedules.CosineDecayRestarts(1.0, 7, t_mul), 0
    for period in range(8):
        assert schedule(start) == 1.0
        start += int(7 * t_mul**period)
        assert 0 < schedule(start - 1) < 0.1


# --- a schedule by itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", EXAMPLES, ids=names)
def test_schedules_are_functions_of_the_step(schedule: schedules.Schedule) -> None:
    rates = [schedule(step) for step in range(20)]
    assert all(type(rate) is float and math.isfinite(rate) and rate >= 0 for rate in rates)
    assert [schedule(step) for step in reversed(range(20))] == rates[::-1]
    assert [pickle.loads(pickle.dumps(schedule))(step) for step in range(20)] == rates
    assert schedule(np.int64(3)) == rates[3]
    with pytest.raises(ValueError, match=f"{names(schedule)}: step=-1 must not be negative"):
        schedule(-1)
    assert [eval(repr(schedule), vars(schedules))(step) for step in range(20)] == rates


def test_far_beyond_the_end() -> None:
    for schedule, last in (
        (schedules.CosineDecay(0.5, 9, 0.5), 0.25),
        (schedules.PolynomialDecay(0.5, 9, 0.25), 0.25),
        (schedules.OneCycle(0.5, 12), 2e-6),
        (schedules.StepDecay(0.5, 1, 0.1), 0.0),
        (schedules.Warmup(0.5, 0), 0.5),
    ):
        assert schedule(10**9) == pytest.approx(last)
    assert 0 <= schedules.CosineDecayRestarts(0.5, 3, 1 + 1e-9)(10**6) <= 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.StepDecay(-0.1, 3), "StepDecay: initial_learning_rate=-0.1 must be at least 0, and finite"),
        (lambda: schedules.StepDecay(0.1, 0), "StepDecay: decay_steps=0 must be above 0, and finite"),
        (lambda: schedules.StepDecay(math.nan, 1), "initial_learning_rate=nan must be at least 0"),
        (lambda: schedules.ExponentialDecay(0.1, math.inf, 0.9), "decay_steps=inf must be above 0, and finite"),
        (lambda: schedules.CosineDecay(0.1, 3, alpha=2), "CosineDecay: alpha=2 must be at least 0 and at most 1"),
        (lambda: schedules.CosineDecayRestarts(0.1, 3, t_mul=0.5), "t_mul=0.5 must be at least 1"),
        (lambda: schedules.OneCycle(0.1, 3, pct_start=1.5), "OneCycle: pct_start=1.5 must be at least 0 and at most 1"),
        (lambda: schedules.PolynomialDecay(0.1, 3, power=0), "power=0 must be above 0"),
        (lambda: schedules.Warmup(-1.0, 3), "Warmup: schedule=-1.0 must be at least 0"),
        (lambda: schedules.PiecewiseConstant([1, 2], [0.1, 0.2]), "2 boundaries separate 3 values, not 2"),
        (lambda: schedules.PiecewiseConstant([2, 2], [1, 2, 3]), r"PiecewiseConstant: boundaries=\[2, 2\] must ascend"),
        (lambda: schedules.Sequence([0.1, 0.2], [1, 2]), "Sequence: 2 boundaries separate 3 schedules, not 2"),
        (lambda: schedules.Sequence([0.1, 0.2, 0.3], [2, 1]), r"Sequence: boundaries=\[2, 1\] must ascend"),
    ],
)
def test_bad_options_raise(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_number_raises() -> None:
    with pytest.raises(TypeError, match="CosineDecay: initial_learning_rate must be a number, not 'fast'"):
        schedules.CosineDecay("fast", 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Sequence: schedules must be a number, not 'fast'"):
        schedules.Sequence(["fast"], [])  # type: ignore[list-item]


# --- in an optimizer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_a_schedule(name: str) -> None:
    """The same bits as setting the rate by hand before every step."""
    schedule = schedules.Warmup(schedules.CosineDecay(0.05, 4), 2, 0.01)
    ours, by_hand = tensors(st.float32), tensors(st.float32)
    optimizer = getattr(optim, name)(ours, lr=schedule)
    other = getattr(optim, name)(by_hand, lr=1.0)
    for step in range(8):
        assert optimizer.lr == schedule(step)
        other.lr = schedule(step)
        train(optimizer, ours, range(step, step + 1))
        train(other, by_hand, range(step, step + 1))
        assert all((a == b).all() for a, b in zip(ours, by_hand, strict=True))
    assert any((p.numpy() != x.astype(np.float32)).any() for p, x in zip(ours, START, strict=True))
    assert "lr=Warmup(schedule=CosineDecay(" in repr(optimizer)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_resumes_bit_for_bit(name: str) -> None:
    def start(params: list[st.Tensor]) -> optim.Optimizer:
        made: optim.Optimizer = getattr(optim, name)(params, lr=schedules.PolynomialDecay(0.05, 10))
        return made

    straight = tensors(st.float32)
    train(start(straight), straight, range(8))
    first = tensors(st.float32)
    optimizer = start(first)
    train(optimizer, first, range(5))
    state = optimizer.state_dict()
    assert state["param_groups"][0]["lr"] == schedules.PolynomialDecay(0.05, 10)(5)
    second = [p.detach().copy().requires_grad_() for p in first]
    resumed = start(second)
    resumed.load_state_dict(state)
    assert resumed.lr == optimizer.lr
    train(resumed, second, range(5, 8))
    assert all((a == b).all() for a, b in zip(straight, second, strict=True))
    assert resumed.lr == schedules.PolynomialDecay(0.05, 10)(8)


def ones() -> st.Tensor:
    x = st.ones(1, requires_grad=True)
    x.grad = st.ones(1)
    return x


def test_a_function_is_a_schedule() -> None:
    w = ones()
    optimizer = optim.SGD([w], lr=lambda step: 0.5**step)
    values = []
    for _ in range(3):
        optimizer.step()
        values.append(w.item())
    assert values == [0.0, -0.5, -0.75]


def test_a_number_takes_the_place_of_a_schedule() -> None:
    w = ones()
    optimizer = optim.SGD([w], lr=schedules.StepDecay(0.5, 1, 0.5))
    optimizer.step()
    optimizer.lr = 0.125
    assert (optimizer.lr, optimizer.param_groups[0]["lr"]) == (0.125, 0.125)
    optimizer.step()
    assert w.item() == 0.375
    optimizer.lr = schedules.StepDecay(0.5, 1, 0.5)  # goes on at the step that was reached
    assert optimizer.lr == 0.125
    with pytest.raises(ValueError, match="SGD: lr=-1 must not be negative"):
        optimizer.lr = -1


def test_groups_have_their_own_schedules_and_steps() -> None:
    a, b, c = ones(), ones(), ones()
    groups = [{"params": [a], "lr": schedules.StepDecay(0.5, 1, 0.5)}, {"params": [b]}, {"params": [c], "lr": 0.25}]
    optimizer = optim.SGD(groups, lr=schedules.StepDecay(1.0, 1, 0.5))
    optimizer.step()
    b.grad = None
    optimizer.step()
    assert (a.item(), b.item(), c.item()) == (0.25, 0.0, 0.5)
    b.grad = st.ones(1)
    optimizer.step()  # b's second
    assert b.item() == -0.5
    assert [group["lr"] for group in optimizer.state_dict()["param_groups"]] == [0.0625, 0.25, 0.25]


def test_a_step_that_raises_counts_for_nothing_and_changes_nothing() -> None:
    a, b = ones(), ones()
    groups = [{"params": [a]}, {"params": [b], "lr": lambda step: 0.5 if step == 0 else -1.0}]
    optimizer = optim.SGD(groups, lr=0.5)
    optimizer.step()
    with pytest.raises(ValueError, match=r"SGD: lr=-1\.0 of step 1, by <function .*, must not be negative"):
        optimizer.step()
    assert (a.item(), b.item()) == (0.5, 0.5)
    assert optimizer._steps == [[1], [1]]
    with pytest.raises(ValueError, match="SGD: lr=nan of step 0"):
        optim.SGD([a], lr=lambda step: math.nan)
    with pytest.raises(TypeError, match=r"SGD: the lr of step 0, by the schedule <.*>, must be a number, not None"):
        optim.SGD([a], lr=lambda step: None)  # type: ignore[arg-type, return-value]


def test_saved_rates_and_schedules() -> None:
    w = ones()
    scheduled = optim.Adam([w], lr=schedules.StepDecay(0.5, 1, 0.5))
    scheduled.step()
    state = scheduled.state_dict()
    group = state["param_groups"][0]
    assert all(isinstance(value, float | bool | tuple | list) for value in group.values())
    constant = optim.Adam([w], lr=9.0)
    constant.load_state_dict(state)
    assert constant.lr == 0.25
    scheduled.load_state_dict(optim.Adam([w], lr=9.0, betas=(0.5, 0.5)).state_dict())
    assert (scheduled.lr, scheduled.param_groups[0]["betas"]) == (0.5, (0.5, 0.5))  # the schedule, at step 0
    with pytest.raises(ValueError, match="weight_decay=-1 must not be negative"):
        scheduled.load_state_dict({**state, "param_groups": [{**group, "weight_decay": -1}]})
    assert scheduled.lr == 0.5


def test_an_optimizer_with_a_schedule_is_copied() -> None:
    w = ones()
    optimizer = optim.SGD([w], lr=schedules.StepDecay(0.5, 1, 0.5))
    optimizer.step()
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert twin.lr == 0.25


# --- PyTorch's names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hints.SCHEDULES)
def test_names_of_pytorch(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'steep.optim.schedules' has no attribute '{name}': use "):
        getattr(schedules, name)
    used = hints.SCHEDULES[name].partition("(")[0]
    assert used in schedules.__all__ or name == "LambdaLR"


def test_where_schedules_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'lr_scheduler': use steep\.optim\.schedules: pass Adam"):
        optim.lr_scheduler  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'adamw'$"):
        optim.adamw  # noqa: B018


def test_a_rate_beyond_all_floats() -> None:
    schedule = optim.schedules.ExponentialDecay(0.1, 1, 10.0)
    with pytest.raises(ValueError, match=r"ExponentialDecay\(.*\): the rate of step 1000 is larger than any float"):
        schedule(1000)
