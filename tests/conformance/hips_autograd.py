"""HIPS/autograd's own tests on steep: ``STEEP_HIPS_TESTS=FOLDER python tests/conformance/hips_autograd.py``.

FOLDER is a checkout of https://github.com/HIPS/autograd. Its tests and its checks of gradients (``test_util.py``:
numeric differences, first and second order, products with Jacobians from both sides) run as they are; beneath them
``autograd.numpy`` and ``autograd.core`` are hips_numpy.py and hips_core.py, which know steep only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hips_core
import hips_numpy
import numpy as np
import pytest
from suite import LeftOutError, Record, checkout

VARIABLE = "STEEP_HIPS_TESTS"

FILES_LEFT_OUT = {
    "test_scipy.py": "autograd.scipy",
    "test_ufunc_dispatch.py": "NumPy's dispatch by the boxes of autograd",
}
OWN = "autograd's own graphs and boxes"
DTYPES = "compares dtypes with NumPy's, steep's are objects of its own"
EXCLUDED = {
    "test_builtins.py::test_isinstance": OWN,
    "test_graphs.py::test_assignment_raises_error": "steep raises RuntimeError",
    "test_logic.py::test_nograd": "allclose is NumPy's here: no tensor",
    "test_misc.py::test_const_graph": OWN,
    "test_misc.py::test_const_graph_args": OWN,
    "test_numpy.py::test_scalar_array_box_attributes": DTYPES,
    "test_numpy.py::test_linspace": "linspace takes numbers",
    "test_numpy.py::test_astype": DTYPES,
    "test_wrappers.py::test_custom_where_dtypes": DTYPES,
    "test_wrappers.py::test_dtypes": DTYPES,
    **{
        f"test_wrappers.py::test_deprecated_{name}_wrapper": "former names of autograd's"
        for name in ("defgrad", "defvjp", "defvjp_is_zero")
    },
}

samples = {"real": 0, "complex": 0}


def reason_of(error: BaseException) -> str | None:
    """Why a test that raises this is left out."""
    if isinstance(error, LeftOutError):
        return str(error)
    if isinstance(error, AttributeError) and "'Tensor' object has no attribute" in str(error):
        return f"not in steep: Tensor.{error.name}"
    return None


class HipsRecord(Record):
    """It also leaves out the tests of whose samples all are complex numbers."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        before = dict(samples)
        yield
        if samples["complex"] > before["complex"] and samples["real"] == before["real"]:
            raise LeftOutError("complex numbers")


def left_out(reason: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        raise LeftOutError(reason)

    return call


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    sys.modules[name] = made
    return made


def install(folder: Path) -> None:
    """Makes ``autograd`` a package of steep's core and NumPy, and of the checkout's files that are built on them."""
    package = module("autograd", __path__=[str(folder / "autograd")])
    sys.modules["autograd.numpy"] = package.numpy = hips_numpy
    sys.modules["autograd.numpy.random"] = np.random
    core = {"make_vjp": hips_core.make_vjp, "make_jvp": hips_core.make_jvp, "vspace": hips_core.VSpace}
    own = {"primitive": hips_core.Primitive, "defvjp": hips_core.defvjp, "defvjp_argnum": left_out(OWN)}
    module("autograd.core", **core, **own, primitive_vjps={})
    module("autograd.extend", **core, **own)
    isbox = {"isbox": lambda x: getattr(x, "requires_grad", False)}
    module("autograd.tracer", **own, **isbox, Node=object, trace=left_out(OWN))
    kinds = {"tuple": tuple, "list": list, "dict": dict, "isinstance": isinstance, "type": type}
    module("autograd.builtins", **kinds)
    import autograd.differential_operators as operators

    vars(package).update({**kinds, **{name: f for name, f in vars(operators).items() if callable(f)}})
    import autograd.test_util as test_util

    theirs, inside = test_util.check_grads, False

    def check_grads(*options: Any, **keywords: Any) -> Any:
        check = theirs(*options, **keywords)

        def checked(*args: Any, **kwargs: Any) -> None:
            nonlocal inside
            first, inside = not inside, True
            complex_ones = hips_core.is_complex(args)
            samples["complex" if complex_ones else "real"] += first
            try:
                if not complex_ones:
                    check(*args, **kwargs)
            finally:
                inside = not first

        return checked

    test_util.check_grads = check_grads


def main(only: str = "") -> int:
    folder = checkout(VARIABLE, "tests")
    install(folder)
    record = HipsRecord(EXCLUDED, reason_of)
    files = sorted(path for path in (folder / "tests").glob("test_*.py") if path.name not in FILES_LEFT_OUT)
    record.run(files, only)
    code = record.report()
    for name, reason in FILES_LEFT_OUT.items():
        print(f"    excluded {name}: {reason}")
    print(f"{samples['real']} samples checked; {samples['complex']} of complex numbers left out")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
