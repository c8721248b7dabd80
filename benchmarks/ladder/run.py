"""Builds the ladders of kernels and measures every rung, on this machine's GPU or, as a trial, on the emulated device.

    python benchmarks/ladder/run.py [--json FILE] [--only TEXT]
    python benchmarks/ladder/run.py --emulated --shrink 64

Rungs take turns with PyTorch's operation, where PyTorch is there, and a copy of as many bytes as the operation has to
move; each result is compared with float64 first. docs/cuda-kernels.md says what each rung does.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from steep.benchmarks.timing import Failure, Plan, Runner, race, ratio, summary

ROOT = Path(__file__).resolve().parents[2]
CUDA = ROOT / "csrc" / "cuda"
RUNTIME = ["allocator", "copy", "devices", "graph", "runtime", "tensor_map"]
PLAN = Plan(rounds=9, seconds=0.02)
TRIAL = Plan(rounds=2, seconds=0.0)
MOST_PARTIALS = 1024  # kMostPartials in ladder.h
TOLERANCE = 1e-5  # of the largest value
TOLERANCE_OF_BFLOAT16 = 2**-8 + 1e-4  # of which 2^-8 is the result's rounding
PRODUCTS = ("simt", "mma", "wgmma")
Array = np.ndarray[Any, Any]


def build(folder: Path, emulated: bool, target: str = "") -> Path:
    """Compiles the library into a folder and returns its path; raises RuntimeError with the compiler's words."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-std=gnu++20" if emulated else "-std=c++20", "-DSTEEP_ISA_NS=cuda"]
    options += [f'-DSTEEP_CUDA_TARGETS="{target or "75 80 90a"}"', f"-I{ROOT / 'csrc'}"]
    sources = [Path(__file__).with_name("ladder.cu"), *(CUDA / f"{name}.cpp" for name in RUNTIME)]
    if emulated:
        compiler = shutil.which(os.environ.get("CXX", "g++")) or "g++"
        options += ["-O1", "-fPIC", "-DSTEEP_CUDA_EMULATED", f"-I{CUDA / 'emulator'}", "-Wno-unknown-pragmas", "-xc++"]
        sources += sorted((CUDA / "emulator").glob("*.cpp"))
        links: list[str] = ["-lpthread"]
    else:
        compiler = shutil.which("nvcc") or "nvcc"
        architecture = f"-gencode=arch=compute_{target},code=sm_{target}"
        options += ["-O3", "--expt-relaxed-constexpr", "-lineinfo", "-Xcompiler=-fPIC", architecture]
        links = [architecture]

    def call(*command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-4000:]}")

    def compiled(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        call(compiler, *options, "-c", source, "-o", target)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources))
    library = folder / "libladder.so"
    call(compiler, "-shared", *objects, *links, "-o", library)
    return library


class Library:
    """The C functions of ladder.cu; those that may fail raise RuntimeError."""

    def __init__(self, path: Path) -> None:
        self._c = ctypes.CDLL(str(path))
        for name in ("group", "name", "run", "allocate", "to_device", "to_host", "copy", "synchronize"):
            getattr(self._c, f"ladder_{name}").restype = ctypes.c_char_p

    def rungs(self) -> Iterator[tuple[int, str, str]]:
        """Number, group and name of each."""
        for i in range(self._c.ladder_count()):
            yield i, self._c.ladder_group(i).decode(), self._c.ladder_name(i).decode()

    def _call(self, name: str, *arguments: Any) -> None:
        message = getattr(self._c, f"ladder_{name}")(*arguments)
        if message is not None:
            raise RuntimeError(message.decode())

    def array(self, values: Array) -> ctypes.c_void_p:
        """A copy on the device."""
        p = self.empty(values.nbytes)
        self.fill(p, values)
        return p

    def empty(self, size: int) -> ctypes.c_void_p:
        """Device memory of `size` bytes."""
        p = ctypes.c_void_p()
        self._call("allocate", ctypes.c_size_t(size), ctypes.byref(p))
        return p

    def fill(self, p: ctypes.c_void_p, values: Array) -> None:
        """Overwrites an array."""
        self._call("to_device", p, ctypes.c_void_p(values.ctypes.data), ctypes.c_size_t(values.nbytes))

    def free(self, p: ctypes.c_void_p) -> None:
        self._c.ladder_free(p)

    def values(self, p: ctypes.c_void_p, shape: tuple[int, ...], dtype: Any) -> Array:
        """A copy on the host."""
        out = np.empty(shape, dtype)
        self._call("to_host", ctypes.c_void_p(out.ctypes.data), p, ctypes.c_size_t(out.nbytes))
        return out

    def copy(self, to: ctypes.c_void_p, source: ctypes.c_void_p, size: int) -> None:
        self._call("copy", to, source, ctypes.c_size_t(size))

    def run(self, rung: int, sizes: Any, data: Any) -> None:
        self._call("run", ctypes.c_int(rung), sizes, data)

    def synchronize(self) -> None:
        self._call("synchronize")


