"""The graph of an expression: which operations made a tensor, and of what."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._core import Node
from ..io import atomic_write
from ..nn import Module
from ..tensor import Tensor

__all__ = ["Graph", "computational_graph"]


@dataclass(frozen=True, repr=False)
class Graph:
    """What ``computational_graph`` returns: ``text`` is a tree, ``dot`` the graph in Graphviz' language.

    A notebook shows the picture where Graphviz' program ``dot`` is installed, and the tree elsewhere, as print does.
    """

    text: str
    dot: str

    def __repr__(self) -> str:
        return self.text

    def render(self, format: str = "svg") -> bytes:
        """The picture in a format that Graphviz knows: "svg", "png", "pdf". Raises RuntimeError if it fails."""
        program = shutil.which("dot")
        if program is None:
            raise RuntimeError(
                "the picture of a graph needs Graphviz' program dot: install it (apt install graphviz, brew install "
                "graphviz), or print the graph, which is a tree of text"
            )
        result = subprocess.run([program, f"-T{format}"], input=self.dot.encode(), capture_output=True, check=False)
        if result.returncode:
            raise RuntimeError(f"dot -T{format} failed: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout

    def save(self, path: Any) -> None:
        """Writes a picture, or, for the endings .txt and .dot, the tree and Graphviz' language. The file is whole."""
        ending = Path(path).suffix[1:] or "png"
        content = {"txt": self.text + "\n", "dot": self.dot}.get(ending)
        data = self.render(ending) if content is None else content.encode()
        with atomic_write(path) as file:
            file.write(data)

    def _repr_svg_(self) -> str | None:
        return self.render().decode() if shutil.which("dot") else None


def computational_graph(
    tensor: Tensor,
    names: Module | Mapping[str, Tensor] | None = None,
    *,
    limit: int = 1000,
    path: Any = None,
) -> Graph:
    """The operations that a tensor was computed by, down to the leaves that get gradients, with their shapes.

    In the tree an operation stands above its inputs. One that is used several times is drawn once, has a number like
    [1], and is referred to by it. Constants are not part of the graph: no gradient comes to them. ``names`` gives the
    leaves names: a model's parameters, or a dict. ``path``: see ``Graph.save``. Raises TypeError for what is no
    Tensor, ValueError for a tensor without a graph and for more than ``limit`` operations.

    >>> import steep as st
    >>> w = st.tensor([1.0, 2.0], requires_grad=True)
    >>> b = st.tensor(0.5, requires_grad=True)
    >>> y = w * 3 + b
    >>> st.plots.computational_graph((y * y).sum(), {"w": w, "b": b})
    sum ()
    └─ multiply (2,)
       ├─ add (2,) [1]
       │  ├─ multiply (2,)
       │  │  └─ w (2,)
       │  └─ b ()
       └─ add [1]
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"computational_graph: expected a Tensor, not a {type(tensor).__name__}")
    if not tensor.requires_grad:
        raise ValueError(
            "computational_graph: this tensor has no graph: nothing it was computed from requires a gradient, or that "
            "happened under no_grad"
        )
    leaves = dict(names.named_parameters()) if isinstance(names, Module) else names or {}
    walk = _Walk({id(leaf): name for name, leaf in leaves.items()}, limit)
    root = tensor if tensor.grad_fn is None else tensor.grad_fn
    walk.visit(root)
    graph = Graph(walk.tree(root), walk.dot(root))
    if path is not None:
        graph.save(path)
    return graph


Vertex = Node | Tensor  # an operation or a leaf


class _Walk:
    """All vertices below one, each once. Without recursion: graphs may be deep."""

    def __init__(self, names: Mapping[int, str], limit: int) -> None:
        self.names = names
        self.limit = limit
        self.vertices: dict[int, Vertex] = {}
        self.uses: dict[int, int] = {}

    def visit(self, root: Vertex) -> None:
        waiting = [root]
        while waiting:
            vertex = waiting.pop()
            key = id(vertex)
            self.uses[key] = self.uses.get(key, 0) + 1
            if self.uses[key] == 1:
                self.vertices[key] = vertex
                if len(self.vertices) > self.limit:
                    raise ValueError(f"computational_graph: there are more than limit={self.limit} operations")
                waiting += reversed(inputs(vertex))

    def name(self, vertex: Vertex) -> str:
        return vertex.name if isinstance(vertex, Node) else self.names.get(id(vertex), "leaf")

    def tree(self, root: Vertex) -> str:
        lines: list[str] = []
        numbers: dict[int, int] = {}
        waiting = [(root, "", "")]  # a vertex, what stands before it, and before its inputs
        while waiting:
            vertex, before, below = waiting.pop()
            key = id(vertex)
            if key in numbers:
                lines.append(f"{before}{self.name(vertex)} [{numbers[key]}]")
                continue
            mark = ""
            if self.uses[key] > 1 and (isinstance(vertex, Node) or key not in self.names):
                numbers[key] = len(numbers) + 1
                mark = f" [{numbers[key]}]"
            lines.append(f"{before}{self.name(vertex)} {vertex.shape}{mark}")
            children = inputs(vertex)
            last = len(children) - 1
            waiting += [
                (child, below + ("└─ " if i == last else "├─ "), below + ("   " if i == last else "│  "))
                for i, child in reversed(list(enumerate(children)))
            ]
        return "\n".join(lines)

    def dot(self, root: Vertex) -> str:
        numbers = {key: i for i, key in enumerate(self.vertices)}
        lines = ["digraph {", '  node [fontname="sans-serif", fontsize=11, style=filled, color="#666666"]']
        for key, vertex in self.vertices.items():
            look = (
                'shape=box, fillcolor="#cfe6f5"' if isinstance(vertex, Node) else 'shape=ellipse, fillcolor="#fbe3c0"'
            )
            look += ", peripheries=2" if vertex is root else ""
            label = self.name(vertex).replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'  n{numbers[key]} [label="{label}\\n{vertex.shape}", {look}]')
        for key, vertex in self.vertices.items():
            lines += [f"  n{numbers[id(child)]} -> n{numbers[key]}" for child in inputs(vertex)]
        return "\n".join([*lines, "}", ""])


def inputs(vertex: Vertex) -> list[Vertex]:
    """The vertices that an operation got its inputs from."""
    return [edge for edge in vertex.edges if edge is not None] if isinstance(vertex, Node) else []
