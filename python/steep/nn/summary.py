"""The table that ``model.summary()`` prints."""

from __future__ import annotations

import math
from typing import Any

from ..dtypes import float32
from ..ops.manipulation import as_shape
from ..tensor import Parameter, Tensor
from .dry_run import RUNS, Spec, common_shape, dry_run, sample
from .model import Model
from .module import Module

__all__ = ["summary_of"]


def summary_of(model: Any, input_shape: Any = None) -> str:
    """The text of ``model.summary(input_shape)``."""
    outputs, reason = _outputs(model, _specs(model, input_shape))
    rows: list[tuple[str, ...]] = [("layer", "class", "output shape", "parameters", "trainable")]
    activations: int | None = 0
    seen: set[int] = set()
    for path, module in model.named_modules():
        own = [x for x in vars(module).values() if isinstance(x, Parameter) and id(x) not in seen]
        seen |= {id(x) for x in own}
        leaf = next(module.children(), None) is None
        if not leaf and not own:
            continue
        shapes = outputs.get(id(module))
        known = _text(shapes) if shapes is not None else "?" if reason or not outputs else "not called"
        rows.append((path or "-", type(module).__name__, known, f"{sum(x.size for x in own):,}", _trained(own)))
        if leaf and activations is not None:
            size = _sample_bytes(shapes) if shapes is not None else None if known == "?" else 0
            activations = None if size is None else activations + size
    table = _table(rows)
    lines = [type(model).__name__, *table, *_memory(model)]
    if reason:
        lines.append(f"shapes       unknown: {reason}")
    elif activations is not None and outputs:
        lines.append(f"activations  {_bytes(activations)} a sample")
    rule = "-" * max(map(len, table))
    return "\n".join(rule if line == RULE else line for line in lines)


# --- shapes -----------------------------------------------------------------------------------------------------------


def _specs(model: Module, input_shape: Any) -> list[Spec] | None:
    """What the model's inputs are like: as given, or as the model or its first layer with a say tells."""
    known = model._specs if isinstance(model, Model) else None
    if input_shape is None:
        if known is not None:
            return known
        told = (module._expects() for module in model.modules())
        first = next((spec for spec in told if spec is not None), None)
        return None if first is None else [first]
    several = isinstance(input_shape, list | tuple) and any(isinstance(s, list | tuple) for s in input_shape)
    shapes = [as_shape(shape) for shape in (input_shape if several else [input_shape])]
    first = next((spec for spec in (module._expects() for module in model.modules()) if spec is not None), None)
    dtypes = [spec.dtype for spec in known] if known else [first.dtype if first and len(shapes) == 1 else float32]
    return [Spec(shape, dtypes[i] if i < len(dtypes) else float32) for i, shape in enumerate(shapes)]


Outputs = dict[int, list[Any]]  # by the module's id: what it returned in each run


def _outputs(model: Module, specs: list[Spec] | None) -> tuple[dict[int, Any], str]:
    """The shapes that every module returned, and why there are none."""
    if specs is None:
        return {}, "no layer tells the shape of the input: pass summary(input_shape=…), without the batch axis"
    runs: list[dict[int, Any]] = []
    parameter = next(model.parameters(), None)

    def watch(module: Module, args: Any, output: Any) -> None:
        runs[-1].setdefault(id(module), output)

    try:
        with dry_run(model, watch):
            for run in range(len(RUNS)):
                runs.append({})
                inputs = [sample(spec, run) for spec in specs]
                model(*(inputs if parameter is None else [x.to(parameter.device) for x in inputs]))
        return {key: _shapes([run[key] for run in runs]) for key in runs[0]}, ""
    except Exception as error:  # forward is anybody's code: a summary without shapes is better than none
        shape = " and ".join(str((None, *spec.shape)) for spec in specs)
        return {}, f"on zeros of shape {shape}, forward raised {type(error).__name__}: {error}"


def _shapes(results: list[Any]) -> Any:
    """Specs of what a module returned in all runs: of a tensor, or of a structure of them."""
    if all(isinstance(x, Tensor) for x in results):
        return Spec(common_shape(results), results[0].dtype)
    if isinstance(results[0], dict):
        return {key: _shapes([result[key] for result in results]) for key in results[0]}
    if isinstance(results[0], list | tuple):
        return [_shapes(list(parts)) for parts in zip(*results, strict=True)]
    return type(results[0]).__name__


def _text(shapes: Any) -> str:
    if isinstance(shapes, Spec):
        return str(shapes.shape)
    if isinstance(shapes, dict):
        return ", ".join(f"{key} {_text(shape)}" for key, shape in shapes.items())
    return ", ".join(map(_text, shapes)) if isinstance(shapes, list) else str(shapes)


def _sample_bytes(shapes: Any) -> int:
    """The bytes of one sample, where free extents other than the batch count once."""
    if isinstance(shapes, Spec):
        return math.prod(n for n in shapes.shape if n is not None) * shapes.dtype.itemsize
    parts = shapes.values() if isinstance(shapes, dict) else shapes if isinstance(shapes, list) else ()
    return sum(map(_sample_bytes, parts))


# --- text -------------------------------------------------------------------------------------------------------------

RULE = "-"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(w) if i == 3 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [RULE, line(rows[0]), RULE, *map(line, rows[1:]), RULE]


def _trained(parameters: list[Parameter]) -> str:
    trained = {x.requires_grad for x in parameters}
    return "partly" if len(trained) == 2 else "" if not trained else "yes" if True in trained else "no"


def _memory(model: Module) -> list[str]:
    parameters = list(model.parameters())
    trained = [x for x in parameters if x.requires_grad]
    count, total = sum(x.size for x in trained), sum(x.size for x in parameters)
    lines = [
        f"parameters   {total:,} ({_bytes(_size(parameters))}): {count:,} trainable, {total - count:,} frozen",
    ]
    buffers = list(model.buffers())
    if buffers:
        lines.append(f"buffers      {sum(x.size for x in buffers):,} ({_bytes(_size(buffers))})")
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        state = sum(
            _size([x for x in group["params"] if x.requires_grad]) * len(optimizer.kept_names(group))
            for group in optimizer.param_groups
        )
        name = type(optimizer).__name__
        lines.append(f"training     gradients {_bytes(_size(trained))}, state of {name} {_bytes(state)}")
    return lines


def _size(tensors: list[Any]) -> int:
    return sum(x.size * x.dtype.itemsize for x in tensors)


def _bytes(count: float) -> str:
    if count < 10_000:
        return f"{count:,} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 1000 or unit == "TB":
            break
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"
