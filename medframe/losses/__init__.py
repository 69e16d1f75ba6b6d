"""What training minimises: plain PyTorch, from logits and label maps, images or fields to a number."""

from medframe.losses.adversarial import PatchAdversarialLoss
from medframe.losses.boundary import BoundaryLoss, HausdorffDTLoss
from medframe.losses.calibrated import NACLLoss
from medframe.losses.centreline import SoftclDiceLoss, SoftDiceclDiceLoss, soft_skeleton
from medframe.losses.contrastive import BarlowTwinsLoss, ContrastiveLoss
from medframe.losses.cross_entropy import CrossEntropyLoss
from medframe.losses.deep_supervision import DeepSupervisionLoss
from medframe.losses.dice import DiceLoss
from medframe.losses.dice_ce import DiceCELoss
from medframe.losses.focal import DiceFocalLoss, FocalLoss, GeneralizedDiceFocalLoss
from medframe.losses.generalized_dice import GeneralizedDiceLoss
from medframe.losses.mcc import MCCLoss
from medframe.losses.multi_scale import MultiScaleLoss
from medframe.losses.perceptual import PerceptualLoss
from medframe.losses.registration import GlobalMutualInformationLoss, LocalNormalizedCrossCorrelationLoss
from medframe.losses.smoothness import BendingEnergyLoss, DiffusionLoss
from medframe.losses.structural import MultiScaleSSIMLoss, SSIMLoss
from medframe.losses.tversky import TverskyLoss
from medframe.losses.unified_focal import UnifiedFocalLoss
from medframe.losses.wasserstein_dice import GeneralizedWassersteinDiceLoss

__all__ = [
    "BarlowTwinsLoss",
    "BendingEnergyLoss",
    "BoundaryLoss",
    "ContrastiveLoss",
    "CrossEntropyLoss",
    "DeepSupervisionLoss",
    "DiceCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "DiffusionLoss",
    "FocalLoss",
    "GeneralizedDiceFocalLoss",
    "GeneralizedDiceLoss",
    "GeneralizedWassersteinDiceLoss",
    "GlobalMutualInformationLoss",
    "HausdorffDTLoss",
    "LocalNormalizedCrossCorrelationLoss",
    "MCCLoss",
    "MultiScaleLoss",
    "MultiScaleSSIMLoss",
    "NACLLoss",
    "PatchAdversarialLoss",
    "PerceptualLoss",
    "SSIMLoss",
    "SoftDiceclDiceLoss",
    "SoftclDiceLoss",
    "TverskyLoss",
    "UnifiedFocalLoss",
    "soft_skeleton",
]
