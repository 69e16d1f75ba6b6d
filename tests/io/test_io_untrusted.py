"""A file that nobody vouches for is read in a process of its own: the same values or the same error, and limits."""

import json
import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import torch

import medframe
from medframe.base import BadArgument, BadFile, BadLabel, MedframeError, MedframeWarning, TooLarge
from medframe.image import LabelMap
from medframe.io import read
from medframe.io.untrusted import FAILURE, Limits, _crash, _failure

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
AFFINE = np.array([[-0.8, 0.1, 0, 4], [0.1, 0.9, 0.2, -7], [0, -0.2, 2.1, 11], [0, 0, 0, 1]])


@pytest.fixture
def large(tmp_path):
    """An image of 640 MB that takes no room on disk, since it is all zeros."""
    path = tmp_path / "large.nii"
    header = nib.Nifti1Header()
    header.set_data_shape((800, 1000, 800))
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(header.binaryblock + bytes(4))
    os.truncate(path, 352 + 640_000_000)
    return path


def test_a_label_map_comes_back_whole(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 9, (7, 6, 5)).astype(np.float32)
    image = nib.Nifti1Image(voxels, AFFINE)
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.warns(MedframeWarning, match="no orientation") as said:
        found = medframe.read(tmp_path / "a.nii.gz", LabelMap, untrusted=True)
    with pytest.warns(MedframeWarning, match="no orientation") as due_said:
        due = read(tmp_path / "a.nii.gz", LabelMap)
    assert [str(w.message) for w in said] == [str(w.message) for w in due_said]
    assert type(found) is LabelMap
    assert found.dtype == due.dtype
    assert torch.equal(found.data, due.data)
    assert np.array_equal(found.affine, due.affine)
    assert dict(found.meta) == dict(due.meta)


@pytest.mark.parametrize("damage", ["cut short", "no label"])
def test_an_error_is_the_same_error(tmp_path, damage):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.full((9, 9, 9), 0.5, np.float32), AFFINE), path)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MedframeError) as due:
        _ = read(path, LabelMap).data
    with pytest.raises(MedframeError) as found:
        medframe.read(path, LabelMap, untrusted=True)
    assert type(found.value) is type(due.value) is (BadFile if damage == "cut short" else BadLabel)
    assert str(found.value) == str(due.value)


def test_memory_ends_with_too_large(large):
    with pytest.raises(TooLarge, match="memory") as caught:
        medframe.read(large, untrusted=True, limits=Limits(memory=300 << 20))
    assert "large.nii" in str(caught.value)


def test_time_ends_with_bad_file(large):
    with pytest.raises(BadFile, match=r"no answer after 0\.05 s"):
        medframe.read(large, untrusted=True, limits=Limits(seconds=0.05))


def test_file_size_is_looked_at_first(large):
    with pytest.raises(TooLarge, match="file_bytes"):
        medframe.read(large, untrusted=True, limits=Limits(file_bytes=1 << 20))


@pytest.mark.parametrize("bad", [{"memory": 0}, {"seconds": -1}, {"open_files": 3}])
def test_limits_are_positive(bad):
    with pytest.raises(BadArgument):
        Limits(**bad)


def test_options_are_plain(large):
    with pytest.raises(BadArgument, match="JSON"):
        medframe.read(large, untrusted=True, ndim=object())


def test_the_child_is_confined(tmp_path):
    code = """
import os, sys, subprocess, socket
from pathlib import Path
from medframe.io.untrusted import Limits
from medframe.io.untrusted_child import confine
folder = Path(sys.argv[1]) / "own"
folder.mkdir()
confine(Limits(open_files=40), folder)
def tried(act):
    try: act(); return "allowed"
    except PermissionError: return "refused"
    except OSError as error: return error.strerror
acts = {
    "socket": lambda: socket.socket(),
    "process": lambda: subprocess.run(["true"]),
    "shell": lambda: os.system("true"),
    "write": lambda: open(folder.parent / "x", "w"),
    "write by number": lambda: os.open(folder.parent / "x", os.O_WRONLY | os.O_CREAT),
    "write beside": lambda: open(str(folder) + "x", "w"),
    "own": lambda: open(folder / "x", "w").close(),
    "read": lambda: open(__import__("torch").__file__).close(),
    "files": lambda: [open(folder / "x") for _ in range(60)],
}
for name, act in acts.items(): print(name, "=", tried(act))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert dict(line.split(" = ") for line in done.stdout.splitlines()) == {
        "socket": "refused",
        "process": "refused",
        "shell": "refused",
        "write": "refused",
        "write by number": "refused",
        "write beside": "refused",
        "own": "allowed",
        "read": "allowed",
        "files": "Too many open files",
    }, done.stderr


def test_what_a_crash_is_called(tmp_path):
    limits = Limits(seconds=7)
    assert isinstance(_crash(-signal.SIGSEGV, "", limits, tmp_path), BadFile)
    assert "SIGSEGV" in str(_crash(-signal.SIGSEGV, "", limits, tmp_path))
    assert "7 s" in str(_crash(-signal.SIGXCPU, "", limits, tmp_path))
    assert isinstance(_crash(-signal.SIGABRT, "terminate: std::bad_alloc", limits, tmp_path), TooLarge)


@pytest.mark.parametrize(
    "answer",
    [
        "{",
        "[]",
        "{}",
        '{"error": "os", "what": "x"}',
        json.dumps({"error": "MedframeWarning", "what": "x", "where": 1, "found": [2], "due": None, "mend": None}),
        json.dumps(
            {"error": "TooLarge", "what": 5 * "x" * 4000, "where": None, "found": None, "due": None, "mend": None}
        ),
    ],
)
def test_an_answer_that_lies_is_still_one_of_our_errors(tmp_path, answer):
    (tmp_path / FAILURE).write_text(answer)
    found = _failure(tmp_path)
    assert isinstance(found, BadFile | TooLarge)
    assert len(str(found)) < 5000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_corpus_ends_as_it_does_without_a_child(corpus):
    """The corpus of bad inputs: the same class of error or the same values, and a parent that stays small."""
    resource = pytest.importorskip("resource")
    folder, cases = corpus
    chosen = [c for c in cases.values() if c["kind"] in ("image", "label") and c["path"] and "fifo" not in c["id"]]

    def outcome(case, **options):
        kind = LabelMap if case["kind"] == "label" else medframe.Image
        try:
            image = medframe.read(folder / case["path"], kind, **options)
            return image.data.double().nan_to_num(0.5, 1e30, -1e30), image.affine
        except MedframeError as error:
            return type(error).__name__

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MedframeWarning)
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda case: outcome(case, untrusted=True), chosen))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        assert grown < 50, f"the parent grew by {grown} MB"
        for case, one in zip(chosen, found, strict=True):
            if case["limits"]["rss_mb"] and "bomb" in case["id"]:
                assert isinstance(one, str), case["id"]  # not tried in this process
                continue
            due = outcome(case)
            if isinstance(due, str) or isinstance(one, str):
                assert one == due, case["id"]
            else:
                assert torch.equal(one[0], due[0]), case["id"]
                assert np.array_equal(one[1], due[1]), case["id"]
