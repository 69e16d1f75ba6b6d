"""Warps by hand and against SciPy, integration against the matrix exponential, and what registration begins with."""

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from torch import nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.kernels import sample
from medframe.networks import DVF2DDF, GlobalNet, LocalNet, RegUNet, VoxelMorph, VoxelMorphUNet, Warp


def draw(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_warp_reads_where_the_field_points():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    down = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 4)
    assert Warp(border="border")(image, down)[0, 0].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [8, 9, 10, 11]]
    assert Warp(border="zero", fill=-1.0)(image, down)[0, 0, 2].tolist() == [-1] * 4
    assert Warp()(image, down / 4)[0, 0, 0].tolist() == [1, 2, 3, 4]
    labels = Warp(order=0)(image, 0.4 * down)
    assert torch.equal(labels, image)


@pytest.mark.parametrize("size", [(11,), (7, 9), (5, 8, 6)])
@pytest.mark.parametrize(("border", "mode"), [("zero", "constant"), ("border", "nearest"), ("reflect", "mirror")])
def test_a_warp_is_scipys_map_coordinates(size, border, mode):
    axes = len(size)
    image, field = draw(2, 1, *size), 1.5 * draw(2, axes, *size, seed=2)
    inner = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"))
    found = Warp(border=border)(image, field)
    for b in range(2):
        at = inner + field[b].numpy()
        inside = np.all((at >= 0) & (at <= np.reshape(size, (-1, *[1] * axes)) - 1), 0) if border == "zero" else True
        due = scipy.ndimage.map_coordinates(image[b, 0].numpy(), at, order=1, mode=mode)
        np.testing.assert_allclose(np.where(inside, found[b, 0].numpy(), 0), np.where(inside, due, 0), atol=1e-9)


