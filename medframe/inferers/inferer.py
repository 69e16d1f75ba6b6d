"""What an inferer is, and what all of them check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.inferers.precision import Precision, autocast

Network: TypeAlias = Callable[[Tensor], Tensor]


@runtime_checkable
class Inferer(Protocol):
    """From a volume (B, C, *spatial) and a network to logits (B, K, *spatial) in float32."""

    def __call__(self, volume: Tensor, network: Network) -> Tensor: ...


def check_volume(volume: object, rank: int | None = None) -> int:
    """The number of spatial axes of a volume (B, C, *spatial).

    Args:
        volume: what the inferer was given.
        rank: how many spatial axes there have to be; None for 1 to 3.

    Raises:
        BadArgument: no tensor, another rank, empty, or no floating-point numbers.
    """
    if not isinstance(volume, Tensor):
        raise BadArgument("an inferer takes a tensor", found=type(volume).__name__, due="a Tensor (B, C, *spatial)")
    found = f"shape {tuple(volume.shape)}, {volume.dtype}"
    ranks = (1, 2, 3) if rank is None else (rank,)
    if volume.ndim - 2 not in ranks:
        axes = " or ".join(map(str, ranks))
        mend = "One image without a batch axis: image.data[None]."
        raise BadArgument("the volume has the wrong rank", found=found, due=f"(B, C, and {axes} spatial)", mend=mend)
    if volume.numel() == 0:
        raise BadArgument("the volume is empty", found=found, due="at least one voxel")
    if not volume.is_floating_point():
        mend = "Normalise the image, or call .float()."
        raise BadArgument("the volume holds no floating-point numbers", found=found, mend=mend)
    return volume.ndim - 2


def apply_network(network: Network, x: Tensor, precision: Precision) -> Tensor:
    """The network's answer in float32, of which batch and spatial sizes are checked.

    Raises:
        BadArgument: the answer is no tensor or of another size than the input.
    """
    with autocast(precision, x.device):
        y: object = network(x)  # not all networks keep to their type
    if not isinstance(y, Tensor):
        mend = "A network with deep supervision gives one tensor after network.eval()."
        raise BadArgument(
            "the network's answer is no tensor", found=type(y).__name__, due="(B, K, *spatial)", mend=mend
        )
    if y.ndim != x.ndim or y.shape[0] != x.shape[0] or y.shape[2:] != x.shape[2:]:
        raise BadArgument(
            "the network's answer has another size than its input",
            found=f"{tuple(y.shape)} from {tuple(x.shape)}",
            due="the batch and spatial sizes of the input",
            mend="Choose a window that the network's strides divide; WholeImage pads with multiple=.",
        )
    return y.float()


def home_of(network: Network, volume: Tensor) -> torch.device:
    """Where the network computes: where its parameters are, else where the volume is."""
    if isinstance(network, nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return volume.device
