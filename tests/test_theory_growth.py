"""Newcomers beside the memorizing solution: their pull against draws and quadrature, and the thresholds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import fminbound
from scipy.stats import norm

from dae_theory import data, model, theory

SIGMA = 0.5


def dense_pull(x, u, sigma, decay, draws, key):
    """(1/n) Σ_i (x_i − f(y_i)) (uᵀy_i)₊ draw by draw, with the model's own gates."""
    weights = theory.memorizing_weights(x, noise_std=sigma, weight_decay=decay)

    @jax.jit
    def pulls(key):
        y = x[None] + sigma * jax.random.normal(key, (draws, *x.shape))
        residual = x[None] - model.denoise(weights, y)
        return jnp.mean(residual * jax.nn.relu(y @ u)[:, :, None], axis=1)

    sampled = np.asarray(pulls(key))
    return sampled.mean(axis=0), sampled.std(axis=0, ddof=1) / np.sqrt(draws)


@pytest.mark.parametrize("cosine", [-0.6, 0.0, 0.3])
def test_pull_is_the_sampled_one(key, cosine):
    """[X5] at the memorizing solution of three obtuse samples, along generic directions."""
    x = data.simplex_means(jax.random.key(0), dimension=5, components=3, radius=5.0)
    x = x * jnp.array([1.0, 1.2, 0.9])[:, None]
    other = jnp.array([0.3, -0.5, 0.2, 0.7, -0.1])
    unit = x[0] / jnp.linalg.norm(x[0])
    other = other - (other @ unit) * unit
    u = cosine * unit + np.sqrt(1 - cosine**2) * other / jnp.linalg.norm(other)
    mean, error = dense_pull(x, u, SIGMA, 0.05, 40_000, key)
    closed = theory.newcomer_pull(x, 3 * u, noise_std=SIGMA, weight_decay=0.05)
    assert np.all(np.abs(mean - closed) < 5 * error)


@pytest.mark.parametrize("cosine", [-0.5, 0.0, 0.1, 0.8])
def test_force_is_the_quadrature(cosine):
    """One sample: E[(x − f(y))(uᵀy)₊] over the two noise components that matter, the gate taken as open."""
    radius, decay = 3.0, 0.02
    gain = (radius**2 - decay) / (radius**2 + SIGMA**2)
    sine = np.sqrt(1 - cosine**2)

    # Gauss-Legendre over both normals, the inner one from the kink of the ReLU on, so that it is smooth where it looks
    nodes, weights = np.polynomial.legendre.leggauss(120)
    a = 12 * nodes[:, None]
    along = radius + SIGMA * a
    kink = np.clip(-cosine * along / (sine * SIGMA), -12, 12)
    b = kink + (12 - kink) * (nodes[None, :] + 1) / 2
    volume = 12 * weights[:, None] * (12 - kink) / 2 * weights[None, :]
    density = norm.pdf(a) * norm.pdf(b)
    expected = np.sum(volume * density * (radius - gain * along) * (cosine * along + sine * SIGMA * b))
    force = theory.growth_force(cosine, radius, noise_std=SIGMA, weight_decay=decay)
    np.testing.assert_allclose(force, expected, rtol=1e-11)
    # and it is the pull of the same direction, along the sample
    x, u = jnp.array([[0.0, radius]]), jnp.array([sine, cosine])
    pull = theory.newcomer_pull(x, u, noise_std=SIGMA, weight_decay=decay)
    np.testing.assert_allclose(pull, [0, float(force)], rtol=1e-13, atol=1e-16)


def test_the_samples_own_neuron_is_stationary():
    """Along the sample itself, ‖g‖ = λ up to the closed gate."""
    force = theory.growth_force(1.0, 10.0, noise_std=1.0, weight_decay=0.3)
    np.testing.assert_allclose(force, 0.3, rtol=1e-12)


