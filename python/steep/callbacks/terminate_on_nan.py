"""Training stops when the loss is lost."""

from __future__ import annotations

from .callback import Callback, Logs

__all__ = ["TerminateOnNaN"]


class TerminateOnNaN(Callback):
    """Stops ``fit`` after the batch in which the loss became NaN or infinite.

    On CUDA it may be some batches later, as a look at the loss waits for the device.

    >>> import warnings, steep as st
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile(st.optim.SGD(model.parameters(), lr=1e30), "mse")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # fit warns, too
    ...     history = model.fit([[1.0]], [[2.0]], epochs=100, callbacks=[st.callbacks.TerminateOnNaN()], verbose=0)
    TerminateOnNaN: the loss is inf in epoch 2, batch 1
    >>> len(history["loss"])
    2
    """

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Looks whether there is still a loss."""
        loop = self.loop
        if loop is not None and loop.means.lost is not None:
            number, loss = loop.means.lost
            print(f"TerminateOnNaN: the loss is {loss} in epoch {loop.epoch + 1}, batch {number}", flush=True)
            self.model.stop_training = True
