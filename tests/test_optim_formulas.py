"""Optimizers written with tensor operations: against PyTorch, and the papers' formulas in NumPy; their state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim
from steep.optim.formula import Formula
from test_optim import START, gradients, tensors, train

CASES: list[tuple[str, dict[str, Any]]] = [
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True, "eps": 1e-4}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "weight_decay": 0.1, "eps": 1e-4}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
]
PAPERS: list[tuple[str, dict[str, Any]]] = [
    ("LAMB", {}),
    ("LAMB", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.0}),
    ("LAMB", {"lr": 0.1, "weight_decay": 0.3}),
    ("Lion", {}),
    ("Lion", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.3}),
]
BOTH = [*CASES, *PAPERS]


def ids(cases: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return ["-".join((name, *options)) for name, options in cases]


@pytest.fixture
def torch() -> Any:
    """PyTorch with float64 as its default: NAdam keeps a number in it."""
    library = pytest.importorskip("torch")
    library.set_default_dtype(library.float64)
    yield library
    library.set_default_dtype(library.float32)


@pytest.mark.parametrize(("name", "options"), CASES, ids=ids(CASES))
def test_every_step_is_pytorchs(name: str, options: dict[str, Any], torch: Any) -> None:
    params = tensors(st.float64)
    others = [torch.tensor(x, requires_grad=True) for x in START]
    ours, theirs = getattr(optim, name)(params, **options), getattr(torch.optim, name)(others, **options)
    for step in range(20):
        train(ours, params, range(step, step + 1))
        for p, g in zip(others, gradients(step), strict=True):
            p.grad = None if g is None else torch.tensor(g)
        theirs.step()
        for p, other in zip(params, others, strict=True):
            np.testing.assert_allclose(p.numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-12)
    state, right = ours.state_dict()["state"], theirs.state_dict()["state"]
    for number, entry in right.items():
        assert set(state[number]) == set(entry)
        for key, value in entry.items():
            np.testing.assert_allclose(state[number][key], value, rtol=1e-12, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_defaults_are_pytorchs(name: str, torch: Any) -> None:
    theirs = getattr(torch.optim, name)([torch.ones(1, requires_grad=True)]).param_groups[0]
    ours = getattr(optim, name)([st.ones(1, requires_grad=True)]).param_groups[0]
    own = ("params", "master_weights")  # PyTorch has no float32 copies of 16-bit parameters
    assert {key: value for key, value in ours.items() if key not in own} == {
        key: theirs[key] for key in ours if key not in own
    }


def lamb(p: Any, g: Any, s: dict[str, Any], t: int, o: dict[str, Any]) -> Any:
    """You et al. 2020, algorithm 2."""
    b1, b2 = o.get("betas", (0.9, 0.999))
    s["m"] = b1 * s["m"] + (1 - b1) * g
    s["v"] = b2 * s["v"] + (1 - b2) * g**2
    r = s["m"] / (1 - b1**t) / (np.sqrt(s["v"] / (1 - b2**t)) + o.get("eps", 1e-6))
    u = r + o.get("weight_decay", 0.01) * p
    return p - o.get("lr", 1e-3) * np.sqrt((p**2).sum()) / np.sqrt((u**2).sum()) * u


def lion(p: Any, g: Any, s: dict[str, Any], t: int, o: dict[str, Any]) -> Any:
    """Chen et al. 2023, algorithm 2."""
    b1, b2 = o.get("betas", (0.9, 0.99))
    c = b1 * s["m"] + (1 - b1) * g
    s["m"] = b2 * s["m"] + (1 - b2) * g
    return p - o.get("lr", 1e-4) * (np.sign(c) + o.get("weight_decay", 0.0) * p)


@pytest.mark.parametrize(("name", "options"), PAPERS, ids=ids(PAPERS))
@pytest.mark.parametrize(("dtype", "rtol"), [(st.float64, 1e-12), (st.float32, 1e-4)])
def test_every_step_is_the_papers(name: str, options: dict[str, Any], dtype: Any, rtol: float) -> None:
    params, expected = tensors(dtype), [x.copy() for x in START]
    optimizer = getattr(optim, name)(params, **options)
    states: list[dict[str, Any]] = [{"m": 0 * x, "v": 0 * x} for x in START]
    counts = [0] * len(START)
    for step in range(20):
        train(optimizer, params, range(step, step + 1))
        for i, g in enumerate(gradients(step)):
            if g is not None:
                counts[i] += 1
                expected[i] = {"LAMB": lamb, "Lion": lion}[name](expected[i], g, states[i], counts[i], options)
        for p, right in zip(params, expected, strict=True):
            np.testing.assert_allclose(p.numpy(), right, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("name", "options"), BOTH, ids=ids(BOTH))
def test_state_continues_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    straight = tensors(st.float32)
    train(getattr(optim, name)(straight, **options), straight, range(8))
    first = tensors(st.float32)
    optimizer = getattr(optim, name)(first, **options)
    train(optimizer, first, range(5))
    state = optimizer.state_dict()
    second = [p.detach().copy().requires_grad_() for p in first]
    train(optimizer, first, range(5, 6))  # the snapshot stays what it was
    resumed = getattr(optim, name)(second, lr=123.0)
    resumed.load_state_dict(state)
    assert resumed.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    train(resumed, second, range(5, 8))
    assert all((a == b).all() for a, b in zip(straight, second, strict=True))


@pytest.mark.parametrize(("name", "options"), BOTH, ids=ids(BOTH))
def test_state_of_pytorch_loads(name: str, options: dict[str, Any], torch: Any) -> None:
    if not hasattr(torch.optim, name):
        return
    others = [torch.tensor(x, requires_grad=True) for x in START]
    theirs = getattr(torch.optim, name)(others, **options)

    def step(number: int) -> None:
        for p, g in zip(others, gradients(number), strict=True):
            p.grad = None if g is None else torch.tensor(g)
        theirs.step()

    for number in range(5):
        step(number)
    params = [st.tensor(p.detach().numpy().copy(), requires_grad=True) for p in others]
    ours = getattr(optim, name)(params)
    ours.load_state_dict(theirs.state_dict())
    for number in range(5, 8):
        step(number)
    train(ours, params, range(5, 8))
    for p, other in zip(params, others, strict=True):
        np.testing.assert_allclose(p.numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted({name for name, _ in BOTH}))
def test_groups_shapes_and_moves(name: str) -> None:
    make = getattr(optim, name)
    a, b, c = (st.tensor(x, requires_grad=True) for x in (np.ones((2, 3)), np.array(2.0), np.zeros((0, 3))))
    optimizer = make([{"params": [a, c]}, {"params": b, "lr": 0.0}], lr=0.1)
    frozen = st.ones(3, requires_grad=True)
    optimizer.add_param_group({"params": [frozen]})
    for _ in range(2):
        a.grad, b.grad, c.grad = st.ones_like(a.detach()), st.ones_like(b.detach()), st.zeros_like(c.detach())
        optimizer.step()
    assert (a.detach() != 1).all()
    assert b.item() == 2
    assert (frozen == 1).all()
    model = nn.Linear(3, 2)
    optimizer = make(model.parameters())
    for dtype in (st.float32, st.float64, st.float32):  # the state follows
        model.to(dtype)
        optimizer.zero_grad()
        model(st.ones((4, 3), dtype=dtype)).sum().backward()
        optimizer.step()
        assert {x.dtype for tensors in optimizer._state[0].values() for x in tensors} == {dtype}


@pytest.mark.parametrize("name", sorted({name for name, _ in BOTH}))
def test_a_step_records_nothing_and_is_seen_by_graphs(name: str) -> None:
    w = st.tensor([1.0, -2.0], requires_grad=True)
    loss = (w * w).sum()
    loss.backward(create_graph=True)
    optimizer = getattr(optim, name)([w])
    optimizer.step()
    assert w.is_leaf
    assert all(not x.requires_grad for tensors in optimizer._state[0].values() for x in tensors)
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_zero_norms_of_lamb() -> None:
    w, v = st.zeros(3, requires_grad=True), st.ones(3, requires_grad=True)
    optimizer = optim.LAMB([w, v], lr=0.1, weight_decay=0.0)
    w.grad, v.grad = st.ones(3), st.zeros(3)
    optimizer.step()
    np.testing.assert_allclose(w.numpy(), -0.1, rtol=1e-4)  # at a ratio of 1
    assert (v == 1).all()


def test_a_constant_gradient_centred_stays_finite() -> None:
    w = st.ones(100, requires_grad=True)
    optimizer = optim.RMSprop([w], centered=True)
    for _ in range(200):  # whose variance comes to 0, and by rounding below it
        w.grad = st.linspace(0.1, 3.0, 100)
        optimizer.step()
    assert np.isfinite(w.detach().numpy()).all()


@pytest.mark.parametrize(
    ("name", "lr"),
    [("rmsprop", 0.01), ("adagrad", 0.3), ("adadelta", 3.0), ("adamax", 0.03), ("nadam", 0.03), ("lamb", 0.03),
     ("lion", 0.003), ("RMSprop", 0.01)],
)  # fmt: skip
def test_by_name_in_fit(name: str, lr: float) -> None:
    x = st.linspace(-1, 1, 64).reshape(64, 1)
    model = nn.Sequential(nn.Linear(1, 16, activation="tanh"), nn.Linear(16, 1))
    model.compile(name, "mse")
    model.optimizer.param_groups[0]["lr"] = lr
    assert type(model.optimizer).__name__.lower() == name.lower()
    history = model.fit(x, 2 * x + 1, epochs=60, batch_size=8, verbose=0)
    assert history["loss"][-1] < history["loss"][0] / 10


def test_bad_options_raise() -> None:
    w = st.ones(3, requires_grad=True)
    for make, message in (
        (lambda: optim.RMSprop([w], alpha=1.5), "RMSprop: alpha=1.5 must be between 0 and 1"),
        (lambda: optim.RMSprop([w], momentum=-1), "RMSprop: momentum=-1 must not be negative"),
        (lambda: optim.RMSprop([w], lr=-1), "RMSprop: lr=-1 must not be negative"),
        (lambda: optim.Adagrad([w], lr_decay=-1), "Adagrad: lr_decay=-1 must not be negative"),
        (lambda: optim.Adagrad([w], initial_accumulator_value=-1), "initial_accumulator_value=-1 must not be negative"),
        (lambda: optim.Adadelta([w], rho=-0.1), "Adadelta: rho=-0.1 must be between 0 and 1"),
        (lambda: optim.Adamax([w], betas=(1.0, 0.9)), r"Adamax: betas=\(1.0, 0.9\) must be at least 0"),
        (lambda: optim.NAdam([w], momentum_decay=-1), "NAdam: momentum_decay=-1 must not be negative"),
        (lambda: optim.LAMB([w], eps=-1), "LAMB: eps=-1 must not be negative"),
        (lambda: optim.Lion([{"params": [w], "betas": (0.9, 1.0)}]), "Lion: betas="),
        (lambda: optim.Lion([{"params": [w], "eps": 1.0}]), "Lion has no option 'eps': it has lr, betas, weight_decay"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    w.grad = st.ones(3)
    bare = Formula([w], {"lr": 1.0, "weight_decay": 0.0})
    with pytest.raises(NotImplementedError, match=r"Formula needs a method _change"):
        bare.step()


def test_state_of_other_shapes_is_refused() -> None:
    w, v = st.ones(3, requires_grad=True), st.ones(2, requires_grad=True)
    ours, other = optim.NAdam([w]), optim.NAdam([v])
    v.grad = st.ones(2)
    other.step()
    with pytest.raises(ValueError, match=r"NAdam.load_state_dict: exp_avg has shape \(2,\), its parameter \(3,\)"):
        ours.load_state_dict(other.state_dict())
    state = other.state_dict()
    state["state"][0]["mu_product"] = st.ones(2)
    with pytest.raises(ValueError, match=r"NAdam.load_state_dict: mu_product has shape \(2,\), not \(\)"):
        other.load_state_dict(state)
