"""Losses with all their options against PyTorch, as functions and as modules; what they refuse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from against_torch import compare
from compare import Array
from steep import nn

pytestmark = pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # PyTorch's, about kl_div by mean
HOW = ("mean", "sum", "none")
SHAPES = [(5, 4, 3), (17,), (1,), (), (0, 3)]


@pytest.fixture
def functional() -> Any:
    return pytest.importorskip("torch").nn.functional


def tensors(options: dict[str, Any], make: Callable[[Any], Any]) -> dict[str, Any]:
    """The options with their arrays as tensors."""
    return {name: make(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}


def check(name: str, functional: Any, how: str, inputs: list[Any], fixed: list[Any], second: bool = True, **o: Any):
    """Both libraries' function ``name`` of differentiable ``inputs`` and ``fixed`` ones, with options."""
    torch = pytest.importorskip("torch")
    compare(
        lambda *x: getattr(st, name)(*x, *map(st.tensor, fixed), reduction=how, **tensors(o, st.tensor)),
        lambda *x: getattr(functional, name)(*x, *map(torch.tensor, fixed), reduction=how, **tensors(o, torch.tensor)),
        inputs,
        second=second,
    )


def normal(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def uniform(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).uniform(0.05, 0.95, shape))


def signs(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], shape))


# --- values and yes/no questions --------------------------------------------------------------------------------------

ELEMENTWISE: list[tuple[str, Any, Any, list[dict[str, Any]]]] = [
    ("mse_loss", normal, normal, [{}]),
    ("l1_loss", normal, normal, [{}]),
    ("huber_loss", normal, normal, [{}, {"delta": 0.3}]),
    ("smooth_l1_loss", normal, normal, [{}, {"beta": 0.3}, {"beta": 0.0}]),
    ("kl_div", normal, uniform, [{}]),
    ("kl_div", normal, normal, [{"log_target": True}]),
    ("poisson_nll_loss", normal, lambda shape, seed: 3 * uniform(shape, seed), [{}, {"full": True}]),
    ("poisson_nll_loss", uniform, uniform, [{"log_input": False, "eps": 1e-3}]),
]
TARGETS_FIXED: list[tuple[str, Any, Any, list[dict[str, Any]]]] = [
    ("soft_margin_loss", normal, signs, [{}]),
    ("hinge_embedding_loss", normal, signs, [{}, {"margin": 0.3}]),
    ("binary_cross_entropy", uniform, uniform, [{}]),
    ("binary_cross_entropy_with_logits", normal, uniform, [{}]),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("name", "make_x", "make_t", "options"), ELEMENTWISE, ids=lambda v: v if type(v) is str else ""
)
def test_elementwise(name: str, make_x: Any, make_t: Any, options: Any, how: str, shape: Any, functional: Any) -> None:
    for o in options:
        check(name, functional, how, [make_x(shape, 1), make_t(shape, 2)], [], **o)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("name", "make_x", "make_t", "options"), TARGETS_FIXED, ids=lambda v: v if type(v) is str else ""
)
def test_elementwise_with_fixed_targets(
    name: str, make_x: Any, make_t: Any, options: Any, how: str, shape: Any, functional: Any
) -> None:
    for o in options:
        check(name, functional, how, [make_x(shape, 1)], [make_t(shape, 2)], **o)


@pytest.mark.parametrize("how", HOW)
def test_weights_of_binary_losses(how: str, functional: Any) -> None:
    shape = (5, 4, 3)
    for wide in (shape, (3,), (4, 1), (1,), ()):
        weight, more = uniform(wide, 3), np.asarray(3 * uniform(wide, 4))
        check("binary_cross_entropy", functional, how, [uniform(shape)], [uniform(shape, 2)], weight=weight)
        for o in ({"weight": weight}, {"pos_weight": more}, {"weight": weight, "pos_weight": more}):
            check("binary_cross_entropy_with_logits", functional, how, [normal(shape)], [uniform(shape, 2)], **o)


