"""Whether the program runs in a notebook, and what can be shown there."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["has_widgets", "in_notebook"]


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this process. That ipykernel was imported, as by a test, is not enough.

    >>> import steep.notebook
    >>> steep.notebook.in_notebook()
    False
    """
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def has_widgets() -> bool:
    """Whether this is a notebook that can show widgets, such as tqdm's bar."""
    return in_notebook() and find_spec("ipywidgets") is not None
