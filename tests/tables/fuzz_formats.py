"""One row for each format that is fuzzed: how good files are made, which bytes are damaged, how the file is read.

A new format adds a row. `make(folder)` writes good files and gives, for each, the path that is read, the path whose
bytes are damaged (another one for detached headers and folders) and how many bytes from its start are the header.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
import tifffile
import torch
import zarr
from PIL import Image as Pillow

from medframe.base import container
from medframe.image import Image, LabelMap
from medframe.io import read, read_transform, write

AFFINE = np.array([[-0.8, 0.1, 0, 4], [0.1, 0.9, 0.2, -7], [0, -0.2, 2.1, 11], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class Seed:
    """A good file.

    Args:
        path: what is read.
        damaged: the file whose bytes are changed.
        head: bytes of its header; most changes fall there.
    """

    path: Path
    damaged: Path
    head: int


@dataclass(frozen=True)
class Row:
    """A format.

    Args:
        make: writes good files.
        text: the header is text, whose lines, words and numbers are changed, too.
        look: reads a file and all its voxels.
        quick: mutants in the default suite.
        needs: a module of medframe that brings the format.
        limit: of an image in bytes, where a small file may be a large image (absent chunks and tiles are fill).
        aborts: why the long run is not promised: native code that ends the process, for which `untrusted` is there.
        seal: changes what checksums guard and mends them, so that the change is looked at, too.
    """

    make: Callable[[Path], list[Seed]]
    text: bool = False
    look: Callable[[Path, int], Any] | None = None
    quick: int = 2000
    needs: str = "medframe.io"
    limit: int | None = None
    aborts: str | None = None
    seal: Callable[[bytes, Callable[[bytes], bytes]], bytes] | None = None

    @property
    def here(self) -> bool:
        try:
            return importlib.util.find_spec(self.needs) is not None
        except ModuleNotFoundError:
            return False


def look_at_image(path: Path, number: int) -> None:
    """Read it, as an image or as labels, and hold what comes to what every image keeps."""
    image = read(path, LabelMap if number % 3 == 0 else Image)
    data = image.data
    assert data.shape == image.shape
    assert np.isfinite(image.affine).all()
    assert np.linalg.matrix_rank(image.affine[:-1, :-1]) == image.ndim
    assert data.numel() < 1 << 24
    text = repr(dict(image.meta))
    assert len(text) < 4000


def look_at_transform(path: Path, number: int) -> None:
    assert np.isfinite(read_transform(path)).all()


def voxels(shape=(5, 6, 7), dtype=np.int16):
    return np.random.default_rng(3).integers(0, 90, shape).astype(dtype)


def image(shape=(1, 5, 6, 7), dtype=np.int16, affine=AFFINE):
    return Image(torch.from_numpy(voxels(shape, dtype)), affine)


def nifti(kind, name):
    def make(folder):
        scaled = kind(voxels(dtype=np.float32), AFFINE)
        scaled.header.set_slope_inter(2.0, -3.0)
        seeds = []
        for k, one in enumerate((kind(voxels(), AFFINE), scaled, kind(voxels((4, 4, 3, 2), np.uint8), np.eye(4)))):
            path = folder / f"{k}_{name}"
            nibabel.save(one, path)
            seeds.append(Seed(path, path, 544))
        return seeds

    return make


def nifti_gz(folder):
    # the header is damaged before it is packed: what passes the checksum is looked at
    path = folder / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels(), AFFINE), path)
    return [Seed(path, path, path.stat().st_size)]


def nifti_pair(folder):
    path = folder / "a.hdr"
    nibabel.save(nibabel.Nifti1Pair(voxels(), AFFINE), folder / "a.img")
    return [Seed(path, path, 348), Seed(folder / "a.img", path, 348)]


def by_us(*names, **options):
    def make(folder):
        seeds = []
        for name in names:
            path = folder / name
            write(image(**options), path)
            seeds.append(Seed(path, path, 500))
        return seeds

    return make


def nrrd(folder):
    seeds = by_us("a.nrrd")(folder)
    vector = sitk.GetImageFromArray(voxels((3, 4, 5, 2)), isVector=True)
    sitk.WriteImage(vector, str(folder / "b.nhdr"))
    sitk.WriteImage(sitk.GetImageFromArray(voxels()), str(folder / "c.nrrd"), False)
    segments = ["Segment0_Name:=a", "Segment0_LabelValue:=1", "Segment0_Layer:=0"]
    head = (folder / "c.nrrd").read_bytes().replace(b"\n\n", ("\n" + "\n".join(segments) + "\n\n").encode(), 1)
    (folder / "c.nrrd").write_bytes(head)
    text = "NRRD0004\ntype: float\ndimension: 2\nsizes: 3 2\nencoding: ascii\nspacings: 2 3\n\n1 2 3\n4 5 6.5\n"
    (folder / "d.nrrd").write_text(text)
    return seeds + [Seed(folder / n, folder / n, 500) for n in ("b.nhdr", "c.nrrd", "d.nrrd")]


def metaimage(folder):
    seeds = by_us("a.mha")(folder)
    sitk.WriteImage(sitk.GetImageFromArray(voxels()), str(folder / "b.mhd"), True)
    sitk.WriteImage(sitk.GetImageFromArray(voxels((6, 5), np.uint8)), str(folder / "c.mha"))
    return seeds + [Seed(folder / n, folder / n, 400) for n in ("b.mhd", "c.mha")]


def pictures(folder):
    seeds = []
    for name, array in {
        "a.png": voxels((7, 5), np.uint8),
        "b.png": voxels((7, 5), np.uint16),
        "c.png": voxels((7, 5, 4), np.uint8),
        "d.bmp": voxels((7, 5, 3), np.uint8),
        "e.jpg": voxels((17, 15), np.uint8),
    }.items():
        Pillow.fromarray(array).save(folder / name)
        seeds.append(Seed(folder / name, folder / name, 120))
    return seeds


def tiff(folder):
    write(Image(torch.from_numpy(voxels((1, 4, 6, 5))), np.diag([2.0, 3, 4, 1])), folder / "a.tif")
    tifffile.imwrite(folder / "b.tif", voxels((4, 6, 5), np.uint16), imagej=True, resolution=(4, 2))
    tifffile.imwrite(folder / "c.tif", voxels((9, 8, 3), np.uint8), photometric="rgb", compression="zlib")
    return [Seed(folder / n, folder / n, 400) for n in ("a.tif", "b.tif", "c.tif")]


def store(folder):
    seeds = []
    for version, file in (("0.4", "0/.zarray"), ("0.4", ".zattrs"), ("0.5", "zarr.json"), ("0.5", "0/zarr.json")):
        path = folder / f"{len(seeds)}.zarr"
        affine = np.diag([2.0, 3.0, 4.0, 1.0])
        write(Image(torch.from_numpy(voxels((2, 5, 6, 4))), affine), path, version=version, chunks=4)
        seeds.append(Seed(path, path / file, 4000))
    path = folder / "plain.zarr"
    zarr.create_array(str(path), data=voxels(), chunks=(3, 3, 3), zarr_format=2)
    return [*seeds, Seed(path, path / ".zarray", 4000)]


def arrays(folder):
    np.save(folder / "a.npy", voxels())
    np.save(folder / "b.npy", np.asfortranarray(voxels((2, 4, 5, 6), np.float32)))
    return [Seed(folder / n, folder / n, 128) for n in ("a.npy", "b.npy")]


def archives(folder):
    seeds = by_us("a.npz")(folder)
    np.savez(folder / "b.npz", image=voxels(), affine=AFFINE)
    return [*seeds, Seed(folder / "b.npz", folder / "b.npz", (folder / "b.npz").stat().st_size)]


def slides(folder):
    path = folder / "a.svs"
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
    pixels = voxels((128, 192, 3), np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, resolution=(40000, 20000), resolutionunit="CENTIMETER", **options)
        file.write(pixels[::2, ::2], subfiletype=1, **options)
    return [Seed(path, path, 2000)]


def transforms(*names):
    def make(folder):
        one = sitk.Euler3DTransform()
        one.SetParameters([0.1, 0.2, 0.3, 4, 5, 6])
        one.SetCenter((7.0, 8.0, 9.0))
        for name in names:
            sitk.WriteTransform(one, str(folder / name))
        many = sitk.CompositeTransform([one, sitk.TranslationTransform(3, (1.0, 2.0, 3.0))])
        if not names[0].endswith(".mat"):
            sitk.WriteTransform(many, str(folder / names[-1]))
        return [Seed(folder / name, folder / name, 4000) for name in names]

    return make


def dicom(folder):
    """Three slices of one series; one of them is damaged, and the folder or the slice is read."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    series = folder / "series"
    series.mkdir()
    pixels = voxels((3, 6, 5), np.uint16)
    for k in range(3):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{k + 1}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = Dataset()
        one.file_meta = meta
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
        one.Modality, one.PatientID, one.PatientName = "MR", "none", "none"
        one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 6, 5, 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.PixelSpacing, one.SliceThickness = [0.8, 0.9], 2
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [1, 2, 3 + 2 * k]
        one.InstanceNumber, one.RescaleSlope, one.RescaleIntercept = k + 1, 1, -10
        one.PixelData = pixels[k].tobytes()
        one.save_as(series / f"{k}.dcm", enforce_file_format=True)
    return [Seed(series, series / "1.dcm", 900), Seed(series / "1.dcm", series / "1.dcm", 900)]


