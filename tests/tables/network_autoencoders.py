"""Autoencoders and regressors of the contract of tests/networks/test_networks_contract.py."""

from network_row import PRELU, Row, conv, dims, norm

from medframe.networks.nets.autoencoder import AutoEncoder, VarAutoEncoder
from medframe.networks.nets.classifier import Classifier, Discriminator
from medframe.networks.nets.regressor import Regressor


class _Var(VarAutoEncoder):
    """Its channels under the name that the table reads."""

    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 16, 24), **options)


class _Regressor(Regressor):
    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 9, 8, 16), **options)


class _Classifier(Classifier):
    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 24, 16), **options)


class _Discriminator(Discriminator):
    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 8, 8, 16), **options)


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
        "discriminator-3d",
        _Discriminator,
        {"spatial_dims": 3, "in_channels": 1, "channels": (4, 8), "strides": (2, 1)},
        size=(8, 8, 16),
        multiple=None,
        parameters=None,
        shapes=lambda b: [(b, 1)],
    ),
]  # fmt: skip
