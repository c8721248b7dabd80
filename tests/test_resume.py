"""Runs that go on where they were: BackupAndRestore, and the state of the loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import callbacks, nn
from steep.callbacks import BackupAndRestore, Callback, LambdaCallback, Timer

KILLS = os.environ.get("STEEP_KILLS", "4")  # for each of six cases; more by this variable
X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


@pytest.mark.host(reason="processes that are forked and killed")
def test_killed_at_random_moments_and_started_again_it_ends_with_the_same_bits() -> None:
    script = Path(__file__).with_name("kill_and_resume.py")
    result = subprocess.run([sys.executable, str(script), "--kills", KILLS], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("equal after") == 6, result.stdout


class Interrupt(Callback):
    """Raises after so many batches, once."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def model_of(width: int = 8, optimizer: str = "adam") -> nn.Module:
    st.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, width, activation="relu"), nn.Dropout(0.3), nn.Linear(width, 1))
    model.compile(optimizer, "mse", ["mae"])
    return model


def run(folder: Path, *more: Callback, **options: Any) -> tuple[nn.Module, callbacks.History]:
    model = model_of()
    backup = BackupAndRestore(folder, save_freq=options.pop("save_freq", 1))
    settings = {"epochs": 3, "batch_size": 12, "verbose": 0, "validation_split": 0.2, **options}
    return model, model.fit(X, Y, callbacks=[backup, *more], **settings)


def bits(state: Any) -> Any:
    """The state with the bytes of its tensors."""
    if isinstance(state, st.Tensor):
        return state.numpy().tobytes()
    if isinstance(state, dict):
        return {name: bits(value) for name, value in state.items()}
    return state


def all_of(model: nn.Module) -> Any:
    return bits(model.state_dict()), bits(model.optimizer.state_dict()), st.random.get_state(), model.stop_training


def same(a: tuple[nn.Module, Any], b: tuple[nn.Module, Any]) -> bool:
    return all_of(a[0]) == all_of(b[0]) and a[1] == b[1]


@pytest.mark.parametrize("options", [{}, {"accumulate_gradients": 3}, {"shuffle": False}, {"steps_per_epoch": 3}])
def test_interrupted_after_any_batch(tmp_path: Path, options: Any) -> None:
    expected = run(tmp_path / "whole", **options)
    batches = 3 * options.get("steps_per_epoch", 4)
    assert len(expected[1]["loss"]) == 3
    for after in range(1, batches + 1):
        folder = tmp_path / str(after)
        with pytest.raises(KeyboardInterrupt):
            run(folder, Interrupt(after), **options)
        assert same(run(folder, **options), expected), after
        assert not [*folder.iterdir()]


def test_interrupted_in_every_epoch_of_one_run(tmp_path: Path) -> None:
    expected = run(tmp_path / "whole")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, Interrupt(3))
    assert same(run(tmp_path), expected)


def test_more_epochs(tmp_path: Path) -> None:
    model = model_of()
    first = BackupAndRestore(tmp_path / "run.safetensors", delete_checkpoint=False)
    model.fit(X, Y, epochs=2, callbacks=first, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]
    again = model_of()
    history = again.fit(X, Y, epochs=5, callbacks=BackupAndRestore(tmp_path / "run.safetensors"), verbose=0)
    whole = model_of()
    assert whole.fit(X, Y, epochs=5, verbose=0) == history
    assert history.epoch == [0, 1, 2, 3, 4]
    assert not [*tmp_path.iterdir()]


