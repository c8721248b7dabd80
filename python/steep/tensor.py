"""Tensor: an n-dimensional array whose operations can be recorded and differentiated."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, devices, dtypes, hints, numpy_functions
from .methods import Methods

if TYPE_CHECKING:
    from ._core import Node
    from .autograd.hooks import Handle

__all__ = ["Parameter", "Tensor"]


class Tensor(Methods):
    """An n-dimensional array of one dtype on one device. Make one with ``steep.tensor``, ``steep.zeros``, ….

    Arithmetic, comparison, ``@`` and indexing work as in NumPy. If ``requires_grad`` is set, operations on the tensor
    are recorded, and ``backward`` on a result puts the gradient into ``grad``.
    """

    __slots__ = ()
    # The fields live in _core.TensorBase: shape, strides, ndim, size, dtype, device, requires_grad, grad, _node, ….

    __hash__ = object.__hash__

    # --- conversion -----------------------------------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """The elements as a NumPy array over the same memory. Read-only if the tensor requires a gradient.

        Of a CUDA tensor they are copied, once what computes them is done; so do ``item``, ``tolist``, ``print``, and
        every other way to a tensor's values.
        """
        return _core.to_numpy(self, not self.requires_grad)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False and self.device is not devices.cpu:
            raise ValueError(f"a tensor on {self.device} as a NumPy array needs a copy, and copy=False forbids it")
        x = self.numpy()
        if dtype is not None and x.dtype != dtype:
            if copy is False:
                raise ValueError(f"a {x.dtype} tensor as {dtype} needs a copy, and copy=False forbids it")
            return x.astype(dtype)
        return x.copy() if copy else x

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return numpy_functions.array_ufunc(ufunc, method, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_functions.array_function(function, args, kwargs)

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """A DLPack capsule over the same memory; ``max_version``, ``dl_device``, ``copy`` as in the Array API.

        Negative strides, on which other libraries stumble, are copied. Raises BufferError for a tensor that requires a
        gradient (export ``x.detach()``, or pass ``copy=True``), for read-only memory to a consumer of before DLPack 1,
        and where ``copy=False`` and a copy is needed.
        """
        if self.requires_grad and not copy:
            raise BufferError("a tensor that requires a gradient cannot be exported: use x.detach(), or copy=True")
        return _core.to_dlpack(self.detach(), stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        device = self.device
        return (1, 0) if device is devices.cpu else (2, device.index)  # kDLCPU, kDLCUDA

    def __getattr__(self, name: str) -> Any:
        hint = "" if name.startswith("_") else hints.of_method(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def _readable(self) -> Tensor:
        """The values in a dtype that NumPy has."""
        return self.detach().astype(dtypes.float32) if self.dtype is dtypes.bfloat16 else self

    def item(self) -> Any:
        """The only element as a Python number. Raises ValueError if there are more."""
        return _core.item(self)

    def tolist(self) -> Any:
        """The elements as (nested lists of) Python numbers."""
        return self._readable().numpy().tolist()

    def __float__(self) -> builtins.float:
        return builtins.float(_core.item(self))

    def __int__(self) -> int:
        return int(_core.item(self))

    def __round__(self, digits: int | None = None) -> Any:
        return builtins.round(_core.item(self), digits)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"the truth value of a tensor of shape {self.shape} is ambiguous: use .any() or .all()")
        return bool(_core.item(self))

    def __complex__(self) -> complex:
        return complex(_core.item(self))

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise TypeError(f"only integer tensors can be used as an index, not {self.dtype.name}")
        if self.ndim:
            raise TypeError(f"only 0-d tensors can be used as an index, not one of shape {self.shape}: use .item()")
        return int(_core.item(self))

    def __format__(self, spec: str) -> str:
        if self.ndim == 0 or (spec and self.size == 1):
            return format(self.item(), spec)
        try:
            return format(str(self), spec)
        except ValueError:
            raise TypeError(
                f"a tensor of shape {self.shape} cannot be formatted by {spec!r}, only one of a single element"
            ) from None

    def __repr__(self) -> str:
        text = np.array2string(self._readable().numpy(), separator=", ", prefix="tensor(")
        if self.size == 0:
            text += f", shape={self.shape}"
        if self.dtype not in (dtypes.float32, dtypes.int64, dtypes.bool) or self.size == 0:
            text += f", dtype={self.dtype.name}"
        if self.device is not devices.get_default_device():
            text += f", device='{self.device}'"
        if self._node is not None:
            text += f", grad_fn={self._node.name}"
        elif self.requires_grad:
            text += ", requires_grad=True"
        return f"{type(self).__name__.lower()}({text})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a 0-d tensor cannot be iterated over: use .item()")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, value: Any) -> builtins.bool:
        return builtins.bool((self == value).any()) if ops.is_operand(value) else False

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        """The module steep, for programs that are written for any library of the Array API standard."""
        import steep

        if api_version is not None and api_version not in steep.array_api.VERSIONS:
            raise ValueError(f"api_version={api_version!r}: steep follows {', '.join(steep.array_api.VERSIONS)}")
        return steep

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_leaf("pickled")
        # Views give NumPy only their own elements; by pickle's protocol 5 these can travel without a copy.
        return _rebuild, (
            type(self),
            self._readable().detach().numpy(),
            self.requires_grad,
            self.dtype.name,
            str(self.device),
        )

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({}) if self._node is None else self.copy()  # matplotlib copies what it plots

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]
        self._check_leaf("copied")
        out: Tensor = _core.alias_as(_core.copy(self), type(self))
        out.requires_grad = self.requires_grad
        if self.grad is not None:
            out.grad = _core.copy(self.grad)
        memo[id(self)] = out
        return out

    def _check_leaf(self, what: str) -> None:
        if self._node is not None:
            raise RuntimeError(f"a tensor with history cannot be {what}: use x.detach(), or x.copy()")

    # --- gradients ------------------------------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed by a recorded operation."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The recorded operation that computed it."""
        return self._node

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets ``requires_grad`` and returns the tensor."""
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same memory as a tensor without history that requires no gradient."""
        return _core.alias(self)

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Adds the gradient of this tensor to ``grad`` of every leaf it depends on: see ``steep.autograd.backward``."""
        autograd.backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Calls ``hook(grad)`` when backward has computed this tensor's gradient, the whole of it.

        What the hook returns, unless None, goes on in its place, to ``.grad`` or to what the tensor was computed from;
        ``grad`` itself must not be changed in place. ``remove()`` of the result takes the hook away. A leaf's hook that
        refers to the leaf keeps it alive until then. Raises RuntimeError for a tensor that requires no gradient.

        >>> import steep as st
        >>> x = st.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda grad: grad.clip(-1, 3))
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 3.])
        >>> handle.remove()
        """
        return autograd.hooks.register(self, hook)

    def retain_grad(self) -> None:
        """Lets backward put the gradient of this computed tensor into ``grad``, as it does for leaves.

        It is what the tensor's hooks have made of it. Raises RuntimeError for a tensor that requires no gradient.
        """
        autograd.hooks.retain(self)

    # --- dtype, device, copies ------------------------------------------------------------------------------------

    def astype(self, dtype: Any, copy: bool = False) -> Tensor:
        """The elements in another dtype; the tensor itself if it has that dtype already, unless ``copy``."""
        return ops.astype(self, dtype, copy)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """The Array API's ``x.to(device)``. Raises ValueError for a ``stream``: see ``steep.cuda.stream``."""
        if stream is not None:
            raise ValueError("to_device: steep uses the current stream: enter `with steep.cuda.stream(s):` instead")
        return ops.to_device(self, device)

    def to(self, *target: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """The tensor on a device, in a dtype, or both: ``x.to("cuda")``, ``x.to(steep.float64)``; itself if it is so.

        Differentiable: the gradient comes back to this tensor's device and dtype. Where there is no CUDA device, the
        tensor stays on the CPU, with one warning.

        >>> import steep as st
        >>> x = st.ones(2).to("cpu", st.float64)
        >>> x.device, x.dtype
        (device('cpu'), steep.float64)
        """
        dtype, device = move_target(target, dtype, device)
        x = self if dtype is None else self.astype(dtype)
        return x if device is None else ops.to_device(x, device)

    def cpu(self) -> Tensor:
        """The tensor on the CPU."""
        return self.to(devices.cpu)

    def cuda(self, device: Any = 0) -> Tensor:
        """The tensor on a CUDA device, by number or name; where there is none, on the CPU, with one warning."""
        return self.to(f"cuda:{device}" if isinstance(device, int) else device)

    def float(self) -> Tensor:
        """As float32."""
        return self.astype(dtypes.float32)

    def double(self) -> Tensor:
        """As float64."""
        return self.astype(dtypes.float64)

    def long(self) -> Tensor:
        """As int64."""
        return self.astype(dtypes.int64)

    def copy(self) -> Tensor:
        """A contiguous copy with memory of its own; differentiable."""
        return ops.copy(self)

    clone = copy

    def contiguous(self) -> Tensor:
        """The tensor with its elements in C order, itself if they are."""
        return self if _core.is_contiguous(self) else self.copy()

    def is_contiguous(self) -> bool:
        """Whether the elements are in C order without gaps."""
        return _core.is_contiguous(self)

    # --- changes in place -----------------------------------------------------------------------------------------

    def _is_recorded_with(self, other: Any) -> builtins.bool:
        return autograd.is_grad_enabled() and (self.requires_grad or getattr(other, "requires_grad", False))

    def _check_in_place(self, operation: str, other: Any = None) -> None:
        if self._is_recorded_with(other):
            what = "a leaf that requires a gradient" if self.is_leaf and self.requires_grad else "a recorded tensor"
            raise RuntimeError(
                f"{operation} would change {what} in place, which backward could not follow: "
                "use 'with steep.no_grad():' to update values, or an operation that returns a new tensor"
            )

    def copy_(self, other: Any) -> Tensor:
        """Overwrites the elements with those of ``other``, broadcast, cast, and brought from whatever device."""
        other = self._value(other)
        self._check_in_place("copy_", other)
        _core.assign(self, other)
        return self

    def _value(self, x: Any) -> Tensor:
        """x as a tensor whose elements may be assigned. Raises OverflowError for Python integers that don't fit."""
        if isinstance(x, int | list) and self.dtype.is_integer:
            ops.creation.check_fits(x, np.asarray(x), self.dtype)
        if isinstance(x, int | builtins.float):
            return ops._apply.host_tensor(x, self.dtype)  # a number goes to any device
        return ops.as_tensor(x, self, self.dtype)

    def fill_(self, value: builtins.float) -> Tensor:
        """Sets every element to ``value``."""
        self._check_in_place("fill_")
        _core.assign(self, ops.full((), value, self.dtype, devices.cpu))  # a number goes to any device
        return self

    def zero_(self) -> Tensor:
        """Sets every element to 0."""
        return self.fill_(0)

    def _in_place(self, name: str, other: Any) -> Tensor:
        self._check_in_place(f"{name}_", other)
        getattr(_core, f"{name}_")(self, ops.operand(other, self))
        return self

    def add_(self, other: Any) -> Tensor:
        """Adds in place."""
        return self._in_place("add", other)

    def sub_(self, other: Any) -> Tensor:
        """Subtracts in place."""
        return self._in_place("subtract", other)

    def mul_(self, other: Any) -> Tensor:
        """Multiplies in place."""
        return self._in_place("multiply", other)

    def div_(self, other: Any) -> Tensor:
        """Divides in place."""
        return self._in_place("divide", other)

    def _augmented(self, name: str, other: Any) -> Tensor:
        # x += y in a recorded computation gives x a new value: the old one may be needed for the gradient. A leaf that
        # requires a gradient would silently lose it, so that raises.
        if self._is_recorded_with(other) and not (self.is_leaf and self.requires_grad):
            out: Tensor = getattr(ops, name)(self, other)
            return out
        return self._in_place(name, other)

    def __iadd__(self, other: Any) -> Tensor:
        return self._augmented("add", other)

    def __isub__(self, other: Any) -> Tensor:
        return self._augmented("subtract", other)

    def __imul__(self, other: Any) -> Tensor:
        return self._augmented("multiply", other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._augmented("divide", other)

    def __ifloordiv__(self, other: Any) -> Tensor:
        return self._augmented("floor_divide", other)

    def __imod__(self, other: Any) -> Tensor:
        return self._augmented("remainder", other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._augmented("pow", other)

    def __iand__(self, other: Any) -> Tensor:
        return self._augmented("bitwise_and", other)

    def __ior__(self, other: Any) -> Tensor:
        return self._augmented("bitwise_or", other)

    def __ixor__(self, other: Any) -> Tensor:
        return self._augmented("bitwise_xor", other)

    def __ilshift__(self, other: Any) -> Tensor:
        return self._augmented("bitwise_left_shift", other)

    def __irshift__(self, other: Any) -> Tensor:
        return self._augmented("bitwise_right_shift", other)

    def __getitem__(self, key: Any) -> Tensor:
        return ops.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        value = self._value(value)
        self._check_in_place("an assignment to elements", value)
        ops.setitem(self, key, value)


class Parameter(Tensor):
    """A tensor that a Module trains: it requires a gradient, and assigning it to a module's attribute registers it.

    >>> import steep as st
    >>> st.nn.Parameter([1.0, 2.0])
    parameter([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __new__(cls, data: Any, requires_grad: bool = True) -> Parameter:
        data = ops.as_tensor(data)
        if not data.dtype.is_floating_point:
            data = data.astype(dtypes.float32)
        out: Parameter = _core.alias_as(data, cls)
        out.requires_grad = requires_grad
        return out


def move_target(target: tuple[Any, ...], dtype: Any, device: Any) -> tuple[dtypes.DType | None, devices.Device | None]:
    """The dtype and the device that the arguments of ``to`` mean, in whatever order."""
    for t in target:
        is_device = isinstance(t, devices.Device) or (isinstance(t, str) and t.startswith(("cpu", "cuda")))
        device, dtype = (t, dtype) if is_device else (device, t)
        if isinstance(dtype, str) and not dtype.startswith(("complex", *(t.name for t in dtypes.ALL))):
            raise TypeError(f"to: {dtype!r} is neither a device ('cpu', 'cuda', 'cuda:1') nor a dtype of steep")
    return (
        None if dtype is None else dtypes.as_dtype(dtype),
        None if device is None else devices.device(device),
    )


def _rebuild(cls: type[Tensor], x: np.ndarray[Any, Any], requires_grad: bool, dtype: str, device: str) -> Tensor:
    made = _core.to_device(_core.from_numpy(x, False), devices.device_or_cpu(device))
    if made.dtype.name != dtype:  # one that NumPy doesn't have
        made = _core.astype(made, dtypes.as_dtype(dtype))
    out: Tensor = _core.alias_as(made, cls)
    out.requires_grad = requires_grad
    return out


_core.set_classes(Tensor, dtypes.ALL, devices.ALL)

from . import autograd, ops  # noqa: E402  (they need Tensor, whose methods call them)
