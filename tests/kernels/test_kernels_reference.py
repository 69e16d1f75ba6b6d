"""The reference where its meaning is finer than a comparison with SciPy shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medframe.kernels import reference
from medframe.kernels.stages import Knots


def test_a_chain_is_read_at_the_places_it_gives():
    rng = np.random.default_rng(0)
    volume = torch.from_numpy(rng.normal(size=(1, 6, 7)))
    values = rng.normal(size=(2, 4, 5)).astype(np.float32)
    chain = [
        np.array([[0.9, 0.1, 1], [-0.2, 0.8, 0.5], [0, 0, 1]]),
        Knots(torch.from_numpy(values), np.diag([0.5, 0.6, 1]), 3),
        np.array([[1, 0, 0.3], [0, 1, -0.2], [0, 0, 1]]),
    ]
    out = reference.pull(volume, chain, (5, 4), order=1, border="border", fill=0.0, dtype=torch.float64)
    index = np.stack(np.meshgrid(np.arange(5.0), np.arange(4.0), indexing="ij"), -1).reshape(-1, 2)
    places = index @ chain[0][:2, :2].T + chain[0][:2, 2]
    at_knots = (places * [0.5, 0.6]).clip(0, [3, 4])
    # SciPy evaluates B-splines from coefficients; repeating the outermost is how knots go on
    padded = np.pad(values.astype(float), ((0, 0), (3, 3), (3, 3)), mode="edge")
    moves = [ndimage.map_coordinates(p, at_knots.T + 3, order=3, mode="nearest", prefilter=False) for p in padded]
    places = (places + np.stack(moves, -1)) @ chain[2][:2, :2].T + chain[2][:2, 2]
    due = ndimage.map_coordinates(volume[0].numpy(), places.T, order=1, mode="nearest")
    np.testing.assert_allclose(out.flatten().numpy(), due, atol=1e-10)


def test_a_line_computed_by_hand():
    volume = torch.tensor([[0.0, 10.0, 20.0]])
    half = np.array([[0.5, -0.5], [0, 1]])  # places -0.5, 0, 0.5, 1, 1.5, 2, 2.5
    out = reference.pull(volume, [half], (7,), order=1, border="zero", fill=-8.0, dtype=torch.float32)
    assert out.tolist() == [[-4, 0, 5, 10, 15, 20, 6]]


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("fill", [float("nan"), float("inf")])
def test_a_fill_that_is_no_number_stays_outside(order, fill):
    volume = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift = np.array([[1, 0, -1.0], [0, 1, 0], [0, 0, 1]])
    out = reference.pull(volume, [shift], (7, 4), order=order, border="zero", fill=fill, dtype=torch.float64)
    torch.testing.assert_close(out[:, 1:6], volume)
    assert not out[:, [0, 6]].isfinite().any()


@pytest.mark.parametrize(
    ("value", "dtype", "due"),
    [
        (2.5, torch.int16, 2),
        (3.5, torch.int16, 4),
        (-0.5, torch.int8, 0),
        (-3.0, torch.uint8, 0),
        (1e12, torch.int32, 2**31 - 1),
        (float("nan"), torch.int16, 0),
        (float("inf"), torch.int16, 2**15 - 1),
        (0.5, torch.bool, False),
        (0.6, torch.bool, True),
    ],
)
def test_rounding(value, dtype, due):
    found = reference.to_dtype(torch.tensor(value, dtype=torch.float64), dtype)
    assert found.dtype == dtype
    assert found.item() == due


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("order", [1, 3])
def test_an_inverse_displacement_undoes_it(rank, order):
    generator = torch.Generator().manual_seed(rank)
    values = torch.randn((rank, *[6] * rank), generator=generator) * 1.2
    matrix = np.diag([0.1] * rank + [1])  # knots 10 mm apart
    matrix[:-1, -1] = 0.5
    there, back = Knots(values, matrix, order), Knots(values, matrix, order, inverse=True)
    points = torch.rand((500, rank), generator=generator, dtype=torch.float64) * 60 - 10
    assert float((reference.displace(there, points) - points).abs().max()) > 0.5
    torch.testing.assert_close(reference.displace(there, reference.displace(back, points)), points, atol=1e-5, rtol=0)
    torch.testing.assert_close(reference.displace(back, reference.displace(there, points)), points, atol=1e-5, rtol=0)
