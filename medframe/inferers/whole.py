"""The whole volume in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.inferers.inferer import Network, check_volume, home_of
from medframe.inferers.mirror import check_axes, mirrored
from medframe.inferers.padding import pad_to
from medframe.inferers.precision import Precision, check_precision


@dataclass(frozen=True)
class WholeImage:
    """One forward pass over the volume, padded with zeros to what the network can take, and cropped back.

    No gradients are kept. The volume goes to where the network's parameters are.

    Args:
        multiple: what every spatial size must be a multiple of (the product of the network's strides), one number for
            all axes or one for each.
        mirror: spatial axes, from 0, for test-time mirroring; see `mirrored`.
        precision: of the network; the result is float32.

    Raises:
        BadArgument: when made, or when called with a volume or network that does not fit.
    """

    multiple: int | tuple[int, ...] = 1
    mirror: tuple[int, ...] = ()
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("multiple", "mirror"):
            value = getattr(self, name)
            if isinstance(value, Sequence):
                object.__setattr__(self, name, tuple(value))
        numbers = self.multiple if isinstance(self.multiple, tuple) else (self.multiple,)
        if not 1 <= len(numbers) <= 3 or not all(isinstance(m, int) and m > 0 for m in numbers):
            raise BadArgument("multiples are positive whole numbers", where="multiple", found=self.multiple)
        check_axes(self.mirror, len(numbers) if isinstance(self.multiple, tuple) else None)
        check_precision(self.precision)

    def __call__(self, volume: Tensor, network: Network) -> Tensor:
        rank = check_volume(volume, len(self.multiple) if isinstance(self.multiple, tuple) else None)
        check_axes(self.mirror, rank)
        multiple = self.multiple if isinstance(self.multiple, tuple) else (self.multiple,) * rank
        padded, inside = pad_to(volume, [-(-n // m) * m for n, m in zip(volume.shape[2:], multiple, strict=True)])
        run = mirrored(network, self.mirror, self.precision)
        with torch.no_grad():
            logits = run(padded.to(home_of(network, volume)))
        return logits[(slice(None), slice(None), *inside)].contiguous()
