"""steep.cuda.graph: captured steps do what the steps themselves do, bit for bit, on CUDA and on the CPU."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn

Step = Callable[..., Any]


def network(p: float = 0.3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 16, activation="relu"), nn.Dropout(p), nn.Linear(16, 3))


def training(make: Callable[[Any], Any], model: nn.Module, loss: Step = st.cross_entropy) -> tuple[Step, Any]:
    optimizer = make(model.parameters())

    def step(x: st.Tensor, y: st.Tensor) -> st.Tensor:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return step, optimizer


def batches(
    rng: np.random.Generator, steps: int, device: Any = None, rows: int = 7
) -> list[tuple[st.Tensor, st.Tensor]]:
    return [
        (
            st.tensor(rng.standard_normal((rows, 5), np.float32), device=device),
            st.tensor(rng.integers(0, 3, rows), device=device),
        )
        for _ in range(steps)
    ]


def run(wrap: Callable[[Step], Step], data: Any, make: Callable[[Any], Any], device: Any = None, **options: Any) -> Any:
    """Losses, parameters and the optimizer after training."""
    st.manual_seed(0)
    with st.device(device or st.get_default_device()):
        model = network(**options)
    step, optimizer = training(make, model)
    step = wrap(step)
    losses = [step(x, y) for x, y in data]
    return [loss.numpy() for loss in losses], [p.detach().numpy() for p in model.parameters()], optimizer


def assert_equal(got: Any, expected: Any) -> None:
    for a, b in zip((*got[0], *got[1]), (*expected[0], *expected[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert str(got[2].state_dict()["state"].keys()) == str(expected[2].state_dict()["state"].keys())


OPTIMIZERS = {
    "adam": lambda p: st.optim.Adam(p, lr=0.05),
    "adamw_schedule": lambda p: st.optim.AdamW(p, lr=st.optim.schedules.CosineDecay(0.1, decay_steps=40)),
    "sgd": lambda p: st.optim.SGD(p, lr=0.1),
    "momentum": lambda p: st.optim.SGD(p, lr=st.optim.schedules.StepDecay(0.1, 5), momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_has_the_bits_of_the_step_itself(rng: np.random.Generator, name: str) -> None:
    """50 steps of a network with dropout, on the default device."""
    data = batches(rng, 50)
    expected = run(lambda step: step, data, OPTIMIZERS[name])
    state = st.random.get_state()
    got = run(st.cuda.graph, data, OPTIMIZERS[name])
    assert_equal(got, expected)
    assert st.random.get_state() == state
    for a, b in zip(got[2].state_dict()["state"].values(), expected[2].state_dict()["state"].values(), strict=True):
        assert a["step"] == b["step"] == 50
        for key in {*a} - {"step"}:
            np.testing.assert_array_equal(a[key].numpy(), b[key].numpy())


def test_a_step_is_captured_once_for_each_shape(cuda: str, rng: np.random.Generator) -> None:
    calls = []
    w = st.ones(5, device=cuda)

    @st.cuda.graph
    def step(x: st.Tensor, factor: float) -> dict[str, Any]:
        """Scales."""
        calls.append(x.shape)
        return {"y": (x @ w * factor, None), "x": [x]}

    assert (step.__name__, step.__doc__) == ("step", "Scales.")
    x = st.tensor(rng.standard_normal((4, 5), np.float32), device=cuda)
    for factor in (2.0, 3.0):
        for _ in range(4):
            got = step(x, factor)
            np.testing.assert_array_equal(got["y"][0].numpy(), (x @ w * factor).numpy())
            assert got["y"][1] is None
    assert len(calls) == 4  # as it is, and recorded, with each number
    step(x[:3], 2.0)
    step(x.astype("float64").astype("float32")[:3], factor=2.0)
    assert len(calls) == 6
    assert "2 recorded" in repr(step)
    step.reset()
    step(x, 2.0)
    assert len(calls) == 7


def test_results_and_arguments_stay_as_they_are(cuda: str) -> None:
    @st.cuda.graph
    def step(x: st.Tensor) -> st.Tensor:
        x += 1
        return x

    x = st.zeros(3, device=cuda)
    results = [step(x.copy()) for _ in range(2)]
    results += [step(st.full(3, float(i), device=cuda)) for i in range(4)]
    assert [r.tolist() for r in results] == [[1.0] * 3, [1.0] * 3, *([i + 1.0] * 3 for i in range(4))]
    y = st.zeros(3, device=cuda)
    step(y)
    assert y.tolist() == [0.0] * 3  # the graph has a copy


def test_random_numbers_go_on(rng: np.random.Generator) -> None:
    def draw() -> tuple[st.Tensor, st.Tensor]:
        return st.random.uniform(5), st.random.normal((2, 3)) + st.random.bernoulli((2, 3))

    st.manual_seed(3)
    expected = [[x.numpy() for x in draw()] for _ in range(6)]
    st.manual_seed(3)
    step = st.cuda.graph(draw)
    got = []
    for i in range(6):
        if i == 4:  # what the host draws in between is no matter
            state = st.random.get_state()
            st.random.uniform(100)
            st.random.set_state(state)
        got.append([x.numpy() for x in step()])
    for a, b in zip(got, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_rates_and_options_may_be_changed_between_calls(rng: np.random.Generator) -> None:
    data = batches(rng, 20)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network()
        step, optimizer = training(lambda p: st.optim.SGD(p, lr=0.1, momentum=0.5), model)
        step = wrap(step)
        for i, (x, y) in enumerate(data):
            if i % 4 == 0:
                optimizer.lr = 0.1 / (1 + i)
            if i == 9:
                optimizer.param_groups[0]["weight_decay"] = 0.1
            if i == 12:
                optimizer.param_groups[0]["momentum"] = 0.0  # keeps no velocity: another graph
            step(x, y)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_changes_in_between_are_noticed(rng: np.random.Generator) -> None:
    """Loaded states, steps without a graph, and a parameter that is frozen and moved."""
    data = batches(rng, 30)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network()
        plain, optimizer = training(lambda p: st.optim.Adam(p, lr=0.05), model)
        step = wrap(plain)
        saved: Any = None
        for i, (x, y) in enumerate(data):
            if i in (7, 8, 15):
                plain(x, y)
                continue
            if i == 10:
                saved = optimizer.state_dict(), {k: v.copy() for k, v in model.state_dict().items()}
            if i == 14:
                optimizer.load_state_dict(saved[0])
                model.load_state_dict(saved[1])
            if i == 20:
                model.to("float64").to("float32")
            step(x, y)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("change", ["freeze", "add", "replace"])
def test_changes_of_what_is_trained_are_noticed(rng: np.random.Generator, change: str) -> None:
    data = batches(rng, 16)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network(0.0)
        first, last = model[0], model[2]
        step, optimizer = training(lambda p: st.optim.Adam(last.parameters() if change == "add" else p, lr=0.05), model)
        step = wrap(step)
        for i, (x, y) in enumerate(data):
            if change == "freeze":
                first.weight.requires_grad = not 4 <= i < 9
            elif change == "add" and i == 4:
                optimizer.add_param_group({"params": first.parameters(), "lr": 0.1})
            elif change == "replace" and i == 4:
                first.weight = optimizer.param_groups[0]["params"][0] = nn.Parameter(first.weight.detach() / 2)
            step(x, y)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_master_weights(rng: np.random.Generator, dtype: str) -> None:
    data = [(x.astype(dtype), y) for x, y in batches(rng, 16)]

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network().to(dtype)
        plain, optimizer = training(lambda p: st.optim.Adam(p, lr=1e-3, master_weights=True), model)
        step = wrap(plain)
        for i, (x, y) in enumerate(data):
            if i == 9:
                with st.no_grad():
                    model[0].weight.mul_(0.5)
            (plain if i == 6 else step)(x, y)
        state = optimizer.state_dict()["state"]
        return [s["master_weight"].numpy() for s in state.values()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_that_are_added_up(rng: np.random.Generator) -> None:
    data = batches(rng, 24)

    def train(wrap: Callable[[Step], Step]) -> list[Any]:
        st.manual_seed(0)
        model = network(0.0)
        optimizer = st.optim.Adam(model.parameters(), lr=0.05)

        def half(x: st.Tensor, y: st.Tensor, last: bool) -> st.Tensor:
            loss = st.cross_entropy(model(x), y) / 2
            loss.backward()
            if last:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
            return loss

        step = wrap(half)
        for i, (x, y) in enumerate(data):
            step(x, y, i % 2 == 1)
        return [p.detach().numpy() for p in model.parameters()]

    for a, b in zip(train(st.cuda.graph), train(lambda step: step), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_and_batch_norm(rng: np.random.Generator) -> None:
    data = batches(rng, 12)

    def train(wrap: Callable[[Step], Step], outside: bool) -> list[Any]:
        st.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        plain, _ = training(lambda p: st.optim.SGD(p, lr=0.1), model)
        step = wrap(plain if outside else st.autocast("bfloat16")(plain))
        for x, y in data:
            if outside:
                with st.autocast("bfloat16"):
                    step(x, y)
            else:
                step(x, y)
        return [x.detach().numpy() for x in model.state_dict().values()]

    for outside in (False, True):
        for a, b in zip(train(st.cuda.graph, outside), train(lambda step: step, outside), strict=True):
            np.testing.assert_array_equal(a, b)


def test_gradients_of_gradients(cuda: str) -> None:
    def penalty(x: st.Tensor) -> st.Tensor:
        x = x.detach()
        x.requires_grad = True
        (g,) = st.autograd.grad((x**3 + st.where(True, x, 0.5)).sum(), [x], create_graph=True)
        (g * g).sum().backward()
        assert x.grad is not None
        return x.grad

    step = st.cuda.graph(penalty)
    for i in range(4):
        assert step(st.full(2, float(i), device=cuda)).tolist() == [2 * (3.0 * i**2 + 1) * 6 * i] * 2


def test_casts_of_an_outer_block_are_made_again(cuda: str) -> None:
    w = st.ones((2, 2), device=cuda, requires_grad=True)

    def double(x: st.Tensor) -> st.Tensor:
        y = x @ w
        with st.no_grad():
            w.mul_(2)
        return y

    step, x = st.cuda.graph(double), st.ones((2, 2), device=cuda)
    with st.autocast("bfloat16"):
        for i in range(1, 6):
            assert step(x).tolist() == [[2.0**i] * 2] * 2
        assert (x @ w).tolist() == [[64.0] * 2] * 2


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
