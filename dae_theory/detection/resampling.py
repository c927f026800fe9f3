"""AUROCs of many scores under the bootstrap by group: the same groups drawn for every score.

With w_i the number of times that the group of sample i was drawn, a resample's AUROC is that of the weighted samples,

    A* = Σ_i w_i (Σ_{s_j < s_i} w_j + ½ Σ_{s_j = s_i} w_j)/(Σ_i w_i Σ_j w_j),   i memorized, j not.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.detection import roc
from dae_theory.detection.selection import ranked
from dae_theory.detection.splits import groups_of, labels_of


def resampled_areas(
    key: Array, scores: Any, memorized: Any, *, groups: Any = None, resamples: int = 1000
) -> np.ndarray:
    """AUROCs of c scores in resamples of the groups, (resamples, c).

    Groups with memorized samples are drawn among themselves, those without among themselves, as often as there are.

    Args:
        key: A typed key.
        scores: (c, n).
        memorized: Labels, (n,).
        groups: What samples belong to, (n,); each its own when None.
        resamples: Number of resamples.

    Raises:
        ValueError: `scores`, `memorized` and `groups` do not fit; a class has no sample of a group of its own.
    """
    checks.typed_key("key", key)
    resamples = checks.integer("resamples", resamples, 2)
    labels, values = labels_of(memorized), ranked(scores)
    members = groups_of(groups, labels.size)
    kinds = np.zeros(int(members.max()) + 1, dtype=bool)
    kinds[members[labels]] = True
    if kinds.all() or not kinds.any():
        raise Refusal(f"memorized must leave groups of both classes; got {kinds.sum()} memorized of {kinds.size}")
    drawn = np.zeros((resamples, kinds.size))
    for part, value in zip(jax.random.split(key), (False, True), strict=True):
        those = np.flatnonzero(kinds == value)
        chosen = those[np.asarray(jax.random.randint(part, (resamples, those.size), 0, those.size))]
        np.add.at(drawn, (np.arange(resamples)[:, None], chosen), 1)
    weights = drawn[:, members]
    return np.stack([_weighted(row, labels, weights) for row in values], axis=1)


def _weighted(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    positive, negative = scores[labels], scores[~labels]
    order = np.argsort(negative)
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, ~labels][:, order], axis=1)], axis=1)
    first, last = (np.searchsorted(negative[order], positive, side) for side in ("left", "right"))
    own = weights[:, labels]
    counted = np.sum(own * (below[:, first] + below[:, last]) / 2, axis=1)
    return counted / (own.sum(axis=1) * below[:, -1])


def percentile_interval(estimate: float, values: np.ndarray, level: float) -> roc.Interval:
    """The percentile bootstrap's interval from the resampled values, (resamples,)."""
    tail = (1 - level) / 2
    return roc.Interval(
        estimate=float(estimate),
        low=float(np.quantile(values, tail)),
        high=float(np.quantile(values, 1 - tail)),
        standard_error=float(values.std(ddof=1)),
    )
