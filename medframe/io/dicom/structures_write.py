"""RTSTRUCT objects: label maps become closed contours on the slices of the series they belong to.

Source: DICOM PS3.3, A.19 (RT Structure Set IOD), C.8.8.5, C.8.8.6 and C.8.8.8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.base.extras import need
from medframe.io.dicom.contour_trace import trace
from medframe.io.dicom.header import tag_of
from medframe.io.dicom.inherit import inherit, stamped
from medframe.io.dicom.lattice import Plane
from medframe.io.dicom.quiet import quiet
from medframe.io.dicom.regions import Region
from medframe.io.dicom.source_series import SourceSeries

STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set Storage
_STUDY = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management: what the standard names a study by here
Holes = Literal["keyhole", "xor"]


def structures(
    channels: Sequence[tuple[NDArray[Any], Mapping[int, Region]]],
    source: SourceSeries,
    *,
    holes: str,
    algorithm_type: str,
    description: str,
    series_number: int,
) -> Any:
    """A structure set, as a pydicom dataset ready to be saved.

    Contours run along voxel edges (see `contour_trace`), in the exact plane of their slice, and are written to 1e-6 mm.

    Args:
        channels: label maps (columns, rows, slices) on the lattice of the series, and the regions of their labels.
        source: the series.
        holes: "keyhole" joins holes to their outer contour by a channel without width, as the standard describes for
            contours of the type CLOSED_PLANAR; "xor" writes them as contours of their own, of type CLOSEDPLANAR_XOR.
        algorithm_type: AUTOMATIC, SEMIAUTOMATIC or MANUAL.
        description: of the series.
        series_number: of the series.

    Raises:
        BadArgument: an unknown word for `holes`.
        BadFile: the series lacks what an object must refer to.
    """
    if holes not in get_args(Holes):
        raise BadArgument("holes has no such value", found=repr(holes), due=", ".join(get_args(Holes)))
    item = need("pydicom.dataset", "write DICOM objects").Dataset
    frame = source.frame_of_reference
    with quiet():  # values of the source are converted here
        out = inherit(source, STRUCTURES, "RTSTRUCT", description, series_number)
    out.StructureSetLabel = "medframe"
    out.StructureSetDate, out.StructureSetTime = stamped()
    out.ApprovalStatus = "UNAPPROVED"
    out.ReferencedFrameOfReferenceSequence = [_referenced(source, frame, item)]
    out.StructureSetROISequence, out.ROIContourSequence, out.RTROIObservationsSequence = [], [], []
    number = 0
    for labels, regions in channels:
        boxes = _extents(labels)
        for label, region in regions.items():
            # labels of one map are the numbers of the regions; further channels go on counting
            number = label if len(channels) == 1 else number + 1
            roi = item()
            roi.ROINumber = number
            roi.ReferencedFrameOfReferenceUID = frame
            roi.ROIName = region.name
            roi.ROIGenerationAlgorithm = algorithm_type
            out.StructureSetROISequence.append(roi)
            drawn = item()
            drawn.ROIDisplayColor = list(region.shown_as(number))
            drawn.ContourSequence = [
                _contour(polygon, source, k, kind, item)
                for k in boxes.get(label, ())
                for polygon, kind in _polygons(labels[:, :, k] == label, holes)
            ]
            drawn.ReferencedROINumber = number
            out.ROIContourSequence.append(drawn)
            seen = item()
            seen.ObservationNumber = number
            seen.ReferencedROINumber = number
            seen.RTROIInterpretedType = ""
            seen.ROIInterpreter = ""
            out.RTROIObservationsSequence.append(seen)
    return out


def _extents(labels: NDArray[Any]) -> dict[int, list[int]]:
    # the slices on which each label occurs
    found: dict[int, list[int]] = {}
    for k in range(labels.shape[2]):
        for label in np.unique(labels[:, :, k]).tolist():
            if label:
                found.setdefault(label, []).append(k)
    return found


def _polygons(mask: NDArray[np.bool_], holes: str) -> list[tuple[NDArray[np.float64], str]]:
    # only the box of the mask is traced; most organs fill a small part of the plane
    low = [int(np.flatnonzero(mask.any(axis=1 - a))[0]) for a in (0, 1)]
    high = [int(np.flatnonzero(mask.any(axis=1 - a))[-1]) + 1 for a in (0, 1)]
    traced = trace(mask[low[0] : high[0], low[1] : high[1]], keyhole=holes == "keyhole")
    kind = "CLOSED_PLANAR" if holes == "keyhole" else "CLOSEDPLANAR_XOR"
    return [(polygon + low, kind) for polygon in (*traced.outer, *traced.holes)]


def _contour(polygon: NDArray[np.float64], source: SourceSeries, slice_: int, kind: str, item: Any) -> Any:
    contour = item()
    contour.ContourImageSequence = [_image(source, slice_, item)]
    contour.ContourGeometricType = kind
    contour.NumberOfContourPoints = len(polygon)
    # as one text: each number as a value of its own would cost pydicom more time than all the rest
    text = "\\".join(map(_decimal, _world(polygon, source.planes[slice_]).ravel().tolist()))
    element = need("pydicom.dataelem", "write DICOM objects").DataElement
    contour.add(element(tag_of("ContourData"), "DS", text, already_converted=True))
    return contour


def _world(polygon: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    # (column, row) -> mm LPS
    along, down, _ = plane.axes
    between_rows, between_columns = plane.pixel_spacing
    places: NDArray[np.float64] = (
        np.array(plane.position) + polygon[:, :1] * (along * between_columns) + polygon[:, 1:] * (down * between_rows)
    )
    return places


def _decimal(value: float) -> str:
    # at most 16 characters, as decimal strings must have
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _image(source: SourceSeries, slice_: int, item: Any) -> Any:
    header = source.dataset(slice_)
    reference = item()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if source.frames is not None:
        reference.ReferencedFrameNumber = source.frames[slice_]
    return reference


def _referenced(source: SourceSeries, frame: str, item: Any) -> Any:
    first = source.datasets[0]
    series = item()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_image(source, k, item) for k in range(len(source.planes))]
    study = item()
    study.ReferencedSOPClassUID = _STUDY
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    referenced = item()
    referenced.FrameOfReferenceUID = frame
    referenced.RTReferencedStudySequence = [study]
    return referenced
