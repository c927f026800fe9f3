"""The index D_gt/(D_gt + D_emp) of many nets and nothing else: a member trains one net and looks at it once.

Both reference denoisers are evaluated beforehand, so that nets on mixtures of any rank and number of components share
one program.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import theory
from dae_theory.model import denoise
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims.worlds.sources import Source, World


def points(
    key: Array,
    source: Source,
    at: Mapping[str, float],
    worlds: np.ndarray,
    n: np.ndarray,
    *,
    most: int,
    noise_std: float,
    evaluation: int,
) -> dict[str, Array]:
    """What the nets of an ensemble need, one entry a net; which net it is depends on its world's number and n alone.

    Args:
        key: root; a world's samples depend on it and the world's number alone, a net's draws on n as well.
        source: what draws the worlds.
        at: d, K and separation of all of them.
        worlds: number of every net's world, (M,).
        n: its training samples, the first n of the world, (M,).
        most: rows that every net is given, at least n.
        noise_std: σ.
        evaluation: noisy training points behind the index.
    """
    draw = _compiled if source.is_mixture else _drawn  # images are shuffled by NumPy
    distinct, place = np.unique(worlds, return_inverse=True)
    drawn = [draw(key, number, source=source, at=tuple(at.items()), most=most) for number in distinct]
    stacked = jax.tree.map(lambda *fields: jnp.stack(fields), *drawn)
    worlds, n, sigma = np.asarray(worlds), np.asarray(n), jnp.asarray(noise_std, jnp.float64)
    found = _references(key, stacked, worlds, place, n, sigma, source=source, evaluation=evaluation)
    return found | {"n": jnp.asarray(n), "sigma": jnp.full(len(n), noise_std, jnp.float32)}


def _drawn(key: Array, number: Any, *, source: Source, at: tuple[tuple[str, float], ...], most: int) -> World:
    return source.draw(derive(key, "world", number), dict(at), most, 2)


_compiled = jax.jit(_drawn, static_argnames=("source", "at", "most"))


@partial(jax.jit, static_argnames=("source", "evaluation"))
def _references(
    key: Array, stacked: World, worlds: Array, place: Array, n: Array, sigma: Array, *, source: Source, evaluation: int
) -> dict[str, Array]:
    """Key, samples, noisy training points and both reference denoisers there, of every net."""

    def one(number: Array, place: Array, n: Array) -> dict[str, Array]:
        world = jax.tree.map(lambda field: field[place], stacked)
        x = world.pool.astype(jnp.float64)
        clean = x[jnp.arange(evaluation) % n]
        y = clean + sigma * jax.random.normal(derive(key, "evaluation", number, n), clean.shape, clean.dtype)
        return {
            "key": derive(key, "net", number, n),
            "x": world.pool,
            "y": y,
            "empirical": theory.empirical_denoiser(x, sigma, samples=n)(y),
            "truth": source.truth_denoiser(world.truth, sigma)(y),
        }

    return jax.vmap(one)(worlds, place, n)


def member(point: Mapping[str, Array], shared: None, *, settings: Settings) -> dict[str, Array]:
    """Index of one net at noisy training points, 1 = memorizing, and whether its weights are finite.

    Args:
        point: of `points`, with the number of neurons as `p`.
        shared: nothing.
        settings: of training, of the width that p is padded to; σ is the point's own.
    """
    settings = replace(settings, noise_std=point["sigma"])
    trained = train(point["key"], point["x"], settings, samples=point["n"], neurons=point["p"])
    output = denoise(jax.tree.map(lambda w: w.astype(jnp.float64), trained.weights), point["y"])
    to_truth, to_empirical = (jnp.mean(jnp.sum((output - point[name]) ** 2, axis=1)) for name in ("truth", "empirical"))
    return {"index": to_truth / (to_truth + to_empirical), "finite": trained.finite}
