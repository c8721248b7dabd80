"""Networks as scikit-learn estimators, which work in its pipelines, searches and cross-validation.

from steep.sklearn import SteepClassifier
GridSearchCV(SteepClassifier(), {"hidden_layer_sizes": [(16,), (64, 64)], "lr": [1e-3, 1e-2]})
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise ImportError("steep.sklearn needs scikit-learn 1.6 or newer: pip install 'scikit-learn>=1.6'") from error

from . import nn, ops, random
from .callbacks import History
from .dtypes import int64
from .tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SteepClassifier", "SteepRegressor"]

Array = np.ndarray[Any, Any]
DTYPES = [np.float64, np.float32]  # of X; others become the first
ROWS = 4096  # that a prediction computes at once


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both share: making the module, training it, and its output for new data."""

    _numeric: bool  # whether y are numbers
    history_: History

    def __init__(
        self,
        hidden_layer_sizes: int | Iterable[int] = (100,),
        activation: Any = "relu",
        *,
        module: Callable[[int, int], nn.Module] | None = None,
        optimizer: Any = "adam",
        lr: float | None = None,
        weight_decay: float = 0.0,
        batch_size: int = 200,
        epochs: int = 200,
        validation_fraction: float = 0.0,
        random_state: Any = None,
        verbose: int | str = 0,
        device: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.module = module
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains a new module on X (n_samples, n_features) and y, and returns the estimator."""
        X, y, weight = self._admit(X, y, sample_weight, first=True)
        self._learn_task(y, None)
        self._begin(X.dtype)
        return self._go_on(X, y, weight, True, self.epochs, self.validation_fraction)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        first = not hasattr(self, "history_")  # which is there once a fit has succeeded
        X, y, weight = self._admit(X, y, sample_weight, first)
        if first:
            self._learn_task(y, classes)
            self._begin(X.dtype)
        return self._go_on(X, y, weight, first, 1, 0.0)

    def _admit(self, X: Any, y: Any, weight: Any, first: bool) -> tuple[Array, Array, Array | None]:
        """The data as arrays, without the samples that have no weight."""
        X, y = validate_data(self, X, y, reset=first, dtype=DTYPES, multi_output=True, y_numeric=self._numeric)
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        if weight is None:
            return X, y, None
        weight = check_array(weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        if weight.shape != (len(X),):
            raise ValueError(
                f"sample_weight has shape {weight.shape}: it must be ({len(X)},), a number for each sample"
            )
        if (weight < 0).any() or not weight.any():
            raise ValueError("sample_weight must not be negative, and not all of its weights can be zero")
        return X[weight > 0], y[weight > 0], weight[weight > 0]

    def _learn_task(self, y: Array, classes: Any) -> None:
        """Keeps what the first y says: ``_outputs``, their number, and ``_loss``."""
        raise NotImplementedError

    def _targets(self, y: Array) -> Array:
        """y as the loss takes it."""
        raise NotImplementedError

    def _begin(self, dtype: np.dtype[Any]) -> None:
        self._stream = int(check_random_state(self.random_state).randint(2**31)), 0
        with random.fork(self._stream[0]):
            self.module_ = (self.module or self._perceptron)(self.n_features_in_, self._outputs)
            self._stream = random.get_state()
        self.module_.to(dtype.name, device=self.device)
        self.module_.compile(self.optimizer, self._loss)
        for group in self.module_.optimizer.param_groups:
            if self.lr is not None:
                group["lr"] = self.lr
            if self.weight_decay:
                group["weight_decay"] = self.weight_decay
            self.module_.optimizer._check_options(group)

    def _perceptron(self, inputs: int, outputs: int) -> nn.Module:
        sizes = self.hidden_layer_sizes
        hidden = np.atleast_1d(sizes).tolist() if isinstance(sizes, int | np.integer | np.ndarray) else sizes
        layers: list[nn.Module] = []
        for size in hidden:
            layers.append(nn.Linear(inputs, size, activation=self.activation))
            inputs = size
        return nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def _go_on(self, X: Array, y: Array, weight: Array | None, first: bool, epochs: int, held_out: float) -> Self:
        """Trains for more epochs, on the estimator's own random stream."""
        targets = self._targets(y)
        self._loss.weighted = weight is not None
        if weight is not None:
            targets = np.column_stack([targets, weight]).astype(X.dtype)
        validation = None
        if held_out:
            classes = None if self._numeric or y.ndim > 1 else y
            X, x_held, targets, y_held = train_test_split(
                X, targets, test_size=held_out, stratify=classes, random_state=self._stream[0]
            )
            validation = x_held, y_held
        history = History() if first else self.history_
        with random.fork(0):
            random.set_state(self._stream)
            self.module_.fit(X, targets, self.batch_size, epochs, self.verbose, [history], validation_data=validation)
            self._stream = random.get_state()
        self.history_ = history
        return self

    def _output(self, X: Any) -> Tensor:
        """The module's output for X."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=DTYPES)
        return self.module_.predict(X, batch_size=ROWS)


class _Loss:
    """A loss of ``steep.ops`` by name. If ``weighted``, the targets' last column is the weight of each sample."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind  # compile looks whether the module fits it
        self.weighted = False

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        function = getattr(ops, self.name)
        if not self.weighted:
            return function(output, target)
        weight, target = target[:, -1], target[:, :-1]
        target = target[:, 0].astype(int64) if self.kind == "categorical" else target
        losses = function(output, target, reduction="none").reshape(len(weight), -1).mean(1)
        return (losses * weight).sum() / weight.sum()


class SteepClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A network that classifies: two classes, several, or several labels at once (y a matrix of zeros and ones).

    ``hidden_layer_sizes`` and ``activation`` (a name or a function) describe a perceptron. ``module`` replaces it by
    any function of (n_features, n_outputs) that returns a Module; it is to return logits, one for two classes, else one
    for each class or label. ``optimizer`` is a name or a function of the parameters; without ``lr`` it has its own
    default. ``validation_fraction`` of the samples, every class in proportion, is held out of ``fit`` for "val_loss".
    ``random_state`` seeds the weights and the order of the samples; steep's own random stream is not used. A float64 X
    is computed in float64, a float32 one in float32.

    ``sample_weight`` says how much samples weigh in the mean loss of their batch; within one batch a 2 is the same as
    the sample twice. After ``fit``: ``classes_``, ``module_``, ``history_``, ``n_features_in_``. Raises what
    scikit-learn's estimators raise: ValueError for bad data and parameters, NotFittedError before ``fit``.

    >>> import numpy as np
    >>> from steep.sklearn import SteepClassifier
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> model = SteepClassifier(16, "tanh", lr=0.05, random_state=0).fit(x, ["no", "yes", "yes", "no"])
    >>> model.predict(x).tolist()
    ['no', 'yes', 'yes', 'no']
    """

    _numeric = False

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch, on this data. ``classes`` are all that there will be; by default those of the first y."""
        return self._partial_fit(X, y, sample_weight, classes)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, or of each label, as an array (n_samples, n_classes)."""
        output = self._output(X)
        if self._loss.kind == "categorical":
            return ops.softmax(output, -1).numpy()
        yes = ops.sigmoid(output).numpy()
        if self._multilabel:
            return yes
        return np.concatenate([1 - yes, yes], 1) if len(self.classes_) == 2 else np.ones_like(yes)

    def predict(self, X: Any) -> Array:
        """The most probable class of each sample (n_samples,), or zeros and ones (n_samples, n_labels)."""
        output = self.predict_proba(X)
        return (output > 0.5).astype(np.int64) if self._multilabel else self.classes_[output.argmax(1)]

    def _learn_task(self, y: Array, classes: Any) -> None:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError("SteepClassifier: a matrix y must hold zeros and ones, a column for each label")
        self._multilabel = kind == "multilabel-indicator"
        self.classes_ = np.arange(y.shape[1]) if self._multilabel else unique_labels(y if classes is None else classes)
        self._outputs = 1 if not self._multilabel and len(self.classes_) <= 2 else len(self.classes_)
        if self._outputs > 1 and not self._multilabel:
            self._loss = _Loss("cross_entropy", "categorical")
        else:
            self._loss = _Loss("binary_cross_entropy_with_logits", "binary_logits")

    def _targets(self, y: Array) -> Array:
        if self._multilabel:
            return y
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y holds {unknown.tolist()[0]!r}, which is not among the classes {self.classes_.tolist()}"
            )
        labels = np.searchsorted(self.classes_, y)
        return labels if self._outputs > 1 else labels[:, None].astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class SteepRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A network for regression by least squares; y may have several columns.

    The parameters are those of ``SteepClassifier``; the module returns one number for each column of y. y is not
    scaled: do it, with ``sklearn.compose.TransformedTargetRegressor``, if it is far from 1.

    >>> import numpy as np
    >>> from steep.sklearn import SteepRegressor
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> model = SteepRegressor((), lr=0.05, random_state=0).fit(x, 2 * x[:, 0] + 1)
    >>> model.predict([[3.0]]).round(2)
    array([7.])
    """

    _numeric = True

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch, on this data."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> Array:
        """The module's output, as an array (n_samples,), or (n_samples, n_outputs) if y had several columns."""
        output = self._output(X).numpy()
        return output[:, 0] if self._single else output

    def _learn_task(self, y: Array, classes: Any) -> None:
        self._single = y.ndim == 1
        self._outputs = 1 if self._single else y.shape[1]
        self._loss = _Loss("mse_loss", "regression")

    def _targets(self, y: Array) -> Array:
        return y.reshape(len(y), self._outputs)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
