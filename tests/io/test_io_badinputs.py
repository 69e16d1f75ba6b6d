"""The whole corpus of bad and tricky inputs: each case ends as its manifest says, or is known to wait for its part."""

import ast
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from medframe.base.errors import BadFile, MedframeError
from medframe.io import read, write

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# kinds whose part of medframe may not be here yet: the module that brings it, and whether the runner can run them
PARTS = {
    "dicom": ("medframe.io.dicom", True),
    "config": ("medframe.bundle", False),
    "archive": ("medframe.base.archives", True),
    "checkpoint": ("medframe.networks.weights", True),  # weights of other programs; our own files are not in the corpus
}

# cases that need a scenario rather than a file, and the test that plays it
PLAYED = {
    "cache_truncated": "data/test_data_cache.py::test_damaged_entries_are_rebuilt_and_never_served",
    "cache_zero_length": "data/test_data_cache.py::test_damaged_entries_are_rebuilt_and_never_served",
    "cache_garbage": "data/test_data_cache.py::test_damaged_entries_are_rebuilt_and_never_served",
    "cache_bitflip": "data/test_data_cache.py::test_damaged_entries_are_rebuilt_and_never_served",
    "cache_pickle_planted": "io/test_io_badinputs.py::test_a_pickle_in_place_of_a_cache_entry_does_not_run",
    "cache_stale_source": "data/test_data_cache.py::test_an_edit_is_never_served_stale",
    "cache_stale_transform": "data/test_data_cache.py::test_an_edit_is_never_served_stale",
    "cache_stale_code": "data/test_data_cache.py::test_an_edited_function_is_never_served_stale",
    "cache_readonly": "data/test_data_cache.py::test_a_read_only_folder_costs_one_warning",
    "cache_disk_full": "data/test_data_cache.py::test_a_full_disk_costs_one_warning",
    "cache_two_writers": "data/test_data_cache.py::test_many_writers_build_each_entry_once",
    "cache_meta_kept": "data/test_data_entry.py::test_round_trip",
    "write_same_basename": "data/test_data_records.py::test_find_images_names_what_clashes_by_folder",
    "write_int16_overflow": "io/test_io_loss.py::test_a_writer_names_the_voxel_and_leaves_no_file",
    "write_nan_to_int": "io/test_io_loss.py::test_a_writer_names_the_voxel_and_leaves_no_file",
    "write_frac_to_int": "io/test_io_loss.py::test_a_writer_names_the_voxel_and_leaves_no_file",
    "write_disk_full": "io/test_io_nifti_damage.py::test_a_full_disk_leaves_what_was_there",
    "write_roundtrip": "io/test_io_formats.py::test_random_affines_come_back",
    "train_nan_loss": "handlers/test_handlers_resume.py::test_nan_keeps_the_last_finite_checkpoint_and_names_it",
    "train_nan_image": "engines/test_engines_step.py::test_a_bad_input_is_named_by_its_case",
    "train_missing_label": "data/test_data_records.py::test_faults",
    "train_empty_list": "data/test_data_records.py::test_faults",
    "train_leak_split": "data/test_data_split.py::test_faults",
    "train_worker_killed": "data/test_data_loader.py::test_a_killed_worker_is_an_error_that_says_so",
    "ckpt_dir_half_written": "handlers/test_handlers_resume.py::test_a_damaged_file_is_set_aside_for_the_one_before",
    "fs_noperm": "io/test_io_badinputs.py::test_what_may_not_be_opened_is_a_clear_error",  # root may open anything
}

# what a refusal for danger's sake has to say
REASONS = ("leads out of", "limit", "too small for what its header claims", "pickle", "objects", "dangerous")


def part_of(case):
    """The module a case waits for, or None."""
    module, _ = PARTS.get(case["kind"], (None, True))
    try:
        return module if module is not None and importlib.util.find_spec(module) is None else None
    except ModuleNotFoundError:
        return module


