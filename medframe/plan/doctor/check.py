"""The check-up of a dataset: every case is looked at, then all are compared."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medframe import __version__
from medframe.base.errors import BadArgument, BadDataset, BadFile
from medframe.base.extras import need
from medframe.data import Cohort, Record, read_cohort
from medframe.data.find import images_below
from medframe.data.listing import case_ids
from medframe.plan.doctor.compare import compare
from medframe.plan.doctor.findings import SEVERITIES, Finding, worst_first
from medframe.plan.doctor.look import Heard, Look, look_at

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Checkup:
    """What a check-up found.

    Args:
        name: of the dataset.
        looks: what every case is like, by case.
        findings: what is wrong, worst first.
        voxels: whether voxels were read, or headers alone.
        classes: the declared classes.
    """

    name: str
    looks: tuple[Look, ...]
    findings: tuple[Finding, ...]
    voxels: bool
    classes: Mapping[int, str] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid training."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each severity."""
        found = Counter(f.severity for f in self.findings)
        return {severity: found[severity] for severity in SEVERITIES}

    @property
    def clean(self) -> bool:
        """No error; warnings and notes may be there."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `schema` rises when their meaning changes."""
        return {
            "schema": SCHEMA,
            "medframe": __version__,
            "dataset": self.name,
            "form": "voxels" if self.voxels else "headers",
            "cases": len(self.looks),
            "counts": self.counts,
            "findings": [f.to_json() for f in self.findings],
            "looks": [one.to_json() for one in self.looks],
        }

    def require(self) -> None:
        """Raise where something forbids training.

        Raises:
            BadDataset: several errors; all are named. A single one is raised as its own class.
        """
        if len(self.errors) == 1:
            raise self.errors[0].to_error()
        if self.errors:
            shown = "".join(f"\n  {f.to_error()}" for f in self.errors[:8])
            cases = len({f.case for f in self.errors})
            raise BadDataset(
                f"{cases} of {len(self.looks)} cases cannot be used:{shown}"
                + ("\n  ..." if len(self.errors) > 8 else "")
                + "\n",
                found=f"{len(self.errors)} errors",
                due="cases that can be read, with labels on the lattice of their image",
                mend="Mend or remove these cases and run the same command again; "
                "`medframe check DATASET --html page.html` shows them.",
            )


def check(
    dataset: str | os.PathLike[str], *, voxels: bool = False, jobs: int | None = None, progress: bool = False
) -> Checkup:
    """Check a dataset, or any images, and say what is wrong.

    Args:
        dataset: what `read_cohort` reads (Decathlon, nnU-Net v2, images/ and labels/, CSV), or a file or folder of
            images.
        voxels: read every voxel; else headers alone, which takes milliseconds a case.
        jobs: cases looked at at the same time; default one a processor core. The result does not depend on it.
        progress: show a bar.

    Raises:
        BadFile: there is no such file or folder.
        BadDataset: it holds neither a known dataset nor images.

    Example:
        >>> found = medframe.check("Task04_Hippocampus", voxels=True)  # doctest: +SKIP
        >>> [f.what for f in found.errors]  # doctest: +SKIP
    """
    path = Path(dataset)
    if not path.exists():
        raise BadFile("no such file or folder", where=path, found="nothing", due="a dataset, or images")
    try:
        cohort = _cohort(path)
    except BadDataset as error:
        if path.is_dir() and not _described(path):
            raise
        return Checkup(path.resolve().name, (), (Finding.of_error(error, field="dataset"),), voxels)
    return check_cohort(cohort, voxels=voxels, jobs=jobs, progress=progress)


def check_cohort(cohort: Cohort, *, voxels: bool = False, jobs: int | None = None, progress: bool = False) -> Checkup:
    """Check a dataset that is already read; see `check`."""
    if jobs is not None and jobs < 1:
        raise BadArgument("jobs is a positive number", found=jobs, due="1 or more")
    records = sorted(cohort.records, key=lambda r: r.case)

    def one(record: Record) -> Look:
        return look_at(record, cohort.root, cohort.classes, heard, voxels=voxels)

    with Heard() as heard, ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        found: Any = pool.map(one, records)
        if progress:
            found = need("tqdm", "show progress").tqdm(
                found, total=len(records), desc="check", unit="case", leave=False
            )
        looks = tuple(found)
    findings = [f for look in looks for f in look.findings]
    findings += compare(looks, cohort.classes, cohort.channels)
    return Checkup(cohort.name, looks, worst_first(findings), voxels, cohort.classes)


def _described(path: Path) -> bool:
    return path.is_file() or (path / "dataset.json").is_file() or (path / "images").is_dir()


def _cohort(path: Path) -> Cohort:
    listing = path.is_file() and path.suffix.lower() in (".json", ".csv", ".tsv")
    if listing or (path.is_dir() and _described(path)):
        return read_cohort(path, labels_required=False, files_required=False)
    images = images_below(path)
    root = path if path.is_dir() else path.parent
    ids = case_ids(images, root)
    records = tuple(Record(case, (image,)) for case, image in zip(ids, images, strict=True))
    return Cohort(path.resolve().name, root, records)
