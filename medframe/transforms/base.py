"""What a transform is: it draws its chance once, then answers with a warp or with new voxels.

An author writes `draw` and one of `warp`, `apply`, `relabel`; taking tensors, images, samples, lists and batches,
probability, keys, randomness and laziness live here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry
from medframe.base.ranges import Distribution, is_fixed
from medframe.base.rng import Rng
from medframe.geometry import Space, Warp
from medframe.image import Batch, Boxes, Image, LabelMap, Points, Sample, collate

X = TypeVar("X")
Params = Any  # what `draw` answers is known to its own class alone


@dataclass(frozen=True)
class View:
    """What `draw` may look at: the sample, and the member that stands for it.

    Args:
        sample: all members.
        key: of the reference member, the first one that the transform moves.
    """

    sample: Sample
    key: str

    @property
    def image(self) -> Image:
        """The reference member; looking at its `.data` pays its pending warp."""
        image = self.sample[self.key]
        if not isinstance(image, Image):
            raise BadArgument(
                f"{self.key!r} has no lattice",
                found=type(image).__name__,
                due="an image to take it from",
                mend="Give a sample that holds the image, too.",
            )
        return image

    @property
    def space(self) -> Space:
        """The lattice of the reference member."""
        return self.image.space


@dataclass(frozen=True)
class Transform:
    """Base of all transforms: frozen, so that `repr` is the constructor and equality is by value.

    Args:
        p: the probability that the transform acts at all.
        keys: the members it acts on; default all of its kind.
    """

    p: float = field(default=1.0, kw_only=True)
    keys: str | tuple[str, ...] | None = field(default=None, kw_only=True)
    # steps that see the whole sample have no use for keys and refuse them
    takes_keys: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise BadArgument(f"{type(self).__name__}: p is a probability", found=self.p, due="0 to 1")
        if self.keys is not None and not self.takes_keys:
            raise BadArgument(
                f"{type(self).__name__} acts on whole samples", found=f"keys={self.keys!r}", due="no keys"
            )
        for f in fields(self):  # lists are welcome, tuples are kept: equality, hashing and printing stay by value
            object.__setattr__(self, f.name, _plain(getattr(self, f.name)))
        self.check()

    def check(self) -> None:
        """Refuse bad parameters at construction."""

    def accepts(self, member: object) -> bool:
        """Whether the transform acts on such a member."""
        raise BadArgument(f"{type(self).__name__} acts on whole samples")

    @property
    def random(self) -> bool:
        """Whether the outcome depends on chance: p below 1, or a parameter that is a range."""
        if 0 < self.p < 1:
            return True
        return any(not _is_fixed(getattr(self, name)) for name in self.random_fields())

    @classmethod
    def random_fields(cls) -> tuple[str, ...]:
        """The fields that are ranges: those annotated as `Range` or `PerAxis`."""
        # types are texts where a module postpones annotations, else they spell out what Range stands for
        names = ("Range", "PerAxis", Distribution.__name__)
        return tuple(f.name for f in fields(cls) if any(name in str(f.type) for name in names))

    def draw(self, view: View, rng: Rng) -> Params:
        """Draw what chance decides, in millimetres, radians or fractions, so that it serves every member."""
        return None

    def one(self, member: Any, params: Params, rng: Rng) -> Any:
        """Act on one member with what was drawn."""
        raise BadArgument(f"{type(self).__name__} defines no way to act on {type(member).__name__}")

    def targets(self, sample: Sample) -> tuple[str, ...]:
        """The keys of the members to act on.

        Raises:
            BadArgument: a key that was asked for is not in the sample, or names a member of another kind; or no member
                of the sample is of a kind that transforms know.
        """
        if self.keys is None:
            if not any(isinstance(v, Image | Points | Boxes) for v in sample.values()):
                raise BadArgument(
                    f"{type(self).__name__} finds nothing to act on",
                    found={k: type(v).__name__ for k, v in sample.items()},
                    due="an Image, LabelMap, Points or Boxes among the members",
                    mend="Wrap tensors and arrays: Image(tensor), LabelMap(tensor).",
                )
            return tuple(k for k, v in sample.items() if self.accepts(v))
        wanted = (self.keys,) if isinstance(self.keys, str) else self.keys
        missing = [k for k in wanted if k not in sample]
        if missing:
            raise BadArgument(
                f"{type(self).__name__} asks for members that are not there", found=sorted(sample), due=missing
            )
        for key in wanted:
            if not self.accepts(sample[key]):  # asked for by name, so passing over it would be a silent mistake
                raise BadArgument(f"{type(self).__name__} cannot act on {key!r}", found=type(sample[key]).__name__)
        return wanted

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        """Act on one sample; a list of samples where a step makes several of one."""
        return self.act(sample, rng) if rng.fork("p").coin(self.p) else dict(sample)

    def act(self, sample: Sample, rng: Rng) -> Any:
        """Act on one sample, `p` being settled."""
        targets = self.targets(sample)
        if not targets:
            return dict(sample)
        lead = next((k for k in targets if isinstance(sample[k], Image)), targets[0])
        params = self.draw(View(sample, lead), rng)
        out = dict(sample)
        for key in targets:
            out[key] = self.one(sample[key], params, rng.fork("member", key))
        return out

    def __call__(self, x: X, rng: Rng | None = None) -> X:
        """Act on a Tensor (C, *spatial), an Image, Points, Boxes, a sample, a list of these, or a Batch.

        The same type comes out, and `x` is left as it was. Tensors are taken as images of 1 mm voxels.

        Args:
            x: what to act on.
            rng: the key of all chance; default fresh entropy.

        Raises:
            BadArgument: a type that no transform takes.
        """
        rng = rng if rng is not None else Rng.fresh()
        out: Any
        if isinstance(x, Tensor):
            kind = self._tensor_kind(x)
            out = self._unwrap(self.on_sample({"image": kind(x)}, rng), tensor=True)
        elif isinstance(x, Image | Points | Boxes):
            out = self._unwrap(self.on_sample({"image": x}, rng), tensor=False)
        elif isinstance(x, Batch):
            out = collate([self.on_sample(s, rng.fork("batch", i)) for i, s in enumerate(x.samples())])
        elif isinstance(x, Mapping):
            out = self.on_sample(cast("Sample", x), rng)
        elif isinstance(x, list | tuple):
            out = [self(item, rng.fork("item", i)) for i, item in enumerate(x)]
        else:
            raise BadArgument(
                f"{type(self).__name__} cannot act on this",
                found=type(x).__name__,
                due="a Tensor, an Image, Points, Boxes, a mapping, a list of these, or a Batch",
            )
        return cast("X", out)

    def _tensor_kind(self, x: Tensor) -> type[Image]:
        return Image

    @staticmethod
    def _unwrap(out: Any, tensor: bool) -> Any:
        if isinstance(out, list):
            return [Transform._unwrap(item, tensor) for item in out]
        return out["image"].data if tensor else out["image"]

    def __repr__(self) -> str:
        # only what differs from the defaults, so that a pipeline prints as one would write it
        parts = []
        positional = True
        # p and keys, declared first by this base, come last as keywords do
        for f in sorted(fields(self), key=lambda f: bool(f.kw_only)):
            value = getattr(self, f.name)
            if value == f.default:
                positional = False
            else:
                text = self.shown(value)
                parts.append(text if positional and not f.kw_only else f"{f.name}={text}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def shown(self, value: object) -> str:
        """How `repr` prints a parameter."""
        return repr(value)


@dataclass(frozen=True, repr=False)
class Spatial(Transform):
    """A step that moves voxels. It answers with a warp, which costs nothing until somebody looks.

    The law of place holds: the lattice changes and the anatomy does not, so `image.affine @ index` still names the same
    tissue afterwards, and points and boxes, which live in the world, are moved by displacements alone.
    """

    # steps whose result depends on voxel counts or content need all members on one lattice
    needs_one_lattice: ClassVar[bool] = False

    def accepts(self, member: object) -> bool:
        return isinstance(member, Image | Points | Boxes)

    @property
    def copies(self) -> int | None:
        """How many samples to make of one; None for one sample instead of a list."""
        return None

    def warp(self, space: Space, params: Params) -> Warp:
        """The warp of an image on `space`."""
        raise BadArgument(f"{type(self).__name__} defines no warp")

    def act(self, sample: Sample, rng: Rng) -> Any:
        if self.needs_one_lattice:
            require_one_lattice(sample, self.targets(sample), type(self).__name__)
        if self.copies is None:
            return super().act(sample, rng)
        return [super(Spatial, self).act(sample, rng.fork("copy", i)) for i in range(self.copies)]

    def one(self, member: Any, params: Params, rng: Rng) -> Any:
        if isinstance(member, Image):
            return member.warped(self.warp(member.space, params))
        for displacement in self.displacements(params):
            member = member.displaced(displacement)
        return member

    def displacements(self, params: Params) -> tuple[Any, ...]:
        """The displacements among what was drawn: all that points and boxes feel of a step."""
        return ()


@dataclass(frozen=True, repr=False)
class Intensity(Transform):
    """A step that changes values. It reads the voxels, as float32, and skips label maps."""

    def accepts(self, member: object) -> bool:
        return isinstance(member, Image) and not isinstance(member, LabelMap)

    def apply(self, data: Tensor, params: Params, rng: Rng) -> Tensor:
        """New voxels (C, *spatial) from float voxels; `data` must not be changed in place."""
        raise BadArgument(f"{type(self).__name__} defines no apply")

    def one(self, member: Any, params: Params, rng: Rng) -> Any:
        # an integer image is read as float32 here, interpolated without rounding in between
        floating = member.dtype if member.dtype.is_floating_point else torch.float32
        return member.with_data(self.apply(member.read(floating), params, rng))


@dataclass(frozen=True, repr=False)
class LabelTransform(Transform):
    """A step that changes label values. It acts on label maps alone."""

    def accepts(self, member: object) -> bool:
        return isinstance(member, LabelMap)

    def relabel(self, labels: Tensor, params: Params) -> Tensor:
        """New labels (C, *spatial) from labels; `labels` must not be changed in place."""
        raise BadArgument(f"{type(self).__name__} defines no relabel")

    def one(self, member: Any, params: Params, rng: Rng) -> Any:
        return member.with_data(self.relabel(member.data, params))

    def _tensor_kind(self, x: Tensor) -> type[Image]:
        return LabelMap


def require_one_lattice(sample: Sample, keys: Sequence[str], step: str) -> None:
    """Raise unless all images among `keys` lie on one lattice.

    Raises:
        BadGeometry: naming both members and their lattices.
    """
    images = [(k, sample[k]) for k in keys if isinstance(sample[k], Image)]
    for key, image in images[1:]:
        lead_key, lead = images[0]
        if not image.space.matches(lead.space):
            raise BadGeometry(
                f"{step} needs its members on one lattice",
                where=key,
                found=f"{key!r}: {image.space}",
                due=f"that of {lead_key!r}: {lead.space}",
                mend=f"Put MatchSpace({lead_key!r}, keys={key!r}) before this step.",
            )


def walk(transform: Transform) -> Iterator[Transform]:
    """A transform and all transforms inside it."""
    yield transform
    for f in fields(transform):
        value = getattr(transform, f.name)
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, Transform):
                yield from walk(part)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(_plain(v) for v in value) if isinstance(value, list | tuple) else value


def _is_fixed(value: Any) -> bool:
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value):
        return bool(value[0] == value[1])
    if isinstance(value, tuple):
        return all(_is_fixed(v) for v in value)
    if isinstance(value, Distribution):
        return is_fixed(value)
    return True
