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
    with pytest.raises(ValueError, match=rf"{name}: 'out' overlaps an input"):
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


def test_huge_unsigned_indices_are_out_of_range() -> None:
    x, huge = st.arange(6).reshape(2, 3), st.tensor([2**64 - 1, 0], dtype="uint64")
    for call in (
        lambda: x[huge],
        lambda: x[:, huge],
        lambda: st.take(x, huge, 0),
        lambda: st.gather(x, 1, huge.reshape(2, 1)),
        lambda: st.take_along_axis(x, huge.reshape(1, 2)[:, :1].broadcast_to((2, 1)), 1),
        lambda: st.scatter(x, 1, huge.reshape(2, 1), x[:, :1]),
        lambda: st.index_add(x, 0, huge, x),
    ):
        with pytest.raises(IndexError, match="index 18446744073709551615 is out of range"):
            call()
    before = x.tolist()
    with pytest.raises(IndexError, match="18446744073709551615"):
        x[huge] = 0
    assert x.tolist() == before
    assert x[st.tensor([1, 0], dtype="uint64")].tolist() == before[::-1]


@pytest.mark.host(reason="memory shared with NumPy")
@pytest.mark.parametrize("name", [n for n in st.optim.__all__ if n not in ("Optimizer", "schedules")])
def test_no_failed_step_changes_a_parameter(name: str) -> None:
    frozen = np.ones(2, "float32")
    frozen.flags.writeable = False
    w, p = st.nn.Parameter([1.0, 2.0]), st.nn.Parameter(st.asarray(frozen))
    optimizer = getattr(st.optim, name)([w, p], lr=0.1)
    w.grad, p.grad = st.ones(2), st.ones(2)
    with pytest.raises(ValueError, match="this tensor's memory is read-only"):
        optimizer.step()
    assert w.tolist() == [1, 2]
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("name", [n for n in st.optim.__all__ if n not in ("Optimizer", "schedules")])
def test_states_that_are_none(name: str) -> None:
    def made():
        w = st.ones(3, requires_grad=True)
        w.grad = st.ones(3)
        return getattr(st.optim, name)([w], lr=0.1)

    trained = made()
    trained.step()
    good = trained.state_dict()
    group, optimizer = good["param_groups"][0], made()
    before = str(optimizer.state_dict())
    for options in ({"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -1.0}):
        with pytest.raises(ValueError, match=rf"{name}: .* must not be negative"):
            optimizer.load_state_dict({**good, "param_groups": [{**group, **options}]})
    with pytest.raises(TypeError, match=rf"{name}: lr must be a number, not 'x'"):
        optimizer.load_state_dict({**good, "param_groups": [{**group, "lr": "x"}]})
    for step in (-5, "a", None, float("nan"), 2**70, [1]):
        with pytest.raises(ValueError, match=rf"{name}.load_state_dict: step=.* must be a number of steps"):
            optimizer.load_state_dict({**good, "state": {0: {**good["state"][0], "step": step}}})
    for wrong in (
        None,
        {},
        {"state": {}},
        {**good, "state": [1]},
        {**good, "state": {0: 5}},
        {**good, "param_groups": None},
        {**good, "param_groups": [5]},
        {**good, "param_groups": [{"lr": 1.0}]},
    ):
        with pytest.raises(TypeError, match=rf"{name}.load_state_dict: expected what an optimizer's state_dict"):
            optimizer.load_state_dict(wrong)
    assert str(optimizer.state_dict()) == before
    optimizer.load_state_dict(good)


def test_options_that_are_no_numbers() -> None:
    w = st.ones(3, requires_grad=True)
    for options, message in (
        ({"lr": "a"}, "lr must be a number, not 'a'"),
        ({"lr": None}, "lr must be a number, not None"),
        ({"lr": 1j}, "lr must be a number, not 1j"),
        ({"betas": 0.9}, "betas=0.9 must be a pair"),
        ({"betas": (0.9, 0.99, 0.999)}, "must be a pair"),
        ({"betas": (0.9, "b")}, "betas must be a number, not 'b'"),
    ):
        with pytest.raises(TypeError, match=f"Adam: .*{message}"):
            st.optim.Adam([w], **options)
    st.optim.Adam([w], lr=np.float32(0.1))
    st.optim.Adam([w], lr=st.tensor(0.1))


def test_huge_numbers_of_repetitions() -> None:
    for repeats in (2**62, [2**62] * 4, st.tensor([2**62] * 4), st.tensor([2**64 - 1] * 4, dtype="uint64")):
        with pytest.raises(MemoryError, match=r"repeat: .*e\+\d\d elements along an axis are more than any machine"):
            st.repeat(st.ones(4), repeats)


def test_huge_arguments() -> None:
    x = st.ones((3, 3))
    for k in (2**70, -(2**70)):
        with pytest.raises(ValueError, match=r"topk: k=.* must be from 0 to 3"):
            st.topk(x, k)
        with pytest.raises(ValueError, match=r"one_hot: num_classes=.* must be the number of classes"):
            st.one_hot([0], k)
        assert float(st.trace(x, k)) == 0
        assert st.diagonal(x, k).shape == (0,)
    for last in (-(2**63), 2**63 - 1):
        assert st.diagonal(x, last).shape == (0,)
    for call in (lambda: st.arange(300, dtype="int8"), lambda: st.arange(0.0, -3.0, -1, dtype="uint8")):
        with pytest.raises(OverflowError, match=r"arange: (299|-2) does not fit in u?int8"):
            call()
    assert st.arange(126, 128, dtype="int8").tolist() == [126, 127]


def test_a_failed_batch_norm_changes_no_running_value() -> None:
    frozen = st.ones(1).broadcast_to((2,))
    mean = st.zeros(2)
    with pytest.raises(ValueError, match="batch_norm: several elements"):
        st.batch_norm(st.arange(6).reshape(3, 2).astype("float32"), mean, frozen, training=True)
    assert mean.tolist() == [0, 0]


@pytest.mark.parametrize("state", [None, [1], "weights.npz", st.ones(2)])
def test_states_of_modules_that_are_none(state: object) -> None:
    with pytest.raises(TypeError, match=r"Linear.load_state_dict: expected a dict of tensors by path"):
        st.nn.Linear(2, 2).load_state_dict(state)
