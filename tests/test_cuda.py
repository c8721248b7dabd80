"""steep.cuda: properties, memory, streams, events, errors, and what is said where there is no device."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import run
from steep import nn


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
