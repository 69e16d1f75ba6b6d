"""Architectures, one a file."""

from medframe.networks.nets.attention_unet import AttentionUNet
from medframe.networks.nets.basic_unet import BasicUNet
from medframe.networks.nets.dynunet import DynUNet
from medframe.networks.nets.highresnet import HighResNet
from medframe.networks.nets.mednext import MedNeXt
from medframe.networks.nets.res_enc_unet import ResEncUNet
from medframe.networks.nets.segresnet import SegResNet
from medframe.networks.nets.segresnet_ds import SegResNetDS
from medframe.networks.nets.segresnet_vae import SegResNetVAE
from medframe.networks.nets.unet import UNet
from medframe.networks.nets.unet_plus_plus import UNetPlusPlus
from medframe.networks.nets.vnet import VNet

__all__ = [
    "AttentionUNet",
    "BasicUNet",
    "DynUNet",
    "HighResNet",
    "MedNeXt",
    "ResEncUNet",
    "SegResNet",
    "SegResNetDS",
    "SegResNetVAE",
    "UNet",
    "UNetPlusPlus",
    "VNet",
]
