"""NumPy's side of random programs: dtypes that NumPy lacks, promotion, conversions, and how far a result may be off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import steep as st
from steep.dtypes import ALL, DType

Array = np.ndarray[Any, Any]
Number = bool | int | float
FLOATS = [t for t in ALL if t.is_floating_point]
# Of a float: the bits of its fraction with the leading one, and the exponent at which subnormal numbers begin.
FORMAT = {st.float16: (11, -13), st.bfloat16: (8, -125), st.float32: (24, -125), st.float64: (53, -1021)}


@dataclass
class Value:
    """An array as NumPy can hold it: bfloat16 as float32, whose elements are numbers of bfloat16."""

    dtype: DType
    array: Array


def held_as(t: DType) -> str:
    """The name of the NumPy dtype that holds the values of t."""
    return "float32" if t is st.bfloat16 else t.name


def readable(x: st.Tensor) -> Array:
    """A tensor's elements as NumPy holds them."""
    x = x.detach()
    return (x.astype(st.float32) if x.dtype is st.bfloat16 else x).numpy()


def promoted(a: DType, b: DType) -> DType | None:
    """The dtype of docs/numerics.md for operations on both; None where there is none."""
    if a.is_floating_point != b.is_floating_point:
        return a if a.is_floating_point else b
    if st.bfloat16 in (a, b):
        other = b if a is st.bfloat16 else a
        return st.float32 if other is st.float16 else other
    if st.uint64 in (a, b) and "int" in (a.kind, b.kind):
        return None
    return st.as_dtype(np.promote_types(a.name, b.name))


def common(operands: list[Value | Number]) -> DType | None:
    """The dtype in which an operation on tensors and Python numbers computes; None where there is none."""
    tensors = [x.dtype for x in operands if isinstance(x, Value)]
    t: DType | None = tensors[0]
    for other in tensors[1:]:
        t = None if t is None else promoted(t, other)
    for x in operands:
        if t is None or isinstance(x, Value | bool):
            continue
        if isinstance(x, float):
            t = t if t.is_floating_point else st.float32
        elif t is st.bool:
            t = st.int64
        if t.is_integer and not np.iinfo(t.name).min <= x <= np.iinfo(t.name).max:
            return None
    return t


def spacing(x: Array, t: DType) -> Array:
    """The distance between neighbouring numbers of t around x."""
    bits, least = FORMAT[t]
    _, exponent = np.frexp(np.where(np.isfinite(x), x, 0.0))
    return np.ldexp(1.0, np.maximum(exponent, least) - bits)


def largest(t: DType) -> float:
    return (2 - 2.0**-7) * 2.0**127 if t is st.bfloat16 else float(np.finfo(t.name).max)


def cast(x: Any, t: DType) -> Array:
    """x converted to t, as NumPy holds it: rounded once, and integers of floats saturated, as docs/numerics.md says."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        if t is st.bfloat16:
            wide = x.astype(np.float64)
            unit = spacing(wide, t)
            near = np.where(np.isfinite(wide), np.rint(wide / unit) * unit, wide)
            return np.where(np.abs(near) > largest(t), np.copysign(np.inf, near), near).astype(np.float32)
        if t.is_integer and x.dtype.kind == "f":
            limits = np.iinfo(t.name)
            whole = np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=1e300, neginf=-1e300))
            inside = (whole > float(limits.min)) & (whole < float(limits.max))
            ends = np.where(whole > 0, np.array(limits.max, t.name), np.array(limits.min, t.name))
            return np.where(inside, np.where(inside, whole, 0).astype(t.name), ends)
        return x.astype(held_as(t))


def computed_in(t: DType) -> DType:
    """The float type in which operations on t compute."""
    return st.float64 if t is st.float64 else st.float32


def epsilon(t: DType) -> float:
    return float(np.finfo(computed_in(t).name).eps)


def excess(actual: Array, wanted: Array, t: DType, bound: Array) -> str:
    """What is wrong with a result that may differ by ``bound`` from ``wanted``, in words; "" if it is right.

    ``wanted`` is float64 for floats, which are rounded to t once more if that has 16 bits; others must be equal.
    """
    if actual.shape != wanted.shape:
        return f"the shape is {actual.shape}, not {wanted.shape}"
    if actual.dtype != held_as(t):
        return f"the dtype is {actual.dtype}, not {held_as(t)}"
    if not t.is_floating_point:
        right = actual == wanted
    else:
        with np.errstate(all="ignore"):
            if t in (st.float16, st.bfloat16):
                bound = bound + 0.5 * spacing(wanted, t)
            a, limit = actual.astype(np.float64), largest(t) + 0.5 * spacing(np.array(largest(t)), t)
            overflows = np.isinf(a) & (np.abs(wanted) + bound >= limit) & (np.sign(a) == np.sign(wanted))
            right = (np.abs(a - wanted) <= bound) | (a == wanted) | (np.isnan(a) & np.isnan(wanted)) | overflows
    if right.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~right)[0])
    of = f"{(~right).sum()} of {right.size} elements are wrong"
    return f"{of}; at {at} it is {actual[at]!r}, not {wanted[at]!r} ± {np.broadcast_to(bound, wanted.shape)[at]:.3g}"


def indices(x: Any) -> Any:
    """Lists of integers as arrays, which NumPy wants where they are empty."""
    if isinstance(x, list) and not (x and isinstance(x[0], tuple)):
        return np.asarray(x, None if x else np.int64)
    return tuple(map(indices, x)) if isinstance(x, tuple) else x


def values(t: DType, shape: tuple[int, ...], style: str, seed: int) -> Array:
    """Elements for an input. ``style`` is "small", "wide", "special" (with NaN and infinities), or "smooth"."""
    rng = np.random.default_rng(seed)
    if t is st.bool:
        return rng.integers(0, 2, shape).astype(bool)
    if t.is_integer:
        limits = np.iinfo(t.name)
        small = rng.integers(0 if t.kind == "uint" else -9, 10, shape).astype(t.name)
        if style == "small":
            return small
        whole = rng.integers(limits.min, limits.max, shape, dtype=t.name, endpoint=True)
        ends = rng.choice(np.array([limits.min, limits.max, 0, 1], t.name), shape)
        return np.asarray(np.choose(rng.integers(0, 3, shape), [small, whole, ends]), t.name)
    if style == "wide":
        x = rng.standard_normal(shape) * 10.0 ** rng.uniform(-4, 4, shape)
    elif style == "smooth":
        x = rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)
    else:
        x = np.where(rng.random(shape) < 0.3, rng.integers(-3, 4, shape), rng.standard_normal(shape) * 2)
    if style == "special":
        x = np.where(rng.random(shape) < 0.2, rng.choice([np.nan, np.inf, -np.inf, -0.0, 0.0], shape), x)
    return cast(x, t)
