"""Files that are damaged, hostile or of another kind; writes that fail or are killed."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep.io import atomic_write
from test_io import same

pytestmark = pytest.mark.host(reason="of files: the device plays no part")
STATE = {"w": st.tensor([[1.5, -2.0], [0.25, 8.0]]), "n": st.tensor([3, 4], dtype="int8"), "lr": [0.125, "x"], 7: None}


def written(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def structured(text: str, data: bytes = b"", **tensors: Any) -> bytes:
    """A file with this structure and the checksum that belongs to it."""
    metadata = {"steep": text, "steep.crc32": str(zlib.crc32(text.encode()))}
    return written({"__metadata__": metadata, **tensors}, data)


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.safetensors"


def assert_refused(path: Path, content: bytes, message: str = "") -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^steep.load: {path}: .*{message}"):
        st.load(path)


# --- damage -----------------------------------------------------------------------------------------------------------


def test_truncated_anywhere(path: Path) -> None:
    st.save(STATE, path)
    data = path.read_bytes()
    for length in range(len(data)):
        assert_refused(path, data[:length])
    assert_refused(path, data + b"\0")
    path.write_bytes(data)
    assert same(st.load(path), STATE)


def test_any_byte_changed(path: Path) -> None:
    """It is an error, or it was a byte that means nothing: padding, or the name of a format that others look for."""
    st.save(STATE, path)
    data = path.read_bytes()
    chance = random.Random(0)
    harmless = 0
    for i in range(len(data)):
        for byte in (data[i] ^ 1 << chance.randrange(8), chance.choice(b'"{}[],:0f \\'), chance.randrange(256)):
            path.write_bytes(data[:i] + bytes([byte]) + data[i + 1 :])
            try:
                state = st.load(path)
            except ValueError as error:
                assert str(error).startswith(f"steep.load: {path}: ")  # noqa: PT017
            else:
                assert same(state, STATE)
                harmless += byte != data[i]
    assert harmless < 60


def test_bytes_of_a_foreign_file_changed(path: Path) -> None:
    data = written({"w": entry("F32", [2], 0, 8), "b": entry("BOOL", [4], 8, 12)}, bytes(range(12)))
    chance = random.Random(0)
    for _ in range(2000):
        changed = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            state = st.load(path)
        except ValueError as error:
            assert str(error).startswith(f"steep.load: {path}: ")  # noqa: PT017
        else:
            assert all(isinstance(x, st.Tensor) for x in state.values())


def test_booleans_are_0_or_1(path: Path) -> None:
    path.write_bytes(written({"b": entry("BOOL", [4], 0, 4)}, b"\0\1\2\xff"))
    assert st.load(path)["b"].sum().item() == 3


# --- hostile files ----------------------------------------------------------------------------------------------------

BROKEN = "it is damaged or no safetensors file"
NOT_HERE = f"which steep does not have|{BROKEN}"  # older versions of safetensors don't know those dtypes either
HUGE = 2**62
FILES = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello, this is no such file", BROKEN),
    "header of 2^64 bytes": (b"\xff" * 8 + b"{}", BROKEN),
    "header of 99 MB": (struct.pack("<Q", 99_000_000) + b"{}", BROKEN),
    "header that is no JSON": (written(b"{'a'}"), BROKEN),
    "header that is a list": (written(b"[]"), BROKEN),
    "header of brackets": (written(b"[" * 100_000), BROKEN),
    "header nested deeply": (written(b'{"a":' * 100_000), BROKEN),
    "header that is no Unicode": (written(b'{"\xff":1}'), BROKEN),
    "metadata that is a number": (written({"__metadata__": 3}), BROKEN),
    "metadata of numbers": (written({"__metadata__": {"steep": 3}}), BROKEN),
    "overlapping tensors": (written({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6)), BROKEN),
    "a hole": (written({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 3, 5)}, bytes(5)), BROKEN),
    "offsets backwards": (written({"a": entry("U8", [2], 4, 2)}, bytes(4)), BROKEN),
    "offsets beyond the file": (written({"a": entry("U8", [HUGE], 0, HUGE)}, bytes(4)), BROKEN),
    "shape that overflows": (written({"a": entry("F64", [HUGE, HUGE], 0, 0)}), BROKEN),
    "negative extent": (written({"a": entry("F64", [-1], 0, 0)}), BROKEN),
    "shape and size differ": (written({"a": entry("F32", [3], 0, 8)}, bytes(8)), BROKEN),
    "dtype unknown": (written({"a": entry("F33", [], 0, 4)}, bytes(4)), BROKEN),
    "complex": (
        written({"a": entry("C64", [], 0, 8)}, bytes(8)),
        f"tensor 'a' has dtype C64, {NOT_HERE}",
    ),
    "8-bit floats": (
        written({"a": entry("F8_E4M3", [2], 0, 2)}, bytes(2)),
        f"has dtype F8_E4M3, {NOT_HERE}",
    ),
    "empty of a huge shape": (written({"a": entry("F32", [0, HUGE, 2], 0, 0)}), ""),
    "70 axes": (written({"a": entry("U8", [1] * 70, 0, 1)}, b"1"), ""),
    "pickle": (pickle.dumps({"w": [1.0]}), "it is a zip or pickle file, as of torch.save"),
    "later version": (structured('{"version": 2}'), "of version 2, this steep reads version 1: update steep"),
    "no version": (structured("{}"), "of version None"),
    "version of another type": (structured('{"version": [1]}'), "of version "),
    "structure that is a list": (structured("[1]"), "its structure is a list"),
    "structure that is no JSON": (structured("{"), ""),
    "structure of brackets": (structured("[" * 100_000), "its structure is nested too deeply"),
    "structure nested deeply": (
        structured('{"version": 1, "state": ' + "[" * 150 + "]" * 150 + "}"),
        "nested more than 100 deep",
    ),
    "structure of a huge number": (structured('{"version": 1, "state": ' + "9" * 100_000 + "}"), ""),
    "no checksum": (written({"__metadata__": {"steep": '{"version": 1, "state": 1}'}}), "the checksum of its structu"),
    "checksum alone": (written({"__metadata__": {"steep.crc32": "1"}}), "the checksum of its structure is wrong"),
}
PARTS: dict[str, tuple[Any, str]] = {
    "tag unknown": ({"set": [1]}, "its structure has an unknown part {'set'"),
    "no tag": ({}, "unknown part {}"),
    "tuple of no list": ({"tuple": 3}, "unknown part"),
    "items that are no pairs": ({"items": [[1]]}, "unknown part"),
    "float of another name": ({"float": "exec"}, "unknown part"),
    "key that is a list": ({"items": [[[1], 2]]}, r"has the key \[1\]"),
    "key that is a dict": ({"items": [[{"float": []}, 2]]}, "has the key {'float'"),
    "tensor that is missing": ({"tensor": "w", "crc32": 1}, "it is damaged: tensor 'w' is missing"),
    "tensor without a checksum": ({"tensor": "w"}, "unknown part"),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files(name: str, path: Path) -> None:
    assert_refused(path, *FILES[name])


@pytest.mark.parametrize("name", PARTS)
def test_hostile_structures(name: str, path: Path) -> None:
    part, message = PARTS[name]
    assert_refused(path, structured(json.dumps({"version": 1, "state": [part]})), message)


def test_a_tensor_twice_or_never(path: Path) -> None:
    node = {"tensor": "w", "crc32": zlib.crc32(b"a", zlib.crc32(b"uint8(1,)"))}
    for state, message in (([node, node], "tensor 'w' is missing"), ([], "no place for tensor 'w'")):
        text = json.dumps({"version": 1, "state": state})
        assert_refused(path, structured(text, b"a", w=entry("U8", [1], 0, 1)), message)


def test_truncated_where_it_resembles_a_pickle(path: Path) -> None:
    assert_refused(path, struct.pack("<Q", 0x280) + b"{}", BROKEN)


def test_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", b"cos\nsystem\n")
    assert_refused(path, path.read_bytes(), "it is a zip or pickle file.*safetensors.torch.save_file")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        st.load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        st.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is not a regular file"):
        st.load(tmp_path / "pipe")
    with pytest.raises(ValueError, match="/dev/zero is not a regular file"):
        st.load("/dev/zero")


# --- writes -----------------------------------------------------------------------------------------------------------


def write(path: Any, text: str = "new") -> None:
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write(text)


def assert_untouched(path: Path, error: type[Exception], match: str) -> None:
    """A write raises, names the file, and leaves the folder as it was."""
    before = sorted(os.listdir(path.parent))
    with pytest.raises(error, match=match):
        write(path)
    assert sorted(os.listdir(path.parent)) == before


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write(path, "old")
    for error in (RuntimeError("stop"), KeyboardInterrupt()):
        with pytest.raises(type(error)), atomic_write(path) as file:  # noqa: PT012
            file.write(b"half of the n")
            file.flush()
            assert path.read_text() == "old"
            raise error
        assert os.listdir(tmp_path) == ["x"]
        assert path.read_text() == "old"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit of this process stands for the disk: the system refuses to write more."""
    import resource

    path = tmp_path / "x"
    st.save([1], path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(OSError, match=f"File too large: '{path}'"):
            st.save([st.zeros(1000), st.zeros(100_000)], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == ["x"]
    assert st.load(path) == [1]


@pytest.fixture
def restricted() -> Iterator[None]:
    """Without the rights of root, whom no permission stops."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    yield
    if was_root:
        os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that everybody may write in, below folders that everybody may enter."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o777)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to(tempfile.gettempdir()) and not parent.stat().st_mode & 0o001:
            parent.chmod(0o755)
    return folder


def test_no_permission(open_folder: Path, request: pytest.FixtureRequest) -> None:
    old, locked = open_folder / "old", open_folder / "locked"
    for path, mode in ((old, 0o444), (locked / "old", 0o666)):
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
        path.chmod(mode)
    locked.chmod(0o555)
    request.getfixturevalue("restricted")
    for path in (old, locked / "old", locked / "new"):
        assert_untouched(path, PermissionError, f"Permission denied: '{path}'")
    assert old.read_text() == (locked / "old").read_text() == "old"


def test_what_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    assert_untouched(tmp_path / "folder", IsADirectoryError, "folder")
    assert_untouched(tmp_path / "pipe", OSError, "Not a regular file, .*pipe")
    assert_untouched(tmp_path / "circle", OSError, "symbolic links: .*circle")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/missing/x"):
        write(tmp_path / "missing" / "x")
    with pytest.raises(IsADirectoryError):
        write(f"{tmp_path}/new/")
    with pytest.raises(OSError, match=r"Not a regular file, .*/dev/null"):
        st.save([], "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(ValueError, match="mode='a' must be 'wb' or 'w'"), atomic_write(tmp_path / "x", "a"):  # type: ignore[arg-type]
        pass


def test_permissions_are_those_of_open(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "new")
        (tmp_path / "ordinary").write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    for mode in (0o600, 0o666, 0o640):
        (tmp_path / "new").chmod(mode)
        if os.geteuid() == 0:
            os.chown(tmp_path / "new", 1234, 5678)
        owner = (tmp_path / "new").stat().st_uid, (tmp_path / "new").stat().st_gid
        write(tmp_path / "new")
        after = (tmp_path / "new").stat()
        assert (stat.S_IMODE(after.st_mode), (after.st_uid, after.st_gid)) == (mode, owner)


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(Path("there") / name)
    (tmp_path / "there" / "old").write_text("old")
    for name in ("old", "new"):
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["new", "old", "there"]
    assert sorted(os.listdir(tmp_path / "there")) == ["new", "old"]


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["x", "ünï códe\n", "y" * 255, ".hidden"]
    for name in names:
        write(name)
    assert sorted(os.listdir()) == sorted(names)


def test_stale_temporaries_are_removed_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / ".steep-0123456789abcdef.tmp").write_text("of a killed process")
    (tmp_path / ".steep-link.tmp").symlink_to("elsewhere")
    (tmp_path / "steep-1.tmp").write_text("a user's")
    with atomic_write(tmp_path / "x") as outer:  # still being written
        outer.write(b"outer")
        write(tmp_path / "y")
        assert len(os.listdir(tmp_path)) == 4
    assert sorted(os.listdir(tmp_path)) == [".steep-link.tmp", "steep-1.tmp", "x", "y"]
    assert (tmp_path / "x").read_bytes() == b"outer"


SAVES = """
import sys
import steep as st
numbers = iter(range(int(sys.argv[2]), 10**9))
print("ready", flush=True)
for i in numbers:
    st.save({"i": i, "x": st.full(50_000, i, dtype="float64"), "b": st.full((9,), i % 100, dtype="int8")}, sys.argv[1])
"""


def test_killed_at_any_moment(path: Path) -> None:
    chance, last = random.Random(0), -1
    for round_ in range(8):
        command = [sys.executable, "-c", SAVES, str(path), str(1000 * round_)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            until = time.monotonic() + 0.02 + 0.1 * chance.random()
            while time.monotonic() < until:  # a reader beside it
                assert_saved(path)
            process.send_signal(signal.SIGKILL)
        last, before = assert_saved(path), last
        assert last >= before
    assert last >= 1000
    assert len(os.listdir(path.parent)) <= 2
    st.save([], path)
    assert os.listdir(path.parent) == [path.name]


def assert_saved(path: Path) -> int:
    """The number of the state in the file, which is complete."""
    try:
        state = st.load(path)
    except FileNotFoundError:
        return -1
    i = state["i"]
    np.testing.assert_array_equal(state["x"].numpy(), np.full(50_000, i, "f8"))
    np.testing.assert_array_equal(state["b"].numpy(), np.full(9, i % 100, "i1"))
    return int(i)


def test_many_processes_write_one_file(path: Path) -> None:
    code = SAVES.replace("10**9", "int(sys.argv[2]) + 15")
    commands = [[sys.executable, "-c", code, str(path), str(1000 * i)] for i in range(3)]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    while any(process.poll() is None for process in processes):
        assert_saved(path)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert assert_saved(path) % 1000 == 14
    assert os.listdir(path.parent) == [path.name]
