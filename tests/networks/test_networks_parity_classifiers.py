"""Classifiers beside MONAI's: the same count of parameters and, with the same weights, the same answers."""

import pytest
import torch

from medframe.networks import DenseNet, EfficientNet, FlexibleUNet, ResNet, SENet154, SEResNet

pytestmark = pytest.mark.parity
monai = pytest.importorskip("monai", reason="the source that we compare with: pip install monai")

RES = {"no_max_pool": False, "conv1_t_stride": 2, "bias_downsample": False}
SE = {
    "groups": 1,
    "reduction": 16,
    "dropout_prob": None,
    "downsample_kernel_size": 1,
    "input_3x3": False,
    "inplanes": 64,
}


def resnet(name, **more):
    return lambda dims, inside, outside: getattr(monai.networks.nets, name)(
        spatial_dims=dims, n_input_channels=inside, num_classes=outside, **RES | more
    )


def senet(name, **more):
    return lambda dims, inside, outside: getattr(monai.networks.nets, name)(
        spatial_dims=dims, in_channels=inside, num_classes=outside, **more
    )


def densenet(name):
    return lambda dims, inside, outside: getattr(monai.networks.nets, name)(
        spatial_dims=dims, in_channels=inside, out_channels=outside
    )


def efficient(scale):
    return lambda dims, inside, outside: monai.networks.nets.EfficientNetBN(
        f"efficientnet-{scale}", pretrained=False, spatial_dims=dims, in_channels=inside, num_classes=outside
    )


def flexible(backbone):
    return lambda dims, inside, outside: monai.networks.nets.FlexibleUNet(
        inside, outside, backbone.replace("_", "-"), spatial_dims=dims
    )


def flexible_order(name):
    """The source keeps the classifier's head, and its channel-narrowing convolutions within each decoder stage."""
    if "_conv_head" in name or "encoder._bn1" in name or "encoder._fc" in name:
        return None
    return ["encoder", "upsample", "convs", "head"].index(
        next(part for part in ("encoder", "upsample", "convs", "head") if part in name)
    )


PAIRS = {
    "resnet18": (ResNet, {"depth": 18}, resnet("resnet18")),
    "resnet34-padding": (ResNet, {"depth": 34, "shortcut": "padding"}, resnet("resnet34", shortcut_type="A")),
    "resnet50": (ResNet, {"depth": 50}, resnet("resnet50")),
    "seresnet50": (SEResNet, {}, senet("SEResNet50")),
    "seresnext50": (SEResNet, {"groups": 32}, senet("SEResNext50")),
    "senet154": (SENet154, {"layers": (1, 2, 1, 1)}, senet("SENet154", layers=(1, 2, 1, 1))),
    "densenet121": (DenseNet, {}, densenet("DenseNet121")),
    "densenet169": (DenseNet, {"depth": 169}, densenet("DenseNet169")),
    "efficientnet-b0": (EfficientNet, {}, efficient("b0")),
    "efficientnet-b1": (EfficientNet, {"scale": "b1"}, efficient("b1")),
    "flexible-b0": (FlexibleUNet, {}, flexible("efficientnet_b0")),
    "flexible-resnet18": (FlexibleUNet, {"backbone": "resnet18", "shortcut": "padding"}, flexible("resnet18")),
}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_the_source(name, spatial_dims, carry):
    make, args, source = PAIRS[name]
    ours, theirs = make(spatial_dims, 2, 3, **args).eval(), source(spatial_dims, 2, 3).eval()
    carry(theirs, ours, flexible_order if name.startswith("flexible") else lambda _: 0)
    # the source pads for the size B1 was trained with, 240: 48 halves to odd sizes at the same places
    size = 48 if name.endswith("b1") else 64
    x = torch.randn(1, 2, *(size,) * spatial_dims, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_senet154_has_as_many_parameters_as_is_published():
    assert sum(p.numel() for p in SENet154(2, 3, 1000).parameters()) == 115_088_984
