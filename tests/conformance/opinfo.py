"""PyTorch's OpInfo against steep: ``python tests/conformance/opinfo.py`` prints what ran, passed and was left out.

For every operation that both have: PyTorch's own sample inputs in float32 and float64 (integers where it takes no
floats), the value, and the gradient with a random cotangent. Needs torch 2.13.0 and expecttest.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import steep as st

SEED = 20261125
RTOL = {torch.float32: 2e-5, torch.float64: 1e-10}
ATOL = {torch.float32: 2e-5, torch.float64: 1e-12}

# OpInfo's name -> steep's function, where the names differ.
NAMES = {
    "mul": "multiply",
    "sub": "subtract",
    "true_divide": "divide",
    "unbind": "unstack",
    "cat": "concat",
    "permute": "permute_dims",
    "unsqueeze": "expand_dims",
    "norm": "vector_norm",
    "linalg.vecdot": "vecdot",
    "linalg.vector_norm": "vector_norm",
    "nn.functional.linear": "linear",
    "clamp": "clip",
    "amax": "max",
    "amin": "min",
    "movedim": "moveaxis",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "cumsum": "cumulative_sum",
    "cumprod": "cumulative_prod",
}
# Where the arguments are others, or in another order.
CALLS: dict[str, Callable[..., Any]] = {
    "__getitem__": lambda x, key: x[key],
    "einsum": lambda x, subscripts: st.einsum(subscripts, *x),
    "embedding": lambda weight, indices, **options: st.embedding(indices, weight, **options),
    "index_select": lambda x, axis, index: st.take(x, index, axis),
    "cdist": lambda a, b, p, mode: st.cdist(a, b, p),  # the mode is PyTorch's way to compute it
    "nonzero": lambda x, as_tuple=False: st.nonzero(x) if as_tuple else st.argwhere(x),
}
KEYWORDS = {
    "dim": "axis",
    "dims": "axis",
    "keepdim": "keepdims",
    "diagonal": "k",
    "unbiased": "correction",
    "dim1": "axis1",
    "dim2": "axis2",
}
KEYWORDS_OF = {"tensordot": {"dims": "axes"}, "flatten": {"start_dim": "start_axis", "end_dim": "end_axis"}}


def _sort(x: Any, *args: Any, **options: Any) -> Any:
    """PyTorch's, which returns the indices too."""
    return st.sort(x, *args, **options), st.argsort(x, *args, **options)


def _searchsorted(x: Any, values: Any, *, right: bool = False, out_int32: bool = False, **options: Any) -> Any:
    """PyTorch's, with two ways to name a side and a dtype."""
    found = st.searchsorted(x, values, **({"side": "right"} if right else {}), **options)
    return found.astype(st.int32) if out_int32 else found


def _unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, axis: int | None = None
) -> Any:
    """PyTorch's one function for steep's, the Array API's, four."""
    if axis is not None:
        raise NotImplementedError("unique along an axis")
    found = st.unique_all(x)
    return (found.values, *[found.inverse_indices] * return_inverse, *[found.counts] * return_counts)


ADAPTED = {"sort": _sort, "searchsorted": _searchsorted, "unique": _unique}
# Compared with PyTorch's results in float64, and why.
WIDENED = {"logcumsumexp": "PyTorch's float32 gradient errs by 2e-3 where the sample has elements of 1e4"}
PREFIXES = ("nn.functional.", "special.")

# Operations of the same name that are not the same, and why.
EXCLUDED = {
    "full": "creation: takes a shape, compared in tests/test_manipulation.py",
    "full_like": "creation",
    "ones": "creation",
    "ones_like": "creation",
    "zeros": "creation",
    "zeros_like": "creation",
    "empty": "its elements are undefined",
    "empty_like": "its elements are undefined",
    "arange": "creation",
    "linspace": "creation",
    "eye": "creation",
    "tensor": "creation",
    "max": "PyTorch returns indices too: amax is compared",
    "min": "PyTorch returns indices too: amin is compared",
    "where": "PyTorch's sample has the condition second",
    "split": "PyTorch takes the size of the parts, steep (as the Array API's users) their number",
    "take": "PyTorch's takes from the flattened tensor",
    "repeat": "PyTorch's is tile",
    "var": "PyTorch divides by n - 1 by default, NumPy and steep by n",
    "std": "PyTorch divides by n - 1 by default, NumPy and steep by n",
    "meshgrid": "the defaults of indexing differ (NumPy's here)",
    "pad": "nn.functional.pad takes its widths from the last axis backwards, NumPy's from the first",
    "norm": "linalg.vector_norm is compared",
    "dropout": "random",
    "equal": "PyTorch's is one truth value: eq is compared",
    "tril_indices": "creation; PyTorch's is one tensor",
    "triu_indices": "creation; PyTorch's is one tensor",
    "nextafter": "PyTorch's is differentiable, steep's has no derivative",
}

