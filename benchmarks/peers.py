"""The libraries in the race. Each says how its arrays are made and how it runs a function forward and backward.

Inputs of floating-point numbers come first and are differentiated; labels, which are integers, are not.
"""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

import steep as st

__all__ = ["ERRORS", "UNTAPED", "Array", "Call", "Library", "installed", "limited_blas", "multiply_ten_times"]

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]

# What a library may raise for something that it can't do. KeyboardInterrupt and SystemExit pass.
ERRORS = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class UnavailableError(RuntimeError):
    """A library is installed, but cannot take part; the message says why."""


UNTAPED = frozenset({"NumPy"})  # peers that keep no tape, and so have less to do


def multiply_ten_times(a: Any, b: Any) -> Any:
    """a · b¹⁰, one multiplication after the other."""
    for _ in range(10):
        a = a * b
    return a


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "matmul": operator.matmul,
    "matmul TN": lambda a, b: a.T @ b,
    "matmul NT": lambda a, b: a @ b.T,
    "row sum": lambda x: x.sum(1),
    "column sum": lambda x: x.sum(0),
    "10 multiplications": multiply_ten_times,
}


class Library:
    """steep or a peer. The four ways to run a function give a call without arguments, or None where there is none."""

    name: str  # as people write it
    module: ModuleType
    rest = 0.002  # seconds until its threads sleep after work on several of them
    quick = True  # whether it takes part in a quick run
    operations = True  # whether it takes part in the rows for single operations
    functions: Mapping[str, Callable[..., Any]] = MappingProxyType({})  # what the module doesn't have by that name

    def function(self, name: str) -> Callable[..., Any] | None:
        """The function that a user of this library would write for an operation; None if it has none of that name."""
        return OPERATORS.get(name) or self.functions.get(name) or getattr(self.module, name, None)

    @property
    def version(self) -> str:
        """The library's version."""
        return str(self.module.__version__)

    def threads(self) -> str:
        """How many threads it uses, as far as one can ask."""
        return "its own choice"

    def set_threads(self, n: int) -> bool:
        """Sets the number of threads, and returns whether that was possible."""
        return False

    def array(self, x: Array) -> Any:
        """x as this library's array."""
        return x

    def numpy(self, y: Any) -> Array:
        """A result as a NumPy array."""
        return np.asarray(y)

    def forward(self, name: str, inputs: Sequence[Array]) -> Call | None:
        """The function, not recorded."""
        function = self.function(name)
        if function is None:
            return None
        arrays = [self.array(x) for x in inputs]
        call = partial(function, *arrays)
        call.__dict__["held"] = arrays  # NumPy computes in the place of an operand that only the arguments hold
        return call

    def taped(self, name: str, inputs: Sequence[Array]) -> Call | None:
        """The function of inputs that require gradients: recorded, without the backward pass."""
        return None

    def bfloat16(self, name: str, inputs: Sequence[Array]) -> Call | None:
        """The function of inputs in that dtype."""
        return None

    def backward(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        """The gradients with respect to all inputs but labels, the forward pass excluded."""
        return None

    def both(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        """The same gradients, with the forward pass."""
        return None


def _differentiable(x: Array) -> bool:
    return x.dtype.kind == "f"


class Steep(Library):
    name = "steep"
    module = st
    functions = MappingProxyType(
        {
            "cumulative sum": partial(st.cumulative_sum, axis=1),
            "column cumulative sum": partial(st.cumulative_sum, axis=0),
            "column sort": partial(st.sort, axis=0),
            "top 10": lambda x: st.topk(x, 10).values,
            "scatter_add": lambda x, index: st.scatter_add(st.zeros((len(x), 1000)), 1, index, x),
            "layer_norm": lambda x, weight, bias: st.layer_norm(x, 1000, weight, bias),
            "rms_norm": lambda x, weight: st.rms_norm(x, 1000, weight, 1e-5),
            "batch_norm": lambda x, weight, bias: st.batch_norm(x, weight=weight, bias=bias, training=True),
            "einsum bij,bkj->bik": partial(st.einsum, "bij,bkj->bik"),
        }
    )

    def threads(self) -> str:
        return str(st.get_num_threads())

    def set_threads(self, n: int) -> bool:
        st.set_num_threads(n)
        return True

    def array(self, x: Array) -> Any:
        return st.tensor(x)

    def numpy(self, y: Any) -> Array:
        return np.asarray((y.astype(st.float32) if y.dtype == st.bfloat16 else y).detach().numpy())

    def taped(self, name: str, inputs: Sequence[Array]) -> Call | None:
        function = self.function(name)
        return partial(function, *map(self._leaf, inputs)) if function else None

    def bfloat16(self, name: str, inputs: Sequence[Array]) -> Call | None:
        function = self.function(name)
        return partial(function, *(st.tensor(x).astype(st.bfloat16) for x in inputs)) if function else None

    def backward(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        function = self.function(name)
        if function is None:
            return None
        xs = list(map(self._leaf, inputs))
        wanted = [x for x in xs if x.requires_grad]
        return partial(st.grad, function(*xs), wanted, self.array(gradient), retain_graph=True)

    def both(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        function = self.function(name)
        if function is None:
            return None
        xs, g = list(map(self._leaf, inputs)), self.array(gradient)
        return lambda: st.grad(function(*xs), xs, g)

    def _leaf(self, x: Array) -> Any:
        return st.tensor(x, requires_grad=_differentiable(x))


def _numpy_softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _numpy_log_softmax(x: Array) -> Array:
    shifted = x - x.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _numpy_cross_entropy(x: Array, labels: Array) -> Any:
    return -_numpy_log_softmax(x)[np.arange(len(x)), labels].mean()


def _numpy_top_10(x: Array) -> Array:
    return -np.sort(np.partition(-x, 10, 1)[:, :10], 1)


class NumPy(Library):
    name = "NumPy"
    module = np
    rest = 0.12
    functions = MappingProxyType(
        {
            "relu": lambda x: np.maximum(x, 0),
            "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
            "softmax": _numpy_softmax,
            "log_softmax": _numpy_log_softmax,
            "cross_entropy": _numpy_cross_entropy,
            "cumulative sum": partial(np.cumsum, axis=1),
            "column cumulative sum": partial(np.cumsum, axis=0),
            "column sort": partial(np.sort, axis=0),
            "top 10": _numpy_top_10,
            "take_along_axis": partial(np.take_along_axis, axis=1),
            "einsum bij,bkj->bik": lambda a, b: np.einsum("bij,bkj->bik", a, b, optimize=True),
        }
    )

    def threads(self) -> str:
        blas = _blas()
        return str(blas[0]["num_threads"]) if blas else super().threads()

    def set_threads(self, n: int) -> bool:
        return bool(_blas())  # limited_blas does it


class Torch(Library):
    name = "PyTorch"
    rest = 0.02

    def __init__(self) -> None:
        self.module = importlib.import_module("torch")
        torch: Any = self.module
        functional = torch.nn.functional
        self.functions = {
            "cumulative sum": partial(torch.cumsum, dim=1),
            "column cumulative sum": partial(torch.cumsum, dim=0),
            "sort": lambda x: torch.sort(x).values,
            "column sort": lambda x: torch.sort(x, 0).values,
            "top 10": lambda x: torch.topk(x, 10).values,
            "take_along_axis": lambda x, index: torch.gather(x, 1, index),
            "scatter_add": lambda x, index: torch.zeros((len(x), 1000)).scatter_add(1, index, x),
            "layer_norm": lambda x, weight, bias: functional.layer_norm(x, (1000,), weight, bias),
            "rms_norm": lambda x, weight: functional.rms_norm(x, (1000,), weight, 1e-5),
            "batch_norm": lambda x, weight, bias: functional.batch_norm(x, None, None, weight, bias, True),
            "einsum bij,bkj->bik": partial(torch.einsum, "bij,bkj->bik"),
            "softmax": partial(self.module.softmax, dim=-1),
            "log_softmax": partial(self.module.log_softmax, dim=-1),
            "cross_entropy": functional.cross_entropy,
            "log_sigmoid": functional.logsigmoid,
            **{name: getattr(functional, name) for name in ("gelu", "silu", "softplus")},
        }

    def threads(self) -> str:
        return str(self.module.get_num_threads())

    def set_threads(self, n: int) -> bool:
        self.module.set_num_threads(n)
        return True

    def array(self, x: Array) -> Any:
        return self.module.from_numpy(x.copy())

    def numpy(self, y: Any) -> Array:
        return np.asarray((y.float() if y.dtype == self.module.bfloat16 else y).detach().numpy())

    def bfloat16(self, name: str, inputs: Sequence[Array]) -> Call | None:
        function = self.function(name)
        return partial(function, *(self.array(x).bfloat16() for x in inputs)) if function else None

    def taped(self, name: str, inputs: Sequence[Array]) -> Call | None:
        function = self.function(name)
        return partial(function, *map(self._leaf, inputs)) if function else None

    def backward(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        function = self.function(name)
        if function is None:
            return None
        xs = list(map(self._leaf, inputs))
        wanted = [x for x in xs if x.requires_grad]
        return partial(self.module.autograd.grad, function(*xs), wanted, self.array(gradient), retain_graph=True)

    def both(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        function = self.function(name)
        if function is None:
            return None
        xs, g, grad = list(map(self._leaf, inputs)), self.array(gradient), self.module.autograd.grad
        return lambda: grad(function(*xs), xs, g)

    def _leaf(self, x: Array) -> Any:
        return self.array(x).requires_grad_(_differentiable(x))


class TorchFused(Torch):
    """Its Adam as one kernel."""

    name = "PyTorch fused"
    operations = False


class TorchCompiled(Torch):
    """Forward, loss and backward compiled, and the fused Adam. Compiling takes long, and a C++ compiler."""

    name = "torch.compile"
    quick = False
    operations = False

    def __init__(self) -> None:
        super().__init__()
        if not any(map(shutil.which, [os.environ.get("CXX", ""), "g++", "clang++"])):
            raise UnavailableError("it needs a C++ compiler, and there is none")
        config: Any = importlib.import_module("torch._inductor.config")
        config.compile_threads = 1  # no pool of processes, which would stay and take part in the race


class Jax(Library):
    name = "JAX"
    rest = 0.02

    def __init__(self) -> None:
        self.module = importlib.import_module("jax")
        self.module.config.update("jax_platforms", "cpu")
        self.functions = {
            "gelu": partial(self.module.nn.gelu, approximate=False),
            "cross_entropy": self._cross_entropy,
            "neg": self.module.numpy.negative,
            "erf": self.module.scipy.special.erf,
            "erfc": self.module.scipy.special.erfc,
        }

    def function(self, name: str) -> Callable[..., Any] | None:
        return super().function(name) or getattr(self.module.numpy, name, None) or getattr(self.module.nn, name, None)

    def array(self, x: Array) -> Any:
        return self.module.numpy.asarray(x)

    def ready(self, call: Call) -> Call:
        """JAX returns before the work is done."""
        return lambda: self.module.block_until_ready(call())

    def forward(self, name: str, inputs: Sequence[Array]) -> Call | None:
        function = self.function(name)
        return self.ready(partial(self.module.jit(function), *map(self.array, inputs))) if function else None

    def backward(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        function = self.function(name)
        if function is None:
            return None
        _, pull_back = self.module.vjp(*self._floats_only(function, inputs))
        return self.ready(partial(self.module.jit(lambda pull, g: pull(g)), pull_back, self.array(gradient)))

    def both(self, name: str, inputs: Sequence[Array], gradient: Array) -> Call | None:
        function = self.function(name)
        if function is None:
            return None
        run, *xs = self._floats_only(function, inputs)
        step = self.module.jit(lambda xs, g: self.module.vjp(run, *xs)[1](g))
        return self.ready(partial(step, xs, self.array(gradient)))

    def _floats_only(self, function: Callable[..., Any], inputs: Sequence[Array]) -> list[Any]:
        """The function of its floating-point inputs, and these."""
        labels = [self.array(x) for x in inputs if not _differentiable(x)]
        return [lambda *xs: function(*xs, *labels), *(self.array(x) for x in inputs if _differentiable(x))]

    def _cross_entropy(self, x: Any, labels: Any) -> Any:
        jax: Any = self.module
        return -jax.numpy.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()


def installed(quick: bool = False) -> tuple[list[Library], dict[str, str]]:
    """steep and the peers that can be imported; and why the others can't, by name."""
    libraries: list[Library] = []
    absent: dict[str, str] = {}
    for cls in (Steep, NumPy, Torch, TorchFused, TorchCompiled, Jax):
        if quick and not cls.quick:
            continue
        try:
            libraries.append(cls())
        except ModuleNotFoundError:
            if cls.operations:  # otherwise it is a variant, and the library itself is absent too
                absent[cls.name] = "not installed"
        except UnavailableError as error:
            absent[cls.name] = str(error)
        except ERRORS as error:
            absent[cls.name] = f"its import failed: {type(error).__name__}: {error}"
    return libraries, absent


def _blas() -> list[dict[str, Any]]:
    """The BLAS libraries in this process, NumPy's first; empty without threadpoolctl."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return sorted(found, key=lambda info: "numpy" not in info["filepath"])


@contextlib.contextmanager
def limited_blas(n: int | None) -> Iterator[None]:
    """Limits the threads of NumPy's BLAS, which has no function of its own for it."""
    if n is None or not _blas():
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=n, user_api="blas"):
        yield
