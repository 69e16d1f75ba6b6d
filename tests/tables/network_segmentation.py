"""Segmentation networks beyond the plain U-Nets, of the contract of tests/networks/test_networks_contract.py.

Parameters are not counted here: tests/networks/test_networks_parity_segmentation.py compares them with the sources'.
"""

from network_row import Row, dims

from medframe.networks import (
    AttentionUNet,
    BasicUNet,
    HighResNet,
    MedNeXt,
    ResEncUNet,
    SegResNet,
    SegResNetDS,
    SegResNetVAE,
    UNetPlusPlus,
    VNet,
)

FEATURES = (4, 4, 6, 8, 8, 4)
LAYERS = (
    {"name": "conv_0", "n_features": 4, "kernel_size": 3},
    {"name": "res_1", "n_features": 4, "kernels": (3, 3), "repeat": 1},
    {"name": "res_2", "n_features": 6, "kernels": (3, 5), "repeat": 1},
    {"name": "conv_1", "n_features": 8, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
)
NEXT = {"init_filters": 4, "kernel_size": 3, "blocks_down": (1, 1), "blocks_up": (1, 1), "blocks_bottleneck": 1}


def halves(size, count):
    """The sizes of `count` further heads, each half of the one before."""
    return tuple(tuple(n // 2**k for n in size) for k in range(1, count + 1))


def logits_and_loss(channels, size):
    return lambda batch: [(batch, channels, *size), ()]


ROWS = [
    Row("basic-unet-2d", BasicUNet, dims(2, 1, 2, features=FEATURES), (64, 48), (16, 16), None),
    Row(
        "basic-unet-3d-nontrainable",
        BasicUNet,
        dims(3, 1, 2, features=FEATURES, upsample="nontrainable", norm="batch"),
        (48, 32, 32),
        (16, 16, 16),
        None,
    ),
    Row(
        "unet++-2d",
        UNetPlusPlus,
        dims(2, 1, 2, features=FEATURES, deep_supervision=True),
        (48, 64),
        (16, 16),
        None,
        shapes=lambda batch: [(batch, 2, 48, 64)] * 4,
    ),
    Row("unet++-3d", UNetPlusPlus, dims(3, 2, 3, features=FEATURES), (32, 32, 48), (16, 16, 16), None),
    Row("attention-unet-2d", AttentionUNet, dims(2, 1, 2, channels=(4, 8, 8), strides=(2, 2)), (16, 24), (4, 4), None),
    Row(
        "attention-unet-3d",
        AttentionUNet,
        dims(3, 1, 2, channels=(4, 6, 8), strides=((1, 2, 2), 2), kernel_size=3),
        (8, 16, 16),
        (2, 4, 4),
        None,
    ),
    Row(
        "res-enc-unet-2d",
        ResEncUNet,
        dims(2, 1, 2, kernel_size=[3] * 3, strides=[1, 2, 2], channels=(4, 8, 8), n_blocks_per_stage=(1, 2, 1))
        | {"deep_supervision": True},
        (16, 24),
        (4, 4),
        None,
        coarser=halves((16, 24), 1),
    ),
    Row(
        "res-enc-unet-3d",
        ResEncUNet,
        dims(3, 1, 2, kernel_size=[3] * 3, strides=[1, (1, 2, 2), 2], channels=(4, 6, 8), n_blocks_per_stage=(1, 1, 2)),
        (8, 16, 16),
        (2, 4, 4),
        None,
    ),
    Row("segresnet-2d", SegResNet, dims(2, 1, 2, blocks_down=(1, 2, 1), blocks_up=(1, 1)), (16, 24), (4, 4), None),
    Row(
        "segresnet-3d-deconv",
        SegResNet,
        dims(3, 1, 2, blocks_down=(1, 1), blocks_up=(1,), upsample_mode="deconv", dropout_prob=0.1),
        (8, 6, 8),
        (2, 2, 2),
        None,
    ),
    Row(
        "segresnet-ds-2d",
        SegResNetDS,
        dims(2, 1, 2, init_filters=4, blocks_down=(1, 1, 1), dsdepth=2),
        (24, 16),
        (4, 4),
        None,
        coarser=halves((24, 16), 1),
    ),
    Row(
        "segresnet-ds-3d",
        SegResNetDS,
        dims(3, 1, 2, init_filters=4, blocks_down=(1, 1), resolution=(4.0, 1.0, 1.0), norm="instance"),
        (4, 12, 12),
        (1, 2, 2),
        None,
    ),
    Row(
        "segresnet-vae-2d",
        SegResNetVAE,
        dims(2, 1, 2, input_image_size=(16, 32), blocks_down=(1, 1), blocks_up=(1,), vae_nz=4),
        (16, 32),
        None,
        None,
        shapes=logits_and_loss(2, (16, 32)),
    ),
    Row(
        "segresnet-vae-3d",
        SegResNetVAE,
        dims(3, 1, 2, input_image_size=(16, 16, 16), blocks_down=(1, 1), blocks_up=(1,), vae_nz=4, init_filters=4)
        | {"norm": ("group", {"num_groups": 2})},
        (16, 16, 16),
        None,
        None,
        shapes=logits_and_loss(2, (16, 16, 16)),
    ),
    Row("vnet-2d", VNet, dims(2, 1, 2), (48, 48), (16, 16), None),
    Row("vnet-3d", VNet, dims(3, 1, 2, init_filters=4, act="relu"), (48, 48, 32), (16, 16, 16), None),
    Row("highresnet-2d", HighResNet, dims(2, 1, 2, layer_params=LAYERS), (13, 17), (1, 1), None),
    Row("highresnet-3d", HighResNet, dims(3, 1, 2, layer_params=LAYERS), (7, 8, 9), (1, 1, 1), None),
    Row(
        "mednext-2d",
        MedNeXt,
        dims(2, 1, 2, **NEXT, deep_supervision=True, use_residual_connection=True),
        (16, 24),
        (4, 4),
        None,
        coarser=halves((16, 24), 2),
    ),
    Row("mednext-3d", MedNeXt, dims(3, 1, 2, **NEXT, global_resp_norm=True), (8, 16, 12), (4, 4, 4), None),
]
