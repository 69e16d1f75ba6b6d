"""Pictures and TIFF stacks: what is stored comes out, or the picture is refused."""

import io

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image as Pillow

from medframe.base.errors import BadArgument, BadFile, BadLabel, TooLarge
from medframe.image import Image, LabelMap
from medframe.io import read, write


@pytest.fixture
def grey(rng):
    return rng.integers(0, 256, (7, 5)).astype(np.uint8)


def save(path, array, mode=None, **options):
    picture = Pillow.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_modes_of_8_bits(tmp_path, rng, mode):
    count = len(mode)
    array = rng.integers(0, 256, (7, 5, count)).astype(np.uint8)
    path = save(tmp_path / "x.png", array if count > 1 else array[..., 0])
    image = read(path)
    assert image.shape == (count, 7, 5)
    assert np.array_equal(image.data.numpy(), array.transpose(2, 0, 1))
    assert "1 mm a pixel is assumed" in image.meta["notes"][-1]
    assert np.array_equal(image.affine, np.eye(3))


def test_sixteen_bits_are_kept_and_sixteen_bit_colour_is_refused(tmp_path, rng):
    deep = rng.integers(0, 65536, (7, 5)).astype(np.uint16)
    image = read(save(tmp_path / "x.png", deep))
    assert image.dtype == torch.int32
    assert np.array_equal(image.data[0].numpy(), deep)
    # a colour PNG of 16 bits, which Pillow would cut to 8 without a word
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(range(12)) for _ in range(2)))
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (tmp_path / "rgb16.png").write_bytes(raw)
    with pytest.raises(BadFile, match="16"):
        read(tmp_path / "rgb16.png")


@pytest.mark.parametrize(("bits", "most"), [(1, 1), (2, 3), (4, 15)])
def test_few_bits_are_not_stretched(tmp_path, rng, bits, most):
    array = rng.integers(0, most + 1, (7, 5)).astype(np.uint8)
    if bits == 1:
        path = save(tmp_path / "x.png", array.astype(bool))
    else:
        import struct
        import zlib

        def chunk(name, data):
            return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

        rows = b""
        for row in array:
            digits = "".join(f"{v:0{bits}b}" for v in row)
            digits += "0" * (-len(digits) % 8)
            rows += b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")
        head = struct.pack(">IIBBBBB", 5, 7, bits, 0, 0, 0, 0)
        path = tmp_path / "x.png"
        raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        path.write_bytes(raw)
    assert np.array_equal(read(path, LabelMap).data[0].numpy(), array)


def test_a_palette_is_looked_up_for_images_and_is_the_label_for_label_maps(tmp_path):
    ids = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    picture = Pillow.fromarray(ids, mode="L").convert("P")
    picture = Pillow.frombytes("P", (3, 2), ids.tobytes())
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "p.png")
    colours = read(tmp_path / "p.png")
    assert colours.data[:, 0, 1].tolist() == [40, 50, 60]
    assert any("palette" in note for note in colours.meta["notes"])
    assert np.array_equal(read(tmp_path / "p.png", LabelMap).data[0].numpy(), ids)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(tmp_path, grey, orientation):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "x.png", grey, exif=exif)
    turns = {
        1: grey,
        2: grey[:, ::-1],
        3: grey[::-1, ::-1],
        4: grey[::-1],
        5: grey.T,
        6: np.rot90(grey, -1),
        7: grey[::-1, ::-1].T,
        8: np.rot90(grey),
    }
    image = read(tmp_path / "x.png")
    assert image.space.shape == turns[orientation].shape
    assert np.array_equal(image.data[0].numpy(), turns[orientation])


