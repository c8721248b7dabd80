"""compile, fit, evaluate and predict: the part of Module that trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import dtypes, random
from ..checks import check_count
from ..devices import Device, cpu, get_default_device
from ..dtypes import DType
from ..tensor import Tensor
from .steps import Steps

if TYPE_CHECKING:
    from ..callbacks import CallbackList, History
    from ..nn import Module
    from .batches import Form
    from .compiled import Compiled

__all__ = ["Trainable"]


class Trainable(Steps):
    """The training methods of every ``Module``.

    ``fit`` in terms of the low level, step by step (the same seed gives the same losses, bit for bit)::

        for epoch in range(epochs):
            order = steep.random.permutation(len(x))         # arange without shuffle
            for start in range(0, len(x), batch_size):
                rows = order[start : start + batch_size]
                optimizer.zero_grad()
                loss = loss_function(model(steep.take(x, rows, 0)), steep.take(y, rows, 0))
                loss = loss + model.regularization_loss()        # if any parameter has a regularizer
                loss.backward()
                optimizer.step()
                model.apply_constraints()

    A subclass may define ``train_step`` and ``validation_step`` itself, and still use ``fit``.
    """

    stop_training: bool = False

    if TYPE_CHECKING:  # what Module adds

        def modules(self) -> Iterator[Module]: ...
        def state_dict(self) -> dict[str, Tensor]: ...
        def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Any: ...
        def train(self, mode: bool = True) -> Any: ...
        def to(self, *target: Any) -> Any: ...

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = (),
        loss_weights: Any = None,
        weighted_metrics: Any = (),
        *,
        regularizer: Any = None,
        jit_compile: bool = False,
    ) -> None:
        """Chooses how ``fit`` trains, and starts counting epochs at 0.

        ``optimizer``: the name of one in ``steep.optim`` ("sgd", "adam", "adamw", "rmsprop", …), an Optimizer, or a
        function that makes one from parameters.
        ``loss``: "cross_entropy" (logits and labels or one-hot; also by Keras' names "categorical_crossentropy" and
        "sparse_categorical_crossentropy"), "nll" (log-probabilities and labels), "binary_crossentropy" (probabilities),
        "bce_with_logits", "mse", "mae" (or their names in full, "mean_squared_error"), "huber", "smooth_l1",
        "poisson_nll"; a loss module, whose weights go to the model's device; or a function(output, target) of a batch's
        mean, or of shape (N,) with one for each sample.
        ``metrics``: names ("accuracy" or "acc", "mse", "mae", and those of ``steep.metrics.get``), Metrics of
        ``steep.metrics``, or functions(output, target) of a batch's mean. ``weighted_metrics`` are Metrics, or names of
        them, that take the samples' weights into account.

        A model of several outputs, which returns a tuple, list or dict of them, takes a list of losses or a dict of
        them by name; the loss is their sum, weighted by ``loss_weights`` in the same form. Metrics are for all outputs,
        or for each, in a dict by name or a list of lists.

        The penalties of ``regularize`` are part of the loss; ``regularizer``, as ``nn.regularizers.of_weights`` takes
        it, is one for all weights. ``jit_compile`` is what ``fit`` does unless told otherwise.

        Warns if the model ends in an activation that the loss does not want, such as the softmax that it applies
        itself. Raises ValueError for unknown names and a categorical loss on one output, TypeError for other objects.

        >>> import steep as st
        >>> model = st.nn.Sequential(st.nn.Linear(4, 16, activation="relu"), st.nn.Linear(16, 3))
        >>> model.compile("adam", "cross_entropy", metrics=["accuracy"])
        >>> model.compile(st.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), st.nn.CrossEntropyLoss())
        """
        from ..nn.regularizers import regularizer_function
        from .compiled import goals, make_optimizer
        from .mistakes import check_last_layer

        state = goals(self, loss, metrics, loss_weights, weighted_metrics)
        state.doubtful = not check_last_layer(self, state.kind)
        state.jit_compile = _flag("compile", jit_compile)
        state.regularizer = None if regularizer is None else regularizer_function("compile", regularizer)
        self.optimizer, state.whole_model = make_optimizer(optimizer, self.parameters())
        self._compiled = state

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = (),
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int | None = None,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        gradient_clip_norm: float | None = None,
        accumulate_gradients: int = 1,
        fast_dev_run: bool | int = False,
        overfit_batches: int = 0,
        deterministic: bool | int = False,
        precision: Any = "float32",
        jit_compile: bool | None = None,
    ) -> History:
        """Trains for ``epochs`` more epochs and returns their History: "loss", the metrics, and "val_…" of both.

        ``x`` and ``y`` are arrays, tensors, lists or DataFrames whose first axis counts the samples; tuples or dicts of
        them for several inputs (called as ``model(*x)`` and ``model(**x)``) or outputs. Floating-point numbers are cast
        to the model's dtype, and all goes to the model's device. Or ``x`` alone is a ``steep.data.Dataset``, a loader,
        or a generator of batches (x, y) or (x, y, sample_weight). ``batch_size`` is 32 unless given.

        Loss and metrics of an epoch are running means over its batches, while the model changes; validation measures
        the model at the epoch's end. ``validation_split`` holds out that share of the samples, at random and with every
        class in proportion; ``validation_data`` is (x, y), (x, y, sample_weight), a Dataset or a loader, and
        ``validation_freq`` the number of epochs from one validation to the next, or a list of epochs, from 1.

        Another ``fit`` continues: the optimizer's state and the epoch count are kept. With ``initial_epoch``, training
        goes from that epoch, counted from 0, up to ``epochs``, as in Keras. ``steps_per_epoch`` and
        ``validation_steps`` bound the number of batches; a loader goes on in the next epoch where it stopped.
        ``validation_batch_size`` is large unless given: as many samples as fit in 1 MiB.

        ``class_weight`` (a dict from labels, or a sequence) and ``sample_weight`` (a number for each sample) multiply
        the samples' losses. ``verbose``: 0 silent, 1 a progress bar, 2 a line an epoch, "auto" a bar in a terminal and
        lines elsewhere. ``callbacks``: see ``steep.callbacks``.

        ``gradient_clip_norm``: the largest norm of the gradients, see ``nn.utils.clip_grad_norm_``.
        ``accumulate_gradients``: batches whose gradients are averaged for one step of the optimizer.
        ``fast_dev_run``: one epoch of so many batches, to see whether all runs; callbacks that write files are left
        out. ``overfit_batches``: only the first so many batches, in order, for training and validation: a model that
        cannot learn them by heart has a fault. ``deterministic``: starts the random stream at this seed, True at 0, so
        that the same call gives the same bits; steep's operations are deterministic in any case.
        ``precision``: "bfloat16" or "float16" computes matrix products in 16 bits, see ``steep.autocast``, of float32
        parameters, which stay float32; float16 scales the loss, see ``steep.amp.GradScaler``, and leaves out steps in
        which it overflows. ``evaluate`` and ``predict`` compute in the precision of the last ``fit``, and all outputs
        are float32. Keras' "mixed_bfloat16" and "mixed_float16" mean the same.
        ``jit_compile``: on a CUDA device, each step is captured as a graph and replayed, see ``steep.cuda.graph``: faster
        where steps are small, with the same bits. It is for SGD, Adam and AdamW, and not for float16; elsewhere ValueError.
        On the CPU it changes nothing. None: as ``compile`` was told.

        Warns when the loss becomes NaN or infinite (on CUDA some batches later, as a look at it waits for the
        device). Raises RuntimeError before ``compile``; ValueError for lengths that differ, no data, arguments out of
        range, and a model on several devices; TypeError for data that is not numbers. Raises RuntimeError also if a
        ``fit`` of the model is running, in a callback of it or another thread.

        >>> import steep as st
        >>> st.random.manual_seed(0)
        >>> x = st.linspace(-1, 1, 64).reshape(64, 1)
        >>> model = st.nn.Linear(1, 1)
        >>> model.compile(st.optim.SGD(model.parameters(), lr=0.1), "mse")
        >>> history = model.fit(x, 2 * x + 1, epochs=50, verbose=0)
        >>> history["loss"][-1] < 1e-4
        True
        """
        from ..callbacks import CallbackList, History
        from .batches import as_data, split
        from .captured import check_capturable
        from .loop import Loop, overfitting_hint, refuse_second, shown, validation_epochs, without_files
        from .precision import precision_for
        from .sources import Arrays, gives_batches, source

        state, device = self._state_for("fit", "train_step")
        refuse_second(self, state)
        check_count("epochs", epochs)
        check_count("accumulate_gradients", accumulate_gradients)
        for name, count in (
            ("batch_size", batch_size),
            ("validation_batch_size", validation_batch_size),
            ("steps_per_epoch", steps_per_epoch),
            ("validation_steps", validation_steps),
        ):
            if count is not None:
                check_count(name, count)
        if gradient_clip_norm is not None and not gradient_clip_norm > 0:
            raise ValueError(f"gradient_clip_norm={gradient_clip_norm} must be positive")
        validated = validation_epochs(validation_freq)
        members = CallbackList(callbacks)
        if deterministic is not False:
            random.manual_seed(0 if deterministic is True else deterministic)
        if initial_epoch is not None and (not hasattr(initial_epoch, "__index__") or initial_epoch < 0):
            raise ValueError(f"initial_epoch={initial_epoch!r} must be an integer of 0 or more")
        if fast_dev_run:
            check_count("fast_dev_run", fast_dev_run)
            steps_per_epoch = validation_steps = int(fast_dev_run)
            epochs, initial_epoch, validated, members = 1, None, lambda epoch: True, without_files(members)
        if overfit_batches:
            check_count("overfit_batches", overfit_batches)
            steps_per_epoch, shuffle = overfit_batches, False

        trial = bool(fast_dev_run or overfit_batches)
        form = self._form(state, class_weight)
        arrays = None if gives_batches(x) else as_data(x, y, sample_weight, form)
        held_out = None
        if validation_split:
            if validation_data is not None:
                raise ValueError("fit: give validation_split or validation_data, not both")
            if arrays is None:
                raise ValueError("fit: validation_split needs arrays: give validation_data, or see data.random_split")
            arrays, held_out = split(arrays, validation_split)
        if arrays is None:
            training = source(
                "fit", x, y, sample_weight, form, batch_size, device, shuffle, steps_per_epoch, at_most=trial
            )
        else:
            training = Arrays(arrays, batch_size or 32, device, shuffle, steps_per_epoch, trial)
        validation, size = None, validation_batch_size
        if overfit_batches and (held_out is not None or validation_data is not None):
            validation = training
        elif held_out is not None:
            size = size or (None if validation_steps is None else 32)
            validation = Arrays(held_out, size, device, limit=validation_steps, at_most=trial)
        elif validation_data is not None:
            parts = _parts(validation_data)
            validation = source(
                "fit",
                *parts,
                form._replace(class_weight=None),
                size,
                device,
                limit=validation_steps,
                measuring=True,
                at_most=trial,
            )
        self._check_optimizer(state)

        history = members.find(History)
        if history is None:
            history = History()
            members = CallbackList([members, history])
        display = shown(members, verbose)
        members = CallbackList([members, *display])
        members.set_model(self)  # type: ignore[arg-type]  # every Trainable is a Module
        if initial_epoch is not None:
            state.epoch = int(initial_epoch)
        last = state.epoch + epochs if initial_epoch is None else epochs
        members.set_params({"epochs": last, "initial_epoch": state.epoch, "steps": training.steps, "verbose": verbose})
        state.clip_norm = gradient_clip_norm
        state.precision = precision_for(self, precision, state.precision)
        captures = state.jit_compile if jit_compile is None else _flag("fit", jit_compile)
        captures = captures and device is not cpu
        if captures:
            check_capturable(self, state)
        self.stop_training = False
        Loop(self, state, training, validation, validated, members, history, last, accumulate_gradients, captures).run()
        if display and (hint := overfitting_hint(history, history.epoch)):
            print(hint, flush=True)
        return history

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = 0,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = (),
    ) -> dict[str, Any]:
        """Loss and metrics on this data, as a dict of means over the samples; nothing is trained or dropped.

        The data is what ``fit`` takes; ``batch_size`` is as many samples as fit in 1 MiB unless given. ``verbose``: 0
        silent, 1 a bar over the batches, 2 a line of results, "auto" a bar in a terminal and a line elsewhere. Raises
        what ``fit`` raises.
        """
        from ..callbacks.progress_bar import batch_display
        from .loop import apart, measure
        from .sources import source

        state, device = self._state_for("evaluate", "validation_step")
        for name, count in (("batch_size", batch_size), ("steps", steps)):
            if count is not None:
                check_count(name, count)
        data = source("evaluate", x, y, sample_weight, self._form(state), batch_size, device, False, steps, True)
        display = batch_display("evaluate", verbose, data.steps)
        with apart(state), self._told(callbacks, display) as members:
            return measure(self, state, data, members)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Any = (),
    ) -> Any:
        """The outputs for ``x``, computed batch by batch, as one tensor; no graph is kept and nothing is dropped.

        Of several outputs a tuple or dict. They are on the model's device. ``x`` is what ``fit`` takes; of the batches
        of a loader the inputs are used. ``verbose=1`` shows a bar over the batches. Raises ValueError without samples,
        TypeError for an output that is not a Tensor.

        >>> import steep as st
        >>> st.nn.Linear(4, 3).predict([[0.0, 0.0, 0.0, 0.0]] * 100).shape
        (100, 3)
        """
        from ..callbacks.progress_bar import batch_display
        from .predictions import predictions
        from .sources import source

        for name, count in (("batch_size", batch_size), ("steps", steps)):
            if count is not None:
                check_count(name, count)
        device = self._device("predict")
        data = source("predict", x, None, None, self._form(None), batch_size, device, False, steps, True)
        with self._told(callbacks, batch_display("predict", verbose, data.steps)) as members:
            return predictions(self, data, members)

    # --- helpers --------------------------------------------------------------------------------------------------

    @contextmanager
    def _told(self, callbacks: Any, display: Any) -> Iterator[CallbackList]:
        """The callbacks, which know the model now; those of a display are closed afterwards."""
        from ..callbacks import CallbackList

        shown = CallbackList(display)
        members = CallbackList([CallbackList(callbacks), shown])
        members.set_model(self)  # type: ignore[arg-type]  # every Trainable is a Module
        try:
            yield members
        finally:
            shown.close()

    def _form(self, state: Compiled | None, class_weight: Any = None) -> Form:
        from .batches import Form, class_weights

        return Form(
            self._dtype(),
            "unknown" if state is None else state.kind,
            len(getattr(self, "input_names", ())) > 1,
            class_weights(class_weight),
        )

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        """Training or eval mode for a block; every module has its own mode back afterwards."""
        changed = [module for module in self.modules() if module.training is not training]
        if changed:
            self.train(training)
        try:
            yield
        finally:
            for module in changed:
                object.__setattr__(module, "training", not training)

    def _dtype(self) -> DType:
        for parameter in self.parameters():
            return parameter.dtype
        return dtypes.float32

    def _device(self, method: str) -> Device:
        """That of the parameters. Raises ValueError if they are on several: nothing would say where the data goes."""
        found: dict[Device, str] = {}
        for name, parameter in self.named_parameters():
            found.setdefault(parameter.device, name)
        if len(found) > 1:
            places = ", ".join(f"{name} on {device}" for device, name in found.items())
            raise ValueError(
                f"{method}: the parameters of {type(self).__name__} are on several devices ({places}): "
                "move the model to one, for example with model.to('cuda')"
            )
        return next(iter(found), get_default_device())

    def _state_for(self, method: str, step: str) -> tuple[Compiled, Device]:
        """What was compiled, and the model's device, to which the loss' weights are brought."""
        if self._compiled is None:
            from .compiled import goals

            if getattr(type(self), step) is getattr(Trainable, step):
                raise RuntimeError(f"{method}: call {type(self).__name__}.compile(optimizer, loss) first")
            self._compiled = goals(None, None, (), None, ())
        device = self._device(method)
        for goal in self._compiled.goals.values():
            if isinstance(goal.loss, Trainable):
                goal.loss.to(device)
        return self._compiled, device

    def _check_optimizer(self, state: Compiled) -> None:
        """An optimizer that holds other parameters than the model's would train nothing, without a word."""
        optimizer = getattr(self, "optimizer", None)
        if optimizer is None:
            return
        own = {id(p) for p in self.parameters()}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not held <= own or (state.whole_model and held != own):
            raise RuntimeError(
                f"fit: the optimizer's parameters are not those of {type(self).__name__} (it is another model's, or "
                "layers were added, replaced or moved since): create it from model.parameters() and compile again"
            )


def _flag(method: str, jit_compile: Any) -> bool:
    if not isinstance(jit_compile, bool):
        raise TypeError(f"{method}: jit_compile={jit_compile!r:.60} must be True or False")
    return jit_compile


def _parts(data: Any) -> tuple[Any, Any, Any]:
    """Inputs, targets and weights of validation data."""
    from .sources import gives_batches

    if gives_batches(data):
        return data, None, None
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise ValueError(
            "fit: validation_data must be a pair (x, y), a triple (x, y, sample_weight), a Dataset or a loader"
        )
    return (*data, None)[:3]
