"""DLPack and steep.kernels on CUDA arrays: values, streams, and that nothing is copied."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same
from steep import kernels


class ForeignArray:
    """Another library's array, as far as DLPack goes. It notes the streams that consumers name."""

    def __init__(self, tensor: st.Tensor) -> None:
        self.tensor = tensor
        self.streams: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, *, stream: Any = None, **kwargs: Any) -> Any:
        self.streams.append(stream)
        return self.tensor.__dlpack__(stream=-1, **kwargs)


def as_library(monkeypatch: pytest.MonkeyPatch, name: str, stream: st.cuda.Stream) -> type[ForeignArray]:
    """The class of arrays of a library called cupy or torch whose current stream is ``stream``."""
    package, module = ModuleType(name), ModuleType(f"{name}.cuda")
    vars(module).update(
        get_current_stream=lambda: SimpleNamespace(ptr=stream.cuda_stream),
        current_stream=lambda device: SimpleNamespace(cuda_stream=stream.cuda_stream),
    )
    vars(package).update(cuda=module)
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, f"{name}.cuda", module)
    return type("ndarray", (ForeignArray,), {"__module__": name})


def test_the_protocol(cuda: str) -> None:
    t = st.tensor(np.arange(6.0).reshape(2, 3), device=cuda)
    assert t.__dlpack_device__() == (2, 0)
    same = st.from_dlpack(t)
    assert same.device == cuda
    same[0, 0] = 7
    assert t[0, 0].item() == 7  # the same memory
    assert_same(st.from_dlpack(t.mT).numpy(), t.numpy().T)
    assert_same(np.from_dlpack(t, device="cpu"), t.numpy())  # what the consumer asked for: a copy
    with pytest.raises(BufferError, match="on another device"):
        t.__dlpack__(dl_device=(1, 0), copy=False)
    copied = st.from_dlpack(ForeignArray(t).tensor.copy())
    copied[0, 0] = 1
    assert t[0, 0].item() == 7


def test_from_dlpack_asks_for_steeps_stream(cuda: str) -> None:
    foreign = ForeignArray(st.ones(3, device=cuda))
    stream = st.cuda.Stream(cuda)
    st.cuda.synchronize()
    with st.cuda.stream(stream):
        assert st.from_dlpack(foreign).tolist() == [1, 1, 1]
    assert foreign.streams[-1] == stream.cuda_stream


def test_a_consumers_stream_waits(cuda: str) -> None:
    producer, consumer = st.cuda.Stream(cuda), st.cuda.Stream(cuda)
    with st.cuda.stream(producer):
        x = st.ones((300, 300), device=cuda)
        for _ in range(20):
            x = x @ x / 300
        x.__dlpack__(stream=consumer.cuda_stream)
    with st.cuda.stream(consumer):
        assert (x + 1).sum().item() == 2 * 300 * 300


