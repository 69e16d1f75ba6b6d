"""The focal loss, alone and beside Dice losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.losses.counts import EXCLUDED
from medframe.losses.dice import check_smooth, dice_losses, first_class, pooled
from medframe.losses.generalized_dice import WeightType, check_weight_type, generalized_losses
from medframe.losses.truth import Activation, Labels, Truth, check_activation, read_logits, read_target
from medframe.losses.weights import check_weight, mean_over_cases, or_one, read_weight, weighted_mean


@dataclass(frozen=True)
class FocalLoss:
    """Cross-entropy in which voxels that are right already count little: -(1 - p)^gamma log p of the true class.

    Takes what `DiceLoss` takes. With `gamma` 0 and no `alpha` it is the cross-entropy. Under softmax the mean is over
    voxels, under sigmoid over voxels and channels; either way by the weights of classes, voxels and cases.

    T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017, doi:10.1109/ICCV.2017.324.

    Args:
        gamma: zero or more; how much the easy voxels are held down.
        alpha: 0 to 1, or None. Under sigmoid the true voxels of a channel are multiplied by alpha and the others by
            1 - alpha; under softmax the voxels of class 0 by 1 - alpha and those of all others by alpha.
        activation: "softmax" or "sigmoid".
        weight: for each of the C classes.
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> logits = torch.zeros(1, 2, 4, 4)
        >>> round(FocalLoss(gamma=2.0)(logits, torch.ones(1, 1, 4, 4).long()).item(), 4)  # a quarter of log 2
        0.1733
    """

    gamma: float = 2.0
    alpha: float | None = None
    activation: Activation = "softmax"
    weight: tuple[float, ...] | None = None
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_weight(self.weight)
        check_focus(self.gamma, self.alpha)

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        flat, log_p = read_logits(logits, self.activation)
        truth = read_target(
            logits, target, self.activation, self.ignore, voxel_weight=voxel_weight, case_weight=case_weight
        )
        return focal_mean(truth, log_p, flat, read_weight(self.weight, log_p), gamma=self.gamma, alpha=self.alpha)


@dataclass(frozen=True)
class DiceFocalLoss:
    """`lambda_dice` times the mean Dice loss plus `lambda_focal` times the mean focal loss.

    Takes what `DiceLoss` takes, and reads target and logits once. W. Zhu et al., "AnatomyNet: deep learning for fast
    and fully automated whole-volume segmentation of head and neck anatomy", Med. Phys. 46, 2019,
    doi:10.1002/mp.13300.

    Args:
        include_background: count class 0 in the Dice part.
        activation: "softmax" or "sigmoid".
        smooth: see `DiceLoss`.
        batch: see `DiceLoss`.
        gamma: see `FocalLoss`.
        alpha: see `FocalLoss`.
        weight: for each of the C classes, in both parts.
        ignore: voxels of this label count nowhere.
        lambda_dice: the weight of the Dice part.
        lambda_focal: the weight of the focal part.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> logits = torch.zeros(1, 2, 4, 4)
        >>> round(DiceFocalLoss(smooth=0.0)(logits, torch.ones(1, 1, 4, 4).long()).item(), 4)
        0.84
    """

    include_background: bool = True
    activation: Activation = "softmax"
    smooth: float = 1e-5
    batch: bool = False
    gamma: float = 2.0
    alpha: float | None = None
    weight: tuple[float, ...] | None = None
    ignore: int | None = None
    lambda_dice: float = 1.0
    lambda_focal: float = 1.0

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_smooth(self.smooth)
        check_weight(self.weight)
        check_focus(self.gamma, self.alpha)

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        first = first_class(logits, self.include_background)
        flat, log_p = read_logits(logits, self.activation)
        weight = read_weight(self.weight, log_p)
        truth = read_target(
            logits, target, self.activation, self.ignore, voxel_weight=voxel_weight, case_weight=case_weight
        )
        losses = dice_losses(pooled(truth.counts(log_p, 1), self.batch, truth.cases), self.smooth)
        dice = weighted_mean(losses[..., first:], weight[first:], truth.cases)
        focal = focal_mean(truth, log_p, flat, weight, gamma=self.gamma, alpha=self.alpha)
        return self.lambda_dice * dice + self.lambda_focal * focal


@dataclass(frozen=True)
class GeneralizedDiceFocalLoss:
    """`lambda_gdl` times the generalised Dice loss plus `lambda_focal` times the mean focal loss.

    Takes what `DiceLoss` takes. The parts are
    `GeneralizedDiceLoss` (C. H. Sudre et al., doi:10.1007/978-3-319-67558-9_28) and `FocalLoss` (T.-Y. Lin et al.,
    doi:10.1109/ICCV.2017.324).

    Args:
        include_background: count class 0 in the Dice part.
        activation: "softmax" or "sigmoid".
        w_type: see `GeneralizedDiceLoss`.
        smooth: see `GeneralizedDiceLoss`.
        batch: see `GeneralizedDiceLoss`.
        gamma: see `FocalLoss`.
        alpha: see `FocalLoss`.
        weight: for each of the C classes, in the focal part.
        ignore: voxels of this label count nowhere.
        lambda_gdl: the weight of the Dice part.
        lambda_focal: the weight of the focal part.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> import torch
        >>> logits, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4).long()
        >>> round(GeneralizedDiceFocalLoss()(logits, labels).item(), 4)
        0.6732
    """

    include_background: bool = True
    activation: Activation = "softmax"
    w_type: WeightType = "square"
    smooth: float = 1e-5
    batch: bool = False
    gamma: float = 2.0
    alpha: float | None = None
    weight: tuple[float, ...] | None = None
    ignore: int | None = None
    lambda_gdl: float = 1.0
    lambda_focal: float = 1.0

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_weight_type(self.w_type)
        check_smooth(self.smooth)
        check_weight(self.weight)
        check_focus(self.gamma, self.alpha)

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        first = first_class(logits, self.include_background)
        flat, log_p = read_logits(logits, self.activation)
        truth = read_target(
            logits, target, self.activation, self.ignore, voxel_weight=voxel_weight, case_weight=case_weight
        )
        counts = pooled(truth.counts(log_p, 1), self.batch, truth.cases)
        dice = mean_over_cases(generalized_losses(counts, first, self.w_type, self.smooth), truth.cases)
        focal = focal_mean(truth, log_p, flat, read_weight(self.weight, log_p), gamma=self.gamma, alpha=self.alpha)
        return self.lambda_gdl * dice + self.lambda_focal * focal


def focal_mean(
    truth: Truth, log_p: Tensor, logits: Tensor, weight: Tensor, *, gamma: float, alpha: float | None
) -> Tensor:
    """The mean focal loss.

    Args:
        truth: the target as read.
        log_p: (B, C, N) log-probabilities.
        logits: (B, C, N).
        weight: (C,).
        gamma: see `FocalLoss`.
        alpha: see `FocalLoss`.
    """
    by = truth.shares(log_p)
    if isinstance(truth, Labels):  # one voxel has one class: nothing of the size of the logits is made
        log_true = -F.nll_loss(log_p, truth.labels, ignore_index=EXCLUDED, reduction="none")
        there = F.pad(weight, (0, 1))[truth.labels]
        loss = -_unsure(log_true, gamma) * log_true * there
        if alpha is not None:
            loss = loss * torch.where(truth.labels == 0, 1 - alpha, alpha)
        if by is not None:
            loss, there = loss * by[:, 0], there * by[:, 0]
        return loss.sum() / or_one(there.sum())
    t, weights = truth.target, weight[:, None]
    if truth.activation == "softmax":
        loss, there = -_unsure(log_p, gamma) * t * log_p, t
        if alpha is not None:
            factor = log_p.new_full((log_p.shape[1], 1), alpha)
            factor[0] = 1 - alpha
            loss = loss * factor
    else:
        # p of the truth by its logit, z(2t - 1), exact for hard targets and as torchvision and others do for soft ones
        log_true = -F.binary_cross_entropy_with_logits(logits, t, reduction="none")
        loss, there = -_unsure(F.logsigmoid(logits * (2 * t - 1)), gamma) * log_true, torch.ones_like(t)
        if alpha is not None:
            loss = loss * (alpha * t + (1 - alpha) * (1 - t))
    loss, there = (truth.kept(v) * weights for v in (loss, there))
    if truth.cases is not None:
        loss, there = (v * truth.cases[:, None, None] for v in (loss, there))
    return loss.sum() / or_one(there.sum())


def _unsure(log_p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma, with a finite slope where p is one."""
    if gamma == 0:
        return torch.ones_like(log_p)
    tiny = torch.finfo(log_p.dtype).tiny if gamma >= 1 else torch.finfo(log_p.dtype).eps
    return (-torch.expm1(log_p)).clamp_min(tiny) ** gamma


def check_focus(gamma: float, alpha: float | None) -> None:
    """Raise BadArgument unless gamma is zero or more and alpha a share."""
    if not gamma >= 0:
        raise BadArgument("the focus is negative", where="gamma", found=gamma, due="0 or more")
    if alpha is not None and not 0 <= alpha <= 1:
        raise BadArgument("not a share", where="alpha", found=alpha, due="0 to 1, or None")
