"""One net trained for several lengths of time, at a constant rate and at one that decays, all from the same start."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import Array

from dae_theory.model import Weights
from dae_theory.training import Settings, constant_rate, train

SCHEDULES = ("constant", "decaying")


def ended(key: Array, x: Array, settings: Settings, lengths: tuple[int, ...], *, samples: Array) -> Weights:
    """Weights by schedule and length, (2, lengths, d, p), in float64.

    At the constant rate they are those of one run at these steps; at the rate that decays each length is a run of its
    own. All begin with the same weights.

    Args:
        key: of the initial weights, batches and noise.
        x: pool of samples, (n, d).
        settings: of the longest run; its steps and schedule are replaced.
        lengths: numbers of steps, ascending.
        samples: how many rows of x count.
    """
    at_once = replace(settings, steps=lengths[-1], record_at=lengths, schedule=constant_rate)
    constant = train(key, x, at_once, samples=samples, observe=_itself).history.observed
    runs = [train(key, x, replace(settings, steps=steps), samples=samples).weights for steps in lengths]
    decaying = jax.tree.map(lambda *parts: jnp.stack(parts), *runs)
    return jax.tree.map(lambda *parts: jnp.stack(parts).astype(jnp.float64), constant, decaying)


def _itself(weights: Weights) -> Weights:
    return weights
