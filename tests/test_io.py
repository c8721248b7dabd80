"""Files: what is saved comes back bit for bit, other programs read it, and damaged files are errors."""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import steep as st
from steep import dtypes
from steep.io.structure import MAX_DEPTH


def bits(x: st.Tensor) -> bytes:
    """Of the elements in C order."""
    array = x.detach().astype("float32").numpy() if x.dtype is st.bfloat16 else x.detach().numpy()
    return np.ascontiguousarray(array).tobytes()


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal: types, order of keys, bits of tensors, NaN and the sign of zero."""
    if isinstance(a, st.Tensor):
        return isinstance(b, st.Tensor) and (a.dtype, a.shape) == (b.dtype, b.shape) and bits(a) == bits(b)
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def kept(state: Any, folder: Path) -> Any:
    st.save(state, folder / "state.safetensors")
    return st.load(folder / "state.safetensors")


def numbers(dtype: dtypes.DType, shape: tuple[int, ...], rng: np.random.Generator) -> st.Tensor:
    if dtype.is_floating_point:
        return st.tensor(rng.standard_normal(shape)).astype(dtype)
    low, high = (0, 2) if dtype is st.bool else (np.iinfo(dtype.name).min, np.iinfo(dtype.name).max)
    values = rng.integers(low, high, shape, dtype="int64" if dtype is st.bool else dtype.name)
    return st.tensor(values, dtype=dtype)


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (7,), (3, 5), (2, 3, 1, 2, 1, 2, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda t: t.name)
def test_tensors(dtype: dtypes.DType, shape: tuple[int, ...], rng: np.random.Generator, tmp_path: Path) -> None:
    x = numbers(dtype, shape, rng)
    assert same(kept(x, tmp_path), x)
    assert same(kept({"weight": x, "other": x}, tmp_path), {"weight": x, "other": x})


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda t: t.name)
def test_tensors_that_are_views(dtype: dtypes.DType, rng: np.random.Generator, tmp_path: Path) -> None:
    x = numbers(dtype, (6, 5), rng)
    views = [x.T, x[::-1], x[1:4, ::2], x[2], st.broadcast_to(x[0], (3, 5)), x[:0]]
    assert same(kept(views, tmp_path), views)
    assert all(view.is_contiguous() for view in kept(views, tmp_path))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floats_that_are_special(dtype: str, tmp_path: Path) -> None:
    x = st.tensor([math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, 5e-324, 1e-41], dtype=dtype)
    assert same(kept(x, tmp_path), x)


def test_parameters_come_back_as_tensors_without_history(tmp_path: Path) -> None:
    p = st.nn.Parameter([1.0, 2.0])
    back = kept([p, p * 2], tmp_path)
    assert [type(x) for x in back] == [st.Tensor, st.Tensor]
    assert not any(x.requires_grad for x in back)
    assert [x.tolist() for x in back] == [[1, 2], [2, 4]]


PLAIN = [
    None,
    True,
    0,
    -1,
    2**64,
    -(10**300),
    0.1,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    math.nan,
    math.inf,
    -math.inf,
    "",
    'naïve ∂ \x00\n"\\',
    "\ud800",
    [],
    (),
    {},
    [[], ({},)],
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values(value: Any, tmp_path: Path) -> None:
    assert same(kept(value, tmp_path), value)
    assert same(kept({"a": [value, (value,)], 3: value}, tmp_path), {"a": [value, (value,)], 3: value})


def test_keys(tmp_path: Path) -> None:
    state = {1: "int", "1": "str", 2.5: "float", True + 1: "two", None: 0, False: st.ones(2), math.inf: [st.zeros(1)]}
    assert same(kept(state, tmp_path), state)
    # Dicts that look like what they are kept as.
    state = {"tensor": "x", "crc32": 3, "dict": {"items": [[1, 2]]}, "float": "nan", "tuple": [1], "": st.ones(1)}
    assert same(kept(state, tmp_path), state)


def test_names_that_meet(tmp_path: Path) -> None:
    a, b, c, d = (st.tensor(i) for i in range(4))
    for state in (
        {"x": {"y": a}, "x.y": b, "x.y~2": c},
        {"__metadata__": a, "steep": b, "\ud800": c, "\\ud800": d},
        [{0: a, "0": b}, c, {"": d}],
    ):
        assert same(kept(state, tmp_path), state)


def test_subclasses_come_back_as_plain_types(tmp_path: Path) -> None:
    from collections import OrderedDict
    from enum import IntEnum

    class Phase(IntEnum):
        TRAIN = 3

    state = OrderedDict(b=np.float64(0.1), a=Phase.TRAIN)
    assert same(kept(state, tmp_path), {"b": 0.1, "a": 3})


leaves = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(allow_nan=False),
    some.text(max_size=5),
    some.builds(
        lambda shape, dtype, n: st.full(shape, n, dtype=dtype),
        some.lists(some.integers(0, 3), max_size=3).map(tuple),
        some.sampled_from(dtypes.ALL),
        some.integers(0, 1),
    ),
)
keys = some.one_of(some.text(max_size=3), some.integers(-2, 2), some.floats(allow_nan=False, width=16), some.none())
states = some.recursive(
    leaves,
    lambda inner: some.one_of(
        some.lists(inner, max_size=4),
        some.lists(inner, max_size=4).map(tuple),
        some.dictionaries(keys, inner, max_size=4),
        some.dictionaries(some.sampled_from(["a", "b", "a.b", "0", "a~2", "__metadata__"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(states)
@settings(max_examples=150, deadline=None)
def test_any_state(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    assert same(kept(state, tmp_path_factory.getbasetemp()), state)


def test_what_cannot_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steep.io.file.LONGEST_HEADER", 5000)
    path = tmp_path / "state.safetensors"
    circle: list[Any] = []
    circle.append({"again": circle})
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    for state, error, message in [
        ({"optimizer": {"bad": {1, 2}}}, TypeError, r"state\['optimizer'\]\['bad'\] is a set, which has no form"),
        ([np.ones(3)], TypeError, r"state\[0\] is a ndarray, .* \(steep.asarray\)"),
        (b"bytes", TypeError, "state is a bytes"),
        ({(1, 2): 3}, TypeError, r"the key \(1, 2\), a tuple"),
        ({"x": {st.ones(1): 1}}, TypeError, r"state\['x'\] has the key tensor"),
        (circle, ValueError, r"is nested more than 100 deep: does it contain itself"),
        ([deep], ValueError, "is nested more than 100 deep"),
        (["x" * 5000], ValueError, "takes 5.* bytes, of at most 5000: make its long lists tensors"),
    ]:
        with pytest.raises(error, match=message):
            st.save(state, path)
        assert os.listdir(tmp_path) == []
    assert same(kept(deep, tmp_path), deep)


def test_device(tmp_path: Path) -> None:
    st.save({"w": st.ones(3)}, tmp_path / "w")
    assert st.load(tmp_path / "w")["w"].device is st.get_default_device()
    assert st.load(str(tmp_path / "w"), device="cpu")["w"].device is st.device("cpu")


def test_load_on_cuda(cuda: str, tmp_path: Path) -> None:
    x = st.tensor([1.5, -2.0], dtype="bfloat16", device=cuda)
    st.save([x], tmp_path / "x")
    assert str(st.load(tmp_path / "x", device=cuda)[0].device) == cuda
    assert st.load(tmp_path / "x", device="cpu")[0].tolist() == [1.5, -2.0]


# --- weights and training states --------------------------------------------------------------------------------------


def model() -> st.nn.Sequential:
    return st.nn.Sequential(st.nn.Linear(3, 4), st.nn.BatchNorm1d(4), st.nn.ReLU(), st.nn.Linear(4, 2))


def test_weights(tmp_path: Path) -> None:
    a, b = model(), model()
    a.save_weights(tmp_path / "w")
    assert a.load_weights(tmp_path / "w") == ([], [])
    assert b.load_weights(str(tmp_path / "w")) == ([], [])
    assert same(a.state_dict(), b.state_dict())
    assert same(st.load(tmp_path / "w"), a.state_dict())


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    layer = st.nn.Linear(3, 4)
    layer.save_weights(tmp_path / "w")
    other = st.nn.Linear(3, 4, bias=False)
    with pytest.raises(ValueError, match=r"w: Linear.load_state_dict loaded nothing:\n  unexpected: bias"):
        other.load_weights(tmp_path / "w")
    assert other.load_weights(tmp_path / "w", strict=False) == ([], ["bias"])
    assert same(other.weight.detach(), layer.weight.detach())
    for state, kind in (({"model": layer.state_dict(), "epoch": 1}, "a dict of model, epoch"), ([1], "a list")):
        st.save(state, tmp_path / "state")
        with pytest.raises(ValueError, match=rf"Linear.load_weights: .*state holds {kind}, not weights alone"):
            layer.load_weights(tmp_path / "state")


def test_training_goes_on_as_if_never_interrupted(tmp_path: Path, rng: np.random.Generator) -> None:
    x, y = st.tensor(rng.standard_normal((16, 3))).float(), st.tensor(rng.standard_normal((16, 2))).float()

    def start() -> tuple[st.nn.Sequential, st.optim.Optimizer]:
        net = model()
        return net, st.optim.NAdam(net.parameters(), lr=0.01)

    def train(net: st.nn.Sequential, optimizer: st.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (st.dropout(net(x), 0.5) - y).square().mean()
            loss.backward()
            optimizer.step()

    net, optimizer = start()
    train(net, optimizer, 5)
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "random": st.random.get_state()}
    st.save(state, tmp_path / "state")
    train(net, optimizer, 5)
    resumed, its_optimizer = start()
    state = st.load(tmp_path / "state")
    resumed.load_state_dict(state["model"])
    its_optimizer.load_state_dict(state["optimizer"])
    st.random.set_state(state["random"])
    train(resumed, its_optimizer, 5)
    assert same(resumed.state_dict(), net.state_dict())
    assert same(its_optimizer.state_dict(), optimizer.state_dict())


# --- other programs ---------------------------------------------------------------------------------------------------


def test_the_file_byte_by_byte(tmp_path: Path) -> None:
    """The format as its specification has it, read without any library."""
    st.save({"b": st.tensor([1, 2], dtype="int16"), "a": st.tensor(3.0)}, tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    text = header["__metadata__"]["steep"]
    crc = {"a": zlib.crc32(b"float32()" + struct.pack("<f", 3)), "b": zlib.crc32(b"int16(2,)" + b"\1\0\2\0")}
    expected = {"dict": {name: {"tensor": name, "crc32": crc[name]} for name in "ba"}}
    assert json.loads(text) == {"version": 1, "state": expected}
    assert header == {
        "__metadata__": {"format": "pt", "steep": text, "steep.crc32": str(zlib.crc32(text.encode()))},
        "a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
        "b": {"dtype": "I16", "shape": [2], "data_offsets": [4, 8]},
    }
    assert length % 8 == 0
    assert data[8 + length :] == struct.pack("<fhh", 3, 1, 2)


@pytest.mark.parametrize("dtype", [t for t in dtypes.ALL if t is not dtypes.bfloat16], ids=lambda t: t.name)
def test_with_safetensors_for_numpy(dtype: dtypes.DType, tmp_path: Path, rng: np.random.Generator) -> None:
    from safetensors.numpy import load_file, save_file

    state = {"w": numbers(dtype, (3, 5), rng), "layer.0": numbers(dtype, (), rng), "none": numbers(dtype, (0, 2), rng)}
    st.save(state, tmp_path / "ours")
    read = load_file(tmp_path / "ours")
    assert {name: (x.dtype.name, x.shape, x.tobytes()) for name, x in read.items()} == {
        name: (x.dtype.name, x.shape, bits(x)) for name, x in state.items()
    }
    save_file({name: x.numpy() for name, x in state.items()}, tmp_path / "theirs")
    assert same(dict(sorted(st.load(tmp_path / "theirs").items())), dict(sorted(state.items())))


def test_with_safetensors_for_torch(tmp_path: Path, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    layer = st.nn.Linear(3, 2).to(st.bfloat16)
    layer.save_weights(tmp_path / "ours")
    theirs = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    theirs.load_state_dict(load_file(tmp_path / "ours"))
    assert theirs.weight.tolist() == layer.weight.tolist()
    torch.manual_seed(0)
    theirs = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    save_file(theirs.state_dict(), tmp_path / "theirs")
    layer.load_weights(tmp_path / "theirs")
    assert layer.weight.tolist() == theirs.weight.tolist()


def test_a_file_without_tensors_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x02" + bytes(7) + b"{}")
    assert st.load(tmp_path / "x") == {}


def test_a_path_in_bytes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "state")
    st.save({"epoch": 1}, path)  # type: ignore[arg-type]  # as open takes it
    assert st.load(path) == {"epoch": 1}  # type: ignore[arg-type]
