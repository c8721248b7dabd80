"""Float32 copies of 16-bit parameters: an optimizer changes them, and rounds what they have become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd import no_grad
from ..dtypes import float32
from ..ops import to_device, where
from ..ops._apply import host_tensor
from ..tensor import Tensor

__all__ = ["MasterWeights"]


class MasterWeights:
    """Those of one group of parameters; parameters that are wider stand for themselves.

    A step of less than half a unit in the last place is lost in a 16-bit parameter, and adds up in its float32 copy.
    Micikevicius et al. 2018, arXiv:1710.03740, section 3.1.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, int] | None] = []  # with the version of the parameter that was made of it

    @no_grad()
    def of(self, params: Sequence[Tensor]) -> list[Tensor]:
        """What is to be changed in the place of ``params``, with their gradients, those in float32."""
        self._kept += [None] * (len(params) - len(self._kept))
        return [p if p.dtype.itemsize > 2 else self._master(i, p) for i, p in enumerate(params)]

    def _master(self, i: int, p: Tensor) -> Tensor:
        kept = self._kept[i]
        if p.grad is None:
            return p if kept is None else kept[0]
        if kept is None:
            master = p.detach().astype(float32)
        else:
            master, version = kept
            master = to_device(master, p.device)
            if version != p._version:  # somebody else has changed it: what they left alone keeps its digits
                master = where(master.astype(p.dtype) == p, master, p.detach().astype(float32))
        self._kept[i] = master, p._version
        master.grad = p.grad.astype(float32)
        return master

    @no_grad()
    def round_into(self, params: Sequence[Tensor]) -> None:
        """Gives the parameters with gradients the values that their copies have by now."""
        for i, p in enumerate(params):
            kept = self._kept[i]
            if p.dtype.itemsize == 2 and p.grad is not None and kept is not None:
                p.copy_(kept[0])
                kept[0].grad = None
                self._kept[i] = kept[0], p._version

    def is_current(self, i: int, p: Tensor) -> bool:
        """Whether the next step goes on from the copy of parameter i, as nobody else has changed the parameter."""
        kept = self._kept[i] if i < len(self._kept) else None
        return kept is None or kept[1] == p._version

    def follow(self, i: int, p: Tensor) -> None:
        """Parameter i has just been rounded from its copy, by a replay of a CUDA graph."""
        kept = self._kept[i]
        if kept is not None:
            self._kept[i] = kept[0], p._version

    def kept(self, i: int) -> Tensor | None:
        """The copy of parameter i, if there is one."""
        kept = self._kept[i] if i < len(self._kept) else None
        return None if kept is None else kept[0]

    def load(self, params: Sequence[Tensor], saved: Sequence[Any]) -> list[Tensor]:
        """Takes over copies that were saved, and makes those that are missing. Returns what ``of`` would.

        Raises ValueError for other shapes.
        """
        for p, value in zip(params, saved, strict=True):
            if p.dtype.itemsize > 2:
                self._kept.append(None)
                continue
            master = p.detach() if value is None else value if isinstance(value, Tensor) else host_tensor(value)
            if master.shape != p.shape:
                raise ValueError(f"load_state_dict: master_weight has shape {master.shape}, its parameter {p.shape}")
            master = to_device(master.detach(), p.device).astype(float32, copy=True).contiguous()
            self._kept.append((master, p._version))
        return [p if kept is None else kept[0] for p, kept in zip(params, self._kept, strict=True)]
