"""Names, ids, dates and free text of image files go nowhere: not into what is kept, written, cached, said or raised.

A word is planted into every field of every format that is no geometry and no voxel. Then files are read, damaged,
converted, trained on and predicted, and every byte that came of it is searched, inflated and in wide characters too.
"""

import base64
import gzip
import io
import json
import logging
import pickle
import re
import struct
import subprocess
import sys
import traceback
import warnings
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import torch
import zarr
from PIL import Image as Pillow
from PIL import PngImagePlugin

import medframe
from medframe.base.errors import MedframeError
from medframe.image import LabelMap
from medframe.io import read, read_transform

WORD = "CANARY"
FORMS = tuple(form.encode(code) for form in (WORD, WORD.lower()) for code in ("ascii", "utf-16-le", "utf-16-be"))


def leaks(data, depth=0):
    """Whether the word is in the bytes, or in what they inflate or decode to."""
    if any(form in data for form in FORMS):
        return True
    if depth > 3:
        return False
    inner = []
    for place in [m.start() for m in re.finditer(rb"\x1f\x8b\x08", data)]:
        with_header = zlib.decompressobj(31)
        inner.append(_inflated(with_header, data[place:]))
    for place in [m.start() for m in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data)]:
        inner.append(_inflated(zlib.decompressobj(15), data[place:]))
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inner += [archive.read(name) for name in archive.namelist()]
    inner += [base64.b64decode(m.group(1)) for m in re.finditer(rb"base64,([A-Za-z0-9+/=]{16,})", data)]
    return any(leaks(part, depth + 1) for part in inner if part)


def _inflated(engine, data):
    try:
        return engine.decompress(data, 8 << 20)
    except zlib.error:
        return b""


@pytest.mark.parametrize(
    "data",
    [
        b"a CANARY",
        WORD.encode("utf-16"),
        gzip.compress(b"xx canary"),
        b"lead" + zlib.compress(b"CANARY" * 3, 9),
        b'<img src="data:x;base64,' + base64.b64encode(gzip.compress(b"the word CANARY inside")) + b'">',
    ],
)
def test_the_search_finds_what_is_hidden(data):
    assert leaks(data)
    assert not leaks(data.replace(b"CANARY", b"SPARROW")[:8])
    archive = io.BytesIO()
    np.savez_compressed(archive, x=np.frombuffer(b"CANARY", np.uint8))
    assert leaks(archive.getvalue())


VOXELS = np.random.default_rng(5).integers(1, 90, (8, 7, 6)).astype(np.int16)
AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


def say(text=""):
    return f"{WORD}^JOHN 19700101 {text}"


def tainted(kind, voxels, affine):
    image = kind(voxels, affine)
    for field, size in (("descrip", 79), ("aux_file", 23), ("intent_name", 15)):
        image.header[field] = say(field)[:size].encode()
    if "db_name" in image.header:
        image.header["db_name"] = say()[:17].encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", say("extension").encode()))
    return image


def nifti(name, kind=nibabel.Nifti1Image):
    def make(folder):
        nibabel.save(tainted(kind, VOXELS, AFFINE), folder / name)
        return folder / name

    return make


def pair(folder):
    nibabel.save(tainted(nibabel.Nifti1Pair, VOXELS, AFFINE), folder / "pair.img")
    return folder / "pair.hdr"


def nrrd(folder):
    image = sitk.GetImageFromArray(VOXELS)
    sitk.WriteImage(image, str(folder / "a.nrrd"), True)
    raw = (folder / "a.nrrd").read_bytes()
    lines = [f"content: {say()}", f"# {say('comment')}", f"PatientName:={say()}", f"{WORD}_key:=1"]
    lines += [f'labels: "{WORD}" "b" "c"', f"sample units: {WORD}"]
    (folder / "a.nrrd").write_bytes(raw.replace(b"\n\n", ("\n" + "\n".join(lines) + "\n\n").encode(), 1))
    return folder / "a.nrrd"


