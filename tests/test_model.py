"""The model of (5): equation, Jacobian, symmetries."""

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import model


def _weights(key):
    first, second = jax.random.split(key)
    return model.Weights(jax.random.normal(first, (5, 7)), jax.random.normal(second, (5, 7)))


def test_denoise_is_the_equation(key):
    weights = _weights(jax.random.fold_in(key, 0))
    y = jax.random.normal(jax.random.fold_in(key, 1), (3, 5))
    expected = np.stack(
        [sum(max(w1 @ row, 0) * w2 for w1, w2 in zip(weights.encoder.T, weights.decoder.T, strict=True)) for row in y]
    )
    np.testing.assert_allclose(model.denoise(weights, y), expected, rtol=1e-13)


def test_jacobian_is_the_derivative(key):
    weights = _weights(jax.random.fold_in(key, 0))
    y = jax.random.normal(jax.random.fold_in(key, 1), (5,))
    np.testing.assert_allclose(
        model.jacobian(weights, y), jax.jacobian(lambda v: model.denoise(weights, v))(y), rtol=1e-13, atol=1e-13
    )


def test_jacobian_error_is_the_distance_to_the_predicted_matrix(key):
    weights = _weights(jax.random.fold_in(key, 0))
    x = jax.random.normal(jax.random.fold_in(key, 1), (6, 5))
    directions = jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, 2), (6, 5, 2)))[0]
    gains = jax.random.uniform(jax.random.fold_in(key, 3), (6, 2))
    predicted = np.einsum("mir,mr,mjr->mij", directions, gains, directions)
    measured = np.stack([model.jacobian(weights, one) for one in x])
    expected = np.mean(np.linalg.norm(measured - predicted, axis=(1, 2)) / np.linalg.norm(predicted, axis=(1, 2)))
    np.testing.assert_allclose(model.jacobian_error(weights, x, directions, gains), expected, rtol=1e-12)


def test_jacobian_error_is_zero_for_the_predicted_net_and_nan_without_a_prediction():
    """One neuron √a û, tied: J = a û ûᵀ on its half-space, exactly what (9) says."""
    x = jnp.asarray([[3.0, 4.0]])
    unit, gain = x[0] / 5, 0.7
    column = jnp.sqrt(gain) * unit[:, None]
    weights, directions = model.Weights(column, column), unit[None, :, None]
    assert float(model.jacobian_error(weights, x, directions, jnp.asarray([[gain]]))) < 1e-7
    assert np.isnan(model.jacobian_error(weights, x, directions, jnp.zeros((1, 1))))
    silent = model.jacobian_error(weights, -x, directions, jnp.asarray([[gain]]))
    np.testing.assert_allclose(silent, 1.0, rtol=1e-12)


def test_permutation_scaling_and_zero_columns_leave_the_function_alone(key):
    weights = _weights(jax.random.fold_in(key, 0))
    y = jax.random.normal(jax.random.fold_in(key, 1), (4, 5))
    order = jax.random.permutation(jax.random.fold_in(key, 2), 7)
    scale = jnp.exp(jax.random.normal(jax.random.fold_in(key, 3), (7,)))[None, :]
    changed = model.Weights((weights.decoder / scale)[:, order], (weights.encoder * scale)[:, order])
    np.testing.assert_allclose(model.denoise(changed, y), model.denoise(weights, y), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(model.denoise(model.pad_width(weights, 9), y).shape, (4, 5))
    np.testing.assert_allclose(model.denoise(model.pad_width(weights, 9), y), model.denoise(weights, y), rtol=1e-12)


def test_pad_width_refuses_fewer_neurons(key, refused):
    with refused("width"):
        model.pad_width(_weights(key), 3)