def test_numbers_as_weights_are_exact() -> None:
    x, t = st.tensor(normal((4,))), st.tensor(uniform((4,)))
    for name in ("weight", "pos_weight"):
        exact = st.binary_cross_entropy_with_logits(x, t, **{name: st.tensor(np.float64(0.1))})
        assert float(st.binary_cross_entropy_with_logits(x, t, **{name: 0.1})) == float(exact)


def test_kl_div_by_batches_and_zero_targets(functional: Any) -> None:
    for log_target in (False, True):
        inputs = [normal((5, 3)), uniform((5, 3), 2)]
        check("kl_div", functional, "batchmean", inputs, [], log_target=log_target)
    target = np.array([[0.0, 1.0], [0.5, 0.5]])
    check("kl_div", functional, "none", [normal((2, 2))], [target])


@pytest.mark.parametrize("how", HOW)
def test_gaussian_nll(how: str, functional: Any) -> None:
    torch = pytest.importorskip("torch")
    for shape, wide in (
        ((5, 4), (5, 4)),
        ((5, 4), (5,)),
        ((5, 4), (5, 1)),
        ((7,), (7,)),
        ((7,), (1,)),
        ((0, 3), (0, 3)),
    ):
        for o in ({}, {"full": True}, {"eps": 0.4}):  # which some of the variances are below
            inputs = [normal(shape), normal(shape, 2), uniform(wide, 3)]
            check("gaussian_nll_loss", functional, how, inputs, [], **o)
    x, t = st.tensor(normal((4,))), st.tensor(normal((4,), 2))
    expected = functional.gaussian_nll_loss(torch.tensor(normal((4,))), torch.tensor(normal((4,), 2)), 0.7)
    assert float(st.gaussian_nll_loss(x, t, 0.7)) == pytest.approx(float(expected), rel=1e-14)


# --- classes ----------------------------------------------------------------------------------------------------------

CLASS_SHAPES = [(7, 5), (5,), (3, 5, 2), (2, 4, 3, 2), (0, 5), (1, 2)]


def labelled(shape: tuple[int, ...], ignored: int | None = None) -> Array:
    classes = shape[1] if len(shape) > 1 else shape[0]
    labels = np.random.default_rng(5).integers(0, classes, shape[:1] + shape[2:] if len(shape) > 1 else ())
    labels = np.asarray(labels)
    if ignored is not None and labels.size > 1:
        labels.reshape(-1)[::3] = ignored
    return labels


@pytest.mark.parametrize("shape", CLASS_SHAPES)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_labels(name: str, how: str, shape: tuple[int, ...], functional: Any) -> None:
    classes = shape[1] if len(shape) > 1 else shape[0]
    smoothings = (0.0, 0.2, 1.0) if name == "cross_entropy" else (0.0,)
    for weighted, ignored, smoothing in itertools.product((False, True), (None, -100, 1), smoothings):
        o: dict[str, Any] = {"weight": uniform((classes,), 3)} if weighted else {}
        o |= {"ignore_index": ignored} if ignored is not None else {}
        o |= {"label_smoothing": smoothing} if smoothing else {}
        check(name, functional, how, [normal(shape)], [labelled(shape, ignored)], **o)


@pytest.mark.parametrize("shape", [s for s in CLASS_SHAPES if s != (0, 5)])
@pytest.mark.parametrize("how", HOW)
def test_class_probabilities(how: str, shape: tuple[int, ...], functional: Any) -> None:
    classes = shape[1] if len(shape) > 1 else shape[0]
    target = uniform(shape, 2)
    for weighted, smoothing in itertools.product((False, True), (0.0, 0.2)):
        o: dict[str, Any] = {"weight": uniform((classes,), 3)} if weighted else {}
        check("cross_entropy", functional, how, [normal(shape), target], [], label_smoothing=smoothing, **o)


@pytest.mark.parametrize("how", HOW)
def test_multi_margin(how: str, functional: Any) -> None:
    for shape in ((7, 5), (5,), (1, 2)):
        for p, margin, weighted in itertools.product((1, 2), (1.0, 0.3), (False, True)):
            o: dict[str, Any] = {"weight": uniform(shape[-1:], 3)} if weighted else {}
            label = labelled(shape)
            # PyTorch has no second derivative of it.
            check("multi_margin_loss", functional, how, [normal(shape)], [label], False, p=p, margin=margin, **o)
            x = st.tensor(normal(shape), requires_grad=True)
            assert st.autograd.gradgradcheck(lambda x, t=label, p=p: st.multi_margin_loss(x, st.tensor(t), p=p), [x])


