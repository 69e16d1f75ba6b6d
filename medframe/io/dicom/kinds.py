"""The door to DICOM files: what an object is says which module reads it, what is asked for which one writes it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medframe import __version__
from medframe.base.errors import BadArgument, BadLabel
from medframe.base.files import atomic_write
from medframe.image import Image, LabelMap
from medframe.io.dicom import segmentation, structures
from medframe.io.dicom.folder import files_in
from medframe.io.dicom.header import read_header, uid
from medframe.io.dicom.quiet import quiet
from medframe.io.dicom.regions import Region, regions_of
from medframe.io.dicom.segmentation_write import segmentation as make_segmentation
from medframe.io.dicom.series import read as read_series
from medframe.io.dicom.source_series import Source, on_source, refused, source_series
from medframe.io.dicom.structures_write import structures as make_structures

__all__ = ["read", "write"]

Content = Literal["segmentation", "structures"]
_READERS: dict[str, tuple[str, Any]] = {
    "1.2.840.10008.5.1.4.1.1.66.4": ("segmentations", segmentation.read),
    "1.2.840.10008.5.1.4.1.1.66.7": ("label map segmentations", segmentation.read),
    "1.2.840.10008.5.1.4.1.1.481.3": ("structure sets", structures.read),
}
_HOW = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")
_LONG = 64  # characters of the value representation LO


def read(path: Path, kind: type[Image], **options: Any) -> Image:
    """Read a folder with a series, or a file with an image, a segmentation or a structure set.

    What a file is follows from its SOP class. A folder with but one DICOM file is that file. See
    `medframe.io.dicom.series`, `segmentation` and `structures` for the options of each.

    Raises:
        BadArgument: an option that this kind of object is not read with.
        BadFile: no DICOM file, damaged, or of a class that is not read.
        BadGeometry: it does not say where its voxels are, or its slices are no even stack.
        BadLabel: regions overlap.
    """
    name, reader = "series and images", read_series
    alone = _only_file(path)
    if alone is not None:
        found = uid(read_header(alone, tags=("SOPClassUID",)), "SOPClassUID", alone, "")
        if found in _READERS:
            path, (name, reader) = alone, _READERS[found]
    known = list(inspect.signature(reader).parameters)[2:]
    wrong = [option for option in options if option not in known]
    if wrong:
        raise BadArgument(
            f"DICOM {name} are read without such an option", where=path, found=", ".join(wrong), due=", ".join(known)
        )
    image: Image = reader(path, kind, **options)
    return image


def _only_file(path: Path) -> Path | None:
    # the file itself, or the only DICOM file of a folder
    if not path.is_dir():
        return path
    files = files_in(path).files
    return files[0] if len(files) == 1 else None


def write(
    image: Image,
    path: Path,
    *,
    overwrite: bool = False,
    source: Source | None = None,
    series: str | int | None = None,
    content: Content = "segmentation",
    segments: Sequence[str | Region] | Mapping[int, str | Region] | None = None,
    encoding: str = "binary",
    holes: str = "keyhole",
    algorithm: str = "medframe",
    algorithm_version: str = __version__,
    algorithm_type: str = "AUTOMATIC",
    description: str | None = None,
    series_number: int = 1000,
) -> None:
    """Write a label map as a DICOM segmentation (SEG) or structure set (RTSTRUCT) of the series it belongs to.

    The object joins the study of that series and refers to its images. **It therefore holds the patient's name, number,
    birth date and sex, as DICOM demands, and is as confidential as the series itself.** Nothing else of medframe's
    files does.

    The label map must lie on the slices of the series; axes may be permuted and mirrored. A segmentation leaves out
    empty frames. Contours run along voxel edges, so the voxels come back as they were.

    A label map of several channels of zeros and ones, as `overlap="channels"` reads them, keeps its overlaps.

    Args:
        image: a LabelMap.
        path: ends in .dcm.
        overwrite: replace a file that stands there.
        source: the series: its folder, the list of its files, or its one file with several frames.
        series: of a folder that holds several: UID, its end as messages show it, or SeriesNumber.
        content: "segmentation", which needs highdicom, or "structures".
        segments: the regions of labels 1, 2, ... in turn, or of each label: names that the table of common organs
            knows, or `Region(name, Code(...))`. Default: `image.meta["labels"]`, as segmentations are read with.
        encoding: of a segmentation: "binary" or "labelmap"; see `segmentation_write`.
        holes: of a structure set: "keyhole" or "xor"; see `structures_write`.
        algorithm: name of what made the label map.
        algorithm_version: its version.
        algorithm_type: "AUTOMATIC", "SEMIAUTOMATIC" or "MANUAL".
        description: of the new series.
        series_number: of the new series.

    Raises:
        BadArgument: no label map, no source, no names, or an option out of its domain.
        BadLabel: a label has no name, or the labels do not do for the encoding.
        BadGeometry: the label map does not lie on the slices of the series.
        BadFile: the source is damaged, or no single series.
        MissingPackage: highdicom is not installed.
        WriteFailed: the disk is full, the name is taken, and the like.

    Example:
        >>> write(label, "liver.dcm", source="ct/", segments=["liver"])  # doctest: +SKIP
        >>> write(label, "rs.dcm", source="ct/", content="structures", segments=["liver"])  # doctest: +SKIP
    """
    if not isinstance(image, LabelMap):
        raise BadArgument(
            "images are not written as DICOM, label maps are",
            where=path,
            found=type(image).__name__,
            due="a LabelMap",
            mend="Write images as .nii.gz or .nrrd; call as_labels() on integers.",
        )
    if source is None:
        raise BadArgument(
            "a DICOM object belongs to a series",
            where=path,
            found="no source",
            due='source="folder of the series"',
            mend="Name the series that the label map was made from, or write .nii.gz or .nrrd.",
        )
    for name, value, known in (("content", content, get_args(Content)), ("algorithm_type", algorithm_type, _HOW)):
        if value not in known:
            raise BadArgument(f"{name} has no such value", where=path, found=repr(value), due=", ".join(known))
    title = description or ("Segmentation" if content == "segmentation" else "Structure set")
    for name, value in (("description", title), ("algorithm", algorithm), ("algorithm_version", algorithm_version)):
        if not 0 < len(value) <= _LONG or "\\" in value or not value.isprintable():
            due = f"1 to {_LONG} printable characters without a backslash"
            raise BadArgument(f"the {name} is invalid", where=path, found=repr(value)[:80], due=due)
    base = source_series(source, path, series)
    channels = _channels(image, on_source(image, base, path), segments, path)
    if content == "segmentation":
        made = make_segmentation(
            channels,
            base,
            path,
            encoding=encoding,
            algorithm=algorithm,
            algorithm_version=algorithm_version,
            algorithm_type=algorithm_type,
            description=title,
            series_number=series_number,
        )
    else:
        made = make_structures(
            channels,
            base,
            holes=holes,
            algorithm_type=algorithm_type,
            description=title,
            series_number=series_number,
        )
    with atomic_write(path, overwrite=overwrite) as stream, quiet():
        try:
            made.save_as(stream, enforce_file_format=True)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever pydicom cannot encode; its text quotes values, so it stays here
            raise refused(base, type(error).__name__) from None


def _channels(
    image: LabelMap,
    voxels: NDArray[Any],
    segments: Sequence[str | Region] | Mapping[int, str | Region] | None,
    path: Path,
) -> list[tuple[NDArray[Any], dict[int, Region]]]:
    if image.channels == 1:
        present = [int(v) for v in np.unique(voxels) if v]
        return [(voxels[0], regions_of(image, segments, present, path))]
    if voxels.min() < 0 or voxels.max() > 1:
        raise BadLabel(
            "several channels are zeros and ones, a region each",
            where=path,
            found=f"labels {int(voxels.min())} to {int(voxels.max())}",
            due="0 and 1",
            mend="Write one channel, or one file for each.",
        )
    regions = regions_of(image, segments, range(1, image.channels + 1), path)
    if len(regions) > image.channels:
        raise BadArgument("more regions than channels", where=path, found=len(regions), due=image.channels)
    return [(voxels[number - 1], {1: region}) for number, region in regions.items()]
