"""Measures how far matrix products are from float64's, in each precision.

    python tests/matmul_errors.py [--device cuda]

It prints the table of docs/numerics.md: ‖C − C₆₄‖ / ‖C₆₄‖ of square C, for normally distributed elements, and for
uniform ones in [0, 1), whose products have one sign, so that no errors cancel.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import steep as st

PRECISIONS = ("highest", "high", "medium")
LENGTHS = (16, 64, 256, 1024, 4096, 16384)
DATA = ("normal", "uniform")


@contextmanager
def precision(name: str) -> Iterator[None]:
    """float32_matmul_precision in a block."""
    before = st.get_float32_matmul_precision()
    st.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        st.set_float32_matmul_precision(before)


def rows_for(k: int) -> int:
    """Rows and columns of C: enough for tensor cores to pay, few enough for an emulated device."""
    return 256 if k <= 256 else 128


def operands(k: int, data: str) -> tuple[np.ndarray, np.ndarray]:
    """A (n, k) and B (k, n) in float32, the same every time."""
    rng = np.random.default_rng(k)
    draw = rng.standard_normal if data == "normal" else rng.random
    n = rows_for(k)
    return draw((n, k)).astype(np.float32), draw((k, n)).astype(np.float32)


def error(a: np.ndarray, b: np.ndarray, dtype: str = "float32", device: str | None = None) -> float:
    """The relative error of a @ b in the L2 norm; of 16-bit elements, against the product of the rounded ones."""
    x, y = (st.tensor(v, device=device).astype(dtype) for v in (a, b))
    exact = x.astype("float64").numpy() @ y.astype("float64").numpy()
    return float(np.linalg.norm((x @ y).astype("float64").numpy() - exact) / np.linalg.norm(exact))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    print("| elements | k | " + " | ".join([*PRECISIONS, "bfloat16", "float16"]) + " |")
    print("| --- |" + " ---: |" * 6)
    for data in DATA:
        for k in LENGTHS:
            a, b = operands(k, data)
            errors = []
            for name in PRECISIONS:
                with precision(name):
                    errors.append(error(a, b, device=device))
            errors += [error(a, b, dtype, device) for dtype in ("bfloat16", "float16")]
            print(f"| {data} | {k} | " + " | ".join(f"{e:.1e}" for e in errors) + " |", flush=True)


if __name__ == "__main__":
    main()
