"""Rows and tables: order, merging across ranks, and files."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medframe.base import BadArgument, BadDataset, BadFile, WriteFailed
from medframe.metrics import Row, Table, read_table, score_case, write_table

NAN, INF = math.nan, math.inf
COLUMNS = ("dice", "hd95")


def row(case, label=1, values=(0.5, 2.0), name=None, columns=COLUMNS):
    return Row(case, label, name or f"class {label}", columns, values)


def test_rows_are_ordered_and_read_by_column():
    table = Table([row("b"), row("a", 2, (0.1, INF)), row("a", 1, (NAN, NAN))])
    assert [(r.case, r.label) for r in table] == [("a", 1), ("a", 2), ("b", 1)]
    assert len(table) == 3
    assert table.cases == ("a", "b")
    assert table.classes == {1: "class 1", 2: "class 2"}
    assert table.columns == COLUMNS
    assert table.values("hd95", 2).tolist() == [INF]
    np.testing.assert_array_equal(table.values("dice", 1), [NAN, 0.5])
    assert table.rows[1]["dice"] == 0.1


def test_case_means_leave_undefined_classes_out():
    table = Table([row("a", 1, (NAN, NAN)), row("a", 2, (0.4, NAN)), row("b", 1, (0.2, 1)), row("b", 2, (0.4, INF))])
    np.testing.assert_allclose(table.case_means("dice"), [0.4, 0.3])
    np.testing.assert_array_equal(table.case_means("hd95"), [NAN, INF])


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_the_union_over_ranks_is_the_table_of_one_process(ranks):
    rng = np.random.default_rng(0)
    rows = [row(f"case {i}", k, tuple(rng.random(2)) if i % 3 else (NAN, INF)) for i in range(7) for k in (1, 2)]
    cases = [[r for r in rows if r.case == f"case {i % 7}"] for i in range(ranks * math.ceil(7 / ranks))]  # padded
    # each rank's rows arrive as a pickled copy, so that NaN is another object
    parts = [pickle.loads(pickle.dumps(Table(r for rs in cases[k::ranks] for r in rs))) for k in range(ranks)]
    assert Table().merge(*parts[::-1]) == Table(rows)
    assert hash(Table().merge(*parts)) == hash(Table(rows))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (row("a", values=(0.5, 2.5)), "a, class 1: two rows.*2.0.*2.5"),
        (row("a", values=(NAN, 2.0)), "two rows of one case"),
        (row("b", name="spleen"), "'class 1' and as 'spleen'"),
        (row("b", columns=("dice", "iou")), "dice, iou after dice, hd95"),
        (row("b", columns=("hd95", "dice")), "columns"),
    ],
)
def test_contradictions_are_refused(other, says):
    with pytest.raises(BadDataset, match=says):
        Table([row("a")]).merge(Table([other]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: row(""),
        lambda: row("a\nb"),
        lambda: row("a\udc80"),
        lambda: row(7),
        lambda: row("a", name="\x00"),
        lambda: row("a", columns=("dice", "dice")),
        lambda: row("a", columns=("dice", "case")),
        lambda: row("a", values=(1.0,)),
        lambda: row("a")["iou"],
        lambda: Table([row("a")]).values("iou", 1),
    ],
)
def test_bad_rows(make):
    with pytest.raises(BadArgument, match="expected"):
        make()


def test_rows_differ_where_any_part_does():
    base = row("a", values=(NAN, 1.0))
    assert base == row("a", values=(float("nan"), 1.0))
    assert hash(base) == hash(row("a", values=(float("nan"), 1.0)))
    others = [
        row("b", values=(NAN, 1.0)),
        row("a", 2, (NAN, 1.0)),
        row("a", values=(NAN, NAN)),
        row("a", values=(0, 1)),
    ]
    assert all(base != other for other in [*others, "a"])


text = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
number = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None, database=None)
@given(
    cases=st.lists(text, min_size=1, max_size=4, unique=True),
    names=st.dictionaries(st.integers(-5, 1 << 40), text, min_size=1, max_size=3),
    columns=st.lists(text.filter(lambda c: c not in ("case", "label", "class")), max_size=3, unique=True),
    data=st.data(),
)
@pytest.mark.parametrize("suffix", [".csv", ".json", ".CSV"])
def test_files_bring_the_same_table_back(tmp_path_factory, suffix, cases, names, columns, data):  # noqa: PLR0917
    numbers = st.tuples(*[number] * len(columns))
    table = Table(Row(c, k, n, tuple(columns), data.draw(numbers)) for c in cases for k, n in names.items())
    path = tmp_path_factory.getbasetemp() / f"table{suffix}"
    write_table(path, table)
    assert read_table(path) == table


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_scored_case_and_an_empty_table_round_trip(tmp_path, suffix):
    truth = np.array([[1, 2, 2, 0]])
    scored = Table(score_case(np.array([[1, 2, 0, 0]]), truth, (1, 0.7), {1: "a, b", 2: '"c"', 3: "d"}, case="x;1"))
    for table in (scored, Table()):
        write_table(tmp_path / f"t{suffix}", table)
        assert read_table(tmp_path / f"t{suffix}") == table


def test_what_the_files_look_like(tmp_path):
    table = Table([row("a", 1, (0.5, INF)), row("b", 1, (NAN, 1.0))])
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == "case,label,class,dice,hd95\na,1,class 1,0.5,inf\nb,1,class 1,nan,1.0\n"
    write_table(tmp_path / "t.json", table)
    assert json.loads((tmp_path / "t.json").read_text())["rows"] == [
        ["a", 1, "class 1", 0.5, "inf"],
        ["b", 1, "class 1", None, 1.0],
    ]


def test_a_spreadsheet_may_have_saved_the_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfcase,label,class,dice,hd95\r\na,1,class 1,0.5,2\r\n\r\n")
    assert read_table(path) == Table([row("a")])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", "", "case, label, class"),
        ("t.csv", "id,label,class,dice\n", "id, label"),
        ("t.csv", "case,label,class,dice\na,1,x,good\n", "row 1 is damaged.*good"),
        ("t.csv", "case,label,class,dice\na,1,x,0.5\nb,1\n", "row 2 is damaged"),
        ("t.csv", "case,label,class,dice\na,one,x,0.5\n", "row 1.*one"),
        ("t.csv", "case,label,class,dice\na,1,x,0.5,7\n", "row 1.*2 values for 1"),
        ("t.csv", 'case,label,class,dice\n"a,1,x,0.5\n', "not a CSV"),
        ("t.json", "{", "not JSON"),
        ("t.json", "[1]", "list"),
        ("t.json", '{"format": "medframe table 9"}', "medframe table 9"),
        ("t.json", '{"format": "medframe table 1", "columns": 3}', "not lists"),
        ("t.json", '{"format": "medframe table 1", "columns": [], "rows": [1]}', "not lists"),
        (
            "t.json",
            '{"format": "medframe table 1", "columns": ["case", "label", "class"], "rows": [[1, 1, "x"]]}',
            "row 1",
        ),
        ("t.json", b"\xff\xfe{", "UTF-8"),
    ],
)
def test_damaged_files(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadFile, match=says):
        read_table(path)


def test_missing_files_suffixes_and_taken_names(tmp_path):
    with pytest.raises(BadFile, match=r"t\.csv"):
        read_table(tmp_path / "t.csv")
    for act in (read_table, lambda p: write_table(p, Table())):
        with pytest.raises(BadArgument, match="xlsx"):
            act(tmp_path / "t.xlsx")
    write_table(tmp_path / "t.csv", Table([row("a")]))
    with pytest.raises(WriteFailed, match="exists"):
        write_table(tmp_path / "t.csv", Table(), overwrite=False)
    assert len(read_table(tmp_path / "t.csv")) == 1


def test_contradicting_rows_in_a_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("case,label,class,dice\na,1,x,0.5\na,1,x,0.6\n")
    with pytest.raises(BadDataset, match="two rows"):
        read_table(path)


def test_rows_of_whole_cases(tmp_path):
    table = Table([Row.of_case("b", {"psnr": 30.0, "ssim": NAN}), Row.of_case("a", {"psnr": INF, "ssim": 0.5})])
    assert [(r.case, r.label, r.name) for r in table] == [("a", None, "whole case"), ("b", None, "whole case")]
    assert table.classes == {}
    assert table.values("psnr").tolist() == table.case_means("psnr").tolist() == [INF, 30.0]
    for name in ("t.csv", "t.json"):
        write_table(tmp_path / name, table)
        assert read_table(tmp_path / name) == table
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "a,,whole case,inf,0.5"


def test_classes_and_whole_cases_do_not_mix():
    whole = Row.of_case("a", {"dice": 0.5, "hd95": 2.0})
    for rows in ([whole, row("a")], [row("a"), whole]):
        with pytest.raises(BadDataset, match="classes stand beside whole cases"):
            Table(rows)
