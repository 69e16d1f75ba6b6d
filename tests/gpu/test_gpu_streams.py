"""Kernels run on torch's current stream and never make the host wait."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medframe.kernels import Knots, cuda, gaussian, pull

pytestmark = pytest.mark.gpu

LONG = 200_000_000  # clock cycles: about a tenth of a second


def calls(volume):
    knots = Knots(torch.ones(3, 3, 3, 3), np.eye(4))
    device = volume.device
    labels = (volume > 0).to(torch.uint8)
    yield "pull", lambda: pull(volume, [np.eye(4), knots, np.diag([0.9, 0.9, 0.9, 1])], (20, 20, 20))
    yield "cubic pull", lambda: pull(volume, [np.diag([0.9, 0.9, 0.9, 1])], (20, 20, 20), order=3)
    yield "gaussian", lambda: gaussian(volume, (1.0, 1.0, 1.0))
    yield "push", lambda: cuda.push(volume, [np.eye(4)], (20, 20, 20), order=1, border="zero")
    vote = {"order": 1, "border": "zero", "fill": 0.0, "smooth": (0.0, 0.0, 0.0)}
    yield "label vote", lambda: cuda.label_vote(labels, [np.diag([0.9, 0.9, 0.9, 1])], (20, 20, 20), **vote)
    argmax = {"order": 1, "border": "zero", "fill": (0.0, 0.0), "dtype": torch.uint8, "probabilities": None}
    yield "arg-max", lambda: cuda.logit_argmax(volume, [np.diag([0.9, 0.9, 0.9, 1])], (20, 20, 20), **argmax)
    yield "distance", lambda: cuda.distance(labels, (1.0, 1.0, 1.0))
    yield "components", lambda: cuda.components(labels, 1)
    yield "joint counts", lambda: cuda.joint_counts(labels, labels, 2, 2)
    yield "noise", lambda: cuda.normal((100,), 3, device)


def test_nothing_waits(device):
    volume = torch.randn(2, 20, 20, 20, device=device)
    for name, call in calls(volume):
        call()  # compiles, and fills the allocators
        torch.cuda.synchronize(device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            torch.cuda._sleep(LONG)
            call()
            done = torch.cuda.Event()
            done.record()
            assert not done.query(), f"{name} waited for the device"
        finally:
            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.synchronize(device)


def test_the_current_stream_is_used(device):
    """What a stream writes before a call is what the call reads, and what follows reads what the call wrote."""
    side = torch.cuda.Stream(device)
    volume = torch.zeros(1, 64, 64, 64, device=device)
    pull(volume, [np.eye(4)], (64, 64, 64))
    torch.cuda.synchronize(device)
    with torch.cuda.stream(side):
        torch.cuda._sleep(LONG)
        volume.add_(3)
        read = pull(volume, [np.eye(4)], (64, 64, 64)) * 2
    side.synchronize()
    assert float(read.min()) == 6
    assert float(read.max()) == 6


def test_knots_and_parameters_outlive_the_call(device):
    """Many calls in flight: their parameters' memory is not handed out again before they ran."""
    volume = torch.arange(32.0, device=device).expand(1, 32, 32, 32).contiguous()
    torch.cuda._sleep(LONG)
    results = []
    for k in range(200):
        knots = Knots(torch.full((3, 2, 2, 2), k / 20), np.eye(4))
        results.append(pull(volume, [np.eye(4), knots, np.eye(4)], (4, 4, 4), border="border"))
    for k, result in enumerate(results):
        due = torch.arange(4.0) + k / 20
        assert float((result[0, 0, 0].cpu() - due).abs().max()) < 1e-4
