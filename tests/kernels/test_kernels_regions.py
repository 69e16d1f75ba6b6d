"""Distances, components, counts, morphology, filters and noise: both back ends against independent tools."""

from __future__ import annotations

import cc3d
import edt
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medframe.base.errors import BadArgument, BadLabel
from medframe.kernels import (
    box,
    component_statistics,
    components,
    dilate,
    distance_transform,
    erode,
    fill_holes,
    gaussian,
    joint_counts,
    median,
    native,
    normal_noise,
    reference,
    signed_distance,
)

SHAPES = [(1, 7), (2, 5, 6), (1, 1, 9), (1, 9, 1), (2, 6, 7, 8), (1, 1, 6, 7), (1, 6, 1, 7), (1, 6, 7, 1), (1, 1, 1, 1)]
EMPTY = [(1, 0), (1, 3, 0), (0, 3, 4), (1, 2, 0, 4)]
BACKENDS = ("native", "reference")


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch, core):
    monkeypatch.setenv("MEDFRAME_KERNELS", request.param)
    return request.param


def drawn(shape, density=0.4, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < density)


def blobs(size, sigma=1.5, level=0.505, seed=0):
    return ndimage.gaussian_filter(np.random.default_rng(seed).random(size), sigma) > level


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.02, 0.3, 0.95])
def test_distances_are_scipys(backend, shape, density):
    mask = drawn(shape, density)
    spacing = (0.7, 1.1, 2.5)[: len(shape) - 1]
    found = distance_transform(mask, spacing)
    for channel, away in zip(mask.numpy(), found.numpy(), strict=True):
        if not channel.any():
            assert np.isinf(away).all()
            continue
        np.testing.assert_allclose(away, ndimage.distance_transform_edt(~channel, sampling=spacing), rtol=1e-6)
        exact = distance_transform(torch.from_numpy(channel)[None], spacing, dtype=torch.float64)[0].numpy()
        np.testing.assert_allclose(exact, ndimage.distance_transform_edt(~channel, sampling=spacing), rtol=1e-14)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.5, 0.8)])
@pytest.mark.parametrize("count", [1, 4, 300])
def test_far_distances_are_edts(core, spacing, count):
    """Long lines, whose envelope is built, and near ones, whose neighbours are looked at."""
    rng = np.random.default_rng(count)
    mask = np.zeros((70, 90, 130), bool)
    mask[tuple(rng.integers(0, n, count) for n in mask.shape)] = True
    due = edt.edt(np.ascontiguousarray(~mask), anisotropy=spacing, black_border=False)
    found = distance_transform(torch.from_numpy(mask)[None], spacing)[0].numpy()
    np.testing.assert_allclose(found, due, rtol=2e-6)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    theirs = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    np.testing.assert_allclose(found[~mask], sitk.GetArrayFromImage(theirs)[~mask], rtol=1e-5)


def test_signed_distances_change_sign_at_the_surface(backend):
    mask = torch.tensor([[0, 0, 1, 1, 1, 0]], dtype=torch.uint8)
    assert signed_distance(mask, 2.0).tolist() == [[4.0, 2.0, -2.0, -4.0, -2.0, 2.0]]
    assert signed_distance(torch.zeros(1, 3)).tolist() == [[float("inf")] * 3]
    assert signed_distance(torch.ones(1, 3)).tolist() == [[-float("inf")] * 3]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64]
)
def test_components_are_scipys(backend, shape, dtype):
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 2 if dtype == torch.bool else 3, shape)).to(dtype)
    rank = len(shape) - 1
    for steps in range(1, rank + 1):
        connectivity = {1: (2,), 2: (4, 8), 3: (6, 18, 26)}[rank][steps - 1]
        found = components(labels, connectivity).numpy()
        for channel, numbered in zip(labels.numpy(), found, strict=True):
            structure = ndimage.generate_binary_structure(rank, steps)
            pairs, due = set(), 0
            for label in np.unique(channel[channel != 0]):
                theirs, count = ndimage.label(channel == label, structure)
                due += count
                pairs |= {(label, a, b) for a, b in zip(theirs.ravel(), numbered.ravel(), strict=True) if a}
            assert len(pairs) == due == numbered.max()  # one number a component, one component a number
            assert ((numbered > 0) == (channel != 0)).all()
            numbers = numbered[numbered > 0]
            firsts = [int(np.flatnonzero(numbers == k)[0]) for k in range(1, due + 1)]
            assert firsts == sorted(firsts)


