"""Processes that make batches for a loader."""

from __future__ import annotations

import multiprocessing
import pickle
import random
import signal
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..config import set_num_threads
from ..devices import set_default_device

if TYPE_CHECKING:
    from .loader import Job, Request

__all__ = ["WorkerTraceback", "Workers"]

_MAIN = (
    "a script that uses num_workers needs its own work under `if __name__ == '__main__':`, and a dataset that is "
    "defined in a notebook must go into a module; or use prefetch=… instead, which takes a thread"
)


class WorkerTraceback(Exception):
    """The cause of an exception that another process raised: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Worker(NamedTuple):
    process: Any
    connection: Connection


class Workers:
    """``count`` processes with a copy of the job each. Calling them runs it in an idle one.

    A process answers one request before it gets another, so neither side can wait for the other to read. Threads that
    call at once must not be more than there are processes.
    """

    def __init__(self, job: Job, count: int, start_method: str) -> None:
        methods = multiprocessing.get_all_start_methods()
        if start_method not in methods:
            raise ValueError(f"DataLoader: start_method={start_method!r} must be one of {', '.join(methods)}")
        context: Any = multiprocessing.get_context(start_method)
        message = b"" if start_method == "fork" else _pickled(job)
        self._all: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        try:
            for _ in range(count):
                ours, theirs = context.Pipe()
                arguments = (theirs, None if message else job)
                process = context.Process(target=_work, args=arguments, name="steep-loader", daemon=True)
                self._all.append(_Worker(process, ours))
                process.start()
                theirs.close()  # only the process holds its end: if it dies, we read the end of the file
            for worker in self._all:
                if message:
                    self._exchange(worker, message)
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise

    def __call__(self, request: Request) -> Any:
        """Has an idle process do it. Raises what it raises there, and RuntimeError if it dies."""
        worker = self._idle.get()
        try:
            return self._exchange(worker, pickle.dumps(request))
        finally:
            self._idle.put(worker)

    def _exchange(self, worker: _Worker, message: bytes) -> Any:
        try:
            worker.connection.send_bytes(message)
            answer = worker.connection.recv_bytes()
        except (EOFError, OSError):
            raise RuntimeError(_death(worker.process)) from None
        result, error, text = pickle.loads(answer)
        if error is not None:
            raise error from WorkerTraceback(text)
        return result

    def close(self) -> None:
        """Ends the processes, whatever they are doing, and waits until they are gone."""
        started = [worker for worker in self._all if worker.process.ident is not None]
        for worker in started:
            worker.process.terminate()
        for worker in started:
            worker.process.join(5)
            if worker.process.exitcode is None:  # it ignores the signal
                worker.process.kill()
                worker.process.join()
        for worker in self._all:
            worker.connection.close()
        self._all.clear()


def _pickled(job: Job) -> bytes:
    try:
        return pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"DataLoader: num_workers sends the dataset, collate_fn and transform to other processes by pickle, which "
            f"failed: {error}: define its classes and functions at the top level of a module, or use prefetch=… instead"
        ) from error


def _death(process: Any) -> str:
    process.join(5)
    code = process.exitcode
    if code is not None and code < 0:
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})"
        hint = "if it was not you, the system may have run out of memory: use fewer workers, or smaller batches"
        return f"DataLoader: a worker process {how}: {hint}"
    return f"DataLoader: a worker process ended with exit code {code}, and its message is above: {_MAIN}"


def _work(connection: Connection, job: Job | None) -> None:
    """A worker's life: it answers requests until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the main process's to handle: it ends this one
    set_num_threads(1)  # there are several processes
    set_default_device("cpu")
    jobs = [] if job is None else [job]
    try:
        if not jobs:
            message = connection.recv_bytes()
            connection.send_bytes(_answer(lambda: jobs.append(pickle.loads(message)), advice=_MAIN))
        while True:
            request = pickle.loads(connection.recv_bytes())
            connection.send_bytes(_answer(partial(_seeded, jobs[0], request)))
    except (EOFError, OSError):
        return


def _seeded(job: Job, request: Request) -> Any:
    if request.seed is not None:  # for datasets that draw from other generators: processes would all draw the same
        random.seed(request.seed)
        np.random.seed(request.seed % 2**32)  # noqa: NPY002
    return job(request)


def _answer(function: Callable[[], Any], advice: str = "") -> bytes:
    """What the function returns, or the exception that it raises and its traceback, for the other process."""
    try:
        return pickle.dumps((function(), None, ""))
    except BaseException as error:  # SystemExit too: a process that ended would not say why
        text = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(error))
            sent = error
        except Exception:  # whatever an exception of the user's own does when it is copied
            sent = RuntimeError(f"{type(error).__name__}: {error}")
        if not isinstance(error, Exception):  # raised here it would end this process, or the iteration
            sent = RuntimeError(f"DataLoader: a worker process met {type(error).__name__}: {error}")
        if advice:
            sent = RuntimeError(f"DataLoader: a worker process could not load the dataset ({error}): {advice}")
        return pickle.dumps((None, sent, text))
