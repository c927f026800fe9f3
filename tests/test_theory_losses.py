"""Losses in closed form against the weights' own loss, sampled, and against each other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data, model, theory

SIGMA, DECAY = 0.2, 0.01
RANKS = (2, 3)
NUMBERS: Any = {"noise_std": SIGMA, "weight_decay": DECAY}


@pytest.fixture(scope="module")
def mixture():
    """Two components far apart in units of spread and noise, with unequal shares, norms and spreads."""
    key = jax.random.key(3)
    clean = data.simplex_mixture(key, dimension=7, components=2, radius=6.0, rank=3, spread=1.0, clean=True)
    scale = jnp.array([0.3, 0.6])
    return data.GaussianMixture(jnp.array([0.3, 0.7]), clean.means, clean.factors * scale[:, None, None])


@pytest.fixture(scope="module")
def clusters(mixture):
    return mixture.sample(jax.random.key(4), 60)


@jax.jit
def sampled_loss(key, weights, x):
    """Mean over noise and samples of ‖f(x + σε) − x‖², and its standard error over draws of all the noise."""
    noise = jax.random.normal(key, (1000, *x.shape))
    errors = jnp.sum((model.denoise(weights, x[None] + SIGMA * noise) - x[None]) ** 2, axis=2)
    per_draw = jnp.mean(errors, axis=1)
    return jnp.mean(per_draw), jnp.std(per_draw, ddof=1) / jnp.sqrt(1000.0)


@jax.jit
def sampled_test_loss(key, weights, mixture):
    """The same on fresh samples of the mixture."""
    keys = jax.random.split(key, 2)
    x = mixture.sample(keys[0], 50_000).x
    noise = SIGMA * jax.random.normal(keys[1], x.shape)
    errors = jnp.sum((model.denoise(weights, x + noise) - x) ** 2, axis=1)
    return jnp.mean(errors), jnp.std(errors, ddof=1) / jnp.sqrt(50_000.0)


def z_score(measured, closed_form):
    mean, sem = measured
    return abs(mean - closed_form) / sem


def test_memorizing_loss_is_the_sampled_one(key):
    x = data.simplex_means(jax.random.key(0), dimension=7, components=4, radius=4.0)
    x = x * jnp.array([1.0, 1.3, 0.8, 1.0])[:, None]
    weights = theory.memorizing_weights(x, **NUMBERS)
    assert theory.gate_error(x, noise_std=SIGMA).worst < 1e-6
    assert z_score(sampled_loss(key, weights, x), theory.memorizing_loss(x, **NUMBERS)) < 5
    decay = DECAY * jnp.sum(weights.encoder**2 + weights.decoder**2)
    expected = theory.memorizing_loss(x, **NUMBERS) + decay
    np.testing.assert_allclose(theory.memorizing_objective(x, **NUMBERS), expected, rtol=1e-13)


def test_memorizing_loss_without_decay():
    """(1/n) Σ σ²‖x‖²/(σ² + ‖x‖²): below σ², towards it for large samples, and zero without noise."""
    x = np.array([[3.0, 0.0, 0.0], [-1.0, 2.0, 0.5]])
    squares = np.sum(x**2, axis=1)
    loss = theory.memorizing_loss(x, noise_std=SIGMA)
    np.testing.assert_allclose(loss, np.mean(SIGMA**2 * squares / (SIGMA**2 + squares)), rtol=1e-14)
    assert loss < SIGMA**2
    np.testing.assert_allclose(theory.memorizing_loss(1e8 * x, noise_std=SIGMA), SIGMA**2, rtol=1e-14)
    assert theory.memorizing_loss(x, noise_std=0.0) == 0
    # free of the dimension
    wide = np.pad(x, ((0, 0), (0, 5)))
    np.testing.assert_allclose(theory.memorizing_loss(wide, noise_std=SIGMA), loss, rtol=1e-14)


def test_block_loss_is_the_sampled_one(key, clusters):
    arguments = (clusters.x, clusters.labels, RANKS)
    weights = theory.block_weights(*arguments, **NUMBERS, rotation_steps=0)
    names = theory.block_of_neuron(RANKS)
    assert theory.margins(weights, clusters.x, clusters.labels, names, noise_std=SIGMA).worst > 5
    loss = theory.block_loss(*arguments, **NUMBERS)
    assert z_score(sampled_loss(key, weights, clusters.x), loss) < 5
    decay = DECAY * jnp.sum(weights.encoder**2 + weights.decoder**2)
    np.testing.assert_allclose(theory.block_objective(*arguments, **NUMBERS), loss + decay, rtol=1e-13)


def test_block_loss_is_the_formula(clusters):
    x, labels = np.asarray(clusters.x), np.asarray(clusters.labels)
    total = 0.0
    for k, rank in enumerate(RANKS):
        cluster = x[labels == k]
        eigenvalues = np.linalg.eigvalsh(cluster.T @ cluster)[::-1]
        kept = eigenvalues[:rank]
        gains = (kept - len(x) * DECAY) / (kept + len(cluster) * SIGMA**2)
        noise = len(cluster) * SIGMA**2 * gains**2
        total += np.sum(kept * (1 - gains) ** 2 + noise) + np.sum(eigenvalues[rank:])
    loss = theory.block_loss(x, labels, RANKS, **NUMBERS)
    np.testing.assert_allclose(loss, total / len(x), rtol=1e-12)


def test_memorizing_is_the_block_loss_of_single_samples(clusters):
    x = clusters.x[:5]
    for function, other in (
        (theory.memorizing_loss, theory.block_loss),
        (theory.memorizing_objective, theory.block_objective),
    ):
        np.testing.assert_allclose(
            function(x, **NUMBERS), other(x, np.arange(5), np.ones(5, int), **NUMBERS), rtol=1e-13
        )


def test_analytic_gains_minimize_the_objective(clusters):
    """Among all gains of the kept directions the objective is lowest at the solution's: no gain can do better."""
    x, labels = np.asarray(clusters.x), np.asarray(clusters.labels)
    best = theory.block_objective(x, labels, RANKS, **NUMBERS)
    gains = np.asarray(theory.block_gains(x, labels, RANKS, **NUMBERS))
    spectrum = theory.sample_spectrum(x, labels)
    eigenvalues, shares = np.asarray(spectrum.eigenvalues), np.asarray(spectrum.proportions)

    def objective(a):
        return shares @ np.sum(eigenvalues * (1 - a) ** 2 + SIGMA**2 * a**2, axis=1) + 2 * DECAY * np.sum(a)

    np.testing.assert_allclose(objective(gains), best, rtol=1e-13)
    for k, rank in enumerate(RANKS):
        for j in range(rank):
            for step in (-0.01, 0.01):
                other = gains.copy()
                other[k, j] += step
                curvature = shares[k] * (eigenvalues[k, j] + SIGMA**2)
                np.testing.assert_allclose(objective(other) - best, curvature * step**2, rtol=1e-8)


