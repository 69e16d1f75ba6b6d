"""The CUDA back end. One module a family of ops: `declines_X` says why a call is not for it, `X` serves it.

Sources are in cuda_ext/*.cu; they are compiled at first use.
"""

from medframe.kernels.cuda import filters, gradients, labels, noise, regions, sampling
from medframe.kernels.cuda.filters import (
    declines_filter_axes,
    declines_gaussian,
    declines_median,
    filter_axes,
    gaussian,
    median,
)
from medframe.kernels.cuda.gradients import declines_sample, declines_sample_backward, sample, sample_backward
from medframe.kernels.cuda.labels import declines_label_vote, declines_logit_argmax, label_vote, logit_argmax
from medframe.kernels.cuda.launch import missing
from medframe.kernels.cuda.noise import normal
from medframe.kernels.cuda.regions import (
    components,
    declines_components,
    declines_distance,
    declines_fill_holes,
    declines_grow,
    declines_joint_counts,
    distance,
    fill_holes,
    grow,
    joint_counts,
)
from medframe.kernels.cuda.sampling import declines_pull, declines_push, pull, pull_batch, push
from medframe.kernels.cuda.sources import Kernel

__all__ = [
    "components",
    "declines_components",
    "declines_distance",
    "declines_fill_holes",
    "declines_filter_axes",
    "declines_gaussian",
    "declines_grow",
    "declines_joint_counts",
    "declines_label_vote",
    "declines_logit_argmax",
    "declines_median",
    "declines_pull",
    "declines_push",
    "declines_sample",
    "declines_sample_backward",
    "distance",
    "fill_holes",
    "filter_axes",
    "gaussian",
    "grow",
    "joint_counts",
    "kernels",
    "label_vote",
    "logit_argmax",
    "median",
    "missing",
    "normal",
    "pull",
    "pull_batch",
    "push",
    "sample",
    "sample_backward",
]


def kernels() -> list[Kernel]:
    """Every kernel of the back end: what the tests compile and run."""
    families = (sampling, gradients, filters, labels, noise, regions)
    return [which for family in families for which in family.kernels()]
