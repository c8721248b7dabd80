"""Optimizers: their formulas over many steps, state, groups and errors."""

from typing import Any

import numpy as np
import pytest

import steep as st
from steep import _core, nn, optim

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
]
IDS = [f"{name}-{'-'.join(map(str, options))}" for name, options in CASES]
START = [np.linspace(-1, 1, 35).reshape(5, 7), np.array([0.5]), np.linspace(2, 3, 130)]


def gradients(step: int) -> list[np.ndarray]:
    """Some gradients; the second tensor has none in the first and the fourth step."""
    rng = np.random.default_rng(step)
    values: list[Any] = [rng.normal(size=x.shape) for x in START]
    if step in (0, 3):
        values[1] = None
    return values


def reference(name: str, options: dict[str, Any], steps: int) -> list[np.ndarray]:
    """The papers' formulas in NumPy and float64."""
    params = [x.copy() for x in START]
    m, v, t = [np.zeros_like(x) for x in params], [np.zeros_like(x) for x in params], [0] * len(params)
    o = {"lr": 1e-2 if name == "SGD" else 1e-3, "weight_decay": 1e-2 if name == "AdamW" else 0.0, **options}
    for step in range(steps):
        for i, g in enumerate(gradients(step)):
            if g is None:
                continue
            t[i] += 1
            p = params[i]
            if name == "AdamW":
                p = p * (1 - o["lr"] * o["weight_decay"])
            else:
                g = g + o["weight_decay"] * p
            if name == "SGD":
                momentum = o.get("momentum", 0.0)
                m[i] = g if t[i] == 1 else momentum * m[i] + (1 - o.get("dampening", 0.0)) * g
                direction = g + momentum * m[i] if o.get("nesterov") else m[i] if momentum else g
                params[i] = p - o["lr"] * direction
            else:
                b1, b2 = o.get("betas", (0.9, 0.999))
                m[i] = b1 * m[i] + (1 - b1) * g
                v[i] = b2 * v[i] + (1 - b2) * g * g
                mean, square = m[i] / (1 - b1 ** t[i]), v[i] / (1 - b2 ** t[i])
                params[i] = p - o["lr"] * mean / (np.sqrt(square) + o.get("eps", 1e-8))
    return params


def tensors(dtype: Any) -> list[st.Tensor]:
    return [st.tensor(x, dtype=dtype, requires_grad=True) for x in START]


def train(optimizer: optim.Optimizer, params: list[st.Tensor], steps: range) -> None:
    for step in steps:
        for p, g in zip(params, gradients(step), strict=True):
            p.grad = None if g is None else st.tensor(g, dtype=p.dtype)
        optimizer.step()


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize(("dtype", "rtol"), [(st.float64, 1e-12), (st.float32, 1e-5)])
def test_trajectory(name: str, options: dict[str, Any], dtype: Any, rtol: float) -> None:
    params = tensors(dtype)
    train(getattr(optim, name)(params, **options), params, range(20))
    for p, expected in zip(params, reference(name, options, 20), strict=True):
        np.testing.assert_allclose(p.numpy(), expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_trajectory_is_pytorchs(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    params = tensors(st.float64)
    train(getattr(optim, name)(params, **options), params, range(10))
    others = [torch.tensor(x, requires_grad=True) for x in START]
    optimizer = getattr(torch.optim, name)(others, **options)
    for step in range(10):
        for p, g in zip(others, gradients(step), strict=True):
            p.grad = None if g is None else torch.tensor(g)
        optimizer.step()
    for p, other in zip(params, others, strict=True):
        np.testing.assert_allclose(p.numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
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


def test_state_dict_is_laid_out_as_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    params = tensors(st.float64)
    optimizer = optim.Adam(params)
    train(optimizer, params, range(2))
    state = optimizer.state_dict()
    assert state["param_groups"][0]["params"] == [0, 1, 2]
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    others = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in params]
    other = torch.optim.Adam(others)
    for step in range(2):
        for p, g in zip(others, gradients(step), strict=True):
            p.grad = None if g is None else torch.tensor(g)
        other.step()
    fresh = optim.Adam(params)
    fresh.load_state_dict(other.state_dict())
    for i, entry in fresh.state_dict()["state"].items():
        assert entry["step"] == state["state"][i]["step"]
        np.testing.assert_allclose(entry["exp_avg_sq"].numpy(), state["state"][i]["exp_avg_sq"].numpy(), rtol=1e-12)


def test_groups_have_their_own_options() -> None:
    a, b = st.ones(1, requires_grad=True), st.ones(1, requires_grad=True)
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    for p in (a, b):
        p.grad = st.ones(1)
    optimizer.step()
    assert (a.item(), b.item()) == (pytest.approx(0.9), pytest.approx(0.5))
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    assert a.item() == pytest.approx(-0.1)
    optimizer.zero_grad()
    assert a.grad is None
    c = st.ones(1, requires_grad=True)
    optimizer.add_param_group({"params": [c], "momentum": 0.9})
    c.grad = st.ones(1)
    optimizer.step()
    assert c.item() == pytest.approx(0.9)
    assert repr(optimizer).count("1 parameters: lr=") == 3


def test_frozen_parameters_stay() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    optimizer = optim.Adam(model.parameters())
    before = model.state_dict()
    model(st.ones(4, 2)).sum().backward()
    optimizer.step()
    after = model.state_dict()
    assert (before["0.weight"] == after["0.weight"]).all()
    assert (before["1.weight"] != after["1.weight"]).all()


def test_an_update_while_the_graph_needs_the_weights_raises() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss = model(st.ones(1, 2)).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_a_step_without_gradients_warns() -> None:
    optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"SGD.step\(\): no parameter has a gradient. Call loss.backward\(\) first"):
        optimizer.step()


def test_parameters_that_cannot_be_trained_raise() -> None:
    w = st.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match=r"Adam got no parameters: does the model register any\?"):
        optim.Adam([])
    with pytest.raises(TypeError, match=r"Adam: pass the model's parameters, model.parameters\(\), not the model"):
        optim.Adam(nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"SGD: pass a list of tensors, not one tensor: \[w\]"):
        optim.SGD(w, lr=0.1)
    with pytest.raises(TypeError, match="Adam: parameter 1 is a ndarray, not a Tensor"):
        optim.Adam([w, np.ones(3)])
    with pytest.raises(TypeError, match="parameter 0 has dtype int64"):
        optim.Adam([st.arange(3)])
    with pytest.raises(ValueError, match="parameter 0 is the result of 'multiply', which no update would reach"):
        optim.Adam([w * 2])
    with pytest.raises(ValueError, match=r"parameter 0 does not require a gradient: set p.requires_grad = True"):
        optim.Adam([st.ones(3)])
    with pytest.raises(ValueError, match=r"parameter 1 \(of shape \(3,\)\) is given twice"):
        optim.Adam([w, w])
    with pytest.raises(ValueError, match="given twice"):
        optim.Adam([{"params": [w]}, {"params": [w]}])


