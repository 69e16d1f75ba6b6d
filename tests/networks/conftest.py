"""What the parity tests share: carrying weights over, and a table of the largest differences seen."""

import os
from pathlib import Path

import pytest
import torch

_SEEN: dict[str, float] = {}


@pytest.fixture
def carry():
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
        found = [(order(n), v) for n, v in theirs.state_dict().items() if v.is_floating_point()]
        values = [v for _, v in sorted((pair for pair in found if pair[0] is not None), key=lambda pair: pair[0])]
        state = ours.state_dict()
        names = [n for n, v in state.items() if v.is_floating_point()]
        assert [tuple(state[n].shape) for n in names] == [tuple(v.shape) for v in values]
        ours.load_state_dict({**state, **dict(zip(names, values, strict=True))})

    return carry


@pytest.fixture(autouse=True)
def _largest_difference(request, monkeypatch):
    """Notes how far apart the tensors of a parity test are; MEDFRAME_PARITY_TABLE=FILE writes them all at the end."""
    if request.node.get_closest_marker("parity") is None:
        return
    compare = torch.testing.assert_close

    def noted(actual, expected, **options):
        compare(actual, expected, **options)
        if isinstance(actual, torch.Tensor) and actual.is_floating_point() and actual.numel():
            apart = float((actual.double() - expected.double()).abs().max())
            _SEEN[request.node.nodeid] = max(_SEEN.get(request.node.nodeid, 0.0), apart)

    monkeypatch.setattr(torch.testing, "assert_close", noted)


def pytest_sessionfinish():
    path = os.environ.get("MEDFRAME_PARITY_TABLE")
    if path and _SEEN:
        lines = ["| test | largest difference |", "|---|---|"]
        lines += [f"| {name.partition('::')[2]} | {apart:.1e} |" for name, apart in sorted(_SEEN.items())]
        Path(path).write_text("\n".join(lines) + "\n")
