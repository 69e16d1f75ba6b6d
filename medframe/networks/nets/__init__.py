"""Architectures, one a file."""

from medframe.networks.nets.autoencoder import AutoEncoder, VarAutoEncoder
from medframe.networks.nets.autoencoder_kl import AutoencoderKL, kl_loss
from medframe.networks.nets.densenet import DenseNet
from medframe.networks.nets.diffusion_unet import ControlNet, DiffusionModelUNet
from medframe.networks.nets.discriminators import MultiScalePatchDiscriminator, PatchDiscriminator
from medframe.networks.nets.dynunet import DynUNet
from medframe.networks.nets.efficientnet import EfficientNet
from medframe.networks.nets.flexible_unet import FlexibleUNet
from medframe.networks.nets.mae_vit import MAEViT
from medframe.networks.nets.regressor import Generator, Regressor
from medframe.networks.nets.resnet import ResNet
from medframe.networks.nets.senet import SEResNet
from medframe.networks.nets.spade import SPADEAutoencoderKL, SPADEDiffusionModelUNet
from medframe.networks.nets.swin_unetr import SwinUNETR
from medframe.networks.nets.unet import UNet
from medframe.networks.nets.unetr import UNETR
from medframe.networks.nets.vit import ViT
from medframe.networks.nets.vqvae import VQVAE

__all__ = [
    "UNETR",
    "VQVAE",
    "AutoEncoder",
    "AutoencoderKL",
    "ControlNet",
    "DenseNet",
    "DiffusionModelUNet",
    "DynUNet",
    "EfficientNet",
    "FlexibleUNet",
    "Generator",
    "MAEViT",
    "MultiScalePatchDiscriminator",
    "PatchDiscriminator",
    "Regressor",
    "ResNet",
    "SEResNet",
    "SPADEAutoencoderKL",
    "SPADEDiffusionModelUNet",
    "SwinUNETR",
    "UNet",
    "VarAutoEncoder",
    "ViT",
    "kl_loss",
]
