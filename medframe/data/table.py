"""A table of cases: CSV with the columns case, image (image2, ...), label, group, split."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from medframe.base.errors import BadDataset
from medframe.data.datalist import read_text
from medframe.data.listing import case_ids, inside
from medframe.data.records import Cohort, Record, shortlist

_IMAGE = re.compile(r"image_?(\d*)")


def read_table(file: Path, roots: Sequence[Path]) -> Cohort:
    """The cohort in a CSV or TSV file; other columns are passed over.

    Only `image` must be there: `case` defaults to the name of the first image, `group` to the case. Paths are relative
    to the file. Commas, semicolons and tabs are told apart by the first line.

    Args:
        file: the table.
        roots: further folders that files may lie in.

    Raises:
        BadDataset: no header, no image column, a row that does not fit the header, or a path outside.
    """
    lines = read_text(file)
    header = lines.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadDataset("the table cannot be read", where=file, found=str(error), due="CSV with a header") from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    columns = {name: k for k, name in enumerate(names)}
    images = sorted((int(m[1] or 1), k) for k, name in enumerate(names) if (m := _IMAGE.fullmatch(name)))
    if not images:
        raise BadDataset(
            "the table has no column 'image'",
            where=file,
            found=f"columns {shortlist(names)}" if any(names) else "no header",
            due="case, image, label, group, split",
        )
    if len(columns) < len(names):
        raise BadDataset("two columns have one name", where=file, found=shortlist(names), due="each name once")
    found: list[tuple[tuple[Path, ...], Path | None, dict[str, str]]] = []
    for line, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        where = f"{file.name}, row {line}"
        if len(cells) != len(names):
            raise BadDataset("a row does not fit the header", where=where, found=len(cells), due=f"{len(names)} cells")
        cell = {name: cells[k] for name, k in columns.items()}
        paths = tuple(inside(cells[k], file.parent, roots, where) for _, k in images)
        label = inside(cell["label"], file.parent, roots, where) if cell.get("label") else None
        found.append((paths, label, cell))
    ids = case_ids([paths[0] for paths, _, _ in found], file.parent)
    records = tuple(
        Record(cell.get("case") or case, paths, label, cell.get("group", ""), cell.get("split") or None)
        for (paths, label, cell), case in zip(found, ids, strict=True)
    )
    return Cohort(file.stem, file.parent, records)
