"""Transformers of the contract of tests/networks/test_networks_contract.py."""

from network_row import Row, conv, dims

from medframe.networks.nets.mae_vit import MAEViT
from medframe.networks.nets.swin_unetr import SwinUNETR
from medframe.networks.nets.unetr import UNETR
from medframe.networks.nets.vit import ViT
from medframe.networks.nets.vit_autoenc import ViTAutoEnc


def block(size, mlp, bias):
    return 2 * 2 * size + conv(size, 3 * size, 1, bias) + conv(size, size, 1) + conv(size, mlp, 1) + conv(mlp, size, 1)


DECODER = {"decoder_hidden_size": 12, "decoder_mlp_dim": 16, "decoder_num_heads": 2, "decoder_num_layers": 1}
SMALL = {"hidden_size": 12, "mlp_dim": 16, "num_heads": 2}

ROWS = [
    Row(
        "vit-2d",
        ViT,
        dims(2, 2, 3, img_size=(16, 24), patch_size=8, num_layers=2, qkv_bias=True, checkpointing=True, **SMALL),
        size=(16, 24),
        multiple=None,
        parameters=12 + 6 * 12 + conv(2, 12, 64) + 2 * block(12, 16, 1) + 24 + conv(12, 3, 1),
        shapes=lambda batch: [(batch, 3)],
    ),
    Row(
        "vit-3d-sine-mean",
        ViT,
        dims(3, 1, 2, img_size=16, patch_size=(8, 8, 4), num_layers=2, positions="sine", class_token=False, **SMALL),
        size=(16, 16, 16),
        multiple=None,
        parameters=conv(1, 12, 256) + 2 * block(12, 16, 0) + 24 + conv(12, 2, 1),
        shapes=lambda batch: [(batch, 2)],
    ),
    Row(
        "vit-autoenc-2d",
        ViTAutoEnc,
        dims(2, 1, 2, img_size=(16, 24), patch_size=8, deconv_channels=5, num_layers=2, checkpointing=True, **SMALL),
        size=(16, 24),
        multiple=None,
        parameters=6 * 12 + conv(1, 12, 64) + 2 * block(12, 16, 0) + 24 + conv(12, 5, 4) + conv(5, 2, 16),
    ),
    Row(
        "vit-autoenc-3d",
        ViTAutoEnc,
        dims(3, 2, 1, img_size=16, patch_size=(4, 8, 4), deconv_channels=3, num_layers=1, qkv_bias=True, **SMALL),
        size=(16, 16, 16),
        multiple=None,
        parameters=32 * 12 + conv(2, 12, 128) + block(12, 16, 1) + 24 + conv(12, 3, 8) + conv(3, 1, 16),
    ),
    Row(
        "unetr-3d",
        UNETR,
        dims(3, 1, 2, img_size=(16, 32, 32), feature_size=4, **SMALL),
        size=(16, 32, 32),
        multiple=None,
        parameters=None,
    ),
    Row(
        "unetr-2d",
        UNETR,
        dims(2, 2, 3, img_size=(48, 64), feature_size=4, checkpointing=True, **SMALL),
        size=(48, 64),
        multiple=None,
        parameters=None,
    ),
    Row(
        "mae-vit-2d",
        MAEViT,
        {"spatial_dims": 2, "in_channels": 1, "img_size": (16, 24), "patch_size": 8, "num_layers": 1}
        | {"masking_ratio": 0.5, **SMALL, **DECODER},
        size=(16, 24),
        multiple=None,
        parameters=None,
        shapes=lambda batch: [(batch, 6, 64), (batch, 6)],
    ),
    Row(
        "mae-vit-3d",
        MAEViT,
        {"spatial_dims": 3, "in_channels": 2, "img_size": 16, "patch_size": (8, 8, 16), "num_layers": 1}
        | {"masking_ratio": 0.5, "checkpointing": True, **SMALL, **DECODER},
        size=(16, 16, 16),
        multiple=None,
        parameters=None,
        shapes=lambda batch: [(batch, 4, 2048), (batch, 4)],
    ),
    Row(
        "swin-unetr-2d",
        SwinUNETR,
        dims(2, 1, 3, feature_size=6, num_heads=(1, 2, 3, 6), window_size=4, merging="mergingv2", use_v2=True)
        | {"depths": (2, 1, 1, 1)},
        size=(64, 96),
        multiple=(32, 32),
        parameters=None,
    ),
    Row(
        "swin-unetr-3d",
        SwinUNETR,
        dims(3, 1, 2, feature_size=4, num_heads=(1, 2, 2, 4), window_size=3, depths=(2, 1, 1, 1), checkpointing=True),
        size=(64, 32, 64),
        multiple=(32, 32, 32),
        parameters=None,
    ),
]
