"""Autoencoders and regressors beside MONAI's: the same parameters and, with the same weights, the same answers."""

import pytest
import torch

from medframe.networks import AutoEncoder, Classifier, Discriminator, Generator, Regressor, VarAutoEncoder

pytestmark = pytest.mark.parity
monai = pytest.importorskip("monai", reason="the source that we compare with: pip install monai")

PLAIN = ("instance", {"affine": False})


def image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def compare(ours, theirs, x, carry):
    ours, theirs = ours.eval(), theirs.eval()
    carry(theirs, ours)
    with torch.no_grad():
        a, b = ours(x), theirs(x)
    for mine, other in zip(a if isinstance(a, tuple) else [a], b if isinstance(b, tuple) else [b], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("units", [0, 2])
def test_autoencoders(spatial_dims, units, carry):
    stages = {"channels": (4, 8), "strides": (2, 2), "num_res_units": units}
    theirs = monai.networks.nets.AutoEncoder(spatial_dims, 2, 3, **stages)
    x = image(2, 2, *(16,) * spatial_dims)
    compare(AutoEncoder(spatial_dims, 2, 3, norm=PLAIN, **stages), theirs, x, carry)
    shape = (2, *(16,) * spatial_dims)
    theirs = monai.networks.nets.VarAutoEncoder(spatial_dims, shape, 3, 6, use_mean_at_inference=True, **stages)
    compare(VarAutoEncoder(spatial_dims, shape, 3, 6, norm=PLAIN, **stages), theirs, x, carry)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("units", [1, 3])
def test_regressor_and_generator(spatial_dims, units, carry):
    stages = {"channels": (4, 8), "strides": (2, 2), "num_res_units": units}
    shape = (2, *(12,) * spatial_dims)
    x = image(2, *shape)
    theirs = monai.networks.nets.Regressor(shape, (2, 3), **stages)
    compare(Regressor(spatial_dims, shape, (2, 3), norm=PLAIN, **stages), theirs, x, carry)
    theirs = monai.networks.nets.Discriminator(shape, **stages)
    compare(Discriminator(spatial_dims, shape, norm=PLAIN, **stages), theirs, x, carry)
    theirs = monai.networks.nets.Classifier(shape, 3, **stages)
    compare(Classifier(spatial_dims, shape, 3, norm=PLAIN, **stages), theirs, x, carry)
    start = (8, *(4,) * spatial_dims)
    theirs = monai.networks.nets.Generator((6,), start, **stages)
    compare(Generator(spatial_dims, (6,), start, norm=PLAIN, **stages), theirs, image(2, 6), carry)
