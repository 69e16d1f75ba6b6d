"""Label maps between voxels: every class is interpolated on its own, and the largest share wins.

Nearest-neighbour labels have steps of a whole voxel; the vote puts borders where they lie, as if the classes had been
one-hot volumes, and invents no value. It is nnU-Net's way to resample labels (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

import torch
from torch import Tensor

from medframe.geometry.lossless import moves_of
from medframe.geometry.resample import TRUNCATE, Interpolation, Source, antialias_sigma, read_window, resample
from medframe.geometry.warp import Warp
from medframe.kernels import gaussian, pull
from medframe.kernels.reference import outside


def vote(source: Source, warp: Warp, how: Interpolation) -> Tensor:
    """Read labels through a warp by the vote of interpolated classes; whole-voxel warps are copies.

    Of classes with equal shares the lowest wins. Memory holds two volumes, however many classes there are.

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
    beyond = int(outside(how.fill, block.dtype))
    classes = sorted({int(v) for v in torch.unique(block)} | ({beyond} if how.border == "zero" else set()))
    out = torch.full((block.shape[0], *warp.shape), classes[0], dtype=block.dtype, device=block.device)
    best: Tensor | None = None
    for value in classes:
        share = (block == value).to(torch.float32)
        if any(sigma):
            share = gaussian(share, sigma, truncate=TRUNCATE)
        fill = 1.0 if value == beyond else 0.0
        share = pull(share, local.kernel_stages, warp.shape, order=how.order, border=how.border, fill=fill)
        if best is None:
            best = share
            continue
        wins = share > best
        out = torch.where(wins, torch.tensor(value, dtype=out.dtype, device=out.device), out)
        best = torch.where(wins, share, best)
    return out
