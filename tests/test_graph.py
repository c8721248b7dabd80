"""The life of a graph: long chains, what keeps values alive, and changes in place."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import memory_in_use


def leaf(x: object) -> st.Tensor:
    return st.tensor(np.asarray(x, "float64"), requires_grad=True)


DEPTH = 100_000


def chain(x: st.Tensor, step: Callable[[st.Tensor], st.Tensor], depth: int = DEPTH) -> st.Tensor:
    for _ in range(depth):
        x = step(x)
    return x


@pytest.mark.parametrize("step", [lambda t: t + 1.0, lambda t: -t, lambda t: t.reshape(1), st.sin], ids=range(4))
def test_long_chains(step: Callable[[st.Tensor], st.Tensor]) -> None:
    x = leaf([0.5])
    y = chain(x, step)
    y.backward()
    assert abs(x.grad.item()) <= 1
    del y  # freed after backward
    y = chain(x, step)
    del y  # freed without one


def test_long_chain_on_a_small_stack() -> None:
    result = []

    def run() -> None:
        x = leaf([0.5])
        y = chain(x, lambda t: t * 1.0 + x)
        result.append(st.grad(y, x)[0].item())
        y = chain(x, lambda t: t * 1.0)
        del y

    before = threading.stack_size(128 * 1024)
    try:
        worker = threading.Thread(target=run)
        worker.start()
    finally:
        threading.stack_size(before)
    worker.join()
    assert result == [DEPTH + 1]


def test_graphs_are_freed_at_once_without_the_garbage_collector(rng: np.random.Generator) -> None:
    w = leaf(rng.standard_normal((4, 3)))
    labels = st.tensor([0, 1, 2, 3])
    gc.collect()
    gc.disable()
    try:
        before = memory_in_use()
        for create_graph in (False, True):
            x = leaf(rng.standard_normal((4, 3)))
            hidden = st.layer_norm(st.gelu(x @ w.T), 4)
            loss = st.cross_entropy(st.softmax(hidden) * 3, labels) + (x @ w.T).mean()
            nodes = [weakref.ref(t.grad_fn) for t in (hidden, loss)]
            gradients = st.grad(loss, (x, w), create_graph=create_graph)
            del loss, hidden, gradients, x
            assert [node() for node in nodes] == [None, None]
        assert memory_in_use() == before
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_backward_frees_the_saved_values() -> None:
    w = leaf([2.0])
    x = st.tensor(np.ones(1000))
    y = (x * w).sum()
    reference = weakref.ref(x)
    del x
    assert reference() is not None  # multiply needs it
    y.backward()
    assert reference() is None
    z = w * 3 + st.ones(1, dtype="float64")
    z.backward(retain_graph=True)
    z.backward()
    assert w.grad.item() == 1000 + 3 + 3


def test_only_what_the_derivative_reads_is_kept() -> None:
    for function, keeps_x in ((st.exp, False), (st.sin, True), (st.neg, False), (st.tanh, False), (st.silu, True)):
        x = leaf(np.ones(10))
        hidden = x * 2
        reference = weakref.ref(hidden)
        y = function(hidden)
        del hidden
        assert (reference() is not None) == keeps_x, y.grad_fn.name


# --- changes in place -------------------------------------------------------------------------------------------------


def read_x(x: st.Tensor) -> tuple[st.Tensor, st.Tensor]:
    hidden = x * 1.0
    return hidden, st.sin(hidden)


def read_y(x: st.Tensor) -> tuple[st.Tensor, st.Tensor]:
    hidden = st.exp(x)
    return hidden, hidden * 1.0


CHANGES: list[Callable[[st.Tensor], object]] = [
    lambda t: t.add_(1.0), lambda t: t.mul_(2.0), lambda t: t.sub_(1.0), lambda t: t.div_(2.0), lambda t: t.zero_(),
    lambda t: t.fill_(3.0), lambda t: t.copy_(t * 2), lambda t: t.__setitem__(0, 7.0), lambda t: t[1:].add_(1.0),
    lambda t: t.detach().reshape(2, 1).fill_(0.0), lambda t: t.__iadd__(1.0),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
@pytest.mark.parametrize("make", [read_x, read_y])
def test_changes_of_needed_values_are_detected(make: Callable[..., Any], change: Callable[..., Any]) -> None:
    hidden, y = make(leaf([0.5, 1.5]))
    with st.no_grad():
        change(hidden)
    with pytest.raises(
        RuntimeError, match=r"backward through '(sin|exp)' needs a tensor that has been changed in place"
    ):
        y.sum().backward()


def test_changes_of_values_nobody_needs_are_allowed() -> None:
    x = leaf([0.5, 1.5])
    hidden = x * 2.0  # multiplication by a number needs no value
    y = hidden + 1.0
    with st.no_grad():
        hidden.zero_()
        x.add_(1.0)
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]
    target = st.tensor(np.zeros(2))
    target += 1.0
    assert target.tolist() == [1, 1]


def test_an_optimizer_step_between_forward_and_backward_is_detected() -> None:
    w = st.nn.Parameter(np.ones((2, 2)))
    loss = ((st.tensor(np.ones((3, 2)), dtype="float64") @ w) @ w).sum()
    w.grad = st.ones((2, 2), dtype="float64")
    st.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="backward through 'matmul' needs a tensor that has been changed in place"):
        loss.backward()


def test_augmented_assignment_makes_a_new_value_where_recorded() -> None:
    x = leaf([1.0, 2.0])
    y = first = x * 1.0
    y += x
    y *= y
    y -= 1.0
    y /= 2.0
    assert y is not first
    assert y.tolist() == [1.5, 7.5]
    y.sum().backward()
    assert x.grad.tolist() == [4, 8]
    z = plain = st.tensor([1.0])
    z += 1.0
    assert z is plain
    buffer = st.zeros(2, dtype="float64")
    buffer += x * 3
    assert buffer.requires_grad
    assert buffer.tolist() == [3, 6]


def test_writes_into_broadcast_views_raise() -> None:
    """An element that stands for several would be changed several times."""
    x = st.ones((1, 3))
    wide = x.broadcast_to((4, 3))
    for change in (lambda: wide.add_(1.0), lambda: wide.fill_(2.0), lambda: wide.__setitem__(..., 2.0)):
        with pytest.raises(ValueError, match=r"\(4, 3\)"):
            change()
    assert x.tolist() == [[1, 1, 1]]


def test_in_place_values_and_versions() -> None:
    x = st.tensor([1.0, 2.0, 3.0, 4.0])
    version = x._version
    x[::2].add_(10)
    x[1] = -1
    x.reshape(2, 2)[1].mul_(st.tensor([2.0]))
    assert x.tolist() == [11, -1, 26, 8]
    assert x._version == version + 3
    x[1:] = x[:-1]
    assert x.tolist() == [11, 11, -1, 26]
    x[1:].add_(x[:-1])  # overlapping memory is read before it is written
    assert x.tolist() == [11, 22, 10, 25]
    x.copy_(st.tensor(1))
    assert x.tolist() == [1, 1, 1, 1]
    i = st.tensor([5, 6])
    i.mul_(3)
    i.sub_(True)
    assert i.tolist() == [14, 17]
    m = st.arange(6.0).reshape(2, 3)
    m.add_(m[:, :1])
    assert m.tolist() == [[0, 1, 2], [6, 7, 8]]


def test_comparisons_are_recorded() -> None:
    x, y = st.Input((4,)), st.Input((4,))
    values, others = np.array([[1.0, 2.0, 0.0, 1.0]], "f4"), np.array([[1.0, 0.0, 0.0, 2.0]], "f4")
    model = st.nn.Model([x, y], [x == 1, x != y, y == np.ones(4, np.float32), x < y])
    expected = [values == 1, values != others, others == 1, values < others]
    for output, right in zip(model(values, others), expected, strict=True):
        assert output.tolist() == right.tolist()
    with pytest.raises(TypeError, match=r"a symbolic value of shape \(None, 4\) has no truth value"):
        bool(x == y)
    assert len({x, y, x}) == 2
