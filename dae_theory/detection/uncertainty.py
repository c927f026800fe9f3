"""Every interval of a table, on the reporting split: single and together, of AUROC and of its gain."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array

from dae_theory.detection import resampling, roc
from dae_theory.detection.columns import Column
from dae_theory.detection.covariance import Areas, areas
from dae_theory.detection.selection import ranked
from dae_theory.detection.simultaneous import simultaneous_level

_NOTHING = roc.Interval(*[float("nan")] * 4)


@dataclass(frozen=True)
class Uncertainty:
    """AUROCs of c scores, and of the same c scores in a baseline, with what their intervals are made of.

    Attributes:
        key: For the bootstrap of single rows.
        scores: Of the reported samples, (c, n), and where there is a baseline (2c, n), its scores last.
        labels: (n,).
        count: c.
        table: All AUROCs; None with fewer than two groups of a class.
        resamples: Resampled AUROCs, (resamples, 2c) or (resamples, c); None where samples are on their own and without
            baseline, when every row is resampled by itself.
        draws: Number of resamples.
        level: Of all intervals.
        single_level, difference_level: Level of single intervals at which all AUROCs, all differences hold together.
    """

    key: Array
    scores: np.ndarray
    labels: np.ndarray
    count: int
    table: Areas | None
    resamples: np.ndarray | None
    draws: int
    level: float
    single_level: float
    difference_level: float

    @classmethod
    def of(
        cls,
        key: Array,
        columns: Sequence[Column],
        baseline: Sequence[Column] | None,
        labels: np.ndarray,
        report: np.ndarray,
        groups: np.ndarray | None,
        *,
        level: float,
        resamples: int,
    ) -> "Uncertainty":
        """Computed for the samples in `report`."""
        scores = np.stack([ranked(column.scores)[report] for column in (*columns, *(baseline or ()))])
        labels, count = labels[report], len(columns)
        members = None if groups is None else groups[report]
        by = np.arange(labels.size) if members is None else members
        enough = min(np.unique(by[labels]).size, np.unique(by[~labels]).size) > 1
        table, drawn, single, difference = None, None, float("nan"), float("nan")
        if enough:
            table = areas(scores, labels, groups=members)
            own = areas(scores[:count], labels, groups=members) if baseline else table
            single = simultaneous_level(
                jax.random.fold_in(key, count), own, scores[:count], labels, groups=members, level=level
            )
            if baseline:
                difference = simultaneous_level(
                    jax.random.fold_in(key, count + 1),
                    table,
                    scores,
                    labels,
                    groups=members,
                    differences=True,
                    level=level,
                )
            if baseline or members is not None:
                drawn = resampling.resampled_areas(
                    jax.random.fold_in(key, count + 2), scores, labels, groups=members, resamples=resamples
                )
        return cls(key, scores, labels, count, table, drawn, resamples, level, single, difference)

    @property
    def counts(self) -> tuple[int, int]:
        """(memorized, others) groups; zeros where there are too few."""
        return (0, 0) if self.table is None else self.table.counts

    def bootstrap(self, row: int) -> roc.Interval:
        """AUROC with the percentile bootstrap's interval."""
        scores = self.scores[row]
        if self.resamples is None:
            parts = scores[self.labels], scores[~self.labels]
            return roc.bootstrap_interval(
                jax.random.fold_in(self.key, row), *parts, level=self.level, resamples=self.draws
            )
        estimate = float(roc.auroc(scores[self.labels], scores[~self.labels]))
        return resampling.percentile_interval(estimate, self.resamples[:, row], self.level)

    def single(self, row: int) -> roc.Interval:
        """DeLong's interval, by group."""
        return _NOTHING if self.table is None else self.table.interval(row, level=self.level)

    def together(self, row: int) -> roc.Interval:
        """DeLong's interval at the level of all rows."""
        return _NOTHING if self.table is None else self.table.interval(row, level=self.single_level)

    def differences(self, row: int) -> dict[str, roc.Interval]:
        """What the row gains on the baseline, by name of the field; nothing without one."""
        if self.table is None or self.resamples is None or len(self.scores) == self.count:
            return {}
        other = row + self.count
        single = self.table.difference(row, other, level=self.level)
        gaps = self.resamples[:, row] - self.resamples[:, other]
        return {
            "difference": single,
            "difference_bootstrap": resampling.percentile_interval(single.estimate, gaps, self.level),
            "difference_simultaneous": self.table.difference(row, other, level=self.difference_level),
        }
