"""16-bit floats: each result is float32's, rounded once; bfloat16's own matrix products against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same
from numbers_of_dtypes import HALVES, SIZES, halves, ids, rounded
from steep.dtypes import DType


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "log1p", "sqrt", "gelu", "sin", "abs", "neg", "erf"])
@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_half_unary(t: DType, name: str) -> None:
    """The float32 result, rounded; and the float32 derivative of what was kept, which may be the rounded result."""
    for n in SIZES:
        x, exact = halves(t, n)
        x.requires_grad = True
        y = getattr(st, name)(x)
        assert y.dtype == t
        expected = rounded(getattr(st, name)(st.tensor(exact)).numpy(), t)
        assert_same(y.detach().astype("float32"), expected, zero_sign=False)
        if n:
            y.sum().backward()
            assert x.grad is not None
            assert x.grad.dtype == t
            derivative = getattr(st._core, f"{name}_backward")(st.ones(n), st.tensor(exact), st.tensor(expected))
            assert_same(x.grad.astype("float32"), rounded(derivative.numpy(), t), zero_sign=False)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "pow", "maximum", "hypot"])
@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_half_binary(t: DType, name: str) -> None:
    for n in SIZES:
        (a, x), (b, y) = halves(t, n, 1), halves(t, n, 2)
        expected = getattr(st, name)(st.tensor(x), st.tensor(y)).numpy()
        assert_same(getattr(st, name)(a, b).astype("float32"), rounded(expected, t), zero_sign=False)
        expected = getattr(st, name)(st.tensor(x)[::2], 0.75).numpy()
        assert_same(getattr(st, name)(a[::2], 0.75).astype("float32"), rounded(expected, t), zero_sign=False)


@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_half_sums_accumulate_in_float32(t: DType) -> None:
    n = 10_000  # in 16 bits the sum of ones would stop at 256 or 2048
    assert st.ones(n, dtype=t).sum().item() == rounded(np.float32([n]), t)[0]
    assert st.ones(n, 3, dtype=t).sum(0).tolist() == [rounded(np.float32([n]), t)[0]] * 3
    assert st.full((70_000,), 2.0, dtype=t).mean().item() == 2.0  # whose sum is not finite in float16
    assert st.var(st.full((70_000,), 2.0, dtype=t)).item() == 0.0
    x, exact = halves(t, 3000)
    assert_same(st.max(x).astype("float32"), exact.max())
    assert st.argmin(x).item() == exact.argmin()
    assert_same(st.sum(x.reshape(50, 60), 0).astype("float32"), rounded(exact.reshape(50, 60).astype("f8").sum(0), t))


@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_half_matmul_and_rows(t: DType) -> None:
    (a, x), (b, y) = halves(t, 33 * 70, 1), halves(t, 70 * 17, 2)
    a, b, x, y = a.reshape(33, 70), b.reshape(70, 17), x.reshape(33, 70), y.reshape(70, 17)
    product = st.tensor(x) @ st.tensor(y)
    if product.device.type == "cpu":  # CUDA's tensor cores add in an order of their own: test_matmul_precision.py
        assert_same((a @ b).astype("float32"), rounded(product.numpy(), t))
    for f in (
        lambda v: st.softmax(v, 0),
        lambda v: st.log_softmax(v),
        lambda v: st.logsumexp(v),
        lambda v: st.layer_norm(v, v.shape[-1:]),
        lambda v: st.cross_entropy(v, st.arange(len(v)) % v.shape[1], reduction="none"),
    ):
        assert_same(f(a).astype("float32"), rounded(f(st.tensor(x)).numpy(), t), zero_sign=False)


@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_half_gradients(t: DType) -> None:
    """A small network's gradients, against float32's of the same numbers."""

    def loss(dtype: DType) -> tuple[st.Tensor, list[st.Tensor]]:
        x, w, b = (halves(t, n, seed)[0].astype(dtype) for seed, n in enumerate((40, 24, 3)))
        w, b = w.reshape(3, 8).detach(), b.detach()
        w.requires_grad = b.requires_grad = True
        logits = st.layer_norm(st.linear(x.reshape(5, 8), w, b, activation="tanh"), (3,))
        return st.cross_entropy(logits, st.tensor([0, 1, 2, 1, 0])), [w, b]

    low, parameters = loss(t)
    high, references = loss(st.float32)
    low.backward()
    high.backward()
    for p, q in zip(parameters, references, strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert p.grad.dtype == t
        np.testing.assert_allclose(
            p.grad.astype("float32").numpy(), q.grad.numpy(), atol=0.02 if t is st.bfloat16 else 3e-3
        )


@pytest.mark.parametrize("make", [lambda p: st.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: st.optim.Adam(p, lr=0.05)])
@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_half_parameters_train(t: DType, make: Any) -> None:
    st.manual_seed(1)
    x = st.random.normal((64, 4), dtype=t)
    target = (x.astype("float32") @ st.tensor([[1.0], [-2.0], [0.5], [3.0]])).astype(t)
    model = st.nn.Linear(4, 1).to(t)
    optimizer = make(model.parameters())
    losses = []
    for _ in range(100):
        loss = st.mean(st.square(model(x) - target))
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.dtype == t for p in model.parameters())
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_bfloat16_products(transposed: str) -> None:
    """Against float64, at every edge of the register tiles, with several blocks along each axis; views and batches."""
    shapes = [(m, 5, n) for m in (1, 13, 14, 15, 29) for n in (1, 16, 31, 32, 33, 64)]
    shapes += [(3, k, 33) for k in (0, 1, 2, 31, 32, 33, 2047, 2048, 2049, 4099)] + [(400, 70, 1100), (37, 2600, 45)]
    for m, k, n in shapes:
        a, b = halves(st.bfloat16, m * k, 1)[0], halves(st.bfloat16, k * n, 2)[0]
        a = a.reshape(k, m).T if "a" in transposed else a.reshape(m, k)
        b = b.reshape(n, k).T if "b" in transposed else b.reshape(k, n)
        x, y = a.astype("float64").numpy(), b.astype("float64").numpy()
        error = np.abs((a @ b).astype("float64").numpy() - x @ y)
        # A rounding to 8 bits, and those of float32 on the way.
        assert (error <= 2.0**-8 * np.abs(x @ y) + 2.0**-22 * (k + 2) * (np.abs(x) @ np.abs(y))).all()
    a, b = (
        halves(st.bfloat16, 2 * 3 * 40 * 8, 1)[0].reshape(2, 3, 40, 8),
        halves(st.bfloat16, 3 * 8 * 9, 2)[0].reshape(3, 8, 9),
    )
    expected = a.astype("float64").numpy() @ b.astype("float64").numpy()
    np.testing.assert_allclose((a @ b).astype("float64").numpy(), expected, rtol=2.0**-8, atol=1e-5)
    assert_same((a[..., ::2] @ b[:, ::2]).astype("float32"), (a[..., ::2].copy() @ b[:, ::2].copy()).astype("float32"))


def test_bfloat16_linear() -> None:
    x, w, bias = (halves(st.bfloat16, n, n)[0] for n in (50 * 40, 70 * 40, 70))
    x, w = x.reshape(50, 40), w.reshape(70, 40)
    exact = x.astype("float64").numpy() @ w.astype("float64").numpy().T + bias.astype("float64").numpy()
    for activation, expected in ((None, exact), ("relu", np.maximum(exact, 0)), ("tanh", np.tanh(exact))):
        y = st.linear(x, w, bias, activation=activation).astype("float64").numpy()
        np.testing.assert_allclose(y, expected, rtol=2.0**-7, atol=1e-4 if activation is None else 2.0**-8)


@pytest.mark.host(reason="threads are the CPU's")
def test_bfloat16_products_have_the_same_bits_at_any_number_of_threads(threads: None) -> None:
    a, b = (
        halves(st.bfloat16, 300 * 3000, 1)[0].reshape(300, 3000),
        halves(st.bfloat16, 3000 * 200, 2)[0].reshape(3000, 200),
    )
    products = []
    for n in (1, 2, 3, 7):
        st.set_num_threads(n)
        products.append((a @ b).astype("float32").numpy())
    for other in products[1:]:
        assert_same(other, products[0])
