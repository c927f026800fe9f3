"""How well curves fall on one curve when n is divided by a scale, and how the place of a crossing scales.

A scale is a product of powers of a curve's own numbers, s_c = Π_j v_cj^{b_j}. The quality of a collapse is

    Q = 1 − Σ_c Σ_n (y_cn − g_{−c}(n/s_c))² / Σ_c Σ_n (y_cn − ȳ)²

where g_{−c} is the decreasing step-free fit (isotonic regression, linear between) to all curves but c, continued by its
ends: 1 where every curve is predicted by the others, 0 where a constant would do as well, below 0 where that is better.
"""

from collections.abc import Callable

import numpy as np
from sklearn.isotonic import IsotonicRegression

from dae_theory import boundary

Scales = Callable[[int, np.ndarray], np.ndarray]


def master(places: np.ndarray, values: np.ndarray) -> IsotonicRegression:
    """The decreasing curve through points of many curves, in log n/s."""
    fit = IsotonicRegression(increasing=False, out_of_bounds="clip")
    return fit.fit(np.asarray(places).ravel(), np.asarray(values).ravel())


def quality(n: np.ndarray, curves: np.ndarray, scales: Scales) -> float:
    """Q of curves (C, N) at n (N,); `scales(c, curves)` gives log s of all curves (C,) without having looked at c.

    NaN where a scale is not determined.
    """
    missed = 0.0
    for left_out in range(len(curves)):
        log_scales = scales(left_out, curves)
        if not np.isfinite(log_scales).all():
            return float("nan")
        places = np.log(n)[None, :] - log_scales[:, None]
        others = np.arange(len(curves)) != left_out
        predicted = master(places[others], curves[others]).predict(places[left_out])
        missed += float(np.sum((curves[left_out] - predicted) ** 2))
    return 1 - missed / float(np.sum((curves - curves.mean()) ** 2))


def crossings(n: np.ndarray, curves: np.ndarray, level: float, below: float) -> np.ndarray:
    """log n at which every curve falls through the level on its way to `below`, (C,); NaN where it does not."""
    return np.log([boundary.crossing(n, curve, level, below=below) for curve in curves])


def exponents(log_numbers: np.ndarray, log_places: np.ndarray) -> tuple[np.ndarray, float]:
    """(a, b_1 … b_J) of log n* = a + Σ_j b_j log v_j by least squares, and the rms of what is left.

    Args:
        log_numbers: log v, (C, J).
        log_places: log n*, (C,); curves without one are left out.

    Returns:
        NaN for a number that is the same in all curves with a crossing, and for all where these determine none.
    """
    there = np.isfinite(log_places)
    powers = np.full(1 + log_numbers.shape[1], np.nan)
    varied = _varied(log_numbers[there])
    design = np.column_stack([np.ones(there.sum()), log_numbers[there][:, varied]])
    if there.sum() < design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return powers, float("nan")
    found = np.linalg.lstsq(design, log_places[there], rcond=None)[0]
    powers[np.append(True, varied)] = found
    left = log_places[there] - design @ found
    return powers, float(np.sqrt(np.mean(left**2)))


def _varied(log_numbers: np.ndarray) -> np.ndarray:
    return np.asarray([len(np.unique(column)) > 1 for column in log_numbers.T], dtype=bool)


def scale_of(log_numbers: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """log s = Σ_j b_j log v_j over the numbers whose b_j is known, (C,); NaN where none is.

    A number that was never seen to vary scales nothing: the curve that alone varies it is predicted as if it did not.
    """
    known = np.isfinite(powers)
    return log_numbers[:, known] @ powers[known] if known.any() else np.full(len(log_numbers), np.nan)


def fixed(log_scales: np.ndarray) -> Scales:
    """A scale that is stated, not fitted."""
    return lambda left_out, curves: log_scales


def fitted(n: np.ndarray, log_numbers: np.ndarray, level: float, below: float) -> Scales:
    """The scale whose exponents are those of the crossings of all curves but the one that is left out."""

    def scales(left_out: int, curves: np.ndarray) -> np.ndarray:
        places = crossings(n, curves, level, below)
        places[left_out] = np.nan
        found, _ = exponents(log_numbers, places)
        return scale_of(log_numbers, found[1:])

    return scales
