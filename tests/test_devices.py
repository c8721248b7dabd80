"""Devices: names and defaults, moving tensors and models, what must not be mixed, and steep.cuda."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim

MIXED = "one tensor is on (cpu|cuda:0), another on (cpu|cuda:0)"


def run(code: str) -> str:
    """The output of a Python program in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.strip()


# --- names ------------------------------------------------------------------------------------------------------------


def test_there_is_one_object_for_each_device() -> None:
    cpu, third = st.device("cpu"), st.Device("cuda", 2)
    assert st.Device("cpu") is cpu is st.device(cpu) is copy.deepcopy(cpu) is pickle.loads(pickle.dumps(cpu))
    assert st.Device("cuda", 2) is third is pickle.loads(pickle.dumps(third))
    assert third == "cuda:2" == str(third)
    assert third != "cuda"
    assert third != cpu
    assert st.Device("cuda", 0) == "cuda"
    assert {third: 1}[st.Device("cuda", 2)] == 1
    assert (third.type, third.index) == ("cuda", 2)
    for type, index in (("gpu", 0), ("cpu", 1), ("cuda", -1), ("cuda", 16)):
        with pytest.raises(ValueError, match="use 'cpu', or 'cuda' from 0 to 15"):
            st.Device(type, index)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "", 0, 1.5, None])
def test_other_names_raise(name: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a device: use 'cpu', 'cuda' or 'cuda:1'"):
        st.device(name)


@pytest.mark.parametrize(("count", "range"), [(1, r"\(cuda:0\)"), (3, r"\(cuda:0 to cuda:2\)")])
def test_a_number_beyond_the_devices_raises(monkeypatch: pytest.MonkeyPatch, count: int, range: str) -> None:
    monkeypatch.setattr(st._core.cuda, "device_count", lambda: count)
    assert st.device(f"cuda:{count - 1}").index == count - 1
    for name in ("cuda:7", st.Device("cuda", 7)):
        with pytest.raises(ValueError, match=rf"cuda:7 does not exist: the number of CUDA devices is {count} {range}"):
            st.device(name)
    with pytest.warns(UserWarning, match="cuda:7 does not exist.*: the CPU is used"):
        assert st.devices.device_or_cpu("cuda:7") == "cpu"


def test_missing_cuda_warns_once_and_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if st.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    monkeypatch.setattr(st.devices, "_warned", False)
    with pytest.warns(UserWarning, match=r"'cuda' is not available, the CPU is used \(.+\)") as record:
        assert nn.Linear(1, 1).to("cuda").weight.device == "cpu"
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert st.zeros(2, device="cuda:0").cuda().tolist() == [0, 0]
        with st.device("cuda"):
            assert st.ones(2).device == "cpu"
        assert st.random.uniform(3, device="cuda").device == "cpu"


# --- the default device -----------------------------------------------------------------------------------------------


def test_the_default_device_nests(request: pytest.FixtureRequest) -> None:
    first, second = st.Device("cuda", 0), st.Device("cuda", 1)
    outside = st.get_default_device()
    assert outside == request.config.getoption("--device")
    with first:
        assert st.get_default_device() is first
        with second, first, second:
            assert st.get_default_device() is second
        with pytest.raises(KeyError), second:
            raise KeyError
        assert st.get_default_device() is first
        with st.device("cpu") as cpu:
            assert cpu is st.get_default_device() is st.device("cpu")
            assert st.zeros(3).device == "cpu"
    assert st.get_default_device() is outside


def test_a_block_is_of_its_thread_and_the_setting_of_all() -> None:
    seen: list[st.Device] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: seen.append(st.get_default_device()))
        thread.start()
        thread.join()

    second = st.Device("cuda", 1)
    st.set_default_device("cpu")
    with second:
        look()
    st.devices._default = second  # set_default_device, without asking whether it exists
    look()
    with st.device("cpu"):
        look()
        assert st.get_default_device() == "cpu"
    assert seen == ["cpu", second, second]
    with pytest.raises(ValueError, match="not a device"):
        st.set_default_device("tpu")


