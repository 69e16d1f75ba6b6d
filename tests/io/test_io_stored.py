"""What stored numbers become: dtypes, scaling, labels, axis order."""

import nibabel
import numpy as np
import pytest
import torch

from medframe.base.errors import BadLabel, BadVoxels
from medframe.image import Image, LabelMap
from medframe.io import read
from medframe.io.stored import Stored, reorder


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "labels", "due"),
    [
        ("|u1", 1, 0, False, torch.uint8),
        ("|i1", 1, 0, False, torch.int8),
        (">i2", 1, 0, False, torch.int16),
        ("<u2", 1, 0, False, torch.int32),
        ("<u4", 1, 0, True, torch.int64),
        ("<u8", 1, 0, True, torch.int64),
        (">f4", 1, 0, False, torch.float32),
        ("<f8", 1, 0, False, torch.float64),
        ("<u2", 1, -1024, False, torch.float32),
        ("<i2", 0.075, 3101, False, torch.float32),
        ("<i2", 1e-3, 1e6, False, torch.float64),  # float32 has steps of 0.06 there
        ("|u1", 1e37, 0, False, torch.float64),  # beyond the range of float32
        ("<i4", 0.5, 0, False, torch.float64),
        ("<f4", 2, 0, False, torch.float64),
        ("<f4", 1, 0, True, torch.int32),
        ("<f8", 1, 0, True, torch.int64),
        ("|u1", 2, 0, True, torch.int64),
    ],
)
def test_the_dtype_is_known_before_the_voxels(dtype, slope, inter, labels, due):
    stored = Stored(dtype, (1, 2, 3, 4), False, slope, inter, labels)
    assert stored.tensor_dtype == due
    raw = np.arange(24).astype(dtype)
    out = stored.decode(stored.view(raw), (0, 0, 0), "x")
    assert out.dtype == due
    exact = (np.arange(24).reshape(4, 3, 2).T * float(slope) + inter)[None]
    assert np.allclose(out.numpy(), exact, rtol=1e-7)


def test_no_two_stored_values_merge():
    for slope, inter in ((1, -1024), (0.075, 3101), (1e-3, 1e6), (-3.3, 1e5), (1e-6, 1)):
        stored = Stored("<i2", (1, 65536, 1, 1), False, slope, inter)
        raw = np.arange(65536).astype("<u2").view("<i2")
        assert len(stored.decode(stored.view(raw), (0, 0, 0), "x").unique()) == 65536