# Samples that steep refuses with these messages, and why.
REFUSED = {
    "a 0-d tensor has no coordinates": "nonzero and argwhere of a 0-d tensor: as in the Array API",
    "reach beyond shape": "PyTorch takes an empty index of any shape",
    "0 dimensions": "a 0-d tensor has no axis, as in NumPy and the Array API",
    "unexpected keyword argument": "an option that steep doesn't have",
    "axis 1 is out of range for a tensor of 1 dimension": "PyTorch joins an empty 1-d tensor to any others",
    "squeeze: axis": "PyTorch leaves axes of several elements as they are; NumPy and steep refuse",
    "has no steep counterpart": "a dtype that steep doesn't have",
    "one_hot: ": "PyTorch takes the number of classes from the labels",
    "tensordot: axes": "PyTorch broadcasts extents of 1 in sums",
    "targets must be 1 or -1": "PyTorch does not look at targets of margin losses, and its samples are random numbers",
    "input needs a class axis": "PyTorch takes a single score as one class",
    "with classes on axis 0, target must": "PyTorch takes one label in an axis of its own beside scores without one",
    "they must be equal": "PyTorch broadcasts predictions and targets",
    "must have the axes (N, C)": "PyTorch takes one axis without elements",
    "unique along an axis": "the Array API's sets are of all the elements",
}


# What PyTorch refuses, saying this, and why steep does not. Of operands that may not be numbers it says nothing.
ACCEPTED = {
    "": "numbers may stand on both sides of an operation, as in NumPy",
    "0-dimensional value": "masked_fill broadcasts its value",
    "expected a matrix": "trace goes over the last two axes, as in the Array API",
    "must be 2-D": "rows of an embedding may have any shape",
    "could not infer output dtype": "the mean of integers is a float32, as in NumPy",
}


@dataclass
class Result:
    """What became of the samples of one operation."""

    name: str
    passed: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by the message
    errors: int = 0  # samples that both refuse
    accepted: int = 0  # those that only PyTorch refuses
    failed: list[str] = field(default_factory=list)


def function_of(op: Any) -> Callable[..., Any] | None:
    """steep's function for an OpInfo, or None."""
    name = op.name
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    if name in EXCLUDED:
        return None
    if name in CALLS:
        return CALLS[name]
    name = NAMES.get(op.name, name)
    if name in ADAPTED:
        return ADAPTED[name]
    if not name.isidentifier() or op.variant_test_name:
        return None
    function = getattr(st, name, None)
    return function if callable(function) and not isinstance(function, type) else None


def converted(x: Any) -> Any:
    """A PyTorch value as steep's."""
    if isinstance(x, torch.Tensor):
        return st.tensor(x.detach().resolve_neg().resolve_conj().numpy().copy(), requires_grad=x.requires_grad)
    if isinstance(x, torch.dtype):
        return getattr(st, str(x).removeprefix("torch."))
    if isinstance(x, tuple | list):
        return type(x)(converted(item) for item in x)
    return x


def widened(x: Any) -> Any:
    """A tensor in float64 as a leaf of its own, and anything else as it is."""
    return x.detach().double().requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x


def leaves(*values: Any) -> Iterator[Any]:
    """The tensors that want gradients, in order."""
    for x in values:
        if isinstance(x, tuple | list):
            yield from leaves(*x)
        elif isinstance(x, torch.Tensor | st.Tensor) and x.requires_grad:
            yield x


def outputs(y: Any) -> list[Any]:
    return list(y) if isinstance(y, tuple | list) else [y]


