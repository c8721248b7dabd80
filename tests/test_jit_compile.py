"""fit(jit_compile=True): steps captured as CUDA graphs, with the same bits; on the CPU nothing changes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import callbacks, nn


def classifier(**options: Any) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 12, activation="relu"), nn.Dropout(0.2), nn.Linear(12, 3))
    arguments = {"optimizer": lambda p: st.optim.Adam(p, lr=0.02), "loss": "cross_entropy", "metrics": ["accuracy"]}
    model.compile(**{**arguments, **options})
    return model


def data(rng: np.random.Generator, n: int = 53) -> tuple[Any, Any]:
    return rng.standard_normal((n, 4), np.float32), rng.integers(0, 3, n)


def trained(make: Callable[[], nn.Module], x: Any, y: Any = None, **options: Any) -> list[Any]:
    """The history, weights and the optimizer's state, as arrays."""
    st.manual_seed(1)
    model = make()
    history = model.fit(x, y, **{"batch_size": 8, "epochs": 4, "verbose": 0, **options})
    state = model.optimizer.state_dict()["state"]
    return [
        *(np.array(history[name]) for name in sorted(history)),
        *(v.detach().numpy() for v in model.state_dict().values()),
        *(np.asarray(v) for entry in state.values() for v in entry.values()),
    ]


def assert_same_training(make: Callable[[], nn.Module], x: Any, y: Any = None, **options: Any) -> None:
    expected = trained(make, x, y, **options)
    got = trained(make, x, y, jit_compile=True, **options)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


OPTIONS: dict[str, dict[str, Any]] = {
    "a smaller last batch": {},
    "validation": {"validation_split": 0.25},
    "clipped": {"gradient_clip_norm": 0.3},
    "accumulated": {"accumulate_gradients": 3},
    "accumulated and clipped": {"accumulate_gradients": 2, "gradient_clip_norm": 0.3},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16", "gradient_clip_norm": 0.5},
    "float16, accumulated": {"precision": "float16", "accumulate_gradients": 3},
    "weighted": {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}},
    "rate by epoch": {"callbacks": [callbacks.LearningRateScheduler(lambda epoch, rate: 0.05 / (1 + epoch))]},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_bits(rng: np.random.Generator, name: str) -> None:
    assert_same_training(classifier, *data(rng), **OPTIONS[name])


