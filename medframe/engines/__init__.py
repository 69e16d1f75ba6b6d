"""One training step, one evaluation step, and the plain ignite engines that repeat them."""

from medframe.engines.build import evaluator, train, trainer
from medframe.engines.distributed import (
    Ranks,
    bare,
    from_first,
    is_first,
    join_ranks,
    largest_over_ranks,
    leave_ranks,
    mean_over_ranks,
    rank,
    world_size,
    wrap,
)
from medframe.engines.ema import Ema
from medframe.engines.eval_step import EvalStep
from medframe.engines.events import VALIDATED, ignite_engine
from medframe.engines.precision import PrecisionChoice, PrecisionTrial, choose_precision
from medframe.engines.progress import TrainingState, notes, set_total_steps, total_steps
from medframe.engines.range_test import LearningRateCurve, find_learning_rate
from medframe.engines.steps import TrainStep
from medframe.engines.weights import read_weights, write_weights

__all__ = [
    "VALIDATED",
    "Ema",
    "EvalStep",
    "LearningRateCurve",
    "PrecisionChoice",
    "PrecisionTrial",
    "Ranks",
    "TrainStep",
    "TrainingState",
    "bare",
    "choose_precision",
    "evaluator",
    "find_learning_rate",
    "from_first",
    "ignite_engine",
    "is_first",
    "join_ranks",
    "largest_over_ranks",
    "leave_ranks",
    "mean_over_ranks",
    "notes",
    "rank",
    "read_weights",
    "set_total_steps",
    "total_steps",
    "train",
    "trainer",
    "world_size",
    "wrap",
    "write_weights",
]
