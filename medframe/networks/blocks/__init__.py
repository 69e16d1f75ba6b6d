"""Building blocks that several architectures share, one a file."""

from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.pre_activation_block import PreActivationBlock
from medframe.networks.blocks.residual_unit import ResidualUnit
from medframe.networks.blocks.upsampling import Upsampling
from medframe.networks.blocks.warp import DVF2DDF, Warp

__all__ = ["DVF2DDF", "Convolution", "PreActivationBlock", "ResidualUnit", "Upsampling", "Warp"]
