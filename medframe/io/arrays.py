"""NumPy's .npy and .npz, and .safetensors: arrays, with an affine where the file has room for one. Never a pickle."""

from __future__ import annotations

import ast
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from medframe.base.container import read_container, write_container
from medframe.base.errors import BadArgument, BadFile, BadGeometry, MedframeError, shown_path
from medframe.base.files import atomic_write
from medframe.base.sizes import check_size
from medframe.geometry import Source, Space
from medframe.image import Image, LabelMap
from medframe.io.gzip_stream import check_bomb
from medframe.io.kinds import looks_like
from medframe.io.loss import OnLoss, check_on_loss, fit
from medframe.io.raw import Flattened, RawSource, Whole, check_stamp
from medframe.io.reading import Stamp, reading, stamp_of
from medframe.io.stored import Block, Stored
from medframe.io.text_header import lattice
from medframe.io.writing import target_dtype, voxels_of

__all__ = ["read", "write"]

_KINDS = {np.dtype(name) for name in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "?")}
_WRITTEN = tuple(map(np.dtype, ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")))
_UNKNOWN = "the file says nothing of place: 1 mm from 0 is assumed"
_AGAIN = "Write the array again: numpy.save(path, array, allow_pickle=False)."
_KIND = "image"


def read(
    path: Path,
    kind: type[Image],
    *,
    affine: ArrayLike | None = None,
    key: str | None = None,
    classes: int | None = None,
) -> Image:
    """Read an array file; the axes are (C, *spatial), or spatial alone for two and three axes.

    A .npy file is memory-mapped, an archive or container is opened when the voxels are asked for. Arrays of Python
    objects are refused: loading them runs code.

    Args:
        path: .npy, .npz or .safetensors.
        kind: Image or LabelMap.
        affine: index -> world mm, where the file has none.
        key: which array of a .npz file, if it holds several besides "affine".
        classes: label maps must hold 0 .. classes - 1.

    Raises:
        BadFile: damaged, truncated, of objects, or of a shape that is no image.
        BadGeometry: the affine is invalid.
        BadLabel: on reading the voxels of a label map that holds no labels.
        TooLarge: the header claims more than there is, or than the limits allow.
    """
    if classes is not None and (not issubclass(kind, LabelMap) or classes < 1):
        raise BadArgument("classes is a positive count, and of label maps", found=classes, where=path)
    name = path.name.lower()
    if key is not None and not name.endswith(".npz"):
        raise BadArgument("only .npz files have keys", where=path, found=key, due="no key")
    stamp = stamp_of(path)
    if name.endswith(".safetensors"):
        return _container(path, stamp, kind, affine, classes)
    own: NDArray[Any] | None = None
    if name.endswith(".npy"):
        with reading(path), open(path, "rb") as stream:
            header = _array_header(stream, path)
        member = None
    else:
        member, own = _member(path, key)
        with reading(path), _opened(path, member[0]) as stream:
            header = _array_header(stream, path)
    stored, flat_to = _stored(header, issubclass(kind, LabelMap), classes, path)
    source: Source
    if member is None:
        check_size(stored.shape, header.dtype.itemsize, where=path, available=max(0, stamp[0] - header.end))
        source = RawSource(path, header.end, stored, False, stamp)
    else:
        due = check_size(stored.shape, header.dtype.itemsize, where=path, available=max(0, member[1] - header.end))
        check_bomb(due, stamp[0], path)
        source = Whole(path, stored, stamp, partial(_inflated, member=member[0], end=header.end, stored=stored))
    if flat_to < 3:
        source = Flattened(source, flat_to)
    return _image(source, kind, affine if affine is not None else own, path, dtype=header.dtype.name, name="NumPy")


def _image(source: Source, kind: type[Image], affine: ArrayLike | None, path: Path, *, dtype: str, name: str) -> Image:
    shape = source.shape[1:]
    notes = () if affine is not None else (_UNKNOWN,)
    meta = {"file": shown_path(path), "format": name, "dtype": dtype, "notes": notes}
    try:
        matrix = np.eye(len(shape) + 1) if affine is None else np.asarray(affine, np.float64)
    except (ValueError, TypeError):
        raise BadGeometry("the affine is no matrix", where=path, found=str(affine)[:80], due="numbers") from None
    if matrix.shape == (4, 4) and len(shape) == 2 and not matrix[:2, 2].any():
        matrix = matrix[np.ix_([0, 1, 3], [0, 1, 3])]
    return kind(source, space=lattice(shape, matrix, path), meta=meta)


@dataclass(frozen=True)
class _Array:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    end: int  # bytes before the voxels


def _array_header(stream: IO[bytes], path: Path) -> _Array:
    # the format of numpy.lib.format, versions 1 to 3; the dictionary is a literal and is never evaluated
    def refuse(what: str, found: object, due: object) -> BadFile:
        return BadFile(what, where=path, found=str(found)[:100], due=due, mend=_AGAIN)

    lead = stream.read(8)
    if lead[:1] == b"\x80" or lead[:2] in (b"(d", b"(c", b"cp"):
        raise refuse("a pickle is never opened, since it can run code", "a pickle", "NumPy's array format")
    if lead[:6] != b"\x93NUMPY" or len(lead) < 8 or lead[6] not in (1, 2, 3):
        raise refuse("this is not a NumPy file", looks_like(lead), "NumPy's array format")
    size, form = (2, "<H") if lead[6] == 1 else (4, "<I")
    raw = stream.read(size)
    length = struct.unpack(form, raw)[0] if len(raw) == size else 0
    text = stream.read(min(length, 10_000))
    if length > 10_000 or len(text) != length:
        raise refuse("the array's header is damaged", f"a header of {length} bytes", "at most 10000 bytes")
    try:
        fields = ast.literal_eval(text.decode("utf-8" if lead[6] == 3 else "latin-1").strip())
        shape, fortran, descr = fields["shape"], fields["fortran_order"], fields["descr"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        raise refuse(
            "the array's header is damaged", f"{length} bytes that are none", "shape, order and dtype"
        ) from None
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and not isinstance(n, bool) for n in shape):
        raise refuse("the array's shape is invalid", shape, "a tuple of whole numbers")
    if not isinstance(descr, str) or not isinstance(fortran, bool):
        raise refuse("the array is none of numbers", "a dtype with fields", "one numeric dtype")
    if "O" in descr:
        raise refuse("an array of Python objects is never opened, since it can run code", "objects", "a numeric dtype")
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError):
        raise refuse("the dtype is unknown", ascii(descr[:16]), "a numeric dtype") from None
    if dtype.newbyteorder("=") not in _KINDS:
        raise refuse("the dtype is not read", dtype, "integers, real floats or bool")
    return _Array(shape, dtype, fortran, 8 + size + length)


def _stored(header: _Array, labels: bool, classes: int | None, path: Path) -> tuple[Stored, int]:
    # what the bytes mean as (C, D, H, W), and how many spatial axes there are
    shape = header.shape
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise BadFile(
            "the array is no image",
            where=path,
            found=f"shape {shape}",
            due="(H, W), (D, H, W) or (C, D, H, W), sizes of at least 1",
            mend="Reshape it, and save it again.",
        )
    channels = shape[0] if len(shape) == 4 else 1
    spatial = shape[1:] if len(shape) == 4 else shape
    d, h, w = (*spatial, 1)[:3]
    # with the channels first in Fortran order the components of a voxel stand together
    return (
        Stored(
            header.dtype.str,
            (channels, d, h, w),
            interleaved=header.fortran,
            labels=labels,
            classes=classes if labels else None,
            c_order=not header.fortran,
        ),
        len(spatial),
    )


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    mend = "Write it again: numpy.savez_compressed(path, image=array, affine=affine)."
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if len(infos) != _count(path):  # a wrong length in the directory swallows the members behind it
                raise EOFError
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged directory makes its reader raise almost anything
        found = f"{type(error).__name__} in its directory"
        raise BadFile("the archive is damaged", where=path, found=found, due="a .npz file", mend=mend) from None
    names = [info.filename for info in infos]
    odd = next((i for i in infos if not i.filename.endswith(".npy") or i.flag_bits & 1), None)
    if len(set(names)) < len(names) or odd is not None or not names or len(names) > 1000:
        found = "nothing" if not names else "another member" if odd is not None else "a member twice"
        raise BadFile("the archive holds what is no array", where=path, found=found, due="arrays alone", mend=mend)
    return {info.filename.removesuffix(".npy"): info for info in infos}


def _count(path: Path) -> int | None:
    # how many members the end of the archive says there are
    with open(path, "rb") as stream:
        stream.seek(max(0, path.stat().st_size - 65_557))
        tail = stream.read()
    at = tail.rfind(b"PK\5\6")
    count = struct.unpack_from("<H", tail, at + 10)[0] if 0 <= at <= len(tail) - 22 else None
    return None if count is None else int(count)


@contextmanager
def _opened(path: Path, member: int) -> Iterator[IO[bytes]]:
    # a member of an archive, known by its number, since its name may be a patient's; damage becomes our error, without
    # the names that the archive's reader puts into its own
    try:
        with zipfile.ZipFile(path) as archive, archive.open(archive.infolist()[member]) as stream:
            yield stream
    except (MedframeError, OSError, MemoryError):
        raise
    except Exception as error:  # a damaged archive makes its reader raise almost anything
        raise BadFile(
            "the archive is damaged",
            where=path,
            found=f"{type(error).__name__} while it was unpacked",
            due="members whose checksum holds",
            mend="Copy the file again from its source.",
        ) from None


def _member(path: Path, key: str | None) -> tuple[tuple[int, int], NDArray[Any] | None]:
    with reading(path):
        members = _members(path)
    names = [name for name in members if name != "affine"]
    if key is None and len(names) > 1:
        raise BadFile(
            "the archive holds several arrays",
            where=path,
            found=f"{len(names)} arrays",  # their names may be those of patients
            due="one array, and perhaps an affine",
            mend="Say which: read(path, key=...); `python -m zipfile -l FILE` lists them.",
        )
    chosen = key if key is not None else names[0] if names else None
    if chosen not in members:
        raise BadArgument(
            "no such array in the archive",
            where=path,
            found=chosen,
            due=f"one of {len(names)} names",
            mend="`python -m zipfile -l FILE` lists them.",
        )
    own = None
    if "affine" in members:
        with reading(path), _opened(path, list(members).index("affine")) as stream:
            header = _array_header(stream, path)
            count = int(np.prod(header.shape))
            if count > 16 or header.dtype.kind not in "fiu":
                raise BadGeometry("the affine is no matrix", where=path, found=f"shape {header.shape}", due="(4, 4)")
            raw = stream.read(count * header.dtype.itemsize)
            own = np.frombuffer(raw, header.dtype) if len(raw) == count * header.dtype.itemsize else np.zeros(0)
            if own.size != count:
                raise BadGeometry("the affine is cut short", where=path, found=f"{own.size} numbers", due=count)
            own = own.reshape(header.shape, order="F" if header.fortran else "C").astype(np.float64)
    return (list(members).index(chosen), members[chosen].file_size), own


def _inflated(path: Path, *, member: int, end: int, stored: Stored) -> Block:
    dtype = np.dtype(stored.dtype)
    due = int(np.prod(stored.shape)) * dtype.itemsize
    out = np.empty(due, np.uint8)
    filled = 0
    with _opened(path, member) as stream:
        stream.read(end)
        while filled < due:
            part = stream.read(min(1 << 22, due - filled))
            if not part:
                raise EOFError(f"{filled} of {due} bytes")
            out[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)
        while stream.read(1 << 20):  # to the end, where the checksum is compared
            pass
    return stored.view(out.view(dtype))


@dataclass(frozen=True, eq=False)
class ContainerSource:
    """The array of a container: opened, checked and memory-mapped when first asked for.

    Args:
        path: the file.
        stamp: size and modification time when the header was read.
        shape: (C, *spatial).
        dtype: of the tensor.
    """

    path: Path
    stamp: Stamp
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def read(self, window: tuple[slice, ...]) -> Tensor:
        """(C, *window).

        Raises:
            BadFile: the file is damaged, or changed after its header was read.
        """
        return self._tensor[(slice(None), *window)]

    @cached_property
    def _tensor(self) -> Tensor:
        check_stamp(self.path, self.stamp)
        return read_container(self.path, _KIND).tensors["data"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tensor"}


def _container(path: Path, stamp: Stamp, kind: type[Image], affine: ArrayLike | None, classes: int | None) -> Image:
    if classes is not None:
        raise BadArgument("classes are checked for files that hold numbers of any kind", where=path, found=classes)
    with reading(path):
        opened = read_container(path, _KIND, verify=False)
    data, own = opened.tensors.get("data"), opened.json.get("affine")
    if data is None or not 2 <= data.ndim <= 4 or 0 in data.shape:
        raise BadFile(
            "the file holds no image",
            where=path,
            found=", ".join(opened.tensors) or "no arrays",
            due='an array "data" of shape (C, *spatial)',
            mend="Write it with medframe.io.write.",
        )
    source = ContainerSource(path, stamp, tuple(data.shape), data.dtype)
    dtype = str(data.dtype).removeprefix("torch.")
    try:
        return _image(source, kind, affine if affine is not None else own, path, dtype=dtype, name="safetensors")
    except MedframeError as error:
        raise type(error)(
            error.what,
            where=path,
            found=error.found or dtype,
            due=error.due or "a valid image",
            mend=error.mend or "Write it with medframe.io.write.",
        ) from None


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | str | None = None,
    on_loss: OnLoss = "raise",
) -> None:
    """Write an image as .npy, .npz or .safetensors; the file appears whole or not at all.

    .npz (arrays "image" and "affine") and .safetensors keep the affine exactly. A .npy file has no room for one, so
    only an image at its identity is written. Images of one channel and at least two axes lose their channel axis in
    NumPy's files, which `read` gives back; others keep it and need three spatial axes.

    Args:
        image: what to write.
        path: its end names the format.
        overwrite: replace a file that stands there.
        dtype: of the file: an integer type of 8 to 64 bits, float32 or float64.
        on_loss: "raise", "round" or "clip", where values do not fit `dtype`; see `fit`.

    Raises:
        BadArgument: the affine or the shape would be lost.
        BadVoxels: a value would be lost.
        WriteFailed: the disk is full, the name is taken, and the like.
    """
    check_on_loss(on_loss)
    name = path.name.lower()
    voxels = voxels_of(image)
    voxels = fit(voxels, target_dtype(image, voxels, dtype, _WRITTEN, "array"), on_loss, path)
    affine: NDArray[np.float64] = image.affine
    if name.endswith(".safetensors"):
        tensor = torch.from_numpy(np.ascontiguousarray(voxels))
        write_container(path, _KIND, {"data": tensor}, {"affine": affine.tolist()}, overwrite=overwrite)
        return
    if image.channels == 1 and image.ndim >= 2:
        voxels = voxels[0]
    elif image.ndim != 3:
        raise BadArgument(
            "NumPy's files hold channels of three axes", where=path, found=f"shape {image.shape}", due="(C, D, H, W)"
        )
    with atomic_write(path, overwrite=overwrite) as stream:
        if name.endswith(".npy"):
            if not np.array_equal(affine, np.eye(image.ndim + 1)):
                raise BadArgument(
                    "a .npy file cannot hold where the image lies",
                    where=path,
                    found=str(Space(image.space.shape, affine)),
                    due="an image of 1 mm voxels from 0",
                    mend="Write .npz or .safetensors, which keep the affine.",
                )
            np.lib.format.write_array(stream, np.ascontiguousarray(voxels))
            return
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, array in (("image", voxels), ("affine", affine)):
                info = zipfile.ZipInfo(f"{member}.npy", (1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as out:
                    np.lib.format.write_array(out, np.ascontiguousarray(array))