def test_class_axis_layouts_and_integers() -> None:
    x = st.tensor(normal((3, 2, 5)))
    labels = np.random.default_rng(0).integers(0, 5, (3, 2))
    moved = x.permute_dims(0, 2, 1)
    for t in (st.tensor(labels), st.tensor(labels.astype("i4")), st.tensor(labels.T.copy()).T):
        for name in ("cross_entropy", "nll_loss"):
            for o in ({}, {"weight": st.tensor(uniform((5,)))}, {"ignore_index": 2}):
                function = getattr(st, name)
                expected = float(function(moved.copy(), t, **o))
                assert float(function(x, t, axis=-1, **o)) == pytest.approx(expected, rel=1e-14)
                assert float(function(moved, t, **o)) == pytest.approx(expected, rel=1e-14)


def test_ignored_labels_count_for_nothing() -> None:
    x = st.tensor([[1.0, 2.0], [math.nan, math.inf], [0.0, 3.0]], requires_grad=True)
    loss = st.cross_entropy(x, st.tensor([0, -100, 1]), "none", ignore_index=-100)
    assert loss.tolist()[1] == 0
    assert np.isfinite(loss.detach().numpy()).all()
    finite = st.tensor(normal((3, 2)), requires_grad=True)
    nothing = st.tensor([-1, -1, -1])
    for function in (st.cross_entropy, st.nll_loss):
        assert math.isnan(float(function(finite, nothing, ignore_index=-1)))  # a mean of none, as PyTorch's
        total = function(finite, nothing, "sum", ignore_index=-1)
        assert float(total) == 0
        assert not st.grad(total, finite)[0].numpy().any()


def test_plain_cross_entropy_stays_one_pass() -> None:
    x = st.tensor(normal((4, 3)), requires_grad=True)
    loss = st.cross_entropy(x, st.tensor([0, 1, 2, 0]))
    assert loss.grad_fn is not None
    assert loss.grad_fn.name == "cross_entropy"


# --- distances --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
def test_rankings_and_embeddings(how: str, functional: Any) -> None:
    for shape in SHAPES:
        for margin in (0.0, 0.5):
            inputs = [normal(shape), normal(shape, 2)]
            check("margin_ranking_loss", functional, how, inputs, [signs(shape, 3)], margin=margin)
    for shape in ((7, 5), (5,), (1, 1), (0, 3)):
        inputs = [normal(shape), normal(shape, 2)]
        for margin in (0.0, 0.5):
            check("cosine_embedding_loss", functional, how, inputs, [signs(shape[:-1], 3)], margin=margin)
    for shape in ((7, 5), (5,), (3, 1)):
        inputs = [normal(shape), normal(shape, 2), normal(shape, 3)]
        for p, swap, margin in itertools.product((2.0, 1.0, 3.0), (False, True), (1.0, 0.2)):
            o = {"p": p, "swap": swap, "margin": margin, "eps": 1e-4}
            check("triplet_margin_loss", functional, how, inputs, [], **o)


# --- modules ----------------------------------------------------------------------------------------------------------

