"""Summaries and bootstrap intervals: by hand, by theory, and the same for the same key."""

import csv
import json
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from medframe.base import BadArgument, Rng
from medframe.metrics import Row, Table, bootstrap_interval, summarise, write_summary

NAN, INF = math.nan, math.inf


def table_of(values):
    """{label: [value of case 0, of case 1, ...]}"""
    return Table(
        Row(f"case {i:03d}", label, f"class {label}", ("dice",), (v,))
        for label, column in values.items()
        for i, v in enumerate(column)
    )


def test_numbers_by_hand():
    summary = summarise(table_of({1: [0.2, 0.4, 0.9, NAN], 2: [0.6, NAN, 0.5, NAN]}))
    one, two, everything = (summary.of("dice", k) for k in (1, 2, None))
    assert list(summary) == [one, two, everything]
    assert (one.n, one.undefined, one.infinite, one.name) == (3, 1, 0, "class 1")
    assert (one.mean, one.median) == (pytest.approx(0.5), 0.4)
    assert one.std == pytest.approx(statistics.stdev([0.2, 0.4, 0.9]))
    assert (two.n, two.undefined) == (2, 2)
    # all: cases 0.4, 0.4, 0.7 and one without a defined class
    assert (everything.n, everything.undefined, everything.label, everything.name) == (3, 1, None, "all")
    assert (everything.mean, everything.median) == (pytest.approx(0.5), pytest.approx(0.4))
    assert everything.std == pytest.approx(statistics.stdev([0.4, 0.4, 0.7]))


def test_few_cases_have_no_spread():
    one = summarise(table_of({1: [0.3, NAN]})).of("dice", 1)
    assert (one.n, one.mean, one.median) == (1, 0.3, 0.3)
    assert all(math.isnan(v) for v in (one.std, one.lo, one.hi))
    none = summarise(table_of({1: [NAN, NAN]})).of("dice", 1)
    assert (none.n, none.undefined) == (0, 2)
    assert all(math.isnan(v) for v in (none.mean, none.median, none.std, none.lo, none.hi))
    assert summarise(Table()).statistics == ()


def test_infinite_values_are_counted_and_seen():
    one = summarise(table_of({1: [1.0, 2.0, 3.0, INF, NAN]})).of("dice", 1)
    assert (one.n, one.undefined, one.infinite, one.mean, one.median, one.hi) == (4, 1, 1, INF, 2.5, INF)
    assert math.isnan(one.std)
    assert 1.0 <= one.lo <= 3.0  # the resamples without the infinite case


def test_the_same_key_gives_the_same_interval():
    values = Rng(1).generator().normal(size=30)
    first = bootstrap_interval(values, Rng(5))
    assert bootstrap_interval(list(values), Rng(5)) == first
    assert bootstrap_interval(np.append(values, NAN), Rng(5)) == first  # undefined cases change nothing
    assert bootstrap_interval(values, Rng(6)) != first


def test_a_summary_depends_on_key_and_values_alone():
    values = {k: list(Rng(k).generator().random(12)) for k in (1, 2)}
    table = table_of(values)
    assert summarise(table, Rng(3)) == summarise(Table(reversed(table.rows)), Rng(3))
    assert summarise(table, Rng(3)).of("dice", 1) != summarise(table, Rng(4)).of("dice", 1)
    # another column beside it moves nothing, and equal columns get equal intervals
    wider = summarise(Table(Row(r.case, r.label, r.name, ("twin", "dice"), r.values * 2) for r in table), Rng(3))
    assert wider.of("dice") == summarise(table, Rng(3)).of("dice")
    assert (wider.of("twin", 1).lo, wider.of("twin", 1).hi) == (wider.of("dice", 1).lo, wider.of("dice", 1).hi)


@pytest.mark.parametrize("chunk", [1, 64, 1000])
def test_memory_limits_do_not_change_the_distribution(chunk, monkeypatch):
    values = Rng(2).generator().normal(10, 2, size=50)
    whole = bootstrap_interval(values, Rng(0), resamples=1000)
    monkeypatch.setattr("medframe.metrics.bootstrap._AT_ONCE", chunk)
    assert bootstrap_interval(values, Rng(0), resamples=1000) == pytest.approx(whole, abs=0.1)


def test_the_interval_is_near_scipys():
    values = Rng(9).generator().gamma(2.0, size=60)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert bootstrap_interval(values, Rng(0), resamples=20000) == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_the_ends_are_the_order_statistics_of_the_resamples():
    # a statistic that ignores its sample and counts up: the middle 90 of 100 values are 5 to 94
    count = iter([np.arange(100.0)[::-1]])
    assert bootstrap_interval([1.0, 2.0], Rng(0), confidence=0.9, resamples=100, statistic=lambda _: next(count)) == (
        5.0,
        94.0,
    )


@pytest.mark.parametrize(("confidence", "lowest", "highest"), [(0.95, 0.91, 0.97), (0.8, 0.74, 0.85)])
def test_coverage(confidence, lowest, highest):
    inside = 0
    for i in range(500):
        sample = Rng("coverage", i).generator().normal(3.0, 1.0, size=40)
        lo, hi = bootstrap_interval(sample, Rng("resample", i), confidence=confidence, resamples=500)
        inside += lo <= 3.0 <= hi
    assert lowest <= inside / 500 <= highest


def test_another_statistic():
    values = [0.0] * 20 + [100.0]
    lo, hi = bootstrap_interval(values, Rng(0), statistic=lambda s: np.median(s, axis=-1))
    assert (lo, hi) == (0.0, 0.0)


@pytest.mark.parametrize("settings", [{"confidence": 0}, {"confidence": 1}, {"confidence": 95}, {"resamples": 0}])
def test_bad_settings(settings):
    with pytest.raises(BadArgument, match=next(iter(settings))):
        summarise(table_of({1: [0.1, 0.2]}), **settings)


def test_an_unknown_statistic():
    with pytest.raises(BadArgument, match=r"dice of 7.*dice of 1, dice of all"):
        summarise(table_of({1: [0.1, 0.2]})).of("dice", 7)


def test_summary_files(tmp_path):
    summary = summarise(table_of({1: [0.25, INF], 2: [NAN, NAN]}), resamples=50)
    write_summary(tmp_path / "s.csv", summary)
    with (tmp_path / "s.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["label"], line["name"], line["n"], line["mean"]) for line in lines] == [
        ("1", "class 1", "2", "inf"),
        ("2", "class 2", "0", "nan"),
        ("", "all", "2", "inf"),
    ]
    assert {(line["confidence"], line["resamples"]) for line in lines} == {("0.95", "50")}
    write_summary(tmp_path / "s.json", summary)
    rows = json.loads((tmp_path / "s.json").read_text())["statistics"]
    assert [(r["label"], r["metric"], r["undefined"], r["mean"]) for r in rows] == [
        (1, "dice", 0, "inf"),
        (2, "dice", 2, None),
        (None, "dice", 0, "inf"),
    ]
    with pytest.raises(BadArgument, match="txt"):
        write_summary(tmp_path / "s.txt", summary)
