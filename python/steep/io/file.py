"""save and load: one safetensors file for a nested state.

The format (https://github.com/huggingface/safetensors): eight bytes with the length of a header; the header, JSON that
has the dtype, shape and place of every tensor by its name; the bytes of the tensors. What ``save`` adds is in the
header's metadata, which other readers pass over: ``steep``, the structure as JSON with the version of its form, and
``steep.crc32``, a checksum of that. The checksum of a tensor is with its name in the structure.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from typing import Any

import numpy as np

from .. import dtypes
from ..checks import check_path
from ..dtypes import DType
from ..ops.creation import tensor
from ..tensor import Tensor
from .atomic import Path, atomic_write
from .structure import flatten, restore

__all__ = ["load", "save"]

VERSION = 1
LONGEST_HEADER = 100_000_000  # bytes: safetensors reads no longer one
CODES = {
    "BOOL": dtypes.bool,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "I32": dtypes.int32,
    "I64": dtypes.int64,
    "U8": dtypes.uint8,
    "U16": dtypes.uint16,
    "U32": dtypes.uint32,
    "U64": dtypes.uint64,
    "F16": dtypes.float16,
    "BF16": dtypes.bfloat16,
    "F32": dtypes.float32,
    "F64": dtypes.float64,
}
CODE_OF = {dtype: code for code, dtype in CODES.items()}


def save(state: Any, path: Path) -> None:
    """Writes ``state`` to one safetensors file: tensors of any dtype, in nested dicts, lists and tuples.

    It may hold numbers, strings, booleans and None too; keys of dicts are strings or numbers. What ``load`` returns
    equals it, bit for bit, except that subclasses come back as their plain types, tensors as ones that require no
    gradient, and signalling NaN of bfloat16 as quiet ones. A dict of tensors, such as ``model.state_dict()``, is a file
    that any reader of safetensors opens, with the same names; in other states a tensor's name is its place, joined by
    dots.

    The file appears whole or not at all: see ``atomic_write``. Raises TypeError for objects of other types and
    ValueError for structures too deep or too long, with nothing written, and OSError as ``open`` does.

    >>> import os, tempfile, steep as st
    >>> path = os.path.join(tempfile.mkdtemp(), "state.safetensors")
    >>> st.save({"weights": [st.ones(2), st.zeros(3, dtype="bfloat16")], "epoch": 7, "best": float("inf")}, path)
    >>> st.load(path)
    {'weights': [tensor([1., 1.]), tensor([0., 0., 0.], dtype=bfloat16)], 'epoch': 7, 'best': inf}
    """
    import json  # here, as import steep is to be fast

    path = check_path("steep.save: path", path, "; the arguments are (state, path): are they swapped?")

    contents: dict[int, np.ndarray[Any, Any]] = {}

    def checksum(x: Tensor) -> int:
        contents[id(x)] = content = _bytes_of(x)
        return _checksum(x.dtype, x.shape, content)

    structure, tensors = flatten(state, checksum)
    text = json.dumps({"version": VERSION, "state": structure}, allow_nan=False)
    # Hugging Face's programs refuse files without a format; "pt": the layout of weights is PyTorch's.
    metadata = {"format": "pt", "steep": text, "steep.crc32": str(zlib.crc32(text.encode()))}
    header: dict[str, Any] = {"__metadata__": metadata}
    # As safetensors itself orders them: the widest first, so that all are aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    position = 0
    for name, x in ordered:
        end = position + contents[id(x)].nbytes
        header[name] = {"dtype": CODE_OF[x.dtype], "shape": x.shape, "data_offsets": [position, end]}
        position = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > LONGEST_HEADER:
        raise ValueError(
            f"steep.save: the structure of {os.fspath(path)} takes {len(encoded)} bytes, of at most {LONGEST_HEADER}: "
            "make its long lists tensors"
        )
    with atomic_write(path) as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for _, x in ordered:
            file.write(contents[id(x)])


def load(path: Path, device: Any = None) -> Any:
    """What was saved in a file: ``save``'s state, or a dict of the tensors that another program has written.

    The tensors go to ``device``, without it to the default device, wherever they were when they were saved. No code of
    the file is ever run. Raises ValueError for a file that is damaged, of another kind, or of a later version; OSError
    as ``open`` does.

    >>> import os, tempfile, steep as st
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> st.save(st.nn.Linear(2, 1).state_dict(), path)
    >>> {name: x.shape for name, x in st.load(path).items()}
    {'weight': (1, 2), 'bias': (1,)}
    """
    path = check_path("steep.load: path", path)
    data = _read(path)
    try:
        return _parsed(data, device)
    except RecursionError:
        raise ValueError(f"steep.load: {path}: its structure is nested too deeply for any state") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"steep.load: {path}: {error}") from error


def _read(path: str) -> bytes:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):  # a pipe or a device may never end
        raise ValueError(f"steep.load: {path} is not a regular file")
    with open(path, "rb") as file:
        return file.read()


def _parsed(data: bytes, device: Any) -> Any:
    import json

    from safetensors import SafetensorError, deserialize

    try:
        # This checks the header, and that the tensors fill the rest of the file without overlap.
        found = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(_what_it_is(data) or f"it is damaged or no safetensors file ({error})") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__") or {}
    del data, header  # half of what is needed of memory
    text, checksum = metadata.get("steep"), metadata.get("steep.crc32")
    if text is None and checksum is None:
        return {name: _tensor(name, found.pop(name), None, device) for name in list(found)}
    if text is None or checksum != str(zlib.crc32(text.encode())):
        raise ValueError("it is damaged: the checksum of its structure is wrong. Use another copy")
    structure = json.loads(text)
    if not isinstance(structure, dict):
        raise ValueError(f"its structure is a {type(structure).__name__}, which no steep has written")
    version = structure.get("version")
    if version != VERSION:
        raise ValueError(f"its structure is of version {version}, this steep reads version {VERSION}: update steep")

    def take(name: str, checksum: int) -> Tensor:
        if name not in found:
            raise ValueError(f"it is damaged: tensor {name!r} is missing. Use another copy")
        return _tensor(name, found.pop(name), checksum, device)

    state = restore(structure.get("state"), take)
    if found:
        raise ValueError(f"it is damaged: its structure has no place for tensor {next(iter(found))!r}")
    return state


def _what_it_is(data: bytes) -> str:
    if not data:
        return "the file is empty"
    # A pickle starts with 0x80, its protocol, and an opcode; the length of a short header has 0 in that place.
    if data.startswith(b"PK\x03\x04") or (data[0] == 0x80 and data[2:3] > b"\0"):
        return (
            "it is a zip or pickle file, as of torch.save, which steep does not read, since loading it may run any "
            "code: convert it where it comes from, with safetensors.torch.save_file"
        )
    return ""


def _tensor(name: str, entry: dict[str, Any], checksum: int | None, device: Any) -> Tensor:
    dtype = CODES.get(entry["dtype"])
    if dtype is None:
        raise ValueError(f"tensor {name!r} has dtype {entry['dtype']}, which steep does not have")
    shape = tuple(entry["shape"])
    if checksum is not None and checksum != _checksum(dtype, shape, entry["data"]):
        raise ValueError(f"it is damaged: the checksum of tensor {name!r} is wrong. Use another copy")
    if dtype is dtypes.bfloat16:
        bits = np.ndarray(shape, "<u2", entry["data"]).astype("<u4")
        return tensor((bits << 16).view("<f4"), dtype, device)
    if dtype is dtypes.bool:
        return tensor(np.ndarray(shape, "u1", entry["data"]) != 0, dtype, device)
    return tensor(np.ndarray(shape, dtype.name, entry["data"]), dtype, device)


def _bytes_of(x: Tensor) -> np.ndarray[Any, Any]:
    """The elements in C order: NumPy has no bfloat16, which is the upper half of a float32."""
    array = x._readable().detach().numpy()
    if x.dtype is dtypes.bfloat16:
        array = (np.ascontiguousarray(array).view("<u4") >> 16).astype("<u2")
    return np.ascontiguousarray(array)


def _checksum(dtype: DType, shape: tuple[int, ...], content: Any) -> int:
    return zlib.crc32(content, zlib.crc32(f"{dtype.name}{shape}".encode()))
