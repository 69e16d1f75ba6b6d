"""The meaning of every op, in plain torch: slow, and the judge of all other back ends."""

from medframe.kernels.reference.filters import filter_axes, gaussian, gaussian_weights, median
from medframe.kernels.reference.gradients import push, sample, sample_backward
from medframe.kernels.reference.labels import SAME_SHARE, label_vote, logit_argmax
from medframe.kernels.reference.regions import components, distance_transform, grow, joint_counts, normal_noise, philox
from medframe.kernels.reference.sampling import (
    displace,
    field,
    fold,
    jacobian,
    outside,
    pull,
    read_at,
    spline_prefilter,
    spline_slopes,
    spline_weights,
    to_dtype,
    transform,
    unravel,
    walk,
)
from medframe.kernels.reference.surfaces import distances_at, label_boxes

__all__ = [
    "SAME_SHARE",
    "components",
    "displace",
    "distance_transform",
    "distances_at",
    "field",
    "filter_axes",
    "fold",
    "gaussian",
    "gaussian_weights",
    "grow",
    "jacobian",
    "joint_counts",
    "label_boxes",
    "label_vote",
    "logit_argmax",
    "median",
    "normal_noise",
    "outside",
    "philox",
    "pull",
    "push",
    "read_at",
    "sample",
    "sample_backward",
    "spline_prefilter",
    "spline_slopes",
    "spline_weights",
    "to_dtype",
    "transform",
    "unravel",
    "walk",
]
