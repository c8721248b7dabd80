"""Data: datasets and their split, batches of them, readers of files, small sets to learn with, and augmentation."""

from typing import Any

from .. import hints
from . import augment
from .bundled import load, load_digits28
from .collate import default_collate
from .dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from .idx import load_mnist, read_idx
from .loader import DataLoader
from .samplers import BatchSampler, RandomSampler, Sampler, SequentialSampler, WeightedRandomSampler
from .table import Table, read_csv

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "Table",
    "TensorDataset",
    "WeightedRandomSampler",
    "augment",
    "default_collate",
    "load",
    "load_digits28",
    "load_mnist",
    "random_split",
    "read_csv",
    "read_idx",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hints.of(hints.DATA, name)}")
