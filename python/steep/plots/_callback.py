"""The hooks of ``steep.callbacks.Callback`` that the callbacks here use, until they can derive from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Callback"]


class Callback:
    """A stand-in with the same names."""

    model: Any
    writes_files = False

    def set_model(self, model: Any) -> None:
        """Is told the model."""
        self.model = model

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """An epoch ends."""

    def close(self) -> None:
        """``fit`` is over."""

    def state_dict(self) -> dict[str, Any]:
        """What a training that is resumed must know."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where ``state_dict`` was called."""
