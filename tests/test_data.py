"""Datasets, their split, samplers, collation, and the bundled sets."""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

import steep as st
from compare import Array, assert_same
from steep.data.dataset import samples_of

data = st.data


class Squares(data.Dataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self.n:
            raise IndexError(i)
        return np.full(3, i, np.float32), i * i


# --- datasets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, -1, slice(1, 4), slice(None, None, 2), [3, 0, 0], np.array([1, 2]), []], ids=str)
def test_tensor_dataset_indexes_like_numpy(index: Any, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(5, 2, 3)), np.arange(5)
    a, b = data.TensorDataset(x, y)[index]
    where = np.asarray(index, np.int64) if isinstance(index, list) else index
    assert_same(a.numpy(), x[where])
    assert_same(b.numpy(), np.asarray(y[where]))


def test_tensor_dataset_takes_index_tensors_and_masks() -> None:
    dataset = data.TensorDataset(np.arange(5))
    assert dataset[st.tensor([4, 1])][0].tolist() == [4, 1]
    assert dataset[st.tensor([True, False, False, True, False])][0].tolist() == [0, 3]


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float16", "float64", "int32"])
def test_tensor_dataset_keeps_dtypes(dtype: str) -> None:
    assert data.TensorDataset(np.ones(3, dtype)).tensors[0].dtype.name == dtype


def test_tensor_dataset_shares_memory_and_batches_do_not() -> None:
    x = np.zeros((4, 2))
    dataset = data.TensorDataset(x)
    (batch,) = dataset.__getitems__(np.arange(4))
    batch += 1
    assert not x.any()
    x[1] = 5
    assert dataset[1][0].tolist() == [5, 5]


def test_several_inputs() -> None:
    dataset = data.TensorDataset((np.arange(3), {"b": np.arange(6).reshape(3, 2)}), [1.0, 2.0, 3.0])
    (a, b), y = dataset[1]
    assert (int(a), b["b"].tolist(), float(y)) == (1, [2, 3], 2.0)
    (a, b), y = dataset.__getitems__(np.array([2, 0]))
    assert (a.tolist(), b["b"].tolist(), y.tolist()) == ([2, 0], [[4, 5], [0, 1]], [3, 1])


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ((), ValueError, "at least one tensor"),
        (([1, 2], [1, 2, 3]), ValueError, r"equally long, the shapes are \(2,\), \(3,\)"),
        ((3.0,), ValueError, "argument 0 is a single number"),
        (([1], np.array(["a"])), TypeError, "argument 1 holds <U1 values, not numbers"),
        (([1], {"z": np.array([None])}), TypeError, r"argument 1\['z'\] holds object values"),
    ],
)
def test_tensor_dataset_errors(tensors: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.TensorDataset(*tensors)


def test_a_dataset_without_its_methods() -> None:
    class Empty(data.Dataset):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty needs a method __len__\(self\)"):
        len(Empty())
    with pytest.raises(NotImplementedError, match=r"Empty needs a method __getitem__\(self, index\)"):
        Empty()[0]
    with pytest.raises(TypeError, match="a generator is no dataset: it needs __len__ and __getitem__"):
        data.DataLoader(i for i in range(3))


def test_a_dataset_iterates_over_its_samples() -> None:
    assert [y for _, y in Squares(4)] == [0, 1, 4, 9]


def test_subset() -> None:
    x = np.arange(20).reshape(10, 2)
    part = data.Subset(data.TensorDataset(x), [7, -1, 0])
    assert len(part) == 3
    assert_same(part[:][0].numpy(), x[[7, 9, 0]])
    assert_same(part[1][0].numpy(), x[9])
    assert_same(part[st.tensor([2, 0])][0].numpy(), x[[0, 7]])
    inner = data.Subset(part, np.array([2, 1]))
    assert_same(samples_of(inner, np.array([1, 0]))[0].numpy(), x[[9, 0]])
    assert [y for _, y in data.Subset(Squares(5), range(1, 3))] == [1, 4]
    assert len(data.Subset(Squares(5), [])) == 0


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 5], IndexError, "range from 0 to 5, the dataset has 5 samples"),
        ([-6], IndexError, "range from -6"),
        ([True, False, True, False, True], TypeError, "must be integers, not bool"),
        ([0.5], TypeError, "not float64"),
        ([[1]], ValueError, "one axis"),
    ],
)
def test_subset_errors(indices: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.Subset(Squares(5), indices)


@pytest.mark.parametrize("vectorised", [True, False])
def test_concat_dataset(vectorised: bool, rng: np.random.Generator) -> None:
    x = np.arange(12.0).reshape(12, 1)
    parts: list[Any] = [data.TensorDataset(x[:5]), data.TensorDataset(x[:0]), data.Subset((x,), [5, 6, 7, 8, 9, 10])]
    parts.append(data.TensorDataset(x[11:]) if vectorised else [(x[11],)])
    both = data.ConcatDataset(parts)
    assert len(both) == 12
    assert [float(np.asarray(both[i][0])[0]) for i in range(-12, 12)] == [*range(12), *range(12)]
    for index in (12, -13):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 12 samples"):
            both[index]
    rows = rng.permutation(12)
    found = samples_of(both, rows)
    assert isinstance(found, list) != vectorised
    batch = data.default_collate(found) if isinstance(found, list) else found
    assert_same(batch[0].numpy(), x[rows])


# --- split ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "lengths", "sizes"),
    [
        (150, (0.7, 0.15, 0.15), [106, 22, 22]),  # PyTorch's rule: what is left over goes to the first
        (100, (0.29, 0.71), [29, 71]),
        (10, (8, 2), [8, 2]),
        (7, (1 / 3, 1 / 3, 1 / 3), [3, 2, 2]),
    ],
)
def test_random_split_sizes(n: int, lengths: tuple[float, ...], sizes: list[int]) -> None:
    parts = data.random_split(Squares(n), lengths)
    assert [len(part) for part in parts] == sizes
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(n))


