"""What a module asks of single parameters: penalties in the loss, and bounds after every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..autograd import no_grad
from ..tensor import Parameter, Tensor
from .constraints import constraint_function
from .regularizers import regularizer_function, total

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Ruled"]


class Rules(dict[str, Callable[[Tensor], Tensor]]):
    """The regularizers, or the constraints, of a module's own parameters, by their names."""

    used = False  # without any in the process nobody looks for them: training asks at every step

    def __new__(cls) -> Rules:  # which copying and unpickling call too
        Rules.used = True
        return super().__new__(cls)


class Ruled:
    """The methods of every ``Module`` about regularizers and constraints."""

    _regularizers: Rules | None = None
    _constraints: Rules | None = None

    if TYPE_CHECKING:  # what Module adds

        def parameters(self) -> Iterator[Parameter]: ...
        def _label(self) -> str: ...

    def regularize(self, name: str, regularizer: Any) -> Self:
        """Adds a penalty on the parameter ``name`` to ``regularization_loss``, in the place of an earlier one.

        ``name`` is that of a parameter of this module, or of one below by its path ("0.weight"). ``regularizer`` is
        "l1", "l2", one of ``steep.nn.regularizers``, a function from the parameter to a 0-d tensor, or None for none.
        Returns the module. Raises ValueError if there is no such parameter or regularizer, or if its result is not
        0-d; TypeError for other objects.

        >>> import steep as st
        >>> st.nn.Embedding(10, 3).regularize("weight", st.nn.regularizers.L1(0.001))
        Embedding(10, 3, weight_regularizer=L1(0.001))
        """
        module, own = self._owner("regularize", name)
        rule = None
        if regularizer is not None:
            rule = regularizer_function(f"{self._label()}, {name}", regularizer)
            with no_grad():
                penalty = rule(module.__dict__[own])
            if not isinstance(penalty, Tensor) or penalty.shape != ():
                found = f"shape {penalty.shape}" if isinstance(penalty, Tensor) else f"a {type(penalty).__name__}"
                raise ValueError(
                    f"{self._label()}: the regularizer of {name!r} gives {found}: it must be 0-d, such as a sum"
                )
        _set(module, "_regularizers", own, rule)
        return self

    def has_regularizers(self) -> bool:
        """Whether ``regularization_loss`` has anything to add."""
        return Rules.used and next(self._rules("_regularizers"), None) is not None

    def regularization_loss(self) -> Tensor:
        """The sum of all penalties registered here and in modules below: a 0-d tensor, 0 without any.

        ``fit`` adds it to the loss; a loop of one's own does so itself.

        >>> import steep as st
        >>> layer = st.nn.Linear(2, 1, weight_regularizer=st.nn.regularizers.L2(0.5))
        >>> _ = st.nn.init.ones_(layer.weight)
        >>> float(layer.regularization_loss())
        1.0
        """
        penalties = [rule(parameter) for parameter, rule in self._rules("_regularizers")]
        return total(self, penalties)

    def constrain(self, name: str, constraint: Any) -> Self:
        """Lets ``apply_constraints`` hold the parameter ``name`` to a bound, in the place of an earlier one.

        ``name`` as in ``regularize``. ``constraint`` is one of ``steep.nn.constraints``, the name of one, a function
        from the parameter to what it is to become, of the same shape, or None for none. Returns the module. Raises
        ValueError if there is no such parameter or constraint, or if it does not fit the parameter's shape; TypeError
        for other objects.

        >>> import steep as st
        >>> st.nn.Linear(3, 2, bias=False).constrain("weight", st.nn.constraints.UnitNorm())
        Linear(in_features=3, out_features=2, bias=False, weight_constraint=UnitNorm(axis=1))
        """
        module, own = self._owner("constrain", name)
        rule = None
        if constraint is not None:
            rule = constraint_function(f"{self._label()}, {name}", constraint)
            shape = module.__dict__[own].shape
            try:
                with no_grad():
                    result = rule(module.__dict__[own])
            except (ValueError, IndexError) as error:
                raise ValueError(
                    f"{self._label()}: the constraint {rule!r} does not fit {name!r} of shape {shape}: {error}"
                ) from error
            if not isinstance(result, Tensor) or result.shape != shape:
                found = f"shape {result.shape}" if isinstance(result, Tensor) else f"a {type(result).__name__}"
                raise ValueError(
                    f"{self._label()}: the constraint of {name!r} gives {found}: it must return the new values, a "
                    f"tensor of shape {shape}"
                )
        _set(module, "_constraints", own, rule)
        return self

    def apply_constraints(self) -> None:
        """Changes the parameters that have constraints, here and in modules below, in place.

        ``fit`` does it after every step of the optimizer; a loop of one's own does so itself.

        >>> import steep as st
        >>> layer = st.nn.Linear(2, 1, weight_constraint="non_negative")
        >>> _ = st.nn.init.constant_(layer.weight, -1.0)
        >>> layer.apply_constraints()
        >>> layer.weight.tolist()
        [[0.0, 0.0]]
        """
        if Rules.used:
            for parameter, rule in self._rules("_constraints"):
                with no_grad():
                    parameter.copy_(rule(parameter))

    def _rules(self, kind: str) -> Iterator[tuple[Parameter, Callable[[Tensor], Tensor]]]:
        """The parameters here and below that have a rule, with it."""
        modules: list[Ruled] = [self]  # at every step of training: four times as fast as self.modules()
        known = {id(self)}
        for module in modules:
            for value in module.__dict__.values():
                if isinstance(value, Ruled) and id(value) not in known:
                    known.add(id(value))
                    modules.append(value)
            for name, rule in (module.__dict__.get(kind) or {}).items():
                parameter = module.__dict__.get(name)
                if isinstance(parameter, Parameter):
                    yield parameter, rule

    def _owner(self, method: str, name: str) -> tuple[Ruled, str]:
        """The module that has the parameter ``name`` itself, and the parameter's name there."""
        owner: Any = self
        *path, own = name.split(".")
        for part in path:
            owner = vars(owner).get(part) if isinstance(owner, Ruled) else None
        if not isinstance(owner, Ruled) or not isinstance(vars(owner).get(own), Parameter):
            raise ValueError(f"{self._label()}.{method}: there is no parameter {name!r}: see named_parameters()")
        return owner, own

    def _rules_repr(self) -> str:
        """The rules as ``repr`` shows them, after a module's own options."""
        kinds = (("regularizer", self._regularizers), ("constraint", self._constraints))
        return ", ".join(f"{name}_{kind}={rule!r}" for kind, rules in kinds for name, rule in (rules or {}).items())


def _set(module: Ruled, kind: str, name: str, rule: Callable[[Tensor], Tensor] | None) -> None:
    rules = getattr(module, kind)
    if rule is None:
        if rules is not None:
            rules.pop(name, None)
        return
    if rules is None:
        rules = module.__dict__[kind] = Rules()
    rules[name] = rule
