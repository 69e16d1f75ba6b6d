"""Losses on soft skeletons, for vessels and other thin structures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.losses.dice import dice_losses, first_class, reduced
from medframe.losses.truth import Activation, Truth, check_activation, read_logits, read_target
from medframe.losses.weights import Reduction, check_reduction


@dataclass(frozen=True)
class SoftclDiceLoss:
    """One minus the soft centreline Dice of each class, which asks for connected tubes rather than for volume.

    With S(p) and S(t) soft skeletons: precision = (sum(S(p) t) + smooth) / (sum(S(p)) + smooth), sensitivity the same
    with p and t exchanged, and the loss is one minus their harmonic mean. Takes what `DiceLoss` takes, in 2-D and 3-D.
    A skeleton of the background is rarely wanted: leave it out, or use "sigmoid".

    S. Shit et al., "clDice: a novel topology-preserving loss function for tubular structure segmentation", CVPR 2021,
    doi:10.1109/CVPR46437.2021.01629.

    Args:
        iterations: of the thinning, about the largest radius in voxels.
        include_background: count class 0.
        activation: "softmax" or "sigmoid".
        smooth: added above and below.
        reduction: "mean" or "sum" over cases and classes, or "none": (B, C).
        ignore: voxels of this label count nowhere; they are 0 in both masks before these are thinned.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.
        BadGeometry: there are not two or three spatial axes.

    Example:
        >>> labels = torch.zeros(1, 1, 9, 9).long()
        >>> labels[..., 3:6, :] = 1
        >>> right = 40.0 * torch.cat([labels == 0, labels == 1], 1)
        >>> round(SoftclDiceLoss(include_background=False)(right, labels).item(), 4)
        0.0
    """

    iterations: int = 3
    include_background: bool = True
    activation: Activation = "softmax"
    smooth: float = 1.0
    reduction: Reduction = "mean"
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_reduction(self.reduction)
        check_thinning(self.iterations, self.smooth)

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
        losses = centreline_losses(truth, log_p, logits.shape, first, iterations=self.iterations, smooth=self.smooth)
        return reduced(losses, torch.ones_like(losses[0]), truth.cases, self.reduction)


@dataclass(frozen=True)
class SoftDiceclDiceLoss:
    """(1 - `alpha`) times the Dice loss plus `alpha` times the soft centreline Dice loss.

    Takes what `SoftclDiceLoss` takes. S. Shit et al., "clDice: a novel topology-preserving loss function for tubular
    structure segmentation", CVPR 2021, doi:10.1109/CVPR46437.2021.01629.

    Args:
        iterations: see `SoftclDiceLoss`.
        alpha: the share of the centreline part, 0 to 1.
        include_background: count class 0.
        activation: "softmax" or "sigmoid".
        smooth: added above and below, in both parts.
        reduction: "mean" or "sum" over cases and classes, or "none": (B, C).
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.
        BadGeometry: there are not two or three spatial axes.

    Example:
        >>> labels = torch.zeros(1, 1, 9, 9).long()
        >>> labels[..., 3:6, :] = 1
        >>> right = 40.0 * torch.cat([labels == 0, labels == 1], 1)
        >>> round(SoftDiceclDiceLoss(include_background=False)(right, labels).item(), 4)
        0.0
    """

    iterations: int = 3
    alpha: float = 0.5
    include_background: bool = True
    activation: Activation = "softmax"
    smooth: float = 1.0
    reduction: Reduction = "mean"
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_reduction(self.reduction)
        check_thinning(self.iterations, self.smooth)
        if not 0 <= self.alpha <= 1:
            raise BadArgument("not a share", where="alpha", found=self.alpha, due="0 to 1")

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
        lines = centreline_losses(truth, log_p, logits.shape, first, iterations=self.iterations, smooth=self.smooth)
        dice = dice_losses(truth.counts(log_p, 1), self.smooth)[:, first:]
        losses = (1 - self.alpha) * dice + self.alpha * lines
        return reduced(losses, torch.ones_like(losses[0]), truth.cases, self.reduction)


def centreline_losses(
    truth: Truth, log_p: Tensor, shape: torch.Size, first: int, *, iterations: int, smooth: float
) -> Tensor:
    """One minus the soft centreline Dice of every case and class, (B, C - first)."""
    if len(shape) not in (4, 5):
        raise BadGeometry("skeletons are of 2-D and 3-D images", found=f"logits of shape {tuple(shape)}")
    lattice = (shape[0], shape[1] - first, *shape[2:])
    t = truth.channels(log_p)[:, first:]
    counted = truth.kept(torch.ones_like(log_p[:, :1])) > 0
    p = torch.where(counted, log_p.exp()[:, first:], 0)
    line_p, line_t = (soft_skeleton(x.reshape(lattice), iterations).flatten(2) for x in (p, t))

    def share(line: Tensor, mask: Tensor) -> Tensor:
        return (truth.kept(line * mask).sum(-1) + smooth) / (truth.kept(line).sum(-1) + smooth)

    precision, sensitivity = share(line_p, t), share(line_t, p)
    both = precision + sensitivity
    return 1 - 2 * precision * sensitivity / both.clamp_min(torch.finfo(both.dtype).eps)


def soft_skeleton(mask: Tensor, iterations: int) -> Tensor:
    """What openings take away from a soft mask while it is eroded step by step.

    Erosion is the least value in the cross of face neighbours, dilation the largest in the 3 x 3 (x 3) box; beyond the
    image nothing counts.

    Args:
        mask: (B, C, *spatial) from 0 to 1, 2-D or 3-D.
        iterations: how often it is eroded.

    Example:
        >>> bar = torch.zeros(1, 1, 5, 7)
        >>> bar[..., 1:4, :] = 1
        >>> soft_skeleton(bar, 2)[0, 0, :, 3].tolist()
        [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    lines = F.relu(mask - _dilated(_eroded(mask)))
    for _ in range(iterations):
        mask = _eroded(mask)
        new = F.relu(mask - _dilated(_eroded(mask)))
        lines = lines + F.relu(new - lines * new)
    return lines


def _eroded(mask: Tensor) -> Tensor:
    ndim = mask.dim() - 2
    pool = F.max_pool2d if ndim == 2 else F.max_pool3d
    least = None
    for axis in range(ndim):
        window = [3 if a == axis else 1 for a in range(ndim)]
        along = -pool(-mask, window, stride=1, padding=[w // 2 for w in window])
        least = along if least is None else torch.minimum(least, along)
    assert least is not None
    return least


def _dilated(mask: Tensor) -> Tensor:
    return (F.max_pool2d if mask.dim() == 4 else F.max_pool3d)(mask, 3, stride=1, padding=1)


def check_thinning(iterations: int, smooth: float) -> None:
    """Raise BadArgument unless both are usable."""
    if iterations < 0:
        raise BadArgument("not a number of iterations", where="iterations", found=iterations, due="0 or more")
    if not smooth > 0:
        raise BadArgument("smooth is not positive", where="smooth", found=smooth, due="above 0")
