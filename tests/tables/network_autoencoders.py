"""Autoencoders and regressors of the contract of tests/networks/test_networks_contract.py."""

from network_row import PRELU, Row, conv, dims, norm

from medframe.networks.nets.autoencoder import AutoEncoder, VarAutoEncoder
from medframe.networks.nets.regressor import Regressor


class _Var(VarAutoEncoder):
    """Its channels under the name that the table reads."""

    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 16, 24), **options)


class _Regressor(Regressor):
    def __init__(self, in_channels, **options):
        super().__init__(in_shape=(in_channels, 9, 8, 16), **options)


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
]  # fmt: skip
