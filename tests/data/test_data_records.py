"""Every known layout is read, and every fault of a layout is named."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medframe.base.errors import BadDataset, BadFile
from medframe.data import Cohort, Record, find_images, read_cohort

HIPPOCAMPUS = Path(__file__).parents[3] / "shared" / "data" / "msd_hippocampus"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def describe(folder: Path, value: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


def pair(case: str) -> dict:
    return {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}


def decathlon(root: Path, *cases: str, **more: object) -> Path:
    touch(root, *(name for case in cases for name in pair(case).values()))
    labels = {"0": "background", "2": "tumour", "1": "liver"}
    content = {"name": "Liver", "modality": {"0": "CT"}, "labels": labels, "training": [pair(c) for c in cases]}
    return describe(root, {**content, **more})


def nnunet(root: Path, *cases: str, **more: object) -> Path:
    for case in cases:
        touch(root, f"imagesTr/{case}_0000.nii.gz", f"imagesTr/{case}_0001.nii.gz", f"labelsTr/{case}.nii.gz")
    content = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "edema": 1, "core": 2}}
    return describe(root, {**content, "file_ending": ".nii.gz", "numTraining": len(cases), **more})


@pytest.mark.skipif(not HIPPOCAMPUS.exists(), reason="the shared hippocampus data is not here")
@pytest.mark.parametrize("path", [HIPPOCAMPUS, HIPPOCAMPUS / "dataset.json"])
def test_hippocampus(path):
    cohort = read_cohort(path)
    assert cohort.name == "Hippocampus"
    assert len(cohort) == len(list((HIPPOCAMPUS / "imagesTr").glob("hippocampus_*.nii.gz"))) == 174
    assert cohort.classes == {0: "background", 1: "Anterior", 2: "Posterior"}
    assert cohort.channels == ("MRI",)
    first = cohort.records[0]
    assert first.case == first.group == "hippocampus_001"
    assert first.split is None
    assert nib.load(first.images[0]).shape == nib.load(first.label).shape


def test_decathlon(tmp_path):
    cohort = read_cohort(decathlon(tmp_path, "b", "a", validation=[pair("a")], training=[pair("b")]))
    assert cohort.classes == {0: "background", 1: "liver", 2: "tumour"}
    assert list(cohort.classes) == [0, 1, 2]
    assert [(r.case, r.split) for r in cohort.records] == [("b", "train"), ("a", "val")]
    assert cohort.records[0].images == (tmp_path / "imagesTr" / "b.nii.gz",)


def test_decathlon_channel_files_and_equal_names(tmp_path):
    touch(tmp_path, *(f"{p}/{n}.nii" for p in ("p1", "p2") for n in ("t1", "t2", "seg")))
    rows = [{"image": [f"{p}/t1.nii", f"{p}/t2.nii"], "label": f"{p}/seg.nii", "group": "x"} for p in ("p1", "p2")]
    cohort = read_cohort(describe(tmp_path, {"training": rows}))
    assert [r.case for r in cohort.records] == ["p1_t1", "p2_t1"]
    assert [len(r.images) for r in cohort.records] == [2, 2]
    assert [r.group for r in cohort.records] == ["x", "x"]
    assert cohort.classes == {}


def test_nnunet(tmp_path):
    cohort = read_cohort(touch(nnunet(tmp_path, "b", "a"), "imagesTr/._a_0000.nii.gz", "labelsTr/.DS_Store"))
    assert [r.case for r in cohort.records] == ["a", "b"]
    assert [p.name for p in cohort.records[0].images] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert cohort.records[0].label.name == "a.nii.gz"
    assert cohort.classes == {0: "background", 1: "edema", 2: "core"}
    assert cohort.channels == ("T1", "T2")


def test_nnunet_with_a_list_of_files(tmp_path):
    entry = {"images": ["x/one.nii.gz", "x/two.nii.gz"], "label": "x/seg.nii.gz"}
    touch(tmp_path, *entry["images"], entry["label"])
    cohort = read_cohort(nnunet(tmp_path, dataset={"one": entry}))
    assert cohort.records == (
        Record("one", (tmp_path / "x/one.nii.gz", tmp_path / "x/two.nii.gz"), tmp_path / "x/seg.nii.gz"),
    )


def test_folders(tmp_path):
    touch(tmp_path, "images/a.nii.gz", "images/b_0001.nii", "labels/a.nii", "labels/b_0001.nii.gz", "images/notes.txt")
    cohort = read_cohort(touch(tmp_path, "images/._a.nii.gz", "labels/._a.nii.gz"))
    assert [(r.case, r.label.name) for r in cohort.records] == [("a", "a.nii"), ("b_0001", "b_0001.nii.gz")]
    assert cohort.classes == {}
    assert cohort.name == tmp_path.name


def test_folders_with_channels_and_without_labels(tmp_path):
    images = touch(tmp_path, "images/a_0000.nii", "images/a_0001.nii")
    assert [r.case for r in read_cohort(images, labels_required=False).records] == ["a_0000", "a_0001"]
    cohort = read_cohort(touch(tmp_path, "labels/a.nii"))
    assert [(r.case, len(r.images)) for r in cohort.records] == [("a", 2)]


def test_a_pair_of_header_and_voxels_is_one_image(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Pair(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / name / "a.hdr")
    (record,) = read_cohort(tmp_path).records
    assert (record.images[0].name, record.label.name) == ("a.hdr", "a.hdr")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table(tmp_path, delimiter):
    touch(tmp_path, "a1.nii", "a2.nii", "b1.nii", "b2.nii", "sub/seg.nii")
    rows = [
        "Case,image2,image,label,group,split,age",
        "a,a2.nii,a1.nii,sub/seg.nii,p1,train,50",
        "",
        "b,b2.nii,b1.nii,,,,",
    ]
    file = tmp_path / "cases.csv"
    file.write_text("\ufeff" + "\r\n".join(rows).replace(",", delimiter) + "\r\n", encoding="utf-8")
    with pytest.raises(BadDataset, match=r"1 of 2 cases have no label.*none for b"):
        read_cohort(file)
    cohort = read_cohort(file, labels_required=False)
    assert cohort.name == "cases"
    assert cohort.records == (
        Record("a", (tmp_path / "a1.nii", tmp_path / "a2.nii"), tmp_path / "sub/seg.nii", "p1", "train"),
        Record("b", (tmp_path / "b1.nii", tmp_path / "b2.nii")),
    )


def test_table_names_cases_by_their_files(tmp_path):
    touch(tmp_path, "a.nii.gz", "b.nii.gz")
    (tmp_path / "t.csv").write_text("image\na.nii.gz\nb.nii.gz\n")
    assert [r.case for r in read_cohort(tmp_path / "t.csv", labels_required=False).records] == ["a", "b"]


def link_out(root: Path) -> Path:
    touch(root.parent, "outside/a.nii.gz")
    root.mkdir()
    (root / "link").symlink_to(root.parent / "outside")
    return describe(root, {"training": [{"image": "link/a.nii.gz"}]})


def table(text: str, name: str = "t.csv"):
    def make(root: Path) -> Path:
        touch(root, "a.nii", "b.nii")
        (root / name).write_text(text)
        return root / name

    return make


FAULTS = {
    "absent": (lambda r: r / "nothing", "no such folder or file"),
    "empty folder": (lambda r: (r.mkdir(), r)[1], "an empty folder.*Decathlon.*nnU-Net.*images.*CSV"),
    "unknown layout": (lambda r: touch(r, "scans/a.nii"), "a folder with scans.*Decathlon.*nnU-Net.*images.*CSV"),
    "unknown file": (lambda r: touch(r, "a.xlsx") / "a.xlsx", "a file .xlsx"),
    "another JSON": (lambda r: describe(r, {"a": 1}), "describes no known dataset.*found a;"),
    "broken JSON": (lambda r: describe(r, '{"training": ['), "not valid JSON"),
    "deep JSON": (lambda r: describe(r, "[" * 100_000), "nested too deeply"),
    "JSON list": (lambda r: describe(r, "[1]"), "not an object"),
    "doubled key": (lambda r: describe(r, '{"labels": {"1": "a", "1": "b"}}'), "a key occurs twice.*found 1"),
    "not text": (lambda r: (touch(r, "x"), (r / "dataset.json").write_bytes(b"\xff\xfe{")), "not text"),
    "no cases": (decathlon, "the dataset is empty"),
    "training is no list": (lambda r: decathlon(r, training={}), "'training' is not a list"),
    "entry without image": (lambda r: decathlon(r, training=[{"label": "a"}]), r"no image|training\[0\]"),
    "image is a number": (lambda r: decathlon(r, training=[{"image": 3}]), r"training\[0\].*a path is text"),
    "image of no name": (lambda r: decathlon(r, training=[{"image": "\udc80\0"}]), "a path is text"),
    "unusable characters": (lambda r: decathlon(r, training=[{"image": "a\ud800.nii"}]), "cannot be followed"),
    "absent files": (
        lambda r: decathlon(r, training=[pair(f"c{k}") for k in range(9)]),
        r"18 of 18 files are not there.*no imagesTr/c0.nii.gz, labelsTr/c0.nii.gz, .* and 13 more \(18 in all\)",
    ),
    "listed twice": (lambda r: decathlon(r, "a", training=[pair("a"), pair("a")]), "more than once.*found a;"),
    "two labels": (
        lambda r: decathlon(r, "a", training=[pair("a"), {**pair("a"), "label": "labelsTr/b.nii.gz"}]),
        "case a: a case has two labels; found a.nii.gz, b.nii.gz",
    ),
    "no label": (lambda r: decathlon(r, "a", training=[{"image": pair("a")["image"]}]), "1 of 1 cases have no label"),
    "upward path": (lambda r: decathlon(r, training=[{"image": "../a.nii"}]), r"leads out.*found \.\./a.nii"),
    "absolute path": (lambda r: decathlon(r, training=[{"image": "/etc/passwd"}]), "leads out.*found .../passwd"),
    "link outside": (link_out, "leads out.*found link/a.nii.gz"),
    "hidden case": (lambda r: decathlon(r, "._a"), "a case id must do as a file name"),
    "bad labels": (lambda r: decathlon(r, "a", labels={"one": "liver"}), "'labels' has a bad entry.*'one': 'liver'"),
    "label number twice": (lambda r: decathlon(r, "a", labels={"a": 1, "b": 1}), "uses a number twice"),
    "channel gap": (lambda r: decathlon(r, "a", modality={"1": "CT"}), r"'modality' has gaps; found \[1\]"),
    "regions": (lambda r: nnunet(r, "a", labels={"background": 0, "whole": [1, 2]}), "regions.*found whole"),
    "ignore label": (lambda r: nnunet(r, "a", labels={"background": 0, "x": 1, "ignore": 2}), "ignore label"),
    "no ending": (lambda r: nnunet(r, "a", file_ending=None), "'file_ending' is missing"),
    "no images": (lambda r: touch(nnunet(r), "imagesTr/readme.txt"), "no training images"),
    "no imagesTr": (nnunet, "imagesTr: the folder cannot be read"),
    "a missing channel": (
        lambda r: touch(nnunet(r, "a"), "imagesTr/b_0000.nii.gz"),
        "another number of channels.*found 1 in b; expected 2: T1, T2",
    ),
    "a gap in channels": (lambda r: touch(nnunet(r, "a"), "imagesTr/b_0002.nii.gz"), "case b: .* gaps or doubles"),
    "no channel number": (lambda r: touch(nnunet(r, "a"), "imagesTr/b.nii.gz"), "lack a channel number; found b.nii"),
    "label alone": (lambda r: touch(nnunet(r, "a"), "labelsTr/b.nii.gz"), "labels have no image; found b"),
    "folder of nothing": (lambda r: touch(r, "images/a.txt"), "there are no images"),
    "folders, no labels": (lambda r: touch(r, "images/a.nii"), "1 of 1 cases have no label"),
    "folders, label alone": (lambda r: touch(r, "images/a.nii", "labels/a.nii", "labels/b.nii"), "found b.nii;"),
    "folders, two labels": (
        lambda r: touch(r, "images/a.nii", "labels/a.nii", "labels/a.nii.gz"),
        "case a: a case has two labels; found a.nii, a.nii.gz",
    ),
    "folders, two images": (lambda r: touch(r, "images/a.nii", "images/a.nii.gz", "labels/a.nii"), "found a;"),
    "no header": (table(""), "no column 'image'; found no header"),
    "no image column": (table("case,scan\na,b\n"), "no column 'image'; found columns case, scan"),
    "short row": (table("case,image\na\n"), "t.csv, row 2: a row does not fit"),
    "doubled column": (table("image,image\na,b\n"), "two columns have one name"),
    "no image name": (table("case,image\na,\n"), "row 2: a path is text"),
    "doubled case": (table("case,image\na,a.nii\na,b.nii\n"), "more than once; found a"),
    "unclosed quote": (table('case,image\na,"a.nii\n'), "the table cannot be read"),
    "slash in a case": (table("case,image\nx/y,a.nii\n"), "must do as a file name.*'x/y'"),
    "header alone": (table("case,image\n"), "the dataset is empty"),
    "table with an upward path": (table("image\n../a.nii\n"), "row 2: a path leads out"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault, tmp_path, monkeypatch):
    make, message = FAULTS[fault]
    root = tmp_path / "set"
    made = make(root)
    path = made if isinstance(made, Path) else root
    with pytest.raises(BadDataset, match=f"(?s){message}") as caught:
        read_cohort(path)
    assert str(tmp_path) not in str(caught.value)  # no full paths in messages


def test_a_named_root_may_hold_files(tmp_path):
    root = link_out(tmp_path / "set")
    cohort = read_cohort(root, labels_required=False, roots=[tmp_path / "outside"])
    assert cohort.records[0].images[0].read_bytes() == b"x"


def test_too_large_a_list(tmp_path):
    file = tmp_path / "dataset.json"
    with open(file, "wb") as stream:
        stream.truncate(65 << 20)  # a hole: no bytes on disk
    with pytest.raises(BadDataset, match=r"too large for a list of cases.*at most 64 MiB"):
        read_cohort(file)


@pytest.mark.parametrize("case", ["", ".x", "a/b", "a\\b", "a\nb", " a", "x" * 151])
def test_case_ids_do_as_file_names(case):
    with pytest.raises(BadDataset, match="case id"):
        Record(case, (Path("a.nii"),))


def test_a_record_starts_a_sample():
    record = Record("a", (Path("x.nii"), Path("y.nii")), Path("l.nii"))
    assert record.sample() == {"image": (Path("x.nii"), Path("y.nii")), "label": Path("l.nii"), "case": "a"}
    assert Record("a", (Path("x.nii"),)).sample() == {"image": (Path("x.nii"),), "case": "a"}
    with pytest.raises(BadDataset, match="tuple of image paths"):
        Record("a", ())
    with pytest.raises(BadDataset, match="empty"):
        Cohort("none", Path(), ())


def names(records):
    return [(r.case, [p.name for p in r.images]) for r in records]


def test_find_images(tmp_path):
    touch(tmp_path, "in/b.nii.gz", "in/a.nii", "in/._a.nii", "in/x.txt", "other/c_0000.nii", "other/c_0001.nii")
    assert names(find_images(tmp_path / "in")) == [("a", ["a.nii"]), ("b", ["b.nii.gz"])]
    assert names(find_images([tmp_path / "in" / "a.nii", tmp_path / "in"])) == [("a", ["a.nii"]), ("b", ["b.nii.gz"])]
    assert [r.case for r in find_images(tmp_path / "other")] == ["c_0000", "c_0001"]
    assert names(find_images(tmp_path / "other", channels=True)) == [("c", ["c_0000.nii", "c_0001.nii"])]
    assert all(r.label is None for r in find_images(str(tmp_path / "in")))


def test_find_images_names_what_clashes_by_folder(tmp_path):
    touch(tmp_path, "p1/scan.nii", "p2/scan.nii")
    assert [r.case for r in find_images([tmp_path / "p1", tmp_path / "p2"])] == ["p1_scan", "p2_scan"]


def test_find_images_finds_dicom(tmp_path):
    for series in ("s1", "s2"):
        touch(tmp_path, f"{series}/0001")
        (tmp_path / series / "0001").write_bytes(bytes(128) + b"DICM")
    assert names(find_images(tmp_path)) == [("s1", ["s1"]), ("s2", ["s2"])]
    assert names(find_images(tmp_path / "s1")) == [("s1", ["s1"])]
    touch(tmp_path, "s3/IM1.IMA")
    (tmp_path / "s3" / "IM1.IMA").write_bytes(bytes(128) + b"DICM")
    assert names(find_images(tmp_path / "s3")) == [("s3", ["s3"])]


def test_find_images_faults(tmp_path):
    with pytest.raises(BadFile, match="no such file or folder"):
        find_images(tmp_path / "none")
    with pytest.raises(BadDataset, match="the folder holds no images"):
        find_images(touch(tmp_path, "x.txt"))
    with pytest.raises(BadDataset, match="nothing to predict"):
        find_images([])
    touch(tmp_path, "same/a.nii", "same/a.nii.gz")
    with pytest.raises(BadDataset, match="more than once; found a"):
        find_images(tmp_path / "same")


def test_unreadable_names_do_not_crash(tmp_path):
    name = os.fsdecode(b"\xff.nii")
    touch(tmp_path, f"images/{name}")
    assert len(read_cohort(tmp_path, labels_required=False)) == 1
