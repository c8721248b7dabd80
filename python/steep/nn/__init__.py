"""Layers, losses and initialisers: the parts of a model, and Module, which holds them together."""

from .. import hints as _hints
from ..tensor import Parameter
from . import constraints, init, regularizers, utils
from .activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .containers import ModuleList, Sequential
from .embedding import Embedding
from .graph import Input
from .linear import Bilinear, Linear
from .losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MarginRankingLoss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    PoissonNLLLoss,
    SmoothL1Loss,
    SoftMarginLoss,
    TripletMarginLoss,
)
from .merge import Concat, Lambda
from .model import Model
from .module import Module
from .normalization import BatchNorm1d, GroupNorm, LayerNorm, RMSNorm
from .preprocessing import MinMaxScaling, Normalization
from .regularization import Dropout
from .shape import Flatten, Identity

__all__ = [
    "ELU",
    "GELU",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "Bilinear",
    "Concat",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNLLLoss",
    "GroupNorm",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "Input",
    "KLDivLoss",
    "L1Loss",
    "Lambda",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MarginRankingLoss",
    "MinMaxScaling",
    "Model",
    "Module",
    "ModuleList",
    "MultiMarginLoss",
    "NLLLoss",
    "Normalization",
    "Parameter",
    "PoissonNLLLoss",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softplus",
    "Tanh",
    "TripletMarginLoss",
    "constraints",
    "init",
    "regularizers",
    "utils",
]


def __getattr__(name: str) -> object:
    raise AttributeError(f"module 'steep.nn' has no attribute {name!r}{_hints.of_layer(name)}")
