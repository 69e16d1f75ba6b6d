"""Architectures, one a file."""

from medframe.networks.nets.densenet import DenseNet
from medframe.networks.nets.dynunet import DynUNet
from medframe.networks.nets.efficientnet import EfficientNet
from medframe.networks.nets.flexible_unet import FlexibleUNet
from medframe.networks.nets.resnet import ResNet
from medframe.networks.nets.senet import SEResNet
from medframe.networks.nets.unet import UNet

__all__ = ["DenseNet", "DynUNet", "EfficientNet", "FlexibleUNet", "ResNet", "SEResNet", "UNet"]
