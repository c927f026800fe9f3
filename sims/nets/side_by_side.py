"""Nets of one data set side by side: members differ in seed and weight decay, and share a program."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims import launch

OPTIMIZERS = {
    "adam": optax.adam,
    "adamw": partial(optax.adamw, weight_decay=1e-2),  # decoupled: no λ of (6) stands for it
    "rmsprop": partial(optax.rmsprop, decay=0.99),
    "sgd": partial(optax.sgd, momentum=0.9),
}


def published(config: Any, setting: dict[str, Any]) -> Any:
    """With `--paper`, the published setting in all fields that were left at their defaults."""
    if not config.paper:
        return config
    given, usual = launch.flat(config), launch.flat(type(config)())
    return launch.replaced(config, {name: value for name, value in setting.items() if given[name] == usual[name]})


def train_nets(
    run: launch.Run, part: str, worlds: Any, settings: Settings, *, root: Array, seeds: Any, weight_decays: Any = None
) -> Weights:
    """Nets on each of several stacks of samples (W, n, d) in float32; weights in float64, axes (world, decay, seed).

    A member has the key of `part` and its seed: worlds and decays share the initial weights and the noise.

    Raises:
        ValueError: weights are not finite: the learning rate is too large.
    """
    worlds, seeds = jnp.asarray(worlds, jnp.float32), np.asarray(seeds)
    decays = np.asarray([settings.weight_decay] if weight_decays is None else weight_decays, np.float32)
    grid = Grid(world=np.arange(len(worlds)), decay=decays, seed=seeds)

    def member(point: dict[str, Any], worlds: Array) -> Weights:
        key = derive(root, part, point["seed"])
        return train(key, worlds[point["world"]], replace(settings, weight_decay=point["decay"])).weights

    weights = run.ensemble(part, member, grid.points(), worlds, group=1)

    def shaped(columns: Array) -> Array:
        if not np.isfinite(columns).all():
            raise Refusal(f"--learning-rate must be lower: some of the nets of {part} diverged")
        return columns.astype(jnp.float64).reshape(*grid.shape, *columns.shape[1:])

    return jax.tree.map(shaped, weights)


def one(weights: Weights, *index: int) -> Weights:
    """One net of a stack."""
    return jax.tree.map(lambda columns: columns[index], weights)
