"""The CUDA back end. One module a family of ops: `declines_X` says why a call is not for it, `X` serves it.

Sources are in cuda_ext/*.cu; they are compiled at first use.
"""

from medframe.kernels.cuda import filters, sampling
from medframe.kernels.cuda.filters import declines_gaussian, gaussian
from medframe.kernels.cuda.launch import missing
from medframe.kernels.cuda.sampling import declines_pull, pull, pull_batch
from medframe.kernels.cuda.sources import Kernel

__all__ = ["declines_gaussian", "declines_pull", "gaussian", "kernels", "missing", "pull", "pull_batch"]


def kernels() -> list[Kernel]:
    """Every kernel of the back end: what the tests compile and run."""
    return [*sampling.kernels(), *filters.kernels()]
