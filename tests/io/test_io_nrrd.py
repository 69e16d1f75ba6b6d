"""NRRD and MetaImage headers beyond what SimpleITK writes: encodings, axes, units, segmentations, data files."""

import gzip
import zlib

import numpy as np
import pytest
import torch

from medframe.base.errors import BadFile, BadGeometry, BadLabel, MedframeError, MedframeWarning
from medframe.image import Image, LabelMap
from medframe.io import read, write

VOXELS = (np.arange(60).reshape(3, 4, 5) * 37 - 700).astype(np.int16)
HEAD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "3 4 5",
    "space directions": "(2,0,0) (0,3,0) (0,0,4)",
    "space origin": "(1,2,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
}
DUE = np.array([[-2, 0, 0, -1], [0, -3, 0, -2], [0, 0, 4, 3], [0, 0, 0, 1.0]])


def nrrd(path, data=None, values=(), **fields):
    """A file whose header is HEAD with changes; None drops a field, an underscore stands for a blank."""
    facts = {**HEAD, **{k.replace("_", " "): v for k, v in fields.items()}}
    lines = ["NRRD0005", *(f"{k}: {v}" for k, v in facts.items() if v is not None), *values]
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + (VOXELS.tobytes("F") if data is None else data))
    return path


def test_encodings(tmp_path):
    flat = VOXELS.ravel("F")
    for encoding, data in {
        "raw": flat.tobytes(),
        "gzip": gzip.compress(flat.tobytes()),
        "gz": gzip.compress(flat.tobytes()[:50]) + gzip.compress(flat.tobytes()[50:]),
        "ascii": " ".join(map(str, flat)).encode(),
        "txt": "\n".join(map(str, flat)).encode(),
        "hex": flat.tobytes().hex().encode(),
    }.items():
        image = read(nrrd(tmp_path / "x.nrrd", data, encoding=encoding))
        assert np.array_equal(image.data[0].numpy(), VOXELS), encoding
        assert np.allclose(image.affine, DUE)
    big = nrrd(tmp_path / "b.nrrd", VOXELS.astype(">i2").tobytes("F").hex().encode(), encoding="hex", endian="big")
    assert np.array_equal(read(big).data[0].numpy(), VOXELS)
    for encoding, data in {
        "ascii": b"1 2 x",
        "hex": b"zz" * 120,
        "txt": b"1 " * 59,
        "gzip": b"\x1f\x8b" + b"1" * 90,
    }.items():
        with pytest.raises(MedframeError):
            _ = read(nrrd(tmp_path / "x.nrrd", data, encoding=encoding)).data
    with pytest.raises(BadFile, match=r"number outside int16"):
        _ = read(nrrd(tmp_path / "x.nrrd", b"70000 " * 60, encoding="ascii")).data


def test_channels_first_last_and_in_the_middle(tmp_path):
    many = np.stack([VOXELS, VOXELS + 1], -1)
    directions = "(2,0,0) (0,3,0) (0,0,4)"
    path = tmp_path / "x.nrrd"
    last = nrrd(
        path,
        many.tobytes("F"),
        dimension="4",
        sizes="3 4 5 2",
        space_directions=f"{directions} none",
        kinds="domain domain domain list",
    )
    assert np.array_equal(read(last).data.numpy(), many.transpose(3, 0, 1, 2))
    first = nrrd(
        path,
        many.transpose(3, 0, 1, 2).tobytes("F"),
        dimension="4",
        sizes="2 3 4 5",
        space_directions=f"none {directions}",
        kinds="vector domain domain domain",
    )
    assert np.array_equal(read(first).data.numpy(), many.transpose(3, 0, 1, 2))
    with pytest.raises(BadFile, match="channels first or last"):
        read(
            nrrd(
                path,
                many.tobytes(),
                dimension="4",
                sizes="3 2 4 5",
                space_directions="(2,0,0) none (0,3,0) (0,0,4)",
                kinds=None,
            )
        )
    with pytest.raises(BadFile, match="complex"):
        read(
            nrrd(
                path,
                many.tobytes(),
                dimension="4",
                sizes="2 3 4 5",
                space_directions=f"none {directions}",
                kinds="complex domain domain domain",
            )
        )


