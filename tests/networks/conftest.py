"""What the parity tests share."""

import pytest
import torch


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
                    else:
                        value.copy_(0.05 * noise + (1.0 if value.dim() == 1 and name.endswith("weight") else 0.0))
        found = [(order(n), v) for n, v in theirs.state_dict().items() if v.is_floating_point()]
        values = [v for _, v in sorted((pair for pair in found if pair[0] is not None), key=lambda pair: pair[0])]
        state = ours.state_dict()
        names = [n for n, v in state.items() if v.is_floating_point()]
        assert [tuple(state[n].shape) for n in names] == [tuple(v.shape) for v in values]
        ours.load_state_dict({**state, **dict(zip(names, values, strict=True))})

    return carry
