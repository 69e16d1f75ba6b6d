"""Registration networks beside MONAI's: the same count of parameters and, with its weights, the same answers."""

import warnings

import pytest
import torch

from medframe.networks import DVF2DDF, GlobalNet, LocalNet, RegUNet, VoxelMorph, VoxelMorphUNet, Warp, load_weights
from medframe.networks.weights_maps import REG_UNET, voxelmorph

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:.*Using PyTorch native grid_sample")]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nets = pytest.importorskip("monai.networks.nets", reason="the source that we compare with: pip install monai")
    from monai.networks.blocks import DVF2DDF as TheirDVF2DDF
    from monai.networks.blocks import Warp as TheirWarp


def draw(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(network):
    """All weights anew, so that no normalisation is at its start and no answer at zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                if name.endswith("running_var"):
                    value.copy_(1 + 0.2 * noise.abs())
                elif value.dim() > 1:
                    value.copy_(noise / value[0].numel() ** 0.5)
                else:
                    value.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
    return network.eval()


def same_answers(ours, theirs, key_map, *inputs):
    theirs = drawn(theirs)
    count = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
    assert count[0] == count[1]
    assert load_weights(ours.eval(), theirs.state_dict(), key_map=key_map).complete
    with torch.no_grad():
        a, b = ours(*inputs), theirs(*inputs)
    for mine, other in zip(*([x] if isinstance(x, torch.Tensor) else x for x in (a, b)), strict=True):
        assert other.std() > 1e-2
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


UNETS = {
    "pooled": {"channels": (4, 5, 6, 7, 8, 9), "unet_out_channels": 6, "final_conv_channels": (5, 4)},
    "strided-normed": {"channels": (4, 8), "unet_out_channels": 8, "final_conv_channels": (), "use_maxpool": False},
}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("form", UNETS)
def test_voxelmorph_unet(spatial_dims, form):
    theirs = nets.VoxelMorphUNet(spatial_dims, 2, **UNETS[form])
    ours = VoxelMorphUNet(spatial_dims, 2, **UNETS[form])
    same_answers(ours, theirs, voxelmorph, draw(2, 2, *(16,) * spatial_dims))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("steps", [0, 5])
def test_voxelmorph(spatial_dims, steps):
    options = UNETS["pooled"]
    theirs = nets.VoxelMorph(nets.VoxelMorphUNet(spatial_dims, 2, **options), steps, spatial_dims=spatial_dims)
    ours = VoxelMorph(spatial_dims, backbone=VoxelMorphUNet(spatial_dims, 2, **options), integration_steps=steps)
    moving, fixed = (draw(2, 1, *(16,) * spatial_dims, seed=seed) for seed in (1, 2))
    same_answers(ours, theirs, voxelmorph, moving, fixed)


def test_voxelmorph_at_half_the_size():
    # without integration: the source doubles velocities where sizes are halved, and composes four times too far away
    options = UNETS["pooled"]
    theirs = nets.VoxelMorph(nets.VoxelMorphUNet(3, 2, **options), 0, half_res=True)
    ours = VoxelMorph(3, backbone=VoxelMorphUNet(3, 2, **options), integration_steps=0, half_res=True)
    same_answers(ours, theirs, voxelmorph, draw(2, 1, 16, 16, 16), draw(2, 1, 16, 16, 16, seed=2))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(
    "form",
    [{}, {"pooling": False, "concat_skip": True, "extract_levels": (0, 2), "encode_kernel_sizes": [5, 3, 3]}],
    ids=["default", "convolved-joined"],
)
def test_reg_unet(spatial_dims, form):
    theirs = nets.RegUNet(spatial_dims, 2, 4, 2, out_channels=spatial_dims, **{"extract_levels": (0, 1, 2)} | form)
    ours = RegUNet(spatial_dims, 2, 4, 2, **{"extract_levels": (0, 1, 2)} | form)
    same_answers(ours, theirs, REG_UNET, draw(2, 2, *(16,) * spatial_dims))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(
    "form",
    [{}, {"use_additive_sampling": False, "concat_skip": True, "pooling": False}],
    ids=["default", "convolved-joined"],
)
def test_local_net(spatial_dims, form):
    theirs = nets.LocalNet(spatial_dims, 2, 4, (0, 1, 2), out_channels=spatial_dims, **form)
    same_answers(LocalNet(spatial_dims, 2, 4, (0, 1, 2), **form), theirs, REG_UNET, draw(2, 2, *(16,) * spatial_dims))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(
    "form", [{}, {"pooling": False, "encode_kernel_sizes": [5, 3, 3]}], ids=["default", "convolved"]
)
def test_global_net(spatial_dims, form):
    size = [16, 8, 12][:spatial_dims]
    theirs = nets.GlobalNet(size, spatial_dims, 2, 4, 2, **form)
    ours = GlobalNet(spatial_dims, 2, size, 4, 2, **form)
    same_answers(ours, theirs, REG_UNET, draw(2, 2, *size))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("border", "padding"), [("zero", "zeros"), ("border", "border"), ("reflect", "reflection")])
@pytest.mark.parametrize(("order", "mode"), [(1, "bilinear"), (0, "nearest")])
def test_warp(spatial_dims, border, padding, order, mode):
    size = [9, 12, 7][:spatial_dims]
    image, field = draw(2, 3, *size).double(), 2 * draw(2, spatial_dims, *size, seed=2).double()
    theirs = TheirWarp(mode, padding)(image, field.clone())
    torch.testing.assert_close(Warp(order, border)(image, field), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_dvf2ddf_and_its_gradient(spatial_dims):
    size = [9, 12, 7][:spatial_dims]
    velocity = draw(2, spatial_dims, *size).double()
    answers = []
    for module in (DVF2DDF(6), TheirDVF2DDF(6)):
        v = velocity.clone().requires_grad_()
        field = module(v)
        (field * draw(*field.shape, seed=3)).sum().backward()
        answers += [field.detach(), v.grad]
    for mine, other in zip(answers[:2], answers[2:], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)