MODULES: list[tuple[nn.Module, str, list[Any]]] = [
    (nn.CrossEntropyLoss(weight=[1.0, 2.0, 0.5], ignore_index=1, label_smoothing=0.1), "CrossEntropyLoss", ["x", "y"]),
    (nn.NLLLoss("sum", weight=[1.0, 2.0, 0.5], ignore_index=1), "NLLLoss", ["x", "y"]),
    (nn.MultiMarginLoss(2, 0.7, weight=[1.0, 2.0, 0.5]), "MultiMarginLoss", ["x", "y"]),
    (nn.BCELoss(weight=[1.0, 2.0, 0.5]), "BCELoss", ["p", "q"]),
    (nn.BCEWithLogitsLoss("none", weight=[1.0, 2.0, 0.5], pos_weight=[3.0, 1.0, 2.0]), "BCEWithLogitsLoss", ["x", "q"]),
    (nn.SoftMarginLoss("sum"), "SoftMarginLoss", ["x", "s"]),
    (nn.HingeEmbeddingLoss(0.5), "HingeEmbeddingLoss", ["x", "s"]),
    (nn.MSELoss(), "MSELoss", ["x", "q"]),
    (nn.L1Loss("none"), "L1Loss", ["x", "q"]),
    (nn.HuberLoss(0.5), "HuberLoss", ["x", "q"]),
    (nn.SmoothL1Loss(0.5), "SmoothL1Loss", ["x", "q"]),
    (nn.KLDivLoss("batchmean", log_target=True), "KLDivLoss", ["x", "q"]),
    (nn.PoissonNLLLoss(full=True), "PoissonNLLLoss", ["x", "q"]),
    (nn.GaussianNLLLoss(full=True, eps=0.1), "GaussianNLLLoss", ["x", "q", "p"]),
    (nn.MarginRankingLoss(0.2), "MarginRankingLoss", ["x", "q", "s"]),
    (nn.CosineEmbeddingLoss(0.2), "CosineEmbeddingLoss", ["x", "q", "s1"]),
    (nn.TripletMarginLoss(0.5, swap=True), "TripletMarginLoss", ["x", "p", "q"]),
]


@pytest.mark.parametrize(("module", "name", "inputs"), MODULES, ids=lambda v: v if isinstance(v, str) else "")
def test_module_is_pytorchs(module: Any, name: str, inputs: list[str]) -> None:
    torch = pytest.importorskip("torch")
    shape = (6, 3)
    data = {"x": normal(shape), "p": uniform(shape), "q": uniform(shape, 2), "s": signs(shape), "s1": signs((6,))}
    data["y"] = np.array([0, 1, 2, 2, 1, 0])
    options = {o: getattr(module, o) for o in (*module._options, "reduction")}
    options = {o: torch.tensor(v.numpy()).double() if isinstance(v, st.Tensor) else v for o, v in options.items()}
    theirs = getattr(torch.nn, name)(**{o: v for o, v in options.items() if v is not None})
    expected = theirs(*(torch.tensor(data[i]) for i in inputs)).numpy()
    np.testing.assert_allclose(module(*(st.tensor(data[i]) for i in inputs)).numpy(), expected, rtol=1e-6, atol=1e-12)


def test_all_of_them_are_tested() -> None:
    from steep.nn import losses
    from steep.ops import losses as functions

    assert sorted(name for _, name, _ in MODULES) == sorted(losses.__all__)
    used = {type(module).function.__name__ for module, _, _ in MODULES}
    assert used == set(functions.__all__)


def test_weights_are_buffers() -> None:
    loss = nn.CrossEntropyLoss(weight=st.tensor([1.0, 2.0]))
    assert list(loss.state_dict()) == ["weight"]
    assert loss.to(st.float64).weight.dtype is st.float64
    assert list(nn.CrossEntropyLoss().state_dict()) == []
    assert repr(loss) == "CrossEntropyLoss(weight=[1.0, 2.0], label_smoothing=0.0)"
    assert repr(nn.KLDivLoss("batchmean")) == "KLDivLoss(log_target=False, reduction='batchmean')"
    x = st.tensor(normal((3, 2)).astype("f4"))
    assert nn.CrossEntropyLoss(weight=np.array([1.0, 2.0]))(x, st.tensor([0, 1, 1])).dtype is st.float32


