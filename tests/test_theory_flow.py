"""The flow of the memorizing solution: its closed form against a sampler, its limits, its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import sampling, theory


@pytest.fixture(scope="module")
def stored():
    """Three samples with obtuse angles and different lengths."""
    directions = jnp.asarray([[1.0, 0.0], [-0.6, 0.8], [-0.6, -0.8]])
    return jnp.pad(directions, ((0, 0), (0, 2))) * jnp.asarray([[1.0], [2.0], [3.0]])


def test_a_chain_through_the_memorizing_weights_ends_at_the_predicted_length(stored):
    schedule = sampling.geometric_schedule(4.0, 1e-3, 1500)
    start = 4 * jax.random.normal(jax.random.key(0), (400, 4))
    gates = (start @ stored.T > 0).sum(axis=1)
    start = start[gates == 1]  # one open gate, and it stays the only one: the flow only turns towards the sample
    assert len(start) > 50

    def denoise(y, noise_std):
        squares = jnp.sum(stored**2, axis=1)
        gains = squares / (squares + noise_std**2)
        return jax.nn.relu(y @ stored.T) @ (stored * (gains / squares)[:, None])

    end = sampling.sample(jax.random.key(1), denoise, schedule, start, step=sampling.heun).x
    nearest = stored[jnp.argmax(start @ (stored / jnp.linalg.norm(stored, axis=1, keepdims=True)).T, axis=1)]
    measured = jnp.sum(end * nearest, axis=1) / jnp.sum(nearest**2, axis=1)
    np.testing.assert_allclose(measured, theory.stored_lengths(stored, start, 4.0), rtol=2e-3)


def test_a_chain_that_opens_no_gate_ends_at_zero(stored):
    """f = 0 along it, so that y_σ = y₀σ/σ₀."""
    lengths = theory.stored_lengths(stored[:2], jnp.asarray([[-0.6, -2.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]]), 0.5)
    np.testing.assert_allclose(lengths, [0.0, 1 / np.sqrt(1.25)], rtol=1e-12)


def test_that_denoiser_is_the_one_of_eq_9(stored):
    weights = theory.memorizing_weights(stored, noise_std=0.7, weight_decay=0.0, width=3)
    y = jax.random.normal(jax.random.key(2), (20, 4))
    squares = jnp.sum(stored**2, axis=1)
    expected = jax.nn.relu(y @ stored.T) @ (stored / (squares + 0.7**2)[:, None])
    measured = jax.nn.relu(y @ weights.encoder) @ weights.decoder.T
    np.testing.assert_allclose(measured, expected, rtol=1e-9, atol=1e-12)


def test_lengths_are_homogeneous_in_the_start_and_have_variance_one_for_one_sample(stored):
    start = jax.random.normal(jax.random.key(3), (50, 4))
    lengths = theory.stored_lengths(stored, start, 0.5)
    np.testing.assert_allclose(theory.stored_lengths(stored, 2.5 * start, 0.5), 2.5 * lengths, rtol=1e-12)
    many = jnp.sqrt(4.0 + 9.0) * jax.random.normal(jax.random.key(4), (40_000, 4))
    squares = np.asarray(theory.stored_lengths(stored[1:2], many, 3.0)) ** 2
    squares = squares[squares > 0]
    assert abs(squares.size / 40_000 - 0.5) <= 5 * 0.5 / np.sqrt(40_000)
    assert abs(squares.mean() - 1) <= 5 * squares.std() / np.sqrt(squares.size)


def test_a_start_at_a_stored_sample_without_noise_stays(stored):
    np.testing.assert_allclose(theory.stored_lengths(stored, stored, 1e-9), 1, rtol=1e-12)


def test_bad_arguments_are_refused(stored, refused):
    with refused("noise_std"):
        theory.stored_lengths(stored, stored, 0.0)
    with refused("start"):
        theory.stored_lengths(stored, stored[:, :3], 1.0)
