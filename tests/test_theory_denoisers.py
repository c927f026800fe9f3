"""f_emp and the mixture's posterior mean: against dense formulas, Tweedie's identity, limits, and bounded memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import multivariate_normal

from dae_theory import data, theory


@pytest.fixture(scope="module")
def samples():
    return jax.random.normal(jax.random.key(5), (15, 4))


@pytest.fixture(scope="module")
def inputs():
    return 2 * jax.random.normal(jax.random.key(6), (5, 3, 4))


@pytest.fixture(scope="module")
def mixture():
    keys = jax.random.split(jax.random.key(7), 2)
    means, factors = jax.random.normal(keys[0], (3, 4)), jax.random.normal(keys[1], (3, 4, 2))
    return data.GaussianMixture(jnp.array([0.2, 0.3, 0.5]), means, factors)


def dense_empirical(x, y, sigma):
    distances = np.sum((np.asarray(y)[..., None, :] - np.asarray(x)) ** 2, axis=-1)
    return softmax(-distances / (2 * sigma**2), axis=-1) @ np.asarray(x)


@pytest.mark.parametrize("chunk", [4, 4096])
def test_empirical_denoiser_is_the_softmax(samples, inputs, chunk):
    measured = theory.empirical_denoiser(samples, 0.7, chunk=chunk)(inputs)
    np.testing.assert_allclose(measured, dense_empirical(samples, inputs, 0.7), rtol=1e-12, atol=1e-13)


def test_empirical_denoiser_never_overflows(samples):
    """Tiny noise, and inputs so far away that every weight underflows."""
    far = theory.empirical_denoiser(samples, 1e-4, chunk=4)(1e3 * samples)
    nearest = np.argmax(1e3 * samples @ samples.T - jnp.sum(samples**2, axis=1)[None, :] / 2, axis=1)
    np.testing.assert_allclose(far, samples[nearest], rtol=1e-12)


def test_empirical_denoiser_in_its_limits(samples):
    """σ = 0: the nearest sample, or the mean of those tied. σ → ∞: the mean of all."""
    y = samples + 0.01
    at_zero = theory.empirical_denoiser(samples, 0.0, chunk=4)(y)
    np.testing.assert_allclose(at_zero, samples, rtol=0, atol=1e-14)
    np.testing.assert_allclose(theory.empirical_denoiser(samples, 1e-3, chunk=4)(y), at_zero, rtol=0, atol=1e-14)
    corners = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 5.0]])
    np.testing.assert_array_equal(theory.empirical_denoiser(corners, 0.0)(jnp.zeros(2)), [0.0, 0.0])
    everywhere = theory.empirical_denoiser(samples, 1e8, chunk=4)(y)
    np.testing.assert_allclose(everywhere, jnp.broadcast_to(samples.mean(axis=0), (15, 4)), rtol=0, atol=1e-14)
    one = theory.empirical_denoiser(samples[:1], 0.3)(y)
    np.testing.assert_allclose(one, jnp.broadcast_to(samples[0], (15, 4)), rtol=0, atol=1e-15)


def test_empirical_denoiser_is_the_mixture_of_points(samples, inputs):
    """A mixture of components without spread is the training set: both denoisers agree."""
    points = data.GaussianMixture(jnp.full((15,), 1 / 15), samples, jnp.zeros((15, 4, 2)))
    for sigma in (0.1, 1.0):
        np.testing.assert_allclose(
            theory.mixture_denoiser(points, sigma)(inputs),
            theory.empirical_denoiser(samples, sigma, chunk=4)(inputs),
            rtol=1e-9,
            atol=1e-12,
        )


def test_empirical_jacobian_is_the_posterior_covariance(samples, inputs):
    """∂f_emp/∂y = Cov(x | y)/σ², through the chunks; and it is differentiable in σ, without NaN at σ = 0."""
    y, sigma = inputs[0, 0], 0.8
    measured = jax.jit(jax.jacobian(theory.empirical_denoiser(samples, sigma, chunk=4)))(y)
    weights = softmax(-np.sum((np.asarray(y) - np.asarray(samples)) ** 2, axis=1) / (2 * sigma**2))
    centred = np.asarray(samples) - weights @ np.asarray(samples)
    np.testing.assert_allclose(measured, (weights[:, None] * centred).T @ centred / sigma**2, rtol=1e-11, atol=1e-13)

    def norm(sigma):
        return jnp.sum(theory.empirical_denoiser(samples, sigma, chunk=4)(y) ** 2)

    norm, slope, step = jax.jit(norm), jax.jit(jax.grad(norm)), 1e-5
    np.testing.assert_allclose(slope(sigma), (norm(sigma + step) - norm(sigma - step)) / (2 * step), rtol=1e-8)
    assert np.isfinite(slope(0.0))


def test_empirical_denoiser_takes_a_noise_level_for_every_input(samples, inputs):
    """Mapped over inputs and noise levels together, as a noise-conditional sampler does."""
    levels = jnp.array([0.1, 0.5, 2.0])
    mapped = jax.jit(jax.vmap(lambda sigma, y: theory.empirical_denoiser(samples, sigma, chunk=4)(y)))
    for row, sigma, y in zip(mapped(levels, inputs[0]), levels, inputs[0], strict=True):
        np.testing.assert_allclose(row, dense_empirical(samples, y, float(sigma)), rtol=1e-12, atol=1e-13)


def test_sixty_thousand_samples_fit_in_bounded_memory():
    """Forwards and backwards: the compiler's own count of temporary memory stays far below inputs × samples."""
    count, dimension, batch, chunk = 60_000, 10, 1024, 1000
    x = jax.random.normal(jax.random.key(8), (count, dimension))
    y = jnp.zeros((batch, dimension))

    def denoise(x, y):
        return theory.empirical_denoiser(x, 0.5, chunk=chunk)(y)

    forwards, backwards = jax.jit(denoise), jax.jit(jax.grad(lambda x, y: jnp.sum(denoise(x, y) ** 2), argnums=1))
    allowed = 2 * x.nbytes + 8 * batch * chunk * x.dtype.itemsize
    assert allowed < batch * count * x.dtype.itemsize / 5
    for compiled in (forwards.lower(x, y).compile(), backwards.lower(x, y).compile()):
        analysis = compiled.memory_analysis()
        assert analysis is not None
        assert analysis.temp_size_in_bytes < allowed
    np.testing.assert_allclose(denoise(x, x[:2]), dense_empirical(x, x[:2], 0.5), rtol=1e-10, atol=1e-12)


