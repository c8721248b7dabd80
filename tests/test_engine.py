"""The engine under the tensors: memory, threads, fork, and arrays shared with other libraries."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same, memory_in_use, shares

DTYPES = ("bool", "int32", "int64", "float32", "float64")


def run(code: str, **environment: str) -> str:
    """The output of a Python program in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.strip()


# --- exchange ---------------------------------------------------------------------------------------------------------


@pytest.mark.host(reason="memory shared with NumPy")
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_shares_memory_both_ways(dtype: str) -> None:
    x = np.arange(12).reshape(3, 4).astype(dtype)
    t = st.asarray(x)
    y = t.numpy()
    assert y.__array_interface__["data"] == x.__array_interface__["data"]
    x[0, 0] = 1
    y[2, 3] = 0
    assert_same(t.numpy(), x)
    t[1] = 1
    assert x[1].tolist() == [1, 1, 1, 1]
    view = t.mT[::-1, 1:]
    assert_same(view.numpy(), x.T[::-1, 1:])
    assert np.shares_memory(view.numpy(), x)
    assert_same(np.asarray(t), x)
    assert np.shares_memory(np.asarray(t), x)
    assert not np.shares_memory(np.array(t, copy=True), x)


@pytest.mark.host(reason="memory shared with NumPy")
def test_memory_lives_as_long_as_its_last_user() -> None:
    x = st.asarray(np.full(1000, 7.0))  # the array's only other owner is the tensor
    view = x[::2].numpy()
    del x
    junk = [st.zeros(1000, dtype="float64") for _ in range(20)]
    assert (view == 7).all()
    assert len(junk) == 20
    source = np.full(1000, 3.0)
    t = st.asarray(source)[10:].reshape(-1, 1)
    del source
    assert (t.numpy() == 3).all()
    again = np.zeros(3)
    before = sys.getrefcount(again)
    for _ in range(100):
        st.asarray(again).sum()
    assert sys.getrefcount(again) == before


@pytest.mark.host(reason="memory shared with NumPy")
def test_read_only_memory_stays_unchanged() -> None:
    x = np.zeros(3)
    x.flags.writeable = False
    t = st.asarray(x)
    for change in (lambda: t.add_(1.0), lambda: t.fill_(1.0), lambda: t.__setitem__(0, 1.0), lambda: t[1:].mul_(2.0)):
        with pytest.raises(ValueError, match="read-only: copy it before writing"):
            change()
    assert x.tolist() == [0, 0, 0]
    assert not t.numpy().flags.writeable
    leaf = st.zeros(2, requires_grad=True)
    assert not leaf.numpy().flags.writeable  # else backward could not see the change
    assert leaf.detach().numpy().flags.writeable
    assert_same(st.asarray(np.broadcast_to(1.0, (2, 3))).numpy() + 1, np.full((2, 3), 2.0))


@pytest.mark.host(reason="memory shared with other libraries")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_with_numpy(dtype: str) -> None:
    x = np.arange(12).reshape(3, 4).astype(dtype)
    t = st.from_dlpack(x)
    assert_same(t.numpy(), x)
    assert np.shares_memory(t.numpy(), x)
    assert_same(st.from_dlpack(x[::2, ::-1]).numpy(), x[::2, ::-1])
    back = np.from_dlpack(t.mT)
    assert_same(back, x.T)
    assert np.shares_memory(back, x)
    del t
    assert_same(back, x.T)
    assert st.zeros(2).__dlpack_device__() == (1, 0)
    assert_same(np.from_dlpack(st.zeros((0, 3))), np.zeros((0, 3), "f4"))
    assert_same(np.from_dlpack(st.tensor(2.5)), np.float32(2.5))
    assert st.from_dlpack(st.ones(2)).tolist() == [1, 1]