@dataclass(frozen=True)
class Ladder:
    """What the rungs of a group compute."""

    group: str
    sizes: tuple[int, ...]  # as ladder.cu wants them
    inputs: tuple[tuple[int, ...], ...]  # shapes
    result: tuple[int, ...]
    moved: int  # bytes, at the least
    operations: int
    right: Callable[..., Array]  # every step-th row of the result, from float64 inputs
    torch: Callable[..., Any]  # of the module, and the inputs
    step: int = 1
    in_bfloat16: bool = False  # inputs and result, not float32

    @property
    def name(self) -> str:
        return f"{self.group} {'x'.join(map(str, self.sizes))}"


def to_bfloat16(x: Array) -> Array:
    """The bits of the nearest bfloat16 numbers, of two the even one."""
    bits = x.view(np.uint32)
    return np.asarray((bits + 0x7FFF + (bits >> 16 & 1)) >> 16, np.uint16)


def from_bfloat16(bits: Array) -> Array:
    """The float32 numbers that these bits are."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def ladders(shrink: int = 1) -> list[Ladder]:
    """All of them; for a trial, with axes ``shrink`` times shorter."""
    side, count = 4096 // shrink, (1 << 28) // shrink**2
    step, eights = max(1, side // 64), max(8, side // 8 * 8)

    def softmax(x: Array) -> Array:
        e = np.exp(x[::step] - x[::step].max(-1, keepdims=True))
        return np.asarray(e / e.sum(-1, keepdims=True))

    square = (side, side)
    found = [
        Ladder(
            "simt",
            (side, side, side),
            (square, square),
            square,
            3 * side * side * 4,
            2 * side**3,
            lambda a, b: a[::step] @ b,
            lambda torch, a, b: a @ b,
            step,
        ),
        *(
            Ladder(
                group,
                (eights, eights, eights),
                ((eights, eights), (eights, eights)),
                (eights, eights),
                3 * eights * eights * 2,
                2 * eights**3,
                lambda a, b: a[::step] @ b.T,
                lambda torch, a, b: a @ b.T,
                step,
                in_bfloat16=True,
            )
            for group in ("mma", "wgmma")
        ),
        Ladder(
            "relu",
            (count,),
            ((count,),),
            (count,),
            2 * count * 4,
            count,
            lambda x: np.maximum(x, 0),
            lambda torch, x: torch.relu(x),
        ),
        Ladder("sum", (count,), ((count,),), (), count * 4, count, lambda x: x.sum(), lambda torch, x: x.sum()),
    ]
    for shape in (
        (65536 // shrink, 1024 // shrink),
        (16384 // shrink, 4096 // shrink),
        (2048 // shrink, 32768 // shrink),
    ):
        size = math.prod(shape)
        found.append(
            Ladder(
                "softmax",
                shape,
                (shape,),
                shape,
                2 * size * 4,
                5 * size,
                softmax,
                lambda torch, x: torch.softmax(x, -1),
                step,
            )
        )
    return found


@dataclass
class Figures:
    """The seconds of a call by rung and round, their errors, and what went wrong."""

    times: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measure(library: Library, ladder: Ladder, torch: Any, plan: Plan) -> Figures:
    """Compares the rungs, PyTorch too, with float64, and times those that are right beside a copy."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape, np.float32) for shape in ladder.inputs]
    if ladder.in_bfloat16:
        inputs = [from_bfloat16(to_bfloat16(x)) for x in inputs]
    wide = [x.astype(np.float64) for x in inputs]
    right = np.asarray(ladder.right(*wide))
    scale = np.abs(right).max() if ladder.result else np.abs(wide[0]).sum()  # a sum may be small by chance
    stored = to_bfloat16 if ladder.in_bfloat16 else np.asarray
    nothing = stored(np.full(ladder.result, np.nan, np.float32))
    result = library.array(nothing)
    arrays = [*(library.array(stored(x)) for x in inputs), result, library.empty(MOST_PARTIALS * 4)]
    copied = [library.empty(ladder.moved // 2) for _ in range(2)]
    sizes = (ctypes.c_int64 * len(ladder.sizes))(*ladder.sizes)
    data = (ctypes.c_void_p * len(arrays))(*(p.value for p in arrays))
    figures, runners = Figures(), {}

    def value() -> Array:
        got = library.values(result, ladder.result, nothing.dtype)
        return from_bfloat16(got) if ladder.in_bfloat16 else got

    def add(name: str, call: Callable[[], Any], synchronize: Callable[[], Any], value: Callable[[], Array]) -> None:
        try:
            call()
            got = value()
        except RuntimeError as error:
            figures.failures[name] = str(error)
            return
        error = np.abs((got[:: ladder.step] if got.ndim else got).astype(np.float64) - right).max() / scale
        figures.errors[name] = float(error)
        if not error <= (TOLERANCE_OF_BFLOAT16 if ladder.in_bfloat16 else TOLERANCE):
            figures.failures[name] = f"its result differs from the right one by {error:.1e} of its size"
            return
        runners[name] = Runner(lambda: (call(), synchronize()), 0.0)

    try:
        for number, group, name in library.rungs():
            if group != ladder.group:
                continue
            library.fill(result, nothing)
            add(
                name,
                lambda number=number: library.run(number, sizes, data),
                library.synchronize,
                value,
            )
        if torch is not None:
            dtype = torch.bfloat16 if ladder.in_bfloat16 else torch.float32
            tensors = [torch.from_numpy(x).cuda().to(dtype) for x in inputs]
            add(
                "PyTorch",
                lambda: ladder.torch(torch, *tensors),
                torch.cuda.synchronize,
                lambda: np.asarray(ladder.torch(torch, *tensors).float().cpu().numpy()),
            )
        half = ladder.moved // 2
        runners["copy"] = Runner(lambda: (library.copy(*copied, half), library.synchronize()), 0.0)
        figures.times = race(runners, plan)
    except Failure as failure:
        figures.failures[failure.name] = f"{type(failure.__cause__).__name__}: {failure.__cause__}"
    finally:
        for p in [*arrays, *copied]:
            library.free(p)
    return figures


def show(ladder: Ladder, figures: Figures) -> None:
    """Prints a ladder's table."""
    own = figures.times
    bound = "TFLOP/s" if ladder.group in PRODUCTS else "GB/s"
    work = ladder.operations / 1e12 if ladder.group in PRODUCTS else ladder.moved / 1e9
    print(
        f"\n{ladder.name:28}{'µs':>12}{'±':>9}{bound:>10}{'of copy':>9}{'of PyTorch':>12}{'× before':>10}{'error':>10}"
    )
    before = None
    for name in [*own, *figures.failures]:
        if name not in own:
            print(f"{name:28}  {figures.failures[name]}")
            continue
        found = summary(own[name])
        text = (
            f"{name:28}{found.median * 1e6:12.1f}{(found.high - found.low) / 2 * 1e6:9.1f}{work / found.median:10.1f}"
        )
        text += f"{ratio(own['copy'], own[name]):9.2f}"
        text += f"{ratio(own['PyTorch'], own[name]):12.2f}" if "PyTorch" in own else f"{'–':>12}"
        is_rung = name not in ("PyTorch", "copy")
        text += f"{ratio(own[before], own[name]):10.2f}" if is_rung and before else f"{'–':>10}"
        print(text + (f"{figures.errors[name]:10.1e}" if name in figures.errors else f"{'–':>10}"), flush=True)
        before = name if is_rung else before


def document(ladder: Ladder, figures: Figures) -> dict[str, Any]:
    """A ladder in the file of figures."""
    return {
        "name": ladder.name,
        "group": ladder.group,
        "moved": ladder.moved,
        "operations": ladder.operations,
        "seconds": {name: {**vars(summary(t)), "rounds": t} for name, t in figures.times.items()},
        "errors": figures.errors,
        "failures": figures.failures,
    }


def pytorch() -> Any:
    """The module, None where it is absent or sees no GPU."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def gpu() -> tuple[str, str]:
    """The first GPU's name, and its architecture as nvcc wants it; raises OSError where there is none."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        raise OSError(done.stderr.strip() or done.stdout.strip() or "nvidia-smi names no GPU")
    name, capability = done.stdout.splitlines()[0].rsplit(", ", 1)
    target = capability.replace(".", "")
    return name, "90a" if target == "90" else target


def main() -> int:
    """Builds, measures, prints; returns the exit status: 1 if a rung was wrong, 2 if nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emulated", action="store_true", help="on the emulated device: its times mean nothing")
    parser.add_argument("--shrink", type=int, default=1, metavar="N", help="axes N times shorter, for a trial")
    parser.add_argument("--only", default="", metavar="TEXT", help="ladders whose name contains TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--build", type=Path, metavar="DIR", help="where to build; build/ladder without")
    args = parser.parse_args()
    try:
        name, target = ("emulated", "") if args.emulated else gpu()
        library = Library(build(args.build or ROOT / "build" / f"ladder-{target or 'emulated'}", args.emulated, target))
    except (OSError, RuntimeError) as error:
        print(f"the ladder can't be built: {error}")
        return 2
    torch = None if args.emulated else pytorch()
    print(
        f"{name}, PyTorch {torch.__version__ if torch else 'absent'}; times are medians, ± half the quartiles' distance"
    )
    found = []
    for ladder in ladders(args.shrink):
        if args.only not in ladder.name:
            continue
        figures = measure(library, ladder, torch, TRIAL if args.emulated else PLAN)
        show(ladder, figures)
        found.append((ladder, figures))
    if args.json:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        header = {"date": now, "gpu": name, "emulated": args.emulated, "PyTorch": torch.__version__ if torch else None}
        rows = [document(ladder, figures) for ladder, figures in found]
        args.json.write_text(json.dumps({**header, "ladders": rows}, indent=1) + "\n", encoding="utf-8")
    wrong = any("differs" in reason for _, figures in found for reason in figures.failures.values())
    return 1 if wrong else 0 if found else 2


if __name__ == "__main__":
    sys.exit(main())
