"""Writers refuse loss, or make the loss they are told to make."""

import nibabel
import numpy as np
import pytest
import torch

from medframe.base.errors import BadVoxels
from medframe.image import Image
from medframe.io import write
from medframe.io.loss import fit

# values, dtype, what is lost (None: nothing), the result of "round" and of "clip" (None: refused)
CASES = [
    ([0, 255], "i8", "uint8", None, [0, 255], [0, 255]),
    ([0, 256], "i8", "uint8", "beyond the range", None, [0, 255]),
    ([-1, 3], "i4", "uint8", "beyond the range", None, [0, 3]),
    ([40000], "i4", "int16", "beyond the range", None, [32767]),
    ([2**63], "u8", "int64", "beyond the range", None, [2**63 - 1]),
    ([0.0, 3.0], "f4", "uint8", None, [0, 3], [0, 3]),
    ([0.25, 0.5, 1.5], "f4", "uint8", "a fraction", [0, 0, 2], [0, 0, 2]),
    ([300.5], "f8", "uint8", "a fraction", None, [255]),
    ([np.nan], "f4", "int16", "NaN", None, None),
    ([np.inf, -np.inf], "f4", "int16", "beyond the range|fraction", None, [32767, -32768]),
    ([float(2**31)], "f8", "int32", "beyond the range", None, [2**31 - 1]),
    ([float(2**63)], "f4", "int64", "beyond the range", None, [2**63 - 1]),
    ([-float(2**63)], "f4", "int64", None, [-(2**63)], [-(2**63)]),
    ([255.4, -0.4], "f8", "uint8", "a fraction", [255, 0], [255, 0]),
    ([1e39], "f8", "float32", "beyond the range", None, [float(np.finfo("f4").max)]),
    ([np.inf, 0.1], "f8", "float32", None, [np.inf, np.float32(0.1)], [np.inf, np.float32(0.1)]),
    ([2**24 + 1], "i4", "float32", "last digits", [2.0**24], [2.0**24]),
    ([2**24, -5], "i4", "float32", None, [2.0**24, -5.0], [2.0**24, -5.0]),
    ([2**53 + 1], "i8", "float64", "last digits", [2.0**53], [2.0**53]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fit(case):
    values, source, dtype, lost, rounded, clipped = case
    array, wanted = np.array(values, source), np.dtype(dtype)
    if lost is None:
        assert fit(array, wanted).tolist() == rounded
    else:
        with pytest.raises(BadVoxels, match=lost):
            fit(array, wanted)
    for on_loss, due in (("round", rounded), ("clip", clipped)):
        if due is None:
            with pytest.raises(BadVoxels):
                fit(array, wanted, on_loss)
        else:
            found = fit(array, wanted, on_loss)
            assert found.dtype == wanted
            assert found.tolist() == due


def test_random_values_fit_as_clip_and_rint_say(rng):
    values = rng.normal(0, 300, 10_000)
    assert np.array_equal(fit(values, np.dtype("u1"), "clip"), np.clip(np.rint(values), 0, 255).astype("u1"))


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (40000.0, "int16", r"40000\.0 at index \(1, 2, 3, 4\)"),
        (float("nan"), torch.int16, r"nan at index \(1, 2, 3, 4\)"),
        (0.7, torch.uint8, r"0\.69.* at index \(1, 2, 3, 4\)"),
    ],
)
def test_a_writer_names_the_voxel_and_leaves_no_file(tmp_path, value, dtype, message):
    data = torch.zeros(2, 3, 4, 5)
    data[1, 2, 3, 4] = value
    path = tmp_path / "x.nii.gz"
    with pytest.raises(BadVoxels, match=message):
        write(Image(data), path, dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_rounds_when_asked(tmp_path):
    data = torch.tensor([0.2, 1.7, 999.0]).reshape(1, 3, 1, 1)
    write(Image(data), tmp_path / "x.nii", dtype="uint8", on_loss="clip")
    other = nibabel.load(tmp_path / "x.nii")
    assert other.get_data_dtype() == np.uint8
    assert np.asarray(other.dataobj).ravel().tolist() == [0, 2, 255]