CREATORS: list[Callable[..., st.Tensor]] = [
    lambda **d: st.tensor([1, 2], **d),
    lambda **d: st.tensor(np.ones(2), dtype=st.float32, requires_grad=True, **d),
    lambda **d: st.asarray(np.ones(2), **d),
    lambda **d: st.asarray([1.0], st.float64, **d),
    lambda **d: st.full((2, 2), 7, **d),
    lambda **d: st.zeros(3, **d),
    lambda **d: st.ones((2, 3), requires_grad=True, **d),
    lambda **d: st.empty(2, **d),
    lambda **d: st.arange(4, **d),
    lambda **d: st.linspace(0, 1, 3, **d),
    lambda **d: st.eye(2, **d),
    lambda **d: st.zeros_like(st.ones(2, **d)),
    lambda **d: st.ones_like(st.ones(2), **d) if d else st.ones_like(st.ones(2)),
    lambda **d: st.full_like(st.ones(2, **d), 3.0),
    lambda **d: st.empty_like(st.ones(2, **d)),
    lambda **d: st.random.uniform(3, **d),
    lambda **d: st.random.normal((2, 2), dtype=st.float64, **d),
    lambda **d: st.random.randint(0, 5, 3, **d),
    lambda **d: st.random.bernoulli(3, **d),
    lambda **d: st.random.permutation(5, **d),
]


@pytest.mark.parametrize("create", CREATORS, ids=str)
def test_new_tensors_go_where_they_are_told(create: Callable[..., st.Tensor], cuda: str) -> None:
    assert create(device="cpu").device == "cpu"
    assert create(device=cuda).device == cuda
    with st.device(cuda):
        assert create().device == cuda
        assert create(device="cpu").device == "cpu"
    with st.device("cpu"):
        assert create().device == "cpu"
    assert create(device=cuda).requires_grad == create(device="cpu").requires_grad


def test_functions_of_numbers_and_lists_use_the_default_device(cuda: str) -> None:
    with st.device(cuda):
        for x in (st.add(1, 2), st.exp([1.0]), st.equal(1, 1), st.concat([[1.0], [2.0]]), st.where([True], 1.0, 2.0)):
            assert x.device == cuda
        assert st.nn.Linear(2, 1)([[1.0, 2.0]]).device == cuda


# --- moving tensors ---------------------------------------------------------------------------------------------------


def test_to_returns_the_tensor_itself_where_nothing_changes() -> None:
    x = st.ones(2, requires_grad=True, device="cpu")
    assert x.to("cpu") is x.to(st.float32) is x.to("cpu", "float32") is x.to(dtype=st.float32, device="cpu") is x
    assert x.cpu() is x
    assert x.to(st.float64, "cpu").dtype is st.float64


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32", "float64"])
def test_values_survive_the_way_there_and_back(dtype: str, cuda: str, rng: np.random.Generator) -> None:
    x = (rng.normal(size=(3, 5, 4)) * 3).astype(dtype)
    for view in (x, x.T, x[::2, 1:], x[:, ::-1], x[:0], x[1, 2, 3]):
        there = st.tensor(view, device="cpu").to(cuda)
        assert (there.device, there.dtype.name) == (cuda, dtype)
        np.testing.assert_array_equal(there.numpy(), view)
        np.testing.assert_array_equal(there.cpu().numpy(), view)
        if view.ndim > 1:
            np.testing.assert_array_equal(there.mT[1:].cpu().numpy(), np.swapaxes(view, -1, -2)[1:])
    t = st.tensor(x, device=cuda)
    assert t.tolist() == x.tolist()
    assert t[0, 0, 0].item() == x[0, 0, 0]
    assert (bool(t[0, 0, 0]), int(t[0, 0, 0])) == (bool(x[0, 0, 0]), int(x[0, 0, 0]))
    np.testing.assert_array_equal(np.asarray(t), x)
    with pytest.raises(ValueError, match="copy=False forbids it"):
        t.__array__(copy=False)
    with pytest.raises(ValueError, match="copy=False forbids it"):
        st.asarray(x, device=cuda, copy=False)


def test_repr_names_a_device_that_is_not_the_default(cuda: str) -> None:
    with st.device("cpu"):
        assert repr(st.ones(2, device=cuda)) == "tensor([1., 1.], device='cuda:0')"
        assert repr(st.ones(2)) == "tensor([1., 1.])"
    with st.device(cuda):
        assert repr(st.ones(2)) == "tensor([1., 1.])"
        assert repr(st.ones(2, device="cpu")) == "tensor([1., 1.], device='cpu')"


