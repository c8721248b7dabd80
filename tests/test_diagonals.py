"""Diagonals and triangles against NumPy and PyTorch, with their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import steep as st
from compare import assert_same, shares

SHAPES = [(4, 4), (3, 5), (5, 3), (0, 3), (1, 1), (2, 3, 4), (3, 2, 2, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0, 1, -1, 2, -3, 9, -9])
def test_diagonal(shape: tuple[int, ...], offset: int, rng: np.random.Generator) -> None:
    values = rng.standard_normal(shape)
    for axes in ((0, 1), (1, 0), (-1, -2)):
        x = st.tensor(values, requires_grad=True)
        y = st.diagonal(x, offset, *axes)
        assert_same(y.detach().numpy(), np.diagonal(values, offset, *axes))
        assert y.size == 0 or shares(x, y)
        assert_same(
            st.diagonal(st.flip(x.detach(), 0), offset, *axes).numpy(), np.diagonal(values[::-1], offset, *axes)
        )
        places = np.diagonal(np.arange(values.size).reshape(shape), offset, *axes)
        g, expected = rng.standard_normal(y.shape), np.zeros(values.size)
        expected[places.reshape(-1)] = g.reshape(-1)
        assert_same(st.grad(y, x, st.tensor(g))[0].numpy(), expected.reshape(shape), zero_sign=False)
    if len(shape) == 2:
        got = st.diag(st.tensor(values), offset)
        assert_same(got.numpy(), np.diag(values, offset))
        np.testing.assert_allclose(st.trace(st.tensor(values), offset).item(), np.trace(values, offset), rtol=1e-14)


@pytest.mark.parametrize("offset", [0, 1, -2])
def test_diag_of_a_line(offset: int) -> None:
    values = np.array([1.0, np.nan, -0.0, np.inf])
    assert_same(st.diag(st.tensor(values), offset).numpy(), np.diag(values, offset))
    assert_same(st.diag(st.zeros(0), offset).numpy(), np.diag(np.zeros(0, np.float32), offset))


def test_diag_copies() -> None:
    x = st.ones((2, 2))
    assert not shares(st.diag(x), x)
    st.diagonal(x)[...] = 5
    assert x.tolist() == [[5, 1], [1, 5]]


def test_diag_embed(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    values = rng.standard_normal((2, 3, 4))
    for offset in (0, 2, -1):
        for axes in ((-2, -1), (0, 2), (3, 1), (-1, 0)):
            got = st.diag_embed(st.tensor(values), offset, *axes).numpy()
            assert_same(got, torch.diag_embed(torch.tensor(values), offset, *axes).numpy())


def test_gradients(rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal((2, 3, 4)), requires_grad=True)
    for f in (lambda t: st.diagonal(t, 1, 0, 2), lambda t: st.diag_embed(t, -1, 0, 2)):
        assert st.autograd.gradcheck(f, [x])
        assert st.autograd.gradgradcheck(lambda t, f=f: f(t) ** 3, [x])


@pytest.mark.parametrize("k", [0, 1, -2, 7])
def test_triangles(k: int) -> None:
    for n, m in ((4, 3), (3, 5), (0, 2), (3, None)):
        for got, expected in (
            (st.tril_indices(n, k, m), np.tril_indices(n, k, m)),
            (st.triu_indices(n, k, m), np.triu_indices(n, k, m)),
        ):
            for ours, right in zip(got, expected, strict=True):
                assert_same(ours.numpy(), right)
