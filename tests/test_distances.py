"""Distances between points, against NumPy and PyTorch, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from steep.ops import distances

P = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.inf]


@pytest.mark.parametrize("p", P)
@pytest.mark.parametrize("shapes", [((4, 3), (5, 3)), ((2, 1, 4, 3), (3, 2, 3)), ((1, 1), (4, 1)), ((0, 2), (3, 2)),
                                    ((3, 2), (0, 2)), ((3, 0), (2, 0))], ids=str)  # fmt: skip
def test_by_definition(p: float, shapes: tuple[tuple[int, ...], ...], rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(shape) for shape in shapes)
    difference = a[..., :, None, :] - b[..., None, :, :]
    if a.shape[-1] == 0:
        expected = np.zeros(difference.shape[:-1])
    else:
        expected = np.linalg.norm(difference, p, axis=-1) if p else (difference != 0).sum(-1).astype(np.float64)
    np.testing.assert_allclose(st.cdist(st.tensor(a), st.tensor(b), p).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("p", P[1:])
def test_gradients(p: float, rng: np.random.Generator) -> None:
    a, b = (st.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 4, 3), (5, 3)))
    assert st.autograd.gradcheck(lambda a, b: st.cdist(a, b, p), [a, b])
    assert st.autograd.gradgradcheck(lambda a, b: st.cdist(a, b, p), [a, b], rtol=1e-3)


@pytest.mark.parametrize("p", P)
def test_equal_points_as_torch(p: float) -> None:
    torch = pytest.importorskip("torch")
    values = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 5.0]])
    a, b = st.tensor(values, requires_grad=True), st.tensor(values[:2], requires_grad=True)
    t, u = torch.tensor(values, requires_grad=True), torch.tensor(values[:2], requires_grad=True)
    got, expected = st.cdist(a, b, p), torch.cdist(t, u, p)
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-14)
    if p == 0:
        assert not got.requires_grad
        return
    for ours, theirs in zip(st.grad(got.sum(), [a, b]), torch.autograd.grad(expected.sum(), [t, u]), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [*P, 1.3])
@pytest.mark.parametrize(
    ("n", "m", "d"), [(9, 5, 3), (1, 70, 2), (33, 49, 129), (70, 17, 300), (3, 130, 8), (130, 1, 7)]
)
def test_as_composed(n: int, m: int, d: int, p: float, dtype: str, monkeypatch: Any, rng: np.random.Generator) -> None:
    """The kernels against differences in memory, whole and in blocks, and both against NumPy in float64."""
    values = [rng.standard_normal((2, n, d)).astype(dtype), rng.standard_normal((m, d)).astype(dtype)]
    values[1][0] = values[0][1, 0]  # equal points
    a, b = (st.tensor(x, requires_grad=True) for x in values)
    g = st.tensor(rng.standard_normal((2, n, m)).astype(dtype))
    x = values[0].astype(np.float64)[:, :, None] - values[1].astype(np.float64)
    y = np.linalg.norm(x, p, axis=-1) if p else (x != 0).sum(-1)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(st.cdist(a, b, p).detach().numpy(), y, rtol=100 * eps)
    monkeypatch.setattr(distances, "BLOCK", 70 * d)
    np.testing.assert_allclose(distances._composed(a.detach(), b.detach(), p).numpy(), y, rtol=100 * eps)
    if p == 0:
        return
    ours = st.grad(st.cdist(a, b, p), [a, b], g)
    others = distances._composed_vjp(g, a.detach(), b.detach(), st.cdist(a, b, p).detach(), p)
    for ours_x, others_x in zip(ours, (others[0], st.sum(others[1], 0)), strict=True):
        scale = np.abs(others_x.numpy()).max()
        np.testing.assert_allclose(ours_x.numpy(), others_x.numpy(), rtol=100 * eps, atol=100 * eps * scale)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("p", [1.0, 2.0, np.inf])
def test_halves(dtype: str, p: float, rng: np.random.Generator) -> None:
    a, b = (st.tensor(300 * rng.standard_normal((n, 5)), dtype=dtype, requires_grad=True) for n in (7, 6))
    c, d = (x.detach().astype(st.float32) for x in (a, b))
    c.requires_grad = d.requires_grad = True
    y, wide = st.cdist(a, b, p), st.cdist(c, d, p)
    assert y.dtype is a.dtype
    assert y.tolist() == wide.astype(a.dtype).tolist()
    for ours, expected in zip(st.grad(y.sum(), [a, b]), st.grad(wide.sum(), [c, d]), strict=True):
        assert ours.tolist() == expected.astype(a.dtype).tolist()


@pytest.mark.parametrize("p", P)
def test_not_finite(p: float) -> None:
    a = st.tensor([[np.nan, 0.0], [np.inf, 1.0], [1.0, np.nan], [2.0, 3.0]])
    b = st.tensor([[0.0, 0.0], [np.inf, 0.0]] * 20)
    with np.errstate(invalid="ignore"):  # inf - inf
        x = a.numpy()[:, None] - b.numpy()
        y = (x != 0).sum(-1) if p == 0 else np.where(np.isnan(x).any(-1), np.nan, np.linalg.norm(x, p, axis=-1))
    np.testing.assert_allclose(st.cdist(a, b, p).numpy(), y, rtol=1e-6)


@pytest.mark.host(reason="about threads")
@pytest.mark.parametrize("shapes", [((5000, 8), (5, 8)), ((40, 700), (90, 700)), ((3, 100, 4), (3, 200, 4))], ids=str)
def test_the_same_bits_at_any_number_of_threads(
    shapes: tuple[tuple[int, ...], ...], threads: None, rng: np.random.Generator
) -> None:
    a, b = (st.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True) for shape in shapes)
    for p in (1.0, 2.0, np.inf, 1.7):
        results = []
        for count in (1, 2, 5):
            st.set_num_threads(count)
            y = st.cdist(a, b, p)
            results.append([x.detach().numpy() for x in (y, *st.grad(y.sum(), [a, b]))])
        for other in results[1:]:
            for x, y in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(x, y)


def test_near_points_far_from_the_origin() -> None:
    a = st.tensor([[1e4, 1e4]])
    assert st.cdist(a, a + 0.125).item() == pytest.approx(0.125 * 2**0.5, rel=1e-6)


@pytest.mark.parametrize("p", [0.5, 1.5, 3.0])
def test_norm_at_zero_has_derivative_zero(p: float) -> None:
    x = st.tensor([[0.0, 0.0], [0.0, 3.0]], requires_grad=True)
    y = st.vector_norm(x, -1, ord=p)
    assert y.tolist() == [0, pytest.approx(3)]
    y.sum().backward()
    assert x.grad.tolist()[0] == [0, 0]


def test_wrong_norms() -> None:
    x = st.ones((2, 3))
    for wrong in ("2", None, [2.0]):
        with pytest.raises(TypeError, match="cdist: p must be a number"):
            st.cdist(x, x, wrong)  # type: ignore[arg-type]
    for p in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=f"cdist: p={p} must not be negative"):
            st.cdist(x, x, p)
