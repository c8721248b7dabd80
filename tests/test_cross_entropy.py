"""Cross-entropy with its gradient: against its composition, NumPy in more precision, and differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same, check_same_function, memory_in_use

nan = math.nan
LENGTHS = [2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 1000]


def tensor(x: Any) -> st.Tensor:
    return st.asarray(np.asarray(x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("how", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("ignored", [None, -7, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_with_its_gradient(
    weighted: bool, ignored: int | None, smoothing: float, how: str, rng: np.random.Generator
) -> None:
    n, classes = 11, 5
    x = st.tensor(rng.standard_normal((n, classes)) * 3, requires_grad=True)
    labels = rng.integers(0, classes, n)
    if ignored is not None:
        labels[::3] = ignored
    weight = rng.random(classes) if weighted else None
    own = (np.ones(n) if weight is None else weight[labels % classes]) * (labels != ignored)
    target = np.eye(classes)[labels % classes] * (1 - smoothing)
    spread = np.full(classes, smoothing / classes) * (1 if weight is None else weight)

    def plain(x: st.Tensor) -> st.Tensor:
        log = st.log_softmax(x)
        loss = -(tensor(target) * log).sum(1) * own
        loss = (loss - (tensor(spread) * log).sum(1) * (labels != ignored)).sum()
        return loss if how == "sum" else loss / own.sum()

    def fused(x: st.Tensor) -> st.Tensor:
        return st.cross_entropy(x, tensor(labels), how, weight=weight, ignore_index=ignored, label_smoothing=smoothing)

    check_same_function(fused, plain, [x])
    assert st.autograd.gradcheck(fused, [x])
    assert st.autograd.gradgradcheck(fused, [x])
    with st.no_grad():
        np.testing.assert_allclose(fused(x).numpy(), plain(x).numpy(), rtol=1e-12)


@pytest.mark.parametrize("n", [*LENGTHS, 8193, 262_144])
def test_cross_entropys_gradient_against_float64(n: int, dtype: str, rng: np.random.Generator) -> None:
    eps = np.finfo(dtype).eps
    rows = 5
    x, labels = (rng.standard_normal((rows, n)) * 4).astype(dtype), rng.integers(0, n, rows)
    wide = x.astype(np.longdouble)
    p, hit = softmax(wide), np.arange(n) == labels[:, None]
    for smoothing in (0.0, 0.1):
        target = hit * (1 - np.longdouble(smoothing)) + np.longdouble(smoothing) / n
        leaf = st.tensor(x, requires_grad=True)
        loss = st.cross_entropy(leaf, tensor(labels), label_smoothing=smoothing)
        exact = (
            np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1)) + wide.max(-1) - (target * wide).sum(-1)
        ).mean()
        assert abs(loss.item() - exact) <= 8 * eps * max(float(exact), float(np.abs(wide).max()))
        loss.backward()
        # x - max is rounded to half an ulp, which becomes a relative error of p.
        error = (8 + np.abs(wide - wide.max(-1, keepdims=True))) * p + 2 * target
        assert (np.abs(leaf.grad.numpy() - (p - target) / rows) <= eps * error / rows).all()


def test_cross_entropys_gradient_is_given_away_once() -> None:
    x = st.tensor([[0.0, 1.0], [2.0, 0.5]], requires_grad=True)
    labels = tensor([1, 0])
    expected = (softmax(x.detach().numpy()) - np.eye(2)[[1, 0]]).astype("f4")

    def same(g: st.Tensor | None, factor: float) -> None:
        assert g is not None
        np.testing.assert_allclose(g.numpy(), expected * factor, rtol=1e-6)

    loss = st.cross_entropy(x, labels)
    for factor in (1.0, 3.0):  # the graph is kept: its gradient must stay what it is, whatever becomes of the result
        (g,) = st.grad(loss, x, st.tensor(factor), retain_graph=True)
        same(g, factor / 2)
        g.mul_(7)
    (g,) = st.grad(loss, x)
    same(g, 0.5)
    with pytest.raises(RuntimeError, match="retain_graph"):
        st.grad(loss, x)
    (st.cross_entropy(x, labels, "sum") * 4).backward()
    same(x.grad, 4)
    st.cross_entropy(x, labels, "sum").backward()  # added to it
    same(x.grad, 5)
    y = x * 1  # two ways from one leaf
    (st.cross_entropy(y, labels, "sum") + st.cross_entropy(y, labels, "sum") * 2).backward()
    same(x.grad, 8)


def test_cross_entropy_computes_no_gradient_in_vain() -> None:
    x, labels = st.ones((1000, 1000)), st.zeros(1000, dtype=st.int64)
    expected = math.log(1000)
    before = memory_in_use()
    assert st.cross_entropy(x, labels).item() == pytest.approx(expected, rel=1e-6)
    x.requires_grad = True
    with st.no_grad():
        loss = st.cross_entropy(x, labels)
    assert memory_in_use() - before < 100_000
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss = st.cross_entropy(x, labels)
    assert memory_in_use() - before >= x.size * 4
    del loss
    assert memory_in_use() - before < 100_000


def test_cross_entropy_where_nothing_counts() -> None:
    x = st.tensor([[1.0, 2.0], [3.0, nan]], requires_grad=True)
    loss = st.cross_entropy(x, st.tensor([-1, -1]), ignore_index=-1)
    assert math.isnan(loss.item())  # 0 / 0
    loss.backward()
    assert_same(x.grad.numpy()[0], np.zeros(2, "f4"), zero_sign=False)
    x.grad = None
    st.cross_entropy(x, st.tensor([0, -1]), "sum", ignore_index=-1).backward()
    np.testing.assert_allclose(x.grad.numpy()[0], softmax(np.array([1.0, 2.0])) - [1, 0], rtol=1e-6)
