"""Random programs in steep against NumPy: values, dtypes and shared memory; gradients against differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import steep as st
from compare import shares
from program_values import Array, Value, common, excess, readable
from programs import Leaf, Program, Step, changed, perform, reference

ERRORS = (TypeError, ValueError, IndexError, RuntimeError, OverflowError, NotImplementedError, AttributeError)
STEP = 1e-6  # of differences


class Mismatch(AssertionError):
    """What went wrong in the first ``steps`` steps of a program."""

    def __init__(self, what: str, program: Program, steps: int) -> None:
        last = program.steps[steps - 1]
        self.operation = last.operation.name if isinstance(last, Step) else "input"
        self.what, self.length = what, steps
        super().__init__(f"{what}\n{Program(program.steps[:steps])}")


def tensor(leaf: Leaf, array: Array, requires_grad: bool = False) -> st.Tensor:
    x = st.tensor(array) if leaf.dtype is not st.bfloat16 else st.tensor(array).astype(st.bfloat16)
    return x.requires_grad_() if requires_grad else x


def owner(x: Array) -> int:
    """Of all views of one array the same number."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return id(x)


def check_values(program: Program) -> None:
    """Runs each step in both libraries; NumPy goes on with what steep found. Raises Mismatch."""
    ours: list[st.Tensor] = []
    theirs: list[Value] = []
    for n, step in enumerate(program.steps, 1):
        if isinstance(step, Leaf):
            theirs.append(Value(step.dtype, step.array()))
            ours.append(tensor(step, step.array()))
            continue
        op = step.operation
        found = reference(step, theirs)
        assert found is not None, f"{step} is not defined"  # as it was when it was drawn
        wanted, dtype, bound = found
        try:
            y = op(*step.of(ours), **step.arguments)
        except ERRORS as error:
            raise Mismatch(f"{op.name} raised {type(error).__name__}: {error}", program, n) from error
        if y.dtype is not dtype:
            raise Mismatch(f"{op.name} gave {y.dtype.name}, not {dtype.name}", program, n)
        if op.in_place:
            _check_change(step, y, ours, theirs, wanted, bound, program, n)
            continue
        wrong = excess(readable(y), wanted, dtype, bound)
        if wrong:
            raise Mismatch(f"{op.name}: {wrong}", program, n)
        array = wanted if op.moves else np.array(readable(y))
        of = owner(array)
        for before, v in zip(ours, theirs, strict=True):
            if y.size and shares(y, before) != (of == owner(v.array)):
                what = "shares memory" if shares(y, before) else "does not share memory"
                raise Mismatch(f"{op.name}: the result {what} with an operand, unlike NumPy's", program, n)
        ours.append(y)
        theirs.append(Value(dtype, array))


def _check_change(
    step: Step,
    y: st.Tensor,
    ours: list[st.Tensor],
    theirs: list[Value],
    wanted: Array,
    bound: Array,
    program: Program,
    n: int,
) -> None:
    """The changed elements are right, and so are all others and all views of them."""
    target = step.of(ours)[0]
    if y is not target:
        raise Mismatch(f"{step.operation.name} gave a new tensor", program, n)
    value = step.of(theirs)[0]
    part = changed(value, step)
    new = step.arguments.get("key", ())
    got = readable(y[new] if new else y)
    wrong = excess(got, np.broadcast_to(wanted, part.shape), value.dtype, np.broadcast_to(bound, part.shape))
    if wrong:
        raise Mismatch(f"{step.operation.name}: {wrong}", program, n)
    part[...] = got
    for i, (x, v) in enumerate(zip(ours, theirs, strict=True)):
        if not np.array_equal(readable(x), v.array, equal_nan=v.dtype.is_floating_point):
            raise Mismatch(f"{step.operation.name}: v{i} is not what it is in NumPy after the change", program, n)
    ours.append(y)
    theirs.append(value)


# --- gradients --------------------------------------------------------------------------------------------------------


def run_steep(program: Program, leaves: Sequence[st.Tensor]) -> st.Tensor:
    inputs = iter(leaves)
    pool: list[Any] = []
    for step in program.steps:
        pool.append(next(inputs) if isinstance(step, Leaf) else step.operation(*step.of(pool), **step.arguments))
    return pool[-1]


def run_numpy(program: Program, leaves: Sequence[Array]) -> Array:
    inputs = iter(leaves)
    pool: list[Value] = []
    for step in program.steps:
        if isinstance(step, Leaf):
            pool.append(Value(step.dtype, next(inputs)))
        else:
            value = perform(step, pool)
            assert value is not None
            pool.append(value)
    return pool[-1].array


