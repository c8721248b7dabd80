"""Kills a training at random moments, starts it again each time, and compares what comes out with an undisturbed run.

``python tests/kill_and_resume.py --kills 200``: all has to be equal, bit for bit, and the backup to be whole after each
kill. Children are forked, so that a start takes no time; the parent computes nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no threads where a process forks

import numpy as np
import safetensors  # noqa: F401

import steep as st
import steep.train.loop
from steep import callbacks, nn, optim

EPOCHS = 8
PAUSE = 0.003  # seconds after each batch, so that there is time to kill
SHARE = 0.3  # of a whole run: the longest time to a kill, so that some fall into each run


class Pace(callbacks.Callback):
    """Slows training down, and tells when it has begun."""

    def __init__(self, pause: float, pipe: int | None) -> None:
        self.pause, self.pipe = pause, pipe

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.pipe is not None:
            os.write(self.pipe, b".")
            self.pipe = None

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        time.sleep(self.pause)


class Loader:
    """Batches in a random order, which is drawn when an iteration begins."""

    def __init__(self, x: np.ndarray, y: np.ndarray, size: int) -> None:
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = st.random.permutation(len(self.x), device="cpu").numpy()
        return ((self.x[rows], self.y[rows]) for rows in np.split(order, range(self.size, len(order), self.size)))


class Unsized:
    """The same, and nothing tells how many there are."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(self.loader)


class Largest:
    """A metric that counts for itself: the largest error so far."""

    name = "largest"

    def __init__(self) -> None:
        self.value = 0.0

    def update_state(self, output: st.Tensor, target: st.Tensor, sample_weight: Any = None) -> None:
        self.value = max(self.value, float(abs(output - target).max()))

    def result(self) -> float:
        return self.value

    def reset_state(self) -> None:
        self.value = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.value = state["value"]


def train(case: str, folder: Path, pause: float = 0.0, pipe: int | None = None) -> None:
    """The script that is killed: it goes on where it was, and writes its results to a file when it has ended."""
    st.manual_seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(230, 4)).astype(np.float32)
    y = np.sin(x.sum(1, keepdims=True)) + rng.normal(scale=0.3, size=(230, 1)).astype(np.float32)
    model = nn.Sequential(nn.Linear(4, 24, activation="relu"), nn.Dropout(0.2), nn.BatchNorm1d(24), nn.Linear(24, 1))
    stopping = callbacks.EarlyStopping(patience=3, min_delta=0.01)
    members = [
        stopping,
        callbacks.ExponentialMovingAverage(0.9, start=5),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.ModelCheckpoint(folder / "best.safetensors", save_best_only=True),
        callbacks.BackupAndRestore(folder, save_freq="epoch" if case == "epochs" else 3),
        Pace(pause, pipe),
    ]
    options: dict[str, Any] = {"epochs": EPOCHS, "verbose": 0}
    if case in ARRAYS:
        rate = optim.schedules.CosineDecay(0.02, decay_steps=80)
        model.compile(optim.Adam(model.parameters(), lr=rate), "mse", ["mae", Largest()])
        options.update(batch_size=10, validation_split=0.2, accumulate_gradients=2, gradient_clip_norm=1.0)
    else:
        model.compile(optim.SGD(model.parameters(), lr=0.05, momentum=0.9), "mse", ["mae", Largest()])
        members.append(callbacks.ReduceLROnPlateau(factor=0.5, patience=1, cooldown=1))
        options.update(validation_data=Loader(x[180:], y[180:], 20))
        x, y = x[:180], y[:180]
    data: Any = Loader(x, y, 12)
    if case == "steps":  # an epoch is a part of an iteration
        options.update(steps_per_epoch=11, validation_steps=2)
    if case == "unsized":
        data = Unsized(data)
        options.update(accumulate_gradients=4)
    if case == "float16":
        y = 300 * y  # so that scaled gradients overflow at first
        options.update(precision="float16")
    if case in ARRAYS:
        history = model.fit(x, y, callbacks=members, **options)
    else:
        history = model.fit(data, callbacks=members, **options)
    results = {
        "model": model.state_dict(),
        "optimizer": model.optimizer.state_dict(),
        "history": history.state_dict(),
        "callbacks": [m.state_dict() for m in members if not isinstance(m, callbacks.ModelCheckpoint)],
        "best": st.load(folder / "best.safetensors"),
        "log": (folder / "log.csv").read_text(),
        "random": st.random.get_state(),
        "stopped": [stopping.best_epoch, stopping.stopped_epoch],
    }
    st.save(results, folder / "results.safetensors")


ARRAYS = ("arrays", "epochs", "float16")
CASES = (*ARRAYS, "loader", "steps", "unsized")


def fork(function: Callable[..., None], *arguments: Any) -> int:
    """The number of a new process that calls the function."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        function(*arguments)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"a child ended with status {status}")


def check(folder: Path) -> None:
    """Whatever the kill has left is whole: the backup, and every line of the table."""
    if (folder / "backup.safetensors").exists():
        st.load(folder / "backup.safetensors")
    if (folder / "log.csv").exists():
        text = (folder / "log.csv").read_text()
        assert text == "" or text.endswith("\n"), text
        assert len({line.count(",") for line in text.splitlines()}) <= 1, text


def compare(expected: Path, found: Path) -> None:
    a, b = st.load(expected / "results.safetensors"), st.load(found / "results.safetensors")
    for name in a:  # what differs to the eye; below all bits
        assert repr(a[name]) == repr(b[name]), f"{name}:\n{a[name]}\n{b[name]}"
    assert (expected / "results.safetensors").read_bytes() == (found / "results.safetensors").read_bytes()


def run(case: str, kills: int, folder: Path, moments: random.Random) -> tuple[int, int]:
    """Compares runs that are killed with an undisturbed one, until there were so many kills.

    Returns how often one was killed, and how often it had made a new backup by then.
    """
    whole = folder / "whole"
    whole.mkdir()
    start = time.monotonic()
    wait(fork(train, case, whole, PAUSE))
    longest = SHARE * (time.monotonic() - start)
    killed = advanced = 0
    while killed < kills:
        torn = Path(tempfile.mkdtemp(dir=folder))
        backup = torn / "backup.safetensors"
        while True:
            before = backup.stat().st_mtime_ns if backup.exists() else 0
            if killed == kills:
                wait(fork(train, case, torn))
                break
            if not killed_in(moments.uniform(-longest / 4, longest), case, torn):
                break
            killed += 1
            advanced += backup.exists() and backup.stat().st_mtime_ns != before
            wait(fork(check, torn))
        wait(fork(compare, whole, torn))
    return killed, advanced


def killed_in(seconds: float, case: str, folder: Path) -> bool:
    """Trains and kills it so many seconds after its first step, or before that if they are negative.

    Returns whether it lived until then.
    """
    reading, writing = os.pipe()
    child = fork(train, case, folder, PAUSE, writing)
    os.close(writing)
    if seconds >= 0:
        os.read(reading, 1)
    time.sleep(abs(seconds))
    done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(reading)
    if done and status:
        raise SystemExit(f"{case}: a child ended with status {status}")
    return not done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how often, for each case")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--case", choices=CASES, action="append", help="those alone")
    arguments = parser.parse_args()
    for case in arguments.case or CASES:
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            killed, advanced = run(case, arguments.kills, Path(folder), random.Random(arguments.seed))
            seconds = time.monotonic() - start
            print(f"{case}: equal after {killed} kills, {advanced} after a new backup ({seconds:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
