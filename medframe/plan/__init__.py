"""The main job: survey a dataset, plan a run, train, predict, evaluate, report."""

from medframe.plan.config import RunConfig, parse_overrides, read_config, write_config
from medframe.plan.convert import Conversion, convert
from medframe.plan.doctor import Checkup, Finding, check
from medframe.plan.evaluate import evaluate
from medframe.plan.fit import Run, fit
from medframe.plan.predict import Prediction, Predictor, predict
from medframe.plan.survey import Survey, survey

__all__ = [
    "Checkup",
    "Conversion",
    "Finding",
    "Prediction",
    "Predictor",
    "Run",
    "RunConfig",
    "Survey",
    "check",
    "convert",
    "evaluate",
    "fit",
    "parse_overrides",
    "predict",
    "read_config",
    "survey",
    "write_config",
]
