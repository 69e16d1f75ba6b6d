"""What is written is read again: places, voxels and types; and files keep their header's affine to the byte."""

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from medframe.base.errors import BadArgument, BadGeometry, BadVoxels, WriteFailed
from medframe.geometry import Space, Warp
from medframe.image import Image, LabelMap
from medframe.io import read, write


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_random_affines_survive_to_a_ten_thousandth_of_a_millimetre(tmp_path, rng, random_affine, suffix):
    sheared = 0
    for k in range(40):
        shape = tuple(rng.integers(1, 9, 3).tolist())
        affine = random_affine()
        image = Image(torch.from_numpy(rng.normal(size=(1, *shape)).astype(np.float32)), affine)
        path = tmp_path / f"{k}{suffix}"
        write(image, path)
        back = read(path)
        assert back.space.distance(image.space) < 1e-4
        assert torch.equal(back.data, image.data)
        assert back.data.is_contiguous()
        assert back.meta["form"] == "sform"
        # another reader, by the sform and, where there is one, by the qform
        header = nibabel.load(path).header
        assert np.allclose(header.get_sform(), affine, atol=1e-4)
        sheared += header["qform_code"] == 0
        if header["qform_code"] > 0:
            assert np.allclose(header.get_qform(), affine, atol=1e-3)
        else:
            columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
            assert np.abs(columns.T @ columns - np.eye(3)).max() > 1e-4
    assert 2 < sheared < 30


def test_itk_finds_the_same_places(tmp_path, rng, random_affine):
    for k in range(10):
        affine = random_affine(upright=True)
        path = tmp_path / f"{k}.nii.gz"
        voxels = rng.integers(-900, 900, (4, 5, 6)).astype(np.int16)
        write(Image(torch.from_numpy(voxels)[None], affine), path)
        other = SimpleITK.ReadImage(str(path))
        assert np.array_equal(SimpleITK.GetArrayFromImage(other).T, voxels)
        for index in ((0, 0, 0), (3, 4, 5), (1, 0, 2)):
            place = np.array(other.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
            assert np.allclose(place, affine[:3, :3] @ index + affine[:3, 3], atol=1e-3)


DTYPES = {
    torch.bool: (torch.uint8, "uint8"),
    torch.uint8: (torch.uint8, "uint8"),
    torch.int8: (torch.int8, "int8"),
    torch.int16: (torch.int16, "int16"),
    torch.int32: (torch.int32, "int32"),
    torch.int64: (torch.int64, "int64"),
    torch.uint16: (torch.int32, "uint16"),
    torch.uint32: (torch.int64, "uint32"),
    torch.float16: (torch.float32, "float32"),
    torch.bfloat16: (torch.float32, "float32"),
    torch.float32: (torch.float32, "float32"),
    torch.float64: (torch.float64, "float64"),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(tmp_path, dtype):
    values = torch.tensor([0, 1, 100, 7, 90, 3]).to(dtype).reshape(1, 1, 2, 3)
    path = tmp_path / "x.nii.gz"
    write(Image(values), path)
    image, due = read(path), DTYPES[dtype]
    assert (image.dtype, image.meta["dtype"]) == due
    assert torch.equal(image.data, values.to(due[0]))
    assert np.array_equal(nibabel.load(path).get_fdata(), values[0].double().numpy())


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int64", "uint64", "int32"])
def test_the_largest_integers_come_back(tmp_path, dtype):
    ends = np.iinfo(dtype)
    top = min(ends.max, 2**63 - 1)
    values = np.array([ends.min, top, top - 1, 1], dtype).reshape(4, 1, 1)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), dtype=dtype), tmp_path / "x.nii")
    for kind in (Image, LabelMap):
        assert read(tmp_path / "x.nii", kind).data.flatten().tolist() == values.ravel().tolist()


def test_an_integer_beyond_int64_is_refused(tmp_path):
    values = np.array([0, 2**63], np.uint64).reshape(2, 1, 1)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), dtype="uint64"), tmp_path / "x.nii")
    with pytest.raises(BadVoxels, match=r"9223372036854775808 at voxel \(1, 0, 0\)"):
        _ = read(tmp_path / "x.nii").data


@pytest.mark.parametrize(
    "shape", [(1, 4), (1, 4, 5), (3, 4, 5), (1, 4, 5, 6), (3, 4, 5, 6), (2, 1, 1, 1), (1, 1, 1, 1)]
)
@pytest.mark.parametrize("vector", [False, True])
def test_every_rank_and_channel_count(tmp_path, rng, shape, vector):
    ndim = len(shape) - 1
    affine = np.diag([*rng.uniform(0.5, 3, ndim), 1.0])
    affine[:-1, -1] = rng.uniform(-9, 9, ndim)
    image = Image(torch.from_numpy(rng.normal(size=shape)), affine)
    path = tmp_path / "x.nii"
    write(image, path, vector=vector)
    back = read(path, ndim=ndim)
    assert back.shape == shape
    assert back.space.distance(image.space) < 1e-5
    assert torch.equal(back.data, image.data)
    solid = read(path)
    assert solid.shape == (*shape, *[1] * (3 - ndim))
    other = nibabel.load(path)
    assert other.shape == (
        (*solid.shape[1:], 1, shape[0]) if vector else (*shape[1:],) if shape[0] == 1 else (*solid.shape[1:], shape[0])
    )
    assert np.array_equal(
        np.asarray(other.dataobj).reshape(-1, order="F"), solid.data.numpy().transpose(0, 3, 2, 1).ravel()
    )


