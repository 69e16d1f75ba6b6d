"""Reading a DICOM series against SimpleITK's series reader and pydicom, and the rate at which headers are indexed.

Read: `medframe.io.read(folder).data`, all headers judged and all pixels rescaled, against SimpleITK (file names sorted
by GDCM, then its series reader) and against a loop over `pydicom.dcmread`. The window is a 96^3 patch of the same
series, which medframe reads alone. Index: `medframe.io.dicom.index` over a tree of small files. Warm file cache.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
import torch
from measure import alternate, options, record, versions
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medframe.io import read
from medframe.io.dicom import index

SHAPE = (512, 512, 120)


def write_series(folder: Path, shape: tuple[int, int, int], noise: np.random.Generator) -> None:
    """A CT of signed 12 bits in 16 with the usual elements."""
    folder.mkdir(parents=True)
    study, series, frame = (generate_uid() for _ in range(3))
    columns, rows, slices = shape
    for k in range(slices):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.PatientID, ds.PatientName, ds.SeriesNumber, ds.InstanceNumber = "CT", "1", "", 1, k + 1
        ds.Manufacturer, ds.StudyDate, ds.StudyTime, ds.KVP = "none", "20200101", "000000", "120"
        ds.ImageType, ds.SliceThickness = ["ORIGINAL", "PRIMARY", "AXIAL"], "1.25"
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-180, -180, 1.25 * k], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.RescaleSlope, ds.RescaleIntercept = [0.7, 0.7], "1", "-1024"
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelData = noise.integers(0, 4096, (rows, columns)).astype("<u2").tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = (
            ds.SOPClassUID,
            ds.SOPInstanceUID,
        )
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pydicom.dcmwrite(folder / f"{(k * 7919) % slices:05d}.dcm", ds, enforce_file_format=True)


def by_simpleitk(folder: Path) -> np.ndarray:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute())


def by_pydicom(folder: Path) -> np.ndarray:
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices])


def main() -> None:
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="files of the tree that is indexed")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(chosen.threads)
    noise = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as root:
        folder, tree = Path(root, "series"), Path(root, "tree")
        write_series(folder, SHAPE, noise)
        for n in range(chosen.files // 100):
            write_series(tree / f"{n // 10}" / f"{n % 10}", (16, 16, 100), noise)
        if not np.array_equal(read(folder).data[0].numpy().T, by_simpleitk(folder)):
            raise SystemExit("the readers disagree")
        window = (slice(200, 296), slice(200, 296), slice(10, 106))
        took = alternate(
            {
                "read": lambda: read(folder).data,
                "headers": lambda: read(folder),
                "window": lambda: read(folder).source.read(window),
                "read_simpleitk": lambda: by_simpleitk(folder),
                "read_pydicom": lambda: by_pydicom(folder),
            },
            chosen.repeats,
        )
        tabled = alternate({"index": lambda: index(tree, progress=False)}, max(1, chosen.repeats // 2))
    results = {
        **{f"{name}_s": value for name, value in {**took, **tabled}.items()},
        "read_ratio_simpleitk": took["read_simpleitk"] / took["read"],
        "read_ratio_pydicom": took["read_pydicom"] / took["read"],
        "window_ratio_simpleitk": took["read_simpleitk"] / took["window"],
        "index_files_per_s": (chosen.files // 100) * 100 / tabled["index"],
    }
    print(SHAPE, ", ".join(f"{name} {value:.3f}" for name, value in results.items()))
    if chosen.record:
        facts = {"shape": SHAPE, "files": chosen.files, "repeats": chosen.repeats, "threads": chosen.threads}
        record(
            "read_dicom", {**facts, "versions": versions("torch", "numpy", "pydicom", "SimpleITK"), "results": results}
        )


if __name__ == "__main__":
    main()
