"""set_float32_matmul_precision, and products of 16-bit elements. What is measured here is in docs/numerics.md."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import steep as st
from matmul_errors import DATA, PRECISIONS, error, operands, precision


@pytest.fixture(autouse=True)
def highest() -> Iterator[None]:
    """Every test begins and ends with the default."""
    assert st.get_float32_matmul_precision() == "highest"
    yield
    st.set_float32_matmul_precision("highest")


@pytest.fixture
def tensor_cores(cuda: str) -> str:
    """A CUDA device that has them, and that computes float32 on them faster than without."""
    capability = st.cuda.get_device_properties(cuda)
    if (capability.major, capability.minor) not in ((8, 0), (9, 0), (10, 0)):
        pytest.skip("the device computes float32 as fast without tensor cores")
    return cuda


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_names() -> None:
    for name in PRECISIONS:
        st.set_float32_matmul_precision(name)
        assert st.get_float32_matmul_precision() == name


@pytest.mark.parametrize("wrong", ["", "low", "HIGH", "tf32", None, 2, ["high"]])
def test_wrong_names(wrong: object) -> None:
    with pytest.raises(ValueError, match="none of 'highest', 'high', 'medium'"):
        st.set_float32_matmul_precision(wrong)  # type: ignore[arg-type]
    assert st.get_float32_matmul_precision() == "highest"


def test_the_cpu_computes_the_same() -> None:
    a, b = st.tensor(random(70, 90), device="cpu"), st.tensor(random(90, 50), device="cpu")
    results = []
    for name in PRECISIONS:
        with precision(name):
            results.append((a @ b).numpy())
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("k", [16, 256, 1024])
def test_errors(tensor_cores: str, k: int, data: str) -> None:
    a, b = operands(k, data)
    errors = {}
    for name in PRECISIONS:
        with precision(name):
            errors[name] = error(a, b, device=tensor_cores)
    assert errors["high"] <= 2 * errors["highest"] <= 2e-6
    assert errors["high"] != errors["highest"]  # it is another kernel
    assert 5e-6 < errors["medium"] < 5e-4


@pytest.mark.parametrize("name", ["high", "medium"])
def test_everything_made_of_products_goes_by_it(tensor_cores: str, name: str) -> None:
    x, w, bias = random(512, 256), random(256, 256, seed=1) / 16, random(256, seed=2)  # tanh's slope isn't far from 1
    tolerance = 1e-5 if name == "high" else 2e-3

    def run() -> list[np.ndarray]:
        tensors = [st.tensor(v, device=tensor_cores, requires_grad=True) for v in (x, w, bias)]
        y = st.linear(*tensors, activation="tanh")
        z = st.einsum("ij,jk->ik", y, tensors[1])
        z.sum().backward()
        return [y.detach().numpy(), z.detach().numpy(), *(t.grad.numpy() for t in tensors if t.grad is not None)]

    exact = run()
    assert len(exact) == 5
    with precision(name):
        got = run()
    for one, other in zip(exact, got, strict=True):
        assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(one)
    assert not np.array_equal(exact[0], got[0])


def test_other_dtypes_do_not(tensor_cores: str) -> None:
    for dtype in ("float64", "float16", "bfloat16", "int32"):
        a = st.tensor(10 * random(200, 64), device=tensor_cores).astype(dtype)
        exact = (a @ a.T).astype("float64").numpy()
        with precision("medium"):
            assert np.array_equal((a @ a.T).astype("float64").numpy(), exact)


def test_infinities_and_nans(tensor_cores: str) -> None:
    a, b = random(256, 64), random(64, 256)
    a[0, 0], a[1, 1], b[2, 2] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        exact = a.astype(np.float64) @ b.astype(np.float64)
    for name in PRECISIONS:
        with precision(name):
            got = (st.tensor(a, device=tensor_cores) @ st.tensor(b, device=tensor_cores)).numpy()
        assert np.array_equal(np.isnan(got), np.isnan(exact))
        assert np.array_equal(got[np.isinf(exact)], exact[np.isinf(exact)])
        finite = np.isfinite(exact)
        assert np.allclose(got[finite], exact[finite], rtol=1e-2, atol=1e-2)


# --- 16 bits ----------------------------------------------------------------------------------------------------------

UNIT = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
VIEWS = ["straight", "transposed", "odd", "spread", "broadcast"]


def view(x: st.Tensor, how: str) -> st.Tensor:
    """x with other strides."""
    if how == "transposed":
        return x.T.contiguous().T if x.ndim == 2 else x
    if how == "odd":
        return st.concat([x, x[..., :1]], axis=-1)[..., :-1]
    if how == "spread":
        return st.repeat(x, 2, axis=-1)[..., ::2]
    return x


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("how", VIEWS)
@pytest.mark.parametrize(("m", "k", "n"), [(64, 64, 64), (33, 50, 17), (1, 100, 9), (9, 100, 1), (5, 1, 7), (1, 1, 1)])
def test_products_of_halves(dtype: str, how: str, m: int, k: int, n: int) -> None:
    a = view(st.tensor(random(m, k)).astype(dtype), how)
    b = view(st.tensor(random(k, n, seed=1)).astype(dtype), how)
    if how == "broadcast":
        a = st.broadcast_to(a[:1], (m, k))
    got = (a @ b).astype("float64").numpy()
    x, y = a.astype("float64").numpy(), b.astype("float64").numpy()
    exact, magnitude = x @ y, abs(x) @ abs(y)
    assert np.all(abs(got - exact) <= UNIT[dtype] * abs(exact) + (k + 4) * 2.0**-23 * magnitude)


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
def test_linear_layers_of_halves_are_rounded_once(cuda: str, dtype: str, activation: str | None) -> None:
    values = random(3, 20, 40), random(24, 40, seed=1), random(24, seed=2)
    x, w, bias = (st.tensor(v, device=cuda).astype(dtype) for v in values)
    got = st.linear(x, w, bias, activation=activation).astype("float64")
    wide = st.linear(*(v.astype("float64") for v in (x, w, bias)))
    exact = wide if activation is None else getattr(st, activation)(wide)
    # None of the functions is steeper than 1: what remains is one rounding, and the sums' errors.
    assert np.all(abs(got.numpy() - exact.numpy()) <= 1.01 * UNIT[dtype] * abs(exact.numpy()) + 1e-4)


@pytest.mark.parametrize("dtype", UNIT)
def test_halves_without_elements(dtype: str) -> None:
    for m, k, n in ((0, 3, 2), (3, 0, 2), (3, 2, 0)):
        product = st.zeros((m, k), dtype=dtype) @ st.zeros((k, n), dtype=dtype)
        assert product.shape == (m, n)
        assert product.dtype == getattr(st, dtype)
        assert not product.astype("float32").numpy().any()


def test_gradients_of_halves() -> None:
    a = st.tensor(random(20, 30)).astype("bfloat16").requires_grad_()
    b = st.tensor(random(30, 10, seed=1)).astype("bfloat16").requires_grad_()
    (a @ b).sum().backward()
    ones = np.ones((20, 10))
    x, y = (t.detach().astype("float64").numpy() for t in (a, b))
    assert a.grad is not None
    assert b.grad is not None
    assert np.allclose(a.grad.astype("float64").numpy(), ones @ y.T, rtol=2**-7, atol=2**-7)
    assert np.allclose(b.grad.astype("float64").numpy(), x.T @ ones, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("dtype", UNIT)
def test_halves_beyond_their_range(dtype: str) -> None:
    a = st.full((4, 32), 6e4, dtype=dtype)
    got = (a @ a.T).astype("float32").numpy()
    assert np.all(np.isinf(got) if dtype == "float16" else np.isclose(got, 32 * 6e4**2, rtol=2**-7))


WITHOUT = """
import numpy as np, steep as st
a = st.tensor(np.random.default_rng(0).standard_normal((300, 70)).astype("float32"), device="cuda")
exact = (a @ a.T).numpy()
for name in ("high", "medium"):
    st.set_float32_matmul_precision(name)
    assert np.array_equal((a @ a.T).numpy(), exact)
for dtype in ("bfloat16", "float16"):
    half = a.astype(dtype)
    wide = half.astype("float32")
    assert np.array_equal((half @ half.T).astype("float32"), (wide @ wide.T).astype(dtype).astype("float32"))
"""


@pytest.mark.skipif(not st._core.cuda.is_emulated(), reason="only an emulated device may be of any compute capability")
def test_devices_without_tensor_cores(cuda: str) -> None:
    environment = os.environ | {"STEEP_EMULATED_CAPABILITY": "75"}
    subprocess.run([sys.executable, "-c", WITHOUT], env=environment, check=True, timeout=120)
