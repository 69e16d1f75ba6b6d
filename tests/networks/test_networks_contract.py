"""One row for each network: what every architecture must do. A new architecture adds rows here."""

import copy
import math
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks import DynUNet, UNet

PRELU = 1


def conv(inside, outside, taps, bias=1):
    return inside * outside * taps + bias * outside


def norm(channels):
    return 2 * channels


def dims(spatial_dims, in_channels, out_channels, **more):
    return {"spatial_dims": spatial_dims, "in_channels": in_channels, "out_channels": out_channels, **more}


@dataclass(frozen=True)
class Row:
    name: str
    make: type[nn.Module]
    args: dict[str, Any]
    size: tuple[int, ...]  # of a small input
    multiple: tuple[int, ...]
    parameters: int  # counted by hand
    coarser: tuple[tuple[int, ...], ...] = ()  # sizes of the further logits while training

    def network(self):
        torch.manual_seed(0)
        return self.make(**self.args)

    def input(self, batch=2, times=1):
        shape = (batch, self.args["in_channels"], *(times * s for s in self.size))
        return torch.randn(shape, generator=torch.Generator().manual_seed(1))


ROWS = [
    Row(
        "unet-1d",
        UNet,
        dims(1, 2, 3, channels=(4, 8), strides=(4,), kernel_size=5, up_kernel_size=5, norm=None, act="silu"),
        size=(32,),
        multiple=(4,),
        parameters=conv(2, 4, 5) + conv(4, 8, 5) + conv(4 + 8, 3, 5),
    ),
    Row(
        "unet-2d",
        UNet,
        dims(2, 1, 2, channels=(4, 8, 16), strides=(2, 2)),
        size=(8, 16),
        multiple=(4, 4),
        parameters=(conv(1, 4, 9) + norm(4) + PRELU)
        + (conv(4, 8, 9) + norm(8) + PRELU)
        + (conv(8, 16, 9) + norm(16) + PRELU)
        + (conv(8 + 16, 4, 9) + norm(4) + PRELU)
        + conv(4 + 4, 2, 9),
    ),
    Row(
        "unet-3d-residual",
        UNet,
        dims(3, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=2, norm="batch"),
        size=(8, 4, 8),
        multiple=(4, 4, 4),
        parameters=(2 * conv(1, 4, 27) + conv(4, 4, 27) + 2 * (norm(4) + PRELU))  # twice: the short cut strides too
        + (2 * conv(4, 8, 27) + conv(8, 8, 27) + 2 * (norm(8) + PRELU))
        + (conv(8, 16, 27) + conv(8, 16, 1) + conv(16, 16, 27) + 2 * (norm(16) + PRELU))
        + (conv(8 + 16, 4, 27) + conv(4, 4, 27) + 2 * (norm(4) + PRELU))
        + (conv(4 + 4, 2, 27) + norm(2) + PRELU + conv(2, 2, 27)),
    ),
    Row(
        "unet-3d-anisotropic",
        UNet,
        dims(3, 1, 4, channels=(4, 8, 8), strides=((1, 2, 2), 2), num_res_units=1, act="relu", dropout=0.1, bias=False)
        | {"norm": ("group", {"num_groups": 2})},
        size=(4, 8, 8),
        multiple=(2, 4, 4),
        parameters=(2 * conv(1, 4, 27, 0) + norm(4))
        + (2 * conv(4, 8, 27, 0) + norm(8))
        + (conv(8, 8, 27, 0) + norm(8))  # nothing in the short cut
        + (conv(8 + 8, 4, 27, 0) + norm(4) + conv(4, 4, 27, 0) + norm(4))
        + (conv(4 + 4, 4, 27, 0) + norm(4) + conv(4, 4, 27, 0)),
    ),
    Row(
        "dynunet-1d",
        DynUNet,
        dims(1, 1, 2, kernel_size=[3, 3], strides=[1, 3], channels=(4, 8), norm="batch", act="gelu", convs_per_stage=1),
        size=(12,),
        multiple=(3,),
        parameters=(conv(1, 4, 3, 0) + norm(4))
        + (conv(4, 8, 3, 0) + norm(8))
        + (conv(8, 4, 3, 0) + conv(8, 4, 3, 0) + norm(4))
        + conv(4, 2, 1),
    ),
    Row(
        "dynunet-2d",
        DynUNet,
        dims(2, 3, 2, kernel_size=[5, 3], strides=[1, 2], bias=True),
        size=(8, 4),
        multiple=(2, 2),
        parameters=(conv(3, 32, 25) + conv(32, 32, 25) + 2 * norm(32))
        + (conv(32, 64, 9) + conv(64, 64, 9) + 2 * norm(64))
        + conv(64, 32, 4)
        + (conv(64, 32, 25) + conv(32, 32, 25) + 2 * norm(32))
        + conv(32, 2, 1),
    ),
    Row(
        "dynunet-3d-deep",
        DynUNet,
        dims(3, 1, 3, kernel_size=[(1, 3, 3), 3, 3], strides=[1, (1, 2, 2), 2], channels=(4, 8, 12))
        | {"deep_supervision": True},
        size=(4, 8, 8),
        multiple=(2, 4, 4),
        parameters=(conv(1, 4, 9, 0) + conv(4, 4, 9, 0) + 2 * norm(4))
        + (conv(4, 8, 27, 0) + conv(8, 8, 27, 0) + 2 * norm(8))
        + (conv(8, 12, 27, 0) + conv(12, 12, 27, 0) + 2 * norm(12))
        + conv(12, 8, 8, 0)
        + (conv(16, 8, 27, 0) + conv(8, 8, 27, 0) + 2 * norm(8))
        + conv(8, 4, 4, 0)
        + (conv(8, 4, 9, 0) + conv(4, 4, 9, 0) + 2 * norm(4))
        + conv(4, 3, 1)
        + conv(8, 3, 1),
        coarser=((4, 4, 4),),
    ),
]

rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@rows
def test_shapes_count_and_gradients(row):
    network = row.network()
    assert sum(p.numel() for p in network.parameters()) == row.parameters
    assert network.multiple == row.multiple
    answers = network(row.input())
    answers = answers if isinstance(answers, list) else [answers]
    out_channels = row.args["out_channels"]
    assert [tuple(a.shape) for a in answers] == [(2, out_channels, *size) for size in (row.size, *row.coarser)]
    # weighted, since normalised features summed evenly have no gradient at all
    sum((a * torch.randn(a.shape, generator=torch.Generator().manual_seed(2))).sum() for a in answers).backward()
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name
    assert sum(p.grad.abs().sum() > 0 for p in network.parameters()) >= 0.7 * len(list(network.parameters()))
    with torch.no_grad():
        assert network.eval()(row.input(1)).shape == (1, out_channels, *row.size)


@rows
def test_bfloat16_autocast_stays_close(row):
    torch.manual_seed(0)
    network, x = row.network().eval(), row.input()
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x)
    assert half.dtype == torch.bfloat16
    assert (half - exact).square().mean().sqrt() < 0.05 * exact.std()
    network.train()
    # twice the size: torch 2.13 reads memory it never wrote in the bfloat16 weight gradient of a 3 x 3 x 3 convolution
    # over eight voxels or fewer (seen with 2 x 1 x 2, 2 x 2 x 2 and 2 x 1 x 4, never with more), on CPUs with AVX-512
    with torch.autocast("cpu", torch.bfloat16):
        answer = network(row.input(times=2))
    (answer[0] if isinstance(answer, list) else answer).float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("row", [r for r in ROWS if len(r.size) > 1], ids=lambda row: row.name)  # torch has none in 1-D
