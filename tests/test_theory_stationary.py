"""Analytic weights under the exact risk: stationary where the margins are wide, and worth what the formulas say."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root_scalar

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


@pytest.mark.parametrize(("samples", "sigma"), [(3, 0.4), (3, 0.3), (5, 0.25), (5, 0.2), (8, 0.1)])
def test_residual_on_a_simplex_to_first_order(samples, sigma):
    """∂L at (9), and the minimum of (6) along W₁ = W₂ = √q X̂ᵀ, off by the order of one more foreign gate: nΦ(−γ/σ)."""
    radius, decay = 3.0, 1e-3
    x = data.simplex_means(jax.random.key(5), dimension=10, components=samples, radius=radius)
    numbers = {"noise_std": sigma, "weight_decay": decay}
    weights = theory.memorizing_weights(x, **numbers)
    found = theory.simplex_residual(samples, radius, **numbers)
    second = samples * float(theory.simplex_gate_error(samples, radius, sigma))
    _, gradient = exact_wide(weights, x, **numbers)
    np.testing.assert_allclose(found.gradient_norm, gradient, rtol=second)

    length = float(jnp.linalg.norm(weights.encoder[:, 0]))

    def slope(change):
        return ray_slope(weights, x, change / length, sigma, decay)

    reach = 10 * abs(float(found.shift))
    shift = root_scalar(slope, bracket=(-reach, reach), xtol=1e-6 * reach).root
    np.testing.assert_allclose(found.shift, shift, rtol=3 * second)
    np.testing.assert_allclose(found.squared_norm, samples * found.shift**2, rtol=1e-14)


def test_two_opposite_samples_leave_no_residual():
    """f is linear along them whichever gate is open: the gradient at (9) vanishes at any noise."""
    x, numbers = jnp.asarray([[3.0, 0.0], [-3.0, 0.0]]), {"noise_std": 1.5, "weight_decay": 0.01}
    found = theory.simplex_residual(2, 3.0, **numbers)
    _, gradient = exact_wide(theory.memorizing_weights(x, **numbers), x, **numbers)
    assert gradient < 1e-12
    assert found.shift == found.gradient_norm == 0


def exact_wide(weights, x, noise_std, weight_decay):
    """As `exact`, for up to eight neurons."""
    padded = jnp.pad(x, ((0, ROWS - len(x)), (0, 0)))
    return _exact(model.pad_width(weights, 8), padded, len(x), float(noise_std), float(weight_decay))


def ray_slope(weights, x, share, noise_std, weight_decay):
    """dL/ds along (1 + s)·weights."""
    padded = jnp.pad(x, ((0, ROWS - len(x)), (0, 0)))
    return float(_ray_slope(model.pad_width(weights, 8), padded, len(x), share, noise_std, weight_decay))


@jax.jit
def _ray_slope(weights, x, samples, share, noise_std, weight_decay):
    def loss(share):
        stretched = jax.tree.map(lambda columns: (1 + share) * columns, weights)
        return risk.expected_loss(stretched, x, noise_std=noise_std, weight_decay=weight_decay, samples=samples)

    return jax.grad(loss)(share)


def test_residual_on_a_simplex_falls_like_the_law():
    """‖R‖² ~ (σ/γ)⁶ e^(−γ²/σ²) as σ → 0: the slope of log ‖R‖² + 6 log t against t² tends to −1."""
    t = np.asarray([20.0, 25.0])
    gamma = 1.0
    norms = [theory.simplex_residual(3, 2.0, noise_std=gamma / one, weight_decay=0.0).squared_norm for one in t]
    logs = np.log(np.asarray(norms)) + 6 * np.log(t)
    np.testing.assert_allclose(np.diff(logs) / np.diff(t**2), -1, atol=4 / t[0] ** 2)


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("samples", {"samples": 1}),
        ("radius", {"radius": 0.0}),
        ("noise_std", {"noise_std": 0.0}),
        ("weight_decay", {"weight_decay": 3.0}),
        ("weight_decay", {"weight_decay": -1.0}),
    ],
)
def test_residual_refuses(argument, change, refused):
    good = {"samples": 3, "radius": 3.0, "noise_std": 0.2, "weight_decay": 0.1}
    with refused(argument):
        theory.simplex_residual(**{**good, **change})
