"""How alike two sets of images are, by features that some network made of them: Fréchet distance and MMD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry, BadVoxels
from medframe.base.sizes import check_size

Features: TypeAlias = NDArray[Any] | Tensor


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Number, mean and scatter of features; those of batches and ranks merge exactly, whatever their sizes.

    Args:
        count: how many images.
        mean: (D,).
        scatter: (D, D), products of the deviations from the mean, added up over images.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, features: Features) -> FeatureMoments:
        """The moments of features (N, D), N of at least 1.

        Raises:
            BadGeometry: not (N, D).
            BadVoxels: a feature is NaN or infinite.
        """
        x = _matrix(features)
        away = x - x.mean(axis=0)
        return cls(len(x), x.mean(axis=0), away.T @ away)

    def merge(self, *others: FeatureMoments) -> FeatureMoments:
        """The moments of all of them together.

        Tony Chan, Gene Golub, Randall LeVeque, "Algorithms for computing the sample variance: analysis and
        recommendations", 1983, doi:10.1080/00031305.1983.10483115.

        Raises:
            BadGeometry: they differ in the number of features.
        """
        count, mean, scatter = self.count, self.mean, self.scatter
        for other in others:
            if other.mean.shape != mean.shape:
                found = f"{len(mean)} and {len(other.mean)}"
                raise BadGeometry("features of two networks", found=found, due="one number of features")
            away, both = other.mean - mean, count + other.count
            scatter = scatter + other.scatter + np.outer(away, away) * (count * other.count / both)
            mean = mean + away * (other.count / both)
            count = both
        return FeatureMoments(count, mean, scatter)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(D, D) with the number of images less one below.

        Raises:
            BadArgument: fewer than two images.
        """
        if self.count < 2:
            raise BadArgument("one image has no covariance", where="features", found=self.count, due="2 or more images")
        return self.scatter / (self.count - 1)


def frechet_distance(a: FeatureMoments, b: FeatureMoments) -> float:
    """The Fréchet distance between two Gaussians with the moments of the features; FID where those are Inception's.

    |ma - mb|^2 + tr(Ca + Cb - 2 (Ca Cb)^(1/2)), the roots taken of symmetric matrices, so that they stay real with
    fewer images than features. It is biased upwards for few images: compare equal numbers only.

    Martin Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017,
    arXiv:1706.08500.

    Raises:
        BadGeometry: the numbers of features differ.
        BadArgument: fewer than two images on a side.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(frechet_distance(FeatureMoments.of(x), FeatureMoments.of(x + 1)), 6)
        3.0
    """
    if a.mean.shape != b.mean.shape:
        found = f"{len(a.mean)} and {len(b.mean)}"
        raise BadGeometry("features of two networks", found=found, due="one number of features")
    away = a.mean - b.mean
    # the root's trace is the sum of the singular values of the product of both roots, which squares no rounding error
    overlap = np.linalg.svd(_root(a.covariance) @ _root(b.covariance), compute_uv=False).sum()
    return float(away @ away + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap)


class Kernel(Protocol):
    """How alike two features are."""

    def __call__(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, D), (M, D) -> (N, M)."""
        ...


@dataclass(frozen=True)
class LinearKernel:
    """The product of two features; it sees means alone."""

    def __call__(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(a @ b.T)


@dataclass(frozen=True)
class PolynomialKernel:
    """(a b / D + 1)^degree; with degree 3 the MMD of Inception's features is the kernel inception distance (KID).

    Mikołaj Bińkowski, Danica Sutherland, Michael Arbel, Arthur Gretton, "Demystifying MMD GANs", 2018,
    arXiv:1801.01401.
    """

    degree: int = 3

    def __call__(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** self.degree)


@dataclass(frozen=True)
class GaussianKernel:
    """exp(-|a - b|^2 / (2 bandwidth^2)); it tells any two distributions apart.

    Args:
        bandwidth: in the features' unit; the median distance between features is a usual choice. State it.
    """

    bandwidth: float

    def __post_init__(self) -> None:
        if not self.bandwidth > 0:
            raise BadArgument("not a bandwidth", where="bandwidth", found=self.bandwidth, due="above 0")

    def __call__(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
        return np.asarray(np.exp(-squares.clip(min=0) / (2 * self.bandwidth**2)))


def mmd(a: Features, b: Features, kernel: Kernel) -> float:
    """The squared maximum mean discrepancy of two sets of features, estimated without bias; it may be below 0.

    Arthur Gretton et al., "A kernel two-sample test", JMLR 13, 2012.

    Args:
        a: (N, D), N of at least 2.
        b: (M, D), M of at least 2; N and M may differ.
        kernel: `LinearKernel`, `PolynomialKernel`, `GaussianKernel`, or your own.

    Raises:
        BadGeometry: not (N, D) and (M, D).
        BadVoxels: a feature is NaN or infinite.
        BadArgument: fewer than two images on a side.
        TooLarge: the tables of all pairs pass the image limit.
    """
    x, y = _matrix(a), _matrix(b)
    if x.shape[1] != y.shape[1]:
        raise BadGeometry("features of two networks", found=f"{x.shape} and {y.shape}", due="one number of features")
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise BadArgument("too few images", where="features", found=f"{n} and {m}", due="2 or more on each side")
    check_size((max(n, m), max(n, m)), 8, where="pairs of features")
    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * kernel(x, y).mean())


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    noise = values.max() * len(values) * np.finfo(np.float64).eps  # its root would be no noise any more
    return np.asarray((vectors * np.sqrt(np.where(values > noise, values, 0))) @ vectors.T)


def _matrix(features: Features) -> NDArray[np.float64]:
    x = features.detach().cpu().double().numpy() if isinstance(features, Tensor) else np.asarray(features, np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise BadGeometry("not features", found=f"shape {x.shape}", due="(N, D): images, features")
    if not np.isfinite(x).all():
        raise BadVoxels("features are not finite", found="NaN or infinite values", due="numbers")
    return np.asarray(x)
