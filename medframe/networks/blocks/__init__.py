"""Building blocks that several architectures share, one a file."""

from medframe.networks.blocks.convolution import Convolution
from medframe.networks.blocks.residual_unit import ResidualUnit

__all__ = ["Convolution", "ResidualUnit"]
