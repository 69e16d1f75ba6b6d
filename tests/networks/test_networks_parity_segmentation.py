"""Segmentation networks beside their sources: the same count of parameters and, with its weights, the same answers."""

import warnings

import pytest
import torch
from torch import nn

from medframe.networks import (
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
    load_weights,
)
from medframe.networks import weights_maps as maps

pytestmark = pytest.mark.parity
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nets = pytest.importorskip("monai.networks.nets", reason="the source that we compare with: pip install monai")

FEATURES = (4, 6, 8, 12, 16, 4)
SMALL = [
    {"name": "conv_0", "n_features": 4, "kernel_size": 3},
    {"name": "res_1", "n_features": 4, "kernels": (3, 3), "repeat": 1},
    {"name": "res_2", "n_features": 7, "kernels": (3, 5), "repeat": 2},
    {"name": "conv_1", "n_features": 8, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
]
PLAIN = ("instance", {"affine": False})
WITH_VNET = {"size": 16}


def nnunet(spatial_dims, residual, *, strides, features, blocks, convs):
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[spatial_dims]
    make = unet.ResidualEncoderUNet if residual else unet.PlainConvUNet
    return make(
        2,
        len(features),
        features,
        conv,
        3,
        strides,
        blocks,
        3,
        convs,
        conv_bias=True,
        norm_op=norm,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )


def resenc(strides, features, blocks, convs=1):
    return (
        lambda d: ResEncUNet(
            d,
            2,
            3,
            [3] * len(features),
            strides,
            channels=features,
            n_blocks_per_stage=blocks,
            n_conv_per_stage_decoder=convs,
            deep_supervision=True,
        ),
        lambda d: nnunet(d, True, strides=strides, features=features, blocks=blocks, convs=convs),
        maps.res_enc_unet_for(len(features)),
    )


def plain(strides, features):
    count = len(features)
    return (
        lambda d: DynUNet(d, 2, 3, [3] * count, strides, channels=features, deep_supervision=True, bias=True),
        lambda d: nnunet(d, False, strides=strides, features=features, blocks=2, convs=2),
        maps.plain_unet_for(count),
    )


def both(ours, theirs, args, key_map, more=None, *, theirs_more=None):
    """The same arguments for both, but for those that only one of them has."""
    return (
        lambda d: ours(spatial_dims=d, in_channels=2, out_channels=3, **args, **(more or {})),
        lambda d: theirs(spatial_dims=d, in_channels=2, out_channels=3, **args, **(theirs_more or {})),
        key_map,
    )


def dyn(filters, strides, heads=None, **more):
    count = len(filters)
    own = {"channels": filters, "deep_supervision": heads is not None}
    theirs = {"filters": filters, "upsample_kernel_size": strides[1:]}
    if heads is not None:
        theirs |= {"deep_supervision": True, "deep_supr_num": heads}
    args = {"kernel_size": [3] * count, "strides": strides}
    return both(DynUNet, nets.DynUNet, args, maps.dynunet_for(count), own, theirs_more=theirs)


def image(spatial_dims, base):
    return {"input_image_size": [base] * spatial_dims}


def vae(**args):
    more = {"blocks_down": (1, 2), "blocks_up": (1,), "vae_nz": 6, "vae_estimate_std": True, **args}
    return (
        lambda d: SegResNetVAE(**image(d, 16), spatial_dims=d, in_channels=2, out_channels=3, **more),
        lambda d: nets.SegResNetVAE(**image(d, 16), spatial_dims=d, in_channels=2, out_channels=3, **more),
        maps.SEGRESNET_VAE,
    )


STRIDES = {"channels": (4, 8, 16), "strides": (2, 2)}
NEXT = {"init_filters": 4, "deep_supervision": True}
PAIRS = {
    "UNet/plain": both(UNet, nets.UNet, STRIDES, maps.unet, {"norm": PLAIN}),
    "UNet/residual": both(UNet, nets.UNet, STRIDES | {"num_res_units": 2, "norm": "batch", "act": "relu"}, maps.unet),
    "DynUNet/three stages": dyn([4, 8, 12], [1, 2, 2], 1),
    "DynUNet/four stages": dyn([4, 8, 12, 12], [1, 2, 1, 2]),
    "DynUNet/nnU-Net plain, three stages": plain([1, 2, 2], [4, 8, 12]),
    "DynUNet/nnU-Net plain, four stages": plain([1, 2, 2, 1], [4, 8, 12, 12]),
    "BasicUNet/deconv": both(BasicUNet, nets.BasicUNet, {"features": FEATURES}, maps.BASIC_UNET),
    "BasicUNet/pixelshuffle": both(
        BasicUNet,
        nets.BasicUNet,
        {"features": FEATURES, "upsample": "pixelshuffle", "act": "prelu", "norm": "batch"},
        maps.BASIC_UNET,
    ),
    "BasicUNet/nontrainable": both(
        BasicUNet, nets.BasicUNet, {"features": FEATURES, "upsample": "nontrainable", "bias": False}, maps.BASIC_UNET
    ),
    "UNetPlusPlus/deconv": both(
        UNetPlusPlus,
        nets.BasicUNetPlusPlus,
        {"features": FEATURES, "deep_supervision": True},
        maps.UNET_PLUS_PLUS,
    ),
    "UNetPlusPlus/nontrainable": both(
        UNetPlusPlus,
        nets.BasicUNetPlusPlus,
        {"features": FEATURES, "deep_supervision": True, "upsample": "nontrainable", "norm": "batch"},
        maps.UNET_PLUS_PLUS,
    ),
    "AttentionUNet/two strides": both(AttentionUNet, nets.AttentionUnet, STRIDES, maps.attention_unet),
    "AttentionUNet/kernels": both(
        AttentionUNet,
        nets.AttentionUnet,
        {"channels": (4, 8, 8, 12), "strides": (2, 1, 2), "kernel_size": 5, "up_kernel_size": 5},
        maps.attention_unet,
    ),
    "ResEncUNet/three stages": resenc([1, 2, 2], [4, 8, 12], [1, 2, 3]),
    "ResEncUNet/equal widths": resenc([1, 2, 2, 1], [4, 8, 8, 8], [1, 2, 2, 1], 2),
    "SegResNet/default": both(SegResNet, nets.SegResNet, {}, maps.SEGRESNET),
    "SegResNet/deconv": both(
        SegResNet,
        nets.SegResNet,
        {"blocks_down": (1, 2, 1), "blocks_up": (2, 1), "upsample_mode": "deconv", "norm": "batch"},
        maps.SEGRESNET,
    ),
    "SegResNet/pixelshuffle": both(
        SegResNet,
        nets.SegResNet,
        {"blocks_down": (1, 1), "blocks_up": (1,), "upsample_mode": "pixelshuffle"},
        maps.SEGRESNET,
    ),
    "SegResNetDS/three heads": both(
        SegResNetDS, nets.SegResNetDS, {"init_filters": 8, "dsdepth": 3}, maps.segresnet_ds_for(4)
    ),
    "SegResNetDS/one head": both(
        SegResNetDS,
        nets.SegResNetDS,
        {"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (2, 1), "upsample_mode": "nontrainable"},
        maps.segresnet_ds_for(3),
    ),
    "SegResNetVAE/linear": vae(),
    "SegResNetVAE/deconv": vae(upsample_mode="deconv"),
    "VNet/elu": both(VNet, nets.VNet, {}, maps.VNET),
    "VNet/relu": both(VNet, nets.VNet, {"act": "relu", "bias": True}, maps.VNET),
    "HighResNet/default": both(HighResNet, nets.HighResNet, {}, maps.highresnet_for(), {"act_last": True}),
    "HighResNet/project": both(
        HighResNet,
        nets.HighResNet,
        {"layer_params": SMALL, "channel_matching": "project", "bias": True},
        maps.highresnet_for(3),
        {"act_last": True},
    ),
    "MedNeXt/residual": both(
        MedNeXt, nets.MedNeXt, NEXT | {"kernel_size": 3, "use_residual_connection": True}, maps.mednext_for()
    ),
    "MedNeXt/ratios": both(
        MedNeXt,
        nets.MedNeXt,
        NEXT
        | {"encoder_expansion_ratio": (2, 3), "decoder_expansion_ratio": (4, 2), "bottleneck_expansion_ratio": 3}
        | {"blocks_down": (1, 2), "blocks_up": (2, 1), "kernel_size": 5, "global_resp_norm": True},
        maps.mednext_for(2),
    ),
}


def stirred(net, seed=0):
    """The network, in evaluation mode, with no tensor at its start, where many differences would not show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, t in net.state_dict().items():
            if (
                not t.is_floating_point()
                or name.startswith(("skip_layers", "decoder.encoder"))
                or "all_modules" in name
            ):
                continue  # the same tensors once more
            noise = torch.randn(t.shape, generator=generator)
            if name.endswith("running_var"):
                t.copy_(1 + 0.2 * noise.abs())
            else:
                t.add_(0.1 * noise * (1 if t.dim() < 2 else t.std().nan_to_num() + 0.1))
    return net.eval()


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_the_source(name, spatial_dims, note):
    make, source, key_map = PAIRS[name]
    torch.manual_seed(0)
    ours, theirs = make(spatial_dims).eval(), stirred(source(spatial_dims))
    report = load_weights(ours, theirs.state_dict(), key_map=key_map)
    count = sum(p.numel() for p in ours.parameters())
    own = {id(p): p.numel() for p in theirs.parameters() if p.requires_grad}  # MedNeXt keeps a dummy that is not one
    assert count == sum(own.values())
    assert report.complete
    size = (16, 32, 16)[:spatial_dims] if name.startswith(("SegResNetVAE", "UNet/")) else (32, 32, 16)[:spatial_dims]
    size = [max(n, 16) if spatial_dims == 3 else 32 for n in size]
    if name.startswith("SegResNetVAE"):
        size = [16] * spatial_dims
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, due = ours(x), theirs(x)
    if isinstance(
        due, list | tuple
    ):  # evaluation with several answers: UNet++ puts the deepest node last, others first
        due = due[-1] if name.startswith("UNetPlusPlus") else due[0]
    assert due.std() > 1e-3
    note(ours, theirs, type(theirs).__module__.partition(".")[0].replace("_", "-"))
    torch.testing.assert_close(found, due, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["SegResNetDS/three heads", "MedNeXt/ratios", "ResEncUNet/three stages"])
def test_deep_answers_are_equal_too(name):
    make, source, key_map = PAIRS[name]
    ours, theirs = make(2), stirred(source(2))
    load_weights(ours, theirs.state_dict(), key_map=key_map)
    for net in (ours, theirs):
        net.train()
    x = torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    for a, b in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_nested_heads_are_equal_too():
    make, source, key_map = PAIRS["UNetPlusPlus/deconv"]
    ours, theirs = make(2), stirred(source(2))
    load_weights(ours, theirs.state_dict(), key_map=key_map)
    x = torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    for a, b in zip(ours.train()(x), reversed(theirs(x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("estimate", [True, False])
def test_autoencoder_loss_is_equal(estimate):
    make, source, key_map = vae(vae_estimate_std=estimate)
    ours, theirs = make(2), stirred(source(2))
    if not estimate:
        key_map = [("^vae_fc2", None), *key_map]
    load_weights(ours, theirs.state_dict(), key_map=key_map)
    x = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    answers = []
    for net in (ours, theirs):
        torch.manual_seed(3)  # the code is drawn
        answers.append(net.train()(x))
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_anisotropic_segresnet_ds_is_equal():
    args = {"init_filters": 8, "blocks_down": (1, 1, 1, 1, 1), "resolution": (1, 1.5, 5), "dsdepth": 2}
    make, source, key_map = both(SegResNetDS, nets.SegResNetDS, args, maps.segresnet_ds_for(5))
    ours, theirs = make(3).eval(), stirred(source(3))
    assert list(ours.multiple) == [int(n) for n in theirs.shape_factor()]
    load_weights(ours, theirs.state_dict(), key_map=key_map)
    x = torch.randn(1, 2, 16, 16, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", ["S", "B", "M", "L"])
def test_mednext_presets_have_as_many_parameters(size):
    with torch.device("meta"):
        theirs = getattr(nets, f"MedNeXt{size}")(spatial_dims=3, in_channels=1, out_channels=2)
    ours = MedNeXt.preset(size, 2, 1, 2)
    ours3 = sum(p.numel() for p in MedNeXt.preset(size, 3, 1, 2).parameters())
    assert ours3 == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert len(ours.heads) == 1


def test_order_carries_weights_where_both_stand_in_the_same_order():
    _, source, _ = PAIRS["SegResNet/default"]
    ours, theirs = PAIRS["SegResNet/default"][0](2).eval(), stirred(source(2))
    assert load_weights(ours, theirs.state_dict(), match="order").complete
    x = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
