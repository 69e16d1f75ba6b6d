"""Networks that tell real patches from made ones."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims


class PatchDiscriminator(nn.Module):
    """Judges every patch of an image: (B, in_channels, *spatial) to the answers of all layers, the judgement last.

    The last answer (B, out_channels, *coarse) has one judgement for each overlapping patch; those before serve a
    feature-matching loss.

    P. Isola, J. Zhu, T. Zhou, A. Efros, "Image-to-image translation with conditional adversarial networks", CVPR 2017,
    doi:10.1109/CVPR.2017.632.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the judgement.
        channels: of the first layer; they double from layer to layer.
        num_layers_d: layers between the first and the last; all but the last of them stride.
        kernel_size: of the convolutions.
        norm: of the layers between.
        activation: behind all but the last.
        last_kernel_size: of the last convolution; None for `kernel_size`.
        dropout: behind the normalisations.

    Raises:
        BadArgument: another rank or number of channels.
        BadGeometry: an image too small for the layers.

    Example:
        >>> import torch
        >>> [tuple(a.shape) for a in PatchDiscriminator(2, 1, channels=8, num_layers_d=2)(torch.zeros(1, 1, 32, 32))]
        [(1, 8, 16, 16), (1, 16, 8, 8), (1, 32, 7, 7), (1, 1, 6, 6)]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 1,
        *,
        channels: int = 64,
        num_layers_d: int = 3,
        kernel_size: int = 4,
        norm: Spec = "batch",
        activation: Spec = ("leaky_relu", {"negative_slope": 0.2}),
        last_kernel_size: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, channels=channels, num_layers_d=num_layers_d)
        self.in_channels = in_channels
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis: any that is large enough."""
        conv = type(conv_layer(spatial_dims, 1, 1, 1))
        self.layers = nn.ModuleList(
            [nn.Sequential(conv(in_channels, channels, kernel_size, 2, 1), act_layer(activation))]
        )
        width = channels
        for i in range(num_layers_d):
            stride = 2 if i + 1 < num_layers_d else 1
            layer = nn.Sequential(
                conv(width, 2 * width, kernel_size, stride, 1, bias=False), norm_layer(norm, spatial_dims, 2 * width)
            )
            if dropout:
                layer.append(nn.Dropout(dropout))
            self.layers.append(layer.append(act_layer(activation)))
            width *= 2
        last = kernel_size if last_kernel_size is None else last_kernel_size
        self.layers.append(conv(width, out_channels, last, 1, (last - 1) // 2))
        for module in self.modules():
            if isinstance(module, conv):
                nn.init.normal_(module.weight, 0.0, 0.02)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> list[Tensor]:
        check_input(x, self.in_channels, self.multiple, "PatchDiscriminator")
        answers = []
        size = tuple(x.shape[2:])
        for layer in self.layers:
            conv = layer[0] if isinstance(layer, nn.Sequential) else layer
            kernel, padding = conv.kernel_size, conv.padding
            if any(n + 2 * p < k for n, p, k in zip(x.shape[2:], padding, kernel, strict=True)):  # type: ignore[arg-type]
                raise BadGeometry(
                    "the image is too small for the discriminator's layers",
                    found=f"size {size}",
                    due="a size that is not used up before the last layer",
                    mend="Use larger patches, or fewer num_layers_d.",
                )
            x = layer(x)
            answers.append(x)
        return answers


class MultiScalePatchDiscriminator(nn.Module):
    """Several patch discriminators, each for the image at half the size of the one before.

    The answer for (B, in_channels, *spatial) is a list of judgements, and a list of each discriminator's answers before
    the judgement.

    T. Wang et al., "High-resolution image synthesis and semantic manipulation with conditional GANs", CVPR 2018,
    doi:10.1109/CVPR.2018.00917.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the judgements.
        num_d: how many discriminators.
        num_layers_d: of each.
        channels: of each one's first layer.
        norm: see `PatchDiscriminator`.
        last_kernel_size: see `PatchDiscriminator`.

    Raises:
        BadArgument: no discriminator, or another rank or number of channels.
        BadGeometry: an image too small for the layers.

    Example:
        >>> import torch
        >>> network = MultiScalePatchDiscriminator(2, 1, num_d=2, num_layers_d=2)
        >>> judgements, features = network(torch.zeros(1, 1, 64, 64))
        >>> [tuple(j.shape) for j in judgements]
        [(1, 1, 14, 14), (1, 1, 6, 6)]
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 1,
        *,
        num_d: int = 3,
        num_layers_d: int = 3,
        channels: int = 64,
        norm: Spec = "batch",
        last_kernel_size: int | None = None,
    ) -> None:
        super().__init__()
        if num_d < 1:
            raise BadArgument("there is no discriminator", found=f"num_d={num_d}", due="at least 1")
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis: any that is large enough."""
        self.discriminators = nn.ModuleList(
            PatchDiscriminator(
                spatial_dims,
                in_channels,
                out_channels,
                channels=channels,
                num_layers_d=num_layers_d,
                norm=norm,
                last_kernel_size=last_kernel_size,
            )
            for _ in range(num_d)
        )

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        judgements, features = [], []
        pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
        for i, discriminator in enumerate(self.discriminators):
            if i:
                x = pool[x.dim() - 2](x, 2)
            *answers, judgement = discriminator(x)
            judgements.append(judgement)
            features.append(answers)
        return judgements, features