def test_channels_last_gives_the_same(row):
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[len(row.size)]
    network, x = row.network().eval(), row.input()
    with torch.no_grad():
        plain = network(x)
        network = network.to(memory_format=layout)
        torch.testing.assert_close(network(x.contiguous(memory_format=layout)), plain, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x.contiguous(memory_format=layout))
    assert half.is_contiguous(memory_format=layout)  # no layer on the way fell back
    assert (half - plain).square().mean().sqrt() < 0.05 * plain.std()


@rows
def test_copies_and_pickles(row):
    network = row.network().eval()
    x = row.input()
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(x), network(x))
    other = row.make(**row.args).eval()  # other weights
    assert not torch.equal(other(x), network(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), network(x))


@rows
def test_exports_with_any_batch_size(row):
    network = row.network().eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (row.input(2),), dynamic_shapes={"x": {0: batch}}).module()
    for n in (1, 3):
        torch.testing.assert_close(program(row.input(n)), network(row.input(n)))


@rows
def test_refuses_inputs_it_cannot_take(row):
    network, x = row.network(), row.input()
    with pytest.raises(BadArgument, match="cannot take an input of this shape"):
        network(x[0])
    with pytest.raises(BadArgument, match=f"{row.args['in_channels']}, size"):
        network(torch.cat([x, x], 1))
    for axis, unit in enumerate(row.multiple):
        cut = x.narrow(2 + axis, 0, x.shape[2 + axis] - 1)
        with pytest.raises(
            BadGeometry, match=rf"spatial axis {axis} .*found size {cut.shape[2 + axis]}.*multiple of {unit}"
        ):
            network(cut)
        with pytest.raises(BadGeometry, match="size 0"):
            network(x.narrow(2 + axis, 0, 0))


UNET = dims(2, 1, 2, channels=(4, 8), strides=(2,))
DYN = dims(2, 1, 2, kernel_size=[3, 3], strides=[1, 2])


@pytest.mark.parametrize(
    ("make", "args", "message"),
    [
        (UNet, UNET | {"spatial_dims": 4}, "expected 1, 2 or 3"),
        (UNet, UNET | {"strides": (2, 2)}, "2 channels, 2 strides"),
        (UNet, UNET | {"channels": (4,), "strides": ()}, "1 channels, 0 strides"),
        (UNet, UNET | {"channels": (4, 0)}, "channels is not a number of channels"),
        (UNet, UNET | {"in_channels": 0}, "in_channels"),
        (UNet, UNET | {"strides": ((2, 2, 2),)}, r"strides\[0\] does not fit 2 spatial axes"),
        (UNet, UNET | {"strides": (0,)}, "positive integer"),
        (UNet, UNET | {"kernel_size": 4}, "odd positive integer"),
        (UNet, UNET | {"up_kernel_size": 1}, "smaller than its stride"),
        (UNet, UNET | {"num_res_units": -1}, "num_res_units"),
        (UNet, UNET | {"dropout": 1.0}, "dropout"),
        (UNet, UNET | {"act": "rellu"}, "'rellu'; expected elu, gelu, leaky_relu"),
        (UNet, UNET | {"act": ("relu", {"slope": 1})}, "unexpected keyword argument 'slope'"),
        (UNet, UNET | {"norm": "instances"}, "'instances'; expected batch, group, instance"),
        (UNet, UNET | {"norm": ("instance", {"groups": 1})}, "unexpected keyword argument 'groups'"),
        (UNet, UNET | {"norm": "group"}, "4 channels, 8 groups"),
        (DynUNet, DYN | {"kernel_size": [3]}, "1 kernels, 2 strides, 2 channels"),
        (DynUNet, DYN | {"channels": (4, 8, 16)}, "2 kernels, 2 strides, 3 channels"),
        (DynUNet, DYN | {"kernel_size": [3], "strides": [1]}, "two stages or more"),
        (DynUNet, DYN | {"strides": [2, 2]}, r"strides\[0\]=2; expected 1 along every axis"),
        (DynUNet, DYN | {"kernel_size": [3, (3, 2)]}, r"kernel_size\[1\] does not fit"),
        (DynUNet, DYN | {"convs_per_stage": 0}, "convs_per_stage=0"),
    ],
)
def test_refuses_arguments_that_contradict(make, args, message):
    with pytest.raises(BadArgument, match=message):
        make(**args)


