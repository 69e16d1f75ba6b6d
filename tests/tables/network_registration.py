"""Registration networks of the contract of tests/networks/test_networks_contract.py."""

import torch
from network_row import Row, conv, norm

from medframe.networks.nets.global_net import GlobalNet
from medframe.networks.nets.local_net import LocalNet
from medframe.networks.nets.reg_unet import RegUNet
from medframe.networks.nets.voxelmorph import VoxelMorph, VoxelMorphUNet


def fixed(*size):
    """The second image of the pair."""
    return lambda batch: (torch.rand(batch, 1, *size, generator=torch.Generator().manual_seed(3)),)


def answers(channels, *size):
    """Warped image and displacements."""
    return lambda batch: [(batch, channels, *size), (batch, len(size), *size)]


def stage(inside, outside, taps, residual=True):
    """Convolution and norm, then twice the same inside a residual block."""
    inner = conv(outside, outside, taps, 0) + norm(outside)
    return conv(inside, outside, taps, 0) + norm(outside) + residual * 2 * inner


ROWS = [
    Row(
        "voxelmorph-unet-2d",
        VoxelMorphUNet,
        {"spatial_dims": 2, "in_channels": 2, "channels": (4, 5, 6, 7), "unet_out_channels": 8,
         "final_conv_channels": (3,)},
        size=(16, 24),
        multiple=(4, 4),
        parameters=conv(2, 4, 9) + conv(4, 6, 9) + conv(6, 7, 9) + conv(7 + 6, 5, 9) + conv(5 + 4, 8, 9)
        + conv(8, 3, 9) + conv(3, 2, 9),
        shapes=lambda b: [(b, 2, 16, 24)],
    ),
    Row(
        "voxelmorph-unet-3d-strided",
        VoxelMorphUNet,
        {"spatial_dims": 3, "in_channels": 4, "channels": (4, 8), "unet_out_channels": 8, "final_conv_channels": (),
         "use_maxpool": False, "norm": "instance"},
        size=(8, 8, 12),
        multiple=(2, 2, 2),
        parameters=conv(4, 4, 27) + norm(4) + conv(4, 8, 27) + norm(8) + conv(12, 8, 27) + norm(8) + conv(8, 3, 27),
        shapes=lambda b: [(b, 3, 8, 8, 12)],
    ),
    Row(
        "voxelmorph-2d",
        VoxelMorph,
        {"spatial_dims": 2, "in_channels": 1},
        size=(32, 48),
        multiple=(16, 16),
        parameters=conv(2, 16, 9) + conv(16, 32, 9) + 3 * conv(32, 32, 9) + 3 * conv(64, 32, 9) + conv(48, 32, 9)
        + conv(32, 16, 9) + conv(16, 16, 9) + conv(16, 2, 9),
        shapes=answers(1, 32, 48),
        extra=fixed(32, 48),
    ),
    Row(
        "voxelmorph-3d-half",
        VoxelMorph,
        {"spatial_dims": 3, "in_channels": 1, "half_res": True, "integration_steps": 3, "border": "border"},
        size=(32, 16, 32),
        multiple=(16, 16, 16),
        parameters=None,
        shapes=answers(1, 32, 16, 32),
        extra=fixed(32, 16, 32),
    ),
    Row(
        "reg-unet-2d",
        RegUNet,
        {"spatial_dims": 2, "in_channels": 2, "num_channel_initial": 4, "depth": 2, "concat_skip": True},
        size=(16, 24),
        multiple=(4, 4),
        parameters=stage(2, 4, 9) + stage(4, 8, 9) + stage(8, 16, 9)
        + conv(16, 8, 9, 0) + norm(8) + stage(16, 8, 9) + conv(8, 4, 9, 0) + norm(4) + stage(8, 4, 9)
        + conv(4, 2, 9, 0),
        shapes=lambda b: [(b, 2, 16, 24)],
        wakes=True,
    ),
    Row(
        "reg-unet-3d-convolved-linear",
        RegUNet,
        {"spatial_dims": 3, "in_channels": 2, "num_channel_initial": 4, "depth": 1, "pooling": False,
         "extract_levels": (0, 1), "mode": "linear", "encode_kernel_sizes": (5, 3), "out_channels": 4},
        size=(8, 8, 12),
        multiple=(2, 2, 2),
        parameters=stage(2, 4, 125) + conv(4, 4, 8, 0) + norm(4) + stage(4, 8, 27)
        + conv(8, 4, 27, 0) + norm(4) + stage(4, 4, 27) + conv(4, 4, 27, 0) + conv(8, 4, 27, 0),
        shapes=lambda b: [(b, 4, 8, 8, 12)],
        wakes=True,
    ),
    Row(
        "local-net-2d",
        LocalNet,
        {"spatial_dims": 2, "in_channels": 2, "num_channel_initial": 4, "extract_levels": (0, 1, 2)},
        size=(16, 24),
        multiple=(4, 4),
        parameters=stage(2, 4, 49) + stage(4, 8, 9) + stage(8, 16, 9, residual=False)
        + conv(16, 8, 9, 0) + norm(8) + stage(8, 8, 9) + conv(8, 4, 9, 0) + norm(4) + stage(4, 4, 9)
        + conv(4, 2, 9, 0) + conv(8, 2, 9, 0) + conv(16, 2, 9, 0),
        shapes=lambda b: [(b, 2, 16, 24)],
        wakes=True,
    ),
    Row(
        "local-net-3d",
        LocalNet,
        {"spatial_dims": 3, "in_channels": 3, "num_channel_initial": 2, "extract_levels": (1,), "mode": "linear",
         "use_additive_sampling": False},
        size=(8, 8, 12),
        multiple=(2, 2, 2),
        parameters=None,
        shapes=lambda b: [(b, 3, 8, 8, 12)],
        wakes=True,
    ),
    Row(
        "global-net-2d",
        GlobalNet,
        {"spatial_dims": 2, "in_channels": 2, "image_size": (16, 24), "num_channel_initial": 4, "depth": 2},
        size=(16, 24),
        multiple=None,
        parameters=stage(2, 4, 9) + stage(4, 8, 9) + stage(8, 16, 9) + 16 * 4 * 6 * 6 + 6,
        shapes=lambda b: [(b, 2, 16, 24)],
        wakes=True,
    ),
    Row(
        "global-net-3d",
        GlobalNet,
        {"spatial_dims": 3, "in_channels": 2, "image_size": 12, "num_channel_initial": 2, "depth": 1,
         "encode_kernel_sizes": (5, 3), "pooling": False},
        size=(12, 12, 12),
        multiple=None,
        parameters=stage(2, 2, 125) + conv(2, 2, 8, 0) + norm(2) + stage(2, 4, 27) + 4 * 216 * 12 + 12,
        shapes=lambda b: [(b, 3, 12, 12, 12)],
        wakes=True,
    ),
]  # fmt: skip
