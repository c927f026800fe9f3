"""What is inside the nets of a phase diagram: one net a cell, its columns and its representations of a few points.

The nets are those of `sims.phase_diagram` with the same settings, of one seed, trained again: data, keys and shapes are
the same, and so is the objective they end with. Kept of each: its columns after merging parallel ones, largest first,
as coordinates along the principal directions of every component; and h at noisy training points and at fresh ones.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare
from dae_theory.checks import Refusal
from dae_theory.directions import unit
from dae_theory.grid import Grid
from dae_theory.model import represent
from dae_theory.randomness import derive
from dae_theory.symmetry import alive, merge_parallel
from dae_theory.training import Settings
from sims import launch, phase_diagram
from sims.launch import limits
from sims.measures.observables import ALIGNED
from sims.nets import cell
from sims.worlds import sources
from sims.worlds.axes import AXES, coordinates, identities


@dataclass(frozen=True)
class Config(phase_diagram.Config):
    """Open the nets of one seed of a phase diagram with two axes: columns and representations, cell by cell."""

    member: int = 0
    """Which of the seeds."""
    points: int = 4
    """Noisy training points, and as many fresh ones, that are represented."""
    directions: int = 4
    """Principal directions of every component, along which columns are given; what is left is one more number."""


SMOKE = phase_diagram.SMOKE


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    resolved = phase_diagram.resolve(config)
    if config.z is not None:
        raise Refusal(f"--z must be left out: cells of two axes are opened; got {config.z}")
    if set(resolved.axes) & {"d", "K"}:
        raise Refusal("--x and --y must keep d and K: columns of different lengths are not comparable")
    if "steps" in resolved.axes:
        raise Refusal("--x and --y must not be steps: nets are opened at the end of their training")
    limits.at_least(config, member=0, points=1, directions=1)
    return replace(config, **{f"{letter}_values": getattr(resolved, f"{letter}_values") for letter in "xy"})


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Every cell's net of one seed."""
    grid = Grid(**config.axes)
    points = grid.points()
    seeds = np.full(grid.size, config.member)
    source = sources.source(config.source)
    at = coordinates(config, points, source.dimension)
    (dimension,) = np.unique(at["d"])
    worlds, world = sources.draw_worlds(
        jax.random.key(config.seed), source, at, seeds, dimension=dimension, fresh=config.evaluation
    )
    identity = identities(at, seeds)
    # the same shapes as in the phase diagram: a net's draws do not depend on them, the last bits of its sums may
    width, max_rows = cell.padded(at["p"]), int((at["n"] + at["copies"] - 1).max())
    directions = np.asarray(worlds.spectrum.directions)[..., : config.directions]
    # decomposed here: an ensemble on several CPU devices must decompose nothing
    basis = jnp.asarray(np.linalg.qr(_flat(directions))[0])
    run.expect(grid.size, grid.size * config.training.steps)
    results: dict[str, np.ndarray] = {}
    for bucket in np.unique(width):
        here = np.flatnonzero(width == bucket)
        settings = replace(config.settings(), width=int(bucket))
        part = run.ensemble(
            f"p{bucket}",
            partial(_inside, config=config, settings=settings, max_rows=max_rows, most=int(width.max())),
            cell.points(here, root=config.seed, world=world, identity=identity, at=at),
            (worlds, basis),
        )
        for name, values in part.items():
            results.setdefault(name, np.zeros((grid.size, *np.shape(values)[1:]), np.float32))[here] = values
    dataset = grid.dataset(results, DIMS)
    for name in config.axes:
        dataset[name].attrs["label"] = AXES[name].label
    _, components, _, kept = directions.shape
    return dataset.assign_attrs(
        x=config.x, y=config.y, member=config.member, data=config.source.data, components=components, directions=kept
    )


DIMS = {
    "columns": ["neuron", "coordinate"],
    "on_sample": ["neuron"],
    "train_representation": ["point", "neuron"],
    "fresh_representation": ["point", "neuron"],
}


