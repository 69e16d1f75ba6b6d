"""Two tables compared: pairing, the test, the interval, Holm's correction, and subgroups."""

import csv
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medframe.base import BadArgument, BadDataset
from medframe.base.rng import Rng
from medframe.metrics import (
    Row,
    Table,
    bootstrap_interval,
    compare,
    holm,
    split_by,
    summarise,
    summarise_groups,
    write_comparison,
    write_groups,
)

NAN, INF = math.nan, math.inf


def table(values, metric="dice"):
    """(cases, classes) -> a table."""
    return Table(
        Row(f"case {i:02}", k + 1, f"class {k + 1}", (metric,), (v,))
        for i, row in enumerate(values)
        for k, v in enumerate(row)
    )


def lines_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def runs(n=20, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.5, 0.9, (n, classes))
    return first, first + rng.normal(0.01, 0.02, (n, classes))


def test_equals_scipy_and_numpy():
    first, second = runs()
    found = compare(table(first), table(second))
    p = [stats.wilcoxon(second[:, k] - first[:, k]).pvalue for k in range(3)]
    for k in range(3):
        got, away = found.of("dice", k + 1), second[:, k] - first[:, k]
        assert got.p == pytest.approx(p[k])
        assert (got.n, got.undefined, got.higher, got.lower) == (20, 0, (away > 0).sum(), (away < 0).sum())
        assert (got.mean, got.median) == pytest.approx((away.mean(), np.median(away)))
        assert (got.first, got.second) == pytest.approx((first[:, k].mean(), second[:, k].mean()))
        assert (got.lo, got.hi) == pytest.approx(bootstrap_interval(away, Rng("comparison")))
    overall = found.of("dice")
    assert overall.p == overall.p_holm == pytest.approx(stats.wilcoxon((second - first).mean(axis=1)).pvalue)
    # Holm by its definition: the largest of (m - j + 1) p_j up to each rank
    order = np.argsort(p)
    expected = np.maximum.accumulate(np.minimum(1, np.array(p)[order] * [3, 2, 1]))
    assert [found.of("dice", int(k) + 1).p_holm for k in order] == pytest.approx(expected.tolist())


def test_the_test_is_exact_with_ties_too():
    rng = np.random.default_rng(4)
    for n in (1, 2, 7, 10):
        away = rng.integers(-3, 4, n) + 0.0
        got = compare(table(np.zeros((n, 1))), table(away[:, None]), resamples=2).of("dice", 1).p
        ranks = stats.rankdata(np.abs(away[away != 0]))
        if not ranks.size:
            assert got == 1
            continue
        signs = np.array(list(itertools.product((0, 1), repeat=len(ranks))))
        sums, seen = signs @ ranks, ranks[away[away != 0] > 0].sum()
        assert got == pytest.approx(min(1, 2 * min((sums <= seen).mean(), (sums >= seen).mean())))


def test_the_test_of_many_cases_is_that_of_the_normal_approximation():
    away = np.round(np.random.default_rng(0).normal(0.1, 1, 400), 1)
    got = compare(table(np.zeros((400, 1))), table(away[:, None]), resamples=2).of("dice", 1).p
    assert got == pytest.approx(stats.wilcoxon(away, method="asymptotic").pvalue)
    exact = compare(table(np.zeros((200, 1))), table(away[:200, None]), resamples=2).of("dice", 1).p
    assert exact == pytest.approx(stats.wilcoxon(away[:200], method="asymptotic").pvalue, abs=0.003)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, NAN, 0.6]) == pytest.approx([1.0, NAN, 1.0], nan_ok=True)
    assert holm([]) == []


@settings(max_examples=40, deadline=None, database=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=12))
def test_exchanging_the_runs_turns_the_sign(differences):
    first = np.zeros((len(differences), 1))
    second = first + np.array(differences, float)[:, None]
    (there, _), (back, _) = (compare(table(a), table(b), resamples=50) for a, b in ((first, second), (second, first)))
    assert (there.mean, there.median, there.p) == pytest.approx((-back.mean, -back.median, back.p))
    assert (there.higher, there.lower) == (back.lower, back.higher)
    assert 0 < there.p <= 1


