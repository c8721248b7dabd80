"""Tensors beside Python, NumPy and other libraries: the protocols by which they know each other."""

from __future__ import annotations

import copy
import ctypes
import hashlib
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same, shares
from steep import kernels

DTYPES = [t.name for t in st.dtypes.ALL]


# --- NumPy ------------------------------------------------------------------------------------------------------------


def test_array() -> None:
    x = st.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert_same(np.asarray(x), x.numpy())
    assert_same(np.asarray(x, dtype="f8"), x.numpy().astype("f8"))
    assert_same(np.array(x.T), x.numpy().T)
    assert_same(np.asarray(st.tensor(2.5)), np.float32(2.5))
    assert_same(x.__array__(np.dtype("f8"), copy=True), x.numpy().astype("f8"))
    with pytest.raises(ValueError, match="copy=False"):
        x.__array__(np.dtype("f8"), copy=False)
    leaf = st.ones(2, requires_grad=True)
    assert not np.asarray(leaf).flags.writeable
    assert not np.shares_memory(np.array(leaf), leaf.numpy())


@pytest.mark.host(reason="memory shared with NumPy")
def test_array_shares_memory() -> None:
    x = st.ones(3)
    for array in (np.asarray(x), x.__array__(), x.__array__(copy=False), np.array(x, copy=False)):
        array[0] += 1
    assert x[0].item() == 5
    for array in (x.__array__(copy=True), np.array(x)):
        assert not np.shares_memory(array, x.numpy())


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("op", OPERATORS + COMPARISONS, ids=lambda op: op.__name__)
@pytest.mark.parametrize(
    "other", [np.array([2.0, 0.5], "f4"), np.float64(2.0), np.float32(2.0), np.array(2.0, "f4"), 2.0], ids=repr
)
def test_arrays_beside_tensors_on_either_side(op: Any, other: Any) -> None:
    values = np.array([1.5, 3.0], "f4")
    x = st.tensor(values, requires_grad=True)
    as_array = np.asarray(other, "f4")
    for y, expected in ((op(x, other), op(values, as_array)), (op(other, x), op(as_array, values))):
        assert isinstance(y, st.Tensor)
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-6)
        if op in COMPARISONS:
            assert y.dtype == st.bool
        elif op is not operator.floordiv:
            assert y.requires_grad
            y.sum().backward()


def test_matmul_with_arrays() -> None:
    a, x = np.arange(6.0, dtype="f4").reshape(2, 3), st.ones((3, 2), requires_grad=True)
    y = a @ x
    assert isinstance(y, st.Tensor)
    assert_same(y.detach().numpy(), a @ np.ones((3, 2), "f4"))
    assert_same((x @ a).detach().numpy(), np.ones((3, 2), "f4") @ a)
    y.sum().backward()
    assert_same(x.grad.numpy(), a.T @ np.ones((2, 2), "f4"))


# --- Python's own -----------------------------------------------------------------------------------------------------


def test_none_is_never_equal() -> None:
    x = st.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert x not in [None]
    assert (st.float32 == None) is False  # noqa: E711
    assert st.float32 != "float32"
    assert st.float32 in {st.float32: 1}


def test_identity_is_the_hash() -> None:
    x, y = st.ones(2), st.ones(2)
    assert len({x, y, x}) == 2
    assert {x: 1}[x] == 1


def test_format() -> None:
    loss = st.tensor(0.123456)
    assert f"{loss:.3f}" == "0.123"
    assert f"{st.tensor([0.123456], requires_grad=True):.3f}" == "0.123"
    assert f"{st.tensor([[7]]):04d}" == "0007"
    assert f"{st.tensor([1, 2])}" == "tensor([1, 2])"
    assert f"{st.tensor([1, 2]):>16}" == "  tensor([1, 2])"
    with pytest.raises(TypeError, match=r"shape \(2,\) cannot be formatted by '.3f'"):
        f"{st.ones(2):.3f}"


