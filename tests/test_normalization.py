"""The layers that adapt to training data, against scikit-learn and their formulas."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import steep as st

Layer = st.nn.Normalization | st.nn.MinMaxScaling
LAYERS: list[Any] = [st.nn.Normalization, st.nn.MinMaxScaling]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("kind", ["array", "tensor", "list"])
def test_against_scikit_learn(kind: str, scale: float, rng: np.random.Generator) -> None:
    train, test = scale * rng.normal(3, 2, (57, 4)), scale * rng.normal(3, 2, (9, 4))
    given: Any = {"array": train, "tensor": st.asarray(train), "list": train.tolist()}[kind]
    for layer, scaler in ((st.nn.Normalization(), StandardScaler()), (st.nn.MinMaxScaling(), MinMaxScaler())):
        layer.to("float64")
        scaler.fit(train)
        assert layer.adapt(given) is layer
        np.testing.assert_allclose(layer(test).numpy(), scaler.transform(test), rtol=1e-12, atol=1e-12)
    single = st.nn.Normalization().adapt(given)(test.astype(np.float32))
    assert single.dtype == st.float32
    np.testing.assert_allclose(single.numpy(), StandardScaler().fit(train).transform(test), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1, 2, (1, 3), (-1, 1), None], ids=str)
def test_axes(axis: Any, rng: np.random.Generator) -> None:
    x = rng.normal(5, 3, (6, 3, 4, 5))
    axes = (axis,) if isinstance(axis, int) else axis or ()
    kept = {a % 4 for a in axes}
    over = tuple(i for i in range(4) if i not in kept)
    mean, variance = x.mean(over, keepdims=True), x.var(over, keepdims=True)
    layer = st.nn.Normalization(axis, eps=0.01).to("float64").adapt(x)
    np.testing.assert_allclose(layer(x).numpy(), (x - mean) / np.sqrt(variance + 0.01), rtol=1e-12)
    low, high = x.min(over, keepdims=True), x.max(over, keepdims=True)
    scaling = st.nn.MinMaxScaling(axis, low=-1, high=3).to("float64").adapt(x)
    np.testing.assert_allclose(scaling(x).numpy(), (x - low) / (high - low) * 4 - 1, rtol=1e-11, atol=1e-12)


def test_integers_and_single_samples() -> None:
    images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    y = st.nn.MinMaxScaling(axis=None).adapt(images)(images)
    assert y.dtype == st.float32
    np.testing.assert_allclose(y.numpy(), images / 47, rtol=1e-6)
    layer = st.nn.Normalization().adapt([[1.0, 2.0], [3.0, 6.0]])
    assert layer([2.0, 6.0]).tolist() == [0.0, 1.0]
    assert layer(st.zeros(5, 0, 2)).shape == (5, 0, 2)


def test_constant_features_are_only_centred() -> None:
    x = np.stack([np.full(1000, 0.1), np.arange(1000.0)], 1)
    layer = st.nn.Normalization().to("float64").adapt(x)
    np.testing.assert_allclose(layer([[0.1, 0], [1.1, 0]]).numpy()[:, 0], [0, 1], atol=1e-12)
    assert st.nn.MinMaxScaling(low=2, high=3).adapt([[7.0], [7.0]])([[7.0]]).tolist() == [[2.0]]


def test_the_test_data_is_scaled_by_the_training_data() -> None:
    layer = st.nn.Normalization().adapt([[0.0], [2.0]])
    assert layer([[11.0], [11.0]]).tolist() == [[10.0], [10.0]]
    with pytest.warns(UserWarning, match="has already scaled data, and now scales by other numbers"):
        layer.adapt([[10.0], [12.0]])  # forgets what was
    assert layer([[11.0], [13.0]]).tolist() == [[0.0], [2.0]]


@pytest.mark.parametrize("make", LAYERS)
def test_before_adapt(make: Any) -> None:
    model = st.nn.Sequential(make(), st.nn.Linear(2, 1))
    with pytest.raises(
        RuntimeError, match=r"'0' has not seen data yet: call its adapt\(x_train\) .* training data alone"
    ):
        model(st.zeros(3, 2))


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize(
    ("x", "keywords", "message"),
    [
        (np.zeros((0, 3)), {}, r"adapt got data of shape \(0, 3\): it needs the training samples"),
        (3.0, {}, "needs the training samples"),
        (np.zeros(5), {}, r"axis=-1\) got data of shape \(5,\): axis 0 counts the samples.*axis=None"),
        (np.zeros((5, 2)), {"axis": (0, 1)}, "axis 0 counts the samples"),
        (np.zeros((5, 2)), {"axis": 2}, "axis"),
        ([[1.0], [np.nan], [np.inf]], {}, "2 values of NaN or inf, the first in sample 1"),
    ],
)
def test_data_that_teaches_nothing(make: Any, x: Any, keywords: dict[str, Any], message: str) -> None:
    layer = make(**keywords)
    with pytest.raises((ValueError, IndexError), match=message):
        layer.adapt(x)
    with pytest.raises(RuntimeError, match="has not seen data yet"):
        layer(np.zeros((5, 2)))


@pytest.mark.parametrize("make", LAYERS)
def test_other_features(make: Any) -> None:
    layer = make().adapt([[1.0, 2.0], [3.0, 4.0]])
    for shape in ((5, 3), (5, 1), ()):
        with pytest.raises(
            ValueError, match=rf"got input of shape {shape!r:.5}".replace("(", r"\(").replace(")", r"\)")
        ):
            layer(st.zeros(shape))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="eps=-1 must not be negative"):
        st.nn.Normalization(eps=-1)
    for low, high in ((1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)):
        with pytest.raises(ValueError, match="must be less than high"):
            st.nn.MinMaxScaling(low=low, high=high)


@pytest.mark.parametrize("make", LAYERS)
def test_it_is_saved_with_the_model(make: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(8, 3))
    model = st.nn.Sequential(make(), st.nn.Linear(3, 2))
    fresh = copy.deepcopy(model)
    before = model[0].adapt(x)
    state = model.state_dict()
    assert len([name for name in state if name.startswith("0.")]) == 2
    with pytest.raises(ValueError, match="loaded nothing"):  # and the layer is as it was
        fresh.load_state_dict({**state, "1.bias": st.zeros(3)})
    with pytest.raises(RuntimeError, match="has not seen data yet"):
        fresh(x)
    fresh.load_state_dict(state)
    np.testing.assert_array_equal(fresh(x).detach().numpy(), model(x).detach().numpy())
    state["0." + next(iter(dict(before.named_buffers())))].fill_(100)  # the model's are copies
    np.testing.assert_array_equal(fresh(x).detach().numpy(), model(x).detach().numpy())
    assert not dict(model.named_parameters()).keys() & {"0.mean", "0.minimum"}


def test_buffers_keep_dtype_and_device() -> None:
    layer = st.nn.Normalization().to("float64").adapt([[1.0], [2.0]])
    other = st.nn.Normalization()
    other.load_state_dict(layer.state_dict())
    assert (layer.mean.dtype, other.mean.dtype) == (st.float64, st.float32)
    assert layer.mean.device == st.get_default_device()


def test_fit_with_a_normalization_in_front(rng: np.random.Generator) -> None:
    x = rng.normal(1000, 50, (60, 2))
    y = (x[:, 0] - 1000) / 50
    model = st.nn.Sequential(st.nn.Normalization().adapt(x), st.nn.Linear(2, 1), st.nn.Flatten(0))
    model.compile(st.optim.SGD(model.parameters(), lr=0.1), "mse")
    assert model.fit(x, y, epochs=60, verbose=0)["loss"][-1] < 1e-3


def test_repr() -> None:
    assert repr(st.nn.Normalization(axis=(1, 2))) == "Normalization(axis=(1, 2), eps=0.0)"
    assert repr(st.nn.MinMaxScaling(None)) == "MinMaxScaling(axis=None, low=0.0, high=1.0)"
