"""Steps that turn, scale, shear and shift the field of view about its centre, and those that mirror it.

All are linear maps of the world, so one draw serves members on different lattices. Rotations by multiples of 90
degrees about the axes of a lattice with equal spacing, and mirrors, come out as copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from medframe.base.errors import BadArgument
from medframe.base.ranges import Range, check_range
from medframe.base.rng import Rng
from medframe.geometry import Space, Warp, about, homogeneous, rotation
from medframe.geometry.orientation import named_axes
from medframe.geometry.space import Array
from medframe.transforms.base import Params, Spatial, View

PerAxis: TypeAlias = "Range | tuple[Range, Range, Range]"


def _draw(name: str, value: PerAxis, size: int, rng: Rng) -> Array:
    """One number an axis from a range for all, or from three ranges of their own."""
    if isinstance(value, tuple) and len(value) == 3:
        ranges = value[:size]
        return np.array([float(rng.fork(name, k).uniform(r)) for k, r in enumerate(ranges)])
    return rng.fork(name).uniform(value, size)


def _check(step: str, name: str, value: object, lo: float = -np.inf, hi: float = np.inf) -> None:
    for part in value if isinstance(value, tuple) and len(value) == 3 else (value,):
        check_range(f"{step}: {name}", part, lo, hi)


def _world(space: Space, centre: Array, linear: Array, shift: Array | None = None) -> Warp:
    """The output shows the world mapped by `linear` about `centre`; the lattice keeps its shape."""
    world = about(centre, linear)
    if shift is not None:
        world = homogeneous(np.eye(space.ndim), shift) @ world
    return Warp.through_world(space, world)


@dataclass(frozen=True, repr=False)
class Flip(Spatial):
    """Mirror the lattice; exact. The affine is mirrored along, so the anatomy stays where it is.

    Args:
        axes: lattice axes by number, or anatomical directions by letter: "R" (or "L") mirrors whichever axis runs from
            left to right. Several at once mirror together.
    """

    axes: str | int | tuple[int, ...] = 0

    def warp(self, space: Space, params: Params) -> Warp:
        axes = named_axes(self.axes, space.affine) if isinstance(self.axes, str) else self.axes
        axes = (axes,) if isinstance(axes, int) else axes
        if any(not -space.ndim <= a < space.ndim for a in axes):
            raise BadArgument("Flip: no such axis", found=axes, due=f"{-space.ndim} to {space.ndim - 1}")
        signs = np.ones(space.ndim)
        signs[list(axes)] = -1
        return Warp.about_centre(space, np.diag(signs))


@dataclass(frozen=True, repr=False)
class Rotate90(Spatial):
    """Turn by right angles in the plane of two lattice axes; exact. The axes' sizes swap for odd turns.

    Args:
        turns: quarter turns; a pair (lo, hi) draws whole numbers, ends included.
        plane: two lattice axes; index 0 of the second goes where the last of the first was, as in `torch.rot90`.
    """

    turns: int | tuple[int, int] = (0, 3)
    plane: tuple[int, int] = (0, 1)

    def check(self) -> None:
        lo, hi = self.turns if isinstance(self.turns, tuple) else (self.turns, self.turns)
        if lo > hi or not all(isinstance(t, int) for t in (lo, hi)):
            raise BadArgument("Rotate90: turns are whole numbers", found=self.turns)
        if len(self.plane) != 2 or self.plane[0] == self.plane[1]:
            raise BadArgument("Rotate90: a plane is two different axes", found=self.plane)

    @property
    def random(self) -> bool:
        return super().random or (isinstance(self.turns, tuple) and self.turns[0] != self.turns[1])

    def draw(self, view: View, rng: Rng) -> int:
        if isinstance(self.turns, int):
            return self.turns
        return int(rng.integers(self.turns[0], self.turns[1] + 1))

    def warp(self, space: Space, params: Params) -> Warp:
        if any(not -space.ndim <= a < space.ndim for a in self.plane):
            raise BadArgument("Rotate90: no such axis", found=self.plane, due=f"{-space.ndim} to {space.ndim - 1}")
        a, b = (axis % space.ndim for axis in self.plane)
        quarter = np.eye(space.ndim)
        quarter[[a, b], [a, b]] = 0
        quarter[a, b], quarter[b, a] = 1, -1
        turns = params % 4
        shape = list(space.shape)
        if turns % 2:
            shape[a], shape[b] = shape[b], shape[a]
        return Warp.about_centre(space, np.linalg.matrix_power(quarter, turns), shape)


@dataclass(frozen=True, repr=False)
class Rotate(Spatial):
    """Turn about the centre of the field of view, in the world: voxels of any shape turn without shear.

    Args:
        degrees: angle about each world axis (x, then y, then z); one range for all, or three. 2-D has one angle.
    """

    degrees: PerAxis = (-15.0, 15.0)

    def check(self) -> None:
        _check("Rotate", "degrees", self.degrees)

    def draw(self, view: View, rng: Rng) -> tuple[Array, Array]:
        angles = np.radians(_draw("degrees", self.degrees, view.space.rotations, rng))
        return view.space.world_centre, angles

    def warp(self, space: Space, params: Params) -> Warp:
        centre, angles = params
        return _world(space, centre, rotation(angles))


@dataclass(frozen=True, repr=False)
class Scale(Spatial):
    """Zoom about the centre of the field of view; above one makes the anatomy larger on the lattice.

    Args:
        factor: one range for all world axes, or three.
        isotropic: with one range, draw one number for all axes instead of one each.
    """

    factor: PerAxis = (0.9, 1.1)
    isotropic: bool = True

    def check(self) -> None:
        _check("Scale", "factor", self.factor, 1e-3, 1e3)

    def draw(self, view: View, rng: Rng) -> tuple[Array, Array]:
        three = isinstance(self.factor, tuple) and len(self.factor) == 3
        size = 1 if self.isotropic and not three else view.space.ndim
        factors = np.broadcast_to(_draw("factor", self.factor, size, rng), (view.space.ndim,))
        return view.space.world_centre, np.diag(1 / factors)

    def warp(self, space: Space, params: Params) -> Warp:
        return _world(space, *params)


@dataclass(frozen=True, repr=False)
class Affine(Spatial):
    """Scale, shear, turn and shift in one draw: the anatomy is scaled first and shifted last.

    Args:
        degrees: as for `Rotate`.
        scale: as for `Scale`.
        shear: tangent of the shear angle; in 3-D for the world planes xy, xz, yz.
        shift: millimetres along each world axis.
        isotropic: one scale for all axes.
    """

    degrees: PerAxis = (-15.0, 15.0)
    scale: PerAxis = (0.9, 1.1)
    shear: PerAxis = 0.0
    shift: PerAxis = 0.0
    isotropic: bool = True

    def check(self) -> None:
        _check("Affine", "degrees", self.degrees)
        _check("Affine", "scale", self.scale, 1e-3, 1e3)
        _check("Affine", "shear", self.shear, -10, 10)
        _check("Affine", "shift", self.shift)

    def draw(self, view: View, rng: Rng) -> tuple[Array, Array, Array]:
        d = view.space.ndim
        three = isinstance(self.scale, tuple) and len(self.scale) == 3
        factors = _draw("scale", self.scale, 1 if self.isotropic and not three else d, rng)
        forward = np.diag(np.broadcast_to(factors, (d,)))
        upper = np.triu_indices(d, 1)
        shear = np.eye(d)
        shear[upper] = _draw("shear", self.shear, len(upper[0]), rng)
        turn = rotation(np.radians(_draw("degrees", self.degrees, view.space.rotations, rng))) if d > 1 else np.eye(1)
        forward = turn @ shear @ forward
        backward = np.asarray(np.linalg.inv(forward), float)
        # the output at x shows what lay at backward (x - shift)
        return view.space.world_centre, backward, -backward @ _draw("shift", self.shift, d, rng)

    def warp(self, space: Space, params: Params) -> Warp:
        return _world(space, *params)
