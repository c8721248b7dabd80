"""What the tests of metrics share: the same data in batches of ragged sizes, and labels in both forms."""

from __future__ import annotations

from typing import Any

import numpy as np

import steep as st
from compare import Array
from steep.metrics import Metric

SIZES = (1, 7, 0, 16, 3)  # of batches; the rest is the last one


def in_batches(metric: Metric, output: Any, target: Any, weight: Any = None, dtype: Any = None) -> Any:
    """The metric of the batches, once it has been checked that one batch of all and a resumed metric give the same."""
    parts = np.split(np.arange(len(output)), np.cumsum(SIZES))
    tensors = [None if x is None else st.tensor(x) for x in (output, target, weight)]
    if dtype is not None:
        assert tensors[0] is not None
        tensors[0] = tensors[0].astype(dtype)
    for i, part in enumerate(parts):
        if i == 3:
            state = metric.state_dict()
            metric.reset_state()
            assert_equal(metric.state_dict(), {})
            metric.load_state_dict(state)
        metric.update_state(*(None if x is None else st.take(x, part, 0) for x in tensors))
    result = metric.result()
    metric.reset_state()
    metric.update_state(*tensors)
    assert_close(metric.result(), result)
    metric.reset_state()
    return result.tolist() if isinstance(result, st.Tensor) else result


def assert_equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert list(a) == list(b)
    for key, value in a.items():
        assert np.array_equal(np.asarray(value), np.asarray(b[key])), key


def assert_close(actual: Any, expected: Any, rtol: float = 1e-12) -> None:
    """Of numbers, lists and tensors; a NaN equals a NaN."""
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=rtol, atol=1e-15)


def scores(rng: np.random.Generator, n: int, classes: int) -> tuple[Array, Array]:
    """Logits and labels that have something to do with each other; the last class never occurs as a label."""
    labels = rng.integers(0, classes - 1, n)
    return rng.standard_normal((n, classes)) + 1.5 * np.eye(classes)[labels], labels


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))