def test_gradients_come_back_to_where_the_leaf_is(cuda: str) -> None:
    x = st.tensor([1.0, 2.0], device="cpu", requires_grad=True)
    y = x.to(cuda, st.float64)
    assert y.device == cuda
    assert y.grad_fn is not None
    (y * y).sum().backward()
    assert x.grad is not None
    assert (x.grad.device, x.grad.dtype) == ("cpu", st.float32)
    assert x.grad.tolist() == [2, 4]
    (x.cuda().cpu() * 3).sum().backward()
    assert x.grad.tolist() == [5, 7]
    (g,) = st.grad((x.to(cuda) ** 3).sum(), x, create_graph=True)
    assert g.device == "cpu"
    (h,) = st.grad(g.sum(), x)
    assert h.tolist() == [6, 12]
    assert st.autograd.gradcheck(lambda x: x.to(cuda).exp().cpu(), [st.tensor([0.5], st.float64, "cpu", True)])
    assert st.autograd.gradcheck(lambda x: (x * x).to("cpu"), [st.tensor([0.5], st.float64, cuda, True)])


def test_assignment_brings_values_from_any_device(cuda: str) -> None:
    x, y = st.zeros(3, device=cuda), st.arange(3, device="cpu")
    assert x.copy_(y).tolist() == [0, 1, 2]
    x[1:] = st.tensor([7.0, 8.0], device="cpu")
    x[0] = 5
    assert x.tolist() == [5, 7, 8]
    assert y.copy_(x).tolist() == [5, 7, 8]
    assert (x.device, y.device) == (cuda, "cpu")
    assert x.fill_(2).zero_().tolist() == [0, 0, 0]
    assert x.add_([1, 2, 3]).mul_(np.float32(2)).tolist() == [2, 4, 6]


def test_pickles_and_copies_stay_on_their_device(cuda: str) -> None:
    x = st.nn.Parameter(st.arange(3.0, device=cuda))
    x.grad = st.ones(3, device=cuda)
    for twin in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (type(twin), twin.device, twin.requires_grad) == (st.nn.Parameter, cuda, True)
        assert twin.tolist() == [0, 1, 2]
    assert copy.deepcopy(x).grad.device == cuda
    with st.device(cuda):
        assert pickle.loads(pickle.dumps(st.ones(2, device="cpu"))).device == "cpu"


def test_pickles_of_a_device_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    rebuild, arguments = st.ones(2).__reduce__()
    monkeypatch.setattr(st.devices, "_warned", False)
    monkeypatch.setattr(st._core.cuda, "device_count", lambda: 0)
    with pytest.warns(UserWarning, match="'cuda:1' is not available, the CPU is used"):
        assert rebuild(*arguments[:-1], "cuda:1").device == "cpu"


# --- what must not be mixed -------------------------------------------------------------------------------------------

MIXTURES: dict[str, Callable[[st.Tensor, st.Tensor], Any]] = {
    "add": lambda a, b: a + b,
    "maximum": st.maximum,
    "equal": lambda a, b: a == b,
    "where": lambda a, b: st.where(a > 0, a, b),
    "matmul": lambda a, b: a @ b,
    "linear": lambda a, b: st.linear(a, b),
    "concat": lambda a, b: st.concat([a, b]),
    "take": lambda a, b: st.take(a, b[0].astype(st.int64), 0),
    "take_along_axis": lambda a, b: st.take_along_axis(a, b.astype(st.int64), 1),
    "layer_norm": lambda a, b: st.layer_norm(a, 2, b[0]),
    "cross_entropy": lambda a, b: st.cross_entropy(a, b[0].astype(st.int64)),
    "subtract": lambda a, b: st.mse_loss(a, b),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixed_devices_raise_and_name_the_operation(name: str, cuda: str) -> None:
    here, there = st.ones((2, 2), device="cpu"), st.ones((2, 2), device=cuda)
    for a, b in ((here, there), (there, here)):
        with pytest.raises(ValueError, match=f"{name}: {MIXED}"):
            MIXTURES[name](a, b)
    with pytest.raises(ValueError, match=MIXED):
        there.add_(here)


def test_numbers_lists_and_arrays_take_the_device_of_the_tensor_beside_them(cuda: str) -> None:
    with st.device("cpu"):
        x = st.tensor([[1.0, 2.0], [3.0, 4.0]], device=cuda)
        array = np.ones((2, 2), np.float32)
        for y in (
            x + 1,
            1.5 - x,
            x * array,
            array * x,
            x @ array,
            st.add([[1.0, 1.0]], x),
            x > array,
            np.float32(2) * x,
        ):
            assert y.device == cuda
        assert st.where([True, False], x, array).device == cuda
        assert st.where(x > 1, 1.0, [0.0, 5.0]).device == cuda
        assert st.concat([array, x]).device == cuda
        assert st.clip(array, max=x).device == cuda
        assert st.linear(array, x, [1.0, 1.0]).device == cuda
        assert st.layer_norm(array, 2, x[0]).device == cuda
        assert x[[1, 0]].tolist() == x[np.array([1, 0])].tolist() == [[3, 4], [1, 2]]
        assert x[[1, 0]].device == cuda
        assert st.take(x, [1], 1).tolist() == [[2], [4]]
        assert st.cross_entropy(x, [0, 1]).device == cuda
        assert st.mse_loss(x, array).device == cuda
        assert float(st.one_hot(st.tensor([1], device=cuda), 2).sum()) == 1


def test_gradients_on_another_device_raise(cuda: str) -> None:
    x = st.ones(2, device=cuda, requires_grad=True)
    with pytest.raises(ValueError, match=r"backward: the gradient is on cpu, the output on cuda:0"):
        (x * 2).backward(st.ones(2, device="cpu"))
    with pytest.raises(ValueError, match="shape, dtype and device"):
        x.grad = st.ones(2, device="cpu")
    (x * 2).sum().backward()
    assert x.grad.device == cuda

    class Lost(st.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: st.Tensor) -> st.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: st.Tensor) -> st.Tensor:
            return g.cpu()

    with pytest.raises(RuntimeError, match="returned a Tensor on cpu for argument 0, which is on cuda:0"):
        Lost.apply(x).sum().backward()


