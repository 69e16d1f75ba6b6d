"""A training step's state as plain tensors and JSON values, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medframe.base.errors import Incompatible, MedframeWarning
from medframe.engines.distributed import bare, mean_over_ranks
from medframe.engines.weights import check_same_network

if TYPE_CHECKING:
    from medframe.engines.steps import TrainStep

_COUNTS = ("iterations", "updates", "samples", "pending")


def step_state(step: TrainStep) -> dict[str, Any]:
    """See `TrainStep.state_dict`."""
    model = bare(step.model)
    waiting = {n: p.grad for n, p in model.named_parameters() if p.grad is not None} if step.pending else {}
    return {
        "model": model.state_dict(),
        "optimiser": {"kind": type(step.optimiser).__name__, **step.optimiser.state_dict()},
        "scaler": step.scaler.state_dict(),
        "ema": None if step.ema is None else step.ema.state_dict(),
        "gradients": {name: mean_over_ranks(grad) for name, grad in waiting.items()},
        "counts": {name: getattr(step, name) for name in _COUNTS},
        "precision": step.precision,
    }


def load_step(step: TrainStep, state: Mapping[str, Any]) -> None:
    """See `TrainStep.load_state_dict`."""
    model = bare(step.model)
    check_same_network(model, state["model"], None)
    _check_optimiser(step, state["optimiser"])
    if state["precision"] != step.precision:
        text = f"training goes on in {step.precision}, but was begun in {state['precision']}: losses will differ"
        warnings.warn(text, MedframeWarning, stacklevel=3)
    model.load_state_dict(state["model"])
    step.optimiser.load_state_dict(_optimiser_state(step.optimiser, state["optimiser"]))
    if step.scaler.is_enabled() and state["scaler"]:
        step.scaler.load_state_dict(dict(state["scaler"]))
    if step.ema is not None:
        if state["ema"] is None:
            warnings.warn("the running mean of the weights begins anew", MedframeWarning, stacklevel=3)
            step.ema.model.load_state_dict(state["model"])
        else:
            step.ema.load_state_dict(state["ema"])
    for name, parameter in model.named_parameters():
        grad = state["gradients"].get(name)
        parameter.grad = None if grad is None else _laid_out(grad, parameter)
    for name in _COUNTS:
        setattr(step, name, int(state["counts"][name]))


def _check_optimiser(step: TrainStep, saved: Mapping[str, Any]) -> None:
    kind = type(step.optimiser).__name__
    due = [len(group["params"]) for group in step.optimiser.param_groups]
    found = [len(group["params"]) for group in saved["param_groups"]]
    if saved["kind"] != kind or found != due:
        raise Incompatible(
            "the optimiser is another one",
            found=f"{saved['kind']} over groups of {found} parameters",
            due=f"{kind} over groups of {due}",
            mend="Go on with the settings the training was begun with, or start in an empty folder.",
        )


def _optimiser_state(optimiser: torch.optim.Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """With the integer keys and the tuples that JSON does not keep, and tensors of its own."""
    groups: list[dict[str, Any]] = []
    state: dict[int, dict[str, Any]] = {}
    for mine, theirs in zip(optimiser.param_groups, saved["param_groups"], strict=True):
        groups.append({k: tuple(v) if isinstance(mine.get(k), tuple) else _own(v) for k, v in theirs.items()})
        for number, parameter in zip(theirs["params"], mine["params"], strict=True):
            entry = saved["state"].get(str(number), saved["state"].get(number))
            if entry is not None:
                state[number] = {k: _laid_out(v, parameter) for k, v in entry.items()}
    return {"state": state, "param_groups": groups}


def _laid_out(value: Any, parameter: Tensor) -> Any:
    """A copy with the parameter's strides where shapes agree, without which updates of all at once would be slower."""
    if isinstance(value, Tensor) and value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    return _own(value)


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
