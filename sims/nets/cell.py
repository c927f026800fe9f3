"""One cell of a phase diagram: its point, its world, its training; `measures.observables` says what is seen of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import ensemble
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, Trained, constant_rate, train
from sims.worlds.sources import TrainingRows, World

WIDE = 16  # neurons, up to which nets share a program
SWEPT = ("n", "p", "sigma", "lambda", "copies", "scale")  # axes in which nets of one dimension and bucket may differ


def trained(
    point: dict[str, Any], worlds: World, *, settings: Settings, max_rows: int, times: tuple[int, ...] = ()
) -> dict[str, Any]:
    """One net, at the end of its training or at several times of it: its weights, and the mean sampled objective.

    Args:
        point: as from `points`.
        worlds: stacked worlds of one dimension.
        settings: of training; σ, λ and the initial scale come from the point, the width is that of the bucket.
        max_rows: static bound on the number of training rows, copies included.
        times: increasing numbers of steps at which the net of one run is seen, the last of them the end; then both have
            a leading axis of them. Empty for the end alone.
    """
    _, own, key = placed(point, worlds, max_rows=max_rows)
    run = train_net(key, point, own, settings, times=times)
    loss = run.history.loss.astype(jnp.float64)  # mean over the steps since the time before
    if times:
        return {"weights": run.history.observed, "train_objective": loss}
    return {"weights": run.weights, "train_objective": loss[-1]}


def padded(widths: np.ndarray) -> np.ndarray:
    """The width that every net is trained at: narrow ones share a program, which would cost more than their padding."""
    return ensemble.buckets(np.maximum(widths, min(WIDE, widths.max())), ratio=3.0)


def points(
    here: np.ndarray, *, root: int, world: np.ndarray, identity: np.ndarray, at: Mapping[str, np.ndarray]
) -> Any:
    """What a net needs to know, for those at the indices `here`: world (index), identity, root, and the axes `SWEPT`.

    The root, seed of all the nets' randomness, is data and no constant of the program: another one finds the program of
    the first compiled.
    """
    own = {"world": world, "identity": identity, "root": np.full(len(world), root, np.int64)}
    return {name: values[here] for name, values in (own | {name: at[name] for name in SWEPT}).items()}


def placed(point: dict[str, Any], worlds: World, *, max_rows: int) -> tuple[World, TrainingRows, Array]:
    """World, training rows and key of the net of a point."""
    world = jax.tree.map(lambda field: field[point["world"]], worlds)
    key = derive(jax.random.key(point["root"]), "member", point["identity"])
    return world, world.rows(point["n"], point["copies"], max_rows), key


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
