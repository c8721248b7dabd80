"""model.summary(), weights as NumPy arrays, and freezing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim


def lines(model: nn.Module, capsys: pytest.CaptureFixture[str], *shape: Any) -> list[str]:
    capsys.readouterr()
    assert model.summary(*shape) is None  # type: ignore[func-returns-value]
    return capsys.readouterr().out.splitlines()


def rows(text: list[str]) -> list[list[str]]:
    """The cells of the table."""
    start, end = [i for i, line in enumerate(text) if line.startswith("---")][1:]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text[start + 1 : end]]


def total(text: list[str], name: str) -> str:
    return next(line.removeprefix(name).strip() for line in text if line.startswith(name))


# --- the table --------------------------------------------------------------------------------------------------------


def test_a_sequential_knows_its_shapes_from_its_first_layer(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Sequential(nn.Linear(16, 3, bias=False)))
    model[0].requires_grad_(False)
    text = lines(model, capsys)
    assert rows(text) == [
        ["0", "Linear", "(None, 16)", "80", "no"],
        ["1", "ReLU", "(None, 16)", "0"],
        ["2.0", "Linear", "(None, 3)", "48", "yes"],
    ]
    assert total(text, "parameters") == "128 (512 B): 48 trainable, 80 frozen"
    assert total(text, "activations") == f"{4 * (16 + 16 + 3)} B a sample"
    assert len({len(line) for line in text if line.startswith("---")}) == 1


def test_input_shape_is_that_of_a_sample(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    for shape in ((28, 28), 784, [784]):
        assert rows(lines(model, capsys, shape))[0][2] == "(None, 784)"
    assert rows(lines(nn.Sequential(st.Input((28, 28)), *model), capsys))[0][2] == "(None, 784)"
    assert rows(lines(model, capsys))[0][2] == "(None, 784)"  # by the first layer that tells
    with pytest.raises(TypeError, match="a shape must be"):
        model.summary("wide")
    text = lines(nn.Sequential(nn.ReLU()), capsys)
    assert rows(text) == [["0", "ReLU", "?", "0"]]
    assert "pass summary(input_shape=…)" in total(text, "shapes")


def test_free_extents_and_integers(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Embedding(10, 3), nn.Lambda(st.mean, axis=1), nn.LayerNorm(3))
    assert [row[2] for row in rows(lines(model, capsys))] == ["(None, None, 3)", "(None, 3)", "(None, 3)"]
    assert [row[2] for row in rows(lines(model, capsys, (7,)))] == ["(None, 7, 3)", "(None, 3)", "(None, 3)"]


def test_a_graph_with_several_inputs_and_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    a, b = st.Input((4,)), st.Input((3,))
    left, right = nn.Linear(4, 2)(a), nn.Linear(3, 2)(b)
    text = lines(nn.Model([a, b], {"sum": left + right, "left": left}), capsys)
    assert [row[:3] for row in rows(text)] == [["linear", "Linear", "(None, 2)"], ["linear_1", "Linear", "(None, 2)"]]

    class Two(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(st.ones(()))

        def forward(self, a: Any, b: Any) -> Any:
            return a * self.scale, {"b": b}

    assert rows(lines(Two(), capsys, [(4,), (3,)])) == [["-", "Two", "(None, 4), b (None, 3)", "1", "yes"]]


def test_a_forward_that_fails_leaves_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(4, 2)
            self.unused = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            raise KeyError("no such thing")

    text = lines(Strange(), capsys)
    assert rows(text) == [["fc", "Linear", "?", "10", "yes"], ["unused", "Linear", "?", "6", "yes"]]
    assert total(text, "shapes") == "unknown: on zeros of shape (None, 4), forward raised KeyError: 'no such thing'"


def test_a_layer_that_is_not_called_and_a_shared_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.a = nn.Linear(4, 4)
            self.b = nn.Linear(4, 4)
            self.b.weight = self.a.weight
            self.c = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    text = lines(Tied(), capsys)
    assert [row[2:4] for row in rows(text)] == [["(None, 4)", "20"], ["(None, 4)", "4"], ["not called", "0"]]
    assert total(text, "parameters").startswith("24 (96 B)")


@pytest.mark.parametrize(
    ("make", "copies"),
    [
        (optim.SGD, 0),
        (lambda p: optim.SGD(p, momentum=0.9), 1),
        (optim.Adam, 2),
        (optim.RMSprop, 1),
        (lambda p: optim.RMSprop(p, momentum=0.9, centered=True), 3),
        (optim.NAdam, 2),
    ],
)
def test_memory_for_training_is_what_the_optimizer_keeps(
    make: Any, copies: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)).to("float64")
    model[0].trainable = False
    model.compile(make, "mse")
    wanted = f"gradients 144 B, state of {type(model.optimizer).__name__} {copies * 144} B"
    assert total(lines(model, capsys), "training") == wanted
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    kept = [t for group in model.optimizer._state for tensors in group.values() for t in tensors if t.ndim]
    assert sum(t.size * t.dtype.itemsize for t in kept) == copies * 144


def test_large_numbers_are_readable(capsys: pytest.CaptureFixture[str]) -> None:
    text = lines(nn.Linear(1000, 2000), capsys)
    assert rows(text) == [["-", "Linear", "(None, 2000)", "2,002,000", "yes"]]
    assert total(text, "parameters") == "2,002,000 (8.01 MB): 2,002,000 trainable, 0 frozen"


def test_a_summary_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    model[2].eval()
    before, stream = model.get_weights(), st.random.get_state()
    lines(model, capsys)
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert calls == []
    assert st.random.get_state() == stream
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model[1].running_mean is not None
    model(st.random.normal((5, 4)))
    assert calls == [1]


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_go_out_and_in_as_arrays() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    weights = model.get_weights()
    assert [w.shape for w in weights] == [(2, 3), (2,), (2,), (2,), (2,), (2,), ()]
    weights[0][...] = 5  # copies
    assert float(model[0].weight.max()) < 5
    model.set_weights([w.tolist() for w in weights])
    assert (model[0].weight.numpy() == 5).all()
    assert model[0].weight.requires_grad
    twin = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(twin[0].bias.numpy(), model[0].bias.numpy())


def test_wrong_weights_change_nothing() -> None:
    layer = nn.Linear(3, 2)
    before = layer.get_weights()
    with pytest.raises(ValueError, match=r"Linear\.set_weights changed nothing: bias has shape \(2,\), not \(3,\)"):
        layer.set_weights([np.zeros((2, 3)), np.zeros(3)])
    with pytest.raises(ValueError, match="1 arrays were given for 2: weight, bias"):
        layer.set_weights([np.zeros((2, 3))])
    with pytest.raises(TypeError, match=r"expected a list of arrays.*not a dict; .*load_state_dict"):
        layer.set_weights(layer.state_dict())  # type: ignore[arg-type]
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# --- freezing ---------------------------------------------------------------------------------------------------------


def test_trainable_is_requires_grad() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    model[0].trainable = False
    assert (model.trainable, model[0].trainable, model[1].trainable, model[2].trainable) == (True, False, True, True)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    model.trainable = False
    assert not model.trainable
    model.trainable = True
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in optim.__all__ if name not in ("Optimizer", "schedules")])
def test_frozen_layers_train_like_constants(name: str, rng: np.random.Generator) -> None:
    """Frozen, then unfrozen: the values of a model whose other layer was trained alone."""
    x, y = rng.normal(size=(8, 4)).astype("f4"), rng.normal(size=(8, 2)).astype("f4")
    make = getattr(optim, name)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    start = model.get_weights()
    model[0].trainable = False
    model.compile(make(model.parameters(), lr=0.01), "mse")
    model.fit(x, y, epochs=3, shuffle=False, verbose=0)
    frozen = model.get_weights()
    np.testing.assert_array_equal(frozen[0], start[0])
    np.testing.assert_array_equal(frozen[1], start[1])

    alone = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    alone.set_weights(start)
    alone.compile(make(alone[1].parameters(), lr=0.01), "mse")
    alone.fit(x, y, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(frozen, alone.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)

    model.trainable = True
    model.fit(x, y, epochs=1, shuffle=False, verbose=0)
    assert all((a != b).any() for a, b in zip(model.get_weights(), frozen, strict=True))
    state = model.optimizer.state_dict()["state"]
    assert [state[i]["step"] for i in range(4)] == [1, 1, 4, 4]
