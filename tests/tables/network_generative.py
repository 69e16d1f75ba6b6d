"""Generative networks of the contract of tests/networks/test_networks_contract.py."""

import torch
from network_row import Row, dims

from medframe.networks.nets.autoencoder_kl import AutoencoderKL
from medframe.networks.nets.diffusion_unet import ControlNet, DiffusionModelUNet
from medframe.networks.nets.discriminators import MultiScalePatchDiscriminator, PatchDiscriminator
from medframe.networks.nets.spade import SPADEAutoencoderKL, SPADEDiffusionModelUNet
from medframe.networks.nets.spade_net import SPADENet
from medframe.networks.nets.vqvae import VQVAE

TWO = {"channels": (8, 16), "attention_levels": (False, True), "num_res_blocks": 1, "norm_num_groups": 4}
LEVELS = ((8, 8, 10), (7, 7, 9), (4, 4, 5), (3, 3, 4))


def steps(batch):
    return torch.arange(batch) * 100


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


ROWS = [
    Row(
        "autoencoder-kl-2d",
        AutoencoderKL,
        dims(2, 2, 1, **TWO, checkpointing=True),
        size=(16, 24),
        multiple=(2, 2),
        parameters=None,
        shapes=lambda b: [(b, 1, 16, 24), (b, 3, 8, 12), (b, 3, 8, 12)],
    ),
    Row(
        "autoencoder-kl-3d",
        AutoencoderKL,
        dims(3, 1, 1, channels=(4, 8), attention_levels=(False, False), norm_num_groups=2, num_res_blocks=(1, 2)),
        size=(8, 8, 16),
        multiple=(2, 2, 2),
        parameters=None,
        shapes=lambda b: [(b, 1, 8, 8, 16), (b, 3, 4, 4, 8), (b, 3, 4, 4, 8)],
    ),
    Row(
        "vqvae-2d",
        VQVAE,
        dims(2, 1, 2, channels=(8, 12), num_res_channels=8, num_res_layers=1, num_embeddings=8, embedding_dim=4),
        size=(16, 24),
        multiple=(4, 4),
        parameters=None,
        shapes=lambda b: [(b, 2, 16, 24), ()],
        bfloat16=1.0,  # a voxel between two vectors may take the other one
    ),
    Row(
        "diffusion-unet-2d-context",
        DiffusionModelUNet,
        dims(2, 1, 2, with_conditioning=True, cross_attention_dim=5, num_class_embeds=3, **TWO),
        size=(16, 24),
        multiple=(2, 2),
        parameters=None,
        extra=lambda b: (steps(b), noise(b, 4, 5), torch.arange(b) % 3),
        wakes=True,
    ),
    Row(
        "diffusion-unet-3d-updown",
        DiffusionModelUNet,
        dims(3, 2, 1, resblock_updown=True, **TWO),
        size=(8, 8, 8),
        multiple=(2, 2, 2),
        parameters=None,
        extra=lambda b: (steps(b),),
        wakes=True,
    ),
    Row(
        "controlnet-2d",
        ControlNet,
        {"spatial_dims": 2, "in_channels": 1, "conditioning_embedding_num_channels": (4,), **TWO},
        size=(16, 24),
        multiple=(2, 2),
        parameters=None,
        extra=lambda b: (steps(b), noise(b, 1, 16, 24)),
        shapes=lambda b: [(b, 8, 16, 24), (b, 8, 16, 24), (b, 8, 8, 12), (b, 16, 8, 12), (b, 16, 8, 12)],
        wakes=True,
    ),
    Row(
        "spade-autoencoder-kl-2d",
        SPADEAutoencoderKL,
        dims(2, 1, 1, label_nc=3, spade_intermediate_channels=4, **TWO),
        size=(16, 24),
        multiple=(2, 2),
        parameters=None,
        extra=lambda b: (noise(b, 3, 16, 24),),
        shapes=lambda b: [(b, 1, 16, 24), (b, 3, 8, 12), (b, 3, 8, 12)],
    ),
    Row(
        "spade-diffusion-unet-2d",
        SPADEDiffusionModelUNet,
        dims(2, 1, 1, label_nc=3, spade_intermediate_channels=4, **TWO),
        size=(16, 24),
        multiple=(2, 2),
        parameters=None,
        extra=lambda b: (steps(b), noise(b, 3, 16, 24)),
        wakes=True,
    ),
    Row(
        "spade-net-2d",
        SPADENet,
        dims(2, 2, 1, label_nc=3, input_shape=(16, 24), channels=(4, 6), z_dim=5, spade_intermediate_channels=4),
        size=(16, 24),
        multiple=None,
        parameters=None,
        extra=lambda b: (noise(b, 3, 16, 24),),
        shapes=lambda b: [(b, 1, 16, 24), (b, 5), (b, 5)],
    ),
    Row(
        "spade-net-3d",
        SPADENet,
        dims(
            3,
            1,
            1,
            label_nc=2,
            input_shape=12,
            channels=(4, 4),
            z_dim=5,
            spade_intermediate_channels=4,
            last_act="tanh",
        ),
        size=(12, 12, 12),
        multiple=None,
        parameters=None,
        extra=lambda b: (noise(b, 2, 12, 12, 12),),
        shapes=lambda b: [(b, 1, 12, 12, 12), (b, 5), (b, 5)],
    ),
    Row(
        "patch-discriminator-3d",
        PatchDiscriminator,
        dims(3, 1, 1, channels=4, num_layers_d=1),
        size=(16, 16, 20),
        multiple=(1, 1, 1),
        parameters=None,
        shapes=lambda b: [(b, 4, 8, 8, 10), (b, 8, 7, 7, 9), (b, 1, 6, 6, 8)],
    ),
    Row(
        "vqvae-3d",
        VQVAE,
        dims(3, 1, 1, channels=(4, 8), num_res_channels=4, num_res_layers=1, num_embeddings=8, embedding_dim=4),
        size=(8, 8, 12),
        multiple=(4, 4, 4),
        parameters=None,
        shapes=lambda b: [(b, 1, 8, 8, 12), ()],
        bfloat16=1.0,
    ),
    Row(
        "controlnet-3d",
        ControlNet,
        {"spatial_dims": 3, "in_channels": 1, "conditioning_embedding_num_channels": (4,), **TWO},
        size=(4, 8, 8),
        multiple=(2, 2, 2),
        parameters=None,
        extra=lambda b: (steps(b), noise(b, 1, 4, 8, 8)),
        shapes=lambda b: [(b, 8, 4, 8, 8), (b, 8, 4, 8, 8), (b, 8, 2, 4, 4), (b, 16, 2, 4, 4), (b, 16, 2, 4, 4)],
        wakes=True,
    ),
    Row(
        "spade-autoencoder-kl-3d",
        SPADEAutoencoderKL,
        dims(3, 1, 1, label_nc=3, spade_intermediate_channels=4, **TWO),
        size=(4, 8, 8),
        multiple=(2, 2, 2),
        parameters=None,
        extra=lambda b: (noise(b, 3, 4, 8, 8),),
        shapes=lambda b: [(b, 1, 4, 8, 8), (b, 3, 2, 4, 4), (b, 3, 2, 4, 4)],
    ),
    Row(
        "spade-diffusion-unet-3d",
        SPADEDiffusionModelUNet,
        dims(3, 1, 1, label_nc=3, spade_intermediate_channels=4, **TWO),
        size=(8, 8, 8),
        multiple=(2, 2, 2),
        parameters=None,
        extra=lambda b: (steps(b), noise(b, 3, 8, 8, 8)),
        wakes=True,
    ),
    Row(
        "patch-discriminator-2d",
        PatchDiscriminator,
        dims(2, 2, 1, channels=4, num_layers_d=2, norm="instance"),
        size=(33, 40),
        multiple=(1, 1),
        parameters=None,
        shapes=lambda b: [(b, 4, 16, 20), (b, 8, 8, 10), (b, 16, 7, 9), (b, 1, 6, 8)],
    ),
    Row(
        "multi-scale-discriminator-2d",
        MultiScalePatchDiscriminator,
        dims(2, 1, 1, channels=4, num_layers_d=1, num_d=2),
        size=(32, 40),
        multiple=(1, 1),
        parameters=None,
        shapes=lambda b: [(b, 1, 14, 18), (b, 1, 6, 8), (b, 4, 16, 20), (b, 8, 15, 19), (b, 4, 8, 10), (b, 8, 7, 9)],
    ),
    Row(
        "multi-scale-discriminator-3d",
        MultiScalePatchDiscriminator,
        dims(3, 1, 1, channels=4, num_layers_d=1, num_d=2),
        size=(16, 16, 20),
        multiple=(1, 1, 1),
        parameters=None,
        shapes=lambda b: (
            [(b, 1, 6, 6, 8), (b, 1, 2, 2, 3)] + [(b, c, *n) for c, n in zip((4, 8) * 2, LEVELS, strict=True)]
        ),
    ),
]