def test_one_voxel_at_the_bottom_is_refused_with_a_mend():
    with pytest.raises(BadGeometry, match=r"single voxel.*larger patch"):
        UNet(**UNET)(torch.zeros(1, 1, 2, 2))


def test_unet_has_as_many_parameters_as_is_widely_printed():
    # the spleen network of many tutorials
    network = UNet(3, 1, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch")
    assert sum(p.numel() for p in network.parameters()) == 4_808_917


def test_dynunet_default_channels_are_nnunets():
    for spatial_dims, widest in ((2, 512), (3, 320)):
        network = DynUNet(spatial_dims, 1, 3, [3] * 6, [1] + [2] * 5)
        widths = [stage[-1].conv.out_channels for stage in network.encoder]
        assert widths == [32, 64, 128, 256, widest, widest]
        assert network.multiple == (32,) * spatial_dims


def test_dynunet_answers_one_tensor_in_evaluation_and_the_finest_first_in_training():
    row = next(r for r in ROWS if r.coarser)
    network, x = row.network(), row.input()
    torch.testing.assert_close(network(x)[0], network.eval()(x))


def test_dynunet_topology_written_out():
    torch.manual_seed(0)
    network = DynUNet(2, 1, 2, [3, 3], [1, 2], channels=(3, 5), convs_per_stage=1).eval()
    w = network.state_dict()
    x = torch.randn(2, 1, 6, 8)

    def block(h, name, stride=1):
        h = nn.functional.conv2d(h, w[f"{name}.0.conv.weight"], stride=stride, padding=1)
        return nn.functional.leaky_relu(nn.functional.instance_norm(h), 0.01)  # a new scale is 1, a new shift 0

    fine = block(x, "encoder.0")
    deep = block(fine, "encoder.1", stride=2)
    up = nn.functional.conv_transpose2d(deep, w["up.0.weight"], stride=2)
    h = block(torch.cat([up, fine], 1), "decoder.0")
    torch.testing.assert_close(network(x), nn.functional.conv2d(h, w["heads.0.weight"], w["heads.0.bias"]))


def test_unet_topology_written_out():
    torch.manual_seed(0)
    network = UNet(2, 1, 2, channels=(3, 5), strides=(2,), num_res_units=1, norm=None, act="relu").eval()
    w = network.state_dict()
    x = torch.randn(2, 1, 6, 8)

    def conv2d(h, name, **how):
        return nn.functional.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], **how)

    fine = conv2d(x, "down.0.body.0.conv", stride=2, padding=1).relu()
    fine = fine + conv2d(x, "down.0.shortcut", stride=2, padding=1)
    deep = conv2d(fine, "bottom.body.0.conv", padding=1).relu() + conv2d(fine, "bottom.shortcut")
    h = torch.cat([fine, deep], 1)
    weight, bias = w["up.0.0.conv.weight"], w["up.0.0.conv.bias"]
    h = nn.functional.conv_transpose2d(h, weight, bias, stride=2, padding=1, output_padding=1).relu()
    torch.testing.assert_close(network(x), conv2d(h, "up.0.1.body.0.conv", padding=1) + h)


def test_an_untrained_network_keeps_the_scale_of_its_signal():
    torch.manual_seed(0)
    network = DynUNet(2, 1, 2, [3] * 4, [1, 2, 2, 2], channels=[64] * 4, norm=None)
    with torch.no_grad():
        logits = network(torch.randn(2, 1, 64, 64))
    assert 0.3 < math.sqrt(logits.square().mean()) < 4  # eighteen layers deep; torch's own initial weights give 0.03
