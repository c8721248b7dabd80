"""The emulated CUDA device: that it does what CUDA does, and shows the errors that are planted into kernels.

The programs are built here, from tests/cuda and csrc/cuda, so that this runs whatever steep itself was built with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    *sorted((ROOT / "csrc/cuda/emulator").glob("*.cpp")),
    *(
        ROOT / "csrc/cuda" / f"{name}.cpp"
        for name in ("allocator", "copy", "devices", "graph", "runtime", "tensor_map")
    ),
]
SCHEDULES = ["forward", "reverse", "random:1", "random:2"]

# What is wrong, and how it shows: by a wrong result, or by an error with these words in it.
PLANTED = {
    "barrier_before_read": None,
    "barrier_before_overwrite": None,
    "barrier_in_reduction": None,
    "warp_barrier": None,
    "uninitialized_shared": None,
    "loose_wait": None,
    "order_of_blocks": None,
    "unfinished_copy": None,
    "unordered_streams": None,
    "unordered_branches": None,
    "matrices_before_barrier": None,
    "misaligned_matrices": "the row of a matrix is not aligned to 16 bytes",
    "lanes_missing_from_product": "a lane ended that others wait for",
    "global_overrun": "behind the end of 800 allocated bytes",
    "global_read_overrun": "behind the end of 256 allocated bytes",
    "replay_of_freed_memory": "far from any allocation",
    "shared_overrun": "behind the end of shared array tile",
    "divergent_barrier": "threads ended that others wait for at a barrier",
    "wgmma_without_wait": None,
    "wgmma_early_overwrite": None,
    "wgmma_without_fence": "without a wgmma.fence",
    "wgmma_of_one_warp": "of its warpgroup",
}
# The same for asynchronous copies, mbarriers and clusters (planted_async_bugs.cu), in one of the schedules at least.
ASYNCHRONOUS = {
    "missing_wait": None,
    "source_overwritten": None,
    "cluster_barrier_missing": None,
    "wrong_parity": "lacks 1 of 1 arrivals and 0 bytes",
    "missing_expect": "lacks 0 of 1 arrivals and -512 bytes",
    "too_many_bytes": "lacks 0 of 1 arrivals and 16 bytes",
    "copy_after_end": "the block ended before bulk copies to its shared memory have landed",
    "missing_init": "there is no mbarrier",
    "source_not_read": "a thread ended before its bulk stores had read shared memory",
    "named_barriers_differ": "named barrier 1 of 64 threads is one of 128 for others",
    "block_not_begun": "shared memory of a block of the cluster that has not begun or has ended",
    "block_has_ended": "shared memory of a block of the cluster that has not begun or has ended",
}
# Which of them are races, and the function where ThreadSanitizer sees it.
RACES = {
    "barrier_before_read": "shift<true>",
    "barrier_before_overwrite": "sum_of_tiles<true>",
    "barrier_in_reduction": "tree_sum<true>",
    "warp_barrier": "warp_sum<true>",
    "non_atomic_add": "count<true>",
    "order_of_blocks": "after_block_0<true>",
    "matrices_before_barrier": "steep::cuda::emulator::load_matrices",
}
ASYNCHRONOUS_RACES = {
    "missing_init": "uses_before_init<true>",
    "missing_proxy_fence": "stores_without_fence<true>",
    "cluster_barrier_missing": "reads_before_written<true>",
}
PROGRAMS = {
    **dict.fromkeys(PLANTED | RACES, "planted_bugs"),
    **dict.fromkeys(ASYNCHRONOUS | ASYNCHRONOUS_RACES, "planted_async_bugs"),
}


def build(folder: Path, programs: Sequence[str], *flags: str) -> dict[str, Path]:
    """Compiles tests/cuda/<program>.cu with the emulator and steep's CUDA runtime."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs g++ on Linux")
    assert compiler
    options = ["-std=gnu++20", "-O1", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-psabi", *flags]
    definitions = ["-DSTEEP_CUDA_EMULATED", "-DSTEEP_ISA_NS=cuda", '-DSTEEP_CUDA_TARGETS="75 90a"']
    includes = [f"-I{ROOT / path}" for path in ("csrc/cuda/emulator", "csrc", "tests/cuda")]

    def call(*command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-5000:]
        assert "warning" not in done.stderr, done.stderr[-5000:]

    def compiled(source: Path) -> Path:
        target = folder / f"{source.name}.o"
        call(compiler, *options, *definitions, *includes, "-x", "c++", "-c", source, "-o", target)
        return target

    sources = [*(ROOT / f"tests/cuda/{program}.cu" for program in programs), *SOURCES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources))
    for program, target in zip(programs, objects, strict=False):
        call(compiler, *flags, target, *objects[len(programs) :], "-lpthread", "-o", folder / program)
    return {program: folder / program for program in programs}


