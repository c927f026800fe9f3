"""The minimizer over all widths: its parts against the exact risk, known minimizers, and bounds that must hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import certify, data, risk, theory
from dae_theory.certify.minimizer import descent, lasso, newborns, tiles
from dae_theory.certify.objective import checked
from dae_theory.model import Weights
from dae_theory.randomness import derive

pytestmark = pytest.mark.slow  # searches of many ascents
STARTS = 32


@pytest.fixture(scope="module")
def simplex():
    return data.simplex_means(jax.random.key(0), dimension=6, components=4, radius=3.0)


@pytest.fixture
def problem(key):
    """20 samples and 36 neurons, more than a tile of each; with parallel, opposite and zero columns."""
    draw = lambda name, shape: jax.random.normal(derive(key, name), shape)  # noqa: E731
    x, decoder, encoder = draw("x", (20, 4)), draw("decoder", (4, 36)), draw("encoder", (4, 36))
    encoder = encoder.at[:, 33].set(2 * encoder[:, 0]).at[:, 34].set(-encoder[:, 0]).at[:, 35].set(0)
    return checked(Weights(0.3 * decoder, 0.3 * encoder), x, noise_std=0.4, weight_decay=0.05)


def _gram(host, directions):
    return tiles.Pairs(host, directions).value, tiles.singles(host, directions).first.T @ (host.share[:, None] * host.x)


@pytest.mark.parametrize("memory", [tiles.MEMORY, 0])
def test_tiles_are_the_exact_risk(problem, memory, monkeypatch):
    """At the best decoder of an encoder: value and gradient of (6); the gated moments are kept or made again."""
    monkeypatch.setattr(tiles, "MEMORY", memory)
    weights, objective = problem
    value, decoder, slope = descent.best_decoder(tiles.on_host(objective), np.asarray(weights.encoder))
    exact, gradient = objective.value_and_grad(Weights(jnp.asarray(decoder), weights.encoder))
    np.testing.assert_allclose(value, exact, rtol=1e-13)
    np.testing.assert_allclose(gradient.decoder, 0, atol=1e-12)
    np.testing.assert_allclose(slope, gradient.encoder, atol=1e-12)


def test_pulls_are_those_of_the_certificate(problem, key):
    weights, objective = problem
    directions = np.asarray(jax.random.normal(key, (4, 3)))
    directions = directions / np.linalg.norm(directions, axis=0)
    found = newborns.pulls(tiles.on_host(objective), directions, *map(np.asarray, (weights.encoder, weights.decoder)))
    for direction, pull in zip(directions.T, found, strict=True):
        exact = certify.newcomer_pull(weights, objective.x, direction, noise_std=0.4)
        np.testing.assert_allclose(pull, exact, rtol=1e-12, atol=1e-14)


def test_ascents_end_at_a_maximum(problem):
    """No other of 4096 directions is pulled more, and none beside the strongest."""
    weights, objective = problem
    generator, host = np.random.default_rng(0), tiles.on_host(objective)
    net = np.asarray(weights.encoder), np.asarray(weights.decoder)
    ends, strength = newborns.search(generator, host, *net, STARTS, 60)
    np.testing.assert_allclose(np.linalg.norm(ends, axis=0), 1, rtol=1e-12)
    assert np.all(np.diff(strength) <= 0)
    draws = np.random.default_rng(1).normal(size=(4, 4096))
    for others in (draws, ends[:, :1] + 1e-3 * draws):
        pulled = newborns.pulls(host, others / np.linalg.norm(others, axis=0), *net)
        assert np.max(np.linalg.norm(pulled, axis=1)) <= strength[0] * (1 + 1e-9)


def test_the_lasso_is_optimal(problem):
    """‖B − ΓV‖ ≤ λ at unused directions and = λ along v at used ones; from any guess; parallel directions included."""
    _, objective = problem
    host, generator = tiles.on_host(objective), np.random.default_rng(1)
    directions = generator.normal(size=(4, 60))
    directions[:, 59] = directions[:, 0]
    gram, overlap = _gram(host, directions / np.linalg.norm(directions, axis=0))
    for guess in (np.zeros(60), np.ones(60)):
        decoder = lasso.group_lasso(gram, overlap, 0.05, guess)
        pulled, lengths = overlap - gram @ decoder, np.linalg.norm(decoder, axis=1)
        used = lengths > 0
        assert 0 < np.sum(used) < 60
        assert np.max(np.linalg.norm(pulled, axis=1)) <= 0.05 * (1 + 1e-6)
        unit = decoder[used] / lengths[used, None]
        np.testing.assert_allclose(pulled[used], 0.05 * unit, atol=1e-7)


@pytest.mark.parametrize("decay", [0.05, 0.005])
def test_the_lasso_is_optimal_among_directions_that_are_nearly_parallel(problem, decay):
    """As newcomers beside neurons are: cosines from 1 − 1e-10 to .99, and 60 directions in four dimensions."""
    _, objective = problem
    host, generator = tiles.on_host(objective), np.random.default_rng(2)
    directions = generator.normal(size=(4, 60))
    directions[:, :20] = directions[:, 20:40] + np.geomspace(1e-5, 0.1, 20) * generator.normal(size=(4, 20))
    gram, overlap = _gram(host, directions / np.linalg.norm(directions, axis=0))
    for guess in (np.zeros(60), np.ones(60), generator.exponential(size=60) * (generator.random(60) < 0.5)):
        decoder = lasso.group_lasso(gram, overlap, decay, guess)
        pulled, lengths = overlap - gram @ decoder, np.linalg.norm(decoder, axis=1)
        used = lengths > 0
        assert np.max(np.linalg.norm(pulled, axis=1)) <= decay * (1 + 1e-5)
        np.testing.assert_allclose(pulled[used], decay * decoder[used] / lengths[used, None], atol=1e-5 * decay)


def _sound(found: certify.Minimizer, x, numbers) -> None:
    exact = risk.expected_loss(found.weights, x, **numbers)
    np.testing.assert_allclose(found.objective, exact, rtol=1e-12)
    assert found.lower_bound <= found.objective * (1 + 1e-12)
    np.testing.assert_allclose(found.gap, (found.objective - found.lower_bound) / found.objective, atol=1e-14)
    lengths = [jnp.linalg.norm(part, axis=0) for part in (found.weights.encoder, found.weights.decoder)]
    np.testing.assert_allclose(*lengths, rtol=1e-10)
    assert np.sum(np.asarray(lengths[0]) > 0) == found.neurons


@pytest.mark.parametrize("decay", [0.1, 0.02])
def test_it_is_the_memorizing_solution_above_every_threshold(simplex, decay):
    """(9), where no newcomer grows: found to rounding, as one function; the gap is as small as the lasso is exact.

    Its lengths η_j = ‖v_j‖ and pulls λ‖a_j‖ leave ‖1 − ‖a‖²‖ ≤ c‖η‖ at the neurons, c = CONVERGED. To first order
    P − D = 2λ Σ η_j (1 − ‖a_j‖) + 2C(1 − s), and |1 − s| ≤ max |1 − ‖a_j‖|: at most cλ‖η‖(‖η‖ + Σ η_j), C = λ Σ η_j.
    """
    numbers = {"noise_std": 0.1, "weight_decay": decay}
    stored = theory.memorizing_weights(simplex, **numbers)
    found = certify.global_minimizer(simplex, **numbers, starts=STARTS)
    _sound(found, simplex, numbers)
    assert found.converged
    assert found.neurons == 4
    lengths = np.linalg.norm(found.weights.encoder, axis=0) * np.linalg.norm(found.weights.decoder, axis=0)
    size = np.linalg.norm(lengths)
    assert abs(found.objective - found.lower_bound) <= lasso.CONVERGED * decay * size * (size + np.sum(lengths))
    assert not found.proven
    np.testing.assert_allclose(found.objective, risk.expected_loss(stored, simplex, **numbers), rtol=1e-12)
    assert abs(risk.network_distance(found.weights, stored, simplex, noise_std=0.1)) < 1e-12


def test_one_sample_on_both_sides_of_its_threshold(simplex):
    """Above λ* one neuron; below it neurons out of the sample's line lower the objective."""
    x, threshold = simplex[:1], float(theory.growth_threshold(3.0, 0.5))
    above, below = ({"noise_std": 0.5, "weight_decay": share * threshold} for share in (1.05, 0.5))
    stored = [theory.memorizing_weights(x, **numbers) for numbers in (above, below)]
    one, many = (certify.global_minimizer(x, **numbers, starts=STARTS) for numbers in (above, below))
    assert one.neurons == 1
    assert abs(risk.network_distance(one.weights, stored[0], x, noise_std=0.5)) < 1e-12
    _sound(many, x, below)
    assert many.neurons > 1
    assert many.converged
    excess = risk.expected_loss(stored[1], x, **below) / many.objective - 1
    assert excess > 0.03
    assert many.lower_bound > 0.99 * many.objective


