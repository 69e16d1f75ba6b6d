"""Architectures, one a file."""

from medframe.networks.nets.attention_unet import AttentionUNet
from medframe.networks.nets.autoencoder import AutoEncoder, VarAutoEncoder
from medframe.networks.nets.autoencoder_kl import AutoencoderKL, kl_loss
from medframe.networks.nets.basic_unet import BasicUNet
from medframe.networks.nets.classifier import Classifier, Discriminator
from medframe.networks.nets.densenet import DenseNet
from medframe.networks.nets.diffusion_unet import ControlNet, DiffusionModelUNet
from medframe.networks.nets.discriminators import MultiScalePatchDiscriminator, PatchDiscriminator
from medframe.networks.nets.dynunet import DynUNet
from medframe.networks.nets.efficientnet import EfficientNet
from medframe.networks.nets.flexible_unet import FlexibleUNet
from medframe.networks.nets.global_net import GlobalNet
from medframe.networks.nets.highresnet import HighResNet
from medframe.networks.nets.local_net import LocalNet
from medframe.networks.nets.mae_vit import MAEViT
from medframe.networks.nets.mednext import MedNeXt
from medframe.networks.nets.reg_unet import RegUNet
from medframe.networks.nets.regressor import Generator, Regressor
from medframe.networks.nets.res_enc_unet import ResEncUNet
from medframe.networks.nets.resnet import ResNet
from medframe.networks.nets.segresnet import SegResNet
from medframe.networks.nets.segresnet_ds import SegResNetDS
from medframe.networks.nets.segresnet_vae import SegResNetVAE
from medframe.networks.nets.senet import SEResNet
from medframe.networks.nets.senet154 import SENet154
from medframe.networks.nets.spade import SPADEAutoencoderKL, SPADEDiffusionModelUNet
from medframe.networks.nets.spade_net import SPADENet
from medframe.networks.nets.swin_unetr import SwinUNETR
from medframe.networks.nets.unet import UNet
from medframe.networks.nets.unet_plus_plus import UNetPlusPlus
from medframe.networks.nets.unetr import UNETR
from medframe.networks.nets.vit import ViT
from medframe.networks.nets.vit_autoenc import ViTAutoEnc
from medframe.networks.nets.vnet import VNet
from medframe.networks.nets.voxelmorph import VoxelMorph, VoxelMorphUNet
from medframe.networks.nets.vqvae import VQVAE

__all__ = [
    "UNETR",
    "VQVAE",
    "AttentionUNet",
    "AutoEncoder",
    "AutoencoderKL",
    "BasicUNet",
    "Classifier",
    "ControlNet",
    "DenseNet",
    "DiffusionModelUNet",
    "Discriminator",
    "DynUNet",
    "EfficientNet",
    "FlexibleUNet",
    "Generator",
    "GlobalNet",
    "HighResNet",
    "LocalNet",
    "MAEViT",
    "MedNeXt",
    "MultiScalePatchDiscriminator",
    "PatchDiscriminator",
    "RegUNet",
    "Regressor",
    "ResEncUNet",
    "ResNet",
    "SENet154",
    "SEResNet",
    "SPADEAutoencoderKL",
    "SPADEDiffusionModelUNet",
    "SPADENet",
    "SegResNet",
    "SegResNetDS",
    "SegResNetVAE",
    "SwinUNETR",
    "UNet",
    "UNetPlusPlus",
    "VNet",
    "VarAutoEncoder",
    "ViT",
    "ViTAutoEnc",
    "VoxelMorph",
    "VoxelMorphUNet",
    "kl_loss",
]
