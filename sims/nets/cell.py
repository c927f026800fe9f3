"""One cell of a phase diagram: train one net on its world, and measure everything about it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dae_theory import certify
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, Trained, train
from sims.measures.observables import observables
from sims.worlds.sources import TrainingRows, World

POLISHED = 1e-8  # gradient norm at which polishing stops
SWEPT = ("n", "p", "sigma", "lambda", "copies")  # axes that a net of one dimension and bucket of widths may differ in


def member(
    point: dict[str, Any],
    worlds: World,
    *,
    seed: int,
    settings: Settings,
    rows: int,
    evaluation: int,
    truth: Callable,
    population: bool,
    polish: int,
) -> dict[str, Any]:
    """Observables of one net.

    Args:
        point: world (index), identity, and the axes `SWEPT`.
        worlds: stacked worlds of one dimension.
        seed: root of the nets' randomness.
        settings: of training; σ, λ come from the point, the width is that of the bucket.
        rows: static bound on the number of training rows, copies included.
        evaluation: noisy points behind every mean.
        truth: (world's truth, σ) -> f_gt.
        population: the world's truth is the mixture that its samples come from, so that the test loss closes.
        polish: steps of L-BFGS on the exact objective after training; everything is measured on what they lead to.
    """
    world, own, key = placed(point, worlds, seed=seed, rows=rows)
    trained = train_net(key, point, own, settings)
    own = replace(own, x=own.x.astype(jnp.float64))
    sigma, decay = (jnp.asarray(point[name], jnp.float64) for name in ("sigma", "lambda"))
    weights, told = jax.tree.map(lambda w: w.astype(jnp.float64), trained.weights), {}
    if polish:
        weights, told = _polished(weights, own, sigma, decay, polish)
    measured = observables(
        weights,
        own,
        world,
        key,
        noise_std=sigma,
        weight_decay=decay,
        evaluation=evaluation,
        truth=truth,
        population=population,
    )
    ended = {"train_objective": trained.history.loss[-1].astype(jnp.float64), "finite": trained.finite}
    return ended | told | measured


def placed(point: dict[str, Any], worlds: World, *, seed: int, rows: int) -> tuple[World, TrainingRows, Array]:
    """World, training rows and key of the net of a point."""
    world = jax.tree.map(lambda field: field[point["world"]], worlds)
    key = derive(jax.random.key(seed), "member", point["identity"])
    return world, world.rows(point["n"], point["copies"], rows), key


def train_net(key: Array, point: dict[str, Any], rows: TrainingRows, settings: Settings) -> Trained:
    """The net of a point, trained on its rows."""
    settings = replace(settings, noise_std=point["sigma"], weight_decay=point["lambda"])
    return train(key, rows.x, settings, samples=rows.samples, neurons=point["p"])


def _polished(
    weights: Weights, rows: TrainingRows, noise_std: Array, weight_decay: Array, steps: int
) -> tuple[Weights, dict[str, Array]]:
    """What L-BFGS on the exact objective (6) leads to, and how that ended."""
    numbers = {"noise_std": noise_std, "weight_decay": weight_decay, "samples": rows.samples}
    ended = certify.polish(weights, rows.x, **numbers, tolerance=POLISHED, max_steps=steps, newton_steps=0)
    told = {"polished": ended.converged, "gradient_norm": ended.gradient_norm, "polish_steps": ended.steps}
    return ended.weights, told
