"""One row for each network: what every architecture must do. A new architecture adds rows here."""

import copy
import inspect
import math
import pickle
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import network_row
import pytest
import torch
from network_row import as_list, dims
from torch import nn

from medframe import networks
from medframe.base.errors import BadArgument, BadGeometry
from medframe.networks import DynUNet, UNet

TABLES = sorted(p.stem for p in Path(network_row.__file__).parent.glob("network_*.py") if p.stem != "network_row")
ROWS = [row for table in TABLES for row in import_module(table).ROWS]


def case(row, slow=False):
    return pytest.param(row, id=row.name, marks=[pytest.mark.slow] if slow or row.slow else [])


rows = pytest.mark.parametrize("row", [case(row) for row in ROWS])


def traced(what):
    """Rows whose `what` is True. Tracing takes seconds, so all but the first of each network are for the slow suite."""
    seen, params = set(), []
    for row in ROWS:
        if getattr(row, what) is True:
            params.append(case(row, row.make in seen))
            seen.add(row.make)
    return pytest.mark.parametrize("row", params)


def answer(network, *inputs):
    """The first answer; a network that draws is given the same stream each time."""
    torch.manual_seed(0)
    return as_list(network(*inputs))[0]


@rows
def test_shapes_count_and_gradients(row):
    network = row.network()
    if row.parameters is not None:
        assert sum(p.numel() for p in network.parameters()) == row.parameters
    if row.multiple is not None:
        assert network.multiple == row.multiple
    answers = as_list(network(*row.inputs()))
    assert [tuple(a.shape) for a in answers] == row.answers()
    # weighted, since normalised features summed evenly have no gradient at all
    sum((a * torch.randn(a.shape, generator=torch.Generator().manual_seed(2))).sum() for a in answers).backward()
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name
    assert sum(p.grad.abs().sum() > 0 for p in network.parameters()) >= row.trains * len(list(network.parameters()))
    with torch.no_grad():
        assert as_list(network.eval()(*row.inputs(1)))[0].shape == row.answers(1)[0]


@rows
def test_bfloat16_autocast_stays_close(row):
    torch.manual_seed(0)
    network, inputs = row.network().eval(), row.inputs()
    with torch.no_grad():
        exact = answer(network, *inputs)
        with torch.autocast("cpu", torch.bfloat16):
            half = answer(network, *inputs)
    assert half.dtype in (torch.bfloat16, torch.float32)
    assert (half - exact).square().mean().sqrt() < row.bfloat16 * exact.std()
    network.train()
    untold = set()

    def note(layer, inputs, output):
        # torch 2.13 reads memory it never wrote in the bfloat16 weight gradient of a 3-D convolution over two voxels
        # along the first axis, so those are left out; `choose_precision` refuses such networks by their gradients
        if 2 in (inputs[0].shape[2], output.shape[2]):
            untold.add(layer.weight)

    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            layer.register_forward_hook(note)
    with torch.autocast("cpu", torch.bfloat16):
        answers = network(*row.inputs())
    as_list(answers)[0].float().square().mean().backward()
    told = [p.grad for p in network.parameters() if p.grad is not None and p not in untold]
    assert told
    assert all(torch.isfinite(grad).all() for grad in told)


@pytest.mark.parametrize("row", [case(r) for r in ROWS if len(r.size) > 1])  # torch has none in 1-D
def test_channels_last_gives_the_same(row):
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[len(row.size)]
    network, (x, *extra) = row.network().eval(), row.inputs()
    with torch.no_grad():
        plain = answer(network, x, *extra)
        network = network.to(memory_format=layout)
        torch.testing.assert_close(
            answer(network, x.contiguous(memory_format=layout), *extra), plain, rtol=1e-3, atol=1e-4
        )
        with torch.autocast("cpu", torch.bfloat16):
            half = answer(network, x.contiguous(memory_format=layout), *extra)
    if isinstance(network, UNet | DynUNet):
        assert half.is_contiguous(memory_format=layout)  # no layer on the way fell back
    assert (half - plain).square().mean().sqrt() < row.bfloat16 * plain.std()


@rows
def test_copies_and_pickles(row):
    network = row.network().eval()
    inputs = row.inputs()
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(answer(twin, *inputs), answer(network, *inputs))
    other = row.make(**row.args).eval()
    with torch.no_grad():  # other weights, also where some begin at zero
        for p in other.parameters():
            p.add_(0.1 * torch.randn_like(p))
    assert not torch.equal(answer(other, *inputs), answer(network, *inputs))
    other.load_state_dict(network.state_dict())
    assert torch.equal(answer(other, *inputs), answer(network, *inputs))


