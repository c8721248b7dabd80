"""The dtypes that are stored in one type and computed in another: values, promotion, limits, gradients."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same
from numbers_of_dtypes import HALVES, SIZES, ids, rounded
from steep.dtypes import ALL, DType

INTEGERS = [t for t in ALL if t.is_integer]
OF_NUMPY = [t for t in ALL if t is not st.bfloat16]  # for which test_bfloat16_conversions is
EDGES = [0, 1, -1, 2, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, 65535, 65536, 2**31 - 1, 2**31, -(2**31)]
FLOAT_EDGES = [0.5, -0.0, 1.5, 2.5, 1e-8, 6e-8, 65504.0, 65519.9, 65520.0, 3.4e38, 1e300, np.nan, np.inf, -np.inf]


def integers(t: DType, n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Over the whole range, with many small ones, zeros and the limits."""
    rng, limits = np.random.default_rng(seed), np.iinfo(t.name)
    x = rng.integers(limits.min, limits.max, n, dtype=t.name, endpoint=True)
    x[::3] = rng.integers(0, 10, len(x[::3]))
    x[::7] = 0
    x[3::11] = limits.max
    x[5::11] = limits.min
    return x


# --- conversions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", OF_NUMPY, ids=ids)
@pytest.mark.parametrize("source", OF_NUMPY, ids=ids)
def test_conversions(source: DType, to: DType) -> None:
    with np.errstate(all="ignore"):
        x = np.array(EDGES + (FLOAT_EDGES if source.is_floating_point else []), dtype=object)
        x = x.astype(np.float64).astype(source.name) if source.is_floating_point else wrapped(EDGES, source)
        x = np.resize(x, 517)
        if source.is_floating_point and to.is_integer:  # saturating, unlike C
            limits = np.iinfo(to.name)
            whole = [
                0 if np.isnan(v) else int(v) if np.isfinite(v) else (limits.max if v > 0 else limits.min) for v in x
            ]
            expected = np.array([min(max(v, limits.min), limits.max) for v in whole], dtype=to.name)
        else:
            expected = x.astype(to.name)
    given = st.tensor(x)
    assert_same(given.astype(to), expected)
    assert_same(given[::3].astype(to), expected[::3])
    assert_same(given[::-1].reshape(11, 47).T.astype(to), expected[::-1].reshape(11, 47).T)


def wrapped(values: list[int], t: DType) -> np.ndarray[Any, Any]:
    if t is st.bool:
        return np.array([v != 0 for v in values])
    return np.array([v % 2**64 for v in values], np.uint64).astype(t.name)


@pytest.mark.parametrize("to", ALL, ids=ids)
def test_bfloat16_conversions(to: DType) -> None:
    every = np.arange(65536, dtype=np.uint32) << 16
    exact = every.view(np.float32)
    x = st.tensor(exact).astype(st.bfloat16)
    assert_same(x.astype("float32"), exact)
    assert_same(x.astype(to).astype("float32"), st.tensor(exact).astype(to).astype("float32"))


@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_rounding_to_16_bits(t: DType) -> None:
    bits = np.random.default_rng(1).integers(0, 2**32, 100_003, dtype=np.uint32)
    bits[::5] = bits[::5] & 0xFFFF0000 | 0x8000  # halfway for bfloat16
    bits[1::5] = bits[1::5] & 0xFFFFE000 | 0x1000  # and for float16
    x = np.concatenate([bits.view(np.float32), np.float32(FLOAT_EDGES[:10]), np.float32([np.inf, -np.inf])])
    x = np.where(np.isnan(x), np.float32(np.nan), x)
    assert_same(st.tensor(x).astype(t).astype("float32"), rounded(x, t))


@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_float64_is_rounded_once(t: DType) -> None:
    fraction = 10 if t is st.float16 else 7
    halfway = 1 + 0.5 ** (fraction + 1)
    for tiny in (0.5**40, -(0.5**40)):  # less than float32 can tell
        expected = 1 + 0.5**fraction if tiny > 0 else 1.0
        assert st.tensor(np.float64(halfway + tiny)).astype(t).item() == expected
        assert st.tensor(np.float64(-halfway - tiny)).astype(t).item() == -expected
    assert st.tensor(np.float64(halfway)).astype(t).item() == 1.0
    far = np.float64([1e-46, -1e-46, 5e-324, -5e-324, 1e-60, -1e-200, 1e300, -1e300])  # beyond float32's range
    expected = np.float32([0.0, -0.0, 0.0, -0.0, 0.0, -0.0, np.inf, -np.inf])
    assert_same(st.tensor(np.resize(far, 1001)).astype(t).astype("float32"), np.resize(expected, 1001))
    assert st.tensor(1e-50, dtype=t).item() == 0.0


