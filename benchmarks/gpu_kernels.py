"""The kernels on a GPU: time, bandwidth beside a measured copy, and torch's way of doing the same, in one short run.

Needs torch, cupy, numpy and scipy alone. Every launch is timed by CUDA events behind a sleep that keeps the GPU busy
until all of them are queued, so that the host's own time is not counted; it is given beside. Inputs are rotated among
several sets that together are larger than the cache. Every result is compared in the same run, most of them with the
reference on a coarser lattice or a smaller volume, and `out=` is poisoned first. Bytes are the input read once and the
output written once.

    python benchmarks/gpu_kernels.py --out gpu_kernels.json

Predicted for an H200 (132 multiprocessors at 1.9 GHz, a copy at 4.3 TB/s), from the instructions counted in the machine
code, before any was measured:

- affine linear pull of 256^3 float32: 31 us for the bytes, 50 us for about 100 instructions a voxel at full issue, 60
  to 85 us in all: 37 to 52 % of the copy. A warp's load touches 10.4 cache lines at this rotation (counted; 9.3 for a
  warp of 16 x 2 voxels, 9.9 for 8 x 4, 6.5 at half the angles), of which the first-level cache looks up four a cycle:
  51 to 69 us, beside the arithmetic. Where it takes longer, look there first.
- affine and elastic, 8 x 128^3: 64 vector loads and 700 instructions a voxel, 0.4 ms at full issue, 0.5 to 0.8 ms.
- logit_argmax of 100 classes at 512 x 512 x 400: 0.6 ms for the bytes, 8 loads and 45 instructions a class and voxel,
  15 ms at full issue, 20 to 35 ms.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from medframe import kernels
from medframe.kernels import Knots, cuda, reference
from medframe.kernels.cuda import launch

ANGLES, ZOOM = (0.2, 0.15, 0.3), (0.9, 1.1, 0.95)  # as benchmarks/kernels_cpu.py has them
SETS = 4  # inputs that take turns
BIG = 256
LARGEST_ERROR = 1e-4  # of values with a range of about 1


@dataclass(frozen=True)
class Sizes:
    """How large the cases are.

    Args:
        volume: voxels along each axis of the volumes.
        batch: samples and voxels along each axis of the batch.
        classes: of the logits.
        logits: the logits' lattice.
        decision: the lattice they are decided on.
        copy: bytes of the large copy.
    """

    volume: int = BIG
    batch: tuple[int, int] = (8, 128)
    classes: int = 100
    logits: tuple[int, int, int] = (256, 256, 200)
    decision: tuple[int, int, int] = (512, 512, 400)
    copy: int = 2 << 30


SMALL = Sizes(24, (2, 16), 6, (10, 10, 8), (20, 20, 16), 1 << 20)


@dataclass(frozen=True)
class Case:
    """One row.

    Args:
        name: what is done.
        runs: our calls, one for each set of inputs.
        bytes: read and written once.
        check: compares a result of `runs[0]`; returns the largest error, and raises where it is too large.
        yardstick: torch's way, one call for each set of inputs.
        least_share: of the copy's bandwidth that is wanted.
        least_ratio: of the yardstick's time over ours that is wanted.
        launches: kernels that `runs[0]` may start; None for any.
        most_bytes: that `runs[0]` may allocate; None for any.
        poisoned: what `runs[0]` writes to, filled with NaN before the result that is checked.
    """

    name: str
    runs: list[Callable[[], object]]
    bytes: int
    check: Callable[[object], float]
    yardstick: list[Callable[[], object]] = field(default_factory=list)
    least_share: float | None = None
    least_ratio: float | None = None
    launches: int | None = None
    most_bytes: int | None = None
    poisoned: torch.Tensor | None = None


# what is measured


def turned(shape: tuple[int, ...], in_shape: tuple[int, ...], turn: float = 1.0) -> np.ndarray:
    """Rotation and scale about the centres, from an output index to an input index."""
    linear = np.eye(3)
    for axis, angle in enumerate(ANGLES):
        c, s = np.cos(turn * angle), np.sin(turn * angle)
        one, other = (a for a in range(3) if a != axis)
        step = np.eye(3)
        step[one, one], step[one, other], step[other, one], step[other, other] = c, -s, s, c
        linear = step @ linear
    linear = linear @ np.diag(ZOOM) @ np.diag(np.array(in_shape) / np.array(shape))
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = (np.array(in_shape) - 1) / 2 - linear @ ((np.array(shape) - 1) / 2)
    return matrix


def theta_of(matrix: np.ndarray, shape: tuple[int, ...], in_shape: tuple[int, ...]) -> torch.Tensor:
    """The same map as torch's affine_grid takes it, with align_corners."""
    ends, in_ends = np.array(shape, float) - 1, np.array(in_shape, float) - 1
    linear = matrix[:3, :3] * ends / in_ends[:, None]
    offset = (2 * matrix[:3, 3] + matrix[:3, :3] @ ends) / in_ends - 1
    return torch.from_numpy(np.column_stack([linear[::-1, ::-1], offset[::-1]]).copy()).float()[None]


