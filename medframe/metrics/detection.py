"""Candidates against lesions: average precision of boxes, and FROC."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medframe.base.errors import BadArgument, BadDataset, BadGeometry

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_RECALLS = np.arange(101) / 100


@dataclass(frozen=True, eq=False)
class Candidates:
    """What was found in one case against what is there, of one class.

    Args:
        case: the case's id.
        scores: (N,) of the candidates, higher for surer.
        overlap: (N, M) of each candidate with each lesion, 0 to 1: intersection over union of boxes, or 1 for a hit.
        label: the class number.

    Raises:
        BadArgument: the shapes do not fit, or a value is out of its domain.
    """

    case: str
    scores: NDArray[np.float64]
    overlap: NDArray[np.float64]
    label: int = 1

    def __post_init__(self) -> None:
        scores, overlap = np.asarray(self.scores, np.float64), np.asarray(self.overlap, np.float64)
        if scores.ndim != 1 or overlap.ndim != 2 or len(scores) != len(overlap):
            found = f"{scores.shape} and {overlap.shape}"
            raise BadArgument("not candidates", where=self.case, found=found, due="scores (N,), overlap (N, M)")
        if not np.isfinite(scores).all() or not ((overlap >= 0) & (overlap <= 1)).all():
            raise BadArgument("not candidates", where=self.case, found="values out of range", due="overlap from 0 to 1")
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "overlap", overlap)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Candidates)
            and (self.case, self.label) == (other.case, other.label)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.overlap, other.overlap)
        )

    def __hash__(self) -> int:
        return hash((self.case, self.label, self.scores.tobytes(), self.overlap.tobytes()))


@dataclass(frozen=True, init=False)
class Detections:
    """The candidates of many cases, ordered by case id and label, whatever order they came in.

    A case without lesions belongs here, too: its false alarms count. One given twice must say the same both times.

    Args:
        entries: one for each case and class.

    Raises:
        BadDataset: two entries of one case and class differ.
    """

    entries: tuple[Candidates, ...]

    def __init__(self, entries: Iterable[Candidates] = ()) -> None:
        kept: dict[tuple[str, int], Candidates] = {}
        for entry in entries:
            if kept.setdefault((entry.case, entry.label), entry) != entry:
                where, due = f"{entry.case}, label {entry.label}", "one result for each case and class"
                raise BadDataset("two results of one case and class differ", where=where, due=due)
        object.__setattr__(self, "entries", tuple(kept[key] for key in sorted(kept)))

    def __iter__(self) -> Iterator[Candidates]:
        return iter(self.entries)

    @property
    def labels(self) -> tuple[int, ...]:
        """The class numbers, rising."""
        return tuple(sorted({entry.label for entry in self}))

    def of(self, label: int) -> list[Candidates]:
        """The entries of one class, by case id."""
        return [entry for entry in self if entry.label == label]

    def merge(self, *others: Detections) -> Detections:
        """The union with others, for instance those of other ranks; raises as the constructor does."""
        return Detections(entry for detections in (self, *others) for entry in detections)


def box_iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """The intersection over union of every two boxes.

    Args:
        a: (N, 2 d): the lower corner, then the upper one, in mm or in voxels (upper ends not included).
        b: (M, 2 d).

    Returns:
        (N, M); 0 where both boxes are empty.

    Raises:
        BadGeometry: the shapes do not fit, or an upper corner lies below its lower one.
    """
    boxes = [np.asarray(x, np.float64) for x in (a, b)]
    wide = max(x.shape[-1] if x.ndim == 2 else 0 for x in boxes)
    boxes = [x.reshape(0, wide) if x.size == 0 else x for x in boxes]
    if any(x.ndim != 2 or x.shape[1] != wide or wide % 2 for x in boxes):
        raise BadGeometry("not two lists of boxes", found=[x.shape for x in boxes], due="(N, 2 d) and (M, 2 d)")
    d = wide // 2
    if any((x[:, :d] > x[:, d:]).any() for x in boxes):
        raise BadGeometry("a box ends before it starts", found="upper < lower", due="lower corner, then upper corner")
    one, other = boxes[0][:, None], boxes[1][None]
    shared = (np.minimum(one[..., d:], other[..., d:]) - np.maximum(one[..., :d], other[..., :d])).clip(min=0).prod(-1)
    sizes = [(x[:, d:] - x[:, :d]).prod(axis=1) for x in boxes]
    union = sizes[0][:, None] + sizes[1][None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def point_hits(points: ArrayLike, centres: ArrayLike, radii: ArrayLike) -> NDArray[np.float64]:
    """1 where a point lies within a lesion's radius of its centre and no other lesion's centre is nearer, else 0.

    Args:
        points: (N, d) mm.
        centres: (M, d) mm.
        radii: (M,) mm.

    Returns:
        (N, M), with at most one hit a point.

    Raises:
        BadGeometry: the shapes do not fit.
    """
    p, c, r = (np.asarray(x, np.float64) for x in (points, centres, radii))
    p, c = (x.reshape(0, max(p.shape[-1:] + c.shape[-1:])) if x.size == 0 else x for x in (p, c))
    if p.ndim != 2 or c.ndim != 2 or p.shape[1] != c.shape[1] or r.shape != c.shape[:1]:
        found = f"{p.shape}, {c.shape} and {r.shape}"
        raise BadGeometry("points and lesions do not fit", found=found, due="(N, d), (M, d) and (M,)")
    away = np.linalg.norm(p[:, None] - c[None], axis=-1)
    within = np.where(away <= r, away, np.inf)
    hits = np.zeros_like(away)
    if away.size:
        nearest = within.argmin(axis=1)
        hits[np.arange(len(p)), nearest] = np.isfinite(within.min(axis=1))
    return np.asarray(hits)


def region_hits(points: ArrayLike, lesions: NDArray[np.integer]) -> NDArray[np.float64]:
    """1 where a point lies in a lesion of an instance map, else 0.

    Args:
        points: (N, d) voxel indices.
        lesions: (*spatial) numbered 1, ..., M, with 0 outside.

    Returns:
        (N, M).

    Raises:
        BadGeometry: a point lies outside the map.
    """
    at = np.asarray(points).reshape(-1, lesions.ndim).astype(np.intp)
    if (at < 0).any() or (at >= lesions.shape).any():
        raise BadGeometry("a point lies outside the map", found="an index out of range", due=f"within {lesions.shape}")
    return np.asarray(lesions[tuple(at.T)][:, None] == np.arange(1, int(lesions.max(initial=0)) + 1), np.float64)


def box_average_precision(detections: Detections, label: int, threshold: float = 0.5, *, most: int = 100) -> float:
    """The average precision of one class as the COCO benchmark defines it.

    Within a case candidates are taken by falling score, at most `most`, and each is given the free lesion it overlaps
    most, if by the threshold or more; one that gets none is a false alarm. Over all cases together, precision is made
    falling with recall and averaged at 101 recalls from 0 to 1.
    Tsung-Yi Lin et al., "Microsoft COCO: common objects in context", 2014, arXiv:1405.0312; its evaluation code.

    Args:
        detections: of all cases.
        label: the class.
        threshold: of the overlap, above 0 and up to 1.
        most: candidates of a case that count.

    Returns:
        0 to 1; NaN where no case has a lesion.

    Raises:
        BadArgument: the threshold is out of its domain.
    """
    _check_threshold(threshold)
    scores, found, lesions = [], [], 0
    for entry in detections.of(label):
        order = np.argsort(-entry.scores, kind="stable")[:most]
        free = np.ones(entry.overlap.shape[1], bool)
        lesions += len(free)
        for k in order:
            fitting = np.where(free & (entry.overlap[k] >= threshold), entry.overlap[k], -1.0)
            hit = bool((fitting >= 0).any())
            if hit:
                free[fitting.argmax()] = False
            found.append(hit)
        scores.append(entry.scores[order])
    if not lesions:
        return math.nan
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.cumsum(np.array(found, bool)[order])
    recall, precision = hits / lesions, hits / np.arange(1, len(hits) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(falling, 0.0)[np.minimum(at, len(falling))].mean())


def mean_average_precision(
    detections: Detections, thresholds: Sequence[float] = COCO_THRESHOLDS, *, most: int = 100
) -> float:
    """The mean of `box_average_precision` over thresholds and classes that have a lesion; NaN where none has.

    The thresholds belong beside every number reported: COCO's 0.5 to 0.95 are for photographs, and 0.1 to 0.5 is usual
    for small lesions in 3-D.
    """
    values = [box_average_precision(detections, label, t, most=most) for label in detections.labels for t in thresholds]
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


@dataclass(frozen=True, eq=False)
class FrocCurve:
    """Sensitivity against false alarms at every threshold, from the highest down; it starts at (0, 0).

    Args:
        false_positives: false alarms a case.
        sensitivity: share of all lesions that were found; NaN where there is none.
        thresholds: one for each distinct score, after an infinite one.
    """

    false_positives: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    def at(self, rates: Sequence[float] = FROC_RATES) -> NDArray[np.float64]:
        """The sensitivity at rates of false alarms a case, interpolated linearly; beyond the curve's end its last."""
        return np.asarray(np.interp(rates, self.false_positives, self.sensitivity))

    def score(self, rates: Sequence[float] = FROC_RATES) -> float:
        """The competition performance metric: the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false alarms a case.

        Meindert Niemeijer et al., "On combining computer-aided detection systems", 2011, doi:10.1109/TMI.2010.2072789.
        """
        return float(self.at(rates).mean())