def test_layers_name_themselves(cuda: str) -> None:
    model = nn.Sequential({"fc1": nn.Linear(2, 2), "norm": nn.LayerNorm(2)}).to(cuda)
    with pytest.raises(ValueError, match=r"Linear 'fc1' is on cuda:0, its input on cpu: .*x\.to\('cuda:0'\)"):
        model(st.ones((1, 2), device="cpu"))
    model.fc1.cpu()
    with pytest.raises(ValueError, match=r"LayerNorm 'norm' is on cuda:0, its input on cpu"):
        model(st.ones((1, 2), device="cpu"))
    assert model.cpu()(st.ones((1, 2), device="cpu")).device == "cpu"


# --- random numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 1000, 4099])
def test_a_seed_gives_the_same_numbers_on_every_device(n: int, cuda: str) -> None:
    def draw(device: str) -> list[np.ndarray[Any, Any]]:
        st.manual_seed(7)
        return [
            x.numpy()
            for x in (
                st.random.uniform(n, -1, 2, device=device),
                st.random.normal((n, 2), dtype=st.float64, device=device),
                st.random.normal(n, device=device),
                st.random.randint(-5, 100, n, st.int32, device=device),
                st.random.bernoulli(n, 0.3, device=device),
                st.random.permutation(n, device=device),
            )
        ]

    for here, there in zip(draw("cpu"), draw(cuda), strict=True):
        if here.dtype.kind == "f":  # the last bit of a logarithm may differ
            np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(there, here)
    st.manual_seed(0)
    a = st.dropout(st.ones(n, device="cpu"), 0.5)
    st.manual_seed(0)
    np.testing.assert_array_equal(a.numpy(), st.dropout(st.ones(n, device=cuda), 0.5).numpy())
    st.manual_seed(0)
    weight = nn.Linear(3, 4).weight
    st.manual_seed(0)
    with st.device(cuda):
        np.testing.assert_array_equal(nn.Linear(3, 4).weight.detach().numpy(), weight.detach().numpy())


# --- models -----------------------------------------------------------------------------------------------------------


class Counting(nn.Module):
    def __init__(self) -> None:
        self.fc = nn.Linear(3, 2)
        self.register_buffer("count", st.zeros(1, dtype=st.int64))
        self.register_buffer("same", self.count)
        self.same = self.count  # one tensor under two names

    def forward(self, x: st.Tensor) -> st.Tensor:
        return self.fc(x)


def test_moved_parameters_stay_the_same_objects() -> None:
    model = Counting()
    before = list(model.parameters())
    optimizer = optim.Adam(before, lr=0.1)
    for dtype in (st.float32, st.float64, st.float32):
        model(st.ones((4, 3))).sum().backward()
        assert model.to(dtype) is model
        after = list(model.parameters())
        assert all(a is b for a, b in zip(before, after, strict=True))
        assert {(p.dtype, p.grad.dtype, p.requires_grad) for p in after} == {(dtype, dtype, True)}
        optimizer.step()  # its state follows
        optimizer.zero_grad()
    with pytest.raises(TypeError, match="cannot be moved to int32"):
        model.to(st.int32)


