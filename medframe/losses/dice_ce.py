"""Dice and cross-entropy in one pass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medframe.losses.counts import label_sums
from medframe.losses.dice import check_smooth, dice_losses, first_class, pooled
from medframe.losses.truth import (
    Activation,
    Counts,
    Labels,
    check_activation,
    flat_logits,
    read_logits,
    read_target,
)
from medframe.losses.weights import check_weight, or_one, read_weight, weighted_mean


@dataclass(frozen=True)
class DiceCELoss:
    """`lambda_dice` times the mean Dice loss plus `lambda_ce` times the mean cross-entropy.

    Both share one softmax and one reading of the target. Integer labels under softmax are never made one-hot: they are
    summed in chunks of voxels, and beyond the gradient nothing of the size of the logits is made. Takes what `DiceLoss`
    takes. Cross-entropy counts all classes and is averaged over all voxels that are not ignored, each by the
    weight of its class; with "sigmoid" it is the binary one, averaged over channels too. If every voxel is ignored it
    is 0. nnU-Net's loss is `DiceCELoss(include_background=False, batch=True)`, up to a constant.

    S. A. Taghanaki et al., "Combo loss: handling input and output imbalance in multi-organ segmentation", Comput. Med.
    Imaging Graph. 75, 2019, doi:10.1016/j.compmedimag.2019.04.005; as a plain sum F. Isensee et al., Nature Methods
    18, 2021, doi:10.1038/s41592-020-01008-z.

    Args:
        include_background: count class 0 in the Dice part.
        activation: "softmax" or "sigmoid", see `DiceLoss`.
        smooth: see `DiceLoss`.
        batch: see `DiceLoss`.
        weight: for each of the C classes, in both parts.
        ignore: voxels of this label count nowhere.
        lambda_dice: the weight of the Dice part.
        lambda_ce: the weight of the cross-entropy.

    Called also with `voxel_weight` and `case_weight`, see `DiceLoss`.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> import torch
        >>> logits, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4).long()
        >>> round(DiceCELoss()(logits, labels).item(), 4)
        1.3598
    """

    include_background: bool = True
    activation: Activation = "softmax"
    smooth: float = 1e-5
    batch: bool = False
    weight: tuple[float, ...] | None = None
    ignore: int | None = None
    lambda_dice: float = 1.0
    lambda_ce: float = 1.0

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_smooth(self.smooth)
        check_weight(self.weight)

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        first = first_class(logits, self.include_background)
        flat = flat_logits(logits, self.activation)
        truth = read_target(
            logits, target, self.activation, self.ignore, voxel_weight=voxel_weight, case_weight=case_weight
        )
        if isinstance(truth, Labels):
            *found, missed = label_sums(flat, truth.labels, truth.share)
            counts = Counts(*found)
            weight = read_weight(self.weight, missed[..., None])
            entropy = class_cross_entropy(missed, counts.there, weight, truth.cases)
        else:
            flat, log_p = read_logits(logits, self.activation)
            counts, weight = truth.counts(log_p, 1), read_weight(self.weight, log_p)
            entropy = truth.cross_entropy(log_p, flat, weight)
        losses = dice_losses(pooled(counts, self.batch, truth.cases), self.smooth)
        dice = weighted_mean(losses[..., first:], weight[first:], truth.cases)
        return self.lambda_dice * dice + self.lambda_ce * entropy


def class_cross_entropy(missed: Tensor, there: Tensor, weight: Tensor, cases: Tensor | None) -> Tensor:
    """The mean of -log p over voxels that count, from sums (B, C) over each class; 0 where none counts."""
    by = weight if cases is None else weight * cases[:, None]
    return (missed * by).sum() / or_one((there * by).sum())
