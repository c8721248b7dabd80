"""Modules: registration, state, containers, layers, losses and initialisers."""

import copy
import math
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn


class Net(nn.Module):
    """Two layers, a repeated activation and a buffer; without super().__init__()."""

    def __init__(self) -> None:
        self.fc1 = nn.Linear(4, 8)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(8, 3)
        self.scale = nn.Parameter(st.ones(3))
        self.register_buffer("count", st.zeros(1, dtype=st.int64))

    def forward(self, x: Any) -> st.Tensor:
        return self.fc2(self.act(self.fc1(x))) * self.scale


def close(actual: st.Tensor, expected: Any, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=rtol, atol=1e-6)


# --- registration -----------------------------------------------------------------------------------------------------


def test_parameters_are_found_by_name_own_ones_first() -> None:
    names = [name for name, _ in Net().named_parameters()]
    assert names == ["scale", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert [name for name, _ in Net().named_modules()] == ["", "fc1", "act", "fc2"]
    assert [name for name, _ in Net().named_buffers()] == ["count"]
    assert [type(m).__name__ for m in Net().children()] == ["Linear", "ReLU", "Linear"]


def test_calling_super_init_is_optional_at_any_point() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(2, 2)
            super().__init__()

    assert len(list(Late().parameters())) == 2
    assert Late().training is True


def test_shared_parameters_and_modules_are_counted_once() -> None:
    net = Net()
    net.again = net.fc1
    net.tied = net.fc2.weight
    names = [name for name, _ in net.named_parameters()]
    assert names == ["scale", "tied", "fc1.weight", "fc1.bias", "fc2.bias"]
    assert len(list(net.modules())) == 4


def test_a_module_inside_itself_is_walked_once() -> None:
    net = Net()
    net.fc1.parent = net
    assert len(list(net.parameters())) == 5


def test_replacing_a_parameter_keeps_its_place() -> None:
    net = Net()
    net.fc1.weight = nn.Parameter(st.zeros(8, 4))
    assert [name for name, _ in net.fc1.named_parameters()] == ["weight", "bias"]
    net.fc1.bias = None
    assert [name for name, _ in net.fc1.named_parameters()] == ["weight"]
    with pytest.raises(TypeError, match=r"Linear 'fc1': attribute 'weight' is a Parameter, not a place for a Tensor"):
        net.fc1.weight = st.zeros(8, 4)


def test_modules_in_a_list_warn() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            self.layers: list[nn.Module] = []
            self.layers.append(nn.Linear(2, 2))

    with pytest.warns(UserWarning, match=r"the modules in the list 'layers' of Lists are not registered.*ModuleList"):
        assert list(Lists().parameters()) == []


def test_a_module_needs_a_forward() -> None:
    with pytest.raises(NotImplementedError, match=r"Empty needs a method forward\(self, x\)"):
        type("Empty", (nn.Module,), {})()(1)


def test_add_module() -> None:
    net = Net()
    net.add_module("fc3", nn.Linear(3, 2))
    assert net.fc3.out_features == 2
    with pytest.raises(TypeError, match=r"'fc4' must be a Module, not .*: write ReLU\(\)"):
        net.add_module("fc4", nn.ReLU)  # type: ignore[arg-type]
    for name in ("", "a.b", "forward"):
        with pytest.raises(ValueError, match="cannot name a module"):
            net.add_module(name, nn.ReLU())


def test_repr() -> None:
    assert repr(nn.Sequential(Net(), nn.Flatten())) == (
        "Sequential(\n"
        "  (0): Net(\n"
        "    (fc1): Linear(in_features=4, out_features=8, bias=True)\n"
        "    (act): ReLU()\n"
        "    (fc2): Linear(in_features=8, out_features=3, bias=True)\n"
        "  )\n"
        "  (1): Flatten(start_axis=1, end_axis=-1)\n"
        ")"
    )
    assert repr(nn.Linear(2, 1, activation="relu")).endswith("activation='relu')")
    assert repr(nn.Linear(2, 1, activation=st.silu)).endswith("activation=silu)")
    assert repr(nn.Sequential()) == "Sequential()"


def test_modes_zero_grad_and_freezing() -> None:
    net = nn.Sequential(Net(), nn.Dropout(0.5))
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    net(st.ones(2, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(st.ones(2, 4)).requires_grad
    assert len(list(net.parameters())) == 5


def test_apply_visits_children_first() -> None:
    seen: list[str] = []
    nn.Sequential(nn.Linear(1, 1), nn.ReLU()).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Sequential"]


def test_to_dtype() -> None:
    net = Net()
    net.tied = net.fc1.weight
    assert net.to("cpu") is net
    before = net.fc1.weight
    assert net.to(st.float32).fc1.weight is before
    net.to(st.float64)
    assert {p.dtype for p in net.parameters()} == {st.float64}
    assert net.tied is net.fc1.weight
    assert net.count.dtype is st.int64
    assert net(np.ones((2, 4))).dtype is st.float64
    with pytest.raises(TypeError, match="parameters are floating-point"):
        net.to(st.int64)


def test_deepcopy_is_independent() -> None:
    net = Net()
    twin = copy.deepcopy(net)
    with st.no_grad():
        net.fc1.weight.fill_(0)
    assert float(twin.fc1.weight.abs().sum()) > 0
    assert isinstance(twin.fc1.weight, nn.Parameter)
    assert twin.fc1.weight.requires_grad


# --- state ------------------------------------------------------------------------------------------------------------


def test_state_dict_is_a_snapshot_and_loads() -> None:
    net, other = Net(), Net()
    state = net.state_dict()
    assert list(state) == ["scale", "count", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert not any(value.requires_grad for value in state.values())
    x = st.random.normal((5, 4))
    before = net(x).detach().copy()
    with st.no_grad():
        net.fc1.weight.fill_(0)
    other.load_state_dict({name: value.numpy() for name, value in state.items()})
    assert (other(x) == before).all()


def test_load_state_dict_names_every_problem_and_loads_nothing() -> None:
    net = Net()
    before = net.state_dict()
    bad = {**{name: value + 1 for name, value in before.items()}, "fc1.weight": st.zeros(4, 8), "extra": st.zeros(1)}
    del bad["fc2.bias"], bad["scale"]
    with pytest.raises(
        ValueError,
        match=r"(?s)Net.load_state_dict loaded nothing:.*fc1.weight has shape \(4, 8\), the model needs \(8, 4\)"
        r".*missing: scale, fc2.bias.*unexpected: extra",
    ):
        net.load_state_dict(bad)
    with pytest.raises(ValueError, match=r"fc1.weight has shape \(4, 8\)"):
        net.load_state_dict(bad, strict=False)
    assert all((value == before[name]).all() for name, value in net.state_dict().items())
    del bad["fc1.weight"]
    report = net.load_state_dict(bad, strict=False)
    assert report == (["scale", "fc1.weight", "fc2.bias"], ["extra"])
    assert (net.fc1.bias.detach() == before["fc1.bias"] + 1).all()


# --- containers -------------------------------------------------------------------------------------------------------


def test_sequential_is_made_in_several_ways() -> None:
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    for model in (nn.Sequential(*layers), nn.Sequential(layers)):
        assert list(model) == layers
        assert len(model) == 3
        assert model[-1] is layers[2]
        assert list(model[:2]) == layers[:2]
    named = nn.Sequential(OrderedDict(first=layers[0], act=layers[1]))
    assert named.first is layers[0]
    assert named.append(layers[2])[2] is layers[2]
    assert [name for name, _ in named[1:].named_children()] == ["act", "2"]
    assert repr(named[0]) == repr(layers[0])
    with pytest.raises(IndexError, match="Sequential has 3 modules: index 3 is out of range"):
        named[3]
    with pytest.raises(TypeError, match="Sequential: '1' must be a Module"):
        nn.Sequential(nn.Linear(1, 1), st.relu)  # type: ignore[arg-type]


def test_sequential_runs_a_repeated_layer_repeatedly() -> None:
    double = type("Double", (nn.Module,), {"forward": lambda self, x: 2 * x})()
    model = nn.Sequential(double, double, double)
    assert float(model(st.tensor(1.0))) == 8
    assert len(model) == 3


def test_sequential_changes() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 5))
    model[1] = nn.Linear(3, 6)
    assert [layer.out_features for layer in model] == [3, 6, 5]
    delattr(model, "1")
    assert [layer.out_features for layer in model] == [3, 5]
    model.append(nn.Linear(5, 7))
    assert [layer.out_features for layer in model] == [3, 5, 7]
    assert len(list(model.parameters())) == 6


def test_module_list() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2)]).extend([nn.Linear(2, 3)])
    assert len(layers) == 2
    assert len(list(layers.parameters())) == 4
    assert isinstance(layers[:1], nn.ModuleList)
    assert layers[:1][0] is layers[0]


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh", "gelu", "silu", "softmax", st.elu])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4)])
def test_linear_is_its_formula(activation: Any, bias: bool, shape: tuple[int, ...]) -> None:
    layer = nn.Linear(4, 3, bias=bias, activation=activation)
    x = st.random.normal(shape)
    y = x @ layer.weight.detach().mT
    if layer.bias is not None:
        y = y + layer.bias.detach()
    if activation is not None:
        y = (getattr(st, activation) if isinstance(activation, str) else activation)(y)
    assert layer(x).shape == (*shape[:-1], 3)
    close(layer(x), y.numpy())


