"""Models as graphs of layers called on symbolic values."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn


def close(actual: Any, expected: Any) -> None:
    expected = expected.detach() if isinstance(expected, st.Tensor) else expected
    np.testing.assert_allclose(np.asarray(actual.detach()), np.asarray(expected), rtol=1e-6, atol=1e-6)


def branches() -> tuple[nn.Model, list[nn.Module]]:
    x = st.Input((4,), name="flower")
    layers = [nn.Linear(4, 3, activation="relu"), nn.Linear(4, 2), nn.Linear(5, 1)]
    left, right, head = layers
    return nn.Model(x, head(nn.Concat(axis=1)([left(x), right(x)]))), layers


# --- running ----------------------------------------------------------------------------------------------------------


def test_two_branches_compute_what_their_layers_do() -> None:
    model, (left, right, head) = branches()
    x = st.random.normal((7, 4))
    close(model(x), head(st.concat([left(x), right(x)], axis=1)))
    assert [name for name, _ in model.named_children()] == ["linear", "linear_1", "concat", "linear_2"]
    assert [name for name, _ in model.named_parameters()][:3] == ["linear.weight", "linear.bias", "linear_1.weight"]
    assert repr(model).startswith("Model(\n  (linear): Linear(in_features=4")


def test_gradients_are_those_of_the_layers() -> None:
    model, (left, right, head) = branches()
    x = st.random.normal((7, 4))
    model(x).square().mean().backward()
    found = [np.array(p.grad) for p in model.parameters()]
    model.zero_grad()
    head(st.concat([left(x), right(x)], axis=1)).square().mean().backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        np.testing.assert_allclose(gradient, np.asarray(parameter.grad), rtol=1e-6)


def test_operators_methods_and_constants() -> None:
    scale, shift = nn.Parameter([1.0, 2.0, 3.0, 4.0]), st.tensor([4.0, 3.0, 2.0, 1.0])

    def formula(x: Any) -> Any:
        y = (2 * x - x / 3 + 1) * scale + shift * x - 1 / (x * x + 1)
        z = y**2 @ np.ones((4, 4), np.float32)
        return [-z[:, 1:3], z.reshape(-1, 2, 2).sum(axis=2), abs(y).sqrt().flatten(), y.mT.T, 2 - x % 3, x // 2]

    x = st.Input(4)
    model = nn.Model(x, formula(x))
    data = st.random.normal((5, 4))
    outputs = model(data)
    assert isinstance(outputs, list)
    for actual, expected in zip(outputs, formula(data), strict=True):
        close(actual, expected)
    assert [name for name, _ in model.named_parameters()] == ["parameter"]
    assert [name for name, _ in model.named_buffers()] == ["constant"]
    model.to("float64")
    assert model(data.double())[0].dtype is st.float64
    with st.no_grad():
        model.constant.copy_(st.zeros(4))
        model.parameter.copy_(st.zeros(4))
    close(model(data.double())[5], data.double() // 2)


def test_comparisons_and_masks() -> None:
    def masks(x: Any) -> Any:
        return [(x > 0) & (x <= 1), (x < -1) | (x >= 1), (x == 0) ^ ~(x != 1), x < 0.5, x == 1]

    x = st.Input(3)
    data = st.tensor([[-2.0, 0.0, 1.0], [0.5, 1.0, float("nan")]])
    for actual, expected in zip(nn.Model(x, masks(x))(data), masks(data.numpy()), strict=True):
        np.testing.assert_array_equal(actual.numpy(), expected)


def test_a_shared_layer_shares_its_parameters() -> None:
    a, b, layer = st.Input((4,), name="a"), st.Input((4,), name="b"), nn.Linear(4, 2)
    model = nn.Model([a, b], layer(a) - layer(b))
    assert len(list(model.parameters())) == 2
    x, y = st.random.normal((3, 4)), st.random.normal((3, 4))
    expected = layer(x) - layer(y)
    for output in (model(x, y), model((x, y)), model([x, y]), model({"b": y, "a": x}), model(a=x, b=y)):
        close(output, expected)


def test_outputs_have_the_given_structure() -> None:
    x = st.Input((4,))
    a, b = nn.Linear(4, 2)(x), nn.Linear(4, 3)(x)
    data = st.zeros(5, 4)
    assert [y.shape for y in nn.Model(x, (a, b))(data)] == [(5, 2), (5, 3)]
    nested = nn.Model(x, {"a": a, "rest": [b, x]})(data)
    assert nested["rest"][1] is data
    assert nested["a"].shape == (5, 2)
    assert nn.Model(x, x)(data) is data


def test_layers_with_several_outputs() -> None:
    class Split(nn.Module):
        def forward(self, x: Any, *, scale: Any) -> Any:
            return {"parts": st.split(x * scale, 2, axis=1), "rest": (x, None)}

    x, scale = st.Input((4,)), st.Input((1,))
    out = Split()(x, scale=scale)
    assert out["rest"][1] is None
    model = nn.Model((x, scale), (out["parts"][1], out["rest"][0]))
    data = st.random.normal((3, 4))
    second, rest = model(data, st.full((3, 1), 2.0))
    close(second, 2 * data[:, 2:])
    close(rest, data)


def test_a_symbolic_value_behind_a_tensor() -> None:
    x = st.Input((4,))
    fixed, layer = st.random.normal((1, 4)), nn.Bilinear(4, 4, 2)
    model = nn.Model(x, nn.Concat(axis=1)(fixed.sum() * x, x))
    data = st.random.normal((2, 4))
    close(model(data), st.concat([fixed.sum() * data, data], axis=1))
    with pytest.raises(ValueError, match=r"Bilinear cannot be called on symbolic values of shape \(None, 4\)"):
        layer(fixed, x)
    weighted = nn.Model(x, nn.Lambda(lambda a, b: st.exp(b) * a)(fixed, x))
    assert [name for name, _ in weighted.named_buffers()] == ["constant"]
    close(weighted(data), (st.exp(data) * fixed).numpy())


def test_models_are_layers_of_models_and_of_sequentials() -> None:
    inner, _ = branches()
    x = st.Input((6,))
    outer = nn.Model(x, inner(nn.Linear(6, 4)(x)), body=inner)
    assert [name for name, _ in outer.named_children()] == ["body", "linear"]
    row = nn.Sequential(nn.Linear(6, 4), inner)
    data = st.random.normal((3, 6))
    close(outer(data), inner(outer.linear(data)))
    close(row(data), inner(row[0](data)))
    part = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    assert list(nn.Model(x, part(nn.Linear(6, 4)(x))).state_dict())[2:] == ["sequential.0.weight", "sequential.0.bias"]


def test_a_model_between_symbolic_values() -> None:
    x = st.Input((4,))
    hidden = nn.Linear(4, 3)(x)
    out = nn.Linear(3, 2)(hidden.relu())
    decoder = nn.Model(hidden, out)
    assert decoder(st.zeros(5, 3)).shape == (5, 2)
    assert len(list(decoder.parameters())) == 2


def test_a_replaced_layer_is_used() -> None:
    model, _ = branches()
    model.linear_2 = nn.Linear(5, 7)
    assert model(st.zeros(2, 4)).shape == (2, 7)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_twins_are_independent(twin_of: Any) -> None:
    model, _ = branches()
    x = st.random.normal((3, 4))
    before = np.array(model(x).detach())
    twin = twin_of(model)
    np.testing.assert_array_equal(twin(x).detach().numpy(), before)
    twin.set_weights([np.zeros_like(w) for w in twin.get_weights()])
    assert not twin(x).detach().numpy().any()
    np.testing.assert_array_equal(model(x).detach().numpy(), before)


def test_state_modes_and_hooks() -> None:
    x = st.Input((4,))
    drop = nn.Dropout(0.5)
    model = nn.Model(x, drop(nn.BatchNorm1d(4)(x)))
    seen: list[Any] = []
    drop.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    model(st.random.normal((8, 4)))
    assert seen == [(8, 4)]
    model.eval()
    assert not drop.training
    other = nn.Model(x, nn.BatchNorm1d(4)(x))
    other.load_state_dict(model.state_dict())
    assert int(other.batchnorm1d.num_batches_tracked) == 1


def test_values_are_forgotten_when_nobody_needs_them_any_more() -> None:
    x = y = st.Input((1000,))
    for _ in range(20):
        y = nn.Identity()(y) + 1
    model = nn.Model(x, y)
    assert model._count == 1
    assert float(model(st.zeros(2, 1000))[0, 0]) == 20


def test_a_long_chain_does_not_recurse() -> None:
    x = y = st.Input((1,))
    for _ in range(3000):
        y = y + 1
    assert float(nn.Model(x, y)(st.zeros(1, 1))) == 3000


def test_a_model_trains() -> None:
    model, _ = branches()
    model.compile(st.optim.Adam(model.parameters(), lr=0.05), "mse")
    x = st.random.normal((64, 4))
    history = model.fit(x, x.sum(axis=1, keepdims=True), epochs=40, verbose=0)
    assert history["loss"][-1] < 0.02 * history["loss"][0]
    assert model.predict(x).shape == (64, 1)


# --- symbolic values --------------------------------------------------------------------------------------------------


def test_shapes_and_dtypes_are_known_at_once() -> None:
    x = st.Input((None, 6), dtype="int64")
    assert (x.shape, x.dtype, x.ndim) == ((None, None, 6), st.int64, 3)
    words = nn.Embedding(10, 3)(x)
    assert words.shape == (None, None, 6, 3)
    assert words.sum(axis=(1, 2)).shape == (None, 3)
    assert words.flatten(start_axis=1).shape == (None, None)
    assert repr(words) == "<symbolic value of shape (None, None, 6, 3), float32, from Embedding>"
    assert x.float().dtype is st.float32


def test_construction_leaves_no_trace() -> None:
    class Noise(nn.Module):
        def __init__(self) -> None:
            self.register_buffer("calls", st.zeros(()))

        def forward(self, x: Any) -> Any:
            self.calls.add_(1)
            self.calls = self.calls + 1
            return x + st.random.normal(x.shape)

    noise, norm, drop = Noise(), nn.BatchNorm1d(4), nn.Dropout(0.5)
    calls: list[int] = []
    norm.register_forward_hook(lambda *_: calls.append(1))
    buffer, stream = noise.calls, st.random.get_state()
    drop(norm(noise(st.Input((4,)))))
    assert noise.calls is buffer
    assert float(buffer) == 0
    assert int(norm.num_batches_tracked) == 0  # type: ignore[arg-type]
    assert st.random.get_state() == stream
    assert calls == []
    assert norm.training
    assert drop.training
    assert norm(st.random.normal((5, 4))).shape == (5, 4)
    assert calls == [1]


def test_a_layer_that_does_not_fit_raises_where_it_is_called() -> None:
    x = st.Input((4,))
    with pytest.raises(ValueError, match=r"Linear cannot be called on .* \(None, 4\): .*in_features=3"):
        nn.Linear(3, 2)(x)
    with pytest.raises(ValueError, match=r"Concat cannot be called on .* \(None, 4\), \(None, 2, 2\)"):
        nn.Concat(axis=1)([x, x.reshape(-1, 2, 2)])
    with pytest.raises(ValueError, match=r"\.reshape cannot be called on symbolic values of shape \(None, 4\)"):
        x.reshape(-1, 3)
    with pytest.raises(TypeError, match=r"Lambda returned a float: in a graph it must return tensors"):
        nn.Lambda(lambda x: 1.0)(x)


def test_what_needs_numbers_raises() -> None:
    x = st.Input((4,))
    with pytest.raises(TypeError, match=r"steep\.concat got a symbolic value of shape \(None, 4\).*nn\.Concat"):
        st.concat([x, x], axis=1)
    with pytest.raises(TypeError, match=r"steep\.exp got a symbolic value.*nn\.Lambda\(st\.exp\)"):
        st.exp(x)
    with pytest.raises(TypeError, match="a function of numbers got a symbolic value"):
        np.asarray(x)
    for use in (bool, float, int, len, iter):
        with pytest.raises(TypeError, match=r"a symbolic value of shape \(None, 4\) has no "):
            use(x)
    with pytest.raises(TypeError, match="has no elements to assign to"):
        x[0] = 1
    with pytest.raises(AttributeError, match="no attribute 'numpy': it has no numbers before the model runs"):
        x.numpy()
    assert not hasattr(x, "nonsense")


def test_wrong_inputs_of_input() -> None:
    for shape in ("4", (4, "a"), 2.5):
        with pytest.raises(TypeError, match="a shape must be"):
            st.Input(shape)
    with pytest.raises(ValueError, match="negative extent: write None"):
        st.Input((-1, 4))
    with pytest.raises(TypeError, match="name=3 must be a string"):
        st.Input((4,), name=3)  # type: ignore[arg-type]


# --- errors of models -------------------------------------------------------------------------------------------------


def test_outputs_must_depend_on_the_inputs_only() -> None:
    a, b = st.Input((4,), name="a"), st.Input((3,), name="b")
    with pytest.raises(ValueError, match=r"depend on Input 'b' of shape \(None, 3\), which is not among the inputs"):
        nn.Model(a, nn.Concat()(a, b))
    with pytest.raises(ValueError, match=r"Input 'a' of shape \(None, 4\) is given twice"):
        nn.Model([a, a], a)
    with pytest.raises(ValueError, match="two inputs have one name: a, a"):
        nn.Model([a, st.Input((1,), name="a")], a)
    with pytest.raises(ValueError, match="there are no inputs"):
        nn.Model([], a)


def test_wrong_constructions() -> None:
    x = st.Input((4,))
    with pytest.raises(TypeError, match=r"made of inputs and outputs.*derives from nn\.Module"):
        nn.Model()
    with pytest.raises(TypeError, match=r"inputs must be symbolic values, as steep\.Input returns"):
        nn.Model(st.zeros(1, 4), x)
    with pytest.raises(TypeError, match=r"outputs must be symbolic values.*\(Linear\)"):
        nn.Model(x, nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"body=.* is not a layer between"):
        nn.Model(x, nn.Linear(4, 2)(x), body=nn.Linear(4, 2))


def test_wrong_data_names_the_input() -> None:
    model, _ = branches()
    for shape in ((5, 3), (4,), (5, 1, 4), ()):
        with pytest.raises(ValueError, match=r"the input 'flower' must be of shape \(None, 4\).*, not \("):
            model(st.zeros(shape))
    with pytest.raises(ValueError, match=r"Model has 1 input \(flower\), and was called with 2"):
        model(st.zeros(5, 4), st.zeros(5, 4))
    with pytest.raises(ValueError, match="has the inputs flower, and was called with flour"):
        model({"flour": st.zeros(5, 4)})
    assert model([[0.0, 0.0, 0.0, 0.0]]).shape == (1, 1)
    assert model(np.zeros((2, 4))).shape == (2, 1)
    assert model(st.zeros(0, 4)).shape == (0, 1)


def test_free_extents_take_any() -> None:
    x = st.Input((None, 4))
    model = nn.Model(x, nn.Linear(4, 2)(x).mean(axis=1))
    for length in (1, 9):
        assert model(st.zeros(2, length, 4)).shape == (2, 2)
    with pytest.raises(ValueError, match=r"must be of shape \(None, None, 4\)"):
        model(st.zeros(2, 5))


# --- layers that join, and functions ----------------------------------------------------------------------------------


def test_concat_and_lambda() -> None:
    a, b = st.ones(2, 3), st.zeros(2, 1)
    expected = np.concatenate([a.numpy(), b.numpy()], axis=-1)
    np.testing.assert_array_equal(nn.Concat()(a, b).numpy(), expected)
    np.testing.assert_array_equal(nn.Concat(axis=1)([a, b]).numpy(), expected)
    assert repr(nn.Lambda(st.sum, axis=1)) == "Lambda(sum, axis=1)"
    with pytest.raises(TypeError, match=r"Lambda: 3 must be a function, not a int"):
        nn.Lambda(3)  # type: ignore[arg-type]


def test_sequential_starts_with_an_input() -> None:
    model = nn.Sequential([st.Input((4,)), nn.Linear(4, 8), nn.ReLU()])
    assert len(model) == 2
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    with pytest.raises(TypeError, match="must be a Module"):
        model.add(st.Input((8,)))
