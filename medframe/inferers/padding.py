"""Zeros on both sides, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad


def pad_to(volume: Tensor, size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad a volume (B, C, *spatial) with zeros to at least `size`, half on each side, an odd voxel at the end.

    Returns:
        The padded volume, and where the volume lies in it.
    """
    before, amounts, inside = [], [], []
    for n, least in zip(volume.shape[2:], size, strict=True):
        lack = max(0, least - n)
        before.append(lack // 2)
        amounts.append(lack)
        inside.append(slice(lack // 2, lack // 2 + n))
    if not any(amounts):
        return volume, tuple(inside)
    sides: list[int] = []
    for lo, lack in zip(reversed(before), reversed(amounts), strict=True):  # torch counts from the last axis
        sides += [lo, lack - lo]
    return pad(volume, sides), tuple(inside)
