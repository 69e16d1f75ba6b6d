"""A check-up as one HTML page: findings, pictures of the cases they are about, and how the dataset spreads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby

import numpy as np
import torch

from medframe.base.errors import MedframeError
from medframe.image import Image, LabelMap
from medframe.io import read
from medframe.plan.doctor.check import Checkup
from medframe.plan.doctor.findings import Finding
from medframe.plan.doctor.look import Look
from medframe.transforms.files import load
from medframe.viz import Page, bars, colour, overlay, to_png, to_svg

_PICTURES = 8
_ROWS = 200  # of one table; the JSON has all
_LARGE = 1 << 28  # voxels: larger images are not drawn


def write_page(path: str | os.PathLike[str], checkup: Checkup) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        checkup: what was found.

    Raises:
        WriteFailed: the file could not be written.
    """
    counts = checkup.counts
    page = Page(
        f"medframe check: {checkup.name}",
        f"{len(checkup.looks)} cases, {'headers and voxels' if checkup.voxels else 'headers alone'} read. "
        f"{counts['error']} errors, {counts['warning']} warnings, {counts['note']} notes.",
    )
    _findings(page, checkup.findings)
    _pictures(page, checkup)
    _spread(page, checkup)
    page.heading("Every case")
    page.table(
        ("case", "voxels", "spacing, mm", "axes", "channels", "findings"),
        [_row(one, checkup.findings) for one in checkup.looks[: _ROWS * 10]],
        summary=f"{len(checkup.looks)} rows",
    )
    page.write(path)


def _findings(page: Page, findings: Iterable[Finding]) -> None:
    page.heading("Findings")
    known = list(findings)
    if not known:
        page.text("Nothing is wrong.")
    for (severity, field, what), group in groupby(known, key=lambda f: (f.severity, f.field, f.what)):
        rows = list(group)
        page.text(f"{severity.upper()}, {field}: {what}" + (f" ({len(rows)} times)" if len(rows) > 1 else ""))
        table = [(f.case or "the dataset", f.file, f.found, f.due) for f in rows[:_ROWS]]
        page.table(("case", "file", "found", "expected"), table, None if len(rows) <= 6 else f"all {len(table)}")
        if rows[0].mend:
            page.text(f"What to do: {rows[0].mend}")


def _pictures(page: Page, checkup: Checkup) -> None:
    by_case = {one.case: one for one in checkup.looks}
    drawn = []
    for finding in _of_all_kinds(f for f in checkup.findings if f.severity != "note" and f.case in by_case):
        picture = _picture(by_case[finding.case])
        if picture is not None:
            drawn.append((picture, f"{finding.case}: {finding.what}; found {finding.found}"))
        if len(drawn) == _PICTURES:
            break
    if not drawn:
        return
    page.heading("Pictures of cases with findings")
    if any(one.record.label for one in checkup.looks):
        named = {v: n for v, n in sorted(checkup.classes.items()) if v}
        values = named or {v: str(v) for one in checkup.looks for v in sorted(one.counts or {}) if v > 0}
        page.key([(n, colour(v)) for v, n in list(values.items())[:12]], "outlines of the label map")
    for one in drawn:
        page.images(one)


def _of_all_kinds(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a case; one of each kind comes first, so that a fault of many cases does not fill the page."""
    known = list(findings)
    kinds: set[tuple[str, str]] = set()
    ordered: dict[str, Finding] = {}
    for f in known:
        if (f.field, f.what) not in kinds and f.case not in ordered:
            kinds.add((f.field, f.what))
            ordered[f.case] = f
    for f in known:
        ordered.setdefault(f.case, f)
    return list(ordered.values())


def _picture(one: Look) -> str | None:
    if one.space is None or np.prod(one.space.shape) > _LARGE or one.space.ndim < 2:
        return None
    try:
        image = load(one.record.images)
        grey = image.data[:1].float()
        shown = Image(torch.nan_to_num(grey, 0.0, 0.0, 0.0), space=image.space)
        return to_png(overlay(shown, {"label": _truth(one, shown)}), dpi=80)
    except MedframeError:  # it stands among the findings
        return None


def _truth(one: Look, image: Image) -> LabelMap:
    empty = LabelMap(torch.zeros(image.shape, dtype=torch.uint8), space=image.space)
    if one.record.label is None:
        return empty
    try:
        truth = read(one.record.label, LabelMap)
        return truth if truth.channels == 1 and truth.ndim == image.ndim and truth.data.any() else empty
    except MedframeError:
        return empty


def _spread(page: Page, checkup: Checkup) -> None:
    placed = [one for one in checkup.looks if one.space is not None]
    if not placed:
        return
    page.heading("How the cases spread")
    odd = {field: {f.case for f in checkup.findings if f.field == field and f.severity != "note"} for field in _FIELDS}
    rank = max(one.space.ndim for one in placed if one.space is not None)
    alike = [one for one in placed if one.space is not None and one.space.ndim == rank]
    sides = ("left-right", "back-front", "foot-head")[:rank]

    def chart(values: dict[str, list[float]], field: str, cases: list[Look], xlabel: str, caption: str) -> None:
        marks = [k for k, one in enumerate(cases) if one.case in odd[field]]
        text = caption + (" Red: the cases with a finding." if marks else "")
        page.images((to_svg(bars(values, xlabel=xlabel, marked=marks)), text))

    chart(
        {side: [float(one.spacing[k]) for one in alike] for k, side in enumerate(sides)},
        "spacing",
        alike,
        "mm between voxels",
        "Spacing along the patient's axes.",
    )
    chart(
        {side: [float(one.extent[k]) for one in alike] for k, side in enumerate(sides)},
        "size",
        alike,
        "mm from edge to edge",
        "Size along the patient's axes.",
    )
    bright = [one for one in placed if one.intensities]
    if bright:
        least = min(len(one.intensities) for one in bright)
        for c in range(least):
            chart(
                {
                    "1st percentile": [one.intensities[c].low for one in bright],
                    "median": [one.intensities[c].middle for one in bright],
                    "99th percentile": [one.intensities[c].high for one in bright],
                },
                "intensities",
                bright,
                "intensity",
                "Intensities" + (f" of channel {c}." if least > 1 else "."),
            )


_FIELDS = ("spacing", "size", "intensities")


def _row(one: Look, findings: Iterable[Finding]) -> tuple[object, ...]:
    mine = [f for f in findings if f.case == one.case]
    told = ", ".join(sorted({f"{f.severity} {f.field}" for f in mine}))
    if one.space is None:
        return one.case, "-", "-", "-", "-", told
    spacing = " x ".join(f"{s:.4g}" for s in one.space.spacing)
    return one.case, " x ".join(map(str, one.space.shape)), spacing, one.axcodes, one.channels, told
