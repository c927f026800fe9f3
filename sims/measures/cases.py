"""Nets that are known to have memorized some of what they saw, and what detection wants to know of them.

A *case* is one trained net (or several of a kind) with samples that it saw many times, once, or never. Which of them it
memorized is measured, not assumed: a sample counts as memorized when chains that start at its noised copy come back to
it by the rule of nearest neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import memorization, representation, sampling
from dae_theory.randomness import derive

POOLINGS = {
    "all": representation.flatten,
    "max": representation.spatial_max,
    "mean": representation.spatial_mean,
}


@dataclass(frozen=True)
class Case:
    """A net and samples to tell apart.

    Attributes:
        name: of the case.
        x: samples, (m, d).
        copies: how often each stood in the training set, (m,); 0 for fresh ones.
        training: the distinct training samples, (n, d).
        denoise: (y, σ) -> f(y).
        activations: (y, σ) -> named activations (m, ..., channels).
        levels: σ at which activations are read.
        start: σ at which chains start that tell whether a sample is reproduced.
        chain: levels of these chains, from `start` down to 0; None for one step, f(x + σε).
    """

    name: str
    x: Array
    copies: np.ndarray
    training: Array
    denoise: Callable[[Array, Any], Array]
    activations: Callable[[Array, Any], dict[str, Array]]
    levels: tuple[float, ...]
    start: float
    chain: Array | None = None


@dataclass(frozen=True)
class Scored:
    """Scores of the samples of a case, averaged over noise draws.

    Attributes:
        layers: names of what was read, layer and pooling, (L,).
        scores: oriented, (L, levels, scores, m), scores in the order of `representation.ORIENTATION`.
        losses: minus the mean ‖f(y) − x‖², (levels, m).
        seconds: of one forward pass with all scores, per sample.
    """

    layers: tuple[str, ...]
    scores: np.ndarray
    losses: np.ndarray
    seconds: float


def reproduced(key: Array, case: Case, draws: int) -> np.ndarray:
    """Share of the chains from x + σε that end at x: d₁/d₂ < 1/3 with x the nearest, (m,).

    A fresh sample is added to the training set for its own chains, so its share is what the rule gives to a sample that
    the net never saw: the null.
    """
    ends, x, training = _ends(key, case, draws), np.asarray(case.x), np.asarray(case.training)
    seen = case.copies > 0
    shares = np.zeros(len(x))
    for part, among in ((seen, training), (~seen, np.concatenate([training, x[~seen]]))):
        if not part.any():
            continue
        near = memorization.nearest_distances(ends[:, part].reshape(-1, x.shape[1]), among)
        own = (among[np.asarray(near.index)] == np.tile(x[part], (draws, 1))).all(axis=1)
        hits = np.asarray(near.ratio < memorization.THRESHOLD) & own
        shares[part] = hits.reshape(draws, -1).mean(axis=0)
    return shares


def _ends(key: Array, case: Case, draws: int) -> np.ndarray:
    """Where the chains from every sample end, (draws, m, d)."""
    x, chain = case.x, case.chain
    noise = jax.random.normal(derive(key, "noise"), (draws, *x.shape), x.dtype)
    starts = x[None] + jnp.asarray(case.start, x.dtype) * noise
    if chain is None:
        return np.stack([np.asarray(case.denoise(y, case.start)) for y in starts])
    walk = jax.jit(lambda y: sampling.sample(derive(key, "steps"), case.denoise, chain, y).x)
    return np.stack([np.asarray(walk(y)) for y in starts])


def score(key: Array, case: Case, draws: int) -> Scored:
    """Every score of every layer at every level."""
    names: list[str] = []

    @jax.jit
    def one(y: Array, noise_std: Array) -> tuple[Array, Array]:
        names.clear()
        rows = []
        for layer, h in sorted(case.activations(y, noise_std).items(), key=lambda item: item[0] != "embedding"):
            for pooling in POOLINGS if h.ndim > 2 else ("all",):
                names.append(f"{layer} {pooling}" if h.ndim > 2 else layer)
                scores = representation.spikiness(POOLINGS[pooling](h))
                oriented = [sign * getattr(scores, name) for name, sign in representation.ORIENTATION.items()]
                rows.append(jnp.stack(oriented))
        return jnp.stack(rows), jnp.sum((case.denoise(y, noise_std) - case.x) ** 2, axis=-1)

    scores, losses = [], []
    for number, level in enumerate(case.levels):
        sums = []
        for draw in range(draws):
            noise = jax.random.normal(derive(key, "noise", number, draw), case.x.shape, case.x.dtype)
            noise_std = jnp.asarray(level, case.x.dtype)
            sums.append(one(case.x + noise_std * noise, noise_std))
        scores.append(np.mean([np.asarray(pair[0], float) for pair in sums], axis=0))
        losses.append(-np.mean([np.asarray(pair[1], float) for pair in sums], axis=0))
    seconds = _seconds(partial(one, case.x, jnp.asarray(case.levels[0], case.x.dtype)))
    return Scored(tuple(names), np.stack(scores, axis=1), np.stack(losses), seconds / len(case.x))


def _seconds(call: Callable[[], Any]) -> float:
    import time

    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        jax.block_until_ready(call())
        best = min(best, time.perf_counter() - started)
    return best
