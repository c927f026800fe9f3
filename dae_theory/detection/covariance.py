"""AUROCs of many scores of the same samples together: their covariance, by sample or by group, and its intervals.

With V⁺_i the share of negatives below positive i, V⁻_j the share of positives above negative j (ties ½) and A their
mean, sample i moves A by (V⁺_i − A)/m, sample j by (V⁻_j − A)/n. Crops of one image, pictures of one person belong
together: what moves A independently is the sum over a group. With G_k the sum of group k, its positive part times
√(K⁺/(K⁺ − 1)) and its negative part times √(K⁻/(K⁻ − 1)), K± the number of groups with such samples,

    cov(A) = Σ_k G_k G_kᵀ:

DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) where every sample is its own group; Obuchowski, Biometrics 53
(1997) for groups, whose factor for groups with both classes, K/(K − 1), is here the geometric mean of the two.
"""

from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from flax import struct
from jaxtyping import Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.detection import roc
from dae_theory.detection.selection import ranked
from dae_theory.detection.splits import groups_of, labels_of


@struct.dataclass
class Areas:
    """AUROCs of c scores of the same samples.

    Attributes:
        estimates: A, (c,).
        positive, negative: The two parts of G, one row a group, (K, c).
        counts: (K⁺, K⁻), groups with memorized samples and with others.
    """

    estimates: Float[np.ndarray, " c"]
    positive: Float[np.ndarray, "k c"]
    negative: Float[np.ndarray, "k c"]
    counts: tuple[int, int]

    @property
    def influence(self) -> np.ndarray:
        """G, (K, c)."""
        return self.positive + self.negative

    @property
    def freedom(self) -> np.ndarray:
        """Degrees of freedom of each standard error, (c,): Welch's, from the groups of either class."""
        return welch(np.sum(self.positive**2, axis=0), np.sum(self.negative**2, axis=0), self.counts)

    @property
    def covariance(self) -> np.ndarray:
        """Σ_k G_k G_kᵀ, (c, c)."""
        return self.influence.T @ self.influence

    @property
    def standard_errors(self) -> np.ndarray:
        """√diag cov(A), (c,); 0 for a score that separates the samples."""
        return np.sqrt(np.sum(self.influence**2, axis=0))

    def interval(self, row: int, *, level: float = 0.95) -> roc.Interval:
        """Interval of one AUROC: symmetric on the logit, by Student's t; at AUROC 0 and 1, where the standard error
        vanishes, `separating_bound`.
        """
        roc.check_level(level)
        area, error = float(self.estimates[row]), float(self.standard_errors[row])
        if area in (0.0, 1.0):
            bound = separating_bound(*self.counts, level=level)
            ends = (bound, 1.0) if area == 1 else (0.0, 1 - bound)
            return roc.Interval(estimate=area, low=ends[0], high=ends[1], standard_error=error)
        if error == 0:  # all scores tie: ½ whatever the sample
            return roc.Interval(estimate=area, low=area, high=area, standard_error=error)
        reach = _reach(level, self.freedom[row]) * error / (area * (1 - area))
        low, high = scipy.special.expit(scipy.special.logit(area) + np.array([-reach, reach]))
        return roc.Interval(estimate=area, low=float(low), high=float(high), standard_error=error)

    def chance(self) -> np.ndarray:
        """How improbable each AUROC is at ½: one minus the level at which its `interval` ends there, (c,)."""
        return chance_of_area(self.estimates, self.standard_errors, self.freedom, self.counts)

    def difference(self, row: int, other: int, *, level: float = 0.95) -> roc.Interval:
        """A_row − A_other = δ with the paired standard error s = √(cov_rr + cov_oo − 2 cov_ro), by Student's t,
        symmetric in artanh δ, whose standard error is s/(1 − δ²): so it stays inside (−1, 1).
        """
        roc.check_level(level)
        gap, error, freedom = self._gap(row, other)
        if error == 0:
            return roc.Interval(estimate=gap, low=gap, high=gap, standard_error=error)
        reach = _reach(level, freedom) * error / (1 - gap**2)
        low, high = np.tanh(np.arctanh(gap) + np.array([-reach, reach]))
        return roc.Interval(estimate=gap, low=float(low), high=float(high), standard_error=error)

    def chance_of_difference(self, row: int, other: int) -> float:
        """How improbable a difference is at 0: one minus the level at which its interval ends there."""
        return float(chance_of_gap(*(np.asarray(number) for number in self._gap(row, other))))

    def _gap(self, row: int, other: int) -> tuple[float, float, float]:
        """A difference, its paired standard error and degrees of freedom."""
        first, second = (part[:, row] - part[:, other] for part in (self.positive, self.negative))
        freedom = float(welch(np.sum(first**2), np.sum(second**2), self.counts))
        return float(self.estimates[row] - self.estimates[other]), float(np.linalg.norm(first + second)), freedom


