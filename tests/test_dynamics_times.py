"""Times read off curves with known answers, and exponents from censored runs with a known law."""

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from dae_theory import dynamics

TIMES = np.geomspace(1, 1000, 13)  # four records a decade


def test_generalizing_time_is_where_the_loss_comes_within_five_percent():
    """Loss 3 − log10 t down to t = 100, then rising: 1.05 times the lowest at log10 t = 1.95, linear in log t."""
    decades = np.log10(TIMES)
    loss = np.where(decades <= 2, 3 - decades, 1 + 3 * (decades - 2))
    found = dynamics.generalizing_time(TIMES, np.stack([loss, 7 * loss]))
    np.testing.assert_allclose(found.time, 10**1.95, rtol=1e-12)
    assert not found.censored.any()
    assert not found.early.any()
    wider = dynamics.generalizing_time(TIMES, loss, share=0.5)
    np.testing.assert_allclose(wider.time, 10**1.5, rtol=1e-12)


def test_a_loss_still_falling_at_the_end_is_censored_and_a_settled_one_is_not():
    falling = 4 - np.log10(TIMES)
    found = dynamics.generalizing_time(TIMES, falling)
    np.testing.assert_allclose(found.time, 10**2.95, rtol=1e-12)
    assert found.censored
    settled = 1 + np.exp(-TIMES)
    found = dynamics.generalizing_time(TIMES, settled)
    assert settled[-1] == settled.min()
    assert not found.censored
    assert 1.7 < found.time < 3.2
    assert dynamics.generalizing_time(TIMES, np.ones(13)).early
    short = dynamics.generalizing_time([10.0, 12.0], [1.0, 0.98])  # near from the first record on, and still falling
    assert short.censored
    assert not short.early


def test_memorizing_time_is_the_crossing_after_the_minimum():
    """The index starts above ½, falls to .2 at t = 10 and rises by .2 a decade: ½ at log10 t = 2.5."""
    decades = np.log10(TIMES)
    index = np.where(decades <= 1, 0.6 - 0.4 * decades, 0.2 + 0.2 * (decades - 1))
    curves = np.stack([index, index - 0.15, index + 0.4])
    found = dynamics.memorizing_time(TIMES, curves)
    np.testing.assert_allclose(found.time, [10**2.5, TIMES[-1], 10.0], rtol=1e-12)
    np.testing.assert_array_equal(found.censored, [False, True, False])
    np.testing.assert_array_equal(found.early, [False, False, True])
    np.testing.assert_allclose(dynamics.memorizing_time(TIMES, index, level=0.3).time, 10**1.5, rtol=1e-12)
    low_enough = dynamics.memorizing_time(TIMES, np.stack([index, index + 0.2]), below=0.3)
    np.testing.assert_allclose(low_enough.time, [10**2.5, np.nan], rtol=1e-12)
    assert not low_enough.early.any()


def test_records_without_a_value_are_left_out():
    decades = np.log10(TIMES)
    index = np.where(decades <= 1, 0.6 - 0.4 * decades, 0.2 + 0.2 * (decades - 1))
    holes = index.copy()
    holes[[2, 9]] = np.nan
    diverged = np.where(TIMES < 100, index, np.nan)
    found = dynamics.memorizing_time(TIMES, np.stack([holes, diverged, np.full(13, np.nan)]))
    np.testing.assert_allclose(found.time, [10**2.5, TIMES[TIMES < 100][-1], np.nan], rtol=1e-12)
    np.testing.assert_array_equal(found.censored, [False, True, False])


def test_an_exponent_without_censoring_is_least_squares(key):
    n = np.asarray([4.0, 8.0, 16.0, 64.0])
    times = np.exp(np.random.default_rng(0).normal(size=(5, 4))) * n**0.7
    found = dynamics.scaling_exponent(key, n, times, resamples=200)
    slope, intercept = np.polyfit(np.tile(np.log(n), 5), np.log(times).ravel(), 1)
    np.testing.assert_allclose([found.exponent, np.log(found.prefactor)], [slope, intercept], rtol=1e-8)
    residual = np.log(times) - intercept - slope * np.log(n)[None, :]
    np.testing.assert_allclose(found.spread, residual.std(), rtol=1e-5)
    assert found.low < slope < found.high
    assert (found.known, found.censored, found.early, found.missing, found.found) == (20, 0, 0, 0, 1)


