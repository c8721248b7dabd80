"""Gradients of random programs, against differences, and against themselves when they are recorded.

They are those of a random projection of all values of a program, so that every operation counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import steep as st

from .builder import Leaf, Program, Step, perform
from .checks import ERRORS, Mismatch, tensor
from .values import Array, Value, readable

STEP = 1e-6  # of differences
Gradients = list[st.Tensor | None]


def run_steep(program: Program, inputs: Sequence[st.Tensor]) -> list[st.Tensor]:
    """The values of all steps."""
    leaves = iter(inputs)
    pool: list[Any] = []
    for step in program.steps:
        pool.append(next(leaves) if isinstance(step, Leaf) else step.operation(*step.of(pool), **step.arguments))
    return pool


def run_numpy(program: Program, inputs: Sequence[Array]) -> list[Value]:
    """The values of all steps."""
    leaves = iter(inputs)
    pool: list[Value] = []
    for step in program.steps:
        value = Value(step.dtype, next(leaves)) if isinstance(step, Leaf) else perform(step, pool)
        assert value is not None
        pool.append(value)
    return pool


def first_failure(check: Callable[[Program], str], program: Program) -> str:
    """``check`` of the program; if that fails, of its beginnings, for the shortest one that fails."""
    try:
        return check(program)
    except Mismatch:
        for n in range(1, len(program.steps)):
            check(Program(program.steps[:n], program.smooth))
        raise


class Projection:
    """The sum of a program's floats with random weights, as large as makes them equally important."""

    def __init__(self, program: Program, rng: np.random.Generator) -> None:
        self.program, self.rng = program, rng
        self.leaves = program.leaves()
        self.at = [leaf.array() for leaf in self.leaves]
        self.floats = [i for i, leaf in enumerate(self.leaves) if leaf.dtype.is_floating_point]
        self.weights: dict[int, Array] = {}
        for k, (v, step) in enumerate(zip(run_numpy(program, self.at), program.steps, strict=True)):
            if v.dtype.is_floating_point and isinstance(step, Step):
                size = np.abs(np.where(np.isfinite(v.array), v.array, 0)).max(initial=0)
                self.weights[k] = rng.standard_normal(v.array.shape) / (1 + np.float64(size))

    def numpy(self, inputs: list[Array]) -> tuple[float, float]:
        """Its value, and the sum of its terms' sizes."""
        pool = run_numpy(self.program, inputs)
        terms = [pool[k].array * w for k, w in self.weights.items()]
        return sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)

    def gradients(self, inputs: list[Array], create_graph: bool = False) -> tuple[list[st.Tensor], Gradients]:
        """The floats among the inputs, and their gradients: none at all if nothing depends on them."""
        ours = [tensor(leaf, x, leaf.dtype.is_floating_point) for leaf, x in zip(self.leaves, inputs, strict=True)]
        wanted = [ours[i] for i in self.floats]
        pool = run_steep(self.program, ours)
        outputs = [k for k in self.weights if pool[k].requires_grad]
        if not outputs:
            return wanted, []
        weights = [st.tensor(self.weights[k]).astype(pool[k].dtype) for k in outputs]
        return wanted, st.grad(
            [pool[k] for k in outputs], wanted, weights, create_graph=create_graph, allow_unused=True
        )

    def along(self, found: Gradients, ways: list[Array]) -> tuple[float, float]:
        """The derivative along directions, and the sum of its terms' sizes."""
        terms = [g.numpy() * ways[i] for i, g in zip(self.floats, found, strict=True) if g is not None]
        return sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)

    def directions(self) -> list[Array]:
        return [self.rng.standard_normal(x.shape) for x in self.at]


def check_gradients(program: Program, second_order: bool = False) -> str:
    """The gradient along a random direction, and that gradient's gradient, against differences. Raises Mismatch.

    "checked", or why not: "unused" if nothing depends on the inputs, "kink" if the differences do not settle.
    """
    return first_failure(lambda p: _check_gradients(p, second_order), program)


