"""The tape: gradients of every operation, of every order, and what happens to the graph."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
import pytest

import steep as st
from cases import BINARY, UNARY, Binary, Unary, inside
from compare import assert_same


def leaf(x: Any, dtype: str = "float64") -> st.Tensor:
    return st.tensor(np.asarray(x, dtype), requires_grad=True)


def points(case: Unary | Binary) -> list[st.Tensor]:
    """Inputs of several signs and sizes, away from kinks, ties and the ends of domains."""
    a = np.array([[0.3, 0.7, 1.1], [1.6, 2.6, 3.3]])
    signs = np.array([[1, -1, -1], [-1, 1, -1]])
    a = inside(a * signs, case.domain)
    return [leaf(a)] if isinstance(case, Unary) else [leaf(a), leaf(a[::-1, ::-1] + 0.07)]


# --- every elementwise operation, of first and second order -----------------------------------------------------------


@pytest.mark.parametrize("case", [*UNARY, *BINARY], ids=str)
def test_gradcheck(case: Unary | Binary) -> None:
    inputs = points(case)
    assert st.autograd.gradcheck(case, inputs)
    if isinstance(case, Binary):  # broadcasting, and a Python number on either side
        assert st.autograd.gradcheck(case, [inputs[0], leaf([[1.25], [2.25]])])
        assert st.autograd.gradcheck(case, [leaf(1.75), inputs[1]])
        assert st.autograd.gradcheck(lambda x: case(x, 1.5), inputs[:1])
        assert st.autograd.gradcheck(lambda x: case(1.5, x), inputs[1:])


@pytest.mark.parametrize("case", [*UNARY, *BINARY], ids=str)
def test_gradcheck_of_the_gradient(case: Unary | Binary) -> None:
    inputs = points(case)
    g = leaf([[0.5, -1.5, 2.0], [1.0, -0.3, 0.7]])
    for i in range(len(inputs)):

        def first(g: st.Tensor, *xs: st.Tensor, i: int = i) -> st.Tensor:
            return st.grad(case(*xs), xs[i], g, create_graph=True)[0]

        assert st.autograd.gradcheck(first, [g, *inputs])
        with_graph = first(g, *inputs).detach().numpy()
        without = st.grad(case(*inputs), inputs[i], g)[0].numpy()
        np.testing.assert_allclose(with_graph, without, rtol=1e-14)
        if isinstance(case, Binary):
            other = [x if i == j else 1.5 for j, x in enumerate(inputs)]
            assert st.autograd.gradcheck(
                lambda g, x, i=i, other=other: st.grad(
                    case(*(x if i == j else o for j, o in enumerate(other))), x, g, create_graph=True
                )[0],
                [g, inputs[i]],
            )


def test_third_order() -> None:
    x = leaf([0.4, 1.3])
    for function, third in ((st.exp, np.exp), (st.sin, lambda v: -np.cos(v)), (st.log, lambda v: 2 / v**3)):
        g = function(x)
        for _ in range(3):
            (g,) = st.grad(g.sum(), x, create_graph=True)
        np.testing.assert_allclose(g.detach().numpy(), third(x.detach().numpy()), rtol=1e-13)


@pytest.mark.parametrize(
    ("function", "a", "b", "expected"),  # ∂²/∂a², ∂²/∂a∂b, ∂²/∂b²
    [
        (st.logaddexp, 0.4, 0.4, (0.25, -0.25, 0.25)),
        (st.pow, 2.0, 0.0, (0, 0.5, np.log(2) ** 2)),
        (st.pow, 3.0, 1.0, (0, 1 + np.log(3), 3 * np.log(3) ** 2)),
    ],
)
def test_second_derivatives_where_the_first_are_special(
    function: Any, a: float, b: float, expected: tuple[float, ...]
) -> None:
    x, y = leaf(a), leaf(b)
    dx, dy = st.grad(function(x, y), (x, y), create_graph=True)
    second = [*st.grad(dx, (x, y), retain_graph=True), st.grad(dy, y, retain_graph=True)[0]]
    np.testing.assert_allclose([g.item() for g in second], expected, rtol=1e-14)
    assert st.grad(dy, x)[0].item() == pytest.approx(expected[1], rel=1e-14)


def test_derivatives_of_equal_infinities_and_of_the_power_0() -> None:
    x = leaf([np.inf, -np.inf, np.inf, np.nan])
    y = leaf([np.inf, -np.inf, -np.inf, 0])
    assert_same(st.grad(st.logaddexp(x, y).sum(), x)[0].numpy(), np.array([0.5, 0.5, 1, np.nan]))
    bases = leaf([0, 2, -2, np.inf, -np.inf, np.nan])
    assert_same(st.grad((bases ** st.zeros(6)).sum(), bases)[0].numpy(), np.zeros(6), zero_sign=False)


def test_gradient_of_where_and_clip_with_tensors() -> None:
    a, b = leaf([1.0, -2.0, 3.0]), leaf([[0.5], [-0.5]])
    condition = st.tensor([[True, False, True], [False, False, True]])
    assert st.autograd.gradcheck(lambda a, b: st.where(condition, a, b), [a, b])
    assert st.autograd.gradcheck(lambda a: st.where(condition, a * a, 0.5), [a])
    assert st.autograd.gradcheck(lambda x, low, high: st.clip(x, low, high), [a, leaf(-1.5), leaf(2.0)])


def test_float32_gradients_follow_float64(rng: np.random.Generator) -> None:
    """A small network: every operation of its backward in float32, within a few ulp of the size of the terms."""
    x, w, v = (rng.standard_normal(s) / 2 for s in ((8, 5), (6, 5), (3, 6)))

    def gradients(dtype: str) -> list[Any]:
        leaves = [leaf(t, dtype) for t in (x, w, v)]
        hidden = st.layer_norm(st.linear(leaves[0], leaves[1], activation="tanh"), 6)
        loss = st.cross_entropy(hidden @ leaves[2].T, st.tensor(np.arange(8) % 3))
        return [g.numpy() for g in st.grad(loss + st.square(hidden).mean(), leaves)]

    for got, expected in zip(gradients("float32"), gradients("float64"), strict=True):
        assert np.abs(got - expected).max() <= 8 * np.finfo("f4").eps * np.abs(expected).max()


# --- dtypes and broadcasting ------------------------------------------------------------------------------------------


def test_gradients_have_the_shape_and_dtype_of_their_inputs() -> None:
    a, b = leaf([[1.0], [2.0]], "float32"), leaf([3.0, 4.0, 5.0])
    (a * b).sum().backward()
    assert_same(a.grad.numpy(), np.array([[12], [12]], "f4"))
    assert_same(b.grad.numpy(), np.array([3.0, 3.0, 3.0]))
    c = leaf(2.0, "float32")
    (st.ones((2, 3), dtype=st.int64) * c).sum().backward()
    assert_same(c.grad.numpy(), np.float32(6))
    d = leaf([1.0, 2.0], "float32")
    (d.astype(st.float64) * d.double()).sum().backward()
    assert_same(d.grad.numpy(), np.array([2, 4], "f4"))
    empty = leaf(np.empty((0, 3)))
    (empty * leaf(np.ones((1, 3)))).sum().backward()
    assert empty.grad.shape == (0, 3)


def test_integers_and_comparisons_are_constants() -> None:
    x = leaf([1.0, -2.0])
    for y in (x > 0, st.argmax(x), x.astype(st.int64), st.isnan(x), st.all(x)):
        assert not y.requires_grad
        assert y.grad_fn is None


# --- backward, grad, value_and_grad -----------------------------------------------------------------------------------


def test_backward_accumulates_and_grad_does_not() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [5, 7]
    assert [g.tolist() for g in st.grad((x * x).sum(), [x])] == [[2, 4]]
    assert x.grad.tolist() == [5, 7]
    x.grad = None
    y = x * 2
    (y * y + y).backward(st.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [10, 180]
    x.grad.zero_()
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_gradients_are_not_shared() -> None:
    """Two leaves, or a leaf and the caller, never have one memory as their gradients."""
    a, b, g = leaf([1.0, 2.0]), leaf([3.0, 4.0]), st.tensor(np.array([1.0, 1.0]))
    (a + b).backward(g)
    a.grad.fill_(7)
    assert (b.grad.tolist(), g.tolist()) == ([1, 1], [1, 1])
    a.grad = b.grad = None
    a.backward(g)
    a.grad.fill_(7)
    assert g.tolist() == [1, 1]
    c = leaf(np.ones((2, 2)))
    c.reshape(4).backward(st.ones(4, dtype="float64"))
    c.grad[0, 0] = 5
    assert c.grad.tolist() == [[5, 1], [1, 1]]


def test_a_value_used_many_times() -> None:
    x = leaf(1.5)
    y = x
    for _ in range(10):
        y = y * x + y  # x (x + 1)^10
    (g,) = st.grad(y, x)
    assert g.item() == pytest.approx(2.5**10 + 10 * 1.5 * 2.5**9, rel=1e-14)
    z = x * x
    assert st.grad(z * z * z, [x, z])[1].item() == 3 * 2.25**2  # an input may be an intermediate value


def test_grad_of_several_outputs_and_unused_inputs() -> None:
    x, y = leaf(2.0), leaf(3.0)
    gradients = st.grad([x * y, x**2], [x, y], [st.tensor(1.0), st.tensor(10.0)], allow_unused=True)
    assert [float(g) for g in gradients] == [43, 2]
    assert st.grad(x * 1, [x, y], allow_unused=True)[1] is None
    assert [float(g) for g in st.grad(x, [x, x])] == [1, 1]


def test_value_and_grad() -> None:
    def f(a: st.Tensor, b: st.Tensor, scale: float = 1.0) -> st.Tensor:
        return (a * b * b).sum() * scale

    a, b = st.tensor([1.0, 2.0]), st.tensor([3.0, 4.0])
    value, g = st.value_and_grad(f)(a, b, scale=2.0)
    assert (value.item(), g.tolist(), value.requires_grad) == (82, [18, 32], False)
    value, (ga, gb) = st.value_and_grad(f, argnums=(0, 1))(a, b)
    assert (ga.tolist(), gb.tolist()) == ([9, 16], [6, 16])
    assert not a.requires_grad
    with st.no_grad():
        assert st.value_and_grad(f)(a, b)[1].tolist() == [9, 16]


def test_hessian_vector_product_and_grad_of_a_penalty() -> None:
    x, v = leaf([1.0, 2.0, -1.0]), st.tensor(np.array([1.0, -1.0, 2.0]))
    (g,) = st.grad((x**3).sum() * x[0], x, create_graph=True)
    (hv,) = st.grad(g, x, v)
    a, b, c = x.tolist()
    hessian = np.diag([0.0, 6 * b * a, 6 * c * a])
    hessian[0] = [12 * a**2, 3 * b**2, 3 * c**2]
    hessian[:, 0] = hessian[0]
    np.testing.assert_allclose(hv.numpy(), hessian @ v.numpy(), rtol=1e-14)
    w = leaf([0.5, -1.0])
    loss = st.tanh(w).sum()
    (g,) = st.grad(loss, w, create_graph=True)
    (loss + (g * g).sum()).backward()
    t = np.tanh(w.detach().numpy())
    np.testing.assert_allclose(w.grad.numpy(), (1 - t * t) * (1 - 4 * t * (1 - t * t)), rtol=1e-14)
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    assert st.grad(x.grad, x)[0].item() == 12


# --- switching it off -------------------------------------------------------------------------------------------------


def test_division_by_the_number_zero_can_be_differentiated_again() -> None:
    x = st.tensor([1.0], requires_grad=True)
    (g,) = st.grad((x / 0.0).sum(), x, create_graph=True)
    assert g.tolist() == [float("inf")]
    empty = st.ones((0, 3), requires_grad=True)
    (g,) = st.grad(st.mean(empty), empty, create_graph=True)
    assert g.shape == (0, 3)


def test_no_grad_and_enable_grad() -> None:
    x = leaf(1.0)
    with st.no_grad():
        assert not (x * 2).requires_grad
        assert not st.is_grad_enabled()
        with st.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert st.no_grad()(lambda: (x * 2).requires_grad)() is False
    with pytest.raises(KeyError), st.no_grad():
        raise KeyError
    assert st.is_grad_enabled()
    seen = []
    with st.no_grad():  # the switch belongs to the thread
        worker = threading.Thread(target=lambda: seen.append(st.is_grad_enabled()))
        worker.start()
        worker.join()
    assert seen == [True]


def test_detach_shares_memory_and_has_no_history() -> None:
    x = leaf([1.0, 2.0])
    y = (x * 2).detach()
    assert (y.requires_grad, y.is_leaf, x.detach().is_leaf) == (False, True, True)
    x.detach()[0] = 5
    assert x.tolist() == [5, 2]
    (x * x.detach()).sum().backward()
    assert x.grad.tolist() == [5, 2]


# --- custom functions -------------------------------------------------------------------------------------------------


class Cube(st.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: st.Tensor, scale: float) -> st.Tensor:
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx: Any, g: st.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x * x * g * ctx.scale, None


class ExpOfOutput(st.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: st.Tensor) -> st.Tensor:
        y = st.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: st.Tensor) -> st.Tensor:
        return g * ctx.saved_tensors[0]


def test_function() -> None:
    x = leaf([1.0, -2.0])
    y = Cube.apply(x, 2.0)
    assert (y.tolist(), y.grad_fn.name) == ([2, -16], "Cube")
    for f in (lambda x: Cube.apply(x, 2.0), ExpOfOutput.apply):
        assert st.autograd.gradcheck(f, [x])
        assert st.autograd.gradcheck(lambda x, f=f: st.grad(f(x).sum(), x, create_graph=True)[0], [x])
    assert not Cube.apply(x.detach(), 1.0).requires_grad
    y = ExpOfOutput.apply(x)
    reference = weakref.ref(y)
    del y
    assert reference() is None  # a saved output doesn't keep itself alive


def test_function_that_returns_its_argument() -> None:
    class Double(st.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: st.Tensor) -> st.Tensor:
            return x

        @staticmethod
        def backward(ctx: Any, g: st.Tensor) -> st.Tensor:
            return g * 2

    x = leaf(3.0)
    y = Double.apply(x)
    assert y is not x
    assert st.grad(y, x)[0].item() == 2
    assert x.is_leaf


def test_gradcheck_finds_a_wrong_derivative() -> None:
    class Wrong(st.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: st.Tensor) -> st.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: st.Tensor) -> st.Tensor:
            return g * ctx.saved_tensors[0] * 2.001

    with pytest.raises(st.autograd.GradcheckError, match="finite differences give"):
        st.autograd.gradcheck(Wrong.apply, [leaf([1.0, 2.0])])
    assert issubclass(st.autograd.GradcheckError, AssertionError)
