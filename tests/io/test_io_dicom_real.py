"""Real DICOM series against volumes made by an independent converter."""

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch

from medframe.base.errors import BadFile, BadGeometry
from medframe.image import LabelMap
from medframe.io import read
from medframe.io.dicom.file import open_dicom
from medframe.io.dicom.frames import Frame, Rescale, Stored, encoding_of
from medframe.io.dicom.lattice import Plane, tilt
from medframe.io.dicom.pixels import PixelReader, check_pixels

SERIES = [
    "dicom_series/ct_ge_gantry_tilt",
    "dicom_series/mr_flair_oblique_pgbm003",
    "dicom_series/mr_ge_epi_4d_interleaved",
    "dicom_series/mr_hippocrop_pgbm002",
    "dicom_series/mr_siemens_gre_sagittal",
    "dicom_series/mr_siemens_t1_sagittal_hfs",
    "dicom_multiframe/mr_siemens_xa10_4d",
]


def canonical(array, affine):
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(array, affine))
    return np.asarray(image.dataobj), image.affine


def ours(image):
    """Voxels with time last, and affine, both turned to RAS."""
    array = np.moveaxis(image.data.numpy(), 0, -1)
    return canonical(array[..., 0] if array.shape[-1] == 1 else array, image.affine)


def reference(folder, name="reference"):
    path = next(p for p in folder.iterdir() if p.name.startswith(f"{name}.nii"))
    loaded = nibabel.load(path)
    return canonical(np.asarray(loaded.dataobj), loaded.affine)


@pytest.mark.parametrize("name", SERIES)
def test_voxels_and_place_are_those_of_the_reference(data_folder, name):
    folder = data_folder / name
    image = read(folder / "dicom")
    voxels, affine = ours(image)
    due, due_affine = reference(folder)
    assert not image.dtype.is_floating_point
    np.testing.assert_array_equal(voxels, due)
    if "tilt" in name:  # the reference's header has no room for the tilt
        step = np.linalg.norm(
            np.cross(*image.space.direction.T[:2]) * (image.affine[:3, 2] @ np.cross(*image.space.direction.T[:2]))
        )
        assert step == pytest.approx(np.linalg.norm(due_affine[:3, 2]), abs=1e-3)
        np.testing.assert_allclose(affine[:, :2], due_affine[:, :2], atol=1e-3)
    else:
        np.testing.assert_allclose(affine, due_affine, atol=1e-3)


def test_a_tilted_slice_lies_where_its_header_says(data_folder):
    folder = data_folder / "dicom_series/ct_ge_gantry_tilt/dicom"
    image = read(folder)
    assert tilt(image.space) == pytest.approx(18.5, abs=0.1)
    assert any("tilt of 18.5 degrees was kept" in note for note in image.meta["notes"])
    for path in sorted(folder.iterdir()):
        header = pydicom.dcmread(path)
        place = np.array(header.ImagePositionPatient, float) * (-1, -1, 1)
        index = image.space.to_index(place)
        assert np.abs(index - np.rint(index)).max() < 1e-3
        np.testing.assert_array_equal(image.data[0, :, :, round(index[2])].numpy().T, header.pixel_array)
    with pytest.raises(BadGeometry, match="gantry tilt"):
        read(folder, tilt="error")


