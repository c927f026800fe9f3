"""Rivals of spikiness on the mixture's own denoisers: derivatives of its log-density, known dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dae_theory import data, geometry, theory

STD = 0.3


@pytest.fixture
def mixture():
    return data.simplex_mixture(jax.random.key(0), dimension=6, components=3, radius=2.0, rank=2, spread=0.7)


@pytest.fixture
def points(mixture):
    return mixture.sample(jax.random.key(1), 5).x + 0.1


def test_score_curvature_and_dimension_are_derivatives_of_the_log_density(mixture, points):
    denoiser = theory.mixture_denoiser(mixture, STD)

    def log_density(y, noise_std):
        return theory.mixture_log_density(mixture, noise_std)(y)

    score = jax.vmap(jax.grad(log_density), (0, None))(points, STD)
    hessian = jax.vmap(jax.hessian(log_density), (0, None))(points, STD)
    by_level = jax.vmap(jax.grad(log_density, argnums=1), (0, None))(points, STD)
    arguments = {"noise_std": STD}
    np.testing.assert_allclose(
        geometry.score_norm(denoiser, points, **arguments), np.linalg.norm(score, axis=1), rtol=1e-9
    )
    np.testing.assert_allclose(
        geometry.curvature(denoiser, points, **arguments), -np.trace(hessian, axis1=1, axis2=2), rtol=1e-8
    )
    np.testing.assert_allclose(geometry.local_dimension(denoiser, points, **arguments), 6 + STD * by_level, rtol=1e-8)
    jacobian = geometry.jacobians(denoiser, points)
    np.testing.assert_allclose(jacobian, np.eye(6)[None] + STD**2 * np.asarray(hessian), atol=1e-9)


def test_one_jacobian_gives_all_of_it(mixture, points):
    """As the functions one by one; the flattest direction is that of the Hessian's largest eigenvalue; jit and vmap."""
    denoiser, arguments = theory.mixture_denoiser(mixture, STD), {"noise_std": STD}
    found = jax.jit(lambda y: geometry.local_geometry(denoiser, y, **arguments))(points)
    hessian = jax.vmap(jax.hessian(theory.mixture_log_density(mixture, STD)))(points)
    largest = np.linalg.eigvalsh((hessian + np.swapaxes(hessian, 1, 2)) / 2)[:, -1]
    np.testing.assert_allclose(found.flattest, -largest, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.score_norm, geometry.score_norm(denoiser, points, **arguments), rtol=1e-10)
    np.testing.assert_allclose(found.dimension, geometry.local_dimension(denoiser, points, **arguments), rtol=1e-10)
    np.testing.assert_allclose(found.curvature, geometry.curvature(denoiser, points, **arguments), rtol=1e-10)
    np.testing.assert_array_equal(found.kept, geometry.jacobian_dimension(denoiser, points))
    many = jax.vmap(lambda y: geometry.local_geometry(denoiser, y, **arguments).curvature)(points[None])
    np.testing.assert_allclose(many[0], found.curvature, rtol=1e-10)


def test_dimensions_are_those_of_the_components_when_the_noise_is_small(mixture):
    """On samples of a component of rank 2 every estimate says 2; on a sample of the empirical denoiser 0."""
    x, noise_std = mixture.sample(jax.random.key(2), 4).x, 1e-3
    exact, empirical = theory.mixture_denoiser(mixture, noise_std), theory.empirical_denoiser(x, noise_std)
    np.testing.assert_allclose(geometry.local_dimension(exact, x, noise_std=noise_std), 2, atol=1e-3)
    np.testing.assert_allclose(geometry.local_dimension(empirical, x, noise_std=noise_std), 0, atol=1e-9)
    np.testing.assert_array_equal(geometry.jacobian_dimension(exact, x), 2)
    np.testing.assert_array_equal(geometry.jacobian_dimension(empirical, x), 0)
    np.testing.assert_array_equal(
        geometry.normal_bundle_dimension(jax.random.key(3), exact, x, noise_std=noise_std)[0], 2
    )
    np.testing.assert_array_equal(
        geometry.normal_bundle_dimension(jax.random.key(3), empirical, x, noise_std=noise_std)[0], 0
    )
    np.testing.assert_allclose(geometry.curvature(exact, x, noise_std=noise_std) * noise_std**2, 4, atol=1e-3)
    np.testing.assert_allclose(geometry.curvature(empirical, x, noise_std=noise_std) * noise_std**2, 6, atol=1e-9)


def test_the_score_of_a_noised_memorized_sample_is_the_noise(mixture):
    """E‖s‖² = d/σ² where f returns the sample, (d − r)/σ² where it projects, up to O(1): 4000 noise draws."""
    noise_std, x = 1e-2, mixture.sample(jax.random.key(4), 1).x
    y = x + noise_std * jax.random.normal(jax.random.key(5), (4000, 6))
    for denoiser, degrees in (
        (theory.empirical_denoiser(jnp.concatenate([x, -x]), noise_std), 6),
        (theory.mixture_denoiser(mixture, noise_std), 4),
    ):
        squares = (np.asarray(geometry.score_norm(denoiser, y, noise_std=noise_std)) * noise_std) ** 2
        assert abs(squares.mean() - degrees) <= 5 * scipy.stats.sem(squares) + 0.01


def test_a_rotation_changes_nothing(mixture, points):
    rotation = jnp.asarray(scipy.stats.ortho_group.rvs(6, random_state=0))
    turned = data.GaussianMixture(
        mixture.proportions, mixture.means @ rotation.T, jnp.einsum("ij,kjr->kir", rotation, mixture.factors)
    )
    one, other = theory.mixture_denoiser(mixture, STD), theory.mixture_denoiser(turned, STD)
    for function in (geometry.score_norm, geometry.local_dimension, geometry.curvature):
        np.testing.assert_allclose(
            function(one, points, noise_std=STD), function(other, points @ rotation.T, noise_std=STD), rtol=1e-8
        )


def test_refusals(points, refused):
    for function in (geometry.score_norm, geometry.local_dimension, geometry.curvature):
        for level in (0.0, -1.0, float("nan")):
            with refused("noise_std"):
                function(lambda y: y, points, noise_std=level)
        with refused("points"):
            function(lambda y: y, points[0], noise_std=1.0)
    with refused("threshold"):
        geometry.jacobian_dimension(lambda y: y, points, threshold=1.0)
    with refused("draws"):
        geometry.normal_bundle_dimension(jax.random.key(0), lambda y: y, points, noise_std=1.0, draws=3)
