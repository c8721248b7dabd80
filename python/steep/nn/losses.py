"""Losses as modules: each is ``loss(input, target)``, with the model's output first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .. import ops
from ..checks import check_real
from ..tensor import Tensor
from .module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
]


class _Loss(Module):
    """``function`` with a reduction and options, which are kept as attributes of their names; weights as buffers."""

    function: ClassVar[Callable[..., Tensor]]
    kind: ClassVar[str] = "unknown"  # what it expects of the model's output: see train.objectives
    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")

    def __init__(self, reduction: str = "mean", **options: Any) -> None:
        if not isinstance(reduction, str) or reduction not in self.reductions:
            wanted = f"{', '.join(map(repr, self.reductions[:-1]))} or {self.reductions[-1]!r}"
            raise ValueError(f"{type(self).__name__}: reduction={reduction!r:.60} must be {wanted}")
        self.reduction = reduction
        self._options = tuple(options)
        for name, value in options.items():
            if name.endswith("weight") and value is not None:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def _loss(self, *tensors: Any) -> Tensor:
        options = {name: getattr(self, name) for name in self._options}
        return type(self).function(*tensors, reduction=self.reduction, **options)

    def extra_repr(self) -> str:
        """The options, and the reduction unless it is the usual one."""
        values = {name: getattr(self, name) for name in self._options}
        texts = [f"{name}={v.tolist() if isinstance(v, Tensor) else v}" for name, v in values.items() if v is not None]
        return ", ".join(texts + [f"reduction={self.reduction!r}"] * (self.reduction != "mean"))


class _TargetLoss(_Loss):
    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of the model's output against targets."""
        return self._loss(input, target)


# --- classes ----------------------------------------------------------------------------------------------------------


class CrossEntropyLoss(_TargetLoss):
    """−log softmax(input)[target], for logits (N, classes, …) and labels (N, …) or probabilities (N, classes, …).

    See ``steep.cross_entropy``.

    >>> import steep as st
    >>> st.nn.CrossEntropyLoss()(st.tensor([[0.0, 0.0]]), st.tensor([1]))
    tensor(0.6931472)
    >>> st.nn.CrossEntropyLoss(weight=[1.0, 2.0], label_smoothing=0.1)
    CrossEntropyLoss(weight=[1.0, 2.0], label_smoothing=0.1)
    """

    function = staticmethod(ops.cross_entropy)
    kind = "categorical"

    def __init__(
        self,
        reduction: str = "mean",
        *,
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)


class NLLLoss(_TargetLoss):
    """−input[target], for *log*-probabilities (N, classes, …) and labels (N, …): see ``steep.nll_loss``."""

    function = staticmethod(ops.nll_loss)
    kind = "log_probabilities"

    def __init__(self, reduction: str = "mean", *, weight: Any = None, ignore_index: int | None = None) -> None:
        super().__init__(reduction, weight=weight, ignore_index=ignore_index)


class MultiMarginLoss(_TargetLoss):
    """Hinge loss of scores (N, classes) against labels (N,): see ``steep.multi_margin_loss``."""

    function = staticmethod(ops.multi_margin_loss)
    kind = "scores"

    def __init__(self, p: int = 1, margin: float = 1.0, reduction: str = "mean", *, weight: Any = None) -> None:
        super().__init__(reduction, p=p, margin=margin, weight=weight)


# --- yes/no questions -------------------------------------------------------------------------------------------------


class BCELoss(_TargetLoss):
    """−target · log input − (1 − target) · log(1 − input), for probabilities: see ``steep.binary_cross_entropy``."""

    function = staticmethod(ops.binary_cross_entropy)
    kind = "binary"

    def __init__(self, reduction: str = "mean", *, weight: Any = None) -> None:
        super().__init__(reduction, weight=weight)


class BCEWithLogitsLoss(_TargetLoss):
    """``BCELoss`` of sigmoid(input), computed from the logits: see ``steep.binary_cross_entropy_with_logits``."""

    function = staticmethod(ops.binary_cross_entropy_with_logits)
    kind = "binary_logits"

    def __init__(self, reduction: str = "mean", *, weight: Any = None, pos_weight: Any = None) -> None:
        super().__init__(reduction, weight=weight, pos_weight=pos_weight)


