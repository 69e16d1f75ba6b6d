"""Transformers beside MONAI's: with the same weights, the same answers."""

import re

import pytest
import torch

from medframe.networks import UNETR, MAEViT, SwinUNETR, ViT, ViTAutoEnc

pytestmark = pytest.mark.parity
monai = pytest.importorskip("monai", reason="the source that we compare with: pip install monai")

PARTS = ("norm1", "attn.qkv", "attn.out_proj", "norm2", "mlp.linear1", "mlp.linear2")
TOP = ("cls_token", "mask_token", "position_embeddings", "patch_embeddings", "blocks", "norm", "decoder_embed")
TOP += ("decoder_blocks", "decoder_norm", "decoder_pred", "classification_head")


def vit_order(name):
    """Sorts a source's tensors as ours stand; its blocks hold a normalisation that nothing uses."""
    if "cross_attn" in name:
        return None
    found = re.search(r"blocks\.(\d+)\.(.+)\.(weight|bias)$", name)
    if found:
        section = "decoder_blocks" if name.startswith("decoder_blocks") else "blocks"
        return (TOP.index(section), int(found[1]), PARTS.index(found[2]))
    last = re.match(r"(decoder_)?blocks\.\d+\.(weight|bias)$", name)  # a source's normalisation among its blocks
    if last:
        return (TOP.index("decoder_norm" if last[1] else "norm"), 0, 0)
    name = name.removeprefix("patch_embedding.")
    return (TOP.index(next(part for part in TOP if name.startswith(part))), 0, 0)


def unetr_order(name):
    if name.startswith("vit."):
        inner = vit_order(name.removeprefix("vit."))
        return None if inner is None or inner[0] == TOP.index("classification_head") else (0, *inner)
    parts = ("encoder1", "encoder2", "encoder3", "encoder4", "decoder5", "decoder4", "decoder3", "decoder2", "out")
    return (1, next(i for i, part in enumerate(parts) if name.startswith(part)), 0, 0)


def swin_order(name):
    """The source holds the second version's convolutions beside the stages, we behind them."""
    if "relative_position_index" in name:
        return None
    if name.startswith("swinViT.patch_embed"):
        return (0, 0)
    found = re.match(r"swinViT\.layers(\d)(c?)\.", name)
    if found:
        return (2 if found[2] else 1, int(found[1]))
    return (3, 0)


def compare(ours, theirs, x, carry, order):
    carry(theirs, ours, order)
    with torch.no_grad():
        a, b = ours(x), theirs(x)
    torch.testing.assert_close(a, b[0] if isinstance(b, tuple) else b, rtol=1e-5, atol=1e-5)


def image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("small", [True, False])
def test_vit(spatial_dims, small, carry):
    size = {"hidden_size": 24, "mlp_dim": 32, "num_layers": 2, "num_heads": 2}
    size = size if small else {"hidden_size": 60, "mlp_dim": 100, "num_layers": 12, "num_heads": 6}
    common = {"img_size": (32,) * spatial_dims, "patch_size": (8,) * spatial_dims, "qkv_bias": not small, **size}
    theirs = monai.networks.nets.ViT(
        2, classification=True, num_classes=3, spatial_dims=spatial_dims, post_activation="none", **common
    )
    compare(
        ViT(spatial_dims, 2, 3, **common).eval(), theirs.eval(), image(1, 2, *(32,) * spatial_dims), carry, vit_order
    )


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("patch", [4, 16])
def test_vit_autoenc(spatial_dims, patch, carry):
    common = {"img_size": 32, "patch_size": patch, "hidden_size": 24, "mlp_dim": 32, "num_layers": 2, "num_heads": 2}
    source = common | {"img_size": (32,) * spatial_dims, "patch_size": (patch,) * spatial_dims}
    theirs = monai.networks.nets.ViTAutoEnc(2, out_channels=3, deconv_chns=5, spatial_dims=spatial_dims, **source)
    ours = ViTAutoEnc(spatial_dims, 2, 3, deconv_channels=5, **common).eval()

    def order(name):
        return (len(TOP), int("_1" in name), 0) if name.startswith("conv3d") else vit_order(name)

    compare(ours, theirs.eval(), image(1, 2, *(32,) * spatial_dims), carry, order)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("feature_size", [4, 16])
def test_unetr(spatial_dims, feature_size, carry):
    common = {"img_size": (32,) * spatial_dims, "feature_size": feature_size, "hidden_size": 48, "mlp_dim": 64}
    theirs = monai.networks.nets.UNETR(2, 3, num_heads=4, spatial_dims=spatial_dims, **common).eval()
    ours = UNETR(spatial_dims, 2, 3, num_heads=4, **common).eval()
    compare(ours, theirs, image(1, 2, *(32,) * spatial_dims), carry, unetr_order)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("merging", "use_v2"), [("merging", False), ("mergingv2", True)])
def test_swin_unetr(spatial_dims, merging, use_v2, carry):
    size = 64 if spatial_dims == 3 else 128
    theirs = monai.networks.nets.SwinUNETR(
        2,
        3,
        feature_size=12,
        spatial_dims=spatial_dims,
        use_v2=use_v2,
        downsample=merging,
    ).eval()
    ours = SwinUNETR(spatial_dims, 2, 3, feature_size=12, merging=merging, use_v2=use_v2).eval()
    compare(ours, theirs, image(1, 2, *(size,) * spatial_dims), carry, swin_order)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")  # the source's
def test_mae(spatial_dims, small, carry):
    common = {"img_size": (32,) * spatial_dims, "patch_size": (8,) * spatial_dims, "hidden_size": 24, "mlp_dim": 32}
    common |= {"num_layers": 2, "num_heads": 2, "decoder_hidden_size": 12, "decoder_mlp_dim": 16}
    common |= {"decoder_num_layers": 2, "decoder_num_heads": 2}
    if not small:
        common |= {"patch_size": (16,) * spatial_dims, "hidden_size": 60, "num_layers": 4, "num_heads": 6}
        common |= {"masking_ratio": 0.5, "qkv_bias": True, "decoder_hidden_size": 36, "decoder_num_heads": 3}
    theirs = monai.networks.nets.MaskedAutoEncoderViT(2, spatial_dims=spatial_dims, **common).eval()
    ours = MAEViT(spatial_dims, 2, **common).eval()

    def order(name):
        return None if "position" in name or "pos_embed" in name else vit_order(name)

    places = {n: v.clone() for n, v in theirs.state_dict().items() if order(n) is None}
    torch.testing.assert_close(ours.position_embedding, places["patch_embedding.position_embeddings"])
    decoder = places["decoder_pos_embedding"]
    torch.testing.assert_close(ours.decoder_positions[:, -decoder.shape[1] :], decoder)
    carry(theirs, ours, order)
    theirs.load_state_dict(places, strict=False)
    x = image(1, 2, *(32,) * spatial_dims)
    torch.manual_seed(0)
    with torch.no_grad():
        answer, mask = theirs(x)
        ours_answer, hidden = ours(x, mask.bool())
    torch.testing.assert_close(ours_answer, answer, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden, mask.bool())
