"""The tape: recording operations, walking back over them, and checking the result.

An operation runs its kernel and calls ``record(out, vjp, inputs, saved)``, which hangs a node on ``out`` if an input
needs a gradient. ``vjp(g, *saved)`` is the vector-Jacobian product: given the gradient ``g`` of the output it returns
one gradient (or None) for each input. It is written with steep's own operations, so that it can be recorded too
(``create_graph=True``). A node knows its inputs' nodes, not their values: only what the vjp reads is kept alive.
"""

from .._core import record
from .anomaly import AnomalyError, detect_anomaly, set_detect_anomaly
from .checkpointing import checkpoint
from .checks import GradcheckError, gradcheck, gradgradcheck
from .function import Function
from .functional import hessian, jacobian, jvp, value_and_grad, vjp
from .hooks import Handle
from .tape import backward, enable_grad, grad, is_grad_enabled, no_grad

__all__ = [
    "AnomalyError",
    "Function",
    "GradcheckError",
    "Handle",
    "backward",
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "no_grad",
    "record",
    "set_detect_anomaly",
    "value_and_grad",
    "vjp",
]
