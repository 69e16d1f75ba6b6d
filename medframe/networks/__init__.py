"""Network architectures and the blocks they are built from: plain PyTorch, usable alone."""

from medframe.networks.nets import (
    AttentionUNet,
    BasicUNet,
    DynUNet,
    HighResNet,
    MedNeXt,
    ResEncUNet,
    SegResNet,
    SegResNetDS,
    SegResNetVAE,
    UNet,
    UNetPlusPlus,
    VNet,
)
from medframe.networks.weights import KeyReport, freeze, load_weights, parameter_groups, unfreeze

__all__ = [
    "AttentionUNet",
    "BasicUNet",
    "DynUNet",
    "HighResNet",
    "KeyReport",
    "MedNeXt",
    "ResEncUNet",
    "SegResNet",
    "SegResNetDS",
    "SegResNetVAE",
    "UNet",
    "UNetPlusPlus",
    "VNet",
    "freeze",
    "load_weights",
    "parameter_groups",
    "unfreeze",
]
