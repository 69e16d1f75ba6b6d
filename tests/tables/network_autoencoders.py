"""Autoencoders and regressors of the contract of tests/networks/test_networks_contract.py."""

from network_row import PRELU, Row, conv, dims, norm

from medframe.networks.nets.autoencoder import AutoEncoder, VarAutoEncoder
from medframe.networks.nets.classifier import Classifier, Discriminator
from medframe.networks.nets.regressor import Generator, Regressor


class _Var(VarAutoEncoder):
    """Its channels under the name that the table reads."""

    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 16, 24, 8)[: 1 + options["spatial_dims"]], **options)


class _Regressor(Regressor):
    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 9, 8, 16)[: 1 + options["spatial_dims"]], **options)


class _Generator(Generator):
    """Draws an image from numbers that the table, which only has images, gives the form of one."""

    def __init__(self, in_channels, **options):
        latent = (in_channels, 2, 3, 2)[: 1 + options["spatial_dims"]]
        super().__init__(latent_shape=latent, start_shape=(8, 4, 6, 4)[: len(latent)], **options)


class _Classifier(Classifier):
    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 24, 16, 8)[: 1 + options["spatial_dims"]], **options)


class _Discriminator(Discriminator):
    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 8, 8, 16)[: 1 + options["spatial_dims"]], **options)


ROWS = [
    Row(
        "autoencoder-2d",
        AutoEncoder,
        dims(2, 1, 2, channels=(4, 8), strides=(2, 2)),
        size=(16, 24),
        multiple=(4, 4),
        parameters=conv(1, 4, 9) + norm(4) + PRELU + conv(4, 8, 9) + norm(8) + PRELU
        + conv(8, 4, 9) + norm(4) + PRELU + conv(4, 2, 9),
    ),
    Row(
        "autoencoder-3d-residual",
        AutoEncoder,
        dims(3, 2, 1, channels=(4, 8), strides=((1, 2, 2), 2), num_res_units=2),
        size=(8, 16, 16),
        multiple=(2, 4, 4),
        parameters=None,
    ),
    Row(
        "var-autoencoder-2d",
        _Var,
        dims(2, 1, 2, latent_size=6, channels=(4, 8), strides=(2, 2)),
        size=(16, 24),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 2, 16, 24), (b, 6), (b, 6), (b, 6)],
    ),
    Row(
        "regressor-3d",
        _Regressor,
        {"spatial_dims": 3, "in_channels": 1, "out_shape": (2, 3), "channels": (4, 8), "strides": (2, 2)},
        size=(9, 8, 16),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 2, 3)],
    ),
    Row(
        "classifier-2d",
        _Classifier,
        {"spatial_dims": 2, "in_channels": 2, "classes": 3, "channels": (4, 8), "strides": (2, 2), "num_res_units": 1},
        size=(24, 16),
        multiple=None,
        parameters=2 * conv(2, 4, 9) + norm(4) + PRELU + 2 * conv(4, 8, 9) + conv(8 * 24, 3, 1),
        shapes=lambda b: [(b, 3)],
    ),
    Row(
        "classifier-3d",
        _Classifier,
        {"spatial_dims": 3, "in_channels": 1, "classes": 2, "channels": (4, 8), "strides": (2, 2)},
        size=(24, 16, 8),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 2)],
    ),
    Row(
        "discriminator-2d",
        _Discriminator,
        {"spatial_dims": 2, "in_channels": 2, "channels": (4, 8), "strides": (2, 2)},
        size=(8, 8),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 1)],
    ),
    Row(
        "discriminator-3d",
        _Discriminator,
        {"spatial_dims": 3, "in_channels": 1, "channels": (4, 8), "strides": (2, 1)},
        size=(8, 8, 16),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 1)],
    ),
    Row(
        "var-autoencoder-3d",
        _Var,
        dims(3, 2, 1, latent_size=4, channels=(4, 8), strides=(2, 2), num_res_units=1),
        size=(16, 24, 8),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 1, 16, 24, 8), (b, 4), (b, 4), (b, 4)],
    ),
    Row(
        "regressor-2d",
        _Regressor,
        {"spatial_dims": 2, "in_channels": 2, "out_shape": (3,), "channels": (4, 8), "strides": (2, 2)}
        | {"num_res_units": 1},
        size=(9, 8),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 3)],
    ),
    Row(
        "generator-2d",
        _Generator,
        {"spatial_dims": 2, "in_channels": 2, "channels": (4, 1), "strides": (2, 2)},
        size=(2, 3),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 1, 16, 24)],
    ),
    Row(
        "generator-3d",
        _Generator,
        {"spatial_dims": 3, "in_channels": 1, "channels": (4, 2), "strides": (1, 2), "num_res_units": 0},
        size=(2, 3, 2),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 2, 8, 12, 8)],
    ),
]  # fmt: skip
