"""A score table of `detection` for the terminal, from the arrays that a record keeps of it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sims import launch

CONTROLS = ("pixel_std", "input_norm", "denoising_loss")
HEADER = ("score", "AUROC", "DeLong 95 %", "TPR", "Wilson 95 %", "FPR", "threshold")
GAINS = ("score", "AUROC", "− baseline", "95 %, single", "95 %, all rows")


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


def worth_printing(names: Iterable[Any], values: Mapping[Any, Any], most: int) -> list[int]:
    """Places of the rows for a terminal: all, or of many the best of the scores and every control, in their order."""
    names = [str(name) for name in names]
    if len(names) <= most:
        return list(range(len(names)))
    kept = [index for index, name in enumerate(names) if name.startswith(CONTROLS) or name == "combined"]
    key = np.nan_to_num(np.asarray(values["difference" if "difference" in values else "auroc"], float), nan=-np.inf)
    best = [int(index) for index in np.argsort(-key, kind="stable") if int(index) not in kept]
    return sorted([*kept, *best[: max(0, most - len(kept))]])


def _gains(names: Iterable[Any], values: Mapping[Any, Any]) -> list[list[str]]:
    lines = []
    for k, name in enumerate(names):
        at = {field: float(column[k]) for field, column in values.items()}
        lines.append(
            [
                f"{name} *" if str(name).startswith(CONTROLS) else str(name),
                f"{at['auroc']:.3f}",
                f"{at['difference']:+.3f}",
                f"[{at['difference_low']:+.3f}, {at['difference_high']:+.3f}]",
                f"[{at['difference_simultaneous_low']:+.3f}, {at['difference_simultaneous_high']:+.3f}]",
            ]
        )
    return lines
