"""Damaged files of every format: an image, or an error of the family; never a crash, a hang or a flood of memory.

The rows are in tests/tables/fuzz_formats.py. What a run of the fuzzer found stands below as tests of its own.
"""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from fuzz_formats import ROWS
from PIL import Image as Pillow

from medframe.base import container
from medframe.base.errors import BadFile, TooLarge
from medframe.image import Image, LabelMap
from medframe.io import FORMATS, read, write
from medframe.io.png_check import _bytes_of, check_png

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the fuzzer forks")


def run(count, seed, names):
    """A dictionary for each format; see fuzz_runner.py."""
    command = [sys.executable, os.fspath(HERE / "fuzz_runner.py"), str(count), str(seed), *names]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {line["format"]: line for line in map(json.loads, done.stdout.splitlines())}


def judge(tallies, names, capsys):
    with capsys.disabled():
        for tally in tallies.values():
            shown = {k: tally.get(k) for k in ("mutants", "read", "refused", "slowest_s", "grown_mb", "seconds")}
            print(f"\n{tally['format']}: {shown}, {len(tally['wrong'])} wrong", end="")
    assert set(tallies) == set(names)
    assert not {name: tally["wrong"][:5] for name, tally in tallies.items() if tally["wrong"]}
    # mutants that are all refused, or all read, would say nothing of what happens to the others
    for tally in tallies.values():
        assert 0.05 * tally["mutants"] < tally["refused"] < 0.99 * tally["mutants"]


def test_mutants_end_in_an_image_or_in_our_errors(capsys):
    names = [name for name, row in ROWS.items() if row.here]
    judge(run(0, 1, names), names, capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ROWS)
def test_twenty_thousand_mutants(name, capsys):
    if not ROWS[name].here:
        pytest.skip(f"{ROWS[name].needs} is not here")
    if ROWS[name].aborts is not None:
        pytest.skip(ROWS[name].aborts)
    judge(run(20_000, 2, [name]), [name], capsys)


def test_every_format_is_fuzzed():
    words = {"array": {"npy", "npz", "safetensors"}}
    for known in FORMATS:
        assert words.get(known.name, {known.name, f"{known.name}-1"}) & set(ROWS), known.name


def png(path, width, height, rows, end=True):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + (chunk(b"IEND", b"") if end else b""))
    return path


def test_a_png_of_fewer_rows_than_it_says_is_not_padded(tmp_path):
    rows = [bytes(range(5))] * 7
    assert read(png(tmp_path / "x.png", 5, 7, rows)).shape == (1, 7, 5)
    # Pillow gives this one nine rows, the last two black
    path = png(tmp_path / "y.png", 5, 9, rows)
    assert np.asarray(Pillow.open(path)).shape == (9, 5)
    for bad in (path, png(tmp_path / "z.png", 5, 5, rows), png(tmp_path / "w.png", 5, 7, rows, end=False)):
        with pytest.raises(BadFile, match="damaged"):
            _ = read(bad).data
    with pytest.raises(TooLarge, match="too small for what its header claims"):
        read(png(tmp_path / "v.png", 6000, 3000, rows))


# which pass of an interlaced picture a pixel belongs to, as the standard draws it
ADAM7 = np.array(
    [
        [int(d) for d in row]
        for row in ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"]
    ]
)