@traced("exports")
def test_exports_with_any_batch_size(row):
    network = row.network().eval()
    batch = torch.export.Dim("batch", min=1)
    inputs = row.inputs(2)
    shapes = tuple({0: batch} for _ in inputs)
    program = torch.export.export(network, inputs, dynamic_shapes=shapes).module()
    for n in (1, 3):
        torch.testing.assert_close(
            answer(program, *row.inputs(n)), answer(network, *row.inputs(n)), rtol=1e-4, atol=1e-5
        )


def backward(network, inputs):
    """A loss of all answers, and the gradients of all parameters that have one."""
    torch.manual_seed(0)
    network.zero_grad()
    loss = sum(a.float().square().mean() for a in as_list(network(*inputs)))
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@traced("compiles")
def test_traces_into_one_graph(row):
    torch._dynamo.reset()
    network, inputs = row.network().eval(), row.inputs()
    with torch.no_grad():
        compiled = torch.compile(network, fullgraph=True, backend="eager")
        torch.testing.assert_close(answer(compiled, *inputs), answer(network, *inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("row", [r for r in ROWS if r.compiles is True], ids=lambda row: row.name)
def test_trains_when_traced(row):
    torch._dynamo.reset()
    network, twin, inputs = row.network(), row.network(), row.inputs()
    loss, gradients = backward(twin, inputs)
    network.compile(fullgraph=True, backend="aot_eager")
    found, own = backward(network, inputs)
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-5)
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
@pytest.mark.parametrize("name", ["unet-2d", "dynunet-3d-deep", "segresnet-2d", "vit-2d", "resnet10-3d"])
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiles_to_machine_code(name):
    torch._dynamo.reset()
    row = next(r for r in ROWS if r.name == name)
    network, twin, inputs = row.network(), row.network(), row.inputs()
    loss, gradients = backward(twin, inputs)
    network.compile(fullgraph=True)
    found, own = backward(network, inputs)
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-5)
    for key, gradient in gradients.items():
        torch.testing.assert_close(own[key], gradient, rtol=1e-3, atol=1e-4)


CHECKPOINTED = {r.make: r for r in ROWS if "checkpointing" in inspect.signature(r.make).parameters}


@pytest.mark.parametrize("row", CHECKPOINTED.values(), ids=lambda row: row.name)
def test_checkpointing_keeps_less_and_changes_no_gradient(row):
    held, found = [], []
    for checkpointing in (False, True):
        network, kept = replace(row, args=row.args | {"checkpointing": checkpointing}).network(), {}

        def keep(t, kept=kept):
            kept[t.untyped_storage().data_ptr()] = t
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            torch.manual_seed(0)
            loss = sum(a.float().square().mean() for a in as_list(network(*row.inputs())))
        own = {p.untyped_storage().data_ptr() for p in network.parameters()}
        held.append(sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in own))
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in network.parameters() if p.grad is not None)])
    assert held[1] < held[0]
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-4, atol=1e-6)


def test_every_network_has_a_row_in_2d_and_in_3d():
    named = [getattr(networks, name) for name in networks.__all__]
    blocks = {networks.Warp, networks.DVF2DDF}  # not networks: they hold no weights
    classes = {c for c in named if isinstance(c, type) and issubclass(c, nn.Module)} - blocks
    for spatial_dims in (2, 3):
        found = {c for row in ROWS if row.args["spatial_dims"] == spatial_dims for c in row.make.__mro__}
        assert not classes - found


@rows
def test_refuses_inputs_it_cannot_take(row):
    network, (x, *extra) = row.network(), row.inputs()
    with pytest.raises(BadArgument, match="cannot take an input of this shape"):
        network(x[0], *extra)
    with pytest.raises(BadArgument, match=rf"{row.args['in_channels']}, (size|{row.size[0]})"):
        network(torch.cat([x, x], 1), *extra)
    for axis, unit in enumerate(row.multiple or ()):
        with pytest.raises(BadGeometry, match="size 0"):
            network(x.narrow(2 + axis, 0, 0), *extra)
        cut = x.narrow(2 + axis, 0, x.shape[2 + axis] - 1)
        if unit == 1:
            network(cut, *extra)
            continue
        with pytest.raises(
            BadGeometry, match=rf"spatial axis {axis} .*found size {cut.shape[2 + axis]}.*multiple of {unit}"
        ):
            network(cut, *extra)


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