@pytest.mark.host(reason="memory shared with other libraries")
def test_dlpack_with_torch() -> None:
    torch = pytest.importorskip("torch")
    t = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    x = st.from_dlpack(t.T)
    assert x.numpy().__array_interface__["data"][0] == t.data_ptr()
    x[0, 1] = 50
    assert t[1, 0].item() == 50
    y = st.arange(4.0)
    back = torch.from_dlpack(y[::2])
    assert back.data_ptr() == y.numpy().__array_interface__["data"][0]
    back[1] = -1
    assert y.tolist() == [0, 1, -1, 3]
    del y
    assert back.tolist() == [0, -1]
    with pytest.raises(BufferError, match="requires a gradient"):
        torch.from_dlpack(st.ones(2, requires_grad=True))
    assert torch.from_dlpack(st.ones(2, requires_grad=True).detach()).tolist() == [1, 1]


def test_numpy_functions_and_operators_leave_the_graph_alone() -> None:
    x = st.tensor([1.0, 2.0], requires_grad=True)
    y = np.ones(2, "f4") * x + np.float32(2)  # the tensor's operator, not NumPy's
    assert isinstance(y, st.Tensor)
    assert y.requires_grad
    assert (np.array([[2.0, 0.0], [0.0, 2.0]], "f4") @ x).tolist() == [2, 4]
    assert np.asarray(x).tolist() == [1, 2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickle_and_copy(dtype: str) -> None:
    x = st.tensor(np.arange(6).reshape(2, 3).astype(dtype))
    for t in (x, x.T, x[:, 1], x[:0], x[0, 0]):
        for twin in (pickle.loads(pickle.dumps(t)), copy.copy(t), copy.deepcopy(t)):
            assert_same(twin.numpy(), t.numpy().copy())
            assert not shares(twin, t)
    if dtype.startswith("float"):
        p = st.nn.Parameter(np.ones(3, dtype))
        p.sum().backward()
        for twin in (pickle.loads(pickle.dumps(p)), copy.deepcopy(p)):
            assert (type(twin), twin.requires_grad, twin.tolist()) == (st.nn.Parameter, True, [1, 1, 1])
        assert copy.deepcopy(p).grad.tolist() == [1, 1, 1]
        frozen = st.nn.Parameter(np.ones(3, dtype), requires_grad=False)
        assert not pickle.loads(pickle.dumps(frozen)).requires_grad
    memo: dict[int, Any] = {}
    assert copy.deepcopy([x, x], memo)[0] is copy.deepcopy(x, memo)
    assert pickle.loads(pickle.dumps(st.float32)) is st.float32


# --- the allocator ----------------------------------------------------------------------------------------------------


@pytest.mark.host(reason="the allocator of the CPU's memory")
def test_memory_is_counted_and_reused() -> None:
    st.empty_cache()
    before = st.memory_stats()
    assert before["cached"] == 0
    x = st.zeros(1_000_000)
    during = st.memory_stats()
    assert 4_000_000 <= during["in_use"] - before["in_use"] <= 5_100_000  # blocks waste a quarter at most
    assert during["peak"] >= during["in_use"]
    del x
    after = st.memory_stats()
    assert after["in_use"] == before["in_use"]
    assert after["cached"] >= 4_000_000
    address = st.zeros(1_000_000).numpy().__array_interface__["data"][0]
    assert st.zeros(1_000_000).numpy().__array_interface__["data"][0] == address
    allocations = st.memory_stats()["system_allocations"]
    for _ in range(100):
        y = st.zeros(1000) + 1
        y = (y * y).sum()
    assert st.memory_stats()["system_allocations"] <= allocations + 10
    st.empty_cache()
    assert st.memory_stats()["cached"] == 0
    assert address % 64 == 0


def test_a_matrix_product_allocates_its_result_only(rng: np.random.Generator) -> None:
    a, b = (st.asarray(rng.standard_normal((400, 400))) for _ in "ab")
    before = memory_in_use()
    out = a.mT @ b
    assert out.size * 8 <= memory_in_use() - before <= out.size * 8 * 1.3


# --- threads ----------------------------------------------------------------------------------------------------------


def big_results(rng: np.random.Generator) -> list[Any]:
    x, y = (st.asarray(rng.standard_normal((301, 997)).astype("f4")) for _ in "xy")
    leaf = st.tensor(x, requires_grad=True)
    gradient = st.grad((st.gelu(leaf @ y.mT).sum(1) * st.softmax(leaf, 0).sum(1)).sum(), leaf)[0]
    return [
        *(st.exp(x), x + y[:1], st.where(x > 0, x, y.T[:1, :301].T), x[:, ::-2] * 2, st.pow(st.abs(x), y), gradient),
        *(st.concat([x, y], 1), st.take(x, st.arange(996, -1, -1), 1), x.astype("int32"), x.T.contiguous()),
    ]


def test_the_number_of_threads_does_not_change_a_bit(threads: None) -> None:
    results = []
    for n in (1, 2, 7):
        st.set_num_threads(n)
        assert st.get_num_threads() == n
        results.append([t.numpy() for t in big_results(np.random.default_rng(0))])
    for one, *others in zip(*results, strict=True):
        for other in others:
            assert_same(other, one)


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)
def test_workers_leave_the_core_of_their_caller() -> None:
    code = """
        import os, time
        import steep as st
        cores = sorted(os.sched_getaffinity(0))[:2]
        os.sched_setaffinity(0, cores)
        st.set_num_threads(2)
        x = st.ones((128, 128))
        before = set(os.listdir("/proc/self/task"))
        x @ x
        (worker,) = map(int, set(os.listdir("/proc/self/task")) - before)
        left = 0
        for i in range(40):  # the caller follows the worker
            core = cores[i % 2]
            os.sched_setaffinity(0, {core})
            for _ in range(2):
                time.sleep(0.002)  # the worker sleeps
                assert (x @ x).sum() == 128**3
            left += core not in os.sched_getaffinity(worker)
        print(left > 20)
    """
    assert run(code) == "True"


