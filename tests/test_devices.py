"""Devices: names and defaults, moving tensors and models, what must not be mixed, and steep.cuda."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn

MIXED = "one tensor is on (cpu|cuda:0), another on (cpu|cuda:0)"


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


@pytest.mark.parametrize("create", CREATORS)
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
