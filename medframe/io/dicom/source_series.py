"""The series that an object is drawn on: its headers whole, its planes in order, and their lattice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadFile, BadGeometry
from medframe.geometry import Space
from medframe.image import Image
from medframe.io.dicom.file import open_dicom
from medframe.io.dicom.folder import files_in
from medframe.io.dicom.frame_planes import planes_of, thickness_of
from medframe.io.dicom.grouping import is_image, series_of
from medframe.io.dicom.header import HEADER, has, read_header, tag_numbers, uid
from medframe.io.dicom.lattice import Plane, stack

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_ALIGNED = 0.01  # of the spacing: how far a label map's voxels may lie from those of the series


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


def source_series(source: Source, where: Path, series: str | int | None = None) -> SourceSeries:
    """The series of a folder, a list of files, or one file.

    Other objects of the folder (segmentations, structure sets, reports) are passed over, and so are its sub-folders.

    Args:
        source: a folder, files, or a file with several frames.
        where: the file to be written or read for it, for messages.
        series: of a folder that holds several: UID, the end of a UID as messages show it, or SeriesNumber.

    Raises:
        BadFile: there is no image, there are several series, or a file is damaged.
        BadGeometry: the slices are no even stack.
    """
    files, path = _files(source, where)
    opened = [open_dicom(file, tag_numbers(HEADER)) for file in files]
    images = [one for one in opened if is_image(one)]
    if not images:
        raise BadFile(
            "the source holds no image",
            where=path,
            found=f"{len(files)} DICOM files",
            due="the images of one series",
            mend="Give the folder that holds the files of the series themselves.",
        )
    members = [one.path for one in series_of(images, series, path)]
    datasets = [read_header(file, tags=None) for file in members]
    if len(datasets) == 1 and has(datasets[0], "PerFrameFunctionalGroupsSequence"):
        planes = planes_of(datasets[0], members[0])
        space, order = stack(planes, thickness=thickness_of(datasets[0], members[0]))
        frames = tuple(k + 1 for k in order)
        return SourceSeries(path, (datasets[0],), tuple(planes[k] for k in order), frames, space)
    planes = [planes_of(dataset, file)[0] for dataset, file in zip(datasets, members, strict=True)]
    space, order = stack(planes, thickness=thickness_of(datasets[0], members[0]))
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


def refused(source: SourceSeries, found: str) -> BadFile:
    """The error for a series whose header no object can be made from."""
    return BadFile(
        "no object can be made from the header of the source series",
        where=source.path,
        found=found,  # the class of an error, never its text, which may quote the header
        due="a header whose patient and study can be taken over",
        mend="Export the series again from its source, or write the label map in another format.",
    )


def _files(source: Source, where: Path) -> tuple[list[Path], Path]:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return (list(files_in(path).files) if path.is_dir() else [path]), path
    files = [Path(file) for file in source]
    if not files:
        raise BadArgument("the source names no file", where=where, found="an empty list", due="files")
    return files, files[0].parent
