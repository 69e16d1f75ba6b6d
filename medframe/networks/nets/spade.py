"""Generative networks under the guidance of a label map."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from medframe.base.errors import BadArgument
from medframe.networks.blocks.diffusion import TimedResidual
from medframe.networks.blocks.latent_residual import Normed
from medframe.networks.blocks.spade import SPADE
from medframe.networks.nets.autoencoder_kl import AutoencoderKL, LatentDecoder
from medframe.networks.nets.diffusion_unet import DiffusionModelUNet
from medframe.networks.sizes import check_channels, check_input


def _guided(
    spatial_dims: int, label_nc: int, hidden: int, *, options: dict[str, Any], affine: bool, normalised: bool
) -> Normed:
    groups, eps = options.get("norm_num_groups", 32), options.get("norm_eps", 1e-6)
    norm = ("group", {"num_groups": groups, "eps": eps, "affine": affine})
    return lambda channels: SPADE(
        spatial_dims, label_nc, channels, hidden_channels=hidden, norm=norm, normalised_scales=normalised
    )


def _check_labels(labels: Tensor, image: Tensor, label_nc: int) -> None:
    if labels.dim() != image.dim() or labels.shape[:2] != (image.shape[0], label_nc):
        raise BadArgument(
            "the label map that guides does not fit",
            found=f"shape {tuple(labels.shape)}",
            due=f"shape ({image.shape[0]}, {label_nc}, {', '.join(['size'] * (image.dim() - 2))})",
            mend="Make it one-hot first: one channel for each label.",
        )


class SPADEAutoencoderKL(AutoencoderKL):
    """`AutoencoderKL` whose decoder is guided by a one-hot label map: `network(x, labels)`.

    The image is (B, in_channels, *spatial), the label map (B, label_nc, *any), fitted to each scale.

    T. Park, M. Liu, T. Wang, J. Zhu, "Semantic image synthesis with spatially-adaptive normalization", CVPR 2019,
    doi:10.1109/CVPR.2019.00244.

    Args:
        spatial_dims: 1, 2 or 3.
        label_nc: channels of the label map.
        in_channels: see `AutoencoderKL`.
        out_channels: see there.
        spade_intermediate_channels: of the layer between labels and scales.
        normalised_scales: see `SPADE`.
        options: the other arguments of `AutoencoderKL`.

    Raises:
        BadArgument: see `AutoencoderKL`; or a label map that does not fit.

    Example:
        >>> import torch
        >>> network = SPADEAutoencoderKL(2, 3, channels=(8, 16), attention_levels=(False, False), num_res_blocks=1,
        ...                              norm_num_groups=4, spade_intermediate_channels=4)
        >>> network(torch.zeros(1, 1, 16, 16), torch.zeros(1, 3, 16, 16))[0].shape
        torch.Size([1, 1, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        label_nc: int,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        spade_intermediate_channels: int = 128,
        normalised_scales: bool = False,
        **options: Any,
    ) -> None:
        check_channels(label_nc=label_nc)
        self._norm = _guided(
            spatial_dims,
            label_nc,
            spade_intermediate_channels,
            options=options,
            affine=False,
            normalised=normalised_scales,
        )
        super().__init__(spatial_dims, in_channels, out_channels, **options)
        del self._norm
        self.label_nc = label_nc

    def _make_decoder(self, *args: Any, **options: Any) -> LatentDecoder:
        return LatentDecoder(*args, **options, norm=self._norm)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """An image from a latent image and a label map."""
        if labels is None:
            raise BadArgument("a guided decoder needs a label map", found="none", due="decode(z, labels)")
        _check_labels(labels, z, self.label_nc)
        image: Tensor = self.decoder(self.post_quant_conv(z), labels)
        return image

    def forward(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        mean, deviation = self.encode(x)
        return self.decode(self.sampling(mean, deviation) if self.training else mean, labels), mean, deviation


class SPADEDiffusionModelUNet(DiffusionModelUNet):
    """`DiffusionModelUNet` whose way up is guided by a one-hot label map: `network(x, timesteps, labels)`.

    The image is (B, in_channels, *spatial), the steps (B,), the label map (B, label_nc, *any), fitted to each scale.

    T. Park, M. Liu, T. Wang, J. Zhu, "Semantic image synthesis with spatially-adaptive normalization", CVPR 2019,
    doi:10.1109/CVPR.2019.00244.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: see `DiffusionModelUNet`.
        out_channels: see there.
        label_nc: channels of the label map.
        spade_intermediate_channels: of the layer between labels and scales.
        normalised_scales: see `SPADE`.
        options: the other arguments of `DiffusionModelUNet`.

    Raises:
        BadArgument: see `DiffusionModelUNet`; or a label map that does not fit.

    Example:
        >>> import torch
        >>> network = SPADEDiffusionModelUNet(2, 1, 1, 3, channels=(8, 16), attention_levels=(False, False),
        ...                                   num_res_blocks=1, norm_num_groups=4, spade_intermediate_channels=4)
        >>> network(torch.zeros(1, 1, 16, 16), torch.tensor([3]), torch.zeros(1, 3, 16, 16)).shape
        torch.Size([1, 1, 16, 16])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        label_nc: int,
        *,
        spade_intermediate_channels: int = 128,
        normalised_scales: bool = False,
        **options: Any,
    ) -> None:
        check_channels(label_nc=label_nc)
        self._norm = _guided(
            spatial_dims,
            label_nc,
            spade_intermediate_channels,
            options=options,
            affine=True,
            normalised=normalised_scales,
        )
        super().__init__(spatial_dims, in_channels, out_channels, **options)
        del self._norm
        self.label_nc = label_nc

    def _upward(self, timed: partial[TimedResidual]) -> partial[TimedResidual]:
        return partial(timed, norm=self._norm)

    def forward(  # type: ignore[override]  # guided: the label map is not optional
        self,
        x: Tensor,
        timesteps: Tensor,
        labels: Tensor,
        context: Tensor | None = None,
        class_labels: Tensor | None = None,
    ) -> Tensor:
        check_input(x, self.in_channels, self.multiple, "SPADEDiffusionModelUNet")
        _check_labels(labels, x, self.label_nc)
        return self._answer(x, self._time(x, timesteps, class_labels), context, labels=(labels,))