def test_components_tell_wide_labels_apart(backend):
    labels = torch.tensor([[1, 1 + (1 << 32), -5, -5, 1 << 62, 1 << 62, 0, 1]])
    assert components(labels).tolist() == [[1, 2, 3, 3, 4, 4, 0, 5]]


@pytest.mark.parametrize(("connectivity", "steps"), [(6, 1), (18, 2), (26, 3)])
def test_components_of_blobs_are_cc3ds(core, connectivity, steps):
    mask = blobs((50, 60, 70))
    found = components(torch.from_numpy(mask)[None], connectivity)[0].numpy()
    due = cc3d.connected_components(mask, connectivity=connectivity)
    assert found.max() == due.max() > 5
    assert len(set(zip(found.ravel().tolist(), due.ravel().tolist(), strict=True))) == due.max() + 1
    assert np.array_equal(found, ndimage.label(mask, ndimage.generate_binary_structure(3, steps))[0])


@pytest.mark.parametrize("width", [1, 63, 64, 65, 128, 130])
@pytest.mark.parametrize("density", [0.1, 0.5, 0.97])
@pytest.mark.parametrize("values", [1, 3])
def test_components_across_words_of_64_voxels(core, width, density, values):
    """C++ looks at 64 voxels of a row at once; several threads join their parts afterwards."""
    rng = np.random.default_rng(width)
    shape = (2, 5, 4, width)
    labels = torch.from_numpy(rng.integers(1, values + 1, shape) * (rng.random(shape) < density))
    before = torch.get_num_threads()
    try:
        for dtype, threads in ((torch.uint8, 1), (torch.int16, 2), (torch.int32, 7)):
            torch.set_num_threads(threads)
            for steps in (1, 2, 3):
                assert torch.equal(
                    native.components(labels.to(dtype), steps), reference.components(labels.to(dtype), steps)
                )
    finally:
        torch.set_num_threads(before)


def test_statistics_are_cc3ds():
    found = components(torch.from_numpy(blobs((30, 40, 50)))[None])[0]
    due = cc3d.statistics(found.numpy().astype(np.uint32))
    ours = component_statistics(found)
    assert ours.counts.tolist() == due["voxel_counts"][1:].tolist()
    np.testing.assert_allclose(ours.centroids.numpy(), due["centroids"][1:], rtol=1e-6)
    boxes = [[(s.start, s.stop) for s in box] for box in due["bounding_boxes"][1:]]
    assert torch.stack([ours.lower, ours.upper], -1).tolist() == [[list(edge) for edge in box] for box in boxes]
    assert component_statistics(torch.zeros(3, 4, dtype=torch.int32)).counts.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64])
def test_joint_counts_are_bincounts(backend, dtype):
    rng = np.random.default_rng(2)
    most = 2 if dtype == torch.bool else 6
    a, b = (torch.from_numpy(np.repeat(rng.integers(0, most, 40_000), 3)).to(dtype) for _ in range(2))
    rows, columns = (2, 2) if dtype == torch.bool else (5, 6)  # one class of `a` is not counted
    due = np.zeros((rows, columns), int)
    inside = a.numpy().astype(int) < rows
    np.add.at(due, (a.numpy().astype(int)[inside], b.numpy().astype(int)[inside]), 1)
    assert joint_counts(a, b, rows, columns).tolist() == due.tolist()


def test_labels_outside_the_table_are_not_counted(backend):
    a = torch.tensor([-1, 0, 3, 1, -7], dtype=torch.int16)
    assert joint_counts(a, a, 2, 2).tolist() == [[1, 0], [0, 1]]
    mixed = joint_counts(a.clamp(0), a.clamp(0).to(torch.uint8), 4, 4)
    assert mixed.diagonal().tolist() == [3, 1, 0, 1]


@pytest.mark.parametrize("shape", SHAPES)
def test_morphology_is_scipys(backend, shape):
    mask = drawn(shape, 0.6)
    rank = len(shape) - 1
    for steps, connectivity in enumerate({1: (2,), 2: (4, 8), 3: (6, 18, 26)}[rank], start=1):
        structure = ndimage.generate_binary_structure(rank, steps)
        grown = dilate(mask, connectivity, iterations=2)
        shrunk = erode(mask, connectivity, iterations=2)
        filled = fill_holes(mask, connectivity)
        for k, channel in enumerate(mask.numpy()):
            assert np.array_equal(grown[k], ndimage.binary_dilation(channel, structure, iterations=2))
            assert np.array_equal(shrunk[k], ndimage.binary_erosion(channel, structure, iterations=2, border_value=1))
            assert np.array_equal(filled[k], ndimage.binary_fill_holes(channel, structure))
    assert torch.equal(dilate(mask, iterations=0), mask)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [3, 5])
