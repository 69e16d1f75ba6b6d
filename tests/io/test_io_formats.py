"""One contract for every format that is written: places, dtypes, ranks, names; and what a format cannot hold."""

import pickle
import warnings

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medframe.base.errors import BadArgument, MedframeError, MedframeWarning, WriteFailed
from medframe.image import Image, LabelMap
from medframe.io import FORMATS, read, write

# suffix: what it holds. place: "any" affine, "straight" (along the world's axes), "scale" (that from 0), "none"
HOLDS = {
    ".nii": {"place": "any", "ranks": (1, 2, 3), "channels": True},
    ".nii.gz": {"place": "any", "ranks": (1, 2, 3), "channels": True},
    ".nrrd": {"place": "any", "ranks": (1, 2, 3), "channels": True},
    ".mha": {"place": "any", "ranks": (1, 2, 3), "channels": True},
    ".npz": {"place": "any", "ranks": (2, 3), "channels": True, "own_rank": True},
    ".safetensors": {"place": "any", "ranks": (1, 2, 3), "channels": True, "own_rank": True},
    ".zarr": {"place": "straight", "ranks": (2, 3), "channels": True, "own_rank": True},
    ".tif": {"place": "scale", "ranks": (2, 3), "channels": True, "own_rank": True},
    ".npy": {"place": "none", "ranks": (2, 3), "channels": True, "own_rank": True},
    ".png": {"place": "none", "ranks": (2,), "channels": False, "own_rank": True},
    ".bmp": {"place": "none", "ranks": (2,), "channels": False, "own_rank": True},
}
VOLUMES = [s for s in HOLDS if 3 in HOLDS[s]["ranks"]]
DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64", "float16", "bool"]
WIDER = {"uint16": "int32", "uint32": "int64", "float16": "float32", "bool": "uint8"}


def fitting(place, affine):
    """An affine that a format can hold, made from any."""
    if place == "any":
        return affine
    out = np.eye(4)
    if place != "none":
        out[:3, :3] = np.diag(np.linalg.norm(affine[:3, :3], axis=0))
    if place == "straight":
        out[:3, 3] = affine[:3, 3]
    return out


def test_every_written_format_is_here():
    written = {s for f in FORMATS if f.writes for s in f.suffixes}
    read_only = {".hdr", ".img", ".hdr.gz", ".img.gz", ".nhdr", ".mhd", ".jpg", ".jpeg", ".tiff"}
    mine = {s for f in FORMATS if f.module.rpartition(".")[2] in MODULES for s in f.suffixes}
    assert set(HOLDS) == (written & mine) - read_only


MODULES = ("nifti", "nrrd", "metaimage", "arrays", "pictures", "tiff", "zarr_store")


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_random_affines_come_back(tmp_path, rng, random_affine, suffix, count):
    place = HOLDS[suffix]["place"]
    largest = 0.0
    for k in range(count):
        affine = fitting(place, random_affine())
        voxels = rng.integers(0, 250, (1, 3, 4, 5)).astype(np.uint8)
        image = Image(torch.from_numpy(voxels), affine)
        path = tmp_path / f"{k % 2}{suffix}"
        write(image, path, overwrite=True)
        back = read(path)
        largest = max(largest, back.space.distance(image.space))
        for index in ((0, 0, 0), (2, 3, 4), (1, 0, 2)):
            found = np.rint(back.space.to_index(image.space.to_world(index))).astype(int)
            assert back.data[(0, *found)] == voxels[(0, *index)]
    assert largest < 1e-4


