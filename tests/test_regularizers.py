"""Regularizers and constraints: Keras' formulas in NumPy, their gradients, and how modules hold them."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim
from steep.nn import constraints, regularizers
from steep.nn.rules import Rules

W = np.random.default_rng(0).normal(size=(5, 7)) * np.array([[0.0], [1e-3], [0.3], [1.0], [3.0]])

# --- regularizers: https://keras.io/api/layers/regularizers -----------------------------------------------------------

PENALTIES: list[tuple[Any, Callable[[Any], Any]]] = [
    (regularizers.L1(), lambda w: 0.01 * np.abs(w).sum()),
    (regularizers.L1(0.3), lambda w: 0.3 * np.abs(w).sum()),
    (regularizers.L2(), lambda w: 0.01 * (w**2).sum()),
    (regularizers.L2(0.3), lambda w: 0.3 * (w**2).sum()),
    (regularizers.L1L2(0.3, 0.2), lambda w: 0.3 * np.abs(w).sum() + 0.2 * (w**2).sum()),
    (regularizers.L1L2(l1=0.3), lambda w: 0.3 * np.abs(w).sum()),
    (regularizers.L1L2(), lambda w: 0.0),
]


@pytest.mark.parametrize(("penalty", "expected"), PENALTIES, ids=[repr(p) for p, _ in PENALTIES])
@pytest.mark.parametrize("values", [W, W[0, 0], W[:0], W[1]], ids=["matrix", "0-d", "empty", "vector"])
def test_penalties_are_kerass(penalty: Any, expected: Callable[[Any], Any], values: Any) -> None:
    result = penalty(st.tensor(values, dtype=st.float64))
    assert (result.shape, result.dtype) == ((), st.float64)
    np.testing.assert_allclose(result.numpy(), expected(values), rtol=1e-14)


@pytest.mark.parametrize("penalty", [p for p, _ in PENALTIES], ids=repr)
def test_gradients_of_penalties(penalty: Any) -> None:
    w = st.tensor(W[1:], dtype=st.float64, requires_grad=True)  # without the zeros, where |w| has a kink
    assert st.autograd.gradcheck(penalty, [w])
    w = st.tensor(W, dtype=st.float64, requires_grad=True)
    penalty(w).backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), penalty.l1 * np.sign(W) + 2 * penalty.l2 * W, rtol=1e-14)


@pytest.mark.parametrize("dtype", [st.float16, st.bfloat16])
def test_penalties_of_16_bits_do_not_overflow(dtype: Any) -> None:
    w = st.full((4, 4), 2.0**8, dtype=dtype, requires_grad=True)
    penalty = regularizers.L2(0.5)(w)
    assert (penalty.dtype, float(penalty)) == (st.float32, 2.0**19)
    penalty.backward()
    assert w.grad is not None
    assert (w.grad.dtype, float(w.grad[0, 0])) == (dtype, 2.0**8)


def test_l2_is_twice_weight_decay() -> None:
    x = st.random.normal((8, 3))
    decayed, penalised = nn.Linear(3, 2), nn.Linear(3, 2, weight_regularizer=regularizers.L2(0.05))
    penalised.load_state_dict(decayed.state_dict())
    groups = [{"params": [decayed.weight], "weight_decay": 0.1}, {"params": [decayed.bias]}]
    for model, optimizer in (
        (decayed, optim.SGD(groups, lr=0.1)),
        (penalised, optim.SGD(penalised.parameters(), lr=0.1)),
    ):
        for _ in range(5):
            optimizer.zero_grad()
            (model(x).square().mean() + model.regularization_loss()).backward()
            optimizer.step()
    np.testing.assert_allclose(decayed.weight.tolist(), penalised.weight.tolist(), rtol=1e-5)
    np.testing.assert_allclose(decayed.bias.tolist(), penalised.bias.tolist(), rtol=1e-5)


# --- in modules -------------------------------------------------------------------------------------------------------


class Gain(nn.Module):
    def __init__(self) -> None:
        self.gain = nn.Parameter(st.tensor([1.0, -2.0]))

    def forward(self, x: st.Tensor) -> st.Tensor:
        return x * self.gain


def value(x: st.Tensor) -> float:
    assert x.shape == ()
    return float(x)


def test_any_parameter_of_any_module() -> None:
    model = nn.Sequential(nn.Linear(3, 2, weight_regularizer="l2", bias_regularizer=regularizers.L1(0.5)), Gain())
    model.regularize("1.gain", lambda w: (w**4).sum()).regularize("1.gain", regularizers.L1(2.0))  # the second counts
    weight, bias = model[0].weight.numpy(), model[0].bias.numpy()
    expected = 0.01 * (weight.astype(float) ** 2).sum() + 0.5 * np.abs(bias).sum() + 6.0
    assert value(model.regularization_loss()) == pytest.approx(expected, rel=1e-6)
    assert model.has_regularizers()
    model.regularization_loss().backward()
    np.testing.assert_allclose(model[0].weight.grad.numpy(), 0.02 * weight, rtol=1e-6)
    assert model[1].gain.grad.tolist() == [2.0, -2.0]
    assert "bias=True, weight_regularizer=L2(0.01), bias_regularizer=L1(0.5))" in repr(model)
    assert "Gain(gain_regularizer=L1(2.0))" in repr(model)
    model.regularize("1.gain", None).regularize("0.weight", None).regularize("0.bias", None)
    assert not model.has_regularizers()
    assert "regularizer" not in repr(model)


def test_without_any_the_loss_is_a_zero_where_the_parameters_are() -> None:
    layer = nn.Linear(2, 1).to("float64")
    loss = layer.regularization_loss()
    assert (value(loss), loss.dtype, loss.device) == (0.0, st.float64, layer.weight.device)
    assert value(nn.ReLU().regularization_loss()) == 0.0
    assert not nn.ReLU().has_regularizers()
    layer.apply_constraints()


def test_modules_that_appear_twice_count_once() -> None:
    layer = nn.Linear(2, 2, weight_regularizer=regularizers.L2(1.0))
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert value(model.regularization_loss()) == pytest.approx(float((layer.weight * layer.weight).sum()))


def test_a_parameter_that_was_replaced_or_taken_away() -> None:
    layer = nn.Linear(2, 1, weight_regularizer=regularizers.L1(1.0), bias_regularizer=regularizers.L1(1.0))
    layer.weight = nn.Parameter(st.tensor([[2.0, -3.0]]))
    layer.bias = None
    assert value(layer.regularization_loss()) == 5.0


def test_frozen_parameters_have_a_penalty_but_no_gradient() -> None:
    layer = nn.Linear(2, 1, weight_regularizer="l1")
    layer.weight.requires_grad = False
    assert value(layer.regularization_loss()) > 0
    assert not layer.regularization_loss().requires_grad


def test_all_weights_of_a_model() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Embedding(5, 2), nn.Bilinear(2, 2, 1))
    model[2].weight = model[0].weight = nn.Parameter(st.random.normal((4, 4)))  # shared
    arrays = [model[i].weight.numpy().astype(float) for i in (0, 3, 4)]
    expected = sum(0.1 * np.abs(w).sum() for w in arrays)
    assert value(regularizers.of_weights(model, regularizers.L1(0.1))) == pytest.approx(expected, rel=1e-6)
    assert value(regularizers.of_weights(model, "l2")) == pytest.approx(sum(0.01 * (w**2).sum() for w in arrays))
    assert value(regularizers.of_weights(nn.BatchNorm1d(4), "l2")) == 0.0
    regularizers.of_weights(model, "l1").backward()
    assert model[0].bias.grad is None
    assert model[1].weight.grad is None


def test_state_copies_and_moves() -> None:
    model = nn.Sequential(nn.Linear(3, 2, weight_regularizer="l2", weight_constraint=constraints.MaxNorm(0.1)))
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(twin) == repr(model)
        twin.regularize("0.weight", None)
        assert model.has_regularizers()
    loss = model.to("float64").regularization_loss()
    assert loss.dtype == st.float64
    model.apply_constraints()
    assert float(st.vector_norm(model[0].weight, axis=1).max()) <= 0.1 + 1e-12


def test_rules_are_known_where_they_are_unpickled() -> None:
    """A process in which nobody registered a rule doesn't look for them."""
    model = pickle.dumps(nn.Linear(2, 1, weight_regularizer="l2").cpu())
    code = f"""
import pickle, steep
from steep.nn.rules import Rules
assert not Rules.used and not steep.nn.Linear(2, 1).has_regularizers()
assert pickle.loads({model!r}).has_regularizers()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Rules.used


def test_what_cannot_be_registered_raises() -> None:
    layer = nn.Linear(3, 2)
    for make, error, message in (
        (lambda: regularizers.L2(-1.0), ValueError, "L2: l2=-1.0 must be at least 0, and finite"),
        (lambda: regularizers.L1(float("nan")), ValueError, "L1: l1=nan must be at least 0"),
        (lambda: regularizers.L1("a"), TypeError, "L1: l1 must be a number, not 'a'"),
        (lambda: layer.regularize("weigth", "l2"), ValueError, "Linear.regularize: there is no parameter 'weigth'"),
        (lambda: layer.regularize("0.weight", "l2"), ValueError, "there is no parameter '0.weight'"),
        (lambda: layer.regularize("in_features", "l2"), ValueError, "there is no parameter 'in_features'"),
        (lambda: nn.Linear(3, 2, bias=False, bias_regularizer="l2"), ValueError, "there is no parameter 'bias'"),
        (lambda: nn.Linear(3, 2, weight_regularizer="l3"), ValueError, "no regularizer 'l3'; there are l1, l2, and"),
        (
            lambda: layer.regularize("weight", 0.1),
            TypeError,
            r"a regularizer is a name \(l1, l2\) or a function, not 0.1",
        ),
        (lambda: layer.regularize("weight", regularizers.L2), TypeError, r"write L2\(…\)"),
        (lambda: layer.regularize("weight", st.abs), ValueError, r"of 'weight' gives shape \(2, 3\): it must be 0-d"),
        (lambda: layer.regularize("weight", lambda w: 1.0), ValueError, "gives a float: it must be 0-d"),
        (lambda: constraints.MaxNorm(0), ValueError, "MaxNorm: max_value=0 must be above 0"),
        (lambda: constraints.MinMaxNorm(2, 1), ValueError, "min_value=2 must not be above max_value=1"),
        (lambda: constraints.MinMaxNorm(rate=2), ValueError, "rate=2 must be at least 0 and at most 1"),
        (lambda: layer.constrain("bias", constraints.MaxNorm()), ValueError, r"does not fit 'bias' of shape \(2,\): "),
        (
            lambda: layer.constrain("weight", "norm"),
            ValueError,
            "no constraint 'norm'; there are max_norm, min_max_norm",
        ),
        (lambda: layer.constrain("weight", lambda w: w.sum()), ValueError, r"gives shape \(\): it must return the new"),
        (lambda: layer.constrain("weight", lambda w: None), ValueError, "gives a NoneType: it must return the new"),
    ):
        with pytest.raises(error, match=message):  # type: ignore[call-overload]
            make()
    assert not layer.has_regularizers()
    assert layer._constraints is None


# --- constraints: https://keras.io/api/layers/constraints, whose norms have 1e-7 added where they divide --------------


def norms(w: Any, axis: Any) -> Any:
    return np.sqrt((w**2).sum(axis=axis, keepdims=True))


def min_max_norm(w: Any, low: float, high: float, rate: float, axis: Any) -> Any:
    n = norms(w, axis)
    return w * (rate * np.clip(n, low, high) + (1 - rate) * n) / (1e-7 + n)


BOUNDS: list[tuple[Any, Callable[[Any], Any]]] = [
    (constraints.NonNegative(), lambda w: w * (w >= 0)),
    (constraints.MaxNorm(), lambda w: w * np.clip(norms(w, 1), 0, 2) / (1e-7 + norms(w, 1))),
    (constraints.MaxNorm(0.5, axis=0), lambda w: w * np.clip(norms(w, 0), 0, 0.5) / (1e-7 + norms(w, 0))),
    (constraints.MaxNorm(0.5, axis=(0, 1)), lambda w: w * 0.5 / norms(w, (0, 1))),
    (constraints.UnitNorm(), lambda w: w / (1e-7 + norms(w, 1))),
    (constraints.MinMaxNorm(), lambda w: min_max_norm(w, 0.0, 1.0, 1.0, 1)),
    (constraints.MinMaxNorm(0.5, 2.0, 0.7, axis=0), lambda w: min_max_norm(w, 0.5, 2.0, 0.7, 0)),
]


@pytest.mark.parametrize(("bound", "expected"), BOUNDS, ids=[repr(b) for b, _ in BOUNDS])
@pytest.mark.parametrize(("dtype", "rtol"), [(st.float64, 1e-4), (st.float32, 1e-4), (st.float16, 2e-3)])
def test_constraints_are_kerass(bound: Any, expected: Callable[[Any], Any], dtype: Any, rtol: float) -> None:
    layer = nn.Linear(7, 5).to(dtype)
    with st.no_grad():
        layer.weight.copy_(st.tensor(W))
    start = layer.weight.numpy().astype(np.float64)
    layer.constrain("weight", bound)
    assert (layer.weight.numpy() == start).all()  # changed by apply_constraints only
    weight, version = layer.weight, layer.weight._version
    layer.apply_constraints()
    assert layer.weight is weight
    assert weight._version > version
    assert weight.requires_grad
    assert weight.grad_fn is None
    np.testing.assert_allclose(weight.numpy(), expected(start), rtol=rtol, atol=1e-7)


def test_what_is_within_the_bound_keeps_its_bits() -> None:
    w = st.tensor(W)
    bounded = constraints.MaxNorm(2.0)(w).numpy()
    assert (bounded[:3] == w.numpy()[:3]).all()
    np.testing.assert_allclose(np.linalg.norm(bounded[3:], axis=1), 2.0, rtol=1e-6)
    tiny = st.full((1, 3), 1e-9)
    assert (constraints.MaxNorm()(tiny) == tiny).all()


@pytest.mark.parametrize("bound", [b for b, _ in BOUNDS], ids=repr)
def test_zeros_empty_and_nan(bound: Any) -> None:
    assert bound(st.zeros(3, 4)).tolist() == [[0.0] * 4] * 3
    assert bound(st.zeros((0, 4))).shape == (0, 4)
    assert np.isnan(bound(st.full((2, 2), float("nan"))).numpy()).all()


def test_a_function_is_a_constraint() -> None:
    layer = nn.Linear(2, 1).constrain("bias", lambda b: st.clip(b, -0.1, 0.1)).constrain("weight", "non_negative")
    with st.no_grad():
        layer.bias.fill_(1.0)
        layer.weight.fill_(-1.0)
    nn.Sequential(layer).apply_constraints()
    assert (layer.bias.tolist(), layer.weight.tolist()) == ([pytest.approx(0.1)], [[0.0, 0.0]])
    layer.constrain("bias", None)
    assert "bias_constraint" not in repr(layer)


def test_constraints_while_the_graph_needs_the_weights_raise() -> None:
    """As an update by an optimizer does."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1, weight_constraint="unit_norm"))
    loss = model(st.ones(1, 2)).sum()
    model.apply_constraints()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_fit_does_what_a_loop_by_hand_does() -> None:
    st.manual_seed(0)
    x = st.random.normal((40, 6))
    y = x.sum(axis=1, keepdims=True)
    fitted = nn.Sequential(
        nn.Linear(
            6, 8, activation="relu", weight_regularizer=regularizers.L1L2(0.01, 0.02), weight_constraint="max_norm"
        ),
        nn.Linear(8, 1, bias_regularizer="l2", weight_constraint=constraints.NonNegative()),
    )
    by_hand = copy.deepcopy(fitted)
    fitted.compile(optim.SGD(fitted.parameters(), lr=optim.schedules.StepDecay(0.1, 5, 0.5)), "mse")
    fitted.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    optimizer = optim.SGD(by_hand.parameters(), lr=0.1)
    for step in range(15):
        rows = slice(8 * (step % 5), 8 * (step % 5) + 8)
        optimizer.lr = 0.1 * 0.5 ** (step // 5)
        optimizer.zero_grad()
        ((by_hand(x[rows]) - y[rows]).square().mean() + by_hand.regularization_loss()).backward()
        optimizer.step()
        by_hand.apply_constraints()
    for (name, a), (_, b) in zip(fitted.named_parameters(), by_hand.named_parameters(), strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-5, atol=1e-6, err_msg=name)
    assert min(np.ravel(fitted[1].weight.tolist())) >= 0
    assert re.search(r"\(0\): Linear\(.*L1L2\(l1=0.01, l2=0.02\), weight_constraint=MaxNorm\(max_value=2", repr(fitted))