def test_an_exponent_with_both_bounds_maximizes_the_likelihood(key):
    n = np.asarray([4.0, 8.0, 16.0, 32.0, 64.0])
    times = np.exp(0.5 * np.random.default_rng(1).normal(size=(6, 5))) * n
    censored, early = times > 40, times < 4
    times = np.clip(times, 4, 40)
    times[2, 1] = np.nan
    found = dynamics.scaling_exponent(key, n, times, censored, early, resamples=10)

    def negative(parameters):
        a, b, log_s = parameters
        z = (np.log(times) - a - b * np.log(n)[None, :]) / np.exp(log_s)
        normal = scipy.stats.norm
        terms = np.where(censored, normal.logsf(z), np.where(early, normal.logcdf(z), normal.logpdf(z) - log_s))
        return -np.nansum(terms)

    best = scipy.optimize.minimize(
        negative, [0.0, 1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000}
    ).x
    np.testing.assert_allclose(
        [np.log(found.prefactor), found.exponent, np.log(found.spread)], best, rtol=1e-4, atol=1e-4
    )
    counts = (found.known, found.censored, found.early, found.missing)
    assert counts == (29 - censored.sum() - early.sum(), censored.sum(), early.sum(), 1)
    assert min(counts) > 0


@pytest.mark.parametrize("limit", [np.inf, 100.0])
def test_the_interval_covers_a_known_exponent_with_half_of_the_runs_censored(key, limit):
    """Runs of one seed share a deviation. Without the censored ones the exponent would come out too small."""
    n, sets, truth = np.asarray([8.0, 16.0, 32.0, 64.0, 128.0, 256.0]), 60, 1.0
    rng = np.random.default_rng(2)
    covered, exponents, kept_only = [], [], []
    for trial in range(sets):
        scatter = 0.4 * rng.normal(size=(8, 6)) + 0.2 * rng.normal(size=(8, 1))
        times = np.exp(1 + scatter) * n**truth
        censored = times > limit
        found = dynamics.scaling_exponent(jax.random.fold_in(key, trial), n, np.minimum(times, limit), censored)
        covered.append(found.low <= truth <= found.high)
        exponents.append(found.exponent)
        kept = [np.log(np.broadcast_to(n, times.shape)[~censored]), np.log(times[~censored])]
        kept_only.append(np.polyfit(*kept, 1)[0])
    error = np.std(exponents, ddof=1) / np.sqrt(sets)
    assert abs(np.mean(exponents) - truth) < 5 * error
    if limit < np.inf:
        assert np.mean(kept_only) < truth - 10 * error
    # 95 % within five binomial standard errors, from below
    assert np.mean(covered) >= 0.95 - 5 * np.sqrt(0.95 * 0.05 / sets)


def test_runs_that_fix_no_line_give_no_exponent(key):
    times = np.asarray([[1.0, 5.0, 5.0], [1.5, 5.0, 5.0]])
    found = dynamics.scaling_exponent(key, [1.0, 2.0, 4.0], times, times == 5, resamples=10)
    assert np.isnan(found.exponent)
    assert np.isnan(found.low)
    assert found.found == 0
    assert (found.known, found.censored) == (2, 4)
    # one run alone fixes the slope: resamples without it do not
    once = np.asarray([[True, False, True], [True, True, True]])
    found = dynamics.scaling_exponent(key, [1.0, 2.0, 4.0], np.where(once, 5, 3), once & (times > 2))
    assert np.isfinite(found.exponent)
    assert 0.5 < found.found < 0.95
    assert np.isnan(found.low)


def test_refusals(key, refused):
    curve = np.ones(13)
    for read, name in ((dynamics.generalizing_time, "test_loss"), (dynamics.memorizing_time, "index")):
        with refused("times"):
            read(TIMES[::-1], curve)
        with refused("times"):
            read(np.arange(13.0), curve)
        with refused(name):
            read(TIMES, curve[:5])
        with refused(name):
            read(TIMES, np.where(TIMES > 50, np.inf, curve))
    with refused("test_loss"):
        dynamics.generalizing_time(TIMES, -curve)
    with refused("share"):
        dynamics.generalizing_time(TIMES, curve, share=-0.1)
    with refused("below"):
        dynamics.memorizing_time(TIMES, curve, level=0.5, below=0.6)
    with refused("margin"):
        dynamics.generalizing_time(TIMES, curve, margin=0.5)
    n, times = np.asarray([1.0, 2.0]), np.ones((3, 2))
    none = np.zeros((3, 2), bool)
    for name, arguments, options in (
        ("n", (np.asarray([1.0, -2.0]), times), {}),
        ("n", (np.asarray([2.0, 2.0]), times), {}),
        ("times", (n, times[0]), {}),
        ("times", (n, 0 * times), {}),
        ("censored", (n, times, times), {}),
        ("early", (n, times, ~none, ~none), {}),
        ("coverage", (n, times), {"coverage": 1.0}),
        ("resamples", (n, times), {"resamples": 0}),
    ):
        with refused(name):
            dynamics.scaling_exponent(key, *arguments, **options)
    with refused("key"):
        dynamics.scaling_exponent(0, n, times)
