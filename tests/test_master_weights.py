"""Optimizers of 16-bit parameters with float32 copies."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim

OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "LAMB", "Lion"]
SHAPES = [(3, 4), (4,), ()]


def gradients(step: int) -> list[Any]:
    rng = np.random.default_rng(step)
    return [(rng.normal(size=shape) / 2**10).astype(np.float32) for shape in SHAPES]


def parameters(dtype: Any) -> list[st.Tensor]:
    rng = np.random.default_rng(99)
    halves = [st.tensor(rng.normal(size=shape).astype(np.float32)).astype("bfloat16") for shape in SHAPES]
    return [h.astype(dtype, copy=True).requires_grad_() for h in halves]


def give(params: list[st.Tensor], step: int, dtype: Any) -> None:
    for p, g in zip(params, gradients(step), strict=True):
        p.grad = st.tensor(g).astype("bfloat16").astype(dtype)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [st.bfloat16, st.float16], ids=lambda t: t.name)
def test_parameters_are_what_float32_ones_would_be_rounded(name: str, dtype: Any) -> None:
    ours, wide = parameters(dtype), [p.detach().astype("float32").requires_grad_() for p in parameters(dtype)]
    optimizer = getattr(optim, name)(ours, lr=1e-3, master_weights=True)
    expected = getattr(optim, name)(wide, lr=1e-3)
    for step in range(20):
        give(ours, step, dtype)
        for p, g in zip(wide, ours, strict=True):
            p.grad = g.grad.astype("float32")
        optimizer.step()
        expected.step()
        for p, q in zip(ours, wide, strict=True):
            assert p.dtype is dtype
            np.testing.assert_array_equal(p.detach().astype("float32").numpy(), rounded(q, dtype))
    saved, right = optimizer.state_dict()["state"], expected.state_dict()["state"]
    for i, entry in right.items():
        for key, value in entry.items():
            np.testing.assert_array_equal(np.asarray(saved[i][key]), np.asarray(value))
        np.testing.assert_array_equal(saved[i]["master_weight"].numpy(), wide[i].detach().numpy())


def rounded(x: st.Tensor, dtype: Any) -> Any:
    return x.detach().astype(dtype).astype("float32").numpy()


def test_small_steps_add_up() -> None:
    def end(**options: Any) -> float:
        w = st.ones(1, dtype="bfloat16", requires_grad=True)
        optimizer = optim.SGD([w], lr=1.0, **options)
        for _ in range(100):
            w.grad = st.full((1,), 2.0**-10, dtype="bfloat16")
            optimizer.step()
        return w.detach().astype("float32").item()

    assert end() == 1.0
    assert end(master_weights=True) == rounded(st.tensor(1 - 100 * 2.0**-10), st.bfloat16)


def test_wider_parameters_are_as_without() -> None:
    w, v = (st.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    a, b = optim.Adam([w], master_weights=True), optim.Adam([v])
    for _ in range(3):
        w.grad, v.grad = st.tensor([0.5, -3.0]), st.tensor([0.5, -3.0])
        a.step()
        b.step()
    np.testing.assert_array_equal(w.detach().numpy(), v.detach().numpy())
    assert "master_weight" not in a.state_dict()["state"][0]


def test_groups_of_their_own() -> None:
    w, v = (st.ones(1, dtype="bfloat16", requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": [w], "master_weights": True}, {"params": [v]}], lr=2.0**-10)
    for _ in range(8):
        w.grad, v.grad = st.ones(1, dtype="bfloat16"), st.ones(1, dtype="bfloat16")
        optimizer.step()
    assert (float(w), float(v)) == (1 - 2.0**-7, 1.0)


def test_frozen_parameters_come_later() -> None:
    params = parameters("bfloat16")
    optimizer = optim.Adam(params, lr=1e-2, master_weights=True)
    for step in range(6):
        give(params, step, "bfloat16")
        if step in (0, 1, 4):
            params[1].grad = None
        before = rounded(params[1], st.bfloat16)
        optimizer.step()
        assert np.array_equal(before, rounded(params[1], st.bfloat16)) == (params[1].grad is None)
    assert [entry["step"] for entry in optimizer.state_dict()["state"].values()] == [6, 3, 6]
    assert {m.dtype for m in optimizer._state[0]["exp_avg"]} == {st.float32}


@pytest.mark.parametrize("name", ["Adam", "RMSprop"])
def test_a_saved_state_goes_on(name: str) -> None:
    params = parameters("bfloat16")
    optimizer = getattr(optim, name)(params, lr=1e-3, master_weights=True)
    for step in range(3):
        give(params, step, "bfloat16")
        optimizer.step()
    again = [p.detach().copy().requires_grad_() for p in params]
    fresh = getattr(optim, name)(again, lr=1e-3, master_weights=True)
    fresh.load_state_dict(optimizer.state_dict())
    others = copy.deepcopy((params, optimizer))
    for step in range(3, 6):
        for p, o in ((params, optimizer), (again, fresh), others):
            give(p, step, "bfloat16")
            o.step()
    expected = optimizer.state_dict()["state"]
    for o in (fresh, others[1]):
        for i, entry in o.state_dict()["state"].items():
            for key, value in entry.items():
                np.testing.assert_array_equal(np.asarray(value), np.asarray(expected[i][key]), key)


def test_a_state_without_copies_begins_with_the_parameters() -> None:
    params = parameters("bfloat16")
    plain = optim.Adam(params, lr=1e-3)
    give(params, 0, "bfloat16")
    plain.step()
    state = plain.state_dict()
    state["param_groups"][0]["master_weights"] = True
    optimizer = optim.Adam(params, lr=1e-3)
    optimizer.load_state_dict(state)
    for i, entry in optimizer.state_dict()["state"].items():
        np.testing.assert_array_equal(entry["master_weight"].numpy(), rounded(params[i], st.bfloat16))
        assert entry["exp_avg"].dtype is st.float32
    state["state"][0]["master_weight"] = np.zeros(7, np.float32)
    with pytest.raises(ValueError, match=r"master_weight has shape \(7,\), its parameter \(3, 4\)"):
        optimizer.load_state_dict(state)


def test_what_others_change_is_taken_over() -> None:
    w = st.ones(2, dtype="bfloat16", requires_grad=True)
    optimizer = optim.SGD([w], lr=2.0**-10, master_weights=True)

    def step() -> list[float]:
        w.grad = st.ones(2, dtype="bfloat16")
        optimizer.step()
        return optimizer.state_dict()["state"][0]["master_weight"].tolist()

    assert step() == [1 - 2.0**-10] * 2
    with st.no_grad():
        w[0] = 8.0
    assert step() == [8 - 2.0**-10, 1 - 2.0**-9]


def test_the_option_may_change_and_the_model_may_move() -> None:
    model = nn.Linear(3, 2).to("bfloat16")
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        model(st.ones(4, 3)).square().mean().backward()
        optimizer.step()

    step()
    optimizer.param_groups[0]["master_weights"] = True
    step()
    assert {m.dtype for m in optimizer._state[0]["exp_avg"]} == {st.float32}
    model.to("float32")
    step()
    model.to("float16")
    step()
    optimizer.param_groups[0]["master_weights"] = False
    step()
    assert {m.dtype for m in optimizer._state[0]["exp_avg"]} == {st.float16}
    assert optimizer.state_dict()["state"][0]["step"] == 5


def test_bfloat16_learns_what_float32_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    y = x @ np.arange(5, dtype=np.float32)[:, None]

    def loss(dtype: str, master_weights: bool) -> float:
        st.manual_seed(0)
        model = nn.Linear(5, 1).to(dtype)
        model.compile(optim.Adam(model.parameters(), lr=1e-3, master_weights=master_weights), "mse")
        history = model.fit(x, y, epochs=60, batch_size=20, verbose=0)
        return history["loss"][-1] / history["loss"][0]

    wide, with_masters, without = loss("float32", False), loss("bfloat16", True), loss("bfloat16", False)
    np.testing.assert_allclose(with_masters, wide, rtol=0.05)
    assert without > 1.2 * wide
