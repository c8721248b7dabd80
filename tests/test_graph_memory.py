"""The memory of CUDA graphs, threads and streams that share them, and operations of all kinds in them."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import steep as st
from graph_steps import Step, batches, network, training

# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_is_given_back(cuda: str, rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal((400, 400), np.float32), device=cuda)  # a block of the driver's
    st.cuda.synchronize()
    gc.collect()
    st.cuda.empty_cache()
    before = st.cuda.memory_stats(cuda)
    step = st.cuda.graph(lambda x: (x * 2 + 1, st.exp(x).sum()))
    for _ in range(4):
        kept = step(x)
    value = kept[0].numpy()
    others = [st.zeros(400, 400, device=cuda) for _ in range(5)]
    np.testing.assert_array_equal(step(x)[0].numpy(), value)
    del step
    np.testing.assert_array_equal(kept[0].numpy(), value)
    del kept, others
    gc.collect()
    st.cuda.empty_cache()
    after = st.cuda.memory_stats(cuda)
    assert after["in_use"] == before["in_use"]
    assert after["cached"] <= before["cached"]


def test_what_the_graph_uses_lives_as_long_as_the_graph(cuda: str) -> None:
    w = st.full(1000, 3.0, device=cuda)
    scale = {"w": w}
    step = st.cuda.graph(lambda x: x * scale["w"])
    x = st.ones(1000, device=cuda)
    for _ in range(2):
        step(x)
    del w, scale["w"]
    gc.collect()
    others = [st.zeros(1000, device=cuda) for _ in range(10)]
    assert step(x).tolist() == [3.0] * 1000
    assert all(o.tolist() == [0.0] * 1000 for o in others)


def test_gradients_stay_valid_without_the_graph(cuda: str) -> None:
    w = st.ones(4, device=cuda, requires_grad=True)

    def gradient(x: st.Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()

    step = st.cuda.graph(gradient)
    for i in range(4):
        step(st.full(4, float(i), device=cuda))
    assert w.grad is not None
    assert w.grad.tolist() == [3.0] * 4
    del step
    gc.collect()
    others = [st.zeros(4, device=cuda) for _ in range(50)]
    assert w.grad.tolist() == [3.0] * 4
    assert len(others) == 50


def test_a_change_in_place_by_a_replay_counts(cuda: str) -> None:
    w = st.ones(3, device=cuda, requires_grad=True)

    def scale() -> None:
        with st.no_grad():
            w.mul_(2)

    step = st.cuda.graph(scale, device=cuda)
    for _ in range(3):
        step()
    y = (w * w).sum()
    step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    assert w.tolist() == [16.0] * 3


def test_launches_from_several_streams_come_one_after_another(cuda: str) -> None:
    total = st.zeros(1, device=cuda)

    def add(x: st.Tensor) -> st.Tensor:
        return total.add_(x)

    step = st.cuda.graph(add)
    streams = [st.cuda.Stream(cuda) for _ in range(2)]
    for i in range(8):
        x = st.full(1, float(i), device=cuda)
        stream = streams[i % 2]
        if i < 3:
            step(x)
            st.cuda.synchronize()
            continue
        stream.wait_stream(st.cuda.default_stream(cuda))
        with st.cuda.stream(stream):
            step(x)
    st.cuda.synchronize()
    assert total.tolist() == [28.0]


def test_a_step_is_captured_again_where_it_has_to_be(cuda: str, rng: np.random.Generator) -> None:
    data = batches(rng, 12, cuda)
    model = network().to(cuda)
    plain, optimizer = training(lambda p: st.optim.Adam(p, lr=0.05), model)
    runs = []

    @st.cuda.graph
    def step(x: st.Tensor, y: st.Tensor) -> st.Tensor:
        runs.append(0)
        return plain(x, y)

    def count(n: int) -> int:
        runs.clear()
        for x, y in data[:n]:
            step(x, y)
        return len(runs)

    assert count(5) == 2
    assert count(5) == 0
    model.to("float64").to("float32")
    assert count(5) == 2
    optimizer.load_state_dict(optimizer.state_dict())
    assert count(5) == 2
    plain(*data[0])
    optimizer.lr = 0.5
    assert count(5) == 0


def test_threads_capture_side_by_side(cuda: str) -> None:
    barrier = threading.Barrier(2)
    results: dict[int, list[float]] = {}

    def work(number: int) -> None:
        def add(x: st.Tensor) -> st.Tensor:
            barrier.wait(20)  # both are recording now
            return st.exp(x * 0) * number + x

        step = st.cuda.graph(add)
        results[number] = [float(step(st.full((), float(i), device=cuda))) for i in range(4)]

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {n: [n + float(i) for i in range(4)] for n in (1, 2)}


OPERATIONS: dict[str, Step] = {
    "creation": lambda x: st.zeros(4, device=x.device) + st.full(4, 2.5, device=x.device) + st.ones_like(x),
    "numbers": lambda x: (2 * x - 1) / 3 + st.where(x > 0, x, 0.5),
    "joined": lambda x: st.stack([st.concat([x, x * 2], 1)[:, 2:6], x], 0),
    "views": lambda x: st.reshape(x.T, (2, 6))[:, ::2].contiguous() + x[0, 0],
    "reduced": lambda x: [x.sum(), x.mean(0), x.max(1), st.argmax(x, 1), st.std(x, 0), st.logsumexp(x, 1)],
    "rows": lambda x: [st.softmax(x), st.log_softmax(x), st.layer_norm(x, 4)],
    "products": lambda x: [x @ x.T, st.einsum("ij,kj->ik", x, x), st.linear(x, x, activation="relu")],
    "ordered": lambda x: [st.sort(x), st.argsort(x), st.cumulative_sum(x, axis=1), st.topk(x, 2)[0]],
    "chosen": lambda x: [st.take_along_axis(x, st.argsort(x), 1), st.one_hot(st.argmax(x, 1), 4)],
    "dtypes": lambda x: [x.astype("bfloat16") * 2, (x > 0).astype("int32").sum(), x.astype("float64") ** 3],
}


def assigned(x: st.Tensor) -> st.Tensor:
    y = x.copy()
    y[:, 1] = 7.0
    y[0] = x[1]
    y[1:, 2:] += x[1:, :2]
    return y


OPERATIONS["assigned"] = assigned


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_all_kinds(cuda: str, rng: np.random.Generator, name: str) -> None:
    function = OPERATIONS[name]
    step = st.cuda.graph(function)
    for _ in range(4):
        x = st.tensor(rng.standard_normal((3, 4), np.float32), device=cuda)
        got, expected = step(x), function(x)
        for a, b in zip(*((v if isinstance(v, list) else [v]) for v in (got, expected)), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a.astype("float64").numpy(), b.astype("float64").numpy())