# --- in fit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "last"),
    [
        (nn.CrossEntropyLoss(weight=[1.0, 2.0, 0.5], label_smoothing=0.1), None),
        ("nll", nn.LogSoftmax()),
        (nn.NLLLoss(ignore_index=-1), nn.LogSoftmax()),
        (nn.MultiMarginLoss(), None),
    ],
)
def test_fit_with_labels(loss: Any, last: nn.Module | None, rng: np.random.Generator) -> None:
    y = rng.integers(0, 3, 120)
    x = rng.normal(size=(120, 4)) * 0.3 + y[:, None]
    model = nn.Sequential(nn.Linear(4, 16, activation="relu"), nn.Linear(16, 3), *([] if last is None else [last]))
    model.compile(st.optim.Adam(model.parameters(), 0.02), loss, metrics=["accuracy"])
    history = model.fit(x, y, epochs=15, verbose=0)
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["accuracy"][-1] > 0.8
    assert model.evaluate(x, y)["accuracy"] > 0.8
    one = nn.Sequential(nn.Linear(4, 1))
    with pytest.raises(ValueError, match=r"Linear '0' has one output"):
        one.compile("adam", loss)


@pytest.mark.parametrize("loss", ["smooth_l1", "poisson_nll", nn.SmoothL1Loss(0.1), nn.GaussianNLLLoss()])
def test_fit_with_values(loss: Any) -> None:
    x = np.linspace(-1, 1, 64).reshape(64, 1)
    model = nn.Linear(1, 1)
    function = (lambda output, target: loss(output, target, 0.5)) if isinstance(loss, nn.GaussianNLLLoss) else loss
    model.compile(st.optim.Adam(model.parameters(), 0.05), function)
    history = model.fit(x, np.round(np.exp(x)), epochs=30, verbose=0)
    assert history["loss"][-1] < history["loss"][0]


def test_a_soft_margin_behind_a_sigmoid_warns() -> None:
    with pytest.warns(UserWarning, match="the loss wants logits and applies sigmoid itself"):
        nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()).compile("adam", nn.SoftMarginLoss())
    model = nn.Sequential(nn.Linear(2, 1))
    model.compile("adam", nn.SoftMarginLoss(), metrics=["accuracy"])
    x = normal((40, 2))
    history = model.fit(x, np.where(x[:, :1] > 0, 1, -1), epochs=2, verbose=0)
    assert set(history) == {"loss", "accuracy"}


# --- errors -----------------------------------------------------------------------------------------------------------

