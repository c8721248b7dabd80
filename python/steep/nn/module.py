"""Module: the base class of layers and models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .. import _core, hints
from ..autograd.hooks import Handle
from ..checks import check_count, shown
from ..ops import to_device
from ..ops._apply import as_tensor
from ..stack import level_outside
from ..tensor import Parameter, Tensor, move_target
from ..train.trainable import Trainable
from .graph import call_module, has_symbols
from .hooks import Hooks, add, run
from .inspection import Inspected
from .rules import Ruled
from .state import Stated

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Module"]


class Module(Ruled, Inspected, Stated, Trainable):
    """A layer or a model: parameters, sub-modules, and ``forward``, which computes with them.

    Parameters and modules register themselves when they are assigned to attributes; a module called like a function
    runs its ``forward``. ``compile``, ``fit``, ``evaluate`` and ``predict`` (see ``steep.train``) work on every Module.
    Calling ``super().__init__()`` is welcome and never needed.

    >>> import steep as st
    >>> class Net(st.nn.Module):
    ...     def __init__(self):
    ...         self.hidden = st.nn.Linear(4, 8, activation="relu")
    ...         self.out = st.nn.Linear(8, 3)
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x))
    >>> net = Net()
    >>> net
    Net(
      (hidden): Linear(in_features=4, out_features=8, bias=True, activation='relu')
      (out): Linear(in_features=8, out_features=3, bias=True)
    )
    >>> net(st.zeros(2, 4)).shape
    (2, 3)
    >>> [(name, p.shape) for name, p in net.out.named_parameters()]
    [('weight', (3, 8)), ('bias', (3,))]
    """

    # Class attributes, so that a subclass without super().__init__() has them too. What is registered is found by its
    # type among the instance's attributes: there is no second list to keep up to date.
    training: bool = True
    _name: str | None = None
    _buffer_names: frozenset[str] = frozenset()
    _hooks: Hooks | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the output. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, x) that computes its output")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (not args or type(args[0]) is not Tensor) and has_symbols((args, kwargs)):
            return call_module(self, args, kwargs)
        try:
            hooks = self._hooks
            return self.forward(*args, **kwargs) if hooks is None else run(self, hooks, args, kwargs)
        except ValueError as error:
            self._check_devices(args, error)
            raise
        except TypeError:
            if has_symbols((args, kwargs)):  # behind a tensor
                return call_module(self, args, kwargs)
            raise

    def _check_devices(self, inputs: tuple[Any, ...], error: ValueError) -> None:
        """Says what is wrong if an operation failed because the input is not where this module's parameters are."""
        own = next((value.device for value in vars(self).values() if isinstance(value, Parameter)), None)
        there = next((x.device for x in inputs if isinstance(x, Tensor) and x.device is not own), None)
        if own is not None and there is not None:
            raise ValueError(
                f"{self._label()} is on {own}, its input on {there}: call model(x.to('{own}')), or model.to('{there}')"
            ) from error

    if not TYPE_CHECKING:  # to a type checker, what is missing is missing

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that failed: its own error, not that it is missing
                return object.__getattribute__(self, name)
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}{hints.of(hints.MODULES, name)}"
            )

    # --- registration ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module):
            value.__dict__["_name"] = name
        elif value is not None and isinstance(self.__dict__.get(name), Parameter) and not isinstance(value, Parameter):
            raise TypeError(
                f"{self._label()}: attribute {name!r} is a Parameter, not a place for a {type(value).__name__}: "
                f"change its values with self.{name}.copy_(…) under steep.no_grad(), or assign a steep.nn.Parameter"
            )
        object.__setattr__(self, name, value)

    def add_module(self, name: str, module: Any) -> None:
        """Registers ``module`` as ``name``. Raises TypeError unless it is a Module, ValueError for a bad name."""
        if not isinstance(module, Module):
            hint = f": write {module.__name__}()" if isinstance(module, type) and issubclass(module, Module) else ""
            raise TypeError(f"{self._label()}: {name!r} must be a Module, not {module!r}{hint}")
        if any(inner is self for inner in module.modules()):
            raise ValueError(f"{self._label()}: a module cannot contain itself")
        if not name or "." in name or (name not in self.__dict__ and hasattr(self, name)):
            raise ValueError(f"{self._label()}: {name!r} cannot name a module: it is empty, has a dot, or is taken")
        setattr(self, name, module)

    def register_buffer(self, name: str, value: Any) -> None:
        """Keeps a tensor that is not trained as the attribute ``name``: part of ``state_dict``, moved by ``to``."""
        setattr(self, name, as_tensor(value).detach())
        self._buffer_names = self._buffer_names | {name}

    # --- what there is --------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules among the attributes, each once, with their names."""
        seen: set[int] = set()
        for name, value in vars(self).items():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules among the attributes, each once."""
        return (module for _, module in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module (named ``""``) and all modules below it, each once, with dotted paths."""
        return self._walk("", set())

    def _walk(self, path: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield path, self
        for name, child in self.named_children():
            yield from child._walk(f"{path}.{name}" if path else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all modules below it, each once."""
        found: dict[int, Module] = {}  # without paths, as training asks for them twice an epoch
        waiting: list[Module] = [self]
        while waiting:
            module = waiting.pop()
            if id(module) not in found:
                found[id(module)] = module
                waiting += [value for value in reversed(module.__dict__.values()) if isinstance(value, Module)]
        return iter(found.values())

    def _members(self, wanted: Callable[[Module, str, Any], bool]) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if wanted(module, name, value) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters of this module and of those below it, each once, with dotted paths."""
        for path, module in self.named_modules():
            module._warn_of_lists(path)
        yield from self._members(lambda module, name, value: isinstance(value, Parameter))

    def _warn_of_lists(self, path: str) -> None:
        for name, value in vars(self).items():
            if isinstance(value, list | tuple | dict) and value and not name.startswith("_"):
                items = value.values() if isinstance(value, dict) else value
                if any(isinstance(item, Module) for item in items):
                    warnings.warn(
                        f"the modules in the {type(value).__name__} {f'{path}.{name}' if path else name!r} of "
                        f"{type(self).__name__} are not registered, so their parameters are neither trained nor saved: "
                        "hold them in a steep.nn.ModuleList",
                        stacklevel=level_outside(),
                    )

    def parameters(self) -> Iterator[Parameter]:
        """The parameters of this module and of those below it, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers of this module and of those below it, each once, with dotted paths."""
        return self._members(lambda module, name, value: module._is_buffer(name, value))

    def _is_buffer(self, name: str, value: Any) -> bool:
        return name in self._buffer_names and isinstance(value, Tensor)

    def buffers(self) -> Iterator[Tensor]:
        """The buffers of this module and of those below it, each once."""
        return (buffer for _, buffer in self.named_buffers())

    def to(self, *target: Any, dtype: Any = None, device: Any = None) -> Self:
        """Moves parameters, their gradients and buffers to a device, a floating-point dtype, or both; returns itself.

        Parameters stay the same objects, so that optimizers keep training them; an optimizer's state follows at its
        next step. Buffers of integers keep their dtype. Raises TypeError for a dtype that cannot hold parameters, and
        ValueError for a device that does not exist; where there is no CUDA device at all, the module stays on the CPU,
        with one warning.

        >>> import steep as st
        >>> st.nn.Linear(2, 1).to("cpu", st.float64).weight.dtype
        steep.float64
        """
        wanted, place = move_target(target, dtype, device)
        if wanted is not None and not wanted.is_floating_point:
            raise TypeError(f"parameters are floating-point: they cannot be moved to {wanted.name}")

        def moved(x: Tensor) -> Tensor:
            x = x.detach() if wanted is None or not x.dtype.is_floating_point else x.detach().astype(wanted)
            return x if place is None else to_device(x, place)

        buffers: dict[int, Tensor] = {}
        for module in self.modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, Parameter):
                    _move_parameter(value, moved)
                elif module._is_buffer(name, value):
                    setattr(module, name, buffers.setdefault(id(value), moved(value)))
        return self

    def cuda(self, device: Any = 0) -> Self:
        """``to("cuda")``, or to another CUDA device, by number or name."""
        return self.to(f"cuda:{device}" if isinstance(device, int) else device)

    def cpu(self) -> Self:
        """``to("cpu")``."""
        return self.to("cpu")

    # --- modes ----------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Sets ``training`` here and below: Dropout drops, BatchNorm1d goes by the batch. Returns the module."""
        for module in self.modules():
            if module.training is not mode:
                object.__setattr__(module, "training", mode)  # past the checks of assignments
        return self

    def eval(self) -> Self:
        """Sets ``training`` to False here and below: Dropout passes everything, BatchNorm1d goes by its running values.

        Returns the module.
        """
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freezes (False) or unfreezes all parameters, and returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Calls ``function`` on every module below and then on this one, which is returned.

        >>> import steep as st
        >>> net = st.nn.Sequential(st.nn.Linear(2, 2))
        >>> _ = net.apply(lambda m: st.nn.init.zeros_(m.bias) if isinstance(m, st.nn.Linear) else None)
        >>> net[0].bias.numpy()
        array([0., 0.], dtype=float32)
        """
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # --- hooks ----------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Calls ``hook(module, args)`` before every forward; what it returns, unless None, replaces the arguments.

        With ``with_kwargs``, ``hook(module, args, kwargs)`` may return a pair (args, kwargs). With ``prepend`` it comes
        before the hooks that are there. ``remove()`` of the result takes it away.
        """
        return add(self, "before", hook, prepend, with_kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:
        """Calls ``hook(module, args, output)`` after every forward; what it returns, unless None, replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``. With ``always_call`` it is also called, with
        None as the output, if forward raises.

        >>> import steep as st
        >>> layer = st.nn.Linear(4, 2)
        >>> with layer.register_forward_hook(lambda module, args, output: print(output.shape)):
        ...     _ = layer(st.zeros(3, 4))
        (3, 2)
        """
        return add(self, "after", hook, prepend, with_kwargs, always_call)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients of the module's inputs are there.

        Both are tuples: of the positional arguments and of the outputs, with None for what has no gradient. What the
        hook returns, unless None, replaces ``grad_input``; the gradients that it is given must not be changed in place.
        If no input requires a gradient, it is called when the outputs' gradients are there. forward must return a
        Tensor or a tuple of them.

        >>> import steep as st
        >>> layer = st.nn.Linear(4, 2)
        >>> handle = layer.register_full_backward_hook(lambda module, grad_input, grad_output: print(grad_output))
        >>> layer(st.zeros(1, 4)).sum().backward()
        (tensor([[1., 1.]]),)
        """
        return add(self, "backward", hook, prepend)

    # --- text -----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What ``repr`` shows between the parentheses of a module without sub-modules."""
        return ""

    def _tensor_of(self, name: str) -> Tensor:
        """A parameter that the module can't do without. Raises TypeError where None or another thing took its place."""
        value = getattr(self, name)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{self._label()}: {name} is {shown(value)}, which is no tensor: assign a steep.nn.Parameter"
            )
        return value

    def _label(self) -> str:
        """The module as error messages call it: its class, and the name it was registered under."""
        return type(self).__name__ + (f" {self._name!r}" if self._name else "")

    def __repr__(self) -> str:
        children = [
            f"  ({name}): " + repr(value).replace("\n", "\n  ")
            for name, value in vars(self).items()
            if isinstance(value, Module)
        ]
        extra = ", ".join(filter(None, (self.extra_repr(), self._rules_repr())))
        if not children:
            return f"{type(self).__name__}({extra})"
        return "\n".join([f"{type(self).__name__}({extra}", *children, ")"])


def check_sizes(layer: str, **sizes: int) -> None:
    """Raises ValueError unless all are positive integers."""
    for name, value in sizes.items():
        check_count(f"{layer}: {name}", value)


def _move_parameter(parameter: Parameter, moved: Callable[[Tensor], Tensor]) -> None:
    new, gradient = moved(parameter), parameter.grad
    if new.dtype is parameter.dtype and new.device is parameter.device:
        return
    gradient = None if gradient is None else moved(gradient)
    _core.move_(parameter, new)
    parameter.grad = gradient
