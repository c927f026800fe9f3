r"""[X13] How a time grows with n: the exponent of a power law from runs of which some are censored.

$$\log \tau = a + \beta \log n + s\,\varepsilon, \qquad \varepsilon \sim N(0, 1)$$

Maximum likelihood (a censored normal regression, Tobin 1958): a run whose time is known contributes its density, one
known to be later than t the probability 1 − Φ of that, one known to be earlier Φ. In Olsen's (1978) parameters 1/s,
a/s, β/s the likelihood is concave, so Newton's method finds its maximum from anywhere. Dropping censored runs, or
taking their last time for τ, would bend β towards zero.
"""

from typing import Any

import jax
import numpy as np
import scipy.special
import scipy.stats
from flax import struct
from jaxtyping import Array, Key

from dae_theory import checks
from dae_theory.checks import Refusal

RESOLUTION = 1e-3  # of log τ, added in squares to the scatter of known times: a perfect line has a likelihood too
NEWTON_STEPS = 60


@struct.dataclass
class Scaling:
    """A power law τ = e^a n^β with its uncertainty.

    Attributes:
        exponent: β; NaN where fewer than two values of n have a run whose time is known.
        low: lower end of the interval of β from resampling replicates; NaN where `found` is below the coverage, since
            the few runs whose time is known then decide it.
        high: upper end.
        prefactor: e^a, in the unit of the times.
        spread: s, the standard deviation of log τ around the line.
        known: number of runs whose time is known.
        censored: number of runs known to be later than their time.
        early: number of runs known to be earlier.
        missing: number of runs without a time (NaN), which say nothing.
        found: share of the resamples that fix an exponent at all; the interval is over those.
    """

    exponent: float
    low: float
    high: float
    prefactor: float
    spread: float
    known: int
    censored: int
    early: int
    missing: int
    found: float


def scaling_exponent(
    key: Key[Array, ""],
    n: Any,
    times: Any,
    censored: Any = None,
    early: Any = None,
    *,
    coverage: float = 0.95,
    resamples: int = 1000,
) -> Scaling:
    """The exponent β of τ ∝ n^β over replicates and values of n, by the censored regression of the module.

    The interval resamples replicates (whole rows: the runs of one seed at several n share their data and are not
    independent), with its quantiles moved outwards as far as the small number R of them asks for, from α/2 to
    Φ(√(R/(R−1)) t_{α/2, R−1}) (Hesterberg 2015).

    Args:
        key: typed key of the resampling.
        n: positive, (N,), at least two distinct values.
        times: τ > 0 of R ≥ 2 replicates, (R, N); NaN where there is none.
        censored: whether a run's time is a lower bound, (R, N); none by default.
        early: whether it is an upper bound, (R, N); none by default.
        coverage: of the interval.
        resamples: bootstrap resamples.

    Raises:
        ValueError: bad key, n, times, flags, coverage or resamples.

    >>> import jax
    >>> from dae_theory import dynamics
    >>> times = [[80, 170, 310], [85, 150, 330]]
    >>> found = dynamics.scaling_exponent(jax.random.key(0), [8, 16, 32], times, resamples=50)
    >>> print(round(found.exponent, 2), found.known)
    0.98 6
    """
    checks.typed_key("key", key)
    n, times, censored, early = _runs(n, times, censored, early)
    if not 0 < coverage < 1:
        raise Refusal(f"coverage must be in (0, 1); got {coverage}")
    resamples = checks.integer("resamples", resamples, 1)
    rows = len(times)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    counts = generator.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    all_once = np.ones((1, rows), counts.dtype)
    fits = _fit(n, times, censored, early, np.concatenate([all_once, counts]))
    intercept, exponent, spread = (float(number) for number in fits[0])
    drawn = fits[1:, 1]
    drawn = drawn[np.isfinite(drawn)]
    fixed = drawn.size >= coverage * resamples
    tail = scipy.stats.norm.cdf(np.sqrt(rows / (rows - 1)) * scipy.stats.t.ppf((1 - coverage) / 2, rows - 1))
    low, high = np.quantile(drawn, [tail, 1 - tail]) if fixed and np.isfinite(exponent) else (np.nan, np.nan)
    present = np.isfinite(times)
    return Scaling(
        exponent=exponent,
        low=float(low),
        high=float(high),
        prefactor=float(np.exp(intercept)),
        spread=spread,
        known=int(np.sum(present & ~censored & ~early)),
        censored=int(np.sum(present & censored)),
        early=int(np.sum(present & early)),
        missing=int(np.sum(~present)),
        found=drawn.size / resamples,
    )


