"""Space: a lattice of voxels in the patient's world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medframe.base.errors import BadGeometry
from medframe.geometry.orientation import axcodes, axes_of, parse_axcodes

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """A lattice: its shape, and the affine that carries a voxel index to world millimetres.

    World axes are RAS+ (x grows to the patient's right, y to the front, z to the top). Voxel centres lie at whole
    indices. The affine is float64 and read-only.

    Args:
        shape: one to three spatial sizes.
        affine: (d + 1, d + 1).

    Raises:
        BadGeometry: a size below 1, or an affine that is not finite, not homogeneous, or singular.
    """

    shape: tuple[int, ...]
    affine: Array

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        d = len(shape)
        if not 1 <= d <= 3 or min(shape) < 1:
            raise BadGeometry("a lattice has one to three axes of at least one voxel", found=f"shape {shape}")
        if affine.shape != (d + 1, d + 1):
            raise BadGeometry("the affine does not fit the shape", found=affine.shape, due=f"({d + 1}, {d + 1})")
        check_affine(affine)
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __reduce__(self) -> tuple[Any, ...]:  # through the constructor, so that the affine stays read-only
        return Space, (self.shape, np.array(self.affine))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def inverse(self) -> Array:
        """World millimetres to voxel index, (d + 1, d + 1)."""
        return inverse(self.affine)

    @property
    def spacing(self) -> Array:
        """Millimetres between neighbouring voxels, per lattice axis."""
        lengths: Array = np.linalg.norm(self.affine[:-1, :-1], axis=0)
        return lengths

    @property
    def origin(self) -> Array:
        """World place of voxel (0, ..., 0)."""
        return self.affine[:-1, -1]

    @property
    def direction(self) -> Array:
        """Unit world vectors of the lattice axes, as columns."""
        return self.affine[:-1, :-1] / self.spacing

    @property
    def axcodes(self) -> str:
        """Directions of the lattice axes, such as "RAS"."""
        return axcodes(self.affine)

    @property
    def centre(self) -> Array:
        """Index of the middle of the lattice."""
        return (np.array(self.shape, float) - 1) / 2

    @property
    def world_centre(self) -> Array:
        """World place of the middle of the lattice."""
        return self.to_world(self.centre)

    @property
    def rotations(self) -> int:
        """How many angles a rotation has here: 1 in 2-D, 3 in 3-D."""
        return {1: 0, 2: 1, 3: 3}[self.ndim]

    @property
    def voxel_volume(self) -> float:
        """mm^d."""
        return float(abs(np.linalg.det(self.affine[:-1, :-1])))

    @property
    def extent(self) -> Array:
        """Millimetres from edge to edge, per lattice axis."""
        sides: Array = self.spacing * np.array(self.shape, float)
        return sides

    def to_world(self, index: ArrayLike) -> Array:
        """World millimetres of indices (..., d)."""
        return carry(self.affine, index)

    def to_index(self, world: ArrayLike) -> Array:
        """Indices (fractional) of world places (..., d)."""
        return carry(self.inverse, world)

    def window(self, start: Sequence[int] | Array, shape: Sequence[int]) -> Space:
        """The lattice of a crop or pad: `start` may be negative and `shape` may reach beyond."""
        affine = self.affine.copy()
        affine[:-1, -1] = self.to_world(np.asarray(start, float))
        return Space(tuple(int(n) for n in shape), affine)

    def reoriented(self, codes: str) -> Space:
        """The same voxels with axes permuted and mirrored to the directions `codes`."""
        want_world, want_sign = parse_axcodes(codes, self.ndim)
        have_world, have_sign = axes_of(self.affine)
        take = [have_world.index(w) for w in want_world]
        matrix = np.eye(self.ndim + 1)
        matrix[:-1, :-1] = 0
        for k, old in enumerate(take):
            sign = want_sign[k] * have_sign[old]
            matrix[old, k] = sign
            if sign < 0:
                matrix[old, -1] = self.shape[old] - 1
        return Space(tuple(self.shape[old] for old in take), self.affine @ matrix)

    def with_spacing(self, mm: Sequence[float | None]) -> Space:
        """The lattice of `mm` spacing over the same field of view.

        Sizes are round(extent / mm), halves up, at least 1; the centre of the field of view stays where it is, and the
        spacing is exactly `mm`. None keeps an axis.
        """
        new = np.array([s if m is None else m for s, m in zip(self.spacing, mm, strict=True)], float)
        if not (np.isfinite(new).all() and (new > 0).all()):
            raise BadGeometry("spacing must be positive millimetres", found=tuple(mm))
        shape = np.maximum(np.floor(self.extent / new + 0.5 + 1e-6), 1).astype(int)
        return self._about_same_centre(shape, self.direction * new)

    def with_shape(self, shape: Sequence[int]) -> Space:
        """The lattice of `shape` voxels over exactly the same field of view, edge to edge."""
        sizes = np.array(shape, float)
        if (sizes < 1).any():
            raise BadGeometry("sizes must be at least 1", found=tuple(shape))
        return self._about_same_centre(sizes, self.affine[:-1, :-1] * (np.array(self.shape) / sizes))

    def _about_same_centre(self, shape: Array | NDArray[np.int64], linear: Array) -> Space:
        affine = np.eye(self.ndim + 1)
        affine[:-1, :-1] = linear
        affine[:-1, -1] = self.world_centre - linear @ ((np.asarray(shape, float) - 1) / 2)
        return Space(tuple(int(n) for n in shape), affine)

    def distance(self, other: Space) -> float:
        """How far apart corresponding voxels of two lattices of one shape lie at most, in millimetres."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(self.ndim, -1).T
        return float(np.linalg.norm(self.to_world(corners) - other.to_world(corners), axis=-1).max())

    def matches(self, other: Space, tolerance: float = 0.05) -> bool:
        """Whether two lattices have one shape and no voxel is off by more than `tolerance` of the spacing."""
        return self.ndim == other.ndim and self.distance(other) <= tolerance * float(self.spacing.min())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.matches(other, 1e-5)

    def __hash__(self) -> int:
        return hash(self.shape)  # equality is within a tolerance, so the affine cannot take part

    def __str__(self) -> str:
        spacing = " x ".join(f"{s:.4g}" for s in self.spacing)
        origin = ", ".join(f"{o:.4g}" for o in self.origin)
        return f"{' x '.join(map(str, self.shape))} voxels of {spacing} mm, {self.axcodes}, origin ({origin})"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; exact."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Space:
        return cls(tuple(value["shape"]), np.array(value["affine"], float))


def carry(matrix: Array, places: ArrayLike) -> Array:
    """Apply a homogeneous matrix to places (..., d)."""
    moved: Array = np.asarray(places, np.float64) @ matrix[:-1, :-1].T + matrix[:-1, -1]
    return moved


def inverse(matrix: Array) -> Array:
    """The inverse of a homogeneous matrix, float64."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def check_affine(affine: Array, where: str | None = None) -> None:
    """Raise unless an affine is finite, homogeneous, and invertible relative to its own column lengths.

    Raises:
        BadGeometry: with the matrix found.
    """
    d = affine.shape[0] - 1
    if not np.isfinite(affine).all():
        raise BadGeometry("the affine holds NaN or infinity", where=where, found=_shown(affine), due="finite numbers")
    if not np.allclose(affine[-1], [0] * d + [1]):
        raise BadGeometry(
            "the affine's last row is not homogeneous", where=where, found=_shown(affine), due=[0] * d + [1]
        )
    lengths = np.linalg.norm(affine[:d, :d], axis=0)
    if (lengths <= 1e-9).any() or (lengths > 1e6).any():
        raise BadGeometry(
            "the affine has an axis of no length", where=where, found=_shown(affine), due="spacing above 0 mm"
        )
    if abs(np.linalg.det(affine[:d, :d] / lengths)) < 1e-4:
        raise BadGeometry("the affine is singular: its axes are not independent", where=where, found=_shown(affine))


def _shown(affine: Array) -> str:
    # only for messages: formatting costs more than all the checks, and every warp makes a Space
    return np.array2string(affine, precision=4, separator=", ").replace("\n", "")
