"""Matrix products: exact on small integers, whatever the shapes and strides; then accuracy and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same, check_same_function

SIZES = [(1, 1, 1), (2, 3, 4), (5, 1, 7), (1, 64, 1), (1, 33, 300), (300, 33, 1), (17, 19, 23), (6, 16, 8), (7, 17, 9)]
SIZES += [(64, 64, 64), (65, 129, 63), (128, 300, 40), (3, 1000, 5), (257, 8, 259), (130, 520, 270)]
SIZES += [(13, 40, 50), (33, 1024, 70), (45, 1300, 97)]  # few rows: in A·Bᵀ it is A that is transposed
BATCHES = [((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 1), (3,)), ((2, 3), (2, 1)), ((1, 1, 2), (4, 3, 1))]


def tensor(x: Any) -> st.Tensor:
    return st.asarray(np.asarray(x))


def small(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Integers whose products sum exactly in any order."""
    return rng.integers(-8, 9, shape).astype(dtype)


@pytest.mark.parametrize(("m", "k", "n"), SIZES)
def test_sizes(m: int, k: int, n: int, dtype: str, rng: np.random.Generator) -> None:
    a, b = small(rng, (m, k), dtype), small(rng, (k, n), dtype)
    assert_same((tensor(a) @ tensor(b)).numpy(), a @ b)
    assert_same((tensor(a.T.copy()).T @ tensor(b)).numpy(), a @ b)
    assert_same((tensor(a) @ tensor(b.T.copy()).T).numpy(), a @ b)
    assert_same((tensor(a.T.copy()).T @ tensor(b.T.copy()).T).numpy(), a @ b)


def test_every_small_size(dtype: str, rng: np.random.Generator) -> None:
    """All the edges of the register tiles."""
    a, b = small(rng, (40, 6), dtype), small(rng, (6, 40), dtype)
    x, y, product = tensor(a), tensor(b), a @ b
    for m in range(1, 40, 3):
        for n in range(1, 40):
            assert_same((x[1 : m + 1] @ y[:, :n]).numpy(), product[1 : m + 1, :n])
    for k in range(7):
        assert_same((x[:, :k] @ y[:k]).numpy(), a[:, :k] @ b[:k])


@pytest.mark.parametrize(("batch_a", "batch_b"), BATCHES)
def test_batches(batch_a: tuple[int, ...], batch_b: tuple[int, ...], dtype: str, rng: np.random.Generator) -> None:
    for m, k, n in ((4, 5, 6), (1, 7, 3), (40, 30, 20)):
        a, b = small(rng, (*batch_a, m, k), dtype), small(rng, (*batch_b, k, n), dtype)
        assert_same((tensor(a) @ tensor(b)).numpy(), a @ b)
        assert_same((tensor(a.swapaxes(-1, -2).copy()).mT @ tensor(b[..., ::-1])).numpy(), a @ b[..., ::-1])


def test_vectors(dtype: str, rng: np.random.Generator) -> None:
    v, m, batch = small(rng, (5,), dtype), small(rng, (5, 3), dtype), small(rng, (4, 2, 5), dtype)
    for a, b in ((v, v), (v, m), (m.T, v), (batch, v), (batch, m), (v, batch.swapaxes(-1, -2))):
        got = (tensor(a) @ tensor(b)).numpy()
        assert_same(got, np.asarray(a @ b))


def test_strides_of_any_kind(dtype: str, rng: np.random.Generator) -> None:
    base = small(rng, (6, 40, 50), dtype)
    x = tensor(base)
    a = [(x[0, ::2, ::-1], base[0, ::2, ::-1]), (x[:, 3, :20].mT, base[:, 3, :20].T), (x[5, ::-3], base[5, ::-3])]
    a += [(x[0, 0].broadcast_to((7, 50)), np.broadcast_to(base[0, 0], (7, 50))), (x[::2], base[::2])]
    for left, left_np in a:
        k = left.shape[-1]
        for right, right_np in ((x[1, :k, 4:9], base[1, :k, 4:9]), (x[2, 3:9, :k].T, base[2, 3:9, :k].T)):
            if right.shape[0] == k:
                assert_same((left @ right).numpy(), left_np @ right_np)


