"""Functions of the engine refuse what steep's operations never give them: no call ends the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import steep as st
from steep import _core

X = st.ones((4, 3), device="cpu")
DOUBLE = X.astype(st.float64)
INTS = X.astype(st.int64)
ROW, VECTOR = st.ones(3, device="cpu"), st.ones(4, device="cpu")
LABELS = st.zeros(4, dtype=st.int64, device="cpu")
NONE = st.zeros((4, 0), device="cpu")
ONE = st.ones((), device="cpu")
STEPPED = st.zeros(8, dtype=st.int64, device="cpu")[::2]


def cross_entropy_backward(g: Any = VECTOR, x: Any = X, labels: Any = LABELS, lse: Any = VECTOR) -> Any:
    return _core.cross_entropy_backward(g, x, labels, lse, None)


def layer_norm_backward(
    g: Any = X, x: Any = X, axes: int = 1, weight: Any = ROW, mean: Any = VECTOR, rstd: Any = VECTOR
) -> Any:
    return _core.layer_norm_backward(g, x, axes, weight, mean, rstd)


def rms_norm_backward(g: Any = X, x: Any = X, axes: int = 1, weight: Any = ROW, rstd: Any = VECTOR) -> Any:
    return _core.rms_norm_backward(g, x, axes, weight, rstd)


def cdist_backward(g: Any = X @ X.mT, a: Any = X, b: Any = X, y: Any = X @ X.mT) -> Any:
    return _core.cdist_backward(g, a, b, y, 2.0)


REFUSED: dict[str, list[Callable[[], Any]]] = {
    "cross_entropy: .* expected floats": [
        lambda: _core.cross_entropy(X, VECTOR, None),
        lambda: _core.cross_entropy(X, LABELS[:3], None),
        lambda: _core.cross_entropy(X, STEPPED, None),
        lambda: _core.cross_entropy(INTS, LABELS, None),
        lambda: _core.cross_entropy(VECTOR, LABELS, None),
        lambda: _core.cross_entropy(NONE, LABELS, None),
        lambda: _core.cross_entropy_gradient(X, VECTOR, None, None, 1.0, 0.0),
        lambda: _core.cross_entropy_gradient(X, LABELS[:3], None, None, 1.0, 0.0),
        lambda: cross_entropy_backward(x=INTS),
        lambda: cross_entropy_backward(labels=LABELS[:3]),
    ],
    "cross_entropy: (lse|the weights|the total weight) must be": [
        lambda: _core.cross_entropy_gradient(X, LABELS, ROW, None, 1.0, 0.0),
        lambda: _core.cross_entropy_gradient(DOUBLE, LABELS, VECTOR, None, 1.0, 0.0),
        lambda: _core.cross_entropy_gradient(X, LABELS, None, VECTOR, 1.0, 0.0),
        lambda: _core.cross_entropy_gradient(DOUBLE, LABELS, None, ONE, 1.0, 0.0),
        lambda: cross_entropy_backward(lse=ROW),
        lambda: cross_entropy_backward(x=DOUBLE),
    ],
    "layer_norm: the (weight|bias|mean|gradient) must be|layer_norm: rstd must be": [
        lambda: _core.layer_norm(X, 1, VECTOR, None, 1e-5),
        lambda: _core.layer_norm(X, 1, None, VECTOR, 1e-5),
        lambda: _core.layer_norm(DOUBLE, 1, ROW, None, 1e-5),
        lambda: layer_norm_backward(g=X.mT),
        lambda: layer_norm_backward(g=DOUBLE),
        lambda: layer_norm_backward(weight=VECTOR),
        lambda: layer_norm_backward(mean=ROW),
        lambda: layer_norm_backward(mean=VECTOR.astype(st.float64)),
        lambda: layer_norm_backward(rstd=ROW),
    ],
    "rms_norm: the (weight|gradient) must be|rms_norm: rstd must be": [
        lambda: _core.rms_norm(X, 1, VECTOR, 1e-5),
        lambda: rms_norm_backward(g=X.mT),
        lambda: rms_norm_backward(weight=VECTOR),
        lambda: rms_norm_backward(rstd=ROW),
    ],
    "_norm: (3|-1) axes of a tensor": [
        lambda: _core.layer_norm(X, 3, None, None, 1e-5),
        lambda: _core.layer_norm(X, -1, None, None, 1e-5),
        lambda: layer_norm_backward(axes=3),
        lambda: _core.rms_norm(X, 3, None, 1e-5),
        lambda: rms_norm_backward(axes=-1),
    ],
    "cdist: .* expected": [
        lambda: _core.cdist(ROW, ROW, 2.0),
        lambda: _core.cdist(X, X.mT, 2.0),
        lambda: _core.cdist(X, DOUBLE, 2.0),
        lambda: _core.cdist(INTS, INTS, 2.0),
        lambda: cdist_backward(g=X),
        lambda: cdist_backward(y=X),
        lambda: cdist_backward(a=DOUBLE, b=DOUBLE),
    ],
    "clip_grad_norm_: expected one": [
        lambda: _core.clip_norm_([X.copy()], VECTOR, 1.0),
        lambda: _core.clip_norm_([], LABELS[0], 1.0),
        lambda: _core.clip_norm_([], VECTOR[:0], 1.0),
    ],
    "concat: there are no arrays": [lambda: _core.concat([], 0)],
    "diagonal: the axes are both 1": [
        lambda: _core.diagonal(X, 0, 1, 1),
        lambda: _core.diagonal(X, 0, 1, -1),
        lambda: _core.diagonal_backward(ROW, 0, 1, 1, (3, 3)),
    ],
    "on another axis|must have the shape": [
        lambda: _core.gather_along_axis(X, INTS, 2),
        lambda: _core.gather_along_axis(X, INTS, -(2**31)),
        lambda: _core.scatter_along_axis(X, INTS, 2, X),
        lambda: _core.scatter_add_along_axis(X, INTS, -1, X),
        lambda: _core.take_along_axis(X, INTS, 2),
        lambda: _core.take_along_axis_backward(X, INTS, 2, (4, 3)),
    ],
    "linear: a gradient of shape": [
        lambda: _core.linear_vjp(X, ROW, None, None, "relu", False, False),
        lambda: _core.linear_vjp(X, ROW, None, ROW, "relu", False, False),
        lambda: _core.linear_vjp(X, None, None, DOUBLE, "tanh", True, False),
        lambda: _core.linear_vjp(ONE, None, X, None, None, False, False),
        lambda: _core.linear_vjp(X, ONE, None, None, None, False, False),
        lambda: _core.linear_vjp(X, None, ROW, None, None, False, False),
    ],
}
OUT_OF_RANGE: dict[str, list[Callable[[], Any]]] = {
    "index tensors from axis": [
        lambda: _core.gather(X, [], 0, [], False),
        lambda: _core.gather(X, [LABELS], 2, [], False),
        lambda: _core.gather(X, [LABELS], -1, [], False),
        lambda: _core.gather(X, [LABELS, LABELS, LABELS], 0, [], False),
        lambda: _core.gather_backward(X, [], 0, (4, 3), True),
        lambda: _core.gather_backward(X, [LABELS], -(2**31), (4,), True),
        lambda: _core.scatter_(X.copy(), [], 0, [], False, ONE),
        lambda: _core.scatter_(X.copy(), [LABELS, LABELS], 1, [], True, ONE),
        lambda: _core.take(X, LABELS, 2),
        lambda: _core.take_backward(X, LABELS, 3, (4, 3)),
        lambda: _core.index_add(VECTOR, LABELS, 1, ONE),
        lambda: _core.index_copy(VECTOR, LABELS, -1, ONE),
    ],
    "(concat|diagonal): axis 2 is out of range": [
        lambda: _core.concat([X, X], 2),
        lambda: _core.diagonal(X, 0, 0, 2),
    ],
    "out of range for axis 1 with 0 elements": [lambda: _core.gather(NONE, [LABELS], 1, [], True)],
}
CALLS = [
    pytest.param(call, error, message, id=f"{message[:16]}-{i}")
    for error, table in ((ValueError, REFUSED), (IndexError, OUT_OF_RANGE))
    for message, calls in table.items()
    for i, call in enumerate(calls)
]


@pytest.mark.parametrize(("call", "error", "message"), CALLS)
def test_operands_of_other_dtypes_and_shapes(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), st.no_grad():  # which takes linear_vjp past its recorded form
        call()


def test_unchecked_indices_of_another_dtype_are_checked() -> None:
    with pytest.raises(TypeError, match="indices must be integers"):
        _core.gather(X, [VECTOR], 0, [], True)
    assert _core.gather(X, [LABELS.astype(st.int8)], 0, [], True).shape == (4, 3)


def test_a_diagonal_far_away_has_no_elements() -> None:
    for offset in (-(2**63), 2**63 - 1):
        assert _core.diagonal(X, offset, 0, 1).shape == (0,)


def test_what_backpropagate_wants_is_a_dict() -> None:
    x = st.ones(3, requires_grad=True)
    y = x.sum()
    with pytest.raises(TypeError, match="wanted is None or a dict"):
        _core.backpropagate([(y, st.ones(()))], False, False, [x], lambda g, edge: g)
