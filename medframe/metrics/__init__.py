"""Metrics: per-case scores in voxels and millimetres, kept as tables, summarised and compared with intervals."""

from medframe.metrics.areas import area_distances, surface_areas
from medframe.metrics.bootstrap import bootstrap_cases, bootstrap_interval
from medframe.metrics.calibration import Reliability, calibration_row, reliability
from medframe.metrics.classification import (
    RocCurve,
    average_precision,
    cohen_kappa,
    confusion_matrix,
    each_class,
    over_classes,
    roc_auc,
    roc_auc_pairs,
    roc_curve,
    score_matrix,
    scores_row,
    truth_and_scores,
)
from medframe.metrics.compare import Comparison, Difference, compare, holm
from medframe.metrics.confusion import ConfusionRate
from medframe.metrics.detection import (
    COCO_THRESHOLDS,
    FROC_RATES,
    Candidates,
    Detections,
    FrocCurve,
    box_average_precision,
    box_iou,
    froc,
    mean_average_precision,
    point_hits,
    region_hits,
)
from medframe.metrics.edges import SurfaceDistances, edge_voxels, surface_distances
from medframe.metrics.empty import EmptyPolicy
from medframe.metrics.features import (
    FeatureMoments,
    GaussianKernel,
    LinearKernel,
    PolynomialKernel,
    frechet_distance,
    mmd,
)
from medframe.metrics.generalized_dice import GeneralizedDice
from medframe.metrics.image_quality import MAE, MSE, PSNR, RMSE, SSIM, ImageMetric, MultiScaleSSIM, score_image
from medframe.metrics.labels import Classes, joint_histogram
from medframe.metrics.metric import CaseMetric, ClassPair, Metric
from medframe.metrics.overlap import Dice, FBeta, IoU, Volume, VolumeDifference, Voxels
from medframe.metrics.panoptic import InstanceCounts, instance_row, match_instances, pooled_instances, score_instances
from medframe.metrics.score import USUAL_METRICS, class_pairs, score_case, score_whole
from medframe.metrics.subgroups import split_by, summarise_groups
from medframe.metrics.summary import Statistic, Summary, summarise
from medframe.metrics.surface import AverageSurfaceDistance, Hausdorff, SurfaceDice
from medframe.metrics.table import Row, Table
from medframe.metrics.table_files import read_table, write_comparison, write_groups, write_summary, write_table
from medframe.metrics.variance import RepeatedPredictions

__all__ = [
    "COCO_THRESHOLDS",
    "FROC_RATES",
    "MAE",
    "MSE",
    "PSNR",
    "RMSE",
    "SSIM",
    "USUAL_METRICS",
    "AverageSurfaceDistance",
    "Candidates",
    "CaseMetric",
    "ClassPair",
    "Classes",
    "Comparison",
    "ConfusionRate",
    "Detections",
    "Dice",
    "Difference",
    "EmptyPolicy",
    "FBeta",
    "FeatureMoments",
    "FrocCurve",
    "GaussianKernel",
    "GeneralizedDice",
    "Hausdorff",
    "ImageMetric",
    "InstanceCounts",
    "IoU",
    "LinearKernel",
    "Metric",
    "MultiScaleSSIM",
    "PolynomialKernel",
    "Reliability",
    "RepeatedPredictions",
    "RocCurve",
    "Row",
    "Statistic",
    "Summary",
    "SurfaceDice",
    "SurfaceDistances",
    "Table",
    "Volume",
    "VolumeDifference",
    "Voxels",
    "area_distances",
    "average_precision",
    "bootstrap_cases",
    "bootstrap_interval",
    "box_average_precision",
    "box_iou",
    "calibration_row",
    "class_pairs",
    "cohen_kappa",
    "compare",
    "confusion_matrix",
    "each_class",
    "edge_voxels",
    "frechet_distance",
    "froc",
    "holm",
    "instance_row",
    "joint_histogram",
    "match_instances",
    "mean_average_precision",
    "mmd",
    "over_classes",
    "point_hits",
    "pooled_instances",
    "read_table",
    "region_hits",
    "reliability",
    "roc_auc",
    "roc_auc_pairs",
    "roc_curve",
    "score_case",
    "score_image",
    "score_instances",
    "score_matrix",
    "score_whole",
    "scores_row",
    "split_by",
    "summarise",
    "summarise_groups",
    "surface_areas",
    "surface_distances",
    "truth_and_scores",
    "write_comparison",
    "write_groups",
    "write_summary",
    "write_table",
]
