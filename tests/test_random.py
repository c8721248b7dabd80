"""Random numbers: the Philox generator against its published vectors, the distributions, and reproducibility."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import Array, assert_same

MASK = 2**32 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 in Python integers: Salmon, Moraes, Dror, Shaw, "Parallel random numbers", SC11."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & MASK, (p >> 32) ^ c[3] ^ k[1], p & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def words(seed: int, blocks: int, start: int = 0) -> Array:
    key = [seed & MASK, seed >> 32]
    stream = [philox([i & MASK, i >> 32, 0, 0], key) for i in range(start, start + blocks)]
    return np.array(stream, np.uint32).reshape(-1)


def test_reference_is_philox() -> None:
    """The known answers that come with the authors' Random123 library."""
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([MASK] * 4, [MASK] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]
    assert philox(*pi) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**64 - 1])
def test_uniform_is_the_stream(seed: int) -> None:
    st.manual_seed(seed)
    w = words(seed, 30)
    assert_same(st.random.uniform(117).numpy(), ((w >> 8) * np.float32(2**-24)).astype("f4")[:117])
    st.random.set_state((seed, 1000))
    w = words(seed, 30, 1000)
    expected = (w[::2] >> 5) * 2.0**-27 + (w[1::2] >> 6) * 2.0**-53
    assert_same(st.random.uniform(60, dtype="float64").numpy(), expected)


def test_other_distributions_are_the_stream() -> None:
    w = words(7, 8)
    wide = (w[1::2].astype(object) << 32) | w[::2]
    st.manual_seed(7)
    assert st.random.randint(-5, 12, 16).tolist() == [-5 + (int(v) * 17 >> 64) for v in wide]
    st.manual_seed(7)
    assert st.random.bernoulli((4, 8), 0.3).tolist() == (w < round(0.3 * 2**32)).reshape(4, 8).tolist()
    st.manual_seed(7)
    pairs = w.reshape(-1, 2).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log((np.floor(pairs[:, 0] / 2) + 0.5) * 2**-31)), pairs[:, 1] * (2 * np.pi / 2**32)
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
    np.testing.assert_allclose(st.random.normal(32).numpy(), expected, rtol=1e-6, atol=3e-7)


