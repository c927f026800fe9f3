"""The flow with events, between its times, and with biases: beside closed forms and beside descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import biases, data, dynamics, training
from dae_theory.model import Weights

ENERGIES = np.asarray([3.0, 1.2])
NOISE, DECAY = 0.3, 0.05
NUMBERS = {"noise_std": NOISE, "weight_decay": DECAY}
TIMES = jnp.asarray([0.0, 0.5, 1.0, 2.0, 4.0, 60.0])
ENDS = (ENERGIES - 2 * DECAY) / (ENERGIES + NOISE**2)
STARTS = np.asarray([2e-3, 1e-3])  # gains


def _gains(time):
    """The logistic of the module, (..., 2)."""
    grown = np.exp(-2 * (ENERGIES - 2 * DECAY) * np.asarray(time)[..., None])
    return ENDS / (1 + (ENDS / STARTS - 1) * grown)


@pytest.fixture(scope="module")
def gaussian():
    return data.GaussianMixture(jnp.ones(1), jnp.zeros((1, 2)), jnp.diag(jnp.sqrt(ENERGIES))[None])


@pytest.fixture(scope="module")
def mirrored():
    """A mirrored pair along each axis, balanced."""
    pairs = jnp.diag(jnp.sqrt(STARTS))
    both = jnp.concatenate([pairs, -pairs], axis=1)
    return Weights(both, both)


@pytest.mark.slow
def test_mirrored_pairs_on_a_gaussian_are_a_linear_net_up_to_their_events(gaussian, mirrored):
    """Four members: ended by `until`, by stationarity, by its last time, and out of steps before any of them."""
    level, still = jnp.asarray([0.4, 9.0, 9.0, 9.0]), jnp.asarray([1e-9, 1e-3, 1e-30, 1e-30])

    @jax.jit
    @jax.vmap
    def flows(level, still, times):
        return dynamics.gradient_flow(
            mirrored,
            gaussian,
            times=times,
            tolerance=1e-8,
            until=lambda w: w.encoder[0] @ w.decoder[0] / 2 - level,
            stationarity=still,
            dense=True,
            max_steps=700,
            **NUMBERS,
        )

    found = flows(level, still, jnp.asarray(np.outer([1.0, 1.0, 1 / 20, 1000.0], TIMES)))
    np.testing.assert_array_equal(found.converged, [True, True, True, False])
    np.testing.assert_array_equal(found.crossed, [True, False, False, False])
    np.testing.assert_array_equal(found.stationary, [False, True, False, False])
    first = np.log((ENDS[0] / STARTS[0] - 1) / (ENDS[0] / 0.4 - 1)) / (2 * (ENERGIES[0] - 2 * DECAY))
    np.testing.assert_allclose(found.end[0], first, rtol=1e-6)
    np.testing.assert_array_equal(found.end[2:], [3.0, np.nan])
    assert 4 < found.end[1] < 60
    # ‖∂L‖ at the end is the level, and what is left of the gains' way is of that size
    for member in (0, 2):
        at = jax.tree.map(lambda leaf, member=member: leaf[member], found)
        np.testing.assert_allclose(np.diag(at.last.decoder @ at.last.encoder.T) / 2, _gains(at.end), rtol=1e-6)
        reached = np.isfinite(at.loss)
        np.testing.assert_array_equal(reached, at.times <= at.end)
        kept = jnp.einsum("tjp,tjp->tj", at.weights.decoder, at.weights.encoder)[reached] / 2
        np.testing.assert_allclose(kept, _gains(at.times[reached]), rtol=1e-6)
        between = np.linspace(0, float(at.end), 7)
        path = jax.vmap(at.at)(jnp.asarray(between))
        np.testing.assert_allclose(
            jnp.einsum("tjp,tjp->tj", path.decoder, path.encoder) / 2, _gains(between), rtol=1e-4
        )
        assert np.all(np.isnan(at.at(at.end + 0.1).encoder))
    ended = jax.tree.map(lambda leaf: leaf[1], found.last)
    np.testing.assert_allclose(np.diag(ended.decoder @ ended.encoder.T) / 2, ENDS, rtol=1e-2)
    assert np.all(np.isnan(found.last.encoder[3]))
    assert np.all(np.isnan(found.weights.encoder[3, -1]))


@pytest.fixture(scope="module")
def biased():
    """Weights of d + 1 rows with biases of both signs."""
    start = training.initial_weights(
        jax.random.key(1), 3, 4, scale=0.6, tied=False, neurons=4, dtype=jnp.dtype("float64")
    )
    return start


@pytest.mark.slow
def test_nets_with_biases_follow_the_descent_of_their_own_exact_loss(biased):
    x = jax.random.normal(jax.random.key(2), (5, 2))
    points = data.GaussianMixture(jnp.full(5, 0.2), x, jnp.zeros((5, 2, 1)))
    times = jnp.asarray([0.0, 0.5, 1.0])
    flow, limit = (
        dynamics.gradient_flow(biased, source, times=times, tolerance=1e-9, with_biases=True, **NUMBERS)
        for source in (x, points)
    )
    for leaf, other in zip(jax.tree.leaves(flow.weights), jax.tree.leaves(limit.weights), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(flow.loss[0], biases.expected_loss(biased, x, **NUMBERS), rtol=1e-13)
    np.testing.assert_array_equal(flow.weights.decoder[:, -1], np.tile(biased.decoder[-1], (3, 1)))
    assert float(jnp.abs(flow.last.encoder[-1] - biased.encoder[-1]).max()) > 0.1  # biases move

    @jax.jit
    def descent(steps):
        def step(_, w):
            gradient = jax.grad(lambda w: biases.expected_loss(w, x, **NUMBERS))(w)
            return jax.tree.map(lambda a, b: a - b / steps, w, gradient)

        return jax.lax.fori_loop(0, steps, step, biased)

    errors = [float(jnp.linalg.norm(descent(steps).encoder - flow.last.encoder)) for steps in (100, 200, 400)]
    np.testing.assert_allclose(-np.diff(np.log2(errors)), 1, atol=0.1)


def test_refusals(gaussian, mirrored, biased, refused):
    def flow(w=mirrored, **changed):
        return dynamics.gradient_flow(w, gaussian, **{"times": [0.1], **NUMBERS, **changed})

    for name, value in (
        ("stationarity", 0.0),
        ("stationarity", -1.0),
        ("stationarity", [1.0, 2.0]),
        ("until", lambda w: w.encoder[0]),
        ("until", lambda w: w.encoder[0, 0] > 1),
        ("max_steps", 0),
    ):
        with refused(name):
            flow(**{name: value})
    with refused("x_or_mixture"):
        flow(w=biased)  # a row too many without biases
    with refused("x_or_mixture"):
        flow(with_biases=True)
    with refused("tied"):
        flow(w=Weights(biased.encoder, biased.encoder), with_biases=True, tied=True)
    with refused("dense"):
        dynamics.Flow(*[None] * 9).at(0.0)