def test_a_graph_does_not_outlive_a_move_of_its_parameters() -> None:
    model = nn.Linear(2, 1)
    loss = (model.weight * model.weight).sum()
    model.to(st.float64)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_model_moves_as_a_whole(cuda: str) -> None:
    model = Counting()
    before = list(model.parameters())
    model(st.ones((4, 3))).sum().backward()
    gradients = [p.grad.numpy() for p in before]
    assert model.cuda() is model
    assert [p is q for p, q in zip(before, model.parameters(), strict=True)] == [True] * 2
    assert {x.device for x in (*before, *(p.grad for p in before), model.count)} == {st.device(cuda)}
    assert model.same is model.count
    for p, g in zip(before, gradients, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), g)
    state = model.state_dict()
    assert {x.device for x in state.values()} == {st.device(cuda)}
    other = Counting().cpu()
    other.load_state_dict(state)
    assert other.fc.weight.device == "cpu"
    np.testing.assert_array_equal(other.fc.weight.detach().numpy(), model.fc.weight.detach().numpy())
    model.load_state_dict({name: x.numpy() + 1 for name, x in state.items()})
    assert model.fc.weight.device == cuda
    twin = pickle.loads(pickle.dumps(model))
    assert {x.device for x in twin.parameters()} == {st.device(cuda)}
    assert copy.deepcopy(model).fc.weight.device == cuda
    model.to("cpu", st.float64)
    assert (model.fc.weight.device, model.fc.weight.dtype, model.count.dtype) == ("cpu", st.float64, st.int64)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.AdamW(p, 0.1)], ids=str)
def test_an_optimizer_follows_its_parameters(make: Any, cuda: str) -> None:
    def train(devices: list[str]) -> tuple[np.ndarray[Any, Any], optim.Optimizer]:
        st.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = make(model.parameters())
        for device in devices:
            model.to(device)
            optimizer.zero_grad()
            (model(st.arange(6.0, device=device).reshape(2, 3)) ** 2).mean().backward()
            optimizer.step()
        return model.weight.detach().numpy(), optimizer

    expected, _ = train(["cpu"] * 4)
    moved, optimizer = train(["cpu", cuda, cuda, "cpu"])
    np.testing.assert_allclose(moved, expected, rtol=1e-5)
    weight = nn.Linear(3, 1).to(cuda)
    other = make(weight.parameters())
    other.load_state_dict(optimizer.state_dict())
    assert {x.device for tensors in other._state[0].values() for x in tensors} == {st.device(cuda)}


def blobs(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    y = rng.integers(0, 3, 200)
    return rng.normal(size=(200, 4)) + y[:, None], y


@pytest.mark.parametrize("data", ["numpy", "cpu", "cuda"])
def test_only_the_model_moves_and_fit_trains_there(data: str, cuda: str, rng: np.random.Generator) -> None:
    x, y = blobs(rng)

    def train(device: str, x: Any, y: Any) -> tuple[st.train.History, nn.Module]:
        st.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 16, activation="relu"), nn.Dropout(0.1), nn.Linear(16, 3)).to(device)
        model.compile("adam", "cross_entropy", metrics=["accuracy"])
        return model.fit(x, y, epochs=3, verbose=0, validation_split=0.2), model

    with st.device("cpu"):
        expected, here = train("cpu", x, y)
        given = (x, y) if data == "numpy" else (st.tensor(x, device=data), st.tensor(y, device=data))
        history, model = train(cuda, *given)
        for name, values in expected.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-3, err_msg=name)
        assert model.predict(given[0]).device == cuda
        assert model.evaluate(*given) == pytest.approx(here.evaluate(x, y), rel=1e-3)
        assert model.cpu().predict(given[0]).device == "cpu"
        assert model.fit(*given, verbose=0).epoch == [4]