def draws() -> list[Any]:
    r = st.random
    return [
        r.uniform((100, 300)), r.uniform((30, 10), -2, 5, dtype="float64"), r.normal(40_001), r.normal((7, 9), 3, 0.5),
        r.normal(40_000, dtype="float64"), r.randint(0, 10, 50_000), r.randint(-3, 3, (5, 5), dtype="int32"),
        r.bernoulli((200, 300), 0.2), r.permutation(1000), st.dropout(st.ones(1000), 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize("n", [2, 3, 8])
def test_threads_do_not_change_a_bit(n: int, threads: None) -> None:
    results = []
    for count in (1, n):
        st.set_num_threads(count)
        st.manual_seed(123)
        results.append([t.numpy() for t in draws()])
    for one, many in zip(*results, strict=True):
        assert_same(many, one)


def test_state_and_seed() -> None:
    st.manual_seed(5)
    first = [t.numpy() for t in draws()]
    state = st.random.get_state()
    after = st.random.uniform(10).numpy()
    st.manual_seed(5)
    for again, expected in zip(draws(), first, strict=True):
        assert_same(again.numpy(), expected)
    st.random.set_state(state)
    assert_same(st.random.uniform(10).numpy(), after)
    st.manual_seed(6)
    assert not np.array_equal(st.random.uniform((100, 300)).numpy(), first[0])
    st.manual_seed(5)
    assert len({st.random.uniform(()).item() for _ in range(1000)}) > 990  # calls take different parts of the stream


def test_a_fork_has_a_stream_of_its_own() -> None:
    st.manual_seed(1)
    expected = st.random.uniform(4).tolist()
    st.manual_seed(2)
    state = st.random.get_state()
    with st.random.fork(1):
        assert st.random.uniform(4).tolist() == expected
        with pytest.raises(RuntimeError, match="inside"), st.random.fork(3):
            raise RuntimeError("inside")
        assert st.random.get_state()[0] == 1
    assert st.random.get_state() == state
    with pytest.raises(ValueError, match="a seed must be"), st.random.fork(-1):
        pass
    assert st.random.get_state() == state


def test_numpy_integers_are_seeds_and_sizes() -> None:
    st.manual_seed(np.int64(5))
    first = st.random.uniform(np.int64(3)).numpy()
    st.manual_seed(5)
    assert_same(st.random.uniform(3).numpy(), first)


def test_parts_of_a_stream_do_not_overlap_across_threads() -> None:
    results: list[Array] = []

    def draw() -> None:
        results.extend(st.random.uniform(8, dtype="float64").numpy() for _ in range(50))

    workers = [threading.Thread(target=draw) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert np.unique(np.concatenate(results)).size == 4 * 50 * 8


def normal_cdf(x: Array) -> Array:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def kolmogorov_smirnov(sample: Array, cdf: Any) -> float:
    """√n times the largest distance from the distribution function; above 1.95 with a probability of 0.001."""
    n, f = sample.size, cdf(np.sort(sample.astype(np.float64)))
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max(np.max(steps[1:] - f), np.max(f - steps[:-1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype: str) -> None:
    n = 50_000
    uniform = st.random.uniform(n, -1, 3, dtype=dtype).numpy()
    assert kolmogorov_smirnov(uniform, lambda x: (x + 1) / 4) < 1.95
    assert -1 <= uniform.min() < -0.999
    assert 2.999 < uniform.max() < 3
    normal = st.random.normal(n, 2, 3, dtype=dtype).numpy()
    assert kolmogorov_smirnov((normal - 2) / 3, normal_cdf) < 1.95
    pairs = ((normal - 2) / 3).reshape(-1, 2)
    assert abs((pairs[:, 0] * pairs[:, 1]).mean()) < 4 / math.sqrt(n / 2)  # Box and Muller's pairs are independent
    assert abs((uniform[1:] - 1) @ (uniform[:-1] - 1)) / n < 4 * (4 / 3) / math.sqrt(n)  # and so are neighbours


def test_integers_and_truth_values() -> None:
    n, k = 60_000, 7
    counts = np.bincount(st.random.randint(0, k, n).numpy(), minlength=k)
    assert ((counts - n / k) ** 2 / (n / k)).sum() < 22.5  # χ² with 6 degrees of freedom: 0.1 % lie above
    for low, high in ((-(2**31), 2**31 - 1), (0, 1), (-5, -4)):
        x = st.random.randint(low, high, 1000, dtype="int32").numpy()
        assert low <= x.min() <= x.max() < high
    wide = st.random.randint(-(2**63), 2**63 - 1, 1000).numpy()
    assert wide.min() < -(2**62) < 2**62 < wide.max()
    for p in (0.0, 0.01, 0.5, 1.0):
        share = st.random.bernoulli(n, p).numpy().mean()
        assert abs(share - p) <= 4 * math.sqrt(p * (1 - p) / n)


def test_permutation() -> None:
    for n in (0, 1, 2, 33, 1000):
        assert sorted(st.random.permutation(n).tolist()) == list(range(n))
    counts = np.zeros((4, 4))
    for _ in range(4000):
        counts[np.arange(4), st.random.permutation(4).numpy()] += 1
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9  # χ² with 9 degrees of freedom


def test_shapes_and_gradients() -> None:
    assert st.random.uniform().shape == ()
    assert st.random.uniform((2, 0)).shape == (2, 0)
    assert st.random.normal([3, 1]).shape == (3, 1)
    x = st.random.normal((3,), requires_grad=True)
    assert x.requires_grad
    assert x.is_leaf
    assert_same(st.random.uniform(5, 2.5, 2.5).numpy(), np.full(5, 2.5, "f4"))
    tight = st.random.uniform(10_000, 1.0, np.nextafter(np.float32(1), np.float32(2))).numpy()
    assert_same(tight, np.ones(10_000, "f4"))  # high is never reached


def test_a_block_with_a_stream_of_its_own() -> None:
    st.manual_seed(5)
    expected = st.random.uniform(6).numpy()
    st.manual_seed(9)
    st.random.uniform(8)
    after = st.random.get_state()
    st.manual_seed(9)
    with st.random.fork(5):
        first = st.random.uniform(3).numpy()
        with st.random.fork(9):
            assert st.random.get_state() == (9, 0)
            st.manual_seed(1)
        thread = threading.Thread(target=st.random.uniform, args=(8,))  # draws from the stream that all threads share
        thread.start()
        thread.join()
        st.random.set_state((5, 0))
        assert_same(st.random.uniform(6).numpy(), expected)
    assert_same(first, expected[:3])
    assert st.random.get_state() == after
    for bad, error in ((-1, ValueError), ("a", TypeError)):
        with pytest.raises(error, match="a seed must be an integer"), st.random.fork(bad):  # type: ignore[arg-type]
            pass
    assert st.random.get_state() == after
