"""Readers of IDX and CSV files, whole and damaged."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

import steep as st
from compare import Array, assert_same

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(array: Array) -> bytes:
    header = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


# --- IDX --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (0, 28, 28), ()], ids=str)
@pytest.mark.parametrize("dtype", CODES)
def test_idx(dtype: str, shape: tuple[int, ...], packed: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    array = np.asarray(rng.normal(size=shape) * 50).astype(dtype)
    path = tmp_path / ("plain.gz" if not packed else "packed")  # the name says nothing
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    assert_same(st.data.read_idx(path), array)
    assert st.data.read_idx(path).flags.writeable


IMAGES = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
HUGE = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
LARGE = bytes([0, 0, 14, 1]) + struct.pack(">I", 2**31)  # 16 GiB


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is not an IDX file: it begins with the bytes \(none\)"),
        (b"\0\0\x08", "not an IDX file"),
        (b"PK\3\4....", "begins with the bytes 50 4b 03 04"),
        (b"\0\0\x0a\1\0\0\0\1\0", "not an IDX file"),
        (b"\0\0\x08\3\0\0\0\1", "announces 3 axes"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0", "announces 255 axes"),
        (IMAGES[:-1], r"announces shape \(2, 3, 4\) of uint8, 24 bytes, but holds"),
        (IMAGES + b"\0", "but holds more"),
        (HUGE, "but holds fewer"),
        (b"\0\0\x08\4" + struct.pack(">4I", 0, *[2**32 - 1] * 3), "larger than any array"),
        (LARGE + b"\0" * 100, "but holds fewer"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_that_disagrees_with_its_header(content: bytes, message: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if packed else content)
    message = message if not packed else message.replace("holds fewer", "holds (fewer|only)")
    with pytest.raises(ValueError, match=message) as caught:
        st.data.read_idx(path)
    assert str(path) in str(caught.value)


def test_a_header_makes_no_giant_allocation(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (LARGE + b"\0" * 100, gzip.compress(LARGE + b"\0" * 100), HUGE, gzip.compress(HUGE)):
        path.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(ValueError, match="announces"):
            st.data.read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * 2**20


@pytest.mark.parametrize("end", [5, 12, 20, -9, -4, -1])
def test_truncated_gzip(end: int, tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.arange(240, dtype=np.uint8)))[:end])
    with pytest.raises(ValueError, match="damaged or truncated"):
        st.data.read_idx(path)


@pytest.mark.parametrize("place", [15, 60, -6, -2])
def test_damaged_gzip(place: int, tmp_path: Path, rng: np.random.Generator) -> None:
    content = bytearray(gzip.compress(idx(rng.integers(0, 255, 300).astype(np.uint8))))
    content[place] ^= 0xFF
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|announces|not an IDX"):
        st.data.read_idx(path)


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "file"
    packed = gzip.compress(IMAGES)
    for content in (IMAGES, packed):
        path.write_bytes(content)
        for good in {hashlib.sha256(IMAGES).hexdigest(), hashlib.sha256(content).hexdigest().upper()}:
            assert st.data.read_idx(path, good).shape == (2, 3, 4)
        with pytest.raises(ValueError, match=f"its SHA-256 is {hashlib.sha256(content).hexdigest()}, not 00"):
            st.data.read_idx(path, "00")


def test_missing_idx(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        st.data.read_idx(tmp_path / "absent")


def mnist(folder: Path, names: list[str]) -> list[Array]:
    arrays = []
    for name, shape in zip(names, [(6, 28, 28), (6,), (4, 28, 28), (4,)], strict=True):
        arrays.append(np.random.default_rng(len(arrays)).integers(0, 10, shape).astype(np.uint8))
        content = idx(arrays[-1])
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return arrays


NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz"]


def test_mnist(tmp_path: Path) -> None:
    arrays = mnist(tmp_path, NAMES)
    (x_train, y_train), (x_test, y_test) = st.data.load_mnist(tmp_path)
    for actual, expected in zip((x_train, y_train, x_test, y_test), arrays, strict=True):
        assert_same(actual, expected)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte is not the expected file: its SHA-256 is"):
        st.data.load_mnist(tmp_path, verify=True)


def test_mnist_without_files(tmp_path: Path) -> None:
    mnist(tmp_path, NAMES)
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"none of t10k-labels-idx1-ubyte, t10k-labels-idx1-ubyte\.gz, .*28"):
        st.data.load_mnist(tmp_path)
    (tmp_path / NAMES[3]).write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(ValueError, match=r"has shape \(4, 28, 28\) and .*t10k-labels.* \(5,\): expected"):
        st.data.load_mnist(str(tmp_path))


# --- CSV --------------------------------------------------------------------------------------------------------------


def table(tmp_path: Path, text: str, *arguments: Any, **keywords: Any) -> st.data.Table:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return st.data.read_csv(path, *arguments, **keywords)


def test_iris_as_a_file(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    lines = [",".join([*map(str, row), name]) for row, name in zip(x.tolist(), names, strict=True)]
    for text, target in (("\n".join(lines), -1), ("a,b,c,d,kind\r\n" + "\r\n".join(lines) + "\r\n\r\n", "kind")):
        found = table(tmp_path, text, target=target)
        assert_same(found.x, x)
        assert_same(found.y, y.astype(np.int64))
        assert found.target_names == ("setosa", "versicolor", "virginica")
        assert found.feature_names == (("0", "1", "2", "3") if target == -1 else ("a", "b", "c", "d"))


def test_csv_columns_and_delimiters(tmp_path: Path) -> None:
    text = '\ufeffname; "the; size";y\nann;1e3;0.5\n\nbob; -inf;2\n'
    found = table(tmp_path, text, "y", features=["the; size"], delimiter=";")
    assert_same(found.x, np.array([[1000.0], [-np.inf]]))
    assert_same(found.y, np.array([0.5, 2.0]))
    assert found.target_names == ()
    found = table(tmp_path, "1,2\n3,4\n", features=[1, 0])
    assert_same(found.x, np.array([[2.0, 1.0], [4.0, 3.0]]))
    assert found.y is None
    assert table(tmp_path, "1,2\n3,4\n", 0, header=True).feature_names == ("2",)
    assert_same(table(tmp_path, "1,2\n3,4\n", 0).y, np.array([1, 3]))


def test_missing_values(tmp_path: Path) -> None:
    text = "a,b,y\n1,2,u\n?,3,v\n4,NA,u\n5,6,v\n"
    assert_same(table(tmp_path, text, "y", missing="nan").x, np.array([[1, 2], [np.nan, 3], [4, np.nan], [5, 6]]))
    kept = table(tmp_path, text, "y", missing="drop")
    assert_same(kept.x, np.array([[1.0, 2.0], [5.0, 6.0]]))
    assert_same(kept.y, np.array([0, 1]))
    assert_same(table(tmp_path, "a,y\n1,\n2,3\n", "y", missing="drop").y, np.array([3]))
    assert_same(table(tmp_path, text, "y", features=["b"], missing="drop").x, np.array([[2.0], [3.0], [6.0]]))


@pytest.mark.parametrize(
    ("text", "keywords", "error", "message"),
    [
        ("", {}, ValueError, "is empty"),
        ("a,b\n", {}, ValueError, "no line of data"),
        ("a,b\n1,2\n3\n", {}, ValueError, "line 3: 1 cells, but the first line has 2"),
        ("a,b\n1,2\n\n3,x\n", {}, ValueError, "line 4: column 'b' holds 'x', no number"),
        ("a,b\n1,1_000\n", {}, ValueError, "line 2: column 'b' holds '1_000'"),
        ("a,b\n1,\n", {}, ValueError, "line 2: column 'b' is missing"),
        ("a,y\n1,2\n3,nan\n", {"target": "y", "missing": "nan"}, ValueError, "line 3: the target, column 'y', is"),
        ("a,b\n,1\n", {"missing": "drop"}, ValueError, "something is missing in every line"),
        ("a,b\n1,2\n", {"target": "c"}, KeyError, "no column 'c': there are 2, a, b"),
        ("a,b\n1,2\n", {"target": 2}, KeyError, "no column 2"),
        ("a,a\n1,2\n", {"target": "a"}, KeyError, "several columns 'a'"),
        ("1,2\n", {"missing": "zero"}, ValueError, "must be 'error', 'nan' or 'drop'"),
        ('1,"2\n3,4\n', {}, ValueError, "line 2: not readable"),
        ("1,2\n3," + "4" * 200_000, {}, ValueError, "line 2: not readable: field larger"),
    ],
)
def test_csv_errors(text: str, keywords: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        table(tmp_path, text, **keywords)


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n1,\xff\n")
    with pytest.raises(ValueError, match=r"table\.csv is not text in UTF-8"):
        st.data.read_csv(path)
