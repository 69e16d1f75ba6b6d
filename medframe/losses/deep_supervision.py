"""A loss at every decoder stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry
from medframe.losses.weights import check_weight


@dataclass(frozen=True)
class DeepSupervisionLoss:
    """The weighted sum of one loss at several resolutions.

    Called with logits (B, C, *spatial), finest first, as `DynUNet(deep_supervision=True)` gives them while training,
    and one target at the finest resolution. A single tensor, as in evaluation, gets the plain loss.

    A coarse voxel covers s voxels of the target along each axis, and takes the value of the one that holds its centre:
    number s // 2 of them, counted from 0. For odd s that is the middle one, for even s, where the centre lies between
    two, the second. This is a strided view, nothing is copied or averaged, so labels stay labels.

    C.-Y. Lee et al., "Deeply-supervised nets", AISTATS 2015, arXiv:1409.5185; in 3-D Q. Dou et al., "3D deeply
    supervised network for automated segmentation of volumetric medical images", Med. Image Anal. 41, 2017,
    doi:10.1016/j.media.2017.05.001.

    Args:
        loss: from logits and target to a number.
        weights: one for each resolution, finest first, used as they are; by default 1, 1/2, 1/4, ... divided by their
            sum. nnU-Net gives its coarsest logits the weight 0.

    Raises:
        BadArgument: another number of logits than weights, or none.
        BadGeometry: the target's size is not a multiple of that of some logits.

    Example:
        >>> import torch
        >>> from medframe.losses import DiceCELoss
        >>> logits = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)]
        >>> round(DeepSupervisionLoss(DiceCELoss())(logits, torch.ones(1, 1, 8, 8).long()).item(), 4)
        1.3598
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_weight(self.weights)

    def __call__(self, logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        if isinstance(logits, Tensor):
            return self.loss(logits, target)
        weights = halving(len(logits)) if self.weights is None else self.weights
        if len(logits) != len(weights) or not logits:
            raise BadArgument(
                "deep supervision needs one weight for each resolution",
                found=f"{len(logits)} logits, weights {weights}",
                due="as many of each, at least one",
            )
        parts = [w * self.loss(z, at_resolution(target, z)) for w, z in zip(weights, logits, strict=True)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


def halving(count: int) -> tuple[float, ...]:
    """1, 1/2, 1/4, ... divided by their sum."""
    weights = [0.5**i for i in range(count)]
    return tuple(w / math.fsum(weights) for w in weights)


def at_resolution(target: Tensor, logits: Tensor) -> Tensor:
    """The target at the voxel centres of coarser logits: a view.

    Args:
        target: (B, *spatial) or (B, channels, *spatial).
        logits: (B, C, *coarse).

    Raises:
        BadGeometry: a size of the target is not a multiple of the logits'.
    """
    coarse = tuple(logits.shape[2:])
    fine = tuple(target.shape[-len(coarse) :])
    if len(fine) != len(coarse) or any(n == 0 or m % n for m, n in zip(fine, coarse, strict=True)):
        raise BadGeometry(
            "the target cannot be strided onto coarser logits", found=fine, due=f"a multiple of {coarse} on each axis"
        )
    for axis, (m, n) in enumerate(zip(fine, coarse, strict=True), start=target.dim() - len(fine)):
        target = target[(slice(None),) * axis + (slice(m // n // 2, None, m // n),)]
    return target
