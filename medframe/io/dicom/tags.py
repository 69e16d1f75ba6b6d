"""Which elements of a header are read at all, and the few that may be shown."""

from __future__ import annotations

IMAGE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ImageType",
    "Modality",
    "InstanceNumber",
    "SeriesNumber",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "GridFrameOffsetVector",
    "DoseGridScaling",
    # what tells the volumes of one series apart
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
    "DiffusionBValue",
    "EchoNumbers",
    "EchoTime",
    "InversionTime",
    "NumberOfTemporalPositions",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "TriggerTime",
)

MULTIFRAME = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")

# read to group by, never shown: the index turns them into pseudonyms
IDENTITY = ("PatientID", "PatientName", "StudyInstanceUID")

# the allow-list: what of a header reaches an image's `meta`, and its unit. Numbers and codes of the standard alone:
# no name, date, identifier or text that a person may have typed
ACQUISITION = {
    "SliceThickness": "mm",
    "SpacingBetweenSlices": "mm",
    "RepetitionTime": "ms",
    "EchoTime": "ms",
    "InversionTime": "ms",
    "FlipAngle": "degrees",
    "MagneticFieldStrength": "T",
    "KVP": "kV",
    "XRayTubeCurrent": "mA",
    "ExposureTime": "ms",
    "GantryDetectorTilt": "degrees",
    "DiffusionBValue": "s/mm2",
    "NumberOfTemporalPositions": "",
}
