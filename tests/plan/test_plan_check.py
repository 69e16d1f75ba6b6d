"""The data doctor finds what is planted, and nothing in a clean dataset."""

import json
import os
import shutil
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import medframe
from medframe.base import BadDataset, BadFile, BadGeometry
from medframe.cli.main import main
from medframe.data import read_cohort
from medframe.plan.doctor import check, check_cohort
from medframe.plan.doctor.compare import far
from medframe.plan.doctor.page import write_page
from medframe.plan.doctor.show import told

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
AFFINE = np.diag([1.2, 1.1, 2.0, 1.0])
CASES = 50


def voxels(k):
    """A body with two structures, other noise in every case."""
    chance = np.random.default_rng(k)
    image = chance.normal(40, 8, (12, 11, 9))
    label = np.zeros((12, 11, 9), np.uint8)
    label[2:5, 2:6, 2:4], label[6:9, 3:7, 3:6] = 1, 2
    label[6:8, 6, 2:4] = np.array([[k >> 3 & 1, k >> 2 & 1], [k >> 1 & 1, k & 1]]) * 2  # no two label maps are equal
    label[8, 6, 2:4] = np.array([k >> 5 & 1, k >> 4 & 1]) * 2
    image += 60 * (label > 0)
    return image.astype(np.float32), label


def save(array, path, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)


def write_set(folder, count=CASES, columns=""):
    """A clean dataset as CSV: case00, case01, ..., one patient each."""
    (folder / "i").mkdir(parents=True)
    (folder / "l").mkdir()
    rows = ["case,image,label,group,split"]
    for k in range(count):
        image, label = voxels(k)
        save(image, folder / f"i/case{k:02}.nii")
        save(label, folder / f"l/case{k:02}.nii")
        rows.append(f"case{k:02},i/case{k:02}.nii,l/case{k:02}.nii,p{k:02},{'val' if k % 5 == 0 else 'train'}")
    (folder / "cases.csv").write_text("\n".join(rows))
    return folder / "cases.csv"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("clean") / "set")


@pytest.fixture
def spoilt(clean, tmp_path):
    """A copy that may be spoilt."""
    return Path(shutil.copytree(clean.parent, tmp_path / "set")) / "cases.csv"


def image_fault(change=None, affine=AFFINE):
    def spoil(folder, k):
        image, _ = voxels(k)
        save(image if change is None else change(image), folder / f"i/case{k:02}.nii", affine)

    return spoil


def label_fault(change=None, affine=AFFINE):
    def spoil(folder, k):
        _, label = voxels(k)
        save(label if change is None else change(label), folder / f"l/case{k:02}.nii", affine)

    return spoil


def both_moved(affine):
    def spoil(folder, k):
        image, label = voxels(k)
        save(image, folder / f"i/case{k:02}.nii", affine)
        save(label, folder / f"l/case{k:02}.nii", affine)

    return spoil


def cut(part, to):
    def spoil(folder, k):
        path = folder / f"{part}/case{k:02}.nii"
        path.write_bytes(path.read_bytes()[:to])

    return spoil


def put(value, where=(3, 4, 5)):
    def change(array):
        array = array.astype(np.float32) if isinstance(value, float) else array
        array[where] = value
        return array

    return change


def twin(folder, k):
    # the voxels of the first case, stored in another dtype and compressed, so that only the voxels agree
    image, _ = voxels(1)
    save(image.astype(np.float64), folder / f"i/case{k:02}.nii")


def twin_across(folder, k):
    image, _ = voxels(5)
    save(image, folder / f"i/case{k:02}.nii")


def row_fault(change):
    def spoil(folder, k):
        lines = (folder / "cases.csv").read_text().split("\n")
        lines[k + 1] = change(lines[k + 1], k)
        (folder / "cases.csv").write_text("\n".join(lines))

    return spoil


def many(folder, k):
    image, _ = voxels(k)
    save(np.stack([image, image], -1), folder / f"i/case{k:02}.nii")


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    return turn @ AFFINE


