"""steep.autocast: which operations compute in which dtype, gradients, kept casts, nesting and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import autocasting, nn
from steep.autograd import checkpoint

LOW = [st.bfloat16, st.float16]
low = pytest.mark.parametrize("low", LOW, ids=lambda t: t.name)

A, B = np.random.default_rng(0).normal(size=(2, 5, 5)).astype(np.float32)
POSITIVE = np.abs(A) / 8 + 0.25  # in the domain of logarithms and of inverse cosines
LABELS = np.array([0, 4, 2, 1, 3])
SIGNS = np.where(A > 0, 1, -1)

# As in PyTorch, on CUDA: autocast's lists in https://docs.pytorch.org/docs/stable/amp.html
PRODUCTS: dict[str, Callable[..., st.Tensor]] = {
    "matmul": st.matmul,
    "operator": lambda a, b: a @ b,
    "matrix and vector": lambda a, b: a @ b[0],
    "vector and matrix": lambda a, b: a[0] @ b,
    "linear": lambda a, b: st.linear(a, b, a[0]),
    "linear without bias": st.linear,
    "linear and activation": lambda a, b: st.linear(a, b, a[0], "tanh"),
    "einsum": lambda a, b: st.einsum("ij,jk->ik", a, b),
    "einsum of three": lambda a, b: st.einsum("ij,jk,kl->il", a, b, a),
    "tensordot": lambda a, b: st.tensordot(a, b, 1),
    "dot": st.dot,
    "bilinear": lambda a, b: st.bilinear(a, b, a.reshape(1, 5, 5)),
}
IN_FLOAT32: dict[str, Callable[[st.Tensor], st.Tensor]] = {
    **{name: getattr(st, name) for name in sorted(autocasting.IN_FLOAT32 - {"pow", "logaddexp"})},
    "pow": lambda x: st.pow(x, 3),
    "pow of tensors": lambda x: x**x,
    "rpow": lambda x: 2.0**x,
    "logaddexp": lambda x: st.logaddexp(x, x),
    "sum": lambda x: x.sum(0),
    "prod": lambda x: x.prod(1),
    "mean": lambda x: x.mean(),
    "var": lambda x: st.var(x, 0),
    "std": lambda x: st.std(x, 0),
    "cumulative_sum": lambda x: st.cumulative_sum(x, 0),
    "cumulative_prod": lambda x: st.cumulative_prod(x, 0),
    "logcumsumexp": lambda x: st.logcumsumexp(x, 0),
    "logsumexp": lambda x: st.logsumexp(x, 1),
    "softmax": st.softmax,
    "log_softmax": st.log_softmax,
    "layer_norm": lambda x: st.layer_norm(x, 5),
    "layer_norm with weight": lambda x: st.layer_norm(x, 5, x[0], x[1]),
    "batch_norm": lambda x: st.batch_norm(x, training=True),
    "group_norm": lambda x: st.group_norm(x, 1),
    "rms_norm": lambda x: st.rms_norm(x, 5),
    "vector_norm": lambda x: st.vector_norm(x, 0),
    "norm": lambda x: st.norm(x, 1, axis=(0, 1)),
    "cosine_similarity": lambda x: st.cosine_similarity(x, x[0]),
    "cdist": lambda x: st.cdist(x, x),
    "trace": st.trace,
    "cross_entropy": lambda x: st.cross_entropy(x, LABELS),
    "cross_entropy, smoothed": lambda x: st.cross_entropy(x, LABELS, label_smoothing=0.1),
    "nll_loss": lambda x: st.nll_loss(x, LABELS),
    "multi_margin_loss": lambda x: st.multi_margin_loss(x, LABELS),
    "mse_loss": lambda x: st.mse_loss(x, B, "none"),
    "l1_loss": lambda x: st.l1_loss(x, B, "none"),
    "huber_loss": lambda x: st.huber_loss(x, B, "none"),
    "smooth_l1_loss": lambda x: st.smooth_l1_loss(x, B),
    "kl_div": lambda x: st.kl_div(x, np.abs(B)),
    "poisson_nll_loss": lambda x: st.poisson_nll_loss(x, np.abs(B)),
    "gaussian_nll_loss": lambda x: st.gaussian_nll_loss(x, B, 2.0),
    "binary_cross_entropy": lambda x: st.binary_cross_entropy(x, np.ones_like(A)),
    "binary_cross_entropy_with_logits": lambda x: st.binary_cross_entropy_with_logits(x, np.ones_like(A)),
    "soft_margin_loss": lambda x: st.soft_margin_loss(x, SIGNS),
    "hinge_embedding_loss": lambda x: st.hinge_embedding_loss(x, SIGNS, "none"),
    "margin_ranking_loss": lambda x: st.margin_ranking_loss(x, B, SIGNS, "none"),
    "cosine_embedding_loss": lambda x: st.cosine_embedding_loss(x, B, SIGNS[0], "none"),
    "triplet_margin_loss": lambda x: st.triplet_margin_loss(x, B, A),
}
AS_THEY_ARE: dict[str, Callable[[st.Tensor], st.Tensor]] = {
    "add": lambda x: x + 1.5,
    "multiply": lambda x: x * x,
    "divide": lambda x: x / 3,
    "relu": st.relu,
    "tanh": st.tanh,
    "sigmoid": st.sigmoid,
    "gelu": st.gelu,
    "sin": st.sin,
    "sqrt": st.sqrt,
    "maximum": lambda x: st.maximum(x, 0.5),
    "max": lambda x: x.max(0),
    "transpose": lambda x: x.T,
    "index": lambda x: x[1:, 2],
    "concat": lambda x: st.concat([x, x]),
    "dropout": st.dropout,
    "embedding": lambda x: st.take(x, LABELS, 0),
}


@low
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_compute_in_16_bits(name: str, low: st.dtypes.DType) -> None:
    a, b = st.tensor(A), st.tensor(B)
    with st.autocast(low):
        y = PRODUCTS[name](a, b)
        mixed = PRODUCTS[name](a.astype(LOW[0]), b.astype(LOW[1]))
    assert y.dtype is low
    assert mixed.dtype is low
    np.testing.assert_array_equal(
        y.astype("float32").numpy(), PRODUCTS[name](a.astype(low), b.astype(low)).astype("float32").numpy()
    )
    assert PRODUCTS[name](a, b).dtype is st.float32


@low
@pytest.mark.parametrize("name", IN_FLOAT32)
def test_computed_in_float32(name: str, low: st.dtypes.DType) -> None:
    x = st.tensor(POSITIVE).astype(low)
    with st.autocast(low):
        y = IN_FLOAT32[name](x)
    assert y.dtype is st.float32
    np.testing.assert_array_equal(y.numpy(), IN_FLOAT32[name](x.astype("float32")).numpy())


@low
@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_computed_in_the_dtype_of_the_operands(name: str, low: st.dtypes.DType) -> None:
    with st.autocast(low):
        for dtype in (low, st.float32):
            assert AS_THEY_ARE[name](st.tensor(POSITIVE).astype(dtype)).dtype is dtype


@pytest.mark.parametrize("name", [*PRODUCTS, *IN_FLOAT32])
def test_float64_is_left_alone(name: str) -> None:
    a, b = st.tensor(POSITIVE.astype(np.float64)), st.tensor(B.astype(np.float64))
    arguments = (a, b) if name in PRODUCTS else (a,)
    function: Callable[..., Any] = {**PRODUCTS, **IN_FLOAT32}[name]
    expected = function(*arguments)
    with st.autocast("float16"):
        y = function(*arguments)
    assert y.dtype is st.float64
    np.testing.assert_array_equal(y.numpy(), expected.numpy())


def test_a_product_with_one_float64_is_what_it_is_outside() -> None:
    a, b = st.tensor(A), st.tensor(B.astype(np.float64))
    with st.autocast("bfloat16"):
        y = a @ b
    assert y.dtype is st.float64
    np.testing.assert_array_equal(y.numpy(), (a @ b).numpy())


def test_integers_are_left_alone() -> None:
    x = st.tensor([[1, 2], [3, 4]])
    with st.autocast("bfloat16"):
        assert (x @ x).dtype is st.int64
        assert x.sum().dtype is st.int64


def test_a_sum_with_a_dtype_has_it() -> None:
    x = st.full((3000,), 1.0, dtype="float16")
    with st.autocast("float16"):
        assert x.sum(dtype="float16").dtype is st.float16
        assert st.cumulative_sum(x, dtype="float16").dtype is st.float16


@low
def test_gradients_of_float32_weights_are_float32(low: st.dtypes.DType) -> None:
    x, w, v = (st.tensor(a, requires_grad=True) for a in (A, B, B[:1]))
    with st.autocast(low):
        h = st.linear(x, w, activation="relu")
        y = h @ v.T
        loss = (y.square() * 3).mean()
    assert (h.dtype, y.dtype, loss.dtype) == (low, low, st.float32)
    loss.backward()
    lows = [st.tensor(a).astype(low).requires_grad_() for a in (A, B, B[:1])]
    by_hand = ((st.linear(lows[0], lows[1], activation="relu") @ lows[2].T).astype("float32").square() * 3).mean()
    by_hand.backward()
    assert by_hand.item() == loss.item()
    for ours, theirs in zip((x, w, v), lows, strict=True):
        assert ours.grad.dtype is st.float32
        np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.astype("float32").numpy())


@low
def test_backward_inside_is_backward_outside(low: st.dtypes.DType) -> None:
    def gradients(inside: bool) -> list[Any]:
        st.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 7, activation="silu"), nn.LayerNorm(7), nn.Linear(7, 5))
        with st.autocast(low):
            loss = st.cross_entropy(model(st.tensor(A)), LABELS)
            if inside:
                loss.backward()
                assert st.is_autocast_enabled()
        if not inside:
            loss.backward()
        return [p.grad.numpy() for p in model.parameters()]

    for a, b in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_gradients() -> None:
    x, w = st.tensor(A, requires_grad=True), st.tensor(B, requires_grad=True)
    with st.autocast("bfloat16"):
        y = st.tanh(x @ w).square().sum()
        (g,) = st.grad(y, x, create_graph=True)
        assert g.dtype is st.float32
        penalty = (g @ w).square().mean()
        penalty.backward()
    a, b = (st.tensor(v.astype(np.float64), requires_grad=True) for v in (A, B))
    (exact,) = st.grad(st.tanh(a @ b).square().sum(), a, create_graph=True)
    (exact @ b).square().mean().backward()
    for ours, right in ((x.grad, a.grad), (w.grad, b.grad)):
        assert ours.dtype is st.float32
        error = np.abs(ours.numpy() - right.numpy()).max() / np.abs(right.numpy()).max()
        assert error < 16 * 2.0**-8, error


@low
def test_a_checkpoint_computes_again_in_the_same_dtypes(low: st.dtypes.DType) -> None:
    def gradients(run: Callable[[nn.Module, st.Tensor], st.Tensor]) -> list[Any]:
        st.manual_seed(1)
        layer = nn.Linear(5, 5, activation="tanh")
        with st.autocast(low):
            h = layer(st.tensor(A))  # the weight's cast is kept from here
            loss = run(layer, h).square().mean()
        loss.backward()
        return [p.grad.numpy() for p in layer.parameters()]

    plain = gradients(lambda layer, h: layer(h))
    again = gradients(checkpoint)
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=2.0**-7)  # the two casts' gradients are rounded apart


def test_a_checkpoint_outside_of_the_block_of_its_backward() -> None:
    w = st.tensor(B, requires_grad=True)
    y = checkpoint(lambda x: (x @ w).square(), st.tensor(A))
    with st.autocast("bfloat16"):
        y.sum().backward()
    expected = st.tensor(B, requires_grad=True)
    (st.tensor(A) @ expected).square().sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), expected.grad.numpy())


# --- kept casts -------------------------------------------------------------------------------------------------------


def casts_of(w: st.Tensor, products: Callable[[], list[st.Tensor]]) -> int:
    """In how many casts of w the products end, by their nodes."""
    return len({id(y._node.edges[1]) for y in products() if y._node.edges[1].edges[0] is w})


def test_a_weight_is_cast_once_in_a_block() -> None:
    x, w = st.tensor(A), st.tensor(B, requires_grad=True)

    def products() -> list[st.Tensor]:
        with st.autocast("bfloat16"):
            first = x @ w
            with st.autocast("bfloat16"):  # the cast outlives an inner block
                second = x @ w
            with st.autocast("float16"):
                third = x @ w
            return [first, second, third, x @ w]

    kept = products()
    assert casts_of(w, lambda: kept) == 2  # one for each dtype
    assert casts_of(w, lambda: [*kept, *products()]) == 4  # and in each block
    with st.autocast("bfloat16", cache_enabled=False):
        apart = [x @ w, x @ w]
    assert casts_of(w, lambda: apart) == 2


def test_a_weight_that_changes_is_cast_again() -> None:
    x, w = st.tensor(A), st.tensor(B, requires_grad=True)
    with st.autocast("bfloat16"):
        _ = x @ w
        with st.no_grad():
            w.mul_(2.0)
        np.testing.assert_array_equal((x @ w).detach().astype("float32").numpy(), product(A, 2 * B))
        w.requires_grad = False
        w.copy_(B)
        np.testing.assert_array_equal((x @ w).astype("float32").numpy(), product(A, B))


def product(a: Any, b: Any) -> Any:
    a, b = (st.tensor(v).astype(st.bfloat16) for v in (a, b))
    return (a @ b).astype("float32").numpy()


def test_a_cast_made_without_a_graph_is_not_used_with_one() -> None:
    x, w = st.tensor(A), st.tensor(B, requires_grad=True)
    with st.autocast("bfloat16"):
        with st.no_grad():
            assert not (x @ w).requires_grad
        assert (x @ w).requires_grad
        with st.no_grad():
            assert not (x @ w).requires_grad


def test_several_steps_in_one_block() -> None:
    model = nn.Linear(5, 1)
    optimizer = st.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with st.autocast("bfloat16"):
        for _ in range(3):
            optimizer.zero_grad()
            for _ in range(2):  # two passes before the weights change
                loss = st.mse_loss(model(st.tensor(A)), B[:, :1])
                loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


def test_casts_are_forgotten_at_the_end() -> None:
    w = st.tensor(B, requires_grad=True)
    with st.autocast("bfloat16"):
        _ = st.tensor(A) @ w
        assert autocasting._thread.policy.casts
    assert autocasting._thread.policy.casts is None
    assert autocasting.blocks == 0


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_blocks_nest() -> None:
    a, b = st.tensor(A), st.tensor(B)
    assert not st.is_autocast_enabled()
    with st.autocast("bfloat16"):
        assert (a @ b).dtype is st.bfloat16
        with st.autocast(enabled=False):
            assert not st.is_autocast_enabled()
            assert (a @ b).dtype is st.float32
            assert st.exp(a.astype("float16")).dtype is st.float16
            with st.autocast("float16"):
                assert (a @ b).dtype is st.float16
        assert (a @ b).dtype is st.bfloat16
        with pytest.raises(ValueError, match="no"), st.autocast("float16"):
            raise ValueError("no")
        assert (a @ b).dtype is st.bfloat16
    assert (a @ b).dtype is st.float32
    assert (autocasting.blocks, st.is_autocast_enabled()) == (0, False)


def test_one_object_in_several_blocks() -> None:
    block = st.autocast(st.bfloat16)
    with block, block:
        assert (st.tensor(A) @ st.tensor(B)).dtype is st.bfloat16
    with block:
        assert (st.tensor(A) @ st.tensor(B)).dtype is st.bfloat16
    assert repr(block) == "autocast('bfloat16', enabled=True, cache_enabled=True)"


def test_as_a_decorator() -> None:
    @st.autocast("float16")
    def function(x: st.Tensor, deep: int = 2) -> st.Tensor:
        """Says something."""
        return function(x, deep - 1) if deep else x @ x

    assert function(st.tensor(A)).dtype is st.float16
    assert function.__doc__ == "Says something."
    assert not st.is_autocast_enabled()
    with pytest.raises(TypeError, match=r"autocast cannot decorate a generator: use 'with steep.autocast\(\):' inside"):

        @st.autocast("float16")
        def numbers() -> Any:
            yield 1


def test_other_threads_are_outside() -> None:
    found = []

    def look() -> None:
        found.append((st.tensor(A) @ st.tensor(B)).dtype)
        with st.autocast("float16"):
            found.append((st.tensor(A) @ st.tensor(B)).dtype)

    with st.autocast("bfloat16"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert (st.tensor(A) @ st.tensor(B)).dtype is st.bfloat16
    assert found == [st.float32, st.float16]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cuda",), r"the dtype comes first, not 'cuda': each tensor is computed with where it is"),
        (("float32",), r'must be "bfloat16" or "float16": for float32, autocast\(enabled=False\)'),
        ((st.float32,), r'must be "bfloat16" or "float16": for float32'),
        ((st.float64,), r"must be .*, not 'float64'"),
        (("float8",), r"must be .*, not 'float8'"),
        ((3,), r"must be .*, not 3"),
        ((None,), r"must be .*, not None"),
        ((st.ones(2),), r"must be "),
    ],
)
def test_other_dtypes(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"autocast: .*{message}"):
        st.autocast(*arguments)


def test_layers_take_what_others_give() -> None:
    model = nn.Sequential(
        nn.Linear(5, 8, activation="gelu"), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 3)
    )
    with st.autocast("bfloat16"):
        y = model(st.tensor(A))
        assert y.dtype is st.bfloat16
        assert model[0](st.tensor(A).astype("bfloat16")).dtype is st.bfloat16
    y.astype("float32").sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {st.float32}
    assert model[1].running_mean.dtype is st.float32


def test_a_warning_of_a_loss_still_comes() -> None:
    layer = nn.Linear(5, 1, activation="sigmoid")
    with st.autocast("bfloat16"):
        y = layer(st.tensor(A))
        with pytest.warns(UserWarning, match="wants logits and applies sigmoid itself"):
            st.binary_cross_entropy_with_logits(y, np.ones((5, 1)))


# --- PyTorch ----------------------------------------------------------------------------------------------------------


@low
def test_a_network_is_pytorchs(low: st.dtypes.DType) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(3)
    x = rng.normal(size=(32, 20)).astype(np.float32)
    labels = rng.integers(0, 4, 32)
    arrays = [rng.normal(size=shape).astype(np.float32) / 4 for shape in ((16, 20), (16,), (4, 16), (4,))]
    ours = [st.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    with st.autocast(low):
        h = st.linear(st.tensor(x), ours[0], ours[1], "relu")
        y = st.linear(h, ours[2], ours[3])
        loss = st.cross_entropy(y, labels)
    with torch.autocast("cpu", getattr(torch, low.name)):
        g = functional.linear(torch.tensor(x), theirs[0], theirs[1]).relu()
        z = functional.linear(g, theirs[2], theirs[3])
        right = functional.cross_entropy(z, torch.tensor(labels))
    for a, b in ((h, g), (y, z), (loss, right)):
        assert f"torch.{a.dtype.name}" == str(b.dtype)
    eps = 2.0**-7 if low is st.bfloat16 else 2.0**-10
    np.testing.assert_allclose(y.detach().astype("float32").numpy(), z.detach().float().numpy(), rtol=eps, atol=eps)
    np.testing.assert_allclose(loss.item(), right.item(), rtol=eps)
    loss.backward()
    right.backward()
    for a, b in zip(ours, theirs, strict=True):
        assert f"torch.{a.grad.dtype.name}" == str(b.grad.dtype) == "torch.float32"
        scale = float(b.grad.abs().max())
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=0, atol=2 * eps * scale)
