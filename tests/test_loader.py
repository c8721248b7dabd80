"""DataLoader: batches, their order, threads and processes, and what happens when they fail."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same
from loader_datasets import Failing, Noisy, Numbers, Slow, SlowElsewhere, Unloadable, as_list, double, noisy
from steep.data import DataLoader


def values(batches: Any) -> list[Any]:
    return [[part.tolist() for part in batch] for batch in batches]


def numbers(batches: list[Any]) -> list[int]:
    return [number for _, y in batches for number in y]


def collect(loader: DataLoader, into: list[Any]) -> None:
    """The samples' numbers, batch by batch, until it fails."""
    for x, y in loader:
        into.append(y.tolist() if isinstance(y, st.Tensor) else [x[1], y[1]])


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("steep-loader")]


def arrays(n: int = 50) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.arange(2.0 * n, dtype=np.float32).reshape(n, 2), np.arange(n)


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("n", "size"), [(10, 4), (8, 4), (3, 5), (1, 1), (0, 2)])
def test_batches_and_their_number_are_those_of_torch(n: int, size: int, drop_last: bool) -> None:
    torch_data = pytest.importorskip("torch.utils.data")
    x, y = arrays(n)
    expected = torch_data.DataLoader(Numbers(n), size, drop_last=drop_last)
    for dataset in ((x, y), Numbers(n), st.data.Subset(Numbers(n), range(n)), [Numbers(n)[i] for i in range(n)]):
        loader = DataLoader(dataset, size, drop_last=drop_last)
        batches = list(loader)
        assert len(batches) == len(loader) == len(expected)
        assert [b.tolist() for _, b in batches] == [b.tolist() for _, b in expected]
        for a, b in batches:
            assert (a.dtype, b.dtype) == (st.float32, st.int64)


def test_arrays_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    rows_of = st.data.dataset._rows
    monkeypatch.setattr(st.data.dataset, "_rows", lambda *arguments: calls.append(1) or rows_of(*arguments))
    monkeypatch.setattr(st.data.TensorDataset, "__getitem__", None)
    x, y = arrays()
    both = st.data.ConcatDataset([st.data.TensorDataset(x, y), st.data.Subset((x, y), range(7))])
    for dataset, expected in (
        ((x, y), 8),
        (st.data.Subset(st.data.Subset((x, y), range(40)), range(40)), 6),
        (st.asarray(x), 4),
    ):
        calls.clear()
        assert sum(len(np.atleast_1d(b[-1])) for b in DataLoader(dataset, 16)) > 0
        assert len(calls) == expected
    assert next(iter(DataLoader(both, 57)))[1].tolist() == [*range(50), *range(7)]


def test_a_dataset_may_give_many_samples_at_once() -> None:
    class Many(Numbers):
        def __getitems__(self, rows: Any) -> Any:
            assert rows.dtype == np.int64
            return {"rows": st.asarray(rows)} if as_batch else [(int(i), "s") for i in rows]

    as_batch = True
    assert [b["rows"].tolist() for b in DataLoader(Many(5), 3)] == [[0, 1, 2], [3, 4]]
    as_batch = False
    assert [(a.tolist(), b) for a, b in DataLoader(Many(3), 2)] == [([0, 1], ["s", "s"]), ([2], ["s"])]


def test_collate_and_transform() -> None:
    assert list(DataLoader((arrays(3)[1],), 2, collate_fn=lambda s: [int(x) for (x,) in s])) == [[0, 1], [2]]
    assert values(DataLoader(arrays(3), 2, transform=double)) == [[[[0, 2], [4, 6]], [0, 1]], [[[8, 10]], [2]]]
    assert [b.tolist() for b in DataLoader(np.arange(3), 2, transform=double)] == [[0, 2], [4]]


