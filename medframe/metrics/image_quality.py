"""How far one image is from another: errors of voxels, and structural similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry, BadVoxels
from medframe.kernels.structural import structural_maps, window_line
from medframe.metrics.table import Row

ImageArray: TypeAlias = NDArray[Any] | Tensor


class ImageMetric(Protocol):
    """A number for a pair of images; implementations are frozen dataclasses. See `score_image`."""

    @property
    def name(self) -> str:
        """The column's name."""
        ...

    def value(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> float:
        """The metric of two images (C, *spatial) in float64, over a mask (1, *spatial) where there is one."""
        ...


def score_image(
    prediction: ImageArray,
    reference: ImageArray,
    metrics: Sequence[ImageMetric],
    *,
    case: str,
    mask: ImageArray | None = None,
) -> Row:
    """Score a synthesised, reconstructed or denoised image against the true one.

    All is computed in double precision, on the reference's device.

    Args:
        prediction: (C, *spatial), one to three spatial axes.
        reference: of the same shape.
        metrics: what to measure, one column each.
        case: the case's id.
        mask: where to measure, (*spatial) or (1, *spatial), not empty; None measures everywhere.

    Returns:
        The row of the whole case; rows of many cases make a table, on as many ranks as you like.

    Raises:
        BadGeometry: the shapes do not fit.
        BadVoxels: a value is NaN or infinite.
        BadArgument: no metric, one twice, an empty mask, or a metric that takes no mask.

    Example:
        >>> truth = torch.linspace(0, 1, 100).reshape(1, 10, 10)
        >>> row = score_image(truth + 0.1, truth, [MAE(), PSNR(data_range=1.0)], case="a")
        >>> round(row["mae"], 6), round(row["psnr"], 4)
        (0.1, 20.0)
    """
    truth = torch.as_tensor(reference).detach().double()
    made = torch.as_tensor(prediction).detach().to(truth.device).double()
    if made.shape != truth.shape or not 2 <= truth.dim() <= 4 or truth.numel() == 0:
        found = f"prediction {tuple(made.shape)}, reference {tuple(truth.shape)}"
        raise BadGeometry("not two images on one lattice", where=case, found=found, due="one shape (C, *spatial)")
    for image, where in ((made, "prediction"), (truth, "reference")):
        if not bool(torch.isfinite(image).all()):
            raise BadVoxels("an image is not finite", where=f"{case}, {where}", found="NaN or infinite voxels")
    inside = None if mask is None else _checked_mask(mask, truth)
    names = [metric.name for metric in metrics]
    if not names or len(set(names)) < len(names):
        raise BadArgument("columns must differ", where="metrics", found=names, due="one or more metrics, each once")
    return Row.of_case(case, {metric.name: metric.value(made, truth, inside) for metric in metrics})


@dataclass(frozen=True)
class MAE:
    """The mean absolute error."""

    @property
    def name(self) -> str:
        return "mae"

    def value(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> float:
        return float(_difference(prediction, reference, mask).abs().mean())


@dataclass(frozen=True)
class MSE:
    """The mean squared error."""

    @property
    def name(self) -> str:
        return "mse"

    def value(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> float:
        return float(_difference(prediction, reference, mask).square().mean())


@dataclass(frozen=True)
class RMSE:
    """The root of the mean squared error, in the images' unit."""

    @property
    def name(self) -> str:
        return "rmse"

    def value(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> float:
        return math.sqrt(MSE().value(prediction, reference, mask))


@dataclass(frozen=True)
class PSNR:
    """The peak signal-to-noise ratio in dB: 10 log10(range^2 / MSE); infinite for equal images.

    Args:
        data_range: largest minus smallest possible value. It moves every value: state it, and do not take it from each
            image's own extremes.
    """

    data_range: float

    def __post_init__(self) -> None:
        _check_range(self.data_range)

    @property
    def name(self) -> str:
        return "psnr"

    def value(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> float:
        error = MSE().value(prediction, reference, mask)
        return 10 * math.log10(self.data_range**2 / error) if error else math.inf


@dataclass(frozen=True)
class SSIM:
    """The mean structural similarity, 1 for equal images; see `medframe.kernels.structural.structural_maps`.

    Windows lie inside the image; with a mask, those count whose middle lies in it. In 3-D the window is a cube of
    voxels, whatever their size in mm.

    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004,
    doi:10.1109/TIP.2003.819861.

    Args:
        data_range: largest minus smallest possible value.
        kernel_type: "gaussian" (the paper's) or "uniform" weights in the window.
        win_size: odd number of voxels along each axis.
        kernel_sigma: of the Gaussian, in voxels.
        k1: of the constant that calms the means.
        k2: of the constant that calms the variances.
    """

    data_range: float
    kernel_type: Literal["gaussian", "uniform"] = "gaussian"
    win_size: int = 11
    kernel_sigma: float = 1.5
    k1: float = 0.01
    k2: float = 0.03

    def __post_init__(self) -> None:
        _check_range(self.data_range)
        _check_window(self)

    @property
    def name(self) -> str:
        return "ssim"

    def value(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> float:
        whole, _ = _maps(prediction, reference, self)
        if mask is None:
            return float(whole.mean())
        half = self.win_size // 2
        middles = mask[(slice(None), *[slice(half, n - half) for n in mask.shape[1:]])].expand_as(whole)
        return float(whole[middles].mean()) if bool(middles.any()) else math.nan


@dataclass(frozen=True)
class MultiScaleSSIM:
    """Structural similarity over several scales, each half the one before, 1 for equal images; takes no mask.

    The product over scales of the mean contrast-structure term (at the coarsest scale the whole similarity) to the
    power of the scale's weight; a negative term counts as 0. At the coarsest scale the image must still hold a window.

    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality assessment", 2003,
    doi:10.1109/ACSSC.2003.1292216.

    Args:
        data_range: see `SSIM`.
        kernel_type: see `SSIM`.
        win_size: see `SSIM`.
        kernel_sigma: see `SSIM`.
        k1: see `SSIM`.
        k2: see `SSIM`.
        weights: one for each scale, finest first.
    """

    data_range: float
    kernel_type: Literal["gaussian", "uniform"] = "gaussian"
    win_size: int = 11
    kernel_sigma: float = 1.5
    k1: float = 0.01
    k2: float = 0.03
    weights: tuple[float, ...] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

    def __post_init__(self) -> None:
        _check_range(self.data_range)
        _check_window(self)
        if not self.weights or not all(w > 0 for w in self.weights):
            raise BadArgument("weights are not usable", where="weights", found=self.weights, due="positive numbers")

    @property
    def name(self) -> str:
        return "ms_ssim"

    def value(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> float:
        if mask is not None:
            raise BadArgument(
                "ms_ssim takes no mask", where="mask", found="a mask", due="None", mend="Set both to one value outside."
            )
        halve = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[reference.dim() - 2]
        product = 1.0
        for scale, weight in enumerate(self.weights):
            if scale:
                prediction, reference = halve(prediction, 2), halve(reference, 2)
            whole, contrast = _maps(prediction, reference, self)
            term = whole if scale == len(self.weights) - 1 else contrast
            product *= max(float(term.mean()), 0.0) ** weight
        return product


def _difference(prediction: Tensor, reference: Tensor, mask: Tensor | None) -> Tensor:
    away = prediction - reference
    return away if mask is None else away[mask.expand_as(away)]


def _maps(prediction: Tensor, reference: Tensor, how: SSIM | MultiScaleSSIM) -> tuple[Tensor, Tensor]:
    if min(reference.shape[1:]) < how.win_size:
        scales = len(how.weights) if isinstance(how, MultiScaleSSIM) else 1
        raise BadGeometry(
            "the image is smaller than a window",
            found=f"{tuple(reference.shape)}",
            due=f"{how.win_size} voxels or more along each axis" + " at the coarsest scale" * (scales > 1),
            mend="Give a smaller win_size" + " or fewer weights" * (scales > 1) + ".",
        )
    line = window_line(how.win_size, how.kernel_sigma if how.kernel_type == "gaussian" else None)
    c1, c2 = (how.k1 * how.data_range) ** 2, (how.k2 * how.data_range) ** 2
    whole, contrast = structural_maps(prediction[None], reference[None], line, c1, c2)
    return whole[0], contrast[0]


def _checked_mask(mask: ImageArray, like: Tensor) -> Tensor:
    inside = torch.as_tensor(np.asarray(mask) if not isinstance(mask, Tensor) else mask).to(like.device) != 0
    inside = inside[None] if inside.dim() == like.dim() - 1 else inside
    if tuple(inside.shape) != (1, *like.shape[1:]):
        due = f"(*spatial) or (1, *spatial) with {tuple(like.shape[1:])}"
        raise BadGeometry("the mask lies on another lattice", found=tuple(inside.shape), due=due)
    if not bool(inside.any()):
        raise BadArgument("nothing to measure", where="mask", found="no voxel set", due="at least one")
    return inside


def _check_range(data_range: float) -> None:
    if not (math.isfinite(data_range) and data_range > 0):
        raise BadArgument("not a range of values", where="data_range", found=data_range, due="a number above 0")


def _check_window(how: SSIM | MultiScaleSSIM) -> None:
    if how.kernel_type not in ("gaussian", "uniform"):
        found = repr(how.kernel_type)
        raise BadArgument("window is not known", where="kernel_type", found=found, due="'gaussian' or 'uniform'")
    if how.win_size < 1 or how.win_size % 2 == 0:
        raise BadArgument("not a window", where="win_size", found=how.win_size, due="an odd number")
    for where in ("kernel_sigma", "k1", "k2"):
        if not getattr(how, where) > 0:
            raise BadArgument("not positive", where=where, found=getattr(how, where), due="above 0")