def test_colours_stand_together():
    raw = np.arange(3 * 24, dtype=np.uint8)
    stored = Stored("|u1", (3, 2, 3, 4), interleaved=True)
    out = stored.decode(stored.view(raw), (0, 0, 0), "x")
    assert out[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert out[:, 1, 0, 0].tolist() == [3, 4, 5]
    assert out[:, 0, 1, 0].tolist() == [6, 7, 8]


@pytest.mark.parametrize(
    "shape", [(1, 5, 6, 7), (3, 1, 300, 2), (2, 300, 40, 90), (70, 4, 3, 2), (1, 1, 1, 1), (1, 513, 7, 130)]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_reorder_moves_every_voxel_once(rng, shape, order):
    source = np.array(rng.integers(0, 15000, shape), order=order, dtype=">i2")
    target = np.zeros(shape, np.float64)
    seen = []

    def step(slab, corner):
        assert slab[0, 0, 0, 0] == source[corner]
        seen.append(slab.size)
        return slab * 2

    reorder(source, target, np.dtype("i2"), step)
    assert np.array_equal(target, 2.0 * source)
    assert sum(seen) == source.size


def save(path, values, slope=None):
    image = nibabel.Nifti1Image(np.asarray(values).reshape(-1, 1, 1), np.eye(4), dtype=np.asarray(values).dtype)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    nibabel.save(image, path)
    if slope is not None:  # nibabel rescales on its own otherwise
        raw = bytearray(path.read_bytes())
        raw[112:120] = np.array([slope, 0], "<f4").tobytes()
        path.write_bytes(raw)
    return path


def test_whole_floats_are_labels(tmp_path):
    for dtype, due in (("float32", torch.int32), ("float64", torch.int64)):
        labels = read(save(tmp_path / "x.nii", np.array([0, 1, 2, -0.0, 16777216], dtype)), LabelMap)
        assert labels.dtype == due
        assert labels.data.flatten().tolist() == [0, 1, 2, 0, 16777216]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0, 1, 1.4999, 0.3], "f4"), r"1\.499899.* at voxel \(2, 0, 0\)"),
        (np.array([0, np.nan], "f4"), r"nan at voxel \(1, 0, 0\)"),
        (np.array([0, -np.inf], "f8"), r"-inf at voxel \(1, 0, 0\)"),
        (np.array([0, 2**24 + 2], "f4"), r"16777218\.0 at voxel"),
        (np.array([0, 2.0**53 + 2], "f8"), r"9007199254740994\.0 at voxel"),
        (np.array([0, 2**63 + 1], "u8"), r"9223372036854775809 at voxel \(1, 0, 0\)"),
    ],
)
def test_what_is_no_label_is_refused(tmp_path, values, message):
    path = save(tmp_path / "lab.nii", values)
    labels = read(path, LabelMap)
    with pytest.raises(BadLabel, match=r"lab\.nii.*" + message):
        _ = labels.data
    if values.dtype.kind == "f":
        assert np.array_equal(read(path).data.flatten().numpy(), values, equal_nan=True)


def test_scaled_labels(tmp_path):
    path = save(tmp_path / "x.nii", np.array([0, 2, 4], "u1"), slope=0.5)
    assert read(path, LabelMap).data.flatten().tolist() == [0, 1, 2]
    path = save(tmp_path / "y.nii", np.array([0, 1, 2], "u1"), slope=0.5)
    with pytest.raises(BadLabel, match=r"0\.5 at voxel \(1, 0, 0\), after scaling"):
        _ = read(path, LabelMap).data


def test_declared_classes(tmp_path):
    path = save(tmp_path / "x.nii", np.array([0, 1, 2, 200], "u1"))
    assert read(path, LabelMap, classes=201).data.max() == 200
    assert read(path, LabelMap, classes=1000).data.max() == 200
    with pytest.raises(BadLabel, match=r"label 200 at voxel \(3, 0, 0\).*0 to 2"):
        _ = read(path, LabelMap, classes=3).data


def test_scaling_that_loses_is_refused(tmp_path):
    path = save(tmp_path / "x.nii", np.array([0, 2**53 + 2], "i8"), slope=2.0)
    with pytest.raises(BadVoxels, match="too large to be kept exactly"):
        _ = read(path).data
    stored = Stored("<f8", (1, 2, 1, 1), False, 1e300)
    with pytest.raises(BadVoxels, match="pass what double precision holds"):
        stored.decode(stored.view(np.array([1.0, 1e200])), (0, 0, 0), "x")


def test_window_errors_name_the_voxel_of_the_whole(tmp_path):
    values = np.zeros((6, 5, 4), "f4")
    values[4, 3, 2] = 0.5
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    source = read(tmp_path / "x.nii", LabelMap)._source
    with pytest.raises(BadLabel, match=r"\(4, 3, 2\)"):
        source.read((slice(3, 6), slice(2, 5), slice(1, 4)))
    assert source.read((slice(0, 4), slice(0, 5), slice(0, 4))).sum() == 0


def test_nan_and_infinity_stay_in_images(tmp_path):
    values = np.array([1, np.nan, np.inf, -np.inf], "f4")
    found = read(save(tmp_path / "x.nii", values), Image).data.flatten().numpy()
    assert np.array_equal(found, values, equal_nan=True)
