"""DICOM segmentation objects: label maps as SEG files on the frames of the series they belong to, through highdicom.

Source: DICOM PS3.3, A.51 (Segmentation IOD) and C.8.20 (segmentation modules).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medframe import __version__
from medframe.base.errors import BadArgument, BadLabel, MedframeError
from medframe.base.extras import need
from medframe.io.dicom.header import bad_tag, has
from medframe.io.dicom.organ_codes import SIDES, Code
from medframe.io.dicom.quiet import quiet
from medframe.io.dicom.regions import Region
from medframe.io.dicom.source_series import SourceSeries, refused

Encoding = Literal["binary", "labelmap"]
_PURPOSE = "write DICOM segmentations"
_AI = Code("123110", "DCM", "Artificial Intelligence")
# what highdicom copies from the source without asking whether it is there
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_BLANK = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def segmentation(
    channels: Sequence[tuple[NDArray[Any], Mapping[int, Region]]],
    source: SourceSeries,
    where: Path,
    *,
    encoding: str,
    algorithm: str,
    algorithm_version: str,
    algorithm_type: str,
    description: str,
    series_number: int,
) -> Any:
    """A segmentation, as a pydicom dataset ready to be saved.

    Args:
        channels: label maps (columns, rows, slices) on the lattice of the series, and the regions of their labels.
        source: the series.
        where: the file to be written, for messages.
        encoding: "binary", one bit a voxel and segment, which all readers know; its segments are numbered from 1
            without gaps, and may overlap. "labelmap" holds any labels up to 65535 in one integer a voxel, and is of a
            class that readers before 2024 do not know.
        algorithm: name of what made the segmentation.
        algorithm_version: its version.
        algorithm_type: AUTOMATIC, SEMIAUTOMATIC or MANUAL.
        description: of the series.
        series_number: of the series.

    Raises:
        BadArgument: an unknown encoding.
        BadFile: the series lacks what an object must refer to.
        BadLabel: the labels do not do for the encoding.
        MissingPackage: highdicom is not installed.
    """
    if encoding not in get_args(Encoding):
        raise BadArgument("encoding has no such value", found=repr(encoding), due=", ".join(get_args(Encoding)))
    hd = need("highdicom", _PURPOSE)
    new_uid = need("pydicom.uid", _PURPOSE).generate_uid
    frames, regions = _frames(channels, source, encoding, where)
    with quiet():
        identity = None
        if algorithm_type != "MANUAL":
            family = _concept(_AI)
            identity = hd.AlgorithmIdentificationSequence(name=algorithm, family=family, version=algorithm_version)
        segments = [_segment(hd, number, region, algorithm_type, identity) for number, region in regions.items()]
        try:
            out = hd.seg.Segmentation(
                source_images=_sources(source),
                pixel_array=frames,
                segmentation_type=encoding.upper(),
                segment_descriptions=segments,
                series_instance_uid=new_uid(),
                series_number=series_number,
                sop_instance_uid=new_uid(),
                instance_number=1,
                manufacturer="medframe",
                manufacturer_model_name="medframe",
                software_versions=__version__,
                device_serial_number="0",
                content_label="SEGMENTATION",
                series_description=description,
                specific_character_set="ISO_IR 192",
                omit_empty_frames=bool(frames.any()),
            )
        except (MemoryError, MedframeError):
            raise
        except Exception as error:  # highdicom raises of every kind where a header displeases it
            raise refused(source, type(error).__name__) from None
    return out


def _frames(
    channels: Sequence[tuple[NDArray[Any], Mapping[int, Region]]], source: SourceSeries, encoding: str, where: Path
) -> tuple[NDArray[Any], dict[int, Region]]:
    # (frames, rows, columns) of segment numbers, or (frames, rows, columns, segments) of zeros and ones
    order = np.argsort(source.frames) if source.frames is not None else np.arange(len(source.planes))
    if len(channels) > 1:
        if encoding != "binary":
            raise BadLabel(
                "a label map object has one label a voxel",
                where=where,
                found=f"{len(channels)} channels",
                due="one channel",
                mend='Write channels with encoding="binary".',
            )
        turned = [labels.transpose(2, 1, 0)[order] for labels, _ in channels]
        regions = {number: region for number, (_, one) in enumerate(channels, 1) for region in one.values()}
        return np.stack(turned, axis=-1).astype(np.uint8), regions
    labels, named = channels[0]
    numbers = list(named)
    if encoding == "binary" and numbers != list(range(1, len(numbers) + 1)):
        raise BadLabel(
            "the segments of a binary segmentation are numbered from 1 without gaps",
            where=where,
            found=f"labels {numbers[:8]}",
            due=f"labels 1 to {len(numbers)}",
            mend='Renumber the labels, name those between as well, or write with encoding="labelmap".',
        )
    dtype = np.uint8 if numbers[-1] < 256 else np.uint16
    return np.ascontiguousarray(labels.transpose(2, 1, 0)[order].astype(dtype)), dict(named)


def _segment(hd: Any, number: int, region: Region, algorithm_type: str, identity: Any) -> Any:
    code, side = region.coded
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=region.name,
        segmented_property_category=_concept(region.kind),
        segmented_property_type=_concept(code),
        algorithm_type=algorithm_type,
        algorithm_identification=identity,
        display_color=hd.color.CIELabColor.from_rgb(*region.shown_as(number)),
    )
    if side is not None:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_concept(SIDES[side])]
    return segment


def _concept(code: Code) -> Any:
    return need("highdicom.sr", _PURPOSE).CodedConcept(code.value, code.scheme, code.meaning)


def _sources(source: SourceSeries) -> list[Any]:
    # headers as highdicom wants them: what may be empty but must be there is there
    dataset = need("pydicom.dataset", _PURPOSE)
    out = []
    for header in source.datasets:
        for keyword in _NEEDED:
            if not has(header, keyword):
                raise bad_tag(source.path, keyword, "nothing", "what a segmentation refers to", "an element is missing")
        filled = dataset.Dataset(header)
        for keyword in _BLANK:
            if keyword not in filled:
                setattr(filled, keyword, "")
        out.append(filled)
    return out