def test_empty_and_integers(rng: np.random.Generator) -> None:
    assert_same((st.zeros((0, 3)) @ st.zeros((3, 2))).numpy(), np.zeros((0, 2), "f4"))
    assert_same((st.zeros((2, 0)) @ st.zeros((0, 3))).numpy(), np.zeros((2, 3), "f4"))
    assert_same((st.zeros((5, 2, 0)) @ st.zeros((0, 3))).numpy(), np.zeros((5, 2, 3), "f4"))
    assert_same((st.zeros((0, 2, 4)) @ st.zeros((4, 3))).numpy(), np.zeros((0, 2, 3), "f4"))
    for dtype in ("int32", "int64"):
        a, b = (rng.integers(-(2**31), 2**31, (5, 5)).astype(dtype) for _ in "ab")
        assert_same((tensor(a) @ tensor(b)).numpy(), a @ b)
    assert (st.ones((2, 2)) @ st.ones((2, 2), dtype=st.float64)).dtype == st.float64
    assert (st.ones((2, 2)) @ st.ones((2, 2), dtype=st.int64)).dtype == st.float32


@pytest.mark.parametrize("k", [1, 10, 100, 1000, 5000])
def test_accuracy(k: int, dtype: str, rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(s).astype(dtype) for s in ((13, k), (k, 17)))
    wide_a, wide_b = a.astype(np.longdouble), b.astype(np.longdouble)
    error = np.abs((tensor(a) @ tensor(b)).numpy() - wide_a @ wide_b)
    # Higham, Accuracy and Stability of Numerical Algorithms, section 3.5: k u |A| |B| at worst, √k u on average.
    limit = 2 * max(np.sqrt(k), 2) * np.finfo(dtype).eps / 2
    assert (error <= limit * (np.abs(wide_a) @ np.abs(wide_b))).all()


@pytest.mark.host(reason="memory shared with NumPy")
def test_few_rows_by_many_columns(dtype: str, threads: None, rng: np.random.Generator) -> None:
    """A·Bᵀ where A and C are turned over in place of B: every edge, any step of the rows, nothing beside the result."""
    whole = small(rng, (80, 260), dtype)
    for m in (12, 13, 16, 17, 24, 31, 32, 33, 47, 64):
        for n in (m, 2 * m + 1, 6 * m + 5):
            for k in (16, 3 * m + 1, 200):
                a, b = whole[:m, :k], np.resize(small(rng, (97, k), dtype), (n, k))
                for x, y in ((a, b), (a[::-1], b[::-1])):
                    for count in (1, 2, 3):
                        st.set_num_threads(count)
                        out = np.full((m + 2, n + 3), 7, dtype)
                        st.kernels.matmul(x, y.T, out[1:-1, 1:-2])
                        expected = np.full_like(out, 7)
                        expected[1:-1, 1:-2] = x @ y.T
                        assert_same(out, expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_nan_and_inf_stay_in_their_rows_and_columns(dtype: str, transposed: bool) -> None:
    a, b = np.ones((30, 40), dtype), np.ones((40, 150), dtype)
    a[3, 5], b[7, 11], b[9, 13] = np.nan, np.inf, -np.inf
    a[6, 7] = 0  # 0·∞
    with np.errstate(invalid="ignore"):
        expected = a @ b
    assert np.isnan(expected[6, 11])
    y = tensor(b.T.copy()).T if transposed else tensor(b)
    assert_same((tensor(a) @ y).numpy(), expected)


def test_neighbours_and_threads_do_not_change_a_bit(dtype: str, threads: None, rng: np.random.Generator) -> None:
    """An element depends on its row and its column only: not on the shape around it, nor on the number of threads."""
    a, b = (tensor(rng.standard_normal(s).astype(dtype)) for s in ((211, 300), (300, 190)))
    st.set_num_threads(1)
    whole = (a @ b).numpy()
    few, columns = a[:20], tensor(b.numpy().T.copy())
    of_few = (few @ columns.T).numpy()
    for n in (2, 3, 8):
        st.set_num_threads(n)
        assert_same((a @ b).numpy(), whole)
        assert_same((few @ columns.T).numpy(), of_few)
    batch = tensor(rng.standard_normal((9, 30, 40)).astype(dtype))
    results = []
    for n in (1, 2, 5):
        st.set_num_threads(n)
        results.append((batch @ batch.mT).numpy())
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


# --- gradients --------------------------------------------------------------------------------------------------------


def random(rng: np.random.Generator, *shape: int, grad: bool = True) -> st.Tensor:
    return st.tensor(rng.standard_normal(shape), requires_grad=grad)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *(((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4))),
        *(((5, 1, 2, 3), (4, 3, 2)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,)), ((1, 2, 3), (5, 3, 1))),
    ],
)
def test_matmul_gradients(a: tuple[int, ...], b: tuple[int, ...], rng: np.random.Generator) -> None:
    inputs = [random(rng, *a), random(rng, *b)]
    assert st.autograd.gradcheck(st.matmul, inputs)
    for i in range(2):
        weights = random(rng, *inputs[i].shape, grad=False)
        assert st.autograd.gradcheck(
            lambda x, y, i=i, w=weights: st.grad(st.sin(x @ y).sum(), (x, y), create_graph=True)[i] * w, inputs
        )
        fixed = [x.detach() if i == j else x for j, x in enumerate(inputs)]
        assert st.autograd.gradcheck(st.matmul, fixed)


