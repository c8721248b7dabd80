"""Losses that compare two or three inputs with each other: rankings and embeddings."""

from __future__ import annotations

from typing import Any

from ...dtypes import float32
from ...tensor import Tensor
from .. import elementwise, linalg, logic
from .. import reduction as reductions
from ..dtype_functions import result_type
from .common import check_not_negative, hinge, pair, reduced, signs

__all__ = [
    "cosine_embedding_loss",
    "margin_ranking_loss",
    "triplet_margin_loss",
]


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, reduction: str = "mean", *, margin: float = 0.0
) -> Tensor:
    """max(0, margin − t · (input1 − input2)): t = 1 if input1 should be the larger by ``margin``, −1 if input2.

    All have one shape. Raises ValueError for shapes that differ and other targets.

    >>> import steep as st
    >>> st.margin_ranking_loss(st.tensor([1.0, 1.0]), st.tensor([3.0, 3.0]), st.tensor([1, -1]), "none")
    tensor([2., 0.])
    """
    name = "margin_ranking_loss"
    a, b = pair(name, input1, input2, ("input1", "input2"))
    t = signs(name, target, a, a.shape)
    return reduced(name, hinge(margin - t * (a - b)), reduction)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, reduction: str = "mean", *, margin: float = 0.0
) -> Tensor:
    """1 − cos where the target is 1, max(0, cos − margin) where it is −1, of the angle between two vectors.

    input1, input2: (N, D) or (D,); target: (N,) or (). Raises ValueError for shapes that don't fit and other targets.

    >>> import steep as st
    >>> x = st.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> y = st.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> st.cosine_embedding_loss(x, y, st.tensor([1, -1]), "none")
    tensor([1., 1.])
    """
    name = "cosine_embedding_loss"
    a, b = pair(name, input1, input2, ("input1", "input2"))
    if a.ndim not in (1, 2):
        raise ValueError(f"{name}: inputs must have the shape (N, D) or (D,), not {a.shape}")
    t = signs(name, target, a, a.shape[:-1])
    given = result_type(a, b)
    if given.itemsize == 2:  # whose squares may overflow or vanish
        a, b = a.astype(float32), b.astype(float32)
    tiny = 1e-12  # PyTorch's, against division by 0
    lengths = (reductions.sum(elementwise.square(a), -1) + tiny) * (reductions.sum(elementwise.square(b), -1) + tiny)
    cos = (reductions.sum(a * b, -1) / elementwise.sqrt(lengths)).astype(given)
    return reduced(name, elementwise.where(logic.greater(t, 0), 1.0 - cos, hinge(cos - margin)), reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    reduction: str = "mean",
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Tensor:
    """max(0, d(a, p) − d(a, n) + margin) with d(x, y) = ‖x − y + eps‖ₚ along the last axis.

    The anchor should be nearer to the positive sample than to the negative one, by ``margin``. With ``swap`` the
    positive sample's distance from the negative one stands for the anchor's if it is smaller (Balntas et al. 2016).
    All have one shape, (N, D) or (D,). Schroff et al. 2015, arXiv:1503.03832. Raises ValueError for shapes that differ
    and margin ≤ 0.

    >>> import steep as st
    >>> a, p, n = st.tensor([[0.0]]), st.tensor([[1.0]]), st.tensor([[3.0]])
    >>> float(st.triplet_margin_loss(a, p, n)), f"{float(st.triplet_margin_loss(a, n, p)):.4f}"
    (0.0, '3.0000')
    """
    name = "triplet_margin_loss"
    if not margin > 0:
        raise ValueError(f"{name}: margin={margin} must be greater than 0")
    check_not_negative(name, eps=eps)
    a, near = pair(name, anchor, positive, ("anchor", "positive"))
    far = pair(name, a, negative, ("anchor", "negative"))[1]
    if a.ndim == 0:
        raise ValueError(f"{name}: inputs must be vectors, but they are single numbers")

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return linalg.vector_norm(x - y + eps, -1, ord=p)

    apart = distance(a, far)
    if swap:
        apart = elementwise.minimum(apart, distance(near, far))
    return reduced(name, hinge(distance(a, near) - apart + margin), reduction)
