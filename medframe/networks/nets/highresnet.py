"""The residual network of dilated convolutions that never leaves full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F

from medframe.base.errors import BadArgument
from medframe.networks.blocks.convolution import Convolution
from medframe.networks.checkpointing import run_block
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.layers import Spec, act_layer, conv_layer, norm_layer
from medframe.networks.sizes import check_channels, check_input, check_spatial_dims

ChannelMatching: TypeAlias = Literal["pad", "project"]

LAYERS: tuple[Mapping[str, Any], ...] = (
    {"name": "conv_0", "n_features": 16, "kernel_size": 3},
    {"name": "res_1", "n_features": 16, "kernels": (3, 3), "repeat": 3},
    {"name": "res_2", "n_features": 32, "kernels": (3, 3), "repeat": 3},
    {"name": "res_3", "n_features": 64, "kernels": (3, 3), "repeat": 3},
    {"name": "conv_1", "n_features": 80, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
)


class HighResBlock(nn.Module):
    """Normalised, activated and convolved once for each kernel, added to the input: (B, C, *n) to (B, C', *n).

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: C.
        out_channels: C'.
        kernels: sizes of the convolutions' kernels; odd.
        dilation: of all the convolutions.
        norm: the normalisation.
        act: the activation.
        bias: whether convolutions have one.
        channel_matching: where channels grow, "pad" the input with zeros on both sides, or "project" it by a
            convolution of kernel 1.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernels: Sequence[int] = (3, 3),
        dilation: int = 1,
        *,
        norm: Spec = "batch",
        act: Spec = "relu",
        bias: bool = False,
        channel_matching: ChannelMatching = "pad",
    ) -> None:
        super().__init__()
        if channel_matching not in ("pad", "project") or (channel_matching == "pad" and out_channels < in_channels):
            raise BadArgument(
                "channels cannot be matched",
                found=f"{channel_matching!r} from {in_channels} to {out_channels} channels",
                due="'pad' to more channels, or 'project'",
            )
        grown = out_channels - in_channels
        self.pad = (grown // 2, grown - grown // 2) if channel_matching == "pad" else (0, 0)
        self.project: nn.Module = nn.Identity()
        if grown and channel_matching == "project":
            self.project = conv_layer(spatial_dims, in_channels, out_channels, 1)
        self.layers = nn.Sequential()
        for i, kernel in enumerate(kernels):
            width = out_channels if i else in_channels
            self.layers.append(norm_layer(norm, spatial_dims, width))
            self.layers.append(act_layer(act))
            self.layers.append(conv_layer(spatial_dims, width, out_channels, kernel, dilation=dilation, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        same: Tensor = self.project(x)
        if any(self.pad):
            same = F.pad(same, (*[0] * (2 * (x.dim() - 2)), *self.pad))
        out: Tensor = same + self.layers(x)
        return out


class HighResNet(nn.Module):
    """Residual blocks at full resolution: (B, in_channels, *spatial) becomes (B, out_channels, *spatial) logits.

    The first convolution is followed by groups of residual blocks whose convolutions are dilated by 1, 2, 4 and so on,
    and by two convolutions of kernel 1. Every size will do; memory grows with every block, so that `checkpointing` is
    worth its time here. Weights: `he_init`.

    W. Li, G. Wang, L. Fidon, S. Ourselin, M. J. Cardoso, T. Vercauteren, "On the compactness, efficiency, and
    representation of 3D convolutional networks: brain parcellation as a pretext task", IPMI 2017,
    doi:10.1007/978-3-319-59050-9_28.

    Example:
        >>> import torch
        >>> net = HighResNet(2, in_channels=1, out_channels=3)
        >>> net(torch.zeros(1, 1, 20, 31)).shape
        torch.Size([1, 3, 20, 31])

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: of the image.
        out_channels: of the logits, one for each class.
        norm_type: the normalisation.
        acti_type: the activation.
        dropout_prob: the chance that a voxel of a channel is set to zero before the last convolution.
        bias: whether convolutions have one.
        layer_params: what the network is made of, from first to last: convolutions with "n_features" and
            "kernel_size" at its beginning and its end, the very last without "n_features", and groups of blocks with
            "n_features", "kernels" and "repeat" between them.
        channel_matching: "pad" or "project", see `HighResBlock`.
        act_last: activate the logits, as some published weights were trained; the paper does not.
        checkpointing: keep less for the way back and compute it again.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input without voxels.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        norm_type: Spec = "batch",
        acti_type: Spec = "relu",
        dropout_prob: float = 0.0,
        bias: bool = False,
        layer_params: Sequence[Mapping[str, Any]] = LAYERS,
        channel_matching: ChannelMatching = "pad",
        act_last: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_channels(in_channels=in_channels, out_channels=out_channels)
        first, *groups, wide, last = [dict(layer) for layer in layer_params] if len(layer_params) >= 3 else [{}] * 3
        ends = [{"n_features", "kernel_size"} <= set(layer) for layer in (first, wide)]
        if not (
            all(ends) and "kernel_size" in last and all({"n_features", "kernels", "repeat"} <= set(g) for g in groups)
        ):
            raise BadArgument(
                "layer_params do not describe the network",
                found=[layer.get("name", sorted(layer)) for layer in layer_params],
                due="a convolution, groups of blocks, and two convolutions",
            )
        self.in_channels = in_channels
        self.multiple = (1,) * spatial_dims
        """What the input's size must be divisible by, for each axis."""
        self.checkpointing = checkpointing
        width = first["n_features"]
        self.stem = Convolution(
            spatial_dims, in_channels, width, first["kernel_size"], norm=norm_type, act=acti_type, bias=bias
        )
        self.blocks = nn.ModuleList()
        for i, group in enumerate(groups):
            for _ in range(group["repeat"]):
                self.blocks.append(
                    HighResBlock(
                        spatial_dims,
                        width,
                        group["n_features"],
                        group["kernels"],
                        2**i,
                        norm=norm_type,
                        act=acti_type,
                        bias=bias,
                        channel_matching=channel_matching,
                    )
                )
                width = group["n_features"]
        self.wide = Convolution(
            spatial_dims,
            width,
            wide["n_features"],
            wide["kernel_size"],
            norm=norm_type,
            dropout=dropout_prob,
            act=acti_type,
            bias=bias,
        )
        self.head = Convolution(
            spatial_dims,
            wide["n_features"],
            out_channels,
            last["kernel_size"],
            norm=norm_type,
            act=acti_type if act_last else None,
            bias=bias,
        )
        he_init(self, negative_slope(act_layer(acti_type)))

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "HighResNet")
        x = self.stem(x)
        for block in self.blocks:
            x = run_block(block, x, checkpointing=self.checkpointing)
        logits: Tensor = self.head(self.wide(x))
        return logits
