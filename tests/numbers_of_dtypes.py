"""What the tests of dtypes share: sizes, numbers of the 16-bit floats, and their rounding by another way."""

from __future__ import annotations

from typing import Any

import numpy as np

import steep as st
from steep.dtypes import DType

HALVES = [st.float16, st.bfloat16]
SIZES = (0, 1, 7, 64, 1000, 1025, 40001)  # less than a vector, a block, more blocks, more threads


def ids(t: DType) -> str:
    return t.name


def halves(t: DType, n: int, seed: int = 0) -> tuple[st.Tensor, np.ndarray[Any, Any]]:
    """Numbers of a 16-bit float type, and the same in float32."""
    x = st.tensor(np.random.default_rng(seed).standard_normal(n).astype(np.float32)).astype(t)
    return x, x.astype("float32").numpy()


def rounded(x: np.ndarray[Any, Any], t: DType) -> np.ndarray[Any, Any]:
    """x to the nearest number of t, ties to even, as float32: by integer arithmetic on the bits of float32."""
    if t is st.float16:
        with np.errstate(over="ignore"):
            return x.astype(np.float16).astype(np.float32)
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    even = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), np.float32(np.nan), even)
