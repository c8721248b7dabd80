"""Files: tensors and whole training states as safetensors with JSON inside, never pickle, written atomically."""

from .atomic import atomic_write
from .file import load, save

__all__ = ["atomic_write", "load", "save"]
