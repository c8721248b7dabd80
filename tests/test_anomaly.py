"""detect_anomaly: the first NaN or infinity, and where it came from."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep.autograd import AnomalyError, checkpoint, detect_anomaly, set_detect_anomaly


def line() -> int:
    return sys._getframe(1).f_lineno


def here(number: int) -> str:
    return f"{Path(__file__)}:{number}"


def test_a_result() -> None:
    x = st.tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly():
        y = x * 2
        with pytest.raises(
            AnomalyError, match=r"the result of 'log' of shape \(2,\) holds inf; its inputs do not"
        ) as e:
            st.log(y)
        number = line() - 1
        with pytest.raises(AnomalyError, match=r"'subtract' of shape .* holds NaN; input 0 .* holds inf"):
            st.tensor([float("inf")]) - st.tensor([float("inf")])
        with pytest.raises(AnomalyError, match="'divide'"), st.no_grad():
            x / 0.0
        with pytest.raises(AnomalyError, match=r"'matmul'.*input 1 of shape"):
            st.ones(2, 2) @ st.tensor([[1.0, float("nan")], [0.0, 0.0]])
        st.isnan(st.log(y + 1))
    assert (e.value.operation, e.value.layer, e.value.where) == ("log", None, here(number))
    assert isinstance(e.value, RuntimeError)
    assert st.log(y).tolist()[1] == -np.inf  # all as before


def test_a_gradient() -> None:
    x = st.tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly():
        y = st.sqrt(x)
        number = line() - 1
        z = (y * 2).sum()
        with pytest.raises(AnomalyError, match=r"the gradient of 'sqrt' holds inf, for input 0 of shape \(2,\)") as e:
            z.backward()
    assert e.value.where == here(number)
    assert f"recorded at {here(number)}" in str(e.value)
    assert x.grad is None
    with detect_anomaly(), pytest.raises(AnomalyError, match="'sqrt'"):
        st.grad((st.sqrt(x) * 0).sum(), x)  # 0 · inf


def test_a_graph_recorded_outside() -> None:
    x = st.tensor([1.0, 0.0], requires_grad=True)
    y = st.sqrt(x).sum()
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"'sqrt' .* the forward pass ran outside detect_anomaly"):
        y.backward()


def test_the_gradient_that_came_in_is_named() -> None:
    x = st.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    with detect_anomaly(), pytest.raises(AnomalyError, match="the gradient that came to it holds NaN"):
        y.backward(st.tensor([1.0, float("nan")]))


def test_infinities_can_pass() -> None:
    x = st.tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly(check_inf=False):
        y = st.where(x > 0, x, -float("inf"))
        st.softmax(y).sum().backward()
        with pytest.raises(AnomalyError, match="holds NaN"):
            st.log(x) * 0


def test_switching() -> None:
    zero = st.zeros(1)

    def on() -> bool:
        try:
            st.log(zero)
        except AnomalyError:
            return True
        return False

    assert not on()
    with detect_anomaly():
        assert on()
        with set_detect_anomaly(False):
            assert not on()
        with detect_anomaly(check_inf=False):
            assert not on()
        assert on()
    assert not on()
    set_detect_anomaly(True)
    assert on()
    set_detect_anomaly(False)
    assert not on()
    mode = detect_anomaly()
    with mode, mode:
        assert on()
    assert not on()
    assert st.nn.Module._hooks is None


class Log(st.nn.Module):
    def forward(self, x: st.Tensor) -> st.Tensor:
        return st.log(x)


class Net(st.nn.Module):
    def __init__(self) -> None:
        self.fc1 = st.nn.Linear(2, 2)
        self.blocks = st.nn.ModuleList([st.nn.Sequential(st.nn.Linear(2, 2), Log()), st.nn.ReLU()])
        self.fc2 = st.nn.Linear(2, 1)

    def forward(self, x: st.Tensor) -> st.Tensor:
        x = self.fc1(x)
        for block in self.blocks:
            x = block(x)
        return self.fc2(x)


def net() -> Net:
    model = Net()
    for p in model.parameters():
        with st.no_grad():
            p.fill_(0.5)
    return model


def test_layers_by_their_paths() -> None:
    model, x = net(), st.ones(3, 2)
    with detect_anomaly():
        model(x)
        with st.no_grad():
            model.blocks[0][0].weight.fill_(0)
            model.blocks[0][0].bias.fill_(0)
        with pytest.raises(AnomalyError, match=r"'log' .* in layer 'blocks.0.1'") as e:
            model(x)
        assert e.value.layer == "blocks.0.1"
        with st.no_grad():
            model.fc1.bias.fill_(float("nan"))
        with pytest.raises(AnomalyError, match=r"'linear' .* input 2 of shape \(2,\) holds NaN; .* in layer 'fc1'"):
            model(x)
        with pytest.raises(AnomalyError, match="in layer 'fc1'"):
            model.fc1(x)
        with pytest.raises(AnomalyError, match="in layer 'Log'"):
            Log()(st.zeros(1))
    with detect_anomaly(), pytest.raises(AnomalyError) as e:
        st.log(st.zeros(1))
    assert e.value.layer is None  # the stack is empty after errors


def test_the_layer_of_a_gradient() -> None:
    class Root(st.nn.Module):
        def forward(self, x: st.Tensor) -> st.Tensor:
            return st.sqrt(x)

    model = st.nn.Sequential({"a": st.nn.Linear(2, 2, bias=False), "root": Root()})
    with st.no_grad():
        model.a.weight.fill_(0)
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"the gradient of 'sqrt' .*, in layer 'root'"):
        model(st.ones(1, 2)).sum().backward()


def test_in_fit() -> None:
    x, y = np.ones((8, 2), "f4"), np.ones((8, 1), "f4")
    x[5] = np.inf
    model = st.nn.Sequential(st.nn.Linear(2, 4), st.nn.Linear(4, 1))
    model.compile("sgd", "mse")
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"in layer '0' \(fit: epoch 1, batch 3\)"):
        model.fit(x, y, batch_size=2, epochs=2, verbose=0, shuffle=False)
    x[5] = 1
    bad = x.copy()
    bad[0] = np.nan
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"\(fit: epoch 1, validation\)"):
        model.fit(x, y, batch_size=2, epochs=2, verbose=0, validation_data=(bad, y))
    with detect_anomaly():
        model.fit(x, y, batch_size=2, epochs=1, verbose=0)


def test_gradients_of_gradients() -> None:
    x = st.tensor([4.0, 0.0], dtype=st.float64, requires_grad=True)
    with detect_anomaly():
        y = x * st.sqrt(x)
        number = line() - 1
        with pytest.raises(AnomalyError) as e:
            st.grad(y.sum(), x, create_graph=True)
        assert e.value.where == here(number)
        y = x**3
        (g,) = st.grad(y.sum(), x, create_graph=True)
        st.grad(g.sum(), x)


def test_functions_and_checkpoints() -> None:
    class Bad(st.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x + 1

        @staticmethod
        def backward(ctx, g):
            return g * float("nan")

    x = st.tensor([1.0, 0.0], requires_grad=True)
    with detect_anomaly():
        with pytest.raises(AnomalyError, match="the gradient of 'Bad' holds NaN"):
            Bad.apply(x).sum().backward()
        y = checkpoint(lambda x: st.sqrt(x) * 2, x)
        with pytest.raises(AnomalyError, match=f"the gradient of 'sqrt' holds inf.*{re.escape(__file__)}"):
            y.sum().backward()


def test_with_hooks() -> None:
    model, seen = net(), []
    model.fc1.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    with detect_anomaly():
        model(st.ones(3, 2))
        with pytest.raises(AnomalyError, match="'fc1'"):
            model(st.full((3, 2), float("nan")))
    model(st.ones(3, 2))
    assert seen == [(3, 2)] * 2


@pytest.mark.parametrize("dtype", [st.float32, st.float64])
def test_empty_and_integers(dtype: Any) -> None:
    with detect_anomaly():
        st.exp(st.zeros((0, 3), dtype=dtype))
        st.arange(3) + 1
        assert st.exp(st.tensor(1.0, dtype=dtype)).ndim == 0


def test_moves_compute_nothing(cuda: str) -> None:
    x = st.tensor([float("nan")], device="cpu")
    with detect_anomaly():
        y = x.to(cuda)
        with pytest.raises(AnomalyError, match="the result of 'multiply'"):
            y * 2
