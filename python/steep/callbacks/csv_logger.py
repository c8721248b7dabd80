"""The history as a table in a file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from typing import Any

from ..checks import check_path
from .callback import Callback, Logs

__all__ = ["CSVLogger"]


class CSVLogger(Callback):
    """Writes a row for each epoch: its number, from 0, and its logs.

    As Keras' callback of that name. The columns are those of the first epoch, and those of validation, if there is any;
    "NA" stands for what an epoch lacks, and what comes up later is left out. Numbers are written so that they are read
    as the same. ``append``: rows are added to a file that is there, under its columns; otherwise it begins anew. Each
    row is written at once, whole; a run that goes on by ``BackupAndRestore`` takes back the rows of epochs that are
    done again.

    >>> import os, tempfile, steep as st
    >>> path = os.path.join(tempfile.mkdtemp(), "log.csv")
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile("sgd", "mse")
    >>> _ = model.fit([[1.0]], [[2.0]], epochs=2, callbacks=[st.callbacks.CSVLogger(path)], verbose=0)
    >>> with open(path) as file:
    ...     print(file.read())
    epoch,loss
    0,...
    1,...
    """

    writes_files = True

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if len(separator) != 1 or separator in '"\r\n':
            raise ValueError(f"CSVLogger: separator={separator!r} must be one character, and no quote or line end")
        self.filename, self.separator, self.append = check_path("CSVLogger: filename", filename), separator, append
        self._file: io.FileIO | None = None
        self._columns: list[str] = []
        self._size: int | None = None  # of the file, where a run goes on

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew; the file is opened when there is something to write, as the run may go on with an older one."""
        self._columns, self._size = [], None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Writes the row."""
        text = self._open(logs) if self._file is None else ""
        assert self._file is not None
        row = [epoch, *(logs.get(name, "NA") for name in self._columns[1:])]
        self._file.write((text + self._line(row)).encode())  # one call, so that no row is ever half there
        self._size = self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, logs: Logs) -> str:
        """Opens the file, and returns the head line if it needs one."""
        size = os.path.getsize(self.filename) if os.path.exists(self.filename) else 0
        keep = min(size, self._size) if self._size is not None else size if self.append else 0
        ended = True  # the last line
        if keep and not self._columns:
            self._columns, ended = self._head()
        os.makedirs(os.path.dirname(self.filename) or ".", exist_ok=True)
        self._file = io.FileIO(self.filename, "r+" if size else "w")
        self._file.truncate(keep)
        self._file.seek(keep)
        if not self._columns:
            self._columns = ["epoch", *logs]
            if self.loop is not None and self.loop.validation is not None:
                expected = [f"val_{name}" for name in self.loop.means]
                self._columns += [name for name in expected if name not in self._columns]
        if not keep:
            return self._line(self._columns)
        return "" if ended else "\n"

    def _head(self) -> tuple[list[str], bool]:
        """The columns of the file that is there, and whether its last line has its end."""
        try:
            with open(self.filename, newline="", encoding="utf-8") as file:
                text = file.read()
            columns = next(csv.reader(text.splitlines(), delimiter=self.separator))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"CSVLogger: {self.filename} is no table to append to: {error}") from None
        if columns[:1] != ["epoch"]:
            raise ValueError(
                f"CSVLogger: {self.filename} begins with {self.separator.join(columns)!r:.60}, not with the columns of "
                "a log, epoch first: give another file, or append=False"
            )
        return columns, text.endswith(("\n", "\r"))

    def _line(self, values: list[Any]) -> str:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.separator, lineterminator="\n").writerow(values)
        return text.getvalue()

    def state_dict(self) -> dict[str, Any]:
        """The columns, and how long the file is."""
        return {"columns": [*self._columns], "size": self._size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there: what comes after it in the file is dropped."""
        self.close()
        self._columns, self._size = [*state["columns"]], state["size"]
