"""Predictions never meet each other, a file of somebody else, or the scans."""

from pathlib import Path

import pytest

from medframe.base import BadDataset, WriteFailed
from medframe.data import Record
from medframe.plan.predict import _check_targets


def test_predictions_are_kept_apart(tmp_path):
    scans = [Record("a", (tmp_path / "in" / "a.nii",)), Record("b", (tmp_path / "in" / "b.nii",))]
    out = tmp_path / "out"
    _check_targets(scans, [out / "a.nii.gz", out / "b.nii.gz"], False)
    for names in (("A.nii.gz", "a.nii.gz"), ("a_probabilities.nii.gz", "a_probabilities.nii.gz")):
        with pytest.raises(BadDataset, match="one name"):
            _check_targets(scans, [out / n for n in names], True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_scan_is_never_overwritten(tmp_path, monkeypatch, overwrite):
    (tmp_path / "a.nii.gz").write_bytes(b"scan")
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for scan, target in (("a.nii.gz", "a.nii.gz"), (tmp_path / "a.nii.gz", "link/a.nii.gz")):
        with pytest.raises(BadDataset, match="overwrite a scan"):
            _check_targets([Record("a", (Path(scan),))], [Path(target)], overwrite)


def test_a_taken_name_counts_for_probabilities_too(tmp_path):
    record = Record("a", (tmp_path / "in.nii",))
    targets = [tmp_path / "a.nii.gz", tmp_path / "a_probabilities.nii.gz"]
    targets[1].write_bytes(b"x")
    with pytest.raises(WriteFailed, match="1 of 2 files"):
        _check_targets([record], targets, False)
    _check_targets([record], targets, True)
