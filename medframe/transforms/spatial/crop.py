"""Steps that cut windows: crops, pads, and patches that chance or a label picks.

A crop is a window, not an end: a later warp may read the tissue beyond its edge. `Settle` cuts for good. What lies
beyond the image is made by its interpolation's border: zeros unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.base.rng import Rng
from medframe.geometry import Space, Warp
from medframe.image import Image, LabelMap, Points, Sample
from medframe.transforms.base import Params, Spatial, Transform, View, require_one_lattice

Ints = NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Crop(Spatial):
    """Cut a window given in voxels.

    Args:
        start: first voxel per axis; may be negative, which pads.
        shape: voxels per axis; may reach beyond the image.
    """

    start: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    needs_one_lattice: ClassVar[bool] = True

    def check(self) -> None:
        check_size("Crop", self.shape, keep=False)
        if not isinstance(self.start, tuple) or len(self.start) != len(self.shape):
            raise BadArgument("Crop takes a start and a size an axis", found=f"{self.start}, {self.shape}")

    def warp(self, space: Space, params: Params) -> Warp:
        _same_rank("Crop", self.shape, space)
        return Warp.window(self.start, self.shape)


@dataclass(frozen=True, repr=False)
class CenterCrop(Spatial):
    """Cut a window of `shape` voxels from the middle, padding axes that are shorter.

    Args:
        shape: per axis; -1 keeps an axis.
    """

    shape: tuple[int, ...] = ()
    needs_one_lattice: ClassVar[bool] = True

    def check(self) -> None:
        check_size("CenterCrop", self.shape)

    def warp(self, space: Space, params: Params) -> Warp:
        size = _size("CenterCrop", self.shape, space)
        return Warp.window(_middle(np.array(space.shape) - size).tolist(), size.tolist())


@dataclass(frozen=True, repr=False)
class Pad(Spatial):
    """Add voxels at both ends of the axes.

    Args:
        width: voxels an axis, the same at both ends; one number for all axes; or a (before, after) pair an axis.
    """

    width: int | tuple[int, ...] | tuple[tuple[int, int], ...] = 0
    needs_one_lattice: ClassVar[bool] = True

    def check(self) -> None:
        if np.min(np.asarray(self.width)) < 0:
            raise BadArgument("Pad takes widths of at least 0", found=self.width, mend="Crop cuts voxels away.")

    def warp(self, space: Space, params: Params) -> Warp:
        width = np.asarray(self.width, int)
        ends = np.stack([width, width], -1) if width.ndim < 2 else width
        ends = np.broadcast_to(ends, (space.ndim, 2)) if ends.ndim == 1 else ends
        if ends.shape != (space.ndim, 2):
            raise BadArgument("Pad has another rank than the image", found=self.width, due=f"{space.ndim} axes")
        return Warp.window(-ends[:, 0], (np.array(space.shape) + ends.sum(1)).tolist())


@dataclass(frozen=True, repr=False)
class PadTo(Spatial):
    """Add voxels, half at each end, until every axis has at least a size and is a multiple of a number.

    Args:
        shape: least voxels per axis, or one number for all; longer axes are left.
        multiple: each size becomes a multiple of this; one number or one an axis.
    """

    shape: int | tuple[int, ...] = 1
    multiple: int | tuple[int, ...] = 1
    needs_one_lattice: ClassVar[bool] = True

    def check(self) -> None:
        if np.min(np.asarray(self.shape)) < 1 or np.min(np.asarray(self.multiple)) < 1:
            raise BadArgument("PadTo takes sizes and multiples of at least 1", found=f"{self.shape}, {self.multiple}")

    def warp(self, space: Space, params: Params) -> Warp:
        for value in (self.shape, self.multiple):
            if isinstance(value, tuple):
                _same_rank("PadTo", value, space)
        size = np.maximum(np.array(space.shape), np.asarray(self.shape))
        size = -(-size // np.asarray(self.multiple)) * np.asarray(self.multiple)
        return Warp.window(_middle(np.array(space.shape) - size).tolist(), size.tolist())


@dataclass(frozen=True, repr=False)
class RandomCrop(Spatial):
    """Cut windows of `shape` voxels at random places, all places equally likely; shorter axes are padded.

    Args:
        shape: per axis; -1 keeps an axis.
        count: make a list of so many samples of each; None makes one sample.
    """

    shape: tuple[int, ...] = ()
    count: int | None = None
    needs_one_lattice: ClassVar[bool] = True

    def check(self) -> None:
        check_size("RandomCrop", self.shape, self.count)

    @property
    def random(self) -> bool:
        return True

    @property
    def copies(self) -> int | None:
        return self.count

    def draw(self, view: View, rng: Rng) -> NDArray[np.float64]:
        return rng.uniform((0.0, 1.0), view.space.ndim)

    def warp(self, space: Space, params: Params) -> Warp:
        size = _size("RandomCrop", self.shape, space)
        room = np.array(space.shape) - size
        start = np.minimum(np.floor(params * (room + 1)), room)
        return Warp.window(np.where(room >= 0, start, _middle(room)).tolist(), size.tolist())


@dataclass(frozen=True, repr=False)
class CropForeground(Spatial):
    """Cut the smallest window that holds all foreground, plus a margin. Reads the voxels once to find it.

    Args:
        above: foreground is what exceeds this in any channel.
        margin: voxels added at all ends; the window stays inside the image.
        source: the key of the member that tells foreground; default the first image it acts on.
    """

    above: float = 0.0
    margin: int = 0
    source: str | None = None
    needs_one_lattice: ClassVar[bool] = True

    def check(self) -> None:
        if self.margin < 0:
            raise BadArgument("CropForeground: the margin is at least 0", found=self.margin)

    def draw(self, view: View, rng: Rng) -> tuple[Ints, Ints]:
        image = view.image if self.source is None else view.sample.get(self.source)
        if not isinstance(image, Image):
            raise BadArgument("CropForeground finds no image", found=sorted(view.sample), due=self.source)
        if self.source is not None:
            require_one_lattice(view.sample, (view.key, self.source), "CropForeground")
        mask = (image.data > self.above).any(0)
        full = np.array(image.space.shape)
        if not bool(mask.any()):
            return np.zeros_like(full), full
        lo, hi = np.zeros_like(full), np.zeros_like(full)
        for axis in range(mask.ndim):
            other = tuple(a for a in range(mask.ndim) if a != axis)
            hit = torch.nonzero(mask.amax(other) if other else mask).flatten()
            lo[axis], hi[axis] = int(hit[0]), int(hit[-1]) + 1
        lo, hi = np.maximum(lo - self.margin, 0), np.minimum(hi + self.margin, full)
        return lo, hi - lo

    def warp(self, space: Space, params: Params) -> Warp:
        start, size = params
        return Warp.window(start, size.tolist())


@dataclass(frozen=True, repr=False)
class CropByLabel(Spatial):
    """Cut windows that show the classes evenly, however rare they are.

    With probability `foreground` the window is centred on a voxel of a class drawn from those the case has, each
    equally likely (or by `weights`); otherwise it lies anywhere. Windows stay inside the image where it is large
    enough. Voxels are looked up in the member `<label>_locations` that `IndexClasses` leaves, else searched anew.

    Args:
        shape: voxels per axis; -1 keeps an axis.
        label: the key of the label map.
        foreground: probability of a window centred on a class.
        classes: the classes to centre on; default all above 0.
        weights: one an entry of `classes`.
        count: make a list of so many samples of each; None makes one sample.
    """

    shape: tuple[int, ...] = ()
    label: str = "label"
    foreground: float = 0.67
    classes: tuple[int, ...] | None = None
    weights: tuple[float, ...] | None = None
    count: int | None = None
    needs_one_lattice: ClassVar[bool] = True

    def check(self) -> None:
        check_size("CropByLabel", self.shape, self.count)
        if not 0 <= self.foreground <= 1:
            raise BadArgument("CropByLabel: foreground is a probability", found=self.foreground, due="0 to 1")
        if self.weights is not None and (self.classes is None or len(self.weights) != len(self.classes)):
            raise BadArgument("CropByLabel: one weight a class", found=self.weights, due=self.classes)

    @property
    def random(self) -> bool:
        return True

    @property
    def copies(self) -> int | None:
        return self.count

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        label = sample.get(self.label)
        if (self.count or 1) > 1 and locations_key(self.label) not in sample and isinstance(label, LabelMap):
            sample = {**sample, locations_key(self.label): class_locations(label, None, Rng("unused"))}  # once for all
        made = super().on_sample(sample, rng)
        for one in made if isinstance(made, list) else [made]:
            one.pop(locations_key(self.label), None)  # it has served
        return made

    def draw(self, view: View, rng: Rng) -> Ints:
        space = view.space
        size = _size("CropByLabel", self.shape, space)
        room = np.array(space.shape) - size
        start = np.floor(rng.fork("place").uniform((0.0, 1.0), space.ndim) * (room + 1))
        if rng.fork("foreground").coin(self.foreground):
            places = self._places(view)
            present = [c for c in self._wanted(places) if np.any(places.labels == c)]
            if present:
                weights = None
                if self.weights is not None and self.classes is not None:
                    weights = [self.weights[self.classes.index(c)] for c in present]
                chosen = rng.fork("class").choice(present, weights)
                rows = np.flatnonzero(places.labels == chosen)
                place = places.world[rows[int(rng.fork("voxel").integers(0, len(rows)))]]
                start = np.rint(space.to_index(place)) - size // 2
        return np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), _middle(room)).astype(np.int64)

    def warp(self, space: Space, params: Params) -> Warp:
        return Warp.window(params, _size("CropByLabel", self.shape, space).tolist())

    def _wanted(self, places: Points) -> tuple[int, ...]:
        if self.classes is not None:
            return self.classes
        return tuple(int(c) for c in np.unique(places.labels)) if places.labels is not None else ()

    def _places(self, view: View) -> Points:
        indexed = view.sample.get(locations_key(self.label))
        if isinstance(indexed, Points):
            return indexed
        label = view.sample.get(self.label)
        if not isinstance(label, LabelMap):
            raise BadArgument("CropByLabel finds no label map", found=sorted(view.sample), due=self.label)
        return class_locations(label, None, Rng("unused"))


@dataclass(frozen=True, repr=False)
class IndexClasses(Transform):
    """Note where each class of a label map lies, once, so that `CropByLabel` need not search; put it last of the fixed
    steps, so that it is cached.

    Args:
        label: the key of the label map.
        per_class: at most so many voxels a class, spread evenly at random.
    """

    label: str = "label"
    per_class: int = 2000
    takes_keys: ClassVar[bool] = False

    def check(self) -> None:
        if self.per_class < 1:
            raise BadArgument("IndexClasses notes at least one voxel a class", found=self.per_class)

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        label = sample.get(self.label)
        if not isinstance(label, LabelMap):
            raise BadArgument("IndexClasses finds no label map", found=sorted(sample), due=self.label)
        # a fixed key: noting places must not make a fixed pipeline random
        return {**sample, locations_key(self.label): class_locations(label, self.per_class, Rng("IndexClasses"))}


@dataclass(frozen=True, repr=False)
class Settle(Spatial):
    """Pay all waiting warps now and forget what lies beyond the present edges."""

    def one(self, member: Any, params: Params, rng: Rng) -> Any:
        return member.settled() if isinstance(member, Image) else member


def locations_key(label: str) -> str:
    """Under which key the noted places of a label map stand."""
    return f"{label}_locations"


def class_locations(label: LabelMap, per_class: int | None, rng: Rng) -> Points:
    """World places of the voxels of every class above 0, labelled with the class."""
    data = label.data.cpu().numpy().max(0)
    foreground = np.flatnonzero(data > 0)  # seldom much of the image, so all that follows is cheap
    values = data.reshape(-1)[foreground]
    order = np.argsort(values, kind="stable")
    present, first = np.unique(values[order], return_index=True)
    found: list[Ints] = [np.zeros(0, np.int64)]
    for c, places in zip(present, np.split(foreground[order], first[1:]), strict=True) if len(present) else ():
        kept = places
        if per_class is not None and len(places) > per_class:
            kept = places[np.sort(rng.fork(int(c)).permutation(len(places))[:per_class])]
        found.append(kept)
    flat = np.concatenate(found)
    index = np.stack(np.unravel_index(flat, data.shape), -1).astype(np.float64)
    return Points(label.space.to_world(index), labels=data.reshape(-1)[flat].astype(np.int64))


def _middle(room: Ints) -> Ints:
    """Where a centred window starts; an odd voxel is cut, or added, at the far end."""
    half: Ints = np.sign(room) * (np.abs(room) // 2)
    return half


def check_size(step: str, shape: object, count: int | None = None, *, keep: bool = True) -> None:
    """Raise unless a step's sizes are whole numbers of at least 1, or -1 where axes may be kept."""
    sizes = shape if isinstance(shape, tuple) else ()
    if not sizes or not all(isinstance(n, int) and (n >= 1 or (keep and n == -1)) for n in sizes):
        due = "whole numbers of at least 1, such as (96, 96, 96)" + ("; -1 keeps an axis" if keep else "")
        raise BadArgument(f"{step} takes one size an axis", found=shape, due=due)
    if count is not None and count < 1:
        raise BadArgument(f"{step}: count is at least 1", found=count)


def _size(step: str, shape: Sequence[int], space: Space) -> Ints:
    _same_rank(step, shape, space)
    return np.array([old if n == -1 else n for n, old in zip(shape, space.shape, strict=True)])


def _same_rank(step: str, shape: Sequence[int], space: Space) -> None:
    if len(shape) != space.ndim:
        raise BadArgument(f"{step} has another rank than the image", found=tuple(shape), due=f"{space.ndim} axes")
