"""What the readers of formats with a text header share: strict numbers, safe names of data files, voxels as text."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from medframe.base.errors import BadFile, BadGeometry, shown_path
from medframe.geometry import Space
from medframe.io.reading import reading, stamp_of
from medframe.io.stored import Block, Stored

HEADER_LIMIT = 1 << 20  # bytes of text; a segmentation with hundreds of segments stays below a tenth of it
_FARTHEST = 1e7  # mm: an origin 10 km away is a damaged header
DAMAGED = "The header is damaged or was written wrongly; write the file again."


def bad(where: Path, field: str, found: object, due: object, what: str = "the header is invalid") -> BadFile:
    """The error for one field of a header."""
    return BadFile(
        what,
        where=f"{shown_path(where)}, field {field}",
        found=str(found)[:120].strip() or "nothing",
        due=due,
        mend=DAMAGED,
    )


def whole(text: str, where: Path, field: str, least: int | None = None) -> int:
    """A whole number.

    Raises:
        BadFile: it is none, or below `least`.
    """
    due = "a whole number" + ("" if least is None else f" of at least {least}")
    if not text.strip().lstrip("+-").isascii() or not text.strip().lstrip("+-").isdigit() or len(text.strip()) > 18:
        raise bad(where, field, repr(text.strip()), due)
    number = int(text)
    if least is not None and number < least:
        raise bad(where, field, number, due)
    return number


def wholes(text: str, count: int | None, where: Path, field: str, least: int | None = None) -> tuple[int, ...]:
    """Whole numbers, `count` of them.

    Raises:
        BadFile: another number of them, or one is none.
    """
    parts = text.split()
    if count is not None and len(parts) != count:
        raise bad(where, field, f"{len(parts)} numbers", f"{count} numbers")
    return tuple(whole(part, where, field, least) for part in parts)


def real(text: str, where: Path, field: str) -> float:
    """A finite number.

    Raises:
        BadGeometry: NaN or infinite.
        BadFile: it is no number.
    """
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        raise bad(where, field, repr(text), "a number") from None
    if not math.isfinite(number):
        raise BadGeometry(
            "the header holds NaN or infinity",
            where=f"{shown_path(where)}, field {field}",
            found=text,
            due="finite numbers",
            mend=DAMAGED,
        )
    return number


def reals(text: str, count: int, where: Path, field: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Finite numbers, `count` of them.

    Raises:
        BadFile: another number of them, or one is none.
        BadGeometry: NaN or infinite.
    """
    parts = text.split()
    if len(parts) != count:
        raise bad(where, field, f"{len(parts)} numbers", f"{count} numbers")
    return np.array([real(part, where, field) for part in parts])


def head_of(path: Path, count: int = HEADER_LIMIT) -> bytes:
    """The first bytes of a file.

    Raises:
        BadFile: it cannot be read.
    """
    stamp_of(path)
    with reading(path), open(path, "rb") as stream:
        return stream.read(count)


@np.errstate(all="ignore")  # numbers of a damaged header may overflow on the way to the error
def lattice(shape: tuple[int, ...], affine: np.ndarray[Any, Any], where: Path) -> Space:
    """A lattice, or an error that names the file.

    Raises:
        BadGeometry: the affine is not finite or singular, or the origin lies impossibly far away.
    """
    try:
        space = Space(shape, affine)
    except BadGeometry as error:
        raise BadGeometry(
            error.what, where=where, found=error.found, due=error.due or "three independent axes", mend=DAMAGED
        ) from None
    if np.abs(space.origin).max() > _FARTHEST:
        raise BadGeometry(
            "the origin lies impossibly far away",
            where=where,
            found=f"{np.round(space.origin, 3).tolist()} mm",
            due=f"within {_FARTHEST:g} mm",
            mend=DAMAGED,
        )
    return space


def beside(header: Path, name: str, field: str, *, there: bool = True) -> Path:
    """The data file that a header names: it must lie in the header's folder or below it, links followed.

    Raises:
        BadFile: it leads out of that folder, is no file name, or is not there (which `there=False` lets pass).
    """
    if not name or "\0" in name or len(name) > 4096:
        raise bad(header, field, repr(name[:80]), "a file name")
    folder = header.parent
    try:
        real_folder, real_file = folder.resolve(), (folder / name).resolve()
    except (OSError, RuntimeError, ValueError):
        raise bad(header, field, ascii(name)[:80], "a file name that can be followed") from None
    if "\\" in name or os.path.isabs(name) or not real_file.is_relative_to(real_folder):
        raise BadFile(
            "the data file leads out of the header's folder",
            where=f"{shown_path(header)}, field {field}",
            found=name if not os.path.isabs(name) else f".../{Path(name).name}",
            due="a file in the folder of the header, or below it",
            mend="Put the data file beside its header, and name it without a folder.",
        )
    if there and not real_file.exists():
        raise bad(header, field, f"no file {name}", "the file beside its header", "the data file is not there")
    return folder / name


def refuse_many(header: Path, names: list[str], field: str) -> BadFile:
    """The error for a header that spreads its voxels over several files; names that lead out are refused as such.

    Raises:
        BadFile: a name leads out of the header's folder.
    """
    for name in names:
        beside(header, name, field, there=False)
    return BadFile(
        "the voxels lie in several files",
        where=f"{shown_path(header)}, field {field}",
        found=f"{len(names)} names" if len(names) > 1 else "a pattern of names",
        due="one data file",
        mend="Write the image as one file with the program that made it.",
    )


def skip_lines(stream: IO[bytes], count: int, path: Path) -> int:
    """Pass over lines; the place in the file behind them.

    Raises:
        BadFile: the file has fewer lines.
    """
    for _ in range(count):
        if not stream.readline(HEADER_LIMIT).endswith(b"\n"):
            raise bad(path, "line skip", count, "no more lines than the file has")
    return stream.tell()


def decode_text(path: Path, *, offset: int, stored: Stored, hexadecimal: bool) -> Block:
    """Voxels written as decimal numbers or as hexadecimal digits.

    Raises:
        BadFile: other characters, or another number of voxels than due.
    """
    dtype, count = np.dtype(stored.dtype), math.prod(stored.shape)
    with open(path, "rb") as stream:
        stream.seek(offset)
        text = stream.read()
    due = f"{count} voxels of {dtype.name} as text"
    try:
        if hexadecimal:
            raw = np.frombuffer(bytes.fromhex(text.decode("ascii")), dtype)
        elif dtype.kind == "f":
            raw = np.array(text.split(), dtype=dtype)
        else:
            ends, numbers = np.iinfo(dtype), [int(part) for part in text.replace(b",", b" ").split()]
            if numbers and not (ends.min <= min(numbers) and max(numbers) <= ends.max):
                raise bad(path, "voxels", f"a number outside {dtype.name}", due)
            raw = np.array(numbers, dtype=dtype)
    except ValueError:
        raise bad(path, "voxels", "characters that are no numbers", due, "the voxels cannot be read") from None
    if len(raw) != count:
        raise bad(path, "voxels", f"{len(raw)} numbers", due, "the voxels are not as many as the header says")
    return stored.view(raw)
