"""What the files of this folder share: chains of stages of every kind the native kernel tells apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medframe.kernels import native
from medframe.kernels.stages import Knots

KINDS = ("shift", "aligned", "general", "far", "knots", "turned knots", "dense knots", "two knots")


@pytest.fixture(autouse=True)
def one_thread():
    """These volumes are tiny: on a busy machine threads would wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def core():
    """The compiled extension; a test that asks for it is skipped where there is none."""
    if native.core() is None:
        pytest.skip("medframe._core was not built")
    return native.core()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def chain():
    """Makes stages of a kind that lead from a lattice of one shape to a lattice of another."""
    return make_chain


def make_chain(kind, rng, shape, in_shape):
    rank = len(shape)
    general = affine(turning(rng, rank), shape, in_shape, rng.normal(size=rank))
    if kind == "shift":
        return [affine(np.eye(rank), in_shape, in_shape, rng.integers(-2, 3, rank))]
    if kind == "aligned":
        return [affine(following(rng, rank), shape, in_shape, rng.normal(size=rank))]
    if kind == "general":
        return [general]
    if kind == "far":
        return [affine(turning(rng, rank), shape, in_shape, 1e4)]
    if kind == "knots":
        return [knots(rng, shape, following(rng, rank)), general]
    if kind == "turned knots":
        return [affine(turning(rng, rank), shape, shape), knots(rng, shape, turning(rng, rank)), general]
    if kind == "dense knots":
        return [knots(rng, shape, 3 * turning(rng, rank), order=1, sizes=in_shape), general]
    first, second = knots(rng, shape, following(rng, rank)), knots(rng, in_shape, following(rng, rank))
    return [first, general, second, affine(np.eye(rank), in_shape, in_shape, 0.25)]


def affine(linear, shape, in_shape, offset=0.0):
    """Takes the middle of the output to the middle of the input, but for `offset`."""
    matrix = np.eye(len(shape) + 1)
    matrix[:-1, :-1] = linear
    matrix[:-1, -1] = (np.array(in_shape) - 1) / 2 - linear @ ((np.array(shape) - 1) / 2) + offset
    return matrix


def following(rng, rank):
    """Each output axis follows one input axis."""
    linear = np.zeros((rank, rank))
    linear[rng.permutation(rank), np.arange(rank)] = rng.choice([-1, 1], rank) * rng.uniform(0.4, 1.8, rank)
    return linear


def turning(rng, rank):
    return np.eye(rank) * rng.uniform(0.6, 1.4) + rng.normal(size=(rank, rank)) * 0.3


def knots(rng, shape, linear, *, order=3, sizes=None):
    rank = len(shape)
    sizes = tuple(int(n) for n in rng.integers(1, 7, rank)) if sizes is None else sizes
    values = torch.from_numpy(rng.normal(size=(rank, *sizes)).astype(np.float32))
    return Knots(values, affine(linear / 3, shape, sizes), order)