def smooth(shape: tuple[int, ...], device: torch.device, seed: int) -> torch.Tensor:
    """(1, *shape) float32 of a range of about 1: coarse noise, interpolated, so that neighbours are alike."""
    generator = torch.Generator(device).manual_seed(seed)
    coarse = torch.rand((1, 1, *(max(n // 6, 2) for n in shape)), generator=generator, device=device)
    return functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0].contiguous()


def largest(got: torch.Tensor, due: torch.Tensor, limit: float, share: float = 0.0) -> float:
    """The largest difference; raises where more than a share of voxels passes the limit, or something is missing."""
    if got.shape != due.shape or not bool(torch.isfinite(got.double()).all()):
        raise AssertionError(f"{tuple(got.shape)}, {int((~torch.isfinite(got.double())).sum())} voxels not finite")
    off = (got.double() - due.to(got.device).double()).abs()
    if float((off > limit).double().mean()) > share:
        raise AssertionError(f"off by {float(off.max()):.3g}, {int((off > limit).sum())} of {off.numel()} by > {limit}")
    if float(got.double().std()) == 0:
        raise AssertionError("all values are the same")
    return float(off.max())


def coarser(shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...], tuple[slice, ...]]:
    """A lattice of few of the voxels of another: its map to that, its shape, and how to pick them."""
    step = max(max(shape) // 24, 1)
    picked = tuple(slice(None, None, step) for _ in shape)
    return np.diag([step, step, step, 1.0]), tuple(-(-n // step) for n in shape), picked


def against_reference(volume: torch.Tensor, stages: list[object], shape: tuple[int, ...], limit: float, **how: object):
    """A check of a resampling by the reference on a coarser lattice, on the CPU."""
    onto, few, picked = coarser(shape)
    knots_first = [onto, *stages]

    def check(result: object) -> float:
        assert isinstance(result, torch.Tensor)
        options = {"order": 1, "border": "zero", "fill": 0.0, "dtype": volume.dtype, **how}
        due = reference.pull(volume.cpu(), knots_first, few, **options)
        if not bool(torch.isfinite(result.double()).all()):
            raise AssertionError("not all voxels were written")
        share = 1e-3 if options["order"] == 0 else 0.0  # a place half way between two voxels may go either way
        return largest(result[(slice(None), *picked)], due, limit, share)

    return check


def resampling(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    n = sizes.volume
    shape, voxels = (n, n, n), n**3
    volumes = [smooth(shape, device, seed) for seed in range(SETS)]
    out = torch.empty((1, *shape), device=device)
    matrix = turned(shape, shape)
    theta = theta_of(matrix, shape, shape).to(device)

    def into_out(volume: torch.Tensor, stages: list[object], **how: object) -> Callable[[], object]:
        return lambda: kernels.pull(volume, stages, shape, out=out, **how)

    def with_grid_sample(volume: torch.Tensor) -> Callable[[], object]:
        def run() -> object:
            grid = functional.affine_grid(theta, [1, 1, *shape], align_corners=True)
            return functional.grid_sample(volume[None], grid, align_corners=True)[0]

        return run

    for word, turn, share in (("rotation and scale", 1.0, 0.5), ("slight rotation", 0.1, None)):
        stages = [turned(shape, shape, turn)]
        yield Case(
            f"affine linear pull, {word}, {n}^3 float32",
            [into_out(v, stages) for v in volumes],
            8 * voxels,
            against_reference(volumes[0], stages, shape, LARGEST_ERROR),
            [with_grid_sample(v) for v in volumes] if turn == 1 else [],
            least_share=share,
            least_ratio=4 if turn == 1 else None,
            launches=1,
            most_bytes=0,
            poisoned=out,
        )
    yield Case(
        f"cubic pull with its prefilter, {n}^3 float32",
        [into_out(v, [matrix], order=3, border="reflect") for v in volumes],
        8 * voxels,
        against_reference(volumes[0], [matrix], shape, LARGEST_ERROR, order=3, border="reflect"),
        most_bytes=4 * voxels + (4 << 20),
        poisoned=out,
    )
    labels = [(v * 9).to(torch.uint8) for v in volumes]
    yield Case(
        f"nearest pull, {n}^3 uint8",
        [lambda x=x: kernels.pull(x, [matrix], shape, order=0) for x in labels],
        2 * voxels,
        against_reference(labels[0], [matrix], shape, 0, order=0),
        launches=1,
    )

    def vote_check(result: object) -> float:
        assert isinstance(result, torch.Tensor)
        onto, few, picked = coarser(shape)
        options = {"order": 1, "border": "zero", "fill": 0.0, "smooth": (0.0, 0.0, 0.0)}
        due = reference.label_vote(labels[0].cpu(), [onto, matrix], few, **options)
        return largest(result[(slice(None), *picked)], due, 0, 1e-3)

    yield Case(
        f"label vote, {n}^3 uint8",
        [lambda x=x: kernels.label_vote(x, [matrix], shape) for x in labels],
        2 * voxels,
        vote_check,
        launches=1,
    )

    def push_check(result: object) -> float:
        assert isinstance(result, torch.Tensor)
        other = kernels.pull(volumes[1], [matrix], shape).double()
        sides = float((other * volumes[0]).sum()), float((volumes[1].double() * result).sum())
        if not math.isclose(*sides, rel_tol=1e-5):
            raise AssertionError(f"push is not the adjoint of pull: {sides}")
        return abs(sides[0] - sides[1]) / abs(sides[0])

    yield Case(
        f"push, {n}^3 float32",
        [lambda v=v: kernels.push(v, [matrix], shape) for v in volumes],
        8 * voxels,
        push_check,
    )


def batches(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    samples, n = sizes.batch
    shape, voxels = (n, n, n), samples * n**3
    generator = torch.Generator().manual_seed(1)
    knots = [torch.randn((3, 8, 8, 8), generator=generator) * 3 for _ in range(samples)]
    onto = np.diag([7 / (n - 1)] * 3 + [1.0])
    turns = np.linspace(0.3, 1.2, samples)
    chains = [[np.eye(4), Knots(k, onto, 3), turned(shape, shape, turn)] for k, turn in zip(knots, turns, strict=True)]
    images = [torch.stack([smooth(shape, device, 10 * s + b) for b in range(samples)]) for s in range(SETS)]
    labels = [(v * 9).to(torch.uint8) for v in images]
    thetas = torch.cat([theta_of(turned(shape, shape, turn), shape, shape) for turn in turns]).to(device)
    moves = torch.stack(knots).to(device)

    def torchs_way(image: torch.Tensor, mode: str) -> Callable[[], object]:
        def run() -> object:  # a dense field, as users of torch make it
            field_ = functional.interpolate(moves, size=shape, mode="trilinear", align_corners=True)
            grid = functional.affine_grid(thetas, [samples, 1, *shape], align_corners=True)
            grid = grid + field_.movedim(1, -1).flip(-1) * (2 / (n - 1))
            return functional.grid_sample(image.float(), grid, mode=mode, align_corners=True)

        return run

    def check_of(volumes: torch.Tensor, order: int) -> Callable[[object], float]:
        def check(result: object) -> float:
            assert isinstance(result, torch.Tensor)
            limit = 0.0 if order == 0 else LARGEST_ERROR
            found = [
                against_reference(volumes[b], chains[b], shape, limit, order=order)(result[b]) for b in (0, samples - 1)
            ]
            return max(found)

        return check

    yield Case(
        f"affine and elastic, linear, {samples} x {n}^3 float32",
        [lambda v=v: kernels.pull_batch(v, chains, shape) for v in images],
        8 * voxels,
        check_of(images[0], 1),
        [torchs_way(v, "bilinear") for v in images],
        launches=1 if samples <= 8 else None,
    )
    yield Case(
        f"affine and elastic, labels, {samples} x {n}^3 uint8",
        [lambda v=v: kernels.pull_batch(v, chains, shape, order=0) for v in labels],
        2 * voxels,
        check_of(labels[0], 0),
        [torchs_way(v, "nearest") for v in labels],
        launches=1 if samples <= 8 else None,
    )
    yield training(images[0], shape)


def training(images: torch.Tensor, shape: tuple[int, ...]) -> Case:
    """The gradients of a registration's warp: for the image and a dense displacement."""
    samples, device = images.shape[0], images.device
    moves = (torch.cat([smooth(shape, device, 100 + k) for k in range(3 * samples)]) - 0.5).reshape(samples, 3, *shape)
    moves = (4 * moves).contiguous()
    weight = torch.randn(images.shape, generator=torch.Generator(device).manual_seed(2), device=device)
    axes = torch.meshgrid(*[torch.arange(n, device=device, dtype=torch.float32) for n in shape], indexing="ij")
    index, ends = torch.stack(axes), torch.tensor(shape, device=device) - 1

    def ours() -> object:
        leaves = [t.detach().requires_grad_() for t in (images, moves)]
        out = kernels.spatial_transform(leaves[0], leaves[1])
        return torch.autograd.grad(out, leaves, weight)

    def torchs_way() -> object:
        leaves = [t.detach().requires_grad_() for t in (images, moves)]
        grid = (2 * (index + leaves[1]).movedim(1, -1) / ends - 1).flip(-1)
        out = functional.grid_sample(leaves[0], grid, align_corners=True)
        return torch.autograd.grad(out, leaves, weight)

    def check(result: object) -> float:
        assert isinstance(result, tuple)
        due = torchs_way()
        assert isinstance(due, tuple)
        # of the places torch's grid, in single precision, may put some on the other side of a voxel's centre
        return max(largest(a, b, 2e-2, 1e-3) for a, b in zip(result, due, strict=True))

    volume = 4 * images.numel()
    return Case(
        f"warp and its gradients, {samples} x {shape[0]}^3 float32",
        [ours],
        14 * volume,  # forth: image, displacement (3), result; back: gradient, image, displacement, and two gradients
        check,
        [torchs_way],
    )


def decisions(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    classes, shape = sizes.classes, sizes.decision
    generator = torch.Generator(device).manual_seed(3)
    logits = torch.randn((classes, *sizes.logits), generator=generator, device=device, dtype=torch.float16)
    steps = [(a - 1) / (b - 1) for a, b in zip(sizes.logits, shape, strict=True)]
    matrix = np.diag([*steps, 1.0])

    def torchs_way() -> object:  # class by class, or it would take tens of gigabytes
        best = torch.full((1, 1, *shape), -math.inf, device=device, dtype=torch.float16)
        winner = torch.zeros((1, 1, *shape), device=device, dtype=torch.uint8)
        for k in range(classes):
            one = functional.interpolate(logits[None, k : k + 1], size=shape, mode="trilinear", align_corners=True)
            wins = one > best
            winner.masked_fill_(wins, k)
            best = torch.where(wins, one, best)
        return winner[0]

    def check(result: object) -> float:
        assert isinstance(result, torch.Tensor)
        onto, few, picked = coarser(shape)
        read = {"order": 1, "border": "border", "fill": 0.0, "dtype": torch.float32}
        values = reference.pull(logits, [onto, matrix], few, **read)
        won = values.gather(0, result[(slice(None), *picked)].long())[0]
        short = float((values.amax(0) - won).max())  # of classes closer than rounding either may win
        if short > 1e-3 or int(result.amax()) < classes // 2:
            raise AssertionError(f"the decision falls short by {short:.3g}")
        return short

    output = math.prod(shape)
    yield Case(
        f"logit_argmax, {classes} classes, float16, to {' x '.join(map(str, shape))}",
        [lambda: kernels.logit_argmax(logits, [matrix], shape)],
        2 * logits.numel() + output,
        check,
        [torchs_way],
        launches=1,
        most_bytes=output + (4 << 20),
    )


def filters_and_regions(sizes: Sizes, device: torch.device) -> Iterator[Case]:
    n = sizes.volume
    shape, voxels = (n, n, n), n**3
    volumes = [smooth(shape, device, 50 + s) for s in range(SETS)]
    masks = [v > 0.55 for v in volumes]
    labels = [(v * 5).to(torch.uint8) for v in volumes]
    small = torch.rand((1, 24, 25, 26), generator=torch.Generator().manual_seed(7))
    spots = torch.rand((1, 24, 25, 26), generator=torch.Generator().manual_seed(8)) > 0.6
    few = (small * 5).to(torch.uint8)

    def like(ours: Callable[..., object], due: Callable[[], object], given: torch.Tensor, limit: float):
        """A check on a smaller volume, besides that of the large result's values."""

        def check(result: object) -> float:
            assert isinstance(result, torch.Tensor)
            largest(result, result, 0)
            made, known = ours(given.to(device)), due()
            assert isinstance(made, torch.Tensor)
            assert isinstance(known, torch.Tensor)
            return largest(made.cpu(), known, limit)

        return check

    rows = [
        ("Gaussian of 2 voxels", lambda v: kernels.gaussian(v, (2.0, 2.0, 2.0)), volumes, small, 8,
         lambda: reference.gaussian(small, (2.0, 2.0, 2.0), 3.0), 1e-5),
        ("box of 5^3", lambda v: kernels.box(v, (5, 5, 5)), volumes, small, 8,
         lambda: reference.filter_axes(small, [[0.2] * 5] * 3), 1e-5),
        ("median of 3^3", lambda v: kernels.median(v, 3), volumes, small, 8, lambda: reference.median(small, 3), 0),
        ("median of 5^3", lambda v: kernels.median(v, 5), volumes, small, 8, lambda: reference.median(small, 5), 0),
        ("distance transform", lambda m: kernels.distance_transform(m, (1.0, 1.5, 0.7)), masks, spots, 5,
         lambda: reference.distance_transform(spots, (1.0, 1.5, 0.7), torch.float32), 1e-5),
        ("components, 26 neighbours", lambda m: kernels.components(m, 26), masks, spots, 5,
         lambda: reference.components(spots, 3), 0),
        ("erosion, 6 neighbours", lambda m: kernels.erode(m, 6), masks, ~spots, 2,
         lambda: reference.grow(~spots, 1, erode=True), 0),
        ("filling of holes", kernels.fill_holes, masks, spots, 2, lambda: filled_by_scipy(spots), 0),
        ("joint counts", lambda x: kernels.joint_counts(x, x.flip(1), 5, 5), labels, few, 2,
         lambda: reference.joint_counts(few, few.flip(1), 5, 5), 0),
    ]  # fmt: skip
    for name, ours, inputs, given, each, due, limit in rows:
        runs = [lambda v=v, f=ours: f(v) for v in inputs]
        yield Case(f"{name}, {n}^3", runs, each * voxels, like(ours, due, given, limit))

    def noise_check(result: object) -> float:
        assert isinstance(result, torch.Tensor)
        due = reference.normal_noise((4096,), 5, torch.device("cpu"), torch.float32)
        return largest(result.reshape(-1)[:4096].cpu(), due, 1e-5)

    yield Case(
        f"normal noise, {n}^3 float32",
        [lambda s=s: kernels.normal_noise(shape, s, device=device) for s in (5, 6)],
        4 * voxels,
        noise_check,
        [lambda: torch.randn(shape, device=device)] * 2,
    )


def filled_by_scipy(mask: torch.Tensor) -> torch.Tensor:
    from scipy import ndimage

    return torch.from_numpy(np.stack([ndimage.binary_fill_holes(channel) for channel in mask.numpy()]))


FAMILIES = (resampling, batches, decisions, filters_and_regions)


# how it is measured


def timed(runs: list[Callable[[], object]], repeats: int) -> tuple[float, float]:
    """Median seconds of the GPU for one call, and of the host to queue it."""
    for run in runs:
        run()
    torch.cuda.synchronize()
    cycles = 20_000_000
    for _ in range(4):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        torch.cuda._sleep(cycles)
        woke = torch.cuda.Event()
        woke.record()
        began = time.perf_counter()
        marks[0].record()
        for k in range(repeats):
            runs[k % len(runs)]()
            marks[k + 1].record()
        host = (time.perf_counter() - began) / repeats
        hidden = not woke.query()
        torch.cuda.synchronize()
        if hidden:  # the GPU slept until all was queued: nothing of the host's time is in between
            break
        cycles *= 4
    spans = [a.elapsed_time(b) / 1000 for a, b in itertools.pairwise(marks)]
    return statistics.median(spans), host


@contextmanager
def watched() -> Iterator[dict[str, int]]:
    """Counts launches of our kernels and the bytes that are allocated meanwhile, at most at once."""
    seen = {"launches": 0, "bytes": 0}
    before = launch.launch

    def counting(*args: object, **kwargs: object) -> None:
        seen["launches"] += 1
        before(*args, **kwargs)  # type: ignore[arg-type]

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    launch.launch = counting
    try:
        yield seen
    finally:
        launch.launch = before
        torch.cuda.synchronize()
        seen["bytes"] = torch.cuda.max_memory_allocated() - start


def measured(case: Case, repeats: int, copy: float) -> dict[str, object]:
    """One row of the result."""
    case.runs[0]()  # compiles
    if case.poisoned is not None:
        case.poisoned.fill_(math.nan)
    with watched() as seen:
        result = case.runs[0]()
    row: dict[str, object] = {"largest error": case.check(result), "launches": seen["launches"]}
    row["MB allocated"] = round(seen["bytes"] / 1e6, 1)
    del result
    seconds, host = timed(case.runs, repeats)
    bandwidth = case.bytes / seconds
    row |= {"ms": round(1e3 * seconds, 4), "host ms": round(1e3 * host, 4), "GB/s": round(bandwidth / 1e9, 1)}
    row["share of copy"] = round(bandwidth / copy, 3)
    met = []
    if case.yardstick:
        other, _ = timed(case.yardstick, max(repeats // 4, 3))
        row |= {"torch ms": round(1e3 * other, 4), "ratio": round(other / seconds, 2)}
        if case.least_ratio is not None:
            row["least ratio"] = case.least_ratio
            met.append(other / seconds >= case.least_ratio)
    if case.least_share is not None:
        row["least share"] = case.least_share
        met.append(bandwidth / copy >= case.least_share)
    if case.launches is not None:
        row["due launches"] = case.launches
        met.append(seen["launches"] == case.launches)
    if case.most_bytes is not None:
        row["most MB"] = round(case.most_bytes / 1e6, 1)
        met.append(seen["bytes"] <= case.most_bytes)
    if met:
        row["met"] = all(met)
    return row


def copy_bandwidth(count: int, sets: int, repeats: int, device: torch.device) -> float:
    """Bytes read and written a second by a copy on the device, of random data."""
    sources = [torch.randint(0, 255, (count,), dtype=torch.uint8, device=device) for _ in range(sets)]
    target = torch.empty_like(sources[0])
    seconds, _ = timed([lambda s=s: target.copy_(s) for s in sources], repeats)
    if not torch.equal(target, sources[(repeats - 1) % sets]):
        raise AssertionError("the copy is no copy")
    return 2 * count / seconds


def machine() -> dict[str, object]:
    """What it ran on."""
    found: dict[str, object] = {"python": platform.python_version(), "cuda": torch.version.cuda}
    for package in ("torch", "cupy-cuda13x", "cupy-cuda12x", "numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        found |= {"gpu": facts.name, "multiprocessors": facts.multi_processor_count}
        found["capability"] = f"{facts.major}.{facts.minor}"
    return found


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="where the result goes, as JSON")
    parser.add_argument("--repeats", type=int, default=40, help="launches timed each; the median counts")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--list", action="store_true", help="names of the cases, made on the CPU at tiny sizes")
    found = parser.parse_args(given)
    if found.repeats < 3:
        parser.error("--repeats: at least 3")
    return found


def main(given: list[str] | None = None) -> int:
    """0 if every target that is set was met, 1 if one was not or a result was wrong, 2 without a GPU."""
    asked = arguments(given)
    if asked.list:
        for family in FAMILIES:
            for case in family(SMALL, torch.device("cpu")):
                print(case.name)
        return 0
    if cuda.missing() is not None:
        print(f"no GPU: {cuda.missing()}", file=sys.stderr)
        return 2
    sizes, device = (SMALL if asked.small else Sizes()), torch.device("cuda", 0)
    began = time.perf_counter()
    same = copy_bandwidth(4 * sizes.volume**3, SETS, asked.repeats, device)
    large = copy_bandwidth(sizes.copy, 2, max(asked.repeats // 4, 3), device)
    print(f"copy: {large / 1e9:.0f} GB/s, of {sizes.volume}^3 float32 {same / 1e9:.0f} GB/s", flush=True)
    rows: dict[str, dict[str, object]] = {}
    for family in FAMILIES:
        for case in family(sizes, device):
            if asked.only not in case.name:
                continue
            try:
                rows[case.name] = measured(case, asked.repeats, large)
            except Exception as error:  # one that fails must not hide the others
                rows[case.name] = {"failed": f"{type(error).__name__}: {error}", "met": False}
            print(f"{case.name}: {rows[case.name]}", flush=True)
        torch.cuda.empty_cache()
    whole = {
        "command": " ".join(["python", "benchmarks/gpu_kernels.py", *(given if given is not None else sys.argv[1:])]),
        "machine": machine(),
        "copy GB/s": {"large": round(large / 1e9, 1), f"{sizes.volume}^3 float32": round(same / 1e9, 1)},
        "cases": rows,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(whole, indent=1) + "\n")
    bad = [name for name, row in rows.items() if row.get("met") is False]
    print(f"{len(rows)} cases in {whole['seconds']} s; " + (f"not met: {', '.join(bad)}" if bad else "all targets met"))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
