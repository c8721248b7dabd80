"""The operators and methods of a tensor that are functions of steep."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import steep

from . import _core

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["Methods"]


class Methods(_core.TensorBase):
    """What ``Tensor`` derives from: each method is the function of steep that it names."""

    __slots__ = ()

    # --- operators; + - * / @ are the raw type's --------------------------------------------------------------------

    def __pow__(self, other: Any) -> Tensor:
        return steep.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return steep.pow(other, self)

    def __neg__(self) -> Tensor:
        return steep.neg(self)

    def __pos__(self) -> Tensor:
        return steep.positive(self)

    def __abs__(self) -> Tensor:
        return steep.abs(self)

    def __floordiv__(self, other: Any) -> Tensor:
        return steep.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return steep.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return steep.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return steep.remainder(other, self)

    def __invert__(self) -> Tensor:
        return steep.bitwise_invert(self)

    def __and__(self, other: Any) -> Tensor:
        return steep.bitwise_and(self, other)

    def __or__(self, other: Any) -> Tensor:
        return steep.bitwise_or(self, other)

    def __xor__(self, other: Any) -> Tensor:
        return steep.bitwise_xor(self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __lshift__(self, other: Any) -> Tensor:
        return steep.bitwise_left_shift(self, other)

    def __rlshift__(self, other: Any) -> Tensor:
        return steep.bitwise_left_shift(other, self)

    def __rshift__(self, other: Any) -> Tensor:
        return steep.bitwise_right_shift(self, other)

    def __rrshift__(self, other: Any) -> Tensor:
        return steep.bitwise_right_shift(other, self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return steep.equal(self, other) if steep.ops.is_operand(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return steep.not_equal(self, other) if steep.ops.is_operand(other) else NotImplemented

    def __lt__(self, other: Any) -> Tensor:
        return steep.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return steep.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return steep.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return steep.greater_equal(self, other)

    # --- methods that are functions of the same name --------------------------------------------------------------

    def square(self) -> Tensor:
        """See ``steep.square``."""
        return steep.square(self)

    def sqrt(self) -> Tensor:
        """See ``steep.sqrt``."""
        return steep.sqrt(self)

    def exp(self) -> Tensor:
        """See ``steep.exp``."""
        return steep.exp(self)

    def log(self) -> Tensor:
        """See ``steep.log``."""
        return steep.log(self)

    def sin(self) -> Tensor:
        """See ``steep.sin``."""
        return steep.sin(self)

    def cos(self) -> Tensor:
        """See ``steep.cos``."""
        return steep.cos(self)

    def tanh(self) -> Tensor:
        """See ``steep.tanh``."""
        return steep.tanh(self)

    def sigmoid(self) -> Tensor:
        """See ``steep.sigmoid``."""
        return steep.sigmoid(self)

    def relu(self) -> Tensor:
        """See ``steep.relu``."""
        return steep.relu(self)

    def abs(self) -> Tensor:
        """See ``steep.abs``."""
        return steep.abs(self)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """See ``steep.clip``."""
        return steep.clip(self, min, max)

    def sum(self, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
        """See ``steep.sum``."""
        return steep.sum(self, axis, keepdims, dtype)

    def prod(self, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
        """See ``steep.prod``."""
        return steep.prod(self, axis, keepdims, dtype)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See ``steep.mean``."""
        return steep.mean(self, axis, keepdims)

    def var(self, axis: Any = None, correction: builtins.float = 0.0, keepdims: bool = False) -> Tensor:
        """See ``steep.var``."""
        return steep.var(self, axis, correction, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See ``steep.max``."""
        return steep.max(self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See ``steep.min``."""
        return steep.min(self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """See ``steep.argmax``."""
        return steep.argmax(self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """See ``steep.argmin``."""
        return steep.argmin(self, axis, keepdims)

    def cumulative_sum(self, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
        """See ``steep.cumulative_sum``."""
        return steep.cumulative_sum(self, axis, dtype, include_initial)

    def sort(self, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """See ``steep.sort``."""
        return steep.sort(self, axis, descending, stable)

    def argsort(self, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """See ``steep.argsort``."""
        return steep.argsort(self, axis, descending, stable)

    def any(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See ``steep.any``."""
        return steep.any(self, axis, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See ``steep.all``."""
        return steep.all(self, axis, keepdims)

    def softmax(self, axis: int = -1) -> Tensor:
        """See ``steep.softmax``."""
        return steep.softmax(self, axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """See ``steep.log_softmax``."""
        return steep.log_softmax(self, axis)

    def reshape(self, *shape: Any) -> Tensor:
        """See ``steep.reshape``; the extents may be given one by one."""
        return steep.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def flatten(self, start_axis: int = 0, end_axis: int = -1) -> Tensor:
        """See ``steep.flatten``."""
        return steep.flatten(self, start_axis, end_axis)

    def permute_dims(self, *axes: Any) -> Tensor:
        """See ``steep.permute_dims``; the axes may be given one by one."""
        return steep.permute_dims(self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)

    def transpose(self, axis0: int, axis1: int) -> Tensor:
        """See ``steep.transpose``."""
        return steep.transpose(self, axis0, axis1)

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix. Raises ValueError for other numbers of dimensions."""
        if self.ndim != 2:
            raise ValueError(f".T is the transpose of a matrix; for shape {self.shape} use .mT or permute_dims")
        return steep.transpose(self, 0, 1)

    @property
    def mT(self) -> Tensor:
        """The transpose of each matrix in the last two axes."""
        return steep.transpose(self, -2, -1)

    def squeeze(self, axis: Any = None) -> Tensor:
        """See ``steep.squeeze``."""
        return steep.squeeze(self, axis)

    def expand_dims(self, axis: int) -> Tensor:
        """See ``steep.expand_dims``."""
        return steep.expand_dims(self, axis)

    unsqueeze = expand_dims

    def broadcast_to(self, shape: tuple[int, ...]) -> Tensor:
        """See ``steep.broadcast_to``."""
        return steep.broadcast_to(self, shape)

    def split(self, sections: Any, axis: int = 0) -> list[Tensor]:
        """See ``steep.split``."""
        return steep.split(self, sections, axis)