ACTIVATIONS = {None: lambda x: x, "relu": st.relu, "sigmoid": st.sigmoid, "tanh": st.tanh}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lead", [(), (7,), (2, 3), (0,)])
def test_linear_is_its_composition(
    activation: Any, bias: bool, lead: tuple[int, ...], rng: np.random.Generator
) -> None:
    x, w, b = random(rng, *lead, 5), random(rng, 4, 5), random(rng, 4) if bias else None
    inputs = [t for t in (x, w, b) if t is not None]

    def plain(x: st.Tensor, w: st.Tensor, b: st.Tensor | None = None) -> st.Tensor:
        y = x @ w.T
        return ACTIVATIONS[activation](y if b is None else y + b)

    def fused(x: st.Tensor, w: st.Tensor, b: st.Tensor | None = None) -> st.Tensor:
        return st.linear(x, w, b, activation)

    def firsts(f: Any) -> tuple[st.Tensor, ...]:
        return st.grad((f(*inputs) * weights).sum(), inputs, create_graph=True)

    weights = random(rng, *lead, 4, grad=False)
    np.testing.assert_allclose(fused(*inputs).numpy(), plain(*inputs).detach().numpy(), rtol=1e-13, atol=1e-14)
    for got, expected in zip(firsts(fused), firsts(plain), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-13, atol=1e-13)
    if lead != (0,):
        seconds = [st.grad(sum((g * g).sum() for g in firsts(f)), inputs, allow_unused=True) for f in (fused, plain)]
        for got, expected in zip(*seconds, strict=True):
            if (
                expected is None or got is None
            ):  # without an activation, or with relu, the bias has no second derivative
                assert got is expected is None
                continue
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-12, atol=1e-12)
        assert st.autograd.gradcheck(fused, inputs)


