"""DataFrames: columns of several kinds of numbers, which NumPy would make objects of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn

pandas = pytest.importorskip("pandas")

ROWS = [[0.5, 1.0, 3.0], [-2.0, 0.0, 4.0], [1.5, 1.0, 5.0]]


def mixed() -> Any:
    """Floats, bools as of pandas.get_dummies, and integers of a column that may have gaps."""
    a, b, c = zip(*ROWS, strict=True)
    return pandas.DataFrame({"a": a, "b": np.array(b, bool), "c": pandas.array([int(i) for i in c], dtype="Int64")})


def test_columns_of_several_kinds_take_their_common_dtype() -> None:
    frame = mixed()
    assert np.asarray(frame).dtype == object
    np.testing.assert_array_equal(st.tensor(frame).numpy(), ROWS)
    assert st.asarray(frame).dtype is st.float64
    (rows,) = st.data.TensorDataset(frame)[:]
    np.testing.assert_array_equal(rows.numpy(), ROWS)
    np.testing.assert_allclose(nn.Normalization().adapt(frame).mean.numpy(), np.mean(ROWS, axis=0), rtol=1e-6)


def test_a_model_takes_them() -> None:
    model = nn.Linear(3, 1)
    np.testing.assert_array_equal(model(mixed()).numpy(), model(ROWS).numpy())
    model.compile("sgd", "mse")
    y = pandas.DataFrame({"y": [1.0, 2.0, 3.0]})
    assert model.evaluate(mixed(), y) == model.evaluate(np.array(ROWS), y.to_numpy())


def test_gaps_are_nan_among_floats() -> None:
    frame = pandas.DataFrame({"a": [0.5, 1.5], "c": pandas.array([None, 7], dtype="Int64")})
    np.testing.assert_array_equal(st.tensor(frame).numpy(), [[0.5, np.nan], [1.5, 7.0]])


@pytest.mark.parametrize(
    "use",
    [
        st.tensor,
        st.data.TensorDataset,
        nn.Normalization().adapt,
        lambda frame: nn.Linear(4, 1)(frame),
        lambda frame: nn.Linear(4, 1).predict(frame),
    ],
)
def test_a_column_of_text_is_named(use: Callable[[Any], object]) -> None:
    frame = mixed().assign(colour=["red", "blue", "red"])
    with pytest.raises(TypeError, match=r"column 'colour' holds \w+ values, not numbers: encode it first"):
        use(frame)
