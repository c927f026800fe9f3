"""The population's filters of Cor. 3.3: formula, limit of many samples, moments, rotation, refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data, theory

SIGMA, DECAY = 0.2, 0.01
RANKS = (3, 3, 3)
TIGHT = 1e-12


@pytest.fixture(scope="module")
def mixture():
    key = jax.random.key(1)
    return data.simplex_mixture(key, dimension=10, components=3, radius=5.0, rank=4, spread=0.4, clean=True)


def filters(weights, blocks):
    """W_kW_kᵀ of every block."""
    encoder = np.asarray(weights.encoder)
    return np.stack([encoder[:, blocks == k] @ encoder[:, blocks == k].T for k in range(blocks.max() + 1)])


def test_population_weights_are_the_formula_and_the_limit_of_many_samples(mixture):
    measured = filters(
        theory.population_weights(mixture, RANKS, noise_std=SIGMA, weight_decay=DECAY), theory.block_of_neuron(RANKS)
    )
    for k, moment in enumerate(np.asarray(mixture.second_moments())):
        eigenvalues, vectors = np.linalg.eigh(moment)
        eigenvalues, vectors = eigenvalues[-3:], vectors[:, -3:]
        gains = (eigenvalues - DECAY / float(mixture.proportions[k])) / (eigenvalues + SIGMA**2)
        # the spread is round: only the leading direction and the sum of the others are determined
        np.testing.assert_allclose(np.linalg.eigvalsh(measured[k])[-3:], gains, rtol=0, atol=TIGHT)
        np.testing.assert_allclose(measured[k] @ vectors[:, -1], gains[-1] * vectors[:, -1], rtol=0, atol=TIGHT)
    both = theory.population_filter(mixture, RANKS, noise_std=SIGMA, weight_decay=DECAY)
    np.testing.assert_allclose(both, measured, rtol=0, atol=TIGHT)


def test_population_is_the_sample_solution_on_the_moments(key):
    """Samples whose moments are those of the mixture exactly have its weights; factors of a general shape."""
    keys = jax.random.split(key, 3)
    proportions = jnp.array([0.25, 0.75])
    means = 4 * jax.random.normal(keys[0], (2, 6))
    factors = jax.random.normal(keys[1], (2, 6, 2))
    mixture = data.GaussianMixture(proportions, means, factors)
    # μ ± √2 f_j: four points a component with mean μ and covariance FFᵀ; the second three times, for its share
    offsets = jnp.sqrt(2.0) * jnp.concatenate([factors, -factors], axis=2)
    points = means[:, None, :] + jnp.swapaxes(offsets, 1, 2)
    x = jnp.concatenate([points[0], jnp.tile(points[1], (3, 1))])
    labels = np.repeat([0, 1], [4, 12])
    numbers: Any = {"noise_std": SIGMA, "weight_decay": DECAY, "rotation_steps": 0}
    names = theory.block_of_neuron((3, 2))
    np.testing.assert_allclose(
        filters(theory.population_weights(mixture, (3, 2), **numbers), names),
        filters(theory.block_weights(x, labels, (3, 2), **numbers), names),
        rtol=0,
        atol=TIGHT,
    )
    printed = theory.printed_population_filter(mixture, (3, 2), noise_std=SIGMA, weight_decay=DECAY)
    leading = np.linalg.eigvalsh(mixture.second_moments())[:, -1]
    expected = (leading - DECAY / np.asarray(proportions)) / (leading + SIGMA)
    np.testing.assert_allclose(np.linalg.eigvalsh(printed)[:, -1], expected, rtol=TIGHT)


def test_population_rotation_keeps_the_filter_and_widens_the_margin(mixture):
    """The margin it widens: wᵀμ_ℓ over the standard deviation of wᵀy on component ℓ."""
    names = theory.block_of_neuron(RANKS)

    def worst(weights):
        w = np.asarray(weights.encoder)
        covariances = np.asarray(mixture.covariances()) + SIGMA**2 * np.eye(10)
        deviations = np.sqrt(np.einsum("dj,kde,ej->kj", w, covariances, w))
        signs = np.where(np.arange(3)[:, None] == names[None, :], 1, -1)
        return np.min(signs * (np.asarray(mixture.means) @ w) / deviations)

    numbers: Any = {"noise_std": SIGMA, "weight_decay": DECAY}
    start = theory.population_weights(mixture, RANKS, **numbers, rotation_steps=0)
    chosen = theory.population_weights(mixture, RANKS, **numbers)
    assert worst(chosen) > worst(start) > 0
    np.testing.assert_allclose(filters(chosen, names), filters(start, names), rtol=0, atol=TIGHT)


def test_population_refusals(refused, mixture):
    def solve(mixture=mixture, ranks=RANKS, weight_decay=DECAY, **settings):
        return theory.population_weights(mixture, ranks, noise_std=SIGMA, weight_decay=weight_decay, **settings)

    for ranks in ((3, 3), (3, 3, 6), (3, 3, 3, 3)):
        with refused("ranks"):
            solve(ranks=ranks)
    with refused("weight_decay"):
        solve(weight_decay=0.1601 / 3)
    with refused("width"):
        solve(width=8)
    with refused("proportions"):
        solve(mixture.replace(proportions=mixture.proportions / 2))
    with refused("proportions"):
        solve(mixture.replace(proportions=mixture.proportions[:2]))
    with refused("factors"):
        solve(mixture.replace(factors=mixture.factors[:2]))
    with refused("means"):
        solve(mixture.replace(means=mixture.means * jnp.nan))
    with refused("width"):
        theory.block_of_neuron(RANKS, 8)
