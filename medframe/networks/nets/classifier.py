"""From an image to classes, and to whether it is real, by residual units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medframe.networks.layers import Spec
from medframe.networks.nets.regressor import Regressor
from medframe.networks.sizes import PerAxis, check_channels


class Classifier(Regressor):
    """Strided residual units and one linear layer: (B, *in_shape) to logits (B, classes).

    E. Kerfoot et al., "Left-ventricle quantification using residual U-Net", STACOM 2018,
    doi:10.1007/978-3-030-12029-0_40 (the units).

    Args:
        spatial_dims: 1, 2 or 3.
        in_shape: (channels, *spatial) of the image.
        classes: how many.
        channels: of each stage.
        strides: of each stage.
        last_act: of the answer; None for logits.
        options: the other arguments of `Regressor`.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input of another size.

    Example:
        >>> import torch
        >>> Classifier(2, (1, 16, 16), 3, channels=(4, 8), strides=(2, 2))(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_shape: Sequence[int],
        classes: int,
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        last_act: Spec | None = None,
        **options: Any,
    ) -> None:
        check_channels(classes=classes)
        super().__init__(spatial_dims, in_shape, (classes,), channels, strides, last_act=last_act, **options)


class Discriminator(Regressor):
    """Strided residual units and one linear layer: (B, *in_shape) to the probability (B, 1) that an image is real.

    The judge of `Generator`; for a judgement of every patch see `PatchDiscriminator`.

    I. Goodfellow et al., "Generative adversarial nets", NeurIPS 2014, arXiv:1406.2661.

    Args:
        spatial_dims: 1, 2 or 3.
        in_shape: (channels, *spatial) of the image.
        channels: of each stage.
        strides: of each stage.
        dropout: after each normalisation.
        last_act: of the answer; None for logits, as losses with a logarithm of their own want them.
        options: the other arguments of `Regressor`.

    Raises:
        BadArgument: arguments that contradict each other, or an input of another rank or number of channels.
        BadGeometry: an input of another size.

    Example:
        >>> import torch
        >>> real = Discriminator(2, (1, 16, 16), channels=(4, 8), strides=(2, 2))(torch.zeros(2, 1, 16, 16))
        >>> real.shape, bool(((real > 0) & (real < 1)).all())
        (torch.Size([2, 1]), True)
    """

    def __init__(
        self,
        spatial_dims: int,
        in_shape: Sequence[int],
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        dropout: float = 0.25,
        last_act: Spec | None = "sigmoid",
        **options: Any,
    ) -> None:
        super().__init__(spatial_dims, in_shape, (1,), channels, strides, dropout=dropout, last_act=last_act, **options)
