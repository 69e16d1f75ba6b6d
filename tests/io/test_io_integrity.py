"""Damage is found: a file that is cut or has one wrong byte is refused, unless the byte carries no data.

Only formats with checksums can do that. The table says, for each, which bytes a wrong one is found in: all of the file,
or all behind the text header, whose numbers no checksum guards. What no format guards is listed, too.
"""

import warnings

import numpy as np
import pytest
import torch

from medframe.base.errors import MedframeError, MedframeWarning
from medframe.image import Image
from medframe.io import FORMATS, read, write

AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])

# suffix -> first byte that is guarded, by the written file's bytes
GUARDED = {
    ".nii.gz": lambda raw: 0,
    ".npz": lambda raw: 0,
    ".safetensors": lambda raw: 0,
    ".png": lambda raw: 0,
    ".nrrd": lambda raw: raw.index(b"\n\n") + 2,
    ".mha": lambda raw: raw.index(b"LOCAL\n") + 6,
}
# these hold bare voxels, or a checksum that its reader does not compare: only what is missing is found
BARE = {".nii", ".npy", ".bmp", ".tif", ".zarr"}


def write_sample(path, rng, noise=900):
    flat = path.name.endswith((".png", ".bmp"))
    shape = (1, 64, 50) if flat else (1, 40, 40, 40)
    data = torch.from_numpy(rng.integers(0, 200 if flat else noise, shape).astype(np.uint8 if flat else np.int16))
    place = np.eye(3) if flat else np.eye(4) if path.name.endswith((".npy",)) else AFFINE
    write(Image(data, place), path)
    return data, place


def served(path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MedframeWarning)
            image = read(path)
        return image.data, image.affine
    except MedframeError:
        return None


def test_every_written_format_is_judged():
    # DICOM has no checksums, and tests of its own for what is cut short
    written = {s for f in FORMATS if f.writes and f.name != "DICOM" for s in f.suffixes}
    written -= {".hdr", ".img", ".hdr.gz", ".img.gz", ".nhdr", ".mhd", ".jpg", ".jpeg", ".tiff"}  # only read, or alike
    assert written == GUARDED.keys() | BARE


@pytest.mark.parametrize("suffix", sorted((GUARDED.keys() | BARE) - {".zarr"}))
def test_a_file_cut_at_200_places_is_never_served(tmp_path, rng, suffix):
    path = tmp_path / f"x{suffix}"
    data, _ = write_sample(path, rng)
    raw = path.read_bytes()
    for size in [*rng.integers(0, len(raw), 188).tolist(), *range(len(raw) - 12, len(raw))]:
        path.write_bytes(raw[:size])
        found = served(path)
        # the padding of a BMP's last row may be gone
        assert found is None or (suffix == ".bmp" and size >= len(raw) - 2 and torch.equal(found[0], data)), size


@pytest.mark.parametrize("suffix", GUARDED)
def test_200_wrong_bytes_are_never_served(tmp_path, rng, suffix):
    path = tmp_path / f"x{suffix}"
    data, place = write_sample(path, rng)
    raw = path.read_bytes()
    passed = []
    for at in rng.integers(GUARDED[suffix](raw), len(raw), 200):
        wrong = bytearray(raw)
        wrong[at] ^= int(rng.integers(1, 256))
        path.write_bytes(wrong)
        found = served(path)
        if found is not None:
            passed.append(int(at))
            # the byte carried no data: times and versions in the headers of gzip and zip
            assert torch.equal(found[0].reshape(data.shape), data), at
            assert np.array_equal(found[1], place), at
    assert len(passed) <= 2  # of some 20 to 200 bytes among thousands


@pytest.mark.parametrize("suffix", [".nii.gz", ".npz", ".safetensors"])
def test_every_byte_of_a_small_file(tmp_path, rng, suffix):
    path = tmp_path / f"x{suffix}"
    data = torch.from_numpy(rng.integers(0, 900, (1, 3, 4, 5)).astype(np.int16))
    write(Image(data, AFFINE), path)
    raw = path.read_bytes()
    passed = 0
    for at in range(len(raw)):
        wrong = bytearray(raw)
        wrong[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(wrong)
        found = served(path)
        if found is not None:
            passed += 1
            assert torch.equal(found[0], data), at
            assert np.array_equal(found[1], AFFINE), at
    assert passed < 0.3 * len(raw)  # zip keeps dates, versions and rights twice


def test_a_header_that_is_text_is_not_guarded(tmp_path, rng):
    # the limit of the formats, said in the documentation: a digit of the origin may change unseen
    path = tmp_path / "x.nrrd"
    write_sample(path, rng)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"(-1.0,0.0,0.0)", b"(-3.0,0.0,0.0)").replace(b"(-1.0,-0.0,0.0)", b"(-3.0,-0.0,0.0)"))
    assert path.read_bytes() != raw
    assert served(path)[1][0, 0] == 3
