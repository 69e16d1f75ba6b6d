"""Headers: getters that name file and tag, damage of all kinds, and nothing of a person in any message."""

import pickle
import zlib

import numpy as np
import pydicom
import pytest
from dicom_maker import Maker, ramp, save
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medframe.base.errors import BadArgument, BadFile, MedframeError, TooLarge
from medframe.io import read
from medframe.io.dicom import file as dicom_file
from medframe.io.dicom import read_header
from medframe.io.dicom.header import (
    acquisition,
    bad_tag,
    code,
    has,
    number,
    pseudonym,
    sequence,
    text,
    uid,
    vector,
    whole,
)

VOLUME = ramp()
PHI = {
    "PatientName": "CANARY^JANE",
    "PatientID": "CANARY42",
    "PatientBirthDate": "19700101",
    "InstitutionName": "CANARY HOSPITAL",
    "ReferringPhysicianName": "CANARY^DOC",
    "AccessionNumber": "CANARYACC",
    "StudyDescription": "CANARY study",
    "SeriesDescription": "CANARY series",
    "ProtocolName": "CANARY protocol",
    "ImageComments": "CANARY comment",
    "StationName": "CANARYSTATION",
}


@pytest.fixture
def path(tmp_path):
    return save(Maker(VOLUME).slice(0, KVP="120", **PHI), tmp_path / "x.dcm")


def test_getters(path):
    header = read_header(path)
    assert vector(header, "PixelSpacing", path, 2) == (3.0, 2.0)
    assert whole(header, "Rows", path) == 6
    assert number(header, "KVP", path) == 120.0
    assert number(header, "EchoTime", path, 7.0) == 7.0
    assert text(header, "ImageType", path) == "ORIGINAL\\PRIMARY\\AXIAL"
    assert code(header, "Modality") == "CT"
    assert code(header, "PatientName") == ""
    assert uid(header, "SOPClassUID", path) == "1.2.840.10008.5.1.4.1.1.2"
    assert has(header, "Rows")
    assert not has(header, "EchoTime")
    assert sequence(header, "ModalityLUTSequence", path) == []
    assert acquisition(header) == {"KVP": 120.0, "SliceThickness": 2.5}
    assert header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert "PixelData" not in header
    assert len(read_header(path, pixels=True).PixelData) == 60
    assert "InstitutionName" not in header
    assert "InstitutionName" in read_header(path, tags=None)
    assert whole(read_header(path, tags=("Rows",)), "Rows", path) == 6


def test_getters_take_datasets_made_in_memory():
    ds = Dataset()
    ds.PixelSpacing, ds.Rows, ds.RescaleSlope, ds.SOPClassUID = [1.5, 2], 7, "0.25", "1.2.3"
    item = Dataset()
    item.LUTDescriptor = [5, 0, 16]
    ds.ModalityLUTSequence = [item]
    assert vector(ds, "PixelSpacing", "x") == (1.5, 2.0)
    assert (whole(ds, "Rows", "x"), number(ds, "RescaleSlope", "x"), uid(ds, "SOPClassUID", "x")) == (7, 0.25, "1.2.3")
    assert vector(sequence(ds, "ModalityLUTSequence", "x")[0], "LUTDescriptor", "x") == (5, 0, 16)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_every_syntax_gives_the_same_header(tmp_path, syntax):
    ds = Maker(VOLUME).enhanced(range(8))
    header = read_header(save(ds, tmp_path / "x.dcm", syntax))
    group = sequence(header, "PerFrameFunctionalGroupsSequence", "x")[3]
    place = sequence(group, "PlanePositionSequence", "x")[0]
    assert vector(place, "ImagePositionPatient", "x", 3) == (-11.0, -22.0, 40.5)
    assert whole(header, "NumberOfFrames", "x") == 8


@pytest.mark.parametrize(
    ("get", "message"),
    [
        (lambda h, p: vector(h, "EchoTime", p), r"x\.dcm, tag EchoTime \(0018,0081\): an element is missing"),
        (lambda h, p: vector(h, "PixelSpacing", p, 3), r"tag PixelSpacing \(0028,0030\).*found 2 values; expected 3"),
        (lambda h, p: number(h, "PatientID", p), r"tag PatientID .*found text that is no number"),
        (lambda h, p: uid(h, "PatientID", p), "found text that is no UID"),
        (lambda h, p: whole(h, "Rows", p, least=9), "found 6; expected a whole number from 9"),
        (lambda h, p: whole(h, "SliceThickness", p), r"found 2\.5; expected a whole number"),
    ],
)
def test_what_is_wrong_names_file_and_tag_and_no_person(path, get, message):
    with pytest.raises(BadFile, match=message) as caught:
        get(read_header(path), path)
    assert "CANARY" not in str(caught.value)
    assert "CANARY" not in str(pickle.loads(pickle.dumps(caught.value)))


def test_numbers_that_are_none(tmp_path):
    for value, message in (("nan", "text that is no number|NaN"), ("1e999", "NaN or infinity"), ("1,5", "no number")):
        ds = Maker(VOLUME).slice(0)
        path = save(ds, tmp_path / "x.dcm")
        raw = path.read_bytes()
        old = raw[raw.index(b"\x18\x00\x50\x00DS") :][:12]
        new = old[:6] + len(value.encode()).to_bytes(2, "little") + value.encode()
        path.write_bytes(raw.replace(old, new + b" " * 0))
        with pytest.raises(BadFile, match=message):
            number(read_header(path), "SliceThickness", path)