def test_samplers_and_batch_samplers() -> None:
    x, y = arrays(6)
    assert [b.tolist() for _, b in DataLoader((x, y), 2, sampler=[5, 0, 3])] == [[5, 0], [3]]
    assert [b.tolist() for _, b in DataLoader((x, y), batch_sampler=[[1], [2, 2, 0]])] == [[1], [2, 2, 0]]
    assert [b.tolist() for b in DataLoader({"a": 1, "b": 2}, 1, sampler=["b", "a"])] == [[2], [1]]
    endless = DataLoader((x, y), 4, sampler=iter(int, 1))
    assert next(iter(endless))[1].tolist() == [0, 0, 0, 0]
    with pytest.raises(TypeError, match="number of batches is not known: the sampler, a callable_iterator"):
        len(endless)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"shuffle": True, "sampler": [0]}, "shuffle or a sampler, not both"),
        ({"batch_sampler": [[0]], "drop_last": True}, "a batch_sampler says all"),
        ({"batch_sampler": [[0]], "batch_size": 4}, "a batch_sampler says all"),
        ({"batch_size": 0}, "batch_size=0 must be a positive integer"),
        ({"batch_size": 2.5}, "batch_size=2.5 must be"),
        ({"num_workers": -1}, "num_workers=-1 must be an integer of 0 or more"),
        ({"prefetch": 1.5}, "prefetch=1.5 must be"),
    ],
)
def test_arguments_that_contradict(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(arrays(), **keywords)


def test_devices(cuda: str) -> None:
    x, y = arrays(4)
    assert next(iter(DataLoader((x, y), device=cuda, prefetch=1)))[0].device == st.device(cuda)
    assert next(iter(DataLoader((st.asarray(x, device=cuda), y), device=None)))[0].device == st.device(cuda)
    assert next(iter(DataLoader((x, y), device="cpu")))[1].device == st.device("cpu")


# --- order and random numbers -----------------------------------------------------------------------------------------


def test_shuffled_batches_are_those_of_the_seed() -> None:
    loader = DataLoader(arrays(), 16, shuffle=True)
    first, second = values(loader), values(loader)
    assert first != second
    assert sorted(numbers(first)) == list(range(50))
    st.manual_seed(0)
    assert values(loader) == first
    st.manual_seed(0)
    order = st.random.permutation(50).tolist()
    assert numbers(first) == order


def test_the_order_is_drawn_when_iteration_begins() -> None:
    batches = iter(DataLoader(arrays(), 16, shuffle=True, prefetch=2))
    st.random.uniform(5)
    st.manual_seed(0)
    order = st.random.permutation(50).tolist()
    assert numbers(values(batches)) == order


@pytest.mark.parametrize("prefetch", [0, 3])
def test_training_is_that_of_fit(prefetch: int, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(70, 4)), rng.integers(0, 3, 70)
    weights = []
    for by_hand in (False, True):
        st.manual_seed(3)
        model = st.nn.Sequential(st.nn.Linear(4, 8), st.nn.Dropout(0.3), st.nn.Linear(8, 3))
        model.compile(st.optim.Adam(model.parameters(), lr=0.01), "cross_entropy")
        if by_hand:
            loader = DataLoader((x.astype(np.float32), y), 16, shuffle=True, prefetch=prefetch)
            for _ in range(3):
                for batch in loader:
                    model.train_step(batch)
        else:
            model.fit(x, y, batch_size=16, epochs=3, verbose=0)
        weights.append([p.detach().numpy().copy() for p in model.parameters()])
    for one, other in zip(*weights, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize(
    "keywords",
    [{"prefetch": 1}, {"prefetch": 5}, {"num_workers": 2, "start_method": "fork"}, {"num_workers": 3}],
    ids=str,
)
def test_random_numbers_do_not_depend_on_who_draws_them(keywords: dict[str, Any], request: Any) -> None:
    if "num_workers" in keywords and request.config.getoption("--device") != "cpu":
        pytest.skip("of the CPU only: processes")
    if keywords.get("start_method") == "fork" and sys.version_info >= (3, 12):
        pytest.skip("Python warns of forks of processes with threads")
    results = []
    for more in ({}, keywords):
        st.manual_seed(1)
        loader = DataLoader(Noisy(24), 4, shuffle=True, transform=noisy, persistent_workers=True, **more)
        results.append([])
        for _ in range(2):
            for x, y in loader:
                results[-1].append((x.tolist(), y.tolist(), st.random.uniform().item()))
    assert results[0] == results[1]
    drawn = [tuple(x[0]) for x, _, _ in results[0]]
    assert len(set(drawn)) == len(drawn)  # every batch and every epoch has numbers of its own


def test_a_dataset_without_random_numbers_takes_none() -> None:
    state = st.random.get_state()
    list(DataLoader(Numbers(9), 2, transform=double, prefetch=2))
    assert st.random.get_state() == state


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch", [1, 2, 100])
def test_prefetched_batches_come_in_order(prefetch: int) -> None:
    expected = values(DataLoader(Numbers(41), 4))
    assert values(DataLoader(Numbers(41), 4, prefetch=prefetch)) == expected
    assert threads() == []


def test_batches_are_made_ahead() -> None:
    made: list[int] = []

    class Watched(Numbers):
        def __getitem__(self, i: Any) -> Any:
            made.append(i)
            return i

    batches = iter(DataLoader(Watched(20), 1, prefetch=3))
    next(batches)
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_errors_are_raised_where_the_batch_is_awaited(prefetch: int) -> None:
    seen: list[Any] = []
    with pytest.raises(LookupError, match="sample seven is broken") as caught:
        collect(DataLoader(Failing(20, "error"), 2, prefetch=prefetch), seen)
    assert seen == [[0, 1], [2, 3], [4, 5]]
    assert "in __getitem__" in "".join(traceback.format_exception(caught.value))
    assert threads() == []


def test_the_thread_ends_with_the_consumer() -> None:
    for _ in DataLoader(Numbers(1000), 2, prefetch=4):
        assert threads() != []
        break
    gc.collect()
    assert threads() == []
    batches = iter(DataLoader(Numbers(1000), 2, prefetch=4))
    next(batches)
    del batches
    gc.collect()
    assert threads() == []


# --- processes --------------------------------------------------------------------------------------------------------

processes = pytest.mark.host(reason="processes")


@processes
def test_workers() -> None:
    expected = values(DataLoader(Numbers(23), 3, shuffle=True))
    st.manual_seed(0)
    loader = DataLoader(Numbers(23), 3, shuffle=True, num_workers=2, persistent_workers=True)
    assert values(loader) == expected
    started = {process.pid for process in multiprocessing.active_children()}
    assert len(started) == 2
    assert len(values(loader)) == 8
    assert {process.pid for process in multiprocessing.active_children()} == started
    del loader
    gc.collect()
    assert multiprocessing.active_children() == threads() == []


@processes
def test_two_iterations_at_once() -> None:
    loader = DataLoader((np.arange(6),), 2, num_workers=1, collate_fn=as_list)
    pairs = [(len(a), len(b)) for a, b in zip(loader, loader, strict=True)]
    assert pairs == [(2, 2)] * 3
    assert multiprocessing.active_children() == []


@processes
def test_workers_draw_different_numbers_of_other_generators() -> None:
    batches = [x for x, _ in DataLoader(Noisy(8, others=True), 2, num_workers=2)]
    assert len(np.unique(np.concatenate([x.numpy() for x in batches])[:, 1:])) == 16


@processes
@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("error", LookupError, "sample seven is broken"),
        ("awkward", RuntimeError, "AwkwardError: 7 and 8"),
        ("lambda", Exception, "pickle"),
        ("exit", RuntimeError, "a worker process ended with exit code 3"),
        ("sys.exit", RuntimeError, "a worker process met SystemExit: enough"),
        ("interrupt", RuntimeError, "a worker process met KeyboardInterrupt"),
        ("kill", RuntimeError, r"a worker process was killed by signal 9 \(SIGKILL\): .* out of memory"),
    ],
)
def test_failures_in_a_worker(how: str, error: type[Exception], message: str) -> None:
    seen: list[Any] = []
    with pytest.raises(error, match=message) as caught:
        collect(DataLoader(Failing(20, how), 2, num_workers=2, collate_fn=as_list if how == "lambda" else None), seen)
    assert seen == [[0, 1], [2, 3], [4, 5]]
    if how in ("error", "awkward", "sys.exit", "interrupt"):
        assert "loader_datasets.py" in str(caught.value.__cause__)  # the traceback of the other process
    assert multiprocessing.active_children() == threads() == []


