"""Elementwise operations: their tables, and their values against mpmath and NumPy. The cases are in cases.py."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpmath import mp

import steep as st
from cases import BINARY, COMPARISONS, PREDICATES, STEPS, UNARY, Binary, Unary, inside
from compare import FLOATS, assert_same, assert_ulp, exact, numbers, ulp_error
from steep import _core
from steep.ops import elementwise, logic, trigonometry

UNARY_NAMES, BINARY_NAMES = [case.name for case in UNARY], [case.name for case in BINARY]
COMPOSED = {"where", "negative", "positive"}  # in elementwise.py, but not rows of these tables
every_unary = pytest.mark.parametrize("case", UNARY, ids=str)
every_binary = pytest.mark.parametrize("case", BINARY, ids=str)


def values(t: st.Tensor) -> Any:
    return t.numpy()


def tensor(x: Any) -> st.Tensor:
    return st.asarray(np.asarray(x))


# --- the tables -------------------------------------------------------------------------------------------------------


def test_tables_and_cases_name_the_same_operations() -> None:
    assert {*UNARY_NAMES, *PREDICATES, "bitwise_invert"} == set(_core.unary)
    assert {*BINARY_NAMES, *STEPS, *COMPARISONS} == set(_core.binary)


def test_functions_and_cases_name_the_same_operations() -> None:
    defined = {
        name
        for module in (elementwise, logic, trigonometry)
        for name, f in vars(module).items()
        if getattr(f, "__module__", "") == module.__name__
    }
    public = {name for name in defined if not name.startswith("_")} - COMPOSED
    covered = {case.function or case.name for case in UNARY}
    covered |= {*BINARY_NAMES, *PREDICATES, *STEPS, *COMPARISONS, "bitwise_invert"}
    assert public == covered
    assert public <= set(st.__all__)
    assert all(inspect.getdoc(getattr(st, name)) for name in public)


@pytest.mark.parametrize("case", [*UNARY, *BINARY], ids=str)
def test_function_runs_the_row_of_its_name(case: Unary | Binary) -> None:
    arguments = [st.tensor([0.5], requires_grad=True) for _ in range(2 if isinstance(case, Binary) else 1)]
    node = case(*arguments).grad_fn
    assert node is not None
    assert node.name == case.name


def test_reductions_and_functions_name_the_same_operations() -> None:
    assert set(_core.reductions) == {"sum", "prod", "max", "min", "any", "all", "argmax", "argmin"}
    assert all(callable(getattr(st, name)) for name in _core.reductions)


# --- values -----------------------------------------------------------------------------------------------------------


@every_unary
@pytest.mark.parametrize("dtype", FLOATS)
def test_accuracy(case: Unary, dtype: str) -> None:
    x = numbers(dtype)
    y = values(case(tensor(x)))
    assert y.dtype == dtype
    rounded, rest = exact(case.exact, x)
    assert_ulp(case.error(x, y, rounded, rest), case.ulp, x, y, rounded)


@every_unary
def test_float32_follows_float64(case: Unary) -> None:
    """Densely: float64 itself is compared with mpmath at fewer points above."""
    x = numbers("float32", seed=1, count=20_000, limits=(1, 4, 16, 128))
    y, wide = values(case(tensor(x))), values(case(tensor(x.astype(np.float64))))
    with np.errstate(over="ignore"):
        wide = np.where(np.abs(wide) > np.finfo("f4").max, wide.astype("f4"), wide)
    assert_ulp(case.error(x, y, wide), case.ulp, x, y)


@every_unary
@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values(case: Unary, dtype: str) -> None:
    x = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan] * 7, dtype)  # in whole vectors and in the rest
    y = values(case(tensor(x)))
    assert_same(y, np.array([*case.specials, np.nan] * 7, dtype))
    if hasattr(np, case.name) and not case.args:
        with np.errstate(all="ignore"):
            assert_same(y, getattr(np, case.name)(x))


def test_whole_logarithms_and_powers(dtype: str) -> None:
    info = np.finfo(dtype)
    k = np.arange(info.minexp - info.nmant, info.maxexp).astype(dtype)
    powers = np.ldexp(np.ones_like(k), k.astype("int32"))
    assert_same(values(st.exp2(tensor(k))), powers)
    assert_same(values(st.log2(tensor(powers))), k)
    tens = np.arange(11 if dtype == "float32" else 23)  # 10^k without rounding
    assert_same(values(st.log10(tensor(np.array([10.0 ** int(i) for i in tens], dtype)))), tens.astype(dtype))


def test_angles_and_distances_that_users_expect(dtype: str) -> None:
    def at(function: Any, *arguments: float) -> Any:
        return values(function(*(tensor(np.array([x], dtype)) for x in arguments)))[0]

    pi = np.dtype(dtype).type(np.pi)
    assert [4 * at(st.atan, 1), 2 * at(st.asin, 1), at(st.acos, -1), 2 * at(st.acos, 0)] == [pi] * 4
    assert [at(st.atan2, 0, -1), 2 * at(st.atan2, 1, 0), 4 * at(st.atan2, -1, 1)] == [pi, pi, -pi]
    assert [at(st.acos, 1), at(st.acosh, 1), at(st.cosh, 0)] == [0, 0, 1]
    big, small = float(np.finfo(dtype).max) / 8, float(np.finfo(dtype).smallest_subnormal)
    assert [at(st.hypot, 3, 4), at(st.hypot, -5, 12), at(st.hypot, big, 0)] == [5, 13, np.array(big, dtype)]
    assert at(st.hypot, 3 * small, -4 * small) == np.array(5 * small, dtype)
    assert np.isfinite(at(st.hypot, 4 * big, 4 * big))
    assert at(st.atan2, 8 * big, 8 * big) == at(st.atan, 1)


@every_binary
@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_accuracy(case: Binary, dtype: str, rng: np.random.Generator) -> None:
    a, b = rng.permutation(numbers(dtype, 2)), rng.permutation(numbers(dtype, 3))
    a, b = a[: b.size], b[: a.size]
    if case.name == "pow":  # b log a of a reasonable size, and integers for negative a
        reals = np.abs(a[::4])[np.abs(a[::4]) != 1]
        b = np.concatenate([rng.uniform(-100, 100, reals.size) / np.log(reals), np.rint(rng.uniform(-9, 9, a.size))])
        a, b = np.concatenate([reals, a]), b.astype(dtype)
    y = values(case(tensor(a), tensor(b)))
    rounded, rest = exact(case.exact, a, b)
    assert_ulp(ulp_error(y, rounded, rest, case.floor), case.ulp, a, b, y, rounded)


@every_binary
@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_special_values(case: Binary, dtype: str) -> None:
    some = np.array([-np.inf, -3, -2.5, -1, -0.5, -0.0, 0.0, 0.5, 1, 2, 2.5, 3, np.inf, np.nan], dtype)
    a, b = (x.reshape(-1) for x in np.meshgrid(some, some))
    y = values(case(tensor(a), tensor(b)))
    with np.errstate(all="ignore"):
        expected = case.numpy(a, b)
    if case.ulp > 0.5:  # what isn't rounded correctly need not be NumPy's in the last bit
        close = np.isfinite(expected) & (expected != 0)
        np.testing.assert_allclose(y[close], expected[close], rtol=8 * np.finfo(dtype).eps)
        expected = np.where(close, y, expected)
    assert_same(y, expected, zero_sign=case.tie is None)  # max(-0, +0) may be either


@pytest.mark.host(reason="CUDA's own functions are less accurate")
@pytest.mark.parametrize("dtype", FLOATS)
def test_powers_are_within_an_ulp(dtype: str, rng: np.random.Generator) -> None:
    """Densely, where the exponent is large, and where the result is subnormal: NumPy's wider types have the digits."""
    info, wider = np.finfo(dtype), np.longdouble if dtype == "float64" else np.float64
    low, high = np.log(float(info.smallest_subnormal)), np.log(float(info.max))
    n = 100_001
    near = 1 + rng.choice([-1, 1], n) * np.exp2(rng.uniform(-info.nmant, -2, n))
    a = np.concatenate([rng.uniform(0.6, 1.6, n), near, np.exp(rng.uniform(low, high, n))]).astype(dtype)
    a = a[(a != 1) & (a > 0)]
    b = (rng.uniform(low, high, a.size) / np.log(a.astype(np.float64))).astype(dtype)
    whole = np.rint(rng.uniform(-9, 9, n)).astype(dtype)
    a, b = np.concatenate([a, rng.normal(0, 9, n).astype(dtype)]), np.concatenate([b, whole])
    order = rng.permutation(a.size)
    a, b = a[order], b[order]
    y = values(st.pow(tensor(a), tensor(b)))
    with np.errstate(all="ignore"):
        expected = a.astype(wider) ** b.astype(wider)
        finite = np.abs(expected) <= info.max
        ulp = np.spacing(np.abs(expected[finite]).astype(dtype)).astype(wider)
        error = np.abs(y[finite].astype(wider) - expected[finite]) / ulp
    assert error.max() < (0.52 if dtype == "float32" else 0.82)
    assert_same(y[~finite], np.copysign(np.inf, expected[~finite]).astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_powers_of_extremes(dtype: str) -> None:
    info = np.finfo(dtype)
    tiny, small, big, integers = info.smallest_subnormal, info.smallest_normal, info.max, 2.0 ** (info.nmant + 1)
    numbers_ = [0.0, tiny, small, 0.5, 1 - info.epsneg, 1, 1 + info.eps, 1.5, 3, integers - 1, integers, big, np.inf]
    some = np.array([*numbers_, *(-x for x in numbers_), np.nan], dtype)
    a, b = (x.reshape(-1) for x in np.meshgrid(some, some))
    y = values(st.pow(tensor(a), tensor(b)))
    with np.errstate(all="ignore"):
        expected = np.array([np.power(np.longdouble(p), np.longdouble(q)) for p, q in zip(a, b, strict=True)])
        expected = expected.astype(dtype)
    close = np.isfinite(expected) & (expected != 0)
    np.testing.assert_allclose(y[close], expected[close], rtol=4 * info.eps)
    assert_same(np.where(close, expected, y), expected)


@pytest.mark.parametrize("name", PREDICATES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_predicates(name: str, dtype: str) -> None:
    x = np.array([-np.inf, -1, -0.0, 0.0, 1e-40, 1, np.inf, np.nan] * 9, dtype)
    assert_same(values(getattr(st, name)(tensor(x))), PREDICATES[name](x))
    assert values(getattr(st, name)(tensor(np.array([0, 1, -5])))).tolist() == PREDICATES[name]([0, 1, -5]).tolist()


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("dtype", [*FLOATS, "int32", "int64", "bool"])
def test_comparisons(name: str, dtype: str, rng: np.random.Generator) -> None:
    a, b = (rng.integers(-1 if dtype != "bool" else 0, 2, 77).astype(dtype) for _ in "ab")
    if dtype in FLOATS:
        a[::5], b[::7], b[::11] = np.nan, np.nan, np.inf
    assert_same(values(getattr(st, name)(tensor(a), tensor(b))), COMPARISONS[name](a, b))


@pytest.mark.parametrize("name", STEPS)
def test_operations_without_a_derivative(name: str, dtype: str, rng: np.random.Generator) -> None:
    function, dtypes = STEPS[name]
    wider = {"float32": "int32", "float64": "int64"}.get(dtype, dtype)
    for kind in {dtype, wider, "bool"} & set(dtypes):
        if kind in FLOATS:
            some = np.array([-np.inf, -3, -2.5, -1, -0.5, -0.0, 0.0, 0.5, 1, 2, 2.5, 3, np.inf, np.nan], kind)
            a, b = (x.reshape(-1) for x in np.meshgrid(some, some))
            a, b = np.concatenate([a, rng.normal(0, 1e3, 500)]).astype(kind), np.concatenate([b, rng.normal(size=500)])
        else:
            low, high = (0, 1) if kind == "bool" else (np.iinfo(kind).min, np.iinfo(kind).max)
            a = rng.integers(low, high, 500, dtype=np.int64, endpoint=True)
            b = np.concatenate([rng.integers(low, high, 250, dtype=np.int64, endpoint=True), rng.integers(0, 2, 250)])
            if kind != "bool":
                a[:4], b[:4], b[250:] = low, (-1, 0, 1, low), rng.integers(-3, 70, 250)
        a, b = a.astype(kind), b.astype(kind)
        with np.errstate(all="ignore"):
            assert_same(values(getattr(st, name)(tensor(a), tensor(b))), function(a, b))
            assert_same(values(getattr(st, name)(tensor(a[::3]), tensor(b[:1]))), function(a[::3], b[:1]))
    x = st.ones(3, requires_grad=True)
    if "float32" in dtypes:
        assert not getattr(st, name)(x, x).requires_grad


def test_bitwise_invert_and_operators(rng: np.random.Generator) -> None:
    a, b = rng.integers(-99, 99, 77), rng.integers(0, 9, 77)
    x, y = tensor(a), tensor(b)
    for got, expected in (
        *((~x, ~a), (x & y, a & b), (x | y, a | b), (x ^ y, a ^ b), (x << y, a << b), (x >> y, a >> b), (3 & x, 3 & a)),
        *((1 << y, 1 << b), (999 >> y, 999 >> b), (x // 7, a // 7), (x % 7, a % 7), (50 % (y + 1), 50 % (b + 1))),
        *((50 // (y + 1), 50 // (b + 1)), (~(x > 3), ~(a > 3)), ((x > 3) ^ True, (a > 3) ^ True)),
    ):
        assert_same(values(got), expected)


INTEGER_UNARY = {
    "neg": np.negative,
    "abs": np.abs,
    "square": np.square,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.round,
}


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_wrap_as_in_numpy(dtype: str, rng: np.random.Generator) -> None:
    info = np.iinfo(dtype)
    a = rng.integers(info.min, info.max, 77, dtype=dtype, endpoint=True)
    a[:4] = info.min, info.max, 0, -1
    b = rng.permutation(a)
    for name, function in INTEGER_UNARY.items():
        assert_same(values(getattr(st, name)(tensor(a))), function(a))
    for case in BINARY:
        other = np.abs(b % 70) if case.name == "pow" else b
        if case.integers:
            with np.errstate(divide="ignore"):
                assert_same(values(case(tensor(a), tensor(other))), case.numpy(a, other))
    assert_same(values(st.relu(tensor(a))), np.maximum(a, 0))
    assert_same(values(st.clip(tensor(a), -5, 9)), np.clip(a, -5, 9))


@every_unary
def test_integers_and_booleans_that_need_floats_become_float32(case: Unary) -> None:
    numbers = case.name in {*INTEGER_UNARY, "relu"}  # defined for integers too, and not for booleans
    for x in (np.array([1, 2, 3]), np.array([1, 2, 3], "int32"), np.array([True, False, True])):
        if numbers and x.dtype == bool:
            with pytest.raises(TypeError, match=f"{case.name} is not defined for bool"):
                case(tensor(x))
            continue
        y = values(case(tensor(x)))
        if y.dtype != "float32":
            assert numbers
            assert y.dtype == x.dtype
        else:
            assert_same(y, values(case(tensor(x.astype("float32")))))


def test_booleans_have_no_arithmetic() -> None:
    b = st.tensor([True, False])
    for name in ("add", "subtract", "multiply", "pow", "maximum", "minimum"):
        with pytest.raises(TypeError, match=f"{name}.*bool"):
            getattr(st, name)(b, b)
    assert (b + 1).tolist() == [2, 1]
    assert (b * 0.5).tolist() == [0.5, 0]


def test_clip_of_integers_by_floats() -> None:
    assert_same(st.clip(st.tensor([True, False]), 0, 3), np.array([1, 0]))
    assert_same(st.clip(tensor([1, 2, 3]), 1.5, 2.5).numpy(), np.array([1.5, 2, 2.5], "float32"))
    assert_same(st.clip(tensor([1, 2, 3]), 2, None).numpy(), np.array([2, 2, 3]))


def test_where(rng: np.random.Generator) -> None:
    for dtype in (*FLOATS, "int32", "int64", "bool"):
        condition, a, b = rng.random((3, 41)) < 0.5, *(rng.integers(0, 9, (41,)).astype(dtype) for _ in "ab")
        assert_same(values(st.where(tensor(condition), tensor(a), tensor(b))), np.where(condition, a, b))
    x = tensor(np.array([1.0, np.nan, -2.0], "float32"))
    assert_same(values(st.where(x > 0, x, 0.0)), np.array([1, 0, 0], "float32"))
    assert_same(values(st.where(tensor([2, 0, -1]), 1, 2)), np.array([1, 2, 1]))


# --- types and shapes -------------------------------------------------------------------------------------------------

TYPES = ("bool", "int32", "int64", "float32", "float64")
# Array API within a kind; an integer beside a float takes the float's dtype, as in PyTorch.
PROMOTED = {(a, b): max(a, b, key=TYPES.index) for a in TYPES for b in TYPES}
WEAK = {  # a Python number takes the tensor's dtype, unless its kind is higher
    **{(t, int): t if t != "bool" else "int64" for t in TYPES},
    **{(t, float): t if t in FLOATS else "float32" for t in TYPES},
    **{(t, bool): t for t in TYPES},
}


def test_promotion() -> None:
    for (a, b), expected in PROMOTED.items():
        if "bool" not in (a, b) or a != b:
            assert st.maximum(st.ones(1, dtype=a), st.ones(1, dtype=b)).dtype.name == expected, (a, b)
    for (a, number), expected in WEAK.items():
        if a != "bool" or number is not bool:
            assert (st.ones(1, dtype=a) + number(1)).dtype.name == expected, (a, number)
            assert (number(1) + st.ones(1, dtype=a)).dtype.name == expected, (a, number)
    assert (st.ones(1, dtype=st.int32) / 2).dtype == st.float32
    assert float(st.tensor([1.0], dtype=st.float64) * 0.1) == 0.1  # the number isn't rounded to float32 first


@pytest.mark.parametrize("case", [*UNARY, *BINARY], ids=str)
def test_every_length_and_alignment(case: Unary | Binary, dtype: str, rng: np.random.Generator) -> None:
    """An element's bits depend neither on its place in the vectors nor on its neighbours."""
    count = 2 if isinstance(case, Binary) else 1
    inputs = [tensor(rng.uniform(-3, 3, 90).astype(dtype)) for _ in range(count)]
    whole = values(case(*inputs))
    for n in range(71):
        start = n % 9
        assert_same(values(case(*(x[start : start + n] for x in inputs))), whole[start : start + n])


@pytest.mark.parametrize("case", [*UNARY, *BINARY], ids=str)
def test_strides_and_broadcasting(case: Unary | Binary, dtype: str, rng: np.random.Generator) -> None:
    x = tensor(rng.uniform(-3, 3, (7, 9, 11)).astype(dtype))
    views = [x[::2], x[:, ::-1, ::3], x.permute_dims(2, 0, 1), x[3:4].broadcast_to((5, 9, 11)), x[1, 2, 3], x[:, 4:4]]
    for view in views:
        packed = tensor(values(view).copy())
        if isinstance(case, Unary):
            assert_same(values(case(view)), values(case(packed)))
            continue
        others = [view, packed, view[..., ::-1] if view.ndim else view, view[:1] if view.ndim else view]
        for other in others:
            same_other = np.broadcast_to(values(other), values(packed).shape).copy()
            assert_same(values(case(view, other)), values(case(packed, tensor(same_other))))
            assert_same(values(case(other, view)), values(case(tensor(same_other), packed)))
        outer = tensor(rng.uniform(-3, 3, (4, *[1] * view.ndim)).astype(dtype))
        shape = (4, *view.shape)
        expanded = [tensor(np.broadcast_to(values(t), shape).copy()) for t in (outer, view)]
        assert_same(values(case(outer, view)), values(case(*expanded)))


def test_numbers_beside_tensors(dtype: str) -> None:
    x = tensor(np.array([1.5, -2.0], dtype))
    one = np.array(2, dtype)
    for case in BINARY:
        with np.errstate(all="ignore"):
            expected = [case.numpy(values(x), one), case.numpy(one, values(x))]
        for got, right in zip((case(x, 2), case(2.0, x)), expected, strict=True):
            np.testing.assert_allclose(values(got), right, rtol=8 * np.finfo(dtype).eps if case.ulp > 0.5 else 0)
            assert got.dtype.name == dtype
    assert_same(values(3 - x), values(x * -1 + 3))
    assert_same(values(np.array([1, 1], dtype) - x), 1 - values(x))


@pytest.mark.parametrize("isa", [isa for isa in _core.available_isas() if isa != _core.isa])
def test_other_instruction_sets(isa: str) -> None:
    """Everything runs once per set in CI; here the float32 accuracy of the others, so that no run leaves them out."""
    chosen = "test_float32_follows_float64 or test_every_length or (test_binary_accuracy and float32)"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, Path(__file__).name]
    environment = {**os.environ, "STEEP_ISA": isa}
    result = subprocess.run(command, env=environment, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]


# --- derivatives ------------------------------------------------------------------------------------------------------


def derivative(case: Unary, x: np.ndarray[Any, Any]) -> Any:
    t = st.tensor(x, requires_grad=True)
    (g,) = st.grad(case(t).sum(), t)
    return values(g)


@every_unary
@pytest.mark.parametrize("dtype", FLOATS)
def test_derivative_accuracy(case: Unary, dtype: str, rng: np.random.Generator) -> None:
    """Against mpmath's numerical derivative of the definition, away from kinks."""
    x = np.concatenate([rng.uniform(-limit, limit, 40) for limit in (0.5, 3, 12, 30)]).astype(dtype)
    x = inside(x, case.domain)
    x = x[np.min([np.abs(x - kink) for kink in [*case.kinks, np.inf]], axis=0) > 1e-3]
    rounded, rest = exact(lambda v: mp.diff(case.exact, v), x)
    assert_ulp(ulp_error(derivative(case, x), rounded, rest, case.slope_floor), 4, x)


@every_unary
def test_derivative_in_float32_follows_float64(case: Unary) -> None:
    x = numbers("float32", seed=4, count=5000, limits=(1, 8, 50))
    got, wide = derivative(case, x), derivative(case, x.astype(np.float64))
    representable = np.isnan(wide) | (np.abs(wide) < np.finfo("f4").max)
    assert_ulp(ulp_error(got, wide, 0.0, case.slope_floor)[representable], 4, x[representable], got[representable])


@every_unary
def test_derivative_at_kinks_and_special_values(case: Unary, dtype: str) -> None:
    for kink, slope in case.kinks.items():
        assert derivative(case, np.array([kink], dtype))[0] == np.dtype(dtype).type(slope)
    assert np.isnan(case(tensor(np.array([np.nan], dtype))).numpy())
    far = inside(np.array([-80.0, 80.0] * 5, dtype), case.domain)
    assert np.isfinite(derivative(case, far)).all()  # no ∞·0 = NaN where the function saturates


@every_unary
def test_second_derivative_is_a_number_everywhere(case: Unary, dtype: str) -> None:
    x = np.array([-1e10, -80, -30, -1, -1e-30, 1e-30, 0.5, 1, 30, 80, 1e10], dtype)
    t = st.tensor(x[(case.domain[0] < x) & (x < case.domain[1])], requires_grad=True)
    (g,) = st.grad(case(t).sum(), t, create_graph=True)
    kernel = derivative(case, values(t))  # the same formula, but with fused multiply-adds
    assert_ulp(ulp_error(values(g.detach()), kernel, 0.0, case.slope_floor), 4, values(t))
    if g.requires_grad:
        (second,) = st.grad(g.sum(), t, allow_unused=True)
        assert second is None or not np.isnan(second.numpy()).any()


@every_binary
def test_derivative_at_ties(case: Binary, dtype: str) -> None:
    if case.tie:
        a, b = (st.tensor(np.array([1.5, 2.0], dtype), requires_grad=True) for _ in "ab")
        da, db = st.grad(case(a, b).sum(), (a, b))
        assert (values(da).tolist(), values(db).tolist()) == ([case.tie[0]] * 2, [case.tie[1]] * 2)
