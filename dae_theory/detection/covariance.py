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
import scipy.special
import scipy.stats
from flax import struct
from jaxtyping import Float

from dae_theory.detection import roc
from dae_theory.detection.selection import ranked
from dae_theory.detection.splits import groups_of, labels_of


@struct.dataclass
class Areas:
    """AUROCs of c scores of the same samples.

    Attributes:
        estimates: A, (c,).
        influence: G, one row a group, (K, c).
        freedom: Degrees of freedom of each standard error, (c,): Welch's, from the groups of either class.
        counts: (K⁺, K⁻), groups with memorized samples and with others.
    """

    estimates: Float[np.ndarray, " c"]
    influence: Float[np.ndarray, "k c"]
    freedom: Float[np.ndarray, " c"]
    counts: tuple[int, int]

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
        vanishes, Clopper and Pearson's bound for min(K⁺, K⁻) successes without a failure.
        """
        roc.check_level(level)
        area, error = float(self.estimates[row]), float(self.standard_errors[row])
        if area in (0.0, 1.0):
            bound = float(((1 - level) / 2) ** (1 / min(self.counts)))
            ends = (bound, 1.0) if area == 1 else (0.0, 1 - bound)
            return roc.Interval(estimate=area, low=ends[0], high=ends[1], standard_error=error)
        if error == 0:  # all scores tie: ½ whatever the sample
            return roc.Interval(estimate=area, low=area, high=area, standard_error=error)
        reach = _reach(level, self.freedom[row]) * error / (area * (1 - area))
        low, high = scipy.special.expit(scipy.special.logit(area) + np.array([-reach, reach]))
        return roc.Interval(estimate=area, low=float(low), high=float(high), standard_error=error)

    def chance(self) -> np.ndarray:
        """How improbable each AUROC is at ½: one minus the level at which its `interval` ends there, (c,)."""
        area, error = self.estimates, self.standard_errors
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(scipy.special.logit(area)) * area * (1 - area) / error
            found = 2 * scipy.stats.t.sf(ratio, self.freedom)
        found = np.where((area == 0) | (area == 1), 2.0 ** (1 - min(self.counts)), found)
        return np.where(area == 0.5, 1.0, found)

    def difference(self, row: int, other: int, *, level: float = 0.95) -> roc.Interval:
        """A_row − A_other with the paired standard error √(cov_rr + cov_oo − 2 cov_ro), by Student's t."""
        roc.check_level(level)
        gap = float(self.estimates[row] - self.estimates[other])
        error = float(np.linalg.norm(self.influence[:, row] - self.influence[:, other]))
        reach = _reach(level, min(self.freedom[row], self.freedom[other])) * error
        return roc.Interval(estimate=gap, low=gap - reach, high=gap + reach, standard_error=error)


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
        raise ValueError(f"scores must have shape (c, {labels.size}) for as many labels; got {values.shape}")
    members = groups_of(groups, labels.size)
    m, n = int(labels.sum()), int((~labels).sum())
    counts = (len(np.unique(members[labels])), len(np.unique(members[~labels])))
    if min(counts) < 2:
        raise ValueError(
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
    variances = [np.sum(part**2, axis=0) for part in parts]
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (variances[0] + variances[1]) ** 2 / (
            variances[0] ** 2 / (counts[0] - 1) + variances[1] ** 2 / (counts[1] - 1)
        )
    return Areas(estimates=estimates, influence=parts[0] + parts[1], freedom=freedom, counts=counts)


def placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive, (c, m), and of positives above each negative, (c, n); ties ½."""
    m, n = positive.shape[-1], negative.shape[-1]
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative], axis=-1), axis=-1)
    above = (ranks[..., :m] - scipy.stats.rankdata(positive, axis=-1)) / n
    below = 1 - (ranks[..., m:] - scipy.stats.rankdata(negative, axis=-1)) / m
    return above, below