SCALED = {axis: AFFINE @ np.diag([*(10.0 if a == axis else 1.0 for a in range(3)), 1.0]) for axis in range(3)}

# what is planted, in which form it is found, severity and field
FAULTS = {
    "image cut short": (cut("i", 700), "headers", "error", "image file"),
    "image empty": (cut("i", 0), "headers", "error", "image file"),
    "label cut short": (cut("l", 400), "headers", "error", "label file"),
    "image missing": (lambda f, k: os.unlink(f / f"i/case{k:02}.nii"), "headers", "error", "file"),
    "label missing": (lambda f, k: os.unlink(f / f"l/case{k:02}.nii"), "headers", "error", "file"),
    "label not listed": (
        row_fault(lambda line, k: line.replace(f"l/case{k:02}.nii", "")),
        "headers",
        "error",
        "label file",
    ),
    "label moved": (label_fault(affine=AFFINE + 4 * np.eye(4, k=3)), "headers", "error", "lattice"),
    "label of another size": (label_fault(lambda a: a[:-1]), "headers", "error", "lattice"),
    "label mirrored": (label_fault(affine=np.diag([-1.2, 1.1, 2.0, 1.0])), "headers", "error", "lattice"),
    "two channels": (many, "headers", "error", "channels"),
    "spacing in cm": (both_moved(np.diag([12.0, 11, 20, 1])), "headers", "warning", "spacing"),
    "one axis too long": (both_moved(SCALED[2]), "headers", "warning", "size"),
    "axes mirrored": (both_moved(np.diag([-1.2, 1.1, 2.0, 1])), "headers", "warning", "orientation"),
    "lattice tilted": (both_moved(turned(40)), "headers", "warning", "orientation"),
    "patient in two parts": (
        row_fault(lambda line, k: line.replace(f"p{k:02}", "p05")),
        "headers",
        "error",
        "split",
    ),
    "names differ in capitals": (
        row_fault(lambda line, k: line.replace(f"case{k:02},", "casE01,", 1)),
        "headers",
        "warning",
        "case name",
    ),
    "NaN": (image_fault(put(float("nan"))), "voxels", "error", "voxels"),
    "infinity": (image_fault(put(float("-inf"))), "voxels", "error", "voxels"),
    "constant": (image_fault(lambda a: a * 0 + 7), "voxels", "error", "voxels"),
    "value not declared": (label_fault(lambda a: put(-3)(a.astype(np.int16))), "voxels", "error", "label values"),
    "fraction in a label": (label_fault(put(0.5)), "voxels", "error", "label values"),
    "label empty": (label_fault(lambda a: a * 0), "voxels", "warning", "label values"),
    "class missing": (
        label_fault(lambda a: np.where(a == 2, 0, a).astype(np.uint8)),
        "voxels",
        "warning",
        "label values",
    ),
    "another modality": (image_fault(lambda a: (a - 50) * 30 - 500), "voxels", "warning", "intensities"),
    "cut off at the top": (image_fault(lambda a: np.minimum(a, 95)), "voxels", "warning", "intensities"),
    "the same scan twice": (twin, "voxels", "warning", "duplicate"),
    "the same scan in two parts": (twin_across, "voxels", "error", "duplicate"),
}


def plant(csv, names):
    folder = csv.parent
    for n, name in enumerate(names):
        k = 6 + n + n // 4  # never a case of "val", which end in 0 and 5
        FAULTS[name][0](folder, k)
        yield name, ("case01" if name == "names differ in capitals" else f"case{k:02}")


def test_a_clean_dataset_has_no_finding(clean):
    for form in (False, True):
        found = check(clean, voxels=form, jobs=2)
        assert found.findings == ()
        assert found.clean
        assert len(found.looks) == CASES


