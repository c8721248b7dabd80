"""steep.autograd.checkpoint: the same bits for less memory."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same
from steep.autograd import checkpoint


def model() -> st.nn.Sequential:
    st.manual_seed(1)
    return st.nn.Sequential(
        st.nn.Linear(6, 8, activation="tanh"), st.nn.Dropout(0.4), st.nn.LayerNorm(8), st.nn.Linear(8, 6)
    )


def gradients(run: Callable[[Any, st.Tensor], st.Tensor]) -> list[Any]:
    net = model()
    x = st.random.normal((5, 6), requires_grad=True)
    loss = (run(net, x) ** 2).sum()
    loss.backward()
    return [loss.numpy(), x.grad.numpy(), *(p.grad.numpy() for p in net.parameters()), st.random.uniform(3).numpy()]


def by_layers(net: Any, x: st.Tensor) -> st.Tensor:
    for layer in net:
        x = checkpoint(layer, x)
    return x


def nested(net: Any, x: st.Tensor) -> st.Tensor:
    return checkpoint(lambda x: net[3](checkpoint(lambda x: net[2](checkpoint(net[1], net[0](x))), x)), x)


@pytest.mark.parametrize("run", [lambda net, x: checkpoint(net, x), by_layers, nested], ids=["all", "layers", "nested"])
def test_the_same_bits(run: Any) -> None:
    for a, b in zip(gradients(lambda net, x: net(x)), gradients(run), strict=True):
        assert_same(a, b)


def test_the_same_bits_where_gradients_meet() -> None:
    """A parameter and an intermediate value that are used inside and outside."""

    def run(maybe: Callable[..., Any]) -> list[Any]:
        st.manual_seed(3)
        w = st.random.normal((4, 4), requires_grad=True)
        x = st.random.normal((4, 4), requires_grad=True)
        h = st.tanh(x @ w)
        y = maybe(lambda h: st.tanh(h @ w) @ w + h, h)
        (y @ w + h * y).sum().backward()
        return [w.grad.numpy(), x.grad.numpy()]

    for a, b in zip(run(lambda f, *args: f(*args)), run(checkpoint), strict=True):
        assert_same(a, b)


def test_dropout_draws_the_same_numbers_and_the_stream_goes_on() -> None:
    x = st.ones(1000, requires_grad=True)
    y = checkpoint(lambda x: st.dropout(st.exp(x), 0.5, True) * 3, x)
    after = st.random.get_state()
    y.sum().backward()
    assert st.random.get_state() == after
    np.testing.assert_allclose(x.grad.numpy(), y.detach().numpy(), rtol=1e-6)


def test_nested_results_and_keywords() -> None:
    x, z = st.tensor([1.0, 2.0], requires_grad=True), st.tensor([3.0, 4.0], requires_grad=True)

    def function(x: st.Tensor, power: int, *, pair: Any) -> Any:
        a = x**power
        return a, (a.exp(), [pair[0] * a]), {"n": power, "b": st.sin(pair[0])}

    out = checkpoint(function, x, 2, pair=(z,))
    plain = function(x, 2, pair=(z,))
    a, (b, [c]), d = out
    assert d["n"] == 2
    assert_same(b.numpy(), plain[1][0].numpy())
    total = (a + b * c + d["b"]).sum()
    expected = st.grad((plain[0] + plain[1][0] * plain[1][1][0] + plain[2]["b"]).sum(), [x, z])
    for g, e in zip(st.grad(total, [x, z]), expected, strict=True):
        assert_same(g.numpy(), e.numpy())


def test_only_some_results_are_used() -> None:
    x = st.tensor([1.0, 2.0], requires_grad=True)
    a, _ = checkpoint(lambda x: (st.exp(x), st.sin(x)), x)
    (g,) = st.grad(a.sum(), x)
    assert_same(g.numpy(), a.detach().numpy())


def test_gradients_of_gradients() -> None:
    x = st.tensor([0.3, -0.7], dtype=st.float64, requires_grad=True)
    w = st.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=st.float64, requires_grad=True)

    def function(x: st.Tensor, w: st.Tensor) -> st.Tensor:
        return checkpoint(lambda x: st.exp(st.tanh(x @ w)) * st.sin(x), x)

    assert st.autograd.gradcheck(function, [x, w])
    assert st.autograd.gradgradcheck(function, [x, w])
    (g,) = st.grad(function(x, w).sum(), x, create_graph=True)
    (p,) = st.grad((st.exp(st.tanh(x @ w)) * st.sin(x)).sum(), x, create_graph=True)
    for a, b in zip(st.grad((g * g).sum(), [x, w]), st.grad((p * p).sum(), [x, w]), strict=True):
        assert_same(a.numpy(), b.numpy())


def test_retain_graph() -> None:
    x = st.tensor([1.0, 2.0], requires_grad=True)
    y = checkpoint(lambda x: st.exp(st.sin(x)), x).sum()
    y.backward(retain_graph=True)
    first = x.grad.numpy().copy()
    y.backward()
    assert_same(x.grad.numpy(), 2 * first)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_hooks_inside() -> None:
    x, seen = st.tensor([1.0, 2.0], requires_grad=True), []

    def function(x: st.Tensor) -> st.Tensor:
        y = st.exp(x)
        y.register_hook(lambda g: seen.append(g.tolist()))
        return y * 2

    checkpoint(function, x).sum().backward()
    assert seen == [[2, 2]]


def test_the_function_runs_twice_or_once() -> None:
    calls = []

    def function(x: st.Tensor) -> st.Tensor:
        calls.append(st.is_grad_enabled())
        return st.exp(x) * 2

    x = st.ones(2, requires_grad=True)
    checkpoint(function, x).sum().backward()
    assert calls == [True, True]
    checkpoint(function, st.ones(2))
    with st.no_grad():
        assert checkpoint(function, x).tolist() == (2 * st.exp(st.ones(2))).tolist()
    assert calls == [True, True, True, False]


def test_in_a_custom_function_and_with_views() -> None:
    class Cube(st.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x * x * g

    x = st.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    checkpoint(lambda x: Cube.apply(x.T[0] * 2) + x[1], x).sum().backward()
    assert x.grad.tolist() == [[24.0, 0.0], [24.0 * 9 + 1, 1.0]]


def test_changes_in_place_are_found() -> None:
    w = st.ones(3, requires_grad=True)
    x = st.ones(3, requires_grad=True)
    y = checkpoint(lambda x: st.exp(x * w), x)
    with st.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match=r"checkpoint: an input or parameter of shape \(3,\) has been changed"):
        y.sum().backward()
    state = st.ones(3)
    y = checkpoint(lambda x: x * state, x)
    state.add_(1)
    with pytest.raises(RuntimeError, match="checkpoint: a tensor that 'multiply' reads has been changed in place"):
        y.sum().backward()


def test_another_function_the_second_time_is_found() -> None:
    runs = iter(range(2))
    x = st.ones(3, requires_grad=True)
    y = checkpoint(lambda x: st.exp(x) if next(runs) == 0 else st.sin(x), x)
    with pytest.raises(RuntimeError, match="did other operations the second time"):
        y.sum().backward()


def test_nothing_is_left_over() -> None:
    class Big:
        pass

    gc.collect()
    gc.disable()
    try:
        big = Big()
        gone = weakref.ref(big)
        x = st.ones(3, requires_grad=True)
        y = checkpoint(lambda x, big: checkpoint(lambda x: st.exp(x) * big.__sizeof__(), st.sin(x)), x, big)
        del big
        assert gone() is not None
        y.sum().backward()
        assert gone() is None  # though the result is still there
        big = Big()
        gone = weakref.ref(big)
        y = checkpoint(lambda x, big: st.exp(st.sin(x)), x, big)
        del y, big
        assert gone() is None
    finally:
        gc.enable()


MEASURE = """
import sys
import steep as st