def metaimage(folder):
    image = sitk.GetImageFromArray(VOXELS)
    sitk.WriteImage(image, str(folder / "a.mha"), True)
    raw = (folder / "a.mha").read_bytes()
    keys = ("Comment", "Name", "PatientID", f"{WORD}_tag", "AcquisitionDate")
    lines = "".join(f"{key} = {say(key)}\n" for key in keys)
    (folder / "a.mha").write_bytes(raw.replace(b"NDims", lines.encode() + b"NDims", 1))
    return folder / "a.mha"


def array_archive(folder):
    np.savez(folder / "a.npz", **{say("array"): VOXELS, "affine": AFFINE})
    return folder / "a.npz"


def picture(name):
    def make(folder):
        one = Pillow.fromarray(VOXELS[..., 0].astype(np.uint8))
        exif = Pillow.Exif()
        for tag in (0x010E, 0x013B, 0x0132, 0x8298):  # description, artist, date, copyright
            exif[tag] = say()
        options = {"exif": exif}
        if name.endswith(".png"):
            text = PngImagePlugin.PngInfo()
            text.add_text("Comment", say("tEXt"))
            text.add_text("Author", say("zTXt") * 20, zip=True)
            text.add_itxt("Title", say("iTXt"))
            options["pnginfo"] = text
        else:
            options["comment"] = say().encode()
        one.save(folder / name, **options)
        return folder / name

    return make


def tiff(name, **options):
    def make(folder):
        facts = {"software": say(), "datetime": "1970:01:01 00:00:00", **options}
        extra = [(315, "s", 0, say("artist"), True), (33432, "s", 0, say("copyright"), True)]
        voxels = VOXELS.transpose(2, 0, 1).astype(np.uint16)
        tifffile.imwrite(folder / name, voxels, photometric="minisblack", extratags=extra, **facts)
        return folder / name

    return make


def ome(folder):
    facts = {"axes": "ZYX", "PhysicalSizeX": 2.0, "Name": say("image"), "Description": say("ome")}
    tifffile.imwrite(folder / "o.ome.tif", VOXELS.transpose(2, 0, 1), photometric="minisblack", metadata=facts)
    return folder / "o.ome.tif"


def store(folder):
    medframe.write(medframe.Image(torch.from_numpy(VOXELS.copy())[None], AFFINE), folder / "a.zarr")
    group = zarr.open_group(str(folder / "a.zarr"), mode="a")
    facts = dict(group.attrs)
    facts["ome"]["multiscales"][0]["name"] = say("scales")
    group.attrs.update({**facts, "patient": say(), WORD: 1})
    group["0"].attrs.update({"note": say()})
    return folder / "a.zarr"


def container(folder):
    from medframe.base.container import write_container

    facts = {"affine": AFFINE.tolist(), "patient": say(), WORD: 1}
    write_container(folder / "a.safetensors", "image", {"data": torch.from_numpy(VOXELS.copy())[None]}, facts)
    return folder / "a.safetensors"


def slide(folder):
    pixels = np.zeros((128, 128, 3), np.uint8)
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
    tifffile.imwrite(folder / "a.svs", pixels, description=f"Aperio |Patient = {say()}", **options)
    return folder / "a.svs"


FILES = {
    "NIfTI-1": nifti("a.nii"),
    "NIfTI-1, gzipped": nifti("b.nii.gz"),
    "NIfTI-2": nifti("c.nii", nibabel.Nifti2Image),
    "NIfTI pair": pair,
    "NRRD": nrrd,
    "MetaImage": metaimage,
    "npz": array_archive,
    "safetensors": container,
    "PNG": picture("a.png"),
    "JPEG": picture("a.jpg"),
    "TIFF": tiff("a.tif", metadata=None, description=say()),
    "ImageJ TIFF": tiff("b.tif", imagej=True, metadata={"Info": say(), "spacing": 2.0, "unit": "mm"}),
    "OME-TIFF": ome,
    "Zarr": store,
    "whole slide": slide,
}