def test_all_planted_faults_are_found_and_nothing_else(spoilt):
    assert len(FAULTS) >= 25
    planted = dict(plant(spoilt, FAULTS))
    assert set(planted.values()) <= {r.case for r in read_cohort(spoilt, False, files_required=False).records}
    full, quick = check(spoilt, voxels=True, jobs=2), check(spoilt, jobs=2)
    for found, forms in ((full, {"headers", "voxels"}), (quick, {"headers"})):
        seen = {(f.case, f.severity, f.field) for f in found.findings if f.severity != "note"}
        for name, case in planted.items():
            _, form, severity, field = FAULTS[name]
            if form in forms:
                assert (case, severity, field) in seen, name
        assert {case for case, _, _ in seen} <= set(planted.values())
    assert all(f.what and f.found and f.due and f.mend for f in full.findings if f.field != "header")
    assert str(spoilt.parent) not in json.dumps(full.to_json())


@pytest.mark.parametrize("name", ["label moved", "NaN", "patient in two parts"])
def test_a_single_fault_stands_alone(spoilt, name):
    ((_, case),) = plant(spoilt, [name])
    found = check(spoilt, voxels=True)
    assert {f.case for f in found.findings} == {case}
    assert [f.field for f in found.findings] == [FAULTS[name][3]]


def test_the_result_depends_neither_on_jobs_nor_on_order(spoilt):
    list(plant(spoilt, FAULTS))
    first = check(spoilt, voxels=True, jobs=1).to_json()
    assert check(spoilt, voxels=True, jobs=7).to_json() == first
    lines = spoilt.read_text().split("\n")
    spoilt.write_text("\n".join([lines[0], *lines[:0:-1]]))
    assert check(spoilt, voxels=True, jobs=3).to_json()["findings"] == first["findings"]
    assert threading.active_count() == 1 or not any("ThreadPool" in t.name for t in threading.enumerate())


def test_the_rule_for_outliers_by_hand():
    # the median is 11, the deviations are 2 1 0 1 89: their median is 1, so the limit is 6 x 1.4826 = 8.9
    assert far([9, 10, 11, 12, 100], 0) == [False, False, False, False, True]
    assert far([9, 10, 11, 12, 19.8], 0) == [False] * 5
    assert far([9, 10, 11, 12, 20], 0) == [False] * 4 + [True]
    assert far([9, 10, 11, 12, 100], 95) == [False] * 5  # nearer than the floor
    assert far([1, 1, 1, 100], 0) == [False] * 4  # too few to be a rest


def test_a_second_kind_of_many_cases_is_one_note(spoilt):
    for k in range(12):
        both_moved(np.diag([2.4, 2.2, 2.0, 1.0]))(spoilt.parent, k)
    found = check(spoilt)
    assert [(f.severity, f.field, f.case) for f in found.findings] == [("note", "spacing", "")]
    assert "12 of 50" in found.findings[0].found


def test_notes_and_warnings_of_readers_reach_their_case(tmp_path):
    image, _ = voxels(0)
    for k in range(6):
        save(voxels(k)[0], tmp_path / f"case{k}.nii")
    plain = nib.Nifti1Image(image, AFFINE)
    plain.set_sform(None, 0)
    plain.set_qform(None, 0)
    nib.save(plain, tmp_path / "case3.nii")
    found = check(tmp_path, jobs=4)
    (lost,) = [f for f in found.findings if f.field == "header"]
    assert (lost.case, lost.severity) == ("case3", "warning")
    assert "no orientation" in lost.found


