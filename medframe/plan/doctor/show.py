"""A check-up as text for the screen: counts first, then the findings by kind, worst first."""

from __future__ import annotations

from itertools import groupby

from medframe.plan.doctor.check import Checkup
from medframe.plan.doctor.findings import Finding

_CASES = 3  # shown a kind of finding; JSON and page have all


def told(checkup: Checkup, *, most: int = _CASES) -> str:
    """The check-up as text.

    Args:
        checkup: what was found.
        most: cases shown a kind of finding.
    """
    form = "headers and voxels" if checkup.voxels else "headers"
    counts = ", ".join(_number(n, severity) for severity, n in checkup.counts.items())
    lines = [f"{checkup.name}: {_number(len(checkup.looks), 'case')} looked at ({form})", counts]
    for (severity, field, what), group in groupby(checkup.findings, key=lambda f: (f.severity, f.field, f.what)):
        found = list(group)
        times = f" ({len(found)} times)" if len(found) > 1 else ""
        lines += ["", f"{severity.upper()} {field}: {what}{times}"]
        for finding in found[:most]:
            lines += [f"  {line}" for line in _lines(finding)]
        if len(found) > most:
            lines.append(f"  ... and {len(found) - most} more: {', '.join(f.case for f in found[most : most + 8])}")
        if found[0].mend:
            lines.append(f"  -> {found[0].mend}")
    return "\n".join(lines)


def _lines(finding: Finding) -> list[str]:
    place = finding.case or "the dataset"
    if finding.file and finding.file != finding.case:
        place += f" ({finding.file})" if finding.case else f", {finding.file}"
    lines = [place]
    if finding.found:
        lines.append(f"    found    {finding.found}")
    if finding.due:
        lines.append(f"    expected {finding.due}")
    return lines


def _number(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
