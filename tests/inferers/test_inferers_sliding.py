"""Sliding windows against the whole image, a plain loop, and hand-made numbers."""

import itertools
import math
import pickle

import pytest
import torch
from torch import nn

from medframe.base import BadArgument
from medframe.inferers import SlidingWindow, WholeImage, importance, mirrored, window_starts
from medframe.inferers.sliding import accumulator_device
from medframe.inferers.windows import axis_starts, used_part


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Pointwise(nn.Module):
    """Two outputs that are functions of single voxels."""

    def forward(self, x):
        return torch.cat([x[:, :1] * 3 - 0.1, x[:, :1] * x[:, :1]], 1)


def convolution(rank, seed=0, bias=True):
    torch.manual_seed(seed)
    return (nn.Conv2d if rank == 2 else nn.Conv3d)(2, 3, 3, padding=1, bias=bias)


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("mirror", [(), (0,), (0, 1)])
@pytest.mark.parametrize(
    "case",
    [
        ((20, 17), (8, 8), 0.5, 1),
        ((20, 17), 8, 0.25, 3),
        ((5, 30), (8, 7), 0.7, 4),  # smaller than the window along one axis
        ((3, 3), (8, 8), 0.5, 2),
        ((11, 9, 13), (4, 6, 5), 0.6, 7),
        ((4, 4, 4), 4, 0.0, 1),
        ((31,), (7,), 0.3, 5),
    ],
)
def test_pointwise_network_is_equal_to_the_bit(case, blend, mirror):
    shape, size, overlap, batch = case
    mirror = tuple(a for a in mirror if a < len(shape))
    volume = noise(2, 2, *shape)
    inferer = SlidingWindow(size, overlap, blend, batch, mirror=mirror)
    out = inferer(volume, Pointwise())
    assert out.dtype == torch.float32
    assert torch.equal(out, Pointwise()(volume))


@pytest.mark.parametrize(("shape", "size"), [((17, 14), (8, 9)), ((10, 9, 11), (8, 7, 9))])
@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
@torch.no_grad()
def test_margin_makes_a_convolution_equal_to_the_whole_image(shape, size, blend, overlap):
    network = nn.Sequential(convolution(len(shape)), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1)).eval()
    if len(shape) == 3:
        network[2] = nn.Conv3d(3, 2, 3, padding=1)
    volume = noise(1, 2, *shape)
    whole = network(volume)
    blended = SlidingWindow(size, overlap, blend, 4, margin=2)(volume, network)
    assert (blended - whole).abs().max() < 1e-5
    if overlap:
        short = SlidingWindow(size, overlap, blend, 4, margin=1)(volume, network)
        assert (short - whole).abs().max() > 1e-4  # a reach of 2 does need a margin of 2


@torch.no_grad()
def test_without_margin_differences_lie_only_near_window_borders():
    shape, size = (24, 20), (8, 8)
    network, volume = convolution(2), noise(1, 2, *shape)
    whole = network(volume)
    out = SlidingWindow(size, 0.5)(volume, network)
    cut = torch.zeros(shape, dtype=torch.bool)  # voxels some window computed at its own border, inside the volume
    for start in window_starts(shape, size, 0.5):
        edge = torch.ones(size, dtype=torch.bool)
        edge[used_part(start, size, shape, 1)] = False
        cut[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))] |= edge
    gap = (out - whole).abs().amax((0, 1))
    assert gap[~cut].max() < 1e-5
    assert gap[cut].max() > 1e-4
    assert (~cut).sum() > 100


