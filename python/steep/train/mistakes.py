"""Mistakes that a model's last layer, its first output and its first loss show."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import nn
from .._core import Node
from ..metrics.lookup import CLASSES
from ..stack import level_outside
from ..tensor import Parameter, Tensor

if TYPE_CHECKING:
    from .compiled import Compiled

__all__ = ["check_last_layer", "checked_loss"]

ONE_OUTPUT = (
    "has one output, and the share of one class among one is always 1: give it an output for each class, or use "
    "the loss 'bce_with_logits' for a yes/no question"
)
APPLIED = {"categorical": "softmax", "binary_logits": "sigmoid"}  # what the loss does itself
SQUASHING = ("softmax", "sigmoid")
# Modules that leave the meaning of numbers as it is, and operations.
PASSING = (nn.Dropout, nn.Flatten, nn.Identity)
MOVING = ("reshape", "squeeze", "expand_dims", "astype", "getitem", "permute_dims", "dropout")
ELEMENTWISE = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Softplus,
    nn.Sigmoid,
    nn.LogSigmoid,
    nn.Tanh,
    nn.Softmax,
    nn.LogSoftmax,
)


# --- at compile: the last layers of a Sequential ----------------------------------------------------------------------


def check_last_layer(model: Any, kind: str) -> bool:
    """Warns if a Sequential ends in an activation that its loss doesn't want, and returns whether it did.

    Raises ValueError for one class, and for the softmax of one output.
    """
    layers = [(label, layer) for label, layer in _in_order(model, "") if not isinstance(layer, PASSING)]
    if not layers:
        return False
    label, last = layers[-1]
    activation = _activation(last)
    for name, layer in reversed(layers):
        if isinstance(layer, nn.Linear) and layer.out_features == 1:
            _check_one_output(f"compile: {name}", label, last, kind)
        if not isinstance(layer, ELEMENTWISE):
            break
    if activation is None and not isinstance(last, nn.Linear):
        return False  # a module of the user's own, or one that says nothing
    return _warn(f"{label} ends the model in {activation or 'raw scores'}", activation, kind)


def _in_order(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The layers of Sequentials in Sequentials, as messages call them."""
    if not isinstance(layer, nn.Sequential):
        yield (f"{type(layer).__name__} {path!r}" if path else type(layer).__name__), layer
        return
    for name, inner in zip(layer._names(), layer, strict=True):
        yield from _in_order(inner, f"{path}.{name}" if path else name)


def _activation(layer: Any) -> str | None:
    """The activation that a layer is or ends in, if it has a name."""
    if isinstance(layer, nn.Linear):
        return layer.activation if isinstance(layer.activation, str) else getattr(layer.activation, "__name__", None)
    names = {nn.Softmax: "softmax", nn.Sigmoid: "sigmoid", nn.LogSoftmax: "log_softmax"}
    return names.get(type(layer), type(layer).__name__ if isinstance(layer, ELEMENTWISE) else None)


def _check_one_output(who: str, label: str, last: Any, kind: str) -> None:
    if kind in CLASSES:
        raise ValueError(f"{who} {ONE_OUTPUT}")
    if _activation(last) == "softmax" and getattr(last, "axis", -1) == -1:
        raise ValueError(
            f"compile: {label} is the softmax of one output, which is always 1: use a sigmoid for a yes/no question"
        )


# --- at the first batch: the operations behind the output and the loss ------------------------------------------------


def checked_loss(model: Any, state: Compiled, output: Any, target: Any, sample_weight: Any) -> Tensor:
    """The loss of the first batch; warns and raises as ``check_last_layer`` does, for any model.

    Raises ValueError also where a loss of the user's own broadcasts predictions (N, 1) and targets (N,) to (N, N).
    """
    if state.only is not None:
        outputs, targets = {"output": output}, {"output": target}
    else:
        outputs = dict(state.by_output(output, "output"))
        targets = dict(state.by_output(target, "target"))
    for name, goal in state.goals.items():
        if isinstance(outputs[name], Tensor):
            called = "output" if state.only is not None else f"output {name!r}"
            _check_output(model, called, outputs[name], goal.kind, state.doubtful)
    loss = state.loss_of(output, target, sample_weight)
    for name, goal in state.goals.items():
        if goal.kind == "unknown" and isinstance(outputs[name], Tensor) and isinstance(targets[name], Tensor):
            _check_pairs(model, goal.loss, outputs[name], targets[name], loss)
    return loss