def check_gradient_types(program: Program) -> bool:
    """Recording changes no bits of the result, and gradients have the shapes and dtypes of the inputs.

    False if the program has no gradient.
    """
    if any(isinstance(step, Step) and step.operation.in_place for step in program.steps):
        return False
    n, leaves = len(program.steps), program.leaves()
    inputs = [tensor(leaf, leaf.array(), leaf.dtype.is_floating_point) for leaf in leaves]
    y = run_steep(program, inputs)
    if not y.requires_grad:
        return False
    plain = run_steep(program, [tensor(leaf, leaf.array()) for leaf in leaves])
    if not np.array_equal(readable(y), readable(plain), equal_nan=True):
        raise Mismatch("the result of the recorded program differs from that of the same one unrecorded", program, n)
    wanted = [x for x in inputs if x.requires_grad]
    for create_graph in (False, True):
        try:
            gradients = st.grad(y, wanted, st.ones_like(y), create_graph=create_graph, retain_graph=True, allow_unused=True)
        except ERRORS as error:
            raise Mismatch(f"the gradient raised {type(error).__name__}: {error}", program, n) from error
        for x, g in zip(wanted, gradients, strict=True):
            if g is not None and (g.shape, g.dtype) != (x.shape, x.dtype):
                what = f"a gradient of shape {g.shape} and dtype {g.dtype.name} for {x.shape} and {x.dtype.name}"
                raise Mismatch(what, program, n)
    return True


def check_gradients(program: Program, second_order: bool = False, seed: int = 0) -> str:
    """The gradient of a random projection along a random direction, against differences. Raises Mismatch.

    "checked", or why not: "unused" if the result depends on no input, "kink" if the differences do not settle.
    """
    rng = np.random.default_rng(seed)
    leaves = program.leaves()
    at = [leaf.array() for leaf in leaves]
    floats = [i for i, leaf in enumerate(leaves) if leaf.dtype is st.float64]
    ways = [rng.standard_normal(x.shape) for x in at]
    weights = rng.standard_normal(run_numpy(program, at).shape)

    def moved(h: float) -> list[Array]:
        return [x + h * v if i in floats else x for i, (x, v) in enumerate(zip(at, ways, strict=True))]

    def gradients(arrays: list[Array], create_graph: bool = False) -> tuple[list[st.Tensor], list[st.Tensor | None]]:
        inputs = [tensor(leaf, x, leaf.dtype is st.float64) for leaf, x in zip(leaves, arrays, strict=True)]
        y = run_steep(program, inputs)
        wanted = [inputs[i] for i in floats]
        if not y.requires_grad:
            return wanted, []
        return wanted, st.grad((y * st.tensor(weights)).sum(), wanted, create_graph=create_graph, allow_unused=True)

    def along(found: Sequence[st.Tensor | None], directions: list[Array]) -> tuple[float, float]:
        """The derivative along the directions, and the sum of its terms' sizes."""
        terms = [g.numpy() * directions[i] for i, g in zip(floats, found, strict=True) if g is not None]
        return sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)

    def compare(name: str, f: Callable[[float], float], found: Sequence[st.Tensor | None], scale: float) -> str:
        slope, size = along(found, ways)
        wanted = settled(f, max(size, scale, 1e-3) if np.isfinite(size) else scale + 1e-3)
        if wanted is None:
            return "kink"
        if not abs(slope - wanted[0]) <= wanted[1]:
            what = f"{name} is {slope!r}, not {wanted[0]!r} ± {wanted[1]:.2g}"
            raise Mismatch(what, program, len(program.steps))
        return "checked"

    try:
        inputs, first = gradients(at, create_graph=second_order)
        if not first:
            return "unused"
        scale = float(np.abs(weights * run_numpy(program, at)).sum())
        plain = [None if g is None else g.detach() for g in first]
        state = compare("the gradient", lambda h: float((run_numpy(program, moved(h)) * weights).sum()), plain, scale)
        if state != "checked" or not second_order:
            return state
        others = [rng.standard_normal(x.shape) for x in at]
        terms = [(g * st.tensor(others[i])).sum() for i, g in zip(floats, first, strict=True) if g is not None]
        total = sum(terms[1:], terms[0])
        if not total.requires_grad:
            return state
        found = st.grad(total, inputs, allow_unused=True)
        size = along(plain, others)[1]
        return compare("its gradient", lambda h: along(gradients(moved(h))[1], others)[0], found, size)
    except ERRORS as error:
        raise Mismatch(f"the gradient raised {type(error).__name__}: {error}", program, len(program.steps)) from error


def settled(f: Callable[[float], float], scale: float) -> tuple[float, float] | None:
    """The derivative of f at 0 and how far it may be off; None where differences of two sizes, or on both sides, differ."""
    middle, sides = f(0.0), {h: f(h) for h in (STEP, -STEP, 2 * STEP, -2 * STEP)}
    narrow, wide = ((sides[h] - sides[-h]) / (2 * h) for h in (STEP, 2 * STEP))
    bend = (sides[STEP] - 2 * middle + sides[-STEP]) / STEP
    if not max(abs(narrow - wide), 0.1 * abs(bend)) <= 1e-5 * scale:
        return None
    return narrow, 1e-4 * scale
