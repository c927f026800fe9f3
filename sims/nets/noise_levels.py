"""Sets of nets, one a noise level of a schedule, trained as one ensemble for the sims that sample."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import sampling
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims import launch


def train_sets(
    run: launch.Run,
    part: str,
    members: dict[str, np.ndarray],
    pools: Array,
    levels: Any,
    settings: Settings,
    *,
    seed: int,
) -> sampling.DenoiserSet:
    """A set of nets for every member: S members times L levels, one net each.

    Args:
        run: the launched run.
        part: name of the ensemble in the record's store.
        members: identity (whole numbers that decide all draws, (S, any)), pool (index, (S,)) and n (how many of its
            rows count, (S,)).
        pools: training samples, (P, rows, d).
        levels: σ > 0 of the nets, (L,).
        settings: of training; σ comes from the levels.
        seed: root of the nets' randomness.

    Returns:
        The sets stacked, in float64: weights (S, L, d, p) and noise_stds (S, L).
    """
    levels = np.asarray(levels)
    count = len(members["identity"])
    points = {name: np.repeat(values, len(levels), axis=0) for name, values in members.items()}
    points |= {"sigma": np.tile(levels, count), "level": np.tile(np.arange(len(levels)), count)}
    weights = run.ensemble(part, partial(_net, settings=settings, seed=seed), points, pools.astype(jnp.float32))
    stacked = jax.tree.map(lambda w: w.astype(jnp.float64).reshape(count, len(levels), *w.shape[1:]), weights)
    return sampling.DenoiserSet(stacked, jnp.broadcast_to(jnp.asarray(levels, jnp.float64), (count, len(levels))))


def _net(point: dict[str, Any], pools: Array, *, settings: Settings, seed: int) -> Weights:
    key = derive(jax.random.key(seed), "net", *point["identity"], point["level"])
    x = pools[point["pool"]]
    return train(key, x, replace(settings, noise_std=point["sigma"]), samples=point["n"]).weights


def analytic_set(weights: Callable[..., Weights], levels: Any) -> sampling.DenoiserSet:
    """The set that theory predicts: `weights(noise_std=σ)` at every level."""
    columns = [weights(noise_std=float(sigma)) for sigma in levels]
    return sampling.set_of_denoisers(jax.tree.map(lambda *parts: jnp.stack(parts), *columns), levels)


def one(stacked: Any, index: Any) -> Any:
    """Member `index` of stacked records."""
    return jax.tree.map(lambda leaf: leaf[index], stacked)
