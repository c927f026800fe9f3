"""Conditions behind the lines: against brute force, against each other, and mapped over a mesh."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from dae_theory import data, theory

SIGMA, DECAY = 0.3, 0.02


@pytest.fixture(scope="module")
def mixture():
    """Three components with different shares and spreads."""
    clean = data.simplex_mixture(
        jax.random.key(0), dimension=8, components=3, radius=3.0, rank=2, spread=1.0, clean=True
    )
    scale = jnp.array([0.3, 0.6, 1.0])
    return data.GaussianMixture(jnp.array([0.5, 0.3, 0.2]), clean.means, clean.factors * scale[:, None, None])


@pytest.fixture(scope="module")
def spectrum(mixture):
    return theory.mixture_spectrum(mixture)


def test_spectra_rebuild_the_second_moments(mixture, spectrum, key):
    rebuilt = jnp.einsum("kdr,kr,ker->kde", spectrum.directions, spectrum.eigenvalues, spectrum.directions)
    np.testing.assert_allclose(rebuilt, mixture.second_moments(), rtol=0, atol=1e-13)
    x = jax.random.normal(key, (9, 8))
    labels = np.array([0, 0, 1, 1, 1, 1, 1, 1, 0])
    sampled = theory.sample_spectrum(x, labels)
    for k in range(2):
        cluster = x[labels == k]
        directions, eigenvalues = sampled.directions[k], sampled.eigenvalues[k]
        np.testing.assert_allclose(
            (directions * eigenvalues[None, :]) @ directions.T, cluster.T @ cluster / len(cluster), rtol=0, atol=1e-13
        )
        assert jnp.all(directions.T @ cluster.mean(axis=0) >= 0)
    np.testing.assert_allclose(sampled.proportions, [1 / 3, 2 / 3], rtol=1e-15)


def test_best_allocation_beats_every_other(mixture, spectrum):
    """All ways to share p neurons, by brute force over the closed-form objective; and the mapped answer is the same."""
    ranks = list(itertools.product(range(4), repeat=3))
    kept = np.arange(3)[None, None, :] < np.asarray(ranks)[:, :, None]
    decreases = theory.objective_decrease(
        spectrum.eigenvalues, spectrum.proportions[:, None], noise_std=SIGMA, weight_decay=DECAY
    )
    totals = np.sum(np.asarray(decreases)[None] * kept, axis=(1, 2))
    widths = np.arange(10)
    mapped = jax.jit(
        jax.vmap(lambda width: theory.best_allocation(spectrum, width, noise_std=SIGMA, weight_decay=DECAY))
    )(jnp.asarray(widths))
    trace = np.asarray(spectrum.proportions) @ np.sum(spectrum.eigenvalues, axis=1)
    for width in widths:
        most = max(total for total, chosen in zip(totals, ranks, strict=True) if sum(chosen) <= width)
        np.testing.assert_allclose(mapped.objective[width], trace - most, rtol=1e-13)
        assert mapped.ranks[width].sum() == width
    # and that objective is the one of the solution itself
    for width in (3, 5):
        chosen = tuple(int(rank) for rank in mapped.ranks[width])
        expected = theory.population_objective(mixture, chosen, noise_std=SIGMA, weight_decay=DECAY)
        np.testing.assert_allclose(mapped.objective[width], expected, rtol=1e-12)


def test_allocation_leaves_dead_directions_alone(spectrum):
    """With λ above every ρ_k e_j no neuron pays; with λ between them only the leading directions do."""
    nothing = theory.best_allocation(spectrum, 9, noise_std=SIGMA, weight_decay=100.0)
    np.testing.assert_array_equal(nothing.ranks, 0)
    means_only = theory.best_allocation(spectrum, 9, noise_std=SIGMA, weight_decay=0.5)
    np.testing.assert_array_equal(means_only.ranks, 1)


def test_decrease_is_the_minimum_over_the_gain():
    """ρe − min_a {ρ[e(1−a)² + σ²a²] + 2λa}, a ≥ 0, on a grid of gains; for dead directions, zero."""
    gains = np.linspace(0, 1, 200_001)
    for e, share in ((4.0, 0.2), (0.5, 0.7), (0.05, 0.3), (0.0, 0.5)):
        values = share * (e * (1 - gains) ** 2 + SIGMA**2 * gains**2) + 2 * DECAY * gains
        measured = theory.objective_decrease(e, share, noise_std=SIGMA, weight_decay=DECAY)
        np.testing.assert_allclose(measured, share * e - values.min(), rtol=0, atol=1e-9)


def test_decrease_of_a_sample_is_the_memorizing_objective(key):
    x = jax.random.normal(key, (5, 4)) + 1
    decreases = theory.objective_decrease(jnp.sum(x**2, axis=1), 0.2, noise_std=SIGMA, weight_decay=DECAY)
    objective = theory.memorizing_objective(x, noise_std=SIGMA, weight_decay=DECAY)
    np.testing.assert_allclose(jnp.mean(jnp.sum(x**2, axis=1)) - jnp.sum(decreases), objective, rtol=1e-13)


def test_boundary_is_the_zero_of_the_condition(spectrum):
    """By bisection of the condition in p, over a range of n; ∞ where memorizing never wins."""

    def condition(samples, width):
        return theory.allocation_condition(spectrum, samples, width, noise_std=SIGMA, weight_decay=DECAY / 5)

    def boundary(samples):
        return theory.memorizing_boundary(spectrum, samples, noise_std=SIGMA, weight_decay=DECAY / 5)

    counts = jnp.array([2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 1024.0])
    found = np.asarray(jax.jit(jax.vmap(boundary))(counts))
    widths = jnp.linspace(0, 1200, 12_001)
    table = np.asarray(jax.jit(jax.vmap(lambda n: jax.vmap(lambda p: condition(n, p))(widths)))(counts))
    for n, p, row in zip(np.asarray(counts), found, table, strict=True):
        inside = np.asarray(widths) <= n
        if np.isinf(p):
            assert np.all(row[inside & (np.asarray(widths) > 0)] < 0)
        else:
            np.testing.assert_allclose(condition(n, p), 0, atol=1e-12)
            assert p <= n
            assert np.all(row[inside & (np.asarray(widths) > p + 1e-9)] > 0)
    assert np.isinf(found[-1])
    assert np.isfinite(found).sum() >= 4


def test_boundary_without_decay_approaches_the_number_of_samples(spectrum):
    """At λ = 0 memorizing costs less than σ², so for small noise it wins only just below p = n."""
    counts = jnp.array([20.0, 200.0, 2000.0])
    quiet = jax.vmap(lambda n: theory.memorizing_boundary(spectrum, n, noise_std=1e-3, weight_decay=0.0))(counts)
    np.testing.assert_allclose(quiet, counts, rtol=1e-6)
    assert jnp.all(quiet < counts)
    loud = jax.vmap(lambda n: theory.memorizing_boundary(spectrum, n, noise_std=1.0, weight_decay=0.0))(counts)
    assert jnp.all(loud < quiet)


def test_conditions_vanish_on_their_lines():
    assert theory.width_condition(7, 7) == 0
    assert theory.angle_condition(7, 6) == 0
    assert theory.decay_condition(50, 2.0, 0.08) == pytest.approx(0, abs=1e-15)
    assert theory.decay_condition(50, 2.0, 0.4, copies=5) == pytest.approx(0, abs=1e-14)
    np.testing.assert_allclose(theory.survival_copies(jnp.array([2.0, 0.0]), samples=50, weight_decay=0.4), 5.0)
    assert theory.gate_condition(5, 1.0, 0.1) == pytest.approx(0, abs=1e-14)
    mapped = jax.jit(jax.vmap(theory.width_condition, in_axes=(0, None)))(jnp.arange(3, 10), 7)
    np.testing.assert_array_equal(mapped, 7 - np.arange(3, 10))


def test_simplex_gates_are_those_of_the_samples():
    """Margin and error by formula and by [X1], [X2] on a simplex itself."""
    x = data.simplex_means(jax.random.key(1), dimension=6, components=5, radius=2.0)
    margin = theory.simplex_gate_margin(5, 2.0, SIGMA)
    columns = theory.memorizing_weights(x, noise_std=SIGMA, weight_decay=0.0)
    measured = theory.margins(columns, x, np.arange(5), np.arange(5), noise_std=SIGMA)
    np.testing.assert_allclose(measured.cross, margin, rtol=1e-12)
    np.testing.assert_allclose(theory.gate_error(x, noise_std=SIGMA).worst, norm.cdf(-margin), rtol=1e-12)
    np.testing.assert_allclose(theory.simplex_gate_error(5, 2.0, SIGMA), norm.cdf(-margin), rtol=1e-12)


def test_isolation_counts_the_foreign_neurons_that_fire(key):
    """1 − the mean number of neurons of other samples that fire on a noisy sample, [X2]; zero for three at ½."""
    x = jax.random.normal(key, (6, 4))
    firing = np.array(theory.gate_error(x, noise_std=SIGMA).firing)
    np.fill_diagonal(firing, 0)
    condition = theory.isolation_condition(6, firing.sum() / 30)
    np.testing.assert_allclose(condition, 1 - firing.sum(axis=1).mean(), rtol=1e-12, atol=1e-12)
    assert theory.isolation_condition(3, 0.5) == 0


def test_phase_refusals(refused, spectrum):
    with refused("samples"):
        theory.simplex_gate_margin(1, 1.0, 0.1)
    with refused("noise_std"):
        theory.simplex_gate_error(3, 1.0, 0.0)
    with refused("radius"):
        theory.gate_condition(3, -1.0, 0.1)
    with refused("margin"):
        theory.gate_condition(3, 1.0, 0.1, margin=-1.0)
    with refused("weight_decay"):
        theory.decay_condition(3, 1.0, -0.1)
    with refused("weight_decay"):
        theory.objective_decrease(1.0, 0.5, noise_std=0.1, weight_decay=-1.0)
    with refused("noise_std"):
        theory.best_allocation(spectrum, 3, noise_std=-1.0, weight_decay=0.0)
    with refused("firing"):
        theory.isolation_condition(3, -0.1)
    with refused("width"):
        theory.best_allocation(spectrum, -1, noise_std=0.1, weight_decay=0.0)
    with refused("samples"):
        theory.memorizing_boundary(spectrum, 0, noise_std=0.1, weight_decay=0.0)
    with refused("labels"):
        theory.sample_spectrum(np.eye(3), np.array([0, 0, 2]))