X, Y = st.ones(2, 3), st.tensor([0, 2])
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: st.cross_entropy(X, st.tensor([0, 5]), ignore_index=-1),
        ValueError,
        "cross_entropy: labels range from 0 to 5",
    ),
    (lambda: st.cross_entropy(X, st.tensor([-2, -1]), ignore_index=-1), ValueError, "labels range from -2 to 0"),
    (lambda: st.nll_loss(X, st.tensor([0, -100])), ValueError, r"nll_loss: labels range from -100 to 0.*0…2"),
    (
        lambda: st.nll_loss(X, st.tensor([0, 1, 2])),
        ValueError,
        r"nll_loss: .*\(2, 3\).*axis 1.*\(2,\) \(labels\), not \(3,\)",
    ),
    (lambda: st.nll_loss(X, st.ones(2)), TypeError, r"nll_loss: labels must be integers, not float32: use .*astype"),
    (lambda: st.nll_loss(X, st.tensor([True, False]), ignore_index=-1), TypeError, "must be integers, not bool"),
    (lambda: st.nll_loss(Y, Y), TypeError, r"nll_loss: input \(log-probabilities\) must be floating-point, not int64"),
    (lambda: st.nll_loss(st.tensor(1.0), st.tensor(0)), ValueError, "nll_loss: input needs a class axis"),
    (lambda: st.nll_loss(X, Y, "avg"), ValueError, "nll_loss: reduction='avg' must be 'mean', 'sum' or 'none'"),
    (lambda: st.nll_loss(X, Y, weight=[1.0, 2.0]), ValueError, r"nll_loss: weight has shape \(2,\): it must be \(3,\)"),
    (lambda: st.cross_entropy(X, Y, weight=st.ones(2, 3)), ValueError, r"cross_entropy: weight has shape \(2, 3\)"),
    (lambda: st.cross_entropy(X, Y, "avg", ignore_index=0), ValueError, "cross_entropy: reduction='avg' must be"),
    (lambda: st.cross_entropy(X, Y, label_smoothing=1.5), ValueError, "label_smoothing=1.5 is a share"),
    (lambda: st.cross_entropy(X, X, ignore_index=0), ValueError, "ignore_index is for labels, but target holds prob"),
    (lambda: st.multi_margin_loss(X, Y, p=3), ValueError, "multi_margin_loss: .*p=3 must be 1 or 2"),
    (lambda: st.multi_margin_loss(st.ones(2, 3, 4), Y), ValueError, r"multi_margin_loss: input of shape \(2, 3, 4\)"),
    (lambda: st.multi_margin_loss(X, st.tensor([0, 3])), ValueError, "multi_margin_loss: labels range from 0 to 3"),
    (
        lambda: st.binary_cross_entropy(X, X, weight=st.ones(2)),
        ValueError,
        r"weight of shape \(2,\) does not broadcast",
    ),
    (
        lambda: st.binary_cross_entropy_with_logits(X, X, pos_weight=st.ones(4, 2, 3)),
        ValueError,
        r"with_logits: pos_weight of shape \(4, 2, 3\) does not broadcast to the input's shape \(2, 3\)",
    ),
    (
        lambda: st.soft_margin_loss(X, st.zeros(2, 3)),
        ValueError,
        r"soft_margin_loss: targets must be 1 or -1.*2 \* t - 1",
    ),
    (lambda: st.soft_margin_loss(X, Y), ValueError, r"soft_margin_loss: .*must have the shape \(2, 3\), not \(2,\)"),
    (lambda: st.hinge_embedding_loss(X, X * math.nan), ValueError, "hinge_embedding_loss: targets must be 1 or -1"),
    (lambda: st.margin_ranking_loss(X, X[0], X), ValueError, r"input1 has shape \(2, 3\), input2 \(3,\); they must be"),
    (lambda: st.margin_ranking_loss(X, X, 2 * X), ValueError, "margin_ranking_loss: targets must be 1 or -1"),
    (lambda: st.cosine_embedding_loss(X, X, X), ValueError, r"target must have the shape \(2,\), not \(2, 3\)"),
    (lambda: st.cosine_embedding_loss(1.0, 1.0, 1), ValueError, r"must have the shape \(N, D\) or \(D,\), not \(\)"),
    (lambda: st.triplet_margin_loss(X, X, X[:1]), ValueError, r"anchor has shape \(2, 3\), negative \(1, 3\)"),
    (lambda: st.triplet_margin_loss(X, X, X, margin=0), ValueError, "triplet_margin_loss: margin=0 must be greater"),
    (lambda: st.triplet_margin_loss(1.0, 1.0, 1.0), ValueError, "inputs must be vectors"),
    (lambda: st.smooth_l1_loss(X, X, beta=-1), ValueError, "smooth_l1_loss: beta=-1 must not be negative"),
    (lambda: st.smooth_l1_loss(X, X[:, :1]), ValueError, r"smooth_l1_loss: input has shape \(2, 3\), target \(2, 1\)"),
    (lambda: st.kl_div(1.0, 0.5, "batchmean"), ValueError, "kl_div: reduction='batchmean' needs a first axis"),
    (lambda: st.kl_div(X, X, "avg"), ValueError, "kl_div: reduction='avg' must be"),
    (lambda: st.poisson_nll_loss(Y, Y), TypeError, "poisson_nll_loss: input must be floating-point, not int64"),
    (lambda: st.gaussian_nll_loss(X, X, -X), ValueError, "variances must not be negative, but the smallest is -1"),
    (lambda: st.gaussian_nll_loss(X, X, st.ones(4)), ValueError, r"gaussian_nll_loss: var of shape \(4,\) does not"),
    (lambda: st.gaussian_nll_loss(X, X, X, eps=0), ValueError, "gaussian_nll_loss: eps=0 must be greater than 0"),
    (
        lambda: nn.KLDivLoss("avg"),
        ValueError,
        "KLDivLoss: reduction='avg' must be 'mean', 'batchmean', 'sum' or 'none'",
    ),
    (lambda: nn.CrossEntropyLoss(st.ones(3)), ValueError, r"CrossEntropyLoss: reduction=tensor\(.*must be 'mean'"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=[message[:40] for _, _, message in ERRORS])
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