@pytest.mark.parametrize("seed", range(5))
def test_stratified_split_has_every_class_in_proportion(seed: int) -> None:
    st.manual_seed(seed)
    labels = np.repeat(["a", "b", "c", "d"], [300, 90, 33, 7])
    parts = data.random_split(Squares(430), (0.6, 0.25, 0.15), stratify=labels)
    for part in parts:
        names, counts = np.unique(labels[part.indices], return_counts=True)
        assert list(names) == ["a", "b", "c", "d"] or len(part) < 0.2 * 430
        share = len(part) / 430
        for name, count in zip(names, counts, strict=True):
            assert abs(count - share * np.count_nonzero(labels == name)) < 2
        assert (np.diff(np.unique(labels[part.indices], return_inverse=True)[1]) < 0).sum() > 10  # not sorted by class
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(430))


def test_split_draws_from_the_stream_or_from_its_own() -> None:
    first = data.random_split(Squares(50), (0.5, 0.5))[0].indices
    assert not np.array_equal(data.random_split(Squares(50), (0.5, 0.5))[0].indices, first)
    st.manual_seed(0)
    assert_same(data.random_split(Squares(50), (0.5, 0.5))[0].indices, first)
    state = st.random.get_state()
    own = data.random_split(Squares(50), (0.5, 0.5), seed=0)[0].indices
    assert_same(own, first)
    assert st.random.get_state() == state


def test_split_of_arrays() -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20)
    train, rest = data.random_split((x, y), (15, 5))
    a, b = train[:]
    assert_same(a.numpy(), x[b.numpy()])
    assert len(rest[:][0]) == 5


@pytest.mark.parametrize(
    ("lengths", "keywords", "message"),
    [
        ((5, 4), {}, r"\[5, 4\] sum to 9, the dataset has 10"),
        ((0.5, 0.4), {}, "positive shares that sum to 1"),
        ((1.5, -0.5), {}, "positive shares that sum to 1"),
        ((), {}, "must be whole numbers that sum to 10"),
        ((10, 0), {}, "none may be empty"),
        ((0.99, 0.01), {}, "none may be empty"),
        ((5, 5), {"stratify": [0, 1]}, r"stratify has shape \(2,\), but needs one label for each of 10"),
    ],
)
def test_split_errors(lengths: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.random_split(Squares(10), lengths, **keywords)


# --- samplers ---------------------------------------------------------------------------------------------------------


def test_random_sampler() -> None:
    assert sorted(data.RandomSampler(Squares(30))) == list(range(30))
    sampler = data.RandomSampler(10, num_samples=25)
    order = list(sampler)
    assert len(sampler) == len(order) == 25
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert len(set(order[20:])) == 5
    counts = np.bincount(list(data.RandomSampler(4, replacement=True, num_samples=8000)), minlength=4)
    assert (abs(counts - 2000) < 5 * np.sqrt(8000 * 0.25 * 0.75)).all()
    assert list(data.RandomSampler(0)) == list(data.RandomSampler(5, num_samples=0)) == []
    with pytest.raises(ValueError, match="no samples to draw from"):
        data.RandomSampler(0, num_samples=3)
    with pytest.raises(ValueError, match="=-1 must be an integer of 0 or more"):
        data.RandomSampler(4, num_samples=-1)


@pytest.mark.parametrize("replacement", [True, False])
def test_weighted_sampler_draws_in_proportion(replacement: bool) -> None:
    weights = np.array([1.0, 0.0, 2.0, 5.0])
    first: Array = np.zeros(4)
    for _ in range(2000):
        order = list(data.WeightedRandomSampler(weights, 3, replacement))
        first[order[0]] += 1
        if not replacement:
            assert sorted(order) == [0, 2, 3]
    p = weights / 8
    assert (abs(first - 2000 * p) <= 5 * np.sqrt(2000 * p * (1 - p))).all()


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [float("nan")], [[1.0]], [0.0, 0.0], [float("inf"), 1.0]], ids=str)
def test_weights_out_of_range(weights: Any) -> None:
    with pytest.raises(ValueError, match="WeightedRandomSampler"):
        data.WeightedRandomSampler(weights, 1)
    with pytest.raises(ValueError, match="1 of 2 weights are positive, too few for num_samples=2"):
        data.WeightedRandomSampler([0.0, 1.0], 2, replacement=False)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(
    "sampler", [data.SequentialSampler(10), range(10), list(range(10))], ids=["own", "range", "list"]
)
def test_batch_sampler(sampler: Any, drop_last: bool) -> None:
    batches = data.BatchSampler(sampler, 4, drop_last)
    expected = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]][: 2 if drop_last else 3]
    assert [list(batch) for batch in batches] == expected
    assert len(batches) == len(expected)


