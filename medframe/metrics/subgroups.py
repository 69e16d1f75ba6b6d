"""Results by group of cases: site, scanner, sex, age, lesion size."""

from __future__ import annotations

from collections.abc import Mapping

from medframe.base.errors import BadDataset
from medframe.base.rng import Rng
from medframe.metrics.summary import Summary, summarise
from medframe.metrics.table import Table

_USUAL_RNG = Rng("summary")
_SHOWN = 5


def split_by(table: Table, groups: Mapping[str, str]) -> dict[str, Table]:
    """Divide a table by a property of its cases.

    Args:
        table: rows of any kind.
        groups: case id -> the group's name; cases that the table lacks are ignored.

    Returns:
        The group's name -> its rows, by name. Groups without a case do not appear.

    Raises:
        BadDataset: a case has no group.
    """
    homeless = [case for case in table.cases if case not in groups]
    if homeless:
        raise BadDataset(
            "cases have no group",
            found=f"{len(homeless)} of {len(table.cases)} ({', '.join(homeless[:_SHOWN])})",
            due="a group for every case",
            mend="Put those of which nothing is known in a group of their own, such as 'unknown': leaving them out "
            "would move every figure.",
        )
    names = sorted({groups[case] for case in table.cases})
    return {name: Table(row for row in table if groups[row.case] == name) for name in names}


def summarise_groups(
    table: Table,
    groups: Mapping[str, str],
    rng: Rng = _USUAL_RNG,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> dict[str, Summary]:
    """Summarise each group of cases on its own, with intervals that its own number of cases supports.

    Overlapping intervals of two groups do not show that they are alike, nor one group's far mean that it is apart:
    groups are small, and several.

    Args:
        table: rows of cases and classes, or of whole cases.
        groups: case id -> the group's name.
        rng: as for `summarise`; the same for every group.
        confidence: of the intervals.
        resamples: how many bootstrap resamples to draw.

    Returns:
        The group's name -> its summary, by name.

    Raises:
        BadDataset: a case has no group.
        BadArgument: `confidence` or `resamples` is out of its domain.

    Example:
        >>> from medframe.metrics import Row
        >>> table = Table(Row.of_case(case, {"dice": v}) for case, v in (("a", 0.8), ("b", 0.6), ("c", 0.7)))
        >>> found = summarise_groups(table, {"a": "site 1", "b": "site 2", "c": "site 1"})
        >>> {name: (summary.of("dice").n, summary.of("dice").mean) for name, summary in found.items()}
        {'site 1': (2, 0.75), 'site 2': (1, 0.6)}
    """
    return {
        name: summarise(part, rng, confidence=confidence, resamples=resamples)
        for name, part in split_by(table, groups).items()
    }