def test_undefined_and_infinite_values():
    first = [[NAN], [1.0], [INF], [INF], [2.0], [3.0]]
    second = [[1.0], [NAN], [INF], [4.0], [1.0], [2.5]]
    got = compare(table(first), table(second)).of("dice", 1)
    assert (got.n, got.undefined, got.higher, got.lower) == (4, 2, 0, 3)
    assert got.mean == -INF
    assert got.median == -0.75
    # an infinite distance that became finite ranks as the largest change, whatever the others are
    assert got.p == pytest.approx(stats.wilcoxon([0, -100, -1, -0.5]).pvalue)


def test_runs_that_are_equal():
    first, _ = runs()
    got = compare(table(first), table(first)).of("dice", 2)
    assert (got.mean, got.lo, got.hi, got.p, got.p_holm) == (0, 0, 0, 1, 1)
    nothing = compare(table([[NAN]]), table([[1.0]])).of("dice", 1)
    assert nothing.n == 0
    assert math.isnan(nothing.p)


def test_the_test_keeps_its_level():
    rng = np.random.default_rng(1)
    p = [compare(table(a), table(b), resamples=2).of("dice", 1).p for a, b in rng.random((200, 2, 15, 1))]
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.1


def test_tables_of_whole_cases_compare():
    first, second = (Table(Row.of_case(f"case {k}", {"psnr": 30 + k + d}) for k in range(6)) for d in (0, 1))
    (got,) = compare(first, second)
    assert (got.label, got.name, got.n, got.mean) == (None, "all", 6, 1)


def test_only_common_metrics_are_compared():
    first, second = runs(4, 1)
    wide = Table(Row(r.case, r.label, r.name, ("iou", "dice"), (0.1, r["dice"])) for r in table(second))
    assert [d.metric for d in compare(table(first), wide)] == ["dice", "dice"]
    with pytest.raises(BadDataset, match="no metric"):
        compare(table(first), table(second, "iou"))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ([[0.1, 0.2]], "1 in the first alone .case 01"),
        ([[0.1], [0.2]], "classes"),
        ([[0.1, 0.2]] * 3, "1 in the second alone .case 02"),
    ],
)
def test_other_cases_are_refused(other, says):
    with pytest.raises(BadDataset, match=says):
        compare(table([[0.1, 0.2]] * 2), table(other))


def test_empty_tables_and_unknown_parts():
    with pytest.raises(BadDataset, match="two empty tables"):
        compare(Table(), Table())
    with pytest.raises(BadArgument, match="dice of 1"):
        compare(table([[0.1]]), table([[0.1]])).of("dice", 7)


def test_files_hold_every_field(tmp_path):
    comparison = compare(*(table(values) for values in runs(5, 2)))
    write_comparison(tmp_path / "c.csv", comparison)
    write_comparison(tmp_path / "c.json", comparison)
    lines = lines_of(tmp_path / "c.csv")
    assert [line["name"] for line in lines] == ["class 1", "class 2", "all"]
    assert float(lines[1]["p_holm"]) == comparison.of("dice", 2).p_holm
    assert lines[2]["label"] == ""
    assert json.loads((tmp_path / "c.json").read_text())["statistics"][0]["mean"] == comparison.of("dice", 1).mean


def test_groups_are_summarised_apart(tmp_path):
    values, _ = runs(9, 2)
    whole = table(values)
    groups = {f"case {k:02}": "old" if k % 3 else "young" for k in range(20)}
    parts = split_by(whole, groups)
    assert {name: part.cases for name, part in parts.items()} == {
        "old": tuple(f"case {k:02}" for k in (1, 2, 4, 5, 7, 8)),
        "young": tuple(f"case {k:02}" for k in (0, 3, 6)),
    }
    assert Table().merge(*parts.values()) == whole
    summaries = summarise_groups(whole, groups)
    assert summaries["young"].of("dice", 2).mean == pytest.approx(values[::3, 1].mean())
    assert summaries["old"] == summarise(parts["old"])
    write_groups(tmp_path / "g.csv", summaries)
    lines = lines_of(tmp_path / "g.csv")
    assert [(line["group"], line["name"]) for line in lines[:4]] == [
        ("old", "class 1"),
        ("old", "class 2"),
        ("old", "all"),
        ("young", "class 1"),
    ]
    assert float(lines[0]["mean"]) == summaries["old"].of("dice", 1).mean


def test_a_case_without_a_group_is_refused():
    with pytest.raises(BadDataset, match=r"1 of 2 \(case 01\)"):
        split_by(table([[0.1], [0.2]]), {"case 00": "a"})