def test_many_python_threads_at_once(threads: None) -> None:
    """Results don't depend on who else computes; one thread's recording is its own."""
    st.set_num_threads(4)
    expected = [t.numpy() for t in big_results(np.random.default_rng(0))]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(3):
                for got, want in zip(big_results(np.random.default_rng(0)), expected, strict=True):
                    assert_same(got.numpy(), want)
                if number % 2:
                    with st.no_grad():
                        assert not (st.ones(1, requires_grad=True) * 2).requires_grad
                else:
                    assert (st.ones(1, requires_grad=True) * 2).requires_grad
        except BaseException as error:  # reported below: a thread's exception is lost otherwise
            failures.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_kernels_release_the_interpreter(threads: None) -> None:
    """While one thread is in a long product, another one runs Python."""
    st.set_num_threads(1)
    a = st.ones((1500, 1500), dtype="float64")
    ticks, done = [], threading.Event()

    def count() -> None:
        while not done.is_set():
            ticks.append(1)
            done.wait(0.001)

    worker = threading.Thread(target=count)
    worker.start()
    before = len(ticks)
    a @ a
    during = len(ticks) - before
    done.set()
    worker.join()
    assert during > 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_with_running_threads() -> None:
    output = run("""
        import os, warnings, numpy as np, steep as st
        warnings.simplefilter("ignore")  # Python warns of forks of processes with threads: this is about ours

        st.set_num_threads(4)
        x = st.asarray(np.random.default_rng(0).standard_normal((600, 600)))
        expected = (st.exp(x) @ x).numpy()  # the workers run
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                same = np.array_equal((st.exp(x) @ x).numpy(), expected) and st.get_num_threads() == 4
                os._exit(0 if same and st.zeros(10**6).sum().item() == 0 else 1)
            assert np.array_equal((st.exp(x) @ x).numpy(), expected)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        print("ok")
    """)
    assert output == "ok"


def test_multiprocessing_by_fork() -> None:
    output = run("""
        import multiprocessing, warnings, steep as st
        warnings.simplefilter("ignore")

        def work(seed):
            st.manual_seed(seed)
            return st.random.normal((300, 300)) @ st.ones((300, 300))

        if __name__ == "__main__":
            first = work(3)
            with multiprocessing.get_context("fork").Pool(2) as pool:
                results = pool.map(work, range(6))
            print(bool((results[3] == first).all()), [type(r).__name__ for r in results[:1]])
    """)
    assert output == "True ['Tensor']"
