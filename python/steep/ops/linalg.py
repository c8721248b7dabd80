"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

from .. import _core, autocasting, dtypes
from .._core import record_binary
from ..checks import check_real
from ..tensor import Tensor
from . import diagonals, elementwise, manipulation, reduction
from ._apply import UNARY, as_tensor, as_tensors, check_floating, first_tensor, unary

__all__ = [
    "bilinear",
    "cosine_similarity",
    "dot",
    "linear",
    "matmul",
    "matrix_transpose",
    "norm",
    "outer",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

READS_A, READS_B = 1, 2
FUSED_ACTIVATIONS = ("relu", "sigmoid", "tanh")  # whose derivative needs only the result


def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product of shapes (…, m, k) and (…, k, n), batches broadcast; a 1-D operand is a row or a column.

    Raises ValueError if the shapes don't fit, and for 0-d operands.

    >>> import steep as st
    >>> st.tensor([[1.0, 2.0], [3.0, 4.0]]) @ st.tensor([1.0, 1.0])
    tensor([3., 7.])
    """
    a = as_tensor(a, b)
    b = as_tensor(b, a)
    if a.ndim == 1 and b.ndim > 0:
        return manipulation.squeeze(matmul(a.expand_dims(0), b), 0 if b.ndim <= 2 else -2)
    if b.ndim == 1 and a.ndim > 0:
        return manipulation.squeeze(matmul(a, b.expand_dims(1)), -1)
    if autocasting.blocks:
        a, b = autocasting.in_low_precision(a, b)
    return record_binary(_core.matmul(a, b), _matmul_vjp, a, b, READS_B, READS_A)


def _matmul_vjp(
    g: Tensor, needs_a: bool, needs_b: bool, a: Tensor, b: Tensor | None, y: None
) -> tuple[Tensor | None, Tensor | None]:
    # A gradient with the broadcast batch axes is summed by the tape.
    return matmul(g, b.mT) if b is not None else None, matmul(a.mT, g) if needs_b else None


def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None, *, residual: Any = None) -> Tensor:
    """activation(x @ weightᵀ + bias + residual) in one pass, for x (…, in), weight (out, in) and bias (out,) or None.

    ``activation`` is None, "relu", "sigmoid" or "tanh"; ``residual``, of the result's shape (…, out), is what a network
    carries past a layer. All operands have one floating-point dtype. In blocks of ``autocast`` the others are cast, and
    a float32 residual makes the result float32. Raises ValueError and TypeError with the shapes and dtypes.

    >>> import steep as st
    >>> x, weight, bias = st.ones((1, 2)), st.tensor([[1.0, -3.0]]), st.tensor([1.0])
    >>> st.linear(x, weight, bias, activation="relu")
    tensor([[0.]])
    >>> st.linear(x, weight, bias, activation="relu", residual=st.tensor([[5.0]]))
    tensor([[4.]])
    """
    return _core.linear(x, weight, bias, activation, residual)


def _linear(x: Any, weight: Any, bias: Any, activation: str | None, residual: Any) -> Tensor:
    """The same for operands of any kind."""
    x = as_tensor(x, weight)
    weight = as_tensor(weight, x)
    bias = None if bias is None else as_tensor(bias, x)
    residual = None if residual is None else as_tensor(residual, x)
    if activation is not None and activation not in FUSED_ACTIVATIONS:
        raise ValueError(f"linear: activation={activation!r} must be None or one of {', '.join(FUSED_ACTIVATIONS)}")
    if autocasting.blocks:
        x, weight, bias = autocasting.in_low_precision(x, weight, bias)
        if residual is not None and residual.dtype is not x.dtype:  # it keeps its digits
            y = _core.linear_of_tensors(x, weight, bias, None, None) + residual
            return y if activation is None else unary(activation, y)
    return _core.linear_of_tensors(x, weight, bias, activation, residual)


def _recorded_linear_vjp(
    g: Tensor,
    x: Tensor | None,
    weight: Tensor | None,
    y: Tensor | None,
    activation: str | None,
    needs_bias: bool,
    needs_residual: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    if activation is not None:
        (g,) = UNARY[activation].vjp(g, None, y, ())
    dx = None if weight is None else matmul(g, weight)
    dresidual = g if needs_residual else None
    if g.ndim != 2:  # the other axes are all rows of one matrix
        g = manipulation.reshape(g, (math.prod(g.shape[:-1]), g.shape[-1]))
        x = None if x is None else manipulation.reshape(x, (g.shape[0], x.shape[-1]))
    return dx, None if x is None else matmul(g.mT, x), reduction.sum(g, 0) if needs_bias else None, dresidual


_core.set_linear(_linear, _recorded_linear_vjp)


# --- composed of the others -------------------------------------------------------------------------------------------


def bilinear(a: Any, b: Any, weight: Any, bias: Any = None) -> Tensor:
    """aᵀ · weight[k] · b + bias[k] for each k, for a (…, I), b (…, J), weight (K, I, J) and bias (K,), giving (…, K).

    Raises ValueError for shapes that don't fit.

    >>> import steep as st
    >>> st.bilinear(st.tensor([1.0, 2.0]), st.tensor([3.0]), st.tensor([[[1.0], [10.0]]]))
    tensor([63.])
    """
    beside = first_tensor((weight, a, b, bias))
    a, b, weight = as_tensor(a, beside), as_tensor(b, beside), as_tensor(weight, beside)
    wanted = (weight.shape[1:], a.shape[:-1]) if weight.ndim == 3 else None
    if a.ndim == 0 or b.ndim == 0 or wanted != ((a.shape[-1], b.shape[-1]), b.shape[:-1]):
        raise ValueError(
            f"bilinear: a {a.shape}, b {b.shape} and weight {weight.shape} must have the shapes "
            "(…, I), (…, J) and (K, I, J)"
        )
    outputs, inputs, others = weight.shape
    places = math.prod(a.shape[:-1])
    left = manipulation.permute_dims(weight, (1, 0, 2))
    left = matmul(manipulation.reshape(a, (places, inputs)), manipulation.reshape(left, (inputs, outputs * others)))
    y = matmul(manipulation.reshape(left, (places, outputs, others)), manipulation.reshape(b, (places, others, 1)))
    y = manipulation.reshape(y, (*a.shape[:-1], outputs))
    return y if bias is None else y + as_tensor(bias, beside)


def matrix_transpose(x: Any) -> Tensor:
    """A view with the last two axes exchanged. Raises ValueError for fewer than two."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: a tensor of shape {x.shape} has no matrices")
    return manipulation.transpose(x, -2, -1)