def test_linear_gradients() -> None:
    for activation in (None, "tanh", "softplus"):
        layer = nn.Linear(3, 2, activation=activation).to(st.float64)
        x = st.random.normal((4, 3), dtype=st.float64, requires_grad=True)

        def output(x: Any, weight: Any, bias: Any, layer: Any = layer) -> Any:
            vars(layer).update(weight=weight, bias=bias)
            return layer(x)

        assert st.autograd.gradcheck(output, [x, layer.weight, layer.bias])


def test_linear_casts_quietly() -> None:
    layer = nn.Linear(2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (np.ones((1, 2)), [[1, 1]], st.ones(1, 2, dtype=st.float64), np.ones((1, 2), "i4"), st.ones(1, 2)):
            assert layer(x).dtype is st.float32
            close(layer(x), layer(st.ones(1, 2)).detach().numpy())


def test_linear_starts_as_pytorchs_does() -> None:
    layer = nn.Linear(64, 1000)
    for p in layer.parameters():
        values = p.detach().numpy()
        assert np.abs(values).max() <= 1 / 8
        assert values.std() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.1)
    st.manual_seed(3)
    first = nn.Linear(3, 2).state_dict()
    st.manual_seed(3)
    assert all((value == first[name]).all() for name, value in nn.Linear(3, 2).state_dict().items())


