"""A DICOM series made for a test: any lattice, one file a slice or all frames in one."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def lps(space):
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ space.affine


def geometry(space, k):
    """Position, orientation and pixel spacing of slice k, as decimal strings hold them."""
    affine = lps(space)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    position = affine[:3, 3] + k * affine[:3, 2]
    cosines = np.concatenate([affine[:3, 0] / spacing[0], affine[:3, 1] / spacing[1]])
    return (
        [f"{v:.9g}" for v in position],
        [f"{v:.10f}" for v in cosines],
        [f"{spacing[1]:.9g}", f"{spacing[0]:.9g}"],
        f"{spacing[2]:.9g}",
    )


def _common(space, patient):
    out = Dataset()
    out.PatientName, out.PatientID = patient, "CANARY-ID"
    out.PatientBirthDate, out.PatientSex = "19500101", "O"
    out.StudyInstanceUID, out.SeriesInstanceUID = generate_uid(), generate_uid()
    out.FrameOfReferenceUID = generate_uid()
    out.StudyDate, out.StudyTime, out.StudyID, out.AccessionNumber = "20200101", "120000", "1", "CANARY-ACC"
    out.ReferringPhysicianName = "Canary^Doctor"
    out.Modality, out.SeriesNumber, out.PositionReferenceIndicator = "CT", 1, ""
    out.Rows, out.Columns = space.shape[1], space.shape[0]
    out.SamplesPerPixel, out.PhotometricInterpretation = 1, "MONOCHROME2"
    out.BitsAllocated = out.BitsStored = 16
    out.HighBit, out.PixelRepresentation = 15, 0
    out.RescaleSlope, out.RescaleIntercept = "1", "0"
    return out


def _save(dataset, path):
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def write_series(folder, space, voxels=None, patient="Canary^Patient"):
    """One file a slice, under names whose order is not that of the slices; the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if voxels is None:
        voxels = np.arange(np.prod(space.shape), dtype=np.uint16).reshape(space.shape)
    common = _common(space, patient)
    for k in range(space.shape[2]):
        one = Dataset(common)
        one.SOPClassUID, one.SOPInstanceUID = CT, generate_uid()
        one.InstanceNumber = k + 1
        one.ImagePositionPatient, one.ImageOrientationPatient, one.PixelSpacing, one.SliceThickness = geometry(space, k)
        one.PixelData = np.ascontiguousarray(voxels[:, :, k].T.astype("<u2")).tobytes()
        _save(one, folder / f"im{(k * 7 + 3) % 101:03d}.dcm")
    return folder


def write_multiframe(path, space, order, patient="Canary^Patient"):
    """All slices in one file, in the order given; the path."""
    out = _common(space, patient)
    out.SOPClassUID, out.SOPInstanceUID, out.InstanceNumber = ENHANCED_CT, generate_uid(), 1
    out.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "NONE"]
    out.NumberOfFrames = len(order)
    organisation = generate_uid()
    out.DimensionOrganizationSequence = [Dataset()]
    out.DimensionOrganizationSequence[0].DimensionOrganizationUID = organisation
    index = Dataset()
    index.DimensionOrganizationUID = organisation
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00200032, 0x00209113
    out.DimensionIndexSequence = [index]
    _, cosines, spacing, thickness = geometry(space, 0)
    shared, direction, measures = Dataset(), Dataset(), Dataset()
    direction.ImageOrientationPatient = cosines
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = spacing, thickness, thickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [direction], [measures]
    out.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for k in order:
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = geometry(space, k)[0]
        content.DimensionIndexValues = [k + 1]
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        groups.append(group)
    out.PerFrameFunctionalGroupsSequence = groups
    out.PixelData = np.zeros((len(order), *space.shape[1::-1]), "<u2").tobytes()
    _save(out, path)
    return Path(path)


def edit(path, change):
    """Change the header of a file in place."""
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
