"""What steep calls the things that other libraries have other names for: part of the message where one is missing."""

from __future__ import annotations

import steep

# Of functions and packages: NumPy's, PyTorch's and TensorFlow's names.
FUNCTIONS = {
    "DataLoader": "data.DataLoader",
    "Dataset": "data.Dataset",
    "TensorDataset": "data.TensorDataset",
    "Generator": "random.fork(seed)",
    "GradScaler": "amp.GradScaler()",
    "GradientTape": "value_and_grad(loss), or x.requires_grad and loss.backward()",
    "Model": "nn.Model",
    "Module": "nn.Module",
    "Sequential": "nn.Sequential",
    "Variable": "tensor(values, requires_grad=True)",
    "absolute": "abs",
    "activations": "steep.relu, steep.tanh, …, or their names in nn.Linear(…, activation=name)",
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
    "constraints": "nn.constraints",
    "convert_to_tensor": "asarray",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "datasets": "data.load(name)",
    "div": "divide",
    "eq": "equal",
    "fft": "numpy.fft on x.numpy()",
    "float": "float32",
    "from_numpy": "asarray",
    "functional": "steep.relu, steep.cross_entropy, …",
    "function": "the function as it is: steep runs every operation at once, and traces nothing",
    "ge": "greater_equal",
    "gt": "greater",
    "half": "float16",
    "hstack": "concat",
    "index_select": "take",
    "initializers": "nn.init",
    "inference_mode": "no_grad",
    "int": "int32",
    "isclose": "numpy.isclose(a.numpy(), b.numpy())",
    "keras": "steep.nn, steep.optim, steep.callbacks, steep.metrics and steep.data",
    "layers": "nn",
    "le": "less_equal",
    "linalg": "numpy.linalg on x.numpy()",
    "load_model": "the code that makes the model, and model.load_weights(path)",
    "long": "int64",
    "losses": "steep.nn.CrossEntropyLoss, steep.nn.MSELoss, …, or the names that compile takes",
    "lt": "less",
    "mm": "matmul",
    "movedim": "moveaxis",
    "mul": "multiply",
    "ne": "not_equal",
    "optimizers": "optim",
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
    "regularizers": "nn.regularizers",
    "seed": "manual_seed",
    "set_default_dtype": 'tensor(x, dtype="float64"), and model.to("float64")',
    "set_random_seed": "manual_seed",
    "sub": "subtract",
    "swapdims": "swapaxes",
    "to_categorical": "one_hot(labels, num_classes)",
    "train_test_split": "data.random_split",
    "transforms": "data.augment",
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
    "BinaryCrossentropy": "BCEWithLogitsLoss() of logits, or BCELoss() of probabilities",
    "CategoricalCrossentropy": "CrossEntropyLoss() of logits",
    "Concatenate": "Concat(axis)",
    "Dense": "Linear(in_features, out_features, activation=name)",
    "Functional": "Model(inputs, outputs)",
    "Huber": "HuberLoss()",
    "InputLayer": "Input(shape)",
    "KLDivergence": "KLDivLoss()",
    "LayerNormalization": "LayerNorm(shape)",
    "LazyLinear": "Linear(in_features, out_features)",
    "MeanAbsoluteError": "L1Loss()",
    "MeanSquaredError": "MSELoss()",
    "ModuleDict": "attributes, or Sequential({name: module})",
    "Multiply": "a * b",
    "ParameterList": "attributes, one for each Parameter",
    "Rescaling": "Lambda(lambda x: x / 255)",
    "Reshape": "Lambda(lambda x: x.reshape(-1, …))",
    "SparseCategoricalCrossentropy": "CrossEntropyLoss() of logits",
    "Subtract": "a - b",
    "Unflatten": "Lambda(lambda x: x.reshape(-1, …))",
    "functional": "steep.relu, steep.cross_entropy, …",
    "layers": "steep.nn.Linear, steep.nn.Dropout, …",
}
# How the names of layers begin that steep has none of.
NO_LAYERS = {
    ("Conv", "MaxPool", "AvgPool", "AdaptiveAvgPool", "GlobalAverage", "AveragePool"): "convolutions, nor pooling",
    ("LSTM", "GRU", "RNN", "SimpleRNN", "Bidirectional"): "recurrent layers",
    ("MultiHeadAttention", "MultiheadAttention", "Attention", "Transformer"): "attention layers",
}
# Of a module's methods and attributes: Keras' names, and PyTorch's.
MODULES = {
    "add_loss": "model.regularize(name, rule), or the loss in train_step",
    "add_weight": "self.name = steep.nn.Parameter(values)",
    "bfloat16": 'model.to("bfloat16")',
    "count_params": "sum(p.size for p in model.parameters()), or model.summary()",
    "double": 'model.to("float64")',
    "fit_generator": "model.fit, which takes generators",
    "float": 'model.to("float32")',
    "get_layer": "its attribute, model.linear_1, or its place in a Sequential, model[0]",
    "half": 'model.to("float16")',
    "layers": "list(model.children())",
    "losses": "model.regularization_loss()",
    "predict_on_batch": "model.predict(x)",
    "register_parameter": "self.name = steep.nn.Parameter(values)",
    "save": "model.save_weights(path), and the code that makes the model",
    "test_on_batch": "model.evaluate(x, y)",
    "train_on_batch": "model.train_step((x, y)), or model.fit(x, y)",
    "trainable_variables": "[p for p in model.parameters() if p.requires_grad]",
    "trainable_weights": "[p for p in model.parameters() if p.requires_grad]",
    "variables": "model.parameters()",
    "weights": "model.parameters()",
}
# Of metrics: Keras', TorchMetrics' and scikit-learn's names.
METRICS = {
    "AUROC": "AUC()",
    "BinaryCrossentropy": 'the "loss" that fit and evaluate give',
    "F1": "F1Score()",
    "MAE": "MeanAbsoluteError()",
    "MSE": "MeanSquaredError()",
    "RMSE": "RootMeanSquaredError()",
    "SparseTopKCategoricalAccuracy": "TopKCategoricalAccuracy()",
    "accuracy_score": "Accuracy()(output, target)",
    "confusion_matrix": "ConfusionMatrix(num_classes)(output, target)",
    "f1_score": "F1Score()(output, target)",
    "mean_absolute_error": "MeanAbsoluteError()(output, target)",
    "mean_squared_error": "MeanSquaredError()(output, target)",
    "precision_score": "Precision()(output, target)",
    "r2_score": "R2Score()(output, target)",
    "recall_score": "Recall()(output, target)",
    "roc_auc_score": "AUC()(output, target)",
}
# Of steep.data, and of its augmentation.
DATA = {
    "IterableDataset": "a generator of batches, which model.fit takes",
    "Normalize": "steep.nn.Normalization().adapt(x), a layer",
    "StandardScaler": "steep.nn.Normalization().adapt(x), a layer",
    "load_breast_cancer": 'load("breast_cancer")',
    "load_diabetes": 'load("diabetes")',
    "load_digits": 'load("digits"), or load_digits28()',
    "load_iris": 'load("iris")',
    "load_wine": 'load("wine")',
    "mnist": "load_mnist(folder), or load_digits28()",
    "train_test_split": "random_split",
    "transforms": "augment",
}
AUGMENTATION = {
    "Compose": "steep.nn.Sequential(…)",
    "GaussianNoise": "RandomNoise(std)",
    "Normalize": "steep.nn.Normalization().adapt(x), a layer",
    "RandomAffine": "RandomRotation(degrees) and RandomShift(pixels)",
    "RandomHorizontalFlip": "RandomFlip()",
    "RandomTranslation": "RandomShift(pixels)",
    "RandomVerticalFlip": "RandomFlip(axis=-2)",
}
# Of torch.amp and torch.cuda.
AMP = {
    "autocast": 'steep.autocast("bfloat16")',
    "custom_bwd": "steep.autograd.Function as it is: its backward runs in the dtypes of the forward pass",
    "custom_fwd": "steep.autograd.Function as it is, or steep.autocast(enabled=False) in its forward",
}
CUDA = {
    "CUDAGraph": "steep.cuda.graph(step)",
    "amp": 'steep.autocast("float16") and steep.amp.GradScaler()',
    "make_graphed_callables": "steep.cuda.graph(step), of whole training steps",
}
# Of pictures.
PLOTS = {
    "learning_curve": "steep.analysis.learning_curve(make_model, x, y).plot()",
    "plot_confusion_matrix": "confusion_matrix(output, target)",
    "plot_history": "training_curves(history)",
    "plot_model": "model.summary(), or computational_graph(model(x))",
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


def of(names: dict[str, str], name: str) -> str:
    """What to use in place of a missing name, as one of the tables above says; empty for names that no library has."""
    return f": use {names[name]}" if name in names else ""


def of_layer(name: str) -> str:
    """The same for ``steep.nn``, which also says what kinds of layers it lacks."""
    for begins, what in NO_LAYERS.items():
        if name.startswith(begins):
            return f": steep has no {what}"
    there = LAYERS.get(name, "")
    return there and f": use {'nn.' if there.split('(')[0].isidentifier() else ''}{there}"


def of_function(name: str) -> str:
    """The same for ``steep``."""
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
