"""Random programs, as drawn by Hypothesis, and how NumPy runs them.

A program draws one to three tensors and up to eight operations of ``table``. A step gives its operands by their places
among the steps before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies

import steep as st
from steep.dtypes import ALL, DType

from .table import TABLE, Operation
from .values import (
    Array,
    Number,
    Value,
    cast,
    common,
    computed_in,
    epsilon,
    indices,
    promoted,
    spacing,
    values,
)

MOST_ELEMENTS = 3000
EXTENTS = (2, 3, 1, 5, 7, 1, 2, 3, 5, 17, 0)


@dataclass(frozen=True)
class Leaf:
    """An input."""

    dtype: DType
    shape: tuple[int, ...]
    style: str
    seed: int

    def array(self) -> Array:
        return values(self.dtype, self.shape, self.style, self.seed)

    def __str__(self) -> str:
        return f"input({self.dtype.name}, {self.shape}, {self.style!r}, seed={self.seed})"


@dataclass(frozen=True)
class Step:
    """An operation on earlier values, which are given by their places, or on Python numbers in a list of one."""

    operation: Operation
    operands: tuple[int | list[Number], ...]
    arguments: dict[str, Any]

    def of(self, pool: Sequence[Any]) -> list[Any]:
        return [x[0] if isinstance(x, list) else pool[x] for x in self.operands]

    def __str__(self) -> str:
        of = [str(x[0]) if isinstance(x, list) else f"v{x}" for x in self.operands]
        return f"{self.operation.name}({', '.join([*of, *(f'{k}={v!r}' for k, v in self.arguments.items())])})"


@dataclass
class Program:
    steps: list[Leaf | Step] = field(default_factory=list)
    smooth: bool = False

    def __str__(self) -> str:
        return "\n".join(f"v{i} = {step}" for i, step in enumerate(self.steps))

    def leaves(self) -> list[Leaf]:
        return [step for step in self.steps if isinstance(step, Leaf)]

    def operations(self) -> list[str]:
        return [step.operation.name for step in self.steps if isinstance(step, Step)]


# --- NumPy's side -----------------------------------------------------------------------------------------------------


def reference(step: Step, pool: Sequence[Value]) -> tuple[Array, DType, Array] | None:
    """The result before it is rounded, its dtype, and by how much it may be off; None if it is not defined."""
    op, operands = step.operation, step.of(pool)
    t = common(operands[slice(*op.promotes)])
    if t is None or not op.accepts(t):
        return None
    if op.result == "float" and not t.is_floating_point:
        t = st.float32
    places = range(len(operands))[slice(*op.promotes)]
    arrays = [x.array if isinstance(x, Value) else np.asarray(x) for x in operands]
    for i in places:
        same = isinstance(operands[i], Value) and operands[i].dtype is t
        arrays[i] = arrays[i] if same else cast(arrays[i], t)
    dtype = step.arguments.get("dtype", op.result_dtype(t))
    arguments = {k: indices(v) for k, v in step.arguments.items()}
    with np.errstate(all="ignore"):
        if op.moves:
            y = np.asarray(op.numpy(*arrays, **arguments))
            return (y if y.dtype == cast(0, dtype).dtype and dtype is t else cast(y, dtype)), dtype, np.zeros(())
        if t.is_floating_point:
            arrays = [x.astype(np.float64) if i in places else x for i, x in enumerate(arrays)]
        y = np.asarray(op.numpy(*arrays, **arguments))
        if not dtype.is_floating_point:
            return y.astype(dtype.name), dtype, np.zeros(())
        y = y.astype(np.float64)
        if callable(op.error):
            bound = np.asarray(op.error(epsilon(dtype), y, *arrays, **arguments))
        else:
            bound = op.error * spacing(y, computed_in(dtype))
        return y, dtype, np.broadcast_to(bound, y.shape)


def perform(step: Step, pool: Sequence[Value]) -> Value | None:
    """What NumPy gives: a new array, a view, or the changed first operand."""
    found = reference(step, pool)
    if found is None:
        return None
    y, dtype, _ = found
    if not step.operation.in_place:
        return Value(dtype, y if step.operation.moves else cast(y, dtype))
    target = step.of(pool)[0]
    if dtype is not target.dtype:
        return None
    target.array[changed(step)] = cast(y, dtype)
    return target


def changed(step: Step) -> Any:
    """NumPy's key of the elements that a step in place changes."""
    return indices(step.arguments.get("key", ...))


# --- drawing ----------------------------------------------------------------------------------------------------------


@cache
def _range(low: int, high: int) -> Any:
    return strategies.integers(low, high)