def _check_gradients(program: Program, second_order: bool) -> str:
    f = Projection(program, np.random.default_rng(0))
    ways, others = f.directions(), f.directions()

    def moved(h: float) -> list[Array]:
        return [x + h * v if i in f.floats else x for i, (x, v) in enumerate(zip(f.at, ways, strict=True))]

    def compared(name: str, value: Callable[[float], float], found: Gradients, scale: float) -> str:
        slope, size = f.along(found, ways)
        wanted = settled(value, max(scale, size, 1e-3) if np.isfinite(size) else max(scale, 1e-3))
        if wanted is None:
            return "kink"
        if not abs(slope - wanted[0]) <= wanted[1]:
            what = f"{name} is {slope!r}, not {wanted[0]!r} ± {wanted[1]:.2g}"
            raise Mismatch(what, program, len(program.steps))
        return "checked"

    try:
        inputs, first = f.gradients(f.at, create_graph=second_order)
        if not first:
            return "unused"
        plain: Gradients = [None if g is None else g.detach() for g in first]
        state = compared("the gradient", lambda h: f.numpy(moved(h))[0], plain, f.numpy(f.at)[1])
        if state != "checked" or not second_order:
            return state
        terms = [(g * st.tensor(others[i])).sum() for i, g in zip(f.floats, first, strict=True) if g is not None]
        total = sum(terms[1:], terms[0])
        if not total.requires_grad:
            return state
        found = st.grad(total, inputs, allow_unused=True)
        scale = f.along(plain, others)[1]
        return compared("its gradient", lambda h: f.along(f.gradients(moved(h))[1], others)[0], found, scale)
    except ERRORS as error:
        raise Mismatch(f"the gradient raised {type(error).__name__}: {error}", program, len(program.steps)) from error


def settled(f: Callable[[float], float], scale: float) -> tuple[float, float] | None:
    """The derivative of f at 0, and how far it may be off.

    None where differences over two distances, or to both sides, disagree: at a kink.
    """
    middle, sides = f(0.0), {h: f(h) for h in (STEP, -STEP, 2 * STEP, -2 * STEP)}
    narrow, wide = ((sides[h] - sides[-h]) / (2 * h) for h in (STEP, 2 * STEP))
    bend = (sides[STEP] - 2 * middle + sides[-STEP]) / STEP
    if not max(abs(narrow - wide), 0.1 * abs(bend)) <= 1e-5 * scale:
        return None
    return narrow, 1e-4 * scale


def check_recording(program: Program) -> str:
    """Recording changes no bits of the values; gradients have the inputs' shapes and dtypes; those computed by kernels
    are those computed by formulas, when they are recorded.

    "recorded", or why not: "in place" if a value is changed, "unused" if nothing depends on the inputs.
    """
    if any(isinstance(step, Step) and step.operation.in_place for step in program.steps):
        return "in place"
    return first_failure(_check_recording, program)


def _check_recording(program: Program) -> str:
    n = len(program.steps)
    f = Projection(program, np.random.default_rng(0))
    plain = run_steep(program, [tensor(leaf, x) for leaf, x in zip(f.leaves, f.at, strict=True)])
    ours = [tensor(leaf, x, leaf.dtype.is_floating_point) for leaf, x in zip(f.leaves, f.at, strict=True)]
    for y, recorded in zip(plain, run_steep(program, ours), strict=True):
        if not np.array_equal(readable(y), readable(recorded), equal_nan=y.dtype.is_floating_point):
            raise Mismatch("a value is another one when it is recorded", program, n)
    try:
        (inputs, kernels), (_, formulas) = (f.gradients(f.at, create_graph) for create_graph in (False, True))
    except ERRORS as error:
        raise Mismatch(f"the gradient raised {type(error).__name__}: {error}", program, n) from error
    if not kernels:
        return "unused"
    exact = all(y.dtype in (st.float32, st.float64) or not y.dtype.is_floating_point for y in plain)
    for x, g, other in zip(inputs, kernels, formulas, strict=True):
        if g is None or other is None:
            continue
        if {(g.shape, g.dtype), (other.shape, other.dtype)} != {(x.shape, x.dtype)}:
            what = f"a gradient of shape {g.shape} and dtype {g.dtype.name} for {x.shape} and {x.dtype.name}"
            raise Mismatch(what, program, n)
        if exact and np.isfinite(g.numpy()).all():
            size = float(np.abs(g.numpy()).max(initial=0))
            error = float(np.abs(g.numpy() - other.detach().numpy()).max(initial=0))
            if not error <= 1e-4 * size + 1e-6:
                what = f"the gradient differs by {error:.3g} from the recorded one, of at most {size:.3g}"
                raise Mismatch(what, program, n)
    return "recorded"