def outer(a: Any, b: Any) -> Tensor:
    """The products of all elements of a with all elements of b, both of one dimension: shape (a.size, b.size).

    Raises ValueError for other dimensions.
    """
    a, b = as_tensors(a, b)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: shapes {a.shape} and {b.shape} must have one dimension")
    return manipulation.expand_dims(a, 1) * b


def vecdot(a: Any, b: Any, axis: int = -1) -> Tensor:
    """Σ a·b along an axis, the others broadcast. Raises ValueError if the extents of the axis differ.

    >>> import steep as st
    >>> st.vecdot(st.tensor([1.0, 2.0]), st.tensor([3.0, 4.0]))
    tensor(11.)
    """
    a, b = as_tensors(a, b)
    i, j = (manipulation.as_axis("vecdot", axis, x.ndim) for x in (a, b))
    if a.shape[i] != b.shape[j]:
        raise ValueError(f"vecdot: axis {axis} has {a.shape[i]} elements in {a.shape} and {b.shape[j]} in {b.shape}")
    products = a * b
    if products.dtype.is_floating_point and products.dtype.itemsize == 2:  # whose products would be rounded
        a, b = (x.astype(products.dtype).astype(dtypes.float32) for x in (a, b))
        return vecdot(a, b, axis).astype(products.dtype)
    return reduction.sum(products, axis, dtype=products.dtype)


def dot(a: Any, b: Any) -> Tensor:
    """NumPy's product: Σ over the last axis of a and the last but one of b (or its only one); of numbers, a · b.

    Of vectors and matrices it is ``a @ b``. Raises ValueError if the extents differ.

    >>> import steep as st
    >>> st.dot(st.tensor([1.0, 2.0]), st.tensor([3.0, 4.0]))
    tensor(11.)
    """
    a = as_tensor(a, b)
    b = as_tensor(b, a)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return matmul(a, b) if b.ndim <= 2 else tensordot(a, b, ([-1], [-2]))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """Σ of products over axes of a and b: the last ``axes`` of a and the first of b, or two sequences of equal length.

    The result has the other axes of a, then those of b. Raises ValueError if extents differ.
    """
    a, b = as_tensors(a, b)
    if isinstance(axes, tuple | list):
        pairs = [axis if isinstance(axis, tuple | list) else (axis,) for axis in axes]
        if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
            raise ValueError(f"tensordot: axes={axes} must be a number or two sequences of equal length")
        of_a = [manipulation.as_axis("tensordot", axis, a.ndim) for axis in pairs[0]]
        of_b = [manipulation.as_axis("tensordot", axis, b.ndim) for axis in pairs[1]]
    else:
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: axes={axes} for tensors of shapes {a.shape} and {b.shape}")
        of_a, of_b = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ValueError(f"tensordot: axes {of_a} of shape {a.shape} do not fit axes {of_b} of shape {b.shape}")
    free_a, free_b = ([i for i in range(x.ndim) if i not in used] for x, used in ((a, of_a), (b, of_b)))
    inner = math.prod(a.shape[i] for i in of_a)
    shape_a, shape_b = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    left = manipulation.reshape(manipulation.permute_dims(a, [*free_a, *of_a]), (math.prod(shape_a), inner))
    right = manipulation.reshape(manipulation.permute_dims(b, [*of_b, *free_b]), (inner, math.prod(shape_b)))
    return manipulation.reshape(matmul(left, right), (*shape_a, *shape_b))


