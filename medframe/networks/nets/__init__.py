"""Architectures, one a file."""

from medframe.networks.nets.densenet import DenseNet
from medframe.networks.nets.dynunet import DynUNet
from medframe.networks.nets.efficientnet import EfficientNet
from medframe.networks.nets.flexible_unet import FlexibleUNet
from medframe.networks.nets.mae_vit import MAEViT
from medframe.networks.nets.resnet import ResNet
from medframe.networks.nets.senet import SEResNet
from medframe.networks.nets.swin_unetr import SwinUNETR
from medframe.networks.nets.unet import UNet
from medframe.networks.nets.unetr import UNETR
from medframe.networks.nets.vit import ViT

__all__ = [
    "UNETR",
    "DenseNet",
    "DynUNet",
    "EfficientNet",
    "FlexibleUNet",
    "MAEViT",
    "ResNet",
    "SEResNet",
    "SwinUNETR",
    "UNet",
    "ViT",
]
