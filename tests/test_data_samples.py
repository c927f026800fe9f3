"""Duplicates: which rows, where, and how many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data


@pytest.fixture
def samples():
    return data.Samples(jnp.arange(10.0).reshape(5, 2), jnp.arange(5, dtype=jnp.int32) % 2)


def test_one_copy_changes_nothing(samples):
    same = data.duplicate(samples, [1, 3], 1)
    np.testing.assert_array_equal(same.x, samples.x)
    np.testing.assert_array_equal(same.labels, samples.labels)


def test_copies_are_appended_set_after_set_with_their_labels(samples):
    more = data.duplicate(samples, [3, 1], 3)
    np.testing.assert_array_equal(more.x, samples.x[jnp.asarray([0, 1, 2, 3, 4, 3, 1, 3, 1])])
    np.testing.assert_array_equal(more.labels, [0, 1, 0, 1, 0, 1, 1, 1, 1])


@pytest.mark.parametrize("copies", [1, 3])
def test_a_single_index_appears_copies_times_in_total(samples, copies):
    more = data.duplicate(samples, 2, copies)
    assert int(jnp.sum(jnp.all(more.x == samples.x[2][None, :], axis=1))) == copies
    assert more.x.shape[0] == 5 + copies - 1


def test_second_moment_of_the_set_gains_the_copies(samples):
    """XᵀX of the duplicated data is XᵀX + (copies − 1) x xᵀ: what Cor. 3.4 feeds on."""
    more = data.duplicate(samples, 4, 6)
    gain = more.x.T @ more.x - samples.x.T @ samples.x
    np.testing.assert_allclose(gain, 5 * jnp.outer(samples.x[4], samples.x[4]), atol=1e-12)


def test_index_may_be_traced(samples):
    chosen = jax.jit(lambda index: data.duplicate(samples, index, 3).x)(jnp.asarray([0, 2]))
    np.testing.assert_array_equal(chosen, data.duplicate(samples, [0, 2], 3).x)


@pytest.mark.parametrize("index", [5, -1, [0, 0], [], 1.0, [[1]]])
def test_bad_index_is_refused(samples, refused, index):
    with refused("index"):
        data.duplicate(samples, index, 2)


@pytest.mark.parametrize("copies", [0, -2, 1.5, True])
def test_bad_copies_are_refused(samples, refused, copies):
    with refused("copies"):
        data.duplicate(samples, 0, copies)
