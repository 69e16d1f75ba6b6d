"""KeepLargest: drop all but the largest connected component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.kernels import components
from medframe.transforms.base import LabelTransform, Params


@dataclass(frozen=True, repr=False)
class KeepLargest(LabelTransform):
    """Keep the largest connected component of each class; smaller ones become background 0.

    Of components of one size the first in memory order stays. Channels are treated one by one.

    Args:
        classes: the classes to clean; default all but 0. Other labels stay as they are.
        together: one component of all `classes` taken as one foreground, instead of one for each.
        connectivity: "face": voxels touch by faces (edges in 2-D); "full": by edges and corners, too.
    """

    classes: int | tuple[int, ...] | None = None
    together: bool = False
    connectivity: Literal["face", "full"] = "face"

    def check(self) -> None:
        if self.connectivity not in ("face", "full"):
            raise BadArgument("KeepLargest: unknown connectivity", found=self.connectivity, due="face or full")
        if self.classes is not None and 0 in self._listed:
            raise BadArgument("KeepLargest cannot clean the background", found=self.classes, due="classes other than 0")

    @property
    def _listed(self) -> tuple[int, ...]:
        return self.classes if isinstance(self.classes, tuple) else (self.classes or 0,)

    def relabel(self, labels: Tensor, params: Params) -> Tensor:
        array = labels.cpu().numpy().copy()
        for channel in array:
            if self.together:
                chosen = channel != 0 if self.classes is None else np.isin(channel, self._listed)
                self._clean(channel, chosen)
                continue
            for c in np.unique(channel[channel != 0]) if self.classes is None else self._listed:
                self._clean(channel, channel == c)
        return torch.from_numpy(array).to(labels.device)

    def _clean(self, channel: NDArray[Any], chosen: NDArray[np.bool_]) -> None:
        window = _bounding_box(chosen)
        if window is None:
            return
        mask = torch.from_numpy(chosen[window])[None]
        fewest = {1: 2, 2: 4, 3: 6}[mask.ndim - 1]
        parts = components(mask, fewest if self.connectivity == "face" else None)[0]
        sizes = torch.bincount(parts.flatten())
        if len(sizes) > 2:
            sizes[0] = 0
            channel[window][(mask[0] & (parts != sizes.argmax())).numpy()] = 0


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    window = []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        if not len(hit):
            return None
        window.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(window)
