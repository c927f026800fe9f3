"""The table of scores: what it holds, what of it is saved, and how it is printed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dae_theory import memorization
from dae_theory.detection import roc
from dae_theory.detection.columns import Column


@dataclass(frozen=True)
class Row:
    """How well one score does on the reporting split.

    Attributes:
        name, control, seconds: As in `Column`.
        auroc: With its bootstrap interval; NaN where some score is undefined.
        delong: The same AUROC with DeLong's interval; NaN with fewer than two samples of a class.
        threshold: The threshold fitted on the other split.
        tpr: Share of memorized samples above it, with intervals.
        fpr: Share of the others above it: what the threshold really costs.
        undefined: Number of samples without a score.
    """

    name: str
    control: bool
    seconds: float
    auroc: roc.Interval
    delong: roc.Interval
    threshold: float
    tpr: memorization.Rate
    fpr: memorization.Rate
    undefined: int


@dataclass(frozen=True)
class ScoreTable:
    """All rows, with what they were measured on; `print` shows it.

    Attributes:
        rows: One a score, in the order given.
        fpr: The false positive rate at which thresholds were fitted.
        fitted_on: (memorized, others) in the fitting split.
        reported_on: (memorized, others) in the reporting split.
        level: Level of all intervals.
        columns: The scores of all samples that the rows are of, without their combination.
    """

    rows: tuple[Row, ...]
    fpr: float
    fitted_on: tuple[int, int]
    reported_on: tuple[int, int]
    level: float
    columns: tuple[Column, ...] = field(default=(), repr=False, compare=False)

    def __getitem__(self, name: str) -> Row:
        """The row of a score.

        Raises:
            KeyError: There is none of this name; the message lists those there are.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no score {name!r} in the table; there are {[row.name for row in self.rows]}")

    def arrays(self) -> dict[str, np.ndarray]:
        """Every number of the table by name, each with one entry a row, to be saved."""
        values = {
            "threshold": [row.threshold for row in self.rows],
            "undefined": [row.undefined for row in self.rows],
            "seconds": [row.seconds for row in self.rows],
            "auroc": [row.auroc.estimate for row in self.rows],
        }
        for name in ("low", "high", "standard_error"):
            values[f"auroc_bootstrap_{name}"] = [getattr(row.auroc, name) for row in self.rows]
            values[f"auroc_delong_{name}"] = [getattr(row.delong, name) for row in self.rows]
        for name in ("tpr", "fpr"):
            values[name] = [float(getattr(row, name).rate) for row in self.rows]
            for bound in ("low", "high", "wilson_low", "wilson_high"):
                values[f"{name}_{bound}"] = [float(getattr(getattr(row, name), bound)) for row in self.rows]
        return {name: np.asarray(column) for name, column in values.items()}

    def __str__(self) -> str:
        share = f"{self.fpr:.2g}"
        width = max(len(row.name) for row in self.rows) + 2
        head = f"{'score':{width}s} {'AUROC':>6s} {'bootstrap':>15s} {'DeLong':>15s} "
        lines = [head + f"{'TPR@' + share:>8s} {'interval':>15s} {'FPR':>6s} {'threshold':>10s} {'µs/sample':>10s}"]
        for row in self.rows:
            name = row.name + (" *" if row.control else "")
            lines.append(
                f"{name:{width}s} {row.auroc.estimate:6.3f} {_interval(row.auroc.low, row.auroc.high):>15s} "
                f"{_interval(row.delong.low, row.delong.high):>15s} {row.tpr.rate:8.3f} "
                f"{_interval(row.tpr.wilson_low, row.tpr.wilson_high):>15s} {row.fpr.rate:6.3f} "
                f"{row.threshold:10.4g} {1e6 * row.seconds:10.3g}"
                + (f"  ({row.undefined} undefined)" if row.undefined else "")
            )
        lines.append(
            f"* control. Thresholds fitted at FPR {share} on {self.fitted_on[0]} memorized and {self.fitted_on[1]} "
            f"other samples, reported on {self.reported_on[0]} and {self.reported_on[1]}; {self.level:.0%} intervals "
            f"(Wilson's for TPR)."
        )
        return "\n".join(lines)


def _interval(low: Any, high: Any) -> str:
    return f"[{low:.3f}, {high:.3f}]"
