"""Pooling by number of axes, and the two paddings that pretrained image networks rely on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from medframe.networks.sizes import check_spatial_dims

_MAX: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_MEAN: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


def max_pool_layer(spatial_dims: int, kernel_size: int = 2, stride: int = 2, padding: int = 0) -> nn.Module:
    """Max pooling; a last window that is cut by the edge still counts, so that size 1 stays size 1."""
    check_spatial_dims(spatial_dims)
    return _MAX[spatial_dims](kernel_size, stride, padding, ceil_mode=padding == 0)


def mean_pool_layer(spatial_dims: int, kernel_size: int = 2, stride: int = 2) -> nn.Module:
    """Average pooling; a last window that is cut by the edge is averaged over what it holds."""
    check_spatial_dims(spatial_dims)
    return _MEAN[spatial_dims](kernel_size, stride, ceil_mode=True, count_include_pad=False)


def global_mean(x: Tensor) -> Tensor:
    """(B, C, *spatial) to (B, C): the mean over all voxels."""
    return x.flatten(2).mean(-1)


def pad_same(x: Tensor, kernel_size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros so that a convolution without padding turns n into ceil(n / stride); an odd zero stands at the far end.

    This is TensorFlow's rule. It differs from padding by half a kernel where a strided kernel meets an even size, and
    networks pretrained under one rule need that rule.
    """
    pads: list[int] = []
    for n, k, s in zip(reversed(x.shape[2:]), reversed(list(kernel_size)), reversed(list(stride)), strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x
