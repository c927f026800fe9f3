"""The table of scores: what it holds, what of it is saved, how it is printed, and what of it survives."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dae_theory import memorization
from dae_theory.detection import power, roc
from dae_theory.detection.columns import Column

_NOTHING = roc.Interval(*[float("nan")] * 4)


@dataclass(frozen=True)
class Row:
    """How well one score does on the reporting split.

    Attributes:
        name, control, seconds: As in `Column`.
        auroc: With its bootstrap interval; NaN where no score is defined.
        delong: The same AUROC with DeLong's interval, by group where groups are given; NaN with fewer than two samples
            (groups) of a class.
        threshold: The threshold fitted on the other split.
        tpr: Share of memorized samples above it, with intervals.
        fpr: Share of the others above it: what the threshold really costs.
        undefined: Number of samples without a score; they rank lowest and never fire.
        simultaneous: As `delong`, at the level at which the intervals of all rows hold together.
        difference: AUROC minus the baseline's, paired; NaN without a baseline.
        difference_bootstrap: The same with the bootstrap's interval, samples (groups) resampled for both alike.
        difference_simultaneous: As `difference`, all rows together.
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
    simultaneous: roc.Interval = _NOTHING
    difference: roc.Interval = _NOTHING
    difference_bootstrap: roc.Interval = _NOTHING
    difference_simultaneous: roc.Interval = _NOTHING

    @property
    def headline(self) -> roc.Interval:
        """What must not be chance: the simultaneous interval of the difference from the baseline where there is one,
        else of AUROC minus ½.
        """
        if not np.isnan(self.difference.estimate):
            return self.difference_simultaneous
        whole = self.simultaneous
        return roc.Interval(whole.estimate - 0.5, whole.low - 0.5, whole.high - 0.5, whole.standard_error)

    @property
    def survives(self) -> bool:
        """Whether the score finds memorized samples beyond what chance gives a table of so many rows."""
        return bool(self.headline.low > 0)

    @property
    def alarms(self) -> bool:
        """Whether its simultaneous interval excludes chance on either side."""
        return bool(self.headline.low > 0 or self.headline.high < 0)


