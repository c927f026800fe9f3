"""Certificates against what is known: minimizers, saddles, plateaus, and points that random steps improve."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dae_theory import certify, data, risk, theory
from dae_theory.model import Weights, pad_width
from dae_theory.randomness import derive

ROWS, WIDTH, D, BATCH, STARTS = 24, 6, 10, 4, 8  # every problem below is padded to these, for one compilation


@jax.jit
@jax.vmap
def _certify(weights, x, samples, noise_std, weight_decay, neurons):
    numbers = {"noise_std": noise_std, "weight_decay": weight_decay, "samples": samples}
    return certify.certify(weights, x, **numbers, neurons=neurons, starts=STARTS)


@jax.jit
@jax.vmap
def _polish(weights, x, samples, noise_std, weight_decay):
    numbers = {"noise_std": noise_std, "weight_decay": weight_decay, "samples": samples}
    return certify.polish(weights, x, **numbers, tolerance=1e-12)


@jax.jit
def _losses(points, x, samples, noise_std, weight_decay):
    numbers = {"noise_std": noise_std, "weight_decay": weight_decay, "samples": samples}
    return jax.lax.map(lambda weights: risk.expected_loss(weights, x, **numbers), points, batch_size=60)


@dataclass(frozen=True)
class Point:
    """A net of at most WIDTH neurons on at most ROWS samples in D dimensions."""

    weights: Weights
    x: Any
    noise_std: float
    weight_decay: float
    name: str = ""

    @property
    def arrays(self) -> tuple:
        x = jnp.pad(self.x, ((0, ROWS - len(self.x)), (0, 0)))
        numbers = jnp.asarray(len(self.x)), jnp.asarray(self.noise_std), jnp.asarray(self.weight_decay)
        return pad_width(self.weights, WIDTH), x, *numbers

    def losses(self, points: Weights) -> np.ndarray:
        return np.asarray(_losses(points, *self.arrays[1:]))

    @property
    def loss(self) -> float:
        return float(risk.expected_loss(self.weights, self.x, noise_std=self.noise_std, weight_decay=self.weight_decay))


def _batches(function, points: list[Point]) -> list:
    """A vmapped function over all points, BATCH of them at once."""
    results = []
    for start in range(0, len(points), BATCH):
        batch = points[start : start + BATCH]
        filled = batch + [batch[-1]] * (BATCH - len(batch))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(point.arrays for point in filled))
        result = function(*stacked)
        results += [jax.tree.map(lambda leaf, k=k: leaf[k], result) for k in range(len(batch))]
    return results


def certificates(points: list[Point], neurons: int = WIDTH) -> list[certify.Certificate]:
    return _batches(lambda *arrays: _certify(*arrays, jnp.full(BATCH, neurons)), points)


def polished(points: list[Point]) -> list[certify.Polished]:
    return _batches(_polish, points)


def memorizing(x, noise_std, weight_decay) -> Point:
    weights = theory.memorizing_weights(x, noise_std=noise_std, weight_decay=weight_decay)
    return Point(weights, x, noise_std, weight_decay)


def split(weights: Weights, sizes: list[int]) -> Weights:
    """Neuron j as sizes[j] parallel copies of equal length."""
    sources = np.repeat(np.arange(len(sizes)), sizes)
    lengths = 1 / np.sqrt(np.repeat(sizes, sizes))
    return jax.tree.map(lambda w: w[:, sources] * lengths[None, :], weights)


@pytest.fixture(scope="module")
def simplex():
    return data.simplex_means(jax.random.key(0), dimension=D, components=5, radius=3.0)


def _random(key, width: int = WIDTH, scale: float = 0.5) -> Weights:
    first, second = jax.random.split(key)
    draw = partial(jax.random.normal, shape=(D, width))
    return Weights(scale * draw(first), scale * draw(second))


@pytest.mark.slow
def test_memorizing_weights_are_certified(simplex):
    """The simplex n = p = 5 of theory: gradient at rounding, no flat direction, pulls of exactly λ."""
    points = [memorizing(simplex, noise_std, 1e-3) for noise_std in (0.05, 0.08, 0.1, 0.2)]
    # no zero column: a sixth neuron would be one
    points = [replace(point, weights=split(point.weights, [2, 1, 1, 1, 1])) for point in points]
    *sure, unsure = certificates(points)
    for found in sure:
        assert found.gradient_norm <= 1e-13
        assert found.relative_gradient <= 1e-14
        np.testing.assert_allclose(found.growth, 1, rtol=1e-8)
        assert found.verdict == f"global minimum (no growing neuron found in {STARTS} starts)"
        assert not found.proven
    assert unsure.verdict == "not stationary"


@pytest.mark.slow
def test_polishing_reaches_a_minimizer_and_stays_there(key, simplex):
    starts = [Point(_random(derive(key, "start", k)), simplex, 0.6, 1e-3) for k in range(BATCH)]
    once = polished(starts)
    for start, end in zip(starts, once, strict=True):
        assert end.converged
        assert end.gradient_norm <= 1e-12
        assert end.loss < start.loss
    twice = polished([replace(start, weights=end.weights) for start, end in zip(starts, once, strict=True)])
    for first, second in zip(once, twice, strict=True):
        assert int(second.steps) == 1
        np.testing.assert_allclose(second.loss, first.loss, rtol=1e-13)


def test_failure_is_data(key, simplex):
    numbers = {"noise_std": 0.6, "weight_decay": 1e-3, "tolerance": 1e-12}
    short = certify.polish(_random(key), simplex, **numbers, max_steps=3, newton_steps=0)
    assert not short.converged
    assert short.gradient_norm > 1e-12
    assert int(short.steps) == 3


@pytest.mark.slow
def test_flat_directions_are_counted_and_predicted(simplex):
    """Rotations of a block, mixtures of parallel copies, and without decay all weights of the same function."""
    stored, free = memorizing(simplex, 0.1, 1e-3), memorizing(simplex, 0.1, 0.0)
    mixture = data.simplex_mixture(
        jax.random.key(1), dimension=D, components=3, radius=6.0, rank=1, spread=0.3, clean=True
    )
    samples = mixture.sample_balanced(jax.random.key(2), 8)
    numbers = {"noise_std": 0.2, "weight_decay": 1e-3}
    blocks = theory.block_weights(samples.x, samples.labels, (2, 2, 2), **numbers)
    copies = split(free.weights, [2, 1, 1, 1, 1])
    tilt = jnp.zeros((D, WIDTH)).at[-1, :2].set(jnp.asarray([0.1, -0.1]))
    three = Point(theory.memorizing_weights(simplex[:4], noise_std=0.1, weight_decay=1e-3), simplex[:4], 0.1, 1e-3)
    points = [
        replace(stored, weights=split(stored.weights, [2, 1, 1, 1, 1])),  # the angle of (c_1, c_2)
        replace(three, weights=split(three.weights, [3, 1, 1, 1])),  # the sphere of (c_1, c_2, c_3)
        free,  # five scales
        Point(blocks, samples.x, **numbers),  # a rotation for each of three blocks
        replace(free, weights=copies),  # four scales; W₂W₁ᵀ of rank 1 made by two neurons, 4D − 2D + 1
        replace(free, weights=Weights(copies.decoder + tilt, copies.encoder)),  # the same with decoders of rank 2
    ]
    found = certificates(points)
    counts = [1, 2, 5, 3, 4 + 2 * D + 1, 4 + D + 2]
    assert [int(one.flat_directions) for one in found] == counts
    assert [int(one.predicted_flat_directions) for one in found] == counts
    assert found[3].gradient_norm < 1e-8
    assert int(found[3].code) in (certify.LOCAL_IN_WIDTH, certify.GLOBAL)


def test_a_zero_column_makes_a_saddle_below_the_threshold(simplex):
    """One sample: its neuron is a minimizer in its width at any λ, with a zero column behind it above λ* only."""
    x, noise_std = simplex[:1], 0.5
    threshold = float(theory.growth_threshold(3.0, noise_std))
    wide = [memorizing(x, noise_std, share * threshold) for share in (0.8, 0.99, 1.03, 1.3)]
    narrow = [replace(point, weights=split(point.weights, [WIDTH])) for point in wide]
    for found in (below := certificates(wide))[:2]:
        assert int(found.zero_neurons) == WIDTH - 1
        assert found.verdict == "saddle"
        assert found.growth > 1
        assert found.smallest_curvature < 0
    without = certificates(narrow)
    for padding, found in zip(certificates(wide, neurons=1), without, strict=True):
        assert int(padding.zero_neurons) == 0
        assert padding.verdict == found.verdict
    assert {one.verdict for one in without[:2]} == {"local minimum; a new neuron would grow"}
    assert {int(one.code) for one in below[2:] + without[2:]} == {certify.GLOBAL}


def test_neurons_that_do_nothing_do_no_harm(simplex):
    """A decoder of 1e-12 without an encoder is no kink; a neuron whose gate never opens is a plateau, not a saddle."""
    stored = memorizing(simplex[:1], 0.1, 0.01)
    free = memorizing(simplex[:1], 0.1, 0.0)
    second = np.zeros((D, WIDTH))
    second[1, 1] = 1e-12
    closed = np.zeros((D, WIDTH))
    closed[:, 1] = -simplex[0] / 3
    tiny = replace(stored, weights=Weights(stored.arrays[0].decoder + second, stored.arrays[0].encoder))
    dead = replace(free, weights=Weights(free.arrays[0].decoder, free.arrays[0].encoder + closed))
    tiny, dead = certificates([tiny, dead], neurons=2)
    assert int(tiny.code) == certify.GLOBAL
    assert int(tiny.zero_neurons) == 1
    assert int(dead.code) == certify.LOCAL_IN_WIDTH
    assert int(dead.zero_neurons) == 0
    assert int(dead.flat_directions) == int(dead.predicted_flat_directions) == 1 + 2 * D


def test_nothing_is_the_minimizer_under_a_large_decay(simplex):
    """At zero weights G ≤ (E‖x‖²(λ_max + σ²))^½ proves it without a search."""
    none = Weights(jnp.zeros((D, WIDTH)), jnp.zeros((D, WIDTH)))
    proven, saddle = certificates([Point(none, simplex, 0.5, decay) for decay in (6.0, 0.5)])
    assert proven.proven
    assert int(proven.code) == certify.GLOBAL
    assert proven.growth < 1
    assert saddle.verdict == "saddle"


@pytest.mark.slow
def test_loss_over_growth_bounds_every_width(key, simplex):
    """L/growth ≤ the loss of any net, at a stationary point: here of wider ones, polished from many starts."""
    numbers = {"noise_std": 0.6, "weight_decay": 2e-2}
    two = jax.tree.map(lambda w: w[:, :2], theory.memorizing_weights(simplex, **numbers))
    starts = [Point(split(two, [3, 3]), simplex, **numbers)]
    starts += [Point(_random(derive(key, "start", k)), simplex, **numbers) for k in range(BATCH - 1)]
    narrow, *wider = polished(starts)
    assert narrow.converged
    (found,) = certificates([replace(starts[0], weights=narrow.weights)])
    assert found.growth > 1.1
    assert found.loss / found.growth < min(end.loss for end in wider) < found.loss


def _points(key, simplex) -> list[Point]:
    """Minimizers, saddles and plateaus."""
    small, free = memorizing(simplex, 0.1, 1e-3), memorizing(simplex, 0.5, 0.0)
    zeros = jnp.zeros((D, 1))
    merged = jax.tree.map(lambda w: (w[:, :1] + w[:, 1:2]) / 2, small.weights)
    dead = Weights(
        jnp.concatenate([free.weights.decoder, zeros + 1], 1), jnp.concatenate([free.weights.encoder, zeros], 1)
    )
    between = Point(split(merged, [3]), simplex, 0.7, 1e-3, "shared by two samples, zero columns")
    copies = replace(between, weights=split(merged, [WIDTH]), name="shared by two samples")
    random = [Point(_random(derive(key, "start", k)), simplex, 0.7, 1e-3, "random, polished") for k in range(3)]
    sharp = [
        Point(_random(derive(key, "begin", k)), simplex, 0.1, 1e-3, "random, polished, sure gates") for k in range(2)
    ]
    begin = [free, between, copies, *random, *sharp]
    return [
        replace(small, name="stored, zero column"),
        replace(small, weights=split(small.weights, [2, 1, 1, 1, 1]), name="stored, split"),
        Point(jax.tree.map(jnp.zeros_like, small.weights), simplex, 0.7, 1e-3, "nothing"),
        replace(free, weights=dead, name="no decay, a dead encoder"),
        *(replace(point, weights=end.weights) for point, end in zip(begin, polished(begin), strict=True)),
    ]


@pytest.mark.slow
def test_no_local_minimum_is_improved_by_a_random_step(key, simplex):
    """1e-3 in 120 random directions of each point: of all weights, of one neuron, and along the symmetries."""
    points = _points(key, simplex)
    codes = []
    for index, (point, found) in enumerate(zip(points, certificates(points), strict=True)):
        weights = pad_width(point.weights, WIDTH)
        values = np.stack([np.asarray(weights.decoder), np.asarray(weights.encoder)])
        steps = np.array(jax.random.normal(derive(key, "steps", index), (120, *values.shape)))
        steps[:40] *= (np.arange(WIDTH)[None, :] == np.arange(40)[:, None] % WIDTH)[:, None, None, :]
        turns = np.asarray(jax.random.normal(derive(key, "turns", index), (40, WIDTH, WIDTH)))
        steps[40:80] = np.einsum("mdp,kpq->kmdq", values, turns - turns.swapaxes(1, 2))
        lengths = np.linalg.norm(steps.reshape(120, -1), axis=1)[:, None, None, None]
        moved = values + 1e-3 * steps / np.where(lengths > 0, lengths, 1)
        losses = point.losses(Weights(jnp.asarray(moved[:, 0]), jnp.asarray(moved[:, 1])))
        rounding = 64 * np.finfo(float).eps * (float(found.loss) + 9)
        improved = int(np.sum(losses < float(found.loss) - rounding))
        codes.append(int(found.code))
        if codes[-1] >= certify.LOCAL:
            assert improved == 0, f"{point.name}: {found.verdict}, yet {improved} of 120 steps lower the loss"
    assert 120 * len(codes) >= 1000
    assert {certify.SADDLE, certify.GLOBAL, certify.LOCAL_IN_WIDTH} <= set(codes)
