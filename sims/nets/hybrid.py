"""Two-layer nets, each on a mixture of its own: a few samples many times beside abundant components."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import data, model, training
from dae_theory.randomness import derive
from sims import launch
from sims.worlds.mixture import MixtureConfig


def hybrid_samples(
    key: Array, mixture: MixtureConfig, duplicates: int, count: int
) -> tuple[data.GaussianMixture, np.ndarray, np.ndarray]:
    """The mixture with a further component for each duplicate, samples of its abundant ones, and the duplicates.

    Args:
        key: of the mixture and its samples.
        mixture: of the K abundant components.
        duplicates: samples to stand in the set many times, one of each further component.
        count: samples of each abundant component.

    Returns:
        The mixture, (K, count, d) and (duplicates, d), in float32.
    """
    drawn = replace(mixture, components=mixture.components + duplicates).draw(derive(key, "mixture"), clean=False)
    samples = drawn.sample_balanced(derive(key, "samples"), count)
    x = np.asarray(samples.x, np.float32)[np.argsort(np.asarray(samples.labels), kind="stable")]
    x = x.reshape(-1, count, x.shape[-1])
    return drawn, x[: mixture.components], x[mixture.components :, 0]


def hybrid_nets(key: Array, part: str, config: Any, run: launch.Run, stack: Array) -> list[model.Weights]:
    """One net for each training set.

    Args:
        key: of the nets.
        part: what this is called among the chunks of the run.
        config: training, width, noise_std and weight_decay.
        run: the launched run.
        stack: training sets with their copies, (seeds, n, d).
    """
    settings = config.training.settings(
        width=config.width, noise_std=config.noise_std, weight_decay=config.weight_decay, init_scale=0.3
    )

    def member(point: dict[str, Array], stack: Array) -> model.Weights:
        return training.train(derive(key, part, point["seed"]), stack[point["seed"]], settings).weights

    weights = run.ensemble(part, member, {"seed": np.arange(len(stack))}, stack, group=1)
    return [jax.tree.map(lambda w, at=at: jnp.asarray(np.asarray(w)[at]), weights) for at in range(len(stack))]