def test_sizes_may_be_numpys_integers() -> None:
    rows, columns = np.zeros((5, 4)).shape[0], np.int64(4)
    assert nn.Linear(columns, np.int32(3))(st.zeros(rows, 4)).shape == (5, 3)
    assert nn.Embedding(np.int64(7), columns)(st.tensor([6])).shape == (1, 4)


def test_linear_errors_name_the_layer() -> None:
    net = Net()
    message = r"Linear 'fc2' \(in_features=8\) got input of shape \(32, 128\): its last axis must be 8"
    with pytest.raises(ValueError, match=message):
        net.fc2(st.zeros(32, 128))
    with pytest.raises(ValueError, match=r"Linear \(in_features=2\) got input of shape \(\)"):
        nn.Linear(2, 2)(1.0)
    with pytest.raises(ValueError, match=r"Linear '0' \(in_features=4\)"):
        nn.Sequential(nn.Linear(4, 3))(st.zeros(2, 3))
    with pytest.raises(ValueError, match="Linear: out_features=0 must be a positive integer"):
        nn.Linear(2, 0)
    with pytest.raises(ValueError, match="activation='rleu' must be None, a function or one of relu, "):
        nn.Linear(2, 2, activation="rleu")
    with pytest.raises(ValueError, match="a module stands behind the layer in a Sequential"):
        nn.Linear(2, 2, activation=nn.ReLU())


