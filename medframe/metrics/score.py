"""The one entry point: two label maps in, one row for each class out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.base.extras import need
from medframe.metrics.edges import SurfaceDistances, surface_distances
from medframe.metrics.empty import EmptyPolicy
from medframe.metrics.labels import (
    Classes,
    LabelArray,
    checked_spacing,
    class_map,
    class_names,
    count_pairs,
    label_arrays,
)
from medframe.metrics.metric import ClassPair, Metric
from medframe.metrics.overlap import Dice, IoU, Volume
from medframe.metrics.surface import AverageSurfaceDistance, Hausdorff, SurfaceDice
from medframe.metrics.table import Row

USUAL_METRICS: tuple[Metric, ...] = (
    Dice(),
    IoU(),
    Hausdorff(95),
    AverageSurfaceDistance(),
    SurfaceDice(1.0),
    Volume("prediction"),
    Volume("reference"),
)


def score_case(
    prediction: LabelArray,
    reference: LabelArray,
    spacing: Sequence[float],
    classes: Classes,
    metrics: Sequence[Metric] = USUAL_METRICS,
    *,
    case: str,
    empty: EmptyPolicy | None = None,
) -> list[Row]:
    """Score every class of one case.

    Counts of all classes come from one joint histogram, and all surface metrics of a class from one distance field each
    way, made on the box around both masks and only where a metric needs it.

    Args:
        prediction: integer labels, (*spatial) of one to three axes; bool counts as 0 and 1.
        reference: integer labels of the same shape.
        spacing: mm along each array axis.
        classes: the labels to score. 0 is background and may occur without being declared; declare it to score it.
        metrics: what to measure, one column each.
        case: the case's id, by which tables are merged.
        empty: values where a class is absent; `EmptyPolicy()` unless given.

    Returns:
        One row for each class, by rising label number.

    Raises:
        BadLabel: the labels are not integers, or a value is not declared.
        BadGeometry: the shapes differ, or are not those of one label map.
        BadArgument: the spacing, the classes or the metrics are invalid.

    Example:
        >>> truth = np.array([[1, 1, 0], [1, 1, 0]])
        >>> found = np.array([[0, 1, 1], [0, 1, 1]])
        >>> (row,) = score_case(found, truth, (1.0, 1.0), {1: "liver"}, (Dice(), Hausdorff()), case="a")
        >>> row["dice"], row["hd"]
        (0.5, 1.0)
    """
    empty = EmptyPolicy() if empty is None else empty
    columns = _columns(metrics)
    names = class_names(classes)
    predicted, truth = label_arrays(prediction, reference)
    sizes = checked_spacing(spacing, truth.ndim)
    a, b = class_map(predicted, names, "prediction"), class_map(truth, names, "reference")
    counts = count_pairs(a, b, classes=len(names))
    in_a, in_b = counts.sum(axis=0), counts.sum(axis=1)
    boxes = _boxes(a, b, len(names)) if any(metric.needs_surface for metric in metrics) else None

    rows = []
    for number, (label, name) in enumerate(names.items(), start=1):
        n_a, n_b = int(in_a[number]), int(in_b[number])
        surface = None if boxes is None or not (n_a and n_b) else _surface(a, b, number, boxes[number - 1], sizes)
        pair = ClassPair(n_a, n_b, int(counts[number, number]), sizes, surface)
        values = tuple(_value(metric, pair, empty, truth.shape) for metric in metrics)
        rows.append(Row(case, label, name, columns, values))
    return rows


def _value(metric: Metric, pair: ClassPair, empty: EmptyPolicy, shape: tuple[int, ...]) -> float:
    if metric.perfect is None or (pair.predicted and pair.reference):
        return metric.value(pair)
    if not pair.predicted and not pair.reference:
        return empty.absent_in_both(metric.perfect)
    return empty.absent_in_one(metric.perfect, shape, pair.spacing)


def _columns(metrics: Sequence[Metric]) -> tuple[str, ...]:
    names = tuple(metric.name for metric in metrics)
    if not names or len(set(names)) < len(names):
        raise BadArgument("columns must differ", where="metrics", found=names, due="one or more metrics, each once")
    return names


def _boxes(a: NDArray[Any], b: NDArray[Any], classes: int) -> list[tuple[slice, ...]]:
    """The box around each class in both maps; a class absent in either gets an empty box, which is never used."""
    find = need("scipy.ndimage", "measure surface distances").find_objects
    boxes: list[tuple[slice, ...]] = []
    for one, other in zip(find(a, classes), find(b, classes), strict=True):
        if one is None or other is None:
            boxes.append((slice(0),) * a.ndim)
        else:
            pairs = zip(one, other, strict=True)
            boxes.append(tuple(slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in pairs))
    return boxes


def _surface(
    a: NDArray[Any], b: NDArray[Any], number: int, box: tuple[slice, ...], spacing: tuple[float, ...]
) -> SurfaceDistances:
    return surface_distances(np.equal(a[box], number), np.equal(b[box], number), spacing)
