"""Datasets: samples by number, parts of them, and their split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from .. import _core, ops, random
from ..checks import shown
from ..devices import cpu
from ..ops._apply import host_array
from ..structure import map_tensors, named_tensors
from ..tensor import Tensor

__all__ = ["ConcatDataset", "Dataset", "Rows", "Subset", "TensorDataset", "as_dataset", "random_split", "samples_of"]

Rows = np.ndarray[Any, np.dtype[np.int64]]


class Dataset:
    """Samples by number: a subclass defines ``__len__`` and ``__getitem__``.

    A sample is usually a pair (x, y). Where many samples are faster fetched at once than one by one, define
    ``__getitems__(rows)`` as well: it takes an int64 array of numbers, and returns either a list of samples, or the
    batch, which is then no list.

    >>> import steep as st
    >>> class Squares(st.data.Dataset):
    ...     def __len__(self):
    ...         return 5
    ...     def __getitem__(self, i):
    ...         return float(i), float(i) ** 2
    >>> for x, y in st.data.DataLoader(Squares(), batch_size=3):
    ...     print(x, y)
    tensor([0., 1., 2.]) tensor([0., 1., 4.])
    tensor([3., 4.]) tensor([ 9., 16.])
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a method __len__(self): the number of its samples")

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a method __getitem__(self, index): the sample there")

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


