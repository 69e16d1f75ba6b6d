"""One file through our reader, nibabel and SimpleITK: one value at one place of the world, or a reason why not.

Every good NIfTI, NRRD and MetaImage file of the corpus is judged. Where another reader says something else, the table
below names it with the reason, and the test fails when an entry no longer holds, so it cannot go stale.
"""

import shutil
import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medframe.base.errors import MedframeWarning
from medframe.image import Image
from medframe.io import read, write

# corpus case -> reader -> what it does with this file, and why ours does something else
OTHERS = {
    "nii_gz_plain": {"nibabel": "refuses: the name says gzip, the content does not; content is what counts for us"},
    "nii_gzipped_named_nii": {
        "nibabel": "refuses: goes by the name alone",
        "SimpleITK": "refuses: goes by the name alone",
    },
    "nii2_ok": {"SimpleITK": "refuses: its NIfTI reader does not know NIfTI-2"},
    "nii_voxoff_zero": {
        "nibabel": "reads the header's own bytes as voxels; the standard puts them behind it",
        "SimpleITK": "reads bytes of the header as voxels; the standard puts them behind it",
    },
    "nii_extension_bogus": {"nibabel": "refuses: an extension of impossible length, which we never look at"},
    "nii_slope0": {"SimpleITK": "adds the intercept though slope 0 says that there is no scaling"},
    "nii_rgb24": {"nibabel": "gives records of R, G and B; ours are three channels"},
    "nii_no_form": {
        "nibabel": "centres the lattice and mirrors it; ours lies at 0 and says that sides are unknown",
        "SimpleITK": "mirrors it; ours says that sides are unknown",
    },
    "nii_pixdim_neg_sform": {"SimpleITK": "takes the spacing of pixdim; the sform is what the standard says counts"},
    "nii_pixdim_zero_sform": {"SimpleITK": "takes the spacing of pixdim; the sform is what the standard says counts"},
    "nii_pixdim_nan_sform": {"SimpleITK": "takes the spacing of pixdim; the sform is what the standard says counts"},
    "nii_pixdim_disagrees_sform": {"SimpleITK": "takes the spacing of pixdim; the sform is what counts"},
    "nii_units_m": {"nibabel": "keeps metres; ours are millimetres"},
    "nii_units_um": {"nibabel": "keeps micrometres; ours are millimetres"},
    "nii_shear": {"SimpleITK": "refuses: has no room for a shear"},
    "nrrd_no_space": {"SimpleITK": "takes the axes as LPS; ours are RAS and we say that sides are unknown"},
}
NO_SUFFIX = {"fs_noext"}  # refused by us: it has none
SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd")


def probes(image, count=12):
    chance = np.random.default_rng(0)
    index = np.stack([chance.integers(0, n, count) for n in image.space.shape], -1)
    return index, image.space.to_world(index)


def by_nibabel(path, world):
    """The value of the first channel at places of the world, None where there is no voxel."""
    other = nibabel.load(path)
    voxels = np.asarray(other.dataobj)
    voxels = voxels.reshape((*voxels.shape, 1, 1)[: max(3, voxels.ndim)])
    inverse = np.linalg.inv(other.affine)
    for place in world:
        index = inverse[:3, :3] @ place + inverse[:3, 3]
        yield _at(index, voxels.shape[:3], lambda i: np.ravel(voxels[i])[0])


def by_sitk(path, world):
    other = sitk.ReadImage(str(path))
    rank = other.GetDimension()
    for place in world:
        lps = [*(place * [-1, -1, 1]), *other.GetOrigin()[3:]][:rank]
        index = np.array(other.TransformPhysicalPointToContinuousIndex(lps))
        yield _at(index, other.GetSize(), lambda i: np.ravel(other[list(i)])[0])


def _at(index, shape, value):
    nearest = np.rint(index).astype(int)
    if (nearest < 0).any() or (nearest >= shape).any() or np.abs(index - nearest).max() > 0.02:
        return None
    return value(tuple(int(i) for i in nearest))


def verdict(reader, path, index, world, image):
    """Empty where the reader agrees with us, else what it does."""
    try:
        found = list(reader(path, world))
    except Exception as error:  # other readers raise almost anything
        return f"refuses: {type(error).__name__}"
    for place, value in zip(index, found, strict=True):
        due = image.data[(0, *place)].item()
        if value is None:
            return "another place"
        if isinstance(value, np.void) or not np.isclose(due, float(value), rtol=1e-6, equal_nan=True):
            return f"{value} where we have {due}"
    return ""


