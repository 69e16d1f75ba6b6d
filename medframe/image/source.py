"""Where voxels come from: a tensor in memory, or several sources stacked as channels. Files bring their own (`io`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadGeometry
from medframe.geometry.resample import Source


@dataclass(frozen=True, eq=False)
class TensorSource:
    """A tensor (C, *spatial), in memory or memory-mapped: a window touches only its own pages."""

    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def read(self, window: tuple[slice, ...]) -> Tensor:
        return self.tensor[(slice(None), *window)]


@dataclass(frozen=True, eq=False)
class Stack:
    """Several sources of one lattice as the channels of one."""

    parts: tuple[Source, ...]

    def __post_init__(self) -> None:
        shapes = {part.shape[1:] for part in self.parts}
        if len(shapes) != 1:
            raise BadGeometry("channels have different shapes", found=sorted(shapes), due="one shape")

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        dtype = self.parts[0].dtype
        for part in self.parts[1:]:
            dtype = torch.promote_types(dtype, part.dtype)
        return dtype

    @property
    def device(self) -> torch.device:
        return self.parts[0].device

    def read(self, window: tuple[slice, ...]) -> Tensor:
        return torch.cat([part.read(window).to(self.dtype) for part in self.parts])
