"""The C++ back end. One module a family of ops: `declines_X` says why a call is not for it, `X` serves it."""

from medframe.kernels.native.gradients import declines_push, declines_sample, push, sample, sample_backward
from medframe.kernels.native.labels import (
    declines_label_vote,
    declines_logit_argmax,
    label_vote,
    logit_argmax,
)
from medframe.kernels.native.library import core
from medframe.kernels.native.sampling import declines_pull, pull

__all__ = [
    "core",
    "declines_label_vote",
    "declines_logit_argmax",
    "declines_pull",
    "declines_push",
    "declines_sample",
    "label_vote",
    "logit_argmax",
    "pull",
    "push",
    "sample",
    "sample_backward",
]
