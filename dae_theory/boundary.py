"""Where a measured quantity crosses a level along one axis, with a bootstrap band over replicates.

The mean of R replicates drawn again from R spreads by only √((R − 1)/R) of the standard error, and knows nothing of
Student's law. So resampled means m* are moved away from the mean m before they are read,

    m + (m* − m) √(R/(R − 1)) t_q/z_q,      q = (1 + coverage)/2,

t_q of R − 1 degrees of freedom: 2.7 times as far at R = 3, 1.3 times at R = 8.
"""

from typing import Any

import jax
import numpy as np
import scipy.special
from flax import struct
from jaxtyping import Array, Key

from dae_theory import checks
from dae_theory.checks import Refusal


@struct.dataclass
class Crossing:
    """A boundary located along an axis.

    Attributes:
        location: where the mean over replicates first falls through the level; NaN if it never does.
        low: lower end of the interval of the location over resampled replicates.
        high: upper end.
        found: share of resamples in which there is a crossing at all; the interval is over those.
    """

    location: float
    low: float
    high: float
    found: float


def crossing(positions: Any, values: Any, level: float, *, below: float | None = None) -> float:
    """First position where the values fall from ≥ level to below it, between points linear in log(position).

    A curve that only grazes the level has no boundary: where `below` is given, it must later reach at most that value.

    Args:
        positions: increasing, positive, (N,).
        values: (N,); NaN marks a cell without a value and is left out.
        level: what the curve falls through.
        below: a lower value that it must reach afterwards, if any.

    Returns:
        The position; NaN when the values never fall through the level. They may start below it and rise first.

    Raises:
        ValueError: positions that do not increase or are not positive, or shapes that differ.

    >>> from dae_theory import boundary
    >>> print(round(boundary.crossing([4, 16, 64], [0.8, 0.6, 0.4], 0.5), 6))
    32.0
    """
    positions, values = np.asarray(positions, float), np.asarray(values, float)
    if positions.ndim != 1 or np.any(positions <= 0) or np.any(np.diff(positions) <= 0):
        raise Refusal(f"positions must be positive and increasing; got {positions.tolist()}")
    checks.shape("values", values, positions.shape)
    present = np.isfinite(values)
    return float(_falls(np.log(positions[present]), values[present] - level, None if below is None else below - level))


def _falls(where: np.ndarray, height: np.ndarray, below: float | None) -> np.ndarray:
    """Where curves (..., N) without missing values first fall through zero, and later to `below`; NaN elsewhere."""
    falling = (height[..., :-1] >= 0) & (height[..., 1:] < 0)
    if not falling.any():
        return np.full(height.shape[:-1], np.nan)
    i = np.argmax(falling, axis=-1)[..., None]
    above, under = (np.take_along_axis(height, place, axis=-1)[..., 0] for place in (i, i + 1))
    fallen = falling.any(axis=-1)
    if below is not None:
        fallen &= np.min(np.where(np.arange(height.shape[-1]) >= i, height, np.inf), axis=-1) <= below
    share = np.where(fallen, above, 0) / np.where(fallen, above - under, 1)
    start, stop = (where[place[..., 0]] for place in (i, i + 1))
    return np.where(fallen, np.exp(start + share * (stop - start)), np.nan)


def locate(
    key: Key[Array, ""],
    positions: Any,
    replicates: Any,
    level: float,
    *,
    below: float | None = None,
    coverage: float = 0.95,
    resamples: int = 1000,
) -> Crossing:
    """The crossing of the replicates' mean, and its band from resampling the replicates.

    Args:
        key: typed key of the resampling.
        positions: (N,), increasing and positive.
        replicates: (R, N), R ≥ 2 replicates of the curve.
        level: the level that the curve falls through.
        below: a lower value that it must reach afterwards, see `crossing`.
        coverage: of the interval.
        resamples: bootstrap resamples.

    Raises:
        ValueError: fewer than two replicates, or what `crossing` refuses.

    >>> import jax
    >>> from dae_theory import boundary
    >>> curves = [[0.9, 0.8, 0.2, 0.1], [0.9, 0.6, 0.2, 0.1], [1.0, 0.7, 0.3, 0.0]]
    >>> found = boundary.locate(jax.random.key(0), [2, 4, 8, 16], curves, 0.5)
    >>> print(round(found.location, 2), found.low <= found.location <= found.high, found.found)
    5.38 True 1.0
    """
    checks.typed_key("key", key)
    replicates = np.asarray(replicates, float)
    if replicates.ndim != 2 or len(replicates) < 2:
        raise Refusal(f"replicates must have shape (R ≥ 2, N); got {replicates.shape}")
    if not 0 < coverage < 1:
        raise Refusal(f"coverage must be in (0, 1); got {coverage}")
    positions, rows = np.asarray(positions, float), len(replicates)
    picked = np.asarray(jax.random.randint(key, (checks.integer("resamples", resamples, 1), rows), 0, rows))
    mean, spread = replicates.mean(axis=0), _spread(rows, coverage)
    location = crossing(positions, mean, level, below=below)
    present = np.isfinite(mean)  # a position where any replicate is missing is missing
    resampled = replicates[picked].mean(axis=1)[:, present]
    curves = mean[present] + spread * (resampled - mean[present])
    found = _falls(np.log(positions[present]), curves - level, None if below is None else below - level)
    kept = found[np.isfinite(found)]
    low, high = np.quantile(kept, [(1 - coverage) / 2, (1 + coverage) / 2]) if kept.size else (np.nan, np.nan)
    return Crossing(location, float(low), float(high), kept.size / len(found))


def _spread(replicates: int, coverage: float) -> float:
    """√(R/(R − 1)) t_q/z_q."""
    end = (1 + coverage) / 2
    student = scipy.special.stdtrit(replicates - 1, end) / scipy.special.ndtri(end)
    return float(np.sqrt(replicates / (replicates - 1)) * student)
