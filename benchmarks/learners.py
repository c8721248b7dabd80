"""The same training by each library: ``python learners.py NAME DATA EPOCHS`` prints what it took, as a line of JSON.

A program of its own, which programs.py starts in a fresh process: importing the library is part of what is measured.
The network is 64-64-10 with ReLU, trained by Adam (learning rate 0.001) in batches of 32, and validated after every
epoch. One epoch, which also compiles what is to be compiled, comes before those that are timed.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 32
Array = np.ndarray[Any, Any]
Learner = tuple[Callable[[int], Any], Callable[[], float]]  # trains for some epochs; the accuracy in validation


def steep(x: Array, y: Array, x_val: Array, y_val: Array) -> Learner:
    """steep's ``fit``."""
    import steep as st

    st.manual_seed(0)
    model = st.nn.Sequential(st.nn.Linear(64, 64, activation="relu"), st.nn.Linear(64, 10))
    model.compile("adam", "cross_entropy", metrics=["accuracy"])

    def fit(epochs: int) -> None:
        model.fit(x, y, batch_size=BATCH, epochs=epochs, validation_data=(x_val, y_val), verbose=0)

    return fit, lambda: float(model.evaluate(x_val, y_val)["accuracy"])


def pytorch(x: Array, y: Array, x_val: Array, y_val: Array) -> Learner:
    """A loop written by hand."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    inputs, labels, inputs_val, labels_val = map(torch.from_numpy, (x, y, x_val, y_val))
    cross_entropy = torch.nn.functional.cross_entropy

    def accuracy() -> float:
        with torch.no_grad():
            logits = model(inputs_val)
            cross_entropy(logits, labels_val).item()
            return (logits.argmax(1) == labels_val).float().mean().item()

    def fit(epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(BATCH):
                optimizer.zero_grad()
                cross_entropy(model(inputs[rows]), labels[rows]).backward()
                optimizer.step()
            accuracy()

    return fit, accuracy


def keras(x: Array, y: Array, x_val: Array, y_val: Array) -> Learner:
    """Keras' ``fit``; the environment has chosen the backend."""
    import keras

    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((64,)), dense(64, activation="relu"), dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])

    def fit(epochs: int) -> None:
        model.fit(x, y, batch_size=BATCH, epochs=epochs, validation_data=(x_val, y_val), verbose=0)

    return fit, lambda: float(model.evaluate(x_val, y_val, verbose=0, return_dict=True)["accuracy"])


def lightning(x: Array, y: Array, x_val: Array, y_val: Array) -> Learner:
    """Lightning's ``Trainer``, without what it writes to the screen and to files."""
    import lightning
    import torch

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

        def training_step(self, batch: Any, index: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            logits = self.net(batch[0])
            self.log("loss", torch.nn.functional.cross_entropy(logits, batch[1]))
            self.log("accuracy", (logits.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.001)

    def loader(x: Array, y: Array, **arguments: Any) -> Any:
        return torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), **arguments
        )

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    module, train = Module(), loader(x, y, batch_size=BATCH, shuffle=True)
    validation = loader(x_val, y_val, batch_size=len(x_val))
    found: dict[str, Any] = {}

    def fit(epochs: int) -> None:
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, train, validation)
        found.update(trainer.callback_metrics)

    return fit, lambda: float(found["accuracy"])


def scikit_learn(x: Array, y: Array, x_val: Array, y_val: Array) -> Learner:
    """MLPClassifier, epoch by epoch: its ``fit`` holds validation data out itself."""
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((64,), alpha=0, batch_size=BATCH, random_state=0)

    def fit(epochs: int) -> None:
        for _ in range(epochs):
            model.partial_fit(x, y, classes=np.arange(10))
            model.score(x_val, y_val)

    return fit, lambda: float(model.score(x_val, y_val))


LEARNERS: dict[str, Callable[[Array, Array, Array, Array], Learner]] = {
    "steep": steep,
    "PyTorch": pytorch,
    "Keras on PyTorch": keras,
    "Keras on JAX": keras,
    "Lightning": lightning,
    "scikit-learn": scikit_learn,
}


def main(name: str, path: str, epochs: int) -> None:
    """Trains, and prints the seconds until the first epoch was done and of a step after it, and the accuracy.

    The import of the library counts; that of NumPy, which all need, doesn't.
    """
    warnings.simplefilter("ignore")
    with np.load(path) as data:
        arrays = [data[key] for key in ("x", "y", "x_val", "y_val")]
    start = time.perf_counter()
    fit, accuracy = LEARNERS[name](*arrays)
    fit(1)
    ready = time.perf_counter()
    fit(epochs)
    seconds = time.perf_counter() - ready
    steps = epochs * math.ceil(len(arrays[0]) / BATCH)
    print(json.dumps({"ready": ready - start, "step": seconds / steps, "accuracy": accuracy()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