def test_wide_integers_are_rounded_once_to_bfloat16() -> None:
    """Where float64 can't tell them from halfway."""
    halves = [2**62 + 2**54, 2**62 + 3 * 2**54, 2**53 + 2**45, 255 * 2**55 + 2**54]
    near = [h + d for h in halves for d in (-1, 0, 1)]

    def nearest(v: int) -> int:
        step = 1 << max(0, abs(v).bit_length() - 8)
        below, rest = divmod(abs(v), step)
        up = 2 * rest > step or (2 * rest == step and below % 2)
        return (below + up) * step * (1 if v > 0 else -1)

    signed = near + [-v for v in near] + [0, 1, -1, 2**53, -(2**53), -(2**63), 2**63 - 1, 2**53 - 1]
    assert st.tensor(signed).astype(st.bfloat16).tolist() == [nearest(v) for v in signed]
    unsigned = [*near, 2**64 - 1, 2**63 + 2**55, 2**63 + 2**55 + 1]
    assert st.tensor(unsigned, dtype="uint64").astype(st.bfloat16).tolist() == [nearest(v) for v in unsigned]


@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_limits_of_python_numbers(t: DType) -> None:
    limits = np.iinfo(t.name)
    assert st.tensor([limits.min, limits.max], dtype=t).tolist() == [limits.min, limits.max]
    assert st.full((2,), limits.max, dtype=t).tolist() == [limits.max] * 2
    for beyond in (limits.min - 1, limits.max + 1):
        with pytest.raises(OverflowError, match="does not fit in"):
            st.tensor([beyond], dtype=t)
        with pytest.raises(OverflowError, match=f"does not fit in a tensor of dtype {t.name}"):
            st.ones(2, dtype=t) + beyond


def test_no_integers_become_floats_on_the_way() -> None:
    """As NumPy makes them of lists of which one part fits int64 and another uint64."""
    mixed = [[2**53 + 1], [2**64 - 1]]
    assert st.tensor(mixed, dtype=st.uint64).tolist() == mixed
    assert st.asarray(mixed, dtype=st.uint64).tolist() == mixed
    assert st.tensor([np.uint64(2**63 + 1), 1], dtype=st.uint64).tolist() == [2**63 + 1, 1]
    for given, dtype in (([1, 2**63], None), (mixed, st.int64), ([-1, 2**64 - 1], st.uint64), ([1, 2**63], st.int8)):
        with pytest.raises(OverflowError, match=r"does not fit in u?int64"):
            st.tensor(given, dtype=dtype)
    x = st.zeros(2, dtype=st.uint64)
    x[:] = [2**53 + 1, 2**64 - 1]
    assert x.tolist() == [2**53 + 1, 2**64 - 1]
    assert st.tensor([1, 2**63], dtype=st.float64).tolist() == [1, 2.0**63]
    assert st.tensor([0.5, 2**63]).tolist() == [0.5, 2.0**63]
    assert st.tensor([1e30, -1e30, np.inf]).dtype is st.float32


def test_python_floats_are_rounded_once() -> None:
    """To the dtype that was asked for, not to float32 before."""
    assert st.tensor(0.1, dtype=st.float64).item() == 0.1
    assert st.asarray([0.1], dtype=st.float64).tolist() == [0.1]
    assert st.full((2,), 0.1, dtype=st.float64).tolist() == [0.1] * 2
    assert st.full_like(st.zeros(2, dtype=st.float64), 0.1).tolist() == [0.1] * 2
    x = st.zeros(2, dtype=st.float64)
    x[0] = 0.1
    assert x[0].item() == 0.1
    assert x.fill_(0.3)[1].item() == 0.3
    assert st.masked_fill(x, st.tensor([True, False]), 0.1).tolist() == [0.1, 0.3]
    assert st.pad(x[:1], 1, constant_values=0.7).tolist() == [0.7, 0.3, 0.7]
    assert st.tensor(1 + 2.0**-11 + 2.0**-40, dtype=st.float16).item() == 1 + 2.0**-10


# --- arithmetic of integers -------------------------------------------------------------------------------------------

BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}
UNARY = {"neg": np.negative, "abs": np.abs, "square": np.square, "sign": np.sign, "bitwise_invert": np.invert}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_binary(t: DType, name: str) -> None:
    ours, theirs = getattr(st, name), BINARY[name]
    for n in SIZES:
        a, b = integers(t, n, 1), integers(t, n, 2)
        with np.errstate(all="ignore"):
            assert_same(ours(st.tensor(a), st.tensor(b)), theirs(a, b))
            assert_same(ours(st.tensor(a)[::2], st.tensor(b)[::2]), theirs(a[::2], b[::2]))
            assert_same(ours(st.tensor(a), 3), theirs(a, np.array(3, t.name)))
            assert_same(ours(st.tensor(a)[:40, None], st.tensor(b)[:30]), theirs(a[:40, None], b[:30]))


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_unary(t: DType, name: str) -> None:
    for n in SIZES:
        x = integers(t, n)
        with np.errstate(all="ignore"):
            assert_same(getattr(st, name)(st.tensor(x)), UNARY[name](x))
            assert_same(getattr(st, name)(st.tensor(x)[::-2]), UNARY[name](x[::-2]))


