"""Boundaries: exact crossings of known curves, coverage of the band, refusals."""

import jax
import numpy as np
import pytest
import scipy.stats

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


@pytest.mark.parametrize("below", [None, 0.3])
def test_the_band_is_that_of_the_crossings_of_resampled_means_one_by_one(below):
    """Rising, falling, grazing and missing values: curves of random numbers have all of them."""
    rng = np.random.default_rng(4)
    positions, replicates = np.geomspace(1, 50, 6), rng.uniform(0, 1, (2, 6))
    replicates[0, 3] = np.nan
    for curves in (replicates, np.nan_to_num(replicates, nan=0.5)):
        band = boundary.locate(jax.random.key(3), positions, curves, 0.5, below=below, resamples=300)
        picked = np.asarray(jax.random.randint(jax.random.key(3), (300, 2), 0, 2))
        mean, spread = curves.mean(axis=0), np.sqrt(2) * scipy.stats.t.ppf(0.975, 1) / scipy.stats.norm.ppf(0.975)
        found = [
            boundary.crossing(positions, mean + spread * (curves[rows].mean(axis=0) - mean), 0.5, below=below)
            for rows in picked
        ]
        assert band.found == np.mean(np.isfinite(found))
        assert 0 < band.found < 1
        np.testing.assert_allclose([band.low, band.high], np.nanquantile(found, [0.025, 0.975]), rtol=1e-12)


@pytest.mark.parametrize("replicates", [3, 4, 8, 12])
def test_the_band_covers_the_true_crossing_as_often_as_it_says(replicates):
    """(replicates that differ by a normal shift: their mean's crossing is exact, its interval Student's)"""
    rng = np.random.default_rng(replicates)
    positions = np.geomspace(1, 100, 9)
    truth, trials = 1 - np.log(positions) / np.log(100), 300
    covered = 0
    for trial in range(trials):
        shift = rng.normal(0, 0.05, (replicates, 1))
        band = boundary.locate(jax.random.key(trial), positions, truth[None] + shift, 0.5, resamples=200)
        covered += band.low <= 10 <= band.high
    assert abs(covered / trials - 0.95) < 5 * np.sqrt(0.95 * 0.05 / trials)


def test_refusals(refused):
    with refused("positions"):
        boundary.crossing([2, 1], [1, 0], 0.5)
    with refused("values"):
        boundary.crossing([1, 2], [1, 0, 1], 0.5)
    with refused("replicates"):
        boundary.locate(jax.random.key(0), [1, 2], [[1, 0]], 0.5)
    with refused("coverage"):
        boundary.locate(jax.random.key(0), [1, 2], [[1, 0], [1, 0]], 0.5, coverage=1.0)