def _fit(n: np.ndarray, times: np.ndarray, censored: np.ndarray, early: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """a, β and s of the likeliest line for each of B resamples, (B, 3); NaN where the runs do not fix a line.

    Resample b counts replicate r `counts[b, r]` times; damped Newton steps on `_likelihood`.
    """
    present = np.isfinite(times)
    log_time = np.log(np.where(present, times, 1))[present]
    position = np.broadcast_to(np.log(n), times.shape)[present]
    later, sooner = censored[present], early[present]
    known = ~later & ~sooner
    weight = np.broadcast_to(counts[:, :, None], (len(counts), *times.shape))[:, present].astype(float)
    # what each z is linear in; positions around their mean, for the conditioning
    center = position.mean() if position.size else 0.0
    rows = np.column_stack([log_time, -np.ones(position.size), center - position])

    def likelihood(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _likelihood(theta, rows, weight, known, np.where(sooner, 1.0, -1.0))

    fixed = np.asarray([np.unique(position[known & (one > 0)]).size > 1 for one in weight])
    theta = np.tile([1.0, 0.0, 0.0], (len(counts), 1))
    value, gradient, hessian = likelihood(theta)
    for _ in range(NEWTON_STEPS):
        step = np.zeros_like(theta)
        step[fixed] = np.linalg.solve(hessian[fixed], gradient[fixed][:, :, None])[:, :, 0]
        size = np.minimum(1.0, 0.5 * theta[:, 0] / np.maximum(-step[:, 0], 1e-300))  # γ stays positive
        for _ in range(30):
            moved = theta + size[:, None] * step
            new = likelihood(moved)
            worse = new[0] < value - 1e-12 * np.abs(value)
            if not worse.any():
                break
            size = np.where(worse, 0.5 * size, size)
        arrived = np.abs(np.sum(step * gradient, axis=1)) <= 1e-12 * (1 + np.abs(value))
        theta, (value, gradient, hessian) = moved, new
        if arrived.all():
            break
    precision, level, slope = theta.T
    line = np.column_stack([(level - slope * center) / precision, slope / precision, 1 / precision])
    return np.where((fixed & arrived)[:, None], line, np.nan)


def _likelihood(
    theta: np.ndarray, rows: np.ndarray, weight: np.ndarray, known: np.ndarray, sign: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log likelihood of B weightings of the runs, (B,), its gradient (B, 3) and minus its Hessian (B, 3, 3).

    With θ = (γ, δ) = (1/s, a/s, β/s) and z = γ log τ − δ·(1, log n), linear in θ by `rows`: log γ − z²/2 for a known
    time, log Φ(−z) for a later one and log Φ(z) for an earlier one, by `sign`.
    """
    z, precision = theta @ rows.T, theta[:, :1]
    tail = scipy.special.log_ndtr(sign * z)
    mills = sign * np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - tail)
    floor = (RESOLUTION * precision) ** 2
    value = np.where(known, np.log(precision) - 0.5 * (z**2 + floor), tail)
    slope = weight * np.where(known, -z, mills)
    bend = weight * np.where(known, 1.0, mills * (mills + z))
    gradient = slope @ rows
    hessian = np.einsum("bi,ij,ik->bjk", bend, rows, rows)
    mass = np.sum(weight[:, known], axis=1)
    gradient[:, 0] += mass * (1 / precision[:, 0] - RESOLUTION**2 * precision[:, 0])
    hessian[:, 0, 0] += mass * (1 / precision[:, 0] ** 2 + RESOLUTION**2)
    return np.sum(weight * value, axis=1), gradient, hessian


def _runs(n: Any, times: Any, censored: Any, early: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n, times = np.asarray(n, float), np.asarray(times, float)
    checks.positive("n", n)
    if n.ndim != 1 or np.unique(n).size < 2:
        raise Refusal(f"n must hold at least two distinct numbers in one axis; got {n.tolist()}")
    if times.ndim != 2 or len(times) < 2 or times.shape[1] != n.size:
        raise Refusal(f"times must have shape (R ≥ 2, {n.size}); got {times.shape}")
    if np.any(times <= 0) or np.any(np.isinf(times)):
        raise Refusal("times must be positive and finite, NaN where there is none; got others")
    flags = []
    for name, flag in (("censored", censored), ("early", early)):
        flag = np.zeros(times.shape, bool) if flag is None else np.asarray(flag)
        if flag.dtype != bool:
            raise Refusal(f"{name} must be boolean; got dtype {flag.dtype}")
        checks.shape(name, flag, times.shape)
        flags.append(flag)
    if np.any(flags[0] & flags[1]):
        raise Refusal("early must not hold where censored does: a time is one bound or the other")
    return n, times, *flags
