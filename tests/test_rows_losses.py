"""Softmax, layer norm, dropout and the losses: against their definitions, their plain compositions and PyTorch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same, check_same_function, ulp

inf, nan = math.inf, math.nan
LENGTHS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 1000]


def tensor(x: Any) -> st.Tensor:
    return st.asarray(np.asarray(x))


def softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# --- softmax ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", LENGTHS)
def test_softmax_accuracy(n: int, dtype: str, rng: np.random.Generator) -> None:
    for scale in (1, 20):
        x = (rng.standard_normal((3, n)) * scale).astype(dtype)
        wide = softmax(x.astype(np.longdouble))
        y = st.softmax(tensor(x)).numpy()
        # x - max is rounded to half an ulp, which becomes a relative error of the result.
        limit = (4 + np.abs(x - x.max(-1, keepdims=True))) * ulp(wide.astype(dtype))
        assert (np.abs(y - wide) <= limit).all()
        log = st.log_softmax(tensor(x)).numpy()
        # x - logsumexp(x): an error of an ulp of the larger of the two
        limit = 3 * ulp(np.maximum(np.abs(np.log(wide)), np.abs(x)).astype(dtype))
        assert (np.abs(log - np.log(wide)) <= limit).all()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_axes_and_layouts(name: str, axis: int, dtype: str, rng: np.random.Generator) -> None:
    function = getattr(st, name)
    base = tensor(rng.standard_normal((5, 6, 40)).astype(dtype))
    for x in (base, base[:, ::-1, ::3], base.permute_dims(2, 0, 1), base[:1].broadcast_to((4, 6, 40))):
        expected = function(tensor(np.moveaxis(x.numpy(), axis, -1).copy()), -1).numpy()
        assert_same(np.moveaxis(function(x, axis).numpy(), axis, -1), expected)


@pytest.mark.parametrize(
    ("rows", "n"), [(1, 10), (63, 10), (64, 10), (65, 10), (200, 3), (130, 64), (130, 65), (3, 4097)]
)
def test_a_rows_logarithm_does_not_depend_on_the_rows_beside_it(
    rows: int, n: int, dtype: str, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((rows, n)).astype(dtype)
    x[rows // 2] = nan
    labels = rng.integers(0, n, rows)
    each = [tensor(x[i : i + 1]) for i in range(rows)]
    for f in (st.log_softmax, lambda x: st.logsumexp(x, axis=1)):
        assert_same(f(tensor(x)).numpy(), np.concatenate([f(row).numpy() for row in each]))
    loss = st.cross_entropy(tensor(x), tensor(labels), reduction="none").numpy()
    assert np.flatnonzero(np.isnan(loss)).tolist() == [rows // 2]
    for i, row in enumerate(each):
        leaf = tensor(row.numpy()).requires_grad_()
        recorded = st.cross_entropy(leaf, tensor(labels[i : i + 1]))
        assert_same(st.cross_entropy(row, tensor(labels[i : i + 1]), reduction="none").numpy(), loss[i : i + 1])
        np.testing.assert_allclose(recorded.numpy(), loss[i], rtol=4 * np.finfo(dtype).eps)


def test_softmax_special_values(dtype: str) -> None:
    lines = {
        (-inf, 0.0, -inf): (0, 1, 0), (1e4, 1e4): (0.5, 0.5), (-1e4, -1e4): (0.5, 0.5), (1e4, -1e4): (1, 0),
        (nan, 1.0): (nan, nan), (inf, 1.0): (nan, nan), (-inf, -inf): (nan, nan), (3.0,): (1,),
    }  # fmt: skip
    for x, y in lines.items():
        assert_same(st.softmax(tensor(np.array(x, dtype))).numpy(), np.array(y, dtype))
        with np.errstate(divide="ignore"):
            finite = np.array([0.0 if math.isnan(v) else v for v in x])
            expected = np.log(softmax(finite)) if not any(map(math.isnan, y)) else np.array(y)
        if x != (1e4, -1e4):
            got = st.log_softmax(tensor(np.array(x, dtype))).numpy()
            np.testing.assert_allclose(got, expected, rtol=2 * np.finfo(dtype).eps)
    assert st.log_softmax(tensor(np.array([1e4, -1e4], dtype))).tolist() == [0, -2e4]
    for shape in ((0, 3), (3, 0), (0,)):
        assert st.softmax(st.zeros(shape)).shape == shape


@pytest.mark.parametrize("axis", [0, -1])
def test_softmax_is_its_composition(axis: int, rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal((4, 5)), requires_grad=True)

    def plain(x: st.Tensor) -> st.Tensor:
        e = st.exp(x)
        return e / e.sum(axis, keepdims=True)

    check_same_function(lambda x: st.softmax(x, axis), plain, [x])
    check_same_function(lambda x: st.log_softmax(x, axis), lambda x: st.log(plain(x)), [x])
    for f in (st.softmax, st.log_softmax):
        assert st.autograd.gradcheck(lambda x, f=f: f(x, axis), [x])


# --- layer norm and dropout -------------------------------------------------------------------------------------------


def plain_layer_norm(
    x: st.Tensor, weight: st.Tensor | None, bias: st.Tensor | None, axes: int, eps: float
) -> st.Tensor:
    last = tuple(range(-axes, 0))
    y = (x - x.mean(last, keepdims=True)) / st.sqrt(x.var(last, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@pytest.mark.parametrize(("shape", "axes"), [((4, 7), 1), ((2, 3, 5), 1), ((2, 3, 5), 2), ((6,), 1), ((3, 1, 33), 1)])
@pytest.mark.parametrize(("with_weight", "with_bias"), list(itertools.product([True, False], repeat=2)))
def test_layer_norm_is_its_composition(
    shape: tuple[int, ...], axes: int, with_weight: bool, with_bias: bool, rng: np.random.Generator
) -> None:
    inner = shape[-axes:]
    x = st.tensor(rng.standard_normal(shape) + 3, requires_grad=True)
    weight, bias = (st.tensor(rng.standard_normal(inner), requires_grad=True) for _ in "wb")

    def arguments(*parameters: st.Tensor) -> tuple[st.Tensor | None, st.Tensor | None]:
        given = list(parameters)
        return given.pop(0) if with_weight else None, given.pop(0) if with_bias else None

    parameters = [weight] * with_weight + [bias] * with_bias
    check_same_function(
        lambda x, *p: st.layer_norm(x, inner, *arguments(*p), eps=0.1),
        lambda x, *p: plain_layer_norm(x, *arguments(*p), axes, 0.1),
        [x, *parameters],
    )
    assert st.autograd.gradcheck(lambda x, *p: st.layer_norm(x, inner, *arguments(*p)), [x, *parameters])


def test_layer_norm_accuracy(dtype: str, rng: np.random.Generator) -> None:
    eps = np.finfo(dtype).eps
    for n in LENGTHS[1:]:
        x, w, b = rng.standard_normal((5, n)).astype(dtype), *(rng.standard_normal(n).astype(dtype) for _ in "wb")
        wide = x.astype(np.longdouble)
        normal = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
        got = st.layer_norm(tensor(x), n, tensor(w), tensor(b)).numpy()
        assert (np.abs(got - (normal * w + b)) <= 4 * eps * (np.abs(normal * w) + np.abs(b) + np.abs(w))).all()
        if n > 2:  # a large mean: one pass over x² would cancel
            far = st.layer_norm(tensor((x + 1000).astype(dtype)), n).numpy()
            shifted = (x + 1000).astype(dtype).astype(np.longdouble)
            scale = np.sqrt(shifted.var(-1, keepdims=True) + 1e-5)
            expected = (shifted - shifted.mean(-1, keepdims=True)) / scale
            assert (np.abs(far - expected) <= (1000 * eps / scale + 8 * eps) * (1 + np.abs(expected))).all()
    assert_same(st.layer_norm(tensor(np.full((2, 3), 7, dtype)), 3).numpy(), np.zeros((2, 3), dtype), zero_sign=False)
    assert st.layer_norm(st.zeros((0, 4)), 4).shape == (0, 4)


def test_dropout() -> None:
    x = st.full((400, 500), 2.0, requires_grad=True)
    y = st.dropout(x, 0.25)
    kept = y.detach().numpy() != 0
    assert_same(y.detach().numpy(), np.where(kept, np.float32(2 / 0.75), 0).astype("f4"))
    assert abs(kept.mean() - 0.75) < 4 * math.sqrt(0.25 * 0.75 / x.size)  # four standard deviations
    y.sum().backward()
    assert_same(x.grad.numpy(), np.where(kept, np.float32(1 / 0.75), 0).astype("f4"))
    assert st.dropout(x, 0.5, training=False) is x
    assert st.dropout(x, 0.0) is x
    assert not st.dropout(x, 1.0).detach().numpy().any()
    st.manual_seed(7)
    first = st.dropout(x, 0.5).detach().numpy()
    st.manual_seed(7)
    assert_same(st.dropout(x, 0.5).detach().numpy(), first)


@pytest.mark.parametrize("shape", [(700, 300), (3, 70_000), (70_000, 3), (40, 50, 60)])
def test_threads_do_not_change_a_bit(shape: tuple[int, ...], threads: None, rng: np.random.Generator) -> None:
    x, g = (tensor(rng.standard_normal(shape).astype("f4")) for _ in "xg")
    w = tensor(rng.standard_normal(shape[-1]).astype("f4"))
    labels = tensor(rng.integers(0, shape[1], (shape[0], *shape[2:])))

    def everything(n: int) -> list[Array]:
        st.set_num_threads(n)
        leaves = [st.tensor(t, requires_grad=True) for t in (x, w)]
        results = []
        for y in (
            st.softmax(leaves[0], 0), st.log_softmax(leaves[0]), st.softmax(leaves[0][..., ::-1], 1),
            st.layer_norm(leaves[0], shape[-1], leaves[1], leaves[1]), st.rms_norm(leaves[0], shape[-1], leaves[1]),
            st.cross_entropy(leaves[0], labels, "none"), st.cross_entropy(leaves[0], labels),
        ):  # fmt: skip
            gradients = st.grad(y, leaves, g if y.shape == g.shape else st.ones_like(y), allow_unused=True)
            results += [y.detach().numpy(), *(d.numpy() for d in gradients if d is not None)]
        return results

    one = everything(1)
    for n in (2, 5):
        for got, expected in zip(everything(n), one, strict=True):
            assert_same(got, expected)


# --- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis"), [((7, 5), 1), ((4,), 1), ((3, 5, 2), 1), ((2, 4, 3, 2), 1), ((3, 2, 6), -1)]
)
@pytest.mark.parametrize("how", ["mean", "sum", "none"])
def test_cross_entropy_is_its_composition(
    shape: tuple[int, ...], axis: int, how: str, rng: np.random.Generator
) -> None:
    x = st.tensor(rng.standard_normal(shape), requires_grad=True)
    axis = axis if len(shape) > 1 else 0
    classes = shape[axis]
    labels = tensor(rng.integers(0, classes, [n for i, n in enumerate(shape) if i != axis % len(shape)]))
    one_hot = np.moveaxis(np.eye(classes)[labels.numpy()], -1, axis)
    soft = rng.random(shape)
    soft /= soft.sum(axis, keepdims=True)

    def plain(target: Array) -> Callable[[st.Tensor], st.Tensor]:
        reduce = {"mean": st.mean, "sum": st.sum, "none": lambda t: t}[how]
        return lambda x: reduce(-(tensor(target) * st.log(st.softmax(x, axis))).sum(axis))

    for target, dense in ((labels, one_hot), (labels.astype(st.int32), one_hot), (tensor(soft), soft)):
        check_same_function(lambda x, t=target: st.cross_entropy(x, t, how, axis), plain(dense), [x])
        assert st.autograd.gradcheck(lambda x, t=target: st.cross_entropy(x, t, how, axis), [x])


def test_cross_entropy_accuracy_and_special_values(dtype: str, rng: np.random.Generator) -> None:
    for n in LENGTHS[1:]:
        x, labels = (rng.standard_normal((9, n)) * 5).astype(dtype), rng.integers(0, n, 9)
        true = -np.log(softmax(x.astype(np.longdouble)))[np.arange(9), labels]
        got = st.cross_entropy(tensor(x), tensor(labels), "none").numpy()
        assert (np.abs(got - true) <= 3 * ulp(np.maximum(true, np.abs(x).max(-1)).astype(dtype))).all()
    big = np.array([[1e4, -1e4], [1e4, -1e4]], dtype)
    assert st.cross_entropy(tensor(big), tensor([0, 1]), "none").tolist() == [0, 2e4]
    masked = st.tensor(np.array([[-inf, 0.0, 0.0]], dtype), requires_grad=True)
    loss = st.cross_entropy(masked, tensor([1]))
    assert float(loss) == np.dtype(dtype).type(math.log(2))
    assert st.grad(loss, masked)[0].tolist() == [[0, -0.5, 0.5]]
    assert math.isnan(float(st.cross_entropy(tensor(np.array([[nan, 1.0]], dtype)), tensor([1]))))


def test_losses_by_their_formulas(dtype: str, rng: np.random.Generator) -> None:
    p, t, x, y = rng.random(50), rng.random(50), rng.standard_normal(50) * 4, rng.standard_normal(50) * 4
    d = np.abs(x - y)
    for name, a, b, expected in (
        ("mse_loss", x, y, (x - y) ** 2),
        ("l1_loss", x, y, d),
        ("huber_loss", x, y, np.where(d < 1, d * d / 2, d - 0.5)),
        ("binary_cross_entropy", p, t, -(t * np.log(p) + (1 - t) * np.log1p(-p))),
        ("binary_cross_entropy_with_logits", x, t, np.logaddexp(0, x) - x * t),
    ):
        for how, reduce in (("mean", np.mean), ("sum", np.sum), ("none", lambda v: v)):
            got = getattr(st, name)(tensor(a.astype(dtype)), tensor(b.astype(dtype)), reduction=how)
            assert got.dtype.name == dtype
            np.testing.assert_allclose(got.numpy(), reduce(expected), rtol=60 * np.finfo(dtype).eps)
        leaf = st.tensor(a, requires_grad=True)
        target = st.tensor(b, requires_grad=True)
        assert st.autograd.gradcheck(getattr(st, name), [leaf, target])
        if name != "l1_loss":  # whose second derivative is 0
            assert st.autograd.gradcheck(
                lambda u, v, n=name: st.grad(getattr(st, n)(u, v, "sum"), u, create_graph=True)[0], [leaf, target]
            )
    assert float(st.huber_loss(tensor([3.0]), tensor([0.0]), delta=2.0)) == 2.0 * (3 - 1)


def test_binary_cross_entropy_at_the_ends() -> None:
    p = st.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = st.binary_cross_entropy(p, st.tensor([0.0, 1.0, 1.0, 0.0]), "none")
    assert loss.tolist() == [0, 0, 100, 100]
    assert np.isfinite(st.grad(loss.sum(), p)[0].numpy()).all()
    x = st.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    loss = st.binary_cross_entropy_with_logits(x, st.tensor([1.0, 0.0, 0.0, 1.0]), "none")
    assert loss.tolist() == [0, 0, 1e4, 1e4]
    assert st.grad(loss.sum(), x)[0].tolist() == [0, 0, 1, -1]


@pytest.mark.parametrize("how", ["mean", "sum", "none"])
def test_losses_against_torch(how: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    shape = (6, 4, 3)
    x, t, p, q = rng.standard_normal(shape) * 3, rng.standard_normal(shape), rng.random(shape), rng.random(shape)
    labels = rng.integers(0, 4, (6, 3))
    for name, a, b in (
        ("mse_loss", x, t), ("l1_loss", x, t), ("huber_loss", x, t), ("cross_entropy", x, labels),
        ("cross_entropy", x, q), ("binary_cross_entropy", p, q), ("binary_cross_entropy_with_logits", x, q),
    ):  # fmt: skip
        u, v = st.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
        theirs = getattr(f, name)(v, torch.tensor(b), reduction=how)
        ours = getattr(st, name)(u, tensor(b), reduction=how)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12, atol=1e-14)
        g = rng.standard_normal(ours.shape)
        theirs.backward(torch.tensor(g))
        ours.backward(tensor(g))
        np.testing.assert_allclose(u.grad.numpy(), v.grad.numpy(), rtol=1e-11, atol=1e-13)