def test_a_real_volume_is_not_flattened(tmp_path):
    write(Image(torch.zeros(1, 3, 4, 5)), tmp_path / "x.nii")
    with pytest.raises(BadGeometry, match="not 2-D"):
        read(tmp_path / "x.nii", ndim=2)


@pytest.mark.parametrize(
    "name", ["Päti ent ☃/im age (1).nii.gz", "scan.1.2.nii", "-rf.nii.gz", "UP.NII.GZ", "a\nb.nii"]
)
def test_odd_names(tmp_path, name):
    write(Image(torch.ones(1, 2, 3, 4)), tmp_path / name)
    assert read(tmp_path / name).data.sum() == 24


def test_label_maps_are_written_narrow_and_exact(tmp_path):
    for labels, due in [
        ([0, 255], "uint8"),
        ([-1, 3], "int16"),
        ([0, 256], "int16"),
        ([0, 40000], "int32"),
        ([0, 2**53 + 1], "int64"),
    ]:
        ids = torch.tensor(labels).reshape(1, 2, 1, 1)
        write(LabelMap(ids), tmp_path / "x.nii.gz", overwrite=True)
        back = read(tmp_path / "x.nii.gz", LabelMap)
        assert back.meta["dtype"] == due
        assert torch.equal(back.data.long(), ids)


def test_long_axes_and_far_origins_go_into_nifti_2(tmp_path):
    write(Image(torch.zeros(1, 40000, 1, 1, dtype=torch.uint8)), tmp_path / "long.nii.gz")
    back = read(tmp_path / "long.nii.gz")
    assert (back.meta["format"], back.space.shape) == ("NIfTI-2", (40000, 1, 1))
    far = Space((3, 3, 3), np.array([[0.01, 0, 0, 123456.789], [0, 0.01, 0, 0], [0, 0, 0.01, 0], [0, 0, 0, 1]]))
    write(Image(torch.zeros(1, 3, 3, 3), space=far), tmp_path / "far.nii")
    assert read(tmp_path / "far.nii").space.distance(far) < 1e-9
    assert np.allclose(nibabel.load(tmp_path / "far.nii").affine, far.affine, atol=1e-9)


def test_waiting_warps_are_paid_and_half_a_file_never_stands(tmp_path):
    image = Image(torch.arange(24.0).reshape(1, 2, 3, 4))
    path = tmp_path / "deep" / "x.nii.gz"
    write(image.warped(Warp.window((1, 0, 0), (1, 3, 4))), path)
    assert torch.equal(read(path).data, image.data[:, 1:])
    assert read(path).space.origin.tolist() == [1, 0, 0]
    before = path.read_bytes()
    with pytest.raises(WriteFailed, match="exists"):
        write(image, path)
    assert path.read_bytes() == before
    write(image, path, overwrite=True)
    assert torch.equal(read(path).data, image.data)
    assert [p.name for p in path.parent.iterdir()] == ["x.nii.gz"]


def test_the_same_image_gives_the_same_bytes(tmp_path):
    image = Image(torch.arange(24.0).reshape(1, 2, 3, 4))
    for name in ("a.nii.gz", "b.nii.gz"):
        write(image, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_bad_arguments(tmp_path):
    image = Image(torch.zeros(1, 2, 2, 2))
    for call in (
        lambda: write(image, tmp_path / "x.hdr"),
        lambda: write(image, tmp_path / "x.nii", dtype="complex64"),
        lambda: write(image, tmp_path / "x.nii", on_loss="maybe"),
        lambda: write(torch.zeros(2), tmp_path / "x.nii"),
        lambda: (write(image, tmp_path / "y.nii"), read(tmp_path / "y.nii", classes=3)),
        lambda: read(tmp_path / "y.nii", ndim=4),
    ):
        with pytest.raises(BadArgument):
            call()
    assert not (tmp_path / "x.nii").exists()


def test_real_files_keep_the_bytes_of_their_affine(data_folder, tmp_path):
    names = sorted((data_folder / "nifti_odd").rglob("*.nii*"))
    names += sorted((data_folder / "msd_hippocampus").glob("*Tr/*.nii.gz"))[::60]
    names += sorted((data_folder / "dicom_series").glob("*/reference*.nii*"))
    assert len(names) > 20
    for name in names:
        image = read(name)
        write(
            image.with_data(torch.zeros(1, *image.space.shape, dtype=torch.uint8)), tmp_path / "x.nii", overwrite=True
        )
        theirs, ours = nibabel.load(name).header, nibabel.load(tmp_path / "x.nii").header
        assert image.meta["form"] == "sform"
        for row in ("srow_x", "srow_y", "srow_z"):
            assert theirs[row].astype("<f4").tobytes() == ours[row].tobytes(), name


def test_a_file_with_a_qform_alone_gets_the_same_place(tmp_path, random_affine):
    for _ in range(20):
        header = nibabel.Nifti1Header()
        header.set_data_shape((4, 5, 6))
        header.set_qform(random_affine(upright=True), code=1)
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None, header), tmp_path / "q.nii")
        image = read(tmp_path / "q.nii")
        assert image.meta["form"] == "qform"
        write(image, tmp_path / "x.nii", overwrite=True)
        back = nibabel.load(tmp_path / "x.nii")
        assert np.allclose(back.header.get_qform(), nibabel.load(tmp_path / "q.nii").affine, atol=1e-4)
        assert np.allclose(back.affine, image.affine, atol=1e-4)
