"""Nested states as JSON and a flat dict of tensors, and back.

JSON has null, booleans, strings, integers of any size, and finite floats, which Python writes so that they are read
back exactly. A list is a list; any JSON object is one of these:

    {"dict": {key: value}}   {"items": [[key, value]]} if not all keys are strings   {"tuple": [value]}
    {"float": "nan" | "inf" | "-inf"}   {"tensor": its name in the file, "crc32": its checksum}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor

__all__ = ["flatten", "restore"]

MAX_DEPTH = 100  # of nesting: far from the recursion limit
RESERVED = "__metadata__"  # the name that safetensors has for something else
_UNUSUAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def flatten(state: Any, checksum: Callable[[Tensor], int]) -> tuple[Any, dict[str, Tensor]]:
    """``state`` as JSON, and its tensors by name: their place in the state, joined by dots.

    Raises TypeError for a part that has no form in JSON, ValueError for one that is nested too deeply.
    """
    tensors: dict[str, Tensor] = {}

    def pack(x: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(x, Tensor):
            name = _free_name(path, tensors)
            tensors[name] = x
            return {"tensor": name, "crc32": checksum(x)}
        if x is None or isinstance(x, bool):
            return x
        if isinstance(x, int | str):
            return int(x) if isinstance(x, int) else str(x)
        if isinstance(x, float):
            return float(x) if math.isfinite(x) else {"float": str(float(x))}
        if len(path) == MAX_DEPTH:
            raise ValueError(
                f"steep.save: state{_where(path[:6])}… is nested more than {MAX_DEPTH} deep: does it contain itself?"
            )
        if isinstance(x, list | tuple):
            values = [pack(value, (*path, i)) for i, value in enumerate(x)]
            return values if isinstance(x, list) else {"tuple": values}
        if isinstance(x, dict):
            if all(isinstance(key, str) for key in x):
                return {"dict": {str(key): pack(value, (*path, key)) for key, value in x.items()}}
            return {"items": [[_packed_key(key, path), pack(value, (*path, key))] for key, value in x.items()]}
        raise TypeError(
            f"steep.save: state{_where(path)} is a {type(x).__name__}, which has no form in the file: make it of "
            "tensors (steep.asarray), numbers, strings, None, lists, tuples and dicts"
        )

    return pack(state, ()), tensors


def _packed_key(key: Any, path: tuple[Any, ...]) -> Any:
    if not (key is None or isinstance(key, bool | int | float | str)):
        raise TypeError(
            f"steep.save: state{_where(path)} has the key {key!r:.60}, a {type(key).__name__}: keys must be strings "
            "or numbers"
        )
    if isinstance(key, float) and not math.isfinite(key):
        return {"float": str(float(key))}
    return key


def _free_name(path: tuple[Any, ...], taken: dict[str, Tensor]) -> str:
    # Strings that are no Unicode (lone surrogates) cannot be names of safetensors.
    name = base = ".".join(map(str, path)).encode("utf-8", "backslashreplace").decode() if path else "tensor"
    count = 1
    while name in taken or name == RESERVED:
        count += 1
        name = f"{base}~{count}"
    return name


def _where(path: tuple[Any, ...]) -> str:
    return "".join(f"[{key!r:.40}]" for key in path)


def restore(node: Any, tensor: Callable[[str, int], Tensor]) -> Any:
    """The state that ``flatten`` has made ``node`` of; ``tensor(name, checksum)`` gives its tensors.

    Raises ValueError for what is no such structure.
    """

    def unpack(x: Any, depth: int) -> Any:
        if x is None or isinstance(x, bool | int | float | str):
            return x
        if depth > MAX_DEPTH:
            raise ValueError(f"its structure is nested more than {MAX_DEPTH} deep")
        if isinstance(x, list):
            return [unpack(value, depth + 1) for value in x]
        match x:
            case {"tensor": str(name), "crc32": int(checksum)}:
                return tensor(name, checksum)
            case {"tuple": list(values)}:
                return tuple([unpack(value, depth + 1) for value in values])
            case {"dict": dict(entries)}:
                return {key: unpack(value, depth + 1) for key, value in entries.items()}
            case {"items": list(pairs)} if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                return {_key(key): unpack(value, depth + 1) for key, value in pairs}
            case {"float": str(name)} if name in _UNUSUAL:
                return _UNUSUAL[name]
        raise ValueError(f"its structure has an unknown part {x!r:.60}")

    return unpack(node, 0)


def _key(key: Any) -> Any:
    if isinstance(key, dict) and key.get("float") in list(_UNUSUAL):
        return _UNUSUAL[key["float"]]
    if key is None or isinstance(key, bool | int | float | str):
        return key
    raise ValueError(f"its structure has the key {key!r:.60}")
