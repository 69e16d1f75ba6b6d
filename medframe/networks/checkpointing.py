"""Memory for time: what a block computed on the way forward is computed again on the way back instead of kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, *inputs: Any, checkpointing: bool) -> Any:
    """`block(*inputs)`, its activations not kept where `checkpointing` is set and gradients will be asked for.

    T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory cost", 2016, arXiv:1604.06174.
    """
    if checkpointing and block.training and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)
