"""steep.cuda.graph: captured steps do what the steps themselves do, bit for bit, on CUDA and on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from graph_steps import Step, assert_equal, batches, network, run, training
from steep import nn

OPTIMIZERS = {
    "adam": lambda p: st.optim.Adam(p, lr=0.05),
    "adamw_schedule": lambda p: st.optim.AdamW(p, lr=st.optim.schedules.CosineDecay(0.1, decay_steps=40)),
    "sgd": lambda p: st.optim.SGD(p, lr=0.1),
    "momentum": lambda p: st.optim.SGD(p, lr=st.optim.schedules.StepDecay(0.1, 5), momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_has_the_bits_of_the_step_itself(rng: np.random.Generator, name: str) -> None:
    """50 steps of a network with dropout, on the default device."""
    data = batches(rng, 50)
    expected = run(lambda step: step, data, OPTIMIZERS[name])
    state = st.random.get_state()
    got = run(st.cuda.graph, data, OPTIMIZERS[name])
    assert_equal(got, expected)
    assert st.random.get_state() == state
    for a, b in zip(got[2].state_dict()["state"].values(), expected[2].state_dict()["state"].values(), strict=True):
        assert a["step"] == b["step"] == 50
        for key in {*a} - {"step"}:
            np.testing.assert_array_equal(a[key].numpy(), b[key].numpy())


def test_a_step_is_captured_once_for_each_shape(cuda: str, rng: np.random.Generator) -> None:
    calls = []
    w = st.ones(5, device=cuda)

    @st.cuda.graph
    def step(x: st.Tensor, factor: float) -> dict[str, Any]:
        """Scales."""
        calls.append(x.shape)
        return {"y": (x @ w * factor, None), "x": [x]}

    assert (step.__name__, step.__doc__) == ("step", "Scales.")
    x = st.tensor(rng.standard_normal((4, 5), np.float32), device=cuda)
    for factor in (2.0, 3.0):
        for _ in range(4):
            got = step(x, factor)
            np.testing.assert_array_equal(got["y"][0].numpy(), (x @ w * factor).numpy())
            assert got["y"][1] is None
    assert len(calls) == 4  # as it is, and recorded, with each number
    step(x[:3], 2.0)
    step(x.astype("float64").astype("float32")[:3], factor=2.0)
    assert len(calls) == 6
    assert "2 recorded" in repr(step)
    step.reset()
    step(x, 2.0)
    assert len(calls) == 7


def test_results_and_arguments_stay_as_they_are(cuda: str) -> None:
    @st.cuda.graph
    def step(x: st.Tensor) -> st.Tensor:
        x += 1
        return x

    x = st.zeros(3, device=cuda)
    results = [step(x.copy()) for _ in range(2)]
    results += [step(st.full(3, float(i), device=cuda)) for i in range(4)]
    assert [r.tolist() for r in results] == [[1.0] * 3, [1.0] * 3, *([i + 1.0] * 3 for i in range(4))]
    y = st.zeros(3, device=cuda)
    step(y)
    assert y.tolist() == [0.0] * 3  # the graph has a copy


def test_random_numbers_go_on(rng: np.random.Generator) -> None:
    def draw() -> tuple[st.Tensor, st.Tensor]:
        return st.random.uniform(5), st.random.normal((2, 3)) + st.random.bernoulli((2, 3))

    st.manual_seed(3)
    expected = [[x.numpy() for x in draw()] for _ in range(6)]
    st.manual_seed(3)
    step = st.cuda.graph(draw)
    got = []
    for i in range(6):
        if i == 4:  # what the host draws in between is no matter
            state = st.random.get_state()
            st.random.uniform(100)
            st.random.set_state(state)
        got.append([x.numpy() for x in step()])
    for a, b in zip(got, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_rates_and_options_may_be_changed_between_calls(rng: np.random.Generator) -> None:
    data = batches(rng, 20)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network()
        step, optimizer = training(lambda p: st.optim.SGD(p, lr=0.1, momentum=0.5), model)
        step = wrap(step)
        for i, (x, y) in enumerate(data):
            if i % 4 == 0:
                optimizer.lr = 0.1 / (1 + i)
            if i == 9:
                optimizer.param_groups[0]["weight_decay"] = 0.1
            if i == 12:
                optimizer.param_groups[0]["momentum"] = 0.0  # keeps no velocity: another graph
            step(x, y)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_changes_in_between_are_noticed(rng: np.random.Generator) -> None:
    """Loaded states, steps without a graph, and a parameter that is frozen and moved."""
    data = batches(rng, 30)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network()
        plain, optimizer = training(lambda p: st.optim.Adam(p, lr=0.05), model)
        step = wrap(plain)
        saved: Any = None
        for i, (x, y) in enumerate(data):
            if i in (7, 8, 15):
                plain(x, y)
                continue
            if i == 10:
                saved = optimizer.state_dict(), {k: v.copy() for k, v in model.state_dict().items()}
            if i == 14:
                optimizer.load_state_dict(saved[0])
                model.load_state_dict(saved[1])
            if i == 20:
                model.to("float64").to("float32")
            step(x, y)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("change", ["freeze", "add", "replace"])
def test_changes_of_what_is_trained_are_noticed(rng: np.random.Generator, change: str) -> None:
    data = batches(rng, 16)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network(0.0)
        first, last = model[0], model[2]
        step, optimizer = training(lambda p: st.optim.Adam(last.parameters() if change == "add" else p, lr=0.05), model)
        step = wrap(step)
        for i, (x, y) in enumerate(data):
            if change == "freeze":
                first.weight.requires_grad = not 4 <= i < 9
            elif change == "add" and i == 4:
                optimizer.add_param_group({"params": first.parameters(), "lr": 0.1})
            elif change == "replace" and i == 4:
                first.weight = optimizer.param_groups[0]["params"][0] = nn.Parameter(first.weight.detach() / 2)
            step(x, y)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_master_weights(rng: np.random.Generator, dtype: str) -> None:
    data = [(x.astype(dtype), y) for x, y in batches(rng, 16)]

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network().to(dtype)
        plain, optimizer = training(lambda p: st.optim.Adam(p, lr=1e-3, master_weights=True), model)
        step = wrap(plain)
        for i, (x, y) in enumerate(data):
            if i == 9:
                with st.no_grad():
                    model[0].weight.mul_(0.5)
            (plain if i == 6 else step)(x, y)
        state = optimizer.state_dict()["state"]
        return [s["master_weight"].numpy() for s in state.values()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_that_are_added_up(rng: np.random.Generator) -> None:
    data = batches(rng, 24)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network(0.0)
        optimizer = st.optim.Adam(model.parameters(), lr=0.05)

        def half(x: st.Tensor, y: st.Tensor, last: bool) -> st.Tensor:
            loss = st.cross_entropy(model(x), y) / 2
            loss.backward()
            if last:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
            return loss

        step = wrap(half)
        for i, (x, y) in enumerate(data):
            step(x, y, i % 2 == 1)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_and_batch_norm(rng: np.random.Generator) -> None:
    data = batches(rng, 12)

    def train(wrap: Callable[[Step], Step], outside: bool) -> list[Any]:
        st.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        plain, _ = training(lambda p: st.optim.SGD(p, lr=0.1), model)
        step = wrap(plain if outside else st.autocast("bfloat16")(plain))
        for x, y in data:
            if outside:
                with st.autocast("bfloat16"):
                    step(x, y)
            else:
                step(x, y)
        return [x.detach().numpy() for x in model.state_dict().values()]

    for outside in (False, True):
        for a, b in zip(train(st.cuda.graph, outside), train(lambda step: step, outside), strict=True):
            np.testing.assert_array_equal(a, b)


def test_gradients_of_gradients(cuda: str) -> None:
    def penalty(x: st.Tensor) -> st.Tensor:
        x = x.detach()
        x.requires_grad = True
        (g,) = st.autograd.grad((x**3 + st.where(True, x, 0.5)).sum(), [x], create_graph=True)
        (g * g).sum().backward()
        assert x.grad is not None
        return x.grad

    step = st.cuda.graph(penalty)
    for i in range(4):
        assert step(st.full(2, float(i), device=cuda)).tolist() == [2 * (3.0 * i**2 + 1) * 6 * i] * 2


def test_casts_of_an_outer_block_are_made_again(cuda: str) -> None:
    w = st.ones((2, 2), device=cuda, requires_grad=True)

    def double(x: st.Tensor) -> st.Tensor:
        y = x @ w
        with st.no_grad():
            w.mul_(2)
        return y

    step, x = st.cuda.graph(double), st.ones((2, 2), device=cuda)
    with st.autocast("bfloat16"):
        for i in range(1, 6):
            assert step(x).tolist() == [[2.0**i] * 2] * 2
        assert (x @ w).tolist() == [[64.0] * 2] * 2
