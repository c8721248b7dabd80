"""All that has to be done on a machine with a GPU, by one command.

    python benchmarks/on_gpu.py --out DIR                   everything
    python benchmarks/on_gpu.py --out DIR --limit 580       what fits into 580 seconds; again, and it goes on
    python benchmarks/on_gpu.py --out DIR --parts build kernels
    python benchmarks/on_gpu.py --out DIR --emulated        a trial without a GPU, with tiny sizes

It builds steep for the GPU, runs the tests of the kernels, the benchmark group by group, the ladders of kernels, the
Python suite at ``--device cuda``, and compute-sanitizer on a few small tests. Nothing is downloaded: what Python lacks
can be brought as wheels (``--wheels``). Every part leaves its log and a line in DIR/summary.json; parts that succeeded
are not repeated, so an interrupted run goes on where it stopped. A part that takes longer than its time is given up.
DIR/results.json has all figures, with the date, the GPU, the commit and the spread; what is reached of every goal is
printed at the end.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# The groups of gpu_rows.py, and the seconds that one may take.
GROUPS = {
    "float32 matmul": 200,
    "bfloat16 matmul": 90,
    "bfloat16 shapes": 200,
    "linear": 90,
    "elementwise": 150,
    "sums": 60,
    "softmax": 150,
    "layer norm": 150,
    "cross-entropy": 120,
    "optimizer": 90,
    "train": 120,
}
SHAPES, SHAPES_GOAL = "bfloat16 shapes", 0.92  # of the geometric mean over its rows


@dataclass(frozen=True)
class Part:
    """A command, and the seconds it may take."""

    name: str
    command: list[str]
    seconds: int


def parts(out: Path, wheels: Path | None = None) -> list[Part]:
    """All of them, in order."""
    python = [sys.executable]
    run = [*python, "tests/cuda/run.py", "--device", "gpu", "--jobs", str(os.cpu_count() or 1)]
    small = ["--only", "elementwise_test", "rows_test", "reduce_test", "gemm_test"]
    pip = [*python, "-m", "pip", "install", "--no-build-isolation", "--no-deps"]
    build = [*pip, ".", "-Ccmake.define.STEEP_CUDA=on", "-Ccmake.define.STEEP_CUDA_TARGETS=" + target()]
    suite = [*python, "-m", "pytest", "-q", "--device", "cuda", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("xdist"):
        suite += ["-n", "8"]
    brought = [Part("wheels", [*pip, "--no-index", *map(str, sorted(wheels.glob("*.whl")))], 60)] if wheels else []
    return [
        Part("gpu", ["nvidia-smi"], 20),
        *brought,
        Part("build", build, 300),
        Part("info", [*python, "-m", "steep", "info"], 20),
        Part("kernels", run, 300),
        *_benchmarks(out, []),
        Part("ladder", [*python, "benchmarks/ladder/run.py", "--json", str(out / "ladder.json")], 240),
        Part("suite", suite, 480),
        Part("memcheck", [*run, *small, "--check", "memcheck"], 200),
        Part("racecheck", [*run, *small, "--check", "racecheck"], 200),
    ]


def trial_parts(out: Path) -> list[Part]:
    """The same on the emulated device, for which steep has been built."""
    python = [sys.executable]
    ladder = [*python, "benchmarks/ladder/run.py", "--emulated", "--shrink", "256", "--json", str(out / "ladder.json")]
    return [
        Part("info", [*python, "-m", "steep", "info"], 60),
        Part("kernels", [*python, "tests/cuda/run.py", "--only", "elementwise_test"], 1200),
        *_benchmarks(out, ["--quick", "--shrink", "64"]),
        Part("ladder", [*ladder, "--build", str(out / "ladder")], 600),
        Part("suite", [*python, "-m", "pytest", "-q", "--device", "cuda", "tests/test_elementwise.py"], 600),
    ]


def _benchmarks(out: Path, options: list[str]) -> list[Part]:
    bench = [sys.executable, "-m", "steep", "bench", "--device", "cuda", *options]
    found = []
    for group, seconds in GROUPS.items():
        name = bench_name(group)
        found.append(Part(name, [*bench, "--filter", group, "--json", str(out / f"{name}.json")], seconds))
    return found


def bench_name(group: str) -> str:
    """The part that measures a group."""
    return "bench-" + group.replace(" ", "-")


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


def gather(out: Path, done: dict[str, Any]) -> dict[str, Any]:
    """All figures of a folder."""
    files = {group: out / f"{bench_name(group)}.json" for group in GROUPS}
    benchmarks = {group: json.loads(file.read_text()) for group, file in files.items() if file.exists()}
    ladder = json.loads((out / "ladder.json").read_text()) if (out / "ladder.json").exists() else None
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpu": next((figures["gpu"] for figures in benchmarks.values()), None),
        "commit": commit(),
        "parts": done,
        "benchmarks": benchmarks,
        "ladder": ladder,
    }


def goals(results: dict[str, Any]) -> list[tuple[str, str, float, float]]:
    """Row, what it is compared with, the ratio aimed at, and the one measured."""
    found = []
    for figures in results["benchmarks"].values():
        for row in figures["rows"]:
            aimed = row["details"].get("goals", {})
            for peer, reached in (("× PyTorch", "reached of PyTorch"), ("of copy", "reached of copy")):
                if peer in aimed:
                    found.append((row["name"], peer, aimed[peer], aimed[reached] * aimed[peer]))
    rows = results["benchmarks"].get(SHAPES, {"rows": []})["rows"]
    if ratios := [row["ratios"]["PyTorch"] for row in rows if "PyTorch" in row["ratios"]]:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        found.append((f"{SHAPES}, geometric mean of {len(ratios)}", "× PyTorch", SHAPES_GOAL, mean))
    return found


def write(file: Path, value: Any) -> None:
    """Writes JSON at once or not at all."""
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)


def main() -> int:
    """Runs the parts that are wanted and not done; returns the exit status."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="only these")
    parser.add_argument("--again", action="store_true", help="repeat what succeeded before")
    parser.add_argument("--limit", type=float, default=math.inf, metavar="SECONDS", help="of this command")
    parser.add_argument("--emulated", action="store_true", help="a trial on the emulated device")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="packages to install first")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    out = args.out.resolve()
    summary = out / "summary.json"
    done: dict[str, Any] = json.loads(summary.read_text()) if summary.exists() else {}
    try:
        every = trial_parts(out) if args.emulated else parts(out, args.wheels)
    except OSError as error:
        parser.error(f"this needs a machine with an NVIDIA GPU and its driver, or --emulated: {error}")
    if unknown := set(args.parts or []) - {part.name for part in every}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in every)}")
    wanted = [part for part in every if not args.parts or part.name in args.parts]
    left = []
    for part in wanted:
        if done.get(part.name, {}).get("status") != "ok" or args.again:
            if time.perf_counter() - began + part.seconds > args.limit:
                left.append(part.name)
                continue
            done[part.name] = run_part(part, out)
            write(summary, done)
        print(f"{part.name:22} {done[part.name]['status']}, {done[part.name]['seconds']} s", flush=True)
    results = gather(out, done)
    write(out / "results.json", results)
    if found := goals(results):
        print(f"\n{'':60}{'aimed at':>10}{'measured':>10}{'of goal':>9}")
    for name, peer, aimed, measured in found:
        print(f"{name:50}{peer:>10}{aimed:10.2f}{measured:10.2f}{measured / aimed:9.0%}")
    if left:
        print(f"left for the next command, within {args.limit:g} s: {', '.join(left)}")
    return int(any(done[part.name]["status"] != "ok" for part in wanted if part.name in done))


if __name__ == "__main__":
    sys.exit(main())
