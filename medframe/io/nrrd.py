"""NRRD files (.nrrd, .nhdr with its data file, Slicer's .seg.nrrd): read by header now and by voxel when asked for."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadLabel, MedframeWarning, shown_path
from medframe.base.files import atomic_write
from medframe.base.sizes import check_size
from medframe.geometry import Source, Space
from medframe.image import Image, LabelMap
from medframe.io.gzip_stream import check_packed, deflated
from medframe.io.loss import OnLoss, check_on_loss
from medframe.io.nrrd_header import TYPES, NrrdHeader, parse
from medframe.io.nrrd_segments import Segment, pick_layer, segments_of
from medframe.io.raw import Flattened, RawSource, Whole, flat
from medframe.io.reading import reading, stamp_of
from medframe.io.stored import Stored
from medframe.io.text_header import bad, beside, decode_text, lattice, real, refuse_many, skip_lines, whole
from medframe.io.writing import file_order, solid_space, target_dtype, voxels_of

__all__ = ["read", "write"]

_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_UNKNOWN_SIDES = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
_UNITS = {"mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "m": 1e3, "cm": 10.0, "um": 1e-3, "µm": 1e-3}
_COMPLEX = ("complex",)
_VECTOR = re.compile(r"none|\([^()]*\)")


def read(
    path: Path, kind: type[Image], *, ndim: int = 3, classes: int | None = None, layer: int | None = None
) -> Image:
    """Read an NRRD file; only the header is looked at until the voxels are asked for.

    The lattice has three axes; an axis without a space direction (vector, colour, time) becomes the channels, and must
    be the first or the last. The spaces RAS, LAS and LPS are turned into RAS+ millimetres without moving a voxel.

    `meta` holds the file as messages show it, its voxel type, and notes on what was assumed. For Slicer's segmentations
    it holds "labels", the name of each label.

    Args:
        path: of the file, or of the header of a detached one.
        kind: Image or LabelMap.
        ndim: 2 or 1 drops the last axes, which must have one voxel and stand upright in the world.
        classes: label maps must hold 0 .. classes - 1.
        layer: of a segmentation whose segments overlap and therefore lie in several layers: which one is read.

    Raises:
        BadFile: not an NRRD file, damaged, truncated, of a kind that is not read, or naming a data file elsewhere.
        BadGeometry: its directions are no valid affine.
        BadLabel: a segmentation with several layers was read without `layer`, or holds what are no labels.
        TooLarge: the header claims more than there is, or than the limits allow.
    """
    labels = issubclass(kind, LabelMap)
    if classes is not None and (not labels or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    header = parse(path)
    axes = _axes(header, path)
    space, notes, warning = _space(header, axes, path)
    d, h, w = space.shape
    shape = (axes.channels, d, h, w)
    stored = Stored(header.dtype, shape, axes.channels_first, 1.0, 0.0, labels, classes if labels else None)
    source: Source = _source(header, stored, path)
    segments = segments_of(header, path)
    meta: dict[str, Any] = {
        "file": shown_path(path),
        "format": "NRRD",
        "dtype": np.dtype(header.dtype).newbyteorder("=").name,
        "notes": notes,
    }
    if segments:
        source, named = _segmentation(segments, source, labels, layer, path)
        meta["labels"] = named
    elif layer is not None:
        raise BadArgument("only segmentations have layers", where=path, found=f"layer {layer}", due="no layer")
    if warning:
        warnings.warn(f"{shown_path(path)}: {warning}", MedframeWarning, stacklevel=3)
    if ndim == 3:
        return kind(source, space=space, meta=meta)
    return kind(Flattened(source, ndim), space=flat(space, ndim, path), meta=meta)


@dataclass(frozen=True)
class _Axes:
    # what the axes of the file are
    directions: tuple[str, ...] | None  # one for each axis, "none" for channels
    spatial: tuple[int, ...]
    channels: int
    channels_first: bool


def _axes(header: NrrdHeader, path: Path) -> _Axes:
    sizes = header.sizes
    kinds = header.per_axis("kinds", path)
    text = header.fields.get("space directions")
    directions = None
    if text is not None:
        directions = tuple(_VECTOR.findall(text.lower()))
        if len(directions) != len(sizes) or _VECTOR.sub("", text.lower()).strip():
            raise bad(path, "space directions", text, f"{len(sizes)} vectors (x,y,z) or none, one for each axis")
        spatial = tuple(k for k, word in enumerate(directions) if word != "none")
    elif kinds is not None:
        spatial = tuple(k for k, word in enumerate(kinds) if word.lower() in ("domain", "space", "???", "none"))
    else:
        spatial = tuple(range(min(len(sizes), 3)))
    if kinds is not None and any(k.lower() in _COMPLEX for k in kinds):
        raise bad(path, "kinds", "complex", "real voxels", "complex voxels are not read")
    others = [k for k in range(len(sizes)) if k not in spatial and sizes[k] > 1]
    if not 1 <= len(spatial) <= 3:
        raise bad(path, "space directions", f"{len(spatial)} axes in space", "one to three")
    if len(others) > 1:
        raise bad(path, "sizes", f"{len(others)} axes that are not in space", "at most one, which becomes the channels")
    channels, first = (sizes[others[0]], others[0] < spatial[0]) if others else (1, False)
    if others and spatial[0] < others[0] < spatial[-1]:
        raise bad(path, "sizes", "channels between the axes of space", "channels first or last")
    return _Axes(directions, spatial, channels, first)


def _space(header: NrrdHeader, axes: _Axes, path: Path) -> tuple[Space, tuple[str, ...], str | None]:
    notes: list[str] = []
    warning = None
    name = header.fields.get("space", "").strip().lower()
    base, _, time = name.partition("-time")
    signs = _SPACES.get(base) if not time and base == name else None
    if name and signs is None and name not in _UNKNOWN_SIDES:
        raise bad(path, "space", name, "RAS, LAS or LPS", "the space is not read")
    size = tuple(header.sizes[k] for k in axes.spatial)
    shape = (*size, *[1] * (3 - len(size)))
    if axes.directions is None:
        if signs is not None:
            raise bad(path, "space directions", "no such field", "directions, since the file names a space")
        spacing = _spacings(header, axes, path, notes)
        affine = np.diag([*spacing, *[1.0] * (3 - len(spacing)), 1.0])
        warning = "the file names no space: which side is left is unknown, and axes are taken as RAS from 0"
    else:
        affine = _affine(header, axes, path, notes)
        if signs is None:
            warning = f"the space is {name or 'not named'}: which side is left is unknown, and it is taken as RAS"
        else:
            affine = np.diag([*map(float, signs), 1.0]) @ affine
    if "measurement frame" in header.fields and axes.channels > 1:
        notes.append("the measurement frame of the vectors is not applied")
    if warning:
        notes.append(warning)
    return lattice(shape, affine, path), tuple(notes), warning


def _spacings(header: NrrdHeader, axes: _Axes, path: Path, notes: list[str]) -> list[float]:
    words = header.per_axis("spacings", path)
    if words is None:
        notes.append("the file says nothing of spacing: 1 mm is assumed")
        return [1.0] * len(axes.spatial)
    spacing = [real(words[k], path, "spacings") for k in axes.spatial]
    if min(spacing) <= 0:
        raise bad(path, "spacings", header.fields["spacings"], "positive numbers")
    return spacing


def _affine(header: NrrdHeader, axes: _Axes, path: Path, notes: list[str]) -> NDArray[np.float64]:
    assert axes.directions is not None
    columns = [_vector(axes.directions[k], path, "space directions") for k in axes.spatial]
    origin = _vector(header.fields["space origin"], path, "space origin") if "space origin" in header.fields else None
    rank = {len(v) for v in (*columns, *([origin] if origin is not None else []))}
    if len(rank) != 1 or not rank <= {2, 3}:
        raise bad(path, "space directions", f"vectors of {sorted(rank)} numbers", "vectors of three numbers")
    if origin is None:
        notes.append("the file gives no origin: voxel (0, 0, 0) is taken to lie at 0")
    scale = _unit(header, rank.pop(), path, notes)
    affine = np.eye(4)
    for k, column in enumerate(columns):
        affine[: len(column), k] = column * scale
        if not np.linalg.norm(column) > 0:
            raise bad(path, "space directions", axes.directions[axes.spatial[k]], "a direction longer than 0")
    if origin is not None:
        affine[: len(origin), 3] = origin * scale
    if len(columns) == 2 and len(columns[0]) == 3:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
        notes.append("the file gives a plane no third axis: slices of 1 mm are assumed")
    elif len(columns) == 1:
        u, _, _ = np.linalg.svd(affine[:3, :1])
        affine[:3, 1:3] = u[:, 1:]
        notes.append("the file gives a line no further axes: 1 mm is assumed")
    return affine


def _unit(header: NrrdHeader, rank: int, path: Path, notes: list[str]) -> NDArray[np.float64]:
    text = header.fields.get("space units")
    if text is None:
        return np.ones(rank)
    words = re.findall(r'"([^"]*)"', text)
    if len(words) != rank:
        raise bad(path, "space units", text, f"{rank} quoted units")
    known = [_UNITS.get(word.strip().lower()) for word in words]
    if any(u is None and word.strip().lower() not in ("", "???") for u, word in zip(known, words, strict=True)):
        raise bad(path, "space units", text, "mm, cm, m or um", "the unit of length is unknown")
    if any(u not in (None, 1.0) for u in known):
        notes.append(f"lengths in {', '.join(words)} were turned into millimetres")
    return np.array([u or 1.0 for u in known])


def _vector(text: str, path: Path, field: str) -> NDArray[np.float64]:
    inner = text.strip()
    if not (inner.startswith("(") and inner.endswith(")")):
        raise bad(path, field, inner, "a vector (x,y,z)")
    return np.array([real(part.strip(), path, field) for part in inner[1:-1].split(",")])


def _source(header: NrrdHeader, stored: Stored, path: Path) -> RawSource | Whole:
    fields = header.fields
    data, place = path, header.end
    if "data file" in fields:
        name = fields["data file"]
        if name.split()[:1] == ["LIST"]:
            raise refuse_many(path, [line.strip() for line in header.files if line.strip()], "data file")
        if re.search(r"%[0-9]*d", name):
            raise refuse_many(path, [name.split()[0].replace("%", "")], "data file")
        data, place = beside(path, name, "data file"), 0
    stamp = stamp_of(data)
    itemsize = np.dtype(stored.dtype).itemsize
    lines = whole(fields.get("line skip", "0"), path, "line skip", 0)
    skip = whole(fields.get("byte skip", "0"), path, "byte skip", -1)
    if lines:
        with reading(data), open(data, "rb") as stream:
            stream.seek(place)
            place = skip_lines(stream, lines, data)
    if header.encoding == "gzip":
        if skip < 0:
            raise bad(path, "byte skip", skip, "0 or more for gzipped voxels")
        check_packed(stored.shape, itemsize, skip=skip, compressed=max(0, stamp[0] - place), where=path)
        return RawSource(data, skip, stored, True, stamp, place)
    if header.encoding == "raw":
        need = math.prod(stored.shape) * itemsize
        place = stamp[0] - need if skip < 0 else place + skip
        check_size(stored.shape, itemsize, where=path, available=max(0, stamp[0] - max(place, 0)) if place >= 0 else 0)
        return RawSource(data, place, stored, False, stamp)
    least = itemsize * 2 if header.encoding == "hex" else 1  # characters a voxel
    check_size(stored.shape, least, where=path, available=max(0, stamp[0] - place))
    check_size(stored.shape, itemsize, where=path)
    decoder = partial(decode_text, offset=place, stored=stored, hexadecimal=header.encoding == "hex")
    return Whole(data, stored, stamp, decoder)


def _segmentation(
    segments: tuple[Segment, ...], source: Source, labels: bool, layer: int | None, path: Path
) -> tuple[Source, dict[str, Any]]:
    layers = source.shape[0]
    if layer is None and not labels:
        return source, {f"{s.layer}/{s.value}": s.name for s in segments}
    if layer is None and layers > 1:
        raise BadLabel(
            "the segmentation has several layers, since its segments overlap",
            where=path,
            found="; ".join(f"layer {s.layer}: {s.name}" for s in segments[:6])
            + ("; ..." if len(segments) > 6 else ""),
            due=f"layer=0 to {layers - 1}, or a segmentation without overlap",
            mend="Read one layer with read(path, LabelMap, layer=0), or let Slicer merge the segments.",
        )
    chosen = layer or 0
    if not 0 <= chosen < layers:
        raise BadArgument("no such layer", where=path, found=chosen, due=f"0 to {layers - 1}")
    if layers > 1:
        source = pick_layer(source, chosen)
    return source, {str(s.value): s.name for s in segments if s.layer == chosen}


_NAMES = {np.dtype(dtype): names[-1].removesuffix("_t") for dtype, names in TYPES.items()}


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | str | None = None,
    on_loss: OnLoss = "raise",
    compress: bool = True,
) -> None:
    """Write an image as .nrrd; the file appears whole or not at all.

    The affine is written in full precision, sheared or not, in the space left-posterior-superior, as Slicer and ITK do.
    Channels become the last axis, of kind "list". A 2-D image becomes one slice at z = 0. Images keep their dtype (half
    floats become float32, bool uint8); label maps get the narrowest integer that holds their labels.

    Args:
        image: what to write.
        path: ends in .nrrd.
        overwrite: replace a file that stands there.
        dtype: of the file: an integer type of 8 to 64 bits, float32 or float64.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`; see `fit`.
        compress: gzip the voxels.

    Raises:
        BadArgument: an unknown dtype or ending.
        BadVoxels: a value would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    check_on_loss(on_loss)
    if not path.name.lower().endswith(".nrrd"):
        raise BadArgument("headers with their voxels elsewhere are read, not written", where=path, due=".nrrd")
    voxels = voxels_of(image)
    target = target_dtype(image, voxels, dtype, _NAMES, "NRRD")
    space = solid_space(image.space)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ space.affine
    many = image.channels > 1
    sizes = (*space.shape, *([image.channels] if many else []))
    directions = [_shown(affine[:3, k]) for k in range(3)] + (["none"] if many else [])
    lines = [
        "NRRD0005",
        f"type: {_NAMES[target]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: domain domain domain{' list' if many else ''}",
        *(["endian: little"] if target.itemsize > 1 else []),
        f"encoding: {'gzip' if compress else 'raw'}",
        f"space origin: {_shown(affine[:3, 3])}",
    ]
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(("\n".join(lines) + "\n\n").encode("ascii"))
        with deflated(stream) if compress else contextlib.nullcontext(stream) as out:
            for channel in range(image.channels):
                out.write(file_order(voxels, channel, target, on_loss, path))


def _shown(vector: NDArray[np.float64]) -> str:
    return f"({','.join(repr(float(v)) for v in vector)})"