X = np.linspace(-4, 4, 24).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (nn.ReLU(), lambda x: np.maximum(x, 0)),
        (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
        (nn.ELU(2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
        (nn.GELU(), lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
        (nn.GELU("tanh"), lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
        (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
        (nn.Softplus(), lambda x: np.log1p(np.exp(x))),
        (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
        (nn.LogSigmoid(), lambda x: -np.log1p(np.exp(-x))),
        (nn.Tanh(), np.tanh),
        (nn.Softmax(), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        (nn.Softmax(axis=1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        (nn.LogSoftmax(), lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
        (nn.Identity(), lambda x: x),
        (nn.Flatten(), lambda x: x.reshape(2, 12)),
        (nn.Flatten(0, 1), lambda x: x.reshape(6, 4)),
        (nn.LayerNorm(4, eps=0.1), lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1)),
        (nn.Dropout(0.5).eval(), lambda x: x),
    ],
    ids=lambda x: repr(x) if isinstance(x, nn.Module) else "",
)
def test_module_is_its_formula(module: nn.Module, formula: Any) -> None:
    close(module(st.tensor(X, dtype=st.float32)), formula(X))


def test_dropout() -> None:
    st.manual_seed(0)
    layer, x = nn.Dropout(0.25), st.ones(1000, 10)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert (layer.eval()(x) == x).all()
    assert float(nn.Dropout(1.0)(x).sum()) == 0
    with pytest.raises(ValueError, match=r"Dropout: p=1.5 is a probability"):
        nn.Dropout(1.5)


def test_layer_norm_parameters_and_errors() -> None:
    layer = nn.LayerNorm((3, 4))
    assert [p.shape for p in layer.parameters()] == [(3, 4), (3, 4)]
    assert list(nn.LayerNorm(4, elementwise_affine=False).parameters()) == []
    assert len(list(nn.LayerNorm(4, bias=False).parameters())) == 1
    close(layer(X).mean((1, 2)), [0, 0])
    with pytest.raises(
        ValueError, match=r"LayerNorm 'norm' \(normalized_shape=\(5,\)\) got input of shape \(2, 3, 4\)"
    ):
        nn.Sequential({"norm": nn.LayerNorm(5)})(X)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_losses_are_their_formulas() -> None:
    z, t = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]), np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    p, d = 1 / (1 + np.exp(-z)), np.abs(z - t)
    bce = -t * np.log(p) - (1 - t) * np.log(1 - p)
    cross = np.log(np.exp(z).sum(1)) - z[[0, 1], [2, 0]]
    for module, input, target, expected in (
        (nn.CrossEntropyLoss(), z, np.array([2, 0]), cross.mean()),
        (nn.CrossEntropyLoss("sum"), z, np.eye(3)[[2, 0]], cross.sum()),
        (nn.CrossEntropyLoss("none"), z, np.array([2, 0]), cross),
        (nn.BCELoss(), p, t, bce.mean()),
        (nn.BCEWithLogitsLoss("none"), z, t, bce),
        (nn.MSELoss(), z, t, (d**2).mean()),
        (nn.L1Loss("sum"), z, t, d.sum()),
        (nn.HuberLoss(1.5), z, t, np.where(d <= 1.5, d**2 / 2, 1.5 * (d - 0.75)).mean()),
    ):
        close(module(input, target), expected)


def test_loss_errors() -> None:
    with pytest.raises(ValueError, match=r"MSELoss: reduction='avg' must be 'mean', 'sum' or 'none'"):
        nn.MSELoss("avg")
    with pytest.raises(ValueError, match="HuberLoss: delta=0 must be positive"):
        nn.HuberLoss(0)
    with pytest.raises(ValueError, match=r"\(8, 1\), target \(8,\)"):
        nn.MSELoss()(st.zeros(8, 1), st.zeros(8))
    assert repr(nn.HuberLoss(2.0, "sum")) == "HuberLoss(delta=2.0, reduction='sum')"


# --- initialisers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "bound", "std"),
    [
        (lambda w: nn.init.uniform_(w, -2, 2), 2, 2 / math.sqrt(3)),
        (lambda w: nn.init.normal_(w, 0, 3), math.inf, 3),
        (nn.init.xavier_uniform_, math.sqrt(6 / 600), math.sqrt(2 / 600)),
        (nn.init.xavier_normal_, math.inf, math.sqrt(2 / 600)),
        (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(6 / 400), math.sqrt(2 / 400)),
        (lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)), 1 / 20, 1 / 20 / math.sqrt(3)),
        (lambda w: nn.init.kaiming_normal_(w, mode="fan_out"), math.inf, math.sqrt(2 / 200)),
    ],
)
def test_random_initialisers(function: Any, bound: float, std: float) -> None:
    st.manual_seed(0)
    w = nn.Parameter(st.empty(200, 400))
    assert function(w) is w
    values = w.detach().numpy()
    assert np.abs(values).max() <= bound
    assert values.std() == pytest.approx(std, rel=0.02)
    assert values.mean() == pytest.approx(0, abs=0.02 * std)
    assert w.requires_grad


def test_constant_initialisers_and_errors() -> None:
    w = nn.Parameter(st.empty(2, 2))
    assert float(nn.init.ones_(w).sum()) == 4
    assert float(nn.init.zeros_(w).sum()) == 0
    assert float(nn.init.constant_(w, 0.5).sum()) == 2
    with pytest.raises(ValueError, match=r"at least two axes \(out, in\), not shape \(3,\)"):
        nn.init.xavier_uniform_(st.empty(3))
    with pytest.raises(ValueError, match="'selu' must be one of linear, sigmoid, tanh, relu, leaky_relu"):
        nn.init.kaiming_normal_(w, nonlinearity="selu")
    with pytest.raises(ValueError, match="mode='fan' must be 'fan_in' or 'fan_out'"):
        nn.init.kaiming_normal_(w, mode="fan")
