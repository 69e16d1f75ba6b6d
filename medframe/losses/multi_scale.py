"""A loss of two images at several scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.losses.tensors import full_precision, pair


@dataclass(frozen=True)
class MultiScaleLoss:
    """The mean of one loss over images smoothed more and more, so that what does not overlap yet still attracts.

    Called with two tensors (B, C, *spatial) of one shape, 1-D to 3-D: images, or label maps as one channel for each
    class. Both are smoothed by Gaussians, edges carried on. Computed in float32 at least; safe under autocast.

    Y. Hu et al., "Weakly-supervised convolutional neural networks for multimodal image registration", Med. Image Anal.
    49, 2018, doi:10.1016/j.media.2018.07.002.

    Args:
        loss: from prediction and target to a number.
        scales: standard deviations in voxels, 0 for the images as they are; kernels reach three of them.

    Raises:
        BadArgument: no scale, or one that is negative.
        BadGeometry: the shapes differ.

    Example:
        >>> dot = torch.zeros(1, 1, 32)
        >>> dot[..., 10] = 1
        >>> loss = MultiScaleLoss(torch.nn.functional.mse_loss, scales=(0, 4))
        >>> bool(loss(dot, dot.roll(3, -1)) < loss(dot, dot.roll(9, -1)))
        True
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    scales: tuple[float, ...] = (0, 1, 2, 4)

    def __post_init__(self) -> None:
        if not self.scales or not all(0 <= s < math.inf for s in self.scales):
            raise BadArgument("not scales", where="scales", found=self.scales, due="one or more numbers of 0 or more")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        p, t = pair(prediction, target)
        parts = [self.loss(*(smoothed(x, sigma) for x in (p, t))) for sigma in self.scales]
        return torch.stack(parts).mean()


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """(B, C, *spatial) convolved with a Gaussian that reaches three sigma, edges carried on."""
    if sigma == 0:
        return x
    reach = int(3 * sigma + 0.5)
    away = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    line = torch.exp(-0.5 * (away / sigma) ** 2)
    line = line / line.sum()
    axes = x.dim() - 2
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    flat = x.flatten(0, 1)[:, None]
    with full_precision(x):
        flat = F.pad(flat, [reach, reach] * axes, mode="replicate")
        for axis in range(axes):
            flat = convolve(flat, line.reshape(1, 1, *(-1 if a == axis else 1 for a in range(axes))))
    return flat.reshape(x.shape)
