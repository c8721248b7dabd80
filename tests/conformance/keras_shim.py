"""What Keras' tests import, over steep: modules ``keras…`` that have what they use, and say what is not in steep."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from absl.testing import parameterized
from suite import LeftOutError

import steep as st

EPSILON = 1e-7  # keras.config.epsilon()
SERIALIZATION = "Keras' serialization of objects"
OWN = "Keras' own base class and its bookkeeping"


# --- modules ----------------------------------------------------------------------------------------------------------


class Missing:
    """In the place of what is not there: whoever uses it is left out."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise LeftOutError(f"not in steep: {self._name}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise LeftOutError(f"not in steep: {self._name}")


class Names(ModuleType):
    """A module of Keras; ``find`` makes what it has not been given."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []
        self.find: Callable[[str], Any] = lambda wanted: None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = self.find(name)
        part = self.__name__.removeprefix("keras").removeprefix(".src").strip(".").partition(".")[0]
        return Missing(f"{part}.{name}".strip(".")) if found is None else found


class Finder(MetaPathFinder, Loader):
    """Every module of Keras that is imported is one of ``Names``."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.partition(".")[0] == "keras" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Names(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def module(name: str, **contents: Any) -> Any:
    made = importlib.import_module(f"keras.src.{name}" if name else "keras.src")
    vars(made).update(contents)
    return made


# --- tensors and variables --------------------------------------------------------------------------------------------


class Variable:
    """Keras' variable: a parameter of steep's."""

    def __init__(self, value: Any, dtype: Any = None, name: str = "variable", **options: Any) -> None:
        self.value = st.nn.Parameter(to_tensor(value, dtype or "float32").copy())
        self.name = name

    def numpy(self) -> Any:
        return self.value.detach().numpy()

    def assign(self, value: Any) -> None:
        with st.no_grad():
            self.value.copy_(to_tensor(value))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return np.asarray(self.numpy(), *args, **kwargs)

    def __float__(self) -> float:
        return float(self.value)

    def __add__(self, other: Any) -> st.Tensor:
        return self.value.detach() + other

    def __mul__(self, other: Any) -> st.Tensor:
        return self.value.detach() * other

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape


def to_tensor(x: Any, dtype: Any = None, **options: Any) -> st.Tensor:
    x = x.value.detach() if isinstance(x, Variable) else x
    return st.asarray(x if isinstance(x, st.Tensor) else np.asarray(x), dtype=dtype or kind_of(x))


def kind_of(x: Any) -> Any:
    """Python's floats are float32, as with Keras; what has a dtype keeps it."""
    if hasattr(x, "dtype"):
        return None
    return "float32" if np.asarray(x).dtype == "float64" else None


def to_numpy(x: Any) -> np.ndarray[Any, Any]:
    if isinstance(x, st.Tensor):
        return (x.detach().float() if x.dtype is st.bfloat16 else x.detach()).numpy()
    return np.asarray(x)


def divide_no_nan(a: Any, b: Any) -> st.Tensor:
    return st.where(b == 0, 0.0, a / st.where(b == 0, 1.0, b)).astype(a.dtype)


OPS: dict[str, Any] = {
    "array": to_tensor,
    "convert_to_tensor": to_tensor,
    "cast": lambda x, dtype: to_tensor(x).astype(dtype),
    "shape": lambda x: tuple(x.shape),
    "arange": lambda *args, dtype=None: to_tensor(np.arange(*args), dtype or "float32"),
    "name_scope": lambda name: nullcontext(),
    "divide_no_nan": divide_no_nan,
    "transpose": lambda x, axes=None: st.permute_dims(x, axes or tuple(reversed(range(x.ndim)))),
    "one_hot": lambda x, classes, dtype="float32": st.one_hot(to_tensor(x).long(), classes).astype(dtype),
}
BACKEND: dict[str, Any] = {
    "Variable": Variable,
    # Of Keras' backends PyTorch is the one that does what steep does, classes along any axis for example: its branches
    # of the tests run.
    "backend": lambda: "torch",
    "convert_to_tensor": to_tensor,
    "convert_to_numpy": to_numpy,
    "epsilon": lambda: EPSILON,
    "floatx": lambda: "float32",
    "get_keras_mask": lambda x: None,
    "is_tensor": lambda x: isinstance(x, st.Tensor),
    "name_scope": lambda name: nullcontext(),
    "shape": lambda x: tuple(x.shape),
    "standardize_dtype": lambda dtype: st.dtypes.as_dtype(dtype).name,
    "SUPPORTS_SPARSE_TENSORS": False,
}


# --- the tests' base class --------------------------------------------------------------------------------------------


class TestCase(parameterized.TestCase):
    """Of Keras' own the assertions that say how values are compared."""

    def assertAllClose(self, actual: Any, desired: Any, atol: float = 1e-6, rtol: float = 1e-6, **others: Any) -> None:
        np.testing.assert_allclose(to_numpy(actual), to_numpy(desired), atol=atol, rtol=rtol)

    def assertNotAllClose(self, actual: Any, desired: Any, atol: float = 1e-6, rtol: float = 1e-6) -> None:
        assert not np.allclose(to_numpy(actual), to_numpy(desired), atol=atol, rtol=rtol)

    def assertAlmostEqual(self, actual: Any, desired: Any, decimal: int = 3, **others: Any) -> None:
        np.testing.assert_almost_equal(to_numpy(actual), to_numpy(desired), decimal=decimal)

    def assertAllEqual(self, actual: Any, desired: Any) -> None:
        np.testing.assert_array_equal(to_numpy(actual), to_numpy(desired))

    def assertDType(self, x: Any, dtype: str) -> None:
        assert x.dtype.name == dtype

    def assertRaisesRegex(self, error: Any, regex: str, *args: Any, **kwargs: Any) -> Any:
        """What an error says is each library's own affair."""
        return self.assertRaises(error, *args, **kwargs)  # noqa: PT027

    def run_class_serialization_test(self, instance: Any, *args: Any, **kwargs: Any) -> None:
        raise LeftOutError(SERIALIZATION)