def test_jpeg_is_read_but_holds_no_labels(tmp_path, grey):
    path = save(tmp_path / "x.jpg", grey, quality=95)
    assert np.array_equal(read(path).data[0].numpy(), np.asarray(Pillow.open(path)))
    with pytest.raises(BadLabel, match="JPEG"):
        read(path, LabelMap)
    with pytest.raises(BadArgument, match="not written"):
        write(Image(torch.zeros(1, 3, 3, dtype=torch.uint8)), tmp_path / "y.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadFile, match="damaged"):
        _ = read(cut).data


def test_animated_and_renamed_pictures_are_refused(tmp_path, grey):
    frames = [Pillow.fromarray(grey), Pillow.fromarray(255 - grey)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(BadFile, match="animated"):
        read(tmp_path / "a.png")
    frames[0].save(tmp_path / "g.gif")
    (tmp_path / "g.gif").rename(tmp_path / "g.png")
    with pytest.raises(BadFile, match="no picture"):
        read(tmp_path / "g.png")


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, grey, monkeypatch):
    path = save(tmp_path / "x.png", grey)
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(TooLarge, match="MAX_IMAGE_PIXELS"):
        read(path)
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setenv("MEDFRAME_IMAGE_LIMIT", "20")
    with pytest.raises(TooLarge, match="MEDFRAME_IMAGE_LIMIT"):
        read(path)


IMAGEJ = {"imagej": True, "resolution": (4, 2)}
SIZES = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.7, "PhysicalSizeZ": 2.0}


@pytest.mark.parametrize(
    ("options", "spacing"),
    [
        ({**IMAGEJ, "metadata": {"spacing": 3.0, "unit": "mm", "axes": "ZYX"}}, (3, 0.5, 0.25)),
        ({**IMAGEJ, "metadata": {"spacing": 3.0, "unit": "um", "axes": "ZYX"}}, (3e-3, 5e-4, 2.5e-4)),
        ({"ome": True, "metadata": SIZES}, (2e-3, 7e-4, 5e-4)),
        ({"resolution": (10, 5), "resolutionunit": "CENTIMETER"}, (1, 2, 1)),
        ({}, (1, 1, 1)),
    ],
)
def test_pages_become_depth_and_spacing_is_found(tmp_path, rng, options, spacing):
    voxels = rng.integers(0, 1000, (4, 6, 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", voxels, photometric="minisblack", **options)
    image = read(tmp_path / "x.tif")
    assert image.shape == (1, 4, 6, 5)
    assert np.array_equal(image.data[0].numpy(), voxels)
    assert np.allclose(image.space.spacing, spacing, rtol=1e-4)
    assert any("says nothing of spacing" in n for n in image.meta["notes"]) == (not options)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_channels_and_truncation(tmp_path, rng, compression):
    colours = rng.integers(0, 256, (9, 8, 3)).astype(np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, colours, photometric="rgb", compression=compression)
    image = read(path)
    assert image.shape == (3, 9, 8)
    assert np.array_equal(image.data.numpy(), colours.transpose(2, 0, 1))
    many = rng.integers(0, 256, (2, 3, 4, 9, 8)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", many, ome=True, metadata={"axes": "TCZYX"})
    with pytest.raises(BadFile, match="axes TCZYX"):
        read(tmp_path / "m.tif")
    whole = path.read_bytes()
    for size in (0, 3, 10, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises((BadFile, TooLarge)):
            _ = read(path).data


def test_written_pictures_are_those_of_pillow(tmp_path, rng):
    for channels in (1, 3, 4):
        data = torch.from_numpy(rng.integers(0, 256, (channels, 6, 5)).astype(np.uint8))
        write(Image(data), tmp_path / "x.png", overwrite=True)
        theirs = np.asarray(Pillow.open(io.BytesIO((tmp_path / "x.png").read_bytes())))
        assert np.array_equal(theirs.reshape(6, 5, channels).transpose(2, 0, 1), data.numpy())
    deep = torch.from_numpy(rng.integers(0, 65536, (1, 6, 5)).astype(np.int32))
    write(Image(deep), tmp_path / "d.png", dtype="uint16")
    assert torch.equal(read(tmp_path / "d.png").data, deep)
    with pytest.raises(BadArgument, match="channels"):
        write(Image(torch.zeros(2, 4, 4, dtype=torch.uint8)), tmp_path / "y.png")
