"""Errors carry their parts, show no full paths, and survive pickling through a worker."""

import inspect
import pickle
from pathlib import Path

import pytest
import torch

from medframe.base import errors
from medframe.base.errors import MedframeError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, MedframeError)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_error_class_carries_its_parts_and_pickles(cls):
    error = cls("it broke", where="a/scan.nii", found=3, due=(1, 2), mend="Do this.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error) == "a/scan.nii: it broke; found 3; expected (1, 2). Do this."
    assert (again.what, again.where, again.found, again.due, again.mend) == (
        "it broke",
        "a/scan.nii",
        "3",
        "(1, 2)",
        "Do this.",
    )


class Failing(torch.utils.data.Dataset):
    def __init__(self, cls):
        self.cls = cls

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.cls("it broke", where="scan.nii", found=1)


@pytest.mark.parametrize("cls", [errors.BadFile, errors.WriteFailed, errors.MissingPackage, errors.BadArgument])
def test_an_error_comes_out_of_a_loader_worker(cls):
    loader = torch.utils.data.DataLoader(Failing(cls), num_workers=1, timeout=30)
    with pytest.raises(Exception, match="it broke"):
        next(iter(loader))


def test_paths_are_shown_relative_or_shortened(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    inside = MedframeError("x", where=tmp_path / "a" / "b.nii")
    assert inside.where == str(Path("a") / "b.nii")
    outside = MedframeError("x", where="/home/somebody/patients/case/scan.nii")
    assert "somebody" not in str(outside)
    assert outside.where.endswith("case/scan.nii")


def test_kinds_that_python_programs_expect():
    assert issubclass(errors.BadArgument, ValueError)
    assert issubclass(errors.WriteFailed, OSError)
    assert issubclass(errors.MissingPackage, ImportError)