# --- what is in steep under a name of Keras' --------------------------------------------------------------------------


def built(name: str, kind: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """``kind(*args, **options)``; where it has no such options the test is left out."""
    options = {key: value for key, value in options.items() if key not in ("dtype", "name")}
    try:
        inspect.signature(kind).bind(*args, **options)
    except TypeError as error:
        raise LeftOutError(f"steep's {name}: {error}") from None
    return kind(*args, **options)


def r2_score(class_aggregation: Any = "uniform_average", num_regressors: int = 0, **options: Any) -> dict[str, Any]:
    """Keras' arguments of R2Score as steep's."""
    if num_regressors:
        raise LeftOutError("not in steep: R2Score adjusted for the number of regressors")
    names = {"variance_weighted_average": "variance_weighted", None: "raw_values"}
    return {"multioutput": names.get(class_aggregation, class_aggregation), **options}


TRANSLATED: dict[str, Callable[..., dict[str, Any]]] = {"R2Score": r2_score}


def class_of(package: str, name: str) -> Any:
    """The class of that name, if steep has the package and the class."""
    if importlib.util.find_spec(package) is None:
        return None
    kind = getattr(importlib.import_module(package), name, None)
    return kind if inspect.isclass(kind) else None


def metric(name: str) -> Any:
    """The metric of that name, if steep has one, with Keras' order of arguments."""
    kind = class_of("steep.metrics", name)
    if kind is None:
        return None

    class Metric:
        def __init__(self, *args: Any, **options: Any) -> None:
            if name in TRANSLATED:
                args, options = (), TRANSLATED[name](*args, **options)
            self.metric = built(name, kind, args, options)
            self.name = options.get("name") or self.metric.name

        def update_state(self, y_true: Any, y_pred: Any = None, sample_weight: Any = None) -> None:
            tensors = [to_tensor(x) for x in (y_true, y_pred) if x is not None]
            if y_pred is not None:
                tensors = list(reversed(squeezed(name, *tensors)))
            weights = None if sample_weight is None else to_tensor(sample_weight)
            if weights is not None and weights.ndim > 1:
                weights = weights.reshape((-1,)) if weights.size == weights.shape[0] else None
                if weights is None:
                    raise LeftOutError("weights of elements: those of steep's metrics are of samples")
            self.metric.update_state(*tensors, sample_weight=weights)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.update_state(*args, **kwargs)
            return self.result()

        def result(self) -> Any:
            return self.metric.result()

        def reset_state(self) -> None:
            self.metric.reset_state()

        def __getattr__(self, name: str) -> Any:
            raise LeftOutError(OWN)

    return Metric


def squeezed(name: str, y_true: st.Tensor, y_pred: st.Tensor) -> tuple[st.Tensor, st.Tensor]:
    """Keras lets an axis of length 1 stand for none."""
    if y_true.ndim == y_pred.ndim and name.startswith("Sparse") and y_true.shape[-1] == 1:
        return st.squeeze(y_true, -1), y_pred
    return sys.modules["keras.src.losses.loss"].squeeze_or_expand_to_same_rank(y_true, y_pred)


SCHEDULES = {"PiecewiseConstantDecay": "PiecewiseConstant"}  # where the names differ


def schedule(name: str) -> Any:
    """The schedule of that name, if steep has one."""
    kind = class_of("steep.optim.schedules", SCHEDULES.get(name, name))
    if kind is None:
        return None

    def make(*args: Any, **options: Any) -> Any:
        made = built(name, kind, args, options)
        return lambda step: made(float(step))

    return make


def from_file(name: str, path: Path) -> ModuleType:
    """A module of the checkout, on the others here."""
    spec = importlib.util.spec_from_file_location(f"keras.src.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def install(folder: Path) -> None:
    """Makes ``keras`` a package over steep. Of the checkout's code it runs only the reduction of losses."""
    sys.meta_path.insert(0, Finder())
    source = module("")
    source.backend = module("backend", **BACKEND)
    source.ops = module("ops", **OPS)
    source.ops.find = lambda name: getattr(st, name, None)
    source.testing = module("testing", TestCase=TestCase)
    source.tree = module("tree", map_structure=lambda f, *xs: f(*xs))
    source.dtype_policies = module("dtype_policies", get=lambda dtype: Policy(dtype))
    module("api_export", keras_export=lambda names: lambda x: x)
    module("saving.keras_saveable", KerasSaveable=object)
    module("saving", register_keras_serializable=lambda **options: lambda x: x)
    module("utils.naming", auto_name=str.lower)
    loss = from_file("losses.loss", folder / "keras/src/losses/loss.py")

    import keras_losses
    import keras_optimizers

    source.losses = module("losses")
    source.losses.losses = module("losses.losses", **keras_losses.definitions(loss))
    source.optimizers = module("optimizers", **keras_optimizers.KINDS)
    for name, kind in keras_optimizers.KINDS.items():
        module(f"optimizers.{name.lower()}", **{name: kind})
    source.optimizers.schedules = module("optimizers.schedules")
    source.optimizers.schedules.find = schedule
    source.metrics = module("metrics")
    source.metrics.find = metric
    for path in (folder / "keras/src/metrics").glob("*_metrics.py"):
        part = module(f"metrics.{path.stem}")
        part.find = metric
        setattr(source.metrics, path.stem, part)


class Policy:
    def __init__(self, dtype: str) -> None:
        self.compute_dtype = dtype
