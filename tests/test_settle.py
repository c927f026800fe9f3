"""The way down at a given width: a stationary point of the exact objective; what holds it there, and what leaves it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import certify, data, risk, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive

pytestmark = pytest.mark.slow  # searches and descents on the host
NUMBERS: dict[str, Any] = {"noise_std": 0.2, "weight_decay": 1e-2}


@pytest.fixture(scope="module")
def clean():
    """Three clusters whose spread is orthogonal to all means, and their blocks (7)-(8)."""
    key = jax.random.key(1)
    mixture = data.simplex_mixture(key, dimension=6, components=3, radius=6.0, rank=1, spread=1.0, clean=True)
    samples = mixture.sample_balanced(derive(key, "samples"), 4)
    return samples.x, theory.block_weights(samples.x, samples.labels, (2, 2, 2), **NUMBERS)


def test_it_ends_where_the_gradient_vanishes(clean, key):
    x, _ = clean
    draw = lambda name: jax.random.normal(derive(key, name), (6, 9))  # noqa: E731
    start = Weights(0.3 * draw("decoder"), 0.3 * draw("encoder"))
    ended = certify.settle(start, x, **NUMBERS)
    loss, gradient = jax.value_and_grad(lambda weights: risk.expected_loss(weights, x, **NUMBERS))(ended.weights)
    steepness = np.sqrt(sum(np.sum(np.square(part)) for part in jax.tree.leaves(gradient)))
    assert ended.converged
    assert ended.gradient_norm <= 1e-6
    np.testing.assert_allclose(steepness, ended.gradient_norm, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(loss, ended.loss, rtol=1e-12)
    assert loss < 0.5 * risk.expected_loss(start, x, **NUMBERS)
    unfinished = certify.settle(start, x, **NUMBERS, max_steps=3)
    assert not unfinished.converged
    assert unfinished.steps == 3
    assert unfinished.loss > ended.loss


def test_clean_blocks_are_left_by_newcomers_alone(clean):
    """Descent stays at (7)-(8), a newcomer grows there, and the minimizer is lower by more than its gap."""
    x, blocks = clean
    own = risk.expected_loss(blocks, x, **NUMBERS)
    settled = certify.settle(blocks, x, **NUMBERS)
    np.testing.assert_allclose(settled.loss, own, rtol=1e-9)
    assert risk.network_distance(settled.weights, blocks, x, noise_std=0.2) < 1e-9
    # a gap of 1 is reached by any net: growth is that of the blocks
    held = certify.global_minimizer(x, **NUMBERS, start=blocks, starts=32, tolerance=1.0)
    np.testing.assert_allclose(held.objective, own, rtol=1e-9)
    assert held.growth > 1.01
    exchanged = certify.global_minimizer(x, **NUMBERS, start=blocks, width=6, starts=32, rounds=3)
    wider = certify.global_minimizer(x, **NUMBERS, start=blocks, starts=32)
    assert exchanged.neurons <= 6
    assert exchanged.objective <= own * (1 + 1e-12)
    assert wider.objective < own * (1 - 1e-3)
    assert wider.converged
    afresh = certify.global_minimizer(x, **NUMBERS, starts=32)
    distance = risk.network_distance(wider.weights, afresh.weights, x, noise_std=0.2)
    spread = sum(np.sqrt(float(found.objective - found.lower_bound)) for found in (wider, afresh))
    assert 0 <= distance <= spread**2  # from the blocks or from nothing: one function


def test_refusals(clean, refused):
    x, blocks = clean
    bad = {"noise_std": (0.0,), "weight_decay": (0.0, -1.0), "tolerance": (0.0, -1e-3), "max_steps": (0, 1.5)}
    for name, values in bad.items():
        for value in values:
            with refused(name):
                certify.settle(blocks, x, **{**NUMBERS, name: value})
    with refused("float64"):
        certify.settle(jax.tree.map(lambda part: part.astype(jnp.float32), blocks), x.astype(jnp.float32), **NUMBERS)
