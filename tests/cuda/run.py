"""Builds the tests of the CUDA kernels and runs them.

    python tests/cuda/run.py                                  on the emulated device, in its three schedules
    python tests/cuda/run.py --sanitize address,undefined     the same with the compiler's sanitizers
    python tests/cuda/run.py --sanitize thread
    python tests/cuda/run.py --device gpu                     on this machine's GPU
    python tests/cuda/run.py --device gpu --check memcheck racecheck    under compute-sanitizer

``--only gemm_test softmax_test`` chooses programs; what follows ``--`` is handed to them: the names of cases.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCHEDULES = ["forward", "reverse", "random:1"]


def build(folder: Path, device: str, sanitize: str, only: list[str], jobs: int) -> list[Path]:
    """Builds the programs and returns their paths."""
    generator = ["-G", "Ninja"] if not (folder / "CMakeCache.txt").exists() else []
    kind = "auto" if device == "gpu" else "emulated"
    options = [f"-DSTEEP_CUDA={kind}", f"-DSTEEP_SANITIZE={sanitize}"]
    subprocess.run(
        ["cmake", "-S", str(HERE), "-B", str(folder), *generator, *options], check=True, stdout=subprocess.DEVNULL
    )
    programs = only or sorted(p.stem for p in HERE.glob("*_test.cu") if device != "gpu" or p.stem != "emulator_test")
    subprocess.run(["cmake", "--build", str(folder), "-j", str(jobs), "--target", *programs], check=True)
    return [folder / name for name in programs]


def environments(device: str) -> list[tuple[str, dict[str, str]]]:
    """What each program is run under, by name."""
    if device == "gpu":
        return [("", {})]
    # Without a cache an array's neighbours are inaccessible, so that steps beyond it show.
    return [(schedule, {"STEEP_EMULATOR_SCHEDULE": schedule, "STEEP_CUDA_CACHE": "0"}) for schedule in SCHEDULES]


def passes(label: str, command: list[str], environment: dict[str, str]) -> bool:
    """Runs a program and prints how it went, and what it said if it failed."""
    start = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines = [f"{'FAIL' if done.returncode else 'ok  '} {label} ({time.perf_counter() - start:.1f} s)"]
    if done.returncode:
        lines += [line for line in done.stdout.splitlines() if not line.startswith("ok  ")]
    print("\n".join(lines), flush=True)
    return not done.returncode


def main() -> int:
    """Builds, runs, prints; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["emulated", "gpu"], default="emulated")
    parser.add_argument("--sanitize", default="", metavar="NAMES")
    parser.add_argument("--check", nargs="+", default=[], metavar="TOOL", help="of compute-sanitizer")
    parser.add_argument("--only", nargs="+", default=[], metavar="PROGRAM")
    parser.add_argument("--build", type=Path, metavar="DIR")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once; on a GPU they run one by one")
    parser.add_argument("cases", nargs="*", help="cases to run, of all programs without")
    args = parser.parse_args()
    name = "-".join(["cuda-tests", args.device, *filter(None, args.sanitize.split(","))])
    folder = args.build or HERE.parents[1] / "build" / name
    programs = build(folder, args.device, args.sanitize, args.only, args.jobs)
    tools = [["compute-sanitizer", "--error-exitcode", "9", "--tool", tool] for tool in args.check] or [[]]
    runs = [
        (" ".join(filter(None, [program.name, schedule, *tool[-1:]])), [*tool, str(program), *args.cases], environment)
        for program in programs
        for schedule, environment in environments(args.device)
        for tool in tools
    ]
    with ThreadPoolExecutor(1 if args.device == "gpu" else args.jobs) as pool:
        passed = list(pool.map(lambda run: passes(*run), runs))
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