def test_mixture_denoiser_is_the_dense_posterior_mean(mixture, inputs):
    sigma = 0.6
    proportions, means = np.asarray(mixture.proportions), np.asarray(mixture.means)
    covariances = np.asarray(mixture.covariances())
    noisy = covariances + sigma**2 * np.eye(4)
    y = np.asarray(inputs).reshape(-1, 4)
    joint = np.stack(
        [
            share * multivariate_normal(mean, covariance).pdf(y)
            for share, mean, covariance in zip(proportions, means, noisy, strict=True)
        ]
    )
    posterior = joint / joint.sum(axis=0)
    expected = sum(
        posterior[k][:, None] * (means[k] + (y - means[k]) @ np.linalg.solve(noisy[k], covariances[k]))
        for k in range(3)
    )
    measured = theory.mixture_denoiser(mixture, sigma)(inputs)
    np.testing.assert_allclose(measured, np.reshape(expected, inputs.shape), rtol=1e-11, atol=1e-12)
    log_density = theory.mixture_log_density(mixture, sigma)(inputs)
    np.testing.assert_allclose(log_density, np.log(joint.sum(axis=0)).reshape(5, 3), rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.05, 0.6, 20.0])
def test_tweedie(mixture, inputs, sigma):
    """f_gt(y) = y + σ² ∇ log p(y), the gradient by autodiff of the log density."""
    flat = inputs.reshape(-1, 4)
    score = jax.jit(jax.vmap(jax.grad(theory.mixture_log_density(mixture, sigma))))(flat)
    measured = theory.mixture_denoiser(mixture, sigma)(flat)
    np.testing.assert_allclose(measured, flat + sigma**2 * score, rtol=1e-10, atol=1e-11)


def test_mixture_denoiser_in_its_limits(mixture, inputs):
    """σ → 0 on the support: y itself. σ → ∞: the mean. Far from everything: finite."""
    on_support = mixture.sample(jax.random.key(9), 15).x
    np.testing.assert_allclose(theory.mixture_denoiser(mixture, 1e-6)(on_support), on_support, rtol=0, atol=1e-8)
    mean = mixture.proportions @ mixture.means
    wide = theory.mixture_denoiser(mixture, 1e7)(inputs)
    np.testing.assert_allclose(wide, jnp.broadcast_to(mean, inputs.shape), rtol=0, atol=1e-6)
    assert bool(jnp.all(jnp.isfinite(theory.mixture_denoiser(mixture, 1e-3)(1e6 * inputs))))


