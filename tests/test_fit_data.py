"""What fit takes besides arrays, weights of samples, several inputs and outputs: against loops written by hand."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import steep as st
from classifiers import Loader, Sized, assert_equal_weights, compiled, in_batches, labelled, net, weights
from steep import nn, optim
from steep.callbacks import Callback


@pytest.fixture(autouse=True)
def seed() -> None:
    st.manual_seed(0)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return labelled()


# --- where batches come from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Loader, Sized])
def test_a_loader_is_as_good_as_arrays(kind: type[Loader], data: Any) -> None:
    x, y = data
    one, two = compiled(metrics=["accuracy"]), compiled(metrics=["accuracy"])
    expected = one.fit(x, y, 16, 3, 0, shuffle=False, validation_data=(x, y), validation_batch_size=16)
    loader = kind(in_batches(x, y, 16))
    history = two.fit(loader, epochs=3, validation_data=kind(in_batches(x, y, 16)), verbose=0)
    assert history == expected
    assert_equal_weights(one, two)
    assert two.evaluate(loader) == one.evaluate(x, y, batch_size=16)
    np.testing.assert_array_equal(two.predict(loader).numpy(), one.predict(x, batch_size=16).numpy())


def test_generators(data: Any) -> None:
    batches = in_batches(*data, 16)

    def forever() -> Iterator[Any]:
        while True:
            yield from batches

    one, two, three = compiled(), compiled(), compiled()
    expected = one.fit(*data, batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert two.fit(forever(), epochs=2, steps_per_epoch=5, verbose=0) == expected
    assert three.fit(iter(batches), verbose=0)["loss"] == expected["loss"][:1]
    with pytest.raises(ValueError, match=r"list_iterator has no more batches for another epoch: give steps_per_epoch"):
        three.fit(iter(batches), epochs=2, verbose=0)
    with pytest.raises(ValueError, match="generator gave no batches"):
        three.fit((x for x in ()), verbose=0)
    with pytest.warns(UserWarning, match="list_iterator ended after 5 of 7 batches"):
        three.fit(iter(batches), steps_per_epoch=7, verbose=0)


def test_limited_loaders_go_on_where_they_stopped(data: Any) -> None:
    batches = in_batches(*data, 16)
    seen = []

    class Spy(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            seen.append(logs["first"])

    class Own(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter(st.zeros(1))

        def train_step(self, batch: Any) -> dict[str, Any]:
            return {"first": float(batch[0][0, 0])}

    Own().fit(Loader(batches), epochs=6, steps_per_epoch=1, verbose=0, callbacks=Spy())
    assert seen == [pytest.approx(float(batches[i % 5][0][0, 0])) for i in range(6)]


def test_a_loader_that_lies_about_its_length(data: Any) -> None:
    class Liar(Sized):
        def __len__(self) -> int:
            return 9

    with pytest.raises(ValueError, match="Liar has a length of 9, and gave 5 batches"):
        compiled().fit(Liar(in_batches(*data, 16)), verbose=0)


def test_what_already_gives_batches_takes_no_targets(data: Any) -> None:
    x, y = data
    loader = Loader(in_batches(x, y, 16))
    model = compiled()
    for arguments, message in (
        ({"y": y}, "fit: x is a Loader, whose batches hold the targets and weights: leave y="),
        ({"batch_size": 4}, "fit: x is a Loader, which gives batches: leave batch_size= out"),
        ({"validation_split": 0.2}, "validation_split needs arrays: give validation_data"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(loader, **arguments, verbose=0)
    with pytest.raises(ValueError, match=r"a batch must be \(x, y\) or \(x, y, sample_weight\), not 4 things"):
        model.fit(Loader([(1, 2, 3, 4)]), verbose=0)
    with pytest.raises(ValueError, match="Sequential is trained with a loss of"):
        model.fit(x, verbose=0)


def test_data_frames(data: Any) -> None:
    pandas = pytest.importorskip("pandas")
    x, y = data
    one, two = compiled(), compiled()
    frame = pandas.DataFrame(x, columns=list("abcd"))
    assert one.fit(frame, pandas.Series(y), shuffle=False, verbose=0) == two.fit(x, y, shuffle=False, verbose=0)


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss(), "own"])
def test_sample_weights_multiply_losses(loss: Any, data: Any) -> None:
    x, y = data
    w = np.random.default_rng(2).uniform(size=70)
    given = (lambda z, t: st.cross_entropy(z, t, reduction="none")) if loss == "own" else loss
    fitted, model = compiled(given), net()
    history = fitted.fit(x, y, batch_size=70, shuffle=False, sample_weight=w, verbose=0, epochs=2)
    optimizer, losses = optim.SGD(model.parameters(), lr=0.1), []
    for _ in range(2):
        optimizer.zero_grad()
        each = st.cross_entropy(model(st.tensor(x)), st.tensor(y), reduction="none")
        value = (each * st.tensor(w, dtype=st.float32)).sum() / 70
        value.backward()
        optimizer.step()
        losses.append(float(value))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    for a, b in zip(weights(fitted), weights(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["labels", "one_hot"])
@pytest.mark.parametrize("given", [{0: 1.0, 1: 3.0, 2: 0.5}, [1.0, 3.0, 0.5], {1: 3.0, 2: 0.5}])
def test_class_weights_are_sample_weights(form: str, given: Any, data: Any) -> None:
    x, y = data
    targets = y if form == "labels" else np.eye(3)[y]
    one, two, three = compiled(), compiled(), compiled()
    w = np.array([1.0, 3.0, 0.5])[y]
    expected = one.fit(x, y, sample_weight=w, verbose=0, shuffle=False)
    history = two.fit(x, targets, class_weight=given, verbose=0, shuffle=False)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-6)
    three.fit(Loader(in_batches(x, targets, 32)), class_weight=given, verbose=0)
    for a, b in zip(weights(two), weights(three), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_weights_raise(data: Any) -> None:
    x, y = data
    model = compiled()
    for arguments, message in (
        ({"sample_weight": np.ones(69)}, r"x has 70 samples and sample_weight has 69"),
        (
            {"sample_weight": np.ones((70, 2))},
            r"sample_weight has shape \(70, 2\): it needs one number for each sample",
        ),
        ({"class_weight": {"a": 1}}, "class_weight must be a dict of numbers by integer labels"),
        ({"class_weight": {0: 1.0, 1: 1.0}}, "class_weight is for the classes 0 to 1, y has 2"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(x, y, verbose=0, **arguments)
    model = compiled(lambda z, t: st.cross_entropy(z, t))
    with pytest.raises(ValueError, match=r"gives one number for a batch: to weight its samples, it must return a loss"):
        model.fit(x, y, sample_weight=np.ones(70), verbose=0)


def test_a_loss_may_give_one_number_for_each_sample(data: Any) -> None:
    one, two = compiled(), compiled(lambda z, t: st.cross_entropy(z, t, reduction="none"))
    expected = one.fit(*data, shuffle=False, verbose=0)["loss"]
    np.testing.assert_allclose(two.fit(*data, shuffle=False, verbose=0)["loss"], expected, rtol=1e-6)


# --- several inputs and outputs ---------------------------------------------------------------------------------------


class Two(nn.Module):
    """Two inputs; the sum's class, and its mean."""

    def __init__(self, form: str = "tuple") -> None:
        st.manual_seed(3)
        self.body, self.head, self.value = nn.Linear(4, 8, activation="tanh"), nn.Linear(8, 3), nn.Linear(8, 1)
        self.form = form

    def forward(self, a: st.Tensor, b: st.Tensor) -> Any:
        h = self.body(a + b)
        return {"label": self.head(h), "mean": self.value(h)} if self.form == "dict" else (self.head(h), self.value(h))


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_several_inputs_and_outputs(form: str, data: Any) -> None:
    x, y = data
    a, b, mean = 0.25 * x, 0.75 * x, x.mean(1, keepdims=True)
    fitted, model = Two(form), Two()
    optimizer = optim.SGD(fitted.parameters(), lr=0.1)
    named = {"label": "cross_entropy", "mean": "mse"}
    if form == "dict":
        fitted.compile(optimizer, named, {"label": "accuracy", "mean": ["mae"]}, {"label": 1.0, "mean": 0.5})
        inputs, targets, names = {"b": b, "a": a}, {"mean": mean, "label": y}, ("label", "mean")
    else:
        fitted.compile(optimizer, list(named.values()), [["accuracy"], ["mae"]], [1.0, 0.5])
        inputs, targets, names = (a, b), (y, mean), ("output_0", "output_1")  # type: ignore[assignment]
    history = fitted.fit(inputs, targets, batch_size=70, shuffle=False, epochs=2, verbose=0, validation_split=0.0)
    losses, parts = [], []
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        z, v = model(st.tensor(a), st.tensor(b))
        first, second = st.cross_entropy(z, st.tensor(y)), st.mse_loss(v, st.tensor(mean))
        loss = first + 0.5 * second
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
        parts.append((float(first), float(second)))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(history[f"{names[0]}_loss"], [p[0] for p in parts], rtol=1e-5)
    np.testing.assert_allclose(history[f"{names[1]}_loss"], [p[1] for p in parts], rtol=1e-5)
    assert list(history)[3:] == [f"{names[0]}_accuracy", f"{names[1]}_mae"]
    predicted = fitted.predict(inputs, batch_size=16)
    values = predicted.values() if form == "dict" else predicted
    assert [p.shape for p in values] == [(70, 3), (70, 1)]
    held_out = fitted.fit(inputs, targets, validation_split=0.2, verbose=0)
    assert f"val_{names[1]}_mae" in held_out


