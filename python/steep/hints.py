"""What steep calls the things that other libraries have other names for: part of the message where one is missing."""

from __future__ import annotations

import steep

# Of functions: NumPy's, PyTorch's and TensorFlow's names.
FUNCTIONS = {
    "DataLoader": "data.DataLoader",
    "Dataset": "data.Dataset",
    "TensorDataset": "data.TensorDataset",
    "GradientTape": "value_and_grad(loss), or x.requires_grad and loss.backward()",
    "Model": "nn.Model",
    "Module": "nn.Module",
    "Sequential": "nn.Sequential",
    "Variable": "tensor(values, requires_grad=True)",
    "absolute": "abs",
    "allclose": "numpy.allclose(a.numpy(), b.numpy())",
    "amax": "max",
    "amin": "min",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan": "atan",
    "arctan2": "atan2",
    "array": "tensor",
    "as_tensor": "asarray",
    "bitwise_not": "bitwise_invert",
    "bmm": "matmul",
    "cat": "concat",
    "chunk": "split",
    "clamp": "clip",
    "compile": "the model or the function as it is: steep runs every operation at once, and has nothing to compile",
    "concatenate": "concat",
    "constant": "tensor",
    "convert_to_tensor": "asarray",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "datasets": "data.load(name)",
    "div": "divide",
    "eq": "equal",
    "fft": "numpy.fft on x.numpy()",
    "float": "float32",
    "from_numpy": "asarray",
    "function": "the function as it is: steep runs every operation at once, and traces nothing",
    "ge": "greater_equal",
    "gt": "greater",
    "half": "float16",
    "hstack": "concat",
    "index_select": "take",
    "inference_mode": "no_grad",
    "int": "int32",
    "isclose": "numpy.isclose(a.numpy(), b.numpy())",
    "le": "less_equal",
    "linalg": "numpy.linalg on x.numpy()",
    "long": "int64",
    "lt": "less",
    "mm": "matmul",
    "movedim": "moveaxis",
    "mul": "multiply",
    "ne": "not_equal",
    "permute": "permute_dims",
    "power": "pow",
    "rand": "random.uniform(shape)",
    "randint": "random.randint",
    "randn": "random.normal(shape)",
    "random_split": "data.random_split",
    "randperm": "random.permutation",
    "ravel": "flatten",
    "reduce_max": "max",
    "reduce_mean": "mean",
    "reduce_sum": "sum",
    "seed": "manual_seed",
    "sub": "subtract",
    "swapdims": "swapaxes",
    "train_test_split": "data.random_split",
    "true_divide": "divide",
    "unique": "unique_values",
    "unsqueeze": "expand_dims",
    "utils": "steep.data for datasets and loaders",
    "view": "reshape",
    "vstack": "concat",
}
# Of a tensor's methods and attributes, where they are not the functions' names.
METHODS = {
    "bfloat16": "x.astype(steep.bfloat16)",
    "bool": "x.astype(steep.bool)",
    "assign": "x.copy_(values)",
    "assign_add": "x.add_(values)",
    "assign_sub": "x.sub_(values)",
    "data": "x.detach()",
    "dim": "x.ndim",
    "expand": "steep.broadcast_to(x, shape)",
    "half": "x.astype(steep.float16)",
    "int": "x.astype(steep.int32)",
    "is_cuda": 'x.device.type == "cuda"',
    "numel": "x.size",
    "permute": "steep.permute_dims(x, axes)",
    "t": "x.T",
    "type": "x.astype(dtype)",
    "view": "x.reshape(shape)",
}
# Of torch.optim.lr_scheduler's classes: what steep.optim.schedules has.
SCHEDULES = {
    "ConstantLR": "PiecewiseConstant([total_iters], [lr * factor, lr])",
    "CosineAnnealingLR": "CosineDecay(lr, T_max, alpha=eta_min / lr)",
    "CosineAnnealingWarmRestarts": "CosineDecayRestarts(lr, T_0, t_mul=T_mult, alpha=eta_min / lr)",
    "ExponentialLR": "ExponentialDecay(lr, decay_steps=1, decay_rate=gamma)",
    "LambdaLR": "a function of the step that returns the rate",
    "LinearLR": "Warmup(lr, total_iters, lr * start_factor)",
    "MultiStepLR": "PiecewiseConstant(milestones, [lr, lr * gamma, …])",
    "OneCycleLR": "OneCycle(max_lr, total_steps)",
    "PiecewiseConstantDecay": "PiecewiseConstant(boundaries, values), which changes at the boundary, not after it",
    "PolynomialLR": "PolynomialDecay(lr, total_iters, end_learning_rate=0.0, power=power)",
    "SequentialLR": "Sequence(schedules, milestones)",
    "StepLR": "StepDecay(lr, step_size, gamma)",
}
# Of layers: Keras' names, and PyTorch's where another layer does it.
LAYERS = {
    "Activation": "Sequential's layers ReLU, Tanh, …, or Linear(…, activation=name)",
    "Add": "a + b",
    "BatchNormalization": "BatchNorm1d(features)",
    "Concatenate": "Concat(axis)",
    "Dense": "Linear(in_features, out_features, activation=name)",
    "Functional": "Model(inputs, outputs)",
    "InputLayer": "Input(shape)",
    "LayerNormalization": "LayerNorm(shape)",
    "LazyLinear": "Linear(in_features, out_features)",
    "ModuleDict": "attributes, or Sequential({name: module})",
    "Multiply": "a * b",
    "ParameterList": "attributes, one for each Parameter",
    "Reshape": "Lambda(lambda x: x.reshape(-1, …))",
    "Subtract": "a - b",
    "Unflatten": "Lambda(lambda x: x.reshape(-1, …))",
}
# Of Keras', Lightning's and fastai's callbacks: what steep.callbacks has.
CALLBACKS = {
    "CSVCallback": "CSVLogger",
    "DeviceStatsMonitor": "Timer, and steep.cuda.memory_stats()",
    "EMA": "ExponentialMovingAverage",
    "GradientAccumulationScheduler": "model.fit(…, accumulate_gradients=n)",
    "LRFinder": "LearningRateFinder",
    "LearningRateMonitor": "CSVLogger or TensorBoard, beside LearningRateScheduler or ReduceLROnPlateau",
    "OnExceptionCheckpoint": "BackupAndRestore",
    "ProgbarLogger": "ProgressBar, or model.fit(…, verbose=1)",
    "ReduceLROnPlateu": "ReduceLROnPlateau",
    "RemoteMonitor": "LambdaCallback(on_epoch_end=…)",
    "RichProgressBar": "ProgressBar, or model.fit(…, verbose=1)",
    "SaveModelCallback": "ModelCheckpoint",
    "StochasticWeightAveraging": "ExponentialMovingAverage",
    "SwapEMAWeights": "ExponentialMovingAverage",
    "TQDMProgressBar": "ProgressBar, or model.fit(…, verbose=1)",
    "TerminateOnNan": "TerminateOnNaN",
    "WeightAveraging": "ExponentialMovingAverage",
}