@pytest.mark.parametrize("library", ["cupy", "torch"])
def test_kernels_run_on_the_librarys_stream(cuda: str, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    stream = st.cuda.Stream(cuda)
    make = as_library(monkeypatch, library, stream)
    x = np.random.default_rng(0).standard_normal((5, 7))
    arrays = [make(st.tensor(x, device=cuda)) for _ in range(2)]
    st.cuda.synchronize()
    kernels.softmax(*arrays)
    assert [array.streams[-1] for array in arrays] == [stream.cuda_stream] * 2
    stream.synchronize()
    assert_same(arrays[1].tensor.numpy(), st.softmax(st.tensor(x, device=cuda)).numpy())
    assert st.cuda.current_stream(cuda) == st.cuda.default_stream(cuda)  # ours is what it was


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_kernels_on_cuda_arrays(cuda: str, dtype: str, rng: np.random.Generator) -> None:
    x, g = (rng.standard_normal((37, 41)).astype(dtype) for _ in range(2))
    tolerance = 8 * np.finfo(dtype).eps
    for name in ("sigmoid", "softmax"):
        expected = getattr(st, name)(st.tensor(x, device="cpu")).numpy()
        a, out = st.tensor(x, device=cuda), st.empty((37, 41), dtype=dtype_of(dtype), device=cuda)
        getattr(kernels, name)(a, out)
        np.testing.assert_allclose(out.numpy(), expected, tolerance)
        getattr(kernels, name)(a, a)
        assert_same(a.numpy(), out.numpy())
        cpu = st.tensor(expected.copy(), device="cpu")
        getattr(kernels, f"{name}_backward")(st.tensor(g, device="cpu"), cpu, cpu)
        getattr(kernels, f"{name}_backward")(st.tensor(g, device=cuda), out, out)
        np.testing.assert_allclose(out.numpy(), cpu.numpy(), 10 * tolerance, tolerance)
    product = st.empty((37, 37), dtype=dtype_of(dtype), device=cuda)
    kernels.matmul(st.tensor(x, device=cuda), st.tensor(g, device=cuda).mT, product)
    np.testing.assert_allclose(product.numpy(), x.astype("f8") @ g.T, 0, 100 * tolerance)


def dtype_of(name: str) -> Any:
    return {"f4": st.float32, "f8": st.float64}[name]


def test_kernels_allocate_nothing_for_contiguous_arrays(cuda: str) -> None:
    x, out = st.ones((100, 100), device=cuda), st.empty((100, 100), device=cuda)
    before = st.cuda.memory_allocated()
    kernels.softmax(x, out)
    kernels.softmax_backward(x, out, out)
    kernels.sigmoid(x, out)
    assert st.cuda.memory_allocated() == before


def test_kernels_want_one_device(cuda: str) -> None:
    x = st.ones(3, device=cuda)
    with pytest.raises(ValueError, match=r"softmax: one tensor is on (cpu|cuda:0), another on (cpu|cuda:0)"):
        kernels.softmax(x, np.ones(3, "f4"))


def test_other_devices_are_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="meta"):
        st.from_dlpack(torch.ones(2, device="meta"))


def test_cuda_arrays_where_steep_has_no_cuda() -> None:
    if st.cuda.is_available():
        pytest.skip("there is a CUDA device")

    class CudaArray:
        """A capsule that claims to be of CUDA memory: the device's number comes behind the pointer in it."""

        def __dlpack__(self, **kwargs: Any) -> Any:
            capsule = np.arange(3.0).__dlpack__()
            get = ctypes.pythonapi.PyCapsule_GetPointer
            get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
            ctypes.c_int32.from_address(get(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p)).value = 2
            return capsule

    for use in (st.from_dlpack, lambda x: kernels.sigmoid(np.zeros(3), x)):
        with pytest.raises(ValueError, match=r"is on cuda:0, which steep cannot use: "):
            use(CudaArray())


def test_a_capsule_is_consumed_once() -> None:
    class Holder:
        """A producer that hands out the same capsule again and again."""

        def __init__(self, x: Any) -> None:
            self.capsule = x.__dlpack__()

        def __dlpack__(self, **kwargs: Any) -> Any:
            return self.capsule

    holder = Holder(np.arange(3.0))
    first = st.from_dlpack(holder)
    assert "used_dltensor" in repr(holder.capsule)
    with pytest.raises(TypeError, match="from_dlpack: expected an array"):
        st.from_dlpack(holder)
    assert first.tolist() == [0, 1, 2]


@pytest.mark.parametrize("options", [{"stream": "a"}, {"dl_device": "x"}, {"dl_device": (1, "x")}, {"stream": 2**70}])
def test_wrong_arguments_of_the_protocol(cuda: str, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, OverflowError)):
        st.ones(2, device=cuda).__dlpack__(**options)


def test_kernels_say_why_a_recorded_tensor_is_refused() -> None:
    out = st.ones(3, requires_grad=True)
    with pytest.raises((TypeError, BufferError), match=r"x.detach\(\)"):
        kernels.sigmoid(st.ones(3), out)