def separating_bound(memorized: int, others: int, *, level: float = 0.95) -> float:
    """Lower end of the interval of an AUROC of 1: where so perfect a separation has the probability (1 − level)/2.

    Of exponential scores with AUROC A = r/(1 + r), Hanley and McNeil's, all n others are below all m memorized ones
    with probability Π_{j ≤ n} j r/(j r + m); at A = ½ that is 1/C(m + n, m), true of scores of any kind. The lower of
    the two ends that this gives with the classes in either role.

    Args:
        memorized, others: m and n, samples or groups.
        level: Level of the interval, two-sided.

    Raises:
        ValueError: `memorized` or `others` is not a positive integer, or `level` is outside (0, 1).

    >>> from dae_theory import detection
    >>> detection.separating_bound(3, 3) < 0.5 < detection.separating_bound(4, 4)
    True
    """
    m, n = checks.integer("memorized", memorized, 1), checks.integer("others", others, 1)
    roc.check_level(level)

    def bound(above: int, below: int) -> float:
        steps = np.arange(1, below + 1)

        def excess(logit: float) -> float:
            return float(-np.sum(np.log1p(above * np.exp(-logit) / steps)) - np.log((1 - level) / 2))

        return float(scipy.special.expit(scipy.optimize.root_scalar(excess, bracket=(-40.0, 40.0)).root))

    return min(bound(m, n), bound(n, m))


def welch(first: Any, second: Any, counts: tuple[int, int]) -> Any:
    """Degrees of freedom of a sum of two variances, each estimated from as many groups as `counts` says."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (first + second) ** 2 / (first**2 / (counts[0] - 1) + second**2 / (counts[1] - 1))


def chance_of_area(area: np.ndarray, error: np.ndarray, freedom: np.ndarray, counts: tuple[int, int]) -> np.ndarray:
    """One minus the level at which `Areas.interval` ends at ½: 2P(T > |logit A| A(1 − A)/s), T Student's."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(scipy.special.logit(area)) * area * (1 - area) / error
        found = 2 * scipy.stats.t.sf(ratio, freedom)
    found = np.where(error == 0, 0.0, found)
    separated = min(1.0, 2 / scipy.special.binom(sum(counts), counts[0]))
    return np.where(area == 0.5, 1.0, np.where((area == 0) | (area == 1), separated, found))


def chance_of_gap(gap: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """One minus the level at which `Areas.difference` ends at 0: 2P(T > |artanh δ|(1 − δ²)/s)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 2 * scipy.stats.t.sf(np.abs(np.arctanh(gap)) * (1 - gap**2) / error, freedom)
    return np.where(gap == 0, 1.0, np.where(error == 0, 0.0, found))


def _reach(level: float, freedom: float) -> float:
    return float(scipy.stats.t.ppf((1 + level) / 2, freedom)) if np.isfinite(freedom) else float("nan")


def areas(scores: Any, memorized: Any, *, groups: Any = None) -> Areas:
    """AUROCs of c scores of the same n samples, with what their covariance is made of.

    Args:
        scores: (c, n); an undefined score ranks lowest, as it never fires.
        memorized: Labels, (n,).
        groups: What samples belong to, (n,), any values; each its own when None.

    Raises:
        ValueError: `scores`, `memorized` and `groups` do not fit; fewer than two groups hold samples of a class.
    """
    labels = labels_of(memorized)
    values = ranked(scores)
    if values.ndim != 2 or values.shape[1] != labels.size or not len(values):
        raise Refusal(f"scores must have shape (c, {labels.size}) for as many labels; got {values.shape}")
    members = groups_of(groups, labels.size)
    m, n = int(labels.sum()), int((~labels).sum())
    counts = (len(np.unique(members[labels])), len(np.unique(members[~labels])))
    if min(counts) < 2:
        raise Refusal(
            f"memorized must leave at least two {'samples' if groups is None else 'groups'} of either class; "
            f"got (memorized, others) {counts}"
        )
    above, below = placements(values[:, labels], values[:, ~labels])
    estimates = above.mean(axis=1)
    parts = []
    for part, mask, size, count in ((above, labels, m, counts[0]), (below, ~labels, n, counts[1])):
        moved = np.zeros((int(members.max()) + 1, len(values)))
        own = (part - estimates[:, None]).T / size
        if groups is None:
            moved[members[mask]] = own
        else:
            np.add.at(moved, members[mask], own)
        parts.append(moved * np.sqrt(count / (count - 1)))
    return Areas(estimates=estimates, positive=parts[0], negative=parts[1], counts=counts)


def placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive, (c, m), and of positives above each negative, (c, n); ties ½."""
    m, n = positive.shape[-1], negative.shape[-1]
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative], axis=-1), axis=-1)
    above = (ranks[..., :m] - scipy.stats.rankdata(positive, axis=-1)) / n
    below = 1 - (ranks[..., m:] - scipy.stats.rankdata(negative, axis=-1)) / m
    return above, below
