"""The outputs of ``predict``, put together from those of the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..autograd import no_grad
from ..callbacks import CallbackList
from ..ops import concat, empty
from ..structure import first_tensor, map_tensors
from ..tensor import Tensor
from .sources import Arrays, Source

if TYPE_CHECKING:
    from .trainable import Trainable

__all__ = ["predictions"]


def predictions(model: Trainable, source: Source, callbacks: CallbackList) -> Any:
    """Runs all batches through the model. Where the number of samples is known, each output is written in its place."""
    begin, end = callbacks.hooks("on_predict_batch_begin"), callbacks.hooks("on_predict_batch_end")
    samples = min(source.samples, source.steps * source.batch_size) if isinstance(source, Arrays) else None
    results: dict[str, Tensor] = {}
    pieces: dict[str, list[Tensor]] = {}
    start, structure = 0, None
    shapes: dict[str, tuple[int, ...]] = {}  # of the outputs of one sample
    callbacks.on_predict_begin({})
    with model._mode(training=False), no_grad():
        for number, (batch, _) in enumerate(source.epoch()):
            for hook in begin:
                hook(number, {})
            count = len(first_tensor(batch[0]))
            output = model._call(batch[0])
            parts = _outputs_of(model, output, count)
            form = {label: part.shape[1:] for label, part in parts}
            if number == 0:
                structure, shapes = tuple(output) if isinstance(output, list) else output, form
            elif form != shapes:
                raise ValueError(
                    f"predict: {type(model).__name__} returned shapes {list(shapes.values())} for each sample "
                    f"of the first batch, and {list(form.values())} for those of batch {number + 1}"
                )
            for label, part in parts:
                if samples is None:
                    pieces.setdefault(label, []).append(part)
                else:
                    if label not in results:
                        results[label] = empty((samples, *part.shape[1:]), dtype=part.dtype, device=part.device)
                    results[label][start : start + count] = part
            start += count
            for hook in end:
                hook(number, {"outputs": output})
    callbacks.on_predict_end({})
    results = results or {label: concat(found) for label, found in pieces.items()}
    ordered = iter(results.values())
    return map_tensors(lambda _: next(ordered), structure)


def _outputs_of(model: Trainable, output: Any, count: int) -> list[tuple[str, Tensor]]:
    """Every tensor of an output, with a label; each must have ``count`` rows."""
    name = type(model).__name__
    keyed = (
        output.items()
        if isinstance(output, dict)
        else enumerate(output)
        if isinstance(output, tuple | list)
        else [("", output)]
    )
    found = []
    for key, part in keyed:
        if not isinstance(part, Tensor):
            raise TypeError(f"predict: {name} returned a {type(part).__name__}, not a Tensor")
        if part.ndim == 0 or part.shape[0] != count:
            raise ValueError(
                f"predict: {name} returned shape {part.shape} for {count} samples: "
                "the first axis of a model's output must count them"
            )
        found.append((str(key), part))
    return found
