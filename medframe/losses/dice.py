"""The soft Dice loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.losses.truth import Activation, Counts, check_activation, read_logits, read_target
from medframe.losses.weights import Reduction, check_reduction, check_weight, read_weight, weighted_mean


@dataclass(frozen=True)
class DiceLoss:
    """One minus the soft Dice overlap of each class.

    With p the probabilities and t the truth, summed over voxels:

        1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth)

    A class that is neither there nor predicted has overlap 1. Called with logits (B, C, *spatial) and either integer
    labels, (B, 1, *spatial) or (B, *spatial), or floating class probabilities (B, C, *spatial). Computed in float32 at
    least; safe under autocast. Integer labels under softmax are compared without a one-hot copy, so that case needs
    far less memory.

    F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net: fully convolutional neural networks for volumetric medical image
    segmentation", 3DV 2016, doi:10.1109/3DV.2016.79, whose denominator squares (`squared_pred`). Summed over the batch
    and without background it is nnU-Net's, which gives the overlap's negative, one less: F. Isensee et al., Nature
    Methods 18, 2021, doi:10.1038/s41592-020-01008-z.

    Args:
        include_background: count class 0.
        activation: "softmax" for classes that exclude each other, "sigmoid" for those that may overlap, or for a
            single channel.
        squared_pred: square p and t in the denominator.
        smooth: added above and below; keeps small classes calm.
        batch: sum over the cases of the batch before dividing, as if they were one; a class missing in one patch then
            does not make a loss of its own.
        reduction: "mean" or "sum" over cases and classes, or "none": (B, C), or (C,) with `batch`.
        weight: for each of the C classes; "mean" divides by their sum.
        ignore: voxels of this label count nowhere.

    Called also with `voxel_weight`, (B, 1, *spatial), what each voxel counts for (a bool mask for those that count at
    all), and `case_weight`, (B,).

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> import torch
        >>> logits, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4).long()
        >>> round(DiceLoss(include_background=False)(logits, labels).item(), 4)
        1.0
    """

    include_background: bool = True
    activation: Activation = "softmax"
    squared_pred: bool = False
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
        counts = pooled(truth.counts(log_p, 2 if self.squared_pred else 1), self.batch, truth.cases)
        return reduced(dice_losses(counts, self.smooth)[..., first:], weight, truth.cases, self.reduction)


def dice_losses(counts: Counts, smooth: float) -> Tensor:
    """The loss of every case and class, (B, C), or of every class, (C,), as the counts are."""
    both, predicted, there = counts
    total = predicted + there + smooth
    empty = total == 0  # only without smoothing
    return 1 - (2 * both + smooth).masked_fill(empty, 1) / total.masked_fill(empty, 1)


def pooled(counts: Counts, batch: bool, cases: Tensor | None) -> Counts:
    """The counts as they are, (B, C), or with `batch` summed over the cases by their weights, (C,)."""
    if not batch:
        return counts
    return Counts(*((n if cases is None else n * cases[:, None]).sum(0) for n in counts))


def reduced(losses: Tensor, weight: Tensor, cases: Tensor | None, reduction: Reduction) -> Tensor:
    """Losses (B, C) or (C,) as one number, or as they are; each class and case counted by its weight."""
    if reduction == "mean":
        return weighted_mean(losses, weight, cases)
    losses = losses * weight
    if cases is not None and losses.dim() > 1:
        losses = losses * cases[:, None]
    return losses.sum() if reduction == "sum" else losses


def first_class(logits: Tensor, include_background: bool) -> int:
    """The first class that counts.

    Raises:
        BadArgument: no class would be left.
    """
    if not include_background and logits.shape[1] == 1:
        raise BadArgument(
            "without background a single channel leaves no class",
            found=f"logits of shape {tuple(logits.shape)}, include_background=False",
            due="two channels or more, or include_background=True",
        )
    return 0 if include_background else 1


def check_smooth(smooth: float) -> None:
    """Raise BadArgument unless `smooth` is zero or more."""
    if not smooth >= 0:
        raise BadArgument("smooth is negative", found=smooth, due="0 or more")
