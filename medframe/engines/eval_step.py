"""One evaluation step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from medframe.engines.distributed import bare
from medframe.engines.guards import case_ids
from medframe.inferers import Inferer

if TYPE_CHECKING:
    from ignite.engine import Engine

    from medframe.image import Batch


@dataclass(frozen=True, eq=False)
class EvalStep:
    """From a batch to logits on the lattice of its images, as an ignite process function.

    The model is in evaluation mode for the call, and each of its modules is as it was afterwards. Its answer is a
    dictionary: "output" the logits (B, K, *spatial) in float32, "cases" the case ids, "batch" the batch itself, whose
    places say where the logits lie.

    Args:
        model: for the running mean of a training pass `TrainStep.eval_model`.
        inferer: how the model is led over a volume.
        image: the batch's key for the images.
    """

    model: nn.Module
    inferer: Inferer
    image: str = "image"

    def __call__(self, engine: Engine | None, batch: Batch | Mapping[str, Any]) -> dict[str, Any]:
        model = bare(self.model)
        training = [module for module in model.modules() if module.training]
        model.eval()
        try:
            with torch.no_grad():
                output = self.inferer(batch[self.image], model)
        finally:
            for module in training:
                module.training = True
        return {"output": output, "cases": case_ids(batch, self.image), "batch": batch}
