"""A score table of `detection` for the terminal, from the arrays that a record keeps of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from sims import launch

CONTROLS = ("pixel_std", "input_norm", "denoising_loss")
HEADER = ("score", "AUROC", "DeLong 95 %", "TPR", "Wilson 95 %", "FPR", "threshold")
GAINS = ("score", "AUROC", "DeLong 95 %", "− baseline", "95 %", "all rows")


def score_lines(names: Iterable[Any], values: Mapping[Any, Any]) -> str:
    """One line a score, in the columns of `HEADER`, controls with a star; `values` as in `ScoreTable.arrays`.

    Where there is a baseline what a score gains on it is the headline: the columns of `GAINS`.
    """
    if "difference" in values:
        return launch.table(_gains(names, values), GAINS)
    lines = []
    for k, name in enumerate(names):
        at = {field: float(column[k]) for field, column in values.items()}
        lines.append(
            [
                f"{name} *" if name in CONTROLS else str(name),
                f"{at['auroc']:.3f}",
                f"[{at['auroc_delong_low']:.3f}, {at['auroc_delong_high']:.3f}]",
                f"{at['tpr']:.3f}",
                f"[{at['tpr_wilson_low']:.3f}, {at['tpr_wilson_high']:.3f}]",
                f"{at['fpr']:.3f}",
                f"{at['threshold']:.4g}",
            ]
        )
    return launch.table(lines, HEADER)


def _gains(names: Iterable[Any], values: Mapping[Any, Any]) -> list[list[str]]:
    lines = []
    for k, name in enumerate(names):
        at = {field: float(column[k]) for field, column in values.items()}
        lines.append(
            [
                f"{name} *" if str(name).startswith(CONTROLS) else str(name),
                f"{at['auroc']:.3f}",
                f"[{at['auroc_delong_low']:.3f}, {at['auroc_delong_high']:.3f}]",
                f"{at['difference']:+.3f}",
                f"[{at['difference_low']:+.3f}, {at['difference_high']:+.3f}]",
                f"[{at['difference_simultaneous_low']:+.3f}, {at['difference_simultaneous_high']:+.3f}]",
            ]
        )
    return lines
