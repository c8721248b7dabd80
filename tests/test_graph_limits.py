"""What a step that is captured as a CUDA graph cannot do or be given, and the checks that the device makes for it."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import steep as st
from graph_steps import Step, batches, network, training
from steep import nn

# --- what cannot be captured ------------------------------------------------------------------------------------------


def reads_item(x: st.Tensor) -> Any:
    return x * x.sum().item()


def reads_numpy(x: st.Tensor) -> Any:
    return x * st.tensor(x.numpy().max(), device=x.device)


def reads_truth(x: st.Tensor) -> Any:
    return x if x.sum() > 0 else -x


def selects(x: st.Tensor) -> Any:
    return x[x > 0]


def copies(x: st.Tensor) -> Any:
    return x + st.tensor([1.0, 2.0, 3.0], device=x.device)


def synchronizes(x: st.Tensor) -> Any:
    st.cuda.synchronize()
    return x


def other_stream(x: st.Tensor) -> Any:
    with st.cuda.stream(st.cuda.Stream(x.device)):
        return x + 1


REFUSED = {
    reads_item: r"item: a step that is captured as a CUDA graph cannot read",
    reads_numpy: r"numpy: a step that is captured",
    reads_truth: r"item: a step that is captured",
    selects: r"nonzero: a step that is captured",
    copies: r"to: a step that is captured as a CUDA graph cannot copy from the host",
    synchronizes: r"synchronize: a step that is captured",
    other_stream: r"add: a step that is captured.*wait_stream",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
def test_what_a_graph_cannot_do_is_refused(cuda: str, function: Step) -> None:
    model = nn.Linear(3, 3).to(cuda)
    optimizer = st.optim.Adam(model.parameters())
    x = st.tensor([1.0, 2.0, 3.0], device=cuda)

    def whole(x: st.Tensor) -> Any:
        optimizer.zero_grad()
        nn.Dropout(0.5)(model(x)).sum().backward()
        optimizer.step()
        return function(x)

    step = st.cuda.graph(whole)
    step(x)
    before = [p.detach().numpy() for p in model.parameters()], [p.grad for p in model.parameters()]
    state, steps = st.random.get_state(), optimizer.state_dict()["state"][0]["step"]
    for _ in range(2):
        with pytest.raises(st.cuda.CudaError, match=REFUSED[function]):
            step(x)
        for p, values, grad in zip(model.parameters(), *before, strict=True):
            np.testing.assert_array_equal(p.detach().numpy(), values)
            assert p.grad is grad
        assert st.random.get_state() == state
        assert optimizer.state_dict()["state"][0]["step"] == steps == 1
        assert st.cuda.current_stream(cuda) == st.cuda.default_stream(cuda)
    whole(x)  # and goes on
    assert optimizer.state_dict()["state"][0]["step"] == 2


def test_streams_inside_of_a_step(cuda: str) -> None:
    side = st.cuda.Stream(cuda)

    @st.cuda.graph
    def step(x: st.Tensor) -> st.Tensor:
        main = st.cuda.current_stream(cuda)
        side.wait_stream(main)
        with st.cuda.stream(side):
            y = st.exp(x)
        z = x * 2
        main.wait_stream(side)
        return y + z

    for i in range(5):
        x = st.full(4, float(i), device=cuda)
        np.testing.assert_array_equal(step(x).numpy(), (st.exp(x) + x * 2).numpy())
    unjoined = st.cuda.graph(lambda x: (side.wait_stream(st.cuda.current_stream(cuda)), x + 1)[1])
    for i in range(4):
        assert unjoined(st.full(1, float(i), device=cuda)).tolist() == [i + 1.0]


def test_arguments_and_results_of_other_kinds(cuda: str) -> None:
    step = st.cuda.graph(lambda *args: args[0], device=cuda)
    with pytest.raises(ValueError, match=r"on cpu, and the step runs on cuda:0: move it there with \.to\('cuda:0'\)"):
        step(st.ones(2, device="cpu"))
    with pytest.raises(ValueError, match=r"requires a gradient.*pass x\.detach\(\)"):
        step(st.ones(2, device=cuda, requires_grad=True))
    with pytest.raises(TypeError, match="make arrays tensors"):
        step(st.ones(2, device=cuda), np.ones(2))
    for value in (1.5, st.ones(2, device="cpu"), "text"):
        constant = st.cuda.graph(lambda x, value=value: {"a": [value]})
        constant(st.ones(2, device=cuda))
        with pytest.raises(TypeError, match="the same in every replay"):
            constant(st.ones(2, device=cuda))
    with pytest.raises(TypeError, match="expected a function"):
        st.cuda.graph(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="warmup"):
        st.cuda.graph(step, warmup=0)


def test_other_optimizers_are_refused(cuda: str, rng: np.random.Generator) -> None:
    (x, y), *_ = batches(rng, 1, cuda)
    model = network().to(cuda)
    step, optimizer = training(lambda p: st.optim.RMSprop(p), model)
    captured = st.cuda.graph(step)
    captured(x, y)
    with pytest.raises(RuntimeError, match=r"RMSprop\.step: .*use SGD, Adam or AdamW"):
        captured(x, y)
    assert not optimizer.capturable
    assert st.optim.SGD(model.parameters(), lr=0.1).capturable


def test_more_signatures_than_the_limit_run_as_they_are(cuda: str) -> None:
    step = st.cuda.graph(lambda x: x + 1, limit=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            for n in (1, 2, 3, 4):
                assert step(st.zeros(n, device=cuda)).tolist() == [1.0] * n
    assert [str(w.message)[:60] for w in caught] == [
        "graph: the step was called with more than 2 combinations of s"[:60]
    ]


def test_numbers_that_are_equal_but_not_the_same(cuda: str) -> None:
    step, x = st.cuda.graph(lambda x, factor: 1 / (x * factor)), st.ones(1, device=cuda)
    for factor in (0.0, -0.0) * 4:
        assert step(x, factor).tolist() == [np.copysign(np.inf, factor)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(40):  # one combination
            assert np.isnan(step(x, float("nan")).numpy()).all()
    assert "3 recorded" in repr(step)


def test_methods(cuda: str) -> None:
    class Scale:
        """A step that is a method."""

        def __init__(self, factor: float) -> None:
            self.factor = factor

        @st.cuda.graph
        def step(self, x: st.Tensor) -> st.Tensor:
            return x * self.factor

    for scale in (Scale(2.0), Scale(3.0)):
        for i in range(4):
            assert scale.step(st.full(2, float(i), device=cuda)).tolist() == [i * scale.factor] * 2
    assert "2 recorded" in repr(Scale.step)


def test_the_precision_of_products_is_part_of_a_graph(cuda: str, rng: np.random.Generator) -> None:
    x = st.tensor(rng.standard_normal((256, 256), np.float32), device=cuda)
    step = st.cuda.graph(lambda x: x @ x)
    try:
        for precision in ("highest", "medium", "high") * 3:
            st.set_float32_matmul_precision(precision)
            np.testing.assert_array_equal(step(x).numpy(), (x @ x).numpy())
    finally:
        st.set_float32_matmul_precision("highest")
    assert "3 recorded" in repr(step)


def test_a_copy_has_no_graphs(cuda: str) -> None:
    step = st.cuda.graph(st.exp, device=cuda, limit=3)
    for _ in range(3):
        step(st.zeros(2, device=cuda))
    for other in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        assert "0 recorded" in repr(other)
        for _ in range(3):
            assert other(st.zeros(2, device=cuda)).tolist() == [1.0] * 2
        assert "1 recorded" in repr(other)


def test_threads_share_a_step(cuda: str) -> None:
    """Each gets the results of its own arguments, while one captures and others replay."""
    step = st.cuda.graph(lambda x: (x * 2).sum())
    wrong: list[Any] = []

    def work(i: int) -> None:
        for k in range(50):
            n = 100 + k // 10
            got = float(step(st.full(n, float(i), device=cuda)))
            if got != 2.0 * i * n:
                wrong.append((i, n, got))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert "5 recorded" in repr(step)


# --- checks of values -------------------------------------------------------------------------------------------------


def test_labels_are_looked_at_by_the_device(cuda: str, rng: np.random.Generator) -> None:
    model = network(0.0).to(cuda)
    step, _ = training(lambda p: st.optim.SGD(p, lr=0.1), model)
    captured = st.cuda.graph(step)
    (x, y), *_ = batches(rng, 1, cuda)
    for _ in range(3):
        captured(x, y)
    wrong = y.copy()
    wrong[2] = 3
    loss = captured(x, wrong)
    with pytest.raises(
        ValueError, match=r"cross_entropy: a replay of a CUDA graph had the label 3, but with 3 classes"
    ):
        float(loss)
    assert float(loss) > 0  # said once
    captured(x, wrong)
    st.cuda.current_stream(cuda).query()
    with pytest.raises(ValueError, match="had the label 3"):
        st.cuda.synchronize()
    captured(x, y)
    st.cuda.synchronize()
    captured(x, wrong * 0 - 1)
    st.cuda.current_stream(cuda).query()
    with pytest.raises(ValueError, match=r"had the label -1, .* class 0 was taken in its place$"):
        st.cross_entropy(x[:, :3], y)  # whose own labels are right


def test_indices_are_looked_at_by_the_device(cuda: str) -> None:
    table = st.arange(12, dtype="float32").reshape(4, 3).to(cuda)
    one = st.arange(3, dtype="int32").to(cuda)
    functions: list[Step] = [
        lambda i: st.take(table, i, 0),
        lambda i: table[i],
        lambda i: table[i, one[: len(i)]],
    ]
    for function in functions:
        step = st.cuda.graph(function)
        for right in ([0, 1], [3, -1], [-4, 2], [2, 2]):
            i = st.tensor(right, device=cuda)
            np.testing.assert_array_equal(step(i).numpy(), function(i).numpy())
        for bad in (4, -5):
            got = step(st.tensor([1, bad], device=cuda))
            with pytest.raises(
                IndexError, match=rf"a replay of a CUDA graph had the index {bad}, which is out of range"
            ):
                got.numpy()


def test_other_values_are_looked_at_by_the_device(cuda: str) -> None:
    losses: list[tuple[Step, str, float, float]] = [
        (lambda x: st.binary_cross_entropy(x, x * 0), "lay outside of", 0.25, 1.5),
        (lambda x: st.soft_margin_loss(x * 0, x), "neither 1 nor -1", -1.0, 0.5),
        (lambda x: st.kl_div(x * 0, x), "negative", 0.5, -0.5),
        (lambda x: st.gaussian_nll_loss(x * 0, x * 0, x), "variance was negative", 0.5, -0.5),
    ]
    for loss, words, right, wrong in losses:
        step = st.cuda.graph(loss)
        for _ in range(3):
            x = st.full(4, right, device=cuda)
            np.testing.assert_array_equal(step(x).numpy(), loss(x).numpy())
        got = step(st.tensor([right, wrong, right, right], device=cuda))
        with pytest.raises(ValueError, match=words):
            got.numpy()
