"""Remap: new numbers for labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument, BadLabel
from medframe.transforms.base import LabelTransform, Params


@dataclass(frozen=True, repr=False)
class Remap(LabelTransform):
    """Replace labels by others, all at once, so that two can be exchanged; the dtype stays.

    Args:
        labels: {old: new}, or pairs (old, new).
        rest: what labels that are not named become; default they stay.

    Raises:
        BadLabel: when applied to labels whose dtype cannot hold a new one.

    Example:
        >>> Remap({2: 1, 3: 1})
        Remap(((2, 1), (3, 1)))
    """

    labels: Mapping[int, int] | tuple[tuple[int, int], ...] = ()
    rest: int | None = None

    def check(self) -> None:
        given = self.labels.items() if isinstance(self.labels, Mapping) else self.labels
        try:
            pairs = tuple((int(old), int(new)) for old, new in given)
        except (TypeError, ValueError):
            raise BadArgument("Remap takes {old: new}", found=repr(self.labels), due="whole numbers") from None
        if len({old for old, _ in pairs}) != len(pairs):
            raise BadArgument("Remap names a label twice", found=pairs)
        object.__setattr__(self, "labels", pairs)  # pairs hash and print alike on every run

    def relabel(self, labels: Tensor, params: Params) -> Tensor:
        pairs = tuple(self.labels.items() if isinstance(self.labels, Mapping) else self.labels)
        whole = (0, 1) if labels.dtype == torch.bool else (torch.iinfo(labels.dtype).min, torch.iinfo(labels.dtype).max)
        asked = [new for _, new in pairs] + ([] if self.rest is None else [self.rest])
        if any(not whole[0] <= new <= whole[1] for new in asked):
            raise BadLabel("a new label does not fit the dtype", found=sorted(asked), due=f"{whole[0]} to {whole[1]}")
        out = labels.clone() if self.rest is None else torch.full_like(labels, self.rest)
        for old, new in pairs:
            if whole[0] <= old <= whole[1]:
                out = torch.where(labels == old, torch.tensor(new, dtype=out.dtype, device=out.device), out)
        return out