@dataclass(frozen=True)
class ScoreTable:
    """All rows, with what they were measured on; `print` shows it.

    Attributes:
        rows: One a score, in the order given.
        fpr: The false positive rate at which thresholds were fitted.
        fitted_on: (memorized, others) in the fitting split.
        reported_on: (memorized, others) in the reporting split.
        level: Level of all intervals.
        reported_groups: (memorized, others) groups in the reporting split; None where samples are on their own.
        single_level: Level of single intervals at which those of all rows hold together.
        columns: The scores of all samples that the rows are of, without their combination.
        memorized: Labels, (n,).
        fit: Which samples thresholds were fitted on, (n,).
        groups: What samples belong to, (n,), or None.
        baseline: Whether there is a baseline.
    """

    rows: tuple[Row, ...]
    fpr: float
    fitted_on: tuple[int, int]
    reported_on: tuple[int, int]
    level: float
    reported_groups: tuple[int, int] | None = None
    single_level: float = float("nan")
    columns: tuple[Column, ...] = field(default=(), repr=False, compare=False)
    memorized: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool), repr=False, compare=False)
    fit: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool), repr=False, compare=False)
    groups: np.ndarray | None = field(default=None, repr=False, compare=False)
    baseline: bool = False

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
        for name in ("low", "high"):
            values[f"auroc_simultaneous_{name}"] = [getattr(row.simultaneous, name) for row in self.rows]
        if self.baseline:
            values["difference"] = [row.difference.estimate for row in self.rows]
            for kind in ("difference", "difference_bootstrap", "difference_simultaneous"):
                for name in ("low", "high"):
                    values[f"{kind}_{name}"] = [getattr(getattr(row, kind), name) for row in self.rows]
        for name in ("tpr", "fpr"):
            values[name] = [float(getattr(row, name).rate) for row in self.rows]
            for bound in ("low", "high", "wilson_low", "wilson_high"):
                values[f"{name}_{bound}"] = [float(getattr(getattr(row, name), bound)) for row in self.rows]
        return {name: np.asarray(column) for name, column in values.items()}

    @property
    def smallest_auroc(self) -> float:
        """The smallest AUROC that a row of this table could have told from ½ in four of five tables of its size."""
        counts = self.reported_on if self.reported_groups is None else self.reported_groups
        level = self.level if np.isnan(self.single_level) else self.single_level
        return power.smallest_auroc(*counts, level=level)

    def verdict(self) -> str:
        """One sentence: which rows survive that all of them were looked at, and what could have been found."""
        chance = "the baseline's" if self.baseline else "½"
        if np.isnan(self.single_level):
            return f"Too few {'samples' if self.reported_groups is None else 'groups'} to tell any AUROC from {chance}."
        together = f"With {self.level:.0%} intervals that hold for all {len(self.rows)} rows together, "
        above = sorted((row for row in self.rows if row.survives), key=lambda row: -row.auroc.estimate)
        below = [row for row in self.rows if row.alarms and not row.survives]
        shown = ", ".join(row.name for row in above[:4]) + (f" and {len(above) - 4} more" if len(above) > 4 else "")
        parts = [
            f"AUROC is above {chance} for {shown}" if above else f"no AUROC is above {chance}",
            *([f"below it for {len(below)}"] if below else []),
        ]
        could = f"an AUROC of {self.smallest_auroc:.2f} would have been told from ½ four times in five."
        if self.baseline:
            reach = np.nanmedian([row.headline.estimate - row.headline.low for row in self.rows])
            could = f"gains below about {reach:.2f} cannot be told from none here."
        return together + " and ".join(parts) + "; " + could

    def __str__(self) -> str:
        share = f"{self.fpr:.2g}"
        width = max(len(row.name) for row in self.rows) + 2
        head = f"{'score':{width}s} {'AUROC':>6s} {f'{self.level:.0%}, single':>15s} {'all rows':>15s} "
        if self.baseline:
            head += f"{'− base':>7s} {'single':>17s} {'all rows':>17s} "
        lines = [head + f"{'TPR@' + share:>8s} {'interval':>15s} {'FPR':>6s} {'threshold':>10s} {'µs/sample':>10s}"]
        for row in self.rows:
            name = row.name + (" *" if row.control else "")
            gap = ""
            if self.baseline:
                gap = (
                    f"{row.difference.estimate:+7.3f} {_signed(row.difference):>17s} "
                    f"{_signed(row.difference_simultaneous):>17s} "
                )
            lines.append(
                f"{name:{width}s} {row.auroc.estimate:6.3f} {_interval(row.delong.low, row.delong.high):>15s} "
                f"{_interval(row.simultaneous.low, row.simultaneous.high):>15s} {gap}{row.tpr.rate:8.3f} "
                f"{_interval(row.tpr.wilson_low, row.tpr.wilson_high):>15s} {row.fpr.rate:6.3f} "
                f"{row.threshold:10.4g} {1e6 * row.seconds:10.3g}"
                + (f"  ({row.undefined} undefined)" if row.undefined else "")
            )
        by = ""
        if self.reported_groups is not None:
            by = f", in {self.reported_groups[0]} and {self.reported_groups[1]} groups by which the intervals go"
        lines.append(
            f"* control. Thresholds fitted at FPR {share} on {self.fitted_on[0]} memorized and {self.fitted_on[1]} "
            f"other samples, reported on {self.reported_on[0]} and {self.reported_on[1]}{by}; {self.level:.0%} "
            f"intervals (DeLong's for AUROC, Wilson's for TPR)."
        )
        return "\n".join([*lines, self.verdict()])


def _interval(low: Any, high: Any) -> str:
    return f"[{low:.3f}, {high:.3f}]"


def _signed(interval: roc.Interval) -> str:
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]"
