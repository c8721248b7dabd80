"""steep's kernels on anybody's arrays: NumPy, PyTorch, CuPy, JAX, or whatever supports DLPack. Nothing is copied.

Every function writes into ``out`` (which may be an input, where shapes allow) and returns None. Arrays are float32 or
float64, C-contiguous where not said otherwise, and all of one dtype. Raises TypeError for other arrays and ValueError
for shapes that don't fit.

>>> import numpy as np
>>> from steep import kernels
>>> x = np.zeros((2, 2), np.float32)
>>> kernels.softmax(x, out=x)
>>> x
array([[0.5, 0.5],
       [0.5, 0.5]], dtype=float32)
"""

from . import _core

__all__ = ["matmul", "sigmoid", "sigmoid_backward", "softmax", "softmax_backward"]

matmul = _core.kernels.matmul
sigmoid = _core.kernels.sigmoid
sigmoid_backward = _core.kernels.sigmoid_backward
softmax = _core.kernels.softmax
softmax_backward = _core.kernels.softmax_backward
