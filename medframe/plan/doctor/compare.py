"""Cases are compared with each other: what lies far from the rest, what occurs twice, what crosses a split.

One rule for all outliers: a case is far from the rest where it lies farther from the median than six robust standard
deviations (1.4826 times the median absolute deviation) and also farther than a floor that is named beside each use.
The first half adapts to datasets that vary by nature; the floor keeps uniform ones from being picked apart. Iglewicz
and Hoaglin (How to Detect and Handle Outliers, ASQC Quality Press 1993) advise 3.5 for values that are nearly normal;
six allows for the long tails of clinical data.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from medframe.plan.doctor.findings import Finding, Severity
from medframe.plan.doctor.look import Look

_DEVIATIONS = 6.0
_FEWEST = 5  # cases below which there is no "rest" to be far from
_SPACING, _EXTENT = 1.5, 2.5  # factors from the median
_RANGE = 8.0  # factor from the median range of intensities
_ZERO = 0.25  # of the range: how far the darkest tissue may move from where it is in the rest
_TILT = 20.0  # degrees
_UNIFORM = 0.9  # share of cases that makes a habit
_TOP, _TOP_USUAL = 0.01, 0.001  # share of voxels at the highest value: cut off, and usual


def far(values: Sequence[float], floor: float) -> list[bool]:
    """Which values lie far from the median: see the rule above.

    Args:
        values: one a case.
        floor: distance that is never far.
    """
    known = np.asarray(values, float)
    if len(known) < _FEWEST:
        return [False] * len(known)
    middle = np.median(known)
    off = np.abs(known - middle)
    limit = max(_DEVIATIONS * 1.4826 * float(np.median(off)), floor)
    return [bool(x > limit) for x in off]


def compare(looks: Sequence[Look], classes: Mapping[int, str], channels: Sequence[str]) -> list[Finding]:
    """All findings that need more than one case.

    Args:
        looks: one a case, in the dataset's order.
        classes: the declared classes.
        channels: the declared channels.
    """
    placed = [one for one in looks if one.space is not None]
    return [
        *_alike(placed, channels, trained=bool(channels) or any(one.record.label for one in looks)),
        *_habits(_lattices(placed), len(placed)),
        *_habits(_orientations(placed), len(placed)),
        *_values(looks, classes),
        *_habits(_intensities(placed), len(placed)),
        *_doubles(looks),
        *_splits(looks),
        *_names(looks),
    ]


def _finding(severity: Severity, field: str, what: str, one: Look, **parts: str) -> Finding:
    return Finding(severity, field, what, one.case, one.images[0], **parts)


def _habits(findings: Sequence[Finding], cases: int) -> list[Finding]:
    """Outliers as they are; where more than a tenth of the cases are far from the rest in one way, one note instead.

    So many are no accident but a second scanner, protocol or export in the dataset.
    """
    kinds: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.field, finding.what].append(finding)
    out = []
    for (field, what), group in kinds.items():
        if cases < _FEWEST or len(group) <= max(1, (1 - _UNIFORM) * cases):
            out += group
            continue
        names = ", ".join(f.case for f in group[:3])
        out.append(
            Finding(
                "note",
                field,
                f"the dataset is of more than one kind: {what}",
                found=f"{len(group)} of {cases} cases ({names}, ...); the first: {group[0].found}",
                due=group[0].due,
                mend="Expected of data from several scanners; keep the kinds in even shares over the splits.",
            )
        )
    return out


def _alike(looks: Sequence[Look], channels: Sequence[str], trained: bool) -> list[Finding]:
    if not looks:
        return []
    out = []
    usual = len(channels) or Counter(one.channels for one in looks).most_common(1)[0][0]
    rank = Counter(one.space.ndim for one in looks if one.space is not None).most_common(1)[0][0]
    for one in looks:
        assert one.space is not None
        if one.channels != usual:
            named = f"{usual}: {', '.join(channels)}" if channels else f"{usual}, as in most cases"
            out.append(
                _finding(
                    "error" if trained else "warning",
                    "channels",
                    "the image has another number of channels",
                    one,
                    found=str(one.channels),
                    due=named,
                    mend="Bring all cases to the same channels in the same order.",
                )
            )
        if one.space.ndim != rank:
            out.append(
                _finding(
                    "error" if trained else "warning",
                    "size",
                    "the image has another number of axes",
                    one,
                    found=f"{one.space.ndim} spatial axes",
                    due=f"{rank}, as in most cases",
                    mend="Keep 2-D and 3-D images in datasets of their own.",
                )
            )
    return out


def _lattices(looks: Sequence[Look]) -> list[Finding]:
    out = []
    by_rank: dict[int, list[Look]] = defaultdict(list)
    for one in looks:
        if one.space is not None:
            by_rank[one.space.ndim].append(one)
    kinds: list[tuple[str, Callable[[Look], np.ndarray[tuple[int, ...], np.dtype[np.float64]]], float]] = [
        ("spacing", lambda one: one.spacing, _SPACING),
        ("size", lambda one: one.extent, _EXTENT),
    ]
    for rank, group in by_rank.items():
        for field, value, factor in kinds:
            table = np.array([value(one) for one in group])
            usual = np.median(table, axis=0)
            bad = [
                any(row) for row in zip(*(far(c.tolist(), float(np.log(factor))) for c in np.log(table.T)), strict=True)
            ]
            for one, row, odd in zip(group, table, bad, strict=True):
                if odd:
                    unit = "mm between voxels" if field == "spacing" else "mm from edge to edge"
                    out.append(
                        _finding(
                            "warning",
                            field,
                            f"the {field} is far from the rest",
                            one,
                            found=f"{_by(row)} {unit} ({_axes(rank)})",
                            due=f"about {_by(usual)}, the median of {len(group)} cases",
                            mend="Compare the header with its source; a wrong unit or a swapped axis looks like this.",
                            error="BadGeometry",
                        )
                    )
    return out


def _by(row: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " x ".join(f"{v:.4g}" for v in row)


def _axes(rank: int) -> str:
    return " x ".join(("left-right", "back-front", "foot-head")[:rank])


def _orientations(looks: Sequence[Look]) -> list[Finding]:
    out = []
    if len(looks) < _FEWEST:
        return []
    usual, count = Counter(one.axcodes for one in looks).most_common(1)[0]
    tilted = far([one.tilt for one in looks], _TILT)
    for one, odd in zip(looks, tilted, strict=True):
        if one.axcodes != usual and count >= _UNIFORM * len(looks):
            out.append(
                _finding(
                    "warning",
                    "orientation",
                    "the axes point elsewhere than in the rest",
                    one,
                    found=one.axcodes,
                    due=f"{usual}, as in {count} of {len(looks)} cases",
                    mend="Fine if the header is right: medframe follows it. Look whether left and right are.",
                    error="BadGeometry",
                )
            )
        if odd:
            middle = float(np.median([o.tilt for o in looks]))
            out.append(
                _finding(
                    "warning",
                    "orientation",
                    "the lattice is tilted unlike the rest",
                    one,
                    found=f"{one.tilt:.3g} degrees from the world's axes",
                    due=f"about {middle:.3g}",
                    mend="Look at the picture; a damaged header looks like this.",
                    error="BadGeometry",
                )
            )
    return out


def _values(looks: Sequence[Look], classes: Mapping[int, str]) -> list[Finding]:
    known = [one for one in looks if one.counts is not None]
    out = []
    labelled = [one for one in looks if one.record.label is not None]
    if labelled:
        out = [
            _finding(
                "error",
                "label file",
                "the case has no label",
                one,
                found="no label file",
                due="one label map a case, as the others have",
                mend="Add the label, or take the case off the list.",
            )
            for one in looks
            if one.record.label is None and one.record.split not in ("test", "testing")
        ]
    if not known:
        return out
    holders = {v: [one for one in known if v in (one.counts or {})] for v in sorted({*classes} - {0})}
    if not classes:
        seen = sorted({v for one in known for v in one.counts or {} if v > 0})
        holders = {v: [one for one in known if v in (one.counts or {})] for v in seen}
    for value, having in holders.items():
        name = f"{value} ({classes[value]})" if value in classes else str(value)
        if not having:
            out.append(
                Finding(
                    "warning",
                    "label values",
                    "a declared class occurs in no case",
                    found=f"no voxel of class {name} in {len(known)} label maps",
                    due="at least one case with it",
                    mend="Take it off the list of labels, or look whether the maps use another number.",
                )
            )
        elif _UNIFORM * len(known) <= len(having) < len(known) and len(known) >= _FEWEST:
            lacking = [one for one in known if one not in having and set(one.counts or {}) - {0}]
            out += [
                Finding(
                    "warning",
                    "label values",
                    "a class that nearly all cases have is missing",
                    one.case,
                    one.label,
                    found=f"no voxel of class {name}",
                    due=f"some, as in {len(having)} of {len(known)} cases",
                    mend="Right if the structure is absent in this patient; else complete the label map.",
                )
                for one in lacking
            ]
    return out


def _intensities(looks: Sequence[Look]) -> list[Finding]:
    known = [one for one in looks if one.intensities and all(c.highest > c.lowest for c in one.intensities)]
    count = Counter(len(one.intensities) for one in known).most_common(1)
    known = [one for one in known if len(one.intensities) == count[0][0]] if count else []
    out = []
    for k in range(count[0][0] if count else 0):
        parts = [one.intensities[k] for one in known]
        widths = [max(c.high - c.low, 1e-6 * (c.highest - c.lowest)) for c in parts]
        zeros = [c.low / w for c, w in zip(parts, widths, strict=True)]
        odd_width = far([float(np.log(w)) for w in widths], float(np.log(_RANGE)))
        odd_zero = far(zeros, _ZERO)
        low, high = (float(np.median([getattr(c, end) for c in parts])) for end in ("low", "high"))
        channel = f" of channel {k}" if count[0][0] > 1 else ""
        for one, c, a, b in zip(known, parts, odd_width, odd_zero, strict=True):
            if a or b:
                out.append(
                    _finding(
                        "warning",
                        "intensities",
                        f"the intensities{channel} are unlike the rest",
                        one,
                        found=f"1st to 99th percentile {c.low:.4g} to {c.high:.4g}",
                        due=f"about {low:.4g} to {high:.4g}, the medians of {len(known)} cases",
                        mend="Another modality, another unit or a lost rescale slope looks like this.",
                        error="BadVoxels",
                    )
                )
        usual = float(np.median([c.at_top for c in parts]))
        for one, c in zip(known, parts, strict=True):
            # two values only are a mask: half of its voxels have the highest
            cut = c.at_top > max(_TOP, 10 * usual) and c.high == c.highest and c.middle < c.highest
            if cut and usual < _TOP_USUAL and len(known) >= _FEWEST:
                out.append(
                    _finding(
                        "warning",
                        "intensities",
                        f"the intensities{channel} are cut off at the top",
                        one,
                        found=f"{100 * c.at_top:.3g} % of the voxels have the highest value, {c.highest:.6g}",
                        due=f"about {100 * usual:.2g} %, as in the rest",
                        mend="Export the image again without a window or a narrower integer type.",
                        error="BadVoxels",
                    )
                )
    return out


def _doubles(looks: Sequence[Look]) -> list[Finding]:
    out = []
    for what, mark in (("image", "mark"), ("label", "label_mark")):
        groups: dict[str, list[Look]] = defaultdict(list)
        for one in looks:
            if getattr(one, mark):
                groups[getattr(one, mark)].append(one)
        for group in groups.values():
            if len(group) < 2:
                continue
            first = group[0]
            parts = {(one.record.split or "").strip().lower() for one in group}
            for one in group[1:]:
                whole = one.whole
                leak = whole and what == "image" and len(parts) > 1
                severity: Severity = "error" if leak else "warning" if whole else "note"
                same = "the same voxels as" if whole else "the same size and first bytes as"
                name = one.images[0] if what == "image" else one.label
                out.append(
                    Finding(
                        severity,
                        "duplicate",
                        f"the {what} occurs twice" if whole else f"the {what} may occur twice",
                        one.case,
                        name,
                        found=f"{same} {first.images[0] if what == 'image' else first.label}"
                        + (f", in the parts {', '.join(sorted(parts))} of the split" if leak else ""),
                        due="each scan once",
                        mend="Remove one, or give both one group, so that no split tears them apart."
                        if whole
                        else "Look with --voxels, which compares every voxel.",
                    )
                )
    return out


def _splits(looks: Sequence[Look]) -> list[Finding]:
    first: dict[str, tuple[str, str]] = {}
    out = []
    for one in looks:
        if one.record.split is None:
            continue
        part, group = one.record.split.strip().lower(), one.record.group
        other, case = first.setdefault(group, (part, one.case))
        if part != other:
            out.append(
                _finding(
                    "error",
                    "split",
                    "a group lies in more than one part of the split",
                    one,
                    found=f"group {group} in {part!r}, its case {case} in {other!r}",
                    due="all cases of a group in one part",
                    mend="What was learnt from a patient must not be judged on the same patient: move them together.",
                )
            )
    return out


def _names(looks: Sequence[Look]) -> list[Finding]:
    seen: dict[str, Look] = {}
    out = []
    for one in looks:
        first = seen.setdefault(one.case.casefold(), one)
        if first is not one:
            exact = first.case == one.case
            out.append(
                _finding(
                    "error" if exact else "warning",
                    "case name",
                    "two cases have one name" if exact else "two case names differ in capitals alone",
                    one,
                    found=f"{first.case} ({PurePosixPath(first.images[0]).name}) and {one.case}",
                    due="names that stay apart on every file system",
                    mend="Give the cases ids of their own.",
                )
            )
    return out
