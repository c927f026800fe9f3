"""The pull of a newcomer: a gradient, the mean that defines it, and theory's beside the memorizing solution."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import certify, data, risk, theory
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive

D, WIDTH = 10, 6


@pytest.fixture(scope="module")
def simplex():
    return data.simplex_means(jax.random.key(0), dimension=D, components=5, radius=3.0)


def _random(key, width: int = WIDTH, scale: float = 0.5) -> Weights:
    first, second = jax.random.split(key)
    draw = partial(jax.random.normal, shape=(D, width))
    return Weights(scale * draw(first), scale * draw(second))


def test_the_pull_is_the_gradient_at_a_zero_decoder_column(key, simplex):
    """∂L/∂w2 at w2 = 0 is −2g(w1): another route to [X5]."""
    weights, direction = _random(derive(key, "net"), 4), jax.random.normal(derive(key, "u"), (D,))
    unit = direction / jnp.linalg.norm(direction)

    def loss(decoder):
        wider = Weights(
            jnp.concatenate([weights.decoder, decoder[:, None]], 1),
            jnp.concatenate([weights.encoder, unit[:, None]], 1),
        )
        return risk.expected_loss(wider, simplex, noise_std=0.7, weight_decay=0.1)

    pull = certify.newcomer_pull(weights, simplex, direction, noise_std=0.7)
    np.testing.assert_allclose(pull, -0.5 * jax.grad(loss)(jnp.zeros(D)), rtol=1e-12, atol=1e-13)
    padded = jnp.pad(simplex, ((0, 3), (0, 0)))
    again = certify.newcomer_pull(weights, padded, direction, noise_std=0.7, samples=len(simplex))
    np.testing.assert_allclose(again, pull, rtol=1e-13)


def test_the_pull_is_the_mean_that_defines_it(key, simplex):
    """Monte Carlo, in its own standard errors."""
    weights, direction = _random(derive(key, "net"), 4, 0.4), jax.random.normal(derive(key, "u"), (D,))
    draws = 100_000
    x = jnp.tile(simplex, (draws // len(simplex), 1))
    y = x + 0.7 * jax.random.normal(derive(key, "noise"), x.shape)
    unit = direction / jnp.linalg.norm(direction)
    values = (x - denoise(weights, y)) * jax.nn.relu(y @ unit)[:, None]
    z = (jnp.mean(values, 0) - certify.newcomer_pull(weights, simplex, direction, noise_std=0.7)) / (
        jnp.std(values, 0) / np.sqrt(draws)
    )
    assert np.max(np.abs(z)) < 5


def test_the_pull_beside_the_memorizing_solution_is_theorys(simplex):
    numbers = {"noise_std": 0.1, "weight_decay": 1e-3}
    weights = theory.memorizing_weights(simplex, **numbers)
    for direction in np.eye(D):
        expected = theory.newcomer_pull(simplex, direction, **numbers)
        measured = certify.newcomer_pull(weights, simplex, direction, noise_std=0.1)
        np.testing.assert_allclose(measured, expected, atol=1e-12)
