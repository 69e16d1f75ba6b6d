"""Image: voxels, their Space, and a Warp that has not been paid for yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry, BadLabel
from medframe.geometry import LINEAR, NEAREST, Displacement, Interpolation, Source, Space, Warp, resample, vote
from medframe.geometry.lossless import moves_of
from medframe.geometry.space import inverse
from medframe.image.source import TensorSource

# a list while something (Compose.explain) wants to know about reads, else None
reads_of: ContextVar[list[Read] | None] = ContextVar("reads_of", default=None)


@dataclass(frozen=True)
class Read:
    """One payment of a pending warp."""

    kind: str
    shape: tuple[int, ...]
    window: tuple[int, ...]
    stages: str


@dataclass(frozen=True, eq=False)
class Place:
    """All of an image but its voxels.

    Args:
        space: the lattice as it stands, pending warp included.
        source_space: the lattice the voxels were read from: where predictions go back to.
        deformation: world -> world displacements that carry a place of this image to its place in the patient, in
            turn; empty unless an Elastic step took part.
        interpolation: how values between voxels are made.
        meta: provenance; never used to compute.
    """

    space: Space
    source_space: Space
    deformation: tuple[Displacement, ...] = ()
    interpolation: Interpolation = LINEAR
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> tuple[Any, ...]:  # a mappingproxy does not pickle
        return Place, (self.space, self.source_space, self.deformation, self.interpolation, dict(self.meta))


class Image:
    """An image of continuous values.

    Nothing is read or moved until `.data` is asked for; spatial steps only compose warps. Images are values: every
    method answers with a new one.

    Args:
        data: (C, *spatial) tensor or array, or a `Source`.
        affine: index -> world mm, RAS+; default identity.
        space: the lattice, instead of `affine`.
        meta: provenance.
        interpolation: default linear, zeros outside.

    Raises:
        BadGeometry: the data and the lattice do not fit.

    Example:
        >>> image = Image(torch.zeros(1, 8, 8, 8), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> print(image.space)
        8 x 8 x 8 voxels of 2 x 2 x 2 mm, RAS, origin (0, 0, 0)
    """

    __slots__ = ("_data", "_pending", "_place", "_source")
    default: ClassVar[Interpolation] = LINEAR

    def __init__(
        self,
        data: Tensor | NDArray[Any] | Source,
        affine: ArrayLike | None = None,
        *,
        space: Space | None = None,
        meta: Mapping[str, Any] | None = None,
        interpolation: Interpolation | None = None,
    ) -> None:
        if isinstance(data, np.ndarray):
            data = _tensor_of(data)
        source = TensorSource(data) if isinstance(data, Tensor) else data
        if not 2 <= len(source.shape) <= 4 or source.shape[0] < 1:
            due = "at least one channel and 1 to 3 spatial axes"
            raise BadGeometry("an image is (C, *spatial)", found=tuple(source.shape), due=due)
        if space is None:
            matrix = np.eye(len(source.shape)) if affine is None else np.asarray(affine, float)
            space = Space(tuple(source.shape[1:]), matrix)
        elif affine is not None:
            raise BadArgument("an image takes an affine or a space, not both")
        if tuple(source.shape[1:]) != space.shape:
            raise BadGeometry("the voxels do not fit the lattice", found=tuple(source.shape[1:]), due=space.shape)
        self._check(source)
        self._source: Source = source
        self._pending: Warp | None = None
        self._data: Tensor | None = source.tensor if isinstance(source, TensorSource) else None
        self._place = Place(space, space, (), interpolation or self.default, MappingProxyType(dict(meta or {})))

    @classmethod
    def at(cls, data: Tensor | Source, place: Place) -> Self:
        """Voxels at a place, with its way back to the source lattice."""
        interpolation = place.interpolation if cls.default.order > 0 or place.interpolation.order == 0 else cls.default
        image = cls(data, space=place.space, meta=place.meta, interpolation=interpolation)
        image._place = replace(place, interpolation=interpolation)
        return image

    def _check(self, source: Source) -> None:
        if source.dtype.is_complex:
            raise BadArgument("an image holds real numbers", found=source.dtype, mend="Store real parts as channels.")

    # what it is

    @property
    def place(self) -> Place:
        return self._place

    @property
    def space(self) -> Space:
        return self._place.space

    @property
    def affine(self) -> NDArray[np.float64]:
        return self._place.space.affine

    @property
    def source_space(self) -> Space:
        return self._place.source_space

    @property
    def interpolation(self) -> Interpolation:
        return self._place.interpolation

    @property
    def meta(self) -> Mapping[str, Any]:
        return self._place.meta

    @property
    def channels(self) -> int:
        return self._source.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *spatial)."""
        return (self.channels, *self.space.shape)

    @property
    def ndim(self) -> int:
        """Spatial rank."""
        return self.space.ndim

    @property
    def dtype(self) -> torch.dtype:
        return self._source.dtype

    @property
    def device(self) -> torch.device:
        return self._source.device

    @property
    def source(self) -> Source:
        """Where the voxels are read from; on the lattice `source_space` unless the image was settled since."""
        return self._source

    @property
    def pending(self) -> Warp | None:
        """The warp that the next `.data` pays, or None."""
        return self._pending

    @property
    def data(self) -> Tensor:
        """The voxels, (C, *spatial). Pays the pending warp, once."""
        if self._data is None:
            self._data = self.read()
        return self._data

    def read(self, dtype: torch.dtype | None = None) -> Tensor:
        """The voxels in another dtype; an integer image asked for float32 is interpolated without rounding."""
        if dtype in (None, self.dtype) and self._data is not None:
            return self._data
        warp = self._pending
        if warp is None:
            whole = tuple(slice(0, n) for n in self._source.shape[1:])
            voxels = self._source.read(whole)
            self._note("whole", whole, None)
            return voxels if dtype is None else voxels.to(dtype)
        self._note("copy" if moves_of(warp) else "interpolated", warp.footprint(self._source.shape[1:]), warp)
        return self._through(warp, dtype)

    def _through(self, warp: Warp, dtype: torch.dtype | None) -> Tensor:
        return resample(self._source, warp, self.interpolation, dtype)

    def _note(self, kind: str, window: tuple[slice, ...], warp: Warp | None) -> None:
        log = reads_of.get()
        if log is not None:
            size = tuple(w.stop - w.start for w in window)
            stages = [] if warp is None else ["D" if isinstance(s, Displacement) else "M" for s in warp.stages]
            log.append(Read(kind, self.shape, (self.channels, *size), " ".join(stages)))

    # what it becomes

    def warped(self, warp: Warp) -> Self:
        """The image read through a warp, for free: the warp joins those that wait.

        Raises:
            BadGeometry: a displacement of the warp does not act in this image's world.
        """
        after = warp.matrix
        deformation = self._place.deformation
        for k, stage in enumerate(warp.stages):
            if isinstance(stage, Displacement):
                rest = [s for s in warp.stages[k + 1 :] if not isinstance(s, Displacement)]
                to_index = np.linalg.multi_dot([np.eye(self.ndim + 1), *rest[::-1], np.eye(self.ndim + 1)])
                if not np.allclose(to_index, inverse(self.affine), atol=1e-6):
                    raise BadGeometry(
                        "a displacement must act in the image's world",
                        mend="Build the warp with Warp.through_world(image.space, displacement).",
                    )
        deformation = (*warp.displacements, *deformation)
        space = Space(warp.shape, self.affine @ after)
        pending = warp if self._pending is None else self._pending.then(warp)
        return self._with(self._source, pending, replace(self._place, space=space, deformation=deformation))

    def with_data(self, data: Tensor) -> Self:
        """Other voxels at the same place; any number of channels."""
        if tuple(data.shape[1:]) != self.space.shape:
            raise BadGeometry("the voxels do not fit the lattice", found=tuple(data.shape[1:]), due=self.space.shape)
        return self._with(TensorSource(data), None, self._place)

    def with_meta(self, **meta: Any) -> Self:
        """More provenance."""
        place = replace(self._place, meta=MappingProxyType({**self.meta, **meta}))
        return self._with(self._source, self._pending, place, self._data)

    def with_interpolation(self, interpolation: Interpolation) -> Self:
        """The same image, read another way from now on; waiting warps included."""
        data = self._data if self._pending is None else None
        return self._with(self._source, self._pending, replace(self._place, interpolation=interpolation), data)

    def to_space(self, space: Space) -> Self:
        """The image on another lattice of the patient's world, deformations undone."""
        back: Sequence[Displacement] = [d.inverted for d in reversed(self._place.deformation)]
        warp = Warp(space.shape, (space.affine, *back, inverse(self.affine)))
        pending = warp if self._pending is None else self._pending.then(warp)
        return self._with(self._source, pending, replace(self._place, space=space, deformation=()))

    def to_source(self) -> Self:
        """The image back on the lattice it was read from."""
        return self.to_space(self.source_space)

    def settled(self) -> Self:
        """The image with its warp paid and its past cut: later steps see nothing beyond this lattice's edge."""
        return self._with(TensorSource(self.data), None, self._place)

    def to(self, device: torch.device | str) -> Self:
        """The image on another device."""
        return self.with_data(self.data.to(device))

    def as_labels(self) -> LabelMap:
        """The same voxels as a LabelMap; they must be integers."""
        return LabelMap.at(self.data, replace(self._place, interpolation=NEAREST))

    def _with(self, source: Source, pending: Warp | None, place: Place, data: Tensor | None = None) -> Self:
        other = object.__new__(type(self))
        if pending is None and data is None and isinstance(source, TensorSource):
            data = source.tensor
        if isinstance(source, TensorSource) and source is not self._source:
            other._check(source)
        other._source, other._pending, other._data, other._place = source, pending, data, place
        return other

    def __repr__(self) -> str:
        waiting = "" if self._pending is None else ", a warp waiting"
        return f"<{type(self).__name__}: {self.channels} channel(s), {self.dtype}, {self.space}{waiting}>"


def _tensor_of(array: NDArray[Any]) -> Tensor:
    """An array as a tensor that shares its memory where torch can: native byte order, writable, positive strides."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    array = array if array.flags.writeable else array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise BadArgument("an image holds numbers", found=f"an array of {array.dtype}", due="a numeric dtype") from None


class LabelMap(Image):
    """An image of integer labels: never blurred, never interpolated between values; intensity steps skip it.

    Between voxels the nearest label is taken; with an interpolation of order 1 or 3 the classes vote (see
    `medframe.geometry.vote`), which follows borders more closely and invents no value either.

    Raises:
        BadLabel: the voxels are not integers.
    """

    __slots__ = ()
    default: ClassVar[Interpolation] = NEAREST

    def _check(self, source: Source) -> None:
        if source.dtype.is_floating_point or source.dtype.is_complex:
            raise BadLabel(
                "a label map holds integers",
                found=source.dtype,
                due="an integer dtype",
                mend="Round it knowingly, or load it as an Image.",
            )

    def _through(self, warp: Warp, dtype: torch.dtype | None) -> Tensor:
        labels = vote(self._source, warp, self.interpolation)
        return labels if dtype is None else labels.to(dtype)
