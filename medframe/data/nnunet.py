"""The raw layout of nnU-Net v2: imagesTr/CASE_0000.nii.gz ..., labelsTr/CASE.nii.gz and dataset.json (Isensee et al.,
"nnU-Net", Nature Methods 2021, doi:10.1038/s41592-020-01008-z)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medframe.base.errors import BadDataset
from medframe.data.datalist import channels_of, classes_of
from medframe.data.listing import by_channel, inside, listed
from medframe.data.records import Cohort, Record, shortlist


def read_nnunet(file: Path, content: Mapping[str, Any], roots: Sequence[Path]) -> Cohort:
    """The cohort that an nnU-Net v2 dataset.json describes; where it lists its files ("dataset"), that list counts.

    Args:
        file: the JSON file.
        content: what it holds.
        roots: further folders that listed files may lie in.

    Raises:
        BadDataset: regions or an ignore label, which are not supported; channels that are not complete; labels without
            an image.
    """
    channels = channels_of(content["channel_names"], "channel_names", file)
    classes = _classes(content.get("labels"), file)
    ending = content.get("file_ending")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise BadDataset("'file_ending' is missing", where=file, found=repr(ending), due='such as ".nii.gz"')
    if "dataset" in content:
        pairs = _listed(file, content["dataset"], roots)
    else:
        pairs = _found(file.parent, ending)
    wrong = [case for case, (images, _) in pairs.items() if len(images) != len(channels)]
    if wrong:
        raise BadDataset(
            "cases have another number of channels than dataset.json names",
            where=file,
            found=f"{len(pairs[wrong[0]][0])} in {shortlist(wrong)}",
            due=f"{len(channels)}: {', '.join(channels)}",
        )
    records = tuple(Record(case, images, label) for case, (images, label) in sorted(pairs.items()))
    name = content.get("name")
    return Cohort(name if isinstance(name, str) and name else file.parent.name, file.parent, records, classes, channels)


def _classes(labels: object, file: Path) -> dict[int, str]:
    if isinstance(labels, Mapping):
        regions = [name for name, value in labels.items() if isinstance(value, list)]
        if regions:
            raise BadDataset(
                "classes that overlap (regions) are not supported",
                where=file,
                found=shortlist(regions),
                due="one number a class",
                mend="Give every class a number of its own, and join regions after prediction.",
            )
        if "ignore" in labels:
            raise BadDataset(
                "an ignore label is not supported: it would be trained as a class",
                where=file,
                found=f'"ignore": {labels["ignore"]}',
                due="classes alone",
                mend="Relabel or leave out the cases that hold it, and remove it from 'labels'.",
            )
    return classes_of(labels, file)


Pairs = dict[str, tuple[tuple[Path, ...], Path | None]]


def _found(root: Path, ending: str) -> Pairs:
    images = [p for p in listed(root / "imagesTr") if p.name.endswith(ending)]
    if not images:
        raise BadDataset("there are no training images", where=root / "imagesTr", found=f"no file *{ending}")
    cases = by_channel(images)
    labels = {}
    if (root / "labelsTr").is_dir():
        labels = {p.name[: -len(ending)]: p for p in listed(root / "labelsTr") if p.name.endswith(ending)}
    alone = sorted(set(labels) - set(cases))
    if alone:
        raise BadDataset(
            "labels have no image", where=root / "labelsTr", found=shortlist(alone), due="imagesTr/CASE_0000"
        )
    return {case: (paths, labels.get(case)) for case, paths in cases.items()}


def _listed(file: Path, entries: object, roots: Sequence[Path]) -> Pairs:
    if not isinstance(entries, Mapping) or not entries:
        raise BadDataset("'dataset' lists no cases", where=file, found=repr(entries)[:80], due='{"CASE": {...}}')
    pairs: Pairs = {}
    for case, entry in entries.items():
        where = f"{file.name}, dataset[{case}]"
        images = entry.get("images") if isinstance(entry, Mapping) else None
        if not isinstance(images, list) or not images:
            raise BadDataset("an entry has no images", where=where, found=repr(entry)[:80], due='{"images": [...]}')
        label = entry.get("label")
        pairs[case] = (
            tuple(inside(name, file.parent, roots, where) for name in images),
            None if label is None else inside(label, file.parent, roots, where),
        )
    return pairs