class SoftMarginLoss(_TargetLoss):
    """log(1 + exp(−target · input)) for logits and targets of 1 and −1: see ``steep.soft_margin_loss``."""

    function = staticmethod(ops.soft_margin_loss)
    kind = "binary_logits"


class HingeEmbeddingLoss(_TargetLoss):
    """Distances drawn in where the target is 1, out where it is −1: see ``steep.hinge_embedding_loss``."""

    function = staticmethod(ops.hinge_embedding_loss)
    kind = "regression"

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)


# --- values and distributions -----------------------------------------------------------------------------------------


class MSELoss(_TargetLoss):
    """(input − target)²: see ``steep.mse_loss``."""

    function = staticmethod(ops.mse_loss)
    kind = "regression"


class L1Loss(_TargetLoss):
    """|input − target|: see ``steep.l1_loss``."""

    function = staticmethod(ops.l1_loss)
    kind = "regression"


class HuberLoss(_TargetLoss):
    """Quadratic up to an error of delta, linear beyond: see ``steep.huber_loss``."""

    function = staticmethod(ops.huber_loss)
    kind = "regression"

    def __init__(self, delta: float = 1.0, reduction: str = "mean") -> None:
        check_real("HuberLoss: delta", delta)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta={delta} must be positive")
        super().__init__(reduction, delta=delta)


class SmoothL1Loss(_TargetLoss):
    """``HuberLoss`` divided by its delta, here beta: see ``steep.smooth_l1_loss``."""

    function = staticmethod(ops.smooth_l1_loss)
    kind = "regression"

    def __init__(self, beta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction, beta=beta)


class KLDivLoss(_TargetLoss):
    """target · (log target − input), for *log*-probabilities and probabilities: see ``steep.kl_div``."""

    function = staticmethod(ops.kl_div)
    kind = "regression"
    reductions = ("mean", "batchmean", "sum", "none")

    def __init__(self, reduction: str = "mean", *, log_target: bool = False) -> None:
        super().__init__(reduction, log_target=log_target)


class PoissonNLLLoss(_TargetLoss):
    """exp(input) − target · input, for logarithms of rates and counts: see ``steep.poisson_nll_loss``."""

    function = staticmethod(ops.poisson_nll_loss)
    kind = "regression"

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(reduction, log_input=log_input, full=full, eps=eps)


class GaussianNLLLoss(_Loss):
    """½ (log var + (input − target)² / var), called with (input, target, var): see ``steep.gaussian_nll_loss``."""

    function = staticmethod(ops.gaussian_nll_loss)

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction, full=full, eps=eps)

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:
        """The loss of means and variances against targets."""
        return self._loss(input, target, var)


# --- two or three inputs ----------------------------------------------------------------------------------------------


class MarginRankingLoss(_Loss):
    """max(0, margin − target · (input1 − input2)): see ``steep.margin_ranking_loss``."""

    function = staticmethod(ops.margin_ranking_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """The loss of two rankings against 1 (input1 should be the larger) and −1."""
        return self._loss(input1, input2, target)


class CosineEmbeddingLoss(_Loss):
    """1 − cos for pairs that belong together, max(0, cos − margin) for others: see ``steep.cosine_embedding_loss``."""

    function = staticmethod(ops.cosine_embedding_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction, margin=margin)

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """The loss of pairs of vectors (N, D) against 1 (they belong together) and −1, (N,)."""
        return self._loss(input1, input2, target)


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) − d(anchor, negative) + margin): see ``steep.triplet_margin_loss``.

    >>> import steep as st
    >>> loss = st.nn.TripletMarginLoss(margin=0.5)
    >>> float(loss(st.zeros(1, 2), st.zeros(1, 2), st.ones(1, 2)))
    0.0
    """

    function = staticmethod(ops.triplet_margin_loss)

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, margin=margin, p=p, eps=eps, swap=swap)

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """The loss of vectors (N, D)."""
        return self._loss(anchor, positive, negative)
