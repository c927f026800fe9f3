"""Choosing among many scores: by AUROC on one split, to be reported on another."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.detection.columns import Column
from dae_theory.detection.roc import auroc


def ranked(scores: Any) -> np.ndarray:
    """Scores as they are ranked: one that is undefined never fires, so it stands at −∞, below every defined one."""
    values = np.asarray(scores, dtype=float)
    return np.where(np.isnan(values), -np.inf, values)


def best_column(columns: Sequence[Column], memorized: Any, on: Any) -> Column:
    """The score with the highest AUROC on the samples `on`; the first of equals; undefined scores rank
    lowest, as they never fire.

    The AUROC it was chosen by is optimistic: report it on the other samples, as `evaluate(..., fit=on)` does.

    Args:
        columns: the scores, each (n,).
        memorized: labels, (n,).
        on: which samples may be looked at, booleans (n,).

    Raises:
        ValueError: no columns, other lengths, or `on` holds samples of one class only.

    >>> import numpy as np
    >>> from dae_theory import detection
    >>> memorized = np.array([True, True, False, False])
    >>> columns = [
    ...     detection.Column("blind", np.array([1.0, 2.0, 1.0, 2.0])),
    ...     detection.Column("sharp", np.array([3.0, 4.0, 1.0, 2.0])),
    ... ]
    >>> detection.best_column(columns, memorized, on=np.ones(4, bool)).name
    'sharp'
    """
    if not columns:
        raise Refusal("columns must hold at least one score; got none")
    labels, on = np.asarray(memorized, dtype=bool), np.asarray(on, dtype=bool)
    checks.shape("on", on, labels.shape)
    if len(np.unique(labels[on])) != 2:
        raise Refusal(f"on must hold samples of both classes; got {labels[on].sum()} memorized of {on.sum()}")
    for column in columns:
        checks.shape("columns", column.scores, labels.shape)

    def merit(column: Column) -> float:
        scores = ranked(column.scores)
        return float(auroc(scores[labels & on], scores[~labels & on]))

    return columns[int(np.argmax([merit(column) for column in columns]))]
