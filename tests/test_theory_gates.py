"""Gates under noise: probabilities against draws, margins by hand, limits and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest, norm

from dae_theory import data, model, theory

SIGMA = 0.4


@pytest.fixture(scope="module")
def points():
    """Four samples of different norms at obtuse and acute angles."""
    return jax.random.normal(jax.random.key(0), (4, 3))


@pytest.fixture(scope="module")
def weights():
    keys = jax.random.split(jax.random.key(1), 2)
    return model.Weights(*(jax.random.normal(key, (3, 5)) for key in keys))


def test_firing_probability_is_the_share_of_draws(key, weights, points):
    """Each count of firings is binomial with the stated probability (two-sided test, family-wise 1e-6)."""
    draws = 20_000

    @jax.jit
    def counts(key):
        noisy = points[None] + SIGMA * jax.random.normal(key, (draws, 4, 3))
        return jnp.sum(model.represent(weights, noisy) > 0, axis=0)

    probabilities = np.asarray(theory.firing_probability(weights, points, noise_std=SIGMA))
    assert probabilities.min() < 0.1 < 0.9 < probabilities.max()
    for count, probability in zip(np.asarray(counts(key)).ravel(), probabilities.ravel(), strict=True):
        assert binomtest(int(count), draws, probability).pvalue > 1e-6 / probabilities.size


def test_gate_error_is_that_of_the_memorizing_neurons(points):
    """Φ(cos_ij ‖x_i‖/σ) by SciPy, and the firing probability of the columns of (9), whatever their length."""
    x = np.asarray(points)
    lengths = np.linalg.norm(x, axis=1)
    cosines = (x @ x.T) / np.outer(lengths, lengths)
    error = theory.gate_error(points, noise_std=SIGMA)
    np.testing.assert_allclose(error.firing, norm.cdf(cosines * lengths[:, None] / SIGMA), rtol=1e-12)
    columns = theory.memorizing_weights(points, noise_std=SIGMA, weight_decay=0.01)
    np.testing.assert_allclose(theory.firing_probability(columns, points, noise_std=SIGMA), error.firing, rtol=1e-12)
    np.testing.assert_allclose(np.diag(error.wrong), norm.cdf(-lengths / SIGMA), rtol=1e-12)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_array_equal(error.wrong[off], error.firing[off])
    assert error.worst == np.max(error.wrong)


def test_gates_without_noise(weights, points):
    """σ = 0: what fires, fires."""
    measured = theory.firing_probability(weights, points, noise_std=0.0)
    np.testing.assert_array_equal(measured, model.represent(weights, points) > 0)
    simplex = data.simplex_means(jax.random.key(2), dimension=3, components=4, radius=2.0)
    assert theory.gate_error(simplex, noise_std=0.0).worst == 0
    # and with too much of it every gate is a coin
    np.testing.assert_allclose(theory.gate_error(simplex, noise_std=1e9).firing, 0.5, atol=1e-8)
    zero = jax.tree.map(jnp.zeros_like, weights)
    np.testing.assert_array_equal(theory.firing_probability(zero, points, noise_std=SIGMA), 0)


def test_margins_by_hand():
    """Two neurons and a zero column; the lengths of the neurons do not matter."""
    encoder = jnp.array([[2.0, -0.5, 0.0], [0.0, 0.0, 0.0]])
    weights = model.Weights(decoder=encoder, encoder=encoder)
    x = jnp.array([[3.0, 1.0], [1.0, -9.0], [-2.0, 0.0]])
    margins = theory.margins(weights, x, [0, 0, 1], [0, 1, -1], noise_std=0.5)
    np.testing.assert_allclose(margins.own, [2.0, 4.0, np.inf])
    np.testing.assert_allclose(margins.cross, [4.0, 2.0, np.inf])
    assert margins.worst == 2
    swapped = theory.margins(weights, x, [1, 1, 0], [0, 1, -1], noise_std=0.5)
    np.testing.assert_allclose(swapped.own, [-4.0, -6.0, np.inf])
    alone = theory.margins(weights, x, [0, 0, 0], [0, 0, -1], noise_std=0.5)
    np.testing.assert_array_equal(alone.cross, np.inf)


def test_margins_are_gate_errors(points):
    """Every sample its own cluster: Φ(−margin) is the worst entry of each neuron's column of [X2]."""
    columns = theory.memorizing_weights(points, noise_std=SIGMA, weight_decay=0.01, width=6)
    blocks = np.array([0, 1, 2, 3, -1, -1])
    margins = theory.margins(columns, points, np.arange(4), blocks, noise_std=SIGMA)
    error = theory.gate_error(points, noise_std=SIGMA)
    np.testing.assert_allclose(norm.cdf(-margins.own[:4]), np.diag(error.wrong), rtol=1e-10)
    off_diagonal = jnp.where(jnp.eye(4, dtype=bool), 0, error.wrong)
    np.testing.assert_allclose(norm.cdf(-margins.cross[:4]), jnp.max(off_diagonal, axis=0), rtol=1e-10)
    np.testing.assert_allclose(norm.cdf(-margins.worst), error.worst, rtol=1e-10)


