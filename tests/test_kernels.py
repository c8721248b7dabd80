"""steep.kernels on NumPy and PyTorch arrays: the values, and that nothing is copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import steep as st
from compare import Array, assert_same
from steep import kernels


def as_torch(x: Array) -> Any:
    return pytest.importorskip("torch").from_numpy(x)


WRAPPERS: dict[str, Callable[[Array], Any]] = {
    "numpy": lambda x: x,
    "torch": as_torch,
    "steep": lambda x: st.asarray(x, device="cpu"),
}
wrapped = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


def operation(name: str, x: Array, other: Array) -> Array:
    """What the tensor function computes."""
    return (
        getattr(st, name)(st.tensor(x, device="cpu")).numpy()
        if name in {"sigmoid", "softmax"}
        else gradient(name, x, other)
    )


def gradient(name: str, g: Array, y: Array) -> Array:
    wide_g, wide_y = g.astype(np.float64), y.astype(np.float64)
    if name == "sigmoid_backward":
        return wide_g * wide_y * (1 - wide_y)
    return wide_y * (wide_g - (wide_g * wide_y).sum(-1, keepdims=True))


@wrapped
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_forward_in_place_and_into_out(wrap: Callable[[Array], Any], name: str, dtype: str, rng: Any) -> None:
    x = rng.standard_normal((37, 41)).astype(dtype)
    expected = operation(name, x, x)
    out, data = np.full_like(x, np.nan), x.copy()
    assert getattr(kernels, name)(wrap(data), wrap(out)) is None
    assert_same(out, expected)  # through the wrapper into NumPy's own memory
    assert_same(data, x)
    getattr(kernels, name)(wrap(data), out=wrap(data))
    assert_same(data, expected)


@wrapped
@pytest.mark.parametrize("name", ["sigmoid_backward", "softmax_backward"])
def test_backward_in_place_and_into_out(wrap: Callable[[Array], Any], name: str, dtype: str, rng: Any) -> None:
    g = rng.standard_normal((37, 41)).astype(dtype)
    forward = st.sigmoid if name.startswith("sigmoid") else st.softmax
    y = forward(st.asarray(rng.standard_normal((37, 41)).astype(dtype), device="cpu")).numpy()
    expected, scale = gradient(name, g, y), np.finfo(dtype).eps * np.abs(g).max()
    for out in (np.full_like(g, np.nan), g.copy(), y.copy()):  # a new array, the gradient's, the result's
        inputs = [out if np.array_equal(out, g) else g.copy(), out if np.array_equal(out, y) else y.copy()]
        getattr(kernels, name)(*map(wrap, inputs), wrap(out))
        assert np.abs(out - expected).max() <= 4 * scale


@wrapped
def test_matmul_of_any_strides(wrap: Callable[[Array], Any], dtype: str, rng: Any) -> None:
    a, b = rng.integers(-5, 6, (7, 2, 33)).astype(dtype), rng.integers(-5, 6, (33, 9)).astype(dtype)
    for x, y in (
        (a[:, 1], b),
        (a[:, 0, ::2], b[::2]),
        (a[:, 1], np.asfortranarray(b)),
        (a, b),
        (a.copy()[0], b[:, 3:7]),
    ):
        out = np.full((*x.shape[:-1], y.shape[-1]), np.nan, dtype)
        kernels.matmul(wrap(x), wrap(y), wrap(out))
        assert_same(out, x @ y)
    big = np.full((7, 20), np.nan, dtype)
    kernels.matmul(wrap(a[:, 0]), wrap(b), wrap(big[:, 5:14]))
    assert_same(big[:, 5:14], a[:, 0] @ b)
    assert np.isnan(big[:, :5]).all()
    assert np.isnan(big[:, 14:]).all()


@wrapped
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 70, 40), (70, 40, 1), (5, 9, 3), (3, 300, 20), (20, 100, 60), (37, 1300, 97), (4, 0, 5)]
)
def test_matmul_scales_and_adds(wrap: Callable[[Array], Any], m: int, k: int, n: int, dtype: str, rng: Any) -> None:
    a, b, c = (rng.integers(-5, 6, shape).astype(dtype) for shape in ((m, k), (k, n), (m, n)))
    for x in (a, np.asfortranarray(a)):
        for y in (b, np.asfortranarray(b)):
            for alpha, beta in ((0.5, 0.0), (1.0, 1.0), (-2.0, 0.25)):
                out = np.full_like(c, np.nan) if beta == 0 else c.copy()
                kernels.matmul(wrap(x), wrap(y), wrap(out), alpha=alpha, beta=beta)
                expected = alpha * (x @ y) + beta * c  # exact: small integers and powers of two
                np.testing.assert_array_equal(out, expected)


@wrapped
def test_strided_elementwise_and_rows(wrap: Callable[[Array], Any], dtype: str, rng: Any) -> None:
    x = rng.standard_normal((12, 10, 3)).astype(dtype)
    for view in (x[::2], x[:, 3:5], x.transpose(2, 0, 1), x[1]):
        out = np.full((*view.shape, 2), np.nan, dtype)
        kernels.sigmoid(wrap(view), wrap(out[..., 1]))
        assert_same(out[..., 1], operation("sigmoid", view, view))
        assert np.isnan(out[..., 0]).all()
        for axis in (0, -1):
            kernels.softmax(wrap(view), wrap(out[..., 1]), axis)
            assert_same(out[..., 1].copy(), st.softmax(st.tensor(view, device="cpu"), axis).numpy())


@pytest.mark.parametrize("shape", [(0, 6), (2, 0), (0, 2, 6)])
def test_matmul_into_nothing(shape: tuple[int, ...], dtype: str) -> None:
    kernels.matmul(np.zeros((*shape[:-1], 4), dtype), np.zeros((4, shape[-1]), dtype), np.zeros(shape, dtype))


def test_changes_of_tensors_are_counted(dtype: str) -> None:
    x, out = st.ones((1, 2), dtype=dtype, device="cpu", requires_grad=True), st.ones((1, 2), dtype=dtype, device="cpu")
    y = x * out
    with pytest.raises(ValueError, match="'out' has shape"):
        kernels.sigmoid(np.ones((3, 3), dtype), out)
    y.sum().backward(retain_graph=True)  # nothing has changed
    kernels.sigmoid(out, out)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_nothing_is_allocated(rng: Any) -> None:
    x, y, out = (rng.standard_normal((500, 500)).astype("f4") for _ in "xyo")
    kernels.matmul(x, y, out)
    st.empty_cache()
    before = st.memory_stats()
    for _ in range(3):
        kernels.sigmoid(x, out)
        kernels.sigmoid_backward(x, out, out)
        kernels.softmax(x, out)
        kernels.softmax_backward(y, out, out)
    after = st.memory_stats()
    assert after["in_use"] == before["in_use"]
    assert after["peak"] - before["in_use"] < x.nbytes or after["peak"] == before["peak"]
    assert after["cached"] < x.nbytes  # at most small bookkeeping: no array of x's size was taken


def test_read_only_arrays() -> None:
    x = np.zeros(4, np.float32)
    x.flags.writeable = False
    out = np.empty(4, np.float32)
    kernels.sigmoid(x, out)
    assert out.tolist() == [0.5] * 4
    with pytest.raises((TypeError, ValueError, BufferError)):
        kernels.sigmoid(out, x)
    assert x.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, b: kernels.sigmoid(a, b[:1]), ValueError, r"sigmoid: 'out' has shape \(1, 3\), the input \(2, 3\)"),
        (lambda a, b: kernels.sigmoid(a, b.astype("f8")), TypeError, "sigmoid: 'out' has dtype float64"),
        (lambda a, b: kernels.softmax(a, b, 2), IndexError, "softmax: axis 2"),
        (lambda a, b: kernels.softmax_backward(a[:1], b, a), ValueError, r"'y' has shape \(2, 3\), the input \(1, 3\)"),
        (lambda a, b: kernels.sigmoid_backward(a, b[:1], a), ValueError, r"'y' has shape \(1, 3\), the input \(2, 3\)"),
        (lambda a, b: kernels.matmul(a, b, a), ValueError, r"matmul: shapes \(2, 3\) and \(2, 3\) do not fit"),
        (lambda a, b: kernels.matmul(a[0], b, a), ValueError, "matmul: .*two dimensions or more"),
        (lambda a, b: kernels.matmul(a, b.T, a), ValueError, r"matmul: 'out' has shape \(2, 3\), the result \(2, 2\)"),
        (lambda a, b: kernels.matmul(a[:, :2], b[:, :2], a[:, 1:]), ValueError, "'out' shares memory with an operand"),
        (lambda a, b: kernels.matmul(a[:, :2], b[:, :2], np.ones((4, 4), "f4")[::2, ::2]), ValueError, "rows of 'out'"),
        (
            lambda a, b: kernels.matmul(a, b.T, as_strided(a.copy(), (2, 2), (4, 4))),
            ValueError,
            "rows of 'out' overlap",
        ),
        (lambda a, b: kernels.matmul(a, b.T, as_strided(a.copy(), (2, 2), (0, 4))), ValueError, "share one memory"),
    ],
)
def test_messages(call: Callable[[Array, Array], None], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(np.ones((2, 3), "f4"), np.ones((2, 3), "f4"))
