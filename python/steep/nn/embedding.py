"""Vectors looked up by number."""

from __future__ import annotations

from typing import Any

from .. import dtypes, ops, random
from ..ops._apply import as_tensor
from ..tensor import Parameter, Tensor
from .dry_run import Spec
from .module import Module, check_sizes

__all__ = ["Embedding"]


class Embedding(Module):
    """A table of ``num_embeddings`` vectors of ``embedding_dim`` numbers: integers (…) in, vectors (…, dim) out.

    ``weight`` (num_embeddings, embedding_dim) starts normal with deviation 1. The vector ``padding_idx`` starts as
    zeros and stays as it is: it gets no gradient. Raises IndexError for numbers out of range, TypeError unless they
    are integers.

    >>> import steep as st
    >>> words = st.nn.Embedding(10, 3, padding_idx=0)
    >>> words(st.tensor([[4, 1], [5, 0]])).shape
    (2, 2, 3)
    >>> words(st.tensor(0)).tolist()
    [0.0, 0.0, 0.0]
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx={padding_idx} is out of range for {num_embeddings} embeddings")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        weight = random.normal((num_embeddings, embedding_dim))
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        self.weight = Parameter(weight)

    def forward(self, x: Any) -> Tensor:
        """The vectors of the numbers x."""
        weight = self._tensor_of("weight")
        return ops.embedding(as_tensor(x, weight), weight, self.padding_idx)

    def _expects(self) -> Spec:
        return Spec((None,), dtypes.int64)

    def extra_repr(self) -> str:
        """The sizes, and the padding if there is one."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
