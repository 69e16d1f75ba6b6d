"""The Dice loss with classes weighed by their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.losses.dice import check_smooth, first_class, pooled
from medframe.losses.truth import Activation, Counts, check_activation, read_logits, read_target
from medframe.losses.weights import Reduction, check_reduction, over_cases

WeightType: TypeAlias = Literal["square", "simple", "uniform"]


@dataclass(frozen=True)
class GeneralizedDiceLoss:
    """One minus one Dice overlap of all classes together, in which small classes count as much as large ones.

        1 - (2 sum_c w_c sum(p t) + smooth) / (sum_c w_c (sum(p) + sum(t)) + smooth)

    with w_c = 1 / sum(t)^2. A class that is not there takes the largest weight of those that are (1 where none is), so
    that what is wrongly predicted of it still counts. Takes what `DiceLoss` takes.

    C. H. Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly unbalanced
    segmentations", DLMIA 2017, doi:10.1007/978-3-319-67558-9_28.

    Args:
        include_background: count class 0.
        activation: "softmax" or "sigmoid".
        w_type: "square" for 1 / volume^2, "simple" for 1 / volume, "uniform" for 1.
        smooth: added above and below. The sums are weighed, so they are small numbers: with large classes `smooth`
            can outweigh them.
        batch: sum over the cases of the batch before dividing, as if they were one.
        reduction: "mean" or "sum" over cases, or "none": (B,), or a number with `batch`.
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> logits = torch.zeros(1, 2, 4, 4)
        >>> labels = torch.zeros(1, 1, 4, 4).long()
        >>> labels[..., 0] = 1
        >>> round(GeneralizedDiceLoss(smooth=0.0)(logits, labels).item(), 4)
        0.625
    """

    include_background: bool = True
    activation: Activation = "softmax"
    w_type: WeightType = "square"
    smooth: float = 1e-5
    batch: bool = False
    reduction: Reduction = "mean"
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_weight_type(self.w_type)
        check_smooth(self.smooth)
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
        truth = read_target(
            logits, target, self.activation, self.ignore, voxel_weight=voxel_weight, case_weight=case_weight
        )
        counts = pooled(truth.counts(log_p, 1), self.batch, truth.cases)
        return over_cases(generalized_losses(counts, first, self.w_type, self.smooth), truth.cases, self.reduction)


def generalized_losses(counts: Counts, first: int, w_type: WeightType, smooth: float) -> Tensor:
    """The loss of every case, (B,), or a number where the counts are of the whole batch."""
    both, predicted, there = (n[..., first:] for n in counts)
    weight = _weights(there.detach(), w_type)
    below = (weight * (predicted + there)).sum(-1) + smooth
    empty = below == 0  # only without smoothing
    return 1 - (2 * (weight * both).sum(-1) + smooth).masked_fill(empty, 1) / below.masked_fill(empty, 1)


def _weights(there: Tensor, w_type: WeightType) -> Tensor:
    if w_type == "uniform":
        return torch.ones_like(there)
    absent = there == 0
    volume = there.masked_fill(absent, 1)
    weight = (1 / (volume if w_type == "simple" else volume * volume)).masked_fill(absent, 0)
    largest = weight.amax(-1, keepdim=True)
    return torch.where(absent, torch.where(largest > 0, largest, 1), weight)


def check_weight_type(w_type: str) -> None:
    """Raise BadArgument unless the kind of weights is one we know."""
    if w_type not in ("square", "simple", "uniform"):
        raise BadArgument(
            "kind of weights is not known", where="w_type", found=repr(w_type), due="square, simple or uniform"
        )