def test_mixture_denoiser_with_full_rank_factors(inputs):
    """r ≥ d: Σ is round, so one component shrinks y − μ by s²/(s² + σ²)."""
    mean = np.arange(4.0)
    factors = np.concatenate([0.6 * np.eye(4), 0.8 * np.eye(4)], axis=1)
    mixture = data.GaussianMixture(jnp.ones(1), jnp.asarray(mean[None]), jnp.asarray(factors[None]))
    expected = mean + (np.asarray(inputs) - mean) / (1 + 0.25)
    np.testing.assert_allclose(theory.mixture_denoiser(mixture, 0.5)(inputs), expected, rtol=1e-13)


def test_mixture_denoiser_is_the_best_denoiser(mixture, key):
    """It beats f_emp on fresh data, and its residual is uncorrelated with its input: E⟨x − f(y), y⟩ = 0."""
    few = mixture.sample(jax.random.key(10), 10).x

    @jax.jit
    def residuals(key):
        keys = jax.random.split(key, 2)
        x = mixture.sample(keys[0], 10_000).x
        y = x + 0.6 * jax.random.normal(keys[1], x.shape)
        right, other = x - theory.mixture_denoiser(mixture, 0.6)(y), x - theory.empirical_denoiser(few, 0.6)(y)
        return jnp.sum(right * y, axis=1), jnp.mean(right**2), jnp.mean(other**2)

    products, right, other = residuals(key)
    assert abs(jnp.mean(products)) < 5 * jnp.std(products) / jnp.sqrt(1e4)
    assert right < other


def test_single_precision_stays_single(samples, inputs):
    x, y = samples.astype(jnp.float32), inputs.astype(jnp.float32)
    measured = theory.empirical_denoiser(x, 0.7)(y)
    assert measured.dtype == jnp.float32
    np.testing.assert_allclose(measured, dense_empirical(x, y, 0.7), rtol=0, atol=1e-5)


def test_denoiser_refusals(refused, samples, mixture):
    with refused("noise_std"):
        theory.empirical_denoiser(samples, -0.1)
    with refused("noise_std"):
        theory.empirical_denoiser(samples, jnp.ones(2))
    with refused("chunk"):
        theory.empirical_denoiser(samples, 0.1, chunk=0)
    with refused("x"):
        theory.empirical_denoiser(samples[0], 0.1)
    with refused("y"):
        theory.empirical_denoiser(samples, 0.1)(jnp.zeros((2, 3)))
    with refused("noise_std"):
        theory.mixture_denoiser(mixture, 0.0)
    with refused("y"):
        theory.mixture_denoiser(mixture, 0.1)(jnp.zeros(3))
    with refused("y"):
        theory.mixture_log_density(mixture, 0.1)(jnp.zeros(3))
    with refused("proportions"):
        theory.mixture_log_density(mixture.replace(proportions=-mixture.proportions), 0.1)


def test_rows_behind_the_live_samples_count_for_nothing(samples, inputs):
    """Any number of live rows, traced, down to whole chunks of padding; the slope in σ is finite there as well."""

    def total(sigma, live):
        denoised = theory.empirical_denoiser(samples, sigma, samples=live, chunk=4)(inputs)
        return jnp.sum(denoised), denoised

    compiled = jax.jit(jax.value_and_grad(total, has_aux=True))
    for live in (1, 2, 4, 15):
        (_, denoised), slope = compiled(0.7, live)
        np.testing.assert_allclose(denoised, dense_empirical(samples[:live], inputs, 0.7), rtol=1e-12, atol=1e-12)
        assert np.isfinite(slope)


def test_more_live_samples_than_rows_are_refused(samples, refused):
    with refused("samples"):
        theory.empirical_denoiser(samples, 0.7, samples=16)


def test_orthogonal_factors_need_no_decomposition(key):
    mixture = data.simplex_mixture(
        jax.random.fold_in(key, 1), dimension=6, components=3, radius=2.0, rank=2, spread=0.4
    )
    y = jax.random.normal(jax.random.fold_in(key, 2), (5, 6))
    expected = theory.mixture_denoiser(mixture, 0.3)(y)
    np.testing.assert_allclose(theory.mixture_denoiser(mixture, 0.3, orthogonal=True)(y), expected, rtol=1e-11)
