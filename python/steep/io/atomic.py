"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Literal

__all__ = ["atomic_write"]

Path = str | os.PathLike[str]

# Of the temporary files. The process that writes one holds a lock on it, which the system takes away when the process
# ends, however it ends: so an unlocked one is rubbish.
PREFIX, SUFFIX = ".steep-", ".tmp"


@contextmanager
def atomic_write(path: Path, mode: Literal["wb", "w"] = "wb", encoding: str | None = None) -> Iterator[IO[Any]]:
    """A file to write in, which takes the place of ``path`` when the block ends, and is dropped if the block raises.

    Who reads ``path`` at any moment, or after a crash, sees the old content or the new, complete: it is written to a
    temporary file in the same folder, brought to the disk, and renamed. Temporary files of processes that were killed
    are removed by the next write in the folder. Symbolic links are followed; a new file has the permissions that
    ``open`` would give it, an existing one keeps its own. (Hard links part: the other names keep the old content.)
    Raises OSError as ``open`` does, if the disk is full, or if ``path`` is a device or pipe, with nothing changed.

    >>> import os, tempfile
    >>> from steep.io import atomic_write
    >>> path = os.path.join(tempfile.mkdtemp(), "notes.txt")
    >>> with atomic_write(path, "w", encoding="utf-8") as file:
    ...     _ = file.write("lr 0.1 diverges")
    >>> os.listdir(os.path.dirname(path))
    ['notes.txt']
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"atomic_write: mode={mode!r} must be 'wb' or 'w'")
    path = os.fsdecode(path)
    target = os.path.realpath(path)
    old = _status(path, target)
    folder = os.path.dirname(target)
    _remove_stale(folder)
    try:
        descriptor, temporary = _create(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    try:
        with open(descriptor, mode, encoding=encoding) as file:
            if old is not None:
                _take_over(descriptor, old)
            yield file
            file.flush()
            os.fsync(descriptor)
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        raise
    _sync_folder(folder)


def _status(path: str, target: str) -> os.stat_result | None:
    """Of the file that is there. Raises where ``open`` for writing would, and for what must not be replaced."""
    if not os.path.basename(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    try:
        old = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file, which alone can be replaced", path)
    if not os.access(target, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return old


def _create(folder: str) -> tuple[int, str]:
    """A new temporary file, locked."""
    while True:
        temporary = os.path.join(folder, f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a file system without locks: nobody can lock it to remove it either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(temporary):
            return descriptor, temporary
        os.close(descriptor)  # another process took it for rubbish before it was locked


def _take_over(descriptor: int, old: os.stat_result) -> None:
    """Gives the new file the owner and permissions of the old one."""
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with suppress(PermissionError):  # only root may give files away
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _remove_stale(folder: str) -> None:
    """Removes the temporary files that no process is writing."""
    with suppress(OSError):  # a folder that cannot be listed; whether it can be written is found out next
        names = [name for name in os.listdir(folder) if name.startswith(PREFIX) and name.endswith(SUFFIX)]
        for name in names:
            stale = os.path.join(folder, name)
            with suppress(OSError):  # it is locked, of another user, or has gone
                descriptor = os.open(stale, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(stale)
                finally:
                    os.close(descriptor)


def _sync_folder(folder: str) -> None:
    """Brings the renaming to the disk. Some file systems cannot, and the new file is in its place already."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
