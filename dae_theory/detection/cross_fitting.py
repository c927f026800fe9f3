"""The best of many scores when positives are few: chosen on all folds but one, reported on that one, in turn.

A single split halves what little there is. Here every sample is reported once, by a score that was chosen without it.
Scores of different folds have different scales, so each is first replaced by the share of the others of its choosing
samples that it exceeds (ties ½), a number in [0, 1] that means the same in all folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.detection import roc
from dae_theory.detection.columns import Column
from dae_theory.detection.covariance import areas
from dae_theory.detection.selection import best_column, ranked
from dae_theory.detection.splits import groups_of, labels_of


@dataclass(frozen=True)
class CrossFitted:
    """What the choice of the best score is worth.

    Attributes:
        auroc: Of the cross-fitted scores, with DeLong's interval by group.
        scores: Of every sample by the score chosen without it: the share of the others that it exceeds, (n,).
        fold: Fold of every sample, (n,).
        chosen: Name of the score of each fold.
    """

    auroc: roc.Interval
    scores: np.ndarray
    fold: np.ndarray
    chosen: tuple[str, ...]


def cross_fit(
    key: Array, columns: Sequence[Column], memorized: Any, *, folds: int = 5, groups: Any = None, level: float = 0.95
) -> CrossFitted:
    """AUROC of the best of many scores, every sample reported by a choice made without it.

    Args:
        key: A typed key, for the folds.
        columns: The scores, each (n,).
        memorized: Labels, (n,).
        folds: Number of folds, at most the samples (groups) of the smaller class.
        groups: What samples belong to, (n,); a group is in one fold.
        level: Level of the interval.

    Raises:
        ValueError: As `best_column` and `areas`; `folds` is not what is described above.

    >>> import jax
    >>> import numpy as np
    >>> from dae_theory import detection
    >>> memorized, draws = np.arange(40) < 20, np.random.default_rng(0).normal(size=(2, 40))
    >>> columns = [
    ...     detection.Column("blind", draws[0]),
    ...     detection.Column("sharp", draws[1] + 5 * memorized),
    ... ]
    >>> found = detection.cross_fit(jax.random.key(0), columns, memorized)
    >>> set(found.chosen)
    {'sharp'}
    >>> print(found.auroc.estimate > 0.95)
    True
    """
    checks.typed_key("key", key)
    folds = checks.integer("folds", folds, 2)
    labels = labels_of(memorized)
    members = groups_of(groups, labels.size)
    kinds = np.zeros(int(members.max(initial=-1)) + 1, dtype=bool)
    kinds[members[labels]] = True
    fewest = int(min(kinds.sum(), (~kinds).sum()))
    if folds > fewest:
        raise Refusal(f"folds must be at most {fewest}, the samples or groups of the smaller class; got {folds}")
    fold_of = np.zeros(kinds.size, dtype=int)
    for part, value in zip(jax.random.split(key), (False, True), strict=True):
        those = np.flatnonzero(kinds == value)
        fold_of[those[np.asarray(jax.random.permutation(part, those.size))]] = np.arange(those.size) % folds
    fold = fold_of[members]
    scores, chosen = np.zeros(labels.size), []
    for number in range(folds):
        away = fold != number
        best = best_column(columns, labels, away)
        chosen.append(best.name)
        values = ranked(best.scores)
        others = np.sort(values[away & ~labels])
        sides = [np.searchsorted(others, values[~away], side) for side in ("left", "right")]
        scores[~away] = (sides[0] + sides[1]) / (2 * others.size)
    found = areas(scores[None], labels, groups=groups)
    return CrossFitted(found.interval(0, level=level), scores, fold, tuple(chosen))
