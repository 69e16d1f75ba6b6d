"""Numbers, such as time steps, as vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from medframe.base.errors import BadArgument


def sine_embedding(steps: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """(B,) numbers to (B, dim): cosines, then sines, at falling frequencies.

    J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020, arXiv:2006.11239, after A.
    Vaswani et al. 2017, arXiv:1706.03762.

    Raises:
        BadArgument: steps are not one number for each image.
    """
    if steps.dim() != 1:
        raise BadArgument("time steps are one number for each image", found=tuple(steps.shape), due="(B,)")
    half = dim // 2
    frequencies = torch.exp(-math.log(max_period) / half * torch.arange(half, device=steps.device))
    angles = steps[:, None].float() * frequencies
    out = torch.cat([angles.cos(), angles.sin()], 1)
    return nn.functional.pad(out, (0, dim % 2))


class TimeEmbedding(nn.Sequential):
    """Two linear layers with a SiLU between, from a sine embedding to what residual blocks add to their channels."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__(nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
