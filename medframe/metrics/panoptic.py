"""Instances matched one to one: panoptic quality and its two factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.base.extras import need
from medframe.kernels import components
from medframe.metrics.empty import EmptyPolicy
from medframe.metrics.labels import Classes, LabelArray, class_map, class_names, label_arrays
from medframe.metrics.table import Row, Table

_COUNTS = ("matched", "missed", "spurious", "iou_sum")
INSTANCE_COLUMNS = ("pq", "sq", "rq", *_COUNTS)


@dataclass(frozen=True)
class InstanceCounts:
    """What panoptic quality is made of; counts of several cases or ranks are merged by adding.

    Args:
        matched: pairs of a predicted and a true instance.
        missed: true instances without a partner.
        spurious: predicted instances without a partner.
        iou_sum: the intersections over unions of the pairs, added up.
    """

    matched: int = 0
    missed: int = 0
    spurious: int = 0
    iou_sum: float = 0.0

    def merge(self, *others: InstanceCounts) -> InstanceCounts:
        """The counts of all of them together."""
        every = (self, *others)
        return InstanceCounts(
            sum(c.matched for c in every),
            sum(c.missed for c in every),
            sum(c.spurious for c in every),
            math.fsum(c.iou_sum for c in every),
        )

    @property
    def segmentation_quality(self) -> float:
        """The mean intersection over union of the pairs; NaN without a pair."""
        return self.iou_sum / self.matched if self.matched else math.nan

    def recognition_quality(self, empty: EmptyPolicy | None = None) -> float:
        """Pairs over the mean number of instances, the F1 score of detection; `empty` decides where there is none."""
        instances = self.matched + (self.missed + self.spurious) / 2
        return self.matched / instances if instances else (empty or EmptyPolicy()).absent_in_both(1.0)

    def panoptic_quality(self, empty: EmptyPolicy | None = None) -> float:
        """The product of both; 0 without a pair, and `empty` decides where there is no instance at all."""
        instances = self.matched + (self.missed + self.spurious) / 2
        return self.iou_sum / instances if instances else (empty or EmptyPolicy()).absent_in_both(1.0)


def match_instances(prediction: LabelArray, reference: LabelArray, *, threshold: float = 0.5) -> InstanceCounts:
    """Pair the instances of two maps by their intersection over union (IoU).

    A pair has an IoU above the threshold. From 0.5 on no instance can have two partners; below, the pairing with the
    largest sum of IoU is taken among the pairs above the threshold.
    A. Kirillov, K. He, R. Girshick, C. Rother, P. Dollár, "Panoptic segmentation", 2019, arXiv:1801.00868.

    Args:
        prediction: a number for each instance and 0 outside, (*spatial).
        reference: of the same shape, numbered on its own.
        threshold: from 0 up to and without 1.

    Raises:
        BadLabel: the maps hold no integers.
        BadGeometry: the shapes differ.
        BadArgument: the threshold is out of its domain.

    Example:
        >>> counts = match_instances(np.array([[1, 1, 0, 2]]), np.array([[5, 5, 5, 0]]))
        >>> counts.matched, counts.missed, counts.spurious, round(counts.panoptic_quality(), 4)
        (1, 0, 1, 0.4444)
    """
    if not 0 <= threshold < 1:
        raise BadArgument("not a threshold", where="threshold", found=threshold, due="0 or more and below 1")
    found, truth = label_arrays(prediction, reference)
    return _matched(found, truth, threshold)


def score_instances(
    prediction: LabelArray,
    reference: LabelArray,
    classes: Classes,
    *,
    case: str,
    threshold: float = 0.5,
    connectivity: int | None = None,
    empty: EmptyPolicy | None = None,
) -> list[Row]:
    """Score the connected components of every class of one case as instances.

    Args:
        prediction: integer labels, (*spatial).
        reference: integer labels of the same shape.
        classes: the labels to score; 0 is never one.
        case: the case's id.
        threshold: see `match_instances`.
        connectivity: see `medframe.kernels.components`; None joins across corners.
        empty: values where a class has no instance in both; `EmptyPolicy()` unless given.

    Returns:
        One row for each class: pq, sq and rq of the case, and the counts they are made of, see `pooled_instances`.

    Raises:
        BadLabel: the labels are not integers, or a value is not declared.
        BadGeometry: the shapes differ.
        BadArgument: the classes, the threshold or the connectivity are invalid.
    """
    names = class_names(classes)
    if 0 in names:
        raise BadArgument("background has no instances", where="classes", found=0, due="labels other than 0")
    found, truth = label_arrays(prediction, reference)
    a, b = class_map(found, names, "prediction"), class_map(truth, names, "reference")
    rows = []
    for number, (label, name) in enumerate(names.items(), start=1):
        one, other = (components(torch.from_numpy(m == number)[None], connectivity)[0].numpy() for m in (a, b))
        rows.append(instance_row(match_instances(one, other, threshold=threshold), case, label, name, empty=empty))
    return rows


def instance_row(counts: InstanceCounts, case: str, label: int, name: str, *, empty: EmptyPolicy | None = None) -> Row:
    """The counts of one class of one case as a row of a table."""
    qualities = counts.panoptic_quality(empty), counts.segmentation_quality, counts.recognition_quality(empty)
    values = (*qualities, counts.matched, counts.missed, counts.spurious, counts.iou_sum)
    return Row(case, label, name, INSTANCE_COLUMNS, values)


def pooled_instances(table: Table, label: int) -> InstanceCounts:
    """The counts of one class over all cases of a table: what the paper defines panoptic quality of a data set by.

    The mean of the column pq over cases differs: there, a case with one lesion weighs as much as one with fifty.

    Raises:
        BadArgument: the table was not made by `score_instances`.
    """
    matched, missed, spurious, iou_sum = (table.values(column, label) for column in _COUNTS)
    return InstanceCounts(int(matched.sum()), int(missed.sum()), int(spurious.sum()), math.fsum(iou_sum))


def _matched(found: NDArray[Any], truth: NDArray[Any], threshold: float) -> InstanceCounts:
    here, made = _numbered(found)
    there, due = _numbered(truth)
    overlap = np.zeros((len(due), len(made)))
    both = (here > 0) & (there > 0)
    meetings, counts = np.unique(np.stack([there[both], here[both]]), axis=1, return_counts=True)
    overlap[meetings[0] - 1, meetings[1] - 1] = counts
    iou = overlap / (due[:, None] + made[None, :] - overlap)
    iou[iou <= threshold] = 0
    if threshold >= 0.5:
        pairs = iou[iou > 0]
    else:
        at = need("scipy.optimize", "match instances").linear_sum_assignment(iou, maximize=True)
        pairs = iou[at][iou[at] > 0]
    return InstanceCounts(len(pairs), len(due) - len(pairs), len(made) - len(pairs), math.fsum(pairs))


def _numbered(instances: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Instances numbered 1, 2, ... with 0 outside, and their sizes."""
    values, inverse, counts = np.unique(instances, return_inverse=True, return_counts=True)
    inside = values != 0
    numbers = np.where(inside, np.cumsum(inside), 0)
    return numbers[inverse].reshape(instances.shape), counts[inside]
