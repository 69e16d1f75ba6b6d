"""Edge voxels of a mask and the distances between two edges, in millimetres.

The definition that all surface metrics here follow: the edge of a mask is the mask without its erosion by the
face-connected neighbourhood (4 neighbours in 2-D, 6 in 3-D); beyond the array lies background, so a mask that touches
the border has edge voxels there. A distance is taken between voxel centres, exactly, with anisotropic spacing. Every
edge voxel weighs the same: no area is reconstructed (`medframe.metrics.areas` does that).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadGeometry
from medframe.kernels import distances_at
from medframe.metrics.labels import checked_spacing


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Nearest distances between two edges or surfaces, both ways.

    Args:
        to_reference: mm from each edge voxel (or surface element) of the prediction to the nearest of the reference.
        to_prediction: mm from each of the reference to the nearest of the prediction.
        predicted: how much each of the prediction weighs, its area in mm2; None where all weigh the same.
        reference: how much each of the reference weighs; None where all weigh the same.
    """

    to_reference: NDArray[np.float64]
    to_prediction: NDArray[np.float64]
    predicted: NDArray[np.float64] | None = None
    reference: NDArray[np.float64] | None = None


def edge_voxels(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The voxels of a mask (*spatial) that have a face neighbour outside it, or lie at the array's border."""
    mask = np.asarray(mask, dtype=bool)
    inside = mask.copy()
    for axis in range(mask.ndim):
        ahead, behind = (_along(axis, slice(1, None)), _along(axis, slice(None, -1)))
        inside[ahead] &= mask[behind]
        inside[behind] &= mask[ahead]
        inside[_along(axis, slice(None, 1))] = False
        inside[_along(axis, slice(-1, None))] = False
    edge: NDArray[np.bool_] = mask & ~inside
    return edge


def surface_distances(prediction: NDArray[Any], reference: NDArray[Any], spacing: Sequence[float]) -> SurfaceDistances:
    """Measure both edges against each other.

    Distances are exact, and worked out at edge voxels only, on the box around both masks.

    Args:
        prediction: a mask, (*spatial), not empty.
        reference: a mask of the same shape, not empty.
        spacing: mm along each array axis.

    Raises:
        BadGeometry: the shapes differ.
        BadArgument: a mask is empty (there is no distance to nothing), or the spacing is invalid.
    """
    a, b, sizes = checked_masks(prediction, reference, spacing)
    box = bounding_box(a | b)
    edge_a, edge_b = edge_voxels(a[box]), edge_voxels(b[box])  # the box is tight: cutting makes no new edge
    return SurfaceDistances(nearest(edge_a, edge_b, sizes), nearest(edge_b, edge_a, sizes))


def checked_masks(
    prediction: NDArray[Any], reference: NDArray[Any], spacing: Sequence[float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[float, ...]]:
    """Two masks between which there are distances, and the spacing; raises as `surface_distances` says."""
    a, b = np.asarray(prediction, dtype=bool), np.asarray(reference, dtype=bool)
    if a.shape != b.shape:
        raise BadGeometry("the masks differ in shape", found=f"{a.shape} and {b.shape}", due="masks on one lattice")
    sizes = checked_spacing(spacing, a.ndim)
    for mask, where in ((a, "prediction"), (b, "reference")):
        if not mask.any():
            raise BadArgument("no distance to an empty mask", where=where, found="no voxel set", due="at least one")
    return a, b, sizes


def nearest(start: NDArray[np.bool_], goal: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """The distance in mm from each voxel of `start`, in their order, to the nearest of `goal`."""
    # in double precision: what lies at a tolerance exactly should be within it
    return np.asarray(distances_at(torch.from_numpy(goal), torch.from_numpy(start), spacing).numpy())


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest window that holds every voxel of a mask that is not empty."""
    box = []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)