@pytest.fixture(scope="module")
def outcomes(corpus):
    folder, cases = corpus
    run = [c["id"] for c in cases.values() if c["id"] not in PLAYED and part_of(c) is None]
    command = [sys.executable, os.fspath(HERE / "badinputs_runner.py"), os.fspath(folder), "2"]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT), "OMP_NUM_THREADS": "1"}
    before = sorted(p.name for p in folder.parent.iterdir())
    done = subprocess.run(  # noqa: PLW1510  # judged below
        command, input="\n".join(run), capture_output=True, text=True, timeout=240, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(p.name for p in folder.parent.iterdir()) == before  # nothing was written beside the corpus
    return {line["id"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_every_case_ends_as_the_manifest_says(corpus, outcomes, capsys):
    _, cases = corpus
    waits = Counter(case["kind"] for case in cases.values() if case["id"] not in PLAYED and part_of(case))
    failed = {}
    for name, outcome in outcomes.items():
        case = cases[name]
        wrong = list(outcome["wrong"])
        if outcome["seconds"] > case["limits"]["seconds"]:
            wrong.append(f"HANG: took {outcome['seconds']} s")
        only_danger = case["expect"] == "refused_unsafe" and "clear_error" not in case["also_ok"]
        if only_danger and outcome["verdict"] == "clear_error" and not any(r in outcome["message"] for r in REASONS):
            wrong.append(f"refused, but not for its danger: {outcome['message']}")
        if "format is unknown" in outcome["message"] and name != "fs_noext":
            wrong.append("refused for its suffix alone")
        if wrong:
            failed[name] = (wrong, outcome["message"])
    with capsys.disabled():
        print(
            f"\nbad inputs: {len(cases)} cases, {len(outcomes)} run, {len(failed)} wrong, {len(PLAYED)} played by other"
            f" tests, {waits.total()} wait ({', '.join(f'{n} {kind}' for kind, n in sorted(waits.items())) or 'none'})"
        )
    assert not failed, "\n".join(f"{name}: {wrong}" for name, wrong in failed.items())
    assert len(outcomes) + len(PLAYED) + waits.total() == len(cases) == 313


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_that_arrives_is_run(kind):
    module, runnable = PARTS[kind]
    try:
        here = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        here = False
    assert not here or runnable, f"{module} is here: give the runner a way to run the {kind} cases, and mark them so"


def test_what_is_played_elsewhere_is_there(corpus):
    _, cases = corpus
    scenarios = {name for name, case in cases.items() if case["path"] is None}
    assert scenarios <= set(PLAYED) <= set(cases)
    for node in set(PLAYED.values()):
        file, _, name = node.partition("::")
        tree = ast.parse((HERE.parent / file).read_text(encoding="utf-8"))
        assert name in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, node


def test_what_may_not_be_opened_is_a_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "noperm.nii"
    path.write_bytes(b"\0" * 400)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # a root user may open anything, so the refusal is made here
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(BadFile, match=r"noperm\.nii.*Permission denied"):
        read(path)


class Payload:
    def __reduce__(self):
        return os.mkdir, (os.environ["MEDFRAME_TEST_CANARY"],)


def test_a_pickle_in_place_of_a_cache_entry_does_not_run(tmp_path, monkeypatch):
    from medframe.base.container import read_container

    monkeypatch.setenv("MEDFRAME_TEST_CANARY", os.fspath(tmp_path / "canary"))
    (tmp_path / "entry").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(MedframeError):
        read_container(tmp_path / "entry", "cache")
    assert not (tmp_path / "canary").exists()


def test_free_text_of_the_header_goes_nowhere(corpus, tmp_path):
    folder, cases = corpus
    image = read(folder / cases["nii_phi_descrip"]["path"])
    assert set(image.meta) == {"file", "format", "dtype", "form", "notes"}
    assert b"CANARY" not in pickle.dumps(image)
    write(image, tmp_path / "out.nii")
    assert b"CANARY" not in (tmp_path / "out.nii").read_bytes()
