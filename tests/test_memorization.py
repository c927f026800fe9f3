"""The rule d₁/d₂ < 1/3: neighbours against brute force, its null rate against theory, intervals against coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial
import scipy.stats

from dae_theory import memorization


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def _brute(points, training):
    distances = np.sort(scipy.spatial.distance.cdist(points, np.unique(training, axis=0)), axis=1)
    return distances[:, 0], distances[:, 1]


def test_distances_are_those_of_a_search_over_distinct_points(rng):
    training = rng.standard_normal((30, 5))
    training = np.concatenate([training, np.repeat(training[:1], 12, axis=0)])  # more copies than candidates
    points = np.concatenate([rng.standard_normal((300, 5)), training[:1] + 1e-9, training[1:2]])
    found = memorization.nearest_distances(points, training)
    first, second = _brute(points, training)
    np.testing.assert_allclose(found.first, first, rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(found.second, second, rtol=1e-12)
    np.testing.assert_array_equal(found.index[-2:], [0, 1])
    assert float(found.ratio[-1]) == 0


@pytest.mark.parametrize("rows", [20, 300, 301, 4099])
def test_the_largest_of_groups_are_the_largest_of_all(rng, rows):
    scores = rng.standard_normal(rows).astype(np.float32)
    for case in (scores, np.round(scores), np.where(np.arange(rows) < 12, scores, -np.inf)):  # distinct, equal, few
        for one, other in zip(memorization._largest(jnp.asarray(case), 8), jax.lax.top_k(case, 8), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("live", [2, 9, 512, 513, 1300])
def test_neighbours_lie_in_any_piece_of_the_rows(rng, live):
    training = rng.standard_normal((1300, 4))
    points = np.concatenate([rng.standard_normal((50, 4)), training[live - 2 : live] + 1e-7])
    found = memorization.neighbours_among(jnp.asarray(points), jnp.asarray(training), jnp.arange(1300) < live)
    first, second = _brute(points, training[:live])
    np.testing.assert_allclose(found.first, first, rtol=1e-8)
    np.testing.assert_allclose(found.second, second, rtol=1e-12)
    assert found.index[-2:].tolist() == [live - 2, live - 1]


def test_members_whose_rows_end_in_different_pieces_are_searched_together(rng):
    training, points = rng.standard_normal((1100, 4)), rng.standard_normal((20, 4))
    masks = np.arange(1100) < np.asarray([3, 600, 1100])[:, None]
    masks[1, ::2] = False
    found = jax.vmap(lambda mask: memorization.neighbours_among(jnp.asarray(points), jnp.asarray(training), mask))(
        masks
    )
    for one, mask in enumerate(masks):
        first, second = _brute(points, training[mask])
        np.testing.assert_allclose(found.first[one], first, rtol=1e-12)
        np.testing.assert_allclose(found.second[one], second, rtol=1e-12)


def test_distances_beyond_single_precision_are_still_found():
    training = np.asarray([[1e20, 0.0], [3e20, 0.0], [-4e20, 0.0]])
    found = memorization.nearest_distances(np.asarray([[2.5e20, 0.0]]), training)
    np.testing.assert_allclose([found.first[0], found.second[0]], [0.5e20, 1.5e20])


def test_distances_near_copies_survive_float32(rng):
    """d₁ = 1e-3 beside norms of 300: the product ‖x‖² + ‖t‖² − 2xᵀt alone would return noise."""
    training = (rng.standard_normal((30, 5)) + 130).astype(np.float32)
    points = (training + rng.standard_normal((30, 5)) * 1e-3).astype(np.float32)
    first, second = _brute(points.astype(float), training.astype(float))
    found = memorization.nearest_distances(points, training)
    assert found.first.dtype == jnp.float32
    np.testing.assert_allclose(found.first, first, rtol=1e-5)
    np.testing.assert_allclose(found.second, second, rtol=1e-5)


def test_more_neighbours_than_candidates_within_rounding(rng):
    """Twenty points 1e-3 apart, far from the mean: the product cannot tell which of them is near."""
    tight = 5 + 1e-3 * rng.standard_normal((20, 20))
    training = np.concatenate([rng.standard_normal((100, 20)), tight]).astype(np.float32)
    points = (training[100:] + 5e-5 * rng.standard_normal((20, 20))).astype(np.float32)
    first, second = _brute(points.astype(float), training.astype(float))
    found = memorization.nearest_distances(points, training)
    np.testing.assert_allclose(found.first, first, rtol=1e-5)
    np.testing.assert_allclose(found.second, second, rtol=1e-5)
    np.testing.assert_array_equal(found.index, 100 + np.arange(20))
    assert np.all(memorization.memorized(points, training))


def test_masked_rows_do_not_exist_also_under_jit_and_vmap(rng):
    training = rng.standard_normal((12, 3))
    training[5] = training[9]  # a copy, whose first occurrence one of the masks removes
    points = rng.standard_normal((7, 3))
    masks = np.ones((3, 12), dtype=bool)
    masks[1, 5] = False
    masks[2, 1:] = False  # one point left: there is no second one
    search = jax.jit(
        jax.vmap(lambda mask: memorization.nearest_distances(points, jnp.asarray(training), samples_mask=mask))
    )
    found = search(masks)
    for index in range(2):
        first, second = _brute(points, training[masks[index]])
        np.testing.assert_allclose(found.first[index], first, rtol=1e-12)
        np.testing.assert_allclose(found.second[index], second, rtol=1e-12)
        alone = memorization.nearest_distances(points, training, samples_mask=masks[index])
        np.testing.assert_array_equal(found.index[index], alone.index)
    np.testing.assert_allclose(found.first[2], np.linalg.norm(points - training[0], axis=1), rtol=1e-12)
    assert np.isnan(found.second[2]).all()
    assert not np.any(found.ratio[2] < 1 / 3)


_search = jax.jit(jax.vmap(memorization.nearest_distances))


@pytest.mark.parametrize("dimension", [2, 3, 6])
def test_null_rate_is_the_threshold_to_the_dimension(rng, dimension):
    """Points uniform in a ball around a fresh one: (d₁/d₂)^r is the ratio of two order statistics, exactly uniform."""
    directions = rng.standard_normal((4000, 20, dimension))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    ball = directions * rng.random((4000, 20, 1)) ** (1 / dimension)
    ball = np.pad(ball, ((0, 0), (0, 0), (0, 6 - dimension)))
    ratio = np.asarray(_search(jnp.zeros((4000, 1, 6)), jnp.asarray(ball)).ratio)[:, 0]
    rate, null = np.mean(ratio < 1 / 3), memorization.null_rate(dimension)
    assert abs(rate - null) <= 5 * np.sqrt(null * (1 - null) / 4000)
    assert scipy.stats.kstest(ratio**dimension, "uniform").pvalue > 1e-6


def test_rates_of_copies_and_of_fresh_points(rng):
    training, fresh = rng.standard_normal((40, 6)), rng.standard_normal((300, 6))
    copies = np.repeat(training, 8, axis=0)[:300] + 1e-3 * rng.standard_normal((300, 6))
    result = memorization.memorized_rate(copies, training, fresh)
    assert float(result.generated.rate) == 1
    assert float(result.generated.low) == 1  # the bootstrap's blind spot, beside Wilson's interval
    z = scipy.stats.norm.ppf(0.975)
    np.testing.assert_allclose(result.generated.wilson_low, 1 / (1 + z**2 / 300), rtol=1e-10)
    assert result.null is not None
    np.testing.assert_allclose(result.null.rate, np.mean(memorization.memorized(fresh, training)))
    assert result.null.count == 300
    assert float(result.null.rate) < 0.05
    assert memorization.memorized_rate(copies, training).null is None


def test_intervals_cover_a_known_rate(rng):
    """Bootstrap and Wilson at 95 %: coverage over 400 repetitions within 5 of its own standard errors of 95 %."""
    fires = rng.random((400, 200)) < 0.3
    intervals = memorization.rate(fires)
    error = 5 * np.sqrt(0.95 * 0.05 / 400)
    for low, high in ((intervals.low, intervals.high), (intervals.wilson_low, intervals.wilson_high)):
        assert abs(np.mean((low <= 0.3) & (high >= 0.3)) - 0.95) < error
    # The bounds are the quantiles of actual resamples, within 5 standard errors of their shares.
    resampled = rng.choice(fires[0], size=(20000, 200)).mean(axis=1)
    for bound, quantile in ((intervals.low, 0.025), (intervals.high, 0.975)):
        below, upto = (
            np.mean(resampled < np.asarray(bound)[0] - 1e-9),
            np.mean(resampled <= np.asarray(bound)[0] + 1e-9),
        )
        error = 5 * np.sqrt(quantile * (1 - quantile) / 20000)
        assert below - error <= quantile <= upto + error
    wilson = scipy.stats.binomtest(int(fires[0].sum()), 200).proportion_ci(method="wilson")
    np.testing.assert_allclose([intervals.wilson_low[0], intervals.wilson_high[0]], wilson, rtol=1e-10)


def test_refusals(refused):
    points, training = np.zeros((2, 3)), np.ones((4, 3))
    with refused("training"):
        memorization.nearest_distances(points, training)  # four copies of one point
    with refused("training"):
        memorization.nearest_distances(points, np.eye(3), samples_mask=[True, False, False])
    with refused("points"):
        memorization.nearest_distances(points[:, :2], np.eye(3))
    with refused("points"):
        memorization.nearest_distances(np.full((1, 3), np.nan), np.eye(3))
    with refused("samples_mask"):
        memorization.nearest_distances(points, np.eye(3), samples_mask=[True])
    with refused("threshold"):
        memorization.memorized(points, np.eye(3), threshold=0.0)
    with refused("held_out"):
        memorization.memorized_rate(points, np.eye(3), np.zeros((2, 2)))
    with refused("fires"):
        memorization.rate(np.zeros(3))
    with refused("level"):
        memorization.rate(np.zeros(3, dtype=bool), level=1.0)
