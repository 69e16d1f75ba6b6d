"""The unified focal loss, asymmetric or symmetric."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.losses.dice import pooled
from medframe.losses.truth import read_logits, read_target
from medframe.losses.tversky import bent, tversky_index
from medframe.losses.weights import or_one, weighted_mean

_SMOOTH = 1e-7


@dataclass(frozen=True)
class UnifiedFocalLoss:
    """`weight` times a focal cross-entropy plus 1 - `weight` times a focal Tversky loss.

    Class 0 is the common background, all others are rare. The focal part holds down the easy voxels of the background
    only, (1 - p)^gamma, and prices it 1 - `delta`, the others `delta`; it is summed over classes and averaged over
    voxels. The Tversky part prices false negatives `delta`, false positives 1 - `delta`, and lifts the loss L of the
    rare classes to L^(1 - gamma). With `asymmetric=False` easy voxels are held down in all classes, and the loss of
    all is lifted. Takes what `DiceLoss` takes, under softmax; a single channel stands for label 1.

    M. Yeung et al., "Unified focal loss: generalising Dice and cross entropy-based losses to handle class imbalanced
    medical image segmentation", Comput. Med. Imaging Graph. 95, 2022, doi:10.1016/j.compmedimag.2021.102026.

    Args:
        weight: of the focal cross-entropy, 0 to 1.
        delta: the price of the rare classes and of false negatives, 0 to 1.
        gamma: the focus, from 0 to less than 1.
        asymmetric: treat background and rare classes as said.
        batch: sum over the cases of the batch in the Tversky part, as if they were one.
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> logits = torch.zeros(1, 2, 4, 4)
        >>> round(UnifiedFocalLoss(weight=1.0)(logits, torch.ones(1, 1, 4, 4).long()).item(), 4)  # 0.6 log 2
        0.4159
    """

    weight: float = 0.5
    delta: float = 0.6
    gamma: float = 0.5
    asymmetric: bool = True
    batch: bool = False
    ignore: int | None = None

    def __post_init__(self) -> None:
        for where, value in (("weight", self.weight), ("delta", self.delta)):
            if not 0 <= value <= 1:
                raise BadArgument("not a share", where=where, found=value, due="0 to 1")
        if not 0 <= self.gamma < 1:
            raise BadArgument("not a focus", where="gamma", found=self.gamma, due="0 to less than 1")

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        if logits.dim() > 2 and logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
            if target.is_floating_point() and target.shape[1] == 1:
                target = torch.cat([1 - target, target], 1)
        _, log_p = read_logits(logits, "softmax")
        truth = read_target(logits, target, "softmax", self.ignore, voxel_weight=voxel_weight, case_weight=case_weight)
        t = truth.channels(log_p)
        price = log_p.new_full((log_p.shape[1], 1), self.delta)
        price[0] = 1 - self.delta
        held = 1 if self.asymmetric else log_p.shape[1]  # classes whose easy voxels are held down
        easy = (-torch.expm1(log_p[:, :held])).clamp_min(torch.finfo(log_p.dtype).eps) ** self.gamma
        parts = -t * log_p * price
        entropy = torch.cat([parts[:, :held] * easy, parts[:, held:]], 1).sum(1, keepdim=True)
        voxels = truth.kept(torch.ones_like(entropy))
        entropy = truth.kept(entropy)
        if truth.cases is not None:
            voxels, entropy = (v * truth.cases[:, None, None] for v in (voxels, entropy))
        focal = entropy.sum() / or_one(voxels.sum())
        counts = pooled(truth.counts(log_p, 1), self.batch, truth.cases)
        losses = 1 - tversky_index(counts, 1 - self.delta, self.delta, _SMOOTH)
        plain = 1 if self.asymmetric else 0
        losses = torch.cat([losses[..., :plain], bent(losses[..., plain:], 1 - self.gamma)], -1)
        tversky = weighted_mean(losses, torch.ones_like(losses[0] if losses.dim() > 1 else losses), truth.cases)
        return self.weight * focal + (1 - self.weight) * tversky