def _inside(
    point: dict[str, Any],
    drawn: tuple[sources.World, Array],
    *,
    config: Config,
    settings: Settings,
    max_rows: int,
    most: int,
) -> dict[str, Array]:
    """One net's columns and representations, neurons padded to `most`.

    Columns are those of the encoder after balancing, so that their squared norms are their share of the gain.
    """
    worlds, bases = drawn
    world, own, key = cell.placed(point, worlds, max_rows=max_rows)
    basis = bases[point["world"]]
    trained = cell.train_net(key, point, own, settings)
    weights = jax.tree.map(lambda w: w.astype(jnp.float64), trained.weights)
    merged = merge_parallel(weights, 0.99)
    counted = alive(merged.weights)
    encoder = merged.weights.encoder * jnp.where(counted, 1.0, 0.0)[None, :]

    directions = world.spectrum.directions[:, :, : config.directions]
    coordinates = jnp.einsum("kdr,dp->pkr", directions, encoder).reshape(encoder.shape[1], -1)
    norms = jnp.linalg.norm(encoder, axis=0)
    rest = jnp.sqrt(jnp.maximum(norms**2 - jnp.sum((basis.T @ encoder) ** 2, axis=0), 0))
    x = own.x.astype(jnp.float64)
    cosine = unit(x) @ encoder / jnp.where(norms > 0, norms, 1)[None, :]
    cosine = jnp.where(jnp.arange(max_rows)[:, None] < own.samples, cosine, -1.0)

    def representation(clean: Array, kind: str) -> Array:
        noise = jax.random.normal(derive(key, f"shown {kind}"), clean.shape, clean.dtype)
        h = represent(merged.weights, clean + point["sigma"].astype(clean.dtype) * noise)
        return _pad(jnp.where(counted[None, :], h, 0.0), most, axis=1)

    shown = jnp.arange(config.points)
    return {
        "columns": _pad(jnp.concatenate([coordinates, rest[:, None]], axis=1), most, axis=0),
        "on_sample": _pad(jnp.where(counted, jnp.max(cosine, axis=0), 0.0), most, axis=0),
        "alive": jnp.sum(counted).astype(jnp.float32),
        "train_representation": representation(x[shown % own.samples], "train"),
        "fresh_representation": representation(world.fresh[shown], "fresh"),
        "train_objective": trained.history.loss[-1].astype(jnp.float32),
    }


def _flat(directions: np.ndarray) -> np.ndarray:
    """Directions of all components side by side, (worlds, K, d, r) -> (worlds, d, K·r)."""
    return np.concatenate(np.moveaxis(directions, 1, 0), axis=-1)


def _pad(values: Array, size: int, *, axis: int) -> Array:
    """Zeros behind, up to the size."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, size - values.shape[axis])
    return jnp.pad(values, widths).astype(jnp.float32)


def judge(data: xr.Dataset) -> list[compare.Row]:
    """How many distinct columns lie on a sample, at both ends of x in the last row of the map; nothing is predicted."""
    x, y = data.attrs["x"], data.attrs["y"]
    rows = []
    for end in (0, -1):
        at = data.isel({x: end, y: -1})
        place = f"{x} = {float(at[x]):g}, {y} = {float(at[y]):g}"
        claim = f"share of one net's distinct columns within cosine {ALIGNED:g} of a training sample, {place}"
        on = (at["on_sample"] > ALIGNED).sum()
        rows.append(compare.number(claim, "(9): 1, where every neuron stores a sample", on / at["alive"]))
    return rows


def describe(data: xr.Dataset) -> str:
    """Distinct columns of every cell, and how many of them lie on a sample."""
    x, y = data.attrs["x"], data.attrs["y"]
    rows = []
    for value in data[y].values:
        at = data.sel({y: value}).transpose(x, ...)
        on = (at["on_sample"] > ALIGNED).sum("neuron")
        pairs = zip(at["alive"].values, on.values, strict=True)
        rows.append([f"{value:g}", *(f"{int(count)}/{int(alive)}" for alive, count in pairs)])
    title = (
        f"nets of seed {data.attrs['member']}: columns within cosine {ALIGNED:g} of a training sample / distinct"
        f" columns; rows {y}, columns {x}"
    )
    return "\n".join([launch.wrap(title), launch.table(rows, [y, *(f"{value:g}" for value in data[x].values)])])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