def test_medians_are_scipys(backend, shape, width):
    volume = torch.from_numpy(np.random.default_rng(3).normal(size=shape).astype(np.float32))
    found = median(volume, width)
    for k, channel in enumerate(volume.numpy()):
        assert np.array_equal(found[k], ndimage.median_filter(channel, width, mode="nearest"))
    whole = (volume * 50).to(torch.int16)
    assert torch.equal(median(whole, width), median(whole.float(), width).to(torch.int16))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [3, 5])
def test_a_median_of_what_is_no_number_is_none(backend, shape, width):
    rng = np.random.default_rng(5)
    volume = rng.normal(size=shape).astype(np.float32)
    volume[rng.random(shape) < 0.05] = np.nan
    volume[rng.random(shape) < 0.05] = -np.inf
    found = median(torch.from_numpy(volume), width).numpy()
    for channel, medians in zip(volume, found, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(channel, [(width // 2 if n > 1 else 0,) * 2 for n in channel.shape], mode="edge"),
            [width if n > 1 else 1 for n in channel.shape],
        )
        np.testing.assert_array_equal(medians, np.median(windows.reshape(*channel.shape, -1), axis=-1))


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32]
)
@pytest.mark.parametrize("shape", [(2, 7, 9, 11), (1, 40, 300), (1, 1, 9, 1), (2, 50)])
def test_native_filters_read_every_type(core, monkeypatch, shape, dtype):
    """The bytes are read as they lie: no volume of floats is made of them."""
    volume = (torch.from_numpy(np.random.default_rng(7).normal(size=shape)) * 30 + 60).clamp(0, 120).to(dtype)
    rank = len(shape) - 1
    ops = [
        lambda v: median(v, 3),
        lambda v: median(v, 5),
        lambda v: box(v, (3,) * rank),
        lambda v: gaussian(v, (1.2,) * rank),
    ]
    with monkeypatch.context() as patch:
        patch.setenv("MEDFRAME_KERNELS", "native")
        patch.setattr(torch.Tensor, "float", lambda *_: pytest.fail("a copy as floats"))
        found = [op(volume) for op in ops]
    monkeypatch.setenv("MEDFRAME_KERNELS", "reference")
    due = [op(volume) for op in ops]
    for got, want in zip(found, due, strict=True):
        assert got.dtype == dtype
        off = (got.double() - want.double()).abs()
        # sums that lie half way between two numbers of the type may go either way
        bound = 1 if not dtype.is_floating_point else float(want.abs().max()) * torch.finfo(dtype).eps
        assert float(off.max()) <= bound
        assert float((off > 0).double().mean()) < 0.05
    assert torch.equal(found[0], due[0])
    assert torch.equal(found[1], due[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_box_and_gaussian_are_scipys(backend, shape):
    volume = torch.from_numpy(np.random.default_rng(4).normal(size=shape).astype(np.float32))
    width, sigma = (3, 5, 1)[: len(shape) - 1], (0.8, 0.0, 1.7)[: len(shape) - 1]
    boxed, blurred = box(volume, width), gaussian(volume, sigma, truncate=3.0)
    for k, channel in enumerate(volume.double().numpy()):
        np.testing.assert_allclose(boxed[k], ndimage.uniform_filter(channel, width, mode="nearest"), atol=2e-6)
        reach = [int(np.ceil(3 * s)) if n > 1 else 0 for s, n in zip(sigma, channel.shape, strict=True)]
        due = ndimage.gaussian_filter(channel, sigma, mode="nearest", radius=reach)
        np.testing.assert_allclose(blurred[k], due, atol=2e-6)


def test_a_gradient_passes_through_a_gaussian():
    volume = torch.rand(1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gaussian(v, (0.7, 1.2)), volume)


@pytest.mark.parametrize("shape", EMPTY)
def test_nothing_in_nothing_out(shape):
    mask = torch.zeros(shape, dtype=torch.bool)
    results = [distance_transform(mask), components(mask), dilate(mask), erode(mask), fill_holes(mask)]
    results += [median(mask.float()), box(mask.float(), (3,) * (len(shape) - 1))]
    assert all(r.shape == mask.shape for r in results)
    assert joint_counts(mask, mask, 2, 2).sum() == 0


@pytest.mark.parametrize(
    ("counter", "key", "due"),
    [  # the known answers published with Random123
        ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers(counter, key, due):
    assert reference.philox(np.array([counter], np.uint64), *key)[0].tolist() == due


def test_noise_is_the_references_whatever_the_threads(core, monkeypatch):
    seed = (0x123456789ABCDEF << 64) | 0xFEDCBA987654321
    found = normal_noise((3, 100_003), seed)
    torch.testing.assert_close(
        found, reference.normal_noise((3, 100_003), seed, torch.device("cpu"), torch.float32), atol=2e-6, rtol=0
    )
    assert torch.equal(normal_noise((10,), seed), found.reshape(-1)[:10])  # a number knows its place alone
    assert not torch.equal(normal_noise((10,), seed + 1), found.reshape(-1)[:10])
    assert not torch.equal(normal_noise((10,), seed + (1 << 64)), found.reshape(-1)[:10])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(normal_noise((3, 100_003), seed), found)
    finally:
        torch.set_num_threads(before)
    assert abs(float(found.mean())) < 0.01
    assert abs(float(found.std()) - 1) < 0.01
    assert normal_noise((5,), 1, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_threads_change_nothing(core):
    mask = torch.from_numpy(blobs((40, 60, 70)))[None]
    volume = torch.rand(1, 40, 60, 70)
    ops = [
        lambda: distance_transform(mask, (1.0, 2.0, 0.5)),
        lambda: components(mask, 6),
        lambda: joint_counts(mask, mask.roll(3), 2, 2),
        lambda: erode(mask),
        lambda: median(volume),
        lambda: box(volume, (3, 3, 5)),
        lambda: gaussian(volume, (1.0, 2.0, 1.5)),
    ]
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append([op() for op in ops])
    finally:
        torch.set_num_threads(before)
    for one, other in zip(results[0] * 2, results[1] + results[2], strict=True):
        assert torch.equal(one, other)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.data())
def test_native_is_the_reference(seed, rank, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 40 if rank < 3 else 14), min_size=rank, max_size=rank)))
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(0, 3, (1, *shape)) * (rng.random((1, *shape)) < 0.7)).to(torch.uint8)
    for steps, connectivity in enumerate({1: (2,), 2: (4, 8), 3: (6, 18, 26)}[rank], start=1):
        assert torch.equal(components(labels, connectivity), reference.components(labels, steps))
    spacing = tuple(rng.uniform(0.3, 3.0, rank).tolist())
    found, due = (
        distance_transform(labels == 1, spacing),
        reference.distance_transform(labels == 1, spacing, torch.float32),
    )
    torch.testing.assert_close(found, due, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: distance_transform(torch.zeros(3)), BadArgument, "one to three spatial axes"),
        (lambda: distance_transform(torch.zeros(1, 3, 3), (1.0,)), BadArgument, "positive spacing"),
        (lambda: distance_transform(torch.zeros(1, 3), -1.0), BadArgument, "positive spacing"),
        (lambda: components(torch.zeros(1, 3)), BadLabel, "integers"),
        (lambda: components(torch.zeros(1, 3, dtype=torch.int32), 6), BadArgument, "connectivity"),
        (lambda: joint_counts(torch.zeros(2), torch.zeros(2), 2, 2), BadLabel, "integers"),
        (lambda: joint_counts(torch.zeros(2).int(), torch.zeros(3).int(), 2, 2), BadArgument, "one shape"),
        (lambda: dilate(torch.zeros(1, 3), iterations=-1), BadArgument, "number of steps"),
        (lambda: median(torch.zeros(1, 3), 4), BadArgument, "3 or 5"),
        (lambda: box(torch.zeros(1, 3), (2,)), BadArgument, "odd"),
        (lambda: normal_noise((3,), -1), BadArgument, "seed"),
        (lambda: normal_noise((3,), 1, dtype=torch.float64), BadArgument, "noise"),
        (lambda: component_statistics(torch.zeros(3)), BadLabel, "integers"),
    ],
)
def test_faults(call, error, words):
    with pytest.raises(error, match=words):
        call()
