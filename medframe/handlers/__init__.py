"""What happens around the steps of a training: each handler is attached to a plain ignite engine."""

from medframe.handlers.best import BestModel
from medframe.handlers.budget import TimeBudget
from medframe.handlers.checkpoint import Checkpoint
from medframe.handlers.csv_log import CSVLog
from medframe.handlers.curves import Constant, Cosine, Curve, Polynomial, WarmupStableDecay
from medframe.handlers.early_stop import EarlyStop
from medframe.handlers.progress import ProgressBar
from medframe.handlers.resume import resume
from medframe.handlers.schedule import Schedule
from medframe.handlers.signals import Signals
from medframe.handlers.tensorboard import TensorBoardLog
from medframe.handlers.validate import Validate

__all__ = [
    "BestModel",
    "CSVLog",
    "Checkpoint",
    "Constant",
    "Cosine",
    "Curve",
    "EarlyStop",
    "Polynomial",
    "ProgressBar",
    "Schedule",
    "Signals",
    "TensorBoardLog",
    "TimeBudget",
    "Validate",
    "WarmupStableDecay",
    "resume",
]
