"""What a model shows of itself as a whole: its summary, and whether it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..tensor import Parameter

if TYPE_CHECKING:
    from .dry_run import Spec

__all__ = ["Inspected"]


class Inspected:
    """The part of ``Module`` that looks at all its parameters together."""

    if TYPE_CHECKING:  # what Module adds

        def parameters(self) -> Iterator[Parameter]: ...
        def requires_grad_(self, requires_grad: bool = True) -> Any: ...

    def summary(self, input_shape: Any = None) -> None:
        """Prints the layers with their output shapes and numbers of parameters, and the memory that they take.

        ``input_shape`` is that of one sample, without the batch axis: ``(28, 28)``; for several inputs a list of such
        tuples. Without it, shapes are known of a ``Model``, of a ``Sequential`` that starts with an ``Input``, and
        where the first layer tells how many features it takes. They are found by running the model on zeros, in eval
        mode and without hooks; modes, buffers and the random stream are left as they were. Where that fails, the
        shapes are "?", and a line says why.

        Raises TypeError for an ``input_shape`` that is no shape.

        >>> import steep as st
        >>> model = st.nn.Sequential(st.nn.Linear(4, 16, activation="relu"), st.nn.Linear(16, 3))
        >>> model.compile("adam", "cross_entropy")
        >>> model[0].trainable = False
        >>> model.summary()
        Sequential
        --------------------------------------------------
        layer  class   output shape  parameters  trainable
        --------------------------------------------------
        0      Linear  (None, 16)            80  no
        1      Linear  (None, 3)             51  yes
        --------------------------------------------------
        parameters   131 (524 B): 51 trainable, 80 frozen
        training     gradients 204 B, state of Adam 408 B
        activations  76 B a sample
        """
        from .summary import summary_of

        print(summary_of(self, input_shape))

    def _expects(self) -> Spec | None:
        """What the input of a layer must be like, if the layer knows: ``summary`` starts from it."""
        return None

    @property
    def trainable(self) -> bool:
        """Whether any parameter is trained; setting it is ``requires_grad_``, as Keras calls it.

        A frozen parameter gets no gradient, and optimizers leave it as it is and keep nothing for it. Freezing is about
        parameters only: Dropout goes on dropping in training, and BatchNorm1d goes by the batch and moves its running
        values, as in PyTorch; ``layer.eval()`` stops both, until the next ``train()``, which ``fit`` begins with.
        """
        own = [parameter.requires_grad for parameter in self.parameters()]
        return any(own) or not own

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.requires_grad_(bool(value))
