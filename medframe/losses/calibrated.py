"""A loss that keeps confidence near what the neighbourhood of a voxel allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.losses.tensors import full_precision
from medframe.losses.truth import read_logits, read_target
from medframe.losses.weights import check_weight, or_one, read_weight


@dataclass(frozen=True)
class NACLLoss:
    """Cross-entropy plus `alpha` times the mean distance between logits and the class shares around each voxel.

    The shares are those of the true labels in a window of `kernel_size` voxels along each axis, zeros beyond the image,
    as the paper has it. Takes logits (B, C, *spatial) in 1-D to 3-D and
    integer labels as `DiceLoss` does.

    B. Murugesan et al., "Trust your neighbours: penalty-based constraints for model calibration", MICCAI 2023,
    doi:10.1007/978-3-031-43898-1_55, and "Neighbor-aware calibration of segmentation networks with penalty-based
    constraints", Med. Image Anal. 101, 2025, doi:10.1016/j.media.2025.103501.

    Args:
        kernel_size: odd number of voxels.
        distance_type: "l1" or "l2" (squared).
        alpha: the weight of the penalty.
        weight: for each of the C classes, in the cross-entropy.
        ignore: voxels of this label count nowhere and add to no share.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> logits = torch.zeros(1, 2, 5, 5)
        >>> round(NACLLoss(alpha=0.0)(logits, torch.ones(1, 1, 5, 5).long()).item(), 4)
        0.6931
    """

    kernel_size: int = 3
    distance_type: Literal["l1", "l2"] = "l1"
    alpha: float = 0.1
    weight: tuple[float, ...] | None = None
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise BadArgument("not a window", where="kernel_size", found=self.kernel_size, due="an odd number")
        if self.distance_type not in ("l1", "l2"):
            raise BadArgument("distance is not known", where="distance_type", found=self.distance_type, due="l1 or l2")
        if not self.alpha >= 0:
            raise BadArgument("the weight is negative", where="alpha", found=self.alpha, due="0 or more")

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        flat, log_p = read_logits(logits, "softmax")
        truth = read_target(logits, target, "softmax", self.ignore, voxel_weight=voxel_weight, case_weight=case_weight)
        entropy = truth.cross_entropy(log_p, flat, read_weight(self.weight, log_p))
        with torch.no_grad(), full_precision(logits):
            shares = truth.channels(log_p).reshape(logits.shape)
            pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[logits.dim() - 3]
            around = F.pad(
                shares, [self.kernel_size // 2] * 2 * (logits.dim() - 2)
            )  # before: images smaller than windows
            shares = pool(around, self.kernel_size, stride=1).flatten(2)
        off = (flat - shares).abs() if self.distance_type == "l1" else (flat - shares) ** 2
        off, voxels = truth.kept(off), truth.kept(torch.ones_like(off))
        if truth.cases is not None:
            off, voxels = (v * truth.cases[:, None, None] for v in (off, voxels))
        return entropy + self.alpha * off.sum() / or_one(voxels.sum())
