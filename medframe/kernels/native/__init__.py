"""The C++ back end. One module a family of ops: `declines_X` says why a call is not for it, `X` serves it."""

from medframe.kernels.native.labels import declines_label_vote, label_vote
from medframe.kernels.native.library import core
from medframe.kernels.native.sampling import declines_pull, pull

__all__ = ["core", "declines_label_vote", "declines_pull", "label_vote", "pull"]
