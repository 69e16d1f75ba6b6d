"""Warp: where every output voxel reads from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medframe.base.errors import BadGeometry
from medframe.geometry.displacement import Displacement
from medframe.geometry.space import Array, Space, carry, inverse
from medframe.kernels.stages import Knots

Stage: TypeAlias = NDArray[np.float64] | Displacement


@dataclass(frozen=True, eq=False)
class Warp:
    """A chain that carries an index of the output lattice to an index of the input lattice.

    Matrices act on homogeneous coordinates; a Displacement acts on world millimetres, so matrices stand on both of its
    sides. Neighbouring matrices are multiplied at once: a chain of affine steps is one matrix.

    Args:
        shape: of the output lattice.
        stages: applied in turn to an output index.
    """

    shape: tuple[int, ...]
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        merged: list[Stage] = []
        for stage in self.stages:
            if isinstance(stage, Displacement):
                if merged and not isinstance(merged[-1], Displacement) and _is_identity(merged[-1]):
                    merged.pop()
                if merged and isinstance(merged[-1], Displacement) and merged[-1].undoes(stage):
                    merged.pop()  # there and back again: undoing an Elastic step becomes exact
                else:
                    merged.append(stage)
            elif merged and not isinstance(merged[-1], Displacement):
                merged[-1] = stage @ merged[-1]
            else:
                merged.append(np.array(stage, float))
        object.__setattr__(self, "stages", tuple(merged) or (np.eye(len(self.shape) + 1),))

    # constructors

    @classmethod
    def window(cls, start: Sequence[int] | Array, shape: Sequence[int]) -> Warp:
        """A crop or pad: output voxel i reads input voxel i + start."""
        return cls(tuple(shape), (homogeneous(np.eye(len(shape)), np.asarray(start, float)),))

    @classmethod
    def about_centre(cls, space: Space, linear: ArrayLike, shape: Sequence[int] | None = None) -> Warp:
        """A linear map of indices that keeps the middle of the lattice in the middle.

        Args:
            space: the input lattice.
            linear: (d, d), output index offsets to input index offsets.
            shape: of the output; default that of the input.
        """
        out = np.array(space.shape if shape is None else shape)
        linear = np.asarray(linear, float)
        return cls(tuple(out), (homogeneous(linear, space.centre - linear @ ((out - 1) / 2)),))

    @classmethod
    def between(cls, source: Space, target: Space) -> Warp:
        """Read the voxels of `source` on the lattice `target`, world place by world place."""
        return cls(target.shape, (source.inverse @ target.affine,))

    @classmethod
    def through_world(cls, space: Space, world: ArrayLike | Displacement) -> Warp:
        """Keep the lattice's indices, but read where a map of the world sends them.

        Args:
            space: the lattice, input and output.
            world: a homogeneous (d + 1, d + 1) matrix in mm, or a Displacement.
        """
        stage: Stage = world if isinstance(world, Displacement) else np.asarray(world, float)
        return cls(space.shape, (space.affine, stage, space.inverse))

    # what it is

    @property
    def displacements(self) -> tuple[Displacement, ...]:
        return tuple(s for s in self.stages if isinstance(s, Displacement))

    @property
    def matrix(self) -> Array:
        """The product of all matrices, displacements left out."""
        product = np.eye(len(self.shape) + 1)
        for stage in self.stages:
            if not isinstance(stage, Displacement):
                product = stage @ product
        return product

    @property
    def kernel_stages(self) -> list[NDArray[np.float64] | Knots]:
        return [s.stage if isinstance(s, Displacement) else s for s in self.stages]

    def __call__(self, index: ArrayLike) -> Array:
        """Carry output indices (..., d) to input indices."""
        points = np.asarray(index, float)
        for stage in self.stages:
            points = stage(points) if isinstance(stage, Displacement) else carry(stage, points)
        return points

    # what it becomes

    def then(self, after: Warp) -> Warp:
        """This warp of an image and then `after` of the result, as one warp."""
        return Warp(after.shape, (*after.stages, *self.stages))

    def invert(self, shape: Sequence[int]) -> Warp:
        """The way back, onto the input lattice of `shape`; displacements are inverted numerically."""
        back: list[Stage] = [s.inverted if isinstance(s, Displacement) else inverse(s) for s in reversed(self.stages)]
        return Warp(tuple(shape), tuple(back))

    def from_window(self, start: Sequence[int]) -> Warp:
        """The same reads, with input indices counted from `start` on."""
        return Warp(self.shape, (*self.stages, homogeneous(np.eye(len(self.shape)), -np.asarray(start, float))))

    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest input index read, per axis: a box that surely holds all of them."""
        lo, hi = np.zeros(len(self.shape)), np.array(self.shape, float) - 1
        for stage in self.stages:
            if isinstance(stage, Displacement):
                lo, hi = lo - stage.reach, hi + stage.reach
            else:
                middle, half = (lo + hi) / 2, (hi - lo) / 2
                middle = stage[:-1, :-1] @ middle + stage[:-1, -1]
                half = np.abs(stage[:-1, :-1]) @ half
                lo, hi = middle - half, middle + half
        return lo, hi

    def footprint(self, in_shape: Sequence[int], margin: ArrayLike = 0) -> tuple[slice, ...]:
        """The window of the input that is read, widened by `margin` voxels and cut at the edges; never empty."""
        size = np.array(in_shape)
        # what lies beyond an edge is made of voxels at that edge, so these need the margin, too
        lo, hi = (np.clip(end, 0, size - 1) for end in self.bounds())
        first = np.clip(np.floor(lo - np.asarray(margin) + 1e-6), 0, size - 1).astype(int)
        last = np.clip(np.ceil(hi + np.asarray(margin) - 1e-6), first, size - 1).astype(int)
        return tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))


def _is_identity(matrix: Array) -> bool:
    return bool(np.abs(matrix - np.eye(len(matrix))).max() < 1e-9)


def homogeneous(linear: ArrayLike, offset: ArrayLike) -> Array:
    """A (d + 1, d + 1) matrix from its (d, d) linear part and (d,) offset."""
    linear, offset = np.asarray(linear, float), np.asarray(offset, float)
    matrix = np.eye(len(offset) + 1)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, offset
    return matrix


def about(place: ArrayLike, linear: ArrayLike) -> Array:
    """The homogeneous matrix of a linear map that leaves `place` where it is."""
    place, linear = np.asarray(place, float), np.asarray(linear, float)
    if linear.shape != (len(place), len(place)):
        raise BadGeometry("the linear map does not fit the place", found=linear.shape, due=f"rank {len(place)}")
    return homogeneous(linear, place - linear @ place)


def rotation(angles: Sequence[float] | Array) -> Array:
    """The rotation by Euler angles in radians: one in 2-D; in 3-D about x, then y, then z, axes fixed in the world."""
    c, s = np.cos(np.asarray(angles, float)), np.sin(np.asarray(angles, float))
    if len(c) == 1:
        return np.array([[c[0], -s[0]], [s[0], c[0]]])
    if len(c) != 3:
        raise BadGeometry("a rotation has one angle in 2-D and three in 3-D", found=len(c))
    x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    # a right angle should be exact: cos(pi / 2) is 6e-17 and would cost a flip its losslessness
    turned = z @ y @ x
    snapped: Array = np.where(np.abs(turned - np.rint(turned)) < 1e-15 * 10, np.rint(turned), turned)
    return snapped