def test_gradients_of_a_warp_and_of_an_integration_are_those_of_finite_differences():
    image, field = draw(1, 1, 4, 5).requires_grad_(), (0.3 + 0.2 * draw(1, 2, 4, 5, seed=2)).requires_grad_()
    assert torch.autograd.gradcheck(Warp(), (image, field), eps=1e-5)
    assert torch.autograd.gradcheck(DVF2DDF(3), (field,), eps=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
def test_integration_is_the_matrix_exponential(axes):
    # the velocity A (x - c) moves x to c + expm(A) (x - c)
    n = 33 if axes == 2 else 17
    rate = 0.2 * draw(axes, axes, seed=4).numpy()
    away = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) - n // 2] * axes, indexing="ij"))
    velocity = torch.einsum("ij,j...->i...", torch.from_numpy(rate), away)[None]
    due = torch.einsum("ij,j...->i...", torch.from_numpy(scipy.linalg.expm(rate) - np.eye(axes)), away)
    found = DVF2DDF(num_steps=12)(velocity)[0]
    middle = (slice(None), *[slice(n // 2 - 3, n // 2 + 4)] * axes)
    torch.testing.assert_close(found[middle], due[middle], rtol=2e-3, atol=2e-3)
    assert due[middle].abs().max() > 0.3


def test_the_negative_velocity_is_the_way_back_and_nothing_folds():
    velocity = torch.from_numpy(scipy.ndimage.gaussian_filter(draw(1, 2, 48, 48, seed=6).numpy(), (0, 0, 5, 5)))
    velocity = 3 * velocity / velocity.abs().max()
    forth, back = DVF2DDF(8)(velocity), DVF2DDF(8)(-velocity)
    around = forth + Warp()(back, forth)
    assert around[..., 8:-8, 8:-8].abs().max() < 0.05
    assert forth.abs().max() > 1
    rows = torch.stack([forth.diff(dim=2)[0, :, :, :-1], forth.diff(dim=3)[0, :, :-1]], 1)  # d, axis, ...
    jacobian = (1 + rows[0, 0]) * (1 + rows[1, 1]) - rows[0, 1] * rows[1, 0]
    assert jacobian[4:-4, 4:-4].min() > 0  # at the edge displacements break off


def test_half_the_size_integrates_the_same_velocity():
    # a field that grows from the centre tells steps of one voxel from steps of two
    n, rate = 40, torch.tensor([[0.25, -0.15], [0.1, 0.2]], dtype=torch.float64)
    places = torch.arange(n, dtype=torch.float64) - (n - 1) / 2
    away = torch.stack(torch.meshgrid(places, places, indexing="ij"))
    velocity = torch.einsum("ij,jhw->ihw", rate, away)[None]
    due = torch.einsum("ij,jhw->ihw", torch.linalg.matrix_exp(rate) - torch.eye(2), away)
    middle = (..., slice(12, 28), slice(12, 28))
    assert (due[middle] - velocity[0][middle]).abs().max() > 0.2
    for half_res in (False, True):
        found = VoxelMorph(2, integration_steps=10, half_res=half_res).displacement(velocity)
        torch.testing.assert_close(found[0][middle], due[middle], rtol=0, atol=0.01)


class Constant(nn.Module):
    """A backbone that answers with one velocity everywhere."""

    def __init__(self, *velocity):
        super().__init__()
        self.velocity = nn.Parameter(torch.tensor(velocity))

    def forward(self, x):
        d = len(self.velocity)
        return self.velocity.reshape(1, d, *[1] * d).expand(x.shape[0], d, *x.shape[2:])


@pytest.mark.parametrize("half_res", [False, True])
def test_a_constant_velocity_is_that_displacement_in_voxels(half_res):
    network = VoxelMorph(2, backbone=Constant(2.0, -1.0), half_res=half_res, border="border")
    moving = torch.rand(1, 1, 40, 32)
    warped, field = network(moving, moving)
    middle = (..., slice(10, 30), slice(8, 24))
    for axis, due in enumerate((2.0, -1.0)):
        torch.testing.assert_close(field[0, axis][middle], torch.full((20, 16), due), rtol=0, atol=1e-4)
    torch.testing.assert_close(warped[0, 0, 10:30, 8:24], moving[0, 0, 12:32, 7:23], rtol=0, atol=1e-3)


def test_registration_begins_at_the_identity():
    torch.manual_seed(0)
    moving, fixed = torch.rand(2, 1, 16, 32), torch.rand(2, 1, 16, 32)
    warped, field = VoxelMorph(2)(moving, fixed)
    assert field.abs().max() < 1e-3
    torch.testing.assert_close(warped, moving, rtol=0, atol=1e-3)
    for backbone in (RegUNet(2, 2, 4, 2), LocalNet(2, 2, 4, (0, 1, 2)), GlobalNet(2, 2, (16, 32), 4, 2)):
        warped, field = VoxelMorph(2, backbone=backbone, integration_steps=0)(moving, fixed)
        assert not field.any()
        assert torch.equal(warped, moving)


def test_fields_keep_single_precision_under_autocast():
    network = VoxelMorph(2, backbone=Constant(0.3, 0.7)).eval()
    moving = torch.rand(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        warped, field = network(moving, moving)
    assert field.dtype == warped.dtype == torch.float32
    assert Warp()(moving.bfloat16(), field).dtype == torch.bfloat16


def test_global_net_answers_with_the_field_of_its_matrix():
    torch.manual_seed(0)
    network = GlobalNet(3, 2, (8, 12, 8), 2, 1).eval()
    with torch.no_grad():
        network.fc.weight.normal_(0, 0.01)
        pair, image = torch.rand(2, 2, 8, 12, 8), torch.rand(2, 1, 8, 12, 8)
        by_matrix = sample(image, network.affine(pair), border="border")
        torch.testing.assert_close(Warp()(image, network(pair)), by_matrix, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(by_matrix, image, atol=0.05)


IMAGE = torch.zeros(2, 1, 16, 16)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Warp(order=2), BadArgument, "order 2"),
        (lambda: Warp(border="zeros"), BadArgument, "'zeros'; expected order 0, 1 or 3; border"),
        (lambda: Warp()(IMAGE, IMAGE), BadArgument, "not a field of displacements"),
        (lambda: Warp()(IMAGE[:1], torch.zeros(2, 2, 16, 16)), BadArgument, r"for an image of shape \(1, 1, 16, 16\)"),
        (lambda: Warp()(IMAGE, torch.full((2, 2, 16, 16), torch.nan)), BadGeometry, "not finite"),
        (lambda: Warp()(IMAGE, torch.zeros(2, 2, 0, 16)), BadGeometry, "without voxels"),
        (lambda: DVF2DDF(0), BadArgument, "num_steps"),
        (lambda: DVF2DDF()(IMAGE), BadArgument, "one channel for each of the d axes"),
        (lambda: VoxelMorphUNet(2, channels=(4, 8, 8)), BadArgument, "no pairs"),
        (lambda: VoxelMorph(2, integration_steps=-1), BadArgument, "integration_steps"),
        (lambda: VoxelMorph(2)(IMAGE, IMAGE[:1]), BadArgument, "differ in shape"),
        (lambda: VoxelMorph(2, backbone=nn.Conv2d(2, 3, 1))(IMAGE, IMAGE), BadArgument, "backbone's answer"),
        (
            lambda: VoxelMorph(2, backbone=Constant(1.0, 1.0), half_res=True)(IMAGE[..., :3], IMAGE[..., :3]),
            BadGeometry,
            "half the size",
        ),
        (lambda: RegUNet(2, 2, 4, 2, extract_levels=(3,)), BadArgument, "levels from 0 to 2"),
        (lambda: RegUNet(2, 2, 4, 2, encode_kernel_sizes=(3, 3)), BadArgument, "or 3 of them"),
        (lambda: RegUNet(2, 2, 4, 2, mode="cubic"), BadArgument, "nearest or linear"),
        (lambda: LocalNet(2, 2, 4, (0,)), BadArgument, "no level to halve to"),
        (lambda: LocalNet(2, 2, 4, ()), BadArgument, "no level to halve to"),
        (lambda: GlobalNet(2, 2, (16, 18), 4, 2), BadArgument, "multiples of 4"),
        (lambda: GlobalNet(2, 2, 16, 4, 2)(torch.zeros(1, 2, 16, 32)), BadGeometry, "another size"),
    ],
)
def test_refuses_what_it_cannot_register(call, error, message):
    with pytest.raises(error, match=message):
        call()
