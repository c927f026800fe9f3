"""Boundaries: exact crossings of known curves, coverage of the band, refusals."""

import jax
import numpy as np

from dae_theory import boundary


def test_a_curve_linear_in_the_logarithm_is_crossed_where_it_says():
    positions = np.geomspace(1, 100, 7)
    np.testing.assert_allclose(boundary.crossing(positions, 1 - np.log(positions) / np.log(100), 0.3), 100**0.7)


def test_no_crossing_is_nan():
    assert np.isnan(boundary.crossing([1, 2, 3], [0.9, 0.8, 0.7], 0.5))
    assert np.isnan(boundary.crossing([1, 2, 3], [0.1, 0.2, 0.3], 0.5))


def test_a_curve_may_rise_before_it_falls():
    np.testing.assert_allclose(boundary.crossing([1, 2, 4, 16], [0.4, 0.7, 0.6, 0.4], 0.5), 8)


def test_a_curve_that_only_grazes_the_level_has_no_boundary():
    assert np.isnan(boundary.crossing([1, 2, 3], [0.6, 0.49, 0.5], 0.5, below=0.45))
    assert np.isclose(boundary.crossing([1, 2, 4], [0.75, 0.25, 0.5], 0.5, below=0.45), 2**0.5)


def test_missing_cells_are_left_out():
    assert np.isclose(boundary.crossing([1, 2, 4], [1.0, np.nan, 0.0], 0.5), 2)


def test_the_band_covers_the_true_crossing_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    positions = np.geomspace(1, 100, 9)
    truth = 1 - np.log(positions) / np.log(100)
    covered = 0
    for trial in range(100):
        shift = rng.normal(0, 0.05, (12, 1))
        band = boundary.locate(jax.random.key(trial), positions, truth[None] + shift, 0.5, resamples=200)
        covered += band.low <= 10 <= band.high
    # the percentile bootstrap of a mean of 12 covers about 91 %; five standard errors of a share of 100 either side
    assert covered > 100 * (0.91 - 5 * 0.0286)


def test_refusals(refused):
    with refused("positions"):
        boundary.crossing([2, 1], [1, 0], 0.5)
    with refused("values"):
        boundary.crossing([1, 2], [1, 0, 1], 0.5)
    with refused("replicates"):
        boundary.locate(jax.random.key(0), [1, 2], [[1, 0]], 0.5)
    with refused("coverage"):
        boundary.locate(jax.random.key(0), [1, 2], [[1, 0], [1, 0]], 0.5, coverage=1.0)
