"""The table of scores: every score and every trivial control, fitted on one split and reported on another."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dae_theory import checks, memorization, representation
from dae_theory.detection import detectors, roc


@dataclass(frozen=True)
class Column:
    """One oriented score of all samples.

    Attributes:
        name: What it is called in the table.
        scores: Larger means memorized, (n,).
        control: Whether it is a trivial control and not a score of a representation.
        seconds: Time per sample, after compilation; NaN when it was not measured.
    """

    name: str
    scores: np.ndarray
    control: bool = False
    seconds: float = float("nan")


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
    """

    rows: tuple[Row, ...]
    fpr: float
    fitted_on: tuple[int, int]
    reported_on: tuple[int, int]
    level: float

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


def _timed(statistic: Callable[..., Any], *arguments: Any) -> tuple[np.ndarray, float]:
    """Scores, and seconds per sample: the fastest of three calls after the first, which may compile."""
    scores, seconds = np.asarray(statistic(*arguments), dtype=float), []
    for _ in range(3):
        start = time.perf_counter()
        statistic(*arguments)
        seconds.append(time.perf_counter() - start)
    return scores, min(seconds) / len(scores)


def score_columns(
    activations: Any,
    pooling: representation.Pooling = representation.flatten,
    statistics: Sequence[detectors.Statistic] = detectors.STATISTICS,
) -> list[Column]:
    """The scores of activations (n, ...), pooled to vectors (n, p), as columns of the table.

    Raises:
        ValueError: `activations` has fewer than two axes, or NaN or infinite entries.
    """
    h = representation.as_array("activations", activations)
    if h.ndim < 2:
        raise ValueError(f"activations must have shape (n, ...); got {h.shape}")
    h = pooling(h)
    columns = []
    for statistic in statistics:
        scores, seconds = _timed(statistic, h)
        columns.append(Column(_name(statistic), scores, seconds=seconds))
    return columns


def control_columns(inputs: Any, denoised: Any = None) -> list[Column]:
    """The trivial controls of the inputs (n, ...); with `denoised`, f of the noised inputs, the loss as well."""
    columns = []
    for statistic, arguments in (
        (detectors.pixel_std, (inputs,)),
        (detectors.input_norm, (inputs,)),
        (detectors.denoising_loss, (inputs, denoised)),
    ):
        if all(argument is not None for argument in arguments):
            scores, seconds = _timed(statistic, *arguments)
            columns.append(Column(_name(statistic), scores, control=True, seconds=seconds))
    return columns


def _name(statistic: Any) -> str:
    return getattr(statistic, "__name__", type(statistic).__name__)


def _labels(memorized: Any) -> np.ndarray:
    labels = np.asarray(memorized)
    if labels.ndim != 1 or not (labels.dtype == bool or np.isin(labels, (0, 1)).all()):
        raise ValueError(f"memorized must be a vector of booleans or 0 and 1; got {labels.dtype} of {labels.shape}")
    return labels.astype(bool)


def stratified_split(key: Array, memorized: Any, fit_share: float = 0.5) -> np.ndarray:
    """Booleans (n,), True in the fitting split, which takes `fit_share` of either class, rounded to leave some in both.

    Raises:
        ValueError: `memorized` has fewer than two samples of a class, or `fit_share` is outside (0, 1).
    """
    checks.typed_key("key", key)
    labels = _labels(memorized)
    if not 0 < fit_share < 1:
        raise ValueError(f"fit_share must be in (0, 1); got {fit_share}")
    fit = np.zeros(labels.size, dtype=bool)
    for part, value in zip(jax.random.split(key), (False, True), strict=True):
        members = np.flatnonzero(labels == value)
        if members.size < 2:
            raise ValueError(f"memorized must have at least two samples of either class; got {members.size} {value}")
        count = int(np.clip(round(fit_share * members.size), 1, members.size - 1))
        fit[members[np.asarray(jax.random.permutation(part, members.size))[:count]]] = True
    return fit


