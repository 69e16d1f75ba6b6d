"""Losses on distances: the boundary loss and the Hausdorff distance loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.losses.dice import first_class, reduced
from medframe.losses.distance_maps import border_distances, signed_distances
from medframe.losses.truth import Activation, Truth, check_activation, read_logits, read_target
from medframe.losses.weights import Reduction, check_reduction, or_one


@dataclass(frozen=True)
class BoundaryLoss:
    """The mean over voxels of probability times signed distance to the true border.

    The distance is negative inside the true class and positive outside, so the loss falls as probability moves inside;
    it can be negative. It needs a second, regional loss beside it at the start of training. A class that is empty or
    fills the image has no border and adds 0. Takes what `DiceLoss` takes. Distances are exact, in voxels, worked out
    on the host.

    H. Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019 and Med. Image Anal. 67, 2021,
    doi:10.1016/j.media.2020.101851.

    Args:
        include_background: count class 0.
        activation: "softmax" or "sigmoid".
        reduction: "mean" or "sum" over cases and classes, or "none": (B, C).
        ignore: voxels of this label count nowhere; for the distances they are outside every class.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1, 0]]])
        >>> loss = BoundaryLoss(include_background=False)(torch.zeros(1, 2, 5), labels)
        >>> round(loss.item(), 4)  # distances 2, 1, 0, 0, 1, each with probability one half
        0.4
    """

    include_background: bool = True
    activation: Activation = "softmax"
    reduction: Reduction = "mean"
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
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
        t = truth.channels(log_p)[:, first:].reshape(logits.shape[0], -1, *logits.shape[2:])
        distances = signed_distances(t > 0.5).flatten(2).to(log_p.dtype)
        losses = _voxel_means(log_p.exp()[:, first:] * distances, truth, log_p)
        return reduced(losses, torch.ones_like(losses[0]), truth.cases, self.reduction)


@dataclass(frozen=True)
class HausdorffDTLoss:
    """The mean over voxels of (p - t)^2 (d_p^alpha + d_t^alpha), d the distances to the predicted and the true border.

    The predicted border is that of p > 1/2; both distances are constants for the gradient. A class without a border has
    distance 0 everywhere on that side. Takes what `DiceLoss` takes. Distances are exact, in voxels, worked out on the
    host.

    D. Karimi and S. E. Salcudean, "Reducing the Hausdorff distance in medical image segmentation with convolutional
    neural networks", IEEE Trans. Med. Imaging 39, 2020, doi:10.1109/TMI.2019.2930068, equation 8.

    Args:
        alpha: exponent of the distances; the paper advises 2.
        include_background: count class 0.
        activation: "softmax" or "sigmoid".
        log: log(1 + loss) of each case and class, which keeps the large early values calm.
        reduction: "mean" or "sum" over cases and classes, or "none": (B, C).
        ignore: voxels of this label count nowhere; for the distances they are outside every class.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1, 0]]])
        >>> loss = HausdorffDTLoss()(torch.zeros(1, 2, 5), labels)
        >>> round(loss.item(), 4)  # squared distances 4, 1, 1, 1, 1, each times a quarter
        0.4
    """

    alpha: float = 2.0
    include_background: bool = False
    activation: Activation = "softmax"
    log: bool = False
    reduction: Reduction = "mean"
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_reduction(self.reduction)
        if not self.alpha > 0:
            raise BadArgument("the exponent is not positive", where="alpha", found=self.alpha, due="above 0")

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
        p, t = log_p.exp()[:, first:], truth.channels(log_p)[:, first:]
        shape = (p.shape[0], p.shape[1], *logits.shape[2:])
        price = sum(
            border_distances((x > 0.5).reshape(shape)).flatten(2).to(log_p.dtype) ** self.alpha for x in (p.detach(), t)
        )
        losses = _voxel_means((p - t) ** 2 * price, truth, log_p)
        losses = losses.log1p() if self.log else losses
        return reduced(losses, torch.ones_like(losses[0]), truth.cases, self.reduction)


def _voxel_means(values: Tensor, truth: Truth, like: Tensor) -> Tensor:
    """Means over the voxels that count, (B, C)."""
    voxels = truth.kept(torch.ones_like(like[:, :1])).sum(-1)
    return truth.kept(values).sum(-1) / or_one(voxels)