@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_shifts_and_powers(t: DType) -> None:
    x, by = integers(t, 1000), np.resize(np.arange(8 * t.itemsize + 4), 1000).astype(t.name)
    assert_same(st.bitwise_left_shift(st.tensor(x), st.tensor(by)), np.left_shift(x, by))
    assert_same(st.bitwise_right_shift(st.tensor(x), st.tensor(by)), np.right_shift(x, by))
    exponent = np.resize(np.arange(9), 1000).astype(t.name)
    with np.errstate(all="ignore"):
        assert_same(st.tensor(x) ** st.tensor(exponent), x**exponent)
    assert_same(st.clip(st.tensor(x), 3, 100), np.clip(x, 3, 100))


@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_in_place_and_views(t: DType) -> None:
    a, b = integers(t, 300, 1).reshape(20, 15), integers(t, 300, 2).reshape(20, 15)
    x = st.tensor(a)
    x[:, ::2] += st.tensor(b)[:, ::2]
    with np.errstate(all="ignore"):
        a[:, ::2] += b[:, ::2]
    assert_same(x, a)
    x[3] = 7
    assert x[3].tolist() == [7] * 15
    assert_same(st.where(st.tensor(a > 5), x, 0), np.where(a > 5, x.numpy(), np.array(0, t.name)))
    assert_same(st.concat([x, x[:, :2]], 1), np.concatenate([x.numpy(), x.numpy()[:, :2]], 1))
    rows = np.array([3, 0, 3])
    assert_same(st.take(x, st.tensor(rows), 0), x.numpy()[rows])
    assert_same(st.take_along_axis(x, st.argmax(x, 1, keepdims=True), 1), x.numpy().max(1, keepdims=True))


AUGMENTED = {
    "floor_divide": operator.ifloordiv,
    "remainder": operator.imod,
    "power": operator.ipow,
    "bitwise_and": operator.iand,
    "bitwise_or": operator.ior,
    "bitwise_xor": operator.ixor,
    "left_shift": operator.ilshift,
    "right_shift": operator.irshift,
}


@pytest.mark.parametrize("name", AUGMENTED)
@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_augmented_operators_change_views(t: DType, name: str) -> None:
    a = integers(t, 60).reshape(6, 10)
    x = st.tensor(a)
    view = same = x[::2].T
    view = AUGMENTED[name](view, 3)
    assert view is same
    with np.errstate(all="ignore"):
        a[::2] = getattr(np, name)(a[::2], np.array(3, t.name))
    assert_same(x, a)


@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_assigned_integers_must_fit(t: DType) -> None:
    x, limits = st.zeros(3, dtype=t), np.iinfo(t.name)
    x[0], x[1:] = limits.max, [limits.min, 1]
    assert x.tolist() == [limits.max, limits.min, 1]
    for beyond in (limits.max + 1, limits.min - 1):
        for change in (lambda v: x.__setitem__(0, v), lambda v: x.__setitem__(slice(2), [v, v]), x.copy_):
            with pytest.raises(OverflowError, match="does not fit in"):
                change(beyond)


def test_recorded_derivatives_beside_integers_do_not_wrap() -> None:
    b = st.tensor([100], dtype=st.int8)  # whose square is 16
    for f in (st.hypot, st.atan2, st.divide, lambda x, y: y / x):
        x = st.tensor([3.0], dtype=st.float64, requires_grad=True)
        plain, recorded = (st.grad(f(x, b), x, create_graph=create)[0] for create in (False, True))
        np.testing.assert_allclose(recorded.detach().numpy(), plain.numpy(), rtol=1e-12)
        x32 = st.tensor([3.0], requires_grad=True)
        (g,) = st.grad(st.atan2(x32, st.tensor([True])), x32, create_graph=True)
        assert abs(g.item() - 0.1) < 1e-6


@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_half_std_and_vecdot_are_rounded_once(t: DType) -> None:
    x = st.tensor([0.0, 2000.0]).astype(t)  # the variance is not finite in float16
    assert st.std(x).item() == 1000.0
    a, b = st.tensor([1.0 + 2.0**-7, -1.0]).astype(t), st.tensor([1.0 - 2.0**-7, 1.0]).astype(t)
    assert st.vecdot(a, b).item() == -(2.0**-14)
    assert st.vecdot(a, st.tensor([2, 3], dtype=st.int8)).dtype is t


