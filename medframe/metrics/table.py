"""Per-case tables: one row for each case and class, or for each case as a whole; one column for each metric."""

from __future__ import annotations

import math
import operator
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadDataset

KEY_COLUMNS = ("case", "label", "class")
WHOLE = "whole case"


@dataclass(frozen=True, eq=False)
class Row:
    """The metrics of one class of one case, or of a case as a whole: then it has no label.

    Rows are equal when all their parts are, an undefined value (NaN) being equal to an undefined value.

    Args:
        case: the case's id; text without control characters.
        label: the class number; None for the whole case.
        name: the class name; "whole case" for the whole case.
        columns: the metrics' names.
        values: a number for each column; NaN is undefined.

    Raises:
        BadArgument: an empty or unprintable id or name, a column twice, or not one value a column.
    """

    case: str
    label: int | None
    name: str
    columns: tuple[str, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        for part, text in (("case", self.case), ("name", self.name), *(("columns", c) for c in self.columns)):
            if not isinstance(text, str) or not text or any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
                raise BadArgument("not usable text", where=part, found=repr(text), due="text, no control characters")
        if len(set(self.columns) | set(KEY_COLUMNS)) < len(self.columns) + len(KEY_COLUMNS):
            due = f"distinct names, none of them {', '.join(KEY_COLUMNS)}"
            raise BadArgument("columns must differ", where="columns", found=self.columns, due=due)
        if len(self.values) != len(self.columns):
            found = f"{len(self.values)} values for {len(self.columns)} columns"
            raise BadArgument("a row is not complete", where="values", found=found, due="one value a column")
        if self.label is not None:
            object.__setattr__(self, "label", operator.index(self.label))
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))

    @classmethod
    def of_case(cls, case: str, values: Mapping[str, float]) -> Row:
        """The row of a case as a whole: column -> value."""
        return cls(case, None, WHOLE, tuple(values), tuple(values.values()))

    def __getitem__(self, column: str) -> float:
        """The value in a column."""
        if column not in self.columns:
            raise BadArgument("no such column", where=column, found=", ".join(self.columns), due="one of these")
        return self.values[self.columns.index(column)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[object, ...]:
        values = tuple(None if math.isnan(v) else v for v in self.values)
        return self.case, self.label, self.name, self.columns, values


@dataclass(frozen=True, init=False)
class Table:
    """Rows ordered by case id and label number, whatever order they came in.

    A table is either of classes or of whole cases, so that no statistic mixes the two.

    A row may be given twice if it says the same both times (a sampler that pads ranks to equal length scores a case
    twice); so the union over ranks equals the table of a single process.

    Args:
        rows: in any order; none makes an empty table, which merges with any other.

    Raises:
        BadDataset: two rows of one case and class differ, rows differ in their columns, a label has two names, or rows
            of classes stand beside rows of whole cases.
    """

    rows: tuple[Row, ...]

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        kept: dict[tuple[str, int | None], Row] = {}
        names: dict[int | None, str] = {}
        columns: tuple[str, ...] | None = None
        for row in rows:
            columns = row.columns if columns is None else columns
            if row.columns != columns:
                found = f"{', '.join(row.columns)} after {', '.join(columns)}"
                raise BadDataset("rows differ in their columns", where=row.case, found=found, due="one set of metrics")
            if names and (None in names) != (row.label is None):
                due = "a table of classes, or one of whole cases"
                raise BadDataset("classes stand beside whole cases", where=row.case, found="rows of both", due=due)
            if names.setdefault(row.label, row.name) != row.name:
                found = f"label {row.label} as {names[row.label]!r} and as {row.name!r}"
                raise BadDataset("a label has two names", where=row.case, found=found, due="one name a label")
            known = kept.setdefault((row.case, row.label), row)
            if known != row:
                raise BadDataset(
                    "two rows of one case and class differ",
                    where=f"{row.case}, {row.name}",
                    found=f"{dict(zip(columns, known.values, strict=True))} and "
                    f"{dict(zip(columns, row.values, strict=True))}",
                    due="one result for each case and class",
                    mend="Give each case an id of its own; score each case by one model only.",
                )
        object.__setattr__(self, "rows", tuple(sorted(kept.values(), key=lambda row: (row.case, row.label or 0))))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The metrics' names; none in an empty table."""
        return self.rows[0].columns if self.rows else ()

    @property
    def cases(self) -> tuple[str, ...]:
        """The case ids, sorted."""
        return tuple(dict.fromkeys(row.case for row in self.rows))

    @property
    def classes(self) -> dict[int, str]:
        """Label number -> class name, by rising number; none in a table of whole cases."""
        return dict(sorted({row.label: row.name for row in self.rows if row.label is not None}.items()))

    def values(self, column: str, label: int | None = None) -> NDArray[np.float64]:
        """A metric of one class (None: of whole cases) over the cases that have it, by case id; NaN where undefined."""
        return np.array([row[column] for row in self.rows if row.label == label], dtype=np.float64)

    def case_means(self, column: str) -> NDArray[np.float64]:
        """A metric of each case, averaged over the classes where it is defined; NaN where none is."""
        found: dict[str, list[float]] = {case: [] for case in self.cases}
        for row in self.rows:
            if not math.isnan(row[column]):
                found[row.case].append(row[column])
        return np.array([sum(v) / len(v) if v else math.nan for v in found.values()], dtype=np.float64)

    def merge(self, *others: Table) -> Table:
        """The union with other tables, for instance those of other ranks; raises as the constructor does."""
        return Table(row for table in (self, *others) for row in table.rows)
