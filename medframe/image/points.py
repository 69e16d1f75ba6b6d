"""Points and boxes: places in the patient's world, in millimetres.

A matrix step changes the lattice, never the anatomy, so it leaves world places alone; only a displacement moves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medframe.base.errors import BadGeometry
from medframe.geometry import Displacement, Space


def _frozen(values: ArrayLike, due: str, ndim: int) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    if array.ndim != ndim or not 1 <= array.shape[-1] <= 3 or not np.isfinite(array).all():
        raise BadGeometry("not world places", found=f"shape {array.shape}", due=due)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Points:
    """Landmarks.

    Args:
        world: (N, d) RAS+ millimetres.
        names: one a point, or empty.
        labels: (N,) integers, such as the class each point lies in, or None.
        meta: provenance.
    """

    world: NDArray[np.float64]
    names: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "world", _frozen(self.world, "(N, d) finite millimetres", 2))
        if self.names and len(self.names) != len(self.world):
            raise BadGeometry("one name a point", found=len(self.names), due=len(self.world))
        if self.labels is not None and len(self.labels) != len(self.world):
            raise BadGeometry("one label a point", found=len(self.labels), due=len(self.world))

    def __reduce__(self) -> tuple[Any, ...]:  # through the constructor, so that places stay read-only
        return Points, (self.world, self.names, self.labels, self.meta)

    def __len__(self) -> int:
        return len(self.world)

    @classmethod
    def from_index(cls, index: ArrayLike, space: Space) -> Points:
        """Points given as voxel indices (N, d) of a lattice."""
        return cls(space.to_world(index))

    def index(self, space: Space) -> NDArray[np.float64]:
        """(N, d) fractional voxel indices on a lattice."""
        return space.to_index(self.world)

    def displaced(self, displacement: Displacement) -> Points:
        """The points carried along by tissue that an image step reads through `displacement`.

        Such an image shows at x what lay at displacement(x), so tissue moves by the inverse.
        """
        return replace(self, world=displacement.inverted(self.world) if len(self) else self.world)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Axis-aligned boxes of the world.

    Args:
        world: (N, 2, d) lowest and highest corner, RAS+ millimetres.
        labels: one integer a box, or empty.
        meta: provenance.
    """

    world: NDArray[np.float64]
    labels: tuple[int, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        world = _frozen(self.world, "(N, 2, d) finite millimetres", 3)
        if world.shape[1] != 2 or (world[:, 0] > world[:, 1]).any():
            raise BadGeometry("a box is its lowest and its highest corner", found=f"shape {world.shape}")
        if self.labels and len(self.labels) != len(world):
            raise BadGeometry("one label a box", found=len(self.labels), due=len(world))
        object.__setattr__(self, "world", world)

    def __reduce__(self) -> tuple[Any, ...]:  # through the constructor, so that places stay read-only
        return Boxes, (self.world, self.labels, self.meta)

    def __len__(self) -> int:
        return len(self.world)

    @property
    def corners(self) -> NDArray[np.float64]:
        """(N, 2^d, d) all corners in the world."""
        d = self.world.shape[-1]
        picks = np.array(list(product((0, 1), repeat=d)))
        return np.stack([self.world[:, picks[:, a], a] for a in range(d)], -1)

    @classmethod
    def from_index(cls, index: ArrayLike, space: Space) -> Boxes:
        """Boxes around voxel boxes (N, 2, d), first and last voxel centre; enlarged where the lattice is oblique."""
        box = cls.__new__(cls)
        object.__setattr__(box, "world", np.asarray(index, float))
        corners = space.to_world(box.corners)
        return cls(np.stack([corners.min(1), corners.max(1)], 1))

    def index(self, space: Space) -> NDArray[np.float64]:
        """(N, 2, d) the boxes around these on a lattice, in fractional voxels; enlarged where it is oblique."""
        corners = space.to_index(self.corners)
        return np.stack([corners.min(1), corners.max(1)], 1)

    def displaced(self, displacement: Displacement) -> Boxes:
        """Boxes around the displaced tissue, found from a grid of 5 places per axis over each box."""
        if not len(self):
            return self
        d = self.world.shape[-1]
        fractions = np.array(list(product(np.linspace(0, 1, 5), repeat=d)))
        places = self.world[:, :1] + fractions[None] * (self.world[:, 1:] - self.world[:, :1])
        moved = displacement.inverted(places)
        return replace(self, world=np.stack([moved.min(1), moved.max(1)], 1))
