"""Losses. All take ``reduction``: "mean" (over the samples), "sum" or "none"; all validate what they are given."""

from .binary import binary_cross_entropy, binary_cross_entropy_with_logits, hinge_embedding_loss, soft_margin_loss
from .classes import cross_entropy, multi_margin_loss, nll_loss
from .distances import cosine_embedding_loss, margin_ranking_loss, triplet_margin_loss
from .values import gaussian_nll_loss, huber_loss, kl_div, l1_loss, mse_loss, poisson_nll_loss, smooth_l1_loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
]
