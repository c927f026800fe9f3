"""Exact distances between nets, linear maps and reference denoisers: sampled, symmetric, differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import risk, theory
from dae_theory.data import GaussianMixture
from dae_theory.model import Weights, denoise

N, D, P = 6, 4, 6
SIGMA = 0.4


@pytest.fixture
def x(key):
    return jax.random.normal(jax.random.fold_in(key, 100), (N, D))


@pytest.fixture
def weights(key):
    """Random columns, then one parallel to the first, one opposite to it, and a zero column."""
    encoder, decoder = (jax.random.normal(jax.random.fold_in(key, index), (D, P)) for index in (101, 102))
    encoder = encoder.at[:, 3].set(2 * encoder[:, 0]).at[:, 4].set(-0.5 * encoder[:, 0]).at[:, 5].set(0)
    return Weights(decoder=0.5 * decoder, encoder=0.5 * encoder)


def _norm(tree):
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def _dot(first, second):
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


def _along(start, direction, step):
    return jax.tree.map(lambda a, b: a + step * b, start, direction)


def _random_like(key, tree):
    leaves, structure = jax.tree.flatten(tree)
    draws = [jax.random.normal(jax.random.fold_in(key, index), leaf.shape) for index, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, draws)


def test_affine_distance_is_the_sampled_distance(key, weights, x):
    slope = jax.random.normal(jax.random.fold_in(key, 0), (D, D)) / 2
    intercept = jax.random.normal(jax.random.fold_in(key, 1), (D,))
    exact = risk.affine_distance(weights, x, slope, intercept, noise_std=SIGMA)
    reference = lambda y: y @ slope.T + intercept[None, :]  # noqa: E731
    sampled = risk.sampled_distance(jax.random.fold_in(key, 2), weights, x, reference, noise_std=SIGMA, draws=2000)
    assert abs(sampled.mean - exact) < 5 * sampled.sem


@pytest.fixture
def other(key):
    """A net of another width, one of its columns opposite to one of `weights`, another parallel to one."""
    encoder, decoder = (0.5 * jax.random.normal(jax.random.fold_in(key, index), (D, 5)) for index in (103, 104))
    own = 0.5 * jax.random.normal(jax.random.fold_in(key, 101), (D, P))
    return Weights(decoder, encoder.at[:, 0].set(-own[:, 1]).at[:, 1].set(3 * own[:, 0]))


def test_distance_of_two_nets_is_the_sampled_distance(key, weights, other, x):
    exact = risk.network_distance(weights, other, x, noise_std=SIGMA)
    reference = lambda y: denoise(other, y)  # noqa: E731
    sampled = risk.sampled_distance(jax.random.fold_in(key, 2), weights, x, reference, noise_std=SIGMA, draws=2000)
    assert abs(sampled.mean - exact) < 5 * sampled.sem
    assert sampled.sem < 0.02 * exact
    mixture = GaussianMixture(jnp.asarray([0.3, 0.7]), x[:2], 0.6 * jax.random.normal(key, (2, D, 2)))
    fresh = mixture.sample(jax.random.fold_in(key, 3), 20_000).x
    error = risk.sampled_distance(jax.random.fold_in(key, 4), weights, fresh, reference, noise_std=SIGMA, draws=2)
    between = jnp.std(jnp.sum((denoise(weights, fresh) - denoise(other, fresh)) ** 2, axis=1)) / len(fresh) ** 0.5
    exact = risk.mixture_network_distance(weights, other, mixture, noise_std=SIGMA)
    assert abs(error.mean - exact) < 5 * jnp.hypot(error.sem, between)


def test_distance_of_two_nets_sees_functions(weights, other, x):
    """Symmetric, the error of a net whose target is another, and zero for the same function in other weights."""
    distance = jax.jit(lambda a, b: risk.network_distance(a, b, x, noise_std=SIGMA))
    forth = distance(weights, other)
    np.testing.assert_allclose(distance(other, weights), forth, rtol=1e-13)
    nothing = jax.tree.map(jnp.zeros_like, weights)
    energy = distance(weights, nothing)
    linear = risk.affine_distance(weights, x, jnp.zeros((D, D)), jnp.zeros(D), noise_std=SIGMA)
    np.testing.assert_allclose(energy, linear, rtol=1e-13)
    order, scale = jnp.array([4, 2, 0, 5, 1, 3]), jnp.linspace(0.3, 3, P)[None, :]
    permuted = jax.tree.map(lambda columns: columns[:, order], weights)
    rescaled = Weights(weights.decoder / scale, weights.encoder * scale)
    split = Weights(weights.decoder.at[:, 5].set(0.7 * weights.decoder[:, 1]).at[:, 1].multiply(0.3), weights.encoder)
    split = Weights(split.decoder, split.encoder.at[:, 5].set(split.encoder[:, 1]))
    for same in (weights, permuted, rescaled, split):
        assert abs(distance(weights, same)) < 1e-14 * energy
        np.testing.assert_allclose(distance(same, other), forth, rtol=1e-12)
    padded = jnp.concatenate([x, 7 * jnp.ones((3, D))])
    np.testing.assert_allclose(
        risk.network_distance(weights, other, padded, noise_std=SIGMA, samples=N), forth, rtol=1e-13
    )


def test_distance_of_two_nets_has_its_gradient(key, weights, other, x):
    """Finite at parallel, opposite and zero columns and at equal nets; finite differences along a random direction."""
    distance = jax.jit(jax.value_and_grad(lambda a, b: risk.network_distance(a, b, x, noise_std=SIGMA)))
    at_itself = distance(weights, weights)[1]
    assert _norm(at_itself) < 1e-13
    _, gradient = distance(other, weights)
    direction = _random_like(key, other)
    step = 1e-6
    ahead, behind = (distance(_along(other, direction, sign * step), weights)[0] for sign in (1, -1))
    np.testing.assert_allclose(_dot(gradient, direction), (ahead - behind) / (2 * step), rtol=1e-7)


def test_distance_to_the_linear_map_of_open_gates_is_what_the_gates_miss(x):
    """Neurons that are open on every sample are linear; far from its gate the distance to W₂W₁ᵀ vanishes."""
    direction = jnp.eye(D)[:, :1]
    weights = Weights(decoder=jnp.tile(0.7 * direction, P), encoder=jnp.tile(0.9 * direction, P))
    x = jnp.abs(x) + 3
    slope = weights.decoder @ weights.encoder.T
    assert risk.affine_distance(weights, x, slope, jnp.zeros(D), noise_std=0.1) < 1e-13
    assert risk.affine_distance(weights, -x, slope, jnp.zeros(D), noise_std=0.1) > 1


def test_reference_denoisers_where_they_are_affine(key, weights):
    """f_emp of one sample is constant, f_gt of one component is a Wiener filter: exact and sampled distances agree."""
    mixture = GaussianMixture(jnp.ones(1), jax.random.normal(key, (1, D)), 0.6 * jnp.eye(D)[None, :, :2])
    x = mixture.sample(jax.random.fold_in(key, 1), N).x
    covariance = mixture.factors[0] @ mixture.factors[0].T
    wiener = covariance @ jnp.linalg.inv(covariance + SIGMA**2 * jnp.eye(D))
    mean = mixture.means[0]
    for index, (reference, slope, intercept) in enumerate(
        [
            (theory.empirical_denoiser(x[:1], SIGMA), jnp.zeros((D, D)), x[0]),
            (theory.mixture_denoiser(mixture, SIGMA), wiener, mean - wiener @ mean),
        ]
    ):
        exact = risk.affine_distance(weights, x, slope, intercept, noise_std=SIGMA)
        own = jax.random.fold_in(key, 2 + index)
        sampled = risk.sampled_distance(own, weights, x, reference, noise_std=SIGMA, draws=500)
        assert abs(sampled.mean - exact) < 5 * sampled.sem
