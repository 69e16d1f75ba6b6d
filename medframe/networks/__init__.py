"""Network architectures and the blocks they are built from: plain PyTorch, usable alone."""

from medframe.networks.nets import DynUNet, UNet

__all__ = ["DynUNet", "UNet"]
