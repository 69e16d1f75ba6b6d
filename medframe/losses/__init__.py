"""What training minimises: plain PyTorch, from logits and label maps to a number."""

from medframe.losses.deep_supervision import DeepSupervisionLoss
from medframe.losses.dice import DiceLoss
from medframe.losses.dice_ce import DiceCELoss

__all__ = ["DeepSupervisionLoss", "DiceCELoss", "DiceLoss"]
