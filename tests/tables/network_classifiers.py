"""Classifiers, and the U-Net around one, of the contract of tests/networks/test_networks_contract.py."""

from network_row import Row, conv, dims, norm

from medframe.networks.nets.densenet import DenseNet
from medframe.networks.nets.efficientnet import EfficientNet
from medframe.networks.nets.flexible_unet import FlexibleUNet
from medframe.networks.nets.resnet import ResNet
from medframe.networks.nets.senet import SEResNet
from medframe.networks.nets.senet154 import SENet154


def classes(n):
    return lambda batch: [(batch, n)]


def basic(inside, outside, taps):
    project = (conv(inside, outside, 1, 0) + norm(outside)) * (inside != outside)
    return conv(inside, outside, taps, 0) + conv(outside, outside, taps, 0) + 2 * norm(outside) + project


ROWS = [
    Row(
        "resnet10-3d",
        ResNet,
        dims(3, 1, 3, depth=10, features=8, conv1_kernel_size=3),
        size=(33, 32, 40),
        multiple=(1, 1, 1),
        parameters=conv(1, 8, 27, 0)
        + norm(8)
        + basic(8, 8, 27)
        + basic(8, 16, 27)
        + basic(16, 32, 27)
        + basic(32, 64, 27)
        + conv(64, 3, 1),
        shapes=classes(3),
    ),
    Row(
        "resnet50-2d-padded",
        ResNet,
        dims(2, 2, 3, depth=50, features=4, shortcut="padding", max_pool=False, norm="instance"),
        size=(48, 33),
        multiple=(1, 1),
        parameters=None,
        shapes=classes(3),
    ),
    Row(
        "seresnext50-2d",
        SEResNet,
        dims(2, 1, 2, depth=50, groups=4, base_width=32, features=8, reduction=4),
        size=(64, 70),
        multiple=(1, 1),
        parameters=None,
        shapes=classes(2),
    ),
    Row(
        "seresnet50-3d",
        SEResNet,
        dims(3, 1, 2, depth=50, features=4, reduction=2),
        size=(64, 40, 33),
        multiple=(1, 1, 1),
        parameters=None,
        shapes=classes(2),
    ),
    Row(
        "senet154-2d",
        SENet154,
        dims(2, 1, 2, layers=(1, 2, 1, 1), groups=4, features=8, reduction=4),
        size=(64, 70),
        multiple=(1, 1),
        parameters=None,
        shapes=classes(2),
    ),
    Row(
        "senet154-3d",
        SENet154,
        dims(3, 2, 2, layers=(1, 1, 1, 1), groups=2, features=4, reduction=2, norm="instance"),
        size=(64, 40, 33),
        multiple=(1, 1, 1),
        parameters=None,
        shapes=classes(2),
    ),
    Row(
        "densenet-3d",
        DenseNet,
        dims(3, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2), checkpointing=True),
        size=(32, 33, 40),
        multiple=(1, 1, 1),
        parameters=conv(1, 8, 343, 0)
        + norm(8)
        + sum(norm(c) + conv(c, 16, 1, 0) + norm(16) + conv(16, 4, 27, 0) for c in (8, 12))
        + norm(16)
        + conv(16, 8, 1, 0)
        + sum(norm(c) + conv(c, 16, 1, 0) + norm(16) + conv(16, 4, 27, 0) for c in (8, 12))
        + norm(16)
        + conv(16, 2, 1),
        shapes=classes(2),
    ),
    Row(
        "efficientnet-b0-2d",
        EfficientNet,
        dims(2, 1, 3),
        size=(64, 65),
        multiple=(1, 1),
        parameters=5_288_548 - 2 * conv(1, 32, 9, 0) - conv(1280, 1000, 1) + conv(1280, 3, 1),  # the published B0
        shapes=classes(3),
    ),
    Row(
        "flexible-unet-resnet10-3d",
        FlexibleUNet,
        dims(3, 1, 2, backbone="resnet10", decoder_channels=(16, 8, 8, 4, 4)),
        size=(32, 32, 64),
        multiple=(32, 32, 32),
        parameters=None,
    ),
    Row(
        "flexible-unet-b0-2d",
        FlexibleUNet,
        dims(2, 3, 4, decoder_channels=(32, 16, 8, 8, 4)),
        size=(64, 64),
        multiple=(32, 32),
        parameters=None,
    ),
    Row(
        "densenet-2d",
        DenseNet,
        dims(2, 2, 3, init_features=8, growth_rate=4, block_config=(2, 3)),
        size=(33, 40),
        multiple=(1, 1),
        parameters=None,
        shapes=classes(3),
    ),
    Row(
        "efficientnet-b0-3d",
        EfficientNet,
        dims(3, 1, 2),
        size=(33, 32, 32),
        multiple=(1, 1, 1),
        parameters=None,
        shapes=classes(2),
        slow=True,
    ),
]