def test_numbers() -> None:
    assert complex(st.tensor(2.5)) == 2.5 + 0j
    assert (float(st.tensor([[2.5]])), int(st.tensor(2.5)), bool(st.tensor([0.0]))) == (2.5, 2, False)
    assert [10, 20, 30][st.tensor(1)] == 20
    assert list(range(st.tensor(2, dtype=st.int32))) == [0, 1]
    for wrong in (st.tensor(1.0), st.tensor(True), st.tensor([1])):
        with pytest.raises(TypeError, match=r"only (integer|0-d) tensors can be used as an index"):
            operator.index(wrong)
    for convert in (float, int, complex):
        with pytest.raises(ValueError, match="single element"):
            convert(st.ones(2))
    for many in (st.ones(2), st.ones(0)):
        with pytest.raises(ValueError, match="ambiguous"):
            bool(many)


def test_sequences() -> None:
    x = st.arange(6).reshape(3, 2)
    assert len(x) == 3
    assert [row.tolist() for row in x] == x.tolist()
    assert 4 in x
    assert 9 not in x
    assert st.tensor(5) in x
    assert np.int64(3) in x
    assert "a" not in x
    assert None not in x
    assert 1.0 not in st.zeros(0)
    for use in (len, iter):
        with pytest.raises(TypeError, match="0-d"):
            use(st.tensor(1))


# --- pickles and copies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", DTYPES)
def test_pickles(dtype: str, protocol: int) -> None:
    x = st.arange(24).reshape(4, 6).astype(dtype)
    for t in (x, x.T, x[1:3, ::2], x[::-1], x[:0], x[0, 0]):
        twin = pickle.loads(pickle.dumps(t, protocol))
        assert (twin.dtype, twin.shape, twin.tolist(), twin.is_contiguous()) == (t.dtype, t.shape, t.tolist(), True)
        assert not shares(twin, t)
        assert not twin.requires_grad


def test_pickled_views_hold_their_own_elements_only() -> None:
    big = st.zeros(100_000)
    for view in (big[:3], big[::40_000], big[5]):
        assert len(pickle.dumps(view)) < 1000


@pytest.mark.host(reason="memory shared with pickle's buffers")
def test_buffers_out_of_band() -> None:
    x = st.arange(1000.0)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(x, 5, buffer_callback=buffers.append)
    assert len(data) < 500
    assert len(buffers) == 1
    assert np.shares_memory(np.frombuffer(buffers[0].raw(), "f4"), x.numpy())  # no copy
    assert_same(pickle.loads(data, buffers=buffers).numpy(), x.numpy())


def test_pickles_keep_what_is_trained() -> None:
    x = st.ones(2, requires_grad=True)
    twin = pickle.loads(pickle.dumps(x))
    assert twin.requires_grad
    assert twin.is_leaf
    with pytest.raises(RuntimeError, match=r"a tensor with history cannot be pickled: use x.detach\(\)"):
        pickle.dumps(x * 2)
    with pytest.raises(RuntimeError, match=r"a tensor with history cannot be copied"):
        copy.deepcopy(x * 2)
    assert not pickle.loads(pickle.dumps((x * 2).detach())).requires_grad


def test_a_shallow_copy_of_a_result_keeps_its_history() -> None:
    x = st.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    twin = copy.copy(y)
    assert twin is not y
    twin.sum().backward()
    assert_same(x.grad.numpy(), np.full(2, 2, np.float32))


def test_deep_copies_respect_the_memo() -> None:
    x = st.ones(2, requires_grad=True)
    memo: dict[int, Any] = {}
    twin = copy.deepcopy(x, memo)
    assert x.__deepcopy__(memo) is twin
    a, b = copy.deepcopy([x, x])
    assert a is b
    net = st.nn.Sequential(st.nn.Linear(2, 2), st.nn.Linear(2, 2))
    net[1].weight = net[0].weight
    for model in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert model[0].weight is model[1].weight
        assert model[0].weight is not net[0].weight
        assert len(list(model.parameters())) == 3


# --- the buffer protocol ----------------------------------------------------------------------------------------------


