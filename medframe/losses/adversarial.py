"""What a discriminator says, as a loss for it and for the generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.losses.tensors import reduce, wide
from medframe.losses.weights import Reduction, check_reduction


@dataclass(frozen=True)
class PatchAdversarialLoss:
    """How far a patch discriminator's answers are from calling its images real, or false.

    Called with raw answers (logits) of any shape, or a list of them, from several scales, which are averaged. For the
    generator always with `target_is_real=True` and `for_discriminator=False`. Computed in float32 at least.

    P. Isola et al., "Image-to-image translation with conditional adversarial networks", CVPR 2017,
    doi:10.1109/CVPR.2017.632. Least squares: X. Mao et al., "Least squares generative adversarial networks", ICCV 2017,
    doi:10.1109/ICCV.2017.304. Hinge: J. H. Lim and J. C. Ye, "Geometric GAN", 2017, arXiv:1705.02894, where the
    generator's part is minus the mean of the answers.

    Args:
        criterion: "least_squares", "bce" or "hinge".
        reduction: over the places of one answer and over scales: "mean" or "sum".

    Raises:
        BadArgument: when made with another criterion, or called for a generator with `target_is_real=False`.

    Example:
        >>> loss = PatchAdversarialLoss("hinge")
        >>> answers = torch.tensor([[[2.0, -1.0]]])
        >>> loss(answers, True, True).item(), loss(answers, False, True).item(), loss(answers, True, False).item()
        (1.0, 1.5, -0.5)
    """

    criterion: Literal["least_squares", "bce", "hinge"] = "least_squares"
    reduction: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        if self.criterion not in ("least_squares", "bce", "hinge"):
            due = "least_squares, bce or hinge"
            raise BadArgument("criterion is not known", where="criterion", found=repr(self.criterion), due=due)
        check_reduction(self.reduction)
        if self.reduction not in ("mean", "sum"):
            raise BadArgument("reduction is not known", found=repr(self.reduction), due="mean or sum")

    def __call__(
        self, answers: Tensor | Sequence[Tensor], target_is_real: bool = True, for_discriminator: bool = True
    ) -> Tensor:
        if not (target_is_real or for_discriminator):
            raise BadArgument(
                "a generator learns to be called real",
                where="target_is_real",
                found=False,
                due="True where for_discriminator=False",
            )
        many = [answers] if isinstance(answers, Tensor) else list(answers)
        if not many:
            raise BadArgument("no answer to judge", where="answers", found="an empty list", due="at least one tensor")
        how: Reduction = self.reduction
        return reduce(
            torch.stack([reduce(self._one(wide(a), target_is_real, for_discriminator), how) for a in many]), how
        )

    def _one(self, answer: Tensor, real: bool, for_discriminator: bool) -> Tensor:
        if self.criterion == "least_squares":
            return (answer - (1.0 if real else 0.0)) ** 2
        if self.criterion == "bce":
            return F.softplus(-answer if real else answer)
        if not for_discriminator:
            return -answer
        return F.relu(1 - answer if real else 1 + answer)
