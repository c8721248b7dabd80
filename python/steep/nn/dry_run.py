"""Running modules on made-up data to learn shapes, without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .. import ops, random
from ..autograd import no_grad
from ..dtypes import DType
from ..tensor import Tensor
from .hooks import Hooks

if TYPE_CHECKING:
    from .module import Module

__all__ = ["RUNS", "Shape", "Spec", "common_shape", "dry_run", "sample"]

Shape = tuple[int | None, ...]

# Two runs, of different extents where any will do: what differs between their results is not fixed either. Each run has
# a number of samples and an extent of other free axes, which must be long enough for windows that slide along them.
RUNS = ((2, 16), (3, 17))


class Spec(NamedTuple):
    """What one input of a model is like: its shape without the batch axis, None where any extent will do."""

    shape: Shape
    dtype: DType


def sample(spec: Spec, run: int) -> Tensor:
    """Zeros as a batch for one of the ``RUNS``: they are in range for embeddings too."""
    batch, free = RUNS[run]
    return ops.zeros((batch, *(free if extent is None else extent for extent in spec.shape)), dtype=spec.dtype)


def common_shape(tensors: list[Tensor]) -> Shape:
    """The shape of results of both runs, with None for extents that depend on the run."""
    first, second = (x.shape for x in tensors)
    if len(first) != len(second):
        raise ValueError(f"the number of axes depends on the number of samples: shapes {first} and {second}")
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))


@contextmanager
def dry_run(module: Module | None, watch: Callable[..., None] | None = None) -> Iterator[None]:
    """A block in which ``module`` runs in eval mode, without hooks and without a graph.

    Afterwards modes, hooks, buffers and the random stream are as before. ``watch(module, args, output)`` is called
    after every forward of a module below.
    """
    modules = [] if module is None else list(module.modules())
    modes = [(m, m.training) for m in modules]
    hooks = [(m, m.__dict__.pop("_hooks", None)) for m in modules]
    buffers = [
        (m, name, value, value.copy(), value._version)
        for m in modules
        for name, value in vars(m).items()
        if m._is_buffer(name, value)
    ]
    if watch is not None:
        watching = Hooks()
        watching.after[0] = (watch, False, False)
        for m in modules:
            m.__dict__["_hooks"] = watching
    try:
        if module is not None:
            module.eval()
        with no_grad(), random.fork(0):
            yield
    finally:
        for m, mode in modes:
            m.training = mode
        for m, before in hooks:
            m.__dict__.pop("_hooks", None)
            if before is not None:
                m.__dict__["_hooks"] = before
        for m, name, value, copy, version in buffers:
            m.__dict__[name] = value
            if value._version != version:
                value.copy_(copy)
