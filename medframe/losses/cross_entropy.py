"""Cross-entropy alone, with everything the other losses can leave out or weigh."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from medframe.losses.truth import Activation, check_activation, read_logits, read_target
from medframe.losses.weights import check_weight, read_weight


@dataclass(frozen=True)
class CrossEntropyLoss:
    """The mean of -log p of the true class, or of the binary cross-entropy of each channel.

    Takes what `DiceLoss` takes. The mean is over all voxels that count, each by the weight of its class, of itself and
    of its case; it is 0 where none counts. Computed in float32 at least.

    Args:
        activation: "softmax" or "sigmoid"; with the second the mean is over channels too.
        weight: for each of the C classes.
        ignore: voxels of this label count nowhere.

    Raises:
        BadArgument: when made, or when called with channels that do not fit; see also `read_target` for the target.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 2, 4, 4)
        >>> round(CrossEntropyLoss(ignore=255)(logits, torch.ones(1, 1, 4, 4).long()).item(), 4)
        0.6931
    """

    activation: Activation = "softmax"
    weight: tuple[float, ...] | None = None
    ignore: int | None = None

    def __post_init__(self) -> None:
        check_activation(self.activation)
        check_weight(self.weight)

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        voxel_weight: Tensor | None = None,
        case_weight: Tensor | None = None,
    ) -> Tensor:
        flat, log_p = read_logits(logits, self.activation)
        truth = read_target(
            logits, target, self.activation, self.ignore, voxel_weight=voxel_weight, case_weight=case_weight
        )
        return truth.cross_entropy(log_p, flat, read_weight(self.weight, log_p))