def test_linear_in_float32_is_exact_on_integers(rng: np.random.Generator) -> None:
    for m, k, n in ((1, 3, 2), (33, 17, 9), (4, 64, 300), (21, 90, 61)):
        x, w, b = small(rng, (m, k), "float32"), small(rng, (n, k), "float32"), small(rng, (n,), "float32")
        y = x @ w.T + b
        assert_same(st.linear(tensor(x), tensor(w), tensor(b)).numpy(), y)
        assert_same(st.linear(tensor(x), tensor(w), tensor(b), "relu").numpy(), np.maximum(y, 0), zero_sign=False)
        assert_same(st.linear(tensor(x[:, ::-1]), tensor(w[:, ::-1]), tensor(b[::-1][::-1])).numpy(), y)
    nan = st.linear(tensor(np.full((1, 2), np.nan, "f4")), st.ones((3, 2)), None, "relu")
    assert np.isnan(nan.numpy()).all()


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_residual_is_added_before_the_activation(activation: Any, bias: bool, rng: np.random.Generator) -> None:
    w, b = random(rng, 4, 5), random(rng, 4) if bias else None
    for lead in ((3,), (), (2, 3), (0,)):
        x, r = random(rng, *lead, 5), random(rng, *lead, 4)
        inputs = [t for t in (x, r, w, b) if t is not None]

        def plain(x: st.Tensor, r: st.Tensor, w: st.Tensor, b: Any = None) -> st.Tensor:
            y = x @ w.T + r
            return ACTIVATIONS[activation](y if b is None else y + b)

        def fused(x: st.Tensor, r: st.Tensor, w: st.Tensor, b: Any = None) -> st.Tensor:
            return st.linear(x, w, b, activation, residual=r)

        if lead != (0,):
            check_same_function(fused, plain, inputs)
            assert st.autograd.gradcheck(fused, inputs)
        else:
            assert fused(*inputs).shape == (0, 4)


@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 3, 2), (33, 17, 9), (4, 64, 300), (21, 1200, 61), (40, 5, 1), (130, 700, 90)]
)
def test_a_residual_is_exact_on_integers(m: int, k: int, n: int, dtype: str, rng: np.random.Generator) -> None:
    x, w, b, r = (small(rng, shape, dtype) for shape in ((m, k), (n, k), (n,), (m + 1, n)))
    y = x @ w.T + b + r[1:]
    for weight in (tensor(w), tensor(w.T.copy()).T):  # contiguous along k, and across it
        for residual in (tensor(r)[1:], tensor(r.T.copy()).T[1:]):  # which aren't aligned to the result
            assert_same(st.linear(tensor(x), weight, tensor(b), residual=residual).numpy(), y)
            relu = st.linear(tensor(x), weight, tensor(b), "relu", residual=residual).numpy()
            assert_same(relu, np.maximum(y, 0), zero_sign=False)
            assert_same(residual.numpy(), r[1:])


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_a_residual_of_halves_is_rounded_once(half: str, rng: np.random.Generator) -> None:
    x, w, b, r = (tensor(rng.standard_normal(s)).astype(half) for s in ((7, 40), (9, 40), (9,), (7, 9)))
    y = st.linear(x, w, b, "relu", residual=r)
    wide = [v.astype("float64").numpy() for v in (x, w, b, r)]
    exact = np.maximum(wide[0] @ wide[1].T + wide[2] + wide[3], 0)
    eps = 2.0**-8 if half == "bfloat16" else 2.0**-11
    assert y.dtype is getattr(st, half)
    np.testing.assert_allclose(y.astype("float64").numpy(), exact, rtol=1.02 * eps, atol=1e-5)


