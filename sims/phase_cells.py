"""What is inside the nets of a phase diagram: one net a cell, its columns and its representations of a few points.

The nets are those of `sims.phase_diagram` with the same settings, of one seed, trained again: data, keys and shapes are
the same, and so is the objective they end with. Kept of each: its columns after merging parallel ones, largest first,
as components along the principal directions of every cluster; and h at noisy training points and at fresh ones.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import ensemble
from dae_theory.directions import unit
from dae_theory.grid import Grid
from dae_theory.model import represent
from dae_theory.randomness import derive
from dae_theory.symmetry import alive, merge_parallel
from dae_theory.training import Settings, train
from sims import launch, phase_diagram
from sims.launch import limits
from sims.worlds import sources
from sims.worlds.axes import AXES, coordinates


@dataclass(frozen=True)
class Config(phase_diagram.Config):
    """Open the nets of one seed of a phase diagram with two axes: columns and representations, cell by cell."""

    member: int = 0
    """Which of the seeds."""
    points: int = 4
    """Noisy training points, and as many fresh ones, that are represented."""
    directions: int = 4
    """Principal directions of every cluster, along which columns are given; what is left is one more number."""


SMOKE = phase_diagram.SMOKE


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    resolved = phase_diagram.resolve(config)
    if config.z is not None:
        raise ValueError(f"--z must be left out: cells of two axes are opened; got {config.z}")
    if set(resolved.axes) & {"d", "K"}:
        raise ValueError("--x and --y must keep d and K: columns of different lengths are not comparable")
    limits.at_least(config, member=0, points=1, directions=1)
    return replace(config, **{f"{letter}_values": getattr(resolved, f"{letter}_values") for letter in "xy"})


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Every cell's net of one seed."""
    grid = Grid(**config.axes)
    points = grid.points()
    seeds = np.full(grid.size, config.member)
    source = sources.source(config)
    at = coordinates(config, points, source.dimension)
    (dimension,) = np.unique(at["d"])
    worlds, world = phase_diagram._draw_worlds(config, source, at, seeds, dimension)
    identity = np.asarray([phase_diagram._identity(at, seeds, i) for i in range(grid.size)], np.uint32)
    # the same shapes as in the phase diagram: a net's draws do not depend on them, the last bits of its sums may
    width, rows = ensemble.buckets(at["p"], ratio=3.0), int((at["n"] + at["copies"] - 1).max())
    settings = Settings(
        learning_rate=config.learning_rate, init_scale=config.init_scale, steps=config.steps,
        batch_size=config.batch_size, tied=config.tied,
    )  # fmt: skip
    # decomposed here: an ensemble on several CPU devices must decompose nothing
    basis = jnp.asarray(np.linalg.qr(_flat(np.asarray(worlds.spectrum.directions)[..., : config.directions]))[0])
    run.expect(grid.size, grid.size * config.steps)
    results: dict[str, np.ndarray] = {}
    for bucket in np.unique(width):
        here = np.flatnonzero(width == bucket)
        inside = partial(
            _inside, config=config, settings=replace(settings, width=int(bucket)), rows=rows, most=int(width.max())
        )
        drawn = {"world": world[here], "identity": identity[here]}
        part = run.ensemble(
            f"p{bucket}",
            inside,
            drawn | {name: at[name][here] for name in ("n", "p", "sigma", "lambda", "copies")},
            (worlds, basis),
        )
        for name, values in part.items():
            results.setdefault(name, np.zeros((grid.size, *np.shape(values)[1:]), np.float32))[here] = values
    dataset = grid.dataset(results, DIMS)
    for name in config.axes:
        dataset[name].attrs["label"] = AXES[name].label
    return dataset.assign_attrs(x=config.x, y=config.y, member=config.member, data=config.data)


DIMS = {
    "columns": ["neuron", "component"],
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
    rows: int,
    most: int,
) -> dict[str, Array]:
    """One net's columns and representations, neurons padded to `most`.

    Columns are those of the encoder after balancing, so that their squared norms are their share of the gain.
    """
    world, basis = jax.tree.map(lambda field: field[point["world"]], drawn)
    key = derive(jax.random.key(config.seed), "member", point["identity"])
    copies = point["copies"]
    source_row = jnp.maximum(jnp.arange(rows) - (copies - 1), 0)
    x, samples = world.pool[source_row], point["n"] + copies - 1
    settings = replace(settings, noise_std=point["sigma"], weight_decay=point["lambda"])
    trained = train(key, x, settings, samples=samples, neurons=point["p"])
    merged = merge_parallel(jax.tree.map(lambda w: w.astype(jnp.float64), trained.weights), 0.99)
    counted = alive(merged.weights)
    encoder = merged.weights.encoder * jnp.where(counted, 1.0, 0.0)[None, :]

    directions = world.spectrum.directions[:, :, : config.directions]
    components = jnp.einsum("kdr,dp->pkr", directions, encoder).reshape(encoder.shape[1], -1)
    norms = jnp.linalg.norm(encoder, axis=0)
    rest = jnp.sqrt(jnp.maximum(norms**2 - jnp.sum((basis.T @ encoder) ** 2, axis=0), 0))
    x = x.astype(jnp.float64)
    cosine = unit(x) @ encoder / jnp.where(norms > 0, norms, 1)[None, :]
    cosine = jnp.where(jnp.arange(rows)[:, None] < samples, cosine, -1.0)

    def representation(clean: Array, kind: str) -> Array:
        noise = jax.random.normal(derive(key, f"shown {kind}"), clean.shape, clean.dtype)
        h = represent(merged.weights, clean + point["sigma"].astype(clean.dtype) * noise)
        return _pad(jnp.where(counted[None, :], h, 0.0), most, axis=1)

    shown = jnp.arange(config.points)
    return {
        "columns": _pad(jnp.concatenate([components, rest[:, None]], axis=1), most, axis=0),
        "on_sample": _pad(jnp.where(counted, jnp.max(cosine, axis=0), 0.0), most, axis=0),
        "alive": jnp.sum(counted).astype(jnp.float32),
        "train_representation": representation(x[shown % samples], "train"),
        "fresh_representation": representation(world.fresh[shown], "fresh"),
        "train_objective": trained.history.loss[-1].astype(jnp.float32),
    }


def _flat(directions: np.ndarray) -> np.ndarray:
    """Directions of all clusters side by side, (worlds, K, d, r) -> (worlds, d, K·r)."""
    return np.concatenate(np.moveaxis(directions, 1, 0), axis=-1)


def _pad(values: Array, size: int, *, axis: int) -> Array:
    """Zeros behind, up to the size."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, size - values.shape[axis])
    return jnp.pad(values, widths).astype(jnp.float32)


def report(data: xr.Dataset) -> str:
    """Distinct columns of every cell, and how many of them lie on a sample."""
    x, y = data.attrs["x"], data.attrs["y"]
    rows = []
    for value in data[y].values:
        at = data.sel({y: value}).transpose(x, ...)
        on = (at["on_sample"] > 0.95).sum("neuron")
        pairs = zip(at["alive"].values, on.values, strict=True)
        rows.append([f"{value:g}", *(f"{int(count)}/{int(alive)}" for alive, count in pairs)])
    header = [y, *(f"{x}={value:g}" for value in data[x].values)]
    return "\n".join(
        [
            f"nets of seed {data.attrs['member']}: columns within cosine 0.95 of a training sample / distinct columns",
            launch.table(rows, header),
        ]
    )


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