def test_data_larger_than_the_free_memory_goes_there_in_batches(
    cuda: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = blobs(rng)
    losses = []
    for stats in (st.cuda.memory_stats(cuda), {"free": 1000, "cached": 0}):
        monkeypatch.setattr(st.cuda, "memory_stats", lambda device=None, stats=stats: stats)
        st.manual_seed(0)
        model = nn.Linear(4, 3).to(cuda)
        model.compile("sgd", "cross_entropy")
        losses.append(model.fit(x, y, epochs=2, verbose=0)["loss"])
    assert losses[0] == losses[1]


def test_training_leaves_nothing_behind_on_the_device(cuda: str, rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    model = nn.Sequential(nn.Linear(4, 16, activation="relu"), nn.LayerNorm(16), nn.Linear(16, 3)).to(cuda)
    model.compile("adam", "cross_entropy", metrics=["accuracy"])
    in_use = []
    for _ in range(4):
        model.fit(x, y, verbose=0)
        model.predict(x)
        in_use.append(st.cuda.memory_allocated(cuda))
    assert len(set(in_use[1:])) == 1


def test_a_model_on_several_devices_is_refused_by_fit(cuda: str, rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(4, 4).to("cpu"), nn.Linear(4, 3).to(cuda))
    model.compile("adam", "cross_entropy")
    x, y = blobs(rng)
    message = r"the parameters of Sequential are on several devices \(0.weight on cpu, 1.weight on cuda:0\)"
    for call in (lambda: model.fit(x, y), lambda: model.evaluate(x, y), lambda: model.predict(x)):
        with pytest.raises(ValueError, match=message):
            call()


def test_means_wait_seldom(cuda: str) -> None:
    from steep.train.means import Means

    means, plain, count = Means(), Means(), st.tensor(-1, device=cuda)
    for i in range(100):
        loss = float("nan") if i >= 70 else i / 3
        means.add({"loss": st.tensor(loss, device=cuda), "n": count.add_(1), "x": 1.0}, 2)
        plain.add({"loss": np.float32(loss), "n": i, "x": 1.0}, 2)
    assert len(means._pending) == 100 % Means.INTERVAL
    assert means.result() == pytest.approx(plain.result(), nan_ok=True)
    assert means.lost is not None
    assert means.lost[0] == plain.lost[0] == 71


# --- steep.cuda -------------------------------------------------------------------------------------------------------


def test_without_a_device_everything_says_why() -> None:
    if st.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert st.cuda.device_count() == 0
    assert st.cuda.unavailable_reason()
    st.cuda.empty_cache()
    for function in (
        *(st.cuda.current_device, st.cuda.get_device_name, st.cuda.get_device_properties, st.cuda.synchronize),
        *(st.cuda.memory_stats, st.cuda.memory_allocated, st.cuda.max_memory_allocated, st.cuda.memory_reserved),
        *(st.cuda.Stream, st.cuda.current_stream, st.cuda.default_stream, st.cuda.Event().record),
    ):
        with pytest.raises(st.cuda.CudaError, match=r"CUDA is not available: .+"):
            function()
    assert issubclass(st.cuda.CudaError, RuntimeError)


def test_importing_steep_leaves_cuda_alone() -> None:
    """A process that imports steep can fork, and both can use CUDA."""
    code = """
import os, sys, warnings
import steep
warnings.simplefilter("ignore")
steep.nn.Linear(2, 2)(steep.ones(1, 2)).sum().backward()
print(any("libcuda.so" in line for line in open("/proc/self/maps")), flush=True)
if (child := os.fork()) == 0:
    print(steep.cuda.device_count(), steep.ones(2, device="cuda").sum().item(), flush=True)
    os._exit(0)
status = os.waitpid(child, 0)[1]
print(status, steep.cuda.device_count(), steep.ones(2, device="cuda").sum().item())
"""
    count = st.cuda.device_count()
    assert run(code).splitlines() == ["False", f"{count} 2.0", f"0 {count} 2.0"]


def test_properties_and_memory(cuda: str) -> None:
    properties = st.cuda.get_device_properties()
    assert properties.name == st.cuda.get_device_name(0) == st.cuda.get_device_name(cuda)
    assert properties.warp_size == 32
    assert properties.total_memory > 0
    assert st.cuda.current_device() == 0
    before = st.cuda.memory_allocated(cuda)
    x = st.zeros(1000, 1000, device=cuda)
    assert 4e6 <= st.cuda.memory_allocated(cuda) - before < 6e6
    assert st.cuda.max_memory_allocated(cuda) >= st.cuda.memory_allocated(cuda)
    assert st.cuda.memory_reserved(cuda) >= st.cuda.memory_allocated(cuda)
    del x
    st.cuda.synchronize()
    assert st.cuda.memory_allocated(cuda) == before
    cached = st.cuda.memory_stats(cuda)["cached"]
    st.cuda.empty_cache()
    assert st.cuda.memory_stats(cuda)["cached"] <= cached - 4e6
    for device, message in (("cpu", "not a CUDA device"), (99, "cuda:99 does not exist"), (-1, "not a device")):
        with pytest.raises(ValueError, match=message):
            st.cuda.memory_stats(device)


def test_streams_and_events(cuda: str) -> None:
    default = st.cuda.current_stream(cuda)
    assert default == st.cuda.default_stream(cuda)
    stream, start, end = st.cuda.Stream(cuda), st.cuda.Event(enable_timing=True), st.cuda.Event(enable_timing=True)
    assert stream.device == cuda
    assert stream != default
    assert start.query()
    x = st.ones(1000, device=cuda)
    stream.wait_stream(default)
    with st.cuda.stream(stream) as entered:
        assert entered is stream is st.cuda.current_stream(cuda)
        start.record()
        with st.cuda.stream(None):
            y = x * 2
        end.record()
    assert st.cuda.current_stream(cuda) == default
    default.wait_event(end)
    assert float((y + 1).sum()) == 3000
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) >= 0
    stream.synchronize()
    assert stream.query()
    st.cuda.synchronize(cuda)
    untimed = stream.record_event()
    with pytest.raises(RuntimeError, match="enable_timing=True"):
        untimed.elapsed_time(end)
    with pytest.raises(KeyError), st.cuda.stream(stream):
        raise KeyError
    assert st.cuda.current_stream(cuda) == default
    seen: list[st.cuda.Stream] = []
    with st.cuda.stream(stream):
        thread = threading.Thread(target=lambda: seen.append(st.cuda.current_stream(cuda)))
        thread.start()
        thread.join()
    assert seen == [default]


def test_streams_and_events_are_freed(cuda: str) -> None:
    for _ in range(100):
        stream = st.cuda.Stream(cuda)
        with st.cuda.stream(stream):
            x = st.ones(100, device=cuda) * 2
        st.cuda.Event().record(stream)
        del stream
    st.cuda.synchronize()  # x was made on another stream than the one that reads it
    assert float(x.sum()) == 200
    code = """
import steep
kept = steep.cuda.Stream(), steep.cuda.Event()
kept[1].record(kept[0])
steep.cuda.set_stream(kept[0])
x = steep.ones(3, device="cuda")
print("done")
"""
    assert run(code) == "done"


def test_a_second_device(second_cuda: str) -> None:
    x = st.arange(3.0, device="cuda:0")
    y = x.to(second_cuda)
    assert (y.device, y.tolist()) == (second_cuda, [0, 1, 2])
    assert y.to("cuda:0").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="add: one tensor is on cuda:0, another on cuda:1"):
        x + y
    with st.device(second_cuda):
        assert st.cuda.current_device() == 1
        assert (st.ones(2) + 1).device == second_cuda
        assert st.cuda.current_stream().device == second_cuda
    model = nn.Linear(3, 1).to(second_cuda)
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
    assert model.predict(np.ones((2, 3))).device == second_cuda
    event = st.cuda.Stream(second_cuda).record_event()
    with pytest.raises(ValueError, match="an event of cuda:1 cannot be recorded on a stream of cuda:0"):
        event.record(st.cuda.current_stream("cuda:0"))


