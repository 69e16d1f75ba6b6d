"""Voxels become another dtype only without loss, or with the loss the caller asked for."""

from __future__ import annotations

import os
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medframe.base.errors import BadArgument, BadVoxels

OnLoss = Literal["raise", "round", "clip"]
_WHOLE = {2: 1 << 11, 4: 1 << 24, 8: 1 << 53}  # floats of so many bytes hold every whole number up to this


def check_on_loss(on_loss: str) -> None:
    """Raise BadArgument unless `on_loss` is one of its three words."""
    if on_loss not in get_args(OnLoss):
        raise BadArgument("unknown on_loss", found=on_loss, due=", ".join(get_args(OnLoss)))


def fit(
    values: NDArray[Any],
    dtype: np.dtype[Any],
    on_loss: OnLoss = "raise",
    where: str | os.PathLike[str] | None = None,
    corner: tuple[int, ...] = (),
) -> NDArray[Any]:
    """Values in another dtype.

    "raise" refuses fractions, values beyond the range, NaN for integers, and whole numbers that a float would merge
    with others. "round" rounds fractions (halves to even) and merges, and refuses the rest. "clip" does that and also
    sets what lies beyond the range to its ends. NaN never becomes an integer. Fewer digits in a narrower float are no
    loss in this sense: who asks for float32 gets fractions rounded to it.

    Args:
        values: any real dtype.
        dtype: what they become.
        on_loss: see above.
        where: the file, for messages.
        corner: the index of the first of these values in the whole image, for messages.

    Raises:
        BadVoxels: names the first value that would be lost.
    """

    def refuse(bad: NDArray[np.bool_], why: str, mend: str) -> None:
        if bad.any():
            place = np.argwhere(bad)[0]
            index = tuple(int(i) for i in place + (np.array(corner) if corner else 0))
            found = f"{values[tuple(place)]} at index {index}"
            raise BadVoxels(f"{why} would be lost", where=where, found=found, due=f"values of {dtype}", mend=mend)

    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            out: NDArray[Any] = values.astype(dtype)
        if values.dtype.kind == "f":
            lost = np.isinf(out) & np.isfinite(values)
            if on_loss == "clip":
                out[lost] = np.copysign(np.finfo(dtype).max, values[lost])
            else:
                refuse(lost, "a value beyond the range", 'Choose a wider dtype, or on_loss="clip".')
        elif on_loss == "raise":
            most = _WHOLE[dtype.itemsize]
            lost = (values > most) | (values < -most)
            refuse(lost, "the last digits of a whole number", 'Choose an integer dtype, or on_loss="round".')
        return out
    lo, hi = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if values.dtype.kind == "f":
        refuse(np.isnan(values), "NaN", "Replace NaN first, or choose a float dtype.")
        whole = np.rint(values)
        if on_loss == "raise":
            refuse(whole != values, "a fraction", 'Choose a float dtype, or on_loss="round".')
        # both ends are powers of two (or 0), exact in any float, where `hi` itself may not be
        below, above = whole < float(lo), whole >= float(hi + 1)
    else:
        whole = values
        below, above = values < lo, values > hi
    if on_loss == "clip":
        out = np.empty(values.shape, dtype)
        np.copyto(out, whole, casting="unsafe", where=~(below | above))
        out[below], out[above] = lo, hi
        return out
    refuse(below | above, "a value beyond the range", 'Choose a wider dtype, or on_loss="clip".')
    fitted: NDArray[Any] = whole.astype(dtype)
    return fitted
