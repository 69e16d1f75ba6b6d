"""What is said when numbers stop being finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medframe.base.errors import NotFinite, shown_path

if TYPE_CHECKING:
    from ignite.engine import Engine

    from medframe.image import Batch


def case_ids(batch: Batch | Mapping[str, Any], image: str) -> list[str]:
    """The case each sample of a batch came from: its entry "case", the image's meta, or its number in the batch."""
    if "case" in batch:
        return [str(case) for case in batch["case"]]
    count = int(batch[image].shape[0])
    places = getattr(batch, "places", {}).get(image)
    if places is None:
        return [f"sample {i}" for i in range(count)]
    return [str(place.meta.get("case", f"sample {i}")) for i, place in enumerate(places)]


def bad_samples(tensors: Sequence[Tensor]) -> list[int]:
    """The samples of a batch in which any of the tensors (B, ...) holds NaN or infinity."""
    bad: set[int] = set()
    for tensor in tensors:
        fine = torch.isfinite(tensor).flatten(1).all(1)
        bad.update((~fine).nonzero().flatten().tolist())
    return sorted(bad)


def not_finite_loss(
    loss: float, step: int, cases: Sequence[str], parts: Mapping[str, Sequence[Tensor]], engine: Engine | None
) -> NotFinite:
    """The error for a loss that is NaN or infinite.

    Args:
        loss: that of this rank, finite if only another rank's is not.
        step: the iteration.
        cases: of the batch.
        parts: in order of cause, what may hold the first such number: the input, the output.
        engine: knows the last checkpoint.
    """
    if math.isfinite(loss):
        return _error("a loss that is not finite on another rank, whose message names the cases", step, engine)
    for name, tensors in parts.items():
        bad = bad_samples(tensors)
        if bad:
            guilty = ", ".join(cases[i] for i in bad)
            return _error(f"loss {loss}; the {name} of {guilty} holds NaN or infinity", step, engine)
    return _error(f"loss {loss} from a finite input and output; batch: {', '.join(cases)}", step, engine)


def not_finite_gradient(model: nn.Module, step: int, cases: Sequence[str], engine: Engine | None) -> NotFinite:
    """The error for a gradient that is NaN or infinite, or whose norm overflows."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            found = f"a gradient of {name} that is NaN or infinite; cases: {', '.join(cases)}"
            return _error(found, step, engine)
    return _error(f"a gradient whose norm overflows; cases: {', '.join(cases)}", step, engine)


def _error(found: str, step: int, engine: Engine | None) -> NotFinite:
    last = getattr(engine.state, "last_checkpoint", None) if engine is not None else None
    kept = f"The last finite checkpoint is {shown_path(last)}." if last else "No checkpoint was written yet."
    return NotFinite(
        "training met a number that is not finite",
        where=f"step {step}",
        found=found,
        due="finite numbers",
        mend=f"The weights were not changed by this step. {kept} "
        "Check these cases (medframe check), lower the learning rate, or train in float32.",
    )
