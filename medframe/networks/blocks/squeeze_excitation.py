"""Channels weighted by what the whole image holds."""

from __future__ import annotations

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.pooling import global_mean


class SqueezeExcitation(nn.Module):
    """Scale each channel by a number in (0, 1) that two linear layers read from all channels' means.

    J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018, doi:10.1109/CVPR.2018.00745.

    Args:
        channels: of the input (B, channels, *spatial) and the output.
        reduction: the layer between is narrower by this factor.

    Raises:
        BadArgument: nothing would be left of the channels.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise BadArgument(
                "the squeeze leaves no channel",
                found=f"{channels} channels, reduction {reduction}",
                due="1 to channels",
            )
        self.fc1 = nn.Linear(channels, channels // reduction)
        self.fc2 = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.fc2(self.fc1(global_mean(x)).relu()).sigmoid()
        return x * gate.reshape(*gate.shape, *(1,) * (x.dim() - 2))
