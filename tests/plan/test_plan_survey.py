"""What a survey found of a case is kept for the next one, as long as its files are the same."""

import nibabel as nib
import numpy as np
import pytest

from medframe.base import BadDataset, BadVoxels
from medframe.data import Record
from medframe.plan import survey as survey_function
from medframe.plan.survey import examine


@pytest.fixture
def records(tmp_path):
    out = []
    for k in range(4):
        chance = np.random.default_rng(k)
        label = np.zeros((9, 8, 7), np.uint8)
        label[2:6, 2:6, 2:5] = 1
        paths = tmp_path / f"i{k}.nii", tmp_path / f"l{k}.nii"
        nib.save(
            nib.Nifti1Image(chance.normal(50, 9, label.shape).astype(np.float32), np.diag([1, 2, 3, 1.0])), paths[0]
        )
        nib.save(nib.Nifti1Image(label, np.diag([1, 2, 3, 1.0])), paths[1])
        out.append(Record(f"c{k}", (paths[0],), paths[1]))
    return out


@pytest.fixture
def looked(monkeypatch):
    """The cases that are really read."""
    import importlib

    module = importlib.import_module("medframe.plan.survey")
    seen = []

    def spy(record, classes):
        seen.append(record.case)
        return examine(record, classes)

    monkeypatch.setattr(module, "examine", spy)
    return seen


def test_cases_are_read_once(records, tmp_path, looked):
    plain = survey_function(records, {1: "x"})
    first = survey_function(records, {1: "x"}, store=tmp_path / "kept", threads=2)
    assert len(looked) == 8
    again = survey_function(records, {1: "x"}, store=tmp_path / "kept")
    assert len(looked) == 8
    assert plain == first == again
    # another class list asks another question of the labels
    survey_function(records, {1: "x", 2: "y"}, store=tmp_path / "kept")
    assert len(looked) == 12


def test_a_changed_or_damaged_file_is_read_again(records, tmp_path, looked):
    survey_function(records, {}, store=tmp_path / "kept")
    looked.clear()
    nib.save(nib.Nifti1Image(np.full((9, 8, 7), 3, np.float32), np.diag([1, 2, 3, 1.0])), records[2].images[0])
    changed = survey_function(records, {}, store=tmp_path / "kept")
    assert looked == ["c2"]
    assert changed.cases[2].highest == (3.0,)
    looked.clear()
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    assert survey_function(records, {}, store=tmp_path / "kept") == changed
    assert looked == ["c0", "c1", "c2", "c3"]


def test_a_bad_case_is_told_each_time_and_the_good_are_kept(records, tmp_path, looked):
    nan = np.full((9, 8, 7), np.nan, np.float32)
    nib.save(nib.Nifti1Image(nan, np.diag([1, 2, 3, 1.0])), records[1].images[0])
    for _ in range(2):
        with pytest.raises(BadVoxels):
            survey_function(records, {}, store=tmp_path / "kept")
    assert looked == ["c0", "c1", "c2", "c3", "c1"]
    with pytest.raises(BadDataset):
        survey_function([], {})
