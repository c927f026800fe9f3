"""AUROCs, and what they gain on a baseline, under permuted labels: how improbable the best of a table is by chance.

As `covariance`, for P labellings of K groups of one class each. With s_k the size of group k, U_k the negatives below
its samples and R_k the samples below them (ties ½), the group moves A by

    G_k = √(K⁺/(K⁺ − 1)) (U_k/n − s_k A)/m   where it is memorized,
    G_k = √(K⁻/(K⁻ − 1)) (s_k (1 − A) − (R_k − U_k)/m)/n   elsewhere.

A score is sorted once: for labels in its order the negatives below each sample are a cumulated count, so that a
permutation costs no sorting. Permutations are the last axis, along which memory runs.
"""

from typing import NamedTuple

import numpy as np

from dae_theory.detection import covariance


class Permuted(NamedTuple):
    """AUROCs of c scores under P labellings.

    Attributes:
        estimates: A, (c, P).
        influence: G of `Areas`, (c, K, P).
        kinds: Which groups are memorized, (K, P).
    """

    estimates: np.ndarray
    influence: np.ndarray
    kinds: np.ndarray


def permuted_areas(values: np.ndarray, kinds: np.ndarray, members: np.ndarray) -> Permuted:
    """AUROCs under labels of whole groups.

    Args:
        values: scores without NaN, (c, n).
        kinds: which groups are memorized, (P, K), equally many in every row.
        members: group of every sample, (n,), numbers from 0 on.
    """
    kinds = np.ascontiguousarray(kinds.T)
    by_group = np.argsort(members, kind="stable")
    sizes = np.bincount(members, minlength=len(kinds))
    starts, size = np.cumsum(sizes) - sizes, sizes[:, None]
    negative = ~kinds[members]
    m, n = np.sum(~negative, axis=0), np.sum(negative, axis=0)
    factors = [np.sqrt(count / (count - 1)) for count in (int(kinds[:, 0].sum()), int((~kinds[:, 0]).sum()))]
    estimates, influence = [], []
    for row in values:
        order = np.argsort(row, kind="stable")
        first, last = (np.searchsorted(row[order], row[by_group], side) for side in ("left", "right"))
        below = np.zeros((len(row) + 1, kinds.shape[1]), dtype=np.int32)
        np.cumsum(negative[order], axis=0, out=below[1:])
        under = np.add.reduceat(below[first] + below[last], starts, axis=0) / 2  # U
        ranks = np.add.reduceat(first + last, starts)[:, None] / 2  # R
        area = np.sum(under, axis=0, where=kinds) / (m * n)
        above, passed = under / n - size * area, size * (1 - area) - (ranks - under) / m
        estimates.append(area)
        influence.append(np.where(kinds, above * (factors[0] / m), passed * (factors[1] / n)))
    return Permuted(np.stack(estimates), np.stack(influence), kinds)


def chance(found: Permuted) -> np.ndarray:
    """`Areas.chance` of every labelling, (c, P)."""
    return covariance.chance_of_area(found.estimates, *_spread(found.influence, found.kinds))


def chance_of_difference(found: Permuted) -> np.ndarray:
    """`Areas.chance_of_difference` between the first c and the last c of 2c scores, (c, P)."""
    half = len(found.estimates) // 2
    gap, influence = (part[:half] - part[half:] for part in (found.estimates, found.influence))
    error, freedom, _ = _spread(influence, found.kinds)
    return covariance.chance_of_gap(gap, error, freedom)


def _spread(influence: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Standard errors and Welch's degrees of freedom, each (c, P), and the number of groups of either class."""
    squares, counts = influence**2, (int(kinds[:, 0].sum()), int((~kinds[:, 0]).sum()))
    first, second = (np.sum(squares, axis=1, where=mask) for mask in (kinds, ~kinds))
    return np.sqrt(first + second), covariance.welch(first, second, counts), counts
