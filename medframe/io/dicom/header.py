"""Elements of a DICOM header, decoded from their bytes by getters that say what is wrong with them and where.

Only numbers, codes and UIDs are ever quoted in a message, since whatever else a header holds may be a name.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import struct
from collections.abc import Iterable
from typing import Any, cast

from medframe.base.errors import BadArgument, BadFile, shown_path
from medframe.base.extras import need
from medframe.io.dicom.file import NATIVE, DicomFile, open_dicom, pixel_bytes, with_meta
from medframe.io.dicom.tags import ACQUISITION, IDENTITY, IMAGE, MULTIFRAME

HEADER = (*IMAGE, *MULTIFRAME, *IDENTITY, *ACQUISITION)
Where = str | os.PathLike[str]

_NUMBER = re.compile(r"[0-9eE+\-. \\]{1,80}")
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"[0-9.]{1,64}")
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_MEND = "The header is damaged or was written wrongly; export the file again from its source."


def read_header(path: Where, *, pixels: bool = False, tags: Iterable[str] | None = HEADER) -> Any:
    """The elements of a DICOM file, as a pydicom Dataset whose file meta names the transfer syntax.

    Files need no preamble. No element is read beyond the end of the file, what a deflated file inflates to is limited,
    and neither pydicom's warnings nor its errors come through, since both quote values.

    Args:
        path: a regular file.
        pixels: read the pixel element too, as it is stored, for pydicom to decode. What it decodes to is for the
            caller to check; `medframe.io.dicom.pixels` does.
        tags: keywords of the top-level elements to read, sequences with all they hold; None reads all.

    Returns:
        A `pydicom.Dataset`. Take its values with the getters of this module: attribute access may warn, and its
        errors quote values.

    Raises:
        BadFile: missing, empty, not DICOM, damaged, of an unknown transfer syntax, or without the pixels asked for.
        TooLarge: a deflated header or deflated pixels pass their limit.

    Example:
        >>> header = read_header("slice.dcm")  # doctest: +SKIP
        >>> vector(header, "PixelSpacing", "slice.dcm", 2)  # doctest: +SKIP
        (0.7, 0.7)
    """
    opened = open_dicom(path, tag_numbers(tags))
    return with_pixels(opened) if pixels else with_meta(opened)


def with_pixels(opened: DicomFile) -> Any:
    """The dataset of an opened file with its pixel element as it is stored.

    Raises:
        BadFile: there are no pixels, or the file ends before they do.
        TooLarge: deflated pixels pass the image limit.
    """
    raw = pixel_bytes(opened)
    assert opened.pixels is not None
    keyword = opened.pixels.keyword
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(keyword, "OW" if opened.syntax in NATIVE else "OB")
    opened.dataset.add_new(keyword, vr, raw)
    opened.dataset[keyword].is_undefined_length = opened.pixels.length is None
    return with_meta(opened)


def tag_numbers(keywords: Iterable[str] | None) -> tuple[int, ...] | None:
    """Tags of keywords; None stays None.

    Raises:
        BadArgument: the dictionary has no such keyword.
    """
    return None if keywords is None else tuple(sorted({tag_of(keyword) for keyword in keywords}))


@functools.cache
def tag_of(keyword: str) -> int:
    """The number of a tag.

    Raises:
        BadArgument: the dictionary has no such keyword.
    """
    found = _dictionary().tag_for_keyword(keyword)
    if found is None:
        raise BadArgument("DICOM has no such element", found=keyword, due="a keyword such as PixelSpacing")
    return cast(int, need("pydicom.tag", "read DICOM files").BaseTag(found))  # what a dataset looks up fastest


def has(dataset: Any, keyword: str) -> bool:
    """Whether an element is there and not empty."""
    # an element of an unknown kind has no value yet, and pydicom would trip over it if it looked closer
    item = dataset.get_item(tag_of(keyword), keep_deferred=True)
    value = None if item is None else item.value
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def vector(
    dataset: Any,
    keyword: str,
    where: Where,
    count: int | None = None,
    default: tuple[float, ...] | None = None,
) -> tuple[float, ...]:
    """The numbers of an element.

    Args:
        dataset: from `read_header`, or an item of a sequence.
        keyword: such as ImagePositionPatient.
        where: the file, for messages; a text may name a frame, too.
        count: how many are due.
        default: taken where the element is absent or empty.

    Raises:
        BadFile: absent without a default, another number of values, or a value that is no finite number.
    """
    if not has(dataset, keyword):
        if default is not None:
            return default
        raise bad_tag(where, keyword, "nothing", _due(count), "an element is missing")
    tag = tag_of(keyword)
    item = dataset.get_item(tag)
    value = item.value
    vr = _vr_of(item, tag, dataset)
    if isinstance(value, bytes) and vr in _BINARY:
        code = _BINARY[vr]
        size = struct.calcsize(code)
        many = len(value) // size
        order = "<" if getattr(item, "is_little_endian", True) else ">"
        numbers = [float(v) for v in struct.unpack_from(f"{order}{many}{code}", value)]
    else:
        numbers = [_real(part, where, keyword) for part in _parts(value)]
    if count is not None and len(numbers) != count:
        raise bad_tag(where, keyword, f"{len(numbers)} values", _due(count))
    if not numbers or not all(map(math.isfinite, numbers)):
        raise bad_tag(where, keyword, "NaN or infinity" if numbers else "no value", _due(count))
    return tuple(numbers)


def number(dataset: Any, keyword: str, where: Where, default: float | None = None) -> float:
    """The one number of an element; see `vector`.

    Raises:
        BadFile: absent without a default, several values, or no finite number.
    """
    return vector(dataset, keyword, where, 1, None if default is None else (default,))[0]


def whole(dataset: Any, keyword: str, where: Where, default: int | None = None, least: int | None = None) -> int:
    """The one whole number of an element; see `vector`.

    Raises:
        BadFile: absent without a default, several values, no whole number, or below `least`.
    """
    found = number(dataset, keyword, where, None if default is None else float(default))
    if found != int(found) or (least is not None and found < least):
        raise bad_tag(where, keyword, f"{found:g}", "a whole number" + ("" if least is None else f" from {least}"))
    return int(found)


def text(dataset: Any, keyword: str, where: Where, default: str | None = None) -> str:
    """The text of an element, values apart by a backslash, without padding. It may be a name: do not show it.

    Raises:
        BadFile: absent without a default.
    """
    if not has(dataset, keyword):
        if default is not None:
            return default
        raise bad_tag(where, keyword, "nothing", "text", "an element is missing")
    return "\\".join(_parts(dataset.get_item(tag_of(keyword)).value))


def code(dataset: Any, keyword: str) -> str:
    """A code of the standard, such as a modality; empty where it is absent or no code, so it may be shown."""
    found = text(dataset, keyword, "", "")
    return found if _CODE.fullmatch(found) else ""


def uid(dataset: Any, keyword: str, where: Where, default: str | None = None) -> str:
    """A UID.

    Raises:
        BadFile: absent without a default, or no UID.
    """
    found = text(dataset, keyword, where, default)
    if found != default and not _UID.fullmatch(found):
        raise bad_tag(where, keyword, "text that is no UID", "digits and dots")
    return found


def sequence(dataset: Any, keyword: str, where: Where) -> list[Any]:
    """The items of a sequence, datasets all; none where it is absent.

    Raises:
        BadFile: it cannot be parsed.
    """
    if not has(dataset, keyword):
        return []
    try:
        return list(dataset[tag_of(keyword)].value)
    except Exception as error:  # pydicom's text quotes values, so it stays here
        raise bad_tag(where, keyword, type(error).__name__, "items", "a sequence cannot be parsed") from None


def frame_count(dataset: Any, where: Where) -> int:
    """How many frames a file holds; 1 where it does not say.

    Raises:
        BadFile: no whole number above 0.
    """
    return whole(dataset, "NumberOfFrames", where, 1, least=1)


def acquisition(dataset: Any) -> dict[str, float]:
    """What of a header may be shown: numbers of the allow-list `ACQUISITION`, by keyword; see there for units."""
    kept = {}
    for keyword in ACQUISITION:
        try:
            kept[keyword] = number(dataset, keyword, "")
        except BadFile:
            continue
    return kept


def pseudonym(key: bytes, *parts: str) -> str:
    """A short name for an identity: equal for equal parts under one key, and no way back without the key."""
    digest = hashlib.blake2b(key=key[:64], digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()


def bad_tag(where: Where, keyword: str, found: object, due: object, what: str = "the header is invalid") -> BadFile:
    """The error for one element, which names file and tag."""
    return BadFile(what, where=tag_place(where, keyword), found=found, due=due, mend=_MEND)


def tag_place(where: Where, keyword: str) -> str:
    """How a file and tag are named in messages: "folder/IMG3.dcm, tag PixelSpacing (0028,0030)"."""
    tag = tag_of(keyword)
    return f"{shown_path(where)}, tag {keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _due(count: int | None) -> str:
    return "numbers" if count is None else "a number" if count == 1 else f"{count} numbers"


def _real(part: str, where: Where, keyword: str) -> float:
    try:
        return float(part)
    except ValueError:
        found = repr(part) if _NUMBER.fullmatch(part) else "text that is no number"
        raise bad_tag(where, keyword, found, "numbers") from None


def _parts(value: Any) -> list[str]:
    # of raw bytes, or of what pydicom has converted already
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return [part.strip(" \0") for part in value.rstrip(" \0").split("\\")]
    if hasattr(value, "__iter__"):
        return [str(part).strip(" \0") for part in value]
    return [str(value).strip(" \0")]


def _vr_of(item: Any, tag: int, dataset: Any) -> str:
    vr = str(item.VR) if item.VR else "UN"
    if vr == "UN":
        vr = _vr(tag)
    if vr in ("OW", "US or OW"):  # of entries of tables
        return "US"
    if vr == "US or SS":
        return "SS" if number(dataset, "PixelRepresentation", "", 0) == 1 else "US"
    return vr


@functools.cache
def _vr(tag: int) -> str:
    try:
        return str(_dictionary().dictionary_VR(tag))
    except KeyError:
        return "UN"


def _dictionary() -> Any:
    return need("pydicom.datadict", "read DICOM files")
