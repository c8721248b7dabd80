"""Jacobians, Hessians, and their products with vectors: against formulas, finite differences and each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep.autograd import gradcheck, gradgradcheck, hessian, jacobian, jvp, vjp


def leaf(x: Any) -> st.Tensor:
    return st.tensor(np.asarray(x, "float64"), requires_grad=True)


def numeric(function: Callable[[st.Tensor], st.Tensor], x: st.Tensor) -> Any:
    """The Jacobian by central differences."""
    columns = []
    for i in range(x.size):
        step = np.zeros(x.size)
        step[i] = 1e-6
        ahead, behind = (function(x.detach() + sign * step.reshape(x.shape)).numpy() for sign in (1, -1))
        columns.append((ahead - behind) / 2e-6)
    return np.stack(columns, -1).reshape(*columns[0].shape, *x.shape)


FUNCTIONS: dict[str, Callable[[st.Tensor], st.Tensor]] = {
    "softmax": lambda x: st.softmax(x, 1),
    "matmul": lambda x: x @ x.T,
    "sum": lambda x: (x**3).sum(0),
    "norm": lambda x: st.vector_norm(x),
    "layer": lambda x: st.linear(x, st.ones((4, 3), dtype="float64") * 0.3, activation="tanh"),
    "constant": lambda x: st.ones(2, dtype="float64"),
    "linear": lambda x: 2 * x[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobian_and_products(name: str, rng: np.random.Generator) -> None:
    function, x = FUNCTIONS[name], leaf(rng.standard_normal((2, 3)))
    expected = numeric(function, x)
    np.testing.assert_allclose(jacobian(function, x).numpy(), expected, rtol=1e-6, atol=1e-8)
    out = function(x.detach())
    u, v = rng.standard_normal(out.shape), rng.standard_normal(x.shape)
    value, product = vjp(function, x, st.tensor(u))
    np.testing.assert_array_equal(value.numpy(), out.numpy())
    np.testing.assert_allclose(product.numpy(), np.tensordot(u, expected, u.ndim), rtol=1e-6, atol=1e-8)
    value, product = jvp(function, x, st.tensor(v))
    np.testing.assert_array_equal(value.numpy(), out.numpy())
    np.testing.assert_allclose(product.numpy(), np.tensordot(expected, v, 2), rtol=1e-6, atol=1e-8)
    assert {value.requires_grad, product.requires_grad} == {False}
    assert x.grad is None


def test_several_inputs(rng: np.random.Generator) -> None:
    a, b, c = leaf(rng.standard_normal(3)), leaf(rng.standard_normal(3)), leaf(1.0)

    def function(a: st.Tensor, b: st.Tensor, c: st.Tensor) -> st.Tensor:
        return a * b**2

    x, y = a.detach().numpy(), b.detach().numpy()
    ja, jb, jc = jacobian(function, (a, b, c))
    np.testing.assert_allclose(ja.numpy(), np.diag(y**2))
    np.testing.assert_allclose(jb.numpy(), np.diag(2 * x * y))
    np.testing.assert_array_equal(jc.numpy(), np.zeros(3))
    (haa, hab, hac), (hba, hbb, _), _ = hessian(lambda *xs: function(*xs).sum(), (a, b, c))
    np.testing.assert_array_equal(haa.numpy(), np.zeros((3, 3)))
    np.testing.assert_allclose(hab.numpy(), np.diag(2 * y))
    np.testing.assert_allclose(hba.numpy(), np.diag(2 * y))
    np.testing.assert_allclose(hbb.numpy(), np.diag(2 * x))
    np.testing.assert_array_equal(hac.numpy(), np.zeros(3))
    _, product = jvp(function, (a, b, c), (st.tensor(y), st.tensor(x), st.tensor(2.0, dtype="float64")))
    np.testing.assert_allclose(product.numpy(), y**3 + 2 * x * y * x)
    _, (va, _, vc) = vjp(function, (a, b, c), st.tensor(x))
    np.testing.assert_allclose(va.numpy(), x * y**2)
    assert vc.item() == 0


def test_derivatives_of_derivatives() -> None:
    x = leaf([0.3, -1.2])
    cube = lambda x: x**3  # noqa: E731
    for derivative in (
        lambda x: jacobian(cube, x, create_graph=True).sum(),
        lambda x: vjp(cube, x, st.ones(2, dtype="float64"), create_graph=True)[1].sum(),
        lambda x: jvp(cube, x, st.ones(2, dtype="float64"), create_graph=True)[1].sum(),
    ):
        (g,) = st.grad(derivative(x), x)
        np.testing.assert_allclose(g.numpy(), 6 * x.detach().numpy())
    (g,) = st.grad(hessian(lambda x: (x**3).sum(), x, create_graph=True).sum(), x)
    np.testing.assert_allclose(g.numpy(), [6, 6])
    empty = jacobian(lambda x: x[:0], x)
    assert empty.shape == (0, 2)
    with st.no_grad():
        np.testing.assert_allclose(jacobian(cube, x).numpy(), np.diag(3 * x.detach().numpy() ** 2))


def test_against_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((3, 3))
    ours = hessian(lambda x: st.logsumexp(st.tanh(x @ x)), st.tensor(x))
    theirs = torch.autograd.functional.hessian(lambda x: torch.logsumexp(torch.tanh(x @ x), (0, 1)), torch.tensor(x))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-10, atol=1e-12)


def test_gradgradcheck_finds_wrong_second_derivatives() -> None:
    class Wrong(st.autograd.Function):
        """x², whose gradient can't be differentiated rightly: it takes x for a constant."""

        @staticmethod
        def forward(ctx: Any, x: st.Tensor) -> st.Tensor:
            ctx.twice = 2 * x.detach()
            return x * x

        @staticmethod
        def backward(ctx: Any, g: st.Tensor) -> st.Tensor:
            return g * ctx.twice

    x = leaf([0.5, 2.0])
    assert gradcheck(Wrong.apply, [x])
    with pytest.raises(st.autograd.GradcheckError):
        gradgradcheck(Wrong.apply, [x])
    assert gradgradcheck(lambda x, y: x * st.exp(y), [x, leaf([1.0, -1.0])])
    assert gradgradcheck(lambda x: 3 * x, [x])


X = st.ones(2)
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: vjp(st.exp, X), (RuntimeError, ValueError), "shape"),  # type: ignore[list-item]
    (lambda: jvp(st.exp, X), ValueError, "jvp: v can be left out only"),
    (lambda: jvp(st.exp, X, st.ones(3)), ValueError, r"jvp: v has shapes \[\(3,\)\]"),
    (lambda: hessian(st.exp, X), ValueError, r"hessian: the result has shape \(2,\)"),
    (lambda: jacobian(lambda x: 1.0, X), TypeError, "jacobian: the function must return a Tensor, not float"),
    (lambda: jacobian(st.exp, 1.0), TypeError, "jacobian: inputs must be .*not float"),
    (lambda: gradgradcheck(st.exp, [X]), ValueError, "gradgradcheck: no input has requires_grad"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_messages(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
