"""Segmentation metrics: per-case scores in voxels and millimetres, kept as tables, summarised with intervals."""

from medframe.metrics.areas import area_distances, surface_areas
from medframe.metrics.bootstrap import bootstrap_interval
from medframe.metrics.confusion import ConfusionRate
from medframe.metrics.edges import SurfaceDistances, edge_voxels, surface_distances
from medframe.metrics.empty import EmptyPolicy
from medframe.metrics.generalized_dice import GeneralizedDice
from medframe.metrics.labels import Classes, joint_histogram
from medframe.metrics.metric import CaseMetric, ClassPair, Metric
from medframe.metrics.overlap import Dice, FBeta, IoU, Volume, VolumeDifference, Voxels
from medframe.metrics.score import USUAL_METRICS, class_pairs, score_case, score_whole
from medframe.metrics.summary import Statistic, Summary, summarise
from medframe.metrics.surface import AverageSurfaceDistance, Hausdorff, SurfaceDice
from medframe.metrics.table import Row, Table
from medframe.metrics.table_files import read_table, write_summary, write_table

__all__ = [
    "USUAL_METRICS",
    "AverageSurfaceDistance",
    "ClassPair",
    "Classes",
    "Dice",
    "EmptyPolicy",
    "Hausdorff",
    "IoU",
    "Metric",
    "Row",
    "Statistic",
    "Summary",
    "SurfaceDice",
    "SurfaceDistances",
    "Table",
    "Volume",
    "Voxels",
    "bootstrap_interval",
    "edge_voxels",
    "joint_histogram",
    "read_table",
    "score_case",
    "summarise",
    "surface_distances",
    "write_summary",
    "write_table",
]
