"""Every kind of bad call: one row each with the error it raises. A message names the operation, what it got (both
shapes, both dtypes) and what to do. Layers, training and optimizers have their own tests."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from compare import memory_in_use

Call = Callable[[], Any]
ONE = st.ones((2, 3))
WIDE = st.ones((4, 5))
INTS = st.tensor([[1, 2, 3], [4, 5, 6]])
MASK = ONE > 0
BIG = 2**62


def leaf(*shape: int) -> st.Tensor:
    return st.ones(shape, requires_grad=True)


def statement(code: str) -> Call:
    """Assignments are statements."""
    return lambda: exec(
        code, {"st": st, "np": np, "x": ONE.copy(), "i": INTS.copy(), "leaf": leaf(2, 3), "m": MASK.copy()}
    )


def function(backward: Callable[..., Any], forward: Callable[..., Any] = lambda ctx, x: x * 2) -> Any:
    """An autograd.Function made of two functions."""
    return type("Mine", (st.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


SHAPES: list[tuple[Call, type[Exception], str]] = [
    (lambda: ONE + WIDE, ValueError, r"add: shapes \(2, 3\) and \(4, 5\) cannot be broadcast.*equal, or one of them 1"),
    (lambda: st.maximum(ONE, st.ones(2)), ValueError, r"maximum: shapes \(2, 3\) and \(2,\) cannot be broadcast"),
    (lambda: ONE == WIDE, ValueError, r"equal: shapes \(2, 3\) and \(4, 5\)"),
    (lambda: st.where(MASK, WIDE, 0.0), ValueError, r"where: shapes \(2, 3\) and \(4, 5\)"),
    (lambda: ONE @ WIDE, ValueError, r"matmul: shapes \(2, 3\) and \(4, 5\).*\(3\) must equal.*\(4\)"),
    (lambda: ONE @ st.ones(2), ValueError, r"matmul: shapes \(2, 3\) and \(2(,|, 1)\)"),
    (
        lambda: st.ones((2, 2, 3)) @ st.ones((3, 3, 2)),
        ValueError,
        r"matmul: shapes \(2,\) and \(3,\) cannot be broadcast",
    ),
    (lambda: ONE @ 2.0, ValueError, r"matmul: shapes \(2, 3\) and \(\).*use \*"),
    (lambda: st.linear(ONE, WIDE), ValueError, r"linear: input of shape \(2, 3\), weight \(4, 5\).*\(out, in\)"),
    (lambda: st.linear(ONE, st.ones((4, 3)), st.ones(3)), ValueError, r"linear: .*bias \(3,\)"),
    (lambda: ONE.reshape(4, 2), ValueError, r"reshape: a tensor of shape \(2, 3\) \(6 elements\).*\(4, 2\)"),
    (lambda: ONE.reshape(-1, -1), ValueError, r"reshape: .*\(-1, -1\)"),
    (lambda: ONE.reshape(4, -1), ValueError, r"reshape: .*\(4, -1\)"),
    (lambda: ONE.reshape(-2, -3), ValueError, r"reshape: .*\(-2, -3\)"),
    (lambda: st.zeros((0, 3)).reshape(0, -1), ValueError, r"reshape: .*\(0, -1\)"),
    (lambda: ONE.broadcast_to((4, 5)), ValueError, r"broadcast_to: .*\(2, 3\) does not broadcast to \(4, 5\)"),
    (lambda: ONE.broadcast_to((3,)), ValueError, r"broadcast_to: .*\(2, 3\) does not broadcast to \(3,\)"),
    (lambda: st.concat([ONE, WIDE]), ValueError, r"concat: shapes \(2, 3\) and \(4, 5\) differ"),
    (lambda: st.concat([]), ValueError, "concat: there are no tensors"),
    (lambda: st.concat([st.tensor(1), st.tensor(2)]), ValueError, "concat: 0-d.*stack"),
    (lambda: st.stack([ONE, WIDE]), ValueError, r"stack: shapes \(2, 3\) and \(4, 5\) differ"),
    (lambda: st.stack([]), ValueError, "stack: there are no tensors"),
    (lambda: st.split(ONE, 2, 1), ValueError, r"split: axis 1 of shape \(2, 3\) has 3 elements.*2"),
    (lambda: st.split(ONE, [1, 1], 1), ValueError, r"split: .*\[1, 1\]"),
    (lambda: st.split(ONE, [4, -1], 1), ValueError, r"split: .*\[4, -1\]"),
    (lambda: st.split(ONE, 0), ValueError, "split: .*0"),
    (lambda: ONE.squeeze(0), ValueError, r"squeeze: axis 0 of shape \(2, 3\) has 2 elements, not 1"),
    (lambda: st.ones((2, 3, 4)).T, ValueError, r"\(2, 3, 4\).*\.mT or permute_dims"),
    (lambda: st.layer_norm(ONE, 4), ValueError, r"layer_norm: .*\(2, 3\).*normalized_shape=\(4,\)"),
    (lambda: st.layer_norm(ONE, 3, st.ones(4)), ValueError, r"layer_norm: weight of shape \(4,\).*\(3,\)"),
    (lambda: st.layer_norm(ONE, ()), ValueError, r"layer_norm: .*normalized_shape=\(\)"),
    (lambda: st.take_along_axis(ONE, st.tensor([[0]] * 3), 1), ValueError, r"take_along_axis: .*\(3, 1\).*\(2, 3\)"),
    (lambda: st.mse_loss(ONE, st.ones(6)), ValueError, r"mse_loss: input has shape \(2, 3\), target \(6,\).*equal"),
    (lambda: st.l1_loss(st.ones((4, 1)), st.ones(4)), ValueError, r"l1_loss: .*\(4, 1\).*\(4,\).*reshape one"),
    (lambda: st.cross_entropy(ONE, st.tensor([0, 1, 2])), ValueError, r"cross_entropy: .*\(2, 3\).*\(2,\).*not \(3,\)"),
    (lambda: st.cross_entropy(st.ones((4, 1)), st.tensor([0] * 4)), ValueError, r"\(4, 1\) has one class.*with_logits"),
    (lambda: st.cross_entropy(st.tensor(1.0), st.tensor(0)), ValueError, "cross_entropy: input needs a class axis"),
    (lambda: st.full((2,), ONE), ValueError, r"full: .*\(2, 3\)"),
    (
        lambda: st.kernels.matmul(np.ones((2, 3)), np.ones((4, 5)), np.ones((2, 5))),
        ValueError,
        r"\(2, 3\) and \(4, 5\)",
    ),
    (
        lambda: st.kernels.softmax(np.ones(3), np.ones(4)),
        ValueError,
        r"softmax: 'out' has shape \(4,\), the input \(3,\)",
    ),
    (statement("x[0] = np.ones((2, 2))"), ValueError, r"assign a value of shape \(2, 2\) to elements of shape \(3,\)"),
    (statement("x.add_(st.ones((4, 2, 3)))"), ValueError, r"add in place: .*\(2, 3\).*\(4, 2, 3\)"),
    (statement("leaf.grad = st.ones(3)"), ValueError, "grad must be None or a Tensor with the shape, dtype and device"),
    (statement("x.copy_(st.ones(4))"), ValueError, r"\(4,\).*\(2, 3\)"),
    (lambda: ONE.item(), ValueError, r"\(2, 3\) has 6 elements"),
    (lambda: float(ONE), ValueError, r"\(2, 3\) has 6 elements"),
    (lambda: bool(MASK), ValueError, r"truth value of a tensor of shape \(2, 3\).*any\(\) or \.all\(\)"),
    (lambda: bool(st.zeros(0)), ValueError, r"truth value of a tensor of shape \(0,\)"),
    (lambda: len(st.tensor(1.0)), TypeError, "0-d tensor has no length"),
    (lambda: list(st.tensor(1.0)), TypeError, "0-d tensor cannot be iterated.*item"),
]

DTYPES: list[tuple[Call, type[Exception], str]] = [
    (lambda: st.softmax(INTS), TypeError, r"softmax needs a floating-point tensor, not int64.*astype"),
    (lambda: st.layer_norm(INTS, 3), TypeError, "layer_norm.*floating-point.*int64"),
    (lambda: st.layer_norm(ONE, 3, st.ones(3, dtype=st.float64)), TypeError, "layer_norm: weight.*float64.*float32"),
    (lambda: st.linear(ONE, st.ones((4, 3), dtype=st.float64)), TypeError, "linear: .*float32.*float64"),
    (lambda: st.linear(INTS, st.ones((4, 3), dtype=st.int64)), TypeError, "linear: .*floating-point.*int64"),
    (lambda: st.dropout(INTS), TypeError, "dropout.*floating-point.*int64"),
    (lambda: st.ones(2, dtype=st.int64, requires_grad=True), TypeError, "floating-point.*int64.*astype"),
    (lambda: MASK @ MASK.T, TypeError, "matmul.*bool.*astype"),
    (lambda: ~ONE, TypeError, "bitwise_invert is not defined for float32"),
    (lambda: ONE & MASK, TypeError, r"bitwise_and .*float32.*compare first.*\(x > 0\) & \(y > 0\)"),
    (lambda: MASK << 1.5, TypeError, "bitwise_left_shift .*float32"),
    (lambda: ONE + "a", TypeError, "str"),
    (lambda: ONE + None, TypeError, "None"),
    (lambda: ONE * [1, "b"], TypeError, "list"),
    (lambda: ONE < "a", TypeError, "str"),
    (lambda: st.exp("a"), TypeError, "cannot make a tensor of str 'a'"),
    (lambda: st.exp(None), TypeError, "cannot make a tensor of NoneType"),
    (lambda: st.tensor([1, None]), TypeError, "cannot make a tensor of list"),
    (lambda: st.tensor({"a": 1}), TypeError, "cannot make a tensor of dict"),
    (lambda: st.tensor([1j]), TypeError, "cannot make a tensor of list"),
    (lambda: st.tensor([[1, 2], [3]]), ValueError, "cannot make a tensor of this list: .*inhomogeneous"),
    (lambda: st.tensor([ONE, ONE]), TypeError, r"list of tensors: use steep\.stack or steep\.concat"),
    (lambda: st.tensor(np.ones(2, np.longdouble)), TypeError, r"'float128' has no steep counterpart.*astype"),
    (lambda: st.tensor(np.ones(2, complex)), TypeError, "complex128.*no complex numbers: keep these in NumPy"),
    (lambda: st.tensor(np.array([1, "a"], object)), TypeError, "object"),
    (lambda: st.tensor(np.ones(2, ">f4")), TypeError, ">f4"),
    (lambda: st.asarray(np.ones(2, "M8[s]")), TypeError, "datetime64.*no steep counterpart"),
    (lambda: st.zeros(2, dtype="float8"), TypeError, "'float8' is not a dtype of steep: use one of bool, int8"),
    (lambda: st.zeros(2, dtype=complex), TypeError, "no complex numbers: keep them in NumPy"),
    (lambda: st.ones(2, dtype="bfloat16").numpy(), TypeError, r"NumPy has no bfloat16.*\.astype\(steep\.float32\)"),
    (lambda: st.ones(2, dtype="uint64") + ONE.astype("int8"), TypeError, "both int8 and uint64.*astype"),
    (lambda: ONE.astype(3), TypeError, "3 is not a dtype"),
    (lambda: INTS.mean().astype(st.float32) + 10**400, OverflowError, ""),
    (lambda: st.tensor(2**63), OverflowError, "9223372036854775808.* does not fit in.*int64"),
    (lambda: st.tensor([1, 2**70]), OverflowError, "does not fit in.*int64"),
    (lambda: INTS + 2**63, OverflowError, "9223372036854775808 does not fit in a tensor of dtype int64"),
    (lambda: INTS.astype(st.int32) + 2**31, OverflowError, "2147483648 does not fit in a tensor of dtype int32"),
    (statement("i += 0.5"), TypeError, "add in place: a int64 tensor cannot hold the float32 result"),
    (statement("i /= 2"), TypeError, "divide in place: a int64 tensor"),
    (statement("x[0] = 'a'"), TypeError, "cannot make a tensor of str"),
    (
        lambda: st.cross_entropy(ONE, st.ones(2)),
        TypeError,
        r"cross_entropy: labels must be integers, not float32.*astype",
    ),
    (lambda: st.cross_entropy(INTS, st.tensor([0, 1])), TypeError, r"cross_entropy: input \(logits\).*int64"),
    (lambda: st.cross_entropy(ONE, MASK[:, 0]), TypeError, "cross_entropy: .*bool"),
    (lambda: st.mse_loss(INTS, INTS), TypeError, "mse_loss: input must be floating-point, not int64"),
    (lambda: st.one_hot(ONE, 3), TypeError, "one_hot: class labels must be integers, not float32"),
    (lambda: st.take(ONE, st.tensor([0.5]), 0), TypeError, "take: indices must be integers, not float32"),
    (
        lambda: st.random.uniform(3, dtype="int32"),
        TypeError,
        "random.uniform: dtype must be a floating-point one, not int32",
    ),
    (
        lambda: st.random.randint(0, 3, 2, dtype="float32"),
        TypeError,
        "random.randint: dtype must be an integer one, not float32",
    ),
    (lambda: st.from_dlpack(3), TypeError, ""),
    (lambda: st.from_dlpack(np.ones(2, complex)), TypeError, "from_dlpack: .*dtype has no steep counterpart"),
    (lambda: st.kernels.sigmoid(np.ones(2, int), np.ones(2)), TypeError, "sigmoid: 'x' has dtype int64.*float32"),
    (lambda: st.kernels.sigmoid(np.ones(2), np.ones(2, "f4")), TypeError, "sigmoid: 'out' has dtype float32"),
    (lambda: st.Tensor(), TypeError, ""),
]

AXES_AND_INDICES: list[tuple[Call, type[Exception], str]] = [
    (lambda: ONE.sum(2), IndexError, "sum: axis 2 is out of range for a tensor of 2 dimensions"),
    (lambda: ONE.mean((0, -3)), IndexError, "axis -3 is out of range"),
    (lambda: ONE.max((0, 0)), ValueError, r"max: axis 0 is given twice in \(0, 0\)"),
    (lambda: ONE.any((0, -2)), ValueError, "any: axis 0 is given twice"),
    (lambda: ONE.sum(0.5), TypeError, "sum: axis must be None, an integer or a tuple of integers, not float"),
    (lambda: ONE.sum("a"), TypeError, "sum: axis .*str"),
    (lambda: ONE.argmax(5), IndexError, "argmax: axis 5"),
    (lambda: ONE.argmax((0, 1)), TypeError, ""),
    (lambda: st.tensor(1.0).sum(0), IndexError, "sum: axis 0 is out of range for a tensor of 0 dimensions"),
    (lambda: st.zeros((0, 3)).max(), ValueError, r"max: .*\(0, 3\).*no elements"),
    (lambda: st.zeros((3, 0)).argmin(1), ValueError, r"argmin: axis 1 of shape \(3, 0\) has no elements"),
    (lambda: st.softmax(ONE, 2), IndexError, "softmax: axis 2"),
    (lambda: st.logsumexp(ONE, -3), IndexError, "logsumexp: axis -3|axis -3 is out of range"),
    (lambda: ONE.transpose(0, 2), IndexError, "transpose: axis 2"),
    (
        lambda: ONE.permute_dims(0),
        ValueError,
        r"permute_dims: axes \(0,\) must name each of the 2 axes of shape \(2, 3\)",
    ),
    (lambda: ONE.permute_dims(0, 0), ValueError, "permute_dims: axis 0 is given twice"),
    (lambda: ONE.expand_dims(4), IndexError, "expand_dims: axis 4"),
    (lambda: ONE.expand_dims((0, 1)), TypeError, "expand_dims.*integer"),
    (lambda: ONE.transpose("a", 0), TypeError, "transpose.*integer"),
    (lambda: ONE.squeeze(5), IndexError, "squeeze: axis 5"),
    (lambda: st.flatten(ONE, 1, 0), ValueError, "flatten: start_axis=1 is behind end_axis=0"),
    (lambda: st.concat([ONE, ONE], 2), IndexError, "concat: axis 2"),
    (lambda: st.stack([ONE, ONE], 4), IndexError, "axis 4"),
    (lambda: st.split(ONE, 1, 2), IndexError, "split: axis 2"),
    (lambda: ONE[2], IndexError, r"index 2 is out of range for axis 0 of shape \(2, 3\), which has 2 elements"),
    (lambda: ONE[0, -4], IndexError, "index -4 is out of range for axis 1"),
    (lambda: ONE[0, 0, 0], IndexError, r"too many indices: 3 for a tensor of shape \(2, 3\)"),
    (lambda: ONE[..., ...], IndexError, "only one ellipsis"),
    (lambda: ONE[10**30], IndexError, "64 bits"),
    (lambda: ONE[0.5], IndexError, "an index must be an integer.*not float"),
    (lambda: ONE["a"], IndexError, "an index must be .*not str"),
    (lambda: ONE[::0], ValueError, "slice step cannot be zero"),
    (lambda: ONE[MASK[:1]], IndexError, r"mask of shape \(1, 3\) .* shape \(2, 3\).*1 elements for axis 0 with 2"),
    (lambda: ONE[:, MASK], IndexError, r"too many indices: 3 for a tensor of shape \(2, 3\)"),
    (lambda: ONE[[0], [0], [0]], IndexError, r"too many indices: 3 for a tensor of shape \(2, 3\)"),
    (lambda: ONE[..., [0], ...], IndexError, "only one ellipsis"),
    (lambda: ONE["a", [0]], IndexError, "an index must be .*not str"),
    (lambda: ONE[st.tensor([0.0])], TypeError, "must hold integers, or truth values as a mask, not float32"),
    (lambda: ONE[[0, 5]], IndexError, "index 5 is out of range for axis 0 with 2 elements"),
    (lambda: ONE[0, ..., [-4]], IndexError, "index -4 is out of range for axis 1 with 3 elements"),
    (lambda: ONE[[0], [1, 3]], IndexError, "index 3 is out of range for axis 1 with 3 elements"),
    (lambda: ONE[[0, 1], [0, 1, 2]], IndexError, r"index tensors of shapes \(2,\), \(3,\) cannot be broadcast"),
    (statement("x[[2]] = 1"), IndexError, "assignment: index 2 is out of range for axis 0 with 2 elements"),
    (statement("x[[0]] = st.ones(2)"), ValueError, r"assignment: values of shape \(2,\) do not fit .* \(1, 3\)"),
    (statement("x[m] = st.ones(2)"), ValueError, r"assignment: values of shape \(2,\) do not fit .* \(6,\)"),
    (statement("st.broadcast_to(x[0], (2, 3))[[0]] = 1"), ValueError, "assignment: several elements"),
    (lambda: st.nonzero(2.0), ValueError, "nonzero: a 0-d tensor has no coordinates"),
    (lambda: st.argwhere(True), ValueError, "argwhere: a 0-d tensor"),
    (lambda: st.where(MASK, ONE), ValueError, "where: the condition stands alone"),
    (lambda: st.masked_select(ONE, INTS), TypeError, "masked_select: the mask must be bool, not int64"),
    (lambda: st.gather(ONE, 1, INTS), IndexError, "gather: index 6 is out of range for axis 1 with 3 elements"),
    (lambda: st.gather(ONE, 1, INTS.T), ValueError, r"gather: indices of shape \(3, 2\) reach beyond shape \(2, 3\)"),
    (lambda: st.gather(ONE, 0, [0]), ValueError, r"gather: indices of shape \(1,\) reach beyond shape \(2, 3\)"),
    (lambda: st.gather(ONE, 0, ONE), TypeError, "gather: indices must be integers, not float32"),
    (lambda: st.scatter(ONE, 0, [[2]], 1), IndexError, "scatter: index 2 is out of range for axis 0"),
    (lambda: st.scatter(ONE, 0, [[0]], INTS), TypeError, "scatter: int64 values for a float32 tensor"),
    (lambda: st.scatter_add(ONE, 0, [[0, 1]], ONE[:, :1]), ValueError, r"src of shape \(2, 1\) has too few"),
    (lambda: st.scatter_add(MASK, 0, [[0]], MASK), TypeError, "scatter_add: truth values cannot be added"),
    (lambda: st.index_add(ONE, 0, [0], ONE), ValueError, r"index_add: \(1,\) indices and a source of shape \(2, 3\)"),
    (lambda: st.index_add(INTS, 0, [0, 1], INTS, 0.5), TypeError, "index_add: float32 values for a int64 tensor"),
    (lambda: st.index_copy(ONE, 0, [0, 5], ONE), IndexError, "index_copy: index 5 is out of range for axis 0"),
    (lambda: st.diagonal(ONE, 0, 1, -1), ValueError, "diagonal: the axes 1 and -1 are the same"),
    (lambda: st.diagonal(ONE[0]), IndexError, "diagonal: axis 1 is out of range"),
    (lambda: st.diag_embed(1.0), ValueError, "diag_embed: a 0-d tensor"),
    (lambda: st.diag(st.ones((1, 1, 1))), ValueError, r"diag: shape \(1, 1, 1\) must have one or two dimensions"),
    (lambda: st.cdist(ONE, WIDE), ValueError, r"cdist: shapes \(2, 3\) and \(4, 5\) must be"),
    (lambda: st.cdist(ONE, ONE, -1), ValueError, "cdist: p=-1 must not be negative"),
    (lambda: st.cdist(INTS, INTS), TypeError, "cdist: both tensors must have one floating-point dtype, not int64"),
    (statement("x[3] = 1"), IndexError, "index 3 is out of range"),
    (lambda: st.take(ONE, st.tensor([3]), 1), IndexError, "take: index 3 is out of range for axis 1 with 3 elements"),
    (lambda: st.take(ONE, st.tensor([0])), ValueError, r"take: axis must be given for a tensor of shape \(2, 3\)"),
    (lambda: st.take_along_axis(ONE, INTS, 1), IndexError, "take_along_axis: index 6 is out of range"),
    (
        lambda: st.one_hot(st.tensor([0, 3]), 3),
        ValueError,
        "one_hot: labels range from 0 to 3, but with 3 classes.*0…2",
    ),
    (lambda: st.one_hot(st.tensor([-1]), 3), ValueError, "one_hot: labels range from -1"),
    (lambda: st.one_hot(st.tensor([0]), -3), ValueError, "one_hot|negative"),
    (lambda: st.cross_entropy(ONE, st.tensor([0, 3])), ValueError, "cross_entropy: labels range from 0 to 3.*0…2"),
    (lambda: st.cross_entropy(ONE, st.tensor([0, -100])), ValueError, "cross_entropy: labels range from -100"),
    (lambda: [1, 2][st.tensor(0.5)], TypeError, "only integer tensors can be used as an index, not float32"),
]

VALUES: list[tuple[Call, type[Exception], str]] = [
    (lambda: st.binary_cross_entropy(st.tensor([1.5]), st.tensor([1.0])), ValueError, r"input prob.*\[0, 1\].*1\.5"),
    (lambda: st.binary_cross_entropy(st.tensor([0.5]), st.tensor([2])), ValueError, r"targets must lie in \[0, 1\]"),
    (lambda: st.binary_cross_entropy_with_logits(ONE, -ONE), ValueError, "with_logits: targets must lie.*-1"),
    (lambda: st.cross_entropy(ONE, 2 * ONE), ValueError, r"target probabilities must lie in \[0, 1\]"),
    (lambda: st.huber_loss(ONE, ONE, delta=0), ValueError, "huber_loss: delta=0 must be greater than 0"),
    (lambda: st.mse_loss(ONE, ONE, reduction="avg"), ValueError, "mse_loss: reduction='avg' must be 'mean', 'sum' or"),
    (lambda: st.gelu(ONE, "erf"), ValueError, "gelu: approximate='erf' must be 'none' or 'tanh'"),
    (
        lambda: st.linear(ONE, ONE, activation="gelu"),
        ValueError,
        "linear: activation='gelu' must be None or one of relu",
    ),
    (lambda: st.clip(ONE, 1, 0), ValueError, "clip: min=1 must not be greater than max=0"),
    (lambda: st.clip(ONE, float("nan"), 1), ValueError, "clip: min=nan.*NaN"),
    (lambda: INTS**-1, ValueError, "pow: an integer to the power of -1.*make the base a float"),
    (lambda: st.dropout(ONE, 1.5), ValueError, "dropout: p=1.5 must be a probability"),
    (lambda: st.dropout(ONE, float("nan")), ValueError, "dropout: p=nan"),
    (lambda: st.arange(0, 1, 0), ValueError, "arange: step must not be 0"),
    (lambda: st.arange(float("nan")), ValueError, "arange: .*finite"),
    (lambda: st.arange(0, float("inf")), ValueError, "arange: .*stop=inf.*finite"),
    (lambda: st.linspace(0, 1, -1), ValueError, "linspace: num=-1"),
    (lambda: st.zeros(-1), ValueError, r"shape \(-1,\) has a negative extent"),
    (lambda: st.empty(2, -3), ValueError, r"shape \(2, -3\) has a negative extent"),
    (lambda: st.random.normal((2, -1)), ValueError, "negative extent"),
    (lambda: st.eye(-1), ValueError, "eye: n_rows=-1 must be an integer of 0 or more"),
    (lambda: st.zeros(2.5), TypeError, "a shape must be an integer or a sequence of integers, not 2.5"),
    (lambda: st.zeros("ab"), TypeError, "a shape must be"),
    (lambda: ONE.reshape(2.0, 3), TypeError, "a shape must be"),
    (lambda: st.zeros([1] * 9), ValueError, "at most 8 dimensions"),
    (lambda: st.ones([1] * 8).expand_dims(0), ValueError, "at most 8 dimensions"),
    (lambda: st.tensor(np.ones([1] * 9)), ValueError, "at most 8 dimensions"),
    (lambda: st.ones([1] * 8)[None], ValueError, "at most 8 dimensions"),
    (lambda: st.one_hot(st.zeros([1] * 8, dtype=st.int64), 2), ValueError, "at most 8 dimensions"),
    (lambda: st.zeros(BIG), MemoryError, "cannot allocate|more elements than any machine"),
    (lambda: st.zeros(BIG, BIG), MemoryError, "more elements than any machine can hold"),
    (lambda: st.empty(0, BIG, BIG), MemoryError, "more elements than any machine can hold"),
    (lambda: st.zeros(10**7, 10**7), MemoryError, "out of memory: cannot allocate .* MiB .*smaller batch"),
    (lambda: st.zeros(10**30), Exception, ""),
    (lambda: st.arange(10**15), MemoryError, "out of memory|nable to allocate"),
    (lambda: st.random.uniform((BIG, 4)), MemoryError, "more elements"),
    (lambda: st.one_hot(st.tensor([0] * 100), 10**14), MemoryError, "out of memory"),
    (lambda: st.ones(1).broadcast_to((BIG,)) + 1, MemoryError, "cannot allocate|more elements"),
    (lambda: st.ones((10**8, 1)) @ st.ones((1, 10**8)), MemoryError, "out of memory"),
    (lambda: st.random.uniform(3, 2, 1), ValueError, "random.uniform: low=2 ≤ high=1"),
    (lambda: st.random.uniform(3, 0, float("inf")), ValueError, "random.uniform: .*finite"),
    (lambda: st.random.normal(3, std=-1), ValueError, "random.normal: std=-1 must not be negative"),
    (lambda: st.random.randint(3, 3), ValueError, "random.randint: low=3 must be less than high=3"),
    (lambda: st.random.randint(0, 2**40, 3, dtype="int32"), ValueError, "random.randint: .*fit in int32"),
    (lambda: st.random.bernoulli(3, 1.5), ValueError, "random.bernoulli: p=1.5"),
    (lambda: st.random.permutation(-1), ValueError, "random.permutation: n=-1"),
    (lambda: st.manual_seed(-1), ValueError, r"seed must be an integer from 0 to 2\*\*64 - 1, not -1"),
    (lambda: st.manual_seed(0.5), TypeError, "seed must be an integer.*not 0.5"),
    (lambda: st.random.set_state((0, 2**64)), ValueError, "must be an integer"),
    (lambda: st.random.permutation(2.5), TypeError, "random.permutation: n=2.5 must be an integer"),
    (lambda: st.random.randint(0.5, 3, 2), TypeError, "random.randint: low=0.5 must be an integer"),
    (lambda: st.set_num_threads(0), ValueError, "set_num_threads: 0 is not a number from 1 to 1024"),
    (lambda: st.set_num_threads(5000), ValueError, "set_num_threads: 5000"),
    (lambda: st.device("gpu"), ValueError, "'gpu' is not a device: use 'cpu', 'cuda'"),
    (lambda: ONE.to("tpu"), (TypeError, ValueError), "'tpu' is neither a device .* nor a dtype"),  # type: ignore[list-item]
    (lambda: st.asarray([1.0], copy=False), ValueError, "asarray: a list needs a copy"),
    (
        lambda: st.asarray(np.ones(2), dtype="float32", device="cpu", copy=False),
        ValueError,
        "asarray: float64 as 'float32' needs a copy",
    ),
    (lambda: ONE.cpu().__array__(np.dtype("f8"), copy=False), ValueError, "float32 tensor as float64 needs a copy"),
]

AUTOGRAD: list[tuple[Call, type[Exception], str]] = [
    (lambda: leaf(2).backward(), RuntimeError, r"backward.*\(2,\).*gradient"),
    (lambda: ONE.sum().backward(), RuntimeError, "backward: .*requires_grad=True"),
    (lambda: (leaf() > 0).backward(), RuntimeError, "backward: "),
    (lambda: (leaf(2) * 2).backward(st.ones(3)), ValueError, r"backward: .*shape \(3,\), the output \(2,\)"),
    (lambda: (leaf(2) * 2).backward(1.0), TypeError, "backward: the gradient must be a Tensor, not float"),
    (lambda: st.grad(leaf().sum(), ONE), RuntimeError, "grad: input 0 has requires_grad=False"),
    (lambda: st.grad(leaf().sum(), leaf()), RuntimeError, "grad: no output depends on input 0.*allow_unused=True"),
    (lambda: st.grad([leaf()], [leaf()], [st.ones(()), st.ones(())]), ValueError, "grad: 1 outputs but 2 grad_outputs"),
    (statement("y = (leaf * leaf).sum(); y.backward(); y.backward()"), RuntimeError,
     "backward a second time through '(sum|multiply)'.*retain_graph=True.*compute the loss again"),
    (statement("y = st.exp(leaf); y.sum().backward(); (y * 2).sum().backward()"), RuntimeError,
     "backward a second time through 'exp'"),
    (statement("leaf += 1"), RuntimeError, r"add_ would change a leaf that requires a gradient.*no_grad"),
    (statement("leaf.mul_(2)"), RuntimeError, "multiply_ would change a leaf.*no_grad"),
    (statement("leaf[0] = 1"), RuntimeError, "assignment to elements would change a leaf.*no_grad"),
    (statement("x[0] = leaf[0]"), RuntimeError, "assignment to elements would change a recorded tensor"),
    (statement("(leaf * 2).zero_()"), RuntimeError, "fill_ would change a recorded tensor in place"),
    (statement("x.copy_(leaf)"), RuntimeError, "copy_ would change"),
    (statement("(leaf * 2).requires_grad = False"), RuntimeError, r"requires_grad of a computed tensor.*detach\(\)"),
    (statement("i.requires_grad = True"), TypeError, "floating-point tensors can require gradients, not int64"),
    (statement("import copy; copy.deepcopy(leaf * 2)"), RuntimeError, r"history cannot be .*copied: use x\.detach\(\)"),
    (statement("np.asarray(leaf)[0] = 1"), ValueError, "read-only"),
    (lambda: function(lambda ctx, g: (g, g)).apply(leaf()).backward(), RuntimeError,
     "Mine.backward returned 2 gradients for 1 arguments"),
    (lambda: function(lambda ctx, g: st.ones(3)).apply(leaf()).backward(), RuntimeError,
     r"Mine.backward returned a Tensor of shape \(3,\) for argument 0, which has shape \(\)"),
    (lambda: function(lambda ctx, g: 1.0).apply(leaf()).backward(), RuntimeError, "Mine.backward returned a float"),
    (lambda: function(lambda ctx, g: g, lambda ctx, x: 3).apply(leaf()), TypeError, "Mine.forward must return one"),
    (lambda: st.autograd.Function.apply(leaf()), NotImplementedError, r"static method forward\(ctx, \*args\)"),
    (lambda: function(st.autograd.Function.backward).apply(leaf()).backward(), NotImplementedError, "backward"),
    (lambda: st.autograd.gradcheck(st.exp, [ONE]), ValueError, "gradcheck: no input has requires_grad=True"),
    (lambda: st.autograd.gradcheck(st.exp, [leaf()]), TypeError, "gradcheck: input 0 is float32.*float64"),
]  # fmt: skip

TABLES = {"shape": SHAPES, "dtype": DTYPES, "index": AXES_AND_INDICES, "value": VALUES, "autograd": AUTOGRAD}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [pytest.param(*row, id=f"{table}-{i}") for table, rows in TABLES.items() for i, row in enumerate(rows)],
)
def test_message(call: Call, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert re.search(message, text, re.DOTALL), text
    assert "Invoked with" not in text, "the binding's own message: no words of steep"
    assert "incompatible function arguments" not in text


def test_an_error_leaves_everything_as_it_was() -> None:
    x = leaf(2, 3)
    y = (x * x).sum()
    gc.collect()  # what other tests have left
    before = memory_in_use()
    for call, error, _ in [*SHAPES, *AXES_AND_INDICES]:
        with pytest.raises(error):
            call()
    assert memory_in_use() == before
    assert st.is_grad_enabled()
    y.backward()
    assert x.grad.tolist() == [[2] * 3] * 2
