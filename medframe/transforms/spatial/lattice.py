"""Steps that put all members on a lattice of choice: orientation, spacing, size, another member's lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medframe.base.errors import BadArgument, BadGeometry
from medframe.base.rng import Rng
from medframe.geometry import Space, Warp
from medframe.geometry.orientation import parse_axcodes
from medframe.image import Image
from medframe.transforms.base import Params, Spatial, View
from medframe.transforms.spatial.crop import check_size


@dataclass(frozen=True, repr=False)
class Orientation(Spatial):
    """Permute and mirror the axes to point as `codes` say; exact, no interpolation.

    Args:
        codes: directions in which indices grow; "RAS" is right, anterior, superior. 2-D images use the first two.
    """

    codes: str = "RAS"

    def check(self) -> None:
        parse_axcodes(self.codes, len(self.codes))

    def warp(self, space: Space, params: Params) -> Warp:
        return Warp.between(space, space.reoriented(self.codes[: space.ndim]))


@dataclass(frozen=True, repr=False)
class Spacing(Spatial):
    """Resample to a voxel spacing.

    The target lattice is computed once per sample, from its first image, in double: size = round(extent / mm), halves
    up; the centre of the field of view stays, the spacing is exactly `mm`. Every member goes onto that lattice.

    Args:
        mm: per lattice axis, or one number for all; None keeps an axis.
    """

    mm: float | tuple[float | None, ...] = 1.0

    def check(self) -> None:
        values = self.mm if isinstance(self.mm, tuple) else (self.mm,)
        if not values or not all(v is None or (isinstance(v, int | float) and 0 < v < float("inf")) for v in values):
            raise BadArgument("Spacing takes positive millimetres", found=self.mm, due="a number, or one an axis")

    def draw(self, view: View, rng: Rng) -> Space:
        return view.space.with_spacing(_per_axis(self.mm, view.space.ndim, "Spacing"))

    def warp(self, space: Space, params: Params) -> Warp:
        return Warp.between(space, params)


@dataclass(frozen=True, repr=False)
class Resize(Spatial):
    """Resample to a number of voxels over the same field of view, edge to edge.

    Args:
        shape: per lattice axis; -1 keeps an axis.
    """

    shape: tuple[int, ...] = ()

    def check(self) -> None:
        check_size("Resize", self.shape)

    def draw(self, view: View, rng: Rng) -> Space:
        if len(self.shape) != view.space.ndim:
            raise BadArgument(
                "Resize has another rank than the image", found=self.shape, due=f"{view.space.ndim} sizes"
            )
        return view.space.with_shape([o if n == -1 else n for n, o in zip(self.shape, view.space.shape, strict=True)])

    def warp(self, space: Space, params: Params) -> Warp:
        return Warp.between(space, params)


@dataclass(frozen=True, repr=False)
class MatchSpace(Spatial):
    """Resample members onto the lattice of another, world place by world place.

    Args:
        reference: the key of the member whose lattice it shall be.
    """

    reference: str = "image"

    def draw(self, view: View, rng: Rng) -> Space:
        image = view.sample.get(self.reference)
        if not isinstance(image, Image):
            raise BadArgument("MatchSpace finds no reference image", found=sorted(view.sample), due=self.reference)
        return image.space

    def warp(self, space: Space, params: Params) -> Warp:
        if space.ndim != params.ndim:
            raise BadGeometry("lattices of different rank cannot match", found=space.ndim, due=params.ndim)
        return Warp.between(space, params)


def _per_axis(mm: float | Sequence[float | None] | None, ndim: int, step: str) -> tuple[float | None, ...]:
    values = tuple(mm) if isinstance(mm, Sequence) else (mm,) * ndim
    if len(values) != ndim:
        raise BadArgument(f"{step} has another rank than the image", found=values, due=f"{ndim} numbers")
    return values