@pytest.fixture
def ears(caplog):
    """Collects what is said: errors with their traces, warnings, logs."""
    heard = []
    caplog.set_level(logging.DEBUG)

    def listen(act):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                return act()
            except MedframeError as error:
                heard.append("".join(traceback.format_exception(error)))
                heard.append(pickle.dumps(error).decode("latin-1"))
                return None
            finally:
                heard.extend(str(one.message) for one in said)

    listen.heard = heard
    listen.log = lambda: heard + [record.getMessage() for record in caplog.records]
    return listen


def kept(image):
    return [repr(image), repr(dict(image.meta)), str(image.space), pickle.dumps(image).decode("latin-1")]


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_damaged_and_converted(tmp_path, name, ears, capfd):
    source = tmp_path / "in"
    source.mkdir()
    path = FILES[name](source)
    assert leaks(b"".join(p.read_bytes() for p in source.rglob("*") if p.is_file())), "no word was planted"
    image = ears(lambda: read(path))
    assert image is not None
    texts = [*kept(image)]
    _ = image.data
    texts += kept(image)
    # the options and kinds that a file does not have
    for act in (
        lambda: read(path, LabelMap).data,
        lambda: read(path, LabelMap, classes=2).data,
        lambda: read(path, ndim=1),
        lambda: read(path, key="absent"),
        lambda: read(path, level=7),
        lambda: read(path, series=9),
    ):
        try:
            ears(act)
        except TypeError:  # an option that only other formats have
            continue
    # into every format that is written
    for suffix in (".nii.gz", ".nii", ".nrrd", ".mha", ".npz", ".npy", ".safetensors", ".png", ".tif", ".zarr"):
        ears(lambda s=suffix: medframe.convert(path, tmp_path / "out" / f"x{s}"))
    made = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert made
    # and damaged: cut at many places, and with bytes of the header exchanged
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and p.suffix in (".json", "")][:4]
    chance = np.random.default_rng(0)
    for file in files:
        good = file.read_bytes()
        for k in range(150):
            bad = bytearray(good)
            if k % 3 == 0:
                bad = bad[: chance.integers(0, len(bad))]
            else:
                at = int(chance.integers(0, min(len(bad), 900)))
                bad[at : at + 1] = bytes([chance.integers(0, 256)]) if k % 3 == 1 else b""
            file.write_bytes(bad)
            ears(lambda: read(path, LabelMap if chance.random() < 0.3 else medframe.Image).data)
        # another format's reader is given the file
        for suffix in (".nii", ".nrrd", ".mha", ".npy", ".npz", ".safetensors", ".png", ".tif", ".svs"):
            (tmp_path / f"wrong{suffix}").write_bytes(good)
            ears(lambda s=suffix: read(tmp_path / f"wrong{s}").data)
        for suffix in (".tfm", ".mat"):
            (tmp_path / f"wrong{suffix}").write_bytes(good)
            ears(lambda s=suffix: read_transform(tmp_path / f"wrong{s}"))
        file.write_bytes(good)
    assert len(ears.heard) > 20
    texts += [*ears.log(), *capfd.readouterr()]
    assert not [text for text in texts if leaks(text.encode("utf-8", "replace"))][:2]
    assert not [p.name for p in made if leaks(p.read_bytes()) or leaks(p.name.encode())]


