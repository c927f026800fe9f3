"""The index D_gt/(D_gt + D_emp) of nets of any width at noisy training points, and their exact objective."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import risk, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims.worlds.sources import Source, World


def beside(
    key: Array,
    worlds: World,
    nets: Sequence[Weights],
    places: Sequence[tuple[int, int]],
    *,
    source: Source,
    noise_std: float,
    weight_decay: float,
    evaluation: int,
) -> dict[str, np.ndarray]:
    """(6) of every net, and its index: 1 = memorizing. Nets on the same samples see the same noisy points.

    Args:
        key: root of the noise.
        worlds: stacked.
        nets: all of one width.
        places: (n, world) of every net: it was made for the first n samples of that world.
        source: of the worlds.
        noise_std: σ.
        weight_decay: λ.
        evaluation: noisy points behind every index.
    """
    objective = jax.jit(partial(risk.expected_loss, noise_std=noise_std, weight_decay=weight_decay))

    @jax.jit
    def references(world: World, x: Array, n: Array, seed: Array) -> tuple[Array, Array, Array]:
        """Noisy points and both reference denoisers there."""
        clean = x[jnp.arange(evaluation) % n]
        y = clean + noise_std * jax.random.normal(derive(key, "evaluation", seed), clean.shape, clean.dtype)
        empirical = theory.empirical_denoiser(x, noise_std, samples=n)(y)
        return y, empirical, source.truth_denoiser(world.truth, noise_std)(y)

    rows = []
    for net, (n, seed) in zip(nets, places, strict=True):
        world = jax.tree.map(lambda leaf, seed=seed: leaf[seed], worlds)
        x = world.pool.astype(jnp.float64)
        y, empirical, truth = references(world, x, jnp.asarray(n), jnp.asarray(seed))
        # widths differ from one call to the next: NumPy compiles nothing
        output = np.maximum(np.asarray(y) @ np.asarray(net.encoder), 0) @ np.asarray(net.decoder).T
        to_empirical, to_truth = (float(np.mean(np.sum((output - other) ** 2, 1))) for other in (empirical, truth))
        rows.append((float(objective(net, x, samples=n)), to_truth / (to_truth + to_empirical)))
    losses, indices = np.asarray(rows).T
    return {"objective": losses, "index": indices}
