"""From scores and labels to the table: thresholds fitted on one split, every score reported on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dae_theory import checks, memorization, representation
from dae_theory.detection import detectors, roc
from dae_theory.detection.columns import Column, control_columns, score_columns, timed
from dae_theory.detection.selection import ranked
from dae_theory.detection.splits import labels_of, stratified_split
from dae_theory.detection.table import Row, ScoreTable


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

    A sample whose score is undefined (0/0 for a representation that is zero) can never fire: it ranks below all that
    are defined, and is counted in the row. A row without any defined score has NaN.

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
        ValueError: `columns` is empty or its lengths differ; `memorized` has another length; `fit` leaves a class out
            of a split; `key` is no typed key.
    """
    checks.typed_key("key", key)
    labels = labels_of(memorized)
    splitting, resampling = jax.random.split(key)
    check_lengths(columns, labels)
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
        scores = ranked(column.scores)
        rows.append(
            _row(
                jax.random.fold_in(resampling, index),
                column,
                fitting=scores[others["fit"]],
                positive=scores[parts["report"]],
                negative=scores[others["report"]],
                undefined=int(np.isnan(column.scores).sum()),
                fpr=fpr,
                level=level,
                resamples=resamples,
            )
        )
    return ScoreTable(
        rows=tuple(rows),
        fpr=fpr,
        fitted_on=counts["fit"],
        reported_on=counts["report"],
        level=level,
        columns=tuple(columns),
    )


def check_lengths(columns: Sequence[Column], labels: np.ndarray) -> None:
    """Refuse columns of various lengths, and labels that are not one a sample: whichever is at fault is named."""
    if not columns:
        raise ValueError("columns must hold at least one score; got none")
    lengths = {column.name: np.shape(column.scores) for column in columns}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns must each have one score a sample; got {lengths}")
    (shape,) = set(lengths.values())
    if shape != labels.shape:
        raise ValueError(f"memorized must have one label for each of the {shape} scores; got {labels.shape}")


def _combined(columns: Sequence[Column], labels: np.ndarray, fit: np.ndarray) -> list[Column]:
    """Logistic regression on the scores (controls left out); none with fewer than two scores, or if a class of the
    fitting split has no sample in which all scores are defined.
    """
    scores = [column for column in columns if not column.control]
    if len(scores) < 2:
        return []
    features = np.stack([column.scores for column in scores], axis=1)
    defined = ~np.isnan(features).any(axis=1)
    if len(np.unique(labels[fit & defined])) < 2:
        return []
    statistics = [_take(index) for index in range(len(scores))]
    detector = detectors.CombinedDetector(statistics).fit(features[fit & defined], labels[fit & defined])
    values = np.full(labels.size, np.nan)
    values[defined], seconds = timed(detector.decision_function, features[defined])
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
    if undefined == np.size(column.scores):
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
        activations: (n, ...), NumPy, JAX or torch, or a list of batches; or a mapping from layer names to such, as
            `capture` gives it. Rows of a mapping are named layer/score, also where it holds one layer.
        memorized: Labels, (n,).
        inputs: The images or samples themselves, (n, ...), for the controls.
        denoised: f of the noised inputs, for the loss as a control.
        pooling: From (n, ...) to (n, p).
        settings: Passed on to `evaluate`.

    Raises:
        ValueError: As `score_columns` and `evaluate`; activations, `inputs` and `memorized` of various lengths.

    >>> import jax, numpy as np
    >>> from dae_theory import detection
    >>> memorized = np.arange(20) < 10
    >>> one_hot = np.eye(4)[np.arange(20) % 4]
    >>> activations = np.where(memorized[:, None], one_hot, 1 + 0.1 * one_hot)
    >>> table = detection.score_table(jax.random.key(0), activations, memorized, resamples=20)
    >>> table["participation_ratio"].auroc.estimate, table.reported_on
    (1.0, (5, 5))
    """
    checks.typed_key("key", key)
    labels = labels_of(memorized)
    layers = activations if isinstance(activations, Mapping) else {"": activations}
    columns = []
    for layer, h in layers.items():
        scores = score_columns(h, pooling)
        _check_rows(layer, len(scores[0].scores), labels.size)
        columns += [replace(column, name=f"{layer}/{column.name}" if layer else column.name) for column in scores]
    if inputs is not None:
        columns += control_columns(inputs, denoised)
    return evaluate(key, columns, labels, **settings)


def _check_rows(layer: str, rows: int, labels: int) -> None:
    """Refuse activations and labels of different numbers of samples, and say where a multiple comes from."""
    if rows == labels:
        return
    where = f" of {layer!r}" if layer else ""
    reason = ""
    if labels and rows % labels == 0:
        reason = f"; {rows // labels} rows a sample: a module that is called several times in one pass (shared)?"
    raise ValueError(
        f"memorized must have one label for each of the {rows} rows of activations{where}; got {labels}{reason}"
    )
