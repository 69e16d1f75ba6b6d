"""Generative networks beside MONAI's: the same count of parameters and, with the same weights, the same answers."""

import pytest
import torch

from medframe.networks import (
    VQVAE,
    AutoencoderKL,
    ControlNet,
    DiffusionModelUNet,
    MultiScalePatchDiscriminator,
    PatchDiscriminator,
    SPADEAutoencoderKL,
    SPADEDiffusionModelUNet,
    SPADENet,
)

pytestmark = pytest.mark.parity
monai = pytest.importorskip("monai", reason="the source that we compare with: pip install monai")

PLAIN = ("instance", {"affine": False})


def image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("nonlocal_attn", [True, False])
def test_autoencoder_kl(spatial_dims, nonlocal_attn, carry):
    common = {"channels": (8, 16, 16), "attention_levels": (False, False, nonlocal_attn), "norm_num_groups": 4}
    common |= {"with_encoder_nonlocal_attn": nonlocal_attn, "with_decoder_nonlocal_attn": nonlocal_attn}
    blocks = (1, 2, 1) if nonlocal_attn else (2, 2, 2)
    theirs = monai.networks.nets.AutoencoderKL(spatial_dims, 2, 3, num_res_blocks=blocks, **common).eval()
    ours = AutoencoderKL(spatial_dims, 2, 3, num_res_blocks=blocks, **common).eval()
    carry(
        theirs,
        ours,
        lambda name: ("encoder", "decoder", "quant_conv_mu", "quant_conv_log", "post").index(
            next(p for p in ("encoder", "decoder", "quant_conv_mu", "quant_conv_log", "post") if name.startswith(p))
        ),
    )
    x = image(2, 2, *(16,) * spatial_dims)
    with torch.no_grad():
        for a, b in zip(ours.encode(x), theirs.encode(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours(x)[0], theirs.reconstruct(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("channels", [(8, 12), (4, 8, 8)])
def test_vqvae(spatial_dims, channels, carry):
    common = {"channels": channels, "num_res_channels": channels, "num_res_layers": 2, "embedding_dim": 6}
    n = len(channels)
    theirs = monai.networks.nets.VQVAE(
        spatial_dims,
        2,
        1,
        downsample_parameters=((2, 4, 1, 1),) * n,
        upsample_parameters=((2, 4, 1, 1, 0),) * n,
        ddp_sync=False,
        **common,
    ).eval()
    ours = VQVAE(spatial_dims, 2, 1, **common).eval()
    names = ("encoder", "decoder", "embedding.weight", "cluster_size", "ema_w")
    carry(theirs, ours, lambda name: next(i for i, part in enumerate(names) if name.startswith(part) or part in name))
    x = image(2, 2, *(16,) * spatial_dims)
    with torch.no_grad():
        assert torch.equal(ours.index_quantize(x), theirs.index_quantize(x))
        torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-5, atol=1e-5)


SMALL = {"channels": (8, 16), "attention_levels": (False, True), "norm_num_groups": 4, "num_res_blocks": 1}
FORMS = {
    "plain": SMALL | {"num_head_channels": 4},
    "classes-updown": SMALL | {"num_res_blocks": (2, 1), "resblock_updown": True, "num_class_embeds": 3},
    "context": SMALL | {"with_conditioning": True, "cross_attention_dim": 5, "transformer_num_layers": 2},
    "three-levels": {
        "channels": (4, 8, 12), "attention_levels": (True, False, True), "norm_num_groups": 2, "num_res_blocks": 2,
        "num_head_channels": (4, 8, 6),
    },
}  # fmt: skip
ORDER = ("conv_in", "time_embed", "class_embedding", "down_blocks", "middle", "up_blocks", "out")
INNER = ("attentions", "resnets", "downsampler", "upsampler")
BLOCK = ("norm1", "conv1", "time_emb_proj", "norm2", "conv2", "skip_connection")


def unet_order(name):
    first = next(i for i, part in enumerate(ORDER) if name.startswith(part))
    parts = name.split(".")
    if parts[0] in ("down_blocks", "up_blocks"):
        return (first, int(parts[1]), INNER.index(parts[2]), 0)
    if parts[0] == "middle_block":
        return (first, ("resnet_1", "attention", "resnet_2").index(parts[1]), 0, 0)
    return (first, 0, 0, 0)


def inputs(form, spatial_dims):
    more = {"class_labels": torch.tensor([2, 0])} if "num_class_embeds" in form else {}
    more |= {"context": image(2, 3, 5)} if "cross_attention_dim" in form else {}
    return image(2, 2, *(16,) * spatial_dims), torch.tensor([1, 700]), more


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_diffusion_unet(spatial_dims, form, carry):
    form = FORMS[form]
    theirs = monai.networks.nets.DiffusionModelUNet(spatial_dims, 2, 3, **form).eval()
    ours = DiffusionModelUNet(spatial_dims, 2, 3, **form).eval()
    carry(theirs, ours, unet_order)
    x, steps, more = inputs(form, spatial_dims)
    with torch.no_grad():
        torch.testing.assert_close(ours(x, steps, **more), theirs(x, steps, **more), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("form", ["plain", "context"])
def test_controlnet(spatial_dims, form, carry):
    form = FORMS[form] | {"conditioning_embedding_num_channels": (4, 6)}
    theirs = monai.networks.nets.ControlNet(spatial_dims, 2, **form).eval()
    ours = ControlNet(spatial_dims, 2, **form).eval()
    names = (
        "conv_in",
        "time_embed",
        "class_emb",
        "down_blocks",
        "middle",
        "controlnet_cond",
        "controlnet_down",
        "controlnet_mid",
    )

    def order(name):
        if name.startswith(("down_blocks", "middle")):
            return (3 if name.startswith("down") else 4, *unet_order(name)[1:])
        return (next(i for i, part in enumerate(names) if name.startswith(part)), 0, 0, 0)

    carry(theirs, ours, order)
    x, steps, more = inputs(form, spatial_dims)
    with torch.no_grad():
        a = ours(x, steps, image(2, 1, *(32,) * spatial_dims), 0.5, **more)
        b = theirs(x, steps, image(2, 1, *(32,) * spatial_dims), 0.5, **more)
    for mine, other in zip([*a[0], a[1]], [*b[0], b[1]], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("layers", [1, 3])
def test_patch_discriminator(spatial_dims, layers, carry):
    theirs = monai.networks.nets.PatchDiscriminator(spatial_dims, 6, 2, 1, num_layers_d=layers).eval()
    ours = PatchDiscriminator(spatial_dims, 2, 1, channels=6, num_layers_d=layers).eval()
    carry(theirs, ours)
    x = image(2, 2, *(40,) * spatial_dims)
    with torch.no_grad():
        for a, b in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("layers", [1, 2])
def test_multi_scale_discriminator(spatial_dims, layers, carry):
    """One scale: for further ones the paper halves the image, and the source makes a deeper discriminator instead."""
    common = {"channels": 6, "num_layers_d": layers, "norm": "batch" if layers == 1 else PLAIN}
    theirs = monai.networks.nets.MultiScalePatchDiscriminator(
        1, spatial_dims=spatial_dims, in_channels=2, minimum_size_im=32, last_conv_kernel_size=4, **common
    ).eval()
    ours = MultiScalePatchDiscriminator(spatial_dims, 2, 1, num_d=1, **common).eval()
    carry(theirs, ours)
    x = image(2, 2, *(32,) * spatial_dims)
    with torch.no_grad():
        (judgement,), (features,) = ours(x)
        (other,), (others,) = theirs(x)
    for a, b in zip([judgement, *features], [other, *others], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


SPADE = {
    "one-block": FORMS["plain"] | {"spade_intermediate_channels": 5},
    "three-levels": FORMS["three-levels"] | {"spade_intermediate_channels": 8},
}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("form", SPADE)
def test_spade_diffusion_unet(spatial_dims, form, carry):
    theirs = monai.networks.nets.SPADEDiffusionModelUNet(spatial_dims, 2, 3, 4, **SPADE[form]).eval()
    ours = SPADEDiffusionModelUNet(spatial_dims, 2, 3, 4, normalised_scales=True, **SPADE[form]).eval()
    carry(theirs, ours, unet_order)
    x, steps, _ = inputs(SPADE[form], spatial_dims)
    labels = image(2, 4, *(16,) * spatial_dims)
    with torch.no_grad():
        torch.testing.assert_close(ours(x, steps, labels), theirs(x, steps, labels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("form", SPADE)
def test_spade_autoencoder_kl(spatial_dims, form, carry):
    common = {k: v for k, v in SPADE[form].items() if k != "num_head_channels"}
    theirs = monai.networks.nets.SPADEAutoencoderKL(spatial_dims, 3, 1, 1, **common).eval()
    ours = SPADEAutoencoderKL(spatial_dims, 3, 1, 1, normalised_scales=True, **common).eval()
    names = ("encoder", "decoder", "quant_conv_mu", "quant_conv_log", "post")
    carry(theirs, ours, lambda name: next(i for i, part in enumerate(names) if name.startswith(part)))
    x, labels = image(2, 1, *(16,) * spatial_dims), image(2, 3, *(16,) * spatial_dims)
    with torch.no_grad():
        mean, _ = theirs.encode(x)
        torch.testing.assert_close(ours(x, labels)[0], theirs.decode(mean, labels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("channels", [(4, 6), (8, 8, 8)])
def test_spade_net(spatial_dims, channels, carry):
    size = (16, 24, 16)[:spatial_dims]
    leaky = ("leaky_relu", {"negative_slope": 0.2})
    theirs = monai.networks.nets.SPADENet(
        spatial_dims, 2, 1, 3, size, list(channels), z_dim=6, spade_intermediate_channels=5
    ).eval()
    ours = SPADENet(
        spatial_dims,
        2,
        1,
        3,
        input_shape=size,
        channels=channels,
        z_dim=6,
        spade_intermediate_channels=5,
        last_act=leaky,
        normalised_scales=True,
    ).eval()
    carry(theirs, ours)
    x, labels, z = image(2, 2, *size), image(2, 3, *size), image(2, 6)
    with torch.no_grad():
        for a, b in zip(ours.encode(x), theirs.encoder(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.decode(labels, z), theirs.decode(labels, z), rtol=1e-5, atol=1e-5)