def test_nothing_is_the_minimizer_under_a_large_decay(simplex):
    """f = 0: the gap closes to rounding, and from λ = (E‖x‖²(λ_max + σ²))^½ on it is a proof without a search."""
    for decay, proven in ((30.0, True), (2.6, False)):
        found = certify.global_minimizer(simplex, noise_std=0.5, weight_decay=decay, starts=STARTS)
        assert found.neurons == 0
        assert found.proven is proven
        assert found.converged
        assert abs(found.gap) < 1e-14
        assert np.all(np.asarray(found.weights.decoder) == 0)
        np.testing.assert_allclose(found.objective, 9, rtol=1e-14)


@pytest.fixture(scope="module")
def crowded():
    """Eight samples in four dimensions under so much noise that neurons are shared."""
    x = 2 * jax.random.normal(jax.random.key(3), (8, 4))
    numbers = {"noise_std": 0.7, "weight_decay": 0.03}
    runs = [certify.global_minimizer(x, **numbers, starts=STARTS, tolerance=1e-4, seed=seed) for seed in (0, 1)]
    return x, numbers, runs


def test_two_starts_end_at_one_function(crowded):
    """E‖f − f*‖² ≤ P − P* by strong convexity, so two runs are no further apart than their gaps allow."""
    x, numbers, (one, other) = crowded
    for found in (one, other):
        _sound(found, x, numbers)
        assert found.converged
        assert found.neurons > 4
    distance = risk.network_distance(one.weights, other.weights, x, noise_std=0.7)
    spread = sum(np.sqrt(float(found.objective - found.lower_bound)) for found in (one, other))
    assert 0 <= distance <= spread**2
    energy = risk.affine_distance(one.weights, x, jnp.zeros((4, 4)), jnp.zeros(4), noise_std=0.7)
    assert distance < 1e-4 * energy


