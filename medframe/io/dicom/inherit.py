"""What an object takes over from the series it is drawn on: the patient and the study, as DICOM demands."""

from __future__ import annotations

import time
from typing import Any

from medframe import __version__
from medframe.base.extras import need
from medframe.io.dicom.header import has, uid
from medframe.io.dicom.source_series import SourceSeries, refused

_IMPLICIT = "1.2.840.10008.1.2"
# of type 1 or 2 in the modules Patient and General Study, so an object without them is invalid
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")
# of type 3, taken over where they are there
_FURTHER = ("IssuerOfPatientID", "StudyDescription", "PatientAge", "PositionReferenceIndicator")


def inherit(source: SourceSeries, sop_class: str, modality: str, description: str, series_number: int) -> Any:
    """A dataset with the patient and study of a series, as a new instance of a new series of its own.

    The transfer syntax is Implicit VR Little Endian: with explicit ones a contour of more than 65534 characters cannot
    be stored as what it is.

    Raises:
        BadFile: the series does not name its study.
    """
    dataset = need("pydicom.dataset", "write DICOM objects")
    new_uid = need("pydicom.uid", "write DICOM objects").generate_uid
    first = source.datasets[0]
    out = dataset.Dataset()
    out.file_meta = dataset.FileMetaDataset()
    out.SpecificCharacterSet = "ISO_IR 192"
    out.SOPClassUID = sop_class
    out.SOPInstanceUID = new_uid()
    out.file_meta.MediaStorageSOPClassUID = sop_class
    out.file_meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    out.file_meta.TransferSyntaxUID = _IMPLICIT
    out.StudyInstanceUID = uid(first, "StudyInstanceUID", source.path)
    for keyword in (*_PATIENT, *_STUDY, *_FURTHER):
        if has(first, keyword):
            try:
                setattr(out, keyword, first.get(keyword))
            except Exception as error:  # pydicom's text quotes the value, so it stays here
                raise refused(source, f"{keyword}: {type(error).__name__}") from None
        elif keyword not in _FURTHER:
            setattr(out, keyword, "")
    out.InstanceCreationDate, out.InstanceCreationTime = stamped()
    out.Modality = modality
    out.SeriesInstanceUID = new_uid()
    out.SeriesNumber = series_number
    out.InstanceNumber = 1
    out.SeriesDescription = description
    out.OperatorsName = ""
    out.Manufacturer = "medframe"
    out.ManufacturerModelName = "medframe"
    out.SoftwareVersions = __version__
    out.FrameOfReferenceUID = source.frame_of_reference
    out.PositionReferenceIndicator = first.get("PositionReferenceIndicator", "")
    return out


def stamped() -> tuple[str, str]:
    """Date and time now, as DICOM writes them."""
    now = time.localtime()
    return time.strftime("%Y%m%d", now), time.strftime("%H%M%S", now)
