"""Angles between planes, and the energy that a block spends on other clusters."""

import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import model, symmetry


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _arrays(decoder, encoder):
    return model.Weights(jnp.asarray(decoder), jnp.asarray(encoder))


def test_leakage_is_the_share_of_energy_on_other_clusters():
    x = np.eye(2)
    labels = np.arange(2)
    encoder = np.array([[2.0, 0.0], [1.0, 1.0]])  # the first neuron sees both samples
    weights = _arrays(encoder, encoder)
    result = symmetry.block_error(weights, weights, x, labels, blocks=2)
    np.testing.assert_array_equal(result.block_of_neuron, [0, 1])
    np.testing.assert_allclose(result.leakage, [1 / 5, 0], rtol=1e-13)


@pytest.mark.parametrize("angle", [1e-9, 0.3, np.pi / 2 - 1e-9, np.pi / 2])
def test_principal_angles_of_planes(rng, angle):
    frame = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    first = frame[:, :2]
    second = np.stack([frame[:, 0], np.cos(angle) * frame[:, 1] + np.sin(angle) * frame[:, 2]], axis=1)
    mix = rng.standard_normal((2, 2))
    np.testing.assert_allclose(symmetry.principal_angles(first, second @ mix), [0, angle], rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(symmetry.principal_angles(second @ mix, first[:, 1:]), [angle], rtol=1e-6)


def test_principal_angles_refuse_dependent_columns(refused):
    with refused("first"):
        symmetry.principal_angles(np.ones((3, 2)), np.eye(3)[:, :1])
    with refused("second"):
        symmetry.principal_angles(np.eye(3)[:, :1], np.eye(4)[:, :1])
