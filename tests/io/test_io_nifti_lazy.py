"""Reading is lazy: headers first, windows alone, and sources travel without their voxels."""

import os
import pickle
import resource
import time

import nibabel
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from medframe.base.errors import BadFile
from medframe.geometry import Warp
from medframe.image import Image, LabelMap
from medframe.io import read, write
from medframe.io.raw import RawSource


def source_of(image):
    return image._source


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [">i2", "<f4", "<u2", "|u1"])
def test_windows_equal_the_whole(tmp_path, rng, suffix, dtype):
    voxels = rng.integers(0, 200, (9, 8, 7, 3)).astype(dtype)
    header = nibabel.Nifti1Header(endianness=dtype[0].replace("|", "<"))
    header.set_data_dtype(dtype)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4), header), tmp_path / f"x{suffix}")
    source = source_of(read(tmp_path / f"x{suffix}"))
    whole = source.read((slice(0, 9), slice(0, 8), slice(0, 7)))
    assert np.array_equal(whole.numpy(), voxels.transpose(3, 0, 1, 2))
    for _ in range(20):
        start = rng.integers(0, (9, 8, 7))
        stop = [int(rng.integers(a + 1, n + 1)) for a, n in zip(start, (9, 8, 7), strict=True)]
        window = tuple(slice(int(a), b) for a, b in zip(start, stop, strict=True))
        assert torch.equal(source.read(window), whole[(slice(None), *window)])


def test_a_window_of_a_huge_file_touches_only_its_pages(tmp_path):
    path = tmp_path / "huge.nii"
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    header = bytearray(image.to_bytes()[:352])
    header[40:48] = np.array([3, 2000, 1000, 1000], "<i2").tobytes()
    with open(path, "wb") as stream:  # 4 GB of holes and one mark
        stream.write(header)
        stream.truncate(352 + 2 * 2000 * 1000 * 1000)
        stream.seek(352 + 2 * (1005 + 2000 * (503 + 1000 * 701)))
        stream.write(np.array([77], "<i2").tobytes())
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    crop = read(path).warped(Warp.window((1000, 500, 700), (16, 16, 16)))
    assert crop.data[0, 5, 3, 1] == 77
    assert crop.data.sum() == 77
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10


def test_only_the_header_is_read_at_first(tmp_path, monkeypatch):
    write(Image(torch.zeros(1, 4, 4, 4)), tmp_path / "x.nii.gz")

    def never(*_):
        raise AssertionError("voxels were read")

    monkeypatch.setattr("medframe.io.raw.inflate", never)
    image = read(tmp_path / "x.nii.gz")
    assert image.space.shape == (4, 4, 4)
    with pytest.raises(AssertionError, match="voxels were read"):
        _ = image.data


def test_a_gzipped_file_is_inflated_once(tmp_path, monkeypatch):
    from medframe.io import raw

    write(Image(torch.ones(1, 4, 4, 4)), tmp_path / "x.nii.gz")
    calls = []
    inflate = raw.inflate
    monkeypatch.setattr(raw, "inflate", lambda *a: (calls.append(a), inflate(*a))[1])
    image = read(tmp_path / "x.nii.gz")
    for start in range(3):
        assert image.warped(Warp.window((start, 0, 0), (1, 4, 4))).data.sum() == 16
    assert len(calls) == 1


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_sources_pickle_without_voxels(tmp_path, suffix):
    write(Image(torch.arange(64**3, dtype=torch.int32).reshape(1, 64, 64, 64)), tmp_path / f"x{suffix}")
    image = read(tmp_path / f"x{suffix}")
    source = source_of(image)
    assert isinstance(source, RawSource)
    first = source.read((slice(0, 64),) * 3)
    packed = pickle.dumps(source)
    assert len(packed) < 2000
    assert torch.equal(pickle.loads(packed).read((slice(0, 64),) * 3), first)


class Files(torch.utils.data.Dataset):
    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, k):
        return read(self.paths[k], LabelMap)


def as_is(items):
    return items


def test_lazy_images_come_out_of_a_worker(tmp_path):
    paths = []
    for k in range(3):
        paths.append(tmp_path / f"{k}{'.nii' if k % 2 else '.nii.gz'}")
        write(LabelMap(torch.full((1, 3, 4, 5), k)), paths[-1])
    loader = DataLoader(Files(paths), batch_size=1, num_workers=1, collate_fn=as_is)
    images = [image for batch in loader for image in batch]
    assert [int(image.data.max()) for image in images] == [0, 1, 2]
    assert all(isinstance(image, LabelMap) for image in images)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_that_changed_meanwhile_is_not_read(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write(Image(torch.ones(1, 40, 40, 40)), path)
    image = read(path)
    os.truncate(path, 400)
    with pytest.raises(BadFile, match="changed after its header was read"):
        _ = image.data


def test_the_voxels_may_be_changed_in_place(tmp_path):
    write(Image(torch.ones(1, 4, 4, 4)), tmp_path / "x.nii")
    image = read(tmp_path / "x.nii")
    image.data.mul_(2)  # a private copy: neither the file nor its map may be written
    assert read(tmp_path / "x.nii").data.max() == 1
