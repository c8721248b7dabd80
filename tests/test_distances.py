"""Distances between points, against NumPy and PyTorch, with their gradients."""

from __future__ import annotations

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
    if a.shape[-1] or p != np.inf:  # the largest of no differences is an error
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


@pytest.mark.parametrize("p", [1.5, 2.0])
def test_in_blocks(p: float, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    a, b = (st.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 9, 3), (2, 5, 3)))
    g = st.tensor(rng.standard_normal((2, 9, 5)))
    whole = [st.cdist(a, b, p), *st.grad(st.cdist(a, b, p), [a, b], g)]
    monkeypatch.setattr(distances, "BLOCK", 70)
    parts = [st.cdist(a, b, p), *st.grad(st.cdist(a, b, p), [a, b], g)]
    for x, y in zip(whole, parts, strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-14)


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
