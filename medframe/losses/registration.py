"""How alike two images are, for registration: local cross-correlation and mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.losses.tensors import full_precision, pair, reduce
from medframe.losses.weights import Reduction, check_reduction


@dataclass(frozen=True)
class LocalNormalizedCrossCorrelationLoss:
    """The negative of the squared correlation of two images in a window around each voxel.

    -1 where one image is a linear function of the other. Called with two tensors (B, C, *spatial) of one shape, 1-D to
    3-D; zeros lie beyond the image. Computed in float32 at least; safe under autocast.

    G. Balakrishnan et al., "VoxelMorph: a learning framework for deformable medical image registration", IEEE Trans.
    Med. Imaging 38, 2019, doi:10.1109/TMI.2019.2897538; B. B. Avants et al., "Symmetric diffeomorphic image
    registration with cross-correlation", Med. Image Anal. 12, 2008, doi:10.1016/j.media.2007.06.004.

    Args:
        kernel_size: odd number of voxels along each axis; VoxelMorph has 9.
        kernel_type: weights in the window: "rectangular", "triangular" or "gaussian" (sigma a third of the window).
        smooth: the least variance (times the window's weight) by which is divided; flat windows count as uncorrelated.
        reduction: "mean" or "sum" over everything, or "none": the images' shape.

    Raises:
        BadArgument: when made with settings out of their domain.
        BadGeometry: the shapes do not fit.

    Example:
        >>> x = torch.linspace(0, 1, 400).sin().reshape(1, 1, 20, 20)
        >>> float(LocalNormalizedCrossCorrelationLoss(smooth=1e-9)(2 * x, x)) < -0.99
        True
    """

    kernel_size: int = 3
    kernel_type: Literal["rectangular", "triangular", "gaussian"] = "rectangular"
    smooth: float = 1e-5
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise BadArgument("not a window", where="kernel_size", found=self.kernel_size, due="an odd number")
        if self.kernel_type not in ("rectangular", "triangular", "gaussian"):
            due = "rectangular, triangular or gaussian"
            raise BadArgument("window is not known", where="kernel_type", found=repr(self.kernel_type), due=due)
        if not self.smooth > 0:
            raise BadArgument("smooth is not positive", where="smooth", found=self.smooth, due="above 0")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        p, t = pair(prediction, target)
        line = self._line().to(p)
        total = float(line.sum()) ** (p.dim() - 2)
        with full_precision(p):
            stacked = torch.stack([t, p, t * t, p * p, t * p]).flatten(0, 2)[:, None]
            sums = _windowed(stacked, line).reshape(5, *p.shape)
        t_sum, p_sum, tt, pp, tp = sums
        cross = tp - p_sum * t_sum / total
        t_var = (tt - t_sum * t_sum / total).clamp_min(self.smooth)
        p_var = (pp - p_sum * p_sum / total).clamp_min(self.smooth)
        return reduce(-cross * cross / (t_var * p_var), self.reduction)

    def _line(self) -> Tensor:
        n = self.kernel_size
        away = torch.arange(n, dtype=torch.float64) - n // 2
        if self.kernel_type == "triangular":
            # two equal boxes one after the other make a triangle; the wider the window, the more it falls to zero
            half = (n + 1) // 2
            half -= half % 2 == 0
            return (half - away.abs()).clamp_min(0) / half**2
        return (
            torch.ones(n, dtype=torch.float64)
            if self.kernel_type == "rectangular"
            else (torch.exp(-0.5 * (3 * away / n) ** 2))
        )


@dataclass(frozen=True)
class GlobalMutualInformationLoss:
    """The negative of the mutual information of two images, in nats, from a soft joint histogram.

    For images of different modality. Called with two tensors of one shape (B, C, *spatial), each case by itself, its
    channels together. Intensities should lie between 0 and 1 for "gaussian", which cuts what lies beyond; "b-spline"
    takes the range of each case as it finds it. Computed in float32 at least; safe under autocast.

    P. Thevenaz and M. Unser, "Optimization of mutual information for multiresolution image registration", IEEE Trans.
    Image Process. 9, 2000, doi:10.1109/83.887976; D. Mattes et al., "PET-CT image registration in the chest using
    free-form deformations", IEEE Trans. Med. Imaging 22, 2003, doi:10.1109/TMI.2003.809072 (cubic B-splines for the
    prediction, bins for the target).

    Args:
        kernel_type: "gaussian" or "b-spline".
        num_bins: of the histogram along each axis.
        sigma_ratio: the width of the Gaussian in bins.
        smooth: added to probabilities above and below, and inside the logarithm.
        reduction: "mean" or "sum" over cases, or "none": (B,).

    Raises:
        BadArgument: when made with settings out of their domain.
        BadGeometry: the shapes differ.

    Example:
        >>> x = torch.linspace(0, 1, 400).reshape(1, 1, 20, 20)
        >>> loss = GlobalMutualInformationLoss()
        >>> float(loss(1 - x, x)) < float(loss(x.flip(2), x)) < 0
        True
    """

    kernel_type: Literal["gaussian", "b-spline"] = "gaussian"
    num_bins: int = 23
    sigma_ratio: float = 0.5
    smooth: float = 1e-7
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.reduction)
        if self.kernel_type not in ("gaussian", "b-spline"):
            due = "gaussian or b-spline"
            raise BadArgument("window is not known", where="kernel_type", found=repr(self.kernel_type), due=due)
        least = 2 if self.kernel_type == "gaussian" else 2 * _MARGIN + 1
        if self.num_bins < least:
            raise BadArgument("too few bins", where="num_bins", found=self.num_bins, due=f"{least} or more")
        for where, value in (("sigma_ratio", self.sigma_ratio), ("smooth", self.smooth)):
            if not value > 0:
                raise BadArgument("not positive", where=where, found=value, due="above 0")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.shape != target.shape or prediction.dim() < 2:
            raise BadGeometry(
                "the two tensors differ in shape",
                found=f"{tuple(prediction.shape)} and {tuple(target.shape)}",
                due="one shape (B, C, *spatial)",
            )
        p, t = (x.to(torch.promote_types(x.dtype, torch.float32)).flatten(1) for x in (prediction, target))
        with full_precision(p):
            if self.kernel_type == "gaussian":
                in_p, in_t = self._gaussian(p), self._gaussian(t)
            else:
                in_p, in_t = self._spline(p, 3), self._spline(t, 0)
            joint = in_p.transpose(1, 2) @ in_t.to(in_p.dtype) / p.shape[1]
            apart = in_p.mean(1)[:, :, None] * in_t.mean(1)[:, None]
        ratio = (joint + self.smooth) / (apart + self.smooth) + self.smooth
        return reduce(-(joint * ratio.log()).sum((1, 2)), self.reduction)

    def _gaussian(self, values: Tensor) -> Tensor:
        """The share of each value in each bin, (B, N, bins)."""
        centres = torch.linspace(0, 1, self.num_bins, device=values.device, dtype=values.dtype)
        width = self.sigma_ratio / (self.num_bins - 1)
        away = (values.clamp(0, 1)[..., None] - centres) / width
        return (-0.5 * away * away).softmax(-1)

    def _spline(self, values: Tensor, order: int) -> Tensor:
        low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        step = (high - low) / (self.num_bins - 2 * _MARGIN)
        step = torch.where(step > 0, step, 1)  # one value falls into one bin
        at = ((values - low) / step + _MARGIN).clamp(_MARGIN, self.num_bins - _MARGIN - 1)
        away = (torch.arange(self.num_bins, device=values.device, dtype=values.dtype) - at[..., None]).abs()
        if order == 0:
            share = (away < 0.5).to(values.dtype) + 0.5 * (away == 0.5)
        else:
            near, far = (4 - 6 * away**2 + 3 * away**3) / 6, (2 - away).clamp_min(0) ** 3 / 6
            share = torch.where(away < 1, near, far)
        return share / share.sum(-1, keepdim=True)


_MARGIN = 2  # bins at each end that the cubic spline reaches into


def _windowed(x: Tensor, line: Tensor) -> Tensor:
    """Sums (N, 1, *spatial) over windows with separable weights, zeros beyond the image."""
    ndim = x.dim() - 2
    convolve = (F.conv1d, F.conv2d, F.conv3d)[ndim - 1]
    for axis in range(ndim):
        shape = [line.numel() if a == axis else 1 for a in range(ndim)]
        x = convolve(x, line.reshape(1, 1, *shape), padding=[n // 2 for n in shape])
    return x
