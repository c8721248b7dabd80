"""What hostile use must not break: memory of others, borrowed gradients, half-done updates."""

import functools
import pickle
import subprocess
import sys

import numpy as np
import pytest

import steep as st
from steep import kernels


class Kept(st.autograd.Function):
    """Its backward returns a tensor that it keeps."""

    kept = st.ones(3)

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return Kept.kept


def test_a_gradient_that_somebody_holds_is_copied() -> None:
    x = st.zeros(3, requires_grad=True)
    y = Kept.apply(x)
    for _ in range(4):
        y.backward(st.ones(3), retain_graph=True)
    assert x.grad.tolist() == [4, 4, 4]
    assert Kept.kept.tolist() == [1, 1, 1]


def test_a_function_may_return_a_tensor_that_is_not_its_own() -> None:
    w = st.nn.Parameter([1.0, 2.0])

    class Given(st.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return w

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = st.zeros(2, requires_grad=True)
    y = Given.apply(x)
    (w * w).sum().backward()
    assert w.is_leaf
    assert w.grad.tolist() == [2, 4]
    assert x.grad is None
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_a_vjp_without_a_name_names_its_type() -> None:
    x = st.ones(2, requires_grad=True)
    saved = st.ones(2)
    y = st.autograd.record(st.ones(2), functools.partial(lambda g, s: (g * s,)), (x,), (saved,))
    saved.add_(1)
    with pytest.raises(RuntimeError, match="'partial' needs a tensor that has been changed in place"):
        y.sum().backward()


def test_requires_grad_must_be_a_truth_value() -> None:
    x = st.ones(2)
    with pytest.raises(ValueError, match="ambiguous"):
        x.requires_grad = np.ones(2)
    assert not x.requires_grad


@pytest.mark.host(reason="memory shared with NumPy")
def test_read_only_memory_is_not_exported() -> None:
    x = np.zeros(4)
    x.flags.writeable = False
    t = st.asarray(x)
    with pytest.raises(BufferError, match="read-only"):
        t.__dlpack__()
    np.from_dlpack(t.detach().copy())


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_kernels_refuse_an_output_beside_its_input(name: str) -> None:
    x = np.arange(20.0).reshape(5, 4)
    before = x.copy()
    with pytest.raises(ValueError, match=f"{name}: 'out' overlaps an input"):
        getattr(kernels, name)(x[:-1], out=x[1:])
    assert (x == before).all()
    getattr(kernels, name)(x, out=x)
    np.testing.assert_allclose(x, getattr(st, name)(st.tensor(before)).numpy(), rtol=1e-15)


def test_integers_are_never_rounded_or_wrapped() -> None:
    x = st.zeros(1, dtype="int64")
    assert x.fill_(2**53 + 1).item() == 2**53 + 1
    for call in (
        lambda: x.fill_(2**70),
        lambda: x.fill_(float("nan")),
        lambda: st.tensor([2**40], dtype="int32"),
        lambda: st.full(2, 2**40, dtype="int32"),
        lambda: st.arange(2**63),
        lambda: st.tensor(2**63),
    ):
        with pytest.raises(OverflowError, match="fit in int"):
            call()


@pytest.mark.host(reason="memory shared with NumPy")
def test_a_failed_step_changes_no_parameter() -> None:
    frozen = np.ones(2, "float32")
    frozen.flags.writeable = False
    w, p = st.nn.Parameter([1.0, 2.0]), st.nn.Parameter(st.asarray(frozen))
    optimizer = st.optim.Adam([w, p])
    w.grad, p.grad = st.ones(2), st.ones(2)
    with pytest.raises(ValueError, match="Adam: this tensor's memory is read-only"):
        optimizer.step()
    assert w.tolist() == [1, 2]
    assert optimizer.state_dict() == st.optim.Adam([w, p]).state_dict()


def test_a_module_cannot_contain_itself() -> None:
    model = st.nn.Sequential()
    with pytest.raises(ValueError, match="cannot contain itself"):
        model.append(model)


def test_predict_checks_the_number_of_outputs() -> None:
    class Mean(st.nn.Module):
        def forward(self, x):
            return x.mean(0, keepdims=True)

    with pytest.raises(ValueError, match=r"predict: Mean returned shape \(1, 2\) for 2 samples"):
        Mean().predict(np.arange(6.0).reshape(3, 2), batch_size=2)


def test_a_compiled_model_can_be_pickled() -> None:
    model = st.nn.Sequential(st.nn.Linear(2, 1))
    model.compile("adam", "bce_with_logits", metrics=["accuracy"])
    x = st.ones(3, 2)
    assert pickle.loads(pickle.dumps(model))(x).tolist() == model(x).tolist()


def test_no_grad_refuses_generators() -> None:
    with pytest.raises(TypeError, match="cannot decorate a generator"):

        @st.no_grad()
        def numbers():
            yield 1


def test_fork_survives_a_broken_environment() -> None:
    program = """
import os, steep as st
os.environ["STEEP_NUM_THREADS"] = "junk"
x = st.ones(1_000_000)
if (child := os.fork()) == 0:
    os._exit(0 if float(x.sum()) == 1_000_000 else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], check=True, timeout=60)