def trace(x: Any, offset: int = 0) -> Tensor:
    """The sum of a diagonal of the last two axes: the main one, or the one ``offset`` above it."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"trace: a tensor of shape {x.shape} has no matrices: it needs two dimensions or more")
    return reduction.sum(diagonals.diagonal(x, offset, -2, -1), -1)


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """(Σ |x|^ord)^(1/ord) over axes; the largest and the smallest |x| for ord ±∞, the number of nonzeros for 0.

    The derivative at 0 is 0.

    >>> import steep as st
    >>> st.vector_norm(st.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = as_tensor(x)
    check_floating("vector_norm", x, "x")
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    if x.dtype.itemsize == 2:  # whose squares may not be finite
        return vector_norm(x.astype(dtypes.float32), axis, keepdims, ord).astype(x.dtype)
    check_real("vector_norm: ord", ord)
    if ord == 2:
        return reduction.root(reduction.sum(elementwise.square(x), axis, keepdims))
    size = elementwise.abs(x)
    if ord == math.inf:
        return reduction.max(size, axis, keepdims)
    if ord == -math.inf:
        return reduction.min(size, axis, keepdims)
    if ord == 0:
        return reduction.count_nonzero(x, axis, keepdims).astype(x.dtype)
    if ord == 1:
        return reduction.sum(size, axis, keepdims)
    if ord < 0:
        return reduction.sum(size**ord, axis, keepdims) ** (1 / ord)
    return reduction.root(reduction.sum(reduction.root(size, ord), axis, keepdims), 1 / ord)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The norm of vectors, or of matrices where ``axis`` names two axes, as ``numpy.linalg.norm``.

    Without ``ord`` it is the root of the sum of squares. Of vectors see ``vector_norm``; of matrices ``ord`` may be
    "fro" (the same root), 1 and ∞ (the largest sum of sizes in a column, or in a row), −1 and −∞ (the smallest). Raises
    ValueError for others: NumPy has those that need singular values.

    >>> import steep as st
    >>> st.norm(st.tensor([[3.0, -4.0], [0.0, 1.0]]), 1, axis=(0, 1))
    tensor(5.)
    """
    x = as_tensor(x)
    if axis is None and ord is not None:
        axis = tuple(range(x.ndim))
        if x.ndim not in (1, 2):
            raise ValueError(f"norm: ord={ord!r} is of vectors and matrices; for shape {x.shape} give one axis or two")
    if ord is None or ord == "fro":
        return vector_norm(x, axis, keepdims)
    if not isinstance(axis, tuple | list) or len(axis) == 1:
        return vector_norm(x, axis, keepdims, ord)
    if len(axis) != 2 or ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f"norm: ord={ord!r} over the axes {axis}: use numpy.linalg.norm(x.numpy(), ...) for this one")
    rows, columns = (manipulation.as_axis("norm", i, x.ndim) for i in axis)
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = reduction.sum(elementwise.abs(x), summed, keepdims=True)
    y = (reduction.max if ord > 0 else reduction.min)(sums, kept, keepdims=True)
    return y if keepdims else manipulation.squeeze(y, (rows, columns))


def cosine_similarity(a: Any, b: Any, axis: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ a·b / (max(‖a‖, eps) · max(‖b‖, eps)) along an axis of both, broadcast."""
    a, b = as_tensors(a, b)
    if autocasting.blocks:
        a, b = autocasting.in_float32(a), autocasting.in_float32(b)
    if a.shape != b.shape:
        shape = (a.detach() * b.detach()).shape
        a, b = manipulation.broadcast_to(a, shape), manipulation.broadcast_to(b, shape)
    lengths = [elementwise.maximum(vector_norm(x, axis, keepdims=True), eps) for x in (a, b)]
    return reduction.sum((a / lengths[0]) * (b / lengths[1]), axis)


_core.set_operator("matmul", _matmul_vjp, matmul)
