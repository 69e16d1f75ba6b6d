"""Images go to SimpleITK, ITK and nibabel and come back with the same voxels at the same places, and without names."""

import warnings

import itk
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medframe.base.errors import BadArgument, BadGeometry, BadLabel, BadVoxels, MedframeWarning
from medframe.image import Image, LabelMap
from medframe.io import from_itk, from_nibabel, from_sitk, read, to_itk, to_nibabel, to_sitk, write

WAYS = {"sitk": (to_sitk, from_sitk), "itk": (to_itk, from_itk), "nibabel": (to_nibabel, from_nibabel)}
DTYPES = ["uint8", "int16", "int32", "int64", "float32", "float64", "int8", "bool", "float16"]


def image_of(rng, shape, affine, dtype="int16"):
    return Image(
        torch.from_numpy(rng.integers(0, 2 if dtype == "bool" else 90, shape)).to(getattr(torch, dtype)), affine
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_there_and_back(rng, random_affine, way, dtype, channels):
    there, back = WAYS[way]
    image = image_of(rng, (channels, 4, 5, 6), random_affine(upright=True), dtype)
    found = back(there(image))
    assert torch.equal(found.data.double(), image.data.double())
    assert found.space.distance(image.space) < 1e-6
    assert found.data.is_contiguous()
    kept = {"bool": "uint8", "float16": "float32"}
    if way == "itk":
        kept |= {"int8": "int16"} | (
            dict.fromkeys(("int32", "int64"), "float64") if channels > 1 else {"int64": "int32"}
        )
    assert str(found.dtype) == f"torch.{kept.get(dtype, dtype)}"
    assert set(found.meta) == {"format", "dtype", "notes"}


@pytest.mark.parametrize("way", ["sitk", "itk"])
def test_planes(rng, way):
    there, back = WAYS[way]
    turn = np.array([[0.6, -0.8, 3], [0.8, 0.6, -4], [0, 0, 1]]) @ np.diag([0.5, 2.0, 1.0])
    for channels in (1, 2):
        image = image_of(rng, (channels, 7, 5), turn)
        found = back(there(image))
        assert found.shape == image.shape
        assert torch.equal(found.data, image.data)
        assert found.space.distance(image.space) < 1e-9
    with pytest.raises(BadArgument, match="one axis"):
        there(Image(torch.zeros(1, 4)))


def test_simpleitk_and_itk_have_the_values_at_the_same_places(rng, random_affine):
    image = image_of(rng, (1, 4, 5, 6), random_affine(upright=True))
    theirs, other = to_sitk(image), to_itk(image)
    for index in ((0, 0, 0), (3, 4, 5), (1, 0, 2)):
        world = image.space.to_world(index) * [-1, -1, 1]
        assert np.allclose(theirs.TransformIndexToPhysicalPoint(index), world)
        assert np.allclose(list(other.TransformIndexToPhysicalPoint(index)), world)
        assert theirs[index] == other.GetPixel(index) == image.data[(0, *index)]


def test_a_file_comes_the_same_by_every_way(data_folder):
    path = data_folder / "registration" / "3DCT_lung_baseline_small.mha"
    due = read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ITK warns while it loads
        other = itk.imread(str(path))
    for found in (from_sitk(sitk.ReadImage(str(path))), from_itk(other)):
        assert torch.equal(found.data, due.data)
        assert found.space.distance(due.space) < 1e-6
    path = data_folder / "nifti_odd" / "nibabel" / "example4d.nii.gz"
    due = read(path)
    for found in (from_nibabel(nibabel.load(path)), from_sitk(sitk.ReadImage(str(path)))):
        assert torch.equal(found.data.double(), due.data.double())
        assert found.space.distance(due.space) < 1e-3  # ITK takes the qform


@pytest.mark.parametrize("way", WAYS)
def test_label_maps(rng, way):
    there, back = WAYS[way]
    labels = LabelMap(torch.from_numpy(rng.integers(0, 9, (1, 4, 5, 6))), np.diag([1.0, 2, 3, 1]))
    found = back(there(labels), LabelMap)
    assert type(found) is LabelMap
    assert torch.equal(found.data.long(), labels.data)
    with pytest.raises(BadLabel, match="no label"):
        back(there(Image(torch.full((1, 3, 3, 3), 0.5))), LabelMap)


def test_shears_and_large_integers(rng):
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    image = image_of(rng, (1, 3, 4, 5), sheared)
    for there in (to_sitk, to_itk):
        with pytest.raises(BadGeometry, match="sheared"):
            there(image)
    other = to_nibabel(image)
    assert np.allclose(other.affine, sheared)
    assert (other.header["qform_code"], other.header["sform_code"]) == (0, 1)
    assert np.allclose(from_nibabel(other).affine, sheared)
    with pytest.raises(BadVoxels):
        to_itk(Image(torch.full((1, 2, 2, 2), 2**40)))


def test_what_nibabel_gives_is_what_our_writer_gives(rng, random_affine, tmp_path):
    image = image_of(rng, (1, 4, 5, 6), random_affine(upright=True))
    nibabel.save(to_nibabel(image), tmp_path / "theirs.nii")
    write(image, tmp_path / "ours.nii")
    theirs, ours = (nibabel.load(tmp_path / f"{name}.nii").header for name in ("theirs", "ours"))
    for field in ("dim", "datatype", "srow_x", "srow_y", "srow_z", "sform_code", "qform_code"):
        assert np.array_equal(theirs[field], ours[field]), field
    assert theirs.get_xyzt_units()[0] == ours.get_xyzt_units()[0] == "mm"


def test_formats_that_nibabel_has_and_we_have_not(rng, tmp_path):
    affine = np.array([[-1, 0, 0, 10], [0, 0, 1.2, -20], [0, -1.5, 0, 30], [0, 0, 0, 1.0]])
    voxels = rng.integers(0, 90, (4, 5, 6)).astype(np.int16)
    nibabel.save(nibabel.MGHImage(voxels, affine), tmp_path / "x.mgz")
    found = from_nibabel(nibabel.load(tmp_path / "x.mgz"))
    assert np.array_equal(found.data[0].numpy(), voxels)
    assert np.allclose(found.affine, affine)
    header = nibabel.Nifti1Header()
    header.set_xyzt_units("meter")
    metres = nibabel.Nifti1Image(voxels, np.diag([0.001, 0.002, 0.003, 1]), header)
    assert np.allclose(from_nibabel(metres).space.spacing, (1, 2, 3))
    lost = nibabel.Nifti1Image(voxels, None)
    with pytest.warns(MedframeWarning, match="no orientation"):
        from_nibabel(lost)
    with pytest.raises(BadArgument, match="voxel type"):
        from_nibabel(nibabel.Nifti1Image(voxels.astype(np.complex64), np.eye(4)))


def test_no_name_crosses(rng):
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    image.SetMetaData("0010|0010", "CANARY")
    assert "CANARY" not in repr(dict(from_sitk(image).meta))
    other = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    other.header["descrip"] = b"CANARY"
    kept = from_nibabel(other)
    assert "CANARY" not in repr(dict(kept.meta))
    assert b"CANARY" not in to_nibabel(kept).header.binaryblock
