"""All that has to be done on a machine with a GPU, by one command.

    python benchmarks/on_gpu.py --out results

builds steep for the GPU, runs the tests of the kernels, the Python suite at ``--device cuda``, compute-sanitizer on a
few small tests, and the benchmark. Every part leaves its log and a line in DIR/summary.json; parts that succeeded are
not repeated, so an interrupted run goes on where it stopped. A part that takes longer than its time is given up.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """A command, and the seconds it may take."""

    name: str
    command: list[str]
    seconds: int


def parts(out: Path) -> list[Part]:
    """All of them, in order."""
    python = [sys.executable]
    run = [*python, "tests/cuda/run.py", "--device", "gpu", "--jobs", str(os.cpu_count() or 1)]
    small = ["--only", "elementwise_test", "rows_test", "reduce_test", "gemm_test"]
    pip = [*python, "-m", "pip", "install", "--no-build-isolation", "--no-deps", ".", "-Ccmake.define.STEEP_CUDA=on"]
    return [
        Part("gpu", ["nvidia-smi"], 20),
        Part("build", [*pip, "-Ccmake.define.STEEP_CUDA_TARGETS=" + target()], 240),
        Part("info", [*python, "-m", "steep", "info"], 20),
        Part("kernels", run, 240),
        Part("bench", [*python, "-m", "steep", "bench", "--device", "cuda", "--json", str(out / "bench.json")], 240),
        Part("suite", [*python, "-m", "pytest", "-q", "-x", "--device", "cuda", "-p", "no:cacheprovider"], 300),
        Part("memcheck", [*run, *small, "--check", "memcheck"], 150),
        Part("racecheck", [*run, *small, "--check", "racecheck"], 150),
    ]


def target() -> str:
    """The architecture of the first GPU as STEEP_CUDA_TARGETS wants it; raises OSError where there is none."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        raise OSError(done.stderr.strip() or done.stdout.strip() or "nvidia-smi names no GPU")
    capability = done.stdout.split()[0].replace(".", "")
    return "90a" if capability == "90" else capability


def commit() -> str:
    """What is checked out, with a + where it has been changed."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def run_part(part: Part, out: Path) -> dict[str, Any]:
    """Runs a part, its output going to a log."""
    start = time.perf_counter()
    with open(out / f"{part.name}.log", "w", encoding="utf-8") as log:
        try:
            done = subprocess.run(part.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, timeout=part.seconds)
            status = "ok" if done.returncode == 0 else f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            status = f"not done after {part.seconds} s"
        except OSError as error:
            status = str(error)
    return {"status": status, "seconds": round(time.perf_counter() - start, 1), "commit": commit()}


def main() -> int:
    """Runs the parts that are wanted and not done; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="only these")
    parser.add_argument("--again", action="store_true", help="repeat what succeeded before")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "summary.json"
    done: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    try:
        every = parts(args.out.resolve())
    except OSError as error:
        parser.error(f"this needs a machine with an NVIDIA GPU and its driver: {error}")
    if unknown := set(args.parts or []) - {part.name for part in every}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in every)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for part in every:
        if args.parts and part.name not in args.parts:
            continue
        if done.get(part.name, {}).get("status") != "ok" or args.again:
            done[part.name] = run_part(part, args.out)
            partial = file.with_suffix(".part")
            partial.write_text(json.dumps(done, indent=1) + "\n")
            partial.replace(file)
        print(f"{part.name:10} {done[part.name]['status']}, {done[part.name]['seconds']} s", flush=True)
    return int(any(part["status"] != "ok" for part in done.values()))


if __name__ == "__main__":
    sys.exit(main())