def evaluate(
    key: Array,
    columns: Sequence[Column],
    memorized: Any,
    *,
    fit: Any = None,
    combine: bool = True,
    fpr: float = 0.01,
    level: float = 0.95,
    resamples: int = 1000,
) -> ScoreTable:
    """Fit thresholds on one split, report every score on the other.

    Args:
        key: A typed key, for the split and the bootstrap.
        columns: The scores, each (n,).
        memorized: Labels, (n,): True or 1 for memorized.
        fit: Which samples are in the fitting split, (n,); half of either class at random when None. Give it where
            samples belong together (copies of one image must not sit in both).
        combine: Whether to add a row for a logistic regression on the standardised scores (not the controls).
        fpr: False positive rate at which thresholds are fitted.
        level: Level of the intervals.
        resamples: Number of bootstrap resamples.

    Raises:
        ValueError: `columns` is empty or of another length than `memorized`; `fit` leaves a class out of a split.
    """
    labels = _labels(memorized)
    splitting, resampling = jax.random.split(key)
    if not columns:
        raise ValueError("columns must hold at least one score; got none")
    for column in columns:
        checks.shape("columns", column.scores, labels.shape)
    fit = stratified_split(splitting, labels) if fit is None else np.asarray(fit, dtype=bool)
    checks.shape("fit", fit, labels.shape)
    parts = {name: labels & mask for name, mask in (("fit", fit), ("report", ~fit))}
    others = {name: ~labels & mask for name, mask in (("fit", fit), ("report", ~fit))}
    counts = {name: (int(parts[name].sum()), int(others[name].sum())) for name in parts}
    if min(*counts["fit"], *counts["report"]) == 0:
        raise ValueError(f"fit must leave both classes in both splits; got (memorized, others) {counts}")

    combined = _combined(columns, labels, fit) if combine else []
    rows = []
    for index, column in enumerate([*columns, *combined]):
        scores = np.asarray(column.scores, dtype=float)
        rows.append(
            _row(
                jax.random.fold_in(resampling, index),
                column,
                fitting=scores[others["fit"]],
                positive=scores[parts["report"]],
                negative=scores[others["report"]],
                undefined=int(np.isnan(scores).sum()),
                fpr=fpr,
                level=level,
                resamples=resamples,
            )
        )
    return ScoreTable(rows=tuple(rows), fpr=fpr, fitted_on=counts["fit"], reported_on=counts["report"], level=level)


def _combined(columns: Sequence[Column], labels: np.ndarray, fit: np.ndarray) -> list[Column]:
    """Logistic regression on the scores (controls left out); none with fewer than two scores, or if a class of the
    fitting split has no sample in which all scores are defined."""
    scores = [column for column in columns if not column.control]
    if len(scores) < 2:
        return []
    features = np.stack([column.scores for column in scores], axis=1)
    defined = ~np.isnan(features).any(axis=1)
    if len(np.unique(labels[fit & defined])) < 2:
        return []
    statistics = [_take(index) for index in range(len(scores))]
    detector = detectors.CombinedDetector(statistics).fit(features[fit & defined], labels[fit & defined])
    values, seconds = np.full(labels.size, np.nan), float("nan")
    values[defined], seconds = _timed(detector.decision_function, features[defined])
    return [Column("combined", values, seconds=seconds + sum(column.seconds for column in scores))]


def _take(index: int) -> detectors.Statistic:
    return lambda features: features[:, index]


def _row(
    key: Array,
    column: Column,
    *,
    fitting: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    undefined: int,
    fpr: float,
    level: float,
    resamples: int,
) -> Row:
    nothing = roc.Interval(*[float("nan")] * 4)
    if undefined:
        none = memorization.Rate(*[float("nan")] * 5, count=0)
        return Row(column.name, column.control, column.seconds, nothing, nothing, float("nan"), none, none, undefined)
    threshold = float(roc.threshold_at_fpr(fitting, fpr))
    enough = min(positive.size, negative.size) > 1
    return Row(
        name=column.name,
        control=column.control,
        seconds=column.seconds,
        auroc=roc.bootstrap_interval(key, positive, negative, level=level, resamples=resamples),
        delong=roc.delong_interval(positive, negative, level=level) if enough else nothing,
        threshold=threshold,
        tpr=memorization.rate(positive > threshold, level=level),
        fpr=memorization.rate(negative > threshold, level=level),
        undefined=undefined,
    )


def score_table(
    key: Array,
    activations: Any,
    memorized: Any,
    *,
    inputs: Any = None,
    denoised: Any = None,
    pooling: representation.Pooling = representation.flatten,
    **settings: Any,
) -> ScoreTable:
    """Activations in, the whole table out: all scores, their combination, and the trivial controls of the inputs.

    Args:
        key: A typed key.
        activations: (n, ...), NumPy, JAX or torch; or a mapping from layer names to such arrays.
        memorized: Labels, (n,).
        inputs: The images or samples themselves, (n, ...), for the controls.
        denoised: f of the noised inputs, for the loss as a control.
        pooling: From (n, ...) to (n, p).
        settings: Passed on to `evaluate`.

    Raises:
        ValueError: As `score_columns` and `evaluate`; `inputs` of another length.
    """
    if isinstance(activations, Mapping):
        columns = [
            Column(f"{layer}/{column.name}", column.scores, column.control, column.seconds)
            for layer, h in activations.items()
            for column in score_columns(h, pooling)
        ]
    else:
        columns = score_columns(activations, pooling)
    if inputs is not None:
        columns += control_columns(inputs, denoised)
    return evaluate(key, columns, memorized, **settings)
