"""Pictures: what their lines, points, cells and texts say; the files they are written to; the graph as text."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

import steep as st
from steep import plots
from steep.plots.figure import COLOURS

matplotlib.use("agg")

Array = np.ndarray[Any, Any]
HISTORY = {
    "loss": [0.9, 0.5, 0.3, 0.2],
    "accuracy": [0.5, 0.7, 0.9, 1.0],
    "val_loss": [1.0, 0.7, 0.6, 0.8],
    "val_accuracy": [0.4, 0.8, 0.7, 0.7],
}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def labels(ax: Any) -> list[str]:
    return ax.get_legend_handles_labels()[1]


# --- training curves --------------------------------------------------------------------------------------------------


def test_training_curves() -> None:
    figure = plots.training_curves(HISTORY)
    for panel, name in zip(figure.axes, ("loss", "accuracy"), strict=True):
        training, validation, best = panel.lines
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("epoch", name)
        assert training.get_xdata().tolist() == [1, 2, 3, 4]
        assert training.get_ydata().tolist() == HISTORY[name]
        assert validation.get_ydata().tolist() == HISTORY[f"val_{name}"]
        assert best.get_xdata() == [3, 3]  # where the validation loss turns
        assert labels(panel) == ["training (running mean)", "validation", "best: epoch 3"]
        assert panel.get_legend() is not None


@pytest.mark.parametrize(
    ("monitor", "history", "best"),
    [
        ("val_accuracy", HISTORY, ["best: epoch 2"]),
        (None, HISTORY, []),
        ("val_f2", HISTORY, []),
        ("val_loss", {"loss": [2.0, 1.0], "val_loss": [np.nan, 3.0]}, ["best: epoch 2"]),
        ("val_loss", {"loss": [2.0], "val_loss": [np.nan]}, []),
        ("val_loss", {"loss": [3.0, 2.0, 1.0], "val_loss": [5.0, 6.0]}, ["best: epoch 2"]),  # measured from then on
    ],
)
def test_the_best_epoch(monitor: str | None, history: dict[str, list[float]], best: list[str]) -> None:
    panel = plots.training_curves(history, ["loss"], monitor=monitor).axes[0]
    assert [text for text in labels(panel) if text.startswith("best")] == best


def test_a_history_that_goes_on_counts_its_own_epochs() -> None:
    class History(dict[str, list[float]]):
        epoch = (7, 8)  # from 0

    panel = plots.training_curves(History(loss=[2.0, 1.0], lr=[0.1, 0.01]), ["lr"]).axes[0]
    assert panel.lines[0].get_xdata().tolist() == [8, 9]
    assert labels(panel) == ["lr"]
    assert panel.get_xlim()[0] == 7.5


def test_training_curves_on_given_axes_and_what_they_refuse() -> None:
    figure, axes = plt.subplots(1, 2)
    assert plots.training_curves(HISTORY, ax=axes) is figure
    assert plots.training_curves(HISTORY, ["accuracy"], ax=axes[0]) is figure
    with pytest.raises(ValueError, match="there are 2 panels, and 1 axes to draw them on"):
        plots.training_curves(HISTORY, ax=axes[0])
    with pytest.raises(ValueError, match="'f1' is not in the history, which has loss, accuracy, val_loss"):
        plots.training_curves(HISTORY, ["f1"])
    for empty in ({}, {"loss": []}):
        with pytest.raises(ValueError, match="the history is empty"):
            plots.training_curves(empty)


def test_live_curves_in_a_script(tmp_path: Path) -> None:
    file = tmp_path / "training.png"
    beside: list[Any] = []
    live = plots.LiveCurves(file, beside=beside.append, interval=0)
    live.on_epoch_end(0, {"loss": 2.0, "val_loss": 3.0, "table": np.zeros(2)})
    first = file.read_bytes()
    assert first.startswith(b"\x89PNG")
    live._next = float("inf")  # it is not time yet
    live.on_epoch_end(1, {"loss": 1.0, "val_loss": 2.0})
    assert file.read_bytes() == first
    live.close()
    assert file.read_bytes() != first
    assert len(beside) == 2
    assert [axes.get_ylabel() for axes in beside[-1].figure.axes] == ["loss", ""]
    assert beside[-1].figure.axes[0].lines[0].get_ydata().tolist() == [2.0, 1.0]
    live.close()
    assert len(beside) == 2  # nothing new
    assert plt.get_fignums() == []
    again = plots.LiveCurves(file)
    again.load_state_dict(live.state_dict())
    again.on_epoch_end(2, {"loss": 0.5, "val_loss": 1.0})
    assert again.history == {"loss": [2.0, 1.0, 0.5], "val_loss": [3.0, 2.0, 1.0]}
    again.on_epoch_end(0, {"loss": 9.0})  # compiled anew
    assert again.history == {"loss": [9.0]}


def test_live_curves_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="this is not a notebook: say in which file to draw"):
        plots.LiveCurves()
    shown: list[tuple[str, bytes]] = []

    def display(picture: bytes, display_id: bool) -> Any:
        assert display_id
        shown.append(("new", picture))
        return SimpleNamespace(update=lambda picture: shown.append(("update", picture)))

    monkeypatch.setattr("steep.plots.curves.in_notebook", lambda: True)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(version_info=(9, 0)))  # matplotlib looks
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(Image=lambda data: data, display=display))
    live = plots.LiveCurves(interval=0)
    for epoch in range(3):
        live._next = 0
        live.on_epoch_end(epoch, {"loss": 1.0 - epoch})
    live.close()
    live._next = 0
    live.on_epoch_end(3, {"loss": 0.0})
    assert [how for how, _ in shown] == ["new", "update", "update", "new"]
    assert all(picture.startswith(b"\x89PNG") for _, picture in shown)


# --- data and models --------------------------------------------------------------------------------------------------


def regions(ax: Any) -> list[tuple[str, Array]]:
    """The filled regions: their colours and the extents of their corners."""
    filled = ax.collections[0]
    return [
        (to_hex(colour[:3]), np.concatenate([path.vertices.min(0), path.vertices.max(0)]))
        for colour, path in zip(filled.get_facecolor(), filled.get_paths(), strict=True)
        if len(path.vertices)
    ]


CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("output", "threshold"),
    [
        (lambda x: x[:, :1] - 0.5, None),  # logits
        (lambda x: 1 / (1 + np.exp(0.5 - x[:, 0])), None),  # probabilities
        (lambda x: x[:, 0], 0.5),
        (lambda x: np.stack([0.5 - x[:, 0], x[:, 0] - 0.5], 1), None),
        (lambda x: (x[:, 0] > 0.5).astype(int), None),
    ],
    ids=["logit", "probability", "threshold", "two columns", "labels"],
)
@pytest.mark.parametrize("y", [[0, 1, 0, 1], [[0.0], [1.0], [0.0], [1.0]], [[1, 0], [0, 1], [1, 0], [0, 1]]], ids=str)
def test_decision_boundary(output: Callable[[Array], Array], threshold: float | None, y: Any) -> None:
    sizes: list[int] = []

    def model(x: Array) -> Array:
        sizes.append(len(x))
        return output(x)

    ax = plots.decision_boundary(model, CORNERS, y, threshold=threshold, resolution=51, batch_size=1000)
    assert sizes == [1000, 1000, 601]
    (left, a), (right, b) = regions(ax)
    assert [left, right] == list(COLOURS[:2])
    np.testing.assert_allclose(a, [-0.08, -0.08, 0.5, 1.08], atol=0.03)
    np.testing.assert_allclose(b, [0.5, -0.08, 1.08, 1.08], atol=0.03)
    points = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if c.get_label() in ("0", "1")}
    np.testing.assert_array_equal(points["0"], CORNERS[::2])
    np.testing.assert_array_equal(points["1"], CORNERS[1::2])
    assert ax.get_xlim() == pytest.approx((-0.08, 1.08))


def test_decision_boundary_of_modules_tensors_and_other_models() -> None:
    x = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 2.0]])
    net = st.nn.Sequential(st.nn.Linear(2, 8, activation="tanh"), st.nn.Dropout(0.5), st.nn.Linear(8, 3))
    classes = net.predict(x.astype("float32")).argmax(1).numpy()
    ax = plots.decision_boundary(net, x, [0, 1, 2], names=["a", "b", "c"], axis_names=["u", "v"], resolution=20)
    assert labels(ax) == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("u", "v")
    assert {COLOURS[c] for c in classes} <= {colour for colour, _ in regions(ax)}

    kinds: list[Any] = []

    def function(rows: st.Tensor) -> st.Tensor:
        kinds.append((type(rows), rows.dtype, rows.device))
        return net.eval()(rows)

    tensor = st.tensor(x, dtype=st.float32)
    other = plots.decision_boundary(function, tensor, st.tensor([0, 1, 2]), resolution=20)
    assert kinds == [(st.Tensor, st.float32, tensor.device)]
    assert [c for c, _ in regions(other)] == [c for c, _ in regions(ax)]

    assert regions(plots.decision_boundary(st.nn.Linear(2, 2).to(st.bfloat16), x, [0, 1, 0], resolution=9))

    named = SimpleNamespace(predict=lambda rows: np.where(rows[:, 0] > 1, "yes", "no"))
    ax = plots.decision_boundary(named, x, ["no", "yes", "no"])
    assert labels(ax) == ["no", "yes"]


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((3, 3)), [0, 1, 0], {}, r"x has shape \(3, 3\): it must be \(samples, 2\)"),
        (np.zeros((3, 2)), [0, 1], {}, "both need a row for each sample"),
        ([[0.0, np.nan], [1.0, 1.0]], [0, 1], {}, "x holds NaN or infinite values"),
        (np.zeros((3, 2)), [0.1, 0.2, 0.3], {}, "y must be labels"),
        (np.zeros((3, 2)), [0, 1, 0], {"names": ["a"]}, "are 1, and there are 2 classes"),
    ],
)
def test_decision_boundary_refuses(x: Any, y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.decision_boundary(lambda rows: rows[:, 0], x, y, **options)


def test_pair_plot(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(30, 3)), np.arange(30) % 2
    figure = plots.pair_plot(x, y, ["u", "v", "w"], classes=["cat", "dog"])
    assert len(figure.axes) == 9
    for i, panel in enumerate(figure.axes):
        row, column = divmod(i, 3)
        assert panel.get_xlabel() == ("uvw"[column] if row == 2 else "")
        assert panel.get_ylabel() == ("uvw"[row] if column == 0 else "")
        if row == column:
            assert sum(bar.get_height() for bar in panel.patches) == 30
        else:
            for c, points in enumerate(panel.collections):
                np.testing.assert_array_equal(points.get_offsets(), x[y == c][:, [column, row]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog"]
    assert plots.pair_plot(x[:, :1]).legends == []
    holes = plots.pair_plot([[np.nan, np.inf], [np.nan, 1.0], [np.nan, 2.0]]).axes
    assert [sum(bar.get_height() for bar in holes[i].patches) for i in (0, 3)] == [0, 2]
    with pytest.raises(ValueError, match=r"x has shape \(30,\): it must be \(samples, features\)"):
        plots.pair_plot(x[:, 0])


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)], ids=str)
def test_regression(shape: Any) -> None:
    x, y = np.array([3.0, 1.0, 2.0]), np.array([6.0, 2.0, 4.5])
    held = np.array([0.0, 5.0]).reshape(shape), np.array([1.0, 10.0])
    shapes: list[Any] = []

    def model(rows: Array) -> Array:
        shapes.append(rows.shape[1:])
        return 2 * rows

    ax = plots.regression(model, x.reshape(shape), y.reshape(shape), validation_data=held, names=["time", "way"])
    assert labels(ax) == ["training: error 0.0833", "validation: error 0.5", "model"]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), np.stack([x, y], 1))
    line = ax.lines[0]
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (0, 5)
    np.testing.assert_allclose(line.get_ydata(), 2 * line.get_xdata())
    assert set(shapes) == {np.zeros(6).reshape(shape).shape[1:]}
    with pytest.raises(ValueError, match=r"x has shape \(3, 2\): it must be \(samples,\) or \(samples, 1\)"):
        plots.regression(model, np.zeros((3, 2)), y)


def test_regression_of_a_layer() -> None:
    layer = st.nn.Linear(1, 1)
    x = st.linspace(-1, 1, 9).reshape(9, 1)
    for model in (layer, layer.predict, lambda rows: layer(rows)):
        line = plots.regression(model, x, 2 * x).lines[0]
        w, b = layer.weight.item(), layer.bias.item()  # type: ignore[union-attr]
        np.testing.assert_allclose(line.get_ydata(), w * line.get_xdata() + b, rtol=1e-5, atol=1e-6)


# --- confusion --------------------------------------------------------------------------------------------------------


def test_confusion_matrix_has_the_counts_of_sklearn(rng: np.random.Generator) -> None:
    output, target = rng.normal(size=(200, 4)), rng.integers(0, 3, 200)  # nobody is of class 3
    counts = sklearn_confusion_matrix(target, output.argmax(1), labels=range(4))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for given in (target, np.eye(4)[target], st.tensor(target)):
        ax = plots.confusion_matrix(st.tensor(output), given, names=["a", "b", "c", "d"])
        np.testing.assert_allclose(ax.images[0].get_array(), shares)
        texts = [f"{n}\n{100 * s:.0f} %" if n else "0" for n, s in zip(counts.flat, shares.flat, strict=True)]
        assert [text.get_text() for text in ax.texts] == texts
        assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c", "d"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_confusion_matrix_of_logits_probabilities_and_words() -> None:
    for output, threshold in (([[-1.0], [2.0], [0.1]], None), ([0.2, 0.9, 0.6], None), ([0.2, 0.5, 0.5], 0.4)):
        ax = plots.confusion_matrix(output, [0.0, 1.0, 0.0], threshold=threshold)
        np.testing.assert_array_equal(ax.images[0].get_array(), [[0.5, 0.5], [0, 1]])
    ax = plots.confusion_matrix(np.array(["no", "yes"]), np.array(["no", "no"]))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["no", "yes"]
    with pytest.raises(ValueError, match=r"names=\['a'\] are 1, and there are 2 classes"):
        plots.confusion_matrix([0, 1], [0, 1], names=["a"])
    with pytest.raises(ValueError, match=r"the target must be labels.*: are the two swapped\?"):
        plots.confusion_matrix([0, 1], [[-1.0, 2.0], [0.5, 0.1]])


# --- weights ----------------------------------------------------------------------------------------------------------


def test_max_weights_on_shared_axes_are_all_in_sight() -> None:
    _, axes = plt.subplots(1, 2, sharey=True)
    for ax, largest in zip(axes, ([0.5, 1.0], [3.0, 5.0]), strict=True):
        monitor = plots.WeightMonitor()
        monitor.epoch, monitor.largest = [0, 1], {"weight": largest}
        plots.max_weights(monitor, ax=ax)
    low, high = axes[0].get_ylim()
    assert low == 0
    assert 5 < high < 6


def test_weight_monitor_and_max_weights() -> None:
    model = st.nn.Sequential(st.nn.Linear(3, 4), st.nn.Linear(4, 2))
    monitor = plots.WeightMonitor()
    monitor.set_model(model)
    with pytest.raises(ValueError, match="the monitor has seen no epoch"):
        plots.max_weights(monitor)
    for epoch in range(2):
        with st.no_grad():
            model[0].weight *= -3
        monitor.on_epoch_end(epoch, {})
    weight = model[0].weight.numpy().astype("float64")
    assert monitor.largest["0.weight"] == pytest.approx([abs(weight).max() / 3, abs(weight).max()], rel=1e-6)
    assert monitor.norm["0.weight"][1] == pytest.approx(np.linalg.norm(weight))
    ax = plots.max_weights(monitor)
    assert labels(ax) == ["0.weight", "1.weight"]
    assert ax.lines[0].get_xdata().tolist() == [1, 2]
    assert ax.lines[0].get_ydata().tolist() == monitor.largest["0.weight"]
    assert labels(plots.max_weights(monitor, ["1.bias"])) == ["1.bias"]
    with pytest.raises(ValueError, match=r"no parameter '2.bias'; there are 0.weight, 0.bias, 1.weight, 1.bias"):
        plots.max_weights(monitor, ["2.bias"])
    other = plots.WeightMonitor()
    other.load_state_dict(monitor.state_dict())
    assert (other.epoch, other.largest, other.norm) == (monitor.epoch, monitor.largest, monitor.norm)
    monitor.on_epoch_end(0, {})
    assert (monitor.epoch, len(monitor.norm["1.bias"])) == ([0], 1)
    assert other.epoch == [0, 1]


def test_weight_histograms() -> None:
    model = st.nn.Linear(50, 3)
    with st.no_grad():
        model.weight[0, 0] = float("nan")
    weight, bias = plots.weight_histograms(model, bins=7).axes
    assert weight.get_title(loc="left") == "weight (3, 50), 1 not finite"
    assert [sum(bar.get_height() for bar in panel.patches) for panel in (weight, bias)] == [149, 3]
    assert len(weight.patches) == 7
    assert bias.get_xlabel() == f"max |w| = {abs(model.bias.numpy()).max():.3g}"  # type: ignore[union-attr]
    assert len(plots.weight_histograms(st.nn.Linear(2, 2).to(st.bfloat16)).axes) == 2
    with pytest.raises(ValueError, match="ReLU has no parameters"):
        plots.weight_histograms(st.nn.ReLU())


# --- graphs -----------------------------------------------------------------------------------------------------------


def test_a_graph_as_text_and_in_graphviz_language() -> None:
    w = st.ones((2, 3), requires_grad=True)
    b = st.zeros(3, requires_grad=True)
    h = st.tanh(st.ones((4, 2)) @ w + b)
    loss = (h * h).mean() + 2 * w.sum() + b.sum()
    graph = plots.computational_graph(loss, {"w": w, 'say "b"': b})
    lines = [line.lstrip("│├└─ ") for line in repr(graph).splitlines()]
    assert lines[0] == "add ()"
    assert [line for line in lines if line.startswith("tanh")] == ["tanh (4, 3) [1]", "tanh [1]"]
    assert lines.count("w (2, 3)") == 2
    assert lines.count('say "b" (3,)') == 2
    nodes = dict(re.findall(r'^  (n\d+) \[label="((?:[^"\\]|\\.)*)"', graph.dot, re.MULTILINE))
    edges = {(nodes[a], nodes[c]) for a, c in re.findall(r"^  (n\d+) -> (n\d+)$", graph.dot, re.MULTILINE)}
    assert (r"tanh\n(4, 3)", r"multiply\n(4, 3)") in edges
    assert (r"w\n(2, 3)", r"matmul\n(4, 3)") in edges
    assert (r"say \"b\"\n(3,)", r"add\n(4, 3)") in edges
    assert {label for edge in edges for label in edge} == set(nodes.values())
    assert len(nodes) == 13  # 11 operations and 2 leaves
    assert graph.dot.count("peripheries=2") == 1


def test_graphs_of_models_leaves_and_deep_chains() -> None:
    model = st.nn.Sequential(st.nn.Linear(2, 3, activation="tanh"), st.nn.Linear(3, 1))
    assert repr(plots.computational_graph(model(st.ones((4, 2))).sum(), model)).splitlines() == [
        "sum ()",
        "└─ linear (4, 1)",
        "   ├─ linear (4, 3)",
        "   │  ├─ 0.weight (3, 2)",
        "   │  └─ 0.bias (3,)",
        "   ├─ 1.weight (1, 3)",
        "   └─ 1.bias (1,)",
    ]
    x = st.ones(2, requires_grad=True)
    assert repr(plots.computational_graph(x)) == "leaf (2,)"
    y = x
    for _ in range(3000):
        y = -y
    with pytest.raises(ValueError, match="more than limit=1000 operations"):
        plots.computational_graph(y)
    assert len(repr(plots.computational_graph(y, limit=3001)).splitlines()) == 3001
    y.sum().backward()
    assert repr(plots.computational_graph(y, limit=3001)).startswith("neg (2,)\n└─ neg (2,)")
    with pytest.raises(ValueError, match="this tensor has no graph"):
        plots.computational_graph(st.ones(2))
    with pytest.raises(TypeError, match="expected a Tensor, not a list"):
        plots.computational_graph([1.0])  # type: ignore[arg-type]


def test_pictures_of_graphs_by_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = st.ones(2, requires_grad=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    graph = plots.computational_graph(x * 2, {"x": x}, path=tmp_path / "graph.txt")
    assert (tmp_path / "graph.txt").read_text() == repr(graph) + "\n"
    assert graph._repr_svg_() is None
    with pytest.raises(RuntimeError, match="needs Graphviz' program dot: install it"):
        graph.save(tmp_path / "graph.png")
    dot = tmp_path / "dot"
    dot.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\n")
    dot.chmod(0o755)
    assert graph._repr_svg_() == f"['-Tsvg'] {graph.dot}\n"
    graph.save(tmp_path / "graph.png")
    assert (tmp_path / "graph.png").read_text() == f"['-Tpng'] {graph.dot}\n"
    graph.save(tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text() == graph.dot
    dot.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no such format')\n")
    with pytest.raises(RuntimeError, match="dot -Tsvg failed: no such format"):
        graph.render()


# --- figures and files ------------------------------------------------------------------------------------------------

DRAW: dict[str, Callable[..., Any]] = {
    "training_curves": lambda **o: plots.training_curves({"loss": [1.0, 2.0]}, **o),
    "decision_boundary": lambda **o: plots.decision_boundary(lambda x: x[:, 0], CORNERS, [0, 1, 0, 1], **o),
    "confusion_matrix": lambda **o: plots.confusion_matrix([0, 1], [0, 1], **o),
    "regression": lambda **o: plots.regression(lambda x: x, [1.0, 2.0], [1.0, 2.0], **o),
    "pair_plot": lambda **o: plots.pair_plot([[1.0], [2.0]], **o),
    "weight_histograms": lambda **o: plots.weight_histograms(st.nn.Linear(1, 1, bias=False), **o),
    "error_curve": lambda **o: st.analysis.ValidationCurve(*np.ones((2, 1, 1)), "error", "d", (1,)).plot(**o),
}


@pytest.mark.parametrize("name", DRAW)
def test_figures_and_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a window was opened"))
    assert plt.get_fignums() == []
    DRAW[name](path=tmp_path / "picture.png")
    DRAW[name](path=str(tmp_path / "picture.svg"))
    assert plt.get_fignums() == []
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "picture.svg").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"picture.png", "picture.svg"}
    DRAW[name]()
    assert len(plt.get_fignums()) == 1
    ax = Figure().add_subplot()
    drawn = DRAW[name](ax=ax)
    assert drawn is (ax.figure if isinstance(drawn, Figure) else ax)
    assert ax.has_data()


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(b"old")
    with pytest.raises(ValueError, match="xyz"):
        DRAW["regression"](path=tmp_path / "picture.xyz")
    with pytest.raises(FileNotFoundError):
        DRAW["regression"](path=tmp_path / "nowhere" / "picture.png")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="the disk is full"):
        DRAW["regression"](path=file)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("name", DRAW)
def test_without_matplotlib(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"steep\.plots needs matplotlib: pip install matplotlib"):
        DRAW[name]()


def test_confusion_of_many_classes() -> None:
    labels = np.arange(200)
    ax = plots.confusion_matrix(labels, labels)
    assert not ax.texts
    assert len(ax.get_xticks()) <= 30
    assert max(ax.figure.get_size_inches()) < 30
    ax = plots.confusion_matrix(np.array([0, 10**9]), np.array([0, 0]))  # two classes, not 10⁹
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1000000000"]
    with pytest.raises(ValueError, match="there are 1001 classes"):
        plots.confusion_matrix(np.arange(1001) - 1, np.arange(1001) - 1)
