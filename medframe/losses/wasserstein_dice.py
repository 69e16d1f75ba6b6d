"""The Dice loss in which some mistakes are worse than others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.losses.dice import check_smooth
from medframe.losses.tensors import full_precision
from medframe.losses.truth import read_logits, read_target
from medframe.losses.weights import Reduction, check_reduction, over_cases

Weighting: TypeAlias = Literal["default", "GDL"]


@dataclass(frozen=True)
class GeneralizedWassersteinDiceLoss:
    """One minus a Dice overlap in which a voxel is wrong by the distance of its classes.

    With W the distance of what is predicted from the true class l of a voxel, sum_k M[l, k] p_k,

        1 - (2 sum a_l (1 - W) + smooth) / (2 sum a_l (1 - W) + sum W + smooth)

    with a_l = 1 for all classes but background, class 0, which has 0. "GDL" takes a_l = 1 / (volume of l + 1) and
    divides by sum a_l (2 - W). Takes what `DiceLoss` takes, under softmax.

    L. Fidon et al., "Generalised Wasserstein Dice score for imbalanced multi-class segmentation using holistic
    convolutional networks", BrainLes 2017, doi:10.1007/978-3-319-75238-9_6; "GDL" L. Fidon, S. Ourselin,
    T. Vercauteren, "Generalized Wasserstein Dice score, distributionally robust deep learning, and ranger for brain
    tumor segmentation", BrainLes 2020, arXiv:2011.01614.

    Args:
        distances: M, one row for each true class: how bad each predicted class is, 0 for the right one. Divided by the
            largest.
        weighting: "default" or "GDL".
        smooth: added above and below.
        reduction: "mean" or "sum" over cases, or "none": (B,).
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> import torch
        >>> tumour_in_tissue = ((0, 1, 1), (1, 0, 0.5), (1, 0.5, 0))
        >>> loss = GeneralizedWassersteinDiceLoss(tumour_in_tissue)
        >>> labels = torch.full((1, 1, 8), 2)
        >>> near, far = (100.0 * torch.eye(3)[c].reshape(1, 3, 1).expand(1, 3, 8) for c in (1, 0))
        >>> round(loss(near, labels).item(), 3), round(loss(far, labels).item(), 3)
        (0.333, 1.0)
    """

    distances: tuple[tuple[float, ...], ...]
    weighting: Weighting = "default"
    smooth: float = 1e-5
    reduction: Reduction = "mean"
    ignore: int | None = None

    def __post_init__(self) -> None:
        # a value that can be hashed, from lists and arrays too
        object.__setattr__(self, "distances", tuple(tuple(float(d) for d in row) for row in self.distances))
        n, flat = len(self.distances), [d for row in self.distances for d in row]
        square = n >= 2 and all(len(row) == n for row in self.distances)
        if not square or not all(0 <= d < math.inf for d in flat) or any(self.distances[i][i] for i in range(n)):
            raise BadArgument(
                "not the distances of classes",
                where="distances",
                found=self.distances,
                due="a square table of finite numbers of 0 or more, 0 from each class to itself",
            )
        if not max(flat) > 0:
            raise BadArgument("no class is away from any other", where="distances", found=self.distances)
        if self.weighting not in ("default", "GDL"):
            raise BadArgument(
                "weighting is not known", where="weighting", found=repr(self.weighting), due="default or GDL"
            )
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
        _, log_p = read_logits(logits, "softmax")
        if log_p.shape[1] != len(self.distances):
            raise BadArgument(
                "distances does not hold one row for each class",
                where="distances",
                found=f"{len(self.distances)} rows",
                due=f"{log_p.shape[1]}",
            )
        truth = read_target(logits, target, "softmax", self.ignore, voxel_weight=voxel_weight, case_weight=case_weight)
        apart = log_p.new_tensor(self.distances)
        apart = apart / apart.max()
        t = truth.channels(log_p)
        with full_precision(log_p):
            wrong = (apart @ log_p.exp()) * t  # B, C, N, by true class
        errors, there = truth.kept(wrong).sum(-1), truth.kept(t).sum(-1)  # B, C
        if self.weighting == "GDL":
            share = 1 / (there.detach() + 1)
            right = (share * (there - errors)).sum(1)
            below = right + (share * there).sum(1) + self.smooth
        else:
            right = (there - errors)[:, 1:].sum(1)
            below = 2 * right + errors.sum(1) + self.smooth
        empty = below == 0  # only without smoothing
        losses = 1 - (2 * right + self.smooth).masked_fill(empty, 1) / below.masked_fill(empty, 1)
        return over_cases(losses, truth.cases, self.reduction)
