"""The loop of ``fit``: epochs, batches, validation, and the callbacks between them."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .. import random
from ..autograd import AnomalyError, no_grad
from ..callbacks import Callback, CallbackList
from ..devices import cpu
from ..ops import isfinite
from ..stack import level_outside
from ..structure import first_tensor, named_tensors
from ..tensor import Tensor
from .captured import CapturedSteps
from .compiled import Compiled, Group
from .means import Means
from .objectives import Streamed
from .precision import within
from .sources import Marked, Source

if TYPE_CHECKING:
    from ..callbacks import History
    from .trainable import Trainable

__all__ = ["Loop", "measure", "overfitting_hint", "shown", "validation_epochs", "without_files"]

_running: WeakSet[Compiled] = WeakSet()  # what trains now; no flag of the model, as copies made meanwhile don't train


class Loop:
    """A running ``fit``: where it is, and what it goes through.

    ``epoch`` and ``batch`` are the numbers, from 0, of those that come next; ``epochs`` is the number at which it ends.
    ``state_dict`` has all that the rest of the run depends on, the random stream included.
    """

    def __init__(
        self,
        model: Trainable,
        state: Compiled,
        training: Source,
        validation: Source | None,
        validated: Callable[[int], bool],
        callbacks: CallbackList,
        history: History,
        epochs: int,
        accumulate: int,
        captures: bool = False,
    ) -> None:
        self.model, self.state = model, state
        self.training, self.validation, self.validated = training, validation, validated
        self.callbacks, self.history = callbacks, history
        self.epochs, self.accumulate = epochs, accumulate
        self.batch = 0
        self.means = Means()
        train = CapturedSteps(model, state) if captures else within(state, model.train_step)
        self._step: Callable[[Any], Mapping[str, Any]] = train
        self._rest: Iterator[Marked] | None = None  # the batches of an epoch that is resumed in its midst
        self._finite = True

    @property
    def epoch(self) -> int:
        """The epoch that runs, or comes next."""
        return self.state.epoch

    def run(self) -> History:
        """Trains until the last epoch is over or the model says ``stop_training``."""
        model, callbacks = self.model, self.callbacks
        logs: dict[str, Any] = {}
        refuse_second(model, self.state)
        with ExitStack() as stack:
            _running.add(self.state)
            stack.callback(_running.discard, self.state)
            stack.callback(callbacks.set_loop, None)
            stack.callback(setattr, self.state, "group", None)
            stack.callback(setattr, self.state, "clip_norm", None)
            callbacks.set_loop(self)
            stack.callback(callbacks.close)
            stack.enter_context(model._mode(training=True))
            callbacks.on_train_begin({})
            while self.state.epoch < self.epochs and not model.stop_training:
                logs = self._run_epoch()
            callbacks.on_train_end(logs)
        return self.history

    def _run_epoch(self) -> dict[str, Any]:
        epoch, callbacks = self.state.epoch, self.callbacks
        if self._rest is None:
            self.batch, self.means = 0, Means(self.training.device is not cpu)
            for metric in self.state.streaming().values():
                metric.reset_state()
            callbacks.on_epoch_begin(epoch, {})
        try:
            self._train()
        except AnomalyError as error:
            error.during(f"fit: epoch {epoch + 1}, batch {self.batch + 1}")
            raise
        logs = self.means.result()
        if self.validation is not None and self.validated(epoch):
            try:
                measured = measure(self.model, self.state, self.validation, callbacks)
            except AnomalyError as error:
                error.during(f"fit: epoch {epoch + 1}, validation")
                raise
            logs.update({f"val_{name}": value for name, value in measured.items()})
        self.state.epoch += 1
        self.batch = 0
        callbacks.on_epoch_end(epoch, logs)
        return logs

    def _train(self) -> None:
        model, state, means = self.model, self.state, self.means
        begin, end = self.callbacks.hooks("on_train_batch_begin"), self.callbacks.hooks("on_train_batch_end")
        step, accumulates = self._step, self.accumulate > 1
        batches, self._rest = self._rest or self.training.epoch(), None
        for batch, last in batches:
            for hook in begin:
                hook(self.batch, means)
            if accumulates:
                state.group = self._group(last)
            x = batch[0]
            samples = len(x if isinstance(x, Tensor) else first_tensor(x))
            means.add(step(batch), samples, last)
            self.batch += 1
            if means.lost is not None and self._finite:
                self._finite = False
                self._warn_not_finite(*means.lost)
            for hook in end:
                hook(self.batch - 1, means)
            if model.stop_training:
                break
        state.group = None

    def _group(self, last: bool) -> Group:
        """Which of the batches that share a step of the optimizer this one is. The last group may be smaller."""
        place, steps = self.batch % self.accumulate, self.training.steps
        size = self.accumulate if steps is None else min(self.accumulate, steps - self.batch + place)
        return Group(place == 0, last or place + 1 == self.accumulate, size, place + 1)

    def _warn_not_finite(self, number: int, loss: float) -> None:
        batch = self.training.again(number - 1)
        what = ""
        if batch is not None:
            finite = all(bool(isfinite(x).all()) for _, x in named_tensors(batch[0], "x"))
            what = f"{'x is finite' if finite else 'x holds NaN or inf'} there; "
        optimizer = getattr(self.model, "optimizer", None)
        rates = ", ".join(str(group["lr"]) for group in optimizer._current_groups()) if optimizer else "unknown"
        warnings.warn(
            f"fit: the loss became {loss} in epoch {self.epoch + 1}, batch {number} ({what}learning rate {rates}): "
            "check the data, normalise it, or lower the learning rate",
            RuntimeWarning,
            stacklevel=level_outside(),
        )

    # --- to go on later -------------------------------------------------------------------------------------------

    @property
    def between_steps(self) -> bool:
        """Whether no gradients wait for other batches to be added: the only moments that ``state_dict`` describes."""
        return self.state.group is None or self.state.group.last

    def layout(self) -> dict[str, Any]:
        """What must be the same where a run goes on: the optimizer and the form of the data."""
        optimizer = getattr(self.model, "optimizer", None)
        layout = {"optimizer": type(optimizer).__name__, "accumulate_gradients": self.accumulate}
        if self.state.precision is not None:
            layout["precision"] = self.state.precision.name
        layout.update({f"{name} of the training data": x for name, x in self.training.layout().items()})
        validation = {} if self.validation is None else self.validation.layout()
        layout.update({f"{name} of the validation data": x for name, x in validation.items()})
        return layout

    def state_dict(self) -> dict[str, Any]:
        """Epoch and batch, model, optimizer, callbacks, means, random stream and where the data is: the rest of the run
        depends on these.

        Between two steps, or at the end of an epoch.
        """
        optimizer = getattr(self.model, "optimizer", None)
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "stop_training": self.model.stop_training,
            "layout": self.layout(),
            "random": list(random.get_state()),
            "training": self.training.state_dict(),
            "validation": None if self.validation is None else self.validation.state_dict(),
            "means": self.means.state_dict() if self.batch else None,
            "model": self.model.state_dict(),
            "optimizer": None if optimizer is None else optimizer.state_dict(),
            **({} if self.state.precision is None else {"precision": self.state.precision.state_dict()}),
            **self.callbacks.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes on there.

        Raises ValueError, with nothing changed, for what is not this run's: other callbacks, shapes, parameters, or
        another form of the data.
        """
        before = self.state_dict()
        missing = [name for name in before if name not in saved] if isinstance(saved, Mapping) else [*before]
        if missing:
            raise ValueError(f"it is not the state of a fit, which has {', '.join(missing)}")
        if not isinstance(saved["layout"], Mapping) or not all(
            isinstance(saved[name], int) and saved[name] >= 0 for name in ("epoch", "batch", "stop_training")
        ):
            raise ValueError("its layout, epoch, batch or stop_training is not what a fit has")
        own = before["layout"]
        for name in {**own, **saved["layout"]}:
            if own.get(name) != saved["layout"].get(name):
                raise ValueError(f"{name}: here {own.get(name)}, in the saved run {saved['layout'].get(name)}")
        try:
            self._load(saved)
        except BaseException as error:
            self._load(before)
            if isinstance(error, KeyError | TypeError):
                raise ValueError(f"a part of it is missing or of another kind ({error!r})") from error
            raise

    def _load(self, saved: Mapping[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        if saved["optimizer"] is not None:
            self.model.optimizer.load_state_dict(saved["optimizer"])
        if self.state.precision is not None:
            self.state.precision.load_state_dict(saved["precision"])
        self.state.epoch, self.batch = saved["epoch"], saved["batch"]
        self.model.stop_training = saved["stop_training"]
        self.callbacks.load_state_dict(saved)
        self.means = Means()
        if self.batch:
            self.means.load_state_dict(saved["means"], self.state.streaming())
        self._rest = self.training.resume(saved["training"], self.batch)
        if self.validation is not None and self.validation is not self.training:
            self.validation.resume(saved["validation"], 0)
        random.set_state(saved["random"])


def refuse_second(model: Trainable, state: Compiled) -> None:
    """Raises RuntimeError if another ``fit`` of the model is running: they would take each other's gradients."""
    if state in _running:
        raise RuntimeError(
            f"fit: {type(model).__name__} is being trained by another fit, of a callback or thread: wait for its end, "
            "or train a copy (copy.deepcopy)"
        )


@contextmanager
def apart(state: Compiled) -> Iterator[None]:
    """A block that measures without touching what the Metrics of a running ``fit`` have counted."""
    functions = [
        function
        for goal in (state.goals.values() if state in _running else ())
        for function in (*goal.metrics.values(), *goal.weighted_metrics.values())
        if isinstance(function, Streamed)
    ]
    before = [function.metric for function in functions]
    for function in functions:
        function.metric = copy.deepcopy(function.metric)
    try:
        yield
    finally:
        for function, metric in zip(functions, before, strict=True):
            function.metric = metric


def measure(model: Trainable, state: Compiled, source: Source, callbacks: CallbackList) -> dict[str, Any]:
    """Loss and metrics over one pass through the data, in eval mode and without a graph."""
    means = Means(source.device is not cpu)
    begin, end = callbacks.hooks("on_test_batch_begin"), callbacks.hooks("on_test_batch_end")
    step = within(state, model.validation_step)
    for metric in state.streaming().values():
        metric.reset_state()
    callbacks.on_test_begin({})
    with model._mode(training=False), no_grad():
        for number, (batch, _) in enumerate(source.epoch()):
            for hook in begin:
                hook(number, means)
            means.add(step(batch), first_tensor(batch).shape[0])
            for hook in end:
                hook(number, means)
    results = means.result()
    callbacks.on_test_end(results)
    return results


def validation_epochs(frequency: Any) -> Callable[[int], bool]:
    """Whether an epoch, counted from 0, ends in validation: every so many, or those whose numbers from 1 are given."""
    if isinstance(frequency, Iterable):
        chosen = set(frequency)
        if not all(hasattr(epoch, "__index__") and epoch > 0 for epoch in chosen):
            raise ValueError(f"validation_freq={frequency!r}: the epochs must be integers from 1")
        return lambda epoch: epoch + 1 in chosen
    if not hasattr(frequency, "__index__") or frequency < 1:
        raise ValueError(f"validation_freq={frequency!r} must be a positive integer, or a list of epochs from 1")
    return lambda epoch: (epoch + 1) % frequency == 0


def without_files(callbacks: CallbackList) -> CallbackList:
    """The callbacks that write nothing."""
    return CallbackList([callback for callback in callbacks if not callback.writes_files])


def overfitting_hint(history: Mapping[str, list[Any]], epochs: list[int]) -> str | None:
    """A sentence for a run in which validation turned while the training loss went on falling, or None.

    It is said when the validation loss ended a tenth above its best, which lies at least 3 epochs and a tenth of the
    run back.
    """
    loss, validation = history.get("loss", []), history.get("val_loss", [])
    if len(validation) < 5 or len(loss) != len(validation) or not all(map(math.isfinite, (*loss, *validation))):
        return None
    best = max(i for i, value in enumerate(validation) if value == min(validation))
    since = len(validation) - 1 - best
    if since < max(3, len(validation) / 10) or validation[-1] < 1.1 * validation[best] or loss[-1] >= loss[best]:
        return None
    return (
        f"hint: the model overfits: val_loss was best, {validation[best]:.4g}, in epoch {epochs[best] + 1}, and is "
        f"{validation[-1]:.4g} now, while the training loss went on falling. More data, a smaller model, "
        "EarlyStopping, Dropout or weight decay help"
    )


def shown(callbacks: CallbackList, verbose: int | str) -> list[Callback]:
    """The display that ``verbose`` asks for, unless there is one among the callbacks."""
    from ..callbacks.progress_bar import ProgressBar, ProgressLines, progress

    display = progress(verbose)
    return [] if any(isinstance(callback, ProgressBar | ProgressLines) for callback in callbacks) else display
