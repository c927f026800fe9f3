"""Detecting memorized samples from their representations: scores, thresholds, and how well they do.

Every score is oriented beforehand so that larger means memorized, and is never turned round after seeing the labels.
"""

from dae_theory.detection.columns import Column, control_columns, score_columns
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
from dae_theory.detection.splits import stratified_split
from dae_theory.detection.table import Row, ScoreTable

__all__ = [
    "STATISTICS",
    "Column",
    "CombinedDetector",
    "Interval",
    "Row",
    "ScoreTable",
    "SpikinessDetector",
    "auroc",
    "best_column",
    "bootstrap_interval",
    "control_columns",
    "delong_difference",
    "delong_interval",
    "denoising_loss",
    "evaluate",
    "gini",
    "input_norm",
    "kurtosis",
    "l4_over_l2",
    "max_share",
    "participation_ratio",
    "pixel_std",
    "score_columns",
    "score_table",
    "std",
    "stratified_split",
    "threshold_at_fpr",
    "tpr_at_fpr",
]
