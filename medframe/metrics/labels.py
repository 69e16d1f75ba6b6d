"""Label maps as small class numbers, and the one histogram of two of them that all overlap counts come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadArgument, BadGeometry, BadLabel
from medframe.base.sizes import check_size
from medframe.kernels import joint_counts

Classes: TypeAlias = Mapping[int, str] | Sequence[int]
LabelArray: TypeAlias = NDArray[Any] | Tensor

_LONGEST_TABLE = 1 << 24  # label numbers spread wider than this are looked up by bisection
_SHOWN = 10
_SMALL = 255
_COUNTED = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def class_names(classes: Classes) -> dict[int, str]:
    """Label number -> name, by rising number; a bare number is its own name.

    Raises:
        BadArgument: no class, a number that is not an integer, a number given twice.
    """
    pairs = list(classes.items()) if isinstance(classes, Mapping) else [(label, "") for label in classes]
    due = "a mapping of label number to name, or a sequence of label numbers"
    names: dict[int, str] = {}
    for label, name in pairs:
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not -(1 << 63) <= label < 1 << 63:
            raise BadArgument("a class number is not a 64-bit integer", where="classes", found=repr(label), due=due)
        if int(label) in names:
            raise BadArgument("a class number is given twice", where="classes", found=int(label), due=due)
        names[int(label)] = str(name) or str(int(label))
    if not names:
        raise BadArgument("no class to score", where="classes", found="nothing", due=due)
    return dict(sorted(names.items()))


def label_shape(prediction: LabelArray, reference: LabelArray) -> tuple[int, ...]:
    """The shape of two label maps on one lattice.

    Raises:
        BadLabel: an array is not of an integer type; bool counts as 0 and 1.
        BadGeometry: the shapes differ, an axis is empty, or there are not one to three axes.
    """
    shapes = _integer_shape(prediction, "prediction"), _integer_shape(reference, "reference")
    if shapes[0] != shapes[1]:
        raise BadGeometry(
            "prediction and reference differ in shape",
            found=f"prediction {shapes[0]}, reference {shapes[1]}",
            due="two label maps on one lattice",
            mend="Bring the prediction back to the reference's lattice first.",
        )
    if not 1 <= len(shapes[0]) <= 3 or 0 in shapes[0]:
        raise BadGeometry(
            "not a label map",
            found=f"shape {shapes[0]}",
            due="one to three spatial axes of at least one voxel, no batch and no channel axis",
            mend="Score one case at a time, and take the channel axis off (arg-max of the channels, or [0]).",
        )
    return shapes[0]


def label_arrays(prediction: LabelArray, reference: LabelArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both label maps as NumPy integers on the host; raises as `label_shape` does."""
    label_shape(prediction, reference)
    return _on_host(prediction), _on_host(reference)


def class_map(labels: NDArray[Any], names: Mapping[int, str], where: str) -> NDArray[Any]:
    """Number the declared classes 1 to K in the order of `names`; voxels of undeclared background 0 become 0.

    Raises:
        BadLabel: a value is neither 0 nor declared.
    """
    declared = np.array(list(names), dtype=np.int64)
    lo, hi = min(0, int(declared.min())), max(0, int(declared.max()))
    if int(labels.min()) < lo or int(labels.max()) > hi:
        raise _undeclared(labels, names, where)
    if lo == 0 and hi == len(names) <= 255 and 0 not in names:
        return labels.astype(np.uint8, copy=False)  # they are their own numbers
    if labels.dtype == np.uint64:
        labels = labels.astype(np.int64)  # mixed signs would be compared in double precision; the range is checked
    unknown = len(names) + 1
    dtype = np.uint8 if unknown <= 255 else np.int32
    if hi - lo < _LONGEST_TABLE:
        # lo <= 0 <= hi, so negative labels count from the table's end, as NumPy indexing does, and meet no other label
        table = np.full(hi - lo + 1, unknown, dtype)
        table[0] = 0
        table[declared] = np.arange(1, unknown)
        mapped = np.take(table, labels.view(np.uint8) if labels.dtype == np.bool_ else labels)
    else:
        at = np.searchsorted(declared, labels)
        hit = declared[np.minimum(at, len(declared) - 1)] == labels
        mapped = np.where(hit, at + 1, np.where(labels == 0, 0, unknown)).astype(dtype)
    if int(mapped.max()) == unknown:
        raise _undeclared(labels, names, where)
    return mapped


