"""The local similarity of two images, which losses average to learn by and metrics to judge by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def window_line(size: int, sigma: float | None) -> Tensor:
    """The weights of a window along one axis, summing to 1: a Gaussian of `sigma` voxels, or all alike for None."""
    away = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    line = torch.ones_like(away) if sigma is None else torch.exp(-0.5 * (away / sigma) ** 2)
    return line / line.sum()


def structural_maps(a: Tensor, b: Tensor, line: Tensor, c1: float, c2: float) -> tuple[Tensor, Tensor]:
    """The structural similarity around every voxel, and its contrast-structure part.

    Windows lie inside the image only. Variances are those of the weighted window, without a correction for its size.
    Differentiable; autocast does not narrow it.

    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004,
    doi:10.1109/TIP.2003.819861.

    Args:
        a: (B, C, *spatial), one to three spatial axes, each at least as long as the window; floating point.
        b: of the same shape and type.
        line: the window's weights along each axis, see `window_line`.
        c1: the constant that calms the means.
        c2: the constant that calms the variances.

    Returns:
        Two maps (B, C, *spatial - window + 1).
    """
    rank = a.dim() - 2
    convolve = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    weights = line.to(a)
    with torch.autocast(a.device.type, enabled=False):
        means = torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 2)[:, None]
        for axis in range(rank):
            means = convolve(means, weights.reshape(1, 1, *[-1 if other == axis else 1 for other in range(rank)]))
    ma, mb, aa, bb, ab = means.reshape(5, a.shape[0], a.shape[1], *means.shape[2:])
    contrast = (2 * (ab - ma * mb) + c2) / ((aa - ma * ma) + (bb - mb * mb) + c2)
    return contrast * (2 * ma * mb + c1) / (ma * ma + mb * mb + c1), contrast
