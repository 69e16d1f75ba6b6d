"""Label maps between voxels: every class is interpolated on its own, and the largest share wins.

Nearest-neighbour labels have steps of a whole voxel; the vote puts borders where they lie, as if the classes had been
one-hot volumes, and invents no value. It is nnU-Net's way to resample labels (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

from torch import Tensor

from medframe.geometry.lossless import moves_of
from medframe.geometry.resample import Interpolation, Source, antialias_sigma, read_window, resample
from medframe.geometry.warp import Warp
from medframe.kernels import label_vote


def vote(source: Source, warp: Warp, how: Interpolation) -> Tensor:
    """Read labels through a warp by the vote of interpolated classes; whole-voxel warps are copies.

    Of classes with equal shares the lowest wins; see `kernels.label_vote`.

    Args:
        source: (C, *in) integers.
        warp: from the output lattice to the source's.
        how: order 1 or 3; `fill` is the label outside, rounded and saturated into the dtype.

    Returns:
        (C, *warp.shape) of the source's dtype.
    """
    if how.order == 0 or moves_of(warp) is not None:
        return resample(source, warp, how)
    sigma = antialias_sigma(warp) if how.antialias else (0.0,) * len(warp.shape)
    block, local = read_window(source, warp, how, sigma)
    stages = local.kernel_stages
    return label_vote(block, stages, warp.shape, order=how.order, border=how.border, fill=how.fill, smooth=sigma)
