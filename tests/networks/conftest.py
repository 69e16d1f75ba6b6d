"""What the parity tests share: carrying weights over, and a record of the largest differences seen."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from medframe.networks import load_weights

_SEEN: dict[tuple[str, str], dict[str, object]] = {}


@pytest.fixture
def carry(note):
    """Carries weights by the order in which modules stand, drawn anew so that no normalisation is at its start."""

    def carry(theirs, ours, order=lambda name: 0):
        """`order` gives a number by which a source's tensors are sorted first, or None for those we do not have."""
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, value in theirs.state_dict().items():
                if value.is_floating_point():
                    noise = torch.randn(value.shape, generator=generator)
                    if name.endswith("running_var"):
                        value.copy_(1 + 0.2 * noise.abs())
                    elif value.dim() > 1:  # so that the input's variance reaches the answer
                        value.copy_(noise / value[0].numel() ** 0.5)
                    else:
                        value.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
        found = {name: order(name) for name, value in theirs.state_dict().items() if value.is_floating_point()}
        sources = sorted((name for name, place in found.items() if place is not None), key=found.__getitem__)
        targets = [name for name, value in ours.state_dict().items() if value.is_floating_point()]
        counters = {name for name in ours.state_dict() if name not in targets}
        table = dict(zip(sources, targets, strict=True))
        report = load_weights(ours, theirs.state_dict(), key_map=table.get, strict=not counters)
        assert not report.mismatched
        assert not report.unused
        assert set(report.missing) <= counters  # of batches seen, which evaluation does not read
        note(ours, theirs)

    return carry


@pytest.fixture
def note(request):
    """Notes which networks a parity test compares: their names, and how many parameters each of them has."""

    def note(ours, theirs, source="monai"):
        key = (request.node.nodeid, type(theirs).__name__)
        _SEEN[key] = {
            "network": type(ours).__name__,
            "source": f"{source} {type(theirs).__name__}",
            "configuration": request.node.callspec.id,
            "parameters": sum(p.numel() for p in ours.parameters()),
        }

    return note


@pytest.fixture(autouse=True)
def _largest_difference(request, monkeypatch):
    """Notes how far apart the tensors of a parity test are; MEDFRAME_PARITY_RECORD=FILE writes them all at the end."""
    if request.node.get_closest_marker("parity") is None:
        return
    compare = torch.testing.assert_close

    def noted(actual, expected, **options):
        compare(actual, expected, **options)
        if isinstance(actual, torch.Tensor) and actual.is_floating_point() and actual.numel():
            apart = float((actual.detach().double() - expected.detach().double()).abs().max())
            here = [row for (test, _), row in _SEEN.items() if test == request.node.nodeid]
            for row in here[-1:]:  # the pair noted last
                row["apart"] = max(row.get("apart", 0.0), apart)

    monkeypatch.setattr(torch.testing, "assert_close", noted)


def pytest_sessionfinish():
    path = os.environ.get("MEDFRAME_PARITY_RECORD")
    if path and _SEEN:
        packages = ("torch", "monai", "dynamic_network_architectures")
        rows = [{"test": test.rpartition("/")[2], **row} for (test, _), row in sorted(_SEEN.items()) if "apart" in row]
        kept = {"versions": {p: version(p) for p in packages}, "python": platform.python_version(), "tests": rows}
        Path(path).write_text(json.dumps(kept, indent=1) + "\n")
