"""NumPy's own functions on tensors."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import steep as st


@pytest.mark.parametrize(
    "name", ["exp", "absolute", "tanh", "negative", "sqrt", "arctan", "isnan", "floor", "logical_not"]
)
def test_elementwise_functions_are_steeps(name: str) -> None:
    values = np.array([0.25, 1.0, 2.5])
    result = getattr(np, name)(st.tensor(values))
    assert isinstance(result, st.Tensor)
    np.testing.assert_allclose(result.numpy(), getattr(np, name)(values), rtol=1e-12)


@pytest.mark.parametrize("name", ["add", "true_divide", "power", "arctan2", "maximum", "less", "logaddexp"])
@pytest.mark.parametrize("order", ["both", "left", "right"])
def test_functions_of_two(name: str, order: str) -> None:
    a, b = np.array([0.5, 2.0, 3.0]), np.array([[1.0], [2.0]])
    x, y = (st.tensor(v) if order in ("both", side) else v for v, side in ((a, "left"), (b, "right")))
    result = getattr(np, name)(x, y)
    assert isinstance(result, st.Tensor)
    np.testing.assert_allclose(result.numpy(), getattr(np, name)(a, b), rtol=1e-12)


def test_the_graph_is_kept() -> None:
    w = st.tensor([0.5, -1.0], requires_grad=True)
    np.sum(np.exp(w) * np.array([1.0, 3.0], np.float32)).backward()
    np.testing.assert_allclose(w.grad.numpy(), np.exp([0.5, -1.0]) * [1, 3], rtol=1e-6)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "all", "any", "argmax", "argmin"])
@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": -1, "keepdims": True}])
def test_reductions(name: str, options: dict[str, Any]) -> None:
    values = np.array([[1.0, 2.0, 0.0], [4.0, -1.0, 3.0]])
    result, expected = getattr(np, name)(st.tensor(values), **options), getattr(np, name)(values, **options)
    assert isinstance(result, st.Tensor)
    np.testing.assert_allclose(result.numpy(), expected)


def test_what_steep_does_not_have_numpy_computes() -> None:
    x = st.tensor([3.0, 1.0, 2.0])
    np.testing.assert_allclose(np.median(x), 2.0)
    np.testing.assert_allclose(np.sum(x, 0, np.float64), 6.0)  # a dtype in the place of keepdims
    np.testing.assert_allclose(np.percentile(x, 50), 2.0)
    np.testing.assert_allclose(np.cbrt(x), np.cbrt([3.0, 1.0, 2.0]), rtol=1e-6)
    np.testing.assert_allclose(np.add.accumulate(x), [3.0, 4.0, 6.0])
    np.testing.assert_allclose(np.concatenate([x, np.zeros(1)]), [3, 1, 2, 0])
    out = np.empty(3, np.float32)
    assert np.exp(x, out=out) is out
    np.testing.assert_allclose(out, np.exp([3.0, 1.0, 2.0]), rtol=1e-6)
    out += x
    np.testing.assert_allclose(out, np.exp([3.0, 1.0, 2.0]) + np.array([3, 1, 2]), rtol=1e-6)
    assert isinstance(out, np.ndarray)


@pytest.mark.parametrize("scalar", [np.float64(2.5), np.float32(2.5), np.int64(2), 2.5])
def test_numpy_scalars_do_not_widen(scalar: Any) -> None:
    x = st.tensor([1.0, 2.0])
    for result in (scalar * x, x * scalar):
        assert isinstance(result, st.Tensor)
        assert result.dtype is (x * scalar).dtype
        np.testing.assert_allclose(result.numpy(), [float(scalar), 2 * float(scalar)])


def test_arrays_and_tensors_by_operators() -> None:
    a, x = np.array([1.0, 2.0], np.float32), st.tensor([3.0, 4.0], requires_grad=True)
    for result, expected in ((a + x, [4, 6]), (a @ x, 11), (a / x, [1 / 3, 0.5]), (a**x, [1, 16]), (a < x, [1, 1])):
        assert isinstance(result, st.Tensor)
        np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-6)
    (a @ x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), a)


def test_round() -> None:
    x = st.tensor(2.71828, requires_grad=True)
    assert (round(x), round(x, 2)) == (3, 2.72)
    with pytest.raises(ValueError, match="element"):
        round(st.ones(2))


@pytest.mark.parametrize("write", [lambda t: np.add(t, 5, out=t), lambda t: np.add.at(t, [0, 0], 5)], ids=["out", "at"])
def test_writing_is_seen_by_backward(write: Any) -> None:
    w, t = st.ones(3, requires_grad=True), st.tensor([1.0, 2.0, 3.0])
    y = (w * t).sum()
    write(t)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_tensors_to_write_to() -> None:
    x, out = st.tensor([1.0, 4.0, 9.0]), st.zeros(3)
    assert np.add(x, np.ones(3, np.float32), out=out, where=np.array([True, False, True])) is out
    np.testing.assert_array_equal(out.numpy(), [2, 0, 10])
    np.add.at(out, [0, 0], 1)
    np.testing.assert_array_equal(out.numpy(), [4, 0, 10])
    whole = np.zeros(3, np.float32)
    parts = np.modf(x / 2, out=(out, whole))
    assert parts[0] is out
    np.testing.assert_array_equal(out.numpy(), [0.5, 0, 0.5])
    np.testing.assert_array_equal(whole, [0, 2, 4])
    with pytest.raises(RuntimeError, match="requires a gradient"):
        np.add(x, x, out=st.zeros(3, requires_grad=True))


def test_named_tuples_of_tensors() -> None:
    class Pair(NamedTuple):
        a: st.Tensor
        b: st.Tensor

    np.testing.assert_array_equal(np.stack(Pair(st.ones(2), st.zeros(2))), [[1, 1], [0, 0]])
