"""[X13] When a run generalizes and when it memorizes, read off its curves; runs that never do are censored.

- τ_gen: the first time at which the test loss is within 5 % of its lowest value.
- τ_mem: the first time after the minimum of the index D_gt/(D_gt + D_emp) at which it crosses ½.

Between records a curve is linear in log t. NumPy: these are readings of finished runs, not differentiable.
"""

from typing import Any

import numpy as np
from flax import struct
from jaxtyping import Bool, Float

from dae_theory import checks
from dae_theory.checks import Refusal


@struct.dataclass
class Times:
    """A time of every run, in the unit of the times given; at most one of the two flags is set.

    Attributes:
        time: the time, or the bound that the flags speak of; NaN where a curve holds no number at all.
        censored: the event was not seen: it comes later than `time`.
        early: the event lies before what was seen: at or before `time`.
    """

    time: Float[np.ndarray, "*runs"]
    censored: Bool[np.ndarray, "*runs"]
    early: Bool[np.ndarray, "*runs"]


def generalizing_time(times: Any, test_loss: Any, *, share: float = 0.05, margin: float = 2.0) -> Times:
    """τ_gen: the first time at which the test loss is at most (1 + share) times its lowest.

    A loss that is lowest at its last record may still fall, and its own τ_gen with it rise: unless it was already that
    near to its lowest for a factor `margin` in time, the run is censored at the time found.

    Args:
        times: increasing, positive, (T,).
        test_loss: positive losses, (..., T). NaN marks a record without a value and is left out.
        share: ≥ 0, of the lowest loss.
        margin: ≥ 1, the factor in time.

    Returns:
        Times of shape (...); `early` where the first record is already that near, and the run is not censored.

    Raises:
        ValueError: times that do not increase or are not positive, shapes that differ, losses ≤ 0, or numbers out of
            range.

    >>> from dae_theory import dynamics
    >>> found = dynamics.generalizing_time([1.0, 10.0, 100.0, 1000.0], [2.0, 1.0, 0.5, 0.7])
    >>> print(found.time.round(1), found.censored, found.early)
    89.1 False False
    """
    times, losses = _curves(times, "test_loss", test_loss)
    checks.non_negative("share", share)
    if not margin >= 1:
        raise Refusal(f"margin must be ≥ 1; got {margin}")
    if np.any(losses <= 0):
        raise Refusal(f"test_loss must be > 0; got {np.nanmin(losses)}")

    def read(when: np.ndarray, loss: np.ndarray) -> tuple[float, bool, bool]:
        level = (1 + share) * loss.min()
        first = int(np.argmax(loss <= level))
        time = _between(when, loss, first, level) if first else float(when[0])
        falling = bool(loss[-1] == loss.min() and time * margin > when[-1])
        return time, falling, first == 0 and not falling

    return _each(read, times, losses)


def memorizing_time(times: Any, index: Any, *, level: float = 0.5, below: float | None = None) -> Times:
    """τ_mem: the first time after the curve's minimum at which it reaches `level`.

    For the index level ½; for a memorized rate minus its null ½ as well. A run that never reaches it
    is censored at its last record; one whose minimum is not below the level never generalizes, and is `early` at the
    time of its minimum.

    Args:
        times: increasing, positive, (T,).
        index: (..., T). NaN marks a record without a value and is left out: a run that diverges is censored at the last
            record before.
        level: what is crossed.
        below: what the minimum must reach at least, if anything: a run that never comes down to it has no generalizing
            phase to end, and its time is NaN.

    Returns:
        Times of shape (...).

    Raises:
        ValueError: times that do not increase or are not positive, or shapes that differ.

    >>> from dae_theory import dynamics
    >>> found = dynamics.memorizing_time([1.0, 10.0, 100.0], [[0.6, 0.4, 0.6], [0.6, 0.4, 0.45]])
    >>> print(found.time.round(1), found.censored)  # the second never does, up to its last record
    [ 31.6 100. ] [False  True]
    """
    times, curves = _curves(times, "index", index)
    checks.finite("level", level)
    if below is not None and not below <= level:
        raise Refusal(f"below must be at most level = {level}; got {below}")

    def read(when: np.ndarray, curve: np.ndarray) -> tuple[float, bool, bool]:
        lowest = int(np.argmin(curve))
        if below is not None and curve[lowest] > below:
            return np.nan, False, False
        if curve[lowest] >= level:
            return when[lowest], False, True
        above = np.flatnonzero(curve[lowest:] >= level)
        if above.size == 0:
            return when[-1], True, False
        return _between(when, curve, lowest + int(above[0]), level), False, False

    return _each(read, times, curves)


def _between(when: np.ndarray, curve: np.ndarray, index: int, level: float) -> float:
    """Where the curve meets the level between records index − 1 and index, linear in log t."""
    part = (level - curve[index - 1]) / (curve[index] - curve[index - 1])
    low, high = np.log(when[index - 1]), np.log(when[index])
    return float(np.exp(low + part * (high - low)))


def _each(read: Any, times: np.ndarray, curves: np.ndarray) -> Times:
    found = []
    for curve in curves.reshape(-1, times.size):
        present = np.isfinite(curve)
        found.append(read(times[present], curve[present]) if present.any() else (np.nan, False, False))
    time, censored, early = (np.asarray(values).reshape(curves.shape[:-1]) for values in zip(*found, strict=True))
    return Times(time.astype(float), censored.astype(bool), early.astype(bool))


def _curves(times: Any, name: str, values: Any) -> tuple[np.ndarray, np.ndarray]:
    times, values = np.asarray(times, float), np.asarray(values, float)
    if times.ndim != 1 or times.size == 0 or not np.all(np.isfinite(times)):
        raise Refusal(f"times must be finite numbers in one axis; got {times.tolist()}")
    if times[0] <= 0 or np.any(np.diff(times) <= 0):
        raise Refusal(f"times must be positive and increase; got {times.tolist()}")
    if values.ndim < 1 or values.shape[-1] != times.size or values.size == 0:
        raise Refusal(f"{name} must have shape (..., {times.size}), one value a time; got {values.shape}")
    if np.any(np.isinf(values)):
        raise Refusal(f"{name} must hold finite numbers, NaN where there is none; got infinity")
    return times, values
