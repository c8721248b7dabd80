"""Names of other libraries: what a message says to use has to be there."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

import steep as st
from steep import hints


@pytest.mark.parametrize("name", hints.FUNCTIONS)
def test_functions(name: str) -> None:
    assert name not in st.__all__
    message = hints.of_function(name)
    for used in re.findall(r"steep\.(\w+)", message):
        assert hasattr(st, used)
    with pytest.raises(AttributeError, match=re.escape(f"module 'steep' has no attribute {name!r}{message}")):
        getattr(st, name)


@pytest.mark.parametrize("name", [*hints.METHODS, "cumsum", "std", "gather", "masked_fill", "clamp"])
def test_methods(name: str) -> None:
    x = st.ones((2, 2))
    with pytest.raises(AttributeError, match=re.escape(f"'Tensor' object has no attribute {name!r}: use ")):
        getattr(x, name)
    for used in re.findall(r"steep\.(\w+)", hints.of_method(name)):
        assert hasattr(st, used)


@pytest.mark.parametrize("name", hints.LAYERS)
def test_layers(name: str) -> None:
    message = hints.of_layer(name)
    assert message.startswith(": use ")
    with pytest.raises(AttributeError, match=re.escape(f"module 'steep.nn' has no attribute {name!r}{message}")):
        getattr(st.nn, name)
    for used in re.findall(r"([A-Z]\w+)\(", message):
        assert hasattr(st.nn, used)
    for used in re.findall(r"steep\.(\w+)", message):
        assert hasattr(st, used)


@pytest.mark.parametrize("name", ["Conv2d", "Conv1D", "MaxPooling2D", "LSTM", "GRUCell", "MultiheadAttention"])
def test_layers_that_steep_does_not_have(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'steep.nn' has no attribute '{name}': steep has no "):
        getattr(st.nn, name)


@pytest.mark.parametrize("name", hints.MODULES)
def test_modules(name: str) -> None:
    message = hints.of(hints.MODULES, name)
    with pytest.raises(AttributeError, match=re.escape(f"'Linear' object has no attribute {name!r}{message}")):
        getattr(st.nn.Linear(2, 1), name)
    for used in re.findall(r"(?:model|self)\.(\w+)\(", message):
        assert hasattr(st.nn.Module, used)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (st.amp, hints.AMP),
        (st.callbacks, hints.CALLBACKS),
        (st.cuda, hints.CUDA),
        (st.data, hints.DATA),
        (st.data.augment, hints.AUGMENTATION),
        (st.metrics, hints.METRICS),
        (st.plots, hints.PLOTS),
    ],
)
def test_packages(module: ModuleType, names: dict[str, str]) -> None:
    for name, there in names.items():
        with pytest.raises(
            AttributeError, match=re.escape(f"{module.__name__!r} has no attribute {name!r}: use {there}")
        ):
            getattr(module, name)
        for used in re.findall(r"^([A-Z]\w+|[a-z]+_\w+)\(", there):
            assert hasattr(module, used)


def test_a_property_that_fails_says_why() -> None:
    class Net(st.nn.Module):
        @property
        def width(self) -> int:
            return int(self.units)

    with pytest.raises(AttributeError, match="'Net' object has no attribute 'units'"):
        _ = Net().width
    assert not hasattr(Net(), "units")


def test_names_of_no_library() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'flaot32'$"):
        st.flaot32  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'steep.nn' has no attribute 'Linaer'$"):
        st.nn.Linaer  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute '_ipython_display_'$"):
        st.ones(1)._ipython_display_  # noqa: B018
    assert not hasattr(st.ones(1), "foo")


def test_neither_a_device_nor_a_dtype() -> None:
    with pytest.raises(TypeError, match=r"'gpu' is neither a device .* nor a dtype"):
        st.ones(1).to("gpu")


def test_the_learning_rate_is_an_attribute_too() -> None:
    p, q = st.nn.Linear(1, 1).parameters()
    optimizer = st.optim.SGD([{"params": [p]}, {"params": [q], "lr": 3.0}], lr=1.0)
    assert optimizer.lr == 1.0
    optimizer.lr = 0.5
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
    with pytest.raises(ValueError, match="lr=-1 must not be negative"):
        optimizer.lr = -1
