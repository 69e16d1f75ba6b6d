"""The index of a folder tree: what it finds, from headers alone, and that it names nobody."""

import csv
import json
import os

import numpy as np
import pytest
from dicom_maker import Maker, ramp, save
from pydicom.uid import generate_uid

from medframe.base.errors import BadArgument, BadFile, BadGeometry, WriteFailed
from medframe.image import LabelMap
from medframe.io.dicom import index
from medframe.io.dicom import pixels as dicom_pixels

VOLUME = ramp()


def archive(root):
    """Three patients: one of two studies, one of two series in one folder, one whose series has a gap."""
    made = {}
    for patient, study in (("A", 0), ("A", 1), ("B", 0), ("B", 0), ("C", 0)):
        maker = Maker(VOLUME + len(made))
        maker.study = f"1.2.{ord(patient)}.{study}"
        folder = root / patient / f"study{study}"
        number = len(made) + 1
        order = [0, 1, 2, 4, 5, 6, 7] if patient == "C" else None
        maker.write(
            folder,
            order,
            name=f"{number}_{{}}.dcm",
            PatientID=f"CANARY-{patient}",
            PatientName="CANARY^JANE",
            StudyDescription="CANARY",
            StudyInstanceUID=maker.study,
            SeriesNumber=number,
        )
        made[number] = maker
    return made


def test_series_are_found_and_judged_without_pixels(tmp_path, monkeypatch):
    made = archive(tmp_path)
    (tmp_path / "notes.txt").write_text("CANARY")
    (tmp_path / ".hidden").mkdir()
    save(Maker(VOLUME).slice(0), tmp_path / ".hidden" / "x.dcm")
    monkeypatch.setattr(dicom_pixels.PixelReader, "read", lambda *_: pytest.fail("pixels were read"))
    table = index(tmp_path, key="secret", progress=False)
    assert (len(table), table.files, table.passed, table.damaged) == (5, 39, 1, ())
    assert (len(table.patients), len(table.studies)) == (3, 4)
    by_number = {one.number: one for one in table}
    assert sorted(by_number) == [1, 2, 3, 4, 5]
    assert by_number[1].patient == by_number[2].patient != by_number[3].patient == by_number[4].patient
    assert by_number[1].study != by_number[2].study
    for number, one in by_number.items():
        assert (one.modality, one.files) == ("CT", 7 if number == 5 else 8)
        assert str(made[number].series).endswith(one.series.removeprefix("..."))
    assert by_number[1].shape == (5, 6, 8)
    assert by_number[1].spacing == (2.0, 3.0, 2.5)
    assert by_number[3].folder == "B/study0"
    assert table.problems == (by_number[5],)
    assert by_number[5].problems == ("1 slice is missing",)


def test_a_series_reads_from_its_own_files(tmp_path):
    archive(tmp_path)
    for one in index(tmp_path, progress=False):
        if one.problems:
            with pytest.raises(BadGeometry, match="1 slice is missing"):
                one.read()
            assert one.read(on_gap="resample").space.shape == (5, 6, 8)
        else:
            np.testing.assert_array_equal(one.read().data[0], VOLUME + one.number - 1)
            assert isinstance(one.read(LabelMap), LabelMap)


def test_nobody_is_named_and_a_key_keeps_pseudonyms(tmp_path):
    archive(tmp_path / "in")
    table = index(tmp_path / "in", key="secret", progress=False)
    table.write(tmp_path / "out.json")
    table.write(tmp_path / "out.csv")
    told = [str(table), repr(table), (tmp_path / "out.json").read_text(), (tmp_path / "out.csv").read_text()]
    assert not any("CANARY" in text for text in told)
    assert not any(study in text for text in told for study in ("1.2.65.0", "1.2.65.1"))
    assert index(tmp_path / "in", key="secret", progress=False) == table
    other = index(tmp_path / "in", key="other", progress=False)
    assert not set(other.patients) & set(table.patients)
    drawn = index(tmp_path / "in", progress=False)
    assert not set(drawn.patients) & set(index(tmp_path / "in", progress=False).patients)
    with pytest.raises(BadArgument, match="hides nobody"):
        index(tmp_path / "in", key="", progress=False)


def test_tables_hold_what_was_found(tmp_path):
    archive(tmp_path / "in")
    table = index(tmp_path / "in", progress=False)
    table.write(tmp_path / "out.json")
    table.write(tmp_path / "out.csv")
    content = json.loads((tmp_path / "out.json").read_text())
    assert (content["format"], content["files"], len(content["series"])) == ("medframe dicom index 1", 39, 5)
    assert content["series"][0]["shape"] == list(table.series[0].shape)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["number"] for row in rows] == [str(one.number) for one in table]
    assert [row["problems"] for row in rows] == ["; ".join(one.problems) for one in table]
    with pytest.raises(WriteFailed, match="exists"):
        table.write(tmp_path / "out.csv")
    with pytest.raises(BadArgument, match=r"\.csv or \.json"):
        table.write(tmp_path / "out.xlsx")


def test_damage_stops_nothing(tmp_path):
    maker = Maker(VOLUME)
    maker.write(tmp_path / "a")
    raw = (tmp_path / "a/004.dcm").read_bytes()
    (tmp_path / "a/004.dcm").write_bytes(raw[:-9])
    (tmp_path / "a/empty.dcm").touch()
    (tmp_path / "a/text.dcm").write_text("hello " * 40)
    (tmp_path / "a/cut.dcm").write_bytes(raw[:140])
    os.mkfifo(tmp_path / "a/pipe.dcm")
    report = maker.slice(0, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", PixelData=None)
    report.SeriesInstanceUID = generate_uid()
    del report.Rows, report.Columns
    save(report, tmp_path / "a/report.dcm")
    table = index(tmp_path, progress=False)
    assert dict(table.damaged) == {"a/empty.dcm": "the file is empty", "a/text.dcm": "this is not a DICOM file"}
    by_modality = {one.modality: one for one in table}
    assert by_modality["CT"].problems == ("the file holds fewer bytes than its header claims (1 file)",)
    assert (by_modality["SR"].shape, by_modality["SR"].problems) == ((), ())
    assert "patient" in str(table)
    assert "2 damaged" in str(table)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(BadFile, match="no such folder"):
        index(tmp_path / "none")
    assert len(index(tmp_path, progress=False)) == 0


def test_real_archives(data_folder):
    table = index(data_folder / "dicom_series", progress=False)
    found = {one.folder.partition("/")[0]: one for one in table}
    assert found["mr_ge_epi_4d_interleaved"].volumes == 10
    assert found["mr_siemens_gre_sagittal"].shape == (42, 64, 5)
    assert "mosaic" in found["mr_siemens_mosaic_ap"].problems[0]
    assert {name for name, one in found.items() if one.problems} == {"mr_siemens_mosaic_ap"}