def run(program: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STEEP_")}
    done = subprocess.run([program, *arguments], capture_output=True, text=True, env=clean | environment, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(
        tmp_path_factory.mktemp("emulator"), ["emulator_test", "capture_test", "planted_bugs", "planted_async_bugs"]
    )


@pytest.fixture(scope="module")
def with_thread_sanitizer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("thread_sanitizer")
    source = folder / "empty.cpp"
    source.write_text("int main() {}")
    compiler = shutil.which(os.environ.get("CXX", "g++")) or pytest.skip("needs g++ on Linux")
    command = [str(compiler), "-fsanitize=thread", str(source), "-o", str(folder / "empty")]
    if subprocess.run(command, capture_output=True).returncode or run(folder / "empty")[0]:
        pytest.skip("ThreadSanitizer does not work on this machine")
    return build(folder, ["planted_bugs", "planted_async_bugs"], "-fsanitize=thread", "-g")


@pytest.mark.parametrize(
    "setting",
    [
        *(f"STEEP_EMULATOR_SCHEDULE={schedule}" for schedule in SCHEDULES),
        "STEEP_EMULATOR_EAGER=1",
        "STEEP_EMULATOR_GUARD=0",
        "STEEP_EMULATED_DEVICES=1",
        "STEEP_CUDA_CACHE=0",
        "STEEP_CUDA_SYNC=1",
    ],
)
def test_the_device(programs: dict[str, Path], setting: str) -> None:
    name, value = setting.split("=")
    for program in ("emulator_test", "capture_test"):
        code, text = run(programs[program], **{name: value})
        assert code == 0, text


def test_no_device(programs: dict[str, Path]) -> None:
    code, text = run(programs["emulator_test"], STEEP_EMULATED_DEVICES="0")
    assert code == 2
    assert "there is no CUDA device" in text


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bugs_are_caught(programs: dict[str, Path], name: str) -> None:
    outcomes = {s: run(programs["planted_bugs"], name, STEEP_EMULATOR_SCHEDULE=s) for s in SCHEDULES}
    words = PLANTED[name]
    if words is None:
        assert 1 in {code for code, _ in outcomes.values()}, outcomes
    else:
        assert {code for code, _ in outcomes.values()} == {2}, outcomes
        assert all(words in text and "planted: " in text for _, text in outcomes.values()), outcomes


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_asynchronous_bugs_are_caught(programs: dict[str, Path], name: str) -> None:
    outcomes = [run(programs["planted_async_bugs"], name, STEEP_EMULATOR_SCHEDULE=s) for s in SCHEDULES]
    words = ASYNCHRONOUS[name]
    if words is None:
        assert 1 in {code for code, _ in outcomes}, outcomes
    else:
        assert any(code == 2 and words in text and "planted: " in text for code, text in outcomes), outcomes


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_nothing_is_reported_without_the_bug(programs: dict[str, Path], name: str) -> None:
    for schedule in SCHEDULES:
        code, text = run(programs[PROGRAMS[name]], name, "fixed", STEEP_EMULATOR_SCHEDULE=schedule)
        assert code == 0, (schedule, text)


@pytest.mark.parametrize("name", RACES | ASYNCHRONOUS_RACES)
def test_thread_sanitizer_finds_races(with_thread_sanitizer: dict[str, Path], name: str) -> None:
    _, text = run(with_thread_sanitizer[PROGRAMS[name]], name)
    assert "data race" in text
    assert (RACES | ASYNCHRONOUS_RACES)[name] in text


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_thread_sanitizer_finds_nothing_else(with_thread_sanitizer: dict[str, Path], name: str) -> None:
    code, text = run(with_thread_sanitizer[PROGRAMS[name]], name, "fixed")
    assert code == 0, text


def test_all_planted_bugs_are_tried(programs: dict[str, Path]) -> None:
    planted = {program: set(run(programs[program])[1].split()) for program in ("planted_bugs", "planted_async_bugs")}
    assert {name: program for program, names in planted.items() for name in names} == PROGRAMS
