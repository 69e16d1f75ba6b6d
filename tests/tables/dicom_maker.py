"""Synthetic DICOM series for tests, made by pydicom from arrays whose truth is known."""

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Maker:
    """Slices of one volume (columns, rows, slices), as datasets."""

    def __init__(self, volume, axes=None, origin=(-11.0, -22.0, 33.0), spacing=(2.0, 3.0, 2.5), shear=(0.0, 0.0)):
        self.volume = volume
        self.axes = np.eye(3) if axes is None else axes  # columns: along a row, down a column, normal; LPS
        self.origin, self.spacing = np.array(origin), np.array(spacing)
        self.step = self.axes[:, 2] * spacing[2] + self.axes[:, :2] @ np.array(shear)
        self.study, self.series, self.frame = generate_uid(), generate_uid(), generate_uid()

    @property
    def affine(self):
        """RAS."""
        affine = np.eye(4)
        affine[:3, :3] = np.stack([self.axes[:, 0] * self.spacing[0], self.axes[:, 1] * self.spacing[1], self.step], 1)
        affine[:3, 3] = self.origin
        return LPS_TO_RAS @ affine

    def position(self, k):
        return self.origin + self.step * k

    def slice(self, k, pixels=None, signed=False, **over):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CT, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = self.study, self.series, self.frame
        ds.Modality, ds.PatientName, ds.PatientID = "CT", "", ""
        ds.SeriesNumber, ds.InstanceNumber, ds.ImageType = 1, k + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        pixels = self.volume[:, :, k].T if pixels is None else pixels
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
        ds.ImagePositionPatient = [f"{v:.8g}" for v in self.position(k)]
        ds.ImageOrientationPatient = [f"{v:.10g}" for v in self.axes[:, :2].T.ravel()]
        ds.PixelSpacing = [f"{v:.10g}" for v in self.spacing[1::-1]]
        ds.SliceThickness = f"{self.spacing[2]:.8g}"
        ds.PixelData = np.ascontiguousarray(pixels).astype("<i2" if signed else "<u2").tobytes()
        for keyword, value in over.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        return ds

    def write(self, folder, order=None, name="{:03d}.dcm", **over):
        folder.mkdir(parents=True, exist_ok=True)
        for n, k in enumerate(range(self.volume.shape[2]) if order is None else order):
            save(self.slice(k, **over), folder / name.format(n))
        return folder

    def enhanced(self, order, per_frame=(), **over):
        """One multi-frame object; `per_frame` gives datasets to merge into the group of each frame."""
        pixels = np.stack([self.volume[:, :, k].T for k in order])
        ds = self.slice(0, SOPClassUID=ENHANCED, NumberOfFrames=len(order), **over)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            del ds[keyword]
        shared, measures, orientation = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = list(self.spacing[1::-1]), self.spacing[2]
        orientation.ImageOrientationPatient = list(self.axes[:, :2].T.ravel())
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
        groups = []
        for n, k in enumerate(order):
            group, place = Dataset(), Dataset()
            place.ImagePositionPatient = list(self.position(k))
            group.PlanePositionSequence = [place]
            if per_frame:
                group.update(per_frame[n])
            groups.append(group)
        ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], groups
        ds.PixelData = pixels.astype("<u2").tobytes()
        return ds


def ramp(shape=(5, 6, 8)):
    """Every voxel another value."""
    i, j, k = np.indices(shape)
    return 1 + i + 10 * j + 100 * k


def save(ds, path, syntax=ExplicitVRLittleEndian):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    ds.file_meta = meta
    dcmwrite(path, ds, enforce_file_format=True)
    return path


def compress(ds, path, syntax):
    """Write a dataset with its frames compressed one by one."""
    pixels = np.frombuffer(ds.PixelData, "<i2" if ds.PixelRepresentation else "<u2")
    frames = pixels.reshape(-1, ds.Rows, ds.Columns)
    ds.PixelData = encapsulate([encoded(frame, syntax, ds.BitsStored) for frame in frames])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return save(ds, path, syntax)


def encoded(frame, syntax, bits=16):
    """One frame as a compressed stream."""
    frame = np.ascontiguousarray(frame)
    if syntax == JPEG2000Lossless:
        encode_array = pytest.importorskip("openjpeg.utils").encode_array
        return encode_array(frame.astype("u2"), bits_stored=bits, photometric_interpretation=2, use_mct=False)
    encoder = get_encoder(syntax)
    facts = {"rows": frame.shape[0], "columns": frame.shape[1], "samples_per_pixel": 1, "number_of_frames": 1}
    facts |= {"bits_allocated": 16, "bits_stored": bits, "pixel_representation": 0, "pixel_keyword": "PixelData"}
    facts |= {"encoding_plugin": "pyjpegls" if syntax == JPEGLSLossless else "pydicom"}
    facts["photometric_interpretation"] = "MONOCHROME2"
    return encoder.encode(frame.astype("<u2").tobytes(), index=0, **facts)


def orthogonal(rng):
    """Columns: along a row, down a column and the normal, right-handed."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn[:, 2] = np.cross(turn[:, 0], turn[:, 1])
    return turn
