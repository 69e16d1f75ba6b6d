"""Structural similarity as a loss, at one scale and at several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.kernels.structural import structural_maps, window_line
from medframe.losses.tensors import pair, reduce
from medframe.losses.weights import Reduction, check_reduction


@dataclass(frozen=True)
class SSIMLoss:
    """One minus the mean structural similarity of two images.

    Called with two tensors (B, C, *spatial) of one shape, 2-D or 3-D (1-D as well). Windows lie inside the image only,
    so it must be at least as large as one. Computed in float32 at least; safe under autocast.

    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE Trans. Image
    Process. 13, 2004, doi:10.1109/TIP.2003.819861.

    Args:
        data_range: largest minus smallest possible value.
        kernel_type: "gaussian" (the paper's) or "uniform" weights in the window.
        win_size: odd number of voxels along each axis.
        kernel_sigma: of the Gaussian, in voxels.
        k1: of the constant that calms the means.
        k2: of the constant that calms the variances.
        reduction: "mean" or "sum" over cases, or "none": (B,).

    Raises:
        BadArgument: when made with settings out of their domain.
        BadGeometry: the shapes do not fit.

    Example:
        >>> x = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
        >>> round(SSIMLoss()(x, x).item(), 4), SSIMLoss()(1 - x, x).item() > 0.5
        (0.0, True)
    """

    data_range: float = 1.0
    kernel_type: Literal["gaussian", "uniform"] = "gaussian"
    win_size: int = 11
    kernel_sigma: float = 1.5
    k1: float = 0.01
    k2: float = 0.03
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        _check(self)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        p, t = pair(prediction, target)
        whole, _ = _similarity(p, t, self)
        return reduce(1 - whole, self.reduction)


@dataclass(frozen=True)
class MultiScaleSSIMLoss:
    """One minus the structural similarity over several scales, each half the one before.

    The product over scales of the mean contrast-structure term (at the coarsest the whole similarity) to the power of
    the scale's weight; terms below zero count as a hair above it. Called with what `SSIMLoss` takes; at the coarsest
    scale the image must still hold a window.

    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality assessment", Asilomar
    2003, doi:10.1109/ACSSC.2003.1292216.

    Args:
        data_range: see `SSIMLoss`.
        kernel_type: see `SSIMLoss`.
        win_size: see `SSIMLoss`.
        kernel_sigma: see `SSIMLoss`.
        k1: see `SSIMLoss`.
        k2: see `SSIMLoss`.
        weights: one for each scale, finest first.
        reduction: "mean" or "sum" over cases, or "none": (B,).

    Raises:
        BadArgument: when made with settings out of their domain.
        BadGeometry: the shapes do not fit.

    Example:
        >>> image = torch.rand(1, 1, 64, 64)
        >>> round(MultiScaleSSIMLoss(win_size=3)(image, image).item(), 4)
        0.0
    """

    data_range: float = 1.0
    kernel_type: Literal["gaussian", "uniform"] = "gaussian"
    win_size: int = 11
    kernel_sigma: float = 1.5
    k1: float = 0.01
    k2: float = 0.03
    weights: tuple[float, ...] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        _check(self)
        if not self.weights or not all(w > 0 for w in self.weights):
            raise BadArgument("weights are not usable", where="weights", found=self.weights, due="positive numbers")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        p, t = pair(prediction, target)
        halve = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[p.dim() - 3]
        product = torch.ones((), dtype=p.dtype, device=p.device)
        for scale, weight in enumerate(self.weights):
            if scale:
                if min(p.shape[2:]) // 2 < self.win_size:
                    raise BadGeometry(
                        "the image is too small for so many scales",
                        found=f"{tuple(prediction.shape)}",
                        due=f"{self.win_size * 2 ** (len(self.weights) - 1)} voxels or more along each axis",
                        mend="Give fewer weights or a smaller win_size.",
                    )
                p, t = halve(p, 2), halve(t, 2)
            whole, contrast = _similarity(p, t, self)
            term = whole if scale == len(self.weights) - 1 else contrast
            product = product * term.clamp_min(torch.finfo(p.dtype).eps) ** weight
        return reduce(1 - product, self.reduction)


def _similarity(p: Tensor, t: Tensor, how: SSIMLoss | MultiScaleSSIMLoss) -> tuple[Tensor, Tensor]:
    """The mean similarity and its mean contrast-structure part, each (B,)."""
    if min(p.shape[2:]) < how.win_size:
        raise BadGeometry(
            "the image is smaller than a window",
            found=f"shape {tuple(p.shape)}",
            due=f"{how.win_size} voxels or more along each axis",
        )
    line = window_line(how.win_size, how.kernel_sigma if how.kernel_type == "gaussian" else None)
    c1, c2 = (how.k1 * how.data_range) ** 2, (how.k2 * how.data_range) ** 2
    whole, contrast = structural_maps(p, t, line, c1, c2)
    return whole.flatten(1).mean(1), contrast.flatten(1).mean(1)


def _check(how: SSIMLoss | MultiScaleSSIMLoss) -> None:
    if how.kernel_type not in ("gaussian", "uniform"):
        raise BadArgument(
            "window is not known", where="kernel_type", found=repr(how.kernel_type), due="gaussian, uniform"
        )
    if how.win_size < 1 or how.win_size % 2 == 0:
        raise BadArgument("not a window", where="win_size", found=how.win_size, due="an odd number")
    for where in ("data_range", "kernel_sigma", "k1", "k2"):
        if not getattr(how, where) > 0:
            raise BadArgument("not positive", where=where, found=getattr(how, where), due="above 0")