def test_other_models(rng: np.random.Generator) -> None:
    x, y = data(rng)
    targets = rng.standard_normal((53, 1)).astype(np.float32)
    schedule = st.optim.schedules.CosineDecay(0.1, decay_steps=20)

    def regularized() -> nn.Module:
        first = nn.Linear(4, 6, weight_regularizer="l2", weight_constraint=nn.constraints.MaxNorm(1.0))
        model = nn.Sequential(first, nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
        model.compile(st.optim.SGD(model.parameters(), lr=schedule, momentum=0.9), "mse", metrics=["mae"])
        return model

    assert_same_training(regularized, x, targets)

    class Two(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 1)

        def forward(self, x: Any) -> Any:
            return self.a(x), self.b(x)

    def several() -> nn.Module:
        model = Two()
        model.compile("adam", ["cross_entropy", "mse"], metrics=[["accuracy"], []])
        return model

    assert_same_training(several, x, (y, targets))
    yes = (targets > 0).astype(np.float32)

    def yes_no() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
        model.compile("adamw", "binary_crossentropy", metrics=["accuracy", "auc"])
        return model

    assert_same_training(yes_no, x, yes)
    for optimizer in ("rmsprop", "lamb", "nadam"):
        assert_same_training(lambda optimizer=optimizer: classifier(optimizer=optimizer), x, y, accumulate_gradients=2)


class Own(nn.Sequential):
    """Its train_step is its own."""

    calls = 0

    def train_step(self, batch: Any) -> dict[str, Any]:
        self.calls += 1
        loss = st.mse_loss(self(batch[0]), batch[1])
        self.minimize(loss)
        return {"loss": loss, "twice": loss * 2}


def own() -> Own:
    model = Own(nn.Linear(4, 1))
    model.compile(st.optim.Adam(model.parameters(), lr=0.1))
    return model


def test_a_step_of_the_users(rng: np.random.Generator) -> None:
    assert_same_training(own, rng.standard_normal((40, 4), np.float32), rng.standard_normal((40, 1), np.float32))


def test_steps_are_replayed(cuda: str, rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((20, 4), np.float32), rng.standard_normal((20, 1), np.float32)
    for by_compile in (False, True):
        model = own().to(cuda)
        model.compile(st.optim.Adam(model.parameters()), jit_compile=by_compile)
        model.fit(x, y, batch_size=8, epochs=5, verbose=0, jit_compile=None if by_compile else True)
        assert model.calls == 4  # two shapes, each as it is and captured
        model.fit(x, y, batch_size=8, epochs=5, verbose=0, jit_compile=False)
        assert model.calls == 4 + 15


def test_memory_is_free_afterwards(cuda: str, rng: np.random.Generator) -> None:
    x, y = (st.tensor(a, device=cuda) for a in data(rng))
    model = classifier().to(cuda)
    model.fit(x, y, batch_size=8, verbose=0)
    gc.collect()
    used = st.cuda.memory_allocated(cuda)
    model.fit(x, y, batch_size=8, epochs=3, verbose=0, jit_compile=True)
    model.optimizer.zero_grad()
    model.fit(x, y, batch_size=8, verbose=0)
    gc.collect()
    assert st.cuda.memory_allocated(cuda) == used


def test_frozen_layers_and_modes_are_noticed(rng: np.random.Generator) -> None:
    x, y = data(rng)

    def freeze(epoch: int, logs: Any) -> None:
        model = models[-1]
        model[0].requires_grad_(epoch != 1)
        model[1].train(epoch != 2)

    models: list[Any] = []

    def make() -> nn.Module:
        models.append(classifier())
        return models[-1]

    assert_same_training(make, x, y, callbacks=[callbacks.LambdaCallback(on_epoch_begin=freeze)])


def test_what_cannot_be_captured(cuda: str, rng: np.random.Generator) -> None:
    x, y = data(rng)
    model: Any = own().to(cuda)
    with pytest.raises(ValueError, match=r"captures Own\.train_step as a whole, .* not with Adam in float16"):
        model.fit(x, y, verbose=0, jit_compile=True, precision="float16")
    model.compile("rmsprop")
    with pytest.raises(ValueError, match=r"SGD, Adam and AdamW in float32 or bfloat16, not with RMSprop in float32"):
        model.fit(x, y, verbose=0, jit_compile=True)
    model = classifier().to(cuda)
    model.compile("adam", lambda output, target: st.cross_entropy(output, target) * output.sum().item())
    with pytest.raises(st.cuda.CudaError, match="item: a step that is captured"):
        model.fit(x, y, batch_size=8, verbose=0, jit_compile=True)
    model.compile("adam", "cross_entropy")
    y[3] = 3
    with pytest.raises(ValueError, match=r"cross_entropy: (labels range from 0 to 3|.*had the label 3)"):
        model.fit(x, y, batch_size=8, verbose=0, epochs=3, jit_compile=True)


def test_on_the_cpu_all_is_as_before(rng: np.random.Generator) -> None:
    x, y = data(rng)
    with st.device("cpu"):
        assert_same_training(lambda: classifier(optimizer="rmsprop"), x, y)
        model = classifier()
        for value in ("auto", 1, None):
            with pytest.raises(TypeError, match=r"compile: jit_compile=.* must be True or False"):
                model.compile("adam", "mse", jit_compile=value)
        with pytest.raises(TypeError, match=r"fit: jit_compile='yes' must be True or False"):
            model.fit(x, y, jit_compile="yes")