@pytest.mark.host(reason="the buffer protocol is of the CPU's memory")
@pytest.mark.parametrize("dtype", DTYPES)
def test_memoryview(dtype: str) -> None:
    x = st.arange(12).reshape(3, 4).astype(dtype)
    if dtype == "bfloat16":
        with pytest.raises(BufferError, match=r"no buffer format: use x.astype\(steep.float32\)"):
            memoryview(x)
        return
    for t in (x, x.T, x[::2], x[::-1, 1:], x[0, 0], x[:0]):
        view, array = memoryview(t), t.numpy()
        expected = memoryview(array)
        for name in (
            "format",
            "itemsize",
            "ndim",
            "shape",
            "strides",
            "nbytes",
            "readonly",
            "c_contiguous",
            "f_contiguous",
        ):
            assert getattr(view, name) == getattr(expected, name), name
        if dtype != "float16":  # which Python's own memoryview does not read
            assert view.tolist() == array.tolist()
        assert view.tobytes() == array.tobytes()
        assert_same(np.asarray(view), array)


@pytest.mark.host(reason="the buffer protocol is of the CPU's memory")
def test_memoryview_shares_and_keeps_the_memory() -> None:
    x = st.zeros(3)
    view = memoryview(x)
    view[1] = 2.5
    assert x.tolist() == [0, 2.5, 0]
    del x
    assert view.tolist() == [0, 2.5, 0]
    view.release()
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    t = st.asarray(frozen)
    assert memoryview(t).readonly
    assert not np.asarray(t).flags.writeable
    with pytest.raises((BufferError, TypeError), match=r"writable|read-only"):
        ctypes.c_double.from_buffer(t)
    assert ctypes.c_float.from_buffer(st.ones(2)).value == 1
    assert bytes(st.tensor([1, 2], dtype=st.int32)) == np.array([1, 2], "i4").tobytes()
    with pytest.raises(BufferError, match="not in the order that was asked for"):
        hashlib.sha256(st.ones(4)[::2])


@pytest.mark.host(reason="the buffer protocol is of the CPU's memory")
def test_no_buffer_of_a_tensor_with_a_gradient() -> None:
    with pytest.raises(BufferError, match=r"requires a gradient has no buffer: use x.detach\(\)"):
        memoryview(st.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match=r"pass x.detach\(\)"):
        kernels.sigmoid(st.ones(3, requires_grad=True), st.ones(3))


def test_no_buffer_of_cuda_memory(cuda: str) -> None:
    with pytest.raises(BufferError, match=r"use x.cpu\(\)"):
        memoryview(st.ones(2, device=cuda))
    assert np.asarray(st.ones(2, device=cuda)).tolist() == [1, 1]


# --- DLPack -----------------------------------------------------------------------------------------------------------


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned, up to its flags."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("data", ctypes.c_void_p),
    ]


def unpacked(capsule: Any) -> Versioned:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return Versioned.from_address(get(capsule, b"dltensor_versioned"))


@pytest.mark.host(reason="memory shared with other libraries")
def test_versions_and_flags() -> None:
    x = st.ones(3)
    assert '"dltensor"' in repr(x.__dlpack__())
    assert '"dltensor"' in repr(x.__dlpack__(max_version=(0, 8)))
    capsule = x.__dlpack__(max_version=(1, 0))
    assert '"dltensor_versioned"' in repr(capsule)
    found = unpacked(capsule)
    address = x.numpy().__array_interface__["data"][0]
    assert (found.major, found.minor, found.flags, found.data) == (1, 0, 0, address)
    capsule = x.__dlpack__(max_version=(1, 1), copy=True)
    assert unpacked(capsule).flags == 2  # copied
    assert unpacked(capsule).data != address
    frozen = np.ones(3)
    frozen.flags.writeable = False
    t = st.asarray(frozen)
    capsule = t.__dlpack__(max_version=(1, 0))
    assert unpacked(capsule).flags == 1  # read-only
    assert unpacked(t.__dlpack__(max_version=(1, 0), copy=True)).flags == 2
    with pytest.raises(BufferError, match="read-only memory cannot be exported by DLPack before version 1"):
        t.__dlpack__()
    for wrong in (1, (1,), ("1", 0)):
        with pytest.raises(TypeError, match="max_version must be"):
            x.__dlpack__(max_version=wrong)


@pytest.mark.host(reason="memory shared with other libraries")
def test_read_only_memory_stays_read_only() -> None:
    frozen = np.ones(3)
    frozen.flags.writeable = False
    t = st.asarray(frozen)
    back = st.from_dlpack(t)
    assert np.shares_memory(back.numpy(), frozen)
    with pytest.raises(ValueError, match="read-only"):
        back.fill_(1)
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        assert not np.from_dlpack(t).flags.writeable


