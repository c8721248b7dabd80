"""The walk over the tape: whose memory a gradient is, rules that are wrong, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same
from steep.autograd import record


def leaf(x: Any) -> st.Tensor:
    return st.tensor(x, requires_grad=True)


def test_a_gradient_that_goes_two_ways_is_not_shared() -> None:
    a, b = leaf([1.0, 1.0]), leaf([1.0, 1.0])
    n, m = b * 1, a * 10

    def vjp(g: st.Tensor) -> tuple[st.Tensor, st.Tensor]:
        d = g * 1
        return d, d

    (record(st.zeros(2), vjp, (a, n)) + m).sum().backward()
    assert_same(a.grad.numpy(), np.array([11, 11], "f4"))
    assert_same(b.grad.numpy(), np.array([1, 1], "f4"))


def test_a_rule_may_return_a_tensor_that_others_hold() -> None:
    x, constant = leaf([1.0, 1.0]), st.tensor([5.0, 6.0])
    y = record(st.zeros(2), lambda g: (constant,), (x,))
    for _ in range(3):
        y.backward(st.ones(2), retain_graph=True)
    assert_same(x.grad.numpy(), np.array([15, 18], "f4"))
    assert_same(constant.numpy(), np.array([5, 6], "f4"))


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_of_leaves_are_their_own(create_graph: bool) -> None:
    x, y, g = leaf([1.0, 1.0]), leaf([1.0, 1.0]), st.ones(2)
    (x + y).backward(g, create_graph=create_graph)
    (x * 3).sum().backward()
    for tensor, expected in ((x.grad, [4, 4]), (y.grad, [1, 1]), (g, [1, 1])):
        assert_same(tensor.numpy(), np.array(expected, "f4"))
    z = leaf([1.0, 1.0])
    z.sum().backward(create_graph=create_graph)
    z.sum().backward()
    assert_same(z.grad.numpy(), np.array([2, 2], "f4"))


def test_gradients_with_a_history_are_added_out_of_place() -> None:
    x = leaf([2.0])
    (x * x * x).sum().backward(create_graph=True)
    first = x.grad
    (x * x).sum().backward()
    assert (first.item(), x.grad.item()) == (12, 16)
    assert st.grad(first, x)[0].item() == 12
    x.grad = None  # a gradient that depends on its leaf keeps it alive


def test_the_gradient_of_a_sum_is_passed_on() -> None:
    x, y, g = leaf([1.0, 2.0]), leaf([3.0, 4.0]), st.tensor([5.0, 6.0])
    assert all(d is g for d in st.grad(x + y, [x, y], g))
    for gradient, expected in zip(st.grad(x - y, [x, y], g), (g, -g), strict=True):
        assert_same(gradient.numpy(), expected.numpy())
    assert_same(st.grad(x + x, x, g)[0].numpy(), np.array([10, 12], "f4"))


WRONG: list[tuple[Callable[[st.Tensor], Any], type[Exception], str]] = [
    (lambda g: None, TypeError, "the vjp of 'rule' must return a tuple .* not NoneType"),
    (lambda g: g, TypeError, "the vjp of 'rule' must return a tuple .* not Tensor"),
    (lambda g: (1.0,), TypeError, "the vjp of 'rule': gradient 0 must be a Tensor, not float"),
    (lambda g: (g, g), ValueError, "the vjp of 'rule' returned 2 gradients for 1 inputs"),
]


@pytest.mark.parametrize(("rule", "error", "text"), WRONG)
def test_wrong_rules(rule: Any, error: type[Exception], text: str) -> None:
    rule.__name__ = "_rule_vjp"
    x = leaf([1.0, 2.0])
    y = record(st.zeros(2), rule, (x,))
    with pytest.raises(error, match=text):
        y.sum().backward(create_graph=True)
    assert x.grad is None
    assert st.autograd.is_grad_enabled()
    (x * 2).sum().backward()
    assert_same(x.grad.numpy(), np.array([2, 2], "f4"))


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_function_may_return_anything_for_what_is_no_tensor(create_graph: bool) -> None:
    class Scale(st.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: st.Tensor, k: float) -> st.Tensor:
            return x * k

        @staticmethod
        def backward(ctx: Any, g: st.Tensor) -> tuple[st.Tensor, float]:
            return g * 2, 0.0

    x = leaf([1.0, 1.0])
    Scale.apply(x, 2.0).sum().backward(create_graph=create_graph)
    assert_same(x.grad.numpy(), np.array([2, 2], "f4"))


@pytest.mark.parametrize("factor", [0, 1])
def test_threads_that_add_to_one_leaf(factor: int) -> None:
    n = 400_000
    x, g, barrier = leaf(np.ones(n, "f4")), st.ones(n), threading.Barrier(2)

    def work() -> None:
        for _ in range(5):
            y = x + 0 if factor == 0 else x * factor
            barrier.wait()
            y.backward(g)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert_same(x.grad.numpy(), np.full(n, 10, "f4"))


@pytest.mark.parametrize("logits", [[np.inf, 0.0, 1.0], [-np.inf, -np.inf, -np.inf]])
@pytest.mark.parametrize("create_graph", [False, True])
def test_cross_entropy_where_there_is_no_softmax(logits: list[float], create_graph: bool) -> None:
    x = leaf([logits, [0.0, 0.0, 0.0]])
    loss = st.cross_entropy(x, st.tensor([1, 0]))
    (gradient,) = st.grad(loss, x, create_graph=create_graph)
    assert np.isnan(gradient.detach().numpy()[0]).all()
    assert np.isfinite(gradient.detach().numpy()[1]).all()


class Sub(st.Tensor):
    """A subclass with an operator of its own."""

    def __add__(self, other: Any) -> Any:
        return "mine"


def test_operators_of_subclasses_and_others() -> None:
    x = st.tensor([1.0, 2.0])
    assert st._core.alias_as(x, Sub) + 1 == "mine"
    assert_same((np.array([1.0, 2.0], "f4") + x).numpy(), np.array([2, 4], "f4"))
    assert_same((x * [2.0, 3.0]).numpy(), np.array([2, 6], "f4"))
    assert_same((1 - x).numpy(), np.array([0, -1], "f4"))
    assert_same((2 / x).numpy(), np.array([2, 1], "f4"))
    for wrong in (None, "a", object()):
        with pytest.raises(TypeError):
            x + wrong
        with pytest.raises(TypeError):
            wrong - x
    with pytest.raises(ValueError, match="broadcast"):
        x / st.ones(3)