# --- collation --------------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    x: Any
    y: Any


def test_collate() -> None:
    assert_same(data.default_collate([1, 2]).numpy(), np.array([1, 2]))
    assert_same(data.default_collate([1, 2.5]).numpy(), np.array([1, 2.5], np.float32))
    assert_same(data.default_collate([True, False]).numpy(), np.array([True, False]))
    assert_same(data.default_collate([np.float64(1), np.float64(2)]).numpy(), np.array([1.0, 2.0]))
    assert_same(data.default_collate([st.ones(2), st.zeros(2)]).numpy(), np.array([[1, 1], [0, 0]], np.float32))
    batch = data.default_collate([Pair({"a": [1, "u"]}, b"c"), Pair({"a": [2, "v"]}, b"d")])
    assert type(batch) is Pair
    assert batch.x["a"][0].tolist() == [1, 2]
    assert (batch.x["a"][1], batch.y) == (["u", "v"], [b"c", b"d"])


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ([], ValueError, "no samples"),
        ([None, None], TypeError, "a NoneType cannot be stacked"),
        (
            [np.ones(2), np.ones(2), np.ones(3)],
            ValueError,
            r"equal shapes: the first has \(2,\), the one at position 2",
        ),
        ([st.ones(2), st.ones(3)], ValueError, "equal shapes"),
        ([st.ones(2), 3.0], ValueError, r"position 1 \(\)"),
        ([(1, 2), (1,)], ValueError, "equal lengths: the first has 2, the one at position 1 1"),
        ([{"a": 1}, {"b": 1}], ValueError, "equal keys"),
        ([(1, 2), 3], ValueError, "equal types: the first has tuple, the one at position 1 int"),
    ],
)
def test_collate_errors(samples: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.default_collate(samples)


# --- bundled sets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iris", "digits", "wine", "breast_cancer", "diabetes", "linnerud"])
def test_bundled_sets_are_those_of_scikit_learn(name: str) -> None:
    x, y = table = data.load(name)
    expected_x, expected_y = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True)
    np.testing.assert_array_equal(x, expected_x)
    np.testing.assert_array_equal(y, expected_y)
    assert len(table.feature_names) == x.shape[1]
    assert y.dtype == (np.float64 if name in ("diabetes", "linnerud") else np.int64)
    assert len(table.target_names) == (0 if name == "diabetes" else 3 if y.ndim == 2 else y.max() + 1)


def test_digits_in_the_form_of_mnist() -> None:
    (x_train, y_train), (x_test, y_test) = data.load_digits28()
    assert [a.shape for a in (x_train, y_train, x_test, y_test)] == [(1500, 28, 28), (1500,), (297, 28, 28), (297,)]
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert (x_train.min(), x_train.max()) == (0, 255)
    border = x_train.copy()
    border[:, 4:24, 4:24] = 0
    assert not border.any()
    assert (np.bincount(y_test) - 29.7 < 2).all()
    st.random.uniform(3)
    assert_same(data.load_digits28()[1][0], x_test)
    # Averaged over 20/8 pixels, the enlarged images are near the small ones again, if the labels belong to them.
    small, labels = sklearn_datasets.load_digits(return_X_y=True)
    for image, label in zip(x_test[:20], y_test[:20], strict=True):
        halves = np.repeat(np.repeat(image[4:24, 4:24] * (16 / 255), 2, 0), 2, 1).reshape(8, 5, 8, 5).mean((1, 3))
        nearest = np.argmin(((small - halves.reshape(64)) ** 2).sum(1))
        assert labels[nearest] == label


def test_bundled_sets_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def absent(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    with pytest.raises(ValueError, match=r"no data set 'mnist'; there are breast_cancer, .* and load_digits28"):
        data.load("mnist")
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        data.load("iris")
