"""Normalisation, embeddings and the bilinear layer against PyTorch; clipping of gradients."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from against_torch import close, compare
from compare import Array, assert_same
from steep import nn


def normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def alike(ours: nn.Module, theirs: Any, seed: int = 9) -> tuple[nn.Module, Any]:
    """Both in float64, with the same random parameters."""
    ours, theirs = ours.to(st.float64), theirs.double()
    for (name, p), (other, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (name, p.shape) == (other, tuple(q.shape))
        values = normal(p.shape, seed)
        with st.no_grad():
            p.copy_(values)
        q.data.copy_(q.data.new_tensor(values))
    return ours, theirs


def check_layer(ours: nn.Module, theirs: Any, inputs: list[Any], second: bool = True) -> None:
    """Values and gradients by inputs and parameters."""
    names = [name for name, _ in ours.named_parameters()]
    arrays = [*inputs, *(p.detach().numpy().copy() for p in ours.parameters())]
    n = len(inputs)

    def ours_of(*tensors: Any) -> Any:
        vars(ours).update(zip(names, tensors[n:], strict=True))
        return ours(*tensors[:n])

    def theirs_of(*tensors: Any) -> Any:
        import torch

        return torch.func.functional_call(theirs, dict(zip(names, tensors[n:], strict=True)), tensors[:n])

    compare(ours_of, theirs_of, arrays, second)


# --- batch norm -------------------------------------------------------------------------------------------------------

BATCHES = [(6, 5), (2, 1), (7, 3, 4), (1, 3, 9), (33, 17)]


@pytest.mark.parametrize("shape", BATCHES)
@pytest.mark.parametrize(("affine", "tracked"), list(itertools.product((True, False), repeat=2)))
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(shape: tuple[int, ...], affine: bool, tracked: bool, training: bool, torch: Any) -> None:
    options = {"eps": 0.01, "affine": affine, "track_running_stats": tracked}
    ours, theirs = alike(nn.BatchNorm1d(shape[1], **options), torch.nn.BatchNorm1d(shape[1], **options))
    for seed in range(2):  # so that the running values are not the first ones
        x = 3 * normal(shape, seed) + 1
        ours(st.tensor(x))
        theirs(torch.tensor(x))
    ours.train(training)
    theirs.train(training)
    check_layer(ours, theirs, [normal(shape, 5)])


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
@pytest.mark.parametrize("shape", BATCHES)
def test_running_values(shape: tuple[int, ...], momentum: float | None, torch: Any) -> None:
    ours, theirs = alike(nn.BatchNorm1d(shape[1], momentum=momentum), torch.nn.BatchNorm1d(shape[1], momentum=momentum))
    for seed in range(4):
        x = 3 * normal(shape, seed) + seed
        ours(st.tensor(x))
        theirs(torch.tensor(x))
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for name, value in ours.state_dict().items():
            close(value, theirs.state_dict()[name], name)
    before = ours.state_dict()
    ours.eval()(st.tensor(x))
    assert all((value == before[name]).all() for name, value in ours.state_dict().items())


def test_batch_norm_state_moves_with_the_module() -> None:
    norm = nn.BatchNorm1d(3)
    norm(st.tensor(normal((4, 3))))
    assert {b.dtype for b in norm.buffers()} == {st.float32, st.int64}
    assert norm.running_mean is not None
    assert not norm.running_mean.requires_grad
    norm.to(st.float64)
    assert norm(st.ones(2, 3)).dtype is st.float64
    assert norm.running_var is not None
    assert norm.running_var.dtype is st.float64
    other = nn.BatchNorm1d(3)
    other.load_state_dict(norm.state_dict())
    assert int(other.num_batches_tracked) == 2
    twin = copy.deepcopy(norm)
    norm(st.ones(2, 3))
    assert int(twin.num_batches_tracked) == 2
    assert [name for name, _ in nn.BatchNorm1d(3, track_running_stats=False).named_buffers()] == []
    assert repr(nn.BatchNorm1d(3)) == "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"


def test_batch_norm_layouts_and_special_values(dtype: str) -> None:
    norm = nn.BatchNorm1d(4).to(dtype)
    base = normal((9, 8, 4)).astype(dtype)
    x = st.tensor(base)
    expected = norm(st.tensor(np.moveaxis(base, 1, 2).copy())).detach().numpy()
    np.testing.assert_allclose(norm(x.permute_dims(0, 2, 1)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    flipped = norm(st.tensor(base[:, 0])[::-1])
    np.testing.assert_allclose(flipped.detach().numpy(), norm(st.tensor(base[::-1, 0].copy())).detach().numpy(), 1e-6)
    far = norm(st.tensor((base[:, 0] + 1000).astype(dtype))).detach().numpy()  # one pass over x² would cancel
    np.testing.assert_allclose(far, norm(st.tensor(base[:, 0])).detach().numpy(), rtol=1e-2, atol=1e-3)
    constant = norm(st.full((5, 4), 7.0))
    assert not constant.detach().numpy().any()
    holed = base[:, 0].copy()
    holed[2, 1], holed[3, 2] = math.nan, math.inf
    y = norm(st.tensor(holed)).detach().numpy()
    assert np.isnan(y[:, 1:3]).all()
    assert np.isfinite(y[:, [0, 3]]).all()


def test_batch_norm_of_nothing_changes_nothing() -> None:
    norm = nn.BatchNorm1d(3)
    x = st.zeros((0, 3), requires_grad=True)
    y = norm(x)
    assert y.shape == (0, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 3)
    assert not norm.weight.grad.numpy().any()
    assert (norm.running_mean.tolist(), norm.running_var.tolist()) == ([0] * 3, [1] * 3)


def test_running_values_may_move_under_a_graph() -> None:
    norm = nn.BatchNorm1d(2).eval()
    x = st.tensor(normal((4, 2)).astype("f4"), requires_grad=True)
    y = norm(x).sum()
    norm.train()(x.detach())  # changes them in place
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / math.sqrt(1 + 1e-5), rtol=1e-6)


def test_batch_norm_gradients() -> None:
    for shape in ((5, 3), (3, 2, 4)):
        x, w, b = (
            st.tensor(a, requires_grad=True) for a in (normal(shape), normal(shape[1:2], 1), normal(shape[1:2], 2))
        )
        for parameters in ((), (w,), (w, b)):
            for check in (st.autograd.gradcheck, st.autograd.gradgradcheck):
                assert check(lambda x, *p: st.batch_norm(x, None, None, *p, training=True, eps=0.1), [x, *parameters])


def test_fit_with_batch_norm_and_embedding(rng: np.random.Generator) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            self.table = nn.Embedding(50, 8, padding_idx=0)
            self.norm = nn.BatchNorm1d(8)
            self.out = nn.Linear(8, 2)

        def forward(self, x: Any) -> st.Tensor:
            return self.out(self.norm(self.table(x).mean(1)))

    x = rng.integers(1, 50, (256, 6)) * (rng.random((256, 6)) < 0.8)
    y = ((x > 25).sum(1) > (x > 0).sum(1) / 2).astype(int)
    model = Words()
    model.compile(st.optim.Adam(model.parameters(), 0.02), "cross_entropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=20, verbose=0)
    assert history["accuracy"][-1] > 0.9
    assert model.evaluate(x, y)["accuracy"] > 0.9
    assert int(model.norm.num_batches_tracked) == 20 * 8
    assert not model.table.weight[0].detach().numpy().any()
    with pytest.raises(ValueError, match=r"BatchNorm1d 'norm' got input of shape \(1, 8\): one value per feature"):
        model.fit(x[:33], y[:33], verbose=0)


# --- group, layer and RMS norm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 5), (1, 6, 2, 3), (4, 6, 1)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("affine", [True, False])
def test_group_norm(shape: tuple[int, ...], groups: int, affine: bool, torch: Any) -> None:
    options = {"eps": 0.01, "affine": affine}
    check_layer(*alike(nn.GroupNorm(groups, 6, **options), torch.nn.GroupNorm(groups, 6, **options)), [normal(shape)])


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (4, 1), (0, 5)])
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm(shape: tuple[int, ...], axes: int, affine: bool, torch: Any) -> None:
    inner = shape[-axes:]
    for eps in (None, 0.1):
        ours, theirs = (library.RMSNorm(inner, eps=eps, elementwise_affine=affine) for library in (nn, torch.nn))
        check_layer(*alike(ours, theirs), [normal(shape)])


def test_norms_are_accurate(dtype: str) -> None:
    eps = np.finfo(dtype).eps
    for n in (1, 2, 7, 33, 1000):
        x, w = normal((6, n)).astype(dtype), normal((n,), 1).astype(dtype)
        wide = x.astype(np.longdouble)
        rms = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + eps)
        got = st.rms_norm(st.tensor(x), n, st.tensor(w)).numpy()
        assert got.dtype == dtype
        assert (np.abs(got - rms * w) <= 6 * eps * np.abs(rms * w)).all()
        batch = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
        got = st.batch_norm(st.tensor(x), weight=st.tensor(w), training=True).numpy()
        assert (np.abs(got - batch * w) <= 8 * eps * np.abs(w) * (1 + np.abs(batch))).all()


def test_norms_take_and_keep_their_dtypes() -> None:
    for layer in (nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.RMSNorm(4), nn.LayerNorm(4)):
        assert layer(normal((3, 4))).dtype is st.float32
        assert layer.to(st.float64)(np.ones((2, 4), "f4")).dtype is st.float64


# --- embedding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [None, 2, -1])
@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (0,), (2, 0, 3)])
def test_embedding(padding: int | None, shape: tuple[int, ...], torch: Any) -> None:
    ours, theirs = alike(nn.Embedding(5, 3, padding_idx=padding), torch.nn.Embedding(5, 3, padding_idx=padding))
    indices = np.asarray(np.random.default_rng(0).integers(0, 5, shape))
    for kind in ("int32", "int64"):
        x = st.tensor(indices.astype(kind))
        y, z = ours(x), theirs(torch.tensor(indices.astype(kind)))
        close(y, z)
        g = normal(y.shape)
        ours.zero_grad()
        theirs.zero_grad()
        y.backward(st.tensor(g))
        z.backward(torch.tensor(g))
        close(ours.weight.grad, theirs.weight.grad)
    w = st.tensor(normal((5, 3)), requires_grad=True)
    for check in (st.autograd.gradcheck, st.autograd.gradgradcheck):
        assert check(lambda w: st.embedding(x, w) ** 2, [w])


def test_embedding_parameters() -> None:
    layer = nn.Embedding(1000, 30, padding_idx=-1)
    values = layer.weight.detach().numpy()
    assert layer.padding_idx == 999
    assert not values[-1].any()
    assert values[:-1].std() == pytest.approx(1, rel=0.02)
    assert repr(layer) == "Embedding(1000, 30, padding_idx=999)"
    assert repr(nn.Embedding(4, 3)) == "Embedding(4, 3)"
    assert nn.Embedding(4, 3)([[0, 1]]).shape == (1, 2, 3)
    assert st.embedding([1, 0], [1.0, 2.0]).tolist() == [2, 1]


# --- bilinear ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [(), (5,), (2, 3), (0,)])
@pytest.mark.parametrize("bias", [True, False])
def test_bilinear(places: tuple[int, ...], bias: bool, torch: Any) -> None:
    ours, theirs = alike(nn.Bilinear(3, 4, 2, bias=bias), torch.nn.Bilinear(3, 4, 2, bias=bias))
    check_layer(ours, theirs, [normal((*places, 3)), normal((*places, 4), 1)])


def test_bilinear_starts_as_pytorchs_does() -> None:
    layer = nn.Bilinear(16, 20, 30)
    values = layer.weight.detach().numpy()
    assert np.abs(values).max() <= 1 / 4
    assert values.std() == pytest.approx(1 / 4 / math.sqrt(3), rel=0.03)
    assert layer([[1] * 16], np.ones((1, 20))).dtype is st.float32
    assert repr(layer) == "Bilinear(in1_features=16, in2_features=20, out_features=30, bias=True)"


# --- clipping gradients -----------------------------------------------------------------------------------------------


def with_gradients(torch: Any, scale: float = 1.0) -> tuple[list[st.Tensor], list[Any]]:
    ours, theirs = [], []
    for i, shape in enumerate(((3, 4), (7,), (), (0,), (2,))):
        g = np.asarray(normal(shape, i) * scale)
        ours.append(st.tensor(np.zeros(shape), requires_grad=True))
        theirs.append(torch.tensor(np.zeros(shape), requires_grad=True))
        if i != 4:  # which has none
            ours[-1].grad, theirs[-1].grad = st.tensor(g), torch.tensor(g)
    return ours, theirs


@pytest.mark.parametrize("norm_type", [2, 1, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e3, 0, math.inf])
def test_clip_grad_norm(norm_type: float, max_norm: float, torch: Any) -> None:
    ours, theirs = with_gradients(torch)
    got = nn.utils.clip_grad_norm_(iter(ours), max_norm, norm_type)
    theirs = [p for p in theirs if p.numel()]  # PyTorch refuses the largest of no elements
    close(got, torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type))
    for p, q in zip((p for p in ours if p.size), theirs, strict=True):
        close(p.grad, q.grad)


def test_clip_grad_value(torch: Any) -> None:
    ours, theirs = with_gradients(torch)
    assert nn.utils.clip_grad_value_(ours, 0.4) is None
    torch.nn.utils.clip_grad_value_(theirs, 0.4)
    for p, q in zip(ours, theirs, strict=True):
        close(p.grad, q.grad)


def test_clip_grad_norm_of_what_is_not_finite(torch: Any) -> None:
    for bad in (math.nan, math.inf):
        w = st.tensor([1.0, 2.0], requires_grad=True)
        w.grad = st.tensor([1.0, bad])
        with pytest.raises(RuntimeError, match=r"the total norm of the gradients is (nan|inf)"):
            nn.utils.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)
        assert_same(w.grad.numpy(), np.array([1.0, bad], "f4"))
        v = torch.tensor([1.0, 2.0], requires_grad=True)
        v.grad = torch.tensor([1.0, bad])
        assert_same(nn.utils.clip_grad_norm_(w, 1.0).numpy(), torch.nn.utils.clip_grad_norm_(v, 1.0).numpy())
        assert_same(w.grad.numpy(), v.grad.numpy())


def test_clipping_corners() -> None:
    w = st.ones(2, requires_grad=True)
    assert float(nn.utils.clip_grad_norm_([w], 1.0)) == 0
    assert float(nn.utils.clip_grad_norm_([], 1.0)) == 0
    nn.utils.clip_grad_value_(w, 1.0)
    (w * w).sum().backward(create_graph=True)  # a gradient with a graph of its own
    nn.utils.clip_grad_norm_(w, 1.0)
    np.testing.assert_allclose(w.grad.detach().numpy(), [0.5**0.5] * 2, rtol=1e-5)
    mixed = [st.ones(2, dtype=d, requires_grad=True) for d in (st.float32, st.float64)]
    for p in mixed:
        p.grad = st.full_like(p.detach(), 3.0)
    assert float(nn.utils.clip_grad_norm_(mixed, 2.0)) == pytest.approx(6, rel=1e-6)
    assert [p.grad.dtype for p in mixed] == [st.float32, st.float64]
    np.testing.assert_allclose(mixed[1].grad.numpy(), [1, 1], rtol=1e-6)


# --- errors -----------------------------------------------------------------------------------------------------------

X = st.ones(2, 3)
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: nn.Sequential({"bn": nn.BatchNorm1d(4)})(X),
        ValueError,
        r"BatchNorm1d 'bn' \(num_features=4\) got input of shape \(2, 3\): it must be \(N, 4\) or \(N, 4, L\)",
    ),
    (lambda: nn.BatchNorm1d(3)(st.ones(2, 3, 4, 5)), ValueError, r"got input of shape \(2, 3, 4, 5\)"),
    (lambda: nn.BatchNorm1d(3)(st.ones(3)), ValueError, r"got input of shape \(3,\)"),
    (lambda: nn.BatchNorm1d(3)(st.ones(1, 3)), ValueError, r"shape \(1, 3\): one value per feature.*model.eval\(\)"),
    (lambda: nn.BatchNorm1d(3)(st.ones(1, 3, 1)), ValueError, "one value per feature has no variance to train with"),
    (lambda: nn.BatchNorm1d(3, track_running_stats=False).eval()(st.ones(1, 3)), ValueError, "one value per feature"),
    (lambda: nn.BatchNorm1d(0), ValueError, "BatchNorm1d: num_features=0 must be a positive integer"),
    (lambda: st.batch_norm(st.ones(3)), ValueError, r"batch_norm: input of shape \(3,\) must have the axes \(N, C\)"),
    (lambda: st.batch_norm(X), ValueError, "batch_norm: outside of training it needs running_mean and running_var"),
    (
        lambda: st.batch_norm(X[:1], training=True),
        ValueError,
        r"in training, input of shape \(1, 3\) has one value per",
    ),
    (lambda: st.batch_norm(X, weight=st.ones(2), training=True), ValueError, r"weight of shape \(2,\) must be \(3,\)"),
    (
        lambda: st.batch_norm(st.ones(2, 3, dtype=st.int64), training=True),
        TypeError,
        "must be floating-point, not int64",
    ),
    (lambda: nn.GroupNorm(4, 6), ValueError, "GroupNorm: num_channels=6 must be a multiple of num_groups=4"),
    (lambda: nn.GroupNorm(2, 4)(X), ValueError, r"GroupNorm \(num_channels=4\) got input of shape \(2, 3\)"),
    (lambda: st.group_norm(X, 2), ValueError, r"axis 1 of input of shape \(2, 3\) must be a multiple of num_groups=2"),
    (lambda: st.group_norm(X, 3, st.ones(1)), ValueError, r"group_norm: weight of shape \(1,\) must be \(3,\)"),
    (lambda: nn.RMSNorm(4)(X), ValueError, r"RMSNorm \(normalized_shape=\(4,\)\) got input of shape \(2, 3\)"),
    (lambda: st.rms_norm(X, 4), ValueError, r"rms_norm: the last axes of input shape \(2, 3\)"),
    (lambda: st.rms_norm(X, 3, st.ones(1)), ValueError, r"rms_norm: weight of shape \(1,\) must have"),
    (lambda: st.rms_norm(st.arange(3), 3), TypeError, "rms_norm: input must be floating-point, not int64"),
    (
        lambda: nn.Embedding(5, 2)(st.tensor([0, 5])),
        IndexError,
        "embedding: indices range from 0 to 5, but with 5 rows",
    ),
    (lambda: nn.Embedding(5, 2)(st.tensor([-1])), IndexError, "embedding: indices range from -1 to -1"),
    (lambda: nn.Embedding(5, 2)(X), TypeError, "embedding: indices must be integers, not float32: use x.astype"),
    (lambda: nn.Embedding(5, 2)(st.tensor([True])), TypeError, "embedding: indices must be integers, not bool"),
    (
        lambda: nn.Embedding(5, 2, padding_idx=5),
        ValueError,
        "Embedding: padding_idx=5 is out of range for 5 embeddings",
    ),
    (lambda: nn.Embedding(0, 2), ValueError, "Embedding: num_embeddings=0 must be a positive integer"),
    (lambda: st.embedding(0, X, padding_idx=2), IndexError, "embedding: padding_idx=2 is out of range for 2 rows"),
    (lambda: st.embedding(0, 1.0), ValueError, "embedding: weight is a single number"),
    (
        lambda: nn.Bilinear(3, 4, 2)(X, X),
        ValueError,
        r"Bilinear \(in1_features=3, in2_features=4\) got inputs of shapes \(2, 3\) and \(2, 3\): their last axes must",
    ),
    (lambda: nn.Bilinear(3, 3, 2)(X, X[:1]), ValueError, "the others equal"),
    (lambda: nn.Bilinear(3, 3, 0), ValueError, "Bilinear: out_features=0 must be a positive integer"),
    (lambda: st.bilinear(X, X, X), ValueError, r"bilinear: a \(2, 3\), b \(2, 3\) and weight \(2, 3\)"),
    (lambda: st.bilinear(1.0, X, st.ones(2, 3, 3)), ValueError, r"bilinear: a \(\)"),
    (lambda: nn.utils.clip_grad_norm_([], -1), ValueError, "clip_grad_norm_: max_norm=-1 must not be negative"),
    (lambda: nn.utils.clip_grad_value_([], -1), ValueError, "clip_grad_value_: clip_value=-1 must not be negative"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=[message[:40] for _, _, message in ERRORS])
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
