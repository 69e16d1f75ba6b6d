"""The Decathlon layout: dataset.json lists pairs of image and label (Antonelli et al., "The Medical Segmentation
Decathlon", Nature Communications 2022, doi:10.1038/s41467-022-30695-9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medframe.base.errors import BadDataset
from medframe.data.datalist import channels_of, classes_of
from medframe.data.listing import case_ids, inside
from medframe.data.records import Cohort, Record

_LISTS = {"training": "train", "validation": "val"}


def read_decathlon(file: Path, content: Mapping[str, Any], roots: Sequence[Path]) -> Cohort:
    """The cohort that a Decathlon dataset.json describes.

    An entry is {"image": name, "label": name}; "image" may be a list of channel files, and "case", "group" and "split"
    may be given. Entries under "validation" are held out from those under "training". "test" is passed over.

    Args:
        file: the JSON file.
        content: what it holds.
        roots: further folders that files may lie in.

    Raises:
        BadDataset: an entry is not of this form, or names a path outside.
    """
    rows = [(key, k, entry) for key in _LISTS for k, entry in enumerate(_list(content, key, file))]
    held_out = any(key == "validation" for key, _, _ in rows)
    found: list[tuple[tuple[Path, ...], Path | None, Mapping[str, Any], str | None]] = []
    for key, k, entry in rows:
        where = f"{file.name}, {key}[{k}]"
        if not isinstance(entry, Mapping) or "image" not in entry:
            raise BadDataset("an entry has no image", where=where, found=repr(entry)[:80], due='{"image": ...}')
        names = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        if not names:
            raise BadDataset("an entry has no image", where=where, found="an empty list", due="at least one file")
        images = tuple(inside(name, file.parent, roots, where) for name in names)
        label = inside(entry["label"], file.parent, roots, where) if entry.get("label") is not None else None
        found.append((images, label, entry, _LISTS[key] if held_out else None))
    ids = case_ids([images[0] for images, _, _, _ in found], file.parent)
    records = []
    for (images, label, entry, split), case in zip(found, ids, strict=True):
        own = {key: _text(entry, key, file) for key in ("case", "group", "split")}
        records.append(Record(own["case"] or case, images, label, own["group"] or "", own["split"] or split))
    name = content.get("name")
    return Cohort(
        name if isinstance(name, str) and name else file.parent.name,
        file.parent,
        tuple(records),
        classes_of(content["labels"], file) if "labels" in content else {},
        channels_of(content["modality"], "modality", file) if "modality" in content else (),
    )


def _list(content: Mapping[str, Any], key: str, file: Path) -> list[Any]:
    value = content.get(key, [])
    if not isinstance(value, list):
        raise BadDataset(f"{key!r} is not a list", where=file, found=type(value).__name__, due='[{"image": ...}, ...]')
    return value


def _text(entry: Mapping[str, Any], key: str, file: Path) -> str | None:
    value = entry.get(key)
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return None if value is None else str(value)
    raise BadDataset(f"{key!r} of an entry is not text", where=file, found=repr(value)[:80], due="text")