def froc(detections: Detections, label: int = 1, threshold: float = 0.5) -> FrocCurve:
    """The free-response ROC curve of one class over all cases.

    A candidate finds the lesion it overlaps most, if by the threshold or more; further candidates on a lesion that is
    found already are neither hits nor false alarms. A lesion is found from the highest score among its candidates down.
    Arnaud Setio et al., "Validation, comparison, and combination of algorithms for automatic detection of pulmonary
    nodules in computed tomography images: the LUNA16 challenge", 2017, doi:10.1016/j.media.2017.06.015.

    Args:
        detections: of all cases.
        label: the class.
        threshold: of the overlap, above 0 and up to 1; hits of points are 1.

    Raises:
        BadArgument: the threshold is out of its domain, or no case has been looked at.
    """
    _check_threshold(threshold)
    entries = detections.of(label)
    if not entries:
        raise BadArgument(
            "no case to judge", where="detections", found=f"no entry of label {label}", due="at least one"
        )
    alarms: list[float] = []
    hits: list[float] = []
    for entry in entries:
        if entry.overlap.shape[1] == 0:
            alarms += entry.scores.tolist()
            continue
        best, lesion = entry.overlap.max(axis=1), entry.overlap.argmax(axis=1)
        good = best >= threshold
        alarms += entry.scores[~good].tolist()
        hits += [float(entry.scores[good & (lesion == k)].max()) for k in np.unique(lesion[good])]
    lesions = sum(entry.overlap.shape[1] for entry in entries)
    thresholds = np.unique([*alarms, *hits])[::-1]
    false, true = (_at_least(np.array(values), thresholds) for values in (alarms, hits))
    share = true / lesions if lesions else np.full(len(thresholds), math.nan)
    start = 0.0 if lesions else math.nan
    return FrocCurve(np.append(0.0, false / len(entries)), np.append(start, share), np.append(math.inf, thresholds))


def _at_least(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(len(values) - np.searchsorted(np.sort(values), thresholds, side="left"))


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise BadArgument("not a threshold", where="threshold", found=threshold, due="above 0, at most 1")
