"""steep's networks as scikit-learn's estimators: its own checks, its tools, and what the parameters do."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import steep as st
from steep.sklearn import SteepClassifier, SteepRegressor

Array = np.ndarray[Any, Any]


@pytest.mark.host(reason="some hundred trainings; what devices there are makes no difference to the checks")
@parametrize_with_checks([SteepClassifier(), SteepRegressor()])
@pytest.mark.filterwarnings("default")
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def iris() -> tuple[Array, Array]:
    x, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def quick(**parameters: Any) -> SteepClassifier:
    return SteepClassifier(**{"lr": 0.02, "epochs": 40, "random_state": 0, **parameters})


def make_module(inputs: int, outputs: int) -> st.nn.Module:
    return st.nn.Sequential(st.nn.Linear(inputs, 12), st.nn.Dropout(0.2), st.nn.Tanh(), st.nn.Linear(12, outputs))


# --- scikit-learn's tools ---------------------------------------------------------------------------------------------


def test_pipeline_cross_validation_and_search() -> None:
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), quick())
    assert cross_val_score(pipeline, x, y, cv=3).min() > 0.9
    search = GridSearchCV(
        pipeline, {"steepclassifier__lr": [1e-6, 0.02], "steepclassifier__hidden_layer_sizes": [8, (16, 8)]}, cv=3
    ).fit(x, y)
    assert search.best_params_["steepclassifier__lr"] == 0.02
    assert search.score(x, y) > 0.9
    pipeline.set_params(steepclassifier__epochs=1)
    assert len(pipeline.fit(x, y)[-1].history_["loss"]) == 1


def test_clone_has_the_parameters_and_nothing_else() -> None:
    model = quick(module=make_module, activation="tanh").fit(*iris())
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "module_")


def test_a_pickled_estimator_predicts_and_trains_on() -> None:
    x, y = iris()
    model = quick(module=make_module, optimizer="sgd").fit(x, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(x), model.predict_proba(x))
    weight = np.linspace(0, 1, len(y))
    model.partial_fit(x, y, sample_weight=weight)
    copy.partial_fit(x, y, sample_weight=weight)
    np.testing.assert_array_equal(copy.predict_proba(x), model.predict_proba(x))


# --- what is learned --------------------------------------------------------------------------------------------------


def test_without_hidden_layers_it_is_logistic_regression() -> None:
    x, y = iris()
    few, labels = x[y > 0], np.array(["no", "yes"])[y[y > 0] - 1]
    for data, target in ((x, y), (few, labels)):
        model = quick(hidden_layer_sizes=(), epochs=300, lr=0.1).fit(data, target)
        reference = LogisticRegression(C=1e4, max_iter=10_000).fit(data, target)
        assert model.classes_.tolist() == reference.classes_.tolist()
        assert (model.predict(data) == reference.predict(data)).mean() > 0.97
        np.testing.assert_allclose(model.predict_proba(data), reference.predict_proba(data), atol=0.25)
        np.testing.assert_allclose(model.predict_proba(data).sum(1), 1)
        assert model.score(data, target) == (model.predict(data) == target).mean()


@pytest.mark.parametrize("columns", [1, 2])
def test_without_hidden_layers_it_is_least_squares(columns: int) -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:, [2, 3, 8]], (y - y.mean()) / y.std()
    targets = y if columns == 1 else np.column_stack([y, -2 * y + x[:, 0]])
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    model = SteepRegressor((), lr=0.1, epochs=300, batch_size=1000, random_state=0)
    for w in (None, weight):
        reference = LinearRegression().fit(x, targets, sample_weight=w)
        model.fit(x, targets, sample_weight=w)
        np.testing.assert_allclose(model.predict(x), reference.predict(x), atol=1e-3)
    assert model.predict(x).shape == targets.shape


def test_several_labels_at_once() -> None:
    x, y = make_multilabel_classification(200, 10, n_classes=4, random_state=0)
    x = StandardScaler().fit_transform(x)
    model = quick(epochs=150).fit(x, y)
    probability = model.predict_proba(x)
    assert probability.shape == (200, 4)
    np.testing.assert_array_equal(model.predict(x), probability > 0.5)
    assert (model.predict(x) == y).mean() > 0.95
    assert model.score(x, y) == (model.predict(x) == y).all(1).mean()


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "numbers"])
def test_weights_are_repetitions(kind: str) -> None:
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    y: Any = {
        "classes": rng.integers(0, 3, 40),
        "two classes": rng.integers(0, 2, 40),
        "labels": rng.integers(0, 2, (40, 3)),
        "numbers": rng.normal(size=(40, 2)),
    }[kind]
    model = (SteepRegressor if kind == "numbers" else SteepClassifier)(8, epochs=20, random_state=0)
    weighted = clone(model).fit(x, y, sample_weight=weight)
    repeated = clone(model).fit(x.repeat(weight, 0), y.repeat(weight, 0))
    plain = clone(model).fit(x, y)
    for name in ("predict",) if kind == "numbers" else ("predict_proba",):
        a, b, c = (getattr(m, name)(x) for m in (weighted, repeated, plain))
        np.testing.assert_allclose(a, b, rtol=1e-9)
        assert abs(a - c).max() > 1e-3


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_reach_module_and_optimizer() -> None:
    x, y = iris()
    model = quick(hidden_layer_sizes=(7, 5), activation="gelu", optimizer="sgd", lr=0.5, weight_decay=0.1).fit(x, y)
    assert [p.shape for p in model.module_.parameters()] == [(7, 4), (7,), (5, 7), (5,), (3, 5), (3,)]
    assert model.module_[0].activation == "gelu"
    optimizer: Any = model.module_.optimizer
    assert type(optimizer) is st.optim.SGD
    assert (optimizer.lr, optimizer.param_groups[0]["weight_decay"]) == (0.5, 0.1)
    own = quick(optimizer=lambda p: st.optim.SGD(p, lr=0.3, momentum=0.9), lr=None).fit(x, y)
    assert own.module_.optimizer.param_groups[0]["momentum"] == 0.9
    assert own.module_.optimizer.lr == 0.3
    assert type(quick(module=make_module).fit(x, y).module_[1]) is st.nn.Dropout


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_the_dtype_of_x_is_computed_in(dtype: str) -> None:
    x, y = iris()
    model = quick(epochs=2).fit((4 * x).astype(dtype), y)
    expected = "float32" if dtype == "float32" else "float64"
    assert {p.dtype.name for p in model.module_.parameters()} == {expected}
    assert model.predict_proba(x).dtype == expected


def test_the_device_is_chosen() -> None:
    model = quick(epochs=1, device="cpu").fit(*iris())
    assert {p.device.type for p in model.module_.parameters()} == {"cpu"}


def test_history_and_validation() -> None:
    x, y = iris()
    model = quick(validation_fraction=0.2, epochs=5).fit(x, y)
    assert list(model.history_) == ["loss", "val_loss"]
    assert len(model.history_["val_loss"]) == len(model.history_.epoch) == 5
    weighted = quick(validation_fraction=0.2, epochs=5).fit(x, y, sample_weight=np.full(150, 2.0))
    np.testing.assert_allclose(weighted.history_["val_loss"], model.history_["val_loss"], rtol=1e-9)
    assert list(quick(epochs=2).fit(x, y).history_) == ["loss"]


def test_partial_fit_is_fit_an_epoch_at_a_time() -> None:
    x, y = iris()
    whole = quick(module=make_module, epochs=4, batch_size=32).fit(x, y)
    parts = quick(module=make_module, batch_size=32)
    for _ in range(4):
        parts.partial_fit(x, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(parts.predict_proba(x), whole.predict_proba(x))
    assert parts.history_ == whole.history_
    few = quick().partial_fit(x[:60], y[:60], classes=[2, 1, 0])
    assert few.predict_proba(x).shape == (150, 3)
    with pytest.raises(ValueError, match=r"y holds 3, which is not among the classes \[0, 1, 2\]"):
        few.partial_fit(x, y + 1)


def test_random_state_and_the_global_stream() -> None:
    x, y = iris()
    state = st.random.get_state()
    first, second, other = (quick(module=make_module, random_state=s).fit(x, y).predict_proba(x) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    unseeded = [SteepClassifier(4, epochs=1).fit(x, y).predict_proba(x) for _ in range(2)]
    assert (unseeded[0] != unseeded[1]).any()
    failed = quick(epochs=0)
    with pytest.raises(ValueError, match="epochs=0"):
        failed.fit(x, y)
    assert len(failed.partial_fit(x, y).history_["loss"]) == 1
    assert st.random.get_state() == state


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, 2.0], r"sample_weight has shape \(2,\): it must be \(150,\)"),
        ([-1.0] * 150, "must not be negative"),
        ([0.0] * 150, "not all of its weights can be zero"),
        ([np.nan] * 150, "contains NaN"),
    ],
)
def test_bad_weights(weight: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick().fit(*iris(), sample_weight=weight)


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -1.0}], ids=str)
def test_rates_out_of_range(options: dict[str, Any]) -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=rf"{next(iter(options))}=.* must not be negative"):
        SteepClassifier((4,), epochs=1, **options).fit(x, y)


@pytest.mark.parametrize("sizes", [np.int64(3), np.array([3])], ids=repr)
def test_layer_sizes_of_numpy(sizes: Any) -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    assert SteepClassifier(sizes, epochs=1).fit(x, y).module_[0].out_features == 3
