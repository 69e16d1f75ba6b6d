"""Zarr folders: OME-Zarr 0.4 and 0.5 with their pyramids, and plain arrays; only chunks that are touched are read.

Source of the format: "Next-generation file formats" 0.4 and 0.5, ngff.openmicroscopy.org. Its axes of space, x, y, z,
are taken as the world's axes (millimetres, RAS+); the format says nothing of sides. An affine that a scale and a
shift cannot express is kept in an attribute of ours, which no other program reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadArgument, BadFile, BadGeometry, MedframeError, TooLarge, shown_path
from medframe.base.extras import need
from medframe.base.files import atomic_folder
from medframe.base.sizes import check_size
from medframe.geometry import Source, Space
from medframe.image import Image, LabelMap
from medframe.io.loss import OnLoss, check_on_loss, fit
from medframe.io.raw import Flattened
from medframe.io.reading import reading
from medframe.io.stored import Stored
from medframe.io.text_header import lattice
from medframe.io.writing import target_dtype, voxels_of

__all__ = ["read", "write"]

_DTYPES = tuple(map(np.dtype, ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")))
_JSON_LIMIT = 16 << 20
_MOST_CHUNKS = 1 << 15  # of one window: a small file may claim a million absent ones, and each costs time and memory
_UNITS = {"millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6, "meter": 1e3, "centimeter": 10.0, "angstrom": 1e-7}
# codecs that only move bytes; others could run code (object codecs) or are not known to be safe
_CODECS = {"bytes", "transpose", "gzip", "zlib", "zstd", "blosc", "lz4", "bz2", "crc32c", "sharding_indexed"}
_CODECS |= {"shuffle", "delta", "numcodecs.shuffle", "numcodecs.delta", "numcodecs.zlib", "numcodecs.bz2"}
_MEND = "Write the store again with the program that made it."


def read(
    path: Path, kind: type[Image], *, level: int = 0, array: str | None = None, classes: int | None = None
) -> Image:
    """Read a Zarr folder; only chunks that a window touches are opened.

    Axes named x, y and z become the lattice (X, Y, Z), a channel or time axis the channels. Two axes of space give a
    2-D image (C, X, Y). A plain array without names is (C, *spatial), or spatial alone for two and three axes.

    A chunk that is absent has the array's fill value: the format means it so, and cannot tell it from a lost one.

    Args:
        path: of the folder.
        kind: Image or LabelMap.
        level: of the pyramid; 0 is the finest.
        array: of a group that is no pyramid: the name of the array.
        classes: label maps must hold 0 .. classes - 1.

    Raises:
        BadFile: damaged metadata, a codec or dtype that is not read, or a path that leads out of the folder.
        BadGeometry: scale and shift are no valid affine.
        TooLarge: a chunk or window passes the image limit.
        MissingPackage: zarr is not installed.
    """
    labels = issubclass(kind, LabelMap)
    if classes is not None and (not labels or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    with reading(path):
        attributes, is_array = _attributes(path)
        ome = attributes.get("ome", attributes)
        scales = ome.get("multiscales") if isinstance(ome, dict) else None
        if scales:
            if array is not None:
                raise BadArgument("a pyramid has levels, not names", where=path, found=array, due="level=...")
            inner, axes, matrix, levels = _pyramid(scales, level, path)
        else:
            if level:
                raise BadArgument("the store is no pyramid", where=path, found=f"level {level}", due="level 0")
            if not is_array and array is None:
                raise _bad(path, "multiscales", "a group that is no OME-Zarr image", "an array, or array=...")
            inner, axes, matrix, levels = array or "", None, None, 1
        folder = _inside(path, inner)
        facts = _array_facts(folder, path)
        own = _attributes(folder)[0].get("medframe", {}) if not scales else attributes.get("medframe", {})
    notes: list[str] = []
    order, shape, flat_to, scale, shift = _layout(facts, axes, matrix, path)
    solid = Space((shape[1], shape[2], shape[3]), np.eye(4)).shape
    affine = np.diag([*scale, 1.0])
    affine[:3, 3] = shift
    if isinstance(own, dict) and "affine" in own:
        try:
            kept = np.array(own["affine"], np.float64)
        except (ValueError, TypeError):
            raise _bad(path, "medframe.affine", str(own["affine"])[:60], "a matrix") from None
        if kept.shape != (flat_to + 1, flat_to + 1):
            raise _bad(path, "medframe.affine", f"shape {kept.shape}", f"({flat_to + 1}, {flat_to + 1})")
        full = np.eye(4)
        full[:flat_to, :flat_to], full[:flat_to, 3] = kept[:-1, :-1], kept[:-1, -1]
        affine = full @ _of_level(affine, full)
    else:
        notes.append(
            "the store says nothing of sides: x, y and z are taken as the axes of the world"
            if scales
            else "the array says nothing of place: 1 mm from 0 is assumed"
        )
    stored = Stored(facts.dtype.newbyteorder("=").str, shape, labels=labels, classes=classes if labels else None)
    source: Source = ZarrSource(path, inner, stored, order, facts.chunks)
    space = lattice(solid, affine, path)
    if flat_to < 3:
        keep = [*range(flat_to), 3]
        source, space = Flattened(source, flat_to), Space(solid[:flat_to], affine[np.ix_(keep, keep)])
    meta = {
        "file": shown_path(path),
        "format": f"OME-Zarr {'0.5' if 'ome' in attributes else '0.4'}" if scales else "Zarr",
        "dtype": facts.dtype.newbyteorder("=").name,
        "level": level,
        "levels": levels,
        "notes": tuple(notes),
    }
    return kind(source, space=space, meta=meta)


def _of_level(level: NDArray[np.float64], full: NDArray[np.float64]) -> NDArray[np.float64]:
    # index of a coarse level -> index of level 0: its scale and shift lie in a frame of voxels' spacing from 0
    spacing = np.linalg.norm(full[:3, :3], axis=0)
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = level[:3, :3] / spacing[:, None], level[:3, 3] / spacing
    return out


def _bad(path: Path, field: str, found: object, due: object) -> BadFile:
    where = f"{shown_path(path)}, field {field}"
    return BadFile(
        "the store's metadata is invalid", where=where, found=str(found)[:120].strip() or "nothing", due=due, mend=_MEND
    )


def _json(file: Path, path: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    if file.stat().st_size > _JSON_LIMIT:
        raise _bad(path, file.name, f"{file.stat().st_size} bytes", f"at most {_JSON_LIMIT}")
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _bad(path, file.name, type(error).__name__, "JSON") from None
    if not isinstance(value, dict):
        raise _bad(path, file.name, type(value).__name__, "an object")
    return value


def _attributes(folder: Path) -> tuple[dict[str, Any], bool]:
    # attributes of a node, and whether it is an array
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BadFile("this is no Zarr store", where=folder, found=found, due="a folder", mend="Check the path.")
    three = _json(folder / "zarr.json", folder)
    if three is not None:
        attributes = three.get("attributes", {})
        if not isinstance(attributes, dict):
            raise _bad(folder, "attributes", type(attributes).__name__, "an object")
        return attributes, three.get("node_type") == "array"
    two = _json(folder / ".zattrs", folder) or {}
    is_array = (folder / ".zarray").is_file()
    if not is_array and not (folder / ".zgroup").is_file():
        raise BadFile(
            "this is no Zarr store",
            where=folder,
            found="no zarr.json, .zarray or .zgroup",
            due="a folder with Zarr's metadata",
            mend="Check the path, and that the store was copied whole.",
        )
    return two, is_array


def _inside(path: Path, inner: str) -> Path:
    folder = path / inner
    real, root = folder.resolve(), path.resolve()
    if "\0" in inner or "\\" in inner or not real.is_relative_to(root):
        raise BadFile(
            "the array leads out of the store's folder",
            where=path,
            found=inner[:80],
            due="a path inside the store",
            mend=_MEND,
        )
    return folder


@dataclass(frozen=True)
class _Facts:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]  # those inside a shard, where there are shards
    names: tuple[str, ...] | None


def _array_facts(folder: Path, path: Path) -> _Facts:
    # what an array is, by its own JSON: nothing is handed to a codec that is not on the list
    three = _json(folder / "zarr.json", path)
    raw = three if three is not None else _json(folder / ".zarray", path)
    if raw is None:
        raise _bad(path, "array", "no zarr.json or .zarray", "an array")
    shape = raw.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and 0 < n < 1 << 62 for n in shape) or len(shape) > 8:
        raise _bad(path, "shape", shape, "up to eight whole numbers of at least 1")
    if three is not None:
        kind, codecs = raw.get("data_type"), raw.get("codecs")
        grid = raw.get("chunk_grid")
        options = grid.get("configuration") if isinstance(grid, dict) else None
        chunks = options.get("chunk_shape") if isinstance(options, dict) else None
        _check_codecs(codecs, path, "name")
    else:
        kind, chunks = raw.get("dtype"), raw.get("chunks")
        filters = raw.get("filters") or []
        compressor = raw.get("compressor")
        if not isinstance(filters, list):
            raise _bad(path, "filters", filters, "a list")
        _check_codecs([*filters, *([compressor] if compressor is not None else [])], path, "id")
    try:
        dtype = np.dtype(kind) if isinstance(kind, str) else np.dtype(object)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if dtype.newbyteorder("=") not in (*_DTYPES, np.dtype("f2"), np.dtype("?")):
        due = "integers, real floats or bool; objects are dangerous to open"
        raise _bad(path, "data type", kind, due)
    if not isinstance(chunks, list) or len(chunks) != len(shape) or not all(type(n) is int and n > 0 for n in chunks):
        raise _bad(path, "chunks", chunks, f"{len(shape)} whole numbers of at least 1")
    check_size(chunks, dtype.itemsize, where=path)
    inner = _shard_chunks(raw.get("codecs") if three is not None else None, len(shape), path) or tuple(chunks)
    names = raw.get("dimension_names")
    words = [n.lower() for n in names if isinstance(n, str)] if isinstance(names, list) else []
    return _Facts(tuple(shape), dtype, inner, tuple(words) if len(words) == len(shape) else None)


def _shard_chunks(codecs: object, rank: int, path: Path) -> tuple[int, ...] | None:
    # the chunks inside a shard, or None where there are no shards
    for codec in codecs if isinstance(codecs, list) else []:
        if isinstance(codec, dict) and codec.get("name") == "sharding_indexed":
            options = codec.get("configuration")
            chunks = options.get("chunk_shape") if isinstance(options, dict) else None
            if not isinstance(chunks, list) or len(chunks) != rank or not all(type(n) is int and n > 0 for n in chunks):
                raise _bad(path, "codecs", "a shard without chunks", f"{rank} whole numbers of at least 1")
            return tuple(chunks)
    return None


def _check_codecs(codecs: object, path: Path, key: str) -> None:
    if not isinstance(codecs, list):
        raise _bad(path, "codecs", codecs, "a list")
    for codec in codecs:
        name = codec.get(key) if isinstance(codec, dict) else codec
        if not isinstance(name, str) or name not in _CODECS:
            raise _bad(path, "codecs", name, "codecs that move bytes alone; others are dangerous or unknown")
        inner = codec.get("configuration", {}) if isinstance(codec, dict) else {}
        for part in ("codecs", "index_codecs"):
            if isinstance(inner, dict) and part in inner:
                _check_codecs(inner[part], path, key)


def _pyramid(
    scales: object, level: int, path: Path
) -> tuple[str, list[tuple[str, str, float]], tuple[list[float], list[float]], int]:
    # the array of a level, its axes (name, kind, millimetres), its scale and shift, and how many levels there are
    first = scales[0] if isinstance(scales, list) and scales else None
    sets = first.get("datasets") if isinstance(first, dict) else None
    raw_axes = first.get("axes") if isinstance(first, dict) else None
    if not isinstance(sets, list) or not sets or not isinstance(raw_axes, list) or not 2 <= len(raw_axes) <= 5:
        raise _bad(path, "multiscales", "no axes or datasets", "those of OME-Zarr 0.4 or 0.5")
    if not 0 <= level < len(sets):
        raise BadArgument("no such level", where=path, found=level, due=f"0 to {len(sets) - 1}")
    axes = []
    for axis in raw_axes:
        if not isinstance(axis, dict) or not isinstance(axis.get("name"), str):
            raise _bad(path, "axes", axis, "named axes")
        unit = axis.get("unit", "millimeter")
        if axis.get("type") == "space" and unit not in _UNITS:
            raise _bad(path, "axes", f"the unit {unit!r}", ", ".join(_UNITS))
        axes.append((axis["name"].lower(), str(axis.get("type")), _UNITS.get(unit, 1.0)))
    chosen = sets[level]
    inner = chosen.get("path") if isinstance(chosen, dict) else None
    if not isinstance(inner, str) or not inner:
        raise _bad(path, "datasets", inner, "a path")
    scale, shift = [1.0] * len(axes), [0.0] * len(axes)
    assert isinstance(first, dict)
    for step in [*_steps(chosen, path), *_steps(first, path)]:
        values = step.get(str(step.get("type"))) if isinstance(step, dict) else None
        numbers = [float(v) for v in values if type(v) in (int, float)] if isinstance(values, list) else []
        if len(numbers) != len(axes) or not np.isfinite(numbers).all():
            raise _bad(path, "coordinateTransformations", step, f"a scale or translation of {len(axes)} numbers")
        if step["type"] == "scale":
            scale = [a * b for a, b in zip(scale, numbers, strict=True)]
            shift = [a * b for a, b in zip(shift, numbers, strict=True)]
        elif step["type"] == "translation":
            shift = [a + b for a, b in zip(shift, numbers, strict=True)]
        else:
            raise _bad(path, "coordinateTransformations", step["type"], "scale or translation")
    return inner, axes, (scale, shift), len(sets)


def _steps(node: dict[str, Any], path: Path) -> list[Any]:
    steps = node.get("coordinateTransformations", [])
    if not isinstance(steps, list):
        raise _bad(path, "coordinateTransformations", steps, "a list")
    return steps


def _layout(
    facts: _Facts,
    axes: Sequence[tuple[str, str, float]] | None,
    matrix: tuple[list[float], list[float]] | None,
    path: Path,
) -> tuple[tuple[int | None, ...], tuple[int, int, int, int], int, list[float], list[float]]:
    # for each of C, X, Y, Z the array's axis (None: one element), the shape, spatial rank, and scale and shift in mm
    rank = len(facts.shape)
    scale, shift = [1.0] * 3, [0.0] * 3
    if axes is None:
        names = facts.names
        if names is not None and {"x", "y"} <= set(names):
            axes = [(n, "space" if n in ("x", "y", "z") else "channel", 1.0) for n in names]
            matrix = ([1.0] * rank, [0.0] * rank)
        else:
            if not 2 <= rank <= 4:
                raise _bad(path, "shape", facts.shape, "two to four axes")
            lead: tuple[int | None, ...] = (0,) if rank == 4 else (None,)
            rest = range(1, 4) if rank == 4 else range(rank)
            order = (*lead, *rest, *[None] * (3 - len(rest)))
            return order, _sizes(facts, order), len(rest), scale, shift
    assert matrix is not None
    if len(axes) != rank:
        raise _bad(path, "axes", f"{len(axes)} axes", f"{rank}, as the array has")
    where: dict[str, int] = {}
    for k, (name, kind, _) in enumerate(axes):
        place = name if kind == "space" and name in ("x", "y", "z") else "c"
        if kind == "space" and place == "c":
            raise _bad(path, "axes", name, "axes of space named x, y and z")
        if place == "c" and facts.shape[k] == 1:
            continue
        if place in where:
            raise _bad(path, "axes", ", ".join(n for n, _, _ in axes), "one channel or time axis of several elements")
        where[place] = k
    if "x" not in where or "y" not in where:
        raise _bad(path, "axes", ", ".join(n for n, _, _ in axes), "at least x and y")
    order = tuple(where.get(place) for place in "cxyz")
    for k, place in enumerate("xyz"):
        if place in where:
            mm = axes[where[place]][2]
            scale[k], shift[k] = matrix[0][where[place]] * mm, matrix[1][where[place]] * mm
    if min(scale) <= 0:
        raise BadGeometry("a scale is not positive", where=path, found=scale, due="positive numbers", mend=_MEND)
    return order, _sizes(facts, order), 3 if "z" in where else 2, scale, shift


def _sizes(facts: _Facts, order: tuple[int | None, ...]) -> tuple[int, int, int, int]:
    c, x, y, z = (1 if k is None else facts.shape[k] for k in order)
    return c, x, y, z


@dataclass(frozen=True, eq=False)
class ZarrSource:
    """Voxels of one array of a store.

    Args:
        path: of the store.
        inner: the array's path inside it.
        stored: dtype and shape as (C, X, Y, Z).
        order: for each of C, X, Y, Z the array's axis, or None.
        chunks: of the array, in its own order of axes.
    """

    path: Path
    inner: str
    stored: Stored
    order: tuple[int | None, ...]
    chunks: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.stored.tensor_dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def read(self, window: tuple[slice, ...]) -> Tensor:
        """(C, *window); chunks outside the window are not opened.

        Raises:
            BadFile: a chunk is damaged, or the store changed.
            BadLabel: the voxels were to be labels and are not.
            TooLarge: the window passes the image limit.
        """
        cut = [slice(0, self.shape[0]), *(slice(*w.indices(n)) for w, n in zip(window, self.shape[1:], strict=True))]
        sizes = [max(1, len(range(*c.indices(n)))) for c, n in zip(cut, self.shape, strict=True)]
        check_size(sizes, np.dtype(self.stored.dtype).itemsize, where=self.path)
        picks: list[Any] = [0] * len(self.chunks)
        touched = 1
        for axis, part in zip(self.order, cut, strict=True):
            if axis is not None:
                picks[axis] = part
                touched *= max(1, -(-part.stop // self.chunks[axis]) - part.start // self.chunks[axis])
        if touched > _MOST_CHUNKS:
            raise TooLarge(
                "the window touches more chunks than the limit",
                where=self.path,
                found=f"{touched} chunks of {self.chunks}",
                due=f"at most {_MOST_CHUNKS}",
                mend="Read smaller windows, or write the store again with larger chunks.",
            )
        with reading(self.path), _net(self.path):
            block = np.asarray(self._array[tuple(picks)])
        kept = sorted(axis for axis in self.order if axis is not None)
        block = block.transpose([kept.index(axis) for axis in self.order if axis is not None])
        block = block.reshape([1 if axis is None else n for axis, n in zip(self.order, sizes, strict=True)])
        return self.stored.decode(block, [c.start for c in cut[1:]], self.path)

    @cached_property
    def _array(self) -> Any:
        _array_facts(
            _inside(self.path, self.inner), self.path
        )  # the list of codecs is asked again: it may have changed
        zarr = need("zarr", "read and write Zarr folders")
        array = zarr.open_array(str(self.path / self.inner), mode="r")
        if len(array.shape) != len(self.chunks) or array.dtype.newbyteorder("=") != np.dtype(self.stored.dtype):
            raise _bad(self.path, "array", f"{array.shape} of {array.dtype}", "the array whose metadata was read")
        return array

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_array"}


@contextmanager
def _net(path: Path) -> Iterator[None]:
    try:
        yield
    except (MedframeError, MemoryError, OSError):
        raise
    except Exception as error:  # codecs raise almost anything on damage
        raise BadFile(
            "a chunk of the store is damaged",
            where=path,
            found=f"{type(error).__name__}: {error}".replace(str(path), path.name)[:200],
            due="chunks that decode",
            mend="Copy the store again from its source.",
        ) from None


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | str | None = None,
    on_loss: OnLoss = "raise",
    version: str = "0.5",
    chunks: int = 64,
    shards: int | None = None,
    levels: int = 1,
    any_affine: bool = False,
) -> None:
    """Write an image as OME-Zarr; the folder appears whole or not at all.

    The axes are (c,) z, y, x, in millimetres. The format holds a scale and a shift alone: other affines are refused, or
    kept in an attribute of ours with `any_affine`; then other programs see the spacing but not the place. Coarser
    levels halve every axis of more than one voxel: images by means, label maps by every second voxel.

    Args:
        image: of two or three axes.
        path: ends in .zarr.
        overwrite: replace a folder that stands there.
        dtype: of the arrays: an integer type of 8 to 64 bits, float32 or float64.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`; see `fit`.
        version: "0.5" (Zarr 3) or "0.4" (Zarr 2).
        chunks: voxels along each axis of a chunk.
        shards: chunks along each axis of a shard file, for version 0.5.
        levels: of the pyramid.
        any_affine: keep an affine that OME-Zarr cannot hold.

    Raises:
        BadArgument: the place would be lost, or an option is out of its domain.
        BadVoxels: a value would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    check_on_loss(on_loss)
    if version not in ("0.4", "0.5") or chunks < 1 or levels < 1 or (shards is not None and shards < 1):
        raise BadArgument("an option is out of its domain", found=(version, chunks, shards, levels), due="see write")
    if shards is not None and version == "0.4":
        raise BadArgument("shards need version 0.5", found=version, due="0.5")
    if image.ndim == 1:
        raise BadArgument("OME-Zarr has two or three axes of space", where=path, found=1)
    spacing = image.space.spacing
    straight = np.array_equal(image.affine[:-1, :-1], np.diag(spacing))
    if not straight and not any_affine:
        raise BadArgument(
            "OME-Zarr cannot hold where the image lies",
            where=path,
            found=str(image.space),
            due="axes along those of the world",
            mend='Reorient it to "RAS", write NIfTI, or pass any_affine=True, which only medframe reads.',
        )
    voxels = voxels_of(image)
    voxels = fit(voxels, target_dtype(image, voxels, dtype, _DTYPES, "Zarr"), on_loss, path)
    origin = image.space.origin if straight else np.zeros(image.ndim)
    pyramid, sets = [voxels], []
    scale, shift = spacing.copy(), origin.copy()
    places = [(scale, shift)]
    for _ in range(levels - 1):
        voxels, steps = _halved(voxels, isinstance(image, LabelMap))
        if not isinstance(image, LabelMap):
            shift = shift + scale * (steps - 1) / 2
        scale = scale * steps
        pyramid.append(voxels)
        places.append((scale, shift))
    names = [("c", "channel")] if image.channels > 1 else []
    names += [(n, "space") for n in "zyx"[3 - image.ndim :]]
    axes = [{"name": n, "type": t, **({"unit": "millimeter"} if t == "space" else {})} for n, t in names]
    lead, still = ([1.0], [0.0]) if image.channels > 1 else ([], [])
    for k, (mm, place) in enumerate(places):
        steps_of = [
            {"type": "scale", "scale": [*lead, *mm[::-1].tolist()]},
            {"type": "translation", "translation": [*still, *place[::-1].tolist()]},
        ]
        sets.append({"path": str(k), "coordinateTransformations": steps_of})
    scales: dict[str, Any] = {"axes": axes, "datasets": sets, "name": "image"}
    facts: dict[str, Any] = {} if straight else {"medframe": {"affine": image.affine.tolist()}}
    if version == "0.4":
        facts["multiscales"] = [{"version": "0.4", **scales}]
    else:
        facts["ome"] = {"version": "0.5", "multiscales": [scales]}
    zarr = need("zarr", "read and write Zarr folders")
    with atomic_folder(path, overwrite=overwrite) as folder:
        group = zarr.open_group(str(folder), mode="a", zarr_format=2 if version == "0.4" else 3)
        group.attrs.update(facts)
        for k, level in enumerate(pyramid):
            turned = level.transpose(0, *range(level.ndim - 1, 0, -1))
            turned = np.ascontiguousarray(turned if image.channels > 1 else turned[0])
            sizes = tuple(
                1 if n == "c" else min(chunks, size) for (n, _), size in zip(names, turned.shape, strict=True)
            )
            options: dict[str, Any] = {"dimension_names": [n for n, _ in names]} if version == "0.5" else {}
            if version == "0.4":
                options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
            if shards is not None:
                options["shards"] = tuple(1 if n == "c" else s * shards for (n, _), s in zip(names, sizes, strict=True))
            array = group.create_array(str(k), shape=turned.shape, dtype=turned.dtype, chunks=sizes, **options)
            array[...] = turned


def _halved(voxels: NDArray[Any], labels: bool) -> tuple[NDArray[Any], NDArray[np.float64]]:
    # every axis of space of more than one voxel by two, and the steps taken
    steps = np.array([2 if n > 1 else 1 for n in voxels.shape[1:]])
    if labels:
        return voxels[(slice(None), *(slice(None, None, s) for s in steps))], steps.astype(float)
    pad = [(0, 0), *((0, n % s) for n, s in zip(voxels.shape[1:], steps, strict=True))]
    whole = np.pad(voxels, pad, mode="edge")
    split = [whole.shape[0]]
    for n, s in zip(whole.shape[1:], steps, strict=True):
        split += [n // int(s), int(s)]
    mean = whole.reshape(split).mean(axis=tuple(range(2, len(split), 2)), dtype=np.float64)
    out = np.rint(mean) if voxels.dtype.kind in "iu" else mean
    return out.astype(voxels.dtype), steps.astype(float)
