"""The meaning of distances, components, counts, neighbourhoods and noise: SciPy's words where SciPy has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.extras import need

_WORD = (1 << 64) - 1


def _ndimage() -> Any:
    return need("scipy.ndimage", "look at neighbourhoods")  # when asked for: importing it takes a while


def distance_transform(target: Tensor, spacing: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Distances to the nearest voxel that is not 0: (C, *spatial), infinite in a channel without one."""
    out = torch.full(target.shape, math.inf, dtype=dtype)
    for channel, away in zip(target.cpu().numpy() == 0, out.numpy(), strict=True):
        if not channel.all():
            away[...] = _ndimage().distance_transform_edt(channel, sampling=tuple(spacing))
    return out.to(target.device)


def components(labels: Tensor, steps: int) -> Tensor:
    """Components of equal labels other than 0, numbered by their first voxels: (C, *spatial) int32."""
    structure = _ndimage().generate_binary_structure(labels.ndim - 1, steps)
    out = torch.zeros(labels.shape, dtype=torch.int32)
    for channel, numbered in zip(labels.cpu().numpy(), out.numpy(), strict=True):
        found = np.zeros(channel.shape, np.int64)
        count = 0
        for label in np.unique(channel[channel != 0]):
            one, more = _ndimage().label(channel == label, structure)
            found[one > 0] = one[one > 0] + count
            count += more
        seen, first = np.unique(found, return_index=True)
        order = seen[np.argsort(first)]
        rank = np.zeros(count + 1, np.int32)
        rank[order[order != 0]] = np.arange(1, count + 1)
        numbered[...] = rank[found]
    return out.to(labels.device)


def joint_counts(a: Tensor, b: Tensor, rows: int, columns: int) -> Tensor:
    """How often each pair of labels meets: (rows, columns) int64; pairs outside the table are not counted."""
    inside = (a >= 0) & (a < rows) & (b >= 0) & (b < columns)
    pairs = a[inside].long() * columns + b[inside].long()
    return torch.bincount(pairs, minlength=rows * columns).reshape(rows, columns)


def grow(mask: Tensor, steps: int, *, erode: bool) -> Tensor:
    """One step of dilation, or of erosion with everything beyond the edge set: (C, *spatial) bool."""
    structure = _ndimage().generate_binary_structure(mask.ndim - 1, steps)
    run = _ndimage().binary_erosion if erode else _ndimage().binary_dilation
    out = [run(channel, structure, border_value=int(erode)) for channel in mask.cpu().numpy()]
    return torch.from_numpy(np.stack(out) if out else np.zeros(mask.shape, bool)).to(mask.device)


def philox(counter: NDArray[np.uint64], low: int, high: int) -> NDArray[np.uint64]:
    """Philox4x32-10 (Salmon et al., SC 2011, doi:10.1145/2063384.2063405): (n, 4) words under the key (low, high)."""
    mask = np.uint64(0xFFFFFFFF)
    a, b, c, d = (counter[:, k] for k in range(4))
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        shift = np.uint64(32)
        a, b, c, d = (q >> shift) ^ b ^ np.uint64(low), q & mask, (p >> shift) ^ d ^ np.uint64(high), p & mask
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([a, b, c, d], 1)


def normal_noise(shape: Sequence[int], seed: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers 4 g ... 4 g + 3, in C order, of counter (g, upper half of the seed) under the key in its lower half.

    Two pairs (r cos a, r sin a) with r = sqrt(-2 ln u), a = 2 pi v of the counter's words (u, v, u', v').
    """
    count = math.prod(shape)
    low, high = seed & _WORD, seed >> 64 & _WORD
    groups = np.arange(-(-count // 4), dtype=np.uint64)
    counter = np.empty((len(groups), 4), np.uint64)
    counter[:, 0], counter[:, 1] = groups & np.uint64(0xFFFFFFFF), groups >> np.uint64(32)
    counter[:, 2], counter[:, 3] = high & 0xFFFFFFFF, high >> 32
    words = philox(counter, low & 0xFFFFFFFF, low >> 32)
    unit = (words.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    radius = np.sqrt(-2 * np.log(unit[:, ::2].astype(np.float64)))
    angle = 2 * np.pi * unit[:, 1::2].astype(np.float64)
    numbers = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 2).reshape(-1)[:count]
    return torch.from_numpy(numbers.astype(np.float32)).reshape(tuple(shape)).to(device=device, dtype=dtype)
