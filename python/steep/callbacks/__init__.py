"""Callbacks: what is done while a model trains."""

from .callback import Callback, CallbackList
from .history import History
from .progress_bar import ProgressBar, ProgressLines

__all__ = ["Callback", "CallbackList", "History", "ProgressBar", "ProgressLines"]