def test_population_loss_is_the_sampled_one(key, mixture):
    """[X4] on fresh samples of the mixture; the printed bound misses the noise that the filter passes."""
    weights = theory.population_weights(mixture, RANKS, **NUMBERS, rotation_steps=0)
    measured = sampled_test_loss(key, weights, mixture)
    loss = theory.population_loss(mixture, RANKS, **NUMBERS)
    assert z_score(measured, loss) < 5
    decay = DECAY * jnp.sum(weights.encoder**2 + weights.decoder**2)
    np.testing.assert_allclose(theory.population_objective(mixture, RANKS, **NUMBERS), loss + decay, rtol=1e-13)
    printed = theory.printed_population_loss(mixture, RANKS, **NUMBERS)
    assert z_score(measured, printed) > 5
    gains = theory.population_gains(mixture, RANKS, **NUMBERS)
    passed = SIGMA**2 * mixture.proportions @ jnp.sum(gains**2, axis=1)
    np.testing.assert_allclose(loss - printed, passed, rtol=1e-12)


def test_population_loss_without_decay(mixture):
    """Σ_k ρ_k [Σ_{j≤p_k} σ²e/(e+σ²) + Σ_{j>p_k} e], and printed Σ_{j≤p_k} eσ⁴/(e+σ²)² with the same tail."""
    right, printed = 0.0, 0.0
    for share, moment, rank in zip(mixture.proportions, mixture.second_moments(), RANKS, strict=True):
        e = np.linalg.eigvalsh(moment)[::-1]
        kept, tail = e[:rank], np.sum(e[rank:])
        right += float(share) * (np.sum(SIGMA**2 * kept / (kept + SIGMA**2)) + tail)
        printed += float(share) * (np.sum(kept * SIGMA**4 / (kept + SIGMA**2) ** 2) + tail)
    np.testing.assert_allclose(theory.population_loss(mixture, RANKS, noise_std=SIGMA), right, rtol=1e-12)
    np.testing.assert_allclose(theory.printed_population_loss(mixture, RANKS, noise_std=SIGMA), printed, rtol=1e-12)
    # full rank without noise: nothing is lost
    np.testing.assert_allclose(theory.population_loss(mixture, (4, 4), noise_std=0.0), 0, atol=1e-13)


def test_losses_are_compiled_mapped_and_differentiated(clusters):
    """dJ*/dλ of the objective at its minimizer is 2Σa, by the envelope theorem; over σ it maps."""
    x, labels = clusters.x, np.asarray(clusters.labels)

    def objective(noise_std, weight_decay):
        return theory.block_objective(x, labels, RANKS, noise_std=noise_std, weight_decay=weight_decay)

    gains = theory.block_gains(x, labels, RANKS, **NUMBERS)
    slope = jax.jit(jax.grad(objective, argnums=1))(SIGMA, DECAY)
    np.testing.assert_allclose(slope, 2 * jnp.sum(gains), rtol=1e-12)
    mapped = jax.vmap(objective, in_axes=(0, None))(jnp.array([SIGMA, 1.0]), DECAY)
    np.testing.assert_allclose(mapped[0], objective(SIGMA, DECAY), rtol=1e-13)
    assert mapped[1] > mapped[0]


def test_losses_refuse_what_the_weights_refuse(refused, clusters, mixture):
    with refused("weight_decay"):
        theory.memorizing_loss(np.eye(2), noise_std=0.1, weight_decay=0.5)
    with refused("noise_std"):
        theory.memorizing_objective(np.eye(2), noise_std=-0.1, weight_decay=0.0)
    with refused("ranks"):
        theory.block_loss(clusters.x, clusters.labels, (2, 8), noise_std=0.1)
    with refused("weight_decay"):
        theory.population_loss(mixture, RANKS, noise_std=0.1, weight_decay=1.0)
    with refused("ranks"):
        theory.printed_population_loss(mixture, (2,), noise_std=0.1)
