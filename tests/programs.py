"""Random programs against NumPy: ``python tests/programs.py --examples 20000 [--seed N] [--device cuda]``.

Each operation of a program is run by steep and by NumPy on the same values, so that its own error is all there is
between them: a result must lie within the bound that ``random_programs/table.py`` gives, or be equal. Then NumPy goes
on with steep's values, in an array that is a view where steep's tensor is one; after a change in place all tensors must
be equal to their arrays.

Of programs in float64 the gradient of a random projection, and the gradient of that gradient, are compared with
differences along a random direction; where these do not settle, at a kink, the gradient is left out. Of others the
gradient by kernels is compared with the recorded one, which is computed by formulas.

It prints how many programs ran, what became of their gradients, and the shortest program for every kind of mismatch.
pytest runs a few hundred, and shrinks what it finds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import hypothesis

import steep as st
from random_programs.builder import Program, programs
from random_programs.checks import Mismatch, check_values
from random_programs.gradients import check_gradients, check_recording


def check(program: Program, second_order: bool) -> str:
    """Checks a program, and says what became of its gradient. Raises Mismatch."""
    check_values(program)
    return check_gradients(program, second_order) if program.smooth else check_recording(program)


def run(examples: int, seed: int) -> tuple[Counter[str], dict[str, list[Mismatch]]]:
    """What became of the gradients of so many programs, and the mismatches by operation."""
    states: Counter[str] = Counter()
    mismatches: dict[str, list[Mismatch]] = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(programs())
    def test(program: Program) -> None:
        try:
            states[check(program, second_order=states.total() % 2 == 0)] += 1
        except Mismatch as mismatch:
            states["a mismatch"] += 1
            mismatches.setdefault(mismatch.operation, []).append(mismatch)

    test()
    return states, mismatches


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    st.set_default_device(args.device)
    begin = time.perf_counter()
    states, mismatches = run(args.examples, args.seed)
    for operation, found in sorted(mismatches.items()):
        print(f"--- {operation}: {len(found)} mismatches, the shortest of them:")
        print(min(found, key=lambda mismatch: len(mismatch.program.steps)))
    print(f"{states.total()} programs in {time.perf_counter() - begin:.0f} s, {states['a mismatch']} mismatches")
    print("gradients:", ", ".join(f"{count} {state}" for state, count in states.most_common()))
    return int(bool(mismatches))


if __name__ == "__main__":
    sys.exit(main())
