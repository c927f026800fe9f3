"""Nets with biases: the exact losses against sampling, slopes and the bias-free ones, and what training learns."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dae_theory import biases, risk, theory, training
from dae_theory.data import simplex_mixture
from dae_theory.model import Weights

N, D, P = 5, 3, 4
NUMBERS: dict[str, Any] = {"noise_std": 0.5, "weight_decay": 0.05}


@pytest.fixture
def x(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (N, D))


@pytest.fixture
def weights(key):
    return Weights(*(0.6 * jax.random.normal(jax.random.fold_in(key, place), (D + 1, P)) for place in (2, 3)))


def _inner(weights):
    return Weights(weights.decoder[:-1], weights.encoder[:-1])


def test_loss_is_the_mean_over_noise(key, weights, x):
    draws = 40_000
    y = x[None] + NUMBERS["noise_std"] * jax.random.normal(key, (draws, N, D))
    errors = jnp.mean(jnp.sum((biases.denoise(weights, y) - x[None]) ** 2, axis=-1), axis=1)
    penalty = jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder[:-1] ** 2)
    exact = biases.expected_loss(weights, x, **NUMBERS) - NUMBERS["weight_decay"] * penalty
    assert abs(errors.mean() - exact) < 5 * errors.std() / draws**0.5


def test_mixture_loss_is_the_mean_over_fresh_samples(key, weights):
    mixture, draws = simplex_mixture(key, dimension=D, components=2, radius=1.5, rank=1, spread=0.7), 40_000
    fresh = mixture.sample(jax.random.fold_in(key, 4), draws).x
    y = fresh + 0.5 * jax.random.normal(jax.random.fold_in(key, 5), fresh.shape)
    errors = jnp.sum((biases.denoise(weights, y) - fresh) ** 2, axis=1)
    exact = biases.mixture_loss(weights, mixture, noise_std=0.5)
    assert abs(errors.mean() - exact) < 5 * errors.std() / draws**0.5
    without = Weights(weights.decoder, weights.encoder.at[-1].set(0))
    plain = risk.mixture_loss(_inner(weights), mixture, noise_std=0.5)
    np.testing.assert_allclose(biases.mixture_loss(without, mixture, noise_std=0.5), plain, rtol=1e-12)
    assert abs(plain - exact) > 1e-3


def test_without_bias_it_is_the_bias_free_loss_and_the_idle_row_changes_nothing(weights, x):
    without = Weights(weights.decoder, weights.encoder.at[-1].set(0))
    expected = risk.expected_loss(_inner(weights), x, **NUMBERS)
    np.testing.assert_allclose(biases.expected_loss(without, x, **NUMBERS), expected, rtol=1e-12)
    gradient = jax.grad(biases.expected_loss)(weights, x, **NUMBERS)
    assert (gradient.decoder[-1] == 0).all()
    padded = jnp.concatenate([x, 9 * jnp.ones((2, D))])
    value = biases.expected_loss(weights, padded, samples=N, **NUMBERS)
    np.testing.assert_allclose(value, biases.expected_loss(weights, x, **NUMBERS), rtol=1e-12)


def test_the_slope_in_the_bias(key, weights, x):
    def along(step):
        moved = weights.encoder.at[-1].add(step * jnp.arange(1.0, P + 1))
        return biases.expected_loss(Weights(weights.decoder, moved), x, **NUMBERS)

    slope = (along(1e-5) - along(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(along)(0.0), slope, rtol=1e-7)


def test_the_memorizing_solution_is_not_stationary_with_biases():
    """∂L/∂b_j = −(2/n) r_j‖x_j‖²(1 − a_j) at b = 0, by a central difference: two opposite samples, 20 σ from a gate."""
    x, step = jnp.asarray([[2.0, 0.0], [-2.0, 0.0]]), jnp.asarray([[1e-4, 0.0]])
    numbers: dict[str, Any] = {"noise_std": 0.1, "weight_decay": 0.2}
    stored = theory.memorizing_weights(x, **numbers).encoder
    decoder = jnp.concatenate([stored, jnp.zeros((1, 2))])
    ends = [Weights(decoder, jnp.concatenate([stored, bias])) for bias in (step, -step)]
    up, down = (biases.expected_loss(one, x, **numbers) for one in ends)
    gain = (4 - 2 * 0.2) / (4 + 0.1**2)
    np.testing.assert_allclose((up - down) / 2e-4, -jnp.linalg.norm(stored[:, 0]) * 2 * (1 - gain), rtol=1e-6)


def test_training_descends_on_this_loss(key, x):
    """Without noise a step of gradient descent is that of the exact loss, in the weights and in the bias."""
    model = biases.with_biases(training.trained_denoiser)
    settings = training.Settings(
        steps=1,
        width=P,
        noise_std=0.0,
        weight_decay=0.05,
        learning_rate=0.01,
        init_scale=1.0,
        optimizer=optax.sgd,
        schedule=training.constant_rate,
        denoiser=model,
    )
    start = training.initial_weights(key, D + 1, P, scale=1.0, tied=False, neurons=P, dtype=x.dtype)
    ended = training.train(key, biases.with_constant(x), settings).weights
    gradient = jax.grad(biases.expected_loss)(start, x, noise_std=0.0, weight_decay=0.05)
    np.testing.assert_allclose(ended.encoder, start.encoder - 0.01 * gradient.encoder, rtol=1e-9)
    np.testing.assert_allclose(ended.decoder[:-1], (start.decoder - 0.01 * gradient.decoder)[:-1], rtol=1e-9)
    np.testing.assert_allclose(ended.decoder[-1], (1 - 2 * 0.05 * 0.01) * start.decoder[-1], rtol=1e-9)


def test_noise_never_reaches_the_constant(weights, x):
    model = biases.with_biases(training.trained_denoiser)
    noisy = biases.with_constant(x).at[:, -1].add(jnp.arange(1.0, N + 1))
    np.testing.assert_allclose(model(weights, weights, noisy)[:, :-1], biases.denoise(weights, x), rtol=1e-12)
    assert (model(weights, weights, noisy)[:, -1] == 1).all()


def test_refusals(weights, x, refused):
    with refused("weights"):
        biases.expected_loss(_inner(weights), x, **NUMBERS)
    with refused("noise_std"):
        biases.expected_loss(weights, x, noise_std=-1.0, weight_decay=0.0)
