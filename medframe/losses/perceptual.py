"""Distances between images as a network sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry
from medframe.losses.tensors import pair, wide
from medframe.losses.weights import or_one


@dataclass(frozen=True)
class PerceptualLoss:
    """The mean squared distance between the features a given network makes of two images.

    At each place the features are scaled to length one over channels, their squared differences summed over channels,
    averaged over places and cases, and the layers summed by their weights. No network is fetched: give one that is
    trained for your kind of image, in evaluation mode and with `requires_grad_(False)`.

    R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018,
    doi:10.1109/CVPR.2018.00068, without learnt channel weights; J. Johnson, A. Alahi, L. Fei-Fei, "Perceptual losses
    for real-time style transfer and super-resolution", ECCV 2016, doi:10.1007/978-3-319-46475-6_43.

    Args:
        network: from (B, C, *spatial) to features (B, F, *places), or to several of them.
        weights: one for each of the features; 1 by default.
        normalize: scale features to length one; without it the plain squared distance is averaged over channels too.
        slices: for a 2-D network and 3-D images. The share of slices along each of the three axes that is compared,
            evenly spread, 0 to 1; None gives the network the images as they are.

    Raises:
        BadArgument: when made with settings out of their domain, or another number of weights than of features.
        BadGeometry: the shapes differ, or `slices` is given for images that are not 3-D.

    Example:
        >>> network = torch.nn.Conv2d(1, 4, 3)
        >>> x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> PerceptualLoss(network)(x, x).item()
        0.0
    """

    network: Callable[[Tensor], Tensor | Sequence[Tensor]]
    weights: tuple[float, ...] | None = None
    normalize: bool = True
    slices: float | None = None

    def __post_init__(self) -> None:
        if self.slices is not None and not 0 < self.slices <= 1:
            raise BadArgument("not a share", where="slices", found=self.slices, due="above 0, at most 1")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        p, t = pair(prediction, target)
        if self.slices is None:
            return self._distance(p, t)
        if p.dim() != 5:
            raise BadGeometry("slices are of 3-D images", found=f"shape {tuple(p.shape)}", due="(B, C, D, H, W)")
        return torch.stack(
            [self._distance(*(_slices(x, axis, self.slices) for x in (p, t))) for axis in (2, 3, 4)]
        ).sum()

    def _distance(self, p: Tensor, t: Tensor) -> Tensor:
        seen_p, seen_t = self.network(p), self.network(t)
        many_p = [seen_p] if isinstance(seen_p, Tensor) else list(seen_p)
        many_t = [seen_t] if isinstance(seen_t, Tensor) else list(seen_t)
        weights = (1.0,) * len(many_p) if self.weights is None else self.weights
        if len(weights) != len(many_p) or not many_p:
            raise BadArgument(
                "not one weight for each of the features", where="weights", found=weights, due=f"{len(many_p)} numbers"
            )
        total = p.new_zeros(())
        for a, b, weight in zip(many_p, many_t, weights, strict=True):
            total = total + weight * self._of_layer(wide(a), wide(b))
        return total

    def _of_layer(self, a: Tensor, b: Tensor) -> Tensor:
        if not self.normalize:
            return ((a - b) ** 2).mean()
        return ((_unit(a) - _unit(b)) ** 2).sum(1).mean()


def _unit(features: Tensor) -> Tensor:
    length = (features * features).sum(1, keepdim=True)
    # a vector of zeros stays one, and its slope stays finite
    return features / or_one(length).sqrt()


def _slices(x: Tensor, axis: int, share: float) -> Tensor:
    count = max(1, round(share * x.shape[axis]))
    at = [(2 * i + 1) * x.shape[axis] // (2 * count) for i in range(count)]
    picked = x.index_select(axis, torch.tensor(at, device=x.device))
    return picked.movedim(axis, 1).flatten(0, 1)
