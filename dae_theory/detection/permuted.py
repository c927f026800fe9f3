"""AUROCs, and what they gain on a baseline, under permuted labels: how improbable the best of a table is by chance.

As `covariance`, with an axis of permutations. Scores are sorted once; for labels in that order the positives and
negatives below each sample are cumulated counts, so a permutation costs no sorting.
"""

from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats


class Permuted(NamedTuple):
    """AUROCs of c scores under P labellings.

    Attributes:
        estimates: A, (P, c).
        positive, negative: the parts of G of `Areas`, (P, K, c).
        counts: (K⁺, K⁻), groups of either class, the same in every labelling.
    """

    estimates: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    counts: tuple[int, int]


def permuted_areas(values: np.ndarray, kinds: np.ndarray, members: np.ndarray) -> Permuted:
    """AUROCs under labels of whole groups.

    Args:
        values: scores without NaN, (c, n).
        kinds: which groups are memorized, (P, K), equally many in every row.
        members: group of every sample, (n,), numbers from 0 on.
    """
    by_group = np.argsort(members, kind="stable")
    starts = np.searchsorted(members[by_group], np.arange(kinds.shape[1]))
    labels = kinds[:, members]
    counts = int(kinds[0].sum()), int((~kinds[0]).sum())
    sizes = labels.sum(axis=1, keepdims=True), (~labels).sum(axis=1, keepdims=True)
    factors = [np.sqrt(count / (count - 1)) for count in counts]
    estimates, parts = [], ([], [])
    for row in values:
        order = np.argsort(row, kind="stable")
        first, last = (np.searchsorted(row[order], row, side) for side in ("left", "right"))
        below = np.zeros((len(kinds), len(row) + 1))
        np.cumsum(~labels[:, order], axis=1, out=below[:, 1:])
        under = (below[:, first] + below[:, last]) / 2  # negatives below, ties ½
        ranks = (first + last) / 2  # samples below
        above = under / sizes[1]  # V⁺ of positives
        passed = 1 - (ranks[None] - under) / sizes[0]  # V⁻ of negatives
        area = np.sum(above * labels, axis=1, keepdims=True) / sizes[0]
        estimates.append(area[:, 0])
        for part, mask, share, size, factor in zip(
            parts, (labels, ~labels), (above, passed), sizes, factors, strict=True
        ):
            moved = np.where(mask, (share - area) / size, 0.0)
            part.append(np.add.reduceat(moved[:, by_group], starts, axis=1) * factor)
    return Permuted(np.stack(estimates, axis=1), np.stack(parts[0], axis=2), np.stack(parts[1], axis=2), counts)


def chance(found: Permuted) -> np.ndarray:
    """One minus the level at which each interval of `Areas.interval` ends at ½, (P, c)."""
    area = found.estimates
    error, freedom = _spread(found.positive, found.negative, found.counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(scipy.special.logit(area)) * area * (1 - area) / error
        probable = 2 * scipy.stats.t.sf(ratio, freedom)
    separated = 2 / scipy.special.binom(sum(found.counts), found.counts[0])
    probable = np.where((area == 0) | (area == 1), min(1.0, separated), probable)
    return np.where(area == 0.5, 1.0, probable)


def chance_of_difference(found: Permuted) -> np.ndarray:
    """The same of `Areas.difference` and 0, between the first c and the last c of 2c scores, (P, c)."""
    half = found.estimates.shape[1] // 2
    gap = found.estimates[:, :half] - found.estimates[:, half:]
    positive, negative = (part[..., :half] - part[..., half:] for part in (found.positive, found.negative))
    error, freedom = _spread(positive, negative, found.counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(np.arctanh(gap)) * (1 - gap**2) / error
        probable = 2 * scipy.stats.t.sf(ratio, freedom)
    return np.where((error == 0) | (gap == 0), np.where(gap == 0, 1.0, 0.0), probable)


def _spread(positive: np.ndarray, negative: np.ndarray, counts: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors and Welch's degrees of freedom, each (P, c)."""
    first, second = (np.sum(part**2, axis=1) for part in (positive, negative))
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (first + second) ** 2 / (first**2 / (counts[0] - 1) + second**2 / (counts[1] - 1))
    return np.sqrt(np.sum((positive + negative) ** 2, axis=1)), freedom
