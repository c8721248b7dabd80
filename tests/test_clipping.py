"""The norm of gradients, clipping and unscaling: against NumPy in float64, and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same
from steep import _core
from steep.nn.utils import clip_grad_norm_, clip_grad_value_

inf, nan = math.inf, math.nan
FLOATS = {t.name: t for t in (st.float16, st.bfloat16, st.float32, st.float64)}
ORDS = [2, 1, 0, 3.5, 0.5, -1.5, inf, -inf]
SIZES = [1, 0, 5, 8192, 8193, 3, 40_000, 255, 16, 4097]  # around a thread's piece, a block's chunk, a vector
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def parameters(gradients: Sequence[Any]) -> list[st.Tensor]:
    """A parameter for each gradient."""
    out = []
    for g in gradients:
        g = g if isinstance(g, st.Tensor) else st.tensor(g)
        out.append(st.zeros(g.shape, dtype=g.dtype, device=g.device, requires_grad=True))
        out[-1].grad = g
    return out


def wide(x: st.Tensor) -> Array:
    return x.astype(st.float64).numpy().copy()


def norm_of(arrays: Sequence[Array], ord: float) -> float:
    """By the definition, of float64 numbers that are far from overflow."""
    x = np.abs(np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays]))
    if ord == 0:
        return float(np.count_nonzero(x))
    if math.isinf(ord):
        return float(x.max() if ord > 0 else x.min())
    return float(np.sum(x**ord) ** (1 / ord))


@pytest.mark.parametrize("ord", ORDS)
@pytest.mark.parametrize("name", [*FLOATS, "mixed"])
def test_the_norm_of_many_tensors(name: str, ord: float, rng: np.random.Generator) -> None:
    dtypes = list(FLOATS.values()) if name == "mixed" else [FLOATS[name]]
    gradients = [
        (st.asarray(rng.standard_normal(n) * 3) + 0.01).astype(dtypes[i % len(dtypes)]) for i, n in enumerate(SIZES)
    ]
    if ord == 0:
        gradients[3] = st.zeros_like(gradients[3])
    ws = parameters(gradients)
    values = [wide(g) for g in gradients]
    exact = norm_of(values, ord)
    norm = clip_grad_norm_(ws, 1.0, ord)
    assert norm.shape == ()
    assert norm.dtype is (st.float64 if name in ("float64", "mixed") else st.float32)
    assert float(norm) == pytest.approx(exact, rel=1e-13 if norm.dtype is st.float64 else 2.0**-23)
    factor = min(1.0, 1 / (exact + 1e-6))
    for w, before in zip(ws, values, strict=True):
        eps = EPS[w.dtype.name]
        np.testing.assert_allclose(wide(w.grad), before * factor, rtol=max(1.5 * eps, 1e-13), atol=6e-8 * (eps > 2e-5))


@pytest.mark.parametrize("ord", [2, 1, 3, inf, 0.5])
@pytest.mark.parametrize("max_norm", [0.0, 0.3, 1e9, inf])
def test_clip_grad_norm_is_pytorchs(ord: float, max_norm: float, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    arrays = [rng.standard_normal(n).astype(np.float32) for n in SIZES if n]
    ours, theirs = parameters(arrays), [torch.zeros(a.shape, requires_grad=True) for a in arrays]
    for p, a in zip(theirs, arrays, strict=True):
        p.grad = torch.tensor(a)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, ord)
    np.testing.assert_allclose(clip_grad_norm_(ours, max_norm, ord).numpy(), expected.numpy(), rtol=2e-6)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=4e-6)


@pytest.mark.parametrize(
    ("name", "large"), [("float16", 6e4), ("bfloat16", 3e38), ("float32", 3e38), ("float64", 1e308)]
)
@pytest.mark.parametrize("ord", [2, 3, 0.5, -2])
def test_it_neither_overflows_nor_vanishes(name: str, large: float, ord: float) -> None:
    for size in (large / 16, float(st.finfo(FLOATS[name]).smallest_normal) * 4):
        x = st.full((3,), size, dtype=FLOATS[name])
        norm = _core.total_norm([x, x[:1]], ord)
        # In numbers that are what they are of 1; 4^2 = 16 is the largest of these norms.
        assert float(norm) == pytest.approx(4 ** (1 / ord) * float(x[0]), rel=1e-6)
    assert float(_core.total_norm([st.tensor([1e-200, 1e200], dtype="float64")], 2)) == 1e200


def test_special_values() -> None:
    def norm(*values: float, ord: float = 2) -> float:
        return float(_core.total_norm([st.tensor([1.0]), st.tensor(list(values))], ord))

    for ord in (2, 1, 3, inf, -1):
        assert math.isnan(norm(nan, ord=ord))
        assert math.isnan(norm(nan, inf, ord=ord))
    assert [norm(-inf, ord=ord) for ord in (2, 1, 3, inf)] == [inf] * 4
    assert [norm(inf, ord=ord) for ord in (-inf, -1)] == [1, 1]
    assert [norm(0.0, 0.0, ord=ord) for ord in (2, 1, 3, inf, 0, -inf, -1)] == [1, 1, 1, 1, 1, 0, 0]
    assert math.isnan(norm(nan, ord=-inf))
    assert norm(nan, inf, 0.0, ord=0) == 3
    ws = parameters([st.tensor([1.0, nan, inf]), st.tensor([2.0], dtype="float64")])
    assert math.isnan(float(clip_grad_norm_(ws, 1.0)))
    assert np.isnan(ws[0].grad.numpy()).all()
    assert np.isnan(ws[1].grad.numpy()).all()
    ws = parameters([st.tensor([1.0, -inf]), st.tensor([2.0])])
    assert float(clip_grad_norm_(ws, 1.0)) == inf
    assert_same(ws[0].grad.numpy(), np.array([0, nan], "f4"))
    ws = parameters([st.tensor([1.0, nan, inf, -inf, -0.5])])
    clip_grad_value_(ws, 0.75)
    assert_same(ws[0].grad.numpy(), np.array([0.75, nan, 0.75, -0.75, -0.5], "f4"))


@pytest.mark.parametrize("name", FLOATS)
def test_strided_gradients(name: str, rng: np.random.Generator) -> None:
    base = st.asarray(rng.standard_normal((40, 300))).astype(FLOATS[name])
    before = wide(base)
    views = [base[:, ::2].permute_dims(1, 0), base[::-1, 1::2]]
    norm = clip_grad_norm_(parameters(views), 2.0)
    exact = float(np.sqrt((before**2).sum()))
    assert float(norm) == pytest.approx(exact, rel=1e-6)
    expected = before * (2 / (exact + 1e-6))
    scaled = wide(base)
    np.testing.assert_allclose(scaled, expected, rtol=EPS[name] * 1.5 + 1e-13, atol=6e-8 * (name == "float16"))
    clip_grad_value_(parameters(views[1:]), 0.01)
    limit = float(st.tensor(0.01, dtype=FLOATS[name]))
    scaled[::-1, 1::2] = np.clip(scaled[::-1, 1::2], -limit, limit)
    assert_same(wide(base), scaled)


def test_hundreds_of_tensors(rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(1 + 37 * i % 200).astype("f4") for i in range(500)]
    ws = parameters(arrays)
    exact = norm_of(arrays, 2)
    assert float(clip_grad_norm_(ws, 1.0)) == pytest.approx(exact, rel=2.0**-23)
    for w, a in zip(ws, arrays, strict=True):
        np.testing.assert_allclose(w.grad.numpy(), a / exact, rtol=1e-6)
    clip_grad_value_(ws, 0.002)
    for w, a in zip(ws, arrays, strict=True):
        np.testing.assert_allclose(w.grad.numpy(), np.clip(a / exact, -0.002, 0.002), rtol=1e-6)


def test_nothing_changes_within_the_bound() -> None:
    g = st.tensor([3.0, 4.0])
    version = g._version
    assert float(clip_grad_norm_(parameters([g]), 5.1)) == 5
    assert g.tolist() == [3, 4]
    assert g._version > version  # a graph that has saved it can't know
    clip_grad_value_(parameters([g]), inf)
    assert g.tolist() == [3, 4]


def test_a_shared_gradient_counts_once() -> None:
    g = st.tensor([3.0, 4.0])
    w, v = parameters([g, g])
    assert float(clip_grad_norm_([w, v], 1.0)) == 5
    np.testing.assert_allclose(g.numpy(), [0.6, 0.8], rtol=1e-6)
    scaler = st.amp.GradScaler(4.0)
    scaler.unscale_(st.optim.SGD([w, v]))
    np.testing.assert_allclose(g.numpy(), [0.15, 0.2], rtol=1e-6)


@pytest.mark.parametrize("name", FLOATS)
def test_unscaling(name: str, rng: np.random.Generator) -> None:
    gradients = [st.asarray(rng.standard_normal(n)).astype(FLOATS[name]) for n in SIZES]
    gradients.append(st.asarray(rng.standard_normal((30, 40))).astype(FLOATS[name]).permute_dims(1, 0))
    before = [wide(g) for g in gradients]
    found = _core.unscale_(gradients, 0.1)
    assert (found.shape, found.dtype, int(found)) == ((), st.int32, 0)
    factor = 0.1 if name == "float64" else float(np.float32(0.1))
    for g, x in zip(gradients, before, strict=True):
        np.testing.assert_allclose(wide(g), x * factor, rtol=EPS[name], atol=6e-8 * (name == "float16"))
    for place, odd in ((0, nan), (8192, inf), (39_999, -inf), (39_999, nan)):
        bad = st.ones(40_000).astype(FLOATS[name])
        bad[place] = odd
        assert int(_core.unscale_([st.ones(3), bad], 0.5)) == 1
        got = wide(bad)
        assert np.isnan(got[place]) if math.isnan(odd) else got[place] == odd
        assert np.count_nonzero(got == 0.5) == 39_999
    assert int(_core.unscale_([st.full((5,), 3e38)], 2.0)) == 1  # it was finite before


def test_threads_do_not_change_a_bit(threads: None, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(n).astype("f4") for n in (300_000, 7, 50_001, 8192)]

    def everything(n: int) -> list[Array]:
        st.set_num_threads(n)
        results = []
        for t in FLOATS.values():
            for ord in ORDS:
                ws = parameters([st.tensor(a).astype(t) for a in arrays])
                results += [clip_grad_norm_(ws, 1.0, ord).numpy(), *(wide(w.grad) for w in ws)]
        return results

    one = everything(1)
    for n in (2, 5):
        for got, expected in zip(everything(n), one, strict=True):
            assert_same(got, expected)


def test_several_devices(cuda: str, second_cuda: str) -> None:
    gradients = [
        st.tensor([3.0, 0.0], device="cpu"),
        st.tensor([4.0], device=cuda),
        st.tensor([12.0], device=second_cuda),
    ]
    for ord, expected in ((2, 13.0), (1, 19.0), (inf, 12.0), (0, 3.0)):
        ws = parameters([g.copy() for g in gradients])
        norm = clip_grad_norm_(ws, 1.0, ord)
        assert (float(norm), norm.device) == (expected, gradients[0].device)
        for w, g in zip(ws, gradients, strict=True):
            np.testing.assert_allclose(w.grad.numpy(), g.numpy() / expected, rtol=1e-6)
            assert w.grad.device is g.device


def test_errors_change_nothing() -> None:
    g = st.tensor([3.0, 4.0])
    repeated = st.tensor([1.0]).broadcast_to((2,))
    for change in (lambda t: _core.clip_values_(t, 0.5), lambda t: _core.unscale_(t, 0.5)):
        with pytest.raises(ValueError, match="memory"):
            change([g, repeated])
        with pytest.raises(TypeError, match="gradients are floating-point, not int64"):
            change([g, st.arange(2)])
    with pytest.raises(TypeError, match="gradients are floating-point, not int64"):
        _core.total_norm([st.arange(2)], 2)
    with pytest.raises(ValueError, match="there are no arrays"):
        _core.total_norm([], 2)
    assert g.tolist() == [3, 4]


def test_wrong_arguments_change_nothing() -> None:
    (w,) = parameters([np.array([3.0, 4.0], "f4")])
    model = st.nn.Sequential(st.nn.Linear(2, 1))
    for wrong in ("1", None, [1.0], st.ones(2)):
        with pytest.raises(TypeError, match="clip_grad_norm_: max_norm must be a number"):
            clip_grad_norm_([w], wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="clip_grad_norm_: norm_type must be a number"):
            clip_grad_norm_([w], 1.0, wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="clip_grad_value_: clip_value must be a number"):
            clip_grad_value_([w], wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="norm_type is NaN: use 2"):
        clip_grad_norm_([w], 1.0, nan)
    for wrong in (model, model[0], None, "w", [w, None], [[w]]):
        for clip in (clip_grad_norm_, clip_grad_value_):
            with pytest.raises(TypeError, match=rf"{clip.__name__}: expected tensors, such as model.parameters\(\)"):
                clip(wrong, 1.0)  # type: ignore[arg-type]
    assert w.grad.tolist() == [3, 4]
    assert float(clip_grad_norm_([w], st.tensor(2.5))) == 5  # type: ignore[arg-type]
    np.testing.assert_allclose(w.grad.numpy(), [1.5, 2], rtol=1e-6)
