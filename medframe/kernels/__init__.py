"""Kernels: few operations, one meaning each, several back ends."""

from medframe.kernels.ops import (
    gaussian,
    label_vote,
    logit_argmax,
    pull,
    pull_batch,
    push,
    report,
    sample,
    spatial_transform,
)
from medframe.kernels.stages import Border, Knots

__all__ = [
    "Border",
    "Knots",
    "gaussian",
    "label_vote",
    "logit_argmax",
    "pull",
    "pull_batch",
    "push",
    "report",
    "sample",
    "spatial_transform",
]
