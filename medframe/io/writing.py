"""What every writer does to an image: its voxels as an array, the dtype of the file, the order of the file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medframe.base.errors import BadArgument
from medframe.geometry import Space
from medframe.image import Image, LabelMap
from medframe.io.loss import OnLoss, fit
from medframe.io.stored import Block, reorder

_LABELS = tuple(map(np.dtype, ("u1", "i2", "i4", "i8", "u8")))


def voxels_of(image: Image) -> Block:
    """The voxels (C, *spatial) as an array of a dtype that files know: half floats are widened, bool becomes uint8."""
    data = image.data.detach().cpu()
    if data.dtype in (torch.float16, torch.bfloat16):
        data = data.float()
    return (data.to(torch.uint8) if data.dtype == torch.bool else data).numpy()


def target_dtype(
    image: Image, voxels: Block, dtype: torch.dtype | str | None, known: Iterable[np.dtype[Any]], name: str
) -> np.dtype[Any]:
    """The dtype of the file: the one asked for, the narrowest that holds a label map, or that of the voxels.

    Args:
        image: what is written.
        voxels: its voxels.
        dtype: what the caller asked for.
        known: the dtypes the format has, in native byte order.
        name: of the format, for the message.

    Raises:
        BadArgument: the format has no such dtype.
    """
    dtypes = list(known)
    wanted = None if dtype is None else str(dtype).removeprefix("torch.")
    if wanted is None and isinstance(image, LabelMap):
        lo, hi = int(voxels.min()), int(voxels.max())
        fitting = (t for t in _LABELS if t in dtypes and np.iinfo(t).min <= lo <= hi <= np.iinfo(t).max)
        found = next(fitting, None)
        if found is not None:
            return found
    wanted = wanted or voxels.dtype.name
    for one in dtypes:
        if one.name == wanted:
            return one
    raise BadArgument(f"{name} files have no such dtype", found=wanted, due=", ".join(t.name for t in dtypes))


def file_order(voxels: Block, channel: int, dtype: np.dtype[Any], on_loss: OnLoss, where: Path) -> memoryview:
    """One channel as bytes, its first axis running fastest, little-endian.

    Raises:
        BadVoxels: a value would be lost.
    """
    size = (*voxels.shape[1:], 1, 1)[:3]
    source = voxels[channel].reshape(1, *size)
    out: NDArray[Any] = np.empty(size[::-1], dtype.newbyteorder("<"))

    def step(slab: Block, corner: tuple[int, int, int, int]) -> Block:
        return fit(slab, dtype, on_loss, where, (channel, *corner[1:]))

    reorder(source, out.transpose(2, 1, 0)[None], voxels.dtype, step)
    return out.view(np.uint8).reshape(-1).data


def solid_space(space: Space) -> Space:
    """A plane or line of the world as a lattice of three axes; a volume as it is."""
    missing = 3 - space.ndim
    if not missing:
        return space
    affine = np.eye(4)
    affine[: space.ndim, : space.ndim] = space.affine[:-1, :-1]
    affine[: space.ndim, 3] = space.origin
    return Space((*space.shape, *[1] * missing), affine)
