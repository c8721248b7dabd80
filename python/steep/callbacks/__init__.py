"""Callbacks: what is done while a model trains. ``model.fit(…, callbacks=[EarlyStopping(patience=5)])``."""

from typing import Any

from .. import hints
from .backup_and_restore import BackupAndRestore
from .callback import Callback, CallbackList
from .csv_logger import CSVLogger
from .early_stopping import EarlyStopping
from .exponential_moving_average import ExponentialMovingAverage
from .history import History
from .lambda_callback import LambdaCallback
from .learning_rate_finder import LearningRateFinder
from .learning_rate_scheduler import LearningRateScheduler
from .model_checkpoint import ModelCheckpoint
from .monitor import Monitor
from .progress_bar import ProgressBar, ProgressLines
from .reduce_lr_on_plateau import ReduceLROnPlateau
from .tensor_board import TensorBoard
from .terminate_on_nan import TerminateOnNaN
from .timer import Timer

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "History",
    "LambdaCallback",
    "LearningRateFinder",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "Monitor",
    "ProgressBar",
    "ProgressLines",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "Timer",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hints.of(hints.CALLBACKS, name)}")
