"""Tables and summaries as files: CSV for spreadsheets, JSON for programs; the suffix decides.

Numbers are written with as many digits as bring the same number back. CSV spells undefined and infinite values `nan`
and `inf`; JSON, which has neither, writes null and "inf". A row of a whole case has an empty label (null in JSON).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medframe.base.errors import BadArgument, BadFile, MedframeError
from medframe.base.files import write_json, write_text
from medframe.metrics.compare import Comparison, Difference
from medframe.metrics.summary import Statistic, Summary
from medframe.metrics.table import KEY_COLUMNS, Row, Table

_FORMAT = "medframe table 1"


def write_table(path: str | os.PathLike[str], table: Table, *, overwrite: bool = True) -> None:
    """Write a table; the file appears whole or not at all.

    Args:
        path: ends in .csv or .json.
        table: its columns follow case, label and class.
        overwrite: False refuses a name that is taken.

    Raises:
        BadArgument: another suffix.
        WriteFailed: the file cannot be written.
    """
    if _suffix(path) == ".json":
        rows = [[row.case, row.label, row.name, *map(_to_json, row.values)] for row in table]
        content = {"format": _FORMAT, "columns": [*KEY_COLUMNS, *table.columns], "rows": rows}
        write_json(path, content, overwrite=overwrite)
        return
    lines = [[row.case, "" if row.label is None else str(row.label), row.name, *map(repr, row.values)] for row in table]
    _write_csv(path, [[*KEY_COLUMNS, *table.columns], *lines], overwrite=overwrite)


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read what `write_table` wrote; the table equals the one written.

    Raises:
        BadArgument: the suffix is neither .csv nor .json.
        BadFile: the file is missing or does not hold a table.
        BadDataset: rows contradict each other.
    """
    suffix = _suffix(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # spreadsheets put a byte-order mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile("the table cannot be read", where=path, found=str(error), due="UTF-8 text") from None
    head, *lines = _json_lines(text, path) if suffix == ".json" else _csv_lines(text, path)
    columns = tuple(head[len(KEY_COLUMNS) :])
    if tuple(head[: len(KEY_COLUMNS)]) != KEY_COLUMNS:
        raise BadFile("not a table", where=path, found=", ".join(map(str, head)), due=f"{', '.join(KEY_COLUMNS)}, ...")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            case, label, name, *values = line
            rows.append(
                Row(
                    case,
                    None if label in ("", None) else int(label),
                    name,
                    columns,
                    tuple(_to_float(v) for v in values),
                )
            )
        except (ValueError, TypeError, MedframeError) as error:
            raise BadFile(
                f"row {number} is damaged",
                where=path,
                found=str(error),
                due="case, label, class and one number a column",
            ) from None
    return Table(rows)


def write_summary(path: str | os.PathLike[str], summary: Summary, *, overwrite: bool = True) -> None:
    """Write a summary, one line for each metric and class; the label of "all" is left empty (null in JSON).

    Args:
        path: ends in .csv or .json.
        summary: see `medframe.metrics.summarise`.
        overwrite: False refuses a name that is taken.

    Raises:
        BadArgument: another suffix.
        WriteFailed: the file cannot be written.
    """
    _write_records(path, [_record(summary, statistic) for statistic in summary], Statistic, overwrite=overwrite)


def write_groups(path: str | os.PathLike[str], groups: Mapping[str, Summary], *, overwrite: bool = True) -> None:
    """Write the summaries of subgroups as one file, the group's name in front of each line; see `write_summary`."""
    records = [
        {"group": name} | _record(summary, statistic) for name, summary in groups.items() for statistic in summary
    ]
    _write_records(path, records, Statistic, first=("group",), overwrite=overwrite)


def write_comparison(path: str | os.PathLike[str], comparison: Comparison, *, overwrite: bool = True) -> None:
    """Write a comparison of two tables, one line for each metric and class; see `write_summary`."""
    records = [_record(comparison, difference) for difference in comparison]
    _write_records(path, records, Difference, overwrite=overwrite)


def _record(whole: Summary | Comparison, part: Statistic | Difference) -> dict[str, Any]:
    settings = {"confidence": whole.confidence, "resamples": whole.resamples}
    return {**dataclasses.asdict(part), **settings}


def _write_records(
    path: str | os.PathLike[str],
    records: list[dict[str, Any]],
    kind: type[Statistic] | type[Difference],
    *,
    first: tuple[str, ...] = (),
    overwrite: bool,
) -> None:
    if _suffix(path) == ".json":
        rows = [{k: _to_json(v) if isinstance(v, float) else v for k, v in record.items()} for record in records]
        write_json(path, {"statistics": rows}, overwrite=overwrite)
        return
    head = [*first, *(field.name for field in dataclasses.fields(kind)), "confidence", "resamples"]
    cells = [["" if v is None else v if isinstance(v, str) else repr(v) for v in r.values()] for r in records]
    _write_csv(path, [head, *cells], overwrite=overwrite)


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".json"):
        raise BadArgument("unknown kind of table file", where=path, found=suffix or "no suffix", due=".csv or .json")
    return suffix


def _write_csv(path: str | os.PathLike[str], lines: list[list[str]], *, overwrite: bool) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_text(path, text.getvalue(), overwrite=overwrite)


def _csv_lines(text: str, path: str | os.PathLike[str]) -> list[list[str]]:
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise BadFile("not a CSV file", where=path, found=str(error), due="comma-separated values") from None
    return lines or [[]]


def _json_lines(text: str, path: str | os.PathLike[str]) -> list[list[Any]]:
    due = f"an object of format {_FORMAT!r} with columns and rows"
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BadFile("not JSON", where=path, found=str(error), due=due) from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise BadFile("not a table", where=path, found=repr(found), due=due)
    lines = [content.get("columns"), *(content.get("rows") or [])]
    if not all(isinstance(line, list) for line in lines):
        raise BadFile("not a table", where=path, found="columns or rows that are not lists", due=due)
    return lines


def _to_json(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else repr(value)


def _to_float(value: str | float | None) -> float:
    return math.nan if value is None else float(value)
