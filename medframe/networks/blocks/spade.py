"""Normalisation whose scale and shift come from a label map."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from medframe.networks.blocks.convolution import Convolution
from medframe.networks.layers import Spec, conv_layer, norm_layer


class SPADE(nn.Module):
    """Normalises (B, channels, *spatial), then scales and shifts each voxel by what a one-hot label map says of it.

    The label map (B, label_nc, *any) is brought to the image's size by its nearest voxels.

    T. Park, M. Liu, T. Wang, J. Zhu, "Semantic image synthesis with spatially-adaptive normalization", CVPR 2019,
    doi:10.1109/CVPR.2019.00244.

    Args:
        spatial_dims: 1, 2 or 3.
        label_nc: channels of the label map.
        channels: of the image.
        hidden_channels: of the layer between labels and scales.
        norm: of the image.
        normalised_scales: instance-normalise scales and shifts, which the paper does not and some trained weights need.
    """

    def __init__(
        self,
        spatial_dims: int,
        label_nc: int,
        channels: int,
        *,
        hidden_channels: int = 128,
        norm: Spec,
        normalised_scales: bool = False,
    ) -> None:
        super().__init__()
        self.norm = norm_layer(norm, spatial_dims, channels)
        self.shared = Convolution(spatial_dims, label_nc, hidden_channels, norm=None, act="leaky_relu")
        self.gamma = conv_layer(spatial_dims, hidden_channels, channels, 3)
        self.beta = conv_layer(spatial_dims, hidden_channels, channels, 3)
        self.scales: nn.Module = nn.Identity()
        if normalised_scales:
            self.scales = norm_layer(("instance", {"affine": False}), spatial_dims, channels)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        at = self.shared(F.interpolate(labels.to(x.dtype), size=x.shape[2:], mode="nearest"))
        out: Tensor = self.norm(x) * (1 + self.scales(self.gamma(at))) + self.scales(self.beta(at))
        return out