@pytest.mark.host(reason="memory shared with other libraries")
def test_capsules_free_their_memory() -> None:
    st.empty_cache()
    before = st.memory_stats()["in_use"]
    for options in ({}, {"max_version": (1, 0)}):
        x = st.zeros(1000)
        capsule = x.__dlpack__(**options)
        del x
        assert st.memory_stats()["in_use"] > before
        del capsule
        assert st.memory_stats()["in_use"] == before
        x = st.from_dlpack(st.zeros(1000))
        del x
        assert st.memory_stats()["in_use"] == before


@pytest.mark.host(reason="memory shared with other libraries")
def test_negative_strides_are_copied() -> None:
    x = st.arange(6.0).reshape(2, 3)
    for t in (x[::-1], x[:, ::-1], x[::-1, ::-1], x[1:, ::-1]):
        array = np.from_dlpack(t)
        assert_same(array, t.numpy().copy())
        assert not np.shares_memory(array, x.numpy())
        with pytest.raises(BufferError, match="negative strides"):
            t.__dlpack__(copy=False)
    assert np.shares_memory(np.from_dlpack(x.T[::2]), x.numpy())
    assert np.shares_memory(st.from_dlpack(x[::-1]).numpy(), x.numpy())  # steep itself can have them
    out = st.zeros(5)
    kernels.sigmoid(st.arange(5.0), out=out[::-1])  # and write through them
    np.testing.assert_allclose(out.numpy(), (1 / (1 + np.exp(-np.arange(5.0))))[::-1], rtol=1e-6)


@pytest.mark.host(reason="memory shared with other libraries")
def test_torch_takes_every_view() -> None:
    torch = pytest.importorskip("torch")
    x = st.arange(6.0).reshape(2, 3)
    for t in (x, x.T, x[::-1], x[:, ::2], x[:0], x[0, 0]):
        assert_same(torch.from_dlpack(t).numpy(), t.numpy().copy())


def test_from_dlpack() -> None:
    x = np.arange(3.0)
    copied = st.from_dlpack(x, copy=True)
    copied.fill_(7)
    assert x.tolist() == [0, 1, 2]
    if st.get_default_device() == "cpu":
        shared = st.from_dlpack(x, device="cpu", copy=False)
        shared[0] = 5
        assert x[0] == 5


def test_from_dlpack_to_a_device(cuda: str) -> None:
    x = np.arange(3.0)
    assert st.from_dlpack(x, device=cuda).device == cuda
    assert st.from_dlpack(st.ones(2, device=cuda), device="cpu").device == "cpu"
    with pytest.raises(BufferError, match="needs a copy"):
        st.from_dlpack(x, device=cuda, copy=False)


# --- the Array API ----------------------------------------------------------------------------------------------------


def test_the_namespace() -> None:
    x = st.ones(2)
    assert x.__array_namespace__() is st
    assert x.__array_namespace__(api_version="2023.12") is st
    assert x.__array_namespace__(api_version=st.__array_api_version__) is st
    with pytest.raises(ValueError, match="2099"):
        x.__array_namespace__(api_version="2099.12")
    info = st.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_dtypes()["real floating"] == st.zeros(1).dtype
    assert info.default_dtypes()["integral"] == st.arange(1).dtype
    assert list(info.dtypes()) == [name for name in DTYPES if name not in ("float16", "bfloat16")]
    assert info.dtypes(kind="bool") == {"bool": st.bool}
    assert info.dtypes(kind=("bool", "real floating")).keys() >= {"bool", "float32", "float64"}


def test_the_capabilities_are_what_works() -> None:
    claimed = st.__array_namespace_info__().capabilities()
    x = st.arange(3)
    try:
        x[x > 0]
        works = True
    except (TypeError, NotImplementedError):
        works = False
    assert claimed["boolean indexing"] == works
    assert claimed["data-dependent shapes"] == (hasattr(st, "nonzero") or hasattr(st, "unique_values"))
    n = claimed["max dimensions"]
    assert st.zeros((1,) * n).ndim == n
    with pytest.raises(ValueError, match="dimensions"):
        st.zeros((1,) * (n + 1))


