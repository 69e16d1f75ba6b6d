"""Novograd against its formulas in NumPy, against its source, and inside a training step."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from medframe.base.errors import BadArgument
from medframe.engines import TrainStep
from medframe.networks import parameter_groups
from medframe.optimisers import Novograd

FORMS = [
    {},
    {"weight_decay": 0.1},
    {"grad_averaging": True, "betas": (0.95, 0.5)},
    {"amsgrad": True, "betas": (0.8, 0.3), "weight_decay": 0.01},
]
forms = pytest.mark.parametrize("form", FORMS, ids=lambda f: ",".join(f) or "default")


def gradients(steps, shapes=((3, 4), (5,), ())):
    """Of very different sizes, falling and rising, and once zero."""
    rng = np.random.default_rng(0)
    sizes = [1.0, 10.0, 0.01, 0.0, 3.0, 3.0, 1e-4]
    return [[sizes[i % 7] * rng.normal(size=shape) for shape in shapes] for i in range(steps)]


def by_numpy(weights, steps, lr, *, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0, grad_averaging=False, amsgrad=False):
    weights = [w.copy() for w in weights]
    state = [{"m": np.zeros_like(w), "v": None, "most": 0.0} for w in weights]
    for grads in steps:
        for k, (g, s) in enumerate(zip(grads, state, strict=True)):
            square = float((g**2).sum())
            s["v"] = square if not s["v"] else betas[1] * s["v"] + (1 - betas[1]) * square
            s["most"] = max(s["most"], s["v"])
            added = g / (np.sqrt(s["most"] if amsgrad else s["v"]) + eps) + weight_decay * weights[k]
            s["m"] = betas[0] * s["m"] + (1 - betas[0] if grad_averaging else 1) * added
            weights[k] = weights[k] - lr * s["m"]
    return weights


def run(make, weights, steps):
    parameters = [nn.Parameter(torch.from_numpy(w.astype(np.float32))) for w in weights]
    optimiser = make(parameters)
    for grads in steps:
        for p, g in zip(parameters, grads, strict=True):
            p.grad = torch.as_tensor(g, dtype=torch.float32)
        optimiser.step()
    return [p.detach() for p in parameters]


@forms
def test_is_its_formulas(form):
    steps = gradients(12)
    weights = [np.asarray(g) for g in gradients(1)[0]]
    found = run(lambda p: Novograd(p, lr=0.05, **form), weights, steps)
    for mine, due in zip(found, by_numpy(weights, steps, 0.05, **form), strict=True):
        np.testing.assert_allclose(mine.numpy(), due, rtol=1e-5, atol=1e-6)


@pytest.mark.parity
@forms
def test_is_its_source(form):
    optimizers = pytest.importorskip("monai.optimizers", reason="the source that we compare with: pip install monai")
    steps = gradients(12)
    weights = [np.asarray(g) for g in gradients(1)[0]]
    found = run(lambda p: Novograd(p, lr=0.05, **form), weights, steps)
    for mine, due in zip(found, run(lambda p: optimizers.Novograd(p, lr=0.05, **form), weights, steps), strict=True):
        torch.testing.assert_close(mine, due, rtol=1e-6, atol=1e-7)


def test_gradients_are_left_as_they_are_and_a_closure_is_asked():
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimiser = Novograd([w], lr=0.1, weight_decay=0.5)

    def loss():
        optimiser.zero_grad()
        value = (w**2).sum()
        value.backward()
        return value

    assert optimiser.step(loss) == 25
    assert w.grad.tolist() == [6, 8]


def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.PReLU(), nn.Conv2d(8, 2, 3, padding=1))
    groups = parameter_groups(model, 0.02, 0.001)
    step = TrainStep(model, lambda z, t: nn.functional.cross_entropy(z, t[:, 0]), Novograd(groups))
    image = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    label = (nn.functional.avg_pool2d(image, 3, 1, 1) > 0).long()
    return step, {"image": image, "label": label}


def test_trains_and_goes_on_from_a_state_of_tensors_and_json():
    step, batch = problem()
    losses = [step(None, batch)["loss"] for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]
    state = step.state_dict()
    optimiser = state["optimiser"]
    assert all(isinstance(v, torch.Tensor) for entry in optimiser["state"].values() for v in entry.values())
    optimiser = {
        "state": optimiser["state"],
        **json.loads(json.dumps({k: optimiser[k] for k in ("kind", "param_groups")})),
    }
    other, _ = problem()
    other.load_state_dict({**state, "optimiser": optimiser})
    assert [other(None, batch)["loss"] for _ in range(3)] == [step(None, batch)["loss"] for _ in range(3)]


@pytest.mark.parametrize("bad", [{"lr": -1.0}, {"betas": (1.0, 0.9)}, {"eps": -1e-8}, {"weight_decay": float("nan")}])
def test_refuses_numbers_out_of_range(bad):
    with pytest.raises(BadArgument, match="out of range"):
        Novograd([nn.Parameter(torch.zeros(1))], **bad)


def test_refuses_sparse_gradients():
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(BadArgument, match="sparse"):
        Novograd(table.parameters()).step()