class TensorDataset(Dataset):
    """The rows of tensors, arrays or lists whose first axes are equally long: ``TensorDataset(x, y)``.

    A model of several inputs takes a tuple or a dict of them: ``TensorDataset((a, b), y)``. Arrays are not copied, and
    keep their dtype. ``dataset[3]`` is the sample (x[3], y[3]); a slice, a list, an index tensor or a mask gives all of
    these rows at once. ``tensors`` holds the tensors.

    Raises ValueError if the lengths differ or there is nothing, TypeError for what is no array of numbers.

    >>> import steep as st
    >>> dataset = st.data.TensorDataset([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [0, 1, 0])
    >>> x, y = dataset[1]
    >>> len(dataset), x.tolist(), y.item()
    (3, [3.0, 4.0], 1)
    >>> x, y = dataset[[2, 0]]
    >>> y.tolist()
    [0, 0]
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(_as_tensors(f"argument {number}", x) for number, x in enumerate(tensors))
        found = [x for _, x in named_tensors(self.tensors, "")]
        if not found:
            raise ValueError("TensorDataset needs at least one tensor, such as TensorDataset(x, y)")
        if len({len(x) for x in found}) > 1:
            shapes = ", ".join(str(x.shape) for x in found)
            raise ValueError(f"TensorDataset: the first axes must be equally long, the shapes are {shapes}")
        self._length = len(found[0])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, Tensor):
            return map_tensors(lambda x: x[ops.to_device(index, x.device)], self.tensors)
        return map_tensors(lambda x: x[index], self.tensors)

    def __getitems__(self, rows: Rows) -> Any:
        """The rows of all tensors, copied: changing a batch in place leaves the dataset as it is."""
        index = ops.asarray(rows, device=cpu)
        return map_tensors(lambda x: _rows(x, index), self.tensors)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    return _core.take(x, index if x.device is cpu else ops.to_device(index, x.device), 0)


def _as_tensors(name: str, x: Any) -> Any:
    if isinstance(x, Mapping):
        return {key: _as_tensors(f"{name}[{key!r}]", value) for key, value in x.items()}
    if isinstance(x, tuple):
        return tuple(_as_tensors(f"{name}[{i}]", value) for i, value in enumerate(x))
    if isinstance(x, Tensor):
        out = x.detach()
    else:
        array = host_array(x)
        if array.size and array.dtype.kind not in "biuf":
            raise TypeError(
                f"TensorDataset: {name} holds {array.dtype} values, not numbers: encode them first, classes as the "
                "integers 0, 1, 2, …"
            )
        out = ops.asarray(array if hasattr(x, "__array__") else x, device=cpu)
    if out.ndim == 0:
        raise ValueError(f"TensorDataset: {name} is a single number: its first axis must count the samples")
    return out


class Subset(Dataset):
    """The samples of ``dataset`` at ``indices``, in that order.

    ``subset[2]`` is a sample; of a dataset that can be indexed so, a slice or a list gives many at once. Raises
    IndexError for an index that the dataset does not have, TypeError unless they are integers.

    >>> import steep as st
    >>> part = st.data.Subset(st.data.TensorDataset([10, 20, 30]), [2, 0])
    >>> part[:][0].tolist()
    [30, 10]
    """

    def __init__(self, dataset: Any, indices: Any) -> None:
        self.dataset = as_dataset(dataset)
        rows = np.asarray(indices)
        if rows.size and rows.dtype.kind not in "iu":
            raise TypeError(f"Subset: indices must be integers, not {rows.dtype}")
        if rows.ndim != 1:
            raise ValueError(f"Subset: indices must have one axis, not shape {rows.shape}")
        n = len(self.dataset)
        if rows.size and not -n <= rows.min() <= rows.max() < n:
            raise IndexError(f"Subset: indices range from {rows.min()} to {rows.max()}, the dataset has {n} samples")
        self.indices: Rows = rows.astype(np.int64) % max(n, 1)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        rows = self.indices[index.numpy() if isinstance(index, Tensor) else index]
        return self.dataset[rows if rows.ndim else int(rows)]

    def __getitems__(self, rows: Rows) -> Any:
        """What the dataset gives for these of its samples."""
        return samples_of(self.dataset, self.indices[rows])


class ConcatDataset(Dataset):
    """The samples of several datasets, one after the other.

    >>> import steep as st
    >>> both = st.data.ConcatDataset([st.data.TensorDataset([1, 2]), st.data.TensorDataset([3])])
    >>> len(both), both[2][0].item()
    (3, 3)
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = [as_dataset(dataset) for dataset in datasets]
        if not self.datasets:
            raise ValueError("ConcatDataset needs at least one dataset")
        self._ends = np.cumsum([len(dataset) for dataset in self.datasets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for {len(self)} samples")
        index = int(index) % len(self)
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.datasets[number][index - int(self._ends[number]) + len(self.datasets[number])]

    def __getitems__(self, rows: Rows) -> Any:
        """The samples; if all datasets give tuples of tensors for theirs, the same of them all."""
        if not all(_gives_tuples(dataset) for dataset in self.datasets):
            return [self[i] for i in rows.tolist()]
        numbers = np.searchsorted(self._ends, rows, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        order = np.argsort(numbers, kind="stable")  # by dataset
        parts = [
            samples_of(self.datasets[number], rows[numbers == number] - starts[number]) for number in np.unique(numbers)
        ]
        back = ops.asarray(np.argsort(order), device=cpu)
        return map_tensors(lambda *columns: _rows(ops.concat(columns), back), *parts)


def _gives_tuples(dataset: Any) -> bool:
    """Whether ``samples_of`` gives a tuple of tensors, as TensorDataset does."""
    if isinstance(dataset, Subset):
        return _gives_tuples(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return all(_gives_tuples(part) for part in dataset.datasets)
    return isinstance(dataset, TensorDataset)


def as_dataset(data: Any) -> Any:
    """``data`` if samples can be taken from it by number; a tuple of arrays, such as (x, y), as a TensorDataset."""
    if isinstance(data, tuple):
        return TensorDataset(*data)
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise TypeError(
            f"a {type(data).__name__} is no dataset: it needs __len__ and __getitem__, "
            "such as steep.data.TensorDataset(x, y) has (a generator may be put into a list)"
        )
    return data


def samples_of(dataset: Any, rows: Rows) -> Any:
    """The samples of these numbers: a list of them, or a batch, which is no list, if the dataset makes that at once."""
    if isinstance(dataset, Tensor):
        return _rows(dataset.detach(), ops.asarray(rows, device=cpu))
    if isinstance(dataset, np.ndarray):
        return ops.asarray(dataset[rows], device=cpu)
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(rows)
    return [dataset[i] for i in rows.tolist()]


def random_split(
    dataset: Any, lengths: Sequence[float], seed: int | None = None, stratify: Any = None
) -> tuple[Subset, ...]:
    """Parts of a dataset at random, without overlap: ``lengths`` are their sizes, or shares that sum to 1.

    ``dataset`` may be a tuple of arrays, and ``part[:]`` is the tuple of their rows. What the shares leave over after
    rounding down goes to the first parts, one sample each. ``stratify`` takes a label for each sample (1-D): every part
    gets each class in proportion, give or take two samples. The order is drawn from ``steep.random``, or, with a
    ``seed``, from a stream of its own: then the split is always the same.

    Raises ValueError for lengths that don't fit and parts that would be empty.

    >>> import steep as st
    >>> x, y = st.random.normal((200, 4)), st.arange(200) % 2
    >>> train, validation, test = st.data.random_split((x, y), (0.7, 0.15, 0.15), stratify=y)
    >>> len(train), len(validation), len(test)
    (140, 30, 30)
    >>> x_train, y_train = train[:]
    >>> int(y_train.sum())
    70
    """
    dataset = as_dataset(dataset)
    n = len(dataset)
    sizes = _sizes(lengths, n)
    with nullcontext() if seed is None else random.fork(seed):
        order = random.permutation(n, cpu).numpy()
    if stratify is None:
        return tuple(Subset(dataset, part) for part in np.split(order, np.cumsum(sizes)[:-1]))
    labels = np.asarray(stratify)
    if labels.shape != (n,):
        raise ValueError(
            f"random_split: stratify has shape {labels.shape}, but needs one label for each of {n} samples"
        )
    # Within a class, the parts take turns, each as often as its size demands.
    turns = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    owners = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(turns, kind="stable")]
    owner = np.empty(n, np.int64)
    owner[np.argsort(labels[order], kind="stable")] = owners
    return tuple(Subset(dataset, order[owner == part]) for part in range(len(sizes)))


def _sizes(lengths: Any, n: int) -> list[int]:
    lengths = list(lengths) if hasattr(lengths, "__iter__") else lengths
    if not isinstance(lengths, list) or not all(hasattr(length, "__float__") for length in lengths):
        raise TypeError(
            f"random_split: lengths must be a number for each part, such as (0.8, 0.2), not {shown(lengths)}"
        )
    if lengths and all(hasattr(length, "__index__") for length in lengths):
        sizes = [int(length) for length in lengths]
        if sum(sizes) != n:
            raise ValueError(f"random_split: lengths {sizes} sum to {sum(sizes)}, the dataset has {n} samples")
    else:
        if not math.isclose(sum(lengths), 1, abs_tol=1e-6) or not all(length > 0 for length in lengths):
            raise ValueError(
                f"random_split: lengths={lengths} must be whole numbers that sum to {n}, the number of samples, or "
                "positive shares that sum to 1, such as (0.7, 0.15, 0.15)"
            )
        sizes = [math.floor(n * length + 1e-9) for length in lengths]  # 0.29 of 100 is 28.999999999999996
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if min(sizes) < 1:
        raise ValueError(f"random_split: parts of {sizes} samples: none may be empty")
    return sizes
