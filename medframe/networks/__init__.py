"""Network architectures and the blocks they are built from: plain PyTorch, usable alone."""

from medframe.networks.nets import (
    UNETR,
    DenseNet,
    DynUNet,
    EfficientNet,
    FlexibleUNet,
    MAEViT,
    ResNet,
    SEResNet,
    SwinUNETR,
    UNet,
    ViT,
)

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