def of_layer(name: str) -> str:
    """What to use in place of a missing ``steep.nn.<name>``; empty for names that no library has."""
    there = LAYERS.get(name, "")
    return there and f": use {'nn.' if there.split('(')[0].isidentifier() else ''}{there}"


def of_function(name: str) -> str:
    """What to use in place of a missing ``steep.<name>``; empty for names that no library has."""
    there = FUNCTIONS.get(name, "")
    plain = there.partition("(")[0].replace(".", "").isidentifier() and not there.startswith("numpy")
    return there and f": use {'steep.' if plain else ''}{there}"


def of_method(name: str) -> str:
    """The same for a method: steep has few of them, beside as many functions."""
    if name in METHODS:
        return f": use {METHODS[name]}"
    if name in steep.ops.__all__:
        return f": use steep.{name}(x)"
    return of_function(name)


def of_optimizer(name: str) -> str:
    """The same for ``steep.optim``: schedules are not called there, but passed."""
    there = "use steep.optim.schedules: pass Adam(params, lr=StepDecay(0.1, 1000)), and call optimizer.step() only"
    return f": {there}" if name == "lr_scheduler" else ""


def of_schedule(name: str) -> str:
    """The same for ``steep.optim.schedules``."""
    return f": use {SCHEDULES[name]}, as the lr of an optimizer" if name in SCHEDULES else ""


def of_callback(name: str) -> str:
    """The same for ``steep.callbacks``."""
    return f": use {CALLBACKS[name]}" if name in CALLBACKS else ""
