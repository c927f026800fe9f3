"""The tangent kernel against Jacobians, its drift, and the linear model against its formula and the lazy limit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dae_theory import dynamics, training
from dae_theory.model import Weights, denoise, represent

D, P, M = 3, 5, 4


def _weights(seed):
    return training.initial_weights(
        jax.random.key(seed), D, P, scale=1.0, tied=False, neurons=P, dtype=jnp.dtype("float64")
    )


@pytest.fixture(scope="module")
def y():
    return jax.random.normal(jax.random.key(0), (M, D))


def test_kernel_is_the_product_of_jacobians_in_the_weights(y):
    weights, other = _weights(1), jax.random.normal(jax.random.key(9), (2, D))
    jacobian = jax.jacobian(lambda matrices, y: denoise(Weights(*matrices), y))
    first, second = (jacobian((weights.decoder, weights.encoder), inputs) for inputs in (y, other))
    product = sum(jnp.einsum("madp,kbdp->mkab", a, b) for a, b in zip(first, second, strict=True))
    assert jnp.abs(product).max() > 1
    np.testing.assert_allclose(dynamics.tangent_kernel(weights, y, other), product, rtol=1e-12, atol=1e-14)
    own = dynamics.tangent_kernel(weights, y)
    np.testing.assert_allclose(own, jnp.transpose(own, (1, 0, 3, 2)), rtol=1e-12, atol=1e-14)


def test_drift_is_the_relative_change_of_the_kernel(y):
    start, weights = _weights(1), _weights(2)
    before, after = (dynamics.tangent_kernel(w, y) for w in (start, weights))
    expected = jnp.linalg.norm((after - before).ravel()) / jnp.linalg.norm(before.ravel())
    np.testing.assert_allclose(dynamics.kernel_drift(weights, start, y), expected, rtol=1e-12)
    assert dynamics.kernel_drift(start, start, y) == 0
    some = jnp.linalg.norm((after - before)[..., :2, :2].ravel()) / jnp.linalg.norm(before[..., :2, :2].ravel())
    np.testing.assert_allclose(dynamics.kernel_drift(weights, start, y, outputs=2), some, rtol=1e-12)
    twice = jax.tree.map(lambda leaf: 2 * leaf, start)  # K is a square in the weights
    np.testing.assert_allclose(dynamics.kernel_drift(twice, start, y), 3, rtol=1e-12)
    np.testing.assert_allclose(dynamics.weight_movement(twice, start), 1, rtol=1e-12)


def test_linear_model_is_its_formula_and_exact_where_the_net_is_linear(y):
    start, weights = _weights(1), _weights(2)
    gates = (y @ start.encoder > 0).astype(y.dtype)
    moved = gates * (y @ (weights.encoder - start.encoder))
    expected = represent(start, y) @ weights.decoder.T + moved @ start.decoder.T
    np.testing.assert_allclose(dynamics.linearized(weights, start, y), expected, rtol=1e-12, atol=1e-14)
    decoders = weights.replace(encoder=start.encoder)  # f is linear in W₂
    np.testing.assert_allclose(dynamics.linearized(decoders, start, y), denoise(decoders, y), rtol=1e-12, atol=1e-14)
    for model, full in (
        (dynamics.centered, denoise(weights, y)),
        (dynamics.centered_linearized, dynamics.linearized(weights, start, y)),
    ):
        np.testing.assert_allclose(model(weights, start, y), full - denoise(start, y), rtol=1e-12, atol=1e-14)


def test_linear_model_is_the_net_to_second_order(y):
    start, change = _weights(1), _weights(2)
    errors = []
    for size in (1e-3, 1e-4):
        weights = jax.tree.map(lambda a, b, size=size: a + size * b, start, change)
        errors.append(jnp.abs(dynamics.linearized(weights, start, y) - denoise(weights, y)).max())
    np.testing.assert_allclose(np.log10(errors[0] / errors[1]), 2, atol=0.01)


def test_one_step_of_descent_moves_the_output_by_the_kernel(key, y):
    """f(y') after a step of rate η changes by −2η (1/n) Σ_i K(y', y_i)(f(y_i) − x_i), exactly for the linear model."""
    settings = training.Settings(
        steps=1,
        width=P,
        noise_std=0.0,
        learning_rate=0.01,
        init_scale=1.0,
        optimizer=optax.sgd,
        schedule=training.constant_rate,
        denoiser=dynamics.linearized,
    )
    start = training.initial_weights(key, D, P, scale=1.0, tied=False, neurons=P, dtype=y.dtype)
    ended = training.train(key, y, settings).weights
    residual = denoise(start, y) - y
    moved = -2 * 0.01 * jnp.einsum("mkab,kb->ma", dynamics.tangent_kernel(start, y), residual) / M
    np.testing.assert_allclose(dynamics.linearized(ended, start, y) - denoise(start, y), moved, rtol=1e-10, atol=1e-14)


def test_runs_from_large_weights_are_lazy_and_become_the_linear_model(y):
    """Without their initial output, runs of scale α move by 1/α² of their length, and end at the linear model's answer.

    Drift and gap jump where a gate turns at one of the inputs, so their medians over runs are compared.
    """
    x = jax.random.normal(jax.random.key(4), (M, D))

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def run(key, scale):
        # the kernel grows like α²: the rate times it is the same at every scale
        settings = training.Settings(
            steps=200,
            width=8,
            noise_std=0.2,
            learning_rate=0.05 / scale**2,
            init_scale=scale,
            optimizer=optax.sgd,
            schedule=training.constant_rate,
            denoiser=dynamics.centered,
        )
        start = training.initial_weights(key, D, 8, scale=scale, tied=False, neurons=8, dtype=x.dtype)
        net = training.train(key, x, settings).weights
        linear = training.train(key, x, settings.replace(denoiser=dynamics.centered_linearized)).weights
        limit = dynamics.centered_linearized(linear, start, y)
        gap = jnp.linalg.norm(dynamics.centered(net, start, y) - limit) / jnp.linalg.norm(limit)
        learned = jnp.linalg.norm(limit) / jnp.linalg.norm(y)
        return learned, dynamics.weight_movement(net, start), dynamics.kernel_drift(net, start, y), gap

    keys = jax.random.split(jax.random.key(6), 8)
    (learned, *rich), (_, *lazy) = (np.median(np.asarray(run(keys, scale)), axis=1) for scale in (4.0, 32.0))
    assert learned > 0.3
    movement, drift, gap = (np.log(b / a) / np.log(32 / 4) for a, b in zip(rich, lazy, strict=True))
    np.testing.assert_allclose(movement, -2, atol=0.05)
    assert drift < -1
    assert gap < -1


def test_refusals(y, refused):
    weights = _weights(1)
    with refused("y"):
        dynamics.tangent_kernel(weights, y[:, :2])
    with refused("other"):
        dynamics.tangent_kernel(weights, y, y[:, :2])
    with refused("y"):
        dynamics.kernel_drift(weights, weights, y[0])
    with refused("outputs"):
        dynamics.kernel_drift(weights, weights, y, outputs=D + 1)
    with refused("y"):
        dynamics.kernel_drift(weights, Weights(jnp.ones((2, P)), jnp.ones((2, P))), y)