def test_mistakes_with_several_outputs(data: Any) -> None:
    x, y = data
    model = Two()
    model.compile("sgd", ["cross_entropy", "mse"])
    for targets, message in (
        (y, "there is one target: it must be a tuple or dict"),
        ((y, x[:, :1], x), "there are 3 of target, and 2 outputs: output_0, output_1"),
        ({"output_0": y}, "there is no target for 'output_1': there are output_0"),
        ((y, x[:-1, :1]), r"x has 70 samples and y\[1\] has 69"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit((x, x), targets, verbose=0)
    with pytest.raises(ValueError, match="compile: 1 loss_weights for 2 outputs"):
        model.compile("sgd", ["cross_entropy", "mse"], loss_weights=[1.0])
    with pytest.raises(ValueError, match="loss_weights are for several outputs"):
        compiled(loss_weights=[1.0])
    with pytest.raises(ValueError, match=r"compile: metrics name 'c'; the outputs are a, b"):
        model.compile("sgd", {"a": "mse", "b": "mse"}, metrics={"c": "mae"})


@pytest.mark.parametrize("given", ["dataset", "loader", "prefetching"])
def test_a_dataset_trains_as_its_arrays(given: str, data: Any) -> None:
    def model() -> nn.Module:
        st.manual_seed(3)
        made = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        made.compile("adam", "cross_entropy", metrics=["acc"])
        return made

    one, two = model(), model()
    st.manual_seed(4)
    expected = one.fit(*data, batch_size=16, epochs=3, verbose=0)
    st.manual_seed(4)
    dataset = st.data.TensorDataset(*data)
    if given == "dataset":
        history = two.fit(dataset, batch_size=16, epochs=3, verbose=0)
    else:
        prefetch = {"prefetch": 2} if given == "prefetching" else {}
        history = two.fit(st.data.DataLoader(dataset, 16, shuffle=True, **prefetch), epochs=3, verbose=0)
    assert history == expected
    assert_equal_weights(one, two)


def test_a_loader_whose_sampler_has_no_length(data: Any) -> None:
    class Five:
        def __iter__(self) -> Iterator[int]:
            return iter(range(5))

    loader = st.data.DataLoader(st.data.TensorDataset(*data), 2, sampler=Five())
    model, seen = compiled(), []

    class Spy(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            seen.append((batch, self.params["steps"]))

    model.fit(loader, callbacks=Spy(), verbose=0)
    assert seen == [(0, None), (1, None), (2, None)]


def test_a_graph_of_two_inputs_and_outputs(data: Any) -> None:
    x, y = data
    left, right = st.Input((4,), name="left"), st.Input((4,), name="right")
    hidden = nn.Linear(8, 8, activation="tanh")(nn.Concat(axis=1)(left, right))
    head, value = nn.Linear(8, 3), nn.Linear(8, 1)
    model = nn.Model([left, right], [head(hidden), value(hidden)], head=head, value=value)
    model.compile("adam", {"head": "cross_entropy", "value": "mse"}, {"head": "accuracy"})
    targets = {"head": y, "value": x[:, :1]}
    history = model.fit({"left": x, "right": x}, targets, validation_split=0.2, epochs=2, verbose=0)
    assert list(history)[:4] == ["loss", "head_loss", "value_loss", "head_accuracy"]
    again = model.fit([x, x], [y, x[:, :1]], verbose=0)
    assert list(again) == list(history)[:4]
    assert [p.shape for p in model.predict((x, x))] == [(70, 3), (70, 1)]
    assert [p.shape for p in model.predict([x, x])] == [(70, 3), (70, 1)]
    one = nn.Model(left, head(nn.Linear(4, 8)(left)))
    one.compile("adam", "cross_entropy", ["accuracy"])
    assert list(one.fit(x, y, verbose=0)) == ["loss", "accuracy"]


def test_measuring_takes_large_batches(data: Any) -> None:
    x, y = data
    model, sizes = compiled(), []
    model.register_forward_hook(lambda module, args, output: sizes.append((len(output), module.training)))
    model.fit(x, y, batch_size=64, validation_data=(x, y), verbose=0)
    model.predict(x)
    model.evaluate(x, y)
    assert sizes == [(64, True), (6, True), *[(70, False)] * 3]
    sizes.clear()
    model.fit(x, y, 70, 1, 0, validation_data=(x, y), validation_steps=2)  # batches of 32, as Keras'
    model.predict(np.zeros((100, 4), np.float32), batch_size=60)
    assert sizes == [(70, True), (32, False), (32, False), (60, False), (40, False)]
    wide = nn.Linear(2**17, 1)
    wide.register_forward_hook(lambda module, args, output: sizes.append((len(output), module.training)))
    sizes.clear()
    wide.predict(np.zeros((40, 2**17), np.float32))
    assert sizes == [(32, False), (8, False)]


@pytest.mark.parametrize("limit", [None, 30])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_cut_from_a_group_of_them_are_those_of_the_loop(shuffle: bool, limit: int | None) -> None:
    """1 MiB of inputs at a time: here 32 batches of 40, of two inputs, targets and weights."""
    rng = np.random.default_rng(0)
    x = {"a": rng.standard_normal((1501, 100)).astype("f4"), "b": rng.standard_normal((1501, 100)).astype("f4")}
    y, weight = np.arange(1501.0, dtype="f4"), rng.random(1501).astype("f4")
    seen: list[Any] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter(st.zeros(1))

        def train_step(self, batch: Any) -> Any:
            seen.append(batch)
            return {"loss": 0.0}

    st.manual_seed(3)
    Watched().fit(x, y, 40, 1, 0, shuffle=shuffle, sample_weight=weight, steps_per_epoch=limit)
    st.manual_seed(3)
    order = st.random.permutation(1501).numpy() if shuffle else np.arange(1501)
    assert len(seen) == (limit or 38)
    for i, (inputs, targets, weighted) in enumerate(seen):
        rows = order[i * 40 : i * 40 + 40]
        np.testing.assert_array_equal(inputs["a"].numpy(), x["a"][rows])
        np.testing.assert_array_equal(inputs["b"].numpy(), x["b"][rows])
        np.testing.assert_array_equal(targets.numpy(), y[rows])
        np.testing.assert_array_equal(weighted.numpy(), weight[rows])


def test_no_more_is_cut_ahead_than_a_few_small_batches() -> None:
    from steep.train.sources import Arrays

    x, y = st.zeros((3000, 1)), st.zeros((3000, 3000))
    for data, batch_size, ahead in (((x, None), 1, 256), ((x, y), 8, 10), ((y, None), 100, 1)):
        for shuffle in (False, True):
            batches = Arrays(data, batch_size, st.device("cpu"), shuffle).epoch()
            before = st.memory_stats()["in_use"]
            (first, *_), _ = next(batches)
            assert first.shape[0] == batch_size
            taken = sum(z.dtype.itemsize * z.size / 3000 for z in data if z is not None) * batch_size * ahead
            assert st.memory_stats()["in_use"] - before <= taken * 1.25 + 4096
