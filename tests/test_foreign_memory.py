"""Memory that others have written or describe: what they say of it is checked before a kernel trusts it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import pytest

import steep as st
from steep import _core, kernels

ODD_TRUTHS = np.array([0, 2, 255, 1, 0, 128], np.uint8).view(bool)  # as masks of other programs may be


def test_truth_values_are_0_and_1() -> None:
    expected = [False, True, True, True, False, True]
    strided = np.array([[0, 7], [2, 7], [255, 7], [1, 7], [0, 7], [128, 7]], np.uint8).view(bool)[:, 0]
    for x in (ODD_TRUTHS, strided):
        for t in (st.tensor(x), st.asarray(x), st.ones(6, dtype=st.bool) & x):
            assert t.tolist() == expected
            assert int(t.sum()) == 4
            assert t.astype(st.int32).tolist() == [0, 1, 1, 1, 0, 1]
            assert st.nonzero(t)[0].tolist() == [1, 2, 3, 5]
            assert (t == st.tensor(expected)).all()
    with pytest.raises(ValueError, match="bytes other than 0 and 1 for truth values: copy it first"):
        st.asarray(ODD_TRUTHS, copy=False)
    with pytest.raises(ValueError, match="from_dlpack holds bytes other than 0 and 1"):
        st.from_dlpack(ODD_TRUTHS)


@pytest.mark.host(reason="memory shared with NumPy")
def test_of_a_broadcast_mask_one_byte_is_looked_at() -> None:
    assert st.asarray(np.broadcast_to(np.True_, (2**40,))).shape == (2**40,)


@pytest.mark.host(reason="memory shared with NumPy")
def test_a_mask_that_is_written_to_by_others() -> None:
    mask = st.zeros(100_003, dtype=st.bool)
    mask.numpy().view(np.uint8)[:] = np.random.default_rng(0).integers(0, 256, 100_003)
    expected = np.flatnonzero(mask.numpy().view(np.uint8))
    assert (st.nonzero(mask)[0].numpy() == expected).all()
    assert (st.arange(100_003)[mask].numpy() == expected).all()


@pytest.mark.host(reason="memory shared with NumPy")
def test_a_mask_that_changes_while_it_is_read() -> None:
    program = """
import threading, numpy as np, steep as st
mask, stop = st.zeros(1_000_000, dtype="bool"), False
def flip():
    shared, value = mask.numpy(), False
    while not stop:
        shared[:] = value = not value
thread = threading.Thread(target=flip)
thread.start()
for _ in range(100):
    st.nonzero(mask), mask[mask]
stop = True
thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.host(reason="memory of NumPy's")
def test_misaligned_memory_is_not_shared() -> None:
    x = np.zeros(8 * 5 + 1, np.uint8)[1:].view(np.float64)
    with pytest.raises(ValueError, match=r"from_dlpack begins at an address that is no multiple of.* 8 bytes: copy"):
        st.from_dlpack(x)
    with pytest.raises(ValueError, match="sigmoid: 'x' begins at an address that is no multiple"):
        kernels.sigmoid(x, np.zeros(5))
    assert st.asarray(x).tolist() == [0] * 5


@pytest.mark.parametrize("device", [None, (1,), "ab", (1, 2**70), (1, None), 5])
def test_arrays_that_do_not_say_where_they_are(device: object) -> None:
    class Array:
        def __dlpack__(self, **options):
            return np.ones(3).__dlpack__(**options)

        def __dlpack_device__(self):
            return device

    with pytest.raises(TypeError, match="from_dlpack: the array must say by __dlpack_device__ where it is: a pair"):
        st.from_dlpack(Array())


def capsule(shape: tuple[int, ...], data: int | None) -> object:
    """What a program with a mistake may hand out: a DLManagedTensor of float64 on the CPU."""
    extents = (ctypes.c_int64 * 8)(*shape)
    tensor = Managed(data, 1, 0, len(shape), 2, 64, 1, ctypes.addressof(extents), None, 0, None, None)
    CAPSULES.append((tensor, extents))
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(ctypes.addressof(tensor), b"dltensor", None)


class Managed(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


CAPSULES: list[object] = []  # must live as long as their tensors
MEMORY = (ctypes.c_double * 16)(*range(16))


@pytest.mark.parametrize("shape", [(-3,), (-3, -2), (2**62, 4), (0, -1)])
def test_impossible_shapes_of_other_libraries(shape: tuple[int, ...]) -> None:
    holder = type("Holder", (), {"__dlpack__": lambda self, **options: capsule(shape, ctypes.addressof(MEMORY))})
    with pytest.raises(ValueError, match=r"from_dlpack of shape \(.*\) cannot be: no array has these extents"):
        st.from_dlpack(holder())


def test_arrays_of_other_libraries_without_memory() -> None:
    for shape in ((3,), (0,), ()):
        holder = type("Holder", (), {"__dlpack__": lambda self, s=shape, **options: capsule(s, None)})
        if 0 in shape:
            assert st.from_dlpack(holder()).shape == shape
        else:
            with pytest.raises(ValueError, match=r"from_dlpack of shape .* cannot be: it has no memory"):
                st.from_dlpack(holder())
    holder = type("Holder", (), {"__dlpack__": lambda self, **options: capsule((2, 3), ctypes.addressof(MEMORY))})
    assert st.from_dlpack(holder()).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.host(reason="buffers are of the CPU's memory")
def test_no_buffer_of_more_bytes_than_can_be() -> None:
    for extent in (2**61, 2**62):
        with pytest.raises(BufferError, match="more bytes than a buffer can"):
            memoryview(st.ones(1).broadcast_to((extent,)))


@pytest.mark.parametrize("wrong", [1 << 40, -(1 << 40), 4, -1])
def test_labels_that_another_thread_changes_after_the_check(wrong: int) -> None:
    """The CPU's kernels read and write nothing outside of a row: they take class 0."""
    x = st.tensor(np.eye(3, 4, dtype=np.float32), device="cpu")
    one = st.ones(3, device="cpu")
    results = []
    for label in (0, wrong):
        labels = st.tensor([1, label, 3], device="cpu")
        loss, lse = _core.cross_entropy(x, labels, None)
        gradients = _core.cross_entropy_gradient(x, labels, None, None, 3.0, 0.1)
        results.append([loss, lse, _core.cross_entropy_backward(one, x, labels, lse, None), *gradients])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got.numpy(), expected.numpy())
