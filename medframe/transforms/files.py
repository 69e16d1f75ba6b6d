"""From paths to images, and from images to files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from medframe.base.errors import BadArgument, BadGeometry
from medframe.base.rng import Rng
from medframe.geometry import LINEAR
from medframe.image import Image, LabelMap, Sample, Stack
from medframe.io import read, write
from medframe.transforms.base import Transform


@dataclass(frozen=True, repr=False)
class Load(Transform):
    """Turn the paths of a sample into images. Only headers are read; voxels follow when somebody looks.

    Args:
        images: keys of images; a member that is a sequence of paths becomes one image of so many channels.
        labels: keys of label maps; keys that a sample does not have are passed over.
        vote: between voxels let the classes vote, instead of taking the nearest label (see `LabelMap`).
    """

    images: str | tuple[str, ...] = "image"
    labels: str | tuple[str, ...] = ()
    vote: bool = False
    takes_keys: ClassVar[bool] = False

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        out = dict(sample)
        for key in _keys(self.images):
            if key not in sample:
                raise BadArgument("Load finds no such member", where=key, found=sorted(sample), due=key)
            out[key] = load(sample[key], Image, key)
        for key in _keys(self.labels):
            if key in sample:
                label = load(sample[key], LabelMap, key)
                out[key] = label.with_interpolation(LINEAR) if self.vote else label
        return out


@dataclass(frozen=True, repr=False)
class Save(Transform):
    """Write images into a folder, as `<case>_<key><suffix>`, or `<case><suffix>` for a single key.

    A file that exists is an error unless `overwrite` is on, so two cases cannot share a name unnoticed.

    Args:
        folder: where to.
        members: keys to write.
        suffix: of the file names, which names the format.
        overwrite: replace files that exist.
    """

    folder: str = "."
    members: str | tuple[str, ...] = "prediction"
    suffix: str = ".nii.gz"
    overwrite: bool = False
    takes_keys: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        keys = _keys(self.members)
        if not keys or len({key.casefold() for key in keys}) < len(keys):
            raise BadArgument("Save writes each member once", where="members", found=keys, due="different keys")

    def on_sample(self, sample: Sample, rng: Rng) -> Any:
        keys = _keys(self.members)
        for key in keys:
            image = sample.get(key)
            if not isinstance(image, Image):
                raise BadArgument("Save finds no such image", where=key, found=sorted(sample), due=key)
            case = str(sample.get("case", image.meta.get("case", "image")))
            if case != Path(case).name or case in ("", ".."):
                raise BadArgument("a case id must do as a file name", where="case", found=case)
            name = case if len(keys) == 1 else f"{case}_{key}"
            write(image, Path(self.folder) / f"{name}{self.suffix}", overwrite=self.overwrite)
        return dict(sample)


def _keys(keys: str | tuple[str, ...]) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else tuple(keys)


def load(value: Any, kind: type[Image] = Image, key: str = "image") -> Image:
    """An image from a path, or from the paths of its channels; an image is handed through.

    Raises:
        BadGeometry: the channels lie on different lattices.
        BadFile: a file cannot be read.
    """
    if isinstance(value, Image):
        return value
    if isinstance(value, str | os.PathLike):
        return read(value, kind)
    if not isinstance(value, Sequence) or not value:
        raise BadArgument("Load takes a path, or paths of channels", where=key, found=type(value).__name__)
    parts = [read(path, kind) for path in value]
    if len(parts) == 1:
        return parts[0]
    for path, part in zip(value[1:], parts[1:], strict=True):
        if not part.space.matches(parts[0].space):
            raise BadGeometry(
                "the channels of a case lie on different lattices",
                where=path,
                found=part.space,
                due=f"that of {Path(value[0]).name}: {parts[0].space}",
                mend="Resample the channels onto one lattice first (medframe.transforms.MatchSpace).",
            )
    # channels are whole files: they have no warps waiting, so their sources stack
    source = Stack(tuple(part.source for part in parts))
    return kind(source, space=parts[0].space, meta=parts[0].meta)
