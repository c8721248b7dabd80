"""16-bit floats where their range is short: squares overflow above 256 and vanish below 2^-12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import optim

HALVES = [st.float16, st.bfloat16]
SCALES = [1.0, 1e-5, 300.0, 2e4]  # of normal numbers; the last times 3 is about the largest float16
Call = Callable[..., st.Tensor]


def in_range(seed: int, shape: tuple[int, ...], scale: float, dtype: Any) -> st.Tensor:
    x = np.random.default_rng(seed).normal(size=shape).clip(-3, 3) * scale
    return st.tensor(x).astype(dtype)


OPERATIONS: dict[str, Call] = {
    "std": lambda x: st.std(x, axis=1),
    "var": lambda x: st.var(x, axis=1),
    "vector_norm": lambda x: st.vector_norm(x, axis=1),
    "layer_norm": lambda x: st.layer_norm(x, 6),
    "rms_norm": lambda x: st.rms_norm(x, 6, eps=0.0),
    "rms_norm_weight": lambda x: st.rms_norm(x, 6, np.full(6, 0.5).astype(np.float16), eps=0.0).astype(x.dtype),
    "group_norm": lambda x: st.group_norm(x, 2),
    "batch_norm": lambda x: st.batch_norm(x, training=True),
    "cosine_similarity": lambda x: st.cosine_similarity(x, x[::-1]),
    "cosine_embedding_loss": lambda x: st.cosine_embedding_loss(x, x[::-1], st.ones(5), "none"),
}


@pytest.mark.parametrize("dtype", HALVES, ids=lambda t: t.name)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_as_in_float64(name: str, scale: float, dtype: Any) -> None:
    x = in_range(0, (5, 6), scale, dtype)
    wide = OPERATIONS[name](x.astype(st.float64)).numpy()
    x.requires_grad = True
    y = OPERATIONS[name](x)
    assert y.dtype is dtype
    limit, eps = float(st.finfo(dtype).max), float(st.finfo(dtype).eps)
    got = y.detach().astype(st.float64).numpy()
    fits = np.abs(wide) <= limit  # what is no number of the dtype becomes infinite
    smallest = float(st.finfo(dtype).smallest_normal) * eps
    np.testing.assert_allclose(got[fits], wide[fits], rtol=2 * eps, atol=4 * eps * (name[:6] == "cosine") + smallest)
    assert np.isinf(got[~fits]).all()
    if scale == 300 and name != "var":
        y.astype(st.float32).sum().backward()
        assert np.isfinite(x.grad.astype(st.float32).numpy()).all()


@pytest.mark.parametrize("dtype", HALVES, ids=lambda t: t.name)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("weights", [None, st.float32, "same"])
def test_dtype_of_batch_norm(weights: Any, training: bool, dtype: Any) -> None:
    x = in_range(0, (4, 3), 1, dtype)
    mean, var = st.zeros(3), st.ones(3)
    w = None if weights is None else st.ones(3, dtype=dtype if weights == "same" else weights)
    y = st.batch_norm(x, mean, var, w, w, training)
    assert y.dtype is (st.float32 if weights is st.float32 else dtype)
    assert mean.dtype is var.dtype is st.float32
    assert bool((mean != 0).all()) is training


@pytest.mark.parametrize("dtype", HALVES, ids=lambda t: t.name)
@pytest.mark.parametrize("name", [n for n in optim.__all__ if n not in ("Optimizer", "schedules")])
def test_steps_are_those_of_float32(name: str, dtype: Any) -> None:
    """But for the rounding of what is kept: squares of 1e-4 and of 3e4 are neither 0 nor infinite."""
    gradients = st.tensor([3e4, 1.0, 1e-4, -1e-4, 0.0]).astype(dtype)
    options = {"lr": 0.125}
    steps = []
    for t in (dtype, st.float32):
        p = st.ones(5, dtype=t, requires_grad=True)
        optimizer = getattr(optim, name)([p], **options)
        p.grad = gradients.astype(t)
        optimizer.step()
        steps.append(p.detach().astype(st.float32).numpy())
    np.testing.assert_allclose(steps[0], steps[1], rtol=2 * float(st.finfo(dtype).eps))


@pytest.mark.parametrize("scale", [1e-7, 1.0, 6e4])
def test_the_norm_of_gradients_does_not_overflow(scale: float) -> None:
    weights = [st.zeros(300, dtype=st.float16, requires_grad=True) for _ in range(3)]
    for w in weights:
        w.grad = (st.ones(300) * scale).astype(st.float16)
    exact = 30 * float(weights[0].grad[0])
    norm = st.nn.utils.clip_grad_norm_(weights, 1e-2)
    assert norm.dtype is st.float32
    assert float(norm) == pytest.approx(exact, rel=1e-6)
    expected = exact / 30 * min(1.0, 1e-2 / (exact + 1e-6))
    assert float(weights[2].grad[7]) == pytest.approx(expected, rel=1e-3, abs=6e-8)


@pytest.mark.parametrize("dtype", HALVES, ids=lambda t: t.name)
@pytest.mark.parametrize("source", ["f2", "f4", "f8", "tensor", "list"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_fit(loss: str, source: str, dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("f4" if source in ("tensor", "list") else source)
    y = (x.sum(1) > 0).astype(int) if loss == "cross_entropy" else x[:, :2]
    given = st.tensor(x).astype(dtype) if source == "tensor" else x.tolist() if source == "list" else x
    st.manual_seed(0)
    model = st.nn.Sequential(st.nn.Linear(4, 8, activation="relu"), st.nn.BatchNorm1d(8), st.nn.Linear(8, 2)).to(dtype)
    model.compile(optim.RMSprop(model.parameters(), lr=0.02), loss)
    history = model.fit(given, y, epochs=8, batch_size=16, validation_split=0.25, verbose=0)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert np.isfinite(history["val_loss"]).all()
    assert model.predict(given).dtype is dtype
    assert np.isfinite(model.evaluate(given, y)["loss"])
