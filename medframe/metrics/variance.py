"""How far repeated predictions of one case lie apart, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry


@dataclass(frozen=True, eq=False)
class RepeatedPredictions:
    """Number, mean and spread of repeated predictions: of dropout samples, of folds, of augmented views.

    Those of several ranks merge exactly, so that no rank has to hold all predictions.

    Args:
        count: how many predictions.
        mean: (C, *spatial) float64.
        scatter: (C, *spatial) float64, squared deviations from the mean, added up over predictions.

    Example:
        >>> import torch
        >>> found = RepeatedPredictions.of(torch.tensor([[[0.2, 0.5]], [[0.4, 0.5]]]))
        >>> [round(v, 6) for v in found.variance()[0].tolist()]
        [0.01, 0.0]
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, predictions: Tensor) -> RepeatedPredictions:
        """What predictions (R, C, *spatial), R of at least 1, have in common.

        Raises:
            BadGeometry: there is none, or no channel axis.
        """
        if predictions.dim() < 2 or predictions.numel() == 0:
            found = tuple(predictions.shape)
            raise BadGeometry("not repeated predictions", found=found, due="(R, C, *spatial), R of at least 1")
        x = predictions.detach().double()
        mean = x.mean(dim=0)
        return cls(len(x), mean, (x - mean).square().sum(dim=0))

    def merge(self, *others: RepeatedPredictions) -> RepeatedPredictions:
        """The predictions of all of them together.

        Raises:
            BadGeometry: their shapes differ.
        """
        count, mean, scatter = self.count, self.mean, self.scatter
        for other in others:
            if other.mean.shape != mean.shape:
                found = f"{tuple(mean.shape)} and {tuple(other.mean.shape)}"
                raise BadGeometry("predictions on two lattices", found=found, due="one shape")
            away, both = other.mean - mean, count + other.count
            scatter = scatter + other.scatter + away.square() * (count * other.count / both)
            mean = mean + away * (other.count / both)
            count = both
        return RepeatedPredictions(count, mean, scatter)

    def variance(self, *, correction: int = 0) -> Tensor:
        """The variance of every channel and voxel, (C, *spatial).

        Args:
            correction: 0 divides by the number of predictions, 1 by one less.

        Raises:
            BadArgument: no more predictions than the correction.
        """
        if correction not in (0, 1) or self.count <= correction:
            found = f"{correction} with {self.count} predictions"
            raise BadArgument("not a correction", where="correction", found=found, due="0, or 1 with 2 or more")
        return self.scatter / (self.count - correction)

    def mean_variance(self, mask: Tensor | None = None) -> float:
        """The mean variance over channels and voxels, those of a mask (*spatial) alone where one is given.

        Raises:
            BadGeometry: the mask lies on another lattice.
            BadArgument: the mask is empty.
        """
        spread = self.variance()
        if mask is None:
            return float(spread.mean())
        if mask.shape != spread.shape[1:]:
            found, due = tuple(mask.shape), tuple(spread.shape[1:])
            raise BadGeometry("the mask lies on another lattice", found=found, due=due)
        inside = (mask != 0).to(spread.device)
        if not bool(inside.any()):
            raise BadArgument("nothing to measure", where="mask", found="no voxel set", due="at least one")
        return float(spread[:, inside].mean())