def seal_gzip(good, change):
    return gzip.compress(change(gzip.decompress(good)), 1, mtime=0)


def seal_zip(good, change):
    """One member of the archive is changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
        members = {name: old.read(name) for name in old.namelist()}
        chosen = list(members)[len(good) % len(members)]
        for name, data in members.items():
            new.writestr(name, change(data) if name == chosen else data)
    return out.getvalue()


def seal_png(good, change):
    """One chunk of the picture is changed; other pictures have no checksums."""
    if not good.startswith(b"\x89PNG"):
        return change(good)
    head = change(good[16:29])[:13].ljust(13, b"\0")
    at, out = 33, good[:8] + struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    while at < len(good):
        (length,) = struct.unpack_from(">I", good, at)
        name, data = good[at + 4 : at + 8], good[at + 8 : at + 8 + length]
        data = change(data) if name == b"IDAT" and head == good[16:29] else data
        out += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        at += 12 + length
    return out


def seal_container(good, change):
    """The table of arrays, or what stands beside it, is changed and its digest is made anew."""
    (length,) = struct.unpack("<Q", good[:8])
    try:
        header = json.loads(change(good[8 : 8 + length]))
        meta = header.pop("__metadata__")
        meta["digest"] = container._digest(meta, header)
        text = json.dumps({"__metadata__": meta, **header}).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return change(good)
    return struct.pack("<Q", len(text)) + text + good[8 + length :]


ROWS: dict[str, Row] = {
    "NIfTI-1": Row(nifti(nibabel.Nifti1Image, "a.nii")),
    "NIfTI-2": Row(nifti(nibabel.Nifti2Image, "a.nii"), quick=1000),
    "NIfTI gzipped": Row(nifti_gz, seal=seal_gzip, quick=1000),
    "NIfTI pair": Row(nifti_pair, quick=500),
    "NRRD": Row(nrrd, text=True),
    "MetaImage": Row(metaimage, text=True),
    "npy": Row(arrays, text=True, quick=1000),
    "npz": Row(archives, seal=seal_zip, quick=1000),
    "safetensors": Row(by_us("a.safetensors"), text=True, seal=seal_container, quick=1000),
    "picture": Row(pictures, seal=seal_png),
    "TIFF": Row(tiff),
    "Zarr": Row(store, text=True, limit=16 << 20),
    "whole slide": Row(slides, quick=500, limit=16 << 20, aborts="OpenSlide aborts the process on some damaged files"),
    "ITK transform": Row(transforms("a.tfm", "b.txt"), text=True, look=look_at_transform, quick=1000),
    "ITK transform, binary": Row(transforms("a.mat"), look=look_at_transform, quick=500),
    "DICOM": Row(dicom, needs="medframe.io.dicom"),
}
