"""The entry points: two label maps in, one row for each class or one for the whole case out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.kernels import label_boxes
from medframe.metrics.areas import area_distances
from medframe.metrics.edges import surface_distances
from medframe.metrics.empty import EmptyPolicy
from medframe.metrics.labels import (
    Classes,
    LabelArray,
    checked_spacing,
    class_map,
    class_names,
    count_pairs,
    countable,
    label_arrays,
    label_shape,
)
from medframe.metrics.metric import CaseMetric, ClassPair, Metric, Needs, value_of
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

    Counts of all classes come from one joint histogram (of tensors on a GPU: there), and all surface metrics of a class
    that share a definition of the surface from one distance field each way, made on the box around both masks and only
    where a metric needs it.

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
    needs = {metric.needs for metric in metrics}
    pairs = class_pairs(prediction, reference, spacing, classes, needs=needs)
    shape = label_shape(prediction, reference)
    return [
        Row(case, label, name, columns, tuple(value_of(metric, pair, empty, shape) for metric in metrics))
        for (label, name), pair in zip(names.items(), pairs, strict=True)
    ]


def score_whole(
    prediction: LabelArray,
    reference: LabelArray,
    spacing: Sequence[float],
    classes: Classes,
    metrics: Sequence[CaseMetric],
    *,
    case: str,
    empty: EmptyPolicy | None = None,
) -> Row:
    """Score a case by metrics that take all its classes together, such as the generalised Dice.

    Args:
        prediction: as for `score_case`.
        reference: as for `score_case`.
        spacing: as for `score_case`.
        classes: the labels that count; declare 0 to count background.
        metrics: what to measure, one column each.
        case: the case's id.
        empty: what a case without any voxel of the classes is worth; `EmptyPolicy()` unless given.

    Returns:
        The row of the whole case, for a table of such rows.

    Raises:
        BadLabel: as for `score_case`.
        BadGeometry: as for `score_case`.
        BadArgument: as for `score_case`.

    Example:
        >>> truth, found = np.array([[1, 1, 2, 2]]), np.array([[1, 1, 2, 0]])
        >>> from medframe.metrics import GeneralizedDice
        >>> round(score_whole(found, truth, (1, 1), [1, 2], [GeneralizedDice()], case="a")["generalized_dice"], 4)
        0.8571
    """
    columns = _columns(metrics)
    pairs = class_pairs(prediction, reference, spacing, classes)
    policy = EmptyPolicy() if empty is None else empty
    return Row.of_case(case, dict(zip(columns, (metric.value(pairs, policy) for metric in metrics), strict=True)))


def class_pairs(
    prediction: LabelArray,
    reference: LabelArray,
    spacing: Sequence[float],
    classes: Classes,
    *,
    needs: Collection[Needs] = (),
) -> list[ClassPair]:
    """What metrics see of each class, by rising label number; raises as `score_case` does."""
    names = class_names(classes)
    shape = label_shape(prediction, reference)
    sizes = checked_spacing(spacing, len(shape))
    counts = count_pairs(prediction, reference, names)
    measures = {"edges": surface_distances, "areas": area_distances}
    wanted = {need: measure for need, measure in measures.items() if need in needs}
    a, b, boxes = _mapped(prediction, reference, names) if wanted else (None, None, [])
    pairs = []
    for number in range(1, len(names) + 1):
        n_a, n_b = int(counts[:, number].sum()), int(counts[number].sum())
        found = {}
        if a is not None and b is not None and n_a and n_b:
            masks = np.equal(a[boxes[number - 1]], number), np.equal(b[boxes[number - 1]], number)
            found = {need: measure(*masks, sizes) for need, measure in wanted.items()}
        pairs.append(ClassPair(n_a, n_b, int(counts[number, number]), math.prod(shape), sizes, **found))
    return pairs


def _columns(metrics: Sequence[Metric] | Sequence[CaseMetric]) -> tuple[str, ...]:
    names = tuple(metric.name for metric in metrics)
    if not names or len(set(names)) < len(names):
        raise BadArgument("columns must differ", where="metrics", found=names, due="one or more metrics, each once")
    return names


def _mapped(
    prediction: LabelArray, reference: LabelArray, names: Mapping[int, str]
) -> tuple[NDArray[Any], NDArray[Any], list[tuple[slice, ...]]]:
    """Both class maps, and the box around each class in both."""
    predicted, truth = label_arrays(prediction, reference)
    a, b = (
        countable(class_map(labels, names, where))
        for labels, where in ((predicted, "prediction"), (truth, "reference"))
    )
    return a, b, _boxes(a, b, len(names))


def _boxes(a: NDArray[Any], b: NDArray[Any], classes: int) -> list[tuple[slice, ...]]:
    """The box around each class in both maps; that of a class absent in either is never used."""
    one, other = (label_boxes(torch.from_numpy(m), classes).numpy() for m in (a, b))
    lower, upper = np.minimum(one[:, 0], other[:, 0]), np.maximum(one[:, 1], other[:, 1])
    return [tuple(slice(*ends) for ends in zip(*box, strict=True)) for box in zip(lower, upper, strict=True)]
