"""The command line takes words in any order and says what it does not know."""

import pytest

from medframe.cli.main import main, parse
from medframe.metrics import Row, Table, write_table


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "data", "--out", "run", "batch=4", "patch=[8, 8]", "--minutes", "3"],
        ["fit", "data", "batch=4", "patch=[8, 8]", "--out", "run", "--minutes", "3"],
        ["fit", "--minutes", "3", "data", "batch=4", "--out", "run", "patch=[8, 8]"],
    ],
)
def test_settings_may_stand_anywhere(words):
    arguments = parse(words)
    assert str(arguments.dataset) == "data"
    assert str(arguments.out) == "run"
    assert arguments.minutes == 3
    assert arguments.settings == ["batch=4", "patch=[8, 8]"]


@pytest.mark.parametrize(
    "words",
    [["fit"], ["fit", "data", "--outt", "x"], ["predict", "run", "--out", "o"], ["info", "more"], [], ["train"]],
)
def test_unknown_words_are_refused(words, capsys):
    with pytest.raises(SystemExit) as left:
        parse(words)
    assert left.value.code == 2
    assert "usage: medframe" in capsys.readouterr().err


def test_a_wrong_setting_is_one_line(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    assert main(["fit", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "no setting"]) == 2
    assert (
        capsys.readouterr().err
        == "medframe: BadConfig: no setting: not a setting; found no setting; expected name=value\n"
    )


def test_two_tables_are_compared(tmp_path, capsys):
    for name, more in (("first", 0.0), ("second", 0.01)):
        rows = [Row(f"case {k}", 1, "liver", ("dice",), (0.8 + 0.01 * k + more * k,)) for k in range(6)]
        write_table(tmp_path / f"{name}.csv", Table(rows))
    words = ["compare", str(tmp_path / "first.csv"), str(tmp_path / "second.csv"), "--out", str(tmp_path / "c.csv")]
    assert main(words) == 0
    liver = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("liver"))
    assert liver.split()[1:5] == ["dice", "0.825", "0.85", "0.025"]
    assert (tmp_path / "c.csv").read_text().splitlines()[1].startswith("1,liver,dice,6,0,5,0,")
    assert main(["compare", str(tmp_path / "first.csv"), str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err
