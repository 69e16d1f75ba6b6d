"""What lies in a folder tree of DICOM files: every series with its size and problems, from headers alone.

Nobody is named: patients and studies bear pseudonyms, hashes under a key that is not kept. Folders and files keep the
names that they have on disk.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from medframe.base.errors import BadArgument, BadFile, MedframeError
from medframe.base.extras import need
from medframe.base.files import write_json, write_text
from medframe.image import Image
from medframe.io.dicom.file import DicomFile, looks_like_dicom, open_dicom
from medframe.io.dicom.folder import check_other, walk
from medframe.io.dicom.frames import Frame, frames_of
from medframe.io.dicom.grouping import is_image, is_segmentation, short, volumes_of
from medframe.io.dicom.header import HEADER, code, pseudonym, tag_numbers, text, whole
from medframe.io.dicom.lattice import stack
from medframe.io.dicom.pixels import check_pixels
from medframe.io.dicom.series import Options, read_files

Kind = TypeVar("Kind", bound=Image)

COLUMNS = (
    "patient",
    "study",
    "series",
    "number",
    "modality",
    "files",
    "shape",
    "volumes",
    "spacing",
    "folder",
    "problems",
)
UNKNOWN = "unknown"
_FORMAT = "medframe dicom index 1"


@dataclass(frozen=True)
class Series:
    """One series.

    Args:
        patient: pseudonym; "unknown" where the files name nobody.
        study: pseudonym.
        series: the end of its UID, by which `read(folder, series=...)` finds it.
        number: SeriesNumber, where there is one.
        modality: such as "CT".
        files: how many.
        shape: (columns, rows, slices) of the volume that it reads as; () for objects without pixels and where there
            are problems.
        volumes: of a 4-D series.
        spacing: mm, as shape.
        folder: where its first file lies, from the folder that was indexed.
        problems: why it does not read.
        paths: its files.
    """

    patient: str
    study: str
    series: str
    number: int | None
    modality: str
    files: int
    shape: tuple[int, ...]
    volumes: int
    spacing: tuple[float, ...]
    folder: str
    problems: tuple[str, ...]
    paths: tuple[Path, ...] = field(repr=False)

    def read(self, kind: type[Kind] = Image, **options: Any) -> Kind:  # type: ignore[assignment]
        """The series as an image; options and errors are those of `medframe.io.dicom.read`, but `series`."""
        image = read_files(self.paths, kind, self.paths[0].parent, Options(**options))
        assert isinstance(image, kind)
        return image

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the files."""
        row = {name: getattr(self, name) for name in COLUMNS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}


