"""Kernels: few operations, one meaning each, several back ends."""

from medframe.kernels.ops import gaussian, label_vote, pull, report
from medframe.kernels.stages import Border, Knots

__all__ = ["Border", "Knots", "gaussian", "label_vote", "pull", "report"]
