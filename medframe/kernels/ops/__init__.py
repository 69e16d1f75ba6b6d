"""The ops, one module a family: arguments are checked here, then the dispatch table picks who computes."""

from medframe.kernels.ops.filters import gaussian
from medframe.kernels.ops.labels import label_vote
from medframe.kernels.ops.sampling import pull
from medframe.kernels.ops.table import report

__all__ = ["gaussian", "label_vote", "pull", "report"]
