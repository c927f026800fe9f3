"""The index D_gt/(D_gt + D_emp) of nets of any width at noisy training points, their exact objective, and distances."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import risk, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims.worlds.sources import Source, World


class Place(NamedTuple):
    """What a net was made for: σ, λ, and the first n samples of a world."""

    noise_std: float
    weight_decay: float
    n: int
    world: int


def indices(
    key: Array, worlds: World, nets: Sequence[Weights], places: Sequence[Place], *, source: Source, evaluation: int
) -> np.ndarray:
    """The index of every net, 1 = memorizing. Nets on the same samples see the same noisy points.

    Args:
        key: root of the noise.
        worlds: stacked.
        nets: of any widths.
        places: of every net.
        source: of the worlds.
        evaluation: noisy points behind every index.
    """

    @jax.jit
    def references(world: World, x: Array, n: Array, seed: Array, noise_std: Array) -> tuple[Array, Array, Array]:
        """Noisy points and both reference denoisers there."""
        clean = x[jnp.arange(evaluation) % n]
        y = clean + noise_std * jax.random.normal(derive(key, "evaluation", seed), clean.shape, clean.dtype)
        empirical = theory.empirical_denoiser(x, noise_std, samples=n)(y)
        return y, empirical, source.truth_denoiser(world.truth, noise_std)(y)

    known: dict[Place, tuple[np.ndarray, ...]] = {}
    found = np.empty(len(nets))
    for k, (net, place) in enumerate(zip(nets, places, strict=True)):
        if place not in known:
            world = jax.tree.map(lambda leaf, at=place.world: leaf[at], worlds)
            numbers = (jnp.asarray(number) for number in (place.n, place.world, place.noise_std))
            known[place] = tuple(map(np.asarray, references(world, world.pool.astype(jnp.float64), *numbers)))
        y, empirical, truth = known[place]
        # widths differ from one call to the next: NumPy compiles nothing
        output = np.maximum(y @ np.asarray(net.encoder), 0) @ np.asarray(net.decoder).T
        to_empirical, to_truth = (float(np.mean(np.sum((output - other) ** 2, 1))) for other in (empirical, truth))
        found[k] = to_truth / (to_truth + to_empirical)
    return found


def objectives(x: np.ndarray, nets: Sequence[Weights], places: Sequence[Place]) -> np.ndarray:
    """(6) of every net; x holds the samples of all worlds, (worlds, n, d). One program a width."""
    exact = jax.jit(
        lambda net, x, n, noise_std, weight_decay: risk.expected_loss(
            net, x, noise_std=noise_std, weight_decay=weight_decay, samples=n
        )
    )
    return np.asarray(
        [
            float(exact(net, x[at.world], at.n, at.noise_std, at.weight_decay))
            for net, at in zip(nets, places, strict=True)
        ]
    )


def distances(x: np.ndarray, nets: Sequence[Weights], others: Sequence[Weights], places: Sequence[Place]) -> np.ndarray:
    """E‖f − f'‖² of every pair of nets, exact; arguments as in `objectives`."""
    exact = jax.jit(
        lambda net, other, x, n, noise_std: risk.network_distance(net, other, x, noise_std=noise_std, samples=n)
    )
    return np.asarray(
        [
            float(exact(net, other, x[at.world], at.n, at.noise_std))
            for net, other, at in zip(nets, others, places, strict=True)
        ]
    )
