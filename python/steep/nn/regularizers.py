"""Penalties on the size of weights, added to the loss against overfitting.

A regularizer is called with a parameter and returns a 0-d tensor; any such function is one. For one parameter::

    layer = st.nn.Linear(64, 10, weight_regularizer=st.nn.regularizers.L2(1e-3))
    model.regularize("0.weight", "l1")                     # of any module, by the parameter's name
    loss = st.cross_entropy(model(x), y) + model.regularization_loss()

``fit`` adds what is registered by itself. For all weights of a model at once there is ``of_weights``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..checks import check_number
from ..ops import abs, square, to_device, zeros
from ..tensor import Tensor
from .utils import wide

if TYPE_CHECKING:
    from .module import Module
    from .rules import Ruled

__all__ = ["L1", "L1L2", "L2", "of_weights"]


class L1L2:
    """l1 · Σ|w| + l2 · Σw², as Keras defines it: a 0-d tensor; of 16-bit floats it is a float32.

    The gradient is l1 · sign(w) + 2 · l2 · w. An optimizer's ``weight_decay`` adds weight_decay · w, so that an l2 here
    is, in SGD and Adam, a weight_decay of 2 · l2; AdamW's decay is not scaled by the gradients and has no equal here.
    Raises ValueError for factors that are negative or not finite.

    >>> import steep as st
    >>> st.nn.regularizers.L1L2(l1=0.5, l2=0.25)(st.tensor([1.0, -2.0]))
    tensor(2.75)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = check_number(f"{type(self).__name__}: l1", l1)
        self.l2 = check_number(f"{type(self).__name__}: l2", l2)

    def __call__(self, w: Tensor) -> Tensor:
        w = wide(w)
        if not self.l1:
            return self.l2 * square(w).sum()
        penalty = self.l1 * abs(w).sum()
        return penalty + self.l2 * square(w).sum() if self.l2 else penalty

    def __repr__(self) -> str:
        return f"{type(self).__name__}(l1={self.l1}, l2={self.l2})"


class L1(L1L2):
    """l1 · Σ|w|, which drives small weights to 0. Also by the name "l1". See ``L1L2``.

    >>> import steep as st
    >>> st.nn.regularizers.L1(0.5)(st.tensor([1.0, -2.0]))
    tensor(1.5)
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def __repr__(self) -> str:
        return f"L1({self.l1})"


class L2(L1L2):
    """l2 · Σw², which keeps weights small. Also by the name "l2". See ``L1L2`` for how weight_decay compares.

    >>> import steep as st
    >>> st.nn.regularizers.L2(0.25)(st.tensor([1.0, -2.0]))
    tensor(1.25)
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def __repr__(self) -> str:
        return f"L2({self.l2})"


def of_weights(module: Module, regularizer: Any) -> Tensor:
    """The sum of ``regularizer`` over all weights of ``module``: a 0-d tensor, 0 if there are none.

    Weights are the parameters called "weight" that have two axes or more: not biases, nor the gains of normalisation.
    A weight that several layers share counts once. ``regularizer`` is "l1", "l2" or a function. Raises ValueError for
    other names, TypeError for other objects.

    >>> import steep as st
    >>> model = st.nn.Sequential(st.nn.Linear(2, 2), st.nn.BatchNorm1d(2))
    >>> loss = model(st.ones(4, 2)).square().mean() + st.nn.regularizers.of_weights(model, "l2")
    >>> loss.backward()
    """
    function = regularizer_function("of_weights", regularizer)
    weights = [p for name, p in module.named_parameters() if name.split(".")[-1] == "weight" and p.ndim >= 2]
    return total(module, [function(weight) for weight in weights])


def total(module: Ruled, terms: Iterable[Tensor]) -> Tensor:
    """The sum of 0-d tensors, on the device of the first; without any, 0 where the parameters of ``module`` are."""
    result: Tensor | None = None
    for term in terms:
        result = term if result is None else result + to_device(term, result.device)
    if result is None:
        first = next(iter(module.parameters()), None)
        return zeros(()) if first is None else zeros((), dtype=first.dtype, device=first.device)
    return result


def regularizer_function(owner: str, regularizer: Any) -> Callable[[Tensor], Tensor]:
    """What the name of a regularizer, or a function, means."""
    return named_function(owner, "regularizer", regularizer, {"l1": L1, "l2": L2})


def named_function(owner: str, kind: str, value: Any, names: Mapping[str, Any]) -> Callable[..., Any]:
    """``value``, or, of a name, what ``names`` makes of it."""
    if isinstance(value, str):
        if value.lower() not in names:
            raise ValueError(f"{owner}: there is no {kind} {value!r}; there are {', '.join(names)}, and functions")
        return names[value.lower()]()
    if not callable(value) or isinstance(value, type):
        hint = f": write {value.__name__}(…)" if isinstance(value, type) else ""
        raise TypeError(f"{owner}: a {kind} is a name ({', '.join(names)}) or a function, not {value!r:.60}{hint}")
    return value
