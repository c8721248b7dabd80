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


@pytest.mark.parametrize("wrong", [1 << 40, -(1 << 40), 4, -5])
def test_indices_that_another_thread_changes_after_the_check(wrong: int) -> None:
    """The CPU's kernels read and write nothing outside of the axis: they take its element 0. Indices that are said to
    be nonzero's are not checked."""
    x = st.tensor(np.arange(12, dtype=np.float32).reshape(4, 3), device="cpu")
    results = []
    for place in (0, wrong):
        rows, columns = st.tensor([1, place, 3], device="cpu"), st.tensor([2, 1, 0], device="cpu")
        found = []
        for indices in ([rows], [rows, columns]):
            y = _core.gather(x, indices, 0, [], True)
            into = x.copy()
            _core.scatter_(into, indices, 0, [], True, y + 1)
            found += [y, into, _core.gather_backward(y, indices, 0, (4, 3), True)]
        results.append(found)
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got.numpy(), expected.numpy())


RACE = """
import threading, time
import numpy as np
import steep as st

memory = np.zeros(1 << 16, np.int64)
index = st.from_dlpack(memory)
lines, line, square, out = st.ones(1 << 16, 4), st.ones(1 << 16), st.ones(100, 100), st.zeros(100, 4)
going = True


def change():
    while going:
        for place in (1 << 40, -5 << 40, 0, -1):
            memory[1 << 15 :] = place


thread = threading.Thread(target=change)
thread.start()
for call in (
    lambda: line[index],
    lambda: square[index, index],
    lambda: st.take(lines, index, axis=0),
    lambda: st.take_along_axis(line, index, axis=0),
    lambda: out.__setitem__(index, lines),
    lambda: st.scatter(line, 0, index, line),
    lambda: st.scatter_add(line, 0, index, line),
):
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        try:
            call()
        except IndexError:
            pass
going = False
thread.join()
print("there")
"""


@pytest.mark.host(reason="of memory shared with NumPy")
def test_a_thread_that_changes_indices_all_the_time() -> None:
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr


def test_negative_indices_of_every_way_to_read_and_write() -> None:
    a = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    x, rows, columns = st.tensor(a), np.array([-1, 0, -4, 3, 2]), np.array([2, -3, -1, 0, 1])
    i, j = st.tensor(rows), st.tensor(columns)
    along = np.array([[[-1, 0], [2, -3], [1, -4]]])
    for got, expected in [
        (x[i], a[rows]),
        (x[i, j], a[rows, columns]),
        (x[:, :, 1][i], a[:, :, 1][rows]),
        (st.flip(x)[i, j], a[::-1, ::-1, ::-1][rows, columns]),
        (st.take_along_axis(x, st.tensor(along), axis=0), np.take_along_axis(a, along, 0)),
        (st.take_along_axis(x.mT, st.tensor(along).mT, axis=0), np.take_along_axis(a, along, 0).swapaxes(1, 2)),
    ]:
        np.testing.assert_array_equal(got.numpy(), expected)
    y, b = x.copy(), a.copy()
    y[i[:3]], b[rows[:3]] = -1.0, -1.0
    y[i, j], b[rows, columns] = x[0, :1], a[0, :1]
    np.testing.assert_array_equal(y.numpy(), b)


@pytest.mark.parametrize("index", [[0, 4], [-5, 0]])
def test_an_index_out_of_range_is_named(index: list[int]) -> None:
    x, wrong = st.ones((4, 3)), next(i for i in index if i)
    message = f"index {wrong} is out of range for axis 0 with 4 elements"
    for call in (lambda: x[st.tensor(index)], lambda: x[st.tensor(index), 0], lambda: st.take(x, index, axis=0)):
        with pytest.raises(IndexError, match=message):
            call()
    with pytest.raises(IndexError, match=message):
        st.take_along_axis(x, st.tensor(index).reshape(2, 1).broadcast_to((2, 3)).copy(), axis=0)
