"""The weight decay of a gain is the inverse of the gain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import theory


def test_the_decay_of_a_gain_is_the_inverse_of_the_gain(key):
    """λ → a → λ where the direction survives; without decay the gain is e/(e + σ²), above it λ < 0."""
    eigenvalues = jnp.exp(jax.random.normal(key, (6,)))
    shares, sigma = jnp.linspace(0.1, 0.6, 6), 0.7
    decays = 0.5 * shares * eigenvalues
    gains = theory.gain(eigenvalues, shares, ridge=sigma**2, weight_decay=decays)
    found = theory.weight_decay_of_gain(gains, eigenvalues, shares, noise_std=sigma)
    np.testing.assert_allclose(found, decays, rtol=1e-13)
    free = eigenvalues / (eigenvalues + sigma**2)
    np.testing.assert_allclose(theory.weight_decay_of_gain(free, eigenvalues, shares, noise_std=sigma), 0.0, atol=1e-14)
    assert np.all(theory.weight_decay_of_gain(1.1 * free, eigenvalues, shares, noise_std=sigma) < 0)


@pytest.mark.parametrize(
    ("argument", "change"),
    [("eigenvalue", {"eigenvalue": -1.0}), ("proportion", {"proportion": 0.0}), ("noise_std", {"noise_std": -0.1})],
)
def test_the_decay_of_a_gain_refuses(argument, change, refused):
    with refused(argument):
        theory.weight_decay_of_gain(**{"gain": 0.5, "eigenvalue": 1.0, "proportion": 0.5, "noise_std": 0.1, **change})