def test_thresholds_are_where_the_force_is_the_decay():
    """At λ*, the orthogonal newcomer is just held; at the other threshold, the steepest one is, and no other grows."""
    for radius in (2.0, 3.0, 10.0):
        level = theory.orthogonal_growth_threshold(radius, SIGMA)
        force = theory.growth_force(0.0, radius, noise_std=SIGMA, weight_decay=level)
        np.testing.assert_allclose(force, level, rtol=1e-13)
        kappa = radius * SIGMA / (np.sqrt(2 * np.pi) * (radius**2 + SIGMA**2))
        np.testing.assert_allclose(level, kappa * SIGMA**2 / (1 - kappa), rtol=1e-13)

        def threshold(t, radius=radius, kappa=kappa):
            bump = kappa * np.exp(-(t**2) / 2)
            return -(SIGMA**2) * bump / (1 - t * SIGMA / radius * norm.cdf(t) - bump)

        steepest = theory.growth_threshold(radius, SIGMA)
        t = fminbound(threshold, -1, 1, xtol=1e-9)
        np.testing.assert_allclose(steepest, -threshold(t), rtol=1e-12)
        assert level < steepest
        cosines = jnp.linspace(-1, 0.4, 29)
        forces = jax.vmap(lambda c, r=radius, s=steepest: theory.growth_force(c, r, noise_std=SIGMA, weight_decay=s))(
            cosines
        )
        assert jnp.max(forces) <= steepest * (1 + 1e-12)


def test_leaning_raises_the_threshold_by_an_eighth_of_the_noise_share():
    """Steepest over orthogonal threshold is 1 + σ²/(8R²) to leading order."""
    for radius in (200.0, 1000.0):
        excess = theory.growth_threshold(radius, 1.0) / theory.orthogonal_growth_threshold(radius, 1.0) - 1
        np.testing.assert_allclose(excess * 8 * radius**2, 1, rtol=2 / radius)


def test_threshold_is_differentiable():
    def difference(function, radius, step=1e-4):
        return (function(radius + step, SIGMA) - function(radius - step, SIGMA)) / (2 * step)

    for function in (theory.growth_threshold, theory.orthogonal_growth_threshold):
        slope = jax.jit(jax.grad(function))(3.0, SIGMA)
        np.testing.assert_allclose(slope, difference(function, 3.0), rtol=1e-6)


def test_tied_gain_is_the_best_over_cosines():
    """max_c c‖g(c)‖ at λ = 0 over a fine grid, reached at c = σ/R; 0.242 σ⁴/(R² + σ²)."""
    radius = 4.0
    cosines = jnp.linspace(0, 1, 4001)
    forces = jax.vmap(lambda c: theory.growth_force(c, radius, noise_std=SIGMA, weight_decay=0.0))(cosines)
    gains = cosines * forces
    best = theory.tied_growth_gain(radius, SIGMA)
    np.testing.assert_allclose(jnp.max(gains), best, rtol=1e-7)
    np.testing.assert_allclose(cosines[jnp.argmax(gains)], SIGMA / radius, atol=3e-4)
    np.testing.assert_allclose(best, norm.pdf(1) * SIGMA**4 / (radius**2 + SIGMA**2), rtol=1e-14)


def test_simplex_does_not_pull_orthogonal_newcomers():
    """(σ²/n + λ) Σ_i κ_i x_i/‖x_i‖: zero on a simplex, not zero once a radius differs."""
    x = data.simplex_means(jax.random.key(1), dimension=5, components=3, radius=4.0)
    u = jnp.linalg.svd(x)[2][-1]
    numbers = {"noise_std": SIGMA, "weight_decay": 0.01}
    np.testing.assert_allclose(theory.newcomer_pull(x, u, **numbers), 0, atol=1e-15)
    unequal = theory.newcomer_pull(x * jnp.array([1.0, 1.0, 2.0])[:, None], u, **numbers)
    kappas = np.array([4.0, 4.0, 8.0]) * SIGMA / (np.sqrt(2 * np.pi) * (np.array([16, 16, 64]) + SIGMA**2))
    np.testing.assert_allclose(unequal, (SIGMA**2 / 3 + 0.01) * kappas @ np.asarray(x) / 4, rtol=1e-12)


def test_growth_refusals(refused):
    x = np.eye(2)
    for argument, case in {
        "direction": {"direction": np.zeros(2)},
        "noise_std": {"noise_std": 0.0},
        "weight_decay": {"weight_decay": 0.5},
    }.items():
        with refused(argument):
            theory.newcomer_pull(x, **({"direction": x[0], "noise_std": 0.1, "weight_decay": 0.0} | case))
    with refused("direction"):
        theory.newcomer_pull(x, np.ones(3), noise_std=0.1, weight_decay=0.0)
    with refused("cosine"):
        theory.growth_force(1.5, 1.0, noise_std=0.1, weight_decay=0.0)
    with refused("radius"):
        theory.growth_threshold(0.0, 0.1)
    with refused("noise_std"):
        theory.orthogonal_growth_threshold(1.0, -0.1)
    with refused("radius"):
        theory.tied_growth_gain(np.nan, 0.1)
