"""One cell of a phase diagram in two stages: train one net on its world, then measure everything about it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import certify
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, Trained, constant_rate, train
from sims.measures.observables import observables
from sims.worlds.sources import TrainingRows, World

POLISHED = 1e-8  # gradient norm at which polishing stops
SWEPT = ("n", "p", "sigma", "lambda", "copies", "scale")  # axes in which nets of one dimension and bucket may differ


def trained(
    point: dict[str, Any], worlds: World, *, settings: Settings, rows: int, times: tuple[int, ...] = ()
) -> dict[str, Any]:
    """One net, at the end of its training or at several times of it: its weights, and the mean sampled objective.

    Args:
        point: as from `points`.
        worlds: stacked worlds of one dimension.
        settings: of training; σ, λ and the initial scale come from the point, the width is that of the bucket.
        rows: static bound on the number of training rows, copies included.
        times: increasing numbers of steps at which the net of one run is seen, the last of them the end; then both have
            a leading axis of them. Empty for the end alone.
    """
    _, own, key = placed(point, worlds, rows=rows)
    run = train_net(key, point, own, settings, times=times)
    loss = run.history.loss.astype(jnp.float64)  # mean over the steps since the time before
    if times:
        return {"weights": run.history.observed, "train_objective": loss}
    return {"weights": run.weights, "train_objective": loss[-1]}


def measured(
    given: tuple[dict[str, Any], dict[str, Any]],
    worlds: World,
    *,
    rows: int,
    evaluation: int,
    truth: Callable,
    population: bool,
    polish: int = 0,
) -> dict[str, Any]:
    """Observables of one net, at the end of its training or at every time of it.

    Args:
        given: a point, and what `trained` says of it.
        worlds: stacked worlds of one dimension.
        rows: static bound on the number of training rows, copies included.
        evaluation: noisy points behind every mean.
        truth: (world's truth, σ) -> f_gt.
        population: the world's truth is the mixture that its samples come from, so that the test loss closes.
        polish: steps of L-BFGS on the exact objective after training; everything is measured on what they lead to.
    """
    point, net = given
    world, own, key = placed(point, worlds, rows=rows)
    own = replace(own, x=own.x.astype(jnp.float64))
    sigma, decay = (jnp.asarray(point[name], jnp.float64) for name in ("sigma", "lambda"))

    def measure(weights: Weights) -> dict[str, Array]:
        weights, told = jax.tree.map(lambda w: w.astype(jnp.float64), weights), {}
        if polish:
            weights, told = _polished(weights, own, sigma, decay, polish)
        told["finite"] = jnp.all(jnp.isfinite(weights.encoder)) & jnp.all(jnp.isfinite(weights.decoder))
        levels = {"noise_std": sigma, "weight_decay": decay}
        return told | observables(
            weights, own, world, key, **levels, evaluation=evaluation, truth=truth, population=population
        )

    several = net["weights"].encoder.ndim == 3
    # one after the other: a member then needs the memory of one net's measurements
    found = jax.lax.map(measure, net["weights"]) if several else measure(net["weights"])
    return {"train_objective": net["train_objective"]} | found


def points(
    here: np.ndarray, *, seed: int, world: np.ndarray, identity: np.ndarray, at: Mapping[str, np.ndarray]
) -> Any:
    """What a net needs to know, for those at the indices `here`: world (index), identity, seed, and the axes `SWEPT`.

    The seed, root of the nets' randomness, is data and no constant of the program: another one finds the program of the
    first compiled.
    """
    own = {"world": world, "identity": identity, "seed": np.full(len(world), seed, np.int64)}
    return {name: values[here] for name, values in (own | {name: at[name] for name in SWEPT}).items()}


def placed(point: dict[str, Any], worlds: World, *, rows: int) -> tuple[World, TrainingRows, Array]:
    """World, training rows and key of the net of a point."""
    world = jax.tree.map(lambda field: field[point["world"]], worlds)
    key = derive(jax.random.key(point["seed"]), "member", point["identity"])
    return world, world.rows(point["n"], point["copies"], rows), key


def train_net(
    key: Array, point: dict[str, Any], rows: TrainingRows, settings: Settings, *, times: tuple[int, ...] = ()
) -> Trained:
    """The net of a point, trained on its rows; with times, its history holds the weights at each of them.

    Where time is read off one run the rate is constant: under a schedule that ends with the run, a net in the middle of
    it is not the net of a shorter run.
    """
    settings = replace(settings, noise_std=point["sigma"], weight_decay=point["lambda"], init_scale=point["scale"])
    if times:
        settings = replace(settings, steps=times[-1], record_at=times, schedule=constant_rate)
    return train(key, rows.x, settings, samples=rows.samples, neurons=point["p"], observe=_itself if times else None)


def _itself(weights: Weights) -> Weights:
    return weights


def _polished(
    weights: Weights, rows: TrainingRows, noise_std: Array, weight_decay: Array, steps: int
) -> tuple[Weights, dict[str, Array]]:
    """What L-BFGS on the exact objective (6) leads to, and how that ended."""
    numbers = {"noise_std": noise_std, "weight_decay": weight_decay, "samples": rows.samples}
    ended = certify.polish(weights, rows.x, **numbers, tolerance=POLISHED, max_steps=steps, newton_steps=0)
    told = {"polished": ended.converged, "gradient_norm": ended.gradient_norm, "polish_steps": ended.steps}
    return ended.weights, told
