"""Argmax: from scores to labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medframe.base.errors import BadLabel
from medframe.base.rng import Rng
from medframe.image import Image, LabelMap
from medframe.transforms.base import Params, Transform


@dataclass(frozen=True, repr=False)
class Argmax(Transform):
    """Turn an Image of scores, logits or probabilities (classes, *spatial), into a LabelMap (1, *spatial).

    Where scores tie, the first class wins. The dtype is uint8 up to 256 classes, int16 beyond. A waiting warp is paid
    by the scores, so labels decided here were interpolated as scores.

    Raises:
        BadLabel: when applied to scores that are NaN.
    """

    def accepts(self, member: object) -> bool:
        return isinstance(member, Image) and not isinstance(member, LabelMap)

    def one(self, member: Any, params: Params, rng: Rng) -> LabelMap:
        return LabelMap.at(best_channel(member.data), member.place)


def best_channel(scores: Tensor) -> Tensor:
    """(1, *spatial), the number of the channel with the largest value, the first of equals.

    Raises:
        BadLabel: some scores are NaN.
    """
    # channel by channel: torch.argmax walks across memory and writes int64, which is several times slower
    best = scores[0].clone()
    label = torch.zeros(best.shape, dtype=torch.uint8 if len(scores) <= 256 else torch.int16, device=scores.device)
    for c in range(1, len(scores)):
        # later classes have larger numbers, so a maximum overwrites
        torch.maximum(label, (scores[c] > best).to(label.dtype) * c, out=label)
        torch.maximum(best, scores[c], out=best)  # carries NaN along
    if best.is_floating_point() and bool(torch.isnan(best.max())):
        raise BadLabel("scores are NaN", found=f"{int(torch.isnan(best).sum())} voxels", due="numbers")
    return label[None]
