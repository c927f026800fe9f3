"""Detecting memorized samples from their representations: scores, thresholds, and how well they do.

Every score is oriented beforehand so that larger means memorized, and is never turned round after seeing the labels.
"""

from dae_theory.detection.columns import Column, control_columns, score_columns
from dae_theory.detection.covariance import Areas, areas, separating_bound
from dae_theory.detection.cross_fitting import CrossFitted, cross_fit
from dae_theory.detection.detectors import (
    STATISTICS,
    CombinedDetector,
    SpikinessDetector,
    denoising_loss,
    gini,
    input_norm,
    kurtosis,
    l4_over_l2,
    max_share,
    participation_ratio,
    pixel_std,
    std,
)
from dae_theory.detection.evaluation import evaluate, score_table
from dae_theory.detection.power import auroc_error, smallest_auroc
from dae_theory.detection.resampling import resampled_areas
from dae_theory.detection.roc import (
    Interval,
    auroc,
    bootstrap_interval,
    delong_difference,
    delong_interval,
    threshold_at_fpr,
    tpr_at_fpr,
)
from dae_theory.detection.selection import best_column
from dae_theory.detection.simultaneous import bootstrap_level, permutation_level, simultaneous_level
from dae_theory.detection.splits import stratified_split
from dae_theory.detection.streaming import channels_max, noised, score_denoiser, stream_columns
from dae_theory.detection.table import Row, ScoreTable

__all__ = [
    "STATISTICS",
    "Areas",
    "Column",
    "CombinedDetector",
    "CrossFitted",
    "Interval",
    "Row",
    "ScoreTable",
    "SpikinessDetector",
    "areas",
    "auroc",
    "auroc_error",
    "best_column",
    "bootstrap_interval",
    "bootstrap_level",
    "channels_max",
    "control_columns",
    "cross_fit",
    "delong_difference",
    "delong_interval",
    "denoising_loss",
    "evaluate",
    "gini",
    "input_norm",
    "kurtosis",
    "l4_over_l2",
    "max_share",
    "noised",
    "participation_ratio",
    "permutation_level",
    "pixel_std",
    "resampled_areas",
    "score_columns",
    "score_denoiser",
    "score_table",
    "separating_bound",
    "simultaneous_level",
    "smallest_auroc",
    "std",
    "stratified_split",
    "stream_columns",
    "threshold_at_fpr",
    "tpr_at_fpr",
]
