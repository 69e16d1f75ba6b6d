"""The Tversky loss: Dice with its own prices for false positives and false negatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.losses.dice import check_smooth, first_class, pooled, reduced
from medframe.losses.truth import Activation, Counts, check_activation, read_logits, read_target
from medframe.losses.weights import Reduction, check_reduction, check_weight, read_weight


@dataclass(frozen=True)
class TverskyLoss:
    """One minus the Tversky index of each class, to the power `gamma`.

        index = (TP + smooth) / (TP + alpha FP + beta FN + smooth)

    with soft counts TP = sum(p t), FP = sum(p (1 - t)), FN = sum((1 - p) t). With alpha = beta = 1/2 it is the Dice
    loss with half its `smooth`, with 1 and 1 the Jaccard loss. Takes what `DiceLoss` takes.

    S. S. M. Salehi, D. Erdogmus, A. Gholipour, "Tversky loss function for image segmentation using 3D fully
    convolutional deep networks", MLMI 2017, doi:10.1007/978-3-319-67389-9_44. With `gamma` other than 1, N. Abraham and
    N. M. Khan, "A novel focal Tversky loss function with improved attention U-Net for lesion segmentation", ISBI 2019,
    doi:10.1109/ISBI.2019.8759329, where the exponent is written 1 / gamma and 3/4 is advised.

    Args:
        alpha: the price of false positives.
        beta: the price of false negatives; above `alpha` it favours sensitivity.
        gamma: exponent, above 0; 1 for the plain loss, 0.75 for the focal one.
        include_background: count class 0.
        activation: "softmax" or "sigmoid".
        smooth: added above and below.
        batch: sum over the cases of the batch before dividing, as if they were one.
        reduction: "mean" or "sum" over cases and classes, or "none": (B, C), or (C,) with `batch`.
        weight: for each of the C classes; "mean" divides by their sum.
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> logits = torch.zeros(1, 2, 4, 4)
        >>> loss = TverskyLoss(alpha=0.3, beta=0.7, include_background=False, smooth=0.0)
        >>> round(loss(logits, torch.ones(1, 1, 4, 4).long()).item(), 4)  # 8 / (8 + 0.7 * 8)
        0.4118
    """

    alpha: float = 0.5
    beta: float = 0.5
    gamma: float = 1.0
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
        if not (self.alpha >= 0 and self.beta >= 0 and self.alpha + self.beta > 0):
            raise BadArgument(
                "the prices are not usable",
                where="alpha, beta",
                found=(self.alpha, self.beta),
                due="0 or more, one more",
            )
        if not self.gamma > 0:
            raise BadArgument("the exponent is not positive", where="gamma", found=self.gamma, due="above 0")

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
        counts = pooled(truth.counts(log_p, 1), self.batch, truth.cases)
        losses = bent(1 - tversky_index(counts, self.alpha, self.beta, self.smooth), self.gamma)
        return reduced(losses[..., first:], weight, truth.cases, self.reduction)


def tversky_index(counts: Counts, alpha: float, beta: float, smooth: float) -> Tensor:
    """The index of every case and class; 1 where there is nothing to count."""
    both, predicted, there = counts
    below = both + alpha * (predicted - both) + beta * (there - both) + smooth
    empty = below == 0  # only without smoothing
    return (both + smooth).masked_fill(empty, 1) / below.masked_fill(empty, 1)


def bent(losses: Tensor, exponent: float) -> Tensor:
    """Losses to a power, with a finite slope at zero."""
    if exponent == 1:
        return losses
    small = torch.finfo(losses.dtype).eps
    return torch.where(losses > small, losses.clamp_min(small) ** exponent, losses * small ** (exponent - 1))