@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_matmul(t: DType) -> None:
    a, b = integers(t, 7 * 5).reshape(7, 5), integers(t, 5 * 3).reshape(5, 3)
    with np.errstate(all="ignore"):
        assert_same(st.tensor(a) @ st.tensor(b), a @ b)


@pytest.mark.parametrize("t", INTEGERS, ids=ids)
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "argmax", "argmin"])
def test_reductions(t: DType, name: str) -> None:
    ours, theirs = getattr(st, name), getattr(np, name)
    for n in (1, 7, 1000, 5000, 40001):
        line = integers(t, n)
        for x, axis in (
            (line, None),
            (line[::-3], None),
            (line[:, None], 0),
            (np.resize(line, (5, 1000)), 0),
            (np.resize(line, (5, 1000)), 1),
            (np.resize(line, (1000, 5)), 0),
            (np.resize(line, (40, 60)).T, 0),
            (np.resize(line, (7, 11, 13)).transpose(1, 2, 0), 1),
        ):
            with np.errstate(all="ignore"):
                assert_same(ours(st.tensor(x), axis=axis), theirs(x, axis=axis))


@pytest.mark.parametrize("t", INTEGERS, ids=ids)
def test_empty(t: DType) -> None:
    x = st.zeros(0, 3, dtype=t)
    assert (x + x).shape == (0, 3)
    assert_same(x.sum(0), np.zeros((0, 3), t.name).sum(0))
    assert_same(x.prod(1), np.zeros((0, 3), t.name).prod(1))


# --- promotion, interchange, random numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("b", ALL, ids=ids)
@pytest.mark.parametrize("a", ALL, ids=ids)
def test_promotion(a: DType, b: DType) -> None:
    """NumPy's among integers and among floats; a float beside an integer stays, as in PyTorch."""
    x, y = st.ones(2, dtype=a), st.ones(2, dtype=b)
    kinds = {a.kind, b.kind}
    if kinds == {"int", "uint"} and st.uint64 in (a, b):
        with pytest.raises(TypeError, match="no integer dtype"):
            st.maximum(x, y)
        return
    if a.is_floating_point != b.is_floating_point:
        expected = a.name if a.is_floating_point else b.name
    elif st.bfloat16 in (a, b):
        other = b if a is st.bfloat16 else a
        expected = {"bfloat16": "bfloat16", "float16": "float32"}.get(other.name, other.name)
    else:
        expected = np.promote_types(a.name, b.name).name
    if a is b is st.bool:
        assert st.where(True, x, y).dtype == st.bool
    else:
        assert st.maximum(x, y).dtype.name == expected
    assert st.concat([x, y]).dtype.name == expected
    assert st.where(st.tensor([True, False]), x, y).dtype.name == expected


@pytest.mark.parametrize("t", OF_NUMPY, ids=ids)
def test_numpy_and_dlpack(t: DType) -> None:
    x = np.arange(6).reshape(2, 3).astype(t.name)
    assert_same(st.tensor(x), x)
    assert st.tensor(x).dtype is t
    assert_same(st.from_dlpack(x), x)
    if st.get_default_device().type == "cpu":
        assert_same(np.from_dlpack(st.tensor(x)), x)


@pytest.mark.host(reason="shares memory with PyTorch's CPU tensors")
@pytest.mark.parametrize("t", ALL, ids=ids)
def test_torch_and_dlpack(t: DType) -> None:
    torch = pytest.importorskip("torch")
    x = st.tensor([0, 1, 3]).astype(t)
    y = torch.from_dlpack(x)
    assert y.dtype == getattr(torch, t.name)
    assert y.tolist() == x.tolist()
    assert st.from_dlpack(y).dtype is t


@pytest.mark.parametrize("t", HALVES, ids=ids)
def test_text(t: DType) -> None:
    x = st.tensor([1.0, 2.5], dtype=t)
    assert x.tolist() == [1.0, 2.5]
    assert x[1].item() == 2.5
    assert f"{x}" == f"tensor([1. , 2.5], dtype={t.name})"


@pytest.mark.parametrize("t", ALL[1:], ids=ids)
def test_random(t: DType) -> None:
    if t.is_integer:
        limits = np.iinfo(t.name)
        least, most = limits.min, min(limits.max, 2**63 - 2)
        x = st.random.randint(least, most + 1, 1000, dtype=t)
        assert len(set(x.tolist())) > 200
        assert set(st.random.randint(0, 3, 100, dtype=t).tolist()) == {0, 1, 2}
        with pytest.raises(ValueError, match="must fit in"):
            st.random.randint(least - 1, 3, 2, dtype=t)
    else:
        x = st.random.uniform(1000, -1.0, 1.0, dtype=t)
        assert abs(x.astype("float64").mean().item()) < 0.1
        assert st.random.normal(3, dtype=t).dtype is t
    assert x.dtype is t
