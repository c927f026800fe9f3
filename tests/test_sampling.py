"""Samplers against the closed form of Gaussian data, the samples behind f_emp, and their own identities."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import data, memorization, model, noise, sampling, theory


@pytest.fixture
def gaussian(key):
    """One Gaussian with a mean, of rank 2 in 3 dimensions, its eigenvalues e and eigenvectors U."""
    factors = jnp.asarray([[[1.0, 0.0], [0.0, 0.5], [0.0, 0.0]]])
    return data.GaussianMixture(jnp.ones(1), jnp.asarray([[1.0, -2.0, 0.5]]), factors), jnp.array([1.0, 0.25, 0.0])


def _denoiser(mixture):
    return sampling.by_noise(partial(theory.mixture_denoiser, mixture))


def _euler_factors(e, levels):
    """Per step and direction: y' − μ = (1 − (1 − σ'/σ) σ²/(e + σ²)) (y − μ)."""
    high, low = levels[:-1, None], levels[1:, None]
    return 1 - (1 - low / high) * high**2 / (e[None] + high**2)


def test_schedules():
    geometric, karras = sampling.geometric_schedule(), sampling.karras_schedule(80.0, 0.002, 18)
    np.testing.assert_allclose(geometric[:-1], 2 * 0.01 ** (np.arange(60) / 59), rtol=1e-13)
    np.testing.assert_allclose([geometric[-1], karras[-1]], 0)
    np.testing.assert_allclose([karras[0], karras[-2]], [80, 0.002], rtol=1e-12)
    np.testing.assert_allclose(np.diff(np.asarray(karras[:-1]) ** (1 / 7), n=2), 0, atol=1e-14)


def test_euler_is_the_product_of_its_factors_on_gaussian_data(key, gaussian):
    mixture, e = gaussian
    levels = sampling.geometric_schedule(3.0, 0.05, 9)
    start = sampling.prior(key, 6, 3, 3.0)
    end = sampling.sample(key, _denoiser(mixture), levels, start).x
    expected = mixture.means + jnp.prod(_euler_factors(e, levels), axis=0)[None] * (start - mixture.means)
    np.testing.assert_allclose(end, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("step", "order"), [(sampling.euler, 1), (sampling.heun, 2)])
def test_deterministic_steps_approach_the_flow_at_their_order(key, gaussian, step, order):
    """y_σ − μ = √((e + σ²)/(e + σ_0²)) (y_0 − μ) along an eigenvector; halving steps divides the error by 2^order."""
    mixture, e = gaussian
    start = sampling.prior(key, 4, 3, 3.0)
    exact = mixture.means + jnp.sqrt((e + 0.05**2) / (e + 9.0))[None] * (start - mixture.means)
    errors = []
    for count in (161, 321):
        levels = noise.geometric_levels(3.0, 0.05, count)
        end = jax.jit(lambda start, levels=levels: sampling.sample(key, _denoiser(mixture), levels, start, step=step).x)
        errors.append(float(jnp.max(jnp.abs(end(start) - exact))))
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.1


def test_ancestral_has_the_variance_of_its_recursion_and_tends_to_the_data(key, gaussian):
    """Linear denoiser, so y_k stays Gaussian: v' = a²v + s²; and v → e + σ² when steps become small."""
    mixture, e = gaussian
    e = np.asarray(e)

    def recursion(levels):
        v = np.full(3, levels[0] ** 2)
        for high, low in itertools.pairwise(levels):
            v = (1 - (1 - low**2 / high**2) * high**2 / (e + high**2)) ** 2 * v
            v = v + low**2 * (high**2 - low**2) / high**2
        return v

    levels = np.asarray(noise.geometric_levels(50.0, 0.3, 40))
    chains = 4000
    start = mixture.means + sampling.prior(key, chains, 3, 50.0)
    end = sampling.sample(key, _denoiser(mixture), levels, start, step=sampling.ancestral).x
    z = (np.var(end, axis=0, ddof=1) / recursion(levels) - 1) / np.sqrt(2 / (chains - 1))
    assert np.max(np.abs(z)) < 5
    z = (np.mean(end, axis=0) - np.asarray(mixture.means)[0]) / np.sqrt(recursion(levels) / chains)
    assert np.max(np.abs(z)) < 5
    gaps = []
    for count in (201, 401, 801):
        levels = np.asarray(noise.geometric_levels(50.0, 0.3, count))
        gaps.append(np.abs(recursion(levels) - e - 0.09).max())
    assert np.all(np.abs(np.log2(gaps[:-1]) - np.log2(gaps[1:]) - 1) < 0.1)


def test_without_noise_the_ancestral_step_is_euler(key, gaussian):
    mixture, _ = gaussian
    start, levels = sampling.prior(key, 3, 3, 2.0), sampling.geometric_schedule(count=7)
    step = partial(sampling.ancestral, stochasticity=0.0)
    pair = [sampling.sample(key, _denoiser(mixture), levels, start, step=s).x for s in (step, sampling.euler)]
    np.testing.assert_allclose(*pair, rtol=1e-12)


