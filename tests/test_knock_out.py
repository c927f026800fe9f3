"""Silenced neurons against nets without them, random shares against Monte Carlo, dimensions against known manifolds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dae_theory import data, intrinsic_dimension, knock_out, model, risk, theory

STD = 0.4


@pytest.fixture
def rng():
    return np.random.default_rng(31)


def _weights(rng, dimension=4, width=7):
    return model.Weights(*(jnp.asarray(matrix) for matrix in rng.standard_normal((2, dimension, width))))


def test_the_effect_is_the_exact_loss_of_the_net_without_the_neuron(rng):
    weights, x = _weights(rng), jnp.asarray(rng.standard_normal((3, 4)))
    loss, effects, active = knock_out.knock_out_effects(weights, x, noise_std=STD)
    for row in range(3):
        whole = risk.expected_loss(weights, x[row : row + 1], noise_std=STD, weight_decay=0.0)
        np.testing.assert_allclose(loss[row], whole, rtol=1e-9)
        for neuron in (0, 4):
            silenced = model.Weights(weights.decoder.at[:, neuron].set(0.0), weights.encoder)
            without = risk.expected_loss(silenced, x[row : row + 1], noise_std=STD, weight_decay=0.0)
            np.testing.assert_allclose(loss[row] + effects[row, neuron], without, rtol=1e-9)
    found = knock_out.knock_out(weights, x, noise_std=STD)
    np.testing.assert_array_equal(found.neuron, np.argmax(active, axis=1))
    np.testing.assert_allclose(found.own, [effects[i, found.neuron[i]] for i in range(3)], rtol=1e-12)
    others = [np.mean([effects[j, found.neuron[i]] for j in range(3) if j != i]) for i in range(3)]
    np.testing.assert_allclose(found.others, others, rtol=1e-12)


def test_a_memorizing_net_loses_the_sample_whole_and_no_other_notices():
    """On a simplex, far from the gates: loss + own = ‖x‖², others 0."""
    x = data.simplex_means(jax.random.key(0), dimension=8, components=5, radius=6.0)
    weights = theory.memorizing_weights(x, noise_std=0.2, weight_decay=0.01)
    found = knock_out.knock_out(weights, x, noise_std=0.2)
    np.testing.assert_allclose(found.loss + found.own, jnp.sum(x**2, axis=1), rtol=1e-8)
    np.testing.assert_allclose(found.others, 0, atol=1e-8)
    np.testing.assert_array_equal(np.sort(found.neuron), np.unique(found.neuron))
    assert float(found.share.min()) > 0.9


def test_contributions_sum_to_one_and_their_square_is_the_effect_of_a_net_that_returns_the_sample(rng):
    """A neuron along x contributes s = .85, an oblique one and its mirror image the rest: Δ = s² ‖x‖² at σ = 0."""
    weights, x = _weights(rng), jnp.asarray(rng.standard_normal((3, 4)))
    shares = knock_out.contributions(weights, x, noise_std=STD)
    np.testing.assert_allclose(jnp.sum(shares, axis=1), 1, rtol=1e-12)
    _, _, active = knock_out.knock_out_effects(weights, x, noise_std=STD)
    said = jnp.sum(x[:, :, None] * weights.decoder[None], axis=1) * active
    np.testing.assert_allclose(shares, said / jnp.sum(said, axis=1, keepdims=True), rtol=1e-9)
    sample, s = jnp.array([[2.0, 0.0, 0.0]]), 0.85
    columns = jnp.array([[1.0, 0.6, 0.6], [0.0, 0.8, -0.8], [0.0, 0.0, 0.0]])
    sizes = jnp.array([s, *[(1 - s) / (2 * 0.6**2)] * 2])
    net = model.Weights(columns * sizes[None], columns)
    np.testing.assert_allclose(model.denoise(net, sample), sample, atol=1e-12)
    np.testing.assert_allclose(knock_out.contributions(net, sample, noise_std=0.0)[0, 0], s, rtol=1e-12)
    np.testing.assert_allclose(knock_out.alignment(net, sample), [[1.0, 0.6, 0.6]], rtol=1e-12)
    _, effects, _ = knock_out.knock_out_effects(net, sample, noise_std=0.0)
    np.testing.assert_allclose(effects[0, 0], s**2 * 4, rtol=1e-9)


def test_a_kept_share_is_the_mean_over_masks_and_copies_divide_the_excess(rng):
    weights, x, share = _weights(rng), jnp.asarray(rng.standard_normal((1, 4))), 0.3
    exact = knock_out.kept_share_loss(weights, x, share, noise_std=STD)
    draws = 40_000
    noise = rng.standard_normal((draws, 4)) * STD
    masks = (rng.random((draws, 7)) < share) / share
    h = np.maximum((np.asarray(x) + noise) @ np.asarray(weights.encoder), 0) * masks
    losses = np.sum((h @ np.asarray(weights.decoder).T - np.asarray(x)) ** 2, axis=1)
    assert abs(float(exact[0]) - losses.mean()) <= 5 * scipy.stats.sem(losses)
    whole = knock_out.kept_share_loss(weights, x, 1.0, noise_std=STD)
    copies = model.Weights(*(jnp.repeat(matrix, 4, axis=1) / 2 for matrix in (weights.decoder, weights.encoder)))
    spread = knock_out.kept_share_loss(copies, x, share, noise_std=STD)
    np.testing.assert_allclose(knock_out.kept_share_loss(copies, x, 1.0, noise_std=STD), whole, rtol=1e-9)
    np.testing.assert_allclose(spread - whole, (exact - whole) / 4, rtol=1e-9)


def test_the_censored_likelihood_finds_the_rate_and_the_naive_one_does_not(rng):
    """2000 samples of 200 exponentials with rate 3: unbiased to 1/r, its error as stated; N/Σ of the kept 1.34 off."""
    logs = rng.exponential(1 / 3, (2000, 200))
    found = [intrinsic_dimension.from_ratios(np.exp(row)) for row in logs]
    values = np.array([one.estimate for one in found])
    assert found[0].kept == 180
    assert abs(values.mean() - 3 * 180 / 179) <= 5 * scipy.stats.sem(values)
    assert abs(values.std(ddof=1) / np.mean([one.standard_error for one in found]) - 1) <= 5 / np.sqrt(2 * 2000) + 0.01
    naive = np.array([180 / np.sort(row)[:180].sum() for row in logs])
    assert naive.mean() > 1.3 * 3


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_points_of_a_flat_set_fill_its_dimension(rng, dimension):
    x = rng.random((3000, dimension)) @ rng.standard_normal((dimension, 9))
    found = intrinsic_dimension.two_nearest(x)
    turned = intrinsic_dimension.two_nearest(5 * x + 1)
    np.testing.assert_allclose(turned.estimate, found.estimate, rtol=1e-6)
    assert abs(found.estimate - dimension) <= 5 * found.standard_error + 0.05 * dimension  # borders and curvature
    doubled = intrinsic_dimension.two_nearest(np.concatenate([x, x]))
    np.testing.assert_allclose(doubled.estimate, found.estimate, rtol=1e-12)


def test_refusals(rng, refused):
    weights, x = _weights(rng), jnp.asarray(rng.standard_normal((3, 4)))
    with refused("x"):
        knock_out.knock_out(weights, x[:, 1:], noise_std=STD)
    with refused("noise_std"):
        knock_out.knock_out(weights, x, noise_std=-1.0)
    with refused("x"):
        knock_out.contributions(weights, x[:, 1:], noise_std=STD)
    with refused("noise_std"):
        knock_out.contributions(weights, x, noise_std=-1.0)
    with refused("x"):
        knock_out.alignment(weights, x[:, 1:])
    for share in (0.0, 1.5):
        with refused("share"):
            knock_out.kept_share_loss(weights, x, share, noise_std=STD)
    with refused("points"):
        intrinsic_dimension.two_nearest(np.ones((50, 2)))
    with refused("ratios"):
        intrinsic_dimension.from_ratios([0.5, 2.0])
    for dropped in (-0.1, 1.0):
        with refused("dropped"):
            intrinsic_dimension.from_ratios([1.5, 2.0], dropped=dropped)
