"""The C++ back end. One module a family of ops: `declines_X` says why a call is not for it, `X` serves it."""

from medframe.kernels.native.filters import (
    declines_filter_axes,
    declines_gaussian,
    declines_median,
    filter_axes,
    gaussian,
    median,
)
from medframe.kernels.native.gradients import declines_push, declines_sample, push, sample, sample_backward
from medframe.kernels.native.labels import (
    declines_label_vote,
    declines_logit_argmax,
    label_vote,
    logit_argmax,
)
from medframe.kernels.native.library import core
from medframe.kernels.native.memory import empty
from medframe.kernels.native.regions import (
    components,
    declines_components,
    declines_counts,
    declines_distance,
    declines_grow,
    declines_noise,
    distance_transform,
    grow,
    joint_counts,
    normal_noise,
)
from medframe.kernels.native.sampling import declines_pull, pull
from medframe.kernels.native.surfaces import declines_boxes, declines_distances_at, distances_at, label_boxes

__all__ = [
    "components",
    "core",
    "declines_boxes",
    "declines_components",
    "declines_counts",
    "declines_distance",
    "declines_distances_at",
    "declines_filter_axes",
    "declines_gaussian",
    "declines_grow",
    "declines_label_vote",
    "declines_logit_argmax",
    "declines_median",
    "declines_noise",
    "declines_pull",
    "declines_push",
    "declines_sample",
    "distance_transform",
    "distances_at",
    "empty",
    "filter_axes",
    "gaussian",
    "grow",
    "joint_counts",
    "label_boxes",
    "label_vote",
    "logit_argmax",
    "median",
    "normal_noise",
    "pull",
    "push",
    "sample",
    "sample_backward",
]
