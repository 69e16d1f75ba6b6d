"""Real files against nibabel and SimpleITK: the same voxels at the same places."""

import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from medframe.base.errors import MedframeWarning
from medframe.image import LabelMap
from medframe.io import read

ODD = [
    "nibabel/anatomical.nii",
    "nibabel/example4d.nii.gz",
    "nibabel/example_nifti2.nii.gz",
    "nibabel/functional.nii",
    "nibabel/reoriented_anat_moved.nii",
    "niivue/CT_pitch.nii.gz",
    "sct/mt_mt0.nii.gz",
    "sct/mt_mtr.nii.gz",
    "sct/t1_t1w_seg-manual.nii.gz",
    "sct/t2_labels.nii.gz",
    "sct/t2_t2.nii.gz",
]
FILES = [f"nifti_odd/{name}" for name in ODD]
FILES += [f"brain_atlases/{name}.nii.gz" for name in ("AICHAmc", "aal", "ch2bet")]
FILES += [
    f"msd_hippocampus/{part}Tr/hippocampus_{case}.nii.gz" for part in ("images", "labels") for case in ("001", "003")
]
FILES += ["ct_multiorgan/example_ct_sm.nii.gz", "dicom_series/ct_ge_gantry_tilt/reference.nii.gz"]


def load(path, *kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MedframeWarning)
        return read(path, *kind)


def corners(shape, rng):
    ends = np.array([n - 1 for n in shape[:3]])
    return np.vstack([np.zeros(3), ends, rng.integers(0, ends + 1, (20, 3))]).astype(int)


@pytest.mark.parametrize("name", FILES)
def test_nibabel_reads_the_same(data_folder, name):
    if not (data_folder / name).is_file():
        pytest.skip(f"not here: {name}")
    image, other = load(data_folder / name), nibabel.load(data_folder / name)
    assert np.allclose(image.affine, other.affine, atol=1e-9)
    due = np.asarray(other.dataobj)  # scaled in double precision
    due = due.transpose(3, 0, 1, 2) if due.ndim == 4 else due[None]
    found = image.data.numpy()
    assert found.shape == due.shape
    if due.dtype.kind in "iu":
        assert np.array_equal(found, due)
        assert found.dtype == due.dtype.newbyteorder("=")
    else:
        assert np.allclose(found, due, rtol=1e-7, atol=0, equal_nan=True)


# 4-D files; and ITK takes no sheared axes, and the qform where the forms disagree
NOT_FOR_ITK = ("4d", "functional", "nifti2", "gantry", "AICHA")


@pytest.mark.parametrize("name", [n for n in FILES if not any(part in n for part in NOT_FOR_ITK)])
def test_itk_reads_the_same_places(data_folder, rng, name):
    if not (data_folder / name).is_file():
        pytest.skip(f"not here: {name}")
    image, other = load(data_folder / name), SimpleITK.ReadImage(str(data_folder / name))
    voxels = SimpleITK.GetArrayFromImage(other).T
    found = image.data[0].numpy()
    assert np.array_equal(np.where(np.isfinite(found), found, 0), voxels)  # ITK's reader turns -inf into 0
    for index in corners(image.space.shape, rng):
        place = np.array(other.TransformIndexToPhysicalPoint(index.tolist())) * [-1, -1, 1]
        # ITK may take the qform; it lies within a hundredth of a millimetre in these files
        assert np.abs(image.space.to_world(index) - place).max() < 1e-2


def test_scaled_integers_become_float32_rounded_once(data_folder):
    path = data_folder / "nifti_odd/nibabel/functional.nii"
    image, other = read(path), nibabel.load(path)
    slope, inter = other.dataobj.slope, other.dataobj.inter
    exact = np.asarray(other.dataobj.get_unscaled()).astype(np.float64) * slope + inter
    assert image.dtype == torch.float32
    assert np.array_equal(image.data.numpy(), exact.astype(np.float32).transpose(3, 0, 1, 2))


def test_landmarks_stay_numbered(data_folder):
    labels = read(data_folder / "nifti_odd/sct/t2_labels.nii.gz", LabelMap)
    assert sorted(labels.data.unique().tolist()) == [0, 3, 5]
    other = nibabel.load(data_folder / "nifti_odd/sct/t2_labels.nii.gz")
    for number in (3, 5):
        index = np.argwhere(labels.data[0].numpy() == number)
        due = nibabel.affines.apply_affine(other.affine, np.argwhere(np.asarray(other.dataobj) == number))
        assert np.allclose(labels.space.to_world(index), due)


def test_forms_that_contradict_each_other_are_warned_about(data_folder):
    with pytest.warns(MedframeWarning, match=r"AICHAmc.*qform lies up to .* mm from the sform"):
        image = read(data_folder / "brain_atlases/AICHAmc.nii.gz")
    assert "sform, which was used" in image.meta["notes"][0]
    assert np.array_equal(image.affine, nibabel.load(data_folder / "brain_atlases/AICHAmc.nii.gz").affine)


def test_flat_itk_files(tmp_path):
    flat = SimpleITK.GetImageFromArray(np.arange(30, dtype=np.int16).reshape(6, 5))
    flat.SetSpacing((2, 3))
    flat.SetOrigin((4, 5))
    SimpleITK.WriteImage(flat, str(tmp_path / "flat.nii"))
    image = read(tmp_path / "flat.nii", ndim=2)
    assert image.data.tolist() == [np.arange(30).reshape(6, 5).T.tolist()]
    assert image.affine.tolist() == [[-2, 0, -4], [0, -3, -5], [0, 0, 1]]
    vectors = SimpleITK.GetImageFromArray(np.arange(2 * 3 * 4 * 3.0).reshape(4, 3, 2, 3), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / "vectors.nii.gz"))
    assert read(tmp_path / "vectors.nii.gz").data[:, 1, 2, 3].tolist() == list(vectors.GetPixel(1, 2, 3))


def test_what_we_write_as_vectors_itk_reads_as_vectors(tmp_path, rng):
    from medframe.image import Image
    from medframe.io import write

    field = torch.from_numpy(rng.normal(size=(3, 4, 5, 6)).astype(np.float32))
    write(Image(field), tmp_path / "field.nii.gz", vector=True)
    other = SimpleITK.ReadImage(str(tmp_path / "field.nii.gz"))
    assert other.GetNumberOfComponentsPerPixel() == 3
    assert np.allclose(other.GetPixel(1, 2, 3), field[:, 1, 2, 3])
