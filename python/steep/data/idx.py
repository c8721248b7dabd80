"""IDX files, the format of MNIST, from a local path."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load_mnist", "read_idx"]

Array = np.ndarray[Any, Any]

# By the third byte, as on MNIST's page (LeCun, Cortes and Burges); numbers are big-endian.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RATIO = 1032  # of deflate: bytes that one byte can unpack to
_MAX_AXES = 32  # of NumPy 1's arrays

# The four parts of MNIST, and the SHA-256 of the original files, unpacked.
_MNIST = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def read_idx(path: str | os.PathLike[str], sha256: str | None = None) -> Array:
    """The array in an IDX file, which may be packed by gzip, whatever its name.

    Its dtype is the file's: uint8, int8, int16, int32, float32 or float64. ``sha256`` is the checksum that the file
    must have, as it is or unpacked, in hexadecimal.

    Raises ValueError, naming the file, for another format, sizes that disagree with the file's, a damaged or truncated
    file, and another checksum. No more memory is taken than the file can fill.

    >>> import tempfile, pathlib
    >>> import steep as st
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "labels"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     print(st.data.read_idx(path))
    [7 2 1]
    """
    digests = [hashlib.sha256()]
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if sha256 is not None and packed:
                digests.append(hashlib.sha256())
                while block := file.read(1 << 20):
                    digests[1].update(block)
                file.seek(0)
            if not packed:
                array = _read(file, path, size, digests[0])
            else:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    array = _read(unpacked, path, size * _MAX_RATIO, digests[0])
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"read_idx: {path} is damaged or truncated: {error}") from None
    found = [digest.hexdigest() for digest in digests]
    if sha256 is not None and sha256.lower() not in found:
        raise ValueError(f"read_idx: {path} is not the expected file: its SHA-256 is {found[-1]}, not {sha256}")
    return array


def _read(file: Any, path: Any, size: int, digest: Any) -> Array:
    """The array; ``size`` bounds what the file can hold, its header included."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _DTYPES:
        raise ValueError(
            f"read_idx: {path} is not an IDX file: it begins with the bytes {start.hex(' ') or '(none)'}, not with "
            "00 00, a dtype of 08 to 0e, and the number of axes"
        )
    dtype, axes = np.dtype(_DTYPES[start[2]]), start[3]
    header = file.read(4 * axes)
    if len(header) < 4 * axes or axes > _MAX_AXES:
        raise ValueError(f"read_idx: {path} announces {axes} axes, but its header ends before, or NumPy has no so many")
    shape = struct.unpack(f">{axes}I", header)
    count = math.prod(shape) * dtype.itemsize
    problem = f"read_idx: {path} announces shape {shape} of {dtype.name}, {count} bytes, but holds"
    if count > size - 4 - 4 * axes:
        raise ValueError(f"{problem} fewer: it is truncated, or its header damaged")
    if math.prod(extent or 1 for extent in shape) * dtype.itemsize > np.iinfo(np.intp).max:
        raise ValueError(f"read_idx: {path} announces shape {shape}, larger than any array: its header is damaged")
    digest.update(start + header)
    array = np.empty(count, np.uint8)
    filled = 0
    while filled < count:
        block = file.read(min(count - filled, 1 << 20))
        if not block:
            raise ValueError(f"{problem} only {filled}: it is truncated, or its header damaged")
        digest.update(block)
        array[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)
    if file.read(1):  # of a gzip file, this also checks its sum
        raise ValueError(f"{problem} more: its header is damaged, or something was appended")
    return array.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def load_mnist(folder: str | os.PathLike[str], verify: bool = False) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """MNIST from its four files in a folder: (x_train, y_train), (x_test, y_test), as from Keras.

    Images are uint8 (N, 28, 28), labels uint8 (N,). The files may be packed by gzip or not, and be called
    train-images-idx3-ubyte or train-images.idx3-ubyte, with or without .gz; so do other sets in MNIST's form, such as
    Fashion-MNIST. ``verify`` compares their SHA-256 with those of the original MNIST.

    Raises FileNotFoundError, saying what is expected, where a file is missing, and ValueError for images and labels
    that don't belong together; see ``read_idx``. Without MNIST at hand, ``load_digits28`` has digits in the same form.
    """
    parts = [_part(Path(folder), name, digest if verify else None) for name, digest in _MNIST.items()]
    for (images_name, images), (labels_name, labels) in zip(parts[::2], parts[1::2], strict=True):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"load_mnist: {images_name} has shape {images.shape} and {labels_name} {labels.shape}: expected "
                "images (N, rows, columns) and a label for each"
            )
    (_, x_train), (_, y_train), (_, x_test), (_, y_test) = parts
    return (x_train, y_train), (x_test, y_test)


def _part(folder: Path, name: str, digest: str | None) -> tuple[Path, Array]:
    names = [form + end for form in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    for path in (folder / name for name in names):
        if path.is_file():
            return path, read_idx(path, digest)
    raise FileNotFoundError(
        f"load_mnist: {folder} has none of {', '.join(names)}: put MNIST's four files there ({', '.join(_MNIST)}, "
        "packed or not; verify=True compares their SHA-256, read_idx reads any other IDX file). Without a way to "
        "download them, steep.data.load_digits28() has digits in the same form, and load('digits') small ones"
    )