def test_it_says_where_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupt(6))
    run(tmp_path, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"BackupAndRestore: going on in epoch 2, after batch 1, from {tmp_path / 'backup.safetensors'}"
    assert [line[:9] for line in lines[1:]] == ["epoch 2/3", "epoch 3/3"]


def test_early_stopping_that_had_stopped_stays_stopped(tmp_path: Path) -> None:
    def fit(end: Callable[..., None] | None) -> tuple[nn.Module, callbacks.EarlyStopping]:
        model, stopping = model_of(), callbacks.EarlyStopping("loss", patience=1, min_delta=10.0)
        killed = LambdaCallback(on_train_end=end)
        model.fit(X, Y, epochs=9, callbacks=[killed, stopping, BackupAndRestore(tmp_path)], verbose=0)
        return model, stopping

    def killed(logs: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(killed)
    model, stopping = fit(None)
    expected, _ = fit(None)
    assert stopping.stopped_epoch == 1
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("save_freq", [1, "epoch"])
def test_out_of_time(tmp_path: Path, save_freq: Any) -> None:
    """The run is cut off in its second epoch, and goes on there as if it had not been."""
    late = Timer(duration=1e9)

    def hurry(batch: int, logs: Any) -> None:
        if late.batches == 6:
            late.duration = 1e-9

    expected = run(tmp_path / "whole", Timer(duration=1e9))
    _, history = run(tmp_path, LambdaCallback(on_train_batch_begin=hurry), late, save_freq=save_freq)
    assert late.out_of_time
    assert len(history["loss"]) == 2
    assert (tmp_path / "backup.safetensors").exists()
    timer = Timer(duration=1e9)
    assert same(run(tmp_path, timer), expected)
    assert timer.batches == 12
    assert len(timer.epoch_seconds) == 3
    assert not (tmp_path / "backup.safetensors").exists()


# --- what is no backup of this run ------------------------------------------------------------------------------------


def backed_up(folder: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):
        run(folder, Interrupt(6))
    return folder / "backup.safetensors"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 13}, "batch_size of the training data: here 13, in the saved run 12"),
        ({"x": X[:40], "y": Y[:40]}, "samples of the training data: here 32, in the saved run 40"),
        ({"shuffle": False}, "shuffle of the training data: here False, in the saved run True"),
        ({"validation_split": 0.0}, "samples of the training data: here 50, in the saved run 40"),
        ({"accumulate_gradients": 2}, "accumulate_gradients: here 2, in the saved run 1"),
        ({"optimizer": "sgd"}, "optimizer: here SGD, in the saved run Adam"),
        ({"width": 9}, r"loaded nothing:\n *0.weight has shape \(8, 3\), the model needs \(9, 3\)"),
        (
            {"more": [callbacks.TerminateOnNaN(), callbacks.EarlyStopping()]},
            "callbacks History, and here are EarlyStopping, History",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_of_another_run(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = backed_up(tmp_path)
    content = path.read_bytes()
    model = model_of(options.pop("width", 8), options.pop("optimizer", "adam"))
    before = all_of(model)
    members = [BackupAndRestore(tmp_path), *options.pop("more", [])]
    settings = {"x": X, "y": Y, "epochs": 3, "batch_size": 12, "verbose": 0, "validation_split": 0.2, **options}
    with pytest.raises(ValueError, match=f"is not a backup of this run: .*{message}(.|\n)*Delete the file to begin"):
        model.fit(callbacks=members, **settings)
    assert all_of(model) == before
    assert path.read_bytes() == content
    path.unlink()
    model.fit(callbacks=members, **settings)


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "weights", "list"])
def test_damaged_or_foreign_files(tmp_path: Path, damage: str) -> None:
    path = backed_up(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "weights":
        model_of().save_weights(path)
    elif damage == "list":
        st.save([1, 2], path)
    else:
        content[-5] ^= 1
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "bit": content}[damage])
    model = model_of()
    before = all_of(model)
    with pytest.raises(ValueError, match=r"backup\.safetensors is not a backup of this run: .*Delete the file"):
        model.fit(X, Y, callbacks=BackupAndRestore(tmp_path), verbose=0)
    assert all_of(model) == before


def test_a_state_that_fails_to_load_changes_nothing(tmp_path: Path) -> None:
    """All is checked that can be; what is broken beyond that is taken back."""
    path = backed_up(tmp_path)
    state = st.load(path)
    state["callbacks"][0]["state"] = {}
    st.save(state, path)
    model = model_of()
    before = all_of(model)
    with pytest.raises(ValueError, match="is not a backup of this run: "):
        run_on(model, tmp_path)
    assert all_of(model) == before


def run_on(model: nn.Module, folder: Path) -> None:
    model.fit(X, Y, epochs=3, batch_size=12, verbose=0, validation_split=0.2, callbacks=BackupAndRestore(folder))


def test_an_interrupt_between_accumulated_batches_leaves_the_next_fit_alone() -> None:
    model = model_of(optimizer="sgd")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=10, accumulate_gradients=3, callbacks=Interrupt(2), verbose=0)
    other = model_of(optimizer="sgd")
    other.load_state_dict(model.state_dict())
    for each in (model, other):
        st.manual_seed(0)
        each.fit(X, Y, batch_size=25, verbose=0)
    assert bits(model.state_dict()) == bits(other.state_dict())


def test_options() -> None:
    for wrong in ("batch", 0, -1, 1.5):
        with pytest.raises(ValueError, match=r"save_freq=.* must be 'epoch' or a positive number of batches"):
            BackupAndRestore("backup", save_freq=wrong)
    assert BackupAndRestore("folder").path == os.path.join("folder", "backup.safetensors")
    assert BackupAndRestore(Path("a.safetensors")).path == "a.safetensors"