def test_unknown_keywords(path):
    with pytest.raises(BadArgument, match="NoSuchThing"):
        read_header(path, tags=("NoSuchThing",))
    assert bad_tag("a/b.dcm", "Rows", 1, 2).where == "a/b.dcm, tag Rows (0028,0010)"


def test_a_pseudonym_needs_its_key():
    one = pseudonym(b"key", "patient", "CANARY42")
    assert one == pseudonym(b"key", "patient", "CANARY42")
    assert len({one, pseudonym(b"other", "patient", "CANARY42"), pseudonym(b"key", "patient", "CANARY43")}) == 3
    assert "CANARY" not in one


def test_files_that_are_none(tmp_path):
    for name, content in (("empty.dcm", b""), ("text.dcm", b"hello " * 50), ("short.dcm", bytes(128) + b"DICM")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFile, match=name):
            read(tmp_path / name)
    with pytest.raises(BadFile, match="no such file"):
        read_header(tmp_path / "none.dcm")
    with pytest.raises(BadFile, match="a folder"):
        read_header(tmp_path)


def test_a_length_beyond_the_file_is_not_allocated(tmp_path):
    path = save(Maker(VOLUME).slice(0), tmp_path / "x.dcm")
    raw = path.read_bytes()
    at = raw.index(b"\x28\x00\x30\x00DS")
    path.write_bytes(raw[: at + 4] + b"UT\0\0" + (0xFFFFFFF0).to_bytes(4, "little") + raw[at + 8 :])
    with pytest.raises(MedframeError, match=r"x\.dcm"):
        read(path)


def test_a_header_that_inflates_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_file, "HEADER_LIMIT", 1 << 20)
    path = save(Maker(VOLUME).slice(0), tmp_path / "x.dcm", DeflatedExplicitVRLittleEndian)
    raw = path.read_bytes()
    start = raw.index(b"DICM") + 4 + 12 + int.from_bytes(raw[140:144], "little")
    element = b"\x08\x00\x81\x00UT\0\0" + (64 << 20).to_bytes(4, "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(element) + packer.compress(bytes(64 << 20)) + packer.flush()
    path.write_bytes(raw[:start] + bomb)
    with pytest.raises((TooLarge, BadFile), match=r"x\.dcm"):
        read(path)


def test_a_deep_header_is_refused(tmp_path):
    path = save(Maker(VOLUME).slice(0), tmp_path / "x.dcm", ImplicitVRLittleEndian)
    raw = path.read_bytes()
    nested = b"\x40\x00\x75\x02\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20000
    at = raw.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(raw[:at] + nested + raw[at:])
    with pytest.raises(BadFile, match=r"x\.dcm: the DICOM header is damaged"):
        read(path)


def test_random_damage_is_a_clear_error_or_none(tmp_path):
    rng = np.random.default_rng(5)
    folder = Maker(VOLUME).write(tmp_path / "s", **PHI)
    good = {p.name: p.read_bytes() for p in folder.iterdir()}
    classic, path = good["003.dcm"], folder / "003.dcm"
    multi = save(Maker(VOLUME).enhanced(range(8), **PHI), tmp_path / "m.dcm")
    frames = multi.read_bytes()
    refused = []
    for turn in range(300):
        raw = bytearray(classic if turn % 2 else frames)
        place = path if turn % 2 else multi
        if rng.random() < 0.3:
            raw = raw[: int(rng.integers(0, len(raw)))]
        else:
            for _ in range(int(rng.integers(1, 4))):
                raw[int(rng.integers(128, len(raw)))] = int(rng.integers(0, 256))
        place.write_bytes(raw)
        try:
            read(folder if turn % 2 else multi).data  # noqa: B018
        except MedframeError as error:
            refused.append(error)
    assert 25 < len(refused) < 275
    assert not [error for error in refused if "CANARY" in str(error)]
    assert all(pickle.loads(pickle.dumps(error)).found == error.found for error in refused)


def test_nothing_of_a_person_is_kept(tmp_path):
    folder = Maker(VOLUME).write(tmp_path / "s", **PHI)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.private_block(0x0011, "ACME", create=True).add_new(0x10, "LO", "CANARY PRIVATE")
        ds.save_as(path)
    image = read(folder)
    image.data  # noqa: B018
    kept = [repr(image), repr(dict(image.meta)), repr(image.source), repr(image.place)]
    kept.append(pickle.dumps(image).decode("latin-1"))
    assert not any("CANARY" in part or "19700101" in part for part in kept)


def test_the_quick_walk_gives_what_pydicom_gives(data_folder, monkeypatch):
    paths = sorted((data_folder / "dicom_series").glob("*/dicom/*.dcm"))[::7]
    paths += sorted((data_folder / "dicom_multiframe").glob("*/**/*.dcm")) + sorted(
        (data_folder / "dicom_seg").glob("*/*/*.dcm")
    )
    quick = [dicom_file.open_dicom(path) for path in paths]

    def refuse(*_, **__):
        raise dicom_file.Unusual

    monkeypatch.setattr(dicom_file, "walk_elements", refuse)
    for path, found in zip(paths, quick, strict=True):
        due = dicom_file.open_dicom(path)
        assert (found.syntax, found.pixels) == (due.syntax, due.pixels)
        assert list(found.dataset.keys()) == list(due.dataset.keys())
        assert found.dataset == due.dataset
        assert found.dataset.original_character_set == due.dataset.original_character_set
