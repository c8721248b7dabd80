"""steep.amp.GradScaler, beside PyTorch's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim
from steep.amp import GradScaler


def weight(values: Any = (1.0, 2.0)) -> st.Tensor:
    return st.tensor(np.asarray(values, np.float32), requires_grad=True)


def test_a_loss_is_scaled_and_gradients_are_unscaled() -> None:
    w, scaler = weight(), GradScaler(1024.0)
    optimizer = optim.SGD([w], lr=0.5)
    loss = (w * w).sum()
    assert scaler.scale(loss).item() == 5 * 1024
    scaler.scale(loss).backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2048, 4096])
    scaler.unscale_(optimizer)
    np.testing.assert_array_equal(w.grad.numpy(), [2, 4])
    assert st.nn.utils.clip_grad_norm_([w], 1e9).item() == np.float32(np.sqrt(20))
    scaler.step(optimizer)
    np.testing.assert_array_equal(w.detach().numpy(), [0, 0])
    scaler.update()
    assert scaler.get_scale() == 1024


def test_small_gradients_survive_float16() -> None:
    def gradient(scaler: GradScaler) -> float:
        w = weight([1.0])
        with st.autocast("float16"):
            loss = (st.tensor([[1e-5]]) @ w.reshape(1, 1)).sum() * 1e-4
        scaler.scale(loss).backward()
        scaler.unscale_(optim.SGD([w]))
        return w.grad.item()

    assert gradient(GradScaler(enabled=False)) == 0
    np.testing.assert_allclose(gradient(GradScaler()), 1e-9, rtol=1e-2)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_a_step_with_infinities_is_left_out(wrong: float) -> None:
    w, v, scaler = weight(), weight(), GradScaler(8.0)
    optimizer = optim.Adam([w, v], lr=0.5)
    w.grad, v.grad = st.tensor([1.0, wrong]), st.tensor([1.0, 1.0])
    scaler.step(optimizer)
    scaler.update()
    np.testing.assert_array_equal(w.detach().numpy(), [1, 2])
    np.testing.assert_array_equal(v.detach().numpy(), [1, 2])
    assert (scaler.get_scale(), optimizer.state_dict()["state"]) == (4.0, {})
    w.grad, v.grad = st.tensor([4.0, 4.0]), st.tensor([4.0, 4.0])
    scaler.step(optimizer)
    np.testing.assert_allclose(w.detach().numpy(), [0.5, 1.5], rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"init_scale": 3.7, "growth_factor": 1.3, "backoff_factor": 0.7}])
def test_its_path_is_pytorchs(options: dict[str, float]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours, theirs = GradScaler(growth_interval=3, **options), torch.amp.GradScaler("cpu", growth_interval=3, **options)
    start = rng.normal(size=5).astype(np.float32)
    w, z = weight(start), torch.tensor(start, requires_grad=True)
    our_optimizer, their_optimizer = optim.SGD([w], lr=0.1), torch.optim.SGD([z], lr=0.1)
    for step in range(40):
        factor = np.float32(np.inf if rng.random() < 0.2 else rng.normal())
        our_optimizer.zero_grad()
        their_optimizer.zero_grad()
        ours.scale((w * factor).sum()).backward()
        theirs.scale((z * torch.tensor(factor)).sum()).backward()
        if step % 2:
            ours.unscale_(our_optimizer)
            theirs.unscale_(their_optimizer)
            st.nn.utils.clip_grad_norm_([w], 0.5)
            torch.nn.utils.clip_grad_norm_([z], 0.5)
        ours.step(our_optimizer)
        theirs.step(their_optimizer)
        ours.update()
        theirs.update()
        assert ours.get_scale() == theirs.get_scale(), step
        assert ours.state_dict() == theirs.state_dict()
        # Steps are at most 0.05 long, and their clipping factors rounded apart: 40 of them, some of which cancel.
        np.testing.assert_allclose(w.detach().numpy(), z.detach().numpy(), rtol=1e-6, atol=40 * 0.05 * 2.0**-23)
    fresh = GradScaler()
    fresh.load_state_dict(theirs.state_dict())
    assert fresh.state_dict() == ours.state_dict()


def test_the_scale_stays_a_float32() -> None:
    scaler, w = GradScaler(2.0**127, growth_interval=1), weight()
    optimizer = optim.SGD([w])
    w.grad = st.zeros(2)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**127
    scaler.update(2.0**-126)
    w.grad = st.tensor([np.nan, 1.0])
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**-126


def test_several_optimizers_and_one_without_gradients() -> None:
    w, v, scaler = weight(), weight(), GradScaler(2.0)
    first, second = optim.SGD([w], lr=1.0), optim.SGD([v], lr=1.0)
    w.grad, v.grad = st.tensor([2.0, 2.0]), st.tensor([np.inf, 0.0])
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    np.testing.assert_array_equal(w.detach().numpy(), [0, 1])
    np.testing.assert_array_equal(v.detach().numpy(), [1, 2])
    assert scaler.get_scale() == 1.0
    w.grad = None
    with pytest.warns(UserWarning, match="no parameter has a gradient"):
        scaler.step(first)
    scaler.update()
    v.grad = st.tensor([np.nan, 0.0])
    scaler.unscale_(second)  # looked at, and no step
    scaler.update()
    assert scaler.get_scale() == 0.5


def test_gradients_of_every_dtype() -> None:
    ws = [st.ones(3, dtype=dtype, requires_grad=True) for dtype in ("bfloat16", "float32", "float64")]
    for w in ws:
        w.grad = st.full((3,), 8.0, dtype=w.dtype)
    ws.append(st.zeros(0, requires_grad=True))
    ws[-1].grad = st.zeros(0)
    scaler = GradScaler(4.0)
    scaler.unscale_(optim.SGD(ws))
    for w in ws[:3]:
        np.testing.assert_array_equal(w.grad.astype("float32").numpy(), [2, 2, 2])
    half = st.ones(3, dtype="float16", requires_grad=True)
    half.grad = st.ones(3, dtype="float16")
    with pytest.raises(ValueError, match="gradients are float16, in which small ones vanish"):
        scaler.step(optim.SGD([half]))
    assert half.grad.numpy().tolist() == [1, 1, 1]


def test_a_low_loss_is_scaled_in_float32() -> None:
    scaled = GradScaler().scale({"a": [st.tensor(4.0).astype("float16")], "b": st.tensor(2.0, dtype="float64")})
    assert (scaled["a"][0].dtype, scaled["a"][0].item()) == (st.float32, 4 * 65536)
    assert (scaled["b"].dtype, scaled["b"].item()) == (st.float64, 2 * 65536)


def test_without_effect() -> None:
    scaler, w = GradScaler(enabled=False), weight()
    optimizer = optim.SGD([w], lr=1.0)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    scaler.load_state_dict({})
    np.testing.assert_array_equal(w.detach().numpy(), [0, 1])
    assert (scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()) == (1.0, {}, False)
    assert repr(scaler) == "GradScaler(enabled=False)"


def test_what_comes_before_what() -> None:
    scaler, w = GradScaler(), weight()
    optimizer = optim.SGD([w])
    with pytest.raises(RuntimeError, match=r"call step\(optimizer\) before update\(\)"):
        scaler.update()
    w.grad = st.ones(2)
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="unscale_ was called for this optimizer already"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="unscale_ comes before step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="step was called for this optimizer already"):
        scaler.step(optimizer)
    scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(TypeError, match="expected an optimizer, not Linear"):
        scaler.step(nn.Linear(1, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"init_scale": 0.0}, ValueError, "init_scale=0.0 must be at least"),
        ({"init_scale": 1e300}, ValueError, "init_scale=1e"),
        ({"init_scale": "cuda"}, TypeError, "init_scale must be a number, not 'cuda'"),
        ({"init_scale": np.nan}, ValueError, "init_scale=nan must be"),
        ({"growth_factor": 1.0}, ValueError, "growth_factor=1.0 must be above 1"),
        ({"backoff_factor": 1.0}, ValueError, "backoff_factor=1.0"),
        ({"backoff_factor": 0.0}, ValueError, "backoff_factor=0.0 must be above 0"),
        ({"growth_interval": 0}, ValueError, "growth_interval=0 must be a positive integer"),
    ],
)
def test_options_out_of_range(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"GradScaler: {message}"):
        GradScaler(**options)


def test_states_that_are_none() -> None:
    scaler = GradScaler(4.0)
    state = scaler.state_dict()
    for wrong in ({}, {**state, "scale": -1.0}, {**state, "_growth_tracker": -1}, {**state, "more": 1}, [1]):
        with pytest.raises(ValueError, match="GradScaler: "):
            scaler.load_state_dict(wrong)  # type: ignore[arg-type]
    assert scaler.state_dict() == state
    assert copy.deepcopy(scaler).state_dict() == state
    assert repr(scaler) == "GradScaler(scale=4)"
