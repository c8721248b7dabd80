"""The rows for whole training steps: forward, cross-entropy, backward, and Adam, on a network with ReLU between layers.

Every library starts from the same weights. The weights hardly move while a row is timed (the learning rate is tiny):
otherwise the network would learn its one batch by heart, gradients would underflow, and some libraries slow down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import steep as st

from .cases import TOLERANCE
from .peers import Array, Call, Library
from .timing import time_limit

__all__ = ["TrainingCase", "steep_step", "torch_step", "training_cases"]

Layers = list[tuple[Array, Array]]  # weight (in, out) and bias (out,) of each
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
CHECK_RATE = 0.001  # with 0.01 the wide network's loss jumps to 60, and float32 can't follow float64
COMPILING = 120  # seconds that a library may take over its first steps


@dataclass(frozen=True)
class TrainingCase:
    """A step of one network on one batch."""

    data: str
    sizes: tuple[int, ...]
    batch: int
    quick: bool = True
    group: str = "train"
    table = "training steps"
    work = None
    tolerance = TOLERANCE

    @property
    def name(self) -> str:
        return f"train {self.data + ' ' if self.data else ''}{'-'.join(map(str, self.sizes))} batch {self.batch}"

    def problem(self) -> tuple[Layers, Array, Array]:
        """The first weights, and a batch."""
        rng = np.random.default_rng(0)
        layers = []
        for i, o in zip(self.sizes, self.sizes[1:], strict=False):
            layers.append((rng.normal(0, i**-0.5, (i, o)).astype(np.float32), np.zeros(o, np.float32)))
        x = rng.normal(size=(self.batch, self.sizes[0])).astype(np.float32)
        return layers, x, rng.integers(0, self.sizes[-1], self.batch)

    def expected(self) -> Sequence[Array]:
        layers, x, labels = self.problem()
        wide = [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
        return _losses(_numpy_step(None, wide, x.astype(np.float64), labels, CHECK_RATE))

    def check(self, library: Library) -> Sequence[Array] | None:
        with time_limit(COMPILING):
            return _losses(STEPS[library.name](library, *self.problem(), CHECK_RATE))

    def prepare(self, library: Library) -> Call:
        step = STEPS[library.name](library, *self.problem(), 1e-7)
        with time_limit(COMPILING):
            step()
        return step

    def rest(self, library: Library) -> float:
        return library.rest


def _losses(step: Call) -> Sequence[Array]:
    return [np.array([float(step()) for _ in range(5)])]


def training_cases() -> Iterator[TrainingCase]:
    """All rows for training steps."""
    yield TrainingCase("iris", (4, 16, 3), 16)
    yield TrainingCase("digits", (64, 64, 10), 32)
    yield TrainingCase("", (784, 128, 10), 64)
    yield TrainingCase("", (784, 512, 256, 10), 64, quick=False)
    yield TrainingCase("", (1024, 1024, 1024, 1024, 10), 256, quick=False)


def steep_step(layers: Layers, x: Array, labels: Array, rate: float) -> Call:
    """steep's step, on the default device."""
    model = st.nn.Sequential()
    for i, (w, b) in enumerate(layers):
        linear = st.nn.Linear(w.shape[0], w.shape[1], activation="relu" if i < len(layers) - 1 else None)
        linear.load_state_dict({"weight": w.T.copy(), "bias": b})
        model.append(linear)
    optimizer = st.optim.Adam(model.parameters(), lr=rate)
    inputs, targets = st.tensor(x), st.tensor(labels)

    def step() -> Any:
        optimizer.zero_grad()
        loss = st.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


def _numpy_step(library: Library | None, layers: Layers, x: Array, labels: Array, rate: float) -> Call:
    """Written out by hand; in float64 it is what the others are checked against."""
    parameters = [p for layer in layers for p in layer]
    means, squares = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    rows, time = np.arange(len(labels)), 0

    def step() -> Any:
        nonlocal time
        time += 1
        values = [x]
        for w, b in layers:
            values.append(values[-1] @ w + b)
            if len(values) <= len(layers):
                np.maximum(values[-1], 0, out=values[-1])
        logits = values.pop()
        logits -= logits.max(1, keepdims=True)
        e = np.exp(logits)
        total = e.sum(1, keepdims=True)
        loss = (np.log(total[:, 0]) - logits[rows, labels]).mean()
        g = e / total
        g[rows, labels] -= 1
        g /= len(labels)
        gradients: list[Array] = []
        for i in reversed(range(len(layers))):
            gradients[:0] = values[i].T @ g, g.sum(0)
            if i:
                g = (g @ layers[i][0].T) * (values[i] > 0)
        size = rate / (1 - BETA1**time)
        correction = (1 - BETA2**time) ** -0.5
        for p, d, m, v in zip(parameters, gradients, means, squares, strict=True):
            m *= BETA1
            m += (1 - BETA1) * d
            v *= BETA2
            v += (1 - BETA2) * d * d
            p -= size * m / (np.sqrt(v) * correction + EPS)
        return loss

    return step


def torch_step(
    torch: Any,
    layers: Layers,
    x: Array,
    labels: Array,
    rate: float,
    device: str = "cpu",
    *,
    fused: bool = True,
    compiled: bool = False,
) -> Call:
    """PyTorch's step, with Adam as one kernel or not, and with torch.compile or without."""
    modules = []
    for w, b in layers:
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        modules += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=fused)
    inputs, targets = torch.from_numpy(x).to(device), torch.from_numpy(labels).to(device)

    def loss_of(inputs: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(inputs), targets)

    if compiled:
        torch._dynamo.reset()  # it stops compiling a function that it has compiled eight times
        loss_of = torch.compile(loss_of)

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of(inputs, targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _jax_step(library: Library, layers: Layers, x: Array, labels: Array, rate: float) -> Call:
    jax: Any = library.module
    jnp = jax.numpy

    def loss_of(parameters: Any, x: Any, labels: Any) -> Any:
        for w, b in parameters[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = parameters[-1]
        log_p = jax.nn.log_softmax(x @ w + b)
        return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()

    def update(state: Any, x: Any, labels: Any) -> Any:
        parameters, means, squares, time = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, labels)
        time = time + 1
        tree = jax.tree_util.tree_map
        means = tree(lambda m, g: BETA1 * m + (1 - BETA1) * g, means, gradients)
        squares = tree(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, squares, gradients)
        size, correction = rate / (1 - BETA1**time), (1 - BETA2**time) ** -0.5
        parameters = tree(lambda p, m, v: p - size * m / (jnp.sqrt(v) * correction + EPS), parameters, means, squares)
        return (parameters, means, squares, time), loss

    run = jax.jit(update, donate_argnums=0)
    zeros = partial(jax.tree_util.tree_map, jnp.zeros_like)
    parameters = [(jnp.array(w), jnp.array(b)) for w, b in layers]
    state: Any = (parameters, zeros(parameters), zeros(parameters), jnp.zeros((), jnp.float32))
    inputs, targets = jnp.asarray(x), jnp.asarray(labels)

    def step() -> Any:
        nonlocal state
        state, loss = run(state, inputs, targets)
        return jax.block_until_ready((state, loss))[1]

    return step


STEPS: dict[str, Callable[..., Call]] = {
    "steep": lambda library, *problem: steep_step(*problem),
    "NumPy": _numpy_step,
    "PyTorch": lambda library, *problem: torch_step(library.module, *problem, fused=False),
    "PyTorch fused": lambda library, *problem: torch_step(library.module, *problem),
    "torch.compile": lambda library, *problem: torch_step(library.module, *problem, compiled=True),
    "JAX": _jax_step,
}
