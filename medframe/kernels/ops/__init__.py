"""The ops, one module a family: arguments are checked here, then the dispatch table picks who computes."""

from medframe.kernels.ops.filters import gaussian
from medframe.kernels.ops.labels import label_vote, logit_argmax
from medframe.kernels.ops.sample import sample, spatial_transform
from medframe.kernels.ops.sampling import pull, pull_batch, push
from medframe.kernels.ops.table import report

__all__ = [
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
