"""Checkpoints: the values that gradients need are computed again in backward instead of being kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from .. import _core, autocasting, random
from .._core import Node
from ..devices import get_default_device
from ..tensor import Tensor
from . import anomaly
from .tape import enable_grad, is_grad_enabled

__all__ = ["checkpoint"]

Nodes = dict[int, "weakref.ref[Node]"]


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, without keeping what its gradient needs: backward runs the function again.

    The memory of the function's intermediate values is thus free between forward and backward, for the time of one
    more forward. The second run draws the same random numbers (the generator's state is restored, and put back
    afterwards), so the gradients are the same bits as without ``checkpoint``, to any order. The result is a Tensor, or
    tuples, lists and dicts of them. Chen et al. 2016, "Training deep nets with sublinear memory cost".

    The function must do the same operations both times, and what it reads must not change in between: backward raises
    RuntimeError if it finds that it did. Other effects of the function happen twice.

    >>> import steep as st
    >>> x = st.tensor([1.0, 2.0], requires_grad=True)
    >>> y = st.autograd.checkpoint(lambda x: st.exp(st.sin(x)), x)
    >>> y.sum().backward()
    >>> bool((x.grad == st.cos(x.detach()) * y.detach()).all())
    True
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    again = _Again(function, args, kwargs)
    out = again.run()
    again.postpone(out)
    return out


class _Again:
    """The operations of one call of a function: their saved values are forgotten, and brought back when needed."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.call = function, args, kwargs
        self.random_state = random.get_state()
        self.device = get_default_device()
        self.autocast = autocasting.policy()
        self.start = _core.next_id()
        self.names: list[str] = []  # of the operations, in the order in which they were recorded
        self.numbers: dict[int, int] = {}  # their places in it, by their nodes' ids
        # The nodes that want saved values, by number: first those of the first run. A checkpoint inside another is run
        # again with it, and then has to serve the outer one's nodes too, whose inputs' nodes are given by id.
        self.wanting: dict[int, tuple[Nodes, Nodes]] = {0: ({}, {})}
        self.inputs: list[tuple[Tensor, int]] = []  # with their versions

    def run(self) -> Any:
        function, args, kwargs = self.call
        with autocasting.under(self.autocast):  # with casts of its own, or those that were there would not be repeated
            return function(*args, **kwargs)

    def postpone(self, out: Any) -> None:
        nodes, leaves = _recorded(out, self.start)
        tensors = {id(x): x for x in (*leaves, *_tensors(self.call[1]), *_tensors(self.call[2]))}
        self.inputs = [(x, x._version) for x in tensors.values()]
        for number, node in enumerate(nodes):
            self.names.append(node.name)
            self.numbers[node.id] = number
            self.wanting[0][1][number] = weakref.ref(node)  # the node holds this object
            node.postpone(self)

    def serve(self, node: Node, like: Node, others: Nodes) -> None:
        """``node`` of an outer checkpoint wants what is postponed for ``like``, the same operation run again."""
        self.wanting.setdefault(id(others), (others, {}))[1][self.numbers[like.id]] = weakref.ref(node)

    def restore(self) -> None:
        """Runs the function again and gives every node the values that it reads."""
        for x, version in self.inputs:
            if x._version != version:
                raise RuntimeError(
                    f"checkpoint: an input or parameter of shape {x.shape} has been changed in place since the forward "
                    "pass, so it cannot be repeated: change it after backward"
                )
        start, state = _core.next_id(), random.get_state()
        random.set_state(self.random_state)
        try:
            with enable_grad(), self.device, anomaly.forward_again():
                nodes, _ = _recorded(self.run(), start)
        finally:
            random.set_state(state)
        names = [node.name for node in nodes]
        if names != self.names:
            first = next((i for i, (a, b) in enumerate(zip(self.names, names, strict=False)) if a != b), "the last")
            raise RuntimeError(
                f"checkpoint: the function did other operations the second time: {len(self.names)} and then "
                f"{len(names)}, which differ after number {first}: it must depend on its arguments alone"
            )
        for others, wanting in list(self.wanting.values()):
            places = {**others, **{nodes[number].id: place for number, place in wanting.items()}}
            same = {i: node for i, place in places.items() if (node := place()) is not None}
            for number, place in wanting.items():
                node, again = place(), nodes[number]
                if node is not None and node.postponed_by is self:
                    _core.restore_saved(node, again, same)
                    if again.postponed_by is not None:
                        again.postponed_by.serve(node, again, places)


def _tensors(x: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(x, Tensor):
        return [x]
    items = x.values() if isinstance(x, dict) else x if isinstance(x, tuple | list) else ()
    return [tensor for item in items for tensor in _tensors(item)]


def _recorded(out: Any, start: int) -> tuple[list[Node], list[Tensor]]:
    """The nodes recorded since ``start`` that ``out`` comes from, oldest first, and the leaves that they read."""
    nodes: dict[int, Node] = {}
    leaves: dict[int, Tensor] = {}
    waiting: list[Any] = [x._node for x in _tensors(out)]
    while waiting:
        edge = waiting.pop()
        if isinstance(edge, Tensor):
            leaves[id(edge)] = edge
        elif edge is not None and edge.id >= start and edge.id not in nodes:
            nodes[edge.id] = edge
            waiting.extend(edge.edges)
    return [nodes[i] for i in sorted(nodes)], list(leaves.values())