@dataclass(frozen=True)
class Index:
    """All series below a folder.

    Args:
        series: sorted by patient, study and number.
        files: how many DICOM files were read.
        passed: how many other files were passed over.
        damaged: files that cannot be read, from the folder that was indexed, each with the reason.
    """

    series: tuple[Series, ...]
    files: int
    passed: int
    damaged: tuple[tuple[str, str], ...]

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)

    def __str__(self) -> str:
        rows = [COLUMNS, *(tuple(_cell(getattr(one, name)) for name in COLUMNS) for one in self.series)]
        widths = [max(len(row[c]) for row in rows) for c in range(len(COLUMNS))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        bad = f", {len(self.damaged)} damaged" if self.damaged else ""
        return "\n".join([*lines, f"{self.files} DICOM files{bad}, {self.passed} others passed over"])

    @property
    def patients(self) -> tuple[str, ...]:
        """Pseudonyms, sorted."""
        return tuple(sorted({one.patient for one in self.series}))

    @property
    def studies(self) -> tuple[str, ...]:
        """Pseudonyms, sorted."""
        return tuple(sorted({one.study for one in self.series}))

    @property
    def problems(self) -> tuple[Series, ...]:
        """Series that do not read."""
        return tuple(one for one in self.series if one.problems)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the table as .csv or .json; the file appears whole or not at all.

        Raises:
            BadArgument: another suffix.
            WriteFailed: the disk is full, the name is taken, and the like.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            damaged = [{"file": file, "reason": reason} for file, reason in self.damaged]
            rows = [one.to_json() for one in self.series]
            content = {
                "format": _FORMAT,
                "files": self.files,
                "passed": self.passed,
                "damaged": damaged,
                "series": rows,
            }
            write_json(path, content, overwrite=overwrite)
        elif suffix == ".csv":
            out = io.StringIO()
            table = csv.writer(out, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows([_cell(getattr(one, name)) for name in COLUMNS] for one in self.series)
            write_text(path, out.getvalue(), overwrite=overwrite)
        else:
            raise BadArgument(
                "unknown kind of table file", where=path, found=suffix or "no suffix", due=".csv or .json"
            )


def index(folder: str | os.PathLike[str], *, key: str | None = None, progress: bool = True) -> Index:
    """Index all DICOM files in a folder and below, by their headers.

    Files are read one after another up to their pixels, and only what the table needs is kept. A series is judged as
    `read` would judge it: its problems stand in the table and stop nothing.

    Args:
        folder: of any depth; links to folders are not followed.
        key: under which patients and studies get their pseudonyms: one key gives one pseudonym each time. Keep it
            secret: who has it can test whether a person is among them. None draws a key that is thrown away.
        progress: show a bar.

    Raises:
        BadFile: the folder is missing or cannot be listed.

    Example:
        >>> table = index("archive", progress=False)  # doctest: +SKIP
        >>> print(table)  # doctest: +SKIP
        >>> images = [one.read() for one in table if one.modality == "CT" and not one.problems]  # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadFile(
            "there is no such folder", where=folder, found="no folder", due="a folder", mend="Check the path."
        )
    secret = os.urandom(32) if key is None else key.encode()
    if key is not None and not secret:
        raise BadArgument("a key of no letters hides nobody", where="key", found="''", due="a secret text, or None")
    groups: dict[tuple[str, str, str], _Group] = {}
    damaged: list[tuple[str, str]] = []
    count = passed = 0
    tags = tag_numbers(HEADER)
    files = need("tqdm", "show progress").tqdm(walk(folder), desc="index", unit="file", disable=not progress)
    for path in files:
        try:
            if not path.is_file():
                passed += 1
            elif looks_like_dicom(path):
                count += 1
                opened = open_dicom(path, tags)
                groups.setdefault(_identity(opened), _Group()).add(opened)
            else:
                check_other(path)
                passed += 1
        except MedframeError as error:
            damaged.append((path.relative_to(folder).as_posix(), error.what))
    series = [group.finished(secret, identity, folder) for identity, group in groups.items()]
    series.sort(key=lambda one: (one.patient, one.study, one.number or 0, one.series))
    return Index(tuple(series), count, passed, tuple(damaged))


@dataclass
class _Group:
    # what is gathered of one series: facts of its first header, frames without pixels, reasons why files do not read
    number: int | None = None
    modality: str = ""
    paths: list[Path] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    problems: dict[str, int] = field(default_factory=dict)

    def add(self, opened: DicomFile) -> None:
        if not self.paths:
            self.modality = code(opened.dataset, "Modality")
            try:
                self.number = whole(opened.dataset, "SeriesNumber", opened.path)
            except BadFile:
                self.number = None
        self.paths.append(opened.path)
        if not is_image(opened) or is_segmentation(opened):
            return
        try:
            frames = frames_of(opened)
            check_pixels(frames[0].stored)
            self.frames += frames
        except MedframeError as error:
            self.problems[error.what] = self.problems.get(error.what, 0) + 1

    def finished(self, key: bytes, identity: tuple[str, str, str], folder: Path) -> Series:
        patient, study, series = identity
        shape: tuple[int, ...] = ()
        spacing: tuple[float, ...] = ()
        volumes = 0
        problems = [f"{what} ({n} file{'s' if n > 1 else ''})" for what, n in self.problems.items()]
        if self.frames and not problems:
            try:
                found = volumes_of(self.frames)
                planes = [frame.plane for frame in found.frames[0]]
                space, _ = stack(planes, thickness=found.frames[0][0].thickness)
                shape, volumes = space.shape, len(found.frames)
                spacing = tuple(round(float(s), 6) for s in space.spacing)
            except MedframeError as error:
                problems.append(error.what)
        return Series(
            pseudonym(key, "patient", patient) if patient else UNKNOWN,
            pseudonym(key, "study", study),
            short(series),
            self.number,
            self.modality,
            len(self.paths),
            shape,
            volumes,
            spacing,
            self.paths[0].parent.relative_to(folder).as_posix(),
            tuple(problems),
            tuple(self.paths),
        )


def _identity(opened: DicomFile) -> tuple[str, str, str]:
    dataset, path = opened.dataset, opened.path
    patient = text(dataset, "PatientID", path, "") or text(dataset, "PatientName", path, "")
    return patient, text(dataset, "StudyInstanceUID", path, ""), text(dataset, "SeriesInstanceUID", path, "")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        if any(isinstance(v, str) for v in value):
            return "; ".join(map(str, value))
        return " x ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return str(value)
