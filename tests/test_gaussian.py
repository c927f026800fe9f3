"""Φ₂ and ReLU moments against 50-digit integrals, plain quadrature, Monte Carlo, identities and Price's theorem."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from jax.test_util import check_grads

from dae_theory import bivariate, gaussian

BELOW_ONE = float(np.nextafter(1, 0))
CORRELATIONS = (0.0, 0.3, -0.8, 1 - 1e-6, -1 + 1e-9, BELOW_ONE, -BELOW_ONE, 1.0, -1.0)
THRESHOLDS = (
    (0.0, 0.0),
    (0.0, -1.0),
    (1.0, 1.0),
    (1.0, 1.0 + 1e-8),
    (-0.5, 0.5),
    (-3.0, -2.5),
    (6.0, -6.0),
    (9.0, 0.3),
    (38.0, 40.0),
    (40.0, -40.0),
    (-40.0, -40.0),
)
CORNERS = [(a, b, rho) for (a, b), rho in itertools.product(THRESHOLDS, CORRELATIONS)]


def _integrals(a: float, b: float, rho: float) -> tuple[float, float]:
    """Φ₂(a, b; ρ) and E (u+a)₊(v+b)₊ as integrals over u of what v gives when u is known, at 50 digits.

    Panels of 24 Gauss-Legendre nodes between −10 and 10, more of them where the gate of v opens; by comparison with the
    tanh-sinh rule the error is below 1e-20.
    """
    a, b, rho = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(rho)
    s = mpmath.sqrt((1 - rho) * (1 + rho))
    low, high = max(-a, mpmath.mpf(-10)), mpmath.mpf(10)
    edge = -b / rho if rho else high
    cuts = {low, high, *mpmath.arange(low, high, 2.5), *(edge + k * s / abs(rho or 1) for k in range(-9, 10, 3))}
    cuts = sorted(cut for cut in cuts if low <= cut <= high)
    probability = product = mpmath.mpf(0)
    for left, right in itertools.pairwise(cuts):
        for node, weight in NODES:
            u = (left + right + (right - left) * node) / 2
            mean = b + rho * u
            open_gate = mpmath.ncdf(mean / s) if s else mpmath.mpf(mean > 0)
            rest = s * mpmath.npdf(mean / s) if s else 0
            share = mpmath.npdf(u) * weight * (right - left) / 2
            probability += share * open_gate
            product += share * (a + u) * (mean * open_gate + rest)
    return float(probability), float(product)


with mpmath.workdps(50):
    NODES = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(4, mpmath.mp.prec)


@jax.jit
def _standard_product(a, b, rho):
    one = jnp.ones_like(a)
    return gaussian.relu_product(gaussian.marginal(a, one), gaussian.marginal(b, one), rho).value


def test_quadrants_and_products_to_fifty_digits_at_every_corner():
    with mpmath.workdps(50):
        probability, product = np.array([_integrals(*corner) for corner in CORNERS]).T
    corners = np.array(CORNERS).T
    np.testing.assert_allclose(gaussian.bivariate_normal_cdf(*corners), probability, rtol=0, atol=1e-15)
    error = np.abs(_standard_product(*map(jnp.asarray, corners)) - product)
    np.testing.assert_array_less(error / np.maximum(product, 1), 1e-14)


def test_single_moments_to_fifty_digits():
    mean, std = (values.ravel() for values in np.meshgrid([-40, -3.0, 0, 1e-9, 2.5, 40], [1e-3, 0.4, 3.0]))
    with mpmath.workdps(50):
        first = [m * mpmath.ncdf(m / s) + s * mpmath.npdf(m / s) for m, s in zip(mean, std, strict=True)]
        second = [
            (m * m + s * s) * mpmath.ncdf(m / s) + m * s * mpmath.npdf(m / s) for m, s in zip(mean, std, strict=True)
        ]
    z = gaussian.relu(gaussian.marginal(jnp.array(mean), jnp.array(std**2)))
    for value, exact in ((z.first, first), (z.second, second)):
        exact = np.array(exact, dtype=float)
        np.testing.assert_array_less(np.abs(value - exact) / np.maximum(exact, 1), 1e-14)


@pytest.mark.parametrize(("mean", "correlation"), [((0.3, -0.7), 0.6), ((-1.2, -0.4), -0.9)])
def test_moments_are_the_integral_over_the_quadrant(mean, correlation):
    std = np.array([0.8, 1.7])
    covariance = np.outer(std, std) * np.array([[1, correlation], [correlation, 1]])
    density = scipy.stats.multivariate_normal(mean, covariance).pdf
    expected, error = scipy.integrate.dblquad(
        lambda v, u: u * v * density([u, v]), 0, 14, lambda _: 0, lambda _: 14, epsabs=1e-9
    )
    _, second = gaussian.relu_moments(np.array(mean), covariance)
    assert abs(second[0, 1] - expected) < 5 * max(error, 1e-9)


def test_moments_are_the_mean_over_draws(key):
    loading, shift, draw = (jax.random.fold_in(key, index) for index in range(3))
    factor = jax.random.normal(loading, (4, 2)).at[2].set(0)  # a constant variable
    factor = factor.at[3].set(-2 * factor[0])  # and an opposite one
    mean = jax.random.normal(shift, (4,))
    first, second = gaussian.relu_moments(mean, factor @ factor.T)
    h = jax.nn.relu(mean[None, :] + jax.random.normal(draw, (40_000, 2)) @ factor.T)
    products = (h[:, :, None] * h[:, None, :]).reshape(len(h), -1)
    for exact, sampled in ((first, h), (second.ravel(), products)):
        sem = jnp.std(sampled, axis=0) / len(h) ** 0.5
        gap = jnp.abs(jnp.mean(sampled, axis=0) - exact)
        assert jnp.all(gap <= 5 * sem + 1e-12), (gap, sem)


def _hard_grid():
    """Thresholds and correlations with all magnitudes of a, b, a ± b and 1 ± ρ, shape (4000,) each."""
    draw = np.random.default_rng(20)
    a = draw.normal(size=4000) * 10 ** draw.uniform(-9, 1.3, size=4000)
    near = 10 ** draw.uniform(-18, 0, size=4000)
    rho = (1 - near) * draw.choice([-1, 1], size=4000)
    b = np.where(draw.random(4000) < 0.3, draw.normal(size=4000), rho * a)
    return a, b + np.sqrt(near) * draw.normal(size=4000), rho


def test_the_four_quadrants_add_up():
    a, b, rho = _hard_grid()
    cdf = gaussian.bivariate_normal_cdf
    np.testing.assert_allclose(cdf(a, b, rho) + cdf(a, -b, -rho), scipy.stats.norm.cdf(a), rtol=0, atol=1e-15)
    np.testing.assert_allclose(cdf(a, b, rho), cdf(b, a, rho), rtol=0, atol=1e-15)
    # z = (z)₊ − (−z)₊ for both variables, so that four products make E z_i z_j
    product = lambda *point: _standard_product(*map(jnp.asarray, point))  # noqa: E731
    total = product(a, b, rho) + product(-a, -b, rho) - product(-a, b, -rho) - product(a, -b, -rho)
    assert jnp.max(jnp.abs(total - (a * b + rho)) / jnp.maximum(1, jnp.abs(a * b))) < 1e-13


def test_infinite_thresholds_and_broadcasting():
    values = gaussian.bivariate_normal_cdf(
        np.array([-np.inf, 0.5, np.inf])[:, None], np.array([0.5, np.inf])[None], 0.3
    )
    half = float(scipy.stats.norm.cdf(0.5))
    np.testing.assert_allclose(values[0], 0)
    np.testing.assert_allclose(values[1:, 1], [half, 1], rtol=1e-15)
    np.testing.assert_allclose(values[2, 0], half, rtol=1e-15)


@jax.jit
def _product(v):
    """A product of ReLUs and its derivatives as functions of (m_i, m_j, C_ii, C_jj, C_ij)."""
    return gaussian.relu_product(gaussian.marginal(v[0], v[2]), gaussian.marginal(v[1], v[3]), v[4])


def _value(v):
    return _product(v).value


@jax.jit
def _quadrant(v):
    return bivariate.quadrant(bivariate.threshold(v[0]), bivariate.threshold(v[1]), v[2])


@jax.jit
def _relu(v):
    return gaussian.relu(gaussian.marginal(v[0], v[1]))


REGULAR = jnp.array([(0.3, -0.5, 0.7, 1.3, 0.4), (-1.0, -0.2, 2.0, 0.5, -0.8), (1.5, 1.2, 0.5, 0.4, 0.3)]).T


def test_derivative_rules_are_derivatives():
    """Each rule gives derivatives by outputs of its own function: one order of every output covers all orders."""
    for function, at in ((_product, REGULAR), (_quadrant, REGULAR[jnp.array([0, 1, 4])]), (_relu, REGULAR[::2][:2])):
        check_grads(function, (at,), order=1, eps=1e-4, rtol=1e-6, atol=1e-6)


def test_price():
    """∂E/∂C_ij = ∂²E/∂m_i∂m_j and ∂E/∂C_ii = ½ ∂²E/∂m_i²: the heat equation."""
    points = jnp.concatenate([REGULAR.T, jnp.array([(0.2, 0.1, 1.0, 1.0, 1 - 1e-4), (0.0, 0.0, 1.0, 4.0, -1.9)])])
    gradient, hessian = jax.jit(jax.vmap(lambda v: (jax.grad(_value)(v), jax.hessian(_value)(v))))(points)
    np.testing.assert_allclose(gradient[:, 4], hessian[:, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(gradient[:, 2:4], 0.5 * jnp.diagonal(hessian, axis1=1, axis2=2)[:, :2], rtol=1e-12)
    np.testing.assert_allclose(hessian, hessian.swapaxes(1, 2), rtol=1e-12, atol=1e-12)


# (m_i, m_j, C_ii, C_jj, C_ij) with both constant, one constant, parallel, opposite, and far or at zero
SINGULAR = [
    (1.0, 2.0, 0.0, 0.0, 0.0),
    (1.0, -2.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.7, 0.0, 1.0, 0.0),
    (1.0, 0.7, 0.0, 1.0, 0.0),
    (1.0, 2.0, 1.0, 4.0, 2.0),
    (1.0, -2.0, 1.0, 4.0, -2.0),
    (1.0, 3.0, 1.0, 4.0, 2.0),
    (0.0, 0.0, 1.0, 1.0, 1.0),
    (0.0, 0.0, 1.0, 1.0, -1.0),
    (40.0, -40.0, 1.0, 1.0, 1.0),
    (1e3, 1.0, 1e-12, 1.0, 1e-6),
    (0.0, 0.0, 1e-200, 1e-200, 1e-200),
]


def test_two_derivatives_are_finite_at_every_corner():
    for function, points in ((_value, SINGULAR), (lambda v: _quadrant(v).probability, CORNERS)):
        derivatives = jax.jit(jax.vmap(lambda v, f=function: (f(v), jax.grad(f)(v), jax.hessian(f)(v))))
        for values in derivatives(jnp.array(points)):
            assert jnp.all(jnp.isfinite(values))


def test_gradients_at_the_corners_are_limits():
    """Along a path of regular covariances into a corner the gradient converges to what is returned at the corner."""
    gradient = jax.jit(jax.vmap(jax.grad(_value)))
    limit = jnp.array(SINGULAR[:10])
    m, v, c = limit[:, :2], limit[:, 2:4], limit[:, 4:]
    # constant variables get a standard deviation of 1e-10, and correlations of ±1 lose 1e-13: the gradient of a path
    # moves by about the square root of the latter
    near = jnp.concatenate([m, jnp.where(v == 0, 1e-20, v), c * (1 - 1e-13)], axis=1)
    # an infinite ∂/∂C_ii, at a constant variable with mean zero, is given as zero
    infinite = jnp.pad((v == 0) & (m == 0), ((0, 0), (2, 1)))
    np.testing.assert_allclose(jnp.where(infinite, 0, gradient(near)), gradient(limit), atol=1e-6)
    assert jnp.all(jnp.where(infinite, gradient(limit) == 0, True))


def test_noise_free_variables_are_plain_relus():
    first, second = gaussian.relu_moments(np.array([2.0, -1.0, 0.0, 3.0]), np.zeros((4, 4)))
    np.testing.assert_array_equal(first, [2, 0, 0, 3])
    np.testing.assert_array_equal(second, np.outer([2, 0, 0, 3], [2, 0, 0, 3]))
    gate = jax.vmap(jax.grad(lambda m: gaussian.relu(gaussian.marginal(m, jnp.zeros(()))).first))
    np.testing.assert_array_equal(gate(jnp.array([2.0, -1.0, 0.0])), [1, 0, 0.5])


def test_jit_and_vmap_change_nothing(key):
    means = jax.random.normal(jax.random.fold_in(key, 0), (3, 4))
    factors = jax.random.normal(jax.random.fold_in(key, 1), (3, 4, 4))
    covariances = factors @ factors.swapaxes(1, 2)
    batched = jax.jit(jax.vmap(gaussian.relu_moments))(means, covariances)
    single = [gaussian.relu_moments(m, c) for m, c in zip(means, covariances, strict=True)]
    for index in range(2):
        np.testing.assert_allclose(batched[index], jnp.stack([one[index] for one in single]), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(batched[1], batched[1].swapaxes(1, 2), rtol=1e-13)


def test_single_precision_stays_single():
    small = [values.astype(np.float32) for values in _hard_grid()]
    value = gaussian.bivariate_normal_cdf(*small)
    assert value.dtype == jnp.float32
    exact = gaussian.bivariate_normal_cdf(*(values.astype(np.float64) for values in small))
    assert jnp.max(jnp.abs(value.astype(jnp.float64) - exact)) < 1e-6


def test_refusals(refused):
    mean, covariance = np.zeros(2), np.eye(2)
    with refused("rho"):
        gaussian.bivariate_normal_cdf(0.0, 0.0, 1.1)
    with refused("a"):
        gaussian.bivariate_normal_cdf(np.nan, 0.0, 0.5)
    with refused("mean"):
        gaussian.relu_moments(np.array([np.nan, 0]), covariance)
    for bad in (np.eye(3), -np.eye(2), np.array([[1, 2.0], [2, 1]]), np.array([[1, 0.5], [0.1, 1]])):
        with refused("covariance"):
            gaussian.relu_moments(mean, bad)