def _check_output(model: Any, called: str, output: Tensor, kind: str, doubtful: bool) -> None:
    if kind in CLASSES and output.ndim > 1 and output.shape[1] == 1:
        inner = "" if called == "output" else f", in {called},"
        raise ValueError(f"{type(model).__name__}{inner} {ONE_OUTPUT}")
    node = output.grad_fn
    while node is not None and node.name in MOVING:
        node = _before(node)
    if node is None or not doubtful:
        return
    activation = node.saved[3] if node.name == "linear" else node.name
    if activation is None or activation in (*SQUASHING, "log_softmax"):
        where = f"{type(model).__name__}'s {called}{_layer_behind(model, node)}"
        _warn(f"{where} comes from {activation or 'raw scores'}", activation, kind)


def _before(node: Node) -> Node | None:
    edge = node.edges[0] if node.edges else None
    return edge if isinstance(edge, Node) else None


def _layer_behind(model: Any, node: Node | None) -> str:
    """The layer whose parameters were used last on the way to this node, in brackets."""
    owners = {
        id(value): f" ({type(module).__name__} {path!r})"
        for path, module in model.named_modules()
        if path
        for value in vars(module).values()
        if isinstance(value, Parameter)
    }
    while node is not None:
        for edge in node.edges:
            if id(edge) in owners:
                return owners[id(edge)]
        node = _before(node)
    return ""


def _check_pairs(model: Any, loss: Any, output: Tensor, target: Tensor, result: Tensor) -> None:
    """Raises ValueError if the graph of the loss has an operation of (N, 1) and (N,) whose result is (N, N)."""
    n = len(output) if output.ndim else 0
    if n < 2 or {output.shape, target.shape} != {(n, 1), (n,)}:
        return
    seen: set[int] = set()
    waiting = [result.grad_fn if isinstance(result, Tensor) else None]
    while waiting:
        node = waiting.pop()
        if node is None or node is output.grad_fn or node.id in seen:
            continue
        seen.add(node.id)
        shapes = [None if edge is None else edge.shape for edge in node.edges]
        if node.shape == (n, n) and node.name != "matmul" and shapes in ([output.shape, None], [None, output.shape]):
            raise ValueError(
                f"{getattr(loss, '__name__', loss)}: '{node.name}' of {type(model).__name__}'s output {output.shape} "
                f"and targets {target.shape} has the shape {node.shape}: broadcasting pairs every prediction with "
                f"every target. Reshape one of them first, for example y to {output.shape}"
            )
        waiting += [edge for edge in node.edges if isinstance(edge, Node)]


# --- what is said -----------------------------------------------------------------------------------------------------


def _warn(who: str, activation: str | None, kind: str) -> bool:
    """Warns of an activation that the loss doesn't want, and returns whether it did."""
    if kind in APPLIED and activation in SQUASHING:
        applied = APPLIED[kind]
        text = (
            f"{who}, but the loss wants logits and applies {applied} itself: training would be slow and inexact. "
            f"Leave the {activation} out, and call steep.{applied} on predictions to get probabilities"
        )
        if kind == "binary_logits" and activation == "sigmoid":
            text += ", or use the loss 'binary_crossentropy'"
        elif activation != applied:
            other = "'bce_with_logits' for yes/no questions" if applied == "softmax" else "'cross_entropy' for classes"
            text += f"; {activation} belongs to the loss {other}"
    elif kind == "log_probabilities" and activation in (None, *SQUASHING):
        text = (
            f"{who}, but the loss 'nll' wants log-probabilities: of other numbers it has no meaning, and may fall "
            "without end. End the model in log_softmax, or in logits and use the loss 'cross_entropy'"
        )
    else:
        return False
    warnings.warn(text, stacklevel=level_outside())
    return True