def test_bad_options_raise() -> None:
    w = st.ones(3, requires_grad=True)
    for make, message in (
        (lambda: optim.SGD([w], lr=-1), "SGD: lr=-1 must not be negative"),
        (lambda: optim.SGD([w], lr=float("nan")), "lr=nan must not be negative"),
        (lambda: optim.SGD([w], lr=1, momentum=-1), "momentum=-1 must not be negative"),
        (lambda: optim.SGD([w], lr=1, nesterov=True), "nesterov=True needs a momentum above 0"),
        (lambda: optim.Adam([w], betas=(0.9, 1.0)), r"betas=\(0.9, 1.0\) must be at least 0 and less than 1"),
        (lambda: optim.AdamW([w], weight_decay=-1), "AdamW: weight_decay=-1 must not be negative"),
        (lambda: optim.Adam([{"params": [w], "rate": 1}]), "Adam has no option 'rate': it has lr, betas, eps"),
        (lambda: optim.Adam([{"params": []}]), "group 0 has no parameters"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.RMSprop])
def test_groups_that_were_changed_by_hand(make: Any) -> None:
    params = [st.ones(3, requires_grad=True) for _ in range(2)]
    for p in params:
        p.grad = st.ones(3)
    optimizer = make([{"params": params[:1]}, {"params": params[1:]}], lr=0.1)
    optimizer.step()
    groups, before = [*optimizer.param_groups], [p.tolist() for p in params]
    for changed in ([*params], [], tuple(params[:1]), iter(params[:1]), params[0]):
        groups[0]["params"] = changed
        with pytest.raises(ValueError, match=r"step: the params of group 0 .* list of 1 tensors .* add_param_group"):
            optimizer.step()
    groups[0]["params"] = params[:1]
    for lr in ("0.1", None):
        groups[0]["lr"] = lr
        with pytest.raises(TypeError, match=f"{make.__name__}: lr must be a number"):
            optimizer.step()
    groups[0]["lr"] = 0.1
    for kept in (groups[1:], [*groups, groups[0]]):  # the second would be trained with the state of the first
        optimizer.param_groups[:] = kept
        with pytest.raises(ValueError, match=rf"param_groups holds {len(kept)} groups, and state is kept for 2"):
            optimizer.step()
    assert [p.tolist() for p in params] == before
    optimizer.param_groups[:] = groups
    optimizer.step()


def test_the_engine_counts_what_belongs_to_parameters() -> None:
    p = st.ones(3, requires_grad=True)
    p.grad = st.ones(3)
    kept, params = [st.zeros(3), st.zeros(3)], [p, p]
    for lists in ((kept[:1], kept, [1, 1]), (kept, [], [1, 1]), (kept, kept, []), (kept, kept, [1] * 3)):
        with pytest.raises(ValueError, match="for 2 parameters"):
            _core.adam(params, *lists, 0.1, 0.9, 0.9, 1e-8, 0.0, False)
    for momenta, first in ((kept[:1], [True, True]), (kept, [True])):
        with pytest.raises(ValueError, match="for 2 parameters"):
            _core.sgd(params, momenta, first, 0.1, 0.9, 0.0, 0.0, False)
    assert p.tolist() == [1.0] * 3


def test_load_state_dict_changes_nothing_if_it_does_not_fit() -> None:
    w = st.ones(3, requires_grad=True)
    optimizer = optim.Adam([w], lr=0.5)
    v = st.ones(2, requires_grad=True)
    other = optim.Adam([v], lr=0.1)
    v.grad = st.ones(2)
    other.step()
    with pytest.raises(ValueError, match=r"exp_avg has shape \(2,\), its parameter \(3,\)"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.5
    two = optim.Adam([w, v])
    with pytest.raises(ValueError, match=r"the groups have \[1\] parameters, this optimizer's \[2\]"):
        two.load_state_dict(other.state_dict())