KINDS = {"bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f"}


@pytest.mark.parametrize("name", DTYPES)
def test_isdtype(name: str) -> None:
    t = st.dtypes.as_dtype(name)
    kind = "f" if t.is_floating_point else np.dtype(name).kind
    for wanted, kinds in KINDS.items():
        assert st.isdtype(t, wanted) == (kind in kinds)
    assert st.isdtype(t, "numeric") == (kind != "b")
    assert not st.isdtype(t, "complex floating")
    assert st.isdtype(name, t)
    assert st.isdtype(t, (st.float64, "bool")) == (name in ("float64", "bool"))
    with pytest.raises(ValueError, match="there is no kind 'float'"):
        st.isdtype(t, "float")


@pytest.mark.parametrize("name", DTYPES)
def test_limits(name: str) -> None:
    t = st.dtypes.as_dtype(name)
    if t.is_floating_point:
        torch = pytest.importorskip("torch") if name == "bfloat16" else None
        ours, theirs = st.finfo(t), torch.finfo(torch.bfloat16) if torch else np.finfo(name)
        for attribute in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
            assert type(getattr(ours, attribute)) in (int, float)
        assert ours.dtype is t
        assert st.finfo(st.zeros(1, dtype=t)).max == ours.max
        with pytest.raises(TypeError, match="use finfo"):
            st.iinfo(t)
        return
    with pytest.raises(TypeError, match="use iinfo"):
        st.finfo(t)
    if name == "bool":
        with pytest.raises(TypeError, match="not an integer dtype"):
            st.iinfo(t)
        return
    ours, theirs = st.iinfo(t), np.iinfo(name)
    assert (ours.bits, ours.max, ours.min, ours.dtype) == (theirs.bits, theirs.max, theirs.min, t)
    assert st.iinfo(st.zeros(1, dtype=t)).max == ours.max


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", DTYPES)
def test_result_type_is_that_of_operations(a: str, b: str) -> None:
    if "uint64" in (a, b) and {a.strip("0123456789"), b.strip("0123456789")} == {"int", "uint"}:
        assert not st.can_cast(a, b)
        with pytest.raises(TypeError, match="no integer dtype for the values of both"):
            st.result_type(a, b)
        return
    x, y = st.ones(2, dtype=a), st.ones(2, dtype=b)
    expected = st.concat([x, y]).dtype
    assert st.result_type(a, b) == st.result_type(x, y) == st.result_type(x, st.dtypes.as_dtype(b)) == expected
    assert st.can_cast(a, b) == st.can_cast(x, b) == (expected == y.dtype)
    if a.startswith("float") and b.startswith("float"):
        assert expected.name == np.result_type(a, b).name


@pytest.mark.parametrize("name", DTYPES)
def test_numbers_follow_dtypes(name: str) -> None:
    x = st.ones(2, dtype=name)
    assert st.result_type(name, True) == x.dtype
    for number in (2, 2.5):
        assert st.result_type(name, number) == st.result_type(x, number) == st.where(x > 0, x, number).dtype
    assert st.result_type(st.int32, 1, 2.0, st.float64) == st.float64


def test_wrong_types() -> None:
    for wrong in ((), (1.0,), (1, True)):
        with pytest.raises(ValueError, match="must be a tensor or a dtype"):
            st.result_type(*wrong)
    with pytest.raises(TypeError, match="not a dtype"):
        st.result_type(st.int32, 1j)
    with pytest.raises(TypeError, match="not a dtype"):
        st.isdtype("quaternion", "bool")


def test_astype() -> None:
    x = st.ones(2, requires_grad=True)
    assert st.astype(x, st.float32, copy=False) is x
    y = st.astype(x, st.float32)
    assert not shares(y, x)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert st.astype(x, st.int64, device="cpu").dtype == st.int64
    assert x.astype(st.float32) is x


def test_astype_to_a_device(cuda: str) -> None:
    x = st.ones(2, device="cpu", requires_grad=True)
    y = st.astype(x, st.float64, device=cuda)
    assert (y.device, y.dtype) == (cuda, st.float64)
    y.sum().backward()
    assert (x.grad.device, x.grad.dtype) == ("cpu", st.float32)