def block(x):
    for _ in range(8):
        x = st.tanh(x) * 1.5
    return x

x = st.random.normal((250_000,), requires_grad=True)  # 1 MB
y = x
before = st.memory_stats()["in_use"]
for _ in range(16):
    y = st.autograd.checkpoint(block, y) if sys.argv[1] == "with" else block(y)
after = st.memory_stats()["in_use"]
y.sum().backward()
print(after - before, st.memory_stats()["peak"])
"""


@pytest.mark.host(reason="the CPU's memory")
def test_memory() -> None:
    def measured(how: str) -> list[int]:
        out = subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True)
        return [int(n) for n in out.stdout.split()]

    kept, peak = measured("with")
    kept_without, peak_without = measured("without")
    assert kept < 20e6 < 100e6 < kept_without  # 16 results of blocks, of 16 · 8 of operations
    assert peak < peak_without / 2


def test_in_fit(rng: np.random.Generator) -> None:
    class Net(st.nn.Module):
        def __init__(self, maybe: Any) -> None:
            st.manual_seed(5)
            self.maybe = maybe
            self.body, self.out = st.nn.Sequential(st.nn.Linear(4, 8), st.nn.Dropout(0.3)), st.nn.Linear(8, 1)

        def forward(self, x: st.Tensor) -> st.Tensor:
            return self.out(self.maybe(self.body, x))

    x = rng.standard_normal((32, 4)).astype("f4")
    losses = []
    for maybe in (lambda f, *args: f(*args), checkpoint):
        net = Net(maybe)
        net.compile("adam", "mse")
        losses.append(net.fit(x, x[:, :1], batch_size=8, epochs=3, verbose=0)["loss"])
    assert losses[0] == losses[1]


def test_nested_gradients_of_gradients_are_the_same_bits() -> None:
    def run(maybe: Callable[..., Any]) -> list[Any]:
        x = st.tensor([0.3, -0.7], requires_grad=True)
        w = st.tensor([[1.0, 0.5], [-0.3, 2.0]], requires_grad=True)
        h = x * w[0]
        inner = lambda y: st.tanh(y @ w) * st.sin(y) * h  # noqa: E731
        y = maybe(lambda x: st.exp(maybe(inner, x * x)) * maybe(inner, x), x + h)
        (g,) = st.grad(y.sum(), x, create_graph=True)
        return [g.numpy(), *(d.numpy() for d in st.grad((g * g * y).sum(), [x, w]))]

    for a, b in zip(run(checkpoint), run(lambda f, *args: f(*args)), strict=True):
        assert_same(a, b)
