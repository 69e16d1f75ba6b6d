"""Tutorials run from start to end."""

import runpy
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[2] / "tutorials").glob("*.py"))


@pytest.mark.timeout(900)  # a minute on an idle machine; several where others compute beside us
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda p: p.stem)
def test_a_tutorial_runs(path):
    pytest.importorskip("nilearn", reason="the tutorials' data comes with the extra [demo]")
    runpy.run_path(str(path))


def test_the_readme_example_runs(capsys):
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip().endswith("True")
