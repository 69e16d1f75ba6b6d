"""The series that an object is drawn on: its headers whole, its planes in order, and their lattice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadFile, BadGeometry, shown_path
from medframe.geometry import Space
from medframe.image import Image
from medframe.io.dicom.file import looks_like_dicom
from medframe.io.dicom.frame_planes import planes_of, thickness_of
from medframe.io.dicom.header import has, read_header, uid
from medframe.io.dicom.lattice import Plane, stack
from medframe.io.reading import reading

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_ALIGNED = 0.01  # of the spacing: how far a label map's voxels may lie from those of the series
_PLACED = ("SOPClassUID", "SeriesInstanceUID", "ImagePositionPatient", "PerFrameFunctionalGroupsSequence", "Modality")
_OBJECTS = (
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.481.3",  # RT Structure Set
)


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """A series as writers need it.

    Args:
        path: how messages name it.
        datasets: pydicom datasets with all of the header and no pixels, by slice; one alone if it holds all frames.
        planes: where each slice lies.
        frames: for each slice the number of its frame, from 1, in an object with several frames; else None.
        space: the lattice of shape (columns, rows, slices).
    """

    path: Path
    datasets: tuple[Any, ...]
    planes: tuple[Plane, ...]
    frames: tuple[int, ...] | None
    space: Space

    def dataset(self, slice_: int) -> Any:
        """The header of the file that holds a slice."""
        return self.datasets[0 if self.frames is not None else slice_]

    @property
    def frame_of_reference(self) -> str:
        """UID of the coordinate system.

        Raises:
            BadFile: the series has none, so no object can refer to it.
        """
        return uid(self.datasets[0], "FrameOfReferenceUID", self.path)


def source_series(source: Source, where: Path) -> SourceSeries:
    """The series of a folder, a list of files, or one file.

    Other objects of the folder (segmentations, structure sets, reports) are passed over, and so are its sub-folders.

    Args:
        source: a folder, files, or a file with several frames.
        where: the file to be written or read for it, for messages.

    Raises:
        BadFile: there is no image, there are several series, or a file is damaged.
        BadGeometry: the slices are no even stack.
    """
    files, path = _files(source, where)
    kept: list[Path] = []
    series: dict[str, int] = {}
    for file in files:
        if len(files) > 1 and not looks_like_dicom(file):
            continue  # folders hold other things as well
        header = read_header(file, tags=_PLACED)
        if uid(header, "SOPClassUID", file, "") in _OBJECTS:
            continue
        if not has(header, "ImagePositionPatient") and not has(header, "PerFrameFunctionalGroupsSequence"):
            continue
        key = uid(header, "SeriesInstanceUID", file)
        series[key] = series.get(key, 0) + 1
        kept.append(file)
    if len(series) != 1:
        raise BadFile(
            "the source holds several series" if series else "the source holds no image of a series",
            where=path,
            found=", ".join(f"{n} images" for n in series.values()) or f"{len(files)} files",
            due="the images of one series",
            mend="Give a folder with that series alone, or the list of its files.",
        )
    datasets = [read_header(file, tags=None) for file in kept]
    if len(datasets) == 1:
        planes = planes_of(datasets[0], kept[0])
        if has(datasets[0], "PerFrameFunctionalGroupsSequence"):
            space, order = stack(planes, thickness=thickness_of(datasets[0], kept[0]))
            frames = tuple(k + 1 for k in order)
            return SourceSeries(path, (datasets[0],), tuple(planes[k] for k in order), frames, space)
    planes = [planes_of(dataset, file)[0] for dataset, file in zip(datasets, kept, strict=True)]
    space, order = stack(planes, thickness=thickness_of(datasets[0], kept[0]))
    return SourceSeries(path, tuple(datasets[k] for k in order), tuple(planes[k] for k in order), None, space)


def on_source(image: Image, source: SourceSeries, where: Path) -> NDArray[Any]:
    """The voxels of an image as an array (C, columns, rows, slices) on the lattice of the series.

    Axes may be permuted and mirrored, since that moves no voxel.

    Raises:
        BadGeometry: the image lies on another lattice.
    """
    if image.ndim == 3:
        turned = image.space.reoriented(source.space.axcodes)
        if turned.matches(source.space, _ALIGNED):
            # exactly the lattice of the series, so that the voxels are copied
            matrix = np.linalg.inv(image.space.affine) @ turned.affine
            exact = Space(image.space.shape, source.space.affine @ np.linalg.inv(np.rint(matrix)))
            data = image.data.detach().cpu()
            own = type(image)(data, space=exact)
            return np.asarray(own.to_space(source.space).data.numpy())
    raise BadGeometry(
        "the image does not lie on the slices of the source",
        where=where,
        found=image.space,
        due=source.space,
        mend="Bring it there first: image.to_space(medframe.read(source).space).",
    )


def _files(source: Source, where: Path) -> tuple[list[Path], Path]:
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with reading(path):
            if path.is_dir():
                return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")), path
        return [path], path
    files = [Path(file) for file in source]
    if not files:
        raise BadArgument("the source names no file", where=shown_path(where), found="an empty list", due="files")
    return files, files[0].parent
