"""More elements than 32 bits count. They need 24 GB and minutes: ``STEEP_LARGE_TESTS=1 pytest tests/test_large.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

import steep as st

ROWS, COLUMNS = 2**11, 2**20 + 1
SIZE = ROWS * COLUMNS  # 2**31 + 2048
PLACES = [0, 2**31 - 1, 2**31, 2**31 + 5, SIZE - 1]
VALUES = [1, 2, -3, 4, 5]

pytestmark = [
    pytest.mark.skipif("STEEP_LARGE_TESTS" not in os.environ, reason="STEEP_LARGE_TESTS is not set"),
    pytest.mark.host(reason="24 GB"),
]


@pytest.fixture(scope="module", params=["int8", "bool", "uint8", "float16"])
def x(request: pytest.FixtureRequest) -> Iterator[st.Tensor]:
    """Zeros, but for the values at the places."""
    x = st.zeros(SIZE, dtype=request.param)
    for place, value in zip(PLACES, VALUES, strict=True):
        x[place] = value % 256 if request.param == "uint8" else value
    yield x
    st.empty_cache()


def expected(x: st.Tensor) -> np.ndarray:
    """The values in x's dtype."""
    return np.array([v % 256 if x.dtype.name == "uint8" else v for v in VALUES]).astype(x.dtype.name)


def test_elements_and_slices(x: st.Tensor) -> None:
    assert [x[i].item() for i in PLACES] == expected(x).tolist()
    assert x[PLACES].tolist() == expected(x).tolist()
    assert x[2**31 : 2**31 + 6].tolist() == expected(x)[[2]].tolist() + [0] * 4 + expected(x)[[3]].tolist()
    assert x[:: 2**31].tolist() == expected(x)[[0, 2]].tolist()
    assert x[::-1][SIZE - 1 - 2**31].item() == expected(x)[2]
    assert st.take(x, st.tensor(PLACES), 0).tolist() == expected(x).tolist()
    with pytest.raises(IndexError, match="out of range"):
        x[[SIZE]]


def test_masks_and_places(x: st.Tensor) -> None:
    mask = x != 0
    assert mask.sum().item() == 5
    assert st.nonzero(mask)[0].tolist() == PLACES
    assert x[mask].tolist() == expected(x).tolist()
    assert st.count_nonzero(x).item() == 5


@pytest.mark.parametrize("name", ["sum", "max", "min", "any", "all", "argmax", "argmin"])
def test_reductions(x: st.Tensor, name: str) -> None:
    few, reduce = expected(x), getattr(np, name)
    y = getattr(st, name)(x)
    if name.startswith("arg"):
        with_zero = [*few, 0]
        place = int(reduce(with_zero))
        assert y.item() == ([*PLACES, 1][place])
    else:
        wide = few.astype("int64") if name == "sum" else few
        assert y.item() == reduce([*wide, 0])


def test_sums_over_an_axis(x: st.Tensor) -> None:
    table = x.reshape(ROWS, COLUMNS)
    by_row, by_column = table.sum(1).astype("int64").numpy(), table.sum(0).astype("int64").numpy()
    rows, columns = np.zeros(ROWS, "int64"), np.zeros(COLUMNS, "int64")
    np.add.at(rows, np.array(PLACES) // COLUMNS, expected(x).astype("int64"))
    np.add.at(columns, np.array(PLACES) % COLUMNS, expected(x).astype("int64"))
    np.testing.assert_array_equal(by_row, rows)
    np.testing.assert_array_equal(by_column, columns)


def test_elementwise_and_copies(x: st.Tensor) -> None:
    if x.dtype == st.bool:
        y = st.logical_not(x)
        assert [y[i].item() for i in (*PLACES, 2**31 + 1)] == [False] * 5 + [True]
        return
    y = x * 2
    assert y[PLACES].tolist() == (expected(x) * np.array(2, expected(x).dtype)).tolist()
    assert y[2**31 + 1].item() == 0
    del y
    y = st.flip(x)
    assert y[[SIZE - 1 - place for place in PLACES]].tolist() == expected(x).tolist()
    y[mask_of(y)] = 7
    assert y.sum().item() == 35


def mask_of(y: st.Tensor) -> st.Tensor:
    return y != 0
