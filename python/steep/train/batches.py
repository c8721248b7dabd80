"""Training data as tensors, and in parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, SupportsFloat

import numpy as np

from .. import _core, cuda
from ..checks import check_share
from ..devices import Device, cpu
from ..dtypes import DType, bfloat16, int64
from ..labels import as_array, labels_of
from ..metrics.lookup import CLASSES
from ..ops import asarray, take, to_device
from ..ops._apply import host_array
from ..structure import first_tensor, map_tensors, named_tensors
from ..tensor import Tensor

__all__ = ["Data", "Form", "as_data", "as_rows", "class_weights", "placed", "split"]

Data = tuple[Any, ...]  # (inputs, targets) or (inputs, targets, weights of the samples); see steep.structure


class Form(NamedTuple):
    """What a model wants its data to be."""

    dtype: DType  # of floating-point inputs, and of targets that are values
    kind: str  # what its loss expects, see objectives; "several" if it has several outputs
    several_inputs: bool = False  # so that a list of arrays is one for each input, and not the samples
    class_weight: Tensor | None = None  # by label


def as_rows(name: str, x: Any, dtype: DType) -> Tensor:
    """``x`` as a tensor whose first axis counts samples; floating-point numbers in ``dtype``.

    Takes tensors, arrays, lists, DataFrames and whatever else NumPy does. Raises TypeError for anything that is not
    numbers, ValueError for a single number and for no samples.
    """
    if x is None:
        raise TypeError(f"{name} is None: it must be an array or a tensor, whose first axis counts the samples")
    if isinstance(x, Tensor):
        rows = x.detach() if x.requires_grad else x
    else:
        array = _checked_array(name, x)
        if array.dtype.kind in "iu" and array.dtype.name not in ("int32", "int64"):
            array = array.astype(np.int64)
        elif array.dtype.kind == "f":
            array = array.astype(_in_numpy(array, dtype), copy=False)
        elif array.dtype.kind not in "biu":
            raise TypeError(
                f"{name} holds {array.dtype} values, not numbers: encode them first, classes as the integers 0, 1, 2, …"
            )
        rows = asarray(np.ascontiguousarray(array) if array.ndim else array, device=cpu)
    if rows.ndim == 0:
        raise ValueError(f"{name} is a single number: it needs a first axis that counts the samples")
    if rows.shape[0] == 0:
        raise ValueError(f"{name} of shape {rows.shape} has no samples")
    return rows.astype(dtype) if rows.dtype.is_floating_point else rows


def _checked_array(name: str, x: Any) -> np.ndarray[Any, Any]:
    """``x`` in NumPy. Raises what ``as_rows`` does for what NumPy would silently make something else."""
    if hasattr(x, "toarray"):
        raise TypeError(f"{name} is sparse, a {type(x).__name__}: make it dense, by .toarray()")
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(f"{name} has masked values: fill or drop them first")
    try:
        array = host_array(x)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{name} does not make an array: {error}") from None
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {array.max()}, more than an int64 does: make it floating-point numbers")
    return array


def _in_numpy(array: np.ndarray[Any, Any], dtype: DType) -> str:
    """NumPy's dtype on the way to ``dtype``: a wider one on the way to bfloat16, which it doesn't have."""
    return dtype.name if dtype is not bfloat16 else "float32" if array.dtype.itemsize <= 4 else "float64"


def as_parts(name: str, x: Any, dtype: DType, several: bool) -> Any:
    """``x`` as rows; those of several inputs or outputs, given as a dict or tuple of arrays, in that structure.

    A list of arrays is one for each only if the model has ``several``, and the samples otherwise.
    """
    if isinstance(x, Mapping | tuple) and not x:
        raise ValueError(f"{name} is an empty {type(x).__name__}: it has no samples")
    if isinstance(x, Mapping):
        return {key: as_rows(f"{name}[{key!r}]", part, dtype) for key, part in x.items()}
    if (isinstance(x, tuple) and all(getattr(part, "shape", ()) for part in x)) or (several and isinstance(x, list)):
        return tuple(as_rows(f"{name}[{i}]", part, dtype) for i, part in enumerate(x))
    return as_rows(name, x, dtype)


def as_data(x: Any, y: Any, weight: Any, form: Form) -> Data:
    """Inputs, targets and weights of the samples, or None, as tensors of one length.

    Targets of a categorical loss may be labels; others are numbers. Raises ValueError if the lengths differ, and see
    ``as_rows``.
    """
    inputs = as_parts("x", x, form.dtype, form.several_inputs)
    targets = None if y is None else as_parts("y", y, form.dtype, form.kind == "several")
    weights = None if weight is None else as_parts("sample_weight", weight, form.dtype, form.kind == "several")
    rows = first_tensor(inputs)
    samples = len(rows)
    for name, value in (("x", inputs), ("y", targets), ("sample_weight", weights)):
        for label, part in named_tensors(value, name):
            if len(part) != samples:
                raise ValueError(
                    f"x has {samples} samples and {label} has {len(part)} (shapes {rows.shape} and {part.shape}): each "
                    "sample needs one target, and one weight if there are weights"
                )
            if value is weights and part.ndim != 1:
                raise ValueError(f"{label} has shape {part.shape}: it needs one number for each sample, ({samples},)")
    if isinstance(targets, Tensor):
        if form.kind in CLASSES:
            targets = targets.astype(int64) if targets.dtype.kind == "bool" else targets
        elif form.kind not in ("unknown", "several"):
            targets = targets.astype(form.dtype)
    for label, part in named_tensors(weights, "sample_weight"):
        if part.device is cpu and not np.isfinite(as_array(part)).all():
            raise ValueError(f"{label} holds NaN or inf: give 0 to the samples that are not to count")
    if form.class_weight is not None:
        weights = _by_class(targets, weights, form.class_weight)
    if weights is None:
        return inputs, targets
    return inputs, targets, map_tensors(lambda part: part.astype(form.dtype), weights)


def class_weights(weights: Any) -> Tensor | None:
    """A weight by label, of a dict, whose missing labels weigh 1, or of a sequence. Raises ValueError for others."""
    if weights is None:
        return None
    given = weights
    if isinstance(weights, str):
        raise ValueError(
            f"class_weight={weights!r} must be numbers; balanced ones are n = np.bincount(y); n.sum() / (len(n) * n)"
        )
    if isinstance(weights, Iterable) and not isinstance(weights, Mapping):
        weights = dict(enumerate(weights))
    if (
        not isinstance(weights, Mapping)
        or not weights
        or not all(isinstance(label, int | np.integer) and label >= 0 for label in weights)
        or not all(isinstance(weight, SupportsFloat) and 0 <= float(weight) < math.inf for weight in weights.values())
    ):
        raise ValueError(
            f"class_weight must be a dict of numbers by integer labels from 0, none negative, not {given!r:.60}"
        )
    table = np.ones(max(weights) + 1)
    for label, weight in weights.items():
        table[label] = float(weight)
    return asarray(table, device=cpu)


def _by_class(targets: Any, weights: Any, class_weight: Tensor) -> Tensor:
    """Weights of samples: those of their classes, times those that were given."""
    if not isinstance(targets, Tensor) or isinstance(weights, tuple | dict):
        raise ValueError("class_weight needs one output and its targets: give sample_weight for several outputs")
    labels = labels_of(as_array(targets))
    if labels is None:
        raise ValueError(f"class_weight needs targets that are labels or one-hot rows, not shape {targets.shape}")
    if labels.min() < 0 or labels.max() >= len(class_weight):
        raise ValueError(f"class_weight is for the classes 0 to {len(class_weight) - 1}, y has {labels.max():g}")
    own = take(class_weight, asarray(labels.astype(np.int64), device=cpu), 0)
    return own if weights is None else own * to_device(weights, cpu)


def placed(data: Data, device: Device) -> Data:
    """All of ``data`` on the model's device, if a copy takes at most an eighth of the memory that is free there.

    Other data stays where it is, and goes to the device batch by batch.
    """

    def place(x: Tensor) -> Tensor:
        if device is cpu or x.device is device:
            return x
        stats = cuda.memory_stats(device)
        return to_device(x, device) if 8 * x.size * x.dtype.itemsize <= stats["free"] + stats["cached"] else x

    return tuple(map_tensors(place, part) for part in data)


def split(data: Data, fraction: float) -> tuple[Data, Data]:
    """Training and validation data: ``fraction`` of the rows are held out, the same share of every class.

    The rows are chosen at random, but always the same ones for the same data, whatever the seed: a second ``fit`` must
    not train on what the first one validated with. Raises ValueError if either part would be empty.
    """
    n = len(first_tensor(data))
    if not 0 < check_share("validation_split", fraction, "share of the samples") < 1:
        raise ValueError(f"validation_split={fraction} is a share of the samples: it must be between 0 and 1")
    shuffled = _core.random.permutation(n, 0, 0).numpy()
    labels = labels_of(as_array(data[1])) if isinstance(data[1], Tensor) else None
    if labels is not None:  # neighbours in `shuffled` get the same class, so that evenly spaced ones meet every class
        shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    marks = np.floor(np.arange(n + 1) * fraction + 0.5)
    held_out = marks[1:] > marks[:-1]
    if held_out.all() or not held_out.any():
        raise ValueError(f"validation_split={fraction} of {n} samples leaves one part empty")

    def part(rows: np.ndarray[Any, Any]) -> Data:
        rows = np.sort(rows)
        return tuple(map_tensors(lambda x: take(x, rows, 0), x) for x in data)

    return part(shuffled[~held_out]), part(shuffled[held_out])
