"""Steering: the equation, and a response that knows a straight line from a jump."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dae_theory import model, steering


@pytest.fixture
def rng():
    return np.random.default_rng(17)


def _weights(rng):
    return model.Weights(*(jnp.asarray(matrix) for matrix in rng.standard_normal((2, 4, 6))))


def test_steered_denoiser_is_the_equation(rng):
    weights, y = _weights(rng), jnp.asarray(rng.standard_normal((3, 4)))
    direction = steering.mean_representation(weights, y)
    np.testing.assert_allclose(direction, np.maximum(y @ weights.encoder, 0).mean(axis=0), rtol=1e-13)
    steered = steering.steered_denoiser(weights, direction, 0.7)
    expected = (np.maximum(y @ weights.encoder, 0) + 0.7 * np.asarray(direction)[None]) @ weights.decoder.T
    np.testing.assert_allclose(steered(y), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(steered(y[0]), expected[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(steering.steered_denoiser(weights, direction, 0.0)(y), model.denoise(weights, y))


def test_one_application_responds_on_a_straight_line(rng):
    """f_a(y) − f(y) = a W₂ v for any weights: towards a target in that direction every step is equal."""
    weights, y = _weights(rng), jnp.asarray(rng.standard_normal((3, 4)))
    direction, strengths = jnp.ones(6), np.linspace(0, 2, 9)
    shift = weights.decoder @ direction

    @jax.jit
    def curve(weights, y):
        return steering.response_curve(
            lambda a: steering.steered_denoiser(weights, direction, a)(y),
            model.denoise(weights, y) + 5 * shift[None],
            strengths,
        )

    response = curve(weights, y)
    np.testing.assert_allclose(response.moved, np.linalg.norm(shift) * strengths[None].repeat(3, axis=0), atol=1e-12)
    np.testing.assert_allclose(response.monotonicity, 1, rtol=1e-12)
    np.testing.assert_array_equal(response.increasing, 1)
    np.testing.assert_allclose(response.largest_jump, 1 / 8, rtol=1e-10)
    np.testing.assert_allclose(response.largest_step, 1 / 8, rtol=1e-10)


def test_an_output_that_snaps_over_has_one_jump():
    """The nearest of two samples, the σ → 0 limit of the softmax average (3): all of the way in one step."""
    samples, target = jnp.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.0, 1.0])

    def snap(a):
        position = jnp.stack([1 - a, a])
        return samples[jnp.argmin(jnp.sum((samples - position[None]) ** 2, axis=1))][None]

    response = steering.response_curve(snap, target, np.linspace(0, 1, 8))
    assert float(response.largest_jump[0]) == 1
    assert float(response.largest_step[0]) == 1
    np.testing.assert_allclose(response.moved[0], np.sqrt(2) * np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    np.testing.assert_allclose(response.increasing, 1 / 7)


def test_monotonicity_is_spearmans_correlation_with_ties(rng):
    path = rng.integers(0, 4, (5, 9)).astype(float)
    table = jnp.asarray(path)

    def respond(a):
        return jax.lax.dynamic_index_in_dim(table, a.astype(int), axis=1, keepdims=True)

    response = steering.response_curve(respond, np.array([10.0]), np.arange(9.0))
    expected = np.array([scipy.stats.spearmanr(np.arange(9), row)[0] for row in path], dtype=float)
    np.testing.assert_allclose(response.monotonicity, expected, rtol=1e-10)
    changes = np.abs(np.diff(path, axis=1))
    np.testing.assert_allclose(response.largest_jump, changes.max(axis=1) / changes.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(response.increasing, (np.diff(path, axis=1) > 0).mean(axis=1), rtol=1e-12)


def test_an_output_that_stands_still_has_no_ratios():
    response = steering.response_curve(lambda a: jnp.ones((1, 2)), np.zeros(2), np.arange(3.0))
    np.testing.assert_array_equal(response.moved, 0)
    assert np.isnan(response.largest_jump[0])
    assert np.isnan(response.monotonicity[0])


def test_iterating_a_linear_contraction_reaches_its_fixed_point():
    """With all gates open and gain g < 1, f_a^k(y) → a W₂v/(1 − g)."""
    weights = model.Weights(0.5 * jnp.eye(3), jnp.eye(3))
    direction = jnp.array([1.0, 2.0, 3.0])
    denoiser = steering.steered_denoiser(weights, direction, 0.4)
    np.testing.assert_allclose(steering.iterate(denoiser, jnp.ones((2, 3)), 60)[1], 0.4 * direction, rtol=1e-12)


def test_refusals(rng, refused):
    weights = _weights(rng)
    with refused("direction"):
        steering.steered_denoiser(weights, jnp.ones(5), 1.0)
    with refused("direction"):
        steering.steered_denoiser(weights, jnp.ones(6).at[2].set(jnp.nan), 1.0)
    for strength in (float("nan"), "2", np.ones(2)):
        with refused("strength"):
            steering.steered_denoiser(weights, jnp.ones(6), strength)
    with refused("strengths"):
        steering.response_curve(lambda a: jnp.ones((1, 2)), np.zeros(2), [0.0])
    with refused("strengths"):
        steering.response_curve(lambda a: jnp.ones((1, 2)), np.zeros(2), [0.0, 0.0])
    with refused("target"):
        steering.response_curve(lambda a: jnp.ones((1, 2)), np.zeros(3), [0.0, 1.0])
    with refused("steps"):
        steering.iterate(lambda y: y, jnp.ones((1, 2)), 0)


def test_any_function_is_called_where_it_is_not_compiled(rng):
    """A path through images in NumPy, against the same compiled; every call has a Python float."""
    path, target = rng.standard_normal((5, 3, 2, 2)), rng.standard_normal((3, 2, 2))
    strengths, seen = np.arange(5.0), []

    def respond(a):
        seen.append(a)
        return path[int(a)]

    called = steering.response_curve(respond, target, strengths, compiled=False)
    table = jnp.asarray(path)
    mapped = steering.response_curve(lambda a: table[a.astype(int)], target, strengths)
    assert seen == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert all(type(a) is float for a in seen)
    np.testing.assert_allclose(called.distance, mapped.distance, rtol=1e-12)
    np.testing.assert_allclose(called.distance[:, 2], np.linalg.norm((path[2] - target).reshape(3, -1), axis=1))


def test_what_respond_must_not_return(refused):
    with refused("respond"):
        steering.response_curve(lambda a: np.ones((1, 2)) * float(a), np.zeros(2), [0.0, 1.0])
    for outputs in (np.ones(2), np.full((1, 2), np.nan)):
        with refused("respond"):
            steering.response_curve(lambda a, outputs=outputs: outputs, np.zeros(2), [0.0, 1.0], compiled=False)
    with refused("respond"):
        steering.response_curve(lambda a: np.ones((1 + int(a), 2)), np.zeros(2), [0.0, 1.0], compiled=False)
    with refused("strengths"):
        jax.jit(lambda s: steering.response_curve(np.ones, np.zeros(2), s, compiled=False))(jnp.arange(2.0))
