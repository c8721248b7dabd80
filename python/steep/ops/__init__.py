"""All operations on tensors, as functions. Each has its derivative beside it; ``steep.<name>`` is the same function."""

from . import (
    creation,
    diagonals,
    distances,
    dtype_functions,
    elementwise,
    indexing,
    linalg,
    logic,
    losses,
    manipulation,
    normalization,
    rearrange,
    reduction,
    rows,
    scan,
    scatters,
    sorting,
    trigonometry,
)
from ._apply import as_tensor as as_tensor
from ._apply import is_operand as is_operand
from ._apply import operand as operand
from .creation import *
from .creation import to_device as to_device
from .diagonals import *
from .distances import *
from .dtype_functions import *
from .einsum import einsum as einsum
from .elementwise import *
from .indexing import *
from .indexing import getitem as getitem
from .indexing import setitem as setitem
from .linalg import *
from .logic import *
from .losses import *
from .manipulation import *
from .normalization import *
from .rearrange import *
from .reduction import *
from .rows import *
from .scan import *
from .scatters import *
from .sorting import *
from .trigonometry import *

__all__: list[str] = []
__all__ += creation.__all__
__all__ += diagonals.__all__
__all__ += distances.__all__
__all__ += dtype_functions.__all__
__all__ += ["einsum"]
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += linalg.__all__
__all__ += logic.__all__
__all__ += losses.__all__
__all__ += manipulation.__all__
__all__ += normalization.__all__
__all__ += rearrange.__all__
__all__ += reduction.__all__
__all__ += rows.__all__
__all__ += scan.__all__
__all__ += sorting.__all__
__all__ += scatters.__all__
__all__ += trigonometry.__all__
