"""Hooks of tensors and modules, against PyTorch's."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import assert_same

X = [[1.0, -2.0], [3.0, 0.5]]


def leaf(values: Any = X) -> st.Tensor:
    return st.tensor(values, requires_grad=True)


# --- tensors ----------------------------------------------------------------------------------------------------------


def test_a_leafs_hook_sees_the_sum_once() -> None:
    x, seen = leaf(), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * x).sum().backward()
    expected = (2 + 2 * np.array(X)).tolist()
    assert seen == [expected]
    assert x.grad.tolist() == expected
    (x * 3).sum().backward()
    assert len(seen) == 2
    assert seen[1] == [[3, 3], [3, 3]]  # what came, not what has been added up
    assert x.grad.tolist() == (np.array(expected) + 3).tolist()


def test_a_leafs_hook_replaces_the_gradient() -> None:
    x = leaf()
    handle = x.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    x.sum().backward()
    assert x.grad.tolist() == [[11, 11], [11, 11]]
    handle.remove()
    handle.remove()
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [[2, 2], [2, 2]]


def test_hooks_of_computed_tensors_change_what_goes_on() -> None:
    x = leaf()
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 100)
    (y + y).sum().backward()
    assert seen == [[[2, 2], [2, 2]]]
    assert x.grad.tolist() == [[400, 400], [400, 400]]


def test_hooks_in_grad() -> None:
    x = leaf()
    y = x * 2
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    gx, gy = st.grad(y.sum(), [x, y])
    assert gy.tolist() == [[10, 10], [10, 10]]
    assert gx.tolist() == [[21, 21], [21, 21]]
    assert x.grad is None
    other = leaf()
    other.register_hook(lambda g: pytest.fail("its gradient was not asked for"))
    st.grad((x * other).sum(), x)


def test_hooks_with_create_graph() -> None:
    x = st.tensor(3.0, requires_grad=True)
    x.register_hook(lambda g: g * x)  # 3x²·x
    (g,) = st.grad(x**3, x, create_graph=True)
    assert g.item() == 81
    x._hooks.clear()
    (h,) = st.grad(g, x)
    assert h.item() == pytest.approx(9 * 3.0**2)
    x.grad = None
    y = x * x
    y.register_hook(lambda g: g * g)
    y.backward(st.tensor(2.0), create_graph=True)
    assert x.grad.item() == 4 * 6
    assert x.grad.requires_grad


def test_removal_inside_a_hook_and_as_a_context() -> None:
    x, calls = leaf(), []

    def once(g: st.Tensor) -> None:
        calls.append("once")
        handle.remove()

    handle = x.register_hook(once)
    x.register_hook(lambda g: calls.append("always"))
    for _ in range(2):
        x.sum().backward()
    assert calls == ["once", "always", "always"]
    with x.register_hook(lambda g: g * 0):
        (g,) = st.grad(x.sum(), x)
        assert g.sum().item() == 0
    (g,) = st.grad(x.sum(), x)
    assert g.sum().item() == 4


def test_retain_grad() -> None:
    x = leaf()
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 5)  # before what is retained, as in PyTorch
    z = y.sum()
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [[5, 5], [5, 5]]
    z.backward()
    assert y.grad.tolist() == [[10, 10], [10, 10]]
    assert x.grad.tolist() == [[20, 20], [20, 20]]
    x.retain_grad()  # a leaf keeps it anyway
    with pytest.raises(RuntimeError, match="retain_grad: no gradient comes"):
        st.ones(2).retain_grad()
    y = x * x
    y.retain_grad()
    (y * y).sum().backward(create_graph=True)
    assert y.grad.requires_grad


def test_retained_gradients_are_copies() -> None:
    x = leaf()
    y, z = x * 1, x * 2
    y.retain_grad()
    z.retain_grad()
    out = y + z
    out.sum().backward()
    with st.no_grad():
        y.grad.mul_(7)
    assert z.grad.tolist() == [[1, 1], [1, 1]]


def test_a_kept_gradient_is_not_added_to() -> None:
    x, kept = leaf(), []
    x.register_hook(kept.append)
    x.sum().backward()
    x.sum().backward()
    assert x.grad.sum().item() == 8
    assert kept[0].sum().item() == 4


def test_nothing_is_kept_alive() -> None:
    gc.collect()
    gc.disable()
    try:
        y = leaf() * 2
        y.register_hook(lambda g, y=y: None)
        y.retain_grad()
        gone = weakref.ref(y)
        y.sum().backward()
        del y
        assert gone() is None
        y = leaf() * 2
        y.retain_grad()
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x * 2], ids=["leaf", "computed"])
def test_wrong_results_of_hooks(make: Any) -> None:
    for wrong in (3.0, st.ones(3), st.ones((2, 2), dtype="float64")):
        y = make(leaf())
        y.register_hook(lambda g, wrong=wrong: wrong)
        with pytest.raises(ValueError, match=r"a hook of .* must return None or a gradient of shape \(2, 2\)"):
            y.sum().backward()
    with pytest.raises(TypeError, match="must be a function"):
        leaf().register_hook(3)
    with pytest.raises(RuntimeError, match="register_hook: no gradient comes"):
        st.ones(2).register_hook(print)


def test_errors_in_hooks_come_through() -> None:
    def hook(g: st.Tensor) -> None:
        raise KeyError("mine")

    for y in (leaf(), leaf() * 2):
        y.register_hook(hook)
        with pytest.raises(KeyError, match="mine"):
            y.sum().backward()


def program(lib: Any, make: Any) -> list[Any]:
    """The same hooks in both libraries: what they saw, and the gradients."""
    seen: list[Any] = []
    a, b = make([1.0, 2.0]), make([3.0, -1.0])
    c = a * b
    d = c + a
    c.register_hook(lambda g: seen.append(("c", g.tolist())))
    d.register_hook(lambda g: g * 2)
    d.retain_grad()
    a.register_hook(lambda g: seen.append(("a", g.tolist())))
    b.register_hook(lambda g: g - 1)
    (d * c).sum().backward(retain_graph=True)
    (d * d).sum().backward()
    return [*seen, a.grad.tolist(), b.grad.tolist(), d.grad.tolist()]


def test_tensor_hooks_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    assert program(st, leaf) == program(torch, lambda v: torch.tensor(v, requires_grad=True))


# --- modules ----------------------------------------------------------------------------------------------------------


class Net(st.nn.Module):
    def __init__(self) -> None:
        self.fc1 = st.nn.Linear(2, 3)
        self.fc2 = st.nn.Linear(3, 1)

    def forward(self, x: st.Tensor, scale: float = 1.0) -> st.Tensor:
        return self.fc2(st.relu(self.fc1(x))) * scale


def test_forward_hooks() -> None:
    net, x, seen = Net(), leaf(), []
    plain = net(x).tolist()
    handles = [
        net.register_forward_pre_hook(lambda m, args: seen.append(("pre", m is net, len(args)))),
        net.register_forward_hook(lambda m, args, out: seen.append(("post", args[0] is x, out.shape))),
        net.fc1.register_forward_hook(lambda m, args, out: seen.append("fc1")),
    ]
    assert net(x).tolist() == plain
    assert seen == [("pre", True, 1), "fc1", ("post", True, (2, 1))]
    for handle in handles:
        handle.remove()
    assert net(x).tolist() == plain
    assert len(seen) == 3


def test_forward_hooks_replace() -> None:
    net, x = Net(), leaf()
    doubled = net(x * 2).tolist()
    with net.register_forward_pre_hook(lambda m, args: args[0] * 2):
        assert net(x).tolist() == doubled
    with net.register_forward_pre_hook(lambda m, args: (args[0] * 2,)):
        assert net(x).tolist() == doubled
    with net.register_forward_hook(lambda m, args, out: out * 0 + 5):
        assert net(x).tolist() == [[5], [5]]
    with net.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": 3.0}), with_kwargs=True):
        assert_same(net(x).numpy(), (net.forward(x, 3.0)).numpy())
    with net.register_forward_hook(lambda m, args, kwargs, out: out * kwargs["scale"], with_kwargs=True):
        assert_same(net(x, scale=2.0).numpy(), (net.forward(x, scale=2.0) * 2).numpy())
    with (
        net.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True),
        pytest.raises(TypeError, match=r"Net: a forward pre-hook with with_kwargs=True must return None or a pair"),
    ):
        net(x)
    with pytest.raises(TypeError, match="Linear 'fc1': a hook must be a function"):
        net.fc1.register_forward_hook(None)


def test_order_and_prepend() -> None:
    net, order = Net(), []
    for name, first in (("a", False), ("b", False), ("c", True)):
        net.register_forward_pre_hook(lambda m, args, name=name: order.append(name), prepend=first)
        net.register_forward_hook(lambda m, args, out, name=name: order.append(name.upper()), prepend=first)
        net.register_full_backward_hook(lambda m, gi, go, name=name: order.append(f"{name}'"), prepend=first)
    net(leaf()).sum().backward()
    assert order == ["c", "a", "b", "C", "A", "B", "c'", "a'", "b'"]


def test_always_call() -> None:
    net, seen = Net(), []
    net.register_forward_hook(lambda m, args, out: seen.append(("sometimes", out)))
    net.register_forward_hook(lambda m, args, out: seen.append(("always", out)), always_call=True)
    with pytest.raises(ValueError, match="shape"):
        net(st.ones(2, 7))
    assert seen == [("always", None)]

    def broken(m: Any, args: Any, out: Any) -> None:
        raise KeyError("in the hook")

    net.register_forward_hook(broken, always_call=True)
    with pytest.warns(UserWarning, match="always_call raised KeyError"), pytest.raises(ValueError, match="shape"):
        net(st.ones(2, 7))


def test_errors_of_devices_and_shapes_stay_with_hooks() -> None:
    net = Net()
    net.fc1.register_forward_hook(lambda m, args, out: None)
    with pytest.raises(ValueError, match="'fc1'"):
        net(st.ones(2, 7))


def both(seed: int = 0) -> tuple[Any, Any, Any]:
    """PyTorch, and a model of each library with the same parameters."""
    torch = pytest.importorskip("torch")
    net = st.nn.Sequential(st.nn.Linear(3, 4), st.nn.Tanh(), st.nn.Linear(4, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in net.state_dict().items()})
    return torch, net, theirs


def close(a: Any, b: Any) -> None:
    if a is None or b is None:
        assert a is None
        assert b is None
        return
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.host(reason="compared with PyTorch on the CPU")
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("needs", [True, False], ids=["input with gradient", "input without"])
def test_full_backward_hooks_as_in_pytorch(needs: bool, rng: np.random.Generator) -> None:
    torch, ours, theirs = both()
    values = rng.standard_normal((5, 3)).astype("f4")
    x, t = st.tensor(values, requires_grad=needs), torch.tensor(values, requires_grad=needs)
    seen: dict[str, list[Any]] = {"ours": [], "theirs": []}
    for name, model in (("ours", ours), ("theirs", theirs)):
        for i in range(3):
            model[i].register_full_backward_hook(
                lambda m, gi, go, name=name, i=i: seen[name].append((i, gi, go)),
            )
        model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,))
    (ours(x) * 2).sum().backward()
    (theirs(t) * 2).sum().backward()
    assert [entry[0] for entry in seen["ours"]] == [entry[0] for entry in seen["theirs"]] == [2, 1, 0]
    for (_, gi, go), (_, ti, to) in zip(seen["ours"], seen["theirs"], strict=True):
        assert (len(gi), len(go)) == (len(ti), len(to)) == (1, 1)
        close(gi[0], ti[0])
        close(go[0], to[0])
    close(x.grad, t.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad)


class Pair(st.nn.Module):
    def forward(self, a: st.Tensor, b: st.Tensor, n: int) -> tuple[st.Tensor, st.Tensor, int]:
        return a * b, a + n, n


def test_backward_hooks_of_several_inputs_and_outputs() -> None:
    a, b = st.tensor([1.0, 2.0], requires_grad=True), st.tensor([3.0, 4.0], requires_grad=True)
    pair, seen = Pair(), []
    pair.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    product, total, n = pair(a, b, 7)
    assert n == 7
    (product.sum() * 2 + total.sum()).backward()
    ((ga, gb, gn), (go1, go2, go3)) = seen[0]
    assert (ga.tolist(), gb.tolist(), gn) == ([7, 9], [2, 4], None)
    assert (go1.tolist(), go2.tolist(), go3) == ([2, 2], [1, 1], None)
    assert (a.grad.tolist(), b.grad.tolist()) == ([7, 9], [2, 4])
    product, total, _ = pair(a, b, 7)
    (g,) = st.grad(product.sum(), a)  # the other output is not used
    assert g.tolist() == b.tolist()
    assert seen[1][1][1] is None


def test_backward_hooks_keep_the_graph() -> None:
    net = st.nn.Sequential(st.nn.Linear(2, 3, activation="tanh"), st.nn.Linear(3, 1)).to(st.float64)
    seen = []
    net[0].register_full_backward_hook(lambda m, gi, go: seen.append(gi[0].requires_grad))
    x = st.tensor(X, dtype=st.float64, requires_grad=True)
    assert st.autograd.gradcheck(lambda x: net(x), [x])
    assert st.autograd.gradgradcheck(lambda x: net(x), [x])
    assert set(seen) == {True, False}
    with st.no_grad():
        net(x)
    y = net(x).sum()
    y.backward(retain_graph=True)
    first = x.grad.tolist()
    x.grad = None
    y.backward()
    assert x.grad.tolist() == first


def test_backward_hooks_leave_nothing_behind() -> None:
    net = Net()
    net.fc1.register_full_backward_hook(lambda m, gi, go: None)
    gc.collect()
    gc.disable()
    try:
        for create_graph in (False, True):
            x = leaf()
            h = x * 1
            y = net(h).sum()
            gone = [weakref.ref(h), weakref.ref(h._node)]
            (g,) = st.grad(y, x, create_graph=create_graph)
            del h
            assert gone[0]() is None  # the graph holds no input of its own accord
            del y, g
            assert gone[1]() is None
    finally:
        gc.enable()


def test_wrong_backward_hooks() -> None:
    net = Net()
    x = leaf()
    with net.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0])), pytest.raises(RuntimeError, match="2 grad"):
        net(x).sum().backward()
    with net.register_full_backward_hook(lambda m, gi, go: st.ones(7)), pytest.raises(RuntimeError, match=r"\(7,\)"):
        net(x).sum().backward()
    with (
        net.register_full_backward_hook(lambda m, gi, go: st.ones(2, 2)),
        pytest.raises(RuntimeError, match="must return None"),
    ):
        net(x.detach()).sum().backward()

    class Dictionary(st.nn.Module):
        def forward(self, x: st.Tensor) -> dict[str, st.Tensor]:
            return {"x": x}

    net = Dictionary()
    net.register_full_backward_hook(lambda m, gi, go: None)
    with pytest.raises(TypeError, match="Dictionary has a full backward hook, so its forward must return a Tensor"):
        net(x)


def number_of_calls(module: Any, args: Any, out: Any) -> None:
    module.calls = getattr(module, "calls", 0) + 1


def test_hooks_are_copied_and_pickled_with_their_module() -> None:
    net = Net()
    net.fc1.register_forward_hook(number_of_calls)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        twin(leaf())
        assert twin.fc1.calls == 1
    assert not hasattr(net.fc1, "calls")
    assert list(net.state_dict()) == list(Net().state_dict())
    assert repr(net) == repr(Net())


def test_hooks_in_fit() -> None:
    net, x = Net(), st.random.normal((8, 2))
    norms = []
    net.fc1.weight.register_hook(lambda g: norms.append(float((g * g).sum())))
    net.fc2.register_full_backward_hook(lambda m, gi, go: norms.append("fc2"))
    net.compile("sgd", "mse")
    net.fit(x, x[:, :1], batch_size=4, epochs=1, verbose=0)
    assert len(norms) == 4
    assert norms[0] == norms[2] == "fc2"
