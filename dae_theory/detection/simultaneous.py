"""Intervals that hold all together: a table of many scores and layers has one row that looks like something by chance.

The bootstrap knows how the scores hang together; it trusts that the standard errors are right, which they are not with
a handful of memorized samples. There the labels are permuted, where groups have one label each.
"""

from typing import Any

import jax
import numpy as np
import scipy.special
from jaxtyping import Array

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.detection import roc
from dae_theory.detection.covariance import Areas
from dae_theory.detection.permuted import chance, chance_of_difference, permuted_areas
from dae_theory.detection.selection import ranked
from dae_theory.detection.splits import groups_of, labels_of

FEW = 30
"""Memorized (or other) groups below which labels are permuted as well."""
_DRAWN_AT_ONCE = 2**24


def simultaneous_level(
    key: Array,
    table: Areas,
    scores: Any,
    memorized: Any,
    *,
    groups: Any = None,
    differences: bool = False,
    level: float = 0.95,
) -> float:
    """The level of single intervals at which all intervals of a table hold together with probability `level`.

    `bootstrap_level`; where fewer than 30 groups hold samples of a class, and every group is of one,
    `permutation_level`.

    Args:
        key: A typed key.
        table: `areas` of the scores.
        scores, memorized, groups: What it was made of.
        differences: Whether the intervals are those of the first half of the scores minus the second, the baseline's.
        level: Level of all intervals together.

    Raises:
        ValueError: As `bootstrap_level` and `permutation_level`.
    """
    checks.typed_key("key", key)
    influence, half = table.influence, len(table.estimates) // 2
    if min(table.counts) < FEW and _pure(labels_of(memorized), groups):
        return permutation_level(key, scores, memorized, groups=groups, differences=differences, level=level)
    if differences:
        influence = influence[:, :half] - influence[:, half:]
    return bootstrap_level(key, influence, level=level)


def _pure(labels: np.ndarray, groups: Any) -> bool:
    """Whether every group holds samples of one class."""
    members = groups_of(groups, labels.size)
    return not np.intersect1d(members[labels], members[~labels]).size


def bootstrap_level(key: Array, influence: Any, *, level: float = 0.95, resamples: int = 2000) -> float:
    """The level at which single intervals must stand so that all of them hold together with probability `level`.

    Multiplier bootstrap of the largest statistic (Chernozhukov, Chetverikov & Kato, Ann. Statist. 41, 2013): with ξ_k
    standard normal for each group, T = max_c |Σ_k ξ_k G_kc|/√(Σ_k G_kc²); its `level` quantile t is passed by any of
    the c statistics as often as by the largest, and a single normal stays within ±t with the probability returned.
    Scores that rank alike cost nothing; independent ones as much as Bonferroni's correction.

    Args:
        key: A typed key.
        influence: G of `Areas`, (K, c), or differences of its columns; columns without variance are left out.
        level: Level of all intervals together.
        resamples: Draws of ξ.

    Raises:
        ValueError: `key`, `level` or `resamples` is not what is described above; `influence` has not two axes.
    """
    checks.typed_key("key", key)
    roc.check_level(level)
    resamples = checks.integer("resamples", resamples, 2)
    influence = np.asarray(influence, dtype=float)
    if influence.ndim != 2:
        raise Refusal(f"influence must have shape (groups, scores); got {influence.shape}")
    errors = np.linalg.norm(influence, axis=0)
    unit = influence[:, errors > 0] / errors[errors > 0]
    if unit.shape[1] == 0:
        return level
    size = max(1, _DRAWN_AT_ONCE // max(unit.shape))
    largest = []
    for part, start in enumerate(range(0, resamples, size)):
        count = min(size, resamples - start)
        multipliers = np.asarray(jax.random.normal(jax.random.fold_in(key, part), (count, len(unit))))
        largest.append(np.max(np.abs(multipliers @ unit), axis=1))
    quantile = float(np.quantile(np.concatenate(largest), level))
    return max(level, float(2 * scipy.special.ndtr(quantile) - 1))


def permutation_level(
    key: Array,
    scores: Any,
    memorized: Any,
    *,
    groups: Any = None,
    differences: bool = False,
    level: float = 0.95,
    permutations: int = 500,
) -> float:
    """The level of single intervals at which a share `level` of tables with permuted labels has none that excludes ½.

    Labels are permuted over groups (samples when None). With q_b the smallest `chance` in the table of permutation b,
    and q_(k) the k-th smallest of P of them, intervals of level 1 − q_(k) alarm where q < q_(k). Where, without
    memorization, any groups might as well have been the memorized ones, q is one of P + 1 alike numbers, so that

        P(q < q_(k)) ≤ k/(P + 1) ≤ 1 − level,   k = ⌊(P + 1)(1 − level)⌋,

    the first an equality without ties, 25/501 for 500 permutations at 95 %: averaged over permutations as well, so that
    drawing few of them moves the alarms of single tables and not their share. For differences from a baseline it is so
    in the limit, since they are divided by their standard errors (Janssen, 1997). Where groups hold samples of both
    classes labels say nothing about whole groups, and nothing is permuted: `level` is returned.

    Args:
        key: A typed key.
        scores: (c, n).
        memorized: Labels, (n,).
        groups: What samples belong to, (n,).
        differences: As in `simultaneous_level`.
        level: Share of permuted tables without an alarm.
        permutations: P; with k = 0 nothing alarms.

    Raises:
        ValueError: As `areas`; `scores` of differences are not a pair each; `key`, `level` or `permutations` is not
            what is described above.
    """
    checks.typed_key("key", key)
    roc.check_level(level)
    permutations = checks.integer("permutations", permutations, 2)
    labels, values = labels_of(memorized), ranked(scores)
    if differences and len(values) % 2:
        raise Refusal(f"scores must be pairs, those of a net and of its baseline; got {len(values)}")
    members = groups_of(groups, labels.size)
    if not _pure(labels, groups):
        return level
    kinds = np.zeros(int(members.max(initial=-1)) + 1, dtype=bool)
    kinds[members[labels]] = True
    if min(kinds.sum(), (~kinds).sum()) < 2:
        raise Refusal(f"memorized must leave two groups of either class; got {kinds.sum()} of {kinds.size} memorized")
    orders = np.asarray(jax.vmap(lambda k: jax.random.permutation(k, kinds.size))(jax.random.split(key, permutations)))
    probability = chance_of_difference if differences else chance
    size = max(1, _DRAWN_AT_ONCE // (4 * max(kinds.size, 1) * len(values)))
    smallest = [
        np.min(probability(permuted_areas(values, kinds[orders[start : start + size]], members)), axis=0)
        for start in range(0, permutations, size)
    ]
    rank = int((permutations + 1) * (1 - level) * (1 + 1e-12))  # k, not one less where rounding would take it
    allowed = float(np.sort(np.concatenate(smallest))[rank - 1]) if rank else 0.0
    # A hair above, since a table as improbable as this one, which few groups often give, must not alarm by rounding.
    return max(level, min(1 - allowed * (1 - 1e-6), float(np.nextafter(1.0, 0.0))))
