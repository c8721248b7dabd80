"""Callback: what is called while a model trains; and the list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ..nn import Module
    from ..train.loop import Loop

__all__ = ["HOOKS", "Callback", "CallbackList"]

Logs = Mapping[str, Any]
Kind = TypeVar("Kind", bound="Callback")

HOOKS = (
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_end",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_predict_begin",
    "on_predict_end",
    "on_predict_batch_begin",
    "on_predict_batch_end",
)


class Callback:
    """Base class: a subclass defines the methods at whose times it has something to do.

    ``self.model`` is the model, ``self.params`` a dict of "epochs" (the number of the last one), "initial_epoch",
    "steps" (batches in an epoch, None if unknown) and "verbose", ``self.loop`` the running ``fit``. Epochs and batches
    count from 0. ``logs`` are loss and metrics by name: means so far for a batch, and at the end of an epoch a dict,
    to which a callback may add what the History shall show. ``self.model.stop_training = True`` ends ``fit``.

    >>> import steep as st
    >>> class Norms(st.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         logs["largest weight"] = float(abs(self.model.weight).max())
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile("sgd", "mse")
    >>> list(model.fit([[1.0]], [[2.0]], callbacks=[Norms()], verbose=0))
    ['loss', 'largest weight']
    """

    model: Module
    loop: Loop | None = None
    params: Mapping[str, Any] = {}
    runs_last = False  # after all others: it saves what they have come to
    writes_files = False  # left out of a fast_dev_run

    def set_model(self, model: Module) -> None:
        """Is told the model, before anything else."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Is told the parameters of ``fit``."""
        self.params = params

    def set_loop(self, loop: Loop | None) -> None:
        """Is told the running ``fit``: its epoch, batch and state."""
        self.loop = loop

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """``fit`` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """``fit`` ends, and nothing was raised; ``logs`` are those of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch begins."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """An epoch ends, validation included."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch comes to be trained on."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """A batch was trained on."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """``evaluate``, or validation within ``fit``, begins."""

    def on_test_end(self, logs: Logs) -> None:
        """``evaluate``, or validation within ``fit``, ends."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch comes to be measured."""

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """A batch was measured."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """``predict`` begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """``predict`` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A batch comes to be predicted."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch was predicted; its output is in ``logs["outputs"]``."""

    def close(self) -> None:
        """``fit`` is over in any way, after an error or an interrupt too: release files and the like."""

    def state_dict(self) -> dict[str, Any]:
        """What a training that is resumed must know: tensors, numbers, strings, and lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where ``state_dict`` was called."""


class CallbackList(Callback):
    """Several callbacks as one: each method calls that of every one of them, in order.

    Lists among them are unfolded. Raises TypeError for what is no Callback.
    """

    def __init__(self, callbacks: Any = ()) -> None:
        members: list[Callback] = []
        single = isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable)
        for callback in [callbacks] if single else callbacks:
            if isinstance(callback, CallbackList):
                members.extend(callback)
            elif isinstance(callback, Callback):
                members.append(callback)
            else:
                hint = f": write {callback.__name__}()" if isinstance(callback, type) else ""
                hint = hint or ": wrap a function in LambdaCallback" * callable(callback)
                raise TypeError(f"callbacks must be steep.callbacks.Callback objects, not {callback!r:.60}{hint}")
        self.callbacks: list[Callback] = sorted(members, key=lambda callback: callback.runs_last)

    def hooks(self, name: str) -> list[Callable[..., None]]:
        """The methods called ``name``, of those callbacks that define it: the others cost nothing."""
        return [
            getattr(callback, name)
            for callback in self.callbacks
            if getattr(type(callback), name) is not getattr(Callback, name) or name in vars(callback)
        ]

    def find(self, kind: type[Kind]) -> Kind | None:
        """The first callback of this class; None if there is none."""
        return next((callback for callback in self.callbacks if isinstance(callback, kind)), None)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __len__(self) -> int:
        return len(self.callbacks)

    def set_model(self, model: Module) -> None:
        """Tells all of them."""
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Tells all of them."""
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def set_loop(self, loop: Loop | None) -> None:
        """Tells all of them."""
        super().set_loop(loop)
        for callback in self.callbacks:
            callback.set_loop(loop)

    def state_dict(self) -> dict[str, Any]:
        """Those of all that have one, in order, each with the name of its class."""
        kept = self._kept()
        return {"callbacks": [{"class": type(callback).__name__, "state": callback.state_dict()} for callback in kept]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError, before anything is loaded, if the callbacks are of other classes than those saved."""
        saved = [entry["class"] for entry in state["callbacks"]]
        own = [type(callback).__name__ for callback in self._kept()]
        if saved != own:
            raise ValueError(f"the state is that of the callbacks {', '.join(saved)}, and here are {', '.join(own)}")
        for callback, entry in zip(self._kept(), state["callbacks"], strict=True):
            callback.load_state_dict(entry["state"])

    def _kept(self) -> list[Callback]:
        """Those that have a state: the others, such as a display, may differ when a run goes on."""
        return [callback for callback in self if type(callback).state_dict is not Callback.state_dict]

    def close(self) -> None:
        """Closes all, even if one of them raises."""
        with ExitStack() as stack:
            for callback in reversed(self.callbacks):
                stack.callback(callback.close)


def _for_each(name: str) -> Callable[..., None]:
    def call(self: CallbackList, *arguments: Any) -> None:
        for hook in self.hooks(name):
            hook(*arguments)

    call.__name__, call.__doc__ = name, "Calls those of all."
    return call


for _name in HOOKS:
    setattr(CallbackList, _name, _for_each(_name))
