"""Two ranks are one training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medframe.handlers.checkpoint import checkpoints
from medframe.handlers.csv_log import read_log


@pytest.fixture
def run(tmp_path, children):
    """A function that runs so many ranks in a folder and gives their exit codes and results."""

    def go(name, world, **order):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        children.start("ranks", folder=str(folder), world=world, **order)
        assert children.wait() == 0
        codes = json.loads((folder / "codes.json").read_text())
        return codes, [json.loads(Path(f"{folder}-result-{rank}.json").read_text()) for rank in range(world)]

    return go


def check_same(two, one):
    for result in two:
        assert result["error"] == ""
        assert result["losses"] == pytest.approx(one["losses"][result["from"] :], abs=1e-5)
        assert result["weights"] == pytest.approx(one["weights"], rel=1e-4)
        assert (result["iterations"], result["samples"]) == (one["iterations"], one["samples"])
        assert result["metrics"] == one["metrics"]
    assert two[0]["losses"] == two[1]["losses"]
    assert two[1]["written"] == []
    assert len(two[0]["written"]) > 3


def test_two_ranks_are_one_process_with_the_doubled_batch(run, tmp_path):
    codes, (one,) = run("one", 1)
    assert codes == [0]
    codes, two = run("two", 2)
    assert codes == [0, 0]
    check_same(two, one)
    logs = [read_log(tmp_path / name / "log.csv") for name in ("one", "two")]
    assert [row["iteration"] for row in logs[1]] == [3, 6, 9]
    assert [row["loss"] for row in logs[1]] == pytest.approx([row["loss"] for row in logs[0]], abs=1e-5)


def test_a_signal_to_one_rank_stops_all_at_the_same_step_and_they_go_on(run, tmp_path):
    _, (one,) = run("one", 1)
    codes, two = run("two", 2, tell=5)
    assert codes == [143, 143]
    assert [r["iterations"] for r in two] == [5, 5]  # in the middle of a group of two
    assert [p.name for p in checkpoints(tmp_path / "two")] == [f"checkpoint-{i:09d}.safetensors" for i in (5, 4)]
    codes, two = run("two", 2)
    assert codes == [0, 0]
    assert two[0]["from"] == 5
    check_same(two, one)


def test_nan_on_one_rank_stops_all(run, tmp_path):
    codes, two = run("two", 2, bad=5)
    assert codes == [0, 0]
    assert [r["iterations"] for r in two] == [5, 5]
    assert "another rank" in two[0]["error"]
    assert "the input of case-23 holds" in two[1]["error"]
    assert all(r["error"].startswith("NotFinite: step 6") for r in two)
    assert [p.name for p in checkpoints(tmp_path / "two")] == ["checkpoint-000000004.safetensors"]


def test_one_rank_decides_on_the_end(run):
    codes, two = run("time", 2, minutes=0.25)  # 15 s at half a second on the first rank, 1.5 s on the second
    assert codes == [0, 0]
    assert [r["iterations"] for r in two] == [30, 30]
    codes, two = run("patience", 2, patience=1)  # the first rank's scores get worse, the second's better
    assert codes == [0, 0]
    assert [r["iterations"] for r in two] == [6, 6]


@pytest.mark.slow
def test_torchrun_starts_the_same(run, tmp_path):
    _, (one,) = run("one", 1)
    folder = tmp_path / "two"
    folder.mkdir()
    root = Path(__file__).parents[2]
    script = Path(__file__).with_name("rank_script.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(script), str(folder)], env=environment, check=True, timeout=240)
    check_same([json.loads(Path(f"{folder}-result-{rank}.json").read_text()) for rank in range(2)], one)