def test_a_forked_process_says_that_it_cannot_use_cuda(cuda: str) -> None:
    code = """
import os, warnings
import steep
x = steep.ones(2, device="cuda")
warnings.simplefilter("ignore")
if (child := os.fork()) == 0:
    print(steep.cuda.device_count(), steep.cuda.unavailable_reason(), flush=True)
    del x
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    assert "forked" in run(code)


def test_streams_and_events_cannot_be_copied(cuda: str) -> None:
    event = st.cuda.Event()
    event.record()
    for x in (st.cuda.Stream(cuda), event):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            copy.deepcopy(x)
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            pickle.dumps(x)


def test_what_is_no_stream(cuda: str) -> None:
    calls: list[Callable[[Any], Any]] = [
        st.cuda.stream,
        st.cuda.set_stream,
        st.cuda.Event().record,
        st.cuda.Stream(cuda).wait_stream,
        st.cuda.Stream(cuda).wait_event,
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"expected a steep.cuda.(Stream|Event), not 3"):
            call(3)


def test_streams_are_used_again(cuda: str) -> None:
    st.cuda.synchronize()
    st.cuda.empty_cache()
    before = st.cuda.memory_reserved()
    for _ in range(20):
        stream = st.cuda.Stream(cuda)
        with st.cuda.stream(stream):
            x = st.ones(1 << 20, device=cuda) + 1
        stream.synchronize()
        del x, stream
    assert st.cuda.memory_reserved() - before <= 4 * (4 << 20)


def test_a_device_out_of_memory_goes_on(cuda: str) -> None:
    if not st.cuda.is_emulated():
        pytest.skip("fills a whole device")
    code = """
