"""Window by window over a volume of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.inferers.inferer import Network, check_volume, home_of
from medframe.inferers.mirror import check_axes, mirrored
from medframe.inferers.padding import pad_to
from medframe.inferers.precision import Precision, check_precision
from medframe.inferers.windows import Blend, importance, used_part, window_starts


@dataclass(frozen=True)
class SlidingWindow:
    """Overlapping windows, blended into logits (B, K, *spatial) in float32.

    A volume smaller than the window is padded with zeros on both sides and cropped back. Windows overlap by at least
    `overlap`; the last one along each axis lies at the edge and the others are spread evenly.

    Voxels near the border of a window are computed with less context than the whole image would give, and are counted
    less by "gaussian" blending. With `margin` at least the reach of the network (1 for each 3 x 3 x 3 convolution,
    times the stride before it) they are not used at all, and the result is that of the whole image up to rounding
    (for volumes no smaller than the window, and networks that are the same everywhere: no pooling over the whole
    window, windows that begin at multiples of the strides). Where all windows agree, as for a network that looks at
    single voxels, the result is equal to the bit: windows enter a running weighted mean (D. H. D. West, "Updating mean
    and variance estimates: an improved method", Comm. ACM 22, 1979, doi:10.1145/359146.359153).

    No gradients are kept. Windows go to where the network's parameters are.

    Args:
        size: of the window in voxels, one number for all axes or one for each.
        overlap: share of the window, 0 to below 1.
        blend: "gaussian" (see `importance`) or "constant".
        batch: windows a forward pass.
        memory_budget: bytes of device memory for volume and result. What does not fit stays on the CPU: first the
            result, then the volume. None: all on the device of the network.
        mirror: spatial axes, from 0, for test-time mirroring; see `mirrored`.
        precision: of the network; windows are blended in float32.
        margin: voxels on each inner side of a window that are not used.

    Raises:
        BadArgument: when made, or when called with a volume or network that does not fit.
    """

    size: int | tuple[int, ...]
    overlap: float = 0.5
    blend: Blend = "gaussian"
    batch: int = 1
    memory_budget: int | None = None
    mirror: tuple[int, ...] = ()
    precision: Precision = "float32"
    margin: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "mirror"):
            value = getattr(self, name)
            if isinstance(value, Sequence):
                object.__setattr__(self, name, tuple(value))
        sizes = self.size if isinstance(self.size, tuple) else (self.size,)
        if not 1 <= len(sizes) <= 3 or not all(isinstance(s, int) and s > 0 for s in sizes):
            raise BadArgument("a window has 1 to 3 positive sizes", where="size", found=self.size)
        if not 0 <= self.overlap < 1:
            raise BadArgument("the overlap is a share", where="overlap", found=self.overlap, due="0 to below 1")
        if self.blend not in ("gaussian", "constant"):
            raise BadArgument("no such blend", where="blend", found=self.blend, due="gaussian or constant")
        if self.batch < 1:
            raise BadArgument("at least one window a pass", where="batch", found=self.batch)
        if self.memory_budget is not None and self.memory_budget < 0:
            raise BadArgument("a budget is a number of bytes", where="memory_budget", found=self.memory_budget)
        if self.margin < 0 or 2 * self.margin >= min(sizes):
            due = f"0 to {(min(sizes) - 1) // 2}, so that something of the window is left"
            raise BadArgument("the margin does not fit the window", where="margin", found=self.margin, due=due)
        check_axes(self.mirror, len(sizes) if isinstance(self.size, tuple) else None)
        check_precision(self.precision)

    def __call__(self, volume: Tensor, network: Network) -> Tensor:
        size = self.size if isinstance(self.size, tuple) else (self.size,) * check_volume(volume)
        rank = check_volume(volume, len(size))
        check_axes(self.mirror, rank)
        device = home_of(network, volume)
        run = mirrored(network, self.mirror, self.precision)
        padded, inside = pad_to(volume, size)
        shape = tuple(padded.shape[2:])
        left = None if self.memory_budget is None else self.memory_budget - padded.nbytes
        if left is None or left >= 0:
            padded = padded.to(device)
        starts = window_starts(shape, size, self.overlap, self.margin)
        places = [(b, start) for b in range(padded.shape[0]) for start in starts]
        weight = importance(size, self.blend)
        result: Tensor | None = None
        with torch.no_grad():
            for first in range(0, len(places), self.batch):
                group = places[first : first + self.batch]
                x = torch.stack([padded[b][(slice(None), *_window(at, size))] for b, at in group])
                logits = run(x.to(device))
                if result is None:
                    classes = logits.shape[1]
                    bytes_ = 4 * padded.shape[0] * (classes + 1) * math.prod(shape)
                    where = accumulator_device(bytes_, left, device)
                    result = torch.zeros(padded.shape[0], classes, *shape, device=where)
                    total = torch.zeros(padded.shape[0], *shape, device=where)
                    weight = weight.to(where)
                for (b, at), y in zip(group, logits.to(result.device), strict=True):
                    part = used_part(at, size, shape, self.margin)
                    here = tuple(slice(a + p.start, a + p.stop) for a, p in zip(at, part, strict=True))
                    w = weight[part]
                    seen = total[b][here].add_(w)
                    # mean += (y - mean) * share
                    result[b][(slice(None), *here)].lerp_(y[(slice(None), *part)], w / seen)
        assert result is not None  # there is always one window
        return result[(slice(None), slice(None), *inside)].contiguous()


def accumulator_device(bytes_: int, left: int | None, device: torch.device) -> torch.device:
    """Where the result is blended: on the network's device when it fits what is left of the budget."""
    return device if left is None or bytes_ <= left else torch.device("cpu")


def _window(start: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(at, at + s) for at, s in zip(start, size, strict=True))
