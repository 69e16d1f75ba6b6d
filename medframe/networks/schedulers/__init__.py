"""How noise is added to an image step by step, and how a network's answers take it away again."""

from medframe.networks.schedulers.ddim import DDIMScheduler
from medframe.networks.schedulers.ddpm import DDPMScheduler
from medframe.networks.schedulers.noise import NoiseScheduler
from medframe.networks.schedulers.pndm import PNDMScheduler
from medframe.networks.schedulers.rectified_flow import RFlowScheduler

__all__ = ["DDIMScheduler", "DDPMScheduler", "NoiseScheduler", "PNDMScheduler", "RFlowScheduler"]
