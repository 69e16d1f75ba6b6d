"""Architectures, one a file."""

from medframe.networks.nets.dynunet import DynUNet
from medframe.networks.nets.unet import UNet

__all__ = ["DynUNet", "UNet"]