@pytest.mark.parametrize("suffix", [s for s in HOLDS if HOLDS[s]["place"] != "any"])
def test_a_place_that_would_be_lost_is_refused(tmp_path, random_affine, suffix):
    ranks = HOLDS[suffix]["ranks"]
    affine = random_affine() if 3 in ranks else np.diag([2.0, 3.0, 1.0])
    image = Image(torch.zeros(1, *(3, 4, 5)[: max(ranks)], dtype=torch.uint8), affine)
    with pytest.raises(BadArgument, match="cannot hold where the image lies"):
        write(image, tmp_path / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(tmp_path, rng, suffix, dtype):
    wide = dtype in ("float16", "float32", "float64")
    drawn = rng.normal(0, 100, (1, 3, 4, 5)) if wide else rng.integers(0, 2 if dtype == "bool" else 120, (1, 3, 4, 5))
    data = torch.from_numpy(drawn).to(getattr(torch, dtype))
    path = tmp_path / f"x{suffix}"
    if suffix == ".tif" and dtype == "int64":  # OME has no name for it
        with pytest.raises(BadArgument, match="no such dtype"):
            write(Image(data), path)
        return
    write(Image(data), path)
    back = read(path)
    kept = (dtype, "uint8") if dtype == "bool" else (dtype, WIDER.get(dtype, dtype))
    assert str(back.dtype).removeprefix("torch.") in kept
    assert torch.equal(back.data.double(), data.double())
    if not wide and dtype != "bool":
        top = min(np.iinfo(dtype).max, 2**63 - 1)
        ends = torch.from_numpy(np.array([np.iinfo(dtype).min, top], dtype)).reshape(1, 2, 1, 1)
        write(Image(ends), path, overwrite=True)
        assert read(path).data.flatten().tolist() == [np.iinfo(dtype).min, top]


CASES = [(s, r, c) for s in HOLDS for r in HOLDS[s]["ranks"] for c in ((1, 3) if HOLDS[s]["channels"] else (1,))]


@pytest.mark.parametrize(("suffix", "rank", "channels"), CASES)
def test_every_rank_and_channel_count(tmp_path, rng, suffix, rank, channels):
    if suffix in (".npz", ".npy") and channels > 1 and rank < 3:
        with pytest.raises(BadArgument, match="channels of three axes"):
            write(Image(torch.zeros(channels, *[2] * rank)), tmp_path / f"x{suffix}")
        return
    shape = (channels, *(4, 5, 6)[:rank])
    data = torch.from_numpy(rng.integers(0, 200, shape).astype(np.uint8))
    spacing = np.ones(rank) if HOLDS[suffix]["place"] == "none" else rng.uniform(0.5, 3, rank)
    image = Image(data, np.diag([*spacing, 1.0]))
    path = tmp_path / f"x{suffix}"
    write(image, path)
    back = read(path) if HOLDS[suffix].get("own_rank") else read(path, ndim=rank)
    assert back.shape == shape
    assert back.space.distance(image.space) < 1e-5
    assert torch.equal(back.data, data)


@pytest.mark.parametrize("suffix", HOLDS)
def test_what_every_format_does(tmp_path, suffix):
    ranks = max(HOLDS[suffix]["ranks"])
    sizes = (6, 5, 4)[:ranks]
    data = (torch.arange(int(np.prod(sizes))) % 7).reshape(1, *sizes).to(torch.uint8)
    path = tmp_path / "Päti ent ☃ 一" / f"im age (1).2{suffix}"
    write(Image(data), path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing temporary is left
    with pytest.raises(WriteFailed, match="exists"):
        write(Image(data), path)
    image = read(path)
    assert {"file", "format", "dtype", "notes"} <= set(image.meta)
    assert str(tmp_path) not in str(dict(image.meta))
    # by window, and from another process
    window = tuple(slice(1, n - 1) for n in image.space.shape) if ranks == image.ndim else (slice(1, 5), slice(1, 4))
    window = (*window, *[slice(0, 1)] * (image.ndim - len(window)))
    other = pickle.loads(pickle.dumps(image))
    assert torch.equal(other.source.read(window), image.data[(slice(None), *window)])
    labels = read(path, LabelMap)
    assert type(labels) is LabelMap
    assert torch.equal(labels.data.long().reshape(-1), image.data.long().reshape(-1))
    # the same bytes again, and another image over the old one
    write(Image(data + 1), path, overwrite=True)
    assert torch.equal(read(path).data.reshape(data.shape), data + 1)
    if suffix != ".safetensors":
        with pytest.raises(MedframeError, match="among the declared classes"):
            _ = read(path, LabelMap, classes=3).data
    changed = read(path)
    write(Image(torch.zeros(1, *[s + 1 for s in sizes], dtype=torch.uint8)), path, overwrite=True)
    if suffix != ".zarr":
        with pytest.raises(MedframeError, match="changed after"):
            _ = changed.data


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_simpleitk_finds_the_same_values_at_the_same_places(tmp_path, rng, random_affine, suffix):
    for upright in (True, False) if suffix != ".nii.gz" else (True,):
        affine = random_affine(upright)
        image = Image(torch.from_numpy(rng.integers(-900, 900, (1, 5, 6, 7)).astype(np.int16)), affine)
        path = tmp_path / f"x{suffix}"
        write(image, path, overwrite=True)
        theirs = sitk.ReadImage(str(path))
        for index in ((0, 0, 0), (4, 5, 6), (1, 2, 3)):
            lps = theirs.TransformIndexToPhysicalPoint(index)
            assert np.allclose(np.array([-1, -1, 1]) * lps, image.space.to_world(index), atol=1e-3)
            assert theirs[index] == image.data[(0, *index)]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nhdr", ".nii.gz"])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_simpleitk_are_read(tmp_path, rng, random_affine, suffix, compressed, channels):  # noqa: PLR0917
    affine = random_affine(upright=True)
    array = rng.integers(0, 900, (4, 5, 6, channels)).astype(np.int16)
    theirs = sitk.GetImageFromArray(array if channels > 1 else array[..., 0], isVector=channels > 1)
    mirror = np.diag([-1.0, -1.0, 1.0])
    theirs.SetSpacing(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    theirs.SetDirection((mirror @ affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)).ravel().tolist())
    theirs.SetOrigin((mirror @ affine[:3, 3]).tolist())
    sitk.WriteImage(theirs, str(tmp_path / f"x{suffix}"), compressed)
    image = read(tmp_path / f"x{suffix}")
    assert image.space.shape == (6, 5, 4)
    assert np.allclose(image.affine, affine, atol=1e-3)
    assert torch.equal(image.data, torch.from_numpy(array.transpose(3, 2, 1, 0).copy()))


def test_real_metaimages_and_nrrds_are_those_of_simpleitk(data_folder, rng):
    names = sorted((data_folder / "registration").glob("*.mha")) + sorted((data_folder / "pyradiomics").glob("*.nrrd"))
    assert len(names) >= 11
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MedframeWarning)
            image = read(name)
        theirs = sitk.ReadImage(str(name))
        rank = theirs.GetDimension()
        assert image.space.shape[:rank] == theirs.GetSize()
        array = sitk.GetArrayFromImage(theirs)
        assert np.array_equal(image.data[0].numpy().squeeze(), array.transpose(*range(rank)[::-1]).squeeze())
        for _ in range(5):
            index = [int(rng.integers(n)) for n in theirs.GetSize()]
            lps = np.zeros(3)
            lps[:rank] = theirs.TransformIndexToPhysicalPoint(index)
            assert np.allclose(image.space.to_world([*index, 0][:3]), [-lps[0], -lps[1], lps[2]], atol=1e-3)