def test_layers_take_a_residual(rng: np.random.Generator) -> None:
    x, r = (tensor(rng.standard_normal(s).astype("f4")) for s in ((6, 5), (6, 4)))
    for activation in ("relu", "gelu", None):
        layer = st.nn.Linear(5, 4, activation=activation)
        then = st.nn.activations.activation_function("Linear", activation) if activation else (lambda y: y)
        expected = then(x @ layer.weight.T + layer.bias + r).detach().numpy()
        np.testing.assert_allclose(layer(x, r).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer(x, r.numpy()).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"residual of shape \(4,\): it is added to a result of shape \(6, 4\)"):
        layer(x, r[0])
    for other in (r.astype("float64"), r.tolist()):  # cast, as the input is
        assert layer(x, other).dtype is st.float32
    with pytest.raises(TypeError, match="one floating-point dtype; input float32, weight float32, residual float64"):
        st.linear(x, layer.weight, residual=r.astype("float64"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_autocast_leaves_a_residual_its_digits(activation: Any, rng: np.random.Generator) -> None:
    x, r = (tensor(rng.standard_normal(s).astype("f4")) for s in ((6, 5), (6, 4)))
    layer = st.nn.Linear(5, 4, activation=activation)
    with st.autocast("bfloat16"):
        wide, low = layer(x, r + 100), layer(x, (r + 100).astype("bfloat16"))
        plain = st.nn.Linear(5, 4)
        plain.load_state_dict(layer.state_dict())
        expected = ACTIVATIONS[activation](plain(x) + (r + 100))
    assert (wide.dtype, low.dtype) == (st.float32, st.bfloat16)
    assert_same(wide.detach().numpy(), expected.detach().numpy())


@pytest.mark.parametrize(("m", "k", "n"), [(1, 5000, 64), (64, 4096, 33), (3, 4096, 50)])
def test_a_large_residual_is_added_last(m: int, k: int, n: int, rng: np.random.Generator) -> None:
    """Added first, it would round every sum at its own size."""
    x, w = (rng.standard_normal(s).astype("f4") for s in ((m, k), (n, k)))
    r = (rng.standard_normal((m, n)) * 1e5).astype("f4")
    for weight in (tensor(w), tensor(w.T.copy()).T):
        product = st.linear(tensor(x), weight).numpy()
        np.testing.assert_allclose(product, x.astype("f8") @ w.T.astype("f8"), atol=1e-3)
        np.testing.assert_array_max_ulp(st.linear(tensor(x), weight, residual=tensor(r)).numpy(), product + r, 1)


def test_matmul_against_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for _ in range(25):
        m, k, n = (int(v) for v in rng.integers(1, 9, 3))
        batch = [int(v) for v in rng.integers(1, 4, 3)]
        shapes = []
        for core in ((m, k), (k, n)):
            lead = [v if rng.random() < 0.6 else 1 for v in batch][int(rng.integers(0, 4)) :]
            shapes.append((*lead, *core))
        a, b = (rng.standard_normal(s) for s in shapes)
        x, y = (st.tensor(v, requires_grad=True) for v in (a, b))
        t, u = (torch.tensor(v, requires_grad=True) for v in (a, b))
        out, expected = x @ y, t @ u
        g = rng.standard_normal(out.shape)
        out.backward(tensor(g))
        expected.backward(torch.tensor(g))
        for got, want in ((out, expected), (x.grad, t.grad), (y.grad, u.grad)):
            np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (4, 3, 6)),
        ((), (2, 3)),
        ((0,), (0,)),
    ],
)
def test_dot(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=a), rng.normal(size=b)
    np.testing.assert_allclose(st.dot(st.tensor(x), st.tensor(y)).numpy(), np.dot(x, y), rtol=1e-12)
    with pytest.raises(ValueError, match="matmul"):
        st.dot(st.ones(3), st.ones((2, 3)))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    ("ord", "axis"),
    [(None, None), (None, 1), (None, (0, 2)), (3, 0), (np.inf, -1), (0, 2), *(
        (ord, axis) for ord in ("fro", 1, -1, np.inf, -np.inf) for axis in ((0, 1), (2, 0), (-1, -2))
    )],
)  # fmt: skip
def test_norm(ord: object, axis: object, keepdims: bool) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    expected = np.linalg.norm(x, ord, axis, keepdims)  # type: ignore[call-overload]
    y = st.norm(st.tensor(x), ord, axis, keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
    if ord != 0:
        leaf = st.tensor(x, requires_grad=True)
        assert st.autograd.gradcheck(lambda v: st.norm(v, ord, axis, keepdims), [leaf])


def test_norm_of_whole_tensors() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    for ord in (None, "fro", 1, -1, np.inf, -np.inf):
        np.testing.assert_allclose(st.norm(st.tensor(x), ord).item(), np.linalg.norm(x, ord), rtol=1e-12)
        if ord != "fro":
            np.testing.assert_allclose(st.norm(st.tensor(x[0]), ord).item(), np.linalg.norm(x[0], ord), rtol=1e-12)
    for bad in (2, "nuc", 3):
        with pytest.raises(ValueError, match=r"use numpy\.linalg\.norm"):
            st.norm(st.ones((2, 2)), bad)
    with pytest.raises(ValueError, match="give one axis or two"):
        st.norm(st.ones((2, 2, 2)), 1)
