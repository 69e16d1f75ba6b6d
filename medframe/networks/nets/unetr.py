"""A U-Net whose encoder is a vision transformer."""

from __future__ import annotations

from torch import Tensor, nn

from medframe.base.errors import BadArgument
from medframe.networks.blocks.patch_embedding import image_of
from medframe.networks.blocks.unetr import ResidualConv, UpJoin
from medframe.networks.layers import Spec, conv_layer, transposed_conv_layer
from medframe.networks.nets.vit import ViT
from medframe.networks.sizes import PerAxis, check_channels, check_spatial_dims


class UNETR(nn.Module):
    """Transformer U-Net: (B, in_channels, *img_size) becomes (B, out_channels, *img_size) logits.

    The tokens after 3, 6, 9 and 12 blocks of a vision transformer with patches of 16 voxels are brought to an eighth,
    a quarter, a half and a sixteenth of the size, and joined by a convolutional decoder.

    A. Hatamizadeh et al., "UNETR: transformers for 3D medical image segmentation", WACV 2022,
    doi:10.1109/WACV51458.2022.00181.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        img_size: of the image, for all axes or for each; multiples of 16.
        feature_size: channels of the finest decoder stage.
        hidden_size: channels of a token.
        mlp_dim: of the layer within each block's small network.
        num_heads: of the attention; divides `hidden_size`.
        norm: of the convolutions.
        qkv_bias: whether queries, keys and values have a bias.
        dropout: within the transformer.
        checkpointing: compute transformer blocks again in the backward pass rather than keep what they held.

    Raises:
        BadArgument: sizes that 16 does not divide, heads that do not divide the tokens, another rank or number of
            channels.
        BadGeometry: an image of another size.

    Example:
        >>> import torch
        >>> network = UNETR(2, 1, 4, img_size=32, feature_size=8, hidden_size=24, mlp_dim=48, num_heads=2)
        >>> network(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 4, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        img_size: PerAxis,
        feature_size: int = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_heads: int = 12,
        norm: Spec = ("instance", {"affine": False}),
        qkv_bias: bool = False,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels, feature_size=feature_size)
        if spatial_dims == 1:
            raise BadArgument("UNETR is made for images", found="spatial_dims=1", due="2 or 3")
        self.vit = ViT(
            spatial_dims,
            in_channels,
            1,
            img_size=img_size,
            patch_size=16,
            hidden_size=hidden_size,
            mlp_dim=mlp_dim,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
            class_token=False,
            dropout=dropout,
            checkpointing=checkpointing,
        )
        del self.vit.head  # no classes here
        self.multiple = self.vit.multiple
        """What `img_size` must be divisible by, for each axis."""
        f = feature_size
        self.encoder1 = ResidualConv(spatial_dims, in_channels, f, norm)

        def climb(outside: int, times: int) -> nn.Sequential:
            """Tokens to an image of twice the size, `times` times again."""
            first = transposed_conv_layer(spatial_dims, hidden_size, outside, 2, 2, bias=False)
            more = (
                nn.Sequential(
                    transposed_conv_layer(spatial_dims, outside, outside, 2, 2, bias=False),
                    ResidualConv(spatial_dims, outside, outside, norm),
                )
                for _ in range(times)
            )
            return nn.Sequential(first, *more)

        self.encoder2, self.encoder3, self.encoder4 = climb(2 * f, 2), climb(4 * f, 1), climb(8 * f, 0)
        self.decoder5 = UpJoin(spatial_dims, hidden_size, 8 * f, norm=norm)
        self.decoder4 = UpJoin(spatial_dims, 8 * f, 4 * f, norm=norm)
        self.decoder3 = UpJoin(spatial_dims, 4 * f, 2 * f, norm=norm)
        self.decoder2 = UpJoin(spatial_dims, 2 * f, f, norm=norm)
        self.out = conv_layer(spatial_dims, f, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.vit.encode(x)
        grid = self.vit.grid
        # the last answer of a transformer is normalised, those on the way are not
        x3, x6, x9, x12 = (image_of(tokens[k], grid) for k in (3, 6, 9, 11))
        out = self.decoder5(x12, self.encoder4(x9))
        out = self.decoder4(out, self.encoder3(x6))
        out = self.decoder3(out, self.encoder2(x3))
        logits: Tensor = self.out(self.decoder2(out, self.encoder1(x)))
        return logits
