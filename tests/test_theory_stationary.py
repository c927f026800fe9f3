"""Analytic weights under the exact risk: stationary where the margins are wide, and worth what the formulas say."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data, model, risk, theory

ROWS, WIDTH = 60, 6  # every problem below is padded to these, for one compilation


def exact(weights, x, noise_std, weight_decay):
    """Value of (6) and the norm of its gradient, without a draw."""
    padded = jnp.pad(x, ((0, ROWS - len(x)), (0, 0)))
    return _exact(model.pad_width(weights, WIDTH), padded, len(x), float(noise_std), float(weight_decay))


@jax.jit
def _exact(weights, x, samples, noise_std, weight_decay):
    def loss(weights):
        return risk.expected_loss(weights, x, noise_std=noise_std, weight_decay=weight_decay, samples=samples)

    value, gradient = jax.value_and_grad(loss)(weights)
    return value, jnp.sqrt(jnp.sum(gradient.encoder**2) + jnp.sum(gradient.decoder**2))


@pytest.fixture(scope="module")
def tight():
    """Three tight clusters of 20 samples, radius 3, spread 0.1 in two directions."""
    mixture = data.simplex_mixture(
        jax.random.key(1), dimension=10, components=3, radius=3.0, rank=2, spread=0.1, clean=True
    )
    return mixture.sample_balanced(jax.random.key(2), 20)


TIGHT: Any = {"noise_std": 0.1, "weight_decay": 1e-3}


def test_block_weights_are_stationary(tight):
    """To rounding, with the rotation as with Householder alone: where the margins are wide any O_k is a minimizer."""
    names = theory.block_of_neuron((2, 2, 2))
    for steps in (0, 150):
        weights = theory.block_weights(tight.x, tight.labels, (2, 2, 2), **TIGHT, rotation_steps=steps)
        margin = theory.margins(weights, tight.x, tight.labels, names, noise_std=0.1).worst
        assert margin > 8
        value, gradient = exact(weights, tight.x, **TIGHT)
        assert gradient < 1e-12
        objective = theory.block_objective(tight.x, tight.labels, (2, 2, 2), **TIGHT)
        np.testing.assert_allclose(value, objective, rtol=1e-12)


def test_rotation_is_not_free(tight):
    """The same blocks, one neuron turned towards its mean and one across it: same W_kW_kᵀ, nowhere near stationary."""
    weights = theory.block_weights(tight.x, tight.labels, (2, 2, 2), **TIGHT, rotation_steps=0)
    turn = jnp.eye(6).at[:2, :2].set(jnp.array([[1.0, 1.0], [1.0, -1.0]]) / jnp.sqrt(2.0))
    turned = jax.tree.map(lambda w: w @ turn, weights)
    np.testing.assert_allclose(turned.encoder @ turned.encoder.T, weights.encoder @ weights.encoder.T, atol=1e-14)
    assert exact(turned, tight.x, **TIGHT)[1] > 0.01


def test_a_narrow_margin_bounds_the_gradient():
    """Beyond the theorem the gradient grows as the gates fail: monotone in σ, and gone where the margin is wide."""
    x = data.simplex_means(jax.random.key(3), dimension=10, components=5, radius=3.0)
    norms, errors = [], []
    for sigma in (0.1, 0.2, 0.3, 0.5):
        numbers: Any = {"noise_std": sigma, "weight_decay": 1e-3}
        value, norm = exact(theory.memorizing_weights(x, **numbers), x, **numbers)
        norms.append(float(norm))
        errors.append(float(theory.gate_error(x, noise_std=sigma).worst))
        assert abs(value - theory.memorizing_objective(x, **numbers)) <= 1e-12 + 100 * errors[-1]
    assert norms[0] < 1e-12
    assert sorted(norms) == norms
    # a wrong gate costs at most its probability times lengths of order R: the two vanish together
    assert all(norm <= 1e-12 + 10 * error for norm, error in zip(norms, errors, strict=True))


def test_one_per_cent_rule_of_the_gate_condition():
    """On a simplex of five the memorizing loss holds to 1 % where the condition is met, and not at half the margin."""
    x = data.simplex_means(jax.random.key(4), dimension=10, components=5, radius=1.0)
    for margin, holds in ((2.5, True), (1.25, False)):
        sigma = 1 / (4 * margin)
        assert (theory.gate_condition(5, 1.0, sigma) > -1e-12) == holds
        weights = theory.memorizing_weights(x, noise_std=sigma, weight_decay=0.0)
        value, _ = exact(weights, x, sigma, 0.0)
        error = abs(theory.memorizing_loss(x, noise_std=sigma) / value - 1)
        assert (error < 0.01) == holds


def test_hybrid_weights_are_stationary(tight):
    """Cor. 3.4: twenty copies of a point beside two abundant clusters."""
    labels = np.asarray(tight.labels)
    point = tight.x[int(np.argmax(labels == 2))]
    x = jnp.where((labels == 2)[:, None], point[None, :], tight.x)
    weights = theory.block_weights(x, labels, (2, 2, 1), **TIGHT, rotation_steps=0)
    assert exact(weights, x, **TIGHT)[1] < 1e-12


def test_zero_columns_grow_below_the_threshold_only():
    """[X5] by the exact risk: the slope of (6) along ε² of a best new pair is 2(λ − ‖g‖), and changes sign at λ*."""
    radius, sigma = 4.0, 0.8
    x, u = radius * jnp.eye(10)[:1], jnp.eye(10)[1]
    threshold = float(theory.orthogonal_growth_threshold(radius, sigma))
    for decay in (0.5 * threshold, 2 * threshold):
        numbers: Any = {"noise_std": sigma, "weight_decay": decay}
        base = theory.memorizing_weights(x, **numbers, width=2)
        pull = theory.newcomer_pull(x, u, **numbers)
        force = jnp.linalg.norm(pull)

        def change(step, base=base, numbers=numbers, pull=pull, force=force):
            encoder = base.encoder.at[:, 1].set(step * u)
            decoder = base.decoder.at[:, 1].set(step * pull / force)
            return exact(model.Weights(decoder, encoder), x, **numbers)[0] - exact(base, x, **numbers)[0]

        # two steps cancel the next order, ε⁴; the gate of the sample itself fails with probability Φ(−5)
        slope = (16 * change(0.01) / 0.01**2 - change(0.04) / 0.04**2) / 15
        np.testing.assert_allclose(slope, 2 * (decay - force), rtol=1e-4)
        assert (slope < 0) == (decay < threshold)
