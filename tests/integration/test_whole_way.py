"""From files to a trained run, predictions and scores: the whole way, on tiny data."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import yaml

import medframe
from medframe.base import (
    BadConfig,
    BadDataset,
    BadFile,
    BadGeometry,
    BadLabel,
    BadVoxels,
    Incompatible,
    MedframeError,
    WriteFailed,
)
from medframe.cli.main import main
from medframe.data import read_cohort, split
from medframe.handlers.csv_log import read_log
from medframe.image import Image, LabelMap
from medframe.io import read, write
from medframe.metrics import read_table

VOCABULARIES = ("www.w3.org/", "purl.org/", "creativecommons.org/ns", "matplotlib.org")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tools):
    """One run that all tests below may read."""
    folder = tmp_path_factory.mktemp("trained")
    balls = tools.write_decathlon(folder / "balls")
    run = medframe.fit(
        balls, folder / "run", settings={**tools.settings, "steps": 80, "validate_every": 10}, progress=False
    )
    return folder, run


def test_a_run_leaves_everything_a_researcher_needs(trained):
    _, run = trained
    names = {p.name for p in run.folder.iterdir()}
    due = {"run.yaml", "survey.json", "cases.json", "log.csv", "model.safetensors", "scores.csv", "report.html"}
    assert due <= names
    assert not [n for n in names if n.startswith(".medframe-part")]
    settings = yaml.safe_load((run.folder / "run.yaml").read_text())
    assert settings["classes"] == {0: "background", 1: "bright", 2: "dim"}
    assert len(run.scores.cases) == len(list((run.folder / "held_out").glob("*.nii.gz")))
    assert len(read_log(run.folder / "log.csv")) == 8


def test_the_network_has_learnt(trained):
    _, run = trained
    assert np.nanmean(run.scores.values("dice", 1)) > 0.7


def test_the_held_out_case_took_no_part(trained):
    _, run = trained
    import json

    cases = json.loads((run.folder / "cases.json").read_text())
    parts = [set(cases[p]) for p in ("train", "monitor", "held_out")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_the_report_stands_alone(trained):
    _, run = trained
    page = run.report.read_text(encoding="utf-8")
    assert "<script" not in page
    # addresses that SVG names its vocabulary by are never fetched; no other may stand in the page
    addresses = set(re.findall(r"https?://[^\"'<> ]+", page))
    assert all(any(a.startswith(f"http{s}://{known}") for s in ("", "s") for known in VOCABULARIES) for a in addresses)
    assert page.count("data:image/png;base64") == 3
    assert "bright" in page
    assert str(run.folder) not in page


AFFINES = {
    "oblique": np.array([[0.9, -0.3, 0.1, 5], [0.3, 0.9, -0.2, -7], [0, 0.25, 0.95, 11], [0, 0, 0, 1]]),
    "left-handed": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "anisotropic": np.diag([0.7, 1.0, 2.2, 1.0]),
    "axes permuted": np.array([[0, 0, 1.0, 3], [1.0, 0, 0, 4], [0, -1.0, 0, 5], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_predictions_lie_exactly_on_their_scans(trained, tmp_path, name, tools):
    _, run = trained
    image, _ = tools.ball_case(50, AFFINES[name])
    write(image, tmp_path / "scan.nii.gz")
    (made,) = medframe.predict(run.folder, [tmp_path / "scan.nii.gz"], tmp_path / "out", progress=False)
    scan, found = nibabel.load(tmp_path / "scan.nii.gz"), nibabel.load(made)
    assert found.shape == scan.shape
    assert np.array_equal(found.affine, scan.affine)
    assert found.get_data_dtype() == np.uint8


def test_a_flipped_or_resampled_copy_gives_the_same_tissue(trained, tmp_path, tools):
    _, run = trained
    image, _ = tools.ball_case(51)
    write(image, tmp_path / "scan.nii.gz")
    flipped = Image(image.data.flip(1), space=image.space.reoriented("LAS"))
    assert np.allclose(flipped.space.to_world([0, 0, 0]), image.space.to_world([17, 0, 0]))
    write(flipped, tmp_path / "flipped.nii.gz")
    finer = image.to_space(image.space.with_spacing((0.8, 0.9, 0.7)))
    write(finer, tmp_path / "finer.nii.gz")
    medframe.predict(run.folder, [tmp_path], tmp_path / "out", progress=False)
    plain = read(tmp_path / "out" / "scan.nii.gz", LabelMap)
    mirrored = read(tmp_path / "out" / "flipped.nii.gz", LabelMap)
    assert torch.equal(mirrored.to_space(plain.space).data, plain.data)
    resampled = read(tmp_path / "out" / "finer.nii.gz", LabelMap).to_space(plain.space).data
    for value in (1, 2):
        a, b = resampled == value, plain.data == value
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.85


def test_probabilities_sum_to_one_and_agree_with_the_labels(trained, tmp_path, tools):
    _, run = trained
    image, _ = tools.ball_case(52, AFFINES["anisotropic"])
    write(image, tmp_path / "scan.nii.gz")
    medframe.predict(run.folder, [tmp_path / "scan.nii.gz"], tmp_path / "out", probabilities=True, progress=False)
    shares = read(tmp_path / "out" / "scan_probabilities.nii.gz").data
    labels = read(tmp_path / "out" / "scan.nii.gz", LabelMap).data
    assert shares.shape[0] == 3
    assert torch.allclose(shares.sum(0), torch.ones(()), atol=1e-4)
    assert (shares.argmax(0) == labels[0]).float().mean() > 0.999


def test_nothing_is_overwritten_unless_asked(trained, tmp_path, tools):
    _, run = trained
    image, _ = tools.ball_case(53)
    write(image, tmp_path / "scan.nii.gz")
    medframe.predict(run.folder, [tmp_path / "scan.nii.gz"], tmp_path / "out", progress=False)
    with pytest.raises(WriteFailed, match="exists"):
        medframe.predict(run.folder, [tmp_path / "scan.nii.gz"], tmp_path / "out", progress=False)


def test_evaluate_scores_folders_and_misses_are_errors(trained, tmp_path, tools):
    folder, run = trained
    labels = tmp_path / "labels"
    labels.mkdir()
    for path in (run.folder / "held_out").glob("*.nii.gz"):
        (labels / path.name).write_bytes((folder / "balls" / "labelsTr" / path.name).read_bytes())
    table = medframe.evaluate(run.folder / "held_out", labels, tmp_path / "scores.csv", progress=False)
    again = read_table(tmp_path / "scores.csv")
    assert np.allclose(again.values("dice", 1), run.scores.values("dice", 1), atol=1e-6)
    assert len(table) == len(again)
    image, label = tools.ball_case(60)
    write(label, labels / "another.nii.gz")
    with pytest.raises(BadDataset, match="another"):
        medframe.evaluate(run.folder / "held_out", labels, tmp_path / "again.csv", progress=False)
    assert not (tmp_path / "again.csv").exists()
    assert image.space == label.space


def test_running_again_goes_on_or_says_why_not(trained, tools):
    folder, run = trained
    before = (run.folder / "model.safetensors").read_bytes()
    again = medframe.fit(
        folder / "balls", run.folder, settings={**tools.settings, "steps": 80, "validate_every": 10}, progress=False
    )
    assert (run.folder / "model.safetensors").read_bytes() == before
    assert again.scores == run.scores
    with pytest.raises(BadConfig, match="batch=7"):
        medframe.fit(folder / "balls", run.folder, settings={"batch": 7}, progress=False)
    other = tools.write_decathlon(folder / "more", 7)
    with pytest.raises(Incompatible, match="case6"):
        medframe.fit(other, run.folder, progress=False)


def killed_after(arguments, seconds):
    process = subprocess.Popen([sys.executable, "-m", "medframe.cli.main", *arguments], stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def test_kill_at_any_moment_and_run_again(balls, settings, tmp_path):
    """The same weights as an undisturbed run, whenever the kill came."""
    words = [
        f"{k}={yaml.safe_dump(v, default_flow_style=True, width=1000).strip().removesuffix('...').strip()}"
        for k, v in settings.items()
    ]
    whole = medframe.fit(balls, tmp_path / "whole", settings=settings, progress=False)
    out = tmp_path / "killed"
    arguments = ["fit", str(balls), "--out", str(out), *words]
    ends = [killed_after(arguments, seconds) for seconds in (2.5, 4.0, 5.5)]
    assert ends[0] == -signal.SIGKILL  # it was at work; a quick machine may have finished by the last kill
    assert set(ends) <= {-signal.SIGKILL, 0}
    medframe.fit(balls, out, settings=settings, progress=False)
    a = medframe.plan.Predictor.load(whole.folder).network.state_dict()
    b = medframe.plan.Predictor.load(out).network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not list(out.rglob(".medframe-part-*"))


# bad input: one clear error each, naming file, field, found and expected


def with_nan(k, image, label):
    if k == 1:
        data = image.data.clone()
        data[0, 3, 4, 5] = float("nan")
        image = image.with_data(data)
    return image, label


def with_moved_label(k, image, label):
    return image, LabelMap(label.data, np.diag([1.0, 1.0, 1.0, 1.0]) + np.eye(4, k=3) * 3) if k == 1 else label


def with_foreign_label(k, image, label):
    if k == 1:
        data = label.data.clone()
        data[0, 0, 0, 7] = 9
        label = label.with_data(data)
    return image, label


def with_fractional_label(k, image, label):
    if k == 1:
        data = label.data.float()
        data[0, 1, 2, 3] = 0.5
        label = Image(data, space=label.space)
    return image, label


BAD = {
    with_nan: (BadVoxels, ["imagesTr/case1", "NaN", "(3, 4, 5)", "finite"]),
    with_moved_label: (BadGeometry, ["labelsTr/case1", "different lattices", "3 mm off"]),
    with_foreign_label: (BadLabel, ["labelsTr/case1", "[9]", "(0, 0, 7)", "[0, 1, 2]"]),
    with_fractional_label: (BadLabel, ["labelsTr/case1", "0.5"]),
}


@pytest.mark.parametrize("change", BAD, ids=lambda f: f.__name__)
def test_bad_cases_are_named_before_training(tmp_path, monkeypatch, change, tools):
    monkeypatch.chdir(tmp_path)
    kind, parts = BAD[change]
    folder = tools.write_decathlon(Path("bad"), 6, change)
    held_out = next(f for f in range(5) if "case1" in {r.case for r in split(read_cohort(folder).records, 5, f, 0)[1]})
    with pytest.raises(kind) as caught:  # held out elsewhere, the case is looked at
        medframe.fit(folder, "run", fold=(held_out + 1) % 5, settings=tools.settings, progress=False)
    for part in parts:
        assert part in str(caught.value)
    assert not Path("run/run.yaml").exists()


def test_several_bad_cases_are_named_together(tmp_path, settings, tools):
    folder = tools.write_decathlon(tmp_path / "bad", 6, lambda k, i, la: (i.with_data(i.data * float("inf")), la))
    with pytest.raises(BadDataset, match=r"of 4 cases|of 5 cases") as caught:
        medframe.fit(folder, tmp_path / "run", settings=settings, progress=False)
    assert str(caught.value).count("NaN or infinite") >= 4


def test_missing_truncated_and_empty(balls, tmp_path, settings):
    path = balls / "imagesTr" / "case2.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    errors = []
    for fold in range(2):
        with pytest.raises(MedframeError) as caught:
            medframe.fit(balls, tmp_path / f"run{fold}", fold=fold, settings={**settings, "steps": 2}, progress=False)
        errors.append(str(caught.value))
    assert any("case2" in e for e in errors)
    path.unlink()
    with pytest.raises((BadDataset, BadFile), match="case2"):
        medframe.fit(balls, tmp_path / "run9", settings=settings, progress=False)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadDataset):
        medframe.fit(tmp_path / "nothing", tmp_path / "run8", progress=False)


def test_a_checkpoint_of_another_network_is_refused(balls, tmp_path, settings):
    run = medframe.fit(balls, tmp_path / "run", settings={**settings, "steps": 4}, progress=False)
    (run.folder / "model.safetensors").unlink()
    text = (run.folder / "run.yaml").read_text().replace("features: [4, 8]", "features: [4, 16]")
    (run.folder / "run.yaml").write_text(text)
    before = sorted(p.name for p in (run.folder / "checkpoints").iterdir())
    with pytest.raises(Incompatible, match="another network"):
        medframe.fit(balls, run.folder, progress=False)
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="needs a file size limit")
def test_a_full_disk_gives_one_clear_error(balls, tmp_path, settings):
    words = " ".join(f"{k!r}: {v!r}," for k, v in settings.items())
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import medframe\n"
        "medframe.fit\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "from medframe.base import MedframeError\n"
        f"try: medframe.fit({str(balls)!r}, {str(tmp_path / 'run')!r}, settings={{{words}}}, progress=False)\n"
        "except MedframeError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("WriteFailed"), done.stdout + done.stderr
    assert "File too large" in done.stdout
    assert not list((tmp_path / "run").rglob(".medframe-part-*"))
    # with room again the same call goes through
    run = medframe.fit(balls, tmp_path / "run", settings=settings, progress=False)
    assert run.report.exists()


def test_the_command_line_prints_one_line_and_exits_with_2(tmp_path, capsys):
    assert main(["fit", str(tmp_path / "absent"), "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("medframe: Bad")
    assert len(captured.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()  # a mistyped path leaves nothing behind


@pytest.mark.slow
def test_two_ranks_train_one_network(balls, settings, tmp_path):
    words = [f"{k}={yaml.safe_dump(v, default_flow_style=True).split(chr(10))[0]}" for k, v in settings.items()]
    words = [w for w in words if not w.startswith("threads")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [
        *launcher,
        "-m",
        "medframe.cli.main",
        "fit",
        str(balls),
        "--out",
        str(tmp_path / "run"),
        *words,
        "threads=1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "report.html").exists()
    assert done.stderr.count("report:") == 1  # the first rank alone speaks and writes


def test_info_tells_versions_and_back_ends(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "torch" in out
    assert "reference" in out


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is absent")
@pytest.mark.parametrize(
    "name",
    [
        "nifti_odd/nibabel/anatomical.nii",
        "nifti_odd/sct/t2_t2.nii.gz",
        "nifti_odd/sct/mt_mt0.nii.gz",
        "nifti_odd/sct/t1_t1w.nii.gz",
    ],
)
def test_predictions_on_real_odd_headers(trained, tmp_path, name):
    _, run = trained
    (made,) = medframe.predict(run.folder, [SHARED / name], tmp_path / "out", progress=False)
    scan, found = nibabel.load(SHARED / name), nibabel.load(made)
    assert found.shape == scan.shape
    assert np.allclose(found.affine, scan.affine, atol=1e-4)
