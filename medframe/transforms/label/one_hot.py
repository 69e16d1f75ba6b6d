"""OneHot: a channel for each class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadLabel
from medframe.transforms.base import LabelTransform, Params


@dataclass(frozen=True, repr=False)
class OneHot(LabelTransform):
    """Turn labels (1, *spatial) into a LabelMap (classes, *spatial) of uint8: channel c is 1 where the label is c.

    Args:
        classes: how many, background 0 included.

    Raises:
        BadLabel: when applied to several channels, or to labels outside 0 to classes - 1.
    """

    classes: int = 2

    def check(self) -> None:
        if self.classes < 1:
            raise BadArgument("OneHot takes a number of classes", found=self.classes, due="at least 1")

    def relabel(self, labels: Tensor, params: Params) -> Tensor:
        if len(labels) != 1:
            raise BadLabel("OneHot takes one channel of labels", found=f"{len(labels)} channels", due=1)
        if labels.dtype == torch.bool:
            labels = labels.view(torch.uint8)
        elif labels.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch knows little arithmetic for these
            labels = labels.long()
        lo, hi = (int(v) for v in torch.aminmax(labels))
        if lo < 0 or hi >= self.classes:
            raise BadLabel(
                "a label is no class",
                found=f"labels {lo} to {hi}",
                due=f"0 to {self.classes - 1}",
                mend="Raise classes, or put Remap before this step.",
            )
        numbers = torch.arange(self.classes, device=labels.device).reshape(-1, *[1] * (labels.ndim - 1))
        # all integer dtypes hold 127; comparing within one dtype is quicker
        numbers = numbers.to(labels.dtype) if self.classes <= 128 else numbers
        return (labels == numbers).view(torch.uint8)