def test_units_planes_and_unknown_spaces(tmp_path):
    path = tmp_path / "x.nrrd"
    metres = nrrd(
        path,
        space_directions="(.002,0,0) (0,.003,0) (0,0,.004)",
        space_origin="(.001,.002,.003)",
        values=['space units: "m" "m" "m"'],
    )
    assert np.allclose(read(metres).affine, DUE)
    plane = VOXELS[:, :, :1]
    flat = nrrd(path, plane.tobytes("F"), dimension="2", sizes="3 4", space_directions="(2,0,0) (0,3,0)", kinds=None)
    image = read(flat)
    assert image.shape == (1, 3, 4, 1)
    assert np.allclose(image.space.spacing, (2, 3, 1))
    for space in ("scanner-xyz", None):
        with pytest.warns(MedframeWarning, match="which side is left is unknown"):
            image = read(nrrd(path, space=space, values=[] if space else ["space dimension: 3"]))
        assert np.allclose(image.affine, np.diag([-1, -1, 1, 1]) @ DUE)
    with pytest.raises(BadFile, match="space"):
        read(nrrd(path, space="left-posterior-superior-time"))


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"sizes": "3 4"}, BadFile, "sizes.*2 numbers"),
        ({"sizes": "3 4 0"}, BadFile, "sizes.*at least 1"),
        ({"sizes": "3 4 5e0"}, BadFile, "sizes"),
        ({"type": "block"}, BadFile, "voxel type"),
        ({"encoding": "bzip2"}, BadFile, "encoding"),
        ({"endian": None}, BadFile, "endian"),
        ({"dimension": None}, BadFile, "dimension"),
        ({"kinds": "domain"}, BadFile, "kinds"),
        ({"space_directions": "(2,0,0) (0,3,0) 4"}, BadFile, "space directions"),
        ({"space_directions": None}, BadFile, "space directions"),
        ({"space_directions": "(2,0,0) (2,0,0) (0,0,4)"}, BadGeometry, "singular"),
        ({"space_origin": "(1e9,2,3)"}, BadGeometry, "far away"),
        ({"space_origin": "(1,2)"}, BadFile, "three numbers"),
        ({"data_file": "a%03d.raw 1 5 1"}, BadFile, "several files"),
        ({"data_file": "../x.raw"}, BadFile, "leads out of"),
    ],
)
def test_faults_name_their_field(tmp_path, fields, kind, message):
    path = nrrd(tmp_path / "x.nrrd", **fields)
    with pytest.raises(kind, match=message) as caught:
        read(path)
    assert "x.nrrd" in str(caught.value)
    assert caught.value.found
    assert caught.value.due


def test_skips_of_detached_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.raw").write_bytes(b"one\ntwo\n" + b"12345" + VOXELS.tobytes("F"))
    for fields in ({"line_skip": "2", "byte_skip": "5"}, {"byte_skip": "-1"}):
        path = nrrd(tmp_path / "x.nhdr", b"", data_file="sub/x.raw", **fields)
        assert np.array_equal(read(path).data[0].numpy(), VOXELS)
    (tmp_path / "x.gz").write_bytes(b"line\n" + gzip.compress(b"12345" + VOXELS.tobytes("F")))
    path = nrrd(tmp_path / "x.nhdr", b"", data_file="x.gz", encoding="gzip", line_skip="1", byte_skip="5")
    assert np.array_equal(read(path).data[0].numpy(), VOXELS)


def segments(*rows):
    return [f"Segment{k}_{key}:={value}" for k, row in enumerate(rows) for key, value in row.items()]


