"""Network architectures and the blocks they are built from: plain PyTorch, usable alone."""

from medframe.networks.nets import DenseNet, DynUNet, EfficientNet, FlexibleUNet, ResNet, SEResNet, UNet

__all__ = ["DenseNet", "DynUNet", "EfficientNet", "FlexibleUNet", "ResNet", "SEResNet", "UNet"]
