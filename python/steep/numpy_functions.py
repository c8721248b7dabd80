"""NumPy's functions on tensors: ``np.exp(x)`` is ``steep.exp(x)``, and keeps the graph; NumPy computes all others.

The protocols are those of NumPy's enhancement proposals 13 (``__array_ufunc__``) and 18 (``__array_function__``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import steep

__all__ = ["array_function", "array_ufunc"]

REDUCTIONS = ("all", "any", "argmax", "argmin", "max", "mean", "min", "prod", "sum")

NAMES = {  # NumPy's: steep's
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "bitwise_not": "bitwise_invert",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "power": "pow",
    "right_shift": "bitwise_right_shift",
    "true_divide": "divide",
}


def array_ufunc(ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """What an elementwise function of NumPy gives for tensors. With ``out`` or other options it computes on arrays.

    Tensors that are written to, ``out`` and the first argument of ``ufunc.at``, are written as by ``copy_``: on a CUDA
    device too, and a backward pass that needs their old values raises.
    """
    name = NAMES.get(ufunc.__name__, ufunc.__name__)
    if method == "__call__" and not options and name in steep.ops.__all__:
        return getattr(steep.ops, name)(*inputs)
    targets = inputs[:1] if method == "at" else options.get("out", ())
    written = {id(x): x.numpy().copy() for x in targets if isinstance(x, steep.Tensor)}

    def plain(x: Any) -> Any:
        if type(x) is tuple:
            return tuple(map(plain, x))
        return written[id(x)] if id(x) in written else _as_array(x)

    results = getattr(ufunc, method)(*map(plain, inputs), **{name: plain(x) for name, x in options.items()})
    for x in targets:
        if id(x) in written:
            x.copy_(steep.asarray(written[id(x)]))
    if not written or method == "at":
        return results
    if len(targets) == 1:
        return targets[0]
    return tuple(x if id(x) in written else result for x, result in zip(targets, results, strict=True))


def array_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What another function of NumPy gives: a tensor for a plain reduction, and NumPy's own result for all else."""
    name = NAMES.get(function.__name__, function.__name__)
    if name in REDUCTIONS and len(args) <= 2 and kwargs.keys() <= {"axis", "keepdims"}:
        return getattr(steep.ops, name)(*args, **kwargs)
    return function(*_as_array(args), **_as_array(kwargs))


def _as_array(x: Any) -> Any:
    """Tensors as arrays, in tuples, lists and dicts too."""
    from .structure import map_tensors  # which needs Tensor

    return map_tensors(lambda tensor: tensor.numpy(), x)
