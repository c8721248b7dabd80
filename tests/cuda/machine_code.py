"""Checks the machine code of the CUDA kernels, on a machine with nvcc and no need of a GPU.

    python tests/cuda/machine_code.py [--targets 75 90a …] [--files unary.cu …]
    python tests/cuda/machine_code.py --files ../../benchmarks/ladder/ladder.cu

For every target no kernel may spill registers to memory, but for those of SPILLS, and none of BUDGETS may use more
registers than stated there: they decide how many threads a multiprocessor holds. ptxas may not tell of a lost chance.
Where cuobjdump is found (the CUDA toolkit's, or that of the package triton), the kernels of STREAMS must have 16-byte
loads and stores, those of UNITS the instructions of the units that they are written for, and those of TENSOR_CORES
theirs, and no local memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CUDA, LADDERS = ROOT / "csrc" / "cuda", ROOT / "benchmarks" / "ladder" / "ladder.cu"
TARGETS = ["75", "80", "86", "89", "90a", "100", "120"]
OPTIONS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-DSTEEP_ISA_NS=cuda"]

# Registers a thread may use, by a regular expression of the kernel's name. The first that fits counts.
BUDGETS = {
    r"elementwise<(Value|Derivative)<(Add|Multiply|Relu|Sigmoid|Tanh|Gelu), float": 48,  # 5 blocks of 256 threads
    r"transpose<": 48,
    r"gemm_kernel<float, 128": 128,  # 2 blocks of 256 threads
    r"gemm_kernel<double, 64": 168,
    r"gemm_kernel<": 128,
    r"over_(long_)?rows<": 64,  # 2 blocks of 512 threads
    r"\bmma_kernel<.*128, 128, 64, 64": 255,  # 2 blocks of 128 threads
    r"\bmma_kernel<.*\(MmaOperands\)2": 168,  # in pieces: 3
    r"\bmma_kernel<": 128,  # 4
    r"apply<": 80,
    r"change<|partial_norms<.*true": 64,
    r"reduce<(Sum|Max|Min)": 64,
}

# Bytes that a kernel may store and load again, by the same: bookkeeping outside of the inner loop, for which a second
# block on the multiprocessor is worth more.
SPILLS = {
    r"over_rows<": 300,
    r"ladder::simt_async::": 16,  # on sm_100, of nvcc 13.0: two words in a step of 8 columns, beside 512 multiply-adds
}

# Kernels that are as fast as memory, and so must use its widest accesses.
STREAMS = [
    r"elementwise<.*Value<(Add|Relu|Sigmoid), float>",
    r"elementwise<.*Derivative<(Relu|Sigmoid), float>",
    r"over_rows<float, .*(Softmax|LayerNorm|RmsNorm|CrossEntropyBackward|CrossEntropyGradient)",
    r"apply<float",
    r"change<",
]

# Instructions that kernels must have, by target and a regular expression of the name.
UNITS = {
    ("90a", r"warpgroup_kernel<"): ["HGMMA", "UTMALDG", "USETMAXREG"],
    ("90a", r"ladder::wgmma_(single|tile|ring)::"): ["HGMMA", "UTMALDG"],
    ("90a", r"ladder::wgmma_(consumers|queue|persistent)::"): ["HGMMA", "UTMALDG", "USETMAXREG"],
    ("90a", r"ladder::wgmma_cluster::"): ["HGMMA", "UTMALDG", "MULTICAST", "USETMAXREG"],
    ("90a", r"ladder::wgmma_store::"): ["HGMMA", "UTMALDG", "MULTICAST", "UTMASTG", "USETMAXREG"],
}

# The registers that a thread of such a kernel begins with, to hand them out among its warps: with fewer it would wait
# forever (kRegisters in gemm_wgmma.cuh).
HANDED_OUT = ("USETMAXREG", 168)

# What ptxas says when it makes wgmma wait for each other (C7510), or ignores setmaxnreg (C7508).
LOSSES = r"\(C75\d\d\)|Potential Performance Loss|setmaxnreg.*ignored"

# Kernels that multiply by tensor cores, from sm_80 on, with what must be in their code.
TENSOR_CORES = {
    r"\bmma_kernel<": ("HMMA", "LDGSTS"),
    r"ladder::mma_fragments::": ("HMMA",),
    r"ladder::mma_shared::": ("HMMA", "LDSM"),
    r"ladder::mma_(async|registers)::": ("HMMA", "LDSM", "LDGSTS"),
}


@dataclass
class Kernel:
    """What ptxas and cuobjdump tell of one kernel."""

    name: str
    registers: int = 0
    spilled: int = 0  # bytes
    code: str = ""


@dataclass
class Report:
    """The kernels of one file for one target, and what is wrong with them."""

    file: str
    target: str
    kernels: dict[str, Kernel] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def cuobjdump() -> str | None:
    """The path of cuobjdump, if there is one."""
    found = shutil.which("cuobjdump")
    package = importlib.util.find_spec("triton")
    if found or package is None or package.origin is None:
        return found
    path = Path(package.origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return str(path) if path.exists() else None


def demangled(names: list[str]) -> dict[str, str]:
    """C++ names of symbols."""
    done = subprocess.run(["c++filt"], input="\n".join(names), text=True, capture_output=True, check=True)
    return dict(zip(names, done.stdout.splitlines(), strict=True))


def compile_file(file: Path, target: str, dump: str | None) -> Report:
    """Compiles a file for one target and reads what the tools say."""
    report = Report(file.name, target)
    options = [*OPTIONS, *(["-fmad=false"] if file.name == "random.cu" else [])]
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code.o"
        done = subprocess.run(
            ["nvcc", *options, f"-arch=sm_{target}", "-Xptxas", "-v", "-c", "-o", str(code), str(file)],
            text=True,
            capture_output=True,
        )
        if done.returncode:
            report.errors.append(done.stderr)
            return report
        mangled = None
        for line in done.stderr.splitlines():
            if re.search(LOSSES, line):
                report.errors.append(line.strip())
            if match := re.search(r"(?:Compiling entry function|Function properties for) '?([^'\s]+)'?", line):
                mangled = match[1]
            elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
                report.kernels.setdefault(mangled or "", Kernel(mangled or "")).spilled = int(match[1]) + int(match[2])
            elif match := re.search(r"Used (\d+) registers", line):
                report.kernels.setdefault(mangled or "", Kernel(mangled or "")).registers = int(match[1])
        if dump:
            dumped = subprocess.run([dump, "-sass", str(code)], text=True, capture_output=True, check=True).stdout
            for part in dumped.split("Function : ")[1:]:
                name, _, body = part.partition("\n")
                report.kernels.setdefault(name.strip(), Kernel(name.strip())).code = body
    names = demangled(list(report.kernels))
    for kernel in report.kernels.values():
        kernel.name = re.sub(r"steep::cuda::|\(anonymous namespace\)::", "", names[kernel.name])
    return report


def check(report: Report) -> None:
    """Adds what breaks a rule to the report's errors."""
    for kernel in report.kernels.values():
        allowed = next((n for pattern, n in SPILLS.items() if re.search(pattern, kernel.name)), 0)
        if kernel.spilled > allowed:
            report.errors.append(f"{kernel.name} spills {kernel.spilled} bytes")
        budget = next((n for pattern, n in BUDGETS.items() if re.search(pattern, kernel.name)), None)
        if budget is not None and kernel.registers > budget:
            report.errors.append(f"{kernel.name} uses {kernel.registers} registers, its budget is {budget}")
        if kernel.code and any(re.search(pattern, kernel.name) for pattern in STREAMS):
            for access in ("LDG", "STG"):
                if not re.search(rf"\b{access}\.E[.\w]*\.128\b", kernel.code):
                    report.errors.append(f"{kernel.name} has no 16-byte {access}")
        for (target, pattern), instructions in UNITS.items():
            if kernel.code and report.target == target and re.search(pattern, kernel.name):
                report.errors += [f"{kernel.name} has no {i}" for i in instructions if i not in kernel.code]
        if HANDED_OUT[0] in kernel.code and kernel.registers != HANDED_OUT[1]:
            report.errors.append(f"{kernel.name} begins with {kernel.registers} registers, not {HANDED_OUT[1]}")
        needed = next((n for pattern, n in TENSOR_CORES.items() if re.search(pattern, kernel.name)), ())
        if kernel.code and needed and int(report.target.rstrip("a")) >= 80:
            report.errors += [f"{kernel.name} has no {n}" for n in needed if not re.search(rf"\b{n}\b", kernel.code)]
            if re.search(r"\b(LDL|STL)\b", kernel.code):
                report.errors.append(f"{kernel.name} uses local memory")


def main() -> int:
    """Checks and prints; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS, metavar="TARGET")
    parser.add_argument("--files", nargs="+", default=[], metavar="FILE", help="paths from csrc/cuda")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    files = [CUDA / name for name in args.files] or [*sorted(CUDA.glob("*.cu")), LADDERS]
    dump = cuobjdump()
    if not dump:
        print("no cuobjdump: 16-byte accesses are not checked (pip install triton has one)")
    failed = False
    names: set[str] = set()
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(compile_file, file, target, dump) for target in args.targets for file in files]
        for job in jobs:
            report = job.result()
            check(report)
            names.update(kernel.name for kernel in report.kernels.values())
            most = max((k.registers for k in report.kernels.values()), default=0)
            print(
                f"sm_{report.target} {report.file}: {len(report.kernels)} kernels, at most {most} registers", flush=True
            )
            for error in report.errors:
                failed = True
                print(f"  {error}")
    for pattern in [*BUDGETS, *SPILLS, *STREAMS, *(p for _, p in UNITS), *TENSOR_CORES] if not args.files else []:
        if not any(re.search(pattern, name) for name in names):
            print(f"no kernel's name fits {pattern}: a rule that cannot fail")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
