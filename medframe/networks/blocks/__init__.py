"""Building blocks that several architectures share, one a file."""

from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.pre_activation_block import PreActivationBlock
from medframe.networks.blocks.residual_unit import ResidualUnit
from medframe.networks.blocks.upsampling import Upsampling

__all__ = ["Convolution", "PreActivationBlock", "ResidualUnit", "Upsampling"]