def count_pairs(prediction: LabelArray, reference: LabelArray, names: Mapping[int, str]) -> NDArray[np.int64]:
    """Count voxels by (reference class, predicted class), as `joint_histogram` returns them.

    Small labels are counted as they are, on their device; others are numbered first, on the host.

    Raises:
        BadLabel: a value is neither 0 nor declared.
    """
    if isinstance(prediction, Tensor) and isinstance(reference, Tensor) and prediction.device == reference.device:
        given = [m.detach().view(torch.uint8) if m.dtype == torch.bool else m.detach() for m in (reference, prediction)]
    else:
        given = [torch.from_numpy(countable(_on_host(m))) for m in (reference, prediction)]
    counts = _count_small(given[0], given[1], names)
    if counts is not None:
        return counts
    n = len(names) + 1
    check_size((n, n), 8, where="joint histogram")
    pairs = ((reference, "reference"), (prediction, "prediction"))
    maps = [torch.from_numpy(countable(class_map(_on_host(m), names, where))) for m, where in pairs]
    return np.asarray(joint_counts(maps[0], maps[1], n, n).numpy())


def _count_small(reference: Tensor, prediction: Tensor, names: Mapping[int, str]) -> NDArray[np.int64] | None:
    """The counts of labels from 0 to 255 in one pass over both maps, on their device; None for other labels."""
    least, most = min(names), max(names)
    if least < 0 or most > _SMALL or reference.dtype != prediction.dtype or reference.dtype not in _COUNTED:
        return None
    counts = joint_counts(reference, prediction, most + 1, most + 1).cpu().numpy()
    known = [0, *names] if 0 not in names else list(names)
    picked = counts[np.ix_(known, known)]
    if int(picked.sum()) != reference.numel():
        return None  # some label is not declared: numbering the classes says which
    if 0 in names:
        picked = np.pad(picked, ((1, 0), (1, 0)))
    return np.asarray(picked)


def countable(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels of a type that torch counts, in one piece."""
    if labels.dtype == np.bool_:
        labels = labels.view(np.uint8)
    elif labels.dtype in (np.uint16, np.uint32, np.uint64):
        labels = labels.astype(np.int64)  # what does not fit becomes negative, which is no small label
    labels = np.ascontiguousarray(labels, dtype=labels.dtype.newbyteorder("="))
    # an axis of one voxel may keep a negative stride and count as contiguous, which torch refuses
    return labels.copy() if min(labels.strides) < 0 else labels


def joint_histogram(prediction: LabelArray, reference: LabelArray, classes: Classes) -> NDArray[np.int64]:
    """The confusion matrix of two label maps: how many voxels carry each pair of labels, in one pass.

    Args:
        prediction: integer labels, (*spatial).
        reference: integer labels of the same shape.
        classes: the labels that may occur; 0 may occur always.

    Returns:
        (K + 1, K + 1) counts, rows by reference and columns by prediction. Entry 0 is background that is not itself
        declared, entries 1 to K are the declared labels in rising order.

    Raises:
        BadLabel: the labels are not integers, or a value is not declared.
        BadGeometry: the shapes differ.
        BadArgument: `classes` is invalid.
    """
    names = class_names(classes)
    label_shape(prediction, reference)
    return count_pairs(prediction, reference, names)


def checked_spacing(spacing: Sequence[float], ndim: int) -> tuple[float, ...]:
    """The voxel size in mm along each array axis.

    Raises:
        BadArgument: not one positive finite number an axis.
    """
    due = f"{ndim} positive finite numbers (mm), one for each array axis in order"
    try:
        sizes = tuple(float(s) for s in spacing)
    except (TypeError, ValueError):
        raise BadArgument("not a spacing", where="spacing", found=repr(spacing), due=due) from None
    if len(sizes) != ndim or not all(np.isfinite(s) and s > 0 for s in sizes):
        raise BadArgument("not a spacing for these label maps", where="spacing", found=sizes, due=due)
    return sizes


def _integer_shape(labels: LabelArray, where: str) -> tuple[int, ...]:
    if isinstance(labels, Tensor):
        integers = not labels.is_floating_point() and not labels.is_complex()
    else:
        labels = np.asarray(labels)
        integers = labels.dtype.kind in "iub"
    if not integers:
        mend = "Decide the classes first (arg-max or a threshold), then cast to an integer type."
        raise BadLabel("labels are not integers", where=where, found=labels.dtype, due="an integer type", mend=mend)
    return tuple(labels.shape)


def _on_host(labels: LabelArray) -> NDArray[Any]:
    if isinstance(labels, Tensor):
        return np.asarray(labels.detach().to("cpu", memory_format=torch.contiguous_format).numpy())
    return np.asarray(labels)


def _undeclared(labels: NDArray[Any], names: Mapping[int, str], where: str) -> BadLabel:
    values = [int(v) for v in np.unique(labels)]
    strange = [v for v in values if v != 0 and v not in names]
    shown = ", ".join(map(str, strange[:_SHOWN])) + (f" and {len(strange) - _SHOWN} more" * (len(strange) > _SHOWN))
    declared = ", ".join(map(str, list(names)[:_SHOWN])) + " ..." * (len(names) > _SHOWN)
    return BadLabel(
        "a label is not among the declared classes",
        where=where,
        found=shown,
        due=f"0 or one of {declared}",
        mend="Declare these labels, or map them to declared ones or to 0 first.",
    )
