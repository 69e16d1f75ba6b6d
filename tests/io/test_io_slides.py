"""Whole slides: levels and windows are those of OpenSlide, and lie on each other in the world."""

import numpy as np
import pytest
import tifffile

from medframe.base.errors import BadArgument, BadFile, BadLabel, TooLarge
from medframe.image import LabelMap
from medframe.io import read

openslide = pytest.importorskip("openslide")


@pytest.fixture
def slide(tmp_path):
    rows, columns = np.meshgrid(np.arange(256), np.arange(512), indexing="ij")
    pixels = np.stack([rows, columns // 2, (rows + columns) % 256], -1).astype(np.uint8)
    path = tmp_path / "x.svs"
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, resolution=(40000, 20000), resolutionunit="CENTIMETER", **options)
        tiff.write(pixels[::2, ::2], subfiletype=1, resolutionunit="CENTIMETER", **options)
        tiff.write(pixels[::4, ::4], subfiletype=1, resolutionunit="CENTIMETER", **options)
    return path, pixels


def test_levels_and_windows(slide):
    path, pixels = slide
    for level in range(3):
        image = read(path, level=level)
        due = pixels[:: 2**level, :: 2**level].transpose(2, 0, 1)
        assert image.shape == due.shape
        assert image.meta["levels"] == 3
        assert np.allclose(image.space.spacing, np.array([5e-4, 2.5e-4]) * 2**level)
        window = (slice(8, 40), slice(16, 60))
        assert np.array_equal(image.source.read(window).numpy(), due[(slice(None), *window)])
        assert np.array_equal(image.data.numpy(), due)
        # the corner of the first pixel is one place of the world on every level
        assert np.allclose(image.space.to_world((-0.5, -0.5)), np.array([5e-4, 2.5e-4]) * -0.5, atol=1e-9)


def test_refusals(slide, monkeypatch):
    path, _ = slide
    with pytest.raises(BadArgument, match="no such level"):
        read(path, level=3)
    with pytest.raises(BadLabel, match="colour"):
        read(path, LabelMap)
    image = read(path)
    monkeypatch.setenv("MEDFRAME_IMAGE_LIMIT", "100000")
    assert image.source.read((slice(0, 100), slice(0, 100))).shape == (3, 100, 100)
    with pytest.raises(TooLarge):
        _ = image.data
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadFile, match="changed"):
        image.source.read((slice(0, 10), slice(0, 10)))
    with pytest.raises(BadFile, match="damaged"):
        read(path)