def test_declared_classes_count(tmp_path):
    for k in range(6):
        image, label = voxels(k)
        save(image, tmp_path / f"i{k}.nii")
        save(np.where(label == 2, 9, label).astype(np.uint8) if k == 4 else label, tmp_path / f"l{k}.nii")
    entries = [{"image": f"i{k}.nii", "label": f"l{k}.nii"} for k in range(6)]
    names = {"0": "background", "1": "head", "2": "tail", "3": "body"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": names, "training": entries}))
    found = check(tmp_path, voxels=True)
    told_ = [(f.severity, f.case, f.found) for f in found.findings]
    assert told_ == [
        ("error", "i4", f"[9], the first at voxel {tuple(np.argwhere(voxels(4)[1] == 2)[0].tolist())}"),
        ("warning", "", "no voxel of class 3 (body) in 6 label maps"),
    ]


def test_folders_files_and_what_is_neither(tmp_path, clean):
    assert len(check(clean.parent / "i").looks) == CASES
    assert len(check(clean.parent / "i" / "case00.nii").looks) == 1
    with pytest.raises(BadFile):
        check(tmp_path / "absent")
    with pytest.raises(BadDataset, match="no images"):
        check(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    found = check(tmp_path)
    assert [(f.severity, f.field) for f in found.findings] == [("error", "dataset")]


def test_folders_below_are_looked_through_and_names_stay_apart(tmp_path, clean):
    for part in ("a", "b/c", ".hidden"):
        (tmp_path / part).mkdir(parents=True)
        shutil.copy(clean.parent / "i/case01.nii", tmp_path / part / "scan.nii")
    found = check(tmp_path)
    assert [one.case for one in found.looks] == ["a_scan", "b_c_scan"]
    assert [(f.severity, f.field) for f in found.findings] == [("note", "duplicate")]


def test_fit_stops_with_the_doctors_errors(spoilt, tmp_path):
    ((_, case),) = plant(spoilt, ["label moved"])
    with pytest.raises(BadGeometry, match=f"l/{case}.*4 mm off"):
        medframe.fit(spoilt, tmp_path / "run", progress=False)
    ((_, other),) = plant(spoilt, ["image cut short"])  # planted into the same place: image and label are both wrong
    many(spoilt.parent, 30)
    with pytest.raises(BadDataset, match="2 of 50 cases"):
        check_cohort(read_cohort(spoilt)).require()
    assert other == case
    assert not (tmp_path / "run" / "run.yaml").exists()


def test_the_command_line(spoilt, tmp_path, capsys):
    list(plant(spoilt, FAULTS))
    files = tmp_path / "found.json", tmp_path / "found.html"
    words = ["check", str(spoilt), "--voxels", "--jobs", "2", "--json", str(files[0]), "--html", str(files[1])]
    assert main(words) == 1
    shown = capsys.readouterr().out.split("\n")
    assert shown[0] == f"cases: {CASES} cases looked at (headers and voxels)"
    assert shown[1].endswith("notes")
    assert int(shown[1].split()[0]) >= 17
    kinds = [line.split()[0] for line in shown if line.split() and line.split()[0] in ("ERROR", "WARNING", "NOTE")]
    assert kinds == sorted(kinds, key=["ERROR", "WARNING", "NOTE"].index)
    written = json.loads(files[0].read_text())
    assert written["schema"] == 1
    assert written["counts"]["error"] == sum(f["severity"] == "error" for f in written["findings"])
    page = files[1].read_text()
    assert page.count("data:image/png;base64") == 8
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert str(spoilt.parent) not in page


def test_a_clean_dataset_ends_with_0(clean, tmp_path, capsys):
    assert main(["check", str(clean), "--html", str(tmp_path / "page.html")]) == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out
    assert "Nothing is wrong." in (tmp_path / "page.html").read_text()
    assert main(["check", str(tmp_path / "absent")]) == 2


def test_pages_and_text_hold_two_dimensions_and_hostile_names(tmp_path):
    for k in range(6):
        nib.save(nib.Nifti1Image(voxels(k)[0][:, :, :1], AFFINE), tmp_path / f"<b>{k}&.nii")
    (tmp_path / "<b>3&.nii").write_bytes(b"")
    found = check(tmp_path, voxels=True)
    write_page(tmp_path / "page.html", found)
    text = (tmp_path / "page.html").read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;3&amp;.nii" in text
    assert "<b>3&.nii" in told(found)


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is absent")
def test_a_real_dataset_has_no_error():
    found = check(SHARED / "msd_hippocampus")
    assert found.findings == ()
    assert len(found.looks) == 174
