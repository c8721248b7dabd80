"""Creation, shapes, joining and splitting, printing: against NumPy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same, shares

DTYPES = ("bool", "int32", "int64", "float32", "float64")


def tensor(x: Any) -> st.Tensor:
    return st.asarray(np.asarray(x))


# --- creation ---------------------------------------------------------------------------------------------------------


def test_tensor_of_python_values() -> None:
    for data, dtype in ((True, "bool"), (3, "int64"), (2.5, "float32"), ([1, 2.5], "float32"), ([[True]], "bool")):
        assert_same(st.tensor(data).numpy(), np.array(data, dtype))
    assert_same(st.tensor([]).numpy(), np.empty((0,), "float32"))
    assert_same(st.tensor((1, (2))).numpy(), np.array([1, 2]))
    assert_same(st.tensor([1, 2], dtype=float).numpy(), np.array([1, 2], "float32"))
    assert_same(st.tensor([1.9, -1.9], dtype=st.int32).numpy(), np.array([1, -1], "int32"))
    assert_same(st.tensor([0.0, 0.5, np.nan], dtype="bool").numpy(), np.array([False, True, True]))
    assert_same(st.tensor(np.float64(0.1)).numpy(), np.array(0.1))
    assert st.tensor(1.0, requires_grad=True).requires_grad


@pytest.mark.host(reason="memory shared with NumPy")
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensor_copies_and_asarray_shares(dtype: str) -> None:
    x = np.arange(6).reshape(2, 3).astype(dtype)
    copied, shared = st.tensor(x), st.asarray(x)
    assert_same(copied.numpy(), x)
    assert not np.shares_memory(copied.numpy(), x)
    assert np.shares_memory(shared.numpy(), x)
    assert st.asarray(shared) is shared
    assert not shares(st.asarray(shared, copy=True), shared)
    assert not shares(st.tensor(shared), shared)
    for odd in (x[::-1], x[:, ::2], x.T, np.broadcast_to(x, (2, 2, 3))):
        assert_same(st.tensor(odd).numpy(), odd.copy())
        assert_same(st.asarray(odd).numpy(), odd)
        assert np.shares_memory(st.asarray(odd).numpy(), x)


def test_constants() -> None:
    assert_same(st.zeros(2, 3).numpy(), np.zeros((2, 3), "float32"))
    assert_same(st.ones((2, 3), dtype=st.int32).numpy(), np.ones((2, 3), "int32"))
    assert_same(st.zeros(()).numpy(), np.float32(0))
    assert_same(st.zeros(4).numpy(), np.zeros(4, "float32"))
    assert_same(st.full((2,), 7).numpy(), np.array([7, 7]))
    assert_same(st.full(3, True).numpy(), np.ones(3, bool))
    assert_same(st.full((1,), 2**53 + 1).numpy(), np.array([2**53 + 1]))
    assert st.empty(2, 0, 3).shape == (2, 0, 3)
    x = st.tensor([[1, 2]], dtype=st.int32)
    assert_same(st.zeros_like(x).numpy(), np.zeros((1, 2), "int32"))
    assert_same(st.ones_like(x, dtype=st.float64).numpy(), np.ones((1, 2)))
    assert_same(st.full_like(x, 5).numpy(), np.full((1, 2), 5, "int32"))
    assert (st.empty_like(x).shape, st.empty_like(x).dtype) == ((1, 2), st.int32)
    for args in ((3,), (2, 4), (3, 3, 1), (3, 4, -2)):
        assert_same(st.eye(*args).numpy(), np.eye(*args, dtype="float32"))


@pytest.mark.parametrize("args", [(5,), (2, 7), (2, 7, 3), (7, 2, -2), (3, 3), (5, 2), (0, -3, -1), (0,), (-2, 2)])
def test_arange(args: tuple[int, ...]) -> None:
    assert_same(st.arange(*args).numpy(), np.arange(*args))
    assert_same(st.arange(*args, dtype=st.float64).numpy(), np.arange(*args, dtype="float64"))
    assert_same(st.arange(*map(float, args)).numpy(), np.arange(*args, dtype="float32"))


def test_arange_and_linspace_of_floats() -> None:
    assert_same(st.arange(0, 1, 0.25).numpy(), np.arange(0, 1, 0.25, "float32"))
    assert_same(st.arange(2**53, 2**53 + 3).numpy(), np.arange(2**53, 2**53 + 3))  # beyond what a double counts
    for args in ((0, 1, 5), (1, -1, 4), (2, 3, 1), (0, 1, 0)):
        assert_same(st.linspace(*args, dtype=st.float64).numpy(), np.linspace(*args))
        assert_same(st.linspace(*args, endpoint=False).numpy(), np.linspace(*args, endpoint=False).astype("f4"))


@pytest.mark.parametrize(("source", "target"), list(itertools.product(DTYPES, DTYPES)))
def test_astype(source: str, target: str, rng: np.random.Generator) -> None:
    x = (rng.uniform(-100, 100, 79) * (rng.random(79) < 0.8)).astype(source)
    t = tensor(x)
    assert_same(t.astype(target).numpy(), x.astype(target))
    assert_same(t[::-2].astype(target).numpy(), x[::-2].astype(target))
    assert (t.astype(target) is t) == (source == target)
    assert t.astype(target, copy=True) is not t
    if source.startswith("int"):
        edges = np.array([np.iinfo(source).min, np.iinfo(source).max, -1, 0, 2**24 + 1] * 5, source)
        assert_same(tensor(edges).astype(target).numpy(), edges.astype(target))


def test_float_conversions_round_like_numpy() -> None:
    x = np.array([1e-46, 1e-40, 1 + 2**-24, 1 + 3 * 2**-24, 3.4028235677973366e38, 1e300, -np.inf, np.nan, -0.0] * 5)
    with np.errstate(over="ignore", under="ignore"):
        assert_same(tensor(x).astype(st.float32).numpy(), x.astype("float32"))
    assert_same(tensor(x).astype(st.bool).numpy(), x.astype(bool))
    assert tensor(x).float().dtype == st.float32
    assert tensor(x).to(st.float32).dtype == tensor(x).to(dtype="float32").dtype == st.float32
    assert (st.ones(1).double().dtype, st.ones(1).long().dtype) == (st.float64, st.int64)


# --- shapes -----------------------------------------------------------------------------------------------------------

X = np.arange(24.0).reshape(2, 3, 4)
VIEWS: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = [
    ("reshape", lambda t: t.reshape(4, -1), lambda x: x.reshape(4, -1)),
    ("reshape tuple", lambda t: t.reshape((3, 8)), lambda x: x.reshape(3, 8)),
    ("reshape flat", lambda t: t.reshape(-1), lambda x: x.reshape(-1)),
    ("reshape ones", lambda t: t.reshape(1, 6, 1, 4, 1), lambda x: x.reshape(1, 6, 1, 4, 1)),
    ("flatten", lambda t: t.flatten(), lambda x: x.reshape(-1)),
    ("flatten some", lambda t: t.flatten(1), lambda x: x.reshape(2, 12)),
    ("flatten middle", lambda t: st.flatten(t, -3, 1), lambda x: x.reshape(6, 4)),
    ("permute_dims", lambda t: t.permute_dims(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    ("permute_dims negative", lambda t: t.permute_dims((-1, 0, -2)), lambda x: x.transpose(2, 0, 1)),
    ("transpose", lambda t: t.transpose(0, -1), lambda x: x.swapaxes(0, -1)),
    ("mT", lambda t: t.mT, lambda x: x.swapaxes(-1, -2)),
    ("T", lambda t: t[0].T, lambda x: x[0].T),
    ("expand_dims", lambda t: t.expand_dims(1), lambda x: x[:, None]),
    ("expand_dims end", lambda t: t.unsqueeze(-1), lambda x: x[..., None]),
    ("squeeze", lambda t: t[:, :1].squeeze(1), lambda x: x[:, 0]),
    ("squeeze all", lambda t: t[:1, :, :1].squeeze(), lambda x: x[0, :, 0]),
    ("squeeze some", lambda t: t[:1, :, :1].squeeze((0, -1)), lambda x: x[0, :, 0]),
    ("broadcast_to", lambda t: t[:, :1].broadcast_to((5, 2, 3, 4)), lambda x: np.broadcast_to(x[:, :1], (5, 2, 3, 4))),
    ("slice", lambda t: t[::-1, 1:, ::3], lambda x: x[::-1, 1:, ::3]),
]


@pytest.mark.parametrize(("name", "ours", "theirs"), VIEWS, ids=[v[0] for v in VIEWS])
def test_views(name: str, ours: Callable[[Any], Any], theirs: Callable[[Any], Any]) -> None:
    x = st.tensor(X, requires_grad=True)
    y = ours(x)
    assert_same(y.detach().numpy(), theirs(X))
    assert shares(x, y)
    assert y.dtype == st.float64
    g = np.random.default_rng(0).standard_normal(y.shape)
    expected = np.zeros_like(X)
    np.add.at(expected.reshape(-1), theirs(np.arange(24).reshape(2, 3, 4)).reshape(-1), g.reshape(-1))
    np.testing.assert_allclose(st.grad(y, x, tensor(g))[0].numpy(), expected, rtol=1e-14)
    assert st.autograd.gradcheck(lambda t: st.grad(st.sin(ours(t)).sum(), t, create_graph=True)[0], [x])


def test_shapes_and_axes_may_be_ranges() -> None:
    x = st.arange(6)
    assert x.reshape(range(1, 4)).permute_dims(range(2, -1, -1)).shape == (3, 2, 1)


def test_reshape_of_every_layout() -> None:
    """A view where strides can express it, a copy elsewhere; the elements are NumPy's."""
    base = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    keys = [..., slice(None, None, -1), np.s_[:, :, ::2], np.s_[:, 1:2], np.s_[..., 1:4], np.s_[1:, 2, ::-1, ::-1]]
    t = tensor(base)
    layouts = [(base[key], t[key]) for key in [*keys, np.s_[:, :, :, 2:3]]]
    layouts += [(base.transpose(axes), t.permute_dims(axes)) for axes in ((1, 0, 2, 3), (3, 2, 1, 0))]
    layouts += [(np.broadcast_to(base[0, 0, 0], (4, 6, 5)), t[0, 0, 0].broadcast_to((4, 6, 5)))]
    for layout, ours in layouts:
        n = layout.size
        shapes = {(n,), (1, n), (n, 1), (2, n // 2), (n // 2, 2), (n // 4, 2, 2), layout.shape[::-1], (3, n // 3)}
        for shape in {s for s in shapes if math.prod(s) == n} | {(*layout.shape[:-1], 1, layout.shape[-1])}:
            y = ours.reshape(shape)
            assert_same(y.numpy(), layout.reshape(shape))
            assert shares(y, t) == np.shares_memory(layout.reshape(shape), layout)
    assert st.zeros((0, 3)).reshape(3, 0, 2).shape == (3, 0, 2)
    assert st.zeros((2, 0)).reshape(0, 5).shape == (0, 5)
    assert st.tensor(5.0).reshape(1, 1).shape == (1, 1)
    assert st.ones((1, 1)).reshape(()).shape == ()


def test_contiguous_and_copy() -> None:
    x = tensor(X)
    assert x.contiguous() is x
    assert (x.is_contiguous(), x.mT.is_contiguous(), x[:, :1].is_contiguous()) == (True, False, False)
    assert_same(x.mT.contiguous().numpy(), X.swapaxes(-1, -2).copy())
    assert x.mT.contiguous().is_contiguous()
    assert not shares(x, x.copy())
    assert x.strides == (12, 4, 1)
    assert x[0, 0].strides == (1,)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
def test_concat_stack_and_split(axis: int | None, rng: np.random.Generator) -> None:
    parts = [rng.standard_normal((2, 3, 4)) for _ in range(3)]
    if axis is not None:
        parts[1] = np.take(parts[1], [0], axis)
    inputs = [st.tensor(p, requires_grad=True) for p in parts]
    joined = st.concat(inputs, axis)
    assert_same(joined.detach().numpy(), np.concatenate(parts, axis))
    assert st.autograd.gradcheck(lambda *ts: st.concat(ts, axis), inputs)
    g = rng.standard_normal(joined.shape)
    if axis is not None:
        extents = [p.shape[axis] for p in parts]
        pieces = st.split(tensor(g), extents, axis)
        for piece, gradient, expected in zip(
            pieces, st.grad(joined, inputs, tensor(g)), np.split(g, np.cumsum(extents)[:-1], axis), strict=True
        ):
            assert_same(piece.numpy(), expected)
            assert_same(gradient.numpy(), expected)
        stacked = st.stack([inputs[0], inputs[2]], axis)
        assert_same(stacked.detach().numpy(), np.stack([parts[0], parts[2]], axis))
        assert st.autograd.gradcheck(lambda a, b: st.stack([a, b], axis), [inputs[0], inputs[2]])


def test_concat_promotes_and_takes_empty_parts() -> None:
    joined = st.concat([st.tensor([1, 2]), st.tensor([0.5]), st.zeros((0,), dtype=st.float64)])
    assert_same(joined.numpy(), np.array([1, 2, 0.5]))
    assert [p.tolist() for p in st.split(st.arange(6), 3)] == [[0, 1], [2, 3], [4, 5]]
    assert all(shares(p, x) for x in [st.arange(6)] for p in x.split(2))
    a = st.tensor([1.0], requires_grad=True)
    b = st.tensor([2.0], dtype=st.float64, requires_grad=True)
    gradients = st.grad((st.concat([a, b]) ** 2).sum(), (a, b))
    assert [(g.item(), g.dtype.name) for g in gradients] == [(2.0, "float32"), (4.0, "float64")]


# --- what a tensor shows ----------------------------------------------------------------------------------------------


def test_repr() -> None:
    x = st.tensor([1.0, 2.5], requires_grad=True)
    for t, text in (
        (st.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (st.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (st.tensor(True), "tensor(True)"),
        (st.tensor([1.0], dtype=st.float64), "tensor([1.], dtype=float64)"),
        (st.tensor([1], dtype=st.int32), "tensor([1], dtype=int32)"),
        (st.zeros((0, 3)), "tensor([], shape=(0, 3), dtype=float32)"),
        (x, "tensor([1. , 2.5], requires_grad=True)"),
        (x * 2, "tensor([2., 5.], grad_fn=multiply)"),
        (x.sum(), "tensor(3.5, grad_fn=sum)"),
        (st.exp(x)[0], "tensor(2.7182817, grad_fn=getitem)"),
        (st.nn.Parameter([0.0]), "parameter([0.], requires_grad=True)"),
    ):
        assert repr(t) == text
    assert f"{st.tensor(2.0):.3f}" == "2.000"
    assert repr([st.float32, st.bool, st.device("cpu")]) == "[steep.float32, steep.bool, device('cpu')]"


def test_python_numbers() -> None:
    assert (float(st.tensor(2.5)), int(st.tensor([[3]])), bool(st.tensor([0.0])), bool(st.tensor(2))) == (2.5, 3, 0, 1)
    assert [type(st.tensor(v).item()) for v in (1, 1.0, True)] == [int, float, bool]
    assert [10, 20, 30][st.tensor(1)] == 20
    assert len(st.zeros((3, 2))) == 3
    assert [row.tolist() for row in st.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    x = st.tensor([1, 2])
    assert {x: "by identity"}[x] == "by identity"
    assert (x == "text") is False
    assert (x != None) is True  # noqa: E711  (the operator is what is tested)


def test_devices_and_dtypes() -> None:
    x = st.ones(1, device="cpu")
    assert x.device == "cpu" == str(st.device("cpu"))
    assert x.cpu() is x.to("cpu") is x
    assert {st.device("cpu"): 1}[x.device] == 1
    assert st.float32 == st.dtypes.as_dtype("float32") == st.dtypes.as_dtype(np.float32)
    assert st.float64 is st.dtypes.as_dtype(np.dtype("f8"))
    assert [t.itemsize for t in (st.bool, st.int32, st.int64, st.float32, st.float64)] == [1, 4, 8, 4, 8]
