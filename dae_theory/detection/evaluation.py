"""From scores and labels to the table: thresholds fitted on one split, every score reported on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dae_theory import checks, memorization, representation
from dae_theory.checks import Refusal
from dae_theory.detection import detectors, roc
from dae_theory.detection.columns import Column, control_columns, score_columns, timed
from dae_theory.detection.selection import ranked
from dae_theory.detection.splits import groups_of, labels_of, stratified_split
from dae_theory.detection.table import Row, ScoreTable
from dae_theory.detection.uncertainty import Uncertainty


def evaluate(
    key: Array,
    columns: Sequence[Column],
    memorized: Any,
    *,
    fit: Any = None,
    groups: Any = None,
    baseline: Sequence[Column] | None = None,
    combine: bool = True,
    fpr: float = 0.01,
    level: float = 0.95,
    resamples: int = 1000,
) -> ScoreTable:
    """Fit thresholds on one split, report every score on the other, and say what of the whole table survives.

    A sample whose score is undefined (0/0 for a representation that is zero) can never fire: it ranks below all that
    are defined, and is counted in the row. A row without any defined score has NaN.

    Args:
        key: A typed key, for the split and the bootstrap.
        columns: The scores, each (n,).
        memorized: Labels, (n,): True or 1 for memorized.
        fit: Which samples are in the fitting split, (n,); half of either class at random when None.
        groups: What samples belong to, (n,): the source image of a crop, a person, a scene. Groups stay on one side of
            the split, and intervals are by group. Each sample is its own when None.
        baseline: The same scores, of the same samples, from a net that cannot have memorized them: untrained, or
            trained on others. A score counts for what it gains over it: two sources of images differ in any net.
        combine: Whether to add a row for a logistic regression on the standardised scores (not the controls).
        fpr: False positive rate at which thresholds are fitted.
        level: Level of the intervals.
        resamples: Number of bootstrap resamples.

    Raises:
        ValueError: `columns` is empty or its lengths differ; `memorized` has another length; `fit` leaves a class out
            of a split, or tears a group of `groups` apart; `baseline` has other names or lengths than `columns`; `key`
            is no typed key.

    >>> import jax
    >>> import numpy as np
    >>> from dae_theory import detection
    >>> memorized = np.arange(40) < 20
    >>> columns = [detection.Column("std", memorized + 0.01 * np.arange(40))]
    >>> table = detection.evaluate(jax.random.key(0), columns, memorized, combine=False, resamples=100)
    >>> print(table.rows[0].name, float(table.rows[0].auroc.estimate))
    std 1.0
    """
    checks.typed_key("key", key)
    labels = labels_of(memorized)
    splitting, resampling = jax.random.split(key)
    check_lengths(columns, labels)
    _check_baseline(columns, baseline)
    members = None if groups is None else groups_of(groups, labels.size)
    fit = stratified_split(splitting, labels, groups=groups) if fit is None else np.asarray(fit, dtype=bool)
    checks.shape("fit", fit, labels.shape)
    if members is not None and len(torn := np.intersect1d(members[fit], members[~fit])):
        raise Refusal(f"fit must keep the samples of a group on one side; got {len(torn)} groups on both")
    masks = {"fit": fit, "report": ~fit}
    counts = {name: (int((labels & mask).sum()), int((~labels & mask).sum())) for name, mask in masks.items()}
    if min(*counts["fit"], *counts["report"]) == 0:
        raise Refusal(f"fit must leave both classes in both splits; got (memorized, others) {counts}")

    combined, other = (_combined(each or [], labels, fit) if combine else [] for each in (columns, baseline))
    scored = [*columns, *combined]
    # Where only one of the two nets has a combination, it has nothing to be compared with.
    against = None if baseline is None else [*baseline, *((other or combined) if combined else [])]
    uncertainty = Uncertainty.of(resampling, scored, against, labels, ~fit, members, level=level, resamples=resamples)
    rows = tuple(_row(uncertainty, index, column, labels, fit, fpr) for index, column in enumerate(scored))
    return ScoreTable(
        rows=rows,
        fpr=fpr,
        fitted_on=counts["fit"],
        reported_on=counts["report"],
        level=level,
        reported_groups=None if members is None else uncertainty.counts,
        single_level=uncertainty.single_level,
        columns=tuple(columns),
        memorized=labels,
        fit=fit,
        groups=members,
        baseline=baseline is not None,
    )


def _check_baseline(columns: Sequence[Column], baseline: Sequence[Column] | None) -> None:
    if baseline is None:
        return
    names = [[column.name for column in each] for each in (columns, baseline)]
    if names[0] != names[1]:
        raise Refusal(f"baseline must have the scores of columns in their order, {names[0][:6]} …; got {names[1][:6]}")
    sizes = {np.size(column.scores) for column in (*columns, *baseline)}
    if len(sizes) > 1:
        raise Refusal(f"baseline must score the samples of columns; got {sorted(sizes)} samples")


def check_lengths(columns: Sequence[Column], labels: np.ndarray) -> None:
    """Refuse columns of various lengths, and labels that are not one a sample: whichever is at fault is named."""
    if not columns:
        raise Refusal("columns must hold at least one score; got none")
    lengths = {column.name: np.shape(column.scores) for column in columns}
    if len(set(lengths.values())) > 1:
        raise Refusal(f"columns must each have one score a sample; got {lengths}")
    (shape,) = set(lengths.values())
    if shape != labels.shape:
        raise Refusal(f"memorized must have one label for each of the {shape} scores; got {labels.shape}")


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


def _row(uncertainty: Uncertainty, index: int, column: Column, labels: np.ndarray, fit: np.ndarray, fpr: float) -> Row:
    undefined = int(np.isnan(column.scores).sum())
    nothing = roc.Interval(*[float("nan")] * 4)
    if undefined == np.size(column.scores):
        none = memorization.Rate(*[float("nan")] * 5, count=0)
        return Row(column.name, column.control, column.seconds, nothing, nothing, float("nan"), none, none, undefined)
    scores = ranked(column.scores)
    threshold = float(roc.threshold_at_fpr(scores[fit & ~labels], fpr))
    return Row(
        name=column.name,
        control=column.control,
        seconds=column.seconds,
        auroc=uncertainty.bootstrap(index),
        delong=uncertainty.single(index),
        threshold=threshold,
        tpr=memorization.rate(scores[~fit & labels] > threshold, level=uncertainty.level),
        fpr=memorization.rate(scores[~fit & ~labels] > threshold, level=uncertainty.level),
        undefined=undefined,
        simultaneous=uncertainty.together(index),
        **uncertainty.differences(index),
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
    raise Refusal(
        f"memorized must have one label for each of the {rows} rows of activations{where}; got {labels}{reason}"
    )