def test_an_upright_tilted_series_is_that_of_the_reference(data_folder):
    folder = data_folder / "dicom_series/ct_ge_gantry_tilt"
    image = read(folder / "dicom", tilt="upright")
    due, due_affine = reference(folder, "reference_Tilt_1")
    voxels, affine = ours(image)
    linear = image.affine[:3, :3] / image.space.spacing
    np.testing.assert_allclose(linear.T @ linear, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.abs(affine[:3, :3]), np.abs(due_affine[:3, :3]), atol=1e-3)
    # both interpolate along the column alone, on lattices that differ by a fraction of a pixel: look at one world
    theirs = sitk.GetImageFromArray(due.transpose(2, 1, 0).astype(np.float32))
    mine = sitk.GetImageFromArray(voxels.transpose(2, 1, 0).astype(np.float32))
    for made, matrix in ((theirs, due_affine), (mine, affine)):
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        made.SetSpacing(spacing.tolist())
        made.SetOrigin(matrix[:3, 3].tolist())
        made.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    there = sitk.GetArrayFromImage(sitk.Resample(mine, theirs, sitk.Transform(), sitk.sitkLinear, -1500.0))
    inside = (slice(None), slice(100, 400), slice(100, 400))
    assert np.corrcoef(there[inside].ravel(), due.transpose(2, 1, 0)[inside].ravel())[0, 1] > 0.98


def test_a_window_reads_what_the_whole_has(data_folder):
    image = read(data_folder / "dicom_series/mr_flair_oblique_pgbm003/dicom")
    window = (slice(13, 200), slice(0, 77), slice(5, 9))
    part = image.source.read(window)
    assert part.is_contiguous()
    assert torch.equal(part, image.data[(slice(None), *window)])
    assert image.source.read((slice(0, 0), slice(0, 5), slice(0, 5))).shape == (1, 0, 5, 5)


def test_volumes_of_a_series_are_channels_in_their_order(data_folder):
    image = read(data_folder / "dicom_series/mr_ge_epi_4d_interleaved/dicom")
    assert image.channels == 10
    assert image.meta["volumes"]["by"] == "InstanceNumber"
    image = read(data_folder / "dicom_multiframe/mr_siemens_xa10_4d/dicom")
    assert image.meta["volumes"] == {"by": "TemporalPositionIndex", "values": [1.0, 2.0, 3.0, 4.0]}


def test_a_vendor_mosaic_is_refused_by_name(data_folder):
    with pytest.raises(BadFile, match=r"vendor mosaic.*MOSAIC"):
        read(data_folder / "dicom_series/mr_siemens_mosaic_ap/dicom")


def test_frames_without_positions_are_no_volume(data_folder):
    with pytest.raises(BadGeometry, match="10 frames without positions"):
        read(data_folder / "dicom_multiframe/pydicom_emri_small/emri_small_RLE.dcm")


def test_run_length_coded_frames_decode_to_the_plain_ones(data_folder):
    folder = data_folder / "dicom_multiframe/pydicom_emri_small"
    decoded = {}
    for name in ("emri_small.dcm", "emri_small_RLE.dcm"):
        opened = open_dicom(folder / name)
        stored = Stored(opened.path, opened.stamp, opened.syntax, opened.pixels, 10, encoding_of(opened))
        check_pixels(stored)
        plane = Plane((0, 0, 0), (1, 0, 0, 0, 1, 0), (1, 1), 64, 64, name)
        frames = [Frame(stored, k, Rescale(), plane, None, {}, 0, 0, "") for k in range(10)]
        reader = PixelReader()
        decoded[name] = np.stack([reader.read(frame, slice(0, 64))[0] for frame in frames])
    np.testing.assert_array_equal(decoded["emri_small.dcm"], pydicom.dcmread(folder / "emri_small.dcm").pixel_array)
    np.testing.assert_array_equal(*decoded.values())


def test_a_multi_frame_object_is_the_series_it_was_made_of(data_folder, tmp_path):
    folder = data_folder / "dicom_seg/23x38x3"
    single, multi = read(folder / "image"), read(folder / "multiframe")
    assert single.space == multi.space
    assert torch.equal(single.data, multi.data)
    due = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "image")))
    np.testing.assert_array_equal(single.data[0].numpy().T, sitk.GetArrayFromImage(due))
    assert read(folder / "seg").space.matches(single.space, 1e-3)  # a segmentation of it
    for path in [*(folder / "image").iterdir(), folder / "seg/label.seg"]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert torch.equal(read(tmp_path).data, single.data)  # the object beside the images is passed over
    assert read(folder / "image", LabelMap).dtype == single.dtype
