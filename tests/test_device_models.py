"""Models, optimizers and fit on a device."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim


class Counting(nn.Module):
    def __init__(self) -> None:
        self.fc = nn.Linear(3, 2)
        self.register_buffer("count", st.zeros(1, dtype=st.int64))
        self.register_buffer("same", self.count)
        self.same = self.count  # one tensor under two names

    def forward(self, x: st.Tensor) -> st.Tensor:
        return self.fc(x)


def test_moved_parameters_stay_the_same_objects() -> None:
    model = Counting()
    before = list(model.parameters())
    optimizer = optim.Adam(before, lr=0.1)
    for dtype in (st.float32, st.float64, st.float32):
        model(st.ones((4, 3))).sum().backward()
        assert model.to(dtype) is model
        after = list(model.parameters())
        assert all(a is b for a, b in zip(before, after, strict=True))
        assert {(p.dtype, p.grad.dtype, p.requires_grad) for p in after} == {(dtype, dtype, True)}
        optimizer.step()  # its state follows
        optimizer.zero_grad()
    with pytest.raises(TypeError, match="cannot be moved to int32"):
        model.to(st.int32)


def test_a_graph_does_not_outlive_a_move_of_its_parameters() -> None:
    model = nn.Linear(2, 1)
    loss = (model.weight * model.weight).sum()
    model.to(st.float64)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_model_moves_as_a_whole(cuda: str) -> None:
    model = Counting()
    before = list(model.parameters())
    model(st.ones((4, 3))).sum().backward()
    gradients = [p.grad.numpy() for p in before]
    assert model.cuda() is model
    assert [p is q for p, q in zip(before, model.parameters(), strict=True)] == [True] * 2
    assert {x.device for x in (*before, *(p.grad for p in before), model.count)} == {st.device(cuda)}
    assert model.same is model.count
    for p, g in zip(before, gradients, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)
    state = model.state_dict()
    assert {x.device for x in state.values()} == {st.device(cuda)}
    other = Counting().cpu()
    other.load_state_dict(state)
    assert other.fc.weight.device == "cpu"
    np.testing.assert_array_equal(other.fc.weight.detach().numpy(), model.fc.weight.detach().numpy())
    model.load_state_dict({name: x.numpy() + 1 for name, x in state.items()})
    assert model.fc.weight.device == cuda
    twin = pickle.loads(pickle.dumps(model))
    assert {x.device for x in twin.parameters()} == {st.device(cuda)}
    assert copy.deepcopy(model).fc.weight.device == cuda
    model.to("cpu", st.float64)
    assert (model.fc.weight.device, model.fc.weight.dtype, model.count.dtype) == ("cpu", st.float64, st.int64)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, 0.1, momentum=0.9),
        lambda p: optim.AdamW(p, 0.1),
        lambda p: optim.RMSprop(p, 0.1, momentum=0.5, centered=True),
        lambda p: optim.NAdam(p, 0.1),
        lambda p: optim.LAMB(p, 0.1),
    ],
    ids=["SGD", "AdamW", "RMSprop", "NAdam", "LAMB"],
)
def test_an_optimizer_follows_its_parameters(make: Any, cuda: str) -> None:
    def train(devices: list[str]) -> tuple[np.ndarray[Any, Any], optim.Optimizer]:
        st.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = make(model.parameters())
        for device in devices:
            model.to(device)
            optimizer.zero_grad()
            (model(st.arange(6.0, device=device).reshape(2, 3)) ** 2).mean().backward()
            optimizer.step()
        return model.weight.detach().numpy(), optimizer

    expected, _ = train(["cpu"] * 4)
    moved, optimizer = train(["cpu", cuda, cuda, "cpu"])
    np.testing.assert_allclose(moved, expected, rtol=1e-5)
    weight = nn.Linear(3, 1).to(cuda)
    other = make(weight.parameters())
    other.load_state_dict(optimizer.state_dict())
    assert {x.device for tensors in other._state[0].values() for x in tensors} == {st.device(cuda)}


def blobs(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    y = rng.integers(0, 3, 200)
    return rng.normal(size=(200, 4)) + y[:, None], y


@pytest.mark.parametrize("data", ["numpy", "cpu", "cuda"])
def test_only_the_model_moves_and_fit_trains_there(data: str, cuda: str, rng: np.random.Generator) -> None:
    x, y = blobs(rng)

    def train(device: str, x: Any, y: Any) -> tuple[st.callbacks.History, nn.Module]:
        st.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 16, activation="relu"), nn.Dropout(0.1), nn.Linear(16, 3)).to(device)
        model.compile("adam", "cross_entropy", metrics=["accuracy"])
        return model.fit(x, y, epochs=3, verbose=0, validation_split=0.2), model

    with st.device("cpu"):
        expected, here = train("cpu", x, y)
        given = (x, y) if data == "numpy" else (st.tensor(x, device=data), st.tensor(y, device=data))
        history, model = train(cuda, *given)
        for name, values in expected.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-3, err_msg=name)
        assert model.predict(given[0]).device == cuda
        assert model.evaluate(*given) == pytest.approx(here.evaluate(x, y), rel=1e-3)
        assert model.cpu().predict(given[0]).device == "cpu"
        assert model.fit(*given, verbose=0).epoch == [3]


def test_data_larger_than_the_free_memory_goes_there_in_batches(
    cuda: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = blobs(rng)
    losses = []
    for stats in (st.cuda.memory_stats(cuda), {"free": 1000, "cached": 0}):
        monkeypatch.setattr(st.cuda, "memory_stats", lambda device=None, stats=stats: stats)
        st.manual_seed(0)
        model = nn.Linear(4, 3).to(cuda)
        model.compile("sgd", "cross_entropy")
        losses.append(model.fit(x, y, epochs=2, verbose=0)["loss"])
    assert losses[0] == losses[1]


def test_training_leaves_nothing_behind_on_the_device(cuda: str, rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    model = nn.Sequential(nn.Linear(4, 16, activation="relu"), nn.LayerNorm(16), nn.Linear(16, 3)).to(cuda)
    model.compile("adam", "cross_entropy", metrics=["accuracy"])
    in_use = []
    for _ in range(4):
        model.fit(x, y, verbose=0)
        model.predict(x)
        in_use.append(st.cuda.memory_allocated(cuda))
    assert len(set(in_use[1:])) == 1


def test_a_model_on_several_devices_is_refused_by_fit(cuda: str, rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(4, 4).to("cpu"), nn.Linear(4, 3).to(cuda))
    model.compile("adam", "cross_entropy")
    x, y = blobs(rng)
    message = r"the parameters of Sequential are on several devices \(0.weight on cpu, 1.weight on cuda:0\)"
    for call in (lambda: model.fit(x, y), lambda: model.evaluate(x, y), lambda: model.predict(x)):
        with pytest.raises(ValueError, match=message):
            call()


def test_means_wait_seldom(cuda: str) -> None:
    from steep.train.means import Means

    means, plain, count = Means(), Means(), st.tensor(-1, device=cuda)
    for i in range(100):
        loss = float("nan") if i >= 70 else i / 3
        means.add({"loss": st.tensor(loss, device=cuda), "n": count.add_(1), "x": 1.0}, 2)
        plain.add({"loss": np.float32(loss), "n": i, "x": 1.0}, 2)
    assert len(means._pending) == 100 % Means.INTERVAL
    assert means.result() == pytest.approx(plain.result(), nan_ok=True)
    assert means.lost is not None
    assert means.lost[0] == plain.lost[0] == 71


def test_layers_losses_and_clipping_on_a_device(cuda: str, rng: np.random.Generator) -> None:
    x, y = blobs(rng)

    def train(device: str) -> tuple[st.callbacks.History, dict[str, Any]]:
        st.manual_seed(0)
        model = nn.Sequential(  # without a bias, whose gradient before a batch norm is rounding errors only
            nn.Linear(4, 16, bias=False), nn.BatchNorm1d(16), nn.GroupNorm(2, 16), nn.RMSNorm(16), nn.Linear(16, 3)
        )
        model.to(device)
        loss = nn.CrossEntropyLoss(weight=[1.0, 2.0, 0.5], ignore_index=1, label_smoothing=0.1)
        model.compile("nadam", loss, metrics=["accuracy"])
        history = model.fit(x, y, epochs=2, verbose=0)  # which brings the weights of the loss to the model
        assert loss.weight.device == device
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        return history, {name: value.numpy() for name, value in model.state_dict().items()}

    with st.device("cpu"):
        (expected, here), (history, there) = train("cpu"), train(cuda)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-3, err_msg=name)
    for name, value in here.items():
        np.testing.assert_allclose(there[name], value, rtol=1e-2, atol=1e-3, err_msg=name)
    table = nn.Embedding(5, 3, padding_idx=0).to(cuda)
    table(st.tensor([0, 4], device=cuda)).sum().backward()
    assert table.weight.grad.tolist() == [[0] * 3, [0] * 3, [0] * 3, [0] * 3, [1] * 3]