def arguments(op: Any, sample: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    renamed = {**KEYWORDS, **KEYWORDS_OF.get(op.name, {})}
    keywords = {renamed.get(key, key): converted(value) for key, value in sample.kwargs.items()}
    return converted(sample.input), converted(list(sample.args)), keywords


def check_errors(op: Any, function: Callable[..., Any], result: Result) -> None:
    """What PyTorch refuses, steep must refuse too, or give a result for that ACCEPTED has a reason for."""
    for error in op.error_inputs("cpu") if op.error_inputs_func else ():
        try:
            x, args, keywords = arguments(op, error.sample_input)
            function(x, *args, **keywords)
        except (TypeError, ValueError, IndexError, NotImplementedError, RuntimeError, OverflowError):
            result.errors += 1
            continue
        if not any(known in error.error_regex if known else not error.error_regex for known in ACCEPTED):
            result.failed.append(f"no error, where PyTorch says {error.error_regex}")
        result.accepted += 1


def check_sample(op: Any, function: Callable[..., Any], sample: Any, dtype: torch.dtype, result: Result) -> None:
    """Runs one sample through both libraries."""
    theirs = sample.transform(widened) if op.name in WIDENED else sample
    expected = outputs(op(theirs.input, *theirs.args, **theirs.kwargs))
    try:
        x, args, keywords = arguments(op, sample)
        actual = outputs(function(x, *args, **keywords))
    except (TypeError, ValueError, IndexError, NotImplementedError) as error:
        result.refused[f"{type(error).__name__}: {error}"[:100]] += 1
        return
    limits = {"rtol": RTOL.get(dtype, 0), "atol": ATOL.get(dtype, 0)}
    try:
        for got, right in zip(actual, expected, strict=True):
            assert tuple(got.shape) == tuple(right.shape), f"shape {got.shape}, not {tuple(right.shape)}"
            np.testing.assert_allclose(got.detach().numpy(), right.detach().numpy(), **limits)
        if any(y.requires_grad for y in expected):
            compare_gradients(actual, expected, list(leaves(x, args)), list(leaves(theirs.input, *theirs.args)), limits)
    except (AssertionError, ValueError, RuntimeError) as error:
        shapes = [tuple(getattr(a, "shape", ())) for a in (sample.input, *sample.args)]
        result.failed.append(f"{shapes} {sample.kwargs}: {' '.join(str(error).split())[:200]}")
        return
    result.passed += 1


def compare_gradients(
    actual: Sequence[Any], expected: Sequence[Any], ours: list[Any], theirs: list[Any], limits: dict[str, float]
) -> None:
    """With one random cotangent for each output that has gradients."""
    actual, expected = zip(*[pair for pair in zip(actual, expected, strict=True) if pair[1].requires_grad], strict=True)
    cotangents = [torch.randn_like(y) for y in expected]
    right = torch.autograd.grad(expected, theirs, cotangents, allow_unused=True)
    terms = [(y * st.tensor(c.numpy(), dtype=y.dtype)).sum() for y, c in zip(actual, cotangents, strict=True)]
    total = sum(terms[1:], terms[0])
    got = st.grad(total, ours, allow_unused=True) if total.requires_grad else [None] * len(ours)
    for g, r, x in zip(got, right, theirs, strict=True):
        values = np.zeros(x.shape) if g is None else g.numpy()
        wanted = np.zeros(x.shape) if r is None else r.numpy()
        scale = max(1.0, float(np.abs(wanted, where=np.isfinite(wanted), out=np.zeros(wanted.shape)).max(initial=0)))
        np.testing.assert_allclose(values, wanted, limits["rtol"] * 10, limits["atol"] * 10 * scale)


def run(only: str = "") -> list[Result]:
    """The results of every operation that both libraries have, or of those whose name contains ``only``."""
    from torch.testing._internal.common_methods_invocations import op_db

    torch.manual_seed(SEED)
    results = []
    for op in op_db:
        function = function_of(op)
        if function is None or only not in op.name:
            continue
        result = Result(op.name)
        floats = [t for t in (torch.float32, torch.float64) if t in op.dtypes]
        for dtype in floats or [torch.int64]:
            needs = bool(floats) and op.supports_autograd
            for sample in op.sample_inputs("cpu", dtype, requires_grad=needs):
                check_sample(op, function, sample, dtype, result)
        check_errors(op, function, result)
        results.append(result)
    return results


def main(only: str = "") -> int:
    warnings.simplefilter("ignore")  # PyTorch's, about its own samples
    results = run(only)
    for r in results:
        print(f"{r.name:32} passed {r.passed:4}  refused {sum(r.refused.values()):3}  failed {len(r.failed):3}")
        for message, count in r.refused.items():
            print(f"    refused {count}: {message}")
        for message in r.failed[:3]:
            print(f"    FAILED {message}")
    failed = sum(len(r.failed) for r in results)
    print(
        f"{len(results)} operations: {sum(r.passed for r in results)} samples passed, "
        f"{sum(sum(r.refused.values()) for r in results)} refused, {failed} failed; "
        f"{sum(r.errors for r in results)} errors are errors here too, {sum(r.accepted for r in results)} are not"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
