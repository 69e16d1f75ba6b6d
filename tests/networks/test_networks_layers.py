import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medframe.base.errors import BadGeometry
from medframe.networks.initialisation import he_init, negative_slope
from medframe.networks.instance_norm import InstanceNorm
from medframe.networks.layers import act_layer, conv_layer, norm_layer, transposed_conv_layer

LAYOUTS = [
    ((3, 5, 40), torch.contiguous_format),
    ((2, 5, 6, 7), torch.contiguous_format),
    ((2, 5, 6, 7), torch.channels_last),
    ((1, 5, 3, 4, 5), torch.channels_last_3d),
    ((2, 5, 3, 4, 5), torch.contiguous_format),
    ((2, 5, 3, 4, 5), torch.channels_last_3d),
]
layouts = pytest.mark.parametrize(
    ("shape", "layout"), LAYOUTS, ids=lambda v: "x".join(map(str, v)) if isinstance(v, tuple) else str(v)[6:]
)


def filled(norm):
    with torch.no_grad():
        for p in norm.parameters():
            p.uniform_(0.5, 2)
    return norm


@layouts
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_instance_norm_is_torchs(shape, layout, affine, dtype):
    torch.manual_seed(0)
    norm = filled(InstanceNorm(shape[1], affine=affine))
    x = (5 + 2 * torch.randn(shape)).to(dtype).contiguous(memory_format=layout).requires_grad_()
    exact = x.detach().double().requires_grad_()
    weight, bias = (None, None) if not affine else (norm.weight.double(), norm.bias.double())
    y, due = norm(x), F.instance_norm(exact, weight=weight, bias=bias)
    assert y.dtype == dtype
    # half precision: nothing is lost but the last rounding of the answer
    rtol, atol = (1e-5, 1e-5) if dtype == torch.float32 else (2**-8, 2e-3)
    torch.testing.assert_close(y.double(), due, rtol=rtol, atol=atol)
    pull = torch.randn(shape)
    grad, due_grad = torch.autograd.grad(y, x, pull.to(dtype)), torch.autograd.grad(due, exact, pull.double())
    torch.testing.assert_close(grad[0].double(), due_grad[0], rtol=100 * rtol, atol=1e-4 if rtol < 1e-4 else 2e-2)
    if dtype == torch.bfloat16:
        assert y.is_contiguous(memory_format=layout)


def test_instance_norm_of_many_channels_last_voxels_stays_exact():
    # torch's channels-last batch normalisation adds float32 in a row and is wrong by 1e-4 here
    torch.manual_seed(0)
    x = torch.randn(1, 4, 64, 64, 64).contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(InstanceNorm(4)(x).double(), F.instance_norm(x.double()), rtol=1e-5, atol=1e-5)


def test_instance_norm_of_one_voxel_is_refused():
    with pytest.raises(BadGeometry, match=r"single voxel .*\(2, 5, 1, 1\)"):
        InstanceNorm(5)(torch.zeros(2, 5, 1, 1))


def test_a_half_precision_network_normalises_with_float32_statistics():
    x = (50 + torch.randn(1, 3, 32, 32)).bfloat16()
    due = F.instance_norm(x.double())
    torch.testing.assert_close(InstanceNorm(3).bfloat16()(x).double(), due, rtol=2**-8, atol=4e-3)
    poor = F.instance_norm(x, weight=torch.ones(3).bfloat16(), bias=torch.zeros(3).bfloat16())
    assert (poor.double() - due).abs().max() > (InstanceNorm(3).bfloat16()(x).double() - due).abs().max()


@pytest.mark.parametrize("n", [1, 4, 5])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 2), (3, 3), (3, 1), (3, 2), (4, 2), (5, 2), (5, 3), (5, 4)])
def test_transposed_convolution_multiplies_the_size(kernel, stride, n):
    layer = transposed_conv_layer(1, 1, 1, kernel, stride)
    assert layer(torch.zeros(1, 1, n)).shape[-1] == n * stride


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolution_divides_the_size_upwards(stride, n):
    assert conv_layer(1, 1, 1, 3, stride)(torch.zeros(1, 1, n)).shape[-1] == -(-n // stride)


def test_strided_up_and_down_stay_in_place():
    # a centred bump must come back centred where kernel and stride are both odd
    x = torch.zeros(1, 1, 27)
    x[..., 13] = 1
    down, up = conv_layer(1, 1, 1, 5, 1, bias=False), transposed_conv_layer(1, 1, 1, 5, 1, bias=False)
    with torch.no_grad():
        for layer in (down, up):
            layer.weight.copy_(torch.tensor([1.0, 2, 3, 2, 1]))
        y = up(down(x))
    assert torch.equal(y, y.flip(-1))


def test_norms_and_activations_by_name():
    assert [type(norm_layer("batch", d, 4)) for d in (1, 2, 3)] == [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d]
    assert norm_layer(("group", {"num_groups": 2, "eps": 0.1}), 3, 4).eps == 0.1
    assert norm_layer("group", 3, 16).num_groups == 8
    assert norm_layer(("instance", {"affine": False}), 3, 4).weight is None
    x = torch.linspace(-3, 3, 7)
    oracle = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "mish": F.mish, "tanh": torch.tanh, "elu": F.elu}
    for name, f in oracle.items():
        torch.testing.assert_close(act_layer(name)(x.clone()), f(x))
    torch.testing.assert_close(act_layer("leaky_relu")(x.clone()), torch.where(x > 0, x, 0.01 * x))
    torch.testing.assert_close(act_layer("prelu")(x), torch.where(x > 0, x, 0.25 * x))


@pytest.mark.parametrize(
    ("act", "slope"), [("relu", 0.0), ("gelu", 0.0), (("leaky_relu", {"negative_slope": 0.2}), 0.2)]
)
def test_he_init_keeps_the_variance_through_both_kinds_of_convolution(act, slope):
    torch.manual_seed(0)
    assert negative_slope(act_layer(act)) == slope
    x = F.leaky_relu(torch.randn(8, 64, 24, 24), slope)
    for layer in (
        conv_layer(2, 64, 64),
        transposed_conv_layer(2, 64, 64, 2, 2),
        transposed_conv_layer(2, 64, 64, 4, 2),
    ):
        he_init(layer, slope)
        assert not layer.bias.any()
        with torch.no_grad():
            inner = layer(x)[..., 4:-4, 4:-4]  # away from the zero padding
        assert inner.var() == pytest.approx(1, rel=0.1)
    assert negative_slope(act_layer("prelu")) == 0.25
