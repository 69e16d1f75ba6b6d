"""The Matthews correlation coefficient as a loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.losses.dice import check_smooth, first_class, pooled, reduced
from medframe.losses.truth import Activation, check_activation, read_logits, read_target
from medframe.losses.weights import Reduction, check_reduction, check_weight, read_weight

_TINY = 1e-20


@dataclass(frozen=True)
class MCCLoss:
    """One minus the Matthews correlation of each class with the truth, from soft counts of all four kinds.

        (TP TN - FP FN + smooth) / (sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)) + smooth)

    Unlike Dice it counts true negatives. The counts are taken as shares of all voxels, so that `smooth` means the same
    at every size; with it a class that is neither there nor predicted has correlation 1. Takes what `DiceLoss` takes.

    K. Abhishek and G. Hamarneh, "Matthews correlation coefficient loss for deep convolutional networks: application to
    skin lesion segmentation", ISBI 2021, doi:10.1109/ISBI48211.2021.9433782.

    Args:
        include_background: count class 0.
        activation: "softmax" or "sigmoid".
        smooth: added above and below.
        batch: sum over the cases of the batch first, as if they were one.
        reduction: "mean" or "sum" over cases and classes, or "none": (B, C), or (C,) with `batch`.
        weight: for each of the C classes; "mean" divides by their sum.
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> labels = torch.tensor([[[0, 1, 1, 0]]])
        >>> logits = torch.stack([20.0 * (labels[:, 0] == c) for c in range(2)], 1)
        >>> abs(round(MCCLoss()(logits, labels).item(), 3))
        0.0
    """

    include_background: bool = True
    activation: Activation = "softmax"
    smooth: float = 1e-5
    batch: bool = False
    reduction: Reduction = "mean"
    weight: tuple[float, ...] | None = None
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_smooth(self.smooth)
        check_weight(self.weight)
        check_reduction(self.reduction)

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        first = first_class(logits, self.include_background)
        _, log_p = read_logits(logits, self.activation)
        weight = read_weight(self.weight, log_p)[first:]
        truth = read_target(
            logits, target, self.activation, self.ignore, voxel_weight=voxel_weight, case_weight=case_weight
        )
        both, predicted, there = pooled(truth.counts(log_p, 1), self.batch, truth.cases)
        voxels = truth.kept(torch.ones_like(log_p[:, :1])).sum(-1)
        if self.batch:
            voxels = (voxels if truth.cases is None else voxels * truth.cases[:, None]).sum(0)
        total = voxels.masked_fill(voxels == 0, 1)
        tp, p, t = both / total, predicted / total, there / total
        root = (p * t * (1 - p).clamp_min(0) * (1 - t).clamp_min(0) + _TINY).sqrt()  # its slope at 0 stays finite
        # TP TN - FP FN of shares that add to one is TP - P T
        losses = 1 - (tp - p * t + self.smooth) / (root + self.smooth)
        return reduced(losses[..., first:], weight, truth.cases, self.reduction)
