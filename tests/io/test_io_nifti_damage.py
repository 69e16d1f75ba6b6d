"""Damaged files: nothing but our own errors, nothing allocated on a header's word, no flipped byte served."""

import gzip
import struct
import sys
import warnings
import zlib

import nibabel
import numpy as np
import pytest
import torch

from medframe.base import sizes
from medframe.base.errors import BadFile, MedframeError, MedframeWarning, TooLarge, WriteFailed
from medframe.image import Image, LabelMap
from medframe.io import gzip_stream, read, write


@pytest.fixture(params=["isal", "zlib"])
def engine(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
        assert gzip_stream._engine() is zlib
    else:
        pytest.importorskip("isal")
    return request.param


@pytest.fixture
def sample(tmp_path, rng, random_affine):
    voxels = rng.integers(0, 900, (12, 11, 10)).astype(np.int16)
    path = tmp_path / "whole.nii.gz"
    write(Image(torch.from_numpy(voxels)[None], random_affine()), path)
    return path, voxels


def served(path, *kind):
    """The image, voxels read, or None where it was refused as it should be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MedframeWarning)
            image = read(path, *kind)
        _ = image.data
    except MedframeError:
        return None
    return image


def test_no_truncated_file_is_served(sample, tmp_path, rng, engine):
    whole = sample[0].read_bytes()
    path = tmp_path / "cut.nii.gz"
    for size in [*rng.integers(0, len(whole), 100).tolist(), *range(len(whole) - 12, len(whole))]:
        path.write_bytes(whole[:size])
        assert served(path) is None, size


def test_no_flipped_byte_is_served(sample, tmp_path, rng, engine):
    whole, truth = sample[0].read_bytes(), read(sample[0])
    path = tmp_path / "flip.nii.gz"
    places = [*range(24), *rng.integers(0, len(whole), 150).tolist(), *range(len(whole) - 8, len(whole))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        image = served(path)
        # flags, time, level and system of the gzip header mean nothing to the voxels
        assert image is None or 3 <= place < 10, place
        if image is not None:
            assert torch.equal(image.data, truth.data)
            assert image.space == truth.space


def test_members_tails_and_missing_ones(tmp_path, engine):
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    plain = nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()
    path = tmp_path / "m.nii.gz"
    parts = [gzip.compress(plain[k : k + 100]) for k in range(0, len(plain), 100)]
    good = [
        parts,
        [*parts, gzip.compress(b"")],
        [*parts, b"\0" * 512],
        [gzip.compress(plain + b"tail")],
        [plain],
        [b"", *parts],
    ]
    for pieces in good:
        path.write_bytes(b"".join(pieces))
        assert np.array_equal(read(path).data[0].numpy(), voxels)
    for pieces in (parts[:-1], [*parts[:-1], b"\0" * 512], [gzip.compress(plain[:-1])], [plain[:-1]]):
        path.write_bytes(b"".join(pieces))
        assert served(path) is None


def test_bombs_are_refused_by_named_limits(tmp_path, monkeypatch, engine):
    header = nibabel.Nifti1Image(np.zeros((256, 256, 64), np.uint8), np.eye(4)).to_bytes()[:352]
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header + bytes(256 * 256 * 64)))
    assert int(read(path, LabelMap).data.max()) == 0  # an empty label map of 4 MiB is none
    monkeypatch.setattr(gzip_stream, "RATIO_FREE", 1 << 20)
    with pytest.raises(TooLarge, match="MEDFRAME_RATIO_LIMIT"):
        read(path)
    monkeypatch.setenv("MEDFRAME_RATIO_LIMIT", "5000")
    assert read(path).space.shape == (256, 256, 64)
    monkeypatch.setattr(sizes, "_limit", [1 << 20])
    with pytest.raises(TooLarge, match="MEDFRAME_IMAGE_LIMIT"):
        read(path)


def test_a_tail_is_inflated_only_to_the_checksum(tmp_path, monkeypatch, engine):
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    plain = nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()
    monkeypatch.setattr(gzip_stream, "TAIL_LIMIT", 1 << 20)
    path = tmp_path / "tail.nii.gz"
    path.write_bytes(gzip.compress(plain) + gzip.compress(bytes(8 << 20)))
    assert np.array_equal(read(path).data[0].numpy(), voxels)
    path.write_bytes(gzip.compress(plain + bytes(8 << 20)))
    with pytest.raises(TooLarge, match="far behind the voxels"):
        _ = read(path).data


def test_a_gzipped_header_that_lies_allocates_nothing(tmp_path):
    header = bytearray(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes()[:352])
    struct.pack_into("<4h", header, 40, 3, 1000, 1000, 1000)
    path = tmp_path / "liar.nii.gz"
    noise = np.random.default_rng(0).bytes(2 << 20)
    path.write_bytes(gzip.compress(bytes(header) + noise, 1))  # large enough for the ratio to pass
    image = read(path)
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadFile, match=r"ends before its voxels.*2097152 bytes.*1000000000 bytes"):
        _ = image.data
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # kB


def test_a_full_disk_leaves_what_was_there(tmp_path, sample):
    resource = pytest.importorskip("resource")
    before = sample[0].read_bytes()
    image = Image(torch.from_numpy(np.random.default_rng(0).integers(0, 99, (1, 64, 64, 64))))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(WriteFailed, match="untouched"):
            write(image, sample[0], overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sample[0].read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [sample[0].name]
