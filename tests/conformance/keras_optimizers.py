"""Keras' optimizers as steep's, with Keras' names and defaults of the options.

Where the formulas differ, the tests' tolerances are far wider: Keras' Adam adds epsilon to √v before it is corrected
for its start at 0; its RMSprop and Adagrad add it to v. Keras takes weight decay from the parameter itself, which is
AdamW's way, Lion's, and one of NAdam's; steep's other optimizers add it to the gradient, as PyTorch's do, and such
tests are left out, except for SGD, where it comes to the same without momentum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from keras_shim import Variable, to_tensor
from suite import LeftOutError

import steep as st

Recipe = tuple[Any, dict[str, Any]]


def sgd(learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Recipe:
    if weight_decay and momentum:
        raise LeftOutError("weight decay of SGD with momentum: added to the gradient, as PyTorch's")
    options = {"momentum": momentum, "nesterov": nesterov and momentum > 0, "weight_decay": weight_decay}
    return st.optim.SGD, {"lr": learning_rate, **options}


def adam(
    learning_rate: Any = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    amsgrad: bool = False,
    weight_decay: float = 0.0,
) -> Recipe:
    if amsgrad:
        raise LeftOutError("not in steep: Adam(amsgrad=True)")
    options = {"betas": (beta_1, beta_2), "eps": epsilon, "weight_decay": weight_decay}
    return st.optim.AdamW if weight_decay else st.optim.Adam, {"lr": learning_rate, **options}


def adamw(weight_decay: float = 0.004, **options: Any) -> Recipe:
    return adam(weight_decay=weight_decay, **options)


def nadam(
    learning_rate: Any = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
) -> Recipe:
    options = {"betas": (beta_1, beta_2), "eps": epsilon, "weight_decay": weight_decay}
    # Keras' momentum grows as Dozat's paper has it, PyTorch's and steep's slower unless told so.
    return st.optim.NAdam, {"lr": learning_rate, "momentum_decay": 1.0, "decoupled_weight_decay": True, **options}


def adamax(
    learning_rate: Any = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
) -> Recipe:
    _no(weight_decay, "Adamax")
    return st.optim.Adamax, {"lr": learning_rate, "betas": (beta_1, beta_2), "eps": epsilon}


def lamb(
    learning_rate: Any = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
) -> Recipe:
    if weight_decay:
        raise LeftOutError("weight decay of LAMB: in the direction of the step, as its paper has it")
    return st.optim.LAMB, {"lr": learning_rate, "betas": (beta_1, beta_2), "eps": epsilon, "weight_decay": 0.0}


def lion(learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, weight_decay: float = 0.0) -> Recipe:
    return st.optim.Lion, {"lr": learning_rate, "betas": (beta_1, beta_2), "weight_decay": weight_decay}


def rmsprop(
    learning_rate: Any = 0.001,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    centered: bool = False,
    weight_decay: float = 0.0,
) -> Recipe:
    _no(weight_decay, "RMSprop")
    options = {"alpha": rho, "momentum": momentum, "eps": epsilon, "centered": centered}
    return st.optim.RMSprop, {"lr": learning_rate, **options}


def adagrad(
    learning_rate: Any = 0.001,
    initial_accumulator_value: float = 0.1,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
) -> Recipe:
    _no(weight_decay, "Adagrad")
    options = {"initial_accumulator_value": initial_accumulator_value, "eps": epsilon}
    return st.optim.Adagrad, {"lr": learning_rate, **options}


def adadelta(learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, weight_decay: float = 0.0) -> Recipe:
    _no(weight_decay, "Adadelta")
    return st.optim.Adadelta, {"lr": learning_rate, "rho": rho, "eps": epsilon}


def _no(weight_decay: float, name: str) -> None:
    if weight_decay:
        raise LeftOutError(f"weight decay of {name}: added to the gradient, as PyTorch's")


class Optimizer:
    """Keras' interface to an optimizer of steep's, which is made when the variables are known."""

    recipe: Callable[..., Recipe]

    def __init__(
        self,
        learning_rate: Any = None,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        **options: Any,
    ) -> None:
        for name in ("use_ema", "loss_scale_factor", "gradient_accumulation_steps"):
            if options.pop(name, None):
                raise LeftOutError(f"not in steep: an optimizer's {name}")
        if sum(clip is not None for clip in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError("one way to clip gradients at a time")
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        if learning_rate is not None:
            options["learning_rate"] = learning_rate
        if "weight_decay" in options:
            options["weight_decay"] = options["weight_decay"] or 0.0
        self.name = options.pop("name", type(self).__name__.lower())
        self.kind, self.options = type(self).recipe(**options)
        self.optimizer: Any = None
        self.undecayed: list[Any] = []
        self.kind([st.nn.Parameter(0.0)], **self.options)  # what raises for bad options

    def exclude_from_weight_decay(self, var_list: Iterable[Any] = (), var_names: Iterable[str] = ()) -> None:
        self.undecayed += [*var_list, *var_names]

    def build(self, variables: list[Variable]) -> None:
        if self.optimizer is None and variables:
            self.optimizer = self.kind([self._group(v) for v in variables], **self.options)

    def _group(self, variable: Variable) -> dict[str, Any]:
        excluded = any(variable is x or variable.name == x for x in self.undecayed)
        return {"params": [variable.value], **({"weight_decay": 0.0} if excluded else {})}

    def apply_gradients(self, pairs: Iterable[tuple[Any, Variable]]) -> None:
        gradients, variables = zip(*pairs, strict=True)
        self.build(list(variables))
        for variable, gradient in zip(variables, self._clip_gradients(list(gradients)), strict=True):
            variable.value.grad = gradient.astype(variable.value.dtype)
        self.optimizer.step()

    def _clip_gradients(self, gradients: list[Any]) -> list[Any]:
        """By ``steep.nn.utils``, which clips the gradients of parameters."""
        tensors = [to_tensor(np.asarray(g), "float32") for g in gradients]
        parameters = [st.nn.Parameter(st.zeros(g.shape)) for g in tensors]
        for parameter, g in zip(parameters, tensors, strict=True):
            parameter.grad = g.copy()
        if self.clipvalue is not None:
            st.nn.utils.clip_grad_value_(parameters, self.clipvalue)
        for group in [parameters] if self.clipnorm is None else [[p] for p in parameters]:
            norm = self.global_clipnorm if self.clipnorm is None else self.clipnorm
            if norm is not None:
                st.nn.utils.clip_grad_norm_(group, norm)
        return [parameter.grad for parameter in parameters]

    @property
    def variables(self) -> list[Any]:
        """The number of steps, the learning rate, and what is kept for each variable."""
        state = {} if self.optimizer is None else self.optimizer.state_dict()["state"]
        kept = [x for entry in state.values() for name, x in entry.items() if name != "step"]
        return [max((entry["step"] for entry in state.values()), default=0), self.options["lr"], *kept]


RECIPES = {
    "Adadelta": adadelta,
    "Adagrad": adagrad,
    "Adam": adam,
    "AdamW": adamw,
    "Adamax": adamax,
    "Lamb": lamb,
    "Lion": lion,
    "Nadam": nadam,
    "RMSprop": rmsprop,
    "SGD": sgd,
}
KINDS = {name: type(name, (Optimizer,), {"recipe": staticmethod(recipe)}) for name, recipe in RECIPES.items()}