import os
os.environ["STEEP_EMULATED_MEMORY"] = "64"
import steep as st
kept = []
try:
    while True:
        kept.append(st.ones(1024, 1024, device="cuda"))
except MemoryError as error:
    print("out of memory" in str(error), len(kept) > 8)
kept.pop()
print(kept[0].sum().item() == 1 << 20)
kept.clear()
print(st.ones(2048, 2048, device="cuda").sum().item() == 1 << 22)
"""
    assert run(code).split() == ["True"] * 4


@pytest.mark.parametrize("operation", ["x @ x", "(x @ x).sum().item()"])
def test_a_daemon_thread_at_work_does_not_disturb_the_exit(operation: str) -> None:
    code = f"""
import threading, time
import steep as st
st.set_default_device("{st.get_default_device()}")
x = st.random.normal((200, 200))
def work():
    while True:
        {operation}
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""
    run(code)


def test_python_survives_an_error_in_a_kernel(cuda: str) -> None:
    if not st.cuda.is_emulated():
        pytest.skip("the device would be lost to all other tests of this machine")
    code = """
import ctypes
import numpy as np
import steep as st

class TooLong:
    "Three elements that claim to be a million."
    def __init__(self):
        self.x = st.ones(3, device="cuda")
        st.cuda.synchronize()
    def __dlpack_device__(self):
        return (2, 0)
    def __dlpack__(self, **options):
        capsule = self.x.__dlpack__(stream=-1)
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        shape = ctypes.c_void_p.from_address(get(capsule, b"dltensor") + 24).value
        ctypes.c_int64.from_address(shape).value = 10**6
        return capsule

y = st.exp(st.from_dlpack(TooLong()))
for use in (y.tolist, lambda: st.ones(2, device="cuda").tolist()):
    try:
        use()
    except st.cuda.CudaError as error:
        print("cudaErrorIllegalAddress" in str(error), "cannot be used any more" in str(error))
print(st.ones(2, device="cpu").tolist())
"""
    assert run(code).splitlines() == ["True True", "True True", "[1.0, 1.0]"]


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("STEEP_EMULATED_DRIVER", "0", "there is no NVIDIA driver"),
        ("STEEP_EMULATED_DRIVER", "12040", "the NVIDIA driver supports CUDA 12.4, older than the 13.0"),
        ("STEEP_EMULATED_DEVICES", "0", "there is no CUDA device"),
        ("STEEP_EMULATED_CAPABILITY", "61", "device 0 has compute capability 6.1, and this build has code for 75"),
    ],
)
def test_why_there_is_no_device(cuda: str, variable: str, value: str, reason: str) -> None:
    if not st.cuda.is_emulated():
        pytest.skip("about drivers and GPUs that this machine does not have")
    code = f"""
import os, warnings
os.environ["{variable}"] = "{value}"
import steep as st
print(st.cuda.is_available(), st.cuda.unavailable_reason())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(st.ones(2, device="cuda").device, st.ones(2).to("cuda").device, len(caught), caught[0].message)
"""
    first, second = run(code).splitlines()
    assert first.startswith(f"False {reason}")
    assert second.startswith("cpu cpu 1 'cuda' is not available, the CPU is used (")
    assert reason in second


@pytest.mark.parametrize("capability", ["75", "87", "89", "90", "103", "121", "130"])
def test_architectures_that_the_build_has_code_for(cuda: str, capability: str) -> None:
    if not st.cuda.is_emulated():
        pytest.skip("about GPUs that this machine does not have")
    code = f"""
import os
os.environ["STEEP_EMULATED_CAPABILITY"] = "{capability}"
import steep as st
print((st.ones(2, device="cuda") + 1).tolist())
"""
    assert run(code) == "[2.0, 2.0]"
