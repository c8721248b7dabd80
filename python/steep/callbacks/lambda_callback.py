"""A callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .callback import HOOKS, Callback

__all__ = ["LambdaCallback"]


class LambdaCallback(Callback):
    """Calls functions at the times they are given for: ``LambdaCallback(on_epoch_end=lambda epoch, logs: …)``.

    The names are those of ``Callback``'s methods, with the same arguments. Raises TypeError for other names, and for
    what is no function.

    >>> import steep as st
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile("sgd", "mse")
    >>> shown = st.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: print("epoch", epoch))
    >>> _ = model.fit([[1.0]], [[2.0]], epochs=2, callbacks=[shown], verbose=0)
    epoch 0
    epoch 1
    """

    def __init__(self, **functions: Callable[..., Any] | None) -> None:
        for name, function in functions.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback: nothing is called {name!r}: there are {', '.join(HOOKS)}")
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be a function, not {function!r:.60}")
            setattr(self, name, function)