def test_margins_are_compiled_and_mapped(weights, points):
    """Over weights, labels and noise alike; twice the noise is half the margin."""
    labels, blocks = jnp.array([0, 1, 0, 1]), jnp.array([0, 0, 1, 1, -1])

    def worst(labels, noise_std):
        return theory.margins(weights, points, labels, blocks, noise_std=noise_std).worst

    mapped = jax.jit(jax.vmap(worst))(jnp.stack([labels, labels, 1 - labels]), jnp.array([SIGMA, 2 * SIGMA, SIGMA]))
    np.testing.assert_allclose(mapped[0], worst(labels, SIGMA), rtol=1e-14)
    np.testing.assert_allclose(mapped[0], 2 * mapped[1], rtol=1e-14)
    assert mapped[2] != mapped[0]


def test_gate_refusals(refused, weights, points):
    labels, blocks = np.zeros(4, int), np.zeros(5, int)
    with refused("noise_std"):
        theory.margins(weights, points, labels, blocks, noise_std=0.0)
    with refused("labels"):
        theory.margins(weights, points, labels[:3], blocks, noise_std=SIGMA)
    with refused("labels"):
        theory.margins(weights, points, labels + 0.5, blocks, noise_std=SIGMA)
    with refused("block_of_neuron"):
        theory.margins(weights, points, labels, blocks[:4], noise_std=SIGMA)
    with refused("x"):
        theory.margins(weights, points[:, :2], labels, blocks, noise_std=SIGMA)
    with refused("x"):
        theory.firing_probability(weights, points * jnp.nan, noise_std=SIGMA)
    with refused("noise_std"):
        theory.firing_probability(weights, points, noise_std=-SIGMA)
    with refused("x"):
        theory.gate_error(points.at[0].set(0), noise_std=SIGMA)


def test_memorizing_margins_are_those_of_its_weights(points):
    """Free of the columns' lengths; on a simplex the margin R/((n − 1)σ), and Φ(−cross) is the worst gate error."""
    found = theory.memorizing_margins(points, noise_std=SIGMA)
    own = np.arange(len(points))
    weights = theory.memorizing_weights(points, noise_std=SIGMA, weight_decay=1e-3)
    expected = theory.margins(weights, points, own, own, noise_std=SIGMA)
    np.testing.assert_allclose(found.own, expected.own, rtol=1e-13)
    np.testing.assert_allclose(found.cross, expected.cross, rtol=1e-13)
    np.testing.assert_allclose(found.own, np.linalg.norm(points, axis=1) / SIGMA, rtol=1e-13)
    wrong = theory.gate_error(points, noise_std=SIGMA).worst
    np.testing.assert_allclose(norm.sf(found.worst), wrong, rtol=1e-12)
    simplex = data.simplex_means(jax.random.key(3), dimension=5, components=4, radius=2.0)
    margin = theory.simplex_gate_margin(4, 2.0, SIGMA)
    np.testing.assert_allclose(theory.memorizing_margins(simplex, noise_std=SIGMA).cross, margin, rtol=1e-12)


def test_memorizing_margins_refuse(points, refused):
    with refused("noise_std"):
        theory.memorizing_margins(points, noise_std=0.0)
    with refused("x"):
        theory.memorizing_margins(points.at[1].set(0.0), noise_std=SIGMA)
