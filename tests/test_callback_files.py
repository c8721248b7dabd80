"""Callbacks that write files."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from fits import X, Y, fit, model_of, planted, weights
from steep.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    ExponentialMovingAverage,
    History,
    LambdaCallback,
    LearningRateFinder,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
    Timer,
)

# --- files ------------------------------------------------------------------------------------------------------------


def test_checkpoints_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of()
    path = str(tmp_path / "a" / "b" / "{epoch:02d}-{val_loss:.2f}.safetensors")
    checkpoint = ModelCheckpoint(path, verbose=1)
    fit([planted([0.5, 0.25]), checkpoint], model, epochs=2)
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["01-0.50.safetensors", "02-0.25.safetensors"]
    assert checkpoint.path == path.format(epoch=2, val_loss=0.25)
    assert capsys.readouterr().out.splitlines()[1] == f"ModelCheckpoint: saved {checkpoint.path}"
    other = model_of(seed=1)
    other.load_weights(checkpoint.path)
    assert np.array_equal(weights(other), weights(model))
    with pytest.raises(ValueError, match="names 'val_auc', which is not there: there are loss, mae, epoch"):
        fit(ModelCheckpoint(tmp_path / "{val_auc}"))


@pytest.mark.parametrize(("threshold", "saved"), [(None, [0, 1, 4]), (0.35, [1, 4])])
def test_checkpoints_of_the_best(tmp_path: Path, threshold: float | None, saved: list[int]) -> None:
    path = str(tmp_path / "{epoch}")
    checkpoint = ModelCheckpoint(path, save_best_only=True, initial_value_threshold=threshold)
    fit([planted([0.4, 0.3, 0.3, math.nan, 0.2]), checkpoint], epochs=5)
    assert sorted(int(p.name) - 1 for p in tmp_path.iterdir()) == saved
    assert checkpoint.best == 0.2


def test_checkpoints_of_batches_with_the_optimizer(tmp_path: Path) -> None:
    model = model_of("adam")
    path = tmp_path / "{epoch}-{batch}"
    fit(ModelCheckpoint(path, "loss", save_weights_only=False, save_freq=3), model, epochs=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1-3", "2-2"]
    state = st.load(tmp_path / "2-2")
    assert state["epoch"] == 1
    assert state["optimizer"]["state"][0]["step"] == 6
    model.load_state_dict(state["model"])
    model.optimizer.load_state_dict(state["optimizer"])
    with pytest.raises(ValueError, match="save_freq='never' must be"):
        ModelCheckpoint(path, save_freq="never")


def test_fast_dev_run_writes_nothing(tmp_path: Path) -> None:
    members = [ModelCheckpoint(tmp_path / "a"), CSVLogger(tmp_path / "b"), BackupAndRestore(tmp_path / "c")]
    fit(members, fast_dev_run=True)
    assert not [*tmp_path.iterdir()]


def rows(path: Path, separator: str = ",") -> list[list[str]]:
    with path.open(newline="") as file:
        return [*csv.reader(file, delimiter=separator)]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    model = model_of()
    history = fit(CSVLogger(path), model, epochs=4, validation_data=(X, Y), validation_freq=2)
    table = rows(path)
    assert table[0] == ["epoch", "loss", "mae", "val_loss", "val_mae"]
    assert [int(row[0]) for row in table[1:]] == [0, 1, 2, 3]
    assert [float(row[1]) for row in table[1:]] == history["loss"]
    assert [row[3] for row in table[1::2]] == ["NA", "NA"]
    assert [float(row[3]) for row in table[2::2]] == history["val_loss"]
    fit(CSVLogger(path, append=True), model, epochs=1, validation_data=(X, Y))
    assert rows(path)[:5] == table
    assert rows(path)[5][0] == "4"
    fit(CSVLogger(path, separator="\t"), model)
    assert [row[0] for row in rows(path, "\t")] == ["epoch", "5"]
    with pytest.raises(ValueError, match="separator=', ' must be one character"):
        CSVLogger(path, ", ")


def test_csv_rows_are_there_at_once_and_quoted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines: list[int] = []
    count = LambdaCallback(on_epoch_begin=lambda epoch, logs: lines.append(len(rows(path)) if epoch else 0))
    fit([planted(["a,b", 'c"d', "e\nf"], "no, te"), CSVLogger(path), count], epochs=3)
    assert lines == [0, 2, 3]
    assert rows(path)[0] == ["epoch", "loss", "mae", "no, te"]
    assert [row[3] for row in rows(path)[1:]] == ["a,b", 'c"d', "e\nf"]


@pytest.mark.parametrize("gone", [False, True])
def test_csv_drops_rows_that_are_done_again(tmp_path: Path, gone: bool) -> None:
    """Killed after the row was written, and before the backup."""
    path = tmp_path / "log.csv"

    def script(kill: bool) -> None:
        def end(epoch: int, logs: Any) -> None:
            if kill and epoch == 2:
                raise KeyboardInterrupt

        fit([CSVLogger(path), LambdaCallback(on_epoch_end=end), BackupAndRestore(tmp_path / "backup")], epochs=4)

    with pytest.raises(KeyboardInterrupt):
        script(True)
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2"]
    if gone:
        path.unlink()
    script(False)
    assert [row[0] for row in rows(path)] == (["epoch", "2", "3"] if gone else ["epoch", "0", "1", "2", "3"])


def test_tensorboard(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model = model_of()
    board = TensorBoard(tmp_path, histogram_freq=2, update_freq=2)
    history = fit(board, model, epochs=3, validation_data=(X, Y))
    train, validation = (
        reader.EventAccumulator(str(tmp_path / part), {"histograms": 0}).Reload() for part in ("train", "validation")
    )
    losses = train.Scalars("epoch_loss")
    assert [event.step for event in losses] == [0, 1, 2]
    np.testing.assert_allclose([event.value for event in losses], history["loss"], rtol=1e-6)
    np.testing.assert_allclose(
        [event.value for event in validation.Scalars("epoch_loss")], history["val_loss"], rtol=1e-6
    )
    assert [event.value for event in train.Scalars("epoch_learning_rate")] == pytest.approx([0.01] * 3)
    assert [event.step for event in train.Scalars("batch_loss")] == [2, 4, 6, 8, 10, 12]
    histograms = train.Histograms("weight/histogram")
    assert [event.step for event in histograms] == [0, 2]
    value = histograms[1].histogram_value
    assert (value.num, sum(value.bucket)) == (3, 3)
    assert value.max == pytest.approx(float(model.weight.max()))
    with pytest.raises(ValueError, match="update_freq=0 must be"):
        TensorBoard(update_freq=0)


def test_without_tensorboard_or_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        fit(TensorBoard(tmp_path))
    with pytest.raises(ImportError, match="pip install matplotlib"):
        LearningRateFinder().plot()
    assert not [*tmp_path.iterdir()]


def test_every_state_survives_a_file(tmp_path: Path) -> None:
    model = model_of()
    kinds: list[Callback] = [
        EarlyStopping("loss"),
        ReduceLROnPlateau("loss"),
        ExponentialMovingAverage(),
        CSVLogger(tmp_path / "a.csv"),
        ModelCheckpoint(tmp_path / "b"),
        Timer(),
        History(),
        TensorBoard(tmp_path / "c"),
    ]
    pytest.importorskip("tensorboard")
    fit(kinds, model, epochs=3)
    for callback in kinds:
        state = callback.state_dict()
        st.save(state, tmp_path / "state")
        callback.load_state_dict(st.load(tmp_path / "state"))
        state.pop("epoch_began", None)
        again = callback.state_dict()
        again.pop("epoch_began", None)
        assert repr(again) == repr(state), callback


def test_csv_appends_below_a_line_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,mae\n0,0.5,0.25")
    fit(CSVLogger(path, append=True), epochs=1)
    head, first, second = rows(path)
    assert (head, first) == (["epoch", "loss", "mae"], ["0", "0.5", "0.25"])
    assert len(second) == 3


@pytest.mark.parametrize("content", [b"\n", b"x,y\n1,2\n", b"\xff\xfe\0"])
def test_csv_does_not_append_to_what_is_no_log(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"CSVLogger: .*other (begins with|is no table)"):
        fit(CSVLogger(path, append=True))
    assert path.read_bytes() == content


@pytest.mark.parametrize("separator", ["", ",,", "\n", '"'])
def test_csv_separators(separator: str) -> None:
    with pytest.raises(ValueError, match="separator="):
        CSVLogger("log.csv", separator)


@pytest.mark.parametrize("pattern", ["{", "{0}", "{}", "{epoch:q}", "{loss.x}", "{loss[0]}", "{loss!z}"])
def test_checkpoint_patterns_that_give_no_path(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ModelCheckpoint: .* does not give a path"):
        fit(ModelCheckpoint(tmp_path / pattern))
    assert not [*tmp_path.iterdir()]


def test_a_number_of_numpy_between_checkpoints(tmp_path: Path) -> None:
    fit(ModelCheckpoint(tmp_path / "{batch}", save_freq=int(np.int64(2))), epochs=1)
    expected = sorted(path.name for path in tmp_path.iterdir())
    fit(ModelCheckpoint(tmp_path / "{batch}", save_freq=np.int64(2)), epochs=1)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == expected == ["2", "4"]


@pytest.mark.parametrize(("part", "value"), [("layout", 5), ("epoch", "x"), ("epoch", -3), ("stop_training", [])])
def test_backups_made_by_hand(part: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    fit(BackupAndRestore(path, delete_checkpoint=False), epochs=1)
    st.save({**st.load(path), part: value}, path)
    model = model_of()
    before = weights(model)
    with pytest.raises(ValueError, match="is not a backup of this run: its layout, epoch"):
        fit(BackupAndRestore(path), model)
    np.testing.assert_array_equal(weights(model), before)