@torch.no_grad()
def test_blending_equals_a_plain_weighted_mean():
    shape, size = (19, 14), (8, 6)
    network, volume = convolution(2), noise(2, 2, *shape)
    weight = importance(size, "gaussian").double()
    total, weights = torch.zeros(2, 3, *shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for at in window_starts(shape, size, 0.5):
        here = tuple(slice(a, a + s) for a, s in zip(at, size, strict=True))
        total[(..., *here)] += network(volume[(..., *here)]).double() * weight
        weights[here] += weight
    out = SlidingWindow(size, 0.5, batch=3)(volume, network)
    assert torch.allclose(out.double(), total / weights, atol=2e-6)


@torch.no_grad()
def test_mirroring_is_the_mean_over_all_turns():
    network, volume = convolution(3), noise(1, 2, 6, 6, 6)
    mean = torch.zeros(1, 3, 6, 6, 6)
    for n in range(3):
        for turn in itertools.combinations((2, 4), n):
            mean += network(volume.flip(turn)).flip(turn) / 4
    assert torch.allclose(SlidingWindow(6, mirror=(0, 2))(volume, network), mean, atol=1e-6)
    assert torch.allclose(WholeImage(mirror=(2, 0))(volume, network), mean, atol=1e-6)
    calls = []
    mirrored(lambda x: (calls.append(1), x)[1], (0, 1, 2))(volume)
    assert len(calls) == 8


def test_windows_cover_everything_and_overlap_enough():
    generator = torch.Generator().manual_seed(3)
    draw = lambda lo, hi: int(torch.randint(lo, hi + 1, (1,), generator=generator))  # noqa: E731
    for _ in range(300):
        rank = draw(1, 3)
        size = [draw(1, 9) for _ in range(rank)]
        shape = [s + draw(0, 14) for s in size]
        margin = draw(0, (min(size) - 1) // 2)
        overlap = draw(0, 9) / 10
        seen = torch.zeros(shape)
        for at in window_starts(shape, size, overlap, margin):
            part = used_part(at, size, shape, margin)
            seen[tuple(slice(a + p.start, a + p.stop) for a, p in zip(at, part, strict=True))] += 1
        assert seen.min() >= 1
        for n, s in zip(shape, size, strict=True):
            starts = axis_starts(n, s, max(1.0, s * (1 - overlap)))
            assert starts[0] == 0
            assert starts[-1] == n - s
            assert all(0 < b - a <= math.ceil(max(1.0, s * (1 - overlap))) for a, b in itertools.pairwise(starts))


def test_starts_by_hand():
    assert axis_starts(100, 40, 20.0) == (0, 20, 40, 60)
    assert axis_starts(50, 40, 20.0) == (0, 10)
    assert axis_starts(40, 40, 20.0) == (0,)
    assert axis_starts(105, 40, 20.0) == (0, 16, 32, 49, 65)


def test_importance_by_hand():
    weight = importance((16, 9), "gaussian")
    assert weight.max() == 1
    assert weight.min() > 0
    # a standard deviation of 16 / 8 = 2 voxels along the first axis: from 0.5 to 2.5 off the centre
    assert weight[10, 4] / weight[8, 4] == pytest.approx(math.exp(-(2.5**2 - 0.5**2) / 8), rel=1e-5)
    assert torch.equal(weight, weight.flip(0, 1))
    assert importance((64, 64, 64), "gaussian").min() > torch.finfo(torch.float32).tiny
    assert torch.equal(importance((3, 5), "constant"), torch.ones(3, 5))


def test_batches_hold_no_more_windows_than_asked():
    sizes = []
    SlidingWindow(4, 0.5, batch=4)(noise(2, 1, 10, 7), lambda x: (sizes.append(len(x)), x)[1])
    windows = 2 * len(window_starts((10, 7), (4, 4), 0.5))
    assert sizes == [4] * (windows // 4) + ([windows % 4] if windows % 4 else [])


def test_budget_decides_where_the_result_lies():
    gpu = torch.device("cuda", 0)
    assert accumulator_device(100, None, gpu) == gpu
    assert accumulator_device(100, 100, gpu) == gpu
    assert accumulator_device(101, 100, gpu) == torch.device("cpu")
    out = SlidingWindow(4, memory_budget=0)(noise(1, 2, 9, 9), Pointwise())
    assert torch.equal(out, Pointwise()(noise(1, 2, 9, 9)))


@torch.no_grad()
def test_low_precision_is_blended_in_float32():
    seen = []

    def network(x):
        y = convolution(2)(x)
        seen.append(y.dtype)
        return y

    out = SlidingWindow(8, precision="bfloat16")(noise(1, 2, 8, 8), network)
    assert seen == [torch.bfloat16]
    assert out.dtype == torch.float32
    assert torch.allclose(out, convolution(2)(noise(1, 2, 8, 8)), atol=0.03)
    assert not torch.equal(out, convolution(2)(noise(1, 2, 8, 8)))


def test_no_gradient_is_kept():
    assert not SlidingWindow(4)(noise(1, 2, 6, 6), convolution(2)).requires_grad
    assert not WholeImage()(noise(1, 2, 6, 6), convolution(2)).requires_grad


@pytest.mark.parametrize("multiple", [1, 4, (8, 2, 4)])
def test_whole_image_pads_to_a_multiple_and_crops_back(multiple):
    seen = []

    def network(x):
        seen.append(tuple(x.shape[2:]))
        return x * 2

    volume = noise(1, 1, 7, 9, 4)
    assert torch.equal(WholeImage(multiple)(volume, network), volume * 2)
    numbers = multiple if isinstance(multiple, tuple) else (multiple,) * 3
    assert seen == [tuple(-(-n // m) * m for n, m in zip((7, 9, 4), numbers, strict=True))]


def test_padding_is_symmetric_zeros():
    seen = []
    WholeImage(4)(torch.ones(1, 1, 5), lambda x: (seen.append(x), x)[1])
    assert seen[0].flatten().tolist() == [0, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SlidingWindow(0),
        lambda: SlidingWindow((4, -1)),
        lambda: SlidingWindow((1, 2, 3, 4)),
        lambda: SlidingWindow(4, overlap=1.0),
        lambda: SlidingWindow(4, overlap=-0.1),
        lambda: SlidingWindow(4, blend="hann"),
        lambda: SlidingWindow(4, batch=0),
        lambda: SlidingWindow(4, memory_budget=-1),
        lambda: SlidingWindow(4, margin=2),
        lambda: SlidingWindow((4, 4), mirror=(2,)),
        lambda: SlidingWindow(4, mirror=(0, 0)),
        lambda: SlidingWindow(4, precision="half"),
        lambda: WholeImage(0),
        lambda: WholeImage(1, mirror=(-1,)),
    ],
)
def test_bad_settings_are_refused_when_made(make):
    with pytest.raises(BadArgument):
        make()


@pytest.mark.parametrize("inferer", [SlidingWindow((4, 4)), WholeImage((2, 2))])
@pytest.mark.parametrize(
    ("volume", "network", "word"),
    [
        (torch.zeros(1, 1, 8), nn.Identity(), "rank"),
        (torch.zeros(1, 1, 8, 8, 8), nn.Identity(), "rank"),
        (torch.zeros(1, 0, 8, 8), nn.Identity(), "empty"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.int16), nn.Identity(), "floating-point"),
        ([[1.0]], nn.Identity(), "tensor"),
        (torch.zeros(1, 1, 8, 8), lambda x: [x, x], "no tensor"),
        (torch.zeros(1, 1, 8, 8), lambda x: x[..., :-1], "another size"),
        (torch.zeros(1, 1, 8, 8), lambda x: x.mean((2, 3)), "another size"),
    ],
)
def test_bad_calls_say_what_is_wrong(inferer, volume, network, word):
    with pytest.raises(BadArgument, match=word):
        inferer(volume, network)


def test_mirror_axis_beyond_the_volume_is_refused():
    with pytest.raises(BadArgument, match="mirror"):
        SlidingWindow(4, mirror=(2,))(torch.zeros(1, 1, 8, 8), nn.Identity())


def test_inferers_are_values():
    inferer = SlidingWindow([4, 6], mirror=[0])
    assert inferer == SlidingWindow((4, 6), mirror=(0,))
    assert pickle.loads(pickle.dumps(inferer)) == inferer
    assert eval(repr(inferer)) == inferer


@pytest.mark.gpu
@torch.no_grad()
def test_budget_on_a_gpu():
    network, volume = convolution(3).cuda(), noise(1, 2, 24, 24, 24)
    whole = network(volume.cuda()).cpu()
    for budget, where in ((None, "cuda"), (volume.nbytes, "cpu"), (0, "cpu"), (1 << 30, "cuda")):
        out = SlidingWindow(12, margin=1, memory_budget=budget)(volume, network)
        assert out.device.type == where
        assert torch.allclose(out.cpu(), whole, atol=1e-3)  # TF32
