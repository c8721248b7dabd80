"""The rows for whole programs, each in a process of its own: a whole ``fit``, and the import of a library."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .peers import ERRORS
from .report import Result

__all__ = ["PROGRAMS", "fit", "imports"]

ROUNDS, EPOCHS = 5, 20
SECONDS = 180  # that a process may take
LOWEST_ACCURACY = 0.93  # of a fit that is one

FIT_NEEDS: dict[str, tuple[str, ...]] = {
    "steep": (),
    "PyTorch": ("torch",),
    "Keras on PyTorch": ("keras", "torch"),
    "Keras on JAX": ("keras", "jax"),
    "Lightning": ("lightning",),
    "scikit-learn": (),
}
BACKENDS = {"Keras on PyTorch": "torch", "Keras on JAX": "jax"}

# Modules; the distributions are called the same but for scikit-learn's.
IMPORTS = {
    "steep": "steep",
    "NumPy": "numpy",
    "PyTorch": "torch",
    "JAX": "jax",
    "Keras on PyTorch": "keras",
    "Keras on JAX": "keras",
    "Lightning": "lightning",
    "scikit-learn": "sklearn",
    "tinygrad": "tinygrad",
    "MLX": "mlx.core",
}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "mlx.core": "mlx"}

IMPORT = """
import sys, time

def memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

before, start = memory(), time.perf_counter()
__import__(sys.argv[1])
seconds = time.perf_counter() - start
print('{"seconds": %r, "memory": %d}' % (seconds, memory() - before))
"""


class ProgramError(RuntimeError):
    """A process failed; the message is the end of what it said."""


def fit(threads: int | None = None, rounds: int = 3, epochs: int = EPOCHS) -> Result:
    """Trains on scikit-learn's handwritten digits by each library; the times are of a step, validation included."""
    result = Result(FIT, "fit", table="programs")
    try:
        arrays = _digits()
    except ERRORS as error:
        result.failures["scikit-learn"] = f"it has the data, and cannot be used: {type(error).__name__}: {error}"
        return result
    source = Path(__file__).with_name("learners.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits.npz"
        np.savez(data, **arrays)

        def run(name: str) -> dict[str, float]:
            return _python(source, [name, str(data), str(epochs)], _environment(name, threads), folder)

        found = _in_turn([name for name, needs in FIT_NEEDS.items() if all(map(_exists, needs))], run, rounds, result)
    for name, figures in found.items():
        result.times[name] = [f["step"] for f in figures]
        accuracy = statistics.median(f["accuracy"] for f in figures)
        result.details[name] = {
            "s to the first epoch": statistics.median(f["ready"] for f in figures),
            "accuracy, %": 100 * accuracy,
        }
        if accuracy < LOWEST_ACCURACY and epochs >= EPOCHS:
            result.failures[name] = f"its accuracy is only {accuracy:.3f}"
    return result


def imports(threads: int | None = None, rounds: int = ROUNDS) -> Result:
    """Imports each library in a fresh process: time, memory, and the size of its files."""
    result = Result(IMPORTING, "import", table="programs", unit="ms")

    def run(name: str) -> dict[str, float]:
        return _python(IMPORT, [IMPORTS[name]], _environment(name, threads), None)

    names = [name for name, module in IMPORTS.items() if _exists(module) and all(map(_exists, FIT_NEEDS.get(name, ())))]
    for name, figures in _in_turn(names, run, rounds, result, warm_up=True).items():
        result.times[name] = [f["seconds"] for f in figures]
        result.details[name] = {"MB of memory": statistics.median(f["memory"] for f in figures) / 1e6}
        distribution = DISTRIBUTIONS.get(IMPORTS[name], IMPORTS[name])
        if (alone := size_on_disk([distribution])) is not None:
            result.details[name]["MB on disk"] = alone / 1e6
            result.details[name]["with what it requires"] = (size_on_disk(_required(distribution)) or alone) / 1e6
    return result


FIT, IMPORTING = "fit digits 64-64-10 batch 32, 20 epochs", "import"
PROGRAMS: dict[str, Callable[[int | None], Result]] = {FIT: fit, IMPORTING: imports}


def size_on_disk(distributions: list[str]) -> int | None:
    """The bytes of the files that these distributions have installed; None if one is installed for editing."""
    total = 0
    for name in distributions:
        distribution = importlib.metadata.distribution(name)
        if '"editable": true' in (distribution.read_text("direct_url.json") or ""):
            return None
        paths = (Path(str(distribution.locate_file(file))) for file in distribution.files or ())
        total += sum(path.stat().st_size for path in paths if path.is_file())
    return total


def _required(distribution: str) -> list[str]:
    """A distribution and all installed ones that it requires, extras apart."""
    found, left = set(), [distribution]
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system
        if name not in found:
            found.add(name)
            left += [re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in requirements if "extra ==" not in r]
    return sorted(found)


def _digits() -> dict[str, Any]:
    """The data of examples/digits.py: a quarter is held out, all is standardised."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = load_digits(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x)
    x, x_val = (np.asarray(scaler.transform(part), np.float32) for part in (x, x_val))
    return {"x": x, "y": y.astype(np.int64), "x_val": x_val, "y_val": y_val.astype(np.int64)}


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _environment(name: str, threads: int | None) -> dict[str, str]:
    """On the CPU, with so many threads."""
    changes = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    if name in BACKENDS:
        changes["KERAS_BACKEND"] = BACKENDS[name]
    if threads is not None:
        for library in ("OMP", "OPENBLAS", "MKL", "STEEP"):
            changes[f"{library}_NUM_THREADS"] = str(threads)
    return changes


def _in_turn(
    names: list[str], run: Callable[[str], dict[str, float]], rounds: int, result: Result, warm_up: bool = False
) -> dict[str, list[dict[str, float]]]:
    """Runs each program ``rounds`` times, one after the other; those that fail are out. The warm-up doesn't count."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    turns = range(-1 if warm_up else 0, rounds)
    with tqdm(total=len(turns) * len(names), desc=result.name, leave=False, disable=None) as bar:
        for turn in turns:
            for name in list(found):
                bar.set_postfix_str(name)
                try:
                    figures = run(name)
                    if turn >= 0:
                        found[name].append(figures)
                except ProgramError as error:
                    result.failures[name] = str(error)
                    del found[name]
                bar.update()
    return found


def _python(source: str, arguments: list[str], environment: Mapping[str, str], folder: str | None) -> dict[str, float]:
    """Runs Python source in a process of its own, and returns what its last line says. Raises ProgramError."""
    command = [sys.executable, "-c", source, *arguments]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ProgramError(f"not done after {SECONDS} s") from None
    except OSError as error:
        raise ProgramError(str(error)) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ProgramError(said[-1] if said else f"exit status {done.returncode}")
    try:
        found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise ProgramError(f"it printed no figures but {done.stdout[-200:]!r}") from None
    return found
