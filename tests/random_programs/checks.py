"""Random programs in steep against NumPy: values, dtypes and shared memory."""

from __future__ import annotations

import numpy as np

import steep as st
from compare import shares

from .builder import Leaf, Program, Step, changed, reference
from .values import Array, Value, excess, readable

ERRORS = (TypeError, ValueError, IndexError, RuntimeError, OverflowError, NotImplementedError, AttributeError)


class Mismatch(AssertionError):
    """What went wrong in the first ``steps`` steps of a program."""

    def __init__(self, what: str, program: Program, steps: int) -> None:
        last = program.steps[steps - 1]
        self.operation = last.operation.name if isinstance(last, Step) else "input"
        self.program = Program(program.steps[:steps])
        super().__init__(f"{what}\n{self.program}")


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
        array = wanted if op.moves == "view" else np.array(readable(y))
        of = owner(array)
        for before, v in zip(ours, theirs, strict=True):
            if y.size and before.size and shares(y, before) != (of == owner(v.array)):
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
    if step.operation.moves:  # the elements of a key may be named several times: the last value stays
        whole = value.array.copy()
        whole[changed(step)] = wanted
    else:
        whole = wanted
    wrong = excess(readable(y), whole, value.dtype, bound)
    if wrong:
        raise Mismatch(f"{step.operation.name}: {wrong}", program, n)
    value.array[...] = readable(y)
    for i, (x, v) in enumerate(zip(ours, theirs, strict=True)):
        if not np.array_equal(readable(x), v.array, equal_nan=v.dtype.is_floating_point):
            raise Mismatch(f"{step.operation.name}: v{i} is not what it is in NumPy after the change", program, n)
    ours.append(y)
    theirs.append(value)