@pytest.fixture
def quiet():
    shown = sitk.ProcessObject_GetGlobalWarningDisplay()
    sitk.ProcessObject_SetGlobalWarningDisplay(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    sitk.ProcessObject_SetGlobalWarningDisplay(shown)


def test_the_corpus(corpus, quiet):
    folder, cases = corpus
    judged, wrong = 0, {}
    for name, case in cases.items():
        path = folder / case["path"] if case["path"] else None
        good = case["kind"] in ("image", "label") and case["expect"] == "reads" and name not in NO_SUFFIX
        if not good or path is None or not path.name.lower().endswith(SUFFIXES):
            continue
        image = read(path)
        index, world = probes(image)
        readers = {"SimpleITK": by_sitk}
        if path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img")):
            readers["nibabel"] = by_nibabel
        for reader, ask in readers.items():
            found, told = verdict(ask, path, index, world, image), OTHERS.get(name, {}).get(reader)
            judged += 1
            if bool(found) != bool(told) or (told and told.startswith("refuses") != found.startswith("refuses")):
                wrong[name, reader] = (found or "agrees", told)
    assert not wrong
    assert judged > 100
    assert set(OTHERS) <= set(cases)


def test_real_nifti_files_of_every_kind(data_folder, quiet):
    names = sorted(p for p in (data_folder / "nifti_odd").rglob("*") if p.name.endswith((".nii", ".nii.gz")))
    assert len(names) >= 14
    # SimpleITK knows no NIfTI-2, and makes the infinite voxels of mt_mtr 0
    not_for_itk = {"example_nifti2.nii.gz", "mt_mtr.nii.gz"}
    for path in names:
        image, theirs = read(path), nibabel.load(path)
        # after both are turned to RAS: voxels exactly, affine within 1e-3
        turned, canonical = image.to_space(image.space.reoriented("RAS")), nibabel.as_closest_canonical(theirs)
        assert np.allclose(turned.affine, canonical.affine, atol=1e-3), path.name
        due = np.asarray(canonical.dataobj)
        due = np.moveaxis(due, 3, 0) if due.ndim == 4 else due[None]
        found = turned.data.numpy()
        assert found.shape == due.shape
        # scaled voxels (functional.nii) are rounded once to float32
        assert np.array_equal(found, due.astype(found.dtype), equal_nan=True), path.name
        index, world = probes(image)
        assert path.name in not_for_itk or not verdict(by_sitk, path, index, world, image), path.name


def test_itk_takes_the_neighbour_of_a_file_and_we_do_not(tmp_path, quiet):
    # asked for x.nii.gz, ITK may read the x.nii beside it, and a pair's voxels from the wrong one of two
    for value, suffix in ((1, ".nii"), (2, ".nii.gz")):
        write(Image(torch.full((1, 3, 4, 5), value, dtype=torch.int16)), tmp_path / f"x{suffix}")
    assert int(read(tmp_path / "x.nii").data.max()) == 1
    assert int(read(tmp_path / "x.nii.gz").data.max()) == 2
    pair = nibabel.Nifti1Pair(np.full((3, 4, 5), 3, np.int16), np.eye(4))
    nibabel.save(pair, tmp_path / "y.img")
    nibabel.save(nibabel.Nifti1Pair(np.full((3, 4, 5), 4, np.int16), np.eye(4)), tmp_path / "y.img.gz")
    assert int(read(tmp_path / "y.hdr").data.max()) == int(read(tmp_path / "y.img").data.max()) == 3
    assert int(read(tmp_path / "y.hdr.gz").data.max()) == int(read(tmp_path / "y.img.gz").data.max()) == 4
    # a name that holds only the other one is an error, whatever lies beside it
    (tmp_path / "x.nii.gz").unlink()
    with pytest.raises(Exception, match=r"x\.nii\.gz.*no such file"):
        read(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_we_write_the_others_read_at_the_same_places(tmp_path, rng, random_affine, suffix, channels, quiet):  # noqa: PLR0917
    for k in range(6):
        image = Image(
            torch.from_numpy(rng.integers(-99, 99, (channels, 5, 6, 7)).astype(np.int16)), random_affine(upright=True)
        )
        path = tmp_path / f"{k}{suffix}"
        write(image, path)
        index, world = probes(image)
        assert verdict(by_sitk, path, index, world, image) == ""
        if ".nii" in suffix:
            assert verdict(by_nibabel, path, index, world, image) == ""


def test_two_ways_to_the_same_file_agree(data_folder, tmp_path):
    # the native reader, and the pair, the gzip stream and the other formats made of the same real file
    source = read(data_folder / "nifti_odd/niivue/CT_pitch.nii.gz")
    crop = source.with_data(source.data).to_space(source.space.window((40, 60, 5), (30, 31, 32)))
    first = None
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha", ".npz", ".safetensors"):
        path = tmp_path / f"x{suffix}"
        write(crop, path)
        shutil.copy(path, tmp_path / f"copy{suffix}")
        found = read(tmp_path / f"copy{suffix}")
        first = first or found
        assert torch.equal(found.data, first.data)
        assert found.space.distance(crop.space) < 1e-4


def test_a_warning_says_what_was_assumed(corpus):
    folder, cases = corpus
    for name in ("nii_no_form", "nrrd_no_space"):
        with pytest.warns(MedframeWarning, match="which side is left is unknown"):
            read(folder / cases[name]["path"])
