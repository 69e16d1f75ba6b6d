"""Conversion keeps values and places, and one bad file, a kill or a clash costs nothing but itself."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

import medframe
from medframe.base import BadArgument, BadDataset, BadFile, BadLabel, BadVoxels, TooLarge, WriteFailed
from medframe.cli.main import main
from medframe.image import Image, LabelMap
from medframe.io import read, write
from medframe.plan import convert
from medframe.plan.convert import JOURNAL

AFFINE = np.array([[-0.8, 0.1, 0, 4], [0.1, 0.9, 0.2, -7], [0, -0.2, 2.1, 11], [0, 0, 0, 1]])


def save(path, dtype=np.int16, seed=0, shape=(7, 6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 90, shape).astype(dtype)
    nib.save(nib.Nifti1Image(voxels, AFFINE, dtype=dtype), path)
    return voxels


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for k, name in enumerate(("a/one.nii", "a/two.nii.gz", "b/c/one.nii", "three.nii")):
        save(root / name, seed=k)
    (root / "notes.txt").write_text("not an image")
    return root


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != JOURNAL)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_one_file_keeps_dtype_values_and_place(tmp_path, dtype):
    voxels = save(tmp_path / "a.nii", dtype)
    made = convert(tmp_path / "a.nii", tmp_path / "out" / "b.nii.gz")
    found = nib.load(made.written[0])
    assert found.get_data_dtype() == np.dtype(dtype)
    assert np.array_equal(np.asarray(found.dataobj), voxels)
    assert np.allclose(found.affine, AFFINE, atol=1e-6)


def test_label_maps_stay_integers(tmp_path):
    voxels = save(tmp_path / "a.nii", np.float32)
    convert(tmp_path / "a.nii", tmp_path / "b.nii", labels=True)
    found = nib.load(tmp_path / "b.nii")
    assert found.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(found.dataobj), voxels)
    write(Image(torch.full((1, 3, 3, 3), 0.5)), tmp_path / "half.nii")
    with pytest.raises(BadLabel):
        convert(tmp_path / "half.nii", tmp_path / "c.nii", labels=True)


def test_a_loss_is_refused_or_asked_for(tmp_path):
    write(Image(torch.full((1, 3, 3, 3), 300.6)), tmp_path / "a.nii")
    with pytest.raises(BadVoxels, match="fraction"):
        convert(tmp_path / "a.nii", tmp_path / "b.nii", dtype="uint8")
    assert not (tmp_path / "b.nii").exists()
    convert(tmp_path / "a.nii", tmp_path / "b.nii", dtype="uint8", on_loss="clip")
    assert read(tmp_path / "b.nii").data.unique().tolist() == [255]


def test_a_tree_keeps_its_layout_and_is_done_once(tree, tmp_path):
    out = tmp_path / "out"
    made = convert(tree, out, to=".nii.gz")
    assert names(out) == ["a/one.nii.gz", "a/two.nii.gz", "b/c/one.nii.gz", "three.nii.gz"]
    assert not made.failures
    for path in made.written:
        source = next(p for p in (tree / path.relative_to(out).parent).glob(path.name.removesuffix(".gz") + "*"))
        assert torch.equal(read(path).data, read(source).data)
    before = {p: p.stat().st_mtime_ns for p in made.written}
    again = convert(tree, out, to=".nii.gz")
    assert (again.written, again.skipped) == ((), made.written)
    # a source that changed is converted again, and no other
    voxels = save(tree / "three.nii", seed=9)
    third = convert(tree, out, to=".nii.gz")
    assert third.written == (out / "three.nii.gz",)
    assert np.array_equal(read(third.written[0]).data[0].numpy(), voxels)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if p.name != "three.nii.gz")
    # so are all with another option
    assert len(convert(tree, out, to=".nii.gz", dtype="float32").written) == 4


def test_what_others_wrote_stays(tree, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "three.nii.gz").write_bytes(b"precious")
    made = convert(tree, out, to=".nii.gz")
    assert isinstance(made.failures["three.nii"], WriteFailed)
    assert (out / "three.nii.gz").read_bytes() == b"precious"
    assert len(made.written) == 3
    made.written[0].write_bytes(b"edited")
    made = convert(tree, out, to=".nii.gz")
    assert sorted(made.failures) == ["a/one.nii", "three.nii"]
    assert not convert(tree, out, to=".nii.gz", overwrite=True).failures


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_file_does_not_stop_the_rest(tree, tmp_path, jobs):
    (tree / "a" / "two.nii.gz").write_bytes(b"\x1f\x8bno")
    made = convert(tree, tmp_path / "out", to=".nii", jobs=jobs)
    assert list(made.failures) == ["a/two.nii.gz"]
    assert isinstance(made.failures["a/two.nii.gz"], BadFile | TooLarge)
    assert "two.nii.gz" in str(made.failures["a/two.nii.gz"])
    assert names(tmp_path / "out") == ["a/one.nii", "b/c/one.nii", "three.nii"]


@pytest.mark.slow
def test_a_process_that_dies_names_its_file(tree, tmp_path):
    save(tree / "big.nii")
    # processes that are spawned run the script again: in them, opening the big file is the end, as if memory ran out
    script = (
        "import importlib, os, sys\n"
        "import medframe\n"
        "module = importlib.import_module('medframe.plan.convert')\n"
        "if __name__ == '__main__':\n"
        "    made = medframe.convert(sys.argv[1], sys.argv[2], to='.nii', jobs=2)\n"
        "    print(sorted(made.failures), [type(e).__name__ for e in made.failures.values()], len(made.written))\n"
        "else:\n"
        "    read = module.read\n"
        "    module.read = lambda path, kind: os._exit(9) if path.name == 'big.nii' else read(path, kind)\n"
    )
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py"), str(tree), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "['big.nii'] ['BadFile'] 4\n", done.stdout + done.stderr[-2000:]


def test_a_kill_between_file_and_journal_costs_nothing(tree, tmp_path):
    out = tmp_path / "out"
    convert(tree, out, to=".nii")
    lines = (out / JOURNAL).read_text().splitlines()
    assert json.loads(lines[-1])["state"] == "done"
    (out / JOURNAL).write_text("\n".join(lines[:-1]) + '\n{"target": "thr')
    made = convert(tree, out, to=".nii")
    assert [p.name for p in made.written] == ["three.nii"]
    assert not made.failures
    assert len(made.skipped) == 3


def test_clashes_and_bad_words_are_told_before_any_work(tree, tmp_path):
    out = tmp_path / "out"
    save(tree / "a" / "ONE.nii.gz")
    with pytest.raises(BadDataset, match=r"one\.nii.*ONE|ONE.*one\.nii"):
        convert(tree, out, to=".nii")
    (tree / "a" / "ONE.nii.gz").unlink()
    for error, words in (
        (BadArgument, {}),
        (BadFile, {"to": ".docx"}),
        (BadArgument, {"to": ".nii", "on_loss": "hope"}),
        (BadArgument, {"to": ".nii", "jobs": 0}),
    ):
        with pytest.raises(error):
            convert(tree, out, **words)
    with pytest.raises(BadArgument, match="sources"):
        convert(tree, tree, to=".nii")
    with pytest.raises(BadArgument, match="itself"):
        convert(tree / "three.nii", tree / "three.nii", overwrite=True)
    with pytest.raises(BadFile):
        convert(tmp_path / "absent", out, to=".nii")
    assert not out.exists()


def test_a_target_below_the_source_is_no_source(tree):
    convert(tree, tree / "out", to=".nii.gz")
    assert len(convert(tree, tree / "out", to=".nii.gz").skipped) == 4
    assert len(names(tree / "out")) == 4


def test_the_command_line(tree, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["convert", str(tree), str(out), "--jobs", "1"]) == 0
    assert capsys.readouterr().out == "4 converted, 0 were done before, 0 failed\n"
    (tree / "b" / "c" / "one.nii").write_bytes(b"")
    assert main(["convert", str(tree), str(out), "--jobs", "1"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "0 converted, 3 were done before, 1 failed"
    assert shown[1] == "FAILED b/c/one.nii"
    assert "BadFile" in shown[2]
    assert main(["convert", str(tree / "three.nii"), str(tmp_path / "x.nii.gz"), "--dtype", "float32"]) == 0
    assert read(tmp_path / "x.nii.gz").dtype == torch.float32
    assert main(["convert", str(tree / "three.nii"), str(tmp_path / "x.nii.gz")]) == 2
    assert "exists" in capsys.readouterr().err
    assert medframe.convert is convert


def test_a_label_map_read_back_is_one(tree, tmp_path):
    convert(tree, tmp_path / "out", to=".nii.gz", labels=True)
    assert read(tmp_path / "out" / "three.nii.gz", LabelMap).dtype == torch.uint8


def test_a_folder_that_is_one_image_is_converted_alone_and_in_a_tree(tree, tmp_path):
    pytest.importorskip("zarr")
    image = Image(torch.arange(60, dtype=torch.int16).reshape(1, 3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
    write(image, tree / "b" / "store.zarr")
    convert(tree / "b" / "store.zarr", tmp_path / "one.nrrd")
    made = convert(tree, tmp_path / "out", to=".nii.gz")
    assert not made.failures
    assert names(tmp_path / "out").count("b/store.nii.gz") == 1
    assert len(names(tmp_path / "out")) == 5
    for path in (tmp_path / "one.nrrd", tmp_path / "out" / "b" / "store.nii.gz"):
        assert torch.equal(read(path).data, image.data)
        assert np.array_equal(read(path).affine, image.affine)
