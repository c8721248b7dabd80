"""einops' own tests with steep as a backend: ``STEEP_EINOPS_TESTS=FOLDER python tests/conformance/einops_suite.py``.

FOLDER is a checkout of https://github.com/arogozhnikov/einops. NumPy is the reference, and PyTorch for gradients where
it is installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from suite import Record, checkout

import steep as st

VARIABLE = "STEEP_EINOPS_TESTS"

OF_TORCH = "about PyTorch's compiler and scripts"
SYMBOLS = "about symbolic frameworks"
EXCLUDED = {
    "test_examples.py::test_pytorch_yolo_fragment": "about PyTorch's methods",
    "test_layers.py::test_torch_layer": OF_TORCH,
    "test_layers.py::test_torch_layers_scripting": OF_TORCH,
    "test_layers.py::test_keras_layer": "about Keras",
    "test_layers.py::test_flax_layers": "about Flax",
    "test_ops.py::test_torch_compile_with_dynamic_shape": OF_TORCH,
    "test_other.py::test_torch_compile_for_functions": OF_TORCH,
    "test_other.py::test_torch_compile_for_layers": OF_TORCH,
    "test_other.py::test_einops_threading": OF_TORCH,
    "test_ops.py::test_reduction_stress_imperatives": "of up to 10 axes: steep has 8 at most, to which it runs below",
    "test_other.py::test_parse_shape_symbolic": SYMBOLS,
    "test_other.py::test_parse_shape_symbolic_ellipsis": SYMBOLS,
}


class EinopsRecord(Record):
    """It also counts the tests in which steep's tensors took part: the others are about einops' parser alone."""

    def __init__(self) -> None:
        super().__init__(EXCLUDED, lambda error: None)
        self.with_steep = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        from einops_backend import SteepBackend

        before = SteepBackend.tensors_made
        yield
        self.with_steep += SteepBackend.tensors_made > before


def make_known() -> None:
    """einops' tests choose among the backends of einops: they are given steep's beside NumPy's and PyTorch's."""
    import einops.tests
    from einops._backends import NumpyBackend, TorchBackend
    from einops_backend import SteepBackend

    references = [NumpyBackend, *([TorchBackend] if importlib.util.find_spec("torch") else [])]

    def collect_test_backends(symbolic: bool = False, layers: bool = False) -> list[Any]:
        return [] if symbolic else [backend() for backend in (*([] if layers else references), SteepBackend)]

    einops.tests.collect_test_backends = collect_test_backends
    einops.tests.is_backend_tested = lambda backend: backend in ("numpy", "steep")
    os.environ[einops.tests.ENVVAR_NAME] = "numpy,steep"
    import einops.tests.test_einsum
    import einops.tests.test_ops

    einops.tests.test_einsum.valid_backends_functional.append("steep")
    einops.tests.test_ops.check_op_against_numpy = check_op_against_numpy


def check_op_against_numpy(
    backend: Any,
    numpy_input: Any,
    pattern: str,
    axes_lengths: Any,
    reduction: str = "rearrange",
    is_symbolic: bool = False,
) -> None:
    """einops' own computes the same and drops the comparison's outcome."""
    import einops

    def run(x: Any) -> Any:
        if reduction == "rearrange":
            return einops.rearrange(x, pattern, **axes_lengths)
        return einops.reduce(x, pattern, reduction, **axes_lengths)

    y = backend.to_numpy(run(backend.from_numpy(numpy_input)))
    np.testing.assert_allclose(y, run(numpy_input), rtol=1e-12)


# --- what einops' tests do for frameworks that they name, and steep's place in it -------------------------------------


@pytest.mark.parametrize("reduction", ["min", "max", "sum", "mean", "prod", "rearrange"])
@pytest.mark.parametrize("n_axes", range(9))
def test_reduction_stress_of_steep(n_axes: int, reduction: str) -> None:
    from einops_backend import SteepBackend

    rng = np.random.default_rng(n_axes)
    shape, permutation = rng.integers(2, 4, n_axes), rng.permutation(n_axes)
    skipped = 0 if reduction == "rearrange" else rng.integers(n_axes + 1)
    left, right = (" ".join(f"x{i}" for i in axes) for axes in (range(n_axes), permutation[skipped:]))
    x = np.arange(1, 1 + np.prod(shape), dtype="float64").reshape(shape)
    x = np.asarray(x / x.mean()) if reduction == "prod" else x  # to avoid overflows
    check_op_against_numpy(SteepBackend(), x, f"{left}->{right}", {}, reduction)


def test_layer_of_steep() -> None:
    from einops.tests.test_einsum import test_layer_cases
    from einops_backend import EinMix

    for layer_of, in_shape, out_shape in test_layer_cases:
        layer = layer_of(EinMix)
        y = layer(st.random.uniform(in_shape))
        assert y.shape == out_shape
        y.sum().backward()
        assert layer.weight.grad.shape == layer.weight.shape


def test_reduction_with_callable_of_steep() -> None:
    from einops import reduce
    from einops.tests.test_ops import equivalent_reduction_patterns

    x = np.linspace(0, 1, 2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    for patterns in equivalent_reduction_patterns:
        expected = reduce(np.exp(x), patterns[0], "sum")
        for pattern in patterns:
            y = reduce(st.tensor(x), pattern, st.logsumexp)
            np.testing.assert_allclose(y.numpy(), np.log(expected), rtol=1e-12)


def main(only: str = "") -> int:
    folder = checkout(VARIABLE, "einops/tests")
    sys.path.insert(0, str(folder))
    make_known()
    record = EinopsRecord()
    record.run([folder / "einops" / "tests", Path(__file__)], only)
    code = record.report()
    print(f"{record.with_steep} of them with steep's tensors")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
