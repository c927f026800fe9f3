"""Directions: lengths go, signs and zeros stay, derivatives are those of a projection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import directions


def test_rows_have_length_one_and_keep_their_direction(key):
    rows = jax.random.normal(key, (2, 5, 3))
    scaled = rows * jnp.array([1e-3, 1.0, 7.0, 2.0, 40.0])[None, :, None]
    np.testing.assert_allclose(np.linalg.norm(directions.unit(rows), axis=-1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(directions.unit(scaled), directions.unit(rows), rtol=1e-12)
    np.testing.assert_array_equal(directions.unit(-rows), -directions.unit(rows))
    np.testing.assert_array_equal(jnp.sign(directions.unit(rows)), jnp.sign(rows))


def test_a_row_of_zeros_stays_zero_and_has_a_derivative():
    rows = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(directions.unit(rows), [[0.0, 0.0], [0.6, 0.8]], rtol=1e-15)
    slope = jax.jacobian(directions.unit)(rows)
    np.testing.assert_array_equal(slope[0], 0.0)
    # (I − x̂x̂ᵀ)/‖x‖
    np.testing.assert_allclose(slope[1, :, 1, :], (np.eye(2) - np.outer([0.6, 0.8], [0.6, 0.8])) / 5, atol=1e-15)


@pytest.mark.parametrize("rows", [1.0, [[1.0, np.nan]]])
def test_refusals(rows, refused):
    with refused("rows"):
        directions.unit(jnp.asarray(rows))
