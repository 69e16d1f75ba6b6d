"""Zarr stores: only touched chunks are read, levels lie on each other, metadata cannot reach outside or run code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medframe.base.errors import BadArgument, BadFile, MedframeError, TooLarge
from medframe.image import Image, LabelMap
from medframe.io import read, write

zarr = pytest.importorskip("zarr")


@pytest.fixture
def smooth():
    x, y, z = np.meshgrid(np.arange(24.0), np.arange(20.0), np.arange(17.0), indexing="ij")
    affine = np.diag([0.5, 0.7, 2.0, 1.0])
    affine[:3, 3] = (-5, 6, 7)
    return Image(torch.from_numpy(np.stack([x + 2 * y + 3 * z, x - y])), affine)


@pytest.mark.parametrize(("version", "shards"), [("0.4", None), ("0.5", None), ("0.5", 2)])
def test_a_window_touches_its_own_chunks_alone(tmp_path, smooth, version, shards):
    path = tmp_path / "x.ome.zarr"
    write(smooth, path, version=version, chunks=8, shards=shards)
    image = read(path)
    assert image.meta["format"] == f"OME-Zarr {version}"
    assert torch.equal(image.data, smooth.data)
    # all chunks but those of the first corner are made unreadable
    kept = 0
    for file in (path / "0").rglob("*"):
        if file.is_file() and file.name not in ("zarr.json", ".zarray", ".zattrs"):
            first = file.relative_to(path / "0").as_posix().removeprefix("c/").split("/")[1:] == ["0", "0", "0"]
            kept += first
            if not first:
                file.write_bytes(b"torn")
    assert kept >= 1
    corner = read(path).source.read((slice(1, 8), slice(0, 7), slice(2, 8)))
    assert torch.equal(corner, smooth.data[:, 1:8, 0:7, 2:8])
    with pytest.raises(MedframeError, match=r"damaged|cannot be read"):
        _ = read(path).data


@pytest.mark.parametrize("labels", [False, True])
def test_levels_lie_on_each_other(tmp_path, smooth, labels):
    image = LabelMap(smooth.data[:1].round().long(), smooth.affine) if labels else smooth
    path = tmp_path / "p.zarr"
    write(image, path, levels=3, chunks=8)
    for level in range(3):
        coarse = read(path, LabelMap if labels else Image, level=level)
        assert coarse.meta["levels"] == 3
        assert np.allclose(coarse.space.spacing, image.space.spacing * 2**level)
        # a linear image is itself at any place of a coarser lattice, away from the padded end
        for index in ((0, 0, 0), (2, 1, 3)):
            at = image.space.to_index(coarse.space.to_world(index))
            due = at[0] + 2 * at[1] + 3 * at[2]
            assert coarse.data[(0, *index)].item() == pytest.approx(due)
    with pytest.raises(BadArgument, match="no such level"):
        read(path, level=3)


def test_any_affine_is_kept_on_demand(tmp_path, rng, random_affine):
    image = Image(torch.from_numpy(rng.normal(size=(1, 8, 6, 4))), random_affine())
    with pytest.raises(BadArgument, match="any_affine"):
        write(image, tmp_path / "x.zarr")
    write(image, tmp_path / "x.zarr", any_affine=True, levels=2)
    assert read(tmp_path / "x.zarr").space.distance(image.space) < 1e-9
    coarse = read(tmp_path / "x.zarr", level=1)
    assert np.allclose(coarse.space.to_world((0, 0, 0)), image.space.to_world((0.5, 0.5, 0.5)))


def test_stores_of_zarr_itself(tmp_path, rng):
    voxels = rng.integers(0, 900, (2, 5, 6, 7)).astype(">i2")
    for version in (2, 3):
        path = tmp_path / f"a{version}.zarr"
        zarr.create_array(str(path), data=voxels.astype("<i2"), chunks=(1, 3, 3, 3), zarr_format=version)
        image = read(path)
        assert image.shape == (2, 5, 6, 7)
        assert np.array_equal(image.data.numpy(), voxels)
        assert "says nothing of place" in image.meta["notes"][0]
    named = tmp_path / "n.zarr"
    zarr.create_array(str(named), data=voxels.astype("<i2"), dimension_names=["c", "z", "y", "x"])
    assert np.array_equal(read(named).data.numpy(), voxels.transpose(0, 3, 2, 1))
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    group.create_array("inside", data=voxels[0].astype("<i2"))
    with pytest.raises(BadFile, match=r"array=\.\.\."):
        read(tmp_path / "g.zarr")
    assert np.array_equal(read(tmp_path / "g.zarr", array="inside").data[0].numpy(), voxels[0])


def edit(path, change):
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


FAULTS = {
    "a codec that runs code": (("0.4", "0/.zarray"), lambda f: f.update(filters=[{"id": "pickle"}]), "dangerous"),
    "objects": (("0.4", "0/.zarray"), lambda f: f.update(dtype="|O"), "dangerous"),
    "an unknown codec": (("0.5", "0/zarr.json"), lambda f: f["codecs"].append({"name": "evil"}), "codecs"),
    "a huge chunk": (
        ("0.5", "0/zarr.json"),
        lambda f: f["chunk_grid"]["configuration"].update(chunk_shape=[1, 1 << 20, 1 << 20, 1 << 20]),
        "limit",
    ),
    "a shape of text": (("0.5", "0/zarr.json"), lambda f: f.update(shape=["a"]), "shape"),
    "a path outside": (
        ("0.5", "zarr.json"),
        lambda f: f["attributes"]["ome"]["multiscales"][0]["datasets"][0].update(path="../../other"),
        "leads out of",
    ),
    "a scale of zero": (
        ("0.4", ".zattrs"),
        lambda f: f["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(scale=[1, 0, 1, 1]),
        "scale is not positive",
    ),
    "NaN": (
        ("0.4", ".zattrs"),
        lambda f: f["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(scale=[1, np.nan, 1, 1]),
        "scale or translation",
    ),
    "another unit": (("0.4", ".zattrs"), lambda f: f["multiscales"][0]["axes"][1].update(unit="parsec"), "parsec"),
    "no axes": (("0.4", ".zattrs"), lambda f: f["multiscales"][0].pop("axes"), "axes"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path, smooth, fault):
    (version, file), change, message = FAULTS[fault]
    write(smooth, tmp_path / "x.zarr", version=version, chunks=8)
    edit(tmp_path / "x.zarr" / file, change)
    with pytest.raises(MedframeError, match=message) as caught:
        _ = read(tmp_path / "x.zarr").data
    assert str(tmp_path) not in str(caught.value)


def test_what_is_no_store(tmp_path):
    (tmp_path / "e.zarr").mkdir()
    with pytest.raises(BadFile, match="no Zarr store"):
        read(tmp_path / "e.zarr")
    with pytest.raises(BadFile, match="no Zarr store"):
        read(tmp_path / "absent.zarr")
    (tmp_path / "e.zarr" / "zarr.json").write_text("[")
    with pytest.raises(BadFile, match="JSON"):
        read(tmp_path / "e.zarr")


def test_a_window_larger_than_the_limit_is_refused_but_the_store_is_not(tmp_path, smooth, monkeypatch):
    write(smooth, tmp_path / "x.zarr", chunks=4)
    monkeypatch.setenv("MEDFRAME_IMAGE_LIMIT", "10000")
    image = read(tmp_path / "x.zarr")
    assert image.source.read((slice(0, 4),) * 3).shape == (2, 4, 4, 4)
    with pytest.raises(TooLarge, match="limit"):
        _ = image.data


def test_half_a_store_never_stands(tmp_path, smooth, monkeypatch):
    path = tmp_path / "x.zarr"
    write(smooth, path)
    before = {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Group, "create_array", full)
    with pytest.raises(MedframeError, match="No space left"):
        write(Image(smooth.data + 1, smooth.affine), path, overwrite=True)
    assert {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    assert [p.name for p in Path(tmp_path).iterdir()] == ["x.zarr"]