@pytest.mark.parametrize(
    ("bits", "colour", "samples"), [(1, 0, 1), (2, 3, 1), (4, 0, 1), (8, 2, 3), (8, 4, 2), (16, 6, 4)]
)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 7), (16, 5)])
def test_the_rows_of_a_png_are_counted(tmp_path, bits, colour, samples, size):
    width, height = size

    def counted(interlaced):
        return _bytes_of(struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced), tmp_path)

    assert counted(0) == height * (1 + -(-width * bits * samples // 8))
    y, x = np.indices((height, width))
    passes = np.array([[int(p) for p in row] for row in ADAM7])[y % 8, x % 8]
    rows = [np.count_nonzero(row == p) for p in range(1, 8) for row in passes]
    assert counted(1) == sum(1 + -(-n * bits * samples // 8) for n in rows if n)


def test_pictures_of_pillow_are_whole(tmp_path, rng):
    pixels = rng.integers(0, 256, (23, 17, 4)).astype(np.uint8)
    pictures = [Pillow.fromarray(pixels).convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    for picture in (*pictures, Pillow.fromarray(pixels[..., 0].astype(np.uint16) * 257)):
        picture.save(tmp_path / "x.png")
        check_png(tmp_path / "x.png")


def test_half_floats_may_be_labels(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(24, dtype=np.float16).reshape(2, 3, 4))
    found = read(tmp_path / "x.npy", LabelMap)
    assert found.dtype == torch.int32
    assert found.data.flatten().tolist() == list(range(24))


def test_a_small_store_that_claims_a_million_chunks_is_refused(tmp_path):
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), shape=(400, 300, 200), chunks=(2, 2, 2), dtype="u1")
    image = read(path)
    assert int(image.source.read((slice(0, 8),) * 3).max()) == 0
    with pytest.raises(TooLarge, match=r"touches more chunks.*3000000 chunks.*larger chunks"):
        _ = image.data
    sharded = tmp_path / "y.zarr"
    zarr.create_array(str(sharded), shape=(400, 300, 200), chunks=(2, 2, 2), shards=(200, 150, 200), dtype="u1")
    with pytest.raises(TooLarge, match="3000000 chunks"):
        _ = read(sharded).data


LIES = {
    "no checksums": lambda meta, table: meta.pop("crc32"),
    "no JSON": lambda meta, table: meta.update(json="{"),
    "a list for JSON": lambda meta, table: meta.update(json="[1]"),
    "another shape": lambda meta, table: table["data"].update(shape=[1, 2, 3, 5]),
    "a shape of text": lambda meta, table: table["data"].update(shape=["1", 24]),
    "a dtype of ours": lambda meta, table: table["data"].update(dtype="F3"),
    "backwards": lambda meta, table: table["data"].update(data_offsets=[96, 0]),
    "no array": lambda meta, table: table.clear(),
    "behind the end": lambda meta, table: table["data"].update(data_offsets=[960, 1056]),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_container_with_a_right_digest_may_still_lie(tmp_path, lie):
    path = tmp_path / "x.safetensors"
    write(Image(torch.zeros(1, 2, 3, 4)), path)
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    table = json.loads(raw[8 : 8 + length])
    meta = table.pop("__metadata__")
    LIES[lie](meta, table)
    meta["digest"] = container._digest(meta, table)
    text = json.dumps({"__metadata__": meta, **table}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    with pytest.raises(BadFile):
        _ = read(path).data


def test_absent_strips_and_pages_of_other_files_are_refused(tmp_path):
    voxels = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, voxels, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[2].tags["StripByteCounts"].valueoffset
    raw = bytearray(path.read_bytes())
    raw[place : place + 2] = b"\0\0"
    path.write_bytes(raw)
    assert tifffile.imread(path)[2].max() == 0  # what a reader makes of it that does not ask
    with pytest.raises(BadFile, match="absent"):
        _ = read(path).data
    # OME's metadata may name other files, and a reader that follows it may be led anywhere
    inner = tmp_path / "in"
    inner.mkdir()
    tifffile.imwrite(tmp_path / "secret.ome.tif", voxels[:1], photometric="minisblack")
    ome = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="5" SizeY="6" SizeZ="2" SizeC="1" SizeT="1">'
        '<TiffData IFD="0" FirstZ="0"><UUID FileName="x.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1"><UUID FileName="../secret.ome.tif">urn:uuid:2</UUID></TiffData></Pixels>'
        "</Image></OME>"
    )
    tifffile.imwrite(inner / "x.ome.tif", voxels[:1], photometric="minisblack", description=ome, metadata=None)
    assert tifffile.imread(inner / "x.ome.tif").shape == (2, 6, 5)  # tifffile follows it out of the folder
    with pytest.raises(BadFile, match="several files"):
        read(inner / "x.ome.tif")
