"""How well a score tells positives from negatives: AUROC, TPR at a fixed FPR, and their uncertainty.

AUROC = P(s⁺ > s⁻) + ½ P(s⁺ = s⁻). It is a rank statistic, ties count ½, and it is never flipped: 0.2 means that the
score points the wrong way. Everything here is NumPy, for reporting; nothing runs under jit.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.special
import scipy.stats
from flax import struct
from jaxtyping import Array

from dae_theory import checks
from dae_theory.checks import Refusal

_RESAMPLED_AT_ONCE = 2**22


@struct.dataclass
class Interval:
    """An estimate with a two-sided interval.

    Attributes:
        estimate: The value on the data.
        low, high: Ends of the interval.
        standard_error: Its standard error.
    """

    estimate: float
    low: float
    high: float
    standard_error: float


def _scores(name: str, values: Any) -> np.ndarray:
    """Scores (..., n) as NumPy; empty ones and NaN are refused, infinite ones rank like any other."""
    result = np.asarray(values, dtype=float)
    if result.ndim == 0 or result.size == 0:
        raise Refusal(f"{name} must be a non-empty array of scores; got shape {result.shape}")
    undefined = np.count_nonzero(np.isnan(result))
    if undefined:
        raise Refusal(f"{name} must not hold NaN; got {undefined} undefined scores of {result.size}")
    return result


def _vector(name: str, values: Any) -> np.ndarray:
    result = _scores(name, values)
    if result.ndim != 1:
        raise Refusal(f"{name} must have one axis; got shape {result.shape}")
    return result


def check_level(level: float) -> None:
    """Refuse a level outside (0, 1)."""
    if not 0 < level < 1:
        raise Refusal(f"level must be in (0, 1); got {level}")


def auroc(positive: Any, negative: Any) -> Any:
    """Area under the ROC curve, P(s⁺ > s⁻) + ½ P(s⁺ = s⁻), from ranks; never flipped.

    Args:
        positive: Scores of memorized samples, (..., m).
        negative: Scores of the others, (..., n), the same leading axes.

    Raises:
        ValueError: `positive` or `negative` is empty or holds NaN.

    >>> from dae_theory import detection
    >>> print(detection.auroc([3.0, 2.0], [2.0, 1.0]))
    0.875
    """
    positive, negative = _scores("positive", positive), _scores("negative", negative)
    m, n = positive.shape[-1], negative.shape[-1]
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative], axis=-1), axis=-1)
    return (ranks[..., :m].sum(axis=-1) - m * (m + 1) / 2) / (m * n)


def threshold_at_fpr(negative: Any, fpr: float = 0.01) -> Any:
    """The (1 − fpr) quantile of the negatives, the next order statistic above where it falls between two.

    A score fires when it is *above* the threshold, so at most the share fpr of these negatives does. With fewer than
    1/fpr negatives the threshold is their maximum.

    Raises:
        ValueError: `negative` is empty or holds NaN, or `fpr` is outside (0, 1).
    """
    if not 0 < fpr < 1:
        raise Refusal(f"fpr must be in (0, 1); got {fpr}")
    return np.quantile(_scores("negative", negative), 1 - fpr, axis=-1, method="higher")


def tpr_at_fpr(positive: Any, negative: Any, fpr: float = 0.01) -> Any:
    """Share of the positives above `threshold_at_fpr` of the negatives.

    Other conventions are in use (interpolated quantiles; the best point of the ROC curve with FPR ≤ fpr; an
    interpolated curve) and differ when negatives are few. A threshold fitted and reported on the same negatives is
    optimistic: `evaluate` uses two splits.

    Raises:
        ValueError: As `auroc` and `threshold_at_fpr`.

    >>> import numpy as np
    >>> from dae_theory import detection
    >>> print(detection.tpr_at_fpr([98.5, 120.0], np.arange(100.0), fpr=0.01))
    0.5
    """
    threshold = np.asarray(threshold_at_fpr(negative, fpr))
    return np.mean(_scores("positive", positive) > threshold[..., None], axis=-1)


def bootstrap_interval(
    key: Array,
    positive: Any,
    negative: Any,
    statistic: Callable[[np.ndarray, np.ndarray], Any] = auroc,
    *,
    level: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Percentile bootstrap of a statistic of positives and negatives, each resampled among themselves.

    A perfectly separating score has AUROC 1 in every resample, so its interval has no width: with m positives and n
    negatives that is a statement about these samples only.

    Args:
        key: A typed key.
        positive: Scores of memorized samples, (m,).
        negative: Scores of the others, (n,).
        statistic: From (..., m) and (..., n) to (...): `auroc`, `tpr_at_fpr`, your own.
        level: Level of the interval, two-sided.
        resamples: Number of resamples.

    Raises:
        ValueError: As `auroc`; `key`, `level` or `resamples` is not what is described above.

    >>> import jax
    >>> from dae_theory import detection
    >>> interval = detection.bootstrap_interval(jax.random.key(0), [3.0, 2.0, 5.0], [2.5, 1.0, 0.0])
    >>> print(round(interval.estimate, 3), interval.low < interval.estimate <= interval.high)
    0.889 True
    """
    checks.typed_key("key", key)
    check_level(level)
    resamples = checks.integer("resamples", resamples, 2)
    positive, negative = _vector("positive", positive), _vector("negative", negative)
    size = max(1, _RESAMPLED_AT_ONCE // (positive.size + negative.size))
    draws = []
    for part, start in enumerate(range(0, resamples, size)):
        first, second = jax.random.split(jax.random.fold_in(key, part))
        count = min(size, resamples - start)
        chosen = np.asarray(jax.random.randint(first, (count, positive.size), 0, positive.size))
        others = np.asarray(jax.random.randint(second, (count, negative.size), 0, negative.size))
        draws.append(np.asarray(statistic(positive[chosen], negative[others])))
    values = np.concatenate(draws)
    tail = (1 - level) / 2
    return Interval(
        estimate=float(statistic(positive, negative)),
        low=float(np.quantile(values, tail)),
        high=float(np.quantile(values, 1 - tail)),
        standard_error=float(values.std(ddof=1)),
    )


def _placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive, and of positives above each negative; ties ½."""
    m, n = positive.size, negative.size
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[:m] - scipy.stats.rankdata(positive)) / n
    below = 1 - (ranks[m:] - scipy.stats.rankdata(negative)) / m
    return above, below


def _variance(above: np.ndarray, below: np.ndarray) -> float:
    if min(above.size, below.size) < 2:
        return float("nan")
    return float(above.var(ddof=1) / above.size + below.var(ddof=1) / below.size)


def delong_interval(positive: Any, negative: Any, *, level: float = 0.95) -> Interval:
    """AUROC with DeLong's standard error; the interval is taken on the logit scale, so it stays inside (0, 1).

    var = var(V⁺)/m + var(V⁻)/n, with V⁺_i the share of negatives below positive i and V⁻_j the share of positives above
    negative j. At AUROC 0 or 1 both variances vanish and the interval has no width.

    Raises:
        ValueError: As `auroc`; fewer than two `positive` or `negative` scores; `level` is outside (0, 1).
    """
    check_level(level)
    positive, negative = _vector("positive", positive), _vector("negative", negative)
    for name, values in (("positive", positive), ("negative", negative)):
        if values.size < 2:
            raise Refusal(f"{name} must hold at least two scores; got {values.size}")
    above, below = _placements(positive, negative)
    area, error = float(above.mean()), float(np.sqrt(_variance(above, below)))
    if error == 0:
        return Interval(estimate=area, low=area, high=area, standard_error=error)
    reach = scipy.special.ndtri((1 + level) / 2) * error / (area * (1 - area))
    low, high = scipy.special.expit(scipy.special.logit(area) + np.array([-reach, reach]))
    return Interval(estimate=area, low=float(low), high=float(high), standard_error=error)


def delong_difference(first: tuple[Any, Any], second: tuple[Any, Any], *, level: float = 0.95) -> Interval:
    """AUROC(first) − AUROC(second) for two scores of the *same* samples, with DeLong's paired standard error.

    Args:
        first: (positive, negative) scores.
        second: (positive, negative) of another score, the samples in the same order.
        level: Level of the interval, two-sided, by the normal approximation.

    Raises:
        ValueError: As `delong_interval`, or `second` has other numbers of samples than `first`.
    """
    check_level(level)
    pairs = [[_vector(name, scores) for scores in pair] for name, pair in (("first", first), ("second", second))]
    if [scores.size for scores in pairs[0]] != [scores.size for scores in pairs[1]]:
        raise Refusal(f"second must score the same samples as first; got {[s.size for s in pairs[1]]}")
    if min(scores.size for scores in pairs[0]) < 2:
        raise Refusal(f"first must hold at least two scores of either class; got {[s.size for s in pairs[0]]}")
    (above, below), (other_above, other_below) = _placements(*pairs[0]), _placements(*pairs[1])
    gap = float(above.mean() - other_above.mean())
    error = float(np.sqrt(_variance(above - other_above, below - other_below)))
    reach = float(scipy.special.ndtri((1 + level) / 2)) * error
    return Interval(estimate=gap, low=gap - reach, high=gap + reach, standard_error=error)
