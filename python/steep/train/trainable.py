"""compile, fit, evaluate and predict: the part of Module that trains."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from .. import dtypes, random
from ..autograd import AnomalyError, no_grad
from ..devices import Device, cpu, get_default_device
from ..dtypes import DType
from ..ops import empty, isfinite, to_device
from ..tensor import Parameter, Tensor
from .history import History
from .means import Means

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer
    from .batches import Data
    from .objectives import Function

__all__ = ["Trainable"]


class Compiled:
    """What ``compile`` sets up, and how far ``fit`` has come."""

    def __init__(self, loss: Function | None, kind: str, metrics: dict[str, Function], whole_model: bool) -> None:
        self.loss = loss
        self.kind = kind  # what the loss expects of the output: see objectives
        self.metrics = metrics
        self.whole_model = whole_model  # the optimizer was made here, for all parameters
        self.epoch = 0
        self.checked = False  # the first output was looked at


class Trainable:
    """The training methods of every ``Module``.

    ``fit`` in terms of the low level, step by step (the same seed gives the same losses, bit for bit)::

        for epoch in range(epochs):
            order = steep.random.permutation(len(x))         # arange without shuffle
            for start in range(0, len(x), batch_size):
                rows = order[start : start + batch_size]
                optimizer.zero_grad()
                loss = loss_function(model(steep.take(x, rows, 0)), steep.take(y, rows, 0))
                loss = loss + model.regularization_loss()        # if any parameter has a regularizer
                loss.backward()
                optimizer.step()
                model.apply_constraints()

    A subclass may define ``train_step`` and ``validation_step`` itself, and still use ``fit``.
    """

    optimizer: Optimizer
    _compiled: Compiled | None = None

    if TYPE_CHECKING:  # what Module adds

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
        def parameters(self) -> Iterator[Parameter]: ...
        def named_parameters(self) -> Iterator[tuple[str, Parameter]]: ...
        def modules(self) -> Iterator[Module]: ...
        def has_regularizers(self) -> bool: ...
        def regularization_loss(self) -> Tensor: ...
        def apply_constraints(self) -> None: ...
        def train(self, mode: bool = True) -> Any: ...
        def to(self, *target: Any) -> Any: ...

    def compile(self, optimizer: Any = "adam", loss: Any = None, metrics: Any = ()) -> None:
        """Chooses how ``fit`` trains, and starts counting epochs at 0.

        ``optimizer``: the name of one in ``steep.optim`` ("sgd", "adam", "adamw", "rmsprop", …), an Optimizer, or a
        function that makes one from parameters.
        ``loss``: "cross_entropy" (logits and labels or one-hot; also by Keras' names "categorical_crossentropy" and
        "sparse_categorical_crossentropy"), "nll" (log-probabilities and labels), "binary_crossentropy" (probabilities),
        "bce_with_logits", "mse", "mae", "huber", "smooth_l1", "poisson_nll", a loss module, whose weights go to the
        model's device, or a function(output, target) of a batch's mean. ``metrics``: "accuracy" (or "acc"),
        "mse", "mae", or functions(output, target).

        Warns if the model ends in the softmax or sigmoid that the loss applies itself. Raises ValueError for unknown
        names and a categorical loss on one output, TypeError for other objects.

        >>> import steep as st
        >>> model = st.nn.Sequential(st.nn.Linear(4, 16, activation="relu"), st.nn.Linear(16, 3))
        >>> model.compile("adam", "cross_entropy", metrics=["accuracy"])
        >>> model.compile(st.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), st.nn.CrossEntropyLoss())
        """
        from . import objectives

        function, kind = (None, "unknown") if loss is None else objectives.loss_function(loss)
        functions = objectives.metric_functions(metrics, kind)
        objectives.check_last_layer(self, kind, stacklevel=2)
        self.optimizer, whole_model = self._make_optimizer(optimizer)
        self._compiled = Compiled(function, kind, functions, whole_model)

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: int | str = "auto",
        validation_split: float = 0.0,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
    ) -> History:
        """Trains for ``epochs`` more epochs and returns their History: "loss", the metrics, and "val_…" of both.

        ``x`` and ``y`` are arrays, tensors or lists whose first axis counts the samples; floating-point numbers are
        cast to the model's dtype, and all goes to the model's device. Loss and metrics of an epoch are running means
        over its batches, while the model changes; validation measures the model at the epoch's end.
        ``validation_split`` holds out that share of the samples, at random and with every class in proportion;
        ``validation_data`` is a pair (x, y). Another ``fit`` continues: the optimizer's state and the epoch count are
        kept. ``verbose``: 0 silent, 1 a progress bar, 2 a line an epoch, "auto" a bar in a terminal and lines
        elsewhere.

        Warns when the loss becomes NaN or infinite (on CUDA some batches later, as a look at it waits for the
        device). Raises RuntimeError before ``compile``; ValueError for lengths that differ, no data, arguments out of
        range, and a model on several devices; TypeError for data that is not numbers.

        >>> import steep as st
        >>> st.random.manual_seed(0)
        >>> x = st.linspace(-1, 1, 64).reshape(64, 1)
        >>> model = st.nn.Linear(1, 1)
        >>> model.compile(st.optim.SGD(model.parameters(), lr=0.1), "mse")
        >>> history = model.fit(x, 2 * x + 1, epochs=50, verbose=0)
        >>> history["loss"][-1] < 1e-4
        True
        """
        from .batches import as_data, batches, placed, split
        from .progress import progress

        state, device = self._state_for("fit", "train_step")
        _check_count("batch_size", batch_size)
        _check_count("epochs", epochs)
        data = as_data(x, y, self._dtype(), state.kind)
        validation: Data | None = None
        if validation_data is not None:
            if validation_split:
                raise ValueError("fit: give validation_split or validation_data, not both")
            validation = as_data(*_pair(validation_data), self._dtype(), state.kind)
        elif validation_split:
            data, validation = split(data, validation_split)
        self._check_optimizer(state)
        data = placed(data[0], device), placed(data[1], device)
        if validation is not None:
            validation = placed(validation[0], device), placed(validation[1], device)

        samples = len(data[0])
        last = state.epoch + epochs
        history = History()
        finite = True
        steps = math.ceil(samples / batch_size)
        display = progress(verbose, state.epoch + 1, last, steps)
        with self._mode(training=True):
            try:
                while state.epoch < last:
                    means, training = Means(), True
                    order = random.permutation(samples, cpu) if shuffle else None
                    for batch in batches(data, batch_size, order, device):
                        means.add(self.train_step(batch), len(batch[0]), last=means.batches + 1 == steps)
                        display.step(means)
                        if finite and means.lost is not None:
                            finite = False
                            number, loss = means.lost
                            first = islice(batches(data, batch_size, order, device), number - 1, None)
                            self._warn_not_finite(state.epoch + 1, number, loss, next(first)[0])
                    training = False
                    results = means.result()
                    if validation is not None:
                        measured = self._measure(validation, batch_size, device)
                        results.update({f"val_{name}": value for name, value in measured.items()})
                    state.epoch += 1
                    history.append(state.epoch, results)
                    display.epoch(state.epoch, results)
            except AnomalyError as error:
                error.during(
                    f"fit: epoch {state.epoch + 1}, " + (f"batch {means.batches + 1}" if training else "validation")
                )
                raise
            finally:
                display.close()
        return history

    def evaluate(self, x: Any, y: Any, batch_size: int = 32) -> dict[str, float]:
        """Loss and metrics on this data, as a dict of means over the samples; nothing is trained or dropped.

        Raises what ``fit`` raises.
        """
        from .batches import as_data

        state, device = self._state_for("evaluate", "validation_step")
        _check_count("batch_size", batch_size)
        return self._measure(as_data(x, y, self._dtype(), state.kind), batch_size, device)

    def predict(self, x: Any, batch_size: int = 32) -> Tensor:
        """The outputs for ``x``, computed batch by batch, as one tensor; no graph is kept and nothing is dropped.

        They are on the model's device. Raises ValueError without samples, TypeError for an output that is not a Tensor.

        >>> import steep as st
        >>> st.nn.Linear(4, 3).predict([[0.0, 0.0, 0.0, 0.0]] * 100).shape
        (100, 3)
        """
        from .batches import as_rows

        _check_count("batch_size", batch_size)
        device = self._device("predict")
        rows = as_rows("x", x, self._dtype())
        samples = len(rows)
        result: Tensor | None = None
        with self._mode(training=False), no_grad():
            for start in range(0, samples, batch_size):
                output = self(to_device(rows[start : start + batch_size], device))
                if not isinstance(output, Tensor):
                    raise TypeError(f"predict: {type(self).__name__} returned a {type(output).__name__}, not a Tensor")
                count = min(batch_size, samples - start)
                if output.ndim == 0 or output.shape[0] != count:
                    raise ValueError(
                        f"predict: {type(self).__name__} returned shape {output.shape} for {count} samples: "
                        "the first axis of a model's output must count them"
                    )
                if result is None:
                    result = empty((samples, *output.shape[1:]), dtype=output.dtype, device=output.device)
                result[start : start + batch_size] = output
        assert result is not None  # as_rows refuses empty data
        return result

    # --- steps: override them to train in your own way ------------------------------------------------------------

    def train_step(self, batch: tuple[Tensor, Tensor]) -> Mapping[str, Any]:
        """Trains on one batch (x, y) and returns what the history shows, as numbers or 1-element tensors.

        Override it to train in your own way inside ``fit``; ``self.optimizer`` is the one from ``compile``.
        """
        x, y = batch
        self.optimizer.zero_grad()
        output = self(x)
        loss = self.compute_loss(output, y)
        if self.has_regularizers():
            loss = loss + self.regularization_loss()
        loss.backward()
        self.optimizer.step()
        self.apply_constraints()
        return {"loss": loss, **self.compute_metrics(output, y)}

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> Mapping[str, Any]:
        """Measures one batch (x, y), in eval mode and without a graph, and returns the same as ``train_step``."""
        x, y = batch
        output = self(x)
        return {"loss": self.compute_loss(output, y), **self.compute_metrics(output, y)}

    def compute_loss(self, output: Any, target: Tensor) -> Any:
        """The compiled loss. Raises RuntimeError if there is none."""
        state = self._compiled
        if state is None or state.loss is None:
            raise RuntimeError(f"{type(self).__name__} has no loss: call model.compile(optimizer, loss) first")
        if not state.checked:
            from .objectives import check_output

            state.checked = True
            check_output(self, output, state.kind, stacklevel=4)
        return state.loss(output, target)

    def compute_metrics(self, output: Any, target: Tensor) -> dict[str, Any]:
        """The compiled metrics of a batch."""
        state = self._compiled
        if state is None or not state.metrics:
            return {}
        with no_grad():
            return {name: function(output, target) for name, function in state.metrics.items()}

    # --- helpers --------------------------------------------------------------------------------------------------

    def _measure(self, data: Data, batch_size: int, device: Device) -> dict[str, float]:
        from .batches import batches

        means = Means()
        with self._mode(training=False), no_grad():
            for batch in batches(data, batch_size, None, device):
                means.add(self.validation_step(batch), len(batch[0]))
        return means.result()

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        """Training or eval mode for a block; every module has its own mode back afterwards."""
        before = [(module, module.training) for module in self.modules()]
        self.train(training)
        try:
            yield
        finally:
            for module, mode in before:
                module.training = mode

    def _dtype(self) -> DType:
        for parameter in self.parameters():
            return parameter.dtype
        return dtypes.float32

    def _device(self, method: str) -> Device:
        """That of the parameters. Raises ValueError if they are on several: nothing would say where the data goes."""
        found: dict[Device, str] = {}
        for name, parameter in self.named_parameters():
            found.setdefault(parameter.device, name)
        if len(found) > 1:
            places = ", ".join(f"{name} on {device}" for device, name in found.items())
            raise ValueError(
                f"{method}: the parameters of {type(self).__name__} are on several devices ({places}): "
                "move the model to one, for example with model.to('cuda')"
            )
        return next(iter(found), get_default_device())

    def _state_for(self, method: str, step: str) -> tuple[Compiled, Device]:
        """What was compiled, and the model's device, to which the loss' weights are brought."""
        if self._compiled is None:
            if getattr(type(self), step) is getattr(Trainable, step):
                raise RuntimeError(f"{method}: call {type(self).__name__}.compile(optimizer, loss) first")
            self._compiled = Compiled(None, "unknown", {}, whole_model=False)
        device = self._device(method)
        if isinstance(self._compiled.loss, Trainable):
            self._compiled.loss.to(device)
        return self._compiled, device

    def _make_optimizer(self, optimizer: Any) -> tuple[Optimizer, bool]:
        from .. import optim

        if isinstance(optimizer, optim.Optimizer):
            return optimizer, False
        if isinstance(optimizer, str):
            names = (
                "SGD",
                "Adam",
                "AdamW",
                *sorted({*optim.__all__} - {"SGD", "Adam", "AdamW", "Optimizer", "schedules"}),
            )
            by_name = {name.lower(): getattr(optim, name) for name in names}
            if optimizer.lower() not in by_name:
                raise ValueError(f"compile: there is no optimizer {optimizer!r}; there are {', '.join(by_name)}")
            optimizer = by_name[optimizer.lower()]
        if not callable(optimizer):
            raise TypeError(f"compile: the optimizer must be a name, an Optimizer or a function, not {optimizer!r}")
        made = optimizer(self.parameters())
        if not isinstance(made, optim.Optimizer):
            raise TypeError(f"compile: {optimizer!r} made a {type(made).__name__}, not an Optimizer")
        return made, True

    def _check_optimizer(self, state: Compiled) -> None:
        """An optimizer that holds other parameters than the model's would train nothing, without a word."""
        optimizer = getattr(self, "optimizer", None)
        if optimizer is None:
            return
        own = {id(p) for p in self.parameters()}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not held <= own or (state.whole_model and held != own):
            raise RuntimeError(
                f"fit: the optimizer's parameters are not those of {type(self).__name__} (it is another model's, or "
                "layers were added, replaced or moved since): create it from model.parameters() and compile again"
            )

    def _warn_not_finite(self, epoch: int, batch: int, loss: float, x: Tensor) -> None:
        what = "x holds NaN or inf" if not bool(isfinite(x).all()) else "x is finite"
        optimizer = getattr(self, "optimizer", None)
        rates = ", ".join(str(group["lr"]) for group in optimizer.param_groups) if optimizer else "unknown"
        warnings.warn(
            f"fit: the loss became {loss} in epoch {epoch}, batch {batch} ({what} there; "
            f"learning rate {rates}): check the data, normalise it, or lower the learning rate",
            RuntimeWarning,
            stacklevel=3,
        )


def _check_count(name: str, value: Any) -> None:
    if not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name}={value!r} must be a positive integer")


def _pair(data: Any) -> tuple[Any, Any]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError("fit: validation_data must be a pair (x, y)")
    return data[0], data[1]