def test_transforms(tmp_path, ears):
    one = sitk.Euler3DTransform()
    sitk.WriteTransform(one, str(tmp_path / "a.tfm"))
    text = (tmp_path / "a.tfm").read_text()
    for change in (
        lambda t: t + f"# {say()}\n",
        lambda t: t.replace("#Transform 0", f"#{say()}"),
        lambda t: f"{say()}\n{t}",
        lambda t: t.replace("Parameters: 0", f"Parameters: 0 {WORD}"),
        lambda t: t.replace("FixedParameters", WORD),
    ):
        (tmp_path / "b.tfm").write_text(change(text))
        ears(lambda: read_transform(tmp_path / "b.tfm"))
    sitk.WriteTransform(one, str(tmp_path / "a.mat"))
    raw = (tmp_path / "a.mat").read_bytes()
    for name in (b"Euler3DTransform_double_3_3", b"fixed"):
        (tmp_path / "b.mat").write_bytes(raw.replace(name, (WORD.encode() + b"x" * 40)[: len(name)]))
        ears(lambda: read_transform(tmp_path / "b.mat"))
    assert len(ears.heard) >= 6
    shown = [text for text in ears.log() if leaks(text.encode())]
    # the field in which the word stands is one that is read, and its value is what is wrong with it
    assert all("field Parameters" in text or WORD + "x" in text for text in shown)


def test_training_prediction_and_failure(tmp_path, tools, capfd, caplog):
    caplog.set_level(logging.INFO)
    data = tools.write_decathlon(tmp_path / "balls")
    for path in data.rglob("*.nii.gz"):
        plain = nibabel.load(path)
        nibabel.save(tainted(nibabel.Nifti1Image, np.asarray(plain.dataobj), plain.affine), path)
    assert leaks(next((data / "imagesTr").iterdir()).read_bytes())
    said = []
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        settings = {**tools.settings, "steps": 2, "validate_every": 1, "warmup": 1}
        run = medframe.fit(data, tmp_path / "run", settings=settings, progress=True)
        made = medframe.predict(run.folder, [data / "imagesTr"], tmp_path / "out", progress=True)
        medframe.evaluate(tmp_path / "out", data / "labelsTr", tmp_path / "scores" / "scores.csv")
        found = medframe.check(data, voxels=True)
        said += [json.dumps(found.to_json())]
        medframe.convert(data / "imagesTr", tmp_path / "converted", to=".nrrd")
        # a case that cannot be used, and one that spoils the loss
        spoilt = tools.write_decathlon(tmp_path / "spoilt")
        target = sorted((spoilt / "imagesTr").iterdir())[0]
        plain = nibabel.load(target)
        voxels = np.array(plain.dataobj)
        voxels[3, 4, 5] = np.nan
        nibabel.save(tainted(nibabel.Nifti1Image, voxels, plain.affine), target)
        with pytest.raises(MedframeError) as caught:
            medframe.fit(spoilt, tmp_path / "failed", settings=settings, progress=False)
        said += traceback.format_exception(caught.value)
        said += [str(one.message) for one in heard]
    assert len(made) == 6
    said += [record.getMessage() for record in caplog.records]
    said += [*capfd.readouterr()]
    folders = ("run", "out", "scores", "converted", "failed")
    files = [p for folder in folders for p in (tmp_path / folder).rglob("*") if p.is_file()]
    assert {"model.safetensors", "report.html", "log.csv"} <= {p.name for p in files}
    assert any("cache" in p.parts for p in files)
    assert not [p for p in files if leaks(p.read_bytes())]
    assert not [text for text in said if leaks(text.encode())]


def test_a_traceback_of_the_command_line_is_clean(tmp_path):
    path = FILES["NIfTI-1, gzipped"](tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    command = [sys.executable, "-m", "medframe.cli.main", "convert", str(path), str(tmp_path / "x.nrrd")]
    done = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).resolve().parents[2])
    assert done.returncode != 0
    assert b"b.nii.gz" in done.stderr + done.stdout
    assert not leaks(done.stderr + done.stdout)


def test_the_header_that_is_written_has_no_text_at_all(tmp_path):
    path = FILES["NIfTI-1"](tmp_path)
    medframe.convert(path, tmp_path / "x.nii")
    raw = (tmp_path / "x.nii").read_bytes()
    assert raw[148:252] == bytes(104)  # descrip and aux_file
    assert raw[328:344] == bytes(16)  # intent_name
    assert raw[4:40] == bytes(36)  # data_type, db_name and what stands beside them
    assert struct.unpack_from("<f", raw, 108) == (352.0,)  # no room for extensions
