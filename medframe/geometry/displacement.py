"""Displacement: a smooth deformation of the world, on coarse knots, that never folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from medframe.base.errors import BadGeometry
from medframe.geometry.space import Array, Space
from medframe.kernels import reference
from medframe.kernels.stages import Knots

_SLAB = 1 << 15  # places whose slopes are held at once


@dataclass(frozen=True, eq=False)
class Displacement:
    """World place -> world place: x + f(x), with f given at knots, all in millimetres.

    Living in the world and not in a lattice, one displacement serves an image, its label map and points alike, whatever
    their lattices. Beyond the outermost knots f goes on unchanged.

    Args:
        values: (d, *n), f at the knots, in mm.
        knots: the lattice of the knots.
        order: 3 reads the values as cubic B-spline coefficients (smooth; for deformations that are drawn); 1 reads
            linearly between them (for displacement fields that were computed voxel by voxel).
        inverse: stand for the inverse map, which is solved numerically.

    Raises:
        BadGeometry: shapes that do not fit, values that are not finite, or a field that folds.
    """

    values: Tensor
    knots: Space
    order: int = 3
    inverse: bool = False

    def __post_init__(self) -> None:
        values = torch.as_tensor(self.values, dtype=torch.float32)
        due = (self.knots.ndim, *self.knots.shape)
        if tuple(values.shape) != due:
            raise BadGeometry("displacements do not fit their knots", found=tuple(values.shape), due=due)
        if self.order not in (1, 3):
            raise BadGeometry("a displacement has order 1 or 3", found=self.order)
        if not bool(torch.isfinite(values).all()):
            raise BadGeometry("a displacement holds NaN or infinity", due="finite millimetres")
        object.__setattr__(self, "values", values)
        least = smallest_stretch(values, self.knots, self.order)
        if least <= 0:
            raise BadGeometry(
                "the displacement folds: two tissues would land on one place",
                found=f"a smallest Jacobian determinant of {least:.3g}",
                due="above 0 everywhere",
                mend="Lower the amplitude, or put the knots further apart.",
            )

    @property
    def stage(self) -> Knots:
        """What the kernels take."""
        return Knots(self.values, self.knots.inverse, self.order, self.inverse)

    @property
    def inverted(self) -> Displacement:
        """The map back."""
        other = object.__new__(Displacement)  # checked already
        for name, value in (("values", self.values), ("knots", self.knots), ("order", self.order)):
            object.__setattr__(other, name, value)
        object.__setattr__(other, "inverse", not self.inverse)
        return other

    def undoes(self, other: Displacement) -> bool:
        """Whether this is the inverse of `other`."""
        same = self.values is other.values and self.knots is other.knots and self.order == other.order
        return same and self.inverse != other.inverse

    @property
    def reach(self) -> Array:
        """The largest displacement per world axis, in mm."""
        return self.values.abs().flatten(1).amax(1).double().numpy()

    def __call__(self, places: ArrayLike) -> Array:
        """Carry world places (..., d) in mm."""
        points = torch.from_numpy(np.array(places, np.float64))
        moved = reference.displace(self.stage, points.reshape(-1, points.shape[-1]))
        return moved.reshape(points.shape).numpy()

    def __repr__(self) -> str:
        most = float(self.values.abs().max())
        name = "inverse of a displacement" if self.inverse else "displacement"
        return f"<{name}: {' x '.join(map(str, self.knots.shape))} knots, up to {most:.3g} mm>"


def smallest_stretch(values: Tensor, knots: Space, order: int) -> float:
    """The smallest Jacobian determinant of x + f(x), found by sampling every cell between knots.

    A linear field has its extreme slopes at the corners of the cells, each seen from inside the cell; a spline is
    sampled at three places per cell and axis. Beyond the knots f goes on unchanged along the axes that have ended, so
    those slopes are 0 while the others stay: that fringe is sampled, too.

    Args:
        values: (d, *n) in mm.
        knots: the lattice of the knots.
        order: 1 or 3.
    """
    f = values.detach().cpu().double().numpy()
    f = np.pad(f, [(0, 0)] + [(1, 1)] * knots.ndim, mode="edge") if order == 1 else f
    to_index = knots.inverse[:-1, :-1]
    least = 1.0  # beyond all corners f is constant
    for slopes in _linear_slopes(f) if order == 1 else _spline_slopes(f):
        # slopes: (component, knot axis, *places)
        jacobian = to_index.T @ slopes.reshape(*slopes.shape[:2], -1)  # (component, world axis, places)
        least = min(least, float(_determinants(jacobian).min()))
    return least


def _determinants(slopes: Array) -> Array:
    """Of 1 + slopes, (d, d, places), written out: for so small matrices LAPACK takes ten times as long."""
    m = [[slope + (r == c) for c, slope in enumerate(row)] for r, row in enumerate(slopes)]
    found: Array = m[0][0]
    if len(m) == 2:
        found = m[0][0] * m[1][1] - m[0][1] * m[1][0]
    if len(m) < 3:
        return found
    found = (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    )
    return found


def _linear_slopes(f: Array) -> Iterator[Array]:
    d = f.ndim - 1
    for corner in product((0, 1), repeat=d):
        columns = []
        for axis in range(d):
            pick = tuple(
                slice(None) if a == axis or n == 1 else slice(c, n - 1 + c)
                for a, (c, n) in enumerate(zip(corner, f.shape[1:], strict=True))
            )
            picked = f[(slice(None), *pick)]
            flat = f.shape[axis + 1] == 1
            columns.append(np.zeros_like(picked) if flat else np.diff(picked, axis=axis + 1))
        yield np.stack(columns, axis=1)


def _spline_slopes(f: Array) -> Iterator[Array]:
    values: list[Array] = []
    slopes: list[Array] = []
    for n in f.shape[1:]:
        places = np.linspace(0, n - 1, 3 * (n - 1) + 1) if n > 1 else np.zeros(1)
        base = np.minimum(np.floor(places), max(n - 2, 0))
        t = torch.from_numpy(places - base)
        rows = np.arange(len(places))
        for kept, weights in ((values, reference.spline_weights(t)), (slopes, reference.spline_slopes(t))):
            matrix = np.zeros((len(places), n))
            for k, w in enumerate(weights):
                np.add.at(matrix, (rows, np.clip(base.astype(int) - 1 + k, 0, n - 1)), w.numpy())
            beyond = matrix[[0, -1]] if kept is values else np.zeros((2, n))
            kept.append(np.concatenate([matrix, beyond]))
    across = math.prod(len(v) for v in values[1:])
    slab = max(1, _SLAB // across)
    for first in range(0, len(values[0]), slab):
        columns = []
        for axis in range(f.ndim - 1):
            spread = f
            for a in range(f.ndim - 2, -1, -1):  # the last axis first: what is spread then lies side by side
                matrix = (slopes if axis == a else values)[a]
                matrix = matrix[first : first + slab] if a == 0 else matrix
                before, after = spread.shape[: a + 1], spread.shape[a + 2 :]
                lines = spread.reshape(math.prod(before), spread.shape[a + 1], -1)
                spread = lines[..., 0] @ matrix.T if not after else matrix @ lines
                spread = spread.reshape(*before, len(matrix), *after)
            columns.append(spread)
        yield np.stack(columns, axis=1)


def knot_lattice(space: Space, distance: Sequence[float] | NDArray[np.float64]) -> Space:
    """Knots about `distance` mm apart that span a field of view, edge voxel centres included, with one ring around.

    Args:
        space: the field of view to cover.
        distance: mm between knots, per lattice axis.
    """
    cells = np.maximum(np.ceil((np.array(space.shape) - 1) * space.spacing / np.asarray(distance, float)), 1).astype(
        int
    )
    step = np.maximum(np.array(space.shape) - 1, 1) / cells  # in voxels
    affine = np.eye(space.ndim + 1)
    affine[:-1, :-1] = space.affine[:-1, :-1] * step
    affine[:-1, -1] = space.to_world(-step)
    return Space(tuple(int(n) for n in cells + 3), affine)