def test_segmentations_of_slicer(tmp_path):
    ids = (VOXELS % 3).astype(np.uint8)
    rows = segments(
        {"Name": "liver", "LabelValue": 1, "Layer": 0}, {"Name": "left kidney", "LabelValue": 2, "Layer": 0}
    )
    path = tmp_path / "x.seg.nrrd"
    image = read(nrrd(path, ids.tobytes("F"), rows, type="uchar"), LabelMap)
    assert image.meta["labels"] == {"1": "liver", "2": "left kidney"}
    assert np.array_equal(image.data[0].numpy(), ids)
    two = np.stack([ids > 0, ids > 1]).astype(np.uint8)
    layers = {"type": "uchar", "dimension": "4", "sizes": "2 3 4 5", "kinds": "list domain domain domain"}
    layers["space_directions"] = "none (2,0,0) (0,3,0) (0,0,4)"
    rows = segments({"Name": "liver", "LabelValue": 1, "Layer": 0}, {"Name": "lesion", "LabelValue": 1, "Layer": 1})
    nrrd(path, two.tobytes("F"), rows, **layers)
    with pytest.raises(BadLabel, match=r"several layers.*layer 0: liver; layer 1: lesion"):
        read(path, LabelMap)
    lesion = read(path, LabelMap, layer=1)
    assert lesion.meta["labels"] == {"1": "lesion"}
    assert np.array_equal(lesion.data[0].numpy(), two[1])
    assert read(path).channels == 2
    with pytest.raises(BadFile, match="two segments with label 1"):
        read(nrrd(path, two.tobytes("F"), segments({"LabelValue": 1}, {"LabelValue": 1}), **layers))


def metaimage(path, data, **fields):
    facts = {"NDims": "3", "DimSize": "3 4 5", "ElementSpacing": "2 3 4", "Offset": "1 2 3"}
    facts |= {"TransformMatrix": "1 0 0 0 1 0 0 0 1", "ElementType": "MET_SHORT", **fields}
    facts["ElementDataFile"] = facts.pop("ElementDataFile", "LOCAL")
    path.write_bytes("".join(f"{k} = {v}\n" for k, v in facts.items() if v is not None).encode() + data)
    return path


def test_metaimages_of_all_kinds(tmp_path):
    raw = VOXELS.tobytes("F")
    path = tmp_path / "x.mha"
    for data, fields in [
        (raw, {}),
        (VOXELS.astype(">i2").tobytes("F"), {"BinaryDataByteOrderMSB": "True"}),
        (zlib.compress(raw), {"CompressedData": "True"}),
        (gzip.compress(raw), {"CompressedData": "True"}),
        (" ".join(map(str, VOXELS.ravel("F"))).encode(), {"BinaryData": "False"}),
        (b"12345" + raw, {"HeaderSize": "5"}),
        (b"123" + raw, {"HeaderSize": "-1"}),
        (
            raw,
            {
                "NDims": "4",
                "DimSize": "3 4 5 1",
                "ElementSpacing": "2 3 4 1",
                "Offset": "1 2 3 0",
                "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
            },
        ),
    ]:
        image = read(metaimage(path, data, **fields))
        assert np.array_equal(image.data[0].numpy(), VOXELS), fields
        assert np.allclose(image.affine, DUE)
    with pytest.warns(MedframeWarning, match="no orientation"):
        assert np.allclose(read(metaimage(path, raw, TransformMatrix=None)).affine, DUE)
    for fields, message in [
        ({"ElementType": "MET_STRING"}, "ElementType"),
        ({"DimSize": "3 4"}, "DimSize"),
        ({"ElementSpacing": "2 3 nan"}, "NaN"),
        ({"ElementToIntensityFunctionSlope": "2"}, "ElementToIntensityFunctionSlope"),
        ({"CompressedData": "maybe"}, "CompressedData"),
        ({"ElementDataFile": "x%03d.raw 1 5 1"}, "several files"),
        ({"ObjectType": "Tube"}, "ObjectType"),
        ({"DistanceUnits": "furlong"}, "DistanceUnits"),
    ]:
        with pytest.raises(MedframeError, match=message):
            read(metaimage(path, raw, **fields))


def test_what_is_written_uncompressed_is_mapped(tmp_path):
    image = Image(torch.from_numpy(VOXELS.copy())[None], DUE)
    for suffix in (".nrrd", ".mha"):
        write(image, tmp_path / f"x{suffix}", compress=False)
        back = read(tmp_path / f"x{suffix}")
        assert not back.source.gzipped
        window = (slice(1, 3), slice(0, 2), slice(2, 4))
        assert torch.equal(back.source.read(window), image.data[:, 1:3, 0:2, 2:4])
