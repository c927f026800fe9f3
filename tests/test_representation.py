"""Spikiness: known vectors, invariances, and the same numbers from every kind of array."""

import functools
import timeit

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dae_theory import representation

SCALE_FREE = ("l4_over_l2", "kurtosis", "participation_ratio", "gini", "max_share")
spikiness = jax.jit(representation.spikiness)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_scores_are_their_formulas(rng):
    h = np.maximum(rng.standard_normal((6, 16)), 0)
    scores = spikiness(h)
    np.testing.assert_allclose(scores.std, h.std(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(scores.kurtosis, scipy.stats.kurtosis(h, axis=-1), rtol=1e-10)
    np.testing.assert_allclose(
        scores.l4_over_l2, np.linalg.norm(h, ord=4, axis=-1) / np.linalg.norm(h, axis=-1), rtol=1e-12
    )
    np.testing.assert_allclose(scores.participation_ratio, np.sum(h**2, -1) ** 2 / np.sum(h**4, -1), rtol=1e-12)
    np.testing.assert_allclose(scores.max_share, np.max(h**2, -1) / np.sum(h**2, -1), rtol=1e-12)
    # Gini as half the mean absolute difference over the mean.
    differences = np.abs(h[:, :, None] - h[:, None, :]).mean(axis=(1, 2))
    np.testing.assert_allclose(scores.gini, differences / (2 * h.mean(axis=-1)), rtol=1e-12)
    np.testing.assert_allclose(scores.participation_ratio, np.asarray(scores.l4_over_l2) ** -4, rtol=1e-12)


def test_one_score_alone_is_that_of_all_and_compiled_ones_agree(rng):
    """Concrete arrays on a CPU go through NumPy, traced ones through XLA: the same formulas."""
    h = np.concatenate([rng.standard_normal((5, 16)), np.zeros((1, 16)), np.full((1, 16), 0.1)])
    concrete, compiled = representation.spikiness(h), spikiness(h)
    for name in representation.ORIENTATION:
        np.testing.assert_array_equal(representation.score(h, name), getattr(concrete, name))
        np.testing.assert_allclose(getattr(concrete, name), getattr(compiled, name), rtol=1e-12, err_msg=name)


def test_sorting_many_activations_is_as_fast_as_numpy(rng):
    """The Gini coefficient of 131,072 activations within 20 sorts by NumPy; XLA's takes a hundred on a CPU."""
    h = rng.standard_normal((1, 131_072)).astype(np.float32)

    def fastest(call):
        return min(timeit.repeat(call, number=1, repeat=7))

    representation.score(h, "gini")
    assert fastest(lambda: representation.score(h, "gini")) < 20 * fastest(lambda: np.sort(np.abs(h)))


def test_one_hot_flat_and_equal_on_k_neurons():
    p, k = 16, 4
    h = np.stack([np.eye(p)[3] * 2.5, np.full(p, 0.1), np.repeat([3.0, 0.0], [k, p - k])])
    scores = spikiness(h)
    np.testing.assert_allclose(scores.participation_ratio, [1, p, k], rtol=1e-14)
    np.testing.assert_allclose(scores.max_share, [1, 1 / p, 1 / k], rtol=1e-14)
    np.testing.assert_allclose(scores.gini, [1 - 1 / p, 0, 1 - k / p], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(scores.l4_over_l2, [1, p**-0.25, k**-0.25], rtol=1e-14)
    q = np.array([1 / p, k / p])  # a two-valued vector: Bernoulli(q) moments
    kurtosis = (1 - 6 * q * (1 - q)) / (q * (1 - q))
    np.testing.assert_allclose(scores.kurtosis, [kurtosis[0], np.nan, kurtosis[1]], rtol=1e-12)
    np.testing.assert_allclose(scores.std, [2.5 * np.sqrt(q[0] * (1 - q[0])), 0, 3 * np.sqrt(q[1] * (1 - q[1]))])


def test_the_zero_vector_has_no_scale_free_score():
    scores = spikiness(np.zeros((6, 16)))
    np.testing.assert_array_equal(scores.std, 0)
    for name in SCALE_FREE:
        assert np.isnan(getattr(scores, name)).all(), name


@pytest.mark.parametrize("scale", [1e-100, 1e3, 1e100])
def test_permutation_and_scale(rng, scale):
    """All but the std forget the scale, also where a fourth power would leave the range of float64."""
    h = rng.standard_normal((6, 16))
    before, after = spikiness(h), spikiness(h[:, rng.permutation(16)] * scale)
    for name in SCALE_FREE:
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-10, err_msg=name)
    np.testing.assert_allclose(after.std, scale * before.std, rtol=1e-12)


def test_gradients_are_finite_and_correct(rng):
    h = jnp.asarray(rng.standard_normal(16))
    direction, step = jnp.asarray(rng.standard_normal(16)), 1e-6
    scores, slopes = jax.jit(lambda h: jax.jvp(representation.spikiness, (h,), (direction,)))(h)
    up, down = spikiness(h + step * direction), spikiness(h - step * direction)
    for name in (*SCALE_FREE, "std"):
        difference = (getattr(up, name) - getattr(down, name)) / (2 * step)
        np.testing.assert_allclose(getattr(slopes, name), difference, rtol=1e-6, atol=1e-8, err_msg=name)
        assert np.isfinite(getattr(scores, name))


def test_half_precision_and_integers_are_scored_in_float32_and_float64():
    h = np.array([100.0, 200.0, 0.0, 0.0])  # 200⁴ overflows half precision
    assert representation.spikiness(h.astype(np.float16)).std.dtype == jnp.float32
    np.testing.assert_allclose(representation.spikiness(h.astype(np.float16)).participation_ratio, 25 / 17, rtol=1e-6)
    np.testing.assert_allclose(representation.spikiness(h.astype(int)).participation_ratio, 25 / 17, rtol=1e-12)


def test_pooling_of_any_layout(rng):
    h = jnp.asarray(rng.standard_normal((6, 3, 4, 5)))
    np.testing.assert_array_equal(representation.flatten(h), np.asarray(h).reshape(6, -1))
    np.testing.assert_array_equal(representation.spatial_max(h), np.asarray(h).max(axis=(1, 2)))
    np.testing.assert_allclose(
        representation.spatial_mean(h, channel_axis=1), np.asarray(h).mean(axis=(2, 3)), rtol=1e-12
    )


def test_streaming_is_scoring_at_once(rng):
    h = rng.standard_normal((12, 4, 4))
    pooling = functools.partial(representation.spatial_max, channel_axis=1)
    stream = representation.score_batches((h[start : start + 6] for start in (0, 6)), pooling)
    whole = representation.score_batches([h], pooling)
    for left, right in zip(jax.tree.leaves(stream), jax.tree.leaves(whole), strict=True):
        assert left.shape == (12,)
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_torch_tensors_score_as_arrays_do(rng):
    torch = pytest.importorskip("torch")
    h = rng.standard_normal((6, 16))
    tensor = torch.tensor(h, requires_grad=True)
    np.testing.assert_array_equal(representation.as_array("h", tensor), h)
    bfloat = representation.as_array("h", tensor.to(torch.bfloat16))
    assert bfloat.dtype == jnp.float32
    np.testing.assert_allclose(bfloat, h, rtol=2**-8)


def test_refusals(refused):
    with refused("h"):
        representation.spikiness(np.array([1.0, np.nan]))
    with refused("h"):
        representation.spikiness(3.0)
    with refused("h"):
        representation.spikiness(np.zeros((2, 0)))
    with refused("h"):
        representation.spikiness(["a", "b"])
    with refused("batches"):
        representation.score_batches([])
    with refused("batches"):
        representation.score_batches([np.ones(3)])
    for axis in (0, 3, 9, -4, 1.0):
        with refused("channel_axis"):
            representation.spatial_max(jnp.ones((2, 3, 4)), channel_axis=axis)
    with refused("name"):
        representation.score(np.ones(3), "entropy")
