"""Learning curves, validation curves, bias and variance: against NumPy, and what must hold of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pytest

import steep as st
from steep.analysis import bias_variance, learning_curve, validation_curve
from steep.analysis.predictions import classes_of
from steep.labels import labels_of

matplotlib.use("agg")

Array = np.ndarray[Any, Any]


class Polynomial:
    """Least squares in closed form; keeps what it was trained on."""

    def __init__(self, degree: int = 1) -> None:
        self.degree = degree
        self.coefficients = np.zeros(1)

    def fit(self, x: Array, y: Array) -> None:
        self.x, self.y = x, y
        self.coefficients = np.polyfit(np.ravel(x), np.ravel(y), self.degree)

    def predict(self, x: Array) -> Array:
        return np.polyval(self.coefficients, np.ravel(x))


class Nearest:
    """The label of the nearest sample."""

    def fit(self, x: Array, y: Array) -> None:
        self.x, self.y = x, y

    def predict(self, x: Array) -> Array:
        return self.y[abs(x[:, None] - self.x[None]).sum(2).argmin(1)]


def recorded(make: Callable[..., Any]) -> tuple[list[Any], Callable[..., Any]]:
    models: list[Any] = []

    def make_model(**parameters: Any) -> Any:
        models.append(make(**parameters))
        return models[-1]

    return models, make_model


def noisy(n: int, seed: int = 0, noise: float = 0.3) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 1))
    truth = np.sin(3 * x[:, 0])
    return x, truth + noise * rng.normal(size=n), truth


def halves(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Two classes, a tenth of the labels wrong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return x, ((x.sum(1) > 0) ^ (rng.random(n) < 0.1)).astype(np.int64)


def network(outputs: int = 1, loss: str = "bce_with_logits") -> st.nn.Module:
    model = st.nn.Sequential(st.nn.Linear(2, 8, activation="tanh"), st.nn.Linear(8, outputs))
    model.compile(st.optim.Adam(model.parameters(), lr=0.05), loss)
    return model


# --- bias and variance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [False, True])
def test_squared_loss_is_what_numpy_computes(columns: bool) -> None:
    x, y, truth = noisy(80)
    shape: Any = (-1, 1) if columns else (-1,)
    models, make_model = recorded(lambda: Polynomial(3))
    split = bias_variance(
        make_model, x[:50], y[:50].reshape(shape), x[50:], y[50:].reshape(shape), rounds=20, truth=truth[50:]
    )
    for model in models:  # a bootstrap sample: as many rows as there are, some of them repeated
        assert model.x.shape == (50, 1)
        assert set(model.x[:, 0]) < set(x[:50, 0])
        np.testing.assert_array_equal(model.y.ravel(), y[_rows(x, model.x)])
    predictions = np.array([np.polyval(np.polyfit(m.x[:, 0], m.y.ravel(), 3), x[50:, 0]) for m in models])
    main = predictions.mean(0)
    assert split.error == pytest.approx(np.mean((predictions - y[50:]) ** 2))
    assert split.bias == pytest.approx(np.mean((main - truth[50:]) ** 2))
    assert split.variance == pytest.approx(np.mean(predictions.var(0)))
    assert split.noise == pytest.approx(np.mean((y[50:] - truth[50:]) ** 2))
    assert split.main.shape == y[50:].reshape(shape).shape
    for part in (split.error_at, split.bias_at, split.variance_at):
        assert part.shape == (30,)
    np.testing.assert_allclose(split.variance_at, predictions.var(0))


def _rows(x: Array, chosen: Array) -> Array:
    return np.array([np.flatnonzero(x[:, 0] == value)[0] for value in chosen[:, 0]])


def test_squared_error_is_the_sum_of_its_parts() -> None:
    x, y, _ = noisy(60)
    split = bias_variance(lambda: Polynomial(5), x[:40], y[:40], x[40:], y[40:])
    assert split.noise is None
    assert list(split.parts()) == ["bias² + noise", "variance"]
    assert split.error == pytest.approx(sum(split.parts().values()))
    np.testing.assert_allclose(split.error_at, split.bias_at + split.variance_at)


def test_a_mean_has_the_variance_of_a_mean() -> None:
    x, y, truth = noisy(400)
    split = bias_variance(lambda: Polynomial(0), x[:200], y[:200], x[200:], y[200:], rounds=400, truth=truth[200:])
    assert split.variance == pytest.approx(y[:200].var() / 200, rel=0.2)
    assert split.bias == pytest.approx(np.mean((y[:200].mean() - truth[200:]) ** 2), rel=0.02)


def test_larger_models_have_less_bias_and_more_variance() -> None:
    x, y, truth = noisy(230)
    line, cubic, curve = (
        bias_variance(lambda d=d: Polynomial(d), x[:30], y[:30], x[30:], y[30:], truth=truth[30:]) for d in (1, 3, 9)
    )
    assert line.bias > 3 * cubic.bias
    assert max(line.variance, cubic.variance) < curve.variance


def test_zero_one_loss_is_what_domingos_defines() -> None:
    x, y = halves(150)
    x[:, 0] += 3 * (np.arange(150) % 3 == 2)
    y = np.where(np.arange(150) % 3 == 2, 2, y)  # a third class
    models, make_model = recorded(Nearest)
    split = bias_variance(make_model, x[:90], y[:90], x[90:], y[90:], rounds=25)
    errors, bias, unbiased, biased, variance = [], [], 0.0, 0.0, []
    for point, label in zip(x[90:], y[90:], strict=True):
        votes = [int(model.predict(point[None])[0]) for model in models]
        counts = [votes.count(c) for c in range(3)]
        main = counts.index(max(counts))
        errors.append(np.mean([v != label for v in votes]))
        bias.append(main != label)
        variance.append(np.mean([v != main for v in votes]))
        if main == label:
            unbiased += variance[-1]
        else:
            biased += counts[label] / 25
    np.testing.assert_allclose(split.error_at, errors)
    np.testing.assert_array_equal(split.bias_at, bias)
    np.testing.assert_allclose(split.variance_at, variance)
    assert split.unbiased_variance == pytest.approx(unbiased / 60)
    assert split.biased_variance == pytest.approx(biased / 60)
    assert split.error == pytest.approx(sum(split.parts().values()))
    assert 0 < split.bias < split.error


def test_two_classes_by_a_network() -> None:
    x, y = halves(120)
    state = st.random.get_state()
    for outputs, loss, target in ((1, "bce_with_logits", y[:, None]), (2, "cross_entropy", y)):
        run = [
            bias_variance(lambda o=outputs, n=loss: network(o, n), x[:80], target[:80], x[80:], target[80:],
                          rounds=4, epochs=15, seed=seed)
            for seed in (5, 5, 6)
        ]  # fmt: skip
        assert run[0].loss == "zero_one"
        assert run[0].error < 0.4
        b, v = run[0].bias_at, run[0].variance_at  # of two classes: error = b + (1 − 2b) v
        np.testing.assert_allclose(run[0].error_at, b + (1 - 2 * b) * v)
        np.testing.assert_array_equal(run[0].predictions, run[1].predictions)
        assert (run[0].predictions != run[2].predictions).any()
    assert st.random.get_state() == state


def test_tensors_are_data_too() -> None:
    x, y, _ = noisy(40)
    tensors = [st.tensor(a) for a in (x[:30], y[:30], x[30:], y[30:])]
    split = bias_variance(Polynomial, *tensors, rounds=3)
    plain = bias_variance(Polynomial, x[:30], y[:30], x[30:], y[30:], rounds=3)
    assert split.error == pytest.approx(plain.error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 1}, "rounds=1 must be an integer of 2 or more"),
        ({"loss": "hinge"}, "must be 'squared' or 'zero_one'"),
        ({"loss": "zero_one"}, "y_test must be labels"),
        ({"y": np.zeros(3)}, r"x has shape \(30, 1\), y \(3,\): both need a row"),
        ({"make_model": functools.cache(Polynomial)}, "must make a new model at every call"),
        ({"make_model": lambda: Flat()}, r"output has shape \(9,\), its target \(10,\)"),
    ],
)
def test_bias_variance_refuses(options: dict[str, Any], message: str) -> None:
    x, y, _ = noisy(40)
    arguments = {"make_model": Polynomial, "x": x[:30], "y": y[:30], "x_test": x[30:], "y_test": y[30:], **options}
    with pytest.raises(ValueError, match=message):
        bias_variance(**arguments)


class Flat(Polynomial):
    def predict(self, x: Array) -> Array:
        return super().predict(x)[1:]


# --- curves -----------------------------------------------------------------------------------------------------------


def test_learning_curve_is_what_numpy_computes() -> None:
    x, y, _ = noisy(40)
    models, make_model = recorded(lambda: Polynomial(2))
    curve = learning_curve(make_model, x, y, [5, 0.5, 1.0], validation_split=0.25, rounds=2)
    assert curve.sizes.tolist() == [5, 15, 30]
    assert curve.training.shape == curve.validation.shape == (3, 2)
    for r in range(2):
        small, half, whole = models[3 * r : 3 * r + 3]
        np.testing.assert_array_equal(whole.x[:15], half.x)  # smaller sets are parts of larger ones
        np.testing.assert_array_equal(whole.x[:5], small.x)
        held = np.setdiff1d(x[:, 0], whole.x[:, 0])
        assert len(held) == 10
        y_held = y[_rows(x, held[:, None])]
        for i, model in enumerate((small, half, whole)):
            assert curve.training[i, r] == pytest.approx(np.mean((model.predict(model.x) - model.y) ** 2))
            assert curve.validation[i, r] == pytest.approx(np.mean((model.predict(held) - y_held) ** 2))
    assert set(models[2].x[:, 0]) != set(models[5].x[:, 0])
    again = learning_curve(lambda: Polynomial(2), x, y, [5, 0.5, 1.0], validation_split=0.25, rounds=2)
    np.testing.assert_array_equal(again.validation, curve.validation)


def test_data_is_not_shuffled_by_its_own_numbers() -> None:
    x = np.random.default_rng(0).random((40, 1))  # the seed is the curve's default one
    models, make_model = recorded(Polynomial)
    learning_curve(make_model, x, x[:, 0], [1.0])
    held = np.setdiff1d(x, models[0].x)
    assert held.min() < 0.3
    assert held.max() > 0.7


def test_every_set_has_the_classes_in_proportion() -> None:
    y = np.repeat([0, 1, 2], [60, 30, 10])
    models, make_model = recorded(Nearest)
    learning_curve(make_model, np.arange(100.0)[:, None], y, [20, 80], validation_split=0.2, rounds=3)
    for model in models:
        counts = np.bincount(model.y, minlength=3)
        np.testing.assert_allclose(counts, np.array([0.6, 0.3, 0.1]) * len(model.y), atol=2)
        assert counts.min() > 0


def test_learning_curve_of_a_network() -> None:
    x, y = halves(160)
    curve = learning_curve(network, x, y[:, None], [10, 120], rounds=2, epochs=40)
    assert curve.measure == "share of errors"
    assert curve.validation.mean(1)[1] < curve.validation.mean(1)[0]
    assert (curve.validation[1] < 0.25).all()
    given = learning_curve(network, x[:120], y[:120, None], [120], validation_data=(x[120:], y[120:]), epochs=40)
    assert given.validation[0, 0] < 0.25


def test_validation_curve_turns_where_the_model_is_too_large() -> None:
    x, y, _ = noisy(40)
    models, make_model = recorded(Polynomial)
    curve = validation_curve(make_model, "degree", [1, 3, 12], x, y, rounds=5)
    assert [model.degree for model in models[:3]] == [1, 3, 12]
    for first, other in ((models[0], models[1]), (models[0], models[2])):
        np.testing.assert_array_equal(first.x, other.x)
    training, validation = curve.training.mean(1), curve.validation.mean(1)
    assert training[0] > training[1] > training[2]
    assert validation[1] < min(validation[0], validation[2])
    assert curve.best == 3


def test_errors_by_name_and_by_function() -> None:
    x, y, _ = noisy(40)

    def largest(output: Array, target: Array) -> float:
        return abs(output - target).max()

    squared, own = (learning_curve(Polynomial, x, y, [1.0], error=error) for error in ("squared", largest))
    assert (squared.measure, own.measure) == ("mean squared error", "largest")
    assert own.validation[0, 0] > np.sqrt(squared.validation[0, 0])
    with pytest.raises(ValueError, match="error='hinge' must be 'squared'"):
        learning_curve(Polynomial, x, y, error="hinge")
    with pytest.raises(ValueError, match="y must be labels"):
        learning_curve(Polynomial, x, y, error="zero_one")


def test_curves_refuse() -> None:
    x, y, _ = noisy(40)
    for sizes in ([0], [31], [1.5], []):
        with pytest.raises(ValueError, match="must be from 1 to the 30 samples"):
            learning_curve(Polynomial, x, y, sizes)
    for split in (0.0, 1.0, 0.001):
        with pytest.raises(ValueError, match=r"of 40 samples leaves one part empty"):
            learning_curve(Polynomial, x, y, validation_split=split)
    with pytest.raises(ValueError, match="rounds=0 must be a positive integer"):
        learning_curve(Polynomial, x, y, rounds=0)
    with pytest.raises(ValueError, match="there are no values of degree"):
        validation_curve(Polynomial, "degree", [], x, y)
    with pytest.raises(ValueError, match="both need a row for each sample, and at least one"):
        learning_curve(Polynomial, x[:0], y[:0])


# --- text, pictures, meanings -----------------------------------------------------------------------------------------


def test_tables() -> None:
    x, y, truth = noisy(60)
    lines = repr(learning_curve(Polynomial, x, y, [5, 45], rounds=3)).splitlines()
    assert lines[0] == "mean squared error"
    assert lines[1].split() == ["samples", "training", "error", "validation", "error"]
    assert [line.split()[0] for line in lines[2:]] == ["5", "45"]
    assert all(line.count(" ± ") == 2 and len(line) == len(lines[1]) for line in lines[2:])
    assert "±" not in repr(validation_curve(Polynomial, "degree", [1], x, y))
    split = bias_variance(Polynomial, x[:40], y[:40], x[40:], y[40:], truth=truth[40:])
    assert [line.split()[0] for line in repr(split).splitlines()] == ["squared", "error", "bias²", "variance", "noise"]


def test_curves_are_drawn() -> None:
    x, y, _ = noisy(60)
    curve = validation_curve(Polynomial, "degree", [3, 1], x, y, rounds=3)
    ax = curve.plot()
    training, validation = ax.lines
    assert training.get_xdata().tolist() == [1, 3]
    np.testing.assert_allclose(training.get_ydata(), curve.training.mean(1)[::-1])
    np.testing.assert_allclose(validation.get_ydata(), curve.validation.mean(1)[::-1])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("degree", "mean squared error", "linear")
    names = validation_curve(lambda kind: Polynomial(len(kind)), "kind", ["a", "abc"], x, y).plot(ax=ax.twinx())
    assert [label.get_text() for label in names.get_xticklabels()] == ["a", "abc"]
    assert learning_curve(Polynomial, x, y, [2, 45]).plot().get_xlabel() == "training samples"
    assert validation_curve(lambda rate: Polynomial(), "rate", [1e-3, 1.0], x, y).plot().get_xscale() == "log"
    split = bias_variance(Polynomial, x[:40], y[:40], x[40:], y[40:], rounds=5)
    heights = [bar.get_height() for bar in split.plot().patches]
    assert heights == pytest.approx([split.error, split.bias, split.variance])
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("output", "threshold", "expected"),
    [
        ([[0.2, 0.8], [2.0, -1.0]], None, [1, 0]),
        ([[0.2], [0.8]], None, [0, 1]),  # probabilities
        ([-0.2, 0.2, 5.0], None, [0, 1, 1]),  # logits
        ([0.2, 0.4], 0.3, [0, 1]),
        ([0.0, 1.0, 0.5], None, [0, 1, 0]),
        ([2, 0, 1], None, [2, 0, 1]),  # labels
    ],
)
def test_classes_that_outputs_mean(output: Any, threshold: float | None, expected: list[int]) -> None:
    assert classes_of(np.array(output), threshold).tolist() == expected
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\) has no classes"):
        classes_of(np.zeros((2, 2, 2)))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([2, 0], [2, 0]),
        ([[1.0], [0.0]], [1, 0]),
        ([[0, 1, 0], [0, 0, 1]], [1, 2]),
        (["b", "a"], ["b", "a"]),
        ([0.5, 1.0], None),
        ([[1, 1], [0, 1]], None),
        ([[[1]]], None),
    ],
)
def test_labels_that_targets_are(y: Any, expected: Any) -> None:
    labels = labels_of(np.array(y))
    assert (labels if labels is None else labels.tolist()) == expected