def test_the_bound_is_below_every_net(crowded, key):
    """Bounds of unfinished runs against the best net known, and the best bound against narrow nets on their way."""
    x, numbers, (one, _) = crowded
    for seed in range(2):
        short = certify.global_minimizer(x, **numbers, starts=8, rounds=1, tolerance=1e-8, seed=seed)
        assert not short.converged
        assert short.rounds == 1
        assert short.gap > 1e-8
        assert short.lower_bound < one.objective <= short.objective * (1 + 1e-4)
    for index in range(5):
        encoder = 0.5 * np.asarray(jax.random.normal(derive(key, "encoder", index), (4, 8)))
        host = tiles.on_host(checked(Weights(x.T, x.T), x, **numbers)[1])
        for steps in (0, 20):
            assert descent.best_decoder(host, descent.descend(host, encoder, steps)[0])[0] > one.lower_bound


def test_a_width_is_a_budget(simplex):
    numbers = {"noise_std": 0.3, "weight_decay": 0.02}
    narrow, enough = (certify.global_minimizer(simplex, **numbers, starts=STARTS, width=width) for width in (2, 4))
    assert narrow.neurons == 2
    assert not narrow.converged
    assert narrow.growth > 2
    assert narrow.lower_bound < enough.objective < narrow.objective
    _sound(narrow, simplex, numbers)
    assert enough.converged
    assert enough.neurons == 4


def test_samples_of_no_size_need_no_neuron():
    found = certify.global_minimizer(jnp.zeros((3, 4)), noise_std=0.5, weight_decay=0.1, starts=4)
    assert found.neurons == 0
    assert found.objective == 0
    assert found.converged


def test_refusals(simplex, refused):
    good = {"noise_std": 0.1, "weight_decay": 1e-3}
    bad = {
        "noise_std": (0.0, -1.0, np.nan),
        "weight_decay": (0.0, -1.0),
        "width": (0, 1.5),
        "tolerance": (0.0, -1e-2, np.inf),
        "rounds": (0,),
        "starts": (0,),
        "seed": (-1,),
    }
    for name, values in bad.items():
        for value in values:
            with refused(name):
                certify.global_minimizer(simplex, **{**good, name: value})
    with refused("float64"):
        certify.global_minimizer(simplex.astype(jnp.float32), **good)
    with refused("x"):
        certify.global_minimizer(simplex.at[0, 0].set(jnp.nan), **good)
    with refused("start"):
        certify.global_minimizer(simplex, **good, width=1, start=Weights(simplex.T, simplex.T))
    with refused("x"):
        certify.global_minimizer(simplex[:, :5], **good, start=Weights(simplex.T, simplex.T))