def test_euler_follows_the_score(key, gaussian):
    """One step is y + σ(σ − σ') score, the score being the gradient of the log density."""
    mixture, _ = gaussian
    start = sampling.prior(key, 3, 3, 2.0)
    end = sampling.sample(key, _denoiser(mixture), jnp.array([2.0, 1.5]), start).x
    score = jax.vmap(jax.grad(theory.mixture_log_density(mixture, 2.0)))(start)
    np.testing.assert_allclose(end, start + 2.0 * 0.5 * score, rtol=1e-11)


@pytest.mark.parametrize("step", [sampling.euler, sampling.heun, sampling.ancestral])
def test_the_empirical_denoiser_ends_on_its_samples(key, step):
    training = jax.random.normal(key, (6, 5))
    f_emp = sampling.by_noise(partial(theory.empirical_denoiser, training))
    start = sampling.prior(key, 200, 5, 10.0)
    end = sampling.sample(key, f_emp, sampling.geometric_schedule(10.0, 0.01, 40), start, step=step).x
    near = memorization.nearest_distances(end, training)
    assert float(jnp.max(near.first)) < 1e-8
    assert set(np.unique(near.index)) == set(range(6))


def test_the_mixtures_denoiser_ends_in_every_component_at_its_proportion(key):
    proportions = np.array([0.5, 0.3, 0.2])
    mixture = data.simplex_mixture(
        key, dimension=4, components=3, radius=3.0, rank=2, spread=0.2, proportions=proportions
    )
    start = sampling.prior(key, 2000, 4, 50.0)
    end = sampling.sample(
        key, _denoiser(mixture), sampling.geometric_schedule(50.0, 0.02, 60), start, step=sampling.heun
    )
    label = np.argmin(np.linalg.norm(end.x[:, None] - mixture.means[None], axis=-1), axis=1)
    counts = np.bincount(label, minlength=3)
    assert np.all(np.abs(counts - 2000 * proportions) < 5 * np.sqrt(2000 * proportions * (1 - proportions)))


@pytest.mark.parametrize("step", [sampling.euler, sampling.heun, sampling.ancestral])
def test_a_chain_depends_on_its_number_alone(key, gaussian, step):
    mixture, _ = gaussian

    def run(chains):
        start = sampling.prior(key, chains, 3, 2.0)
        return sampling.sample(
            key, _denoiser(mixture), sampling.geometric_schedule(count=5), start, step=step, chains=chains
        ).x

    numbers = jnp.array([7, 2, 4])
    np.testing.assert_allclose(run(numbers), run(jnp.arange(9))[numbers], rtol=1e-13)
    np.testing.assert_array_equal(run(jnp.arange(5)), run(5))


def test_a_set_answers_with_the_net_of_each_level(key):
    levels = sampling.geometric_schedule(2.0, 0.5, 3)
    weights = model.Weights(*jax.random.normal(key, (2, 3, 4, 6)))
    nets = sampling.set_of_denoisers(weights, levels[:-1])
    seen = sampling.sample(
        key, nets, levels, jnp.ones((2, 4)), observe=lambda y, denoised, noise_std: (y, denoised, noise_std)
    )
    for k in range(3):
        y, denoised, noise_std = (leaf[k] for leaf in seen.observed)
        net = jax.tree.map(lambda w, k=k: w[k], weights)
        np.testing.assert_allclose(denoised, model.denoise(net, y), rtol=1e-13)
        np.testing.assert_allclose(nets.represent(y, noise_std), model.represent(net, y), rtol=1e-13)
    np.testing.assert_array_equal(seen.x, seen.observed[1][-1])
    assert np.isnan(nets(jnp.ones((2, 4)), 0.9)).all()


def test_refusals(key, refused):
    def identity(y, noise_std):
        return y

    for levels in ([1.0], [1.0, 2.0], [1.0, -1.0], [1.0, np.nan]):
        with refused("noise_stds"):
            sampling.sample(key, identity, levels, np.ones((2, 3)))
    with refused("start"):
        sampling.sample(key, identity, [1.0, 0.0], np.ones(3))
    with refused("chains"):
        sampling.sample(key, identity, [1.0, 0.0], np.ones((2, 3)), chains=np.arange(3))
    with refused("chains"):
        sampling.prior(key, 0, 3, 1.0)
    with refused("weights"):
        sampling.set_of_denoisers(model.Weights(np.ones((2, 3, 4)), np.ones((2, 3, 4))), [1.0])
    with refused("noise_stds"):
        sampling.set_of_denoisers(model.Weights(np.ones((2, 3, 4)), np.ones((2, 3, 4))), [1.0, 1.0])
    with refused("exponent"):
        sampling.karras_schedule(exponent=0.0)