@processes
def test_an_error_does_not_wait_for_the_other_workers() -> None:
    start = time.monotonic()
    with pytest.raises(LookupError, match="sample zero"):
        next(iter(DataLoader(SlowElsewhere(8), 1, num_workers=2, start_method="fork")))
    assert time.monotonic() - start < 25
    assert multiprocessing.active_children() == threads() == []


@processes
def test_leaving_early_ends_what_workers_are_doing() -> None:
    start = time.monotonic()
    for _, y in DataLoader(Slow(8), 1, num_workers=2):
        assert y.tolist() == [0]
        break
    gc.collect()
    assert multiprocessing.active_children() == threads() == []
    assert time.monotonic() - start < 25


@processes
def test_what_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match=r"by pickle, which failed: .*top level of a module, or use prefetch"):
        next(iter(DataLoader(Numbers(4), num_workers=1, transform=lambda x: x)))
    with pytest.raises(RuntimeError, match=r"could not load the dataset \(not here\): .*__main__"):
        next(iter(DataLoader(Unloadable(4), num_workers=1)))
    with pytest.raises(ValueError, match="start_method='thread' must be one of"):
        next(iter(DataLoader(Numbers(4), num_workers=1, start_method="thread")))
    assert multiprocessing.active_children() == threads() == []


SCRIPT = """
import steep as st
class Own(st.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): return i
{guard}
for batch in st.data.DataLoader(Own(), 2, num_workers=1):
    print(batch.tolist())
"""


@processes
@pytest.mark.parametrize("guarded", [True, False])
def test_a_script(guarded: bool, tmp_path: Path) -> None:
    text = SCRIPT.replace("{guard}\n", "" if not guarded else "if __name__ == '__main__':\n  ")
    path = tmp_path / "script.py"
    path.write_text(text)
    result = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, env=os.environ)
    if guarded:
        assert (result.stdout, result.stderr) == ("[0, 1]\n[2, 3]\n", "")
    else:
        assert result.returncode == 1
        assert "a script that uses num_workers needs its own work under `if __name__ == '__main__':`" in result.stderr
