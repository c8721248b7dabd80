"""Outputs so large that the CPU stores them past its caches: the same bits as in small pieces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same

pytestmark = pytest.mark.host(reason="stores past its caches")

ELEMENTS = 2_500_003  # of float32: 10 MB, of which each of two threads stores more than the 4 MB from which it matters


@pytest.fixture(params=[1, 2])
def number_of_threads(request: pytest.FixtureRequest, threads: None) -> int:
    st.set_num_threads(request.param)
    return request.param


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_elementwise(offset: int, dtype: str, number_of_threads: int, rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal(ELEMENTS + offset).astype(dtype) for _ in "ab")
    x, y = st.asarray(a)[offset:], st.asarray(b)[offset:]
    assert_same((x + y).numpy(), a[offset:] + b[offset:])
    assert_same((x * 3).numpy(), a[offset:] * np.asarray(3, dtype))
    assert_same((x[::-1] - y).numpy(), a[offset:][::-1] - b[offset:])
    assert_same((x < y).numpy(), a[offset:] < b[offset:])
    assert_same(st.where(x < y, x, y).numpy(), np.minimum(a[offset:], b[offset:]))
    assert_same(x.astype("int64").numpy(), a[offset:].astype("int64"))
    small = st.concat([st.exp(part) for part in (x[:1000], x[1000:77_777], x[77_777:1_000_000], x[1_000_000:])])
    assert_same(st.exp(x).numpy(), small.numpy())


@pytest.mark.parametrize("offset", [0, 3])
def test_in_place_and_into_a_view(offset: int, number_of_threads: int, rng: np.random.Generator) -> None:
    a = rng.standard_normal((3, ELEMENTS + 8)).astype("f4")
    x = st.tensor(a)
    middle = x[1, offset : offset + ELEMENTS]
    middle *= 2
    a[1, offset : offset + ELEMENTS] *= 2
    assert_same(x.numpy(), a)
    middle[:] = x[2, 8:][:ELEMENTS]
    a[1, offset : offset + ELEMENTS] = a[2, 8:][:ELEMENTS]
    assert_same(x.numpy(), a)


def test_gradient(number_of_threads: int, rng: np.random.Generator) -> None:
    a = rng.standard_normal(ELEMENTS).astype("f4")
    x = st.tensor(a, requires_grad=True)
    (gradient,) = st.grad(st.square(x), x, st.asarray(a))
    assert_same(gradient.numpy(), a * (2 * a))


ROWS: dict[str, Callable[[st.Tensor, st.Tensor], list[st.Tensor]]] = {
    "softmax": lambda x, g: [y := st.softmax(x), *st.grad(y, x, g)],
    "log_softmax": lambda x, g: [y := st.log_softmax(x), *st.grad(y, x, g)],
    "layer_norm": lambda x, g: [y := st.layer_norm(x, x.shape[1]), *st.grad(y, x, g)],
    "cross_entropy": lambda x, g: st.grad(st.cross_entropy(x, st.argmax(g, 1), "none"), x, g[:, 0]),
}


@pytest.mark.parametrize("length", [1000, 1003, 8191, 20_001])
@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str, length: int, dtype: str, number_of_threads: int, rng: np.random.Generator) -> None:
    count = ELEMENTS // length + 1
    x, g = (st.asarray(rng.standard_normal((count, length)).astype(dtype)) for _ in "xg")
    x.requires_grad = True
    results = [y.detach().numpy() for y in ROWS[name](x, g)]
    for i in (0, 1, count // 2, count - 1):
        row = st.tensor(x[i : i + 1], requires_grad=True)
        for result, alone in zip(results, ROWS[name](row, g[i : i + 1]), strict=True):
            assert_same(result[i : i + 1], alone.detach().numpy())
    expected = _softmax(x.detach().numpy().astype("f8")) if name == "softmax" else None
    if expected is not None:
        np.testing.assert_allclose(results[0], expected, rtol=1e-5)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
