"""The ops, one module a family: arguments are checked here, then the dispatch table picks who computes."""

from medframe.kernels.ops.filters import box, gaussian, median
from medframe.kernels.ops.labels import label_vote, logit_argmax
from medframe.kernels.ops.noise import normal_noise
from medframe.kernels.ops.regions import (
    ComponentStatistics,
    component_statistics,
    components,
    dilate,
    distance_transform,
    erode,
    fill_holes,
    joint_counts,
    signed_distance,
)
from medframe.kernels.ops.sample import sample, spatial_transform
from medframe.kernels.ops.sampling import pull, pull_batch, push
from medframe.kernels.ops.surfaces import distances_at, label_boxes
from medframe.kernels.ops.table import report

__all__ = [
    "ComponentStatistics",
    "box",
    "component_statistics",
    "components",
    "dilate",
    "distance_transform",
    "distances_at",
    "erode",
    "fill_holes",
    "gaussian",
    "joint_counts",
    "label_boxes",
    "label_vote",
    "logit_argmax",
    "median",
    "normal_noise",
    "pull",
    "pull_batch",
    "push",
    "report",
    "sample",
    "signed_distance",
    "spatial_transform",
]
