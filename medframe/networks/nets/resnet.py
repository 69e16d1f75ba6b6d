"""Residual networks for classification, and as encoders."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from medframe.networks.blocks.residual_block import ResidualBlock, Shortcut, check_depths
from medframe.networks.initialisation import he_init
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.pooling import global_mean, max_pool_layer
from medframe.networks.sizes import PerAxis, check_channels, check_input, check_spatial_dims

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


class ResNet(nn.Module):
    """Residual network: (B, in_channels, *spatial) of any size becomes (B, out_channels) logits.

    A convolution, a pooling and four stages of blocks, each after the first halving the size: basic blocks up to depth
    34, bottlenecks beyond. Modules are named as in torchvision, MedicalNet and timm, so their weights load by name.
    MedicalNet (S. Chen, K. Ma, Y. Zheng, "Med3D: transfer learning for 3D medical image analysis", 2019,
    arXiv:1904.00625) is this in 3-D; its depths 18 and 34 have `shortcut="padding"`. Weights: `he_init`.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    doi:10.1109/CVPR.2016.90.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        depth: 10, 18, 34, 50, 101, 152 or 200 layers.
        features: channels of the first stage; they double from stage to stage (times 4 behind bottlenecks).
        conv1_kernel_size: of the first convolution.
        conv1_stride: of the first convolution.
        max_pool: whether a pooling halves the size behind it.
        shortcut: "projection" (a convolution) or "padding" (zeros) where channels change.
        bias_downsample: whether projections have a bias.
        norm: the normalisation.
        act: the activation.

    Raises:
        BadArgument: an unpublished depth, or an input of another rank or number of channels.

    Example:
        >>> import torch
        >>> ResNet(3, 1, 2, depth=10).eval()(torch.zeros(1, 1, 32, 32, 32)).shape
        torch.Size([1, 2])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 50,
        features: int = 64,
        conv1_kernel_size: PerAxis = 7,
        conv1_stride: PerAxis = 2,
        max_pool: bool = True,
        shortcut: Shortcut = "projection",
        bias_downsample: bool = False,
        norm: Spec = "batch",
        act: Spec = "relu",
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, features=features)
        check_depths("a residual network", depth, list(DEPTHS))
        self.in_channels = in_channels
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis: any size will do."""
        widths = [features * 2**i for i in range(4)]
        expansion = 1 if depth < 50 else 4
        self.channels = (features, *(w * expansion for w in widths))
        """Channels of the answers of `encode`."""
        self.conv1 = conv_layer(spatial_dims, in_channels, features, conv1_kernel_size, conv1_stride, bias=False)
        self.bn1 = norm_layer(norm, spatial_dims, features)
        self.act = act_layer(act)
        self.maxpool: nn.Module = max_pool_layer(spatial_dims, 3, 2, 1) if max_pool else nn.Identity()
        stages: list[nn.Module] = []
        for i, (inside, outside) in enumerate(pairwise(self.channels)):
            blocks = [
                ResidualBlock(
                    spatial_dims,
                    outside if k else inside,
                    widths[i],
                    outside,
                    2 if i and not k else 1,
                    kind="basic" if expansion == 1 else "bottleneck",
                    shortcut=shortcut,
                    bias_downsample=bias_downsample,
                    norm=norm,
                    act=act,
                )
                for k in range(DEPTHS[depth][i])
            ]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(self.channels[-1], out_channels)
        he_init(self)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The answers of the first convolution and of the four stages, finest first."""
        check_input(x, self.in_channels, self.multiple, "ResNet")
        x = self.act(self.bn1(self.conv1(x)))
        answers = [x]
        x = self.maxpool(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            answers.append(x)
        return answers

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(global_mean(self.encode(x)[-1]))
        return logits