class Builder:
    """Draws a program, and runs it in NumPy as it grows, since what may come next depends on shapes and values."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self._draw = draw
        self.program = Program(smooth=self.chance(3))
        self.pool: list[Value] = []

    def integer(self, low: int, high: int) -> int:
        return self._draw(_range(low, high)) if low < high else low

    def chance(self, n: int) -> bool:
        """True once in n times."""
        return self.integer(0, n - 1) == n - 1

    def pick(self, items: Sequence[Any]) -> Any:
        return items[self.integer(0, len(items) - 1)]

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        rest = list(items)
        return [rest.pop(self.integer(0, len(rest) - 1)) for _ in items]

    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.integer(0, 10**6))

    def extent(self) -> int:
        return self.integer(18, 300) if self.chance(40) else self.pick(EXTENTS)

    def number(self, of: DType | None = None) -> list[Number]:
        """A Python number, in a list; one that fits in a dtype, if given."""
        numbers = [2, 3, 0, 7, 0.5, 2.0, -1.5, 0.1, True]
        return [self.pick(numbers if of is not None and of.kind == "uint" else [*numbers, -1])]

    def array(self, i: int) -> Array:
        return self.pool[i].array

    def dtype(self, i: int) -> DType:
        return self.pool[i].dtype

    def fits(self, shape: Sequence[int]) -> bool:
        return int(np.prod(shape, dtype=np.int64)) <= MOST_ELEMENTS and len(shape) <= 8

    def writeable(self, i: int) -> bool:
        return self.array(i).flags.writeable and not self.program.smooth

    def leaf(self, shape: tuple[int, ...], dtype: DType | None = None) -> int:
        if self.program.smooth:
            dtype, style = dtype or st.float64, "smooth"
        else:
            dtype = dtype or self.pick(ALL[::-1])
            style = self.pick(["small", "wide", "small", "special"])
        leaf = Leaf(dtype, shape, style, self.integer(0, 10**6))
        self.program.steps.append(leaf)
        self.pool.append(Value(dtype, leaf.array()))
        return len(self.pool) - 1

    def mask(self, i: int) -> int:
        """Truth values that broadcast with a value."""
        known = [j for j, v in enumerate(self.pool) if v.dtype is st.bool and self._broadcasts(v, i)]
        return self.pick(known) if known else self.leaf(self._narrower(self.array(i).shape), st.bool)

    def leaf_or_same(self, i: int, shape: tuple[int, ...]) -> int:
        """A value of that shape: an earlier one, or a new one, mostly of the dtype of value i."""
        same = [j for j, v in enumerate(self.pool) if v.array.shape == shape and promoted(v.dtype, self.dtype(i))]
        if same and self.chance(2):
            return self.pick(same)
        return self.leaf(shape, None if self.chance(3) else self.dtype(i))

    def partner(self, i: int, onto: bool = False, shape: tuple[int, ...] | None = None) -> int:
        """A value that broadcasts with value i, or to it, if ``onto``."""
        shape = self.array(i).shape if shape is None else shape
        known = [
            j
            for j, v in enumerate(self.pool)
            if self._broadcasts(v, shape) and (not onto or np.broadcast_shapes(v.array.shape, shape) == shape)
        ]
        if known and self.chance(2):
            return self.pick(known)
        new = self._narrower(shape)
        if not onto:
            tail = shape[len(shape) - len(new) :]
            new = tuple(self.extent() if m == 1 and self.chance(2) else n for n, m in zip(new, tail, strict=True))
            new = tuple(self.extent() for _ in range(len(shape) == len(new) < 4 and self.chance(4))) + new
            new = new if self.fits(np.broadcast_shapes(new, shape)) else shape
        return self.leaf(new, None if self.chance(3) else self.dtype(i))

    def _narrower(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape without some of the first axes, and with one element along others."""
        shape = shape[self.integer(0, len(shape)) if self.chance(3) else 0 :]
        return tuple(1 if self.chance(4) else n for n in shape)

    def _broadcasts(self, v: Value, to: Any) -> bool:
        shape = self.array(to).shape if isinstance(to, int) else to
        try:
            return self.fits(np.broadcast_shapes(v.array.shape, shape))
        except ValueError:
            return False

    def input(self) -> None:
        shape: tuple[int, ...] = ()
        for _ in range(self.pick([2, 1, 3, 0, 4])):
            extent = self.extent()
            shape = (*shape, extent) if self.fits((*shape, extent)) else shape
        self.leaf(shape)
        for _ in range(self.pick([0, 0, 1, 2])):
            self.operation(["views"], len(self.pool) - 1)

    def operation(self, groups: Sequence[str], i: int) -> None:
        """Adds an operation on value i, if one of a few that it tries is defined for it."""
        for _ in range(4):
            op = self.pick(TABLE[self.pick(groups)])
            if self.program.smooth and (op.in_place or not op.smooth or self.dtype(i) is not st.float64):
                continue
            if not (self._inside(op, i) or (self.chance(10) and not self.program.smooth)):
                continue
            leaves = len(self.pool)
            drawn = op.draw(self, i)
            if drawn is not None:
                step = Step(op, *drawn)
                result = perform(step, self.pool)
                if result is not None and (op.in_place or self._tame(result.array, self.array(i))):
                    self.program.steps.append(step)
                    self.pool.append(result)
                    return
            del self.pool[leaves:], self.program.steps[leaves:]

    def _inside(self, op: Operation, i: int) -> bool:
        x = self.array(i)
        if op.singular and self.program.smooth and np.abs(x).min(initial=1) < 0.01:
            return False
        low, high = op.domain
        return (low, high) == (-np.inf, np.inf) or bool(((x > low) & (x < high) | ~np.isfinite(x)).all())

    def _tame(self, y: Array, x: Array) -> bool:
        """Whether the result is worth going on with: not too large, and of smooth programs moderate."""
        if y.size > MOST_ELEMENTS:
            return False
        if self.program.smooth:
            return bool(np.isfinite(y).all() and np.abs(y).max(initial=0) < 1e3)
        return np.isfinite(y).sum() * 2 >= y.size or not np.isfinite(x).all()


@strategies.composite
def programs(draw: Callable[..., Any]) -> Program:
    b = Builder(draw)
    for _ in range(b.pick([1, 1, 2, 3])):
        b.input()
    for _ in range(b.integer(1, 8)):
        last = len(b.pool) - 1
        b.operation(list(TABLE), b.integer(0, last) if b.chance(3) else last)
    return b.program
