"""Reading the text a dataset is described by: strict JSON, within limits, with errors that name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medframe.base.errors import BadDataset

LIMIT = 64 << 20  # bytes of a description; a list of 100,000 cases has about 20 MB
_SHOWN = 80


def read_text(path: Path) -> str:
    """The UTF-8 text of a small file.

    Raises:
        BadDataset: it cannot be read, is larger than the limit, or is not text.
    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(LIMIT + 1)
    except OSError as error:
        raise BadDataset("the file cannot be read", where=path, found=error.strerror, due="a readable file") from None
    if len(raw) > LIMIT:
        raise BadDataset("the file is too large for a list of cases", where=path, due=f"at most {LIMIT >> 20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDataset("the file is not text", where=path, found=f"byte {error.start}", due="UTF-8 text") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; a key that occurs twice is refused, since one of its values would be lost.

    Raises:
        BadDataset: broken JSON, another kind of value, or a doubled key.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise BadDataset("a key occurs twice in one JSON object", where=path, found=twice, due="each key once")
        return out

    try:
        value = json.loads(read_text(path), object_pairs_hook=unique)
    except RecursionError:
        raise BadDataset("the JSON is nested too deeply", where=path, due="a list of cases") from None
    except ValueError as error:  # JSONDecodeError, and integers of thousands of digits
        raise BadDataset("the file is not valid JSON", where=path, found=str(error)[:_SHOWN], due="JSON") from None
    if not isinstance(value, dict):
        raise BadDataset("the JSON is not an object", where=path, found=type(value).__name__, due="{...}")
    return value


def names_by_number(value: object, field: str, where: Path) -> dict[int, str]:
    """Numbered names, written {"0": "name"} or {"name": 0}, as number -> name in rising order.

    Raises:
        BadDataset: anything else, a negative number, or a number that occurs twice.
    """
    due = '{"0": "name", ...} or {"name": 0, ...}'
    if not isinstance(value, Mapping) or not value:
        raise BadDataset(f"{field!r} is not a table of names", where=where, found=repr(value)[:_SHOWN], due=due)
    pairs: list[tuple[int, str]] = []
    for key, entry in value.items():
        number, name = (entry, key) if _number(entry) is not None else (key, entry)
        index = _number(number)
        if index is None or not isinstance(name, str):
            raise BadDataset(f"{field!r} has a bad entry", where=where, found=f"{key!r}: {entry!r}"[:_SHOWN], due=due)
        pairs.append((index, name))
    out = dict(sorted(pairs))
    if len(out) < len(pairs):
        raise BadDataset(f"{field!r} uses a number twice", where=where, found=repr(value)[:_SHOWN], due=due)
    return out


def classes_of(value: object, where: Path) -> dict[int, str]:
    """Label value -> class name; background (0) is added where it is left out."""
    return {0: "background", **names_by_number(value, "labels", where)}


def channels_of(value: object, field: str, where: Path) -> tuple[str, ...]:
    """Channel names in order.

    Raises:
        BadDataset: the numbers do not run 0, 1, 2, ...
    """
    names = names_by_number(value, field, where)
    if list(names) != list(range(len(names))):
        raise BadDataset(f"{field!r} has gaps", where=where, found=sorted(names), due="numbers 0, 1, 2, ...")
    return tuple(names.values())


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
