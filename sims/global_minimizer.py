"""The end of training: the minimizer of (6) over all widths, with its gap, and where trained nets and (9) stand.

Theory speaks of minimizers. Here they are found, on small data sets: their objective and lower bound [X6], how many
neurons they use, whether they memorize; and for nets trained on the same samples the objective over that bound, the
exact distance in function, and the same index. Nets that stop early are away from the minimizer by these numbers.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import certify, compare, risk, theory
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.model import Weights, pad_width
from dae_theory.randomness import derive
from dae_theory.training import train
from sims import launch
from sims.launch import limits
from sims.measures import agreements, boundaries, index
from sims.nets.training import TrainingConfig
from sims.worlds import sources
from sims.worlds.sources import SourceConfig

LABEL = "[X6]  D = 2s(A + C) − s²A ≤ L of any width"
FOUND = ("objective", "lower_bound", "gap", "growth", "neurons", "rounds", "starts", "converged")


@dataclass(frozen=True)
class Config:
    """Find the minimizer of the objective over all widths on small data sets, and see where trained nets stand."""

    seeds: int = 3
    """Data sets of every size, each with its own nets."""
    seed: int = 0
    """Root of all randomness."""
    samples: tuple[int, ...] = (2, 4, 8, 16)
    """n, the sizes of the data sets."""
    widths: tuple[int, ...] = (12, 48)
    """p of the trained nets."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    weight_decay: float = 1e-3
    """λ of the objective (6)."""
    source: SourceConfig = field(default_factory=SourceConfig)
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(steps=3000))
    init_scale: float = 0.3
    """Expected norm of an initial column."""
    most: int = 512
    """The most neurons of a minimizer."""
    tolerance: float = 1e-2
    """Relative gap at which the search ends."""
    rounds: int = 40
    """How many times newcomers join at most."""
    starts: int = 192
    """Ascents in each search for newcomers."""
    evaluation: int = 512
    """Noisy training points behind every index."""


SMOKE = {
    "seeds": 2,
    "samples": (2, 3),
    "widths": (4,),
    "dimension": 4,
    "components": 2,
    "rank": 1,
    "steps": 100,
    "most": 16,
    "rounds": 2,
    "starts": 8,
    "evaluation": 32,
    "noise_std": 0.5,
    "weight_decay": 0.05,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    config.source.check()
    config.training.check()
    limits.distinct(config, "samples", "widths")
    limits.at_least(config, seeds=2, samples=1, widths=1, most=1, rounds=1, starts=1, evaluation=2)
    limits.above_zero(config, "noise_std", "weight_decay", "tolerance", "init_scale")
    most = sources.source(config.source).most_samples
    if most is not None and max(config.samples) > most:
        raise Refusal(f"--samples must be at most {most} with these data; got {max(config.samples)}")
    return replace(config, samples=tuple(sorted(config.samples)), widths=tuple(sorted(config.widths)))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Nets of every width on every data set, then the minimizers, then how they stand to each other."""
    source, at = sources.source(config.source), config.source
    grid, sets = (
        Grid(n=config.samples, p=config.widths, seed=range(config.seeds)),
        Grid(n=config.samples, seed=range(config.seeds)),
    )
    place = {"d": source.dimension or at.dimension, "K": at.components, "separation": at.separation}
    drawn = [
        source.draw(derive(jax.random.key(config.seed), "world", seed), place, max(config.samples), 2)
        for seed in range(config.seeds)
    ]
    worlds = jax.tree.map(lambda *fields: jnp.stack(fields), *drawn)
    run.expect(grid.size + sets.size, grid.size * config.training.steps)
    points = grid.points()
    nets = run.ensemble("nets", partial(_net, config=config), points, worlds.pool)
    x = np.asarray(worlds.pool, float)
    found, minimizers = _minimizers(config, run, x, sets)
    beside = partial(
        index.beside,
        jax.random.key(config.seed),
        worlds,
        source=source,
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        evaluation=config.evaluation,
    )
    of_minimizers = beside(minimizers, _keys(sets.points()))
    trained = [Weights(*(jnp.asarray(nets[name][k]) for name in ("decoder", "encoder"))) for k in range(grid.size)]
    of_nets = beside(trained, _keys(points))
    own = dict(zip(_keys(sets.points()), minimizers, strict=True))
    distance = jax.jit(partial(risk.network_distance, noise_std=config.noise_std))
    of_nets["distance"] = np.asarray(
        [
            float(distance(net, own[n, seed], x[seed], samples=n))
            for net, (n, seed) in zip(trained, _keys(points), strict=True)
        ]
    )
    dataset = grid.dataset({f"net_{name}": values for name, values in of_nets.items()})
    dataset = dataset.merge(sets.dataset(found | {"index": of_minimizers["index"]}))
    dataset = dataset.merge(sets.dataset({"stored": _stored(config, x, sets)}))
    return dataset.assign_attrs(
        tolerance=config.tolerance,
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        steps=config.training.steps,
        data=config.source.data,
        dimension=place["d"],
        truth=source.truth_is,
    )


def _keys(points: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    return [(int(n), int(seed)) for n, seed in zip(points["n"], points["seed"], strict=True)]


def _net(point: dict[str, Any], pools: Array, *, config: Config) -> dict[str, Array]:
    """One trained net's weights."""
    settings = config.training.settings(
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        width=max(config.widths),
        init_scale=config.init_scale,
    )
    key = derive(jax.random.key(config.seed), "net", point["n"], point["p"], point["seed"])
    trained = train(key, pools[point["seed"]], settings, samples=point["n"], neurons=point["p"]).weights
    return {"decoder": trained.decoder.astype(jnp.float64), "encoder": trained.encoder.astype(jnp.float64)}


def _minimizers(
    config: Config, run: launch.Run, x: np.ndarray, sets: Grid
) -> tuple[dict[str, np.ndarray], list[Weights]]:
    """Every data set's minimizer, each on disk before the next begins; all padded to one width."""
    store, shape = run.record.chunks("minimizers"), (sets.size, x.shape[2], config.most)
    expected = [np.broadcast_to(np.float64(0), size) for size in (shape, shape, (sets.size, len(FOUND)))]
    done = {start: leaves for (start, _), leaves in store.finished(expected).items()}
    for k, (n, seed) in enumerate(_keys(sets.points())):
        if k not in done:
            began = time.perf_counter()
            found = certify.global_minimizer(
                jnp.asarray(x[seed, :n]),
                noise_std=config.noise_std,
                weight_decay=config.weight_decay,
                width=config.most,
                tolerance=config.tolerance,
                rounds=config.rounds,
                starts=config.starts,
            )
            weights = pad_width(found.weights, config.most)
            numbers = np.asarray([float(getattr(found, name)) for name in FOUND])
            done[k] = [np.asarray(part)[None] for part in (weights.decoder, weights.encoder, numbers)]
            store.save(k, k + 1, done[k], time.perf_counter() - began)
        run.advance()
    numbers = np.concatenate([done[k][2] for k in range(sets.size)])
    widest = max(1, int(numbers[:, FOUND.index("neurons")].max()))
    weights = [Weights(*(jnp.asarray(part[0, :, :widest]) for part in done[k][:2])) for k in range(sets.size)]
    return {name: numbers[:, column] for column, name in enumerate(FOUND)}, weights


def _stored(config: Config, x: np.ndarray, sets: Grid) -> np.ndarray:
    """The exact objective of (9) on every data set; NaN where the decay erases a sample."""
    numbers = {"noise_std": config.noise_std, "weight_decay": config.weight_decay}
    objective = jax.jit(partial(risk.expected_loss, **numbers))
    losses = np.full(sets.size, np.nan)
    for k, (n, seed) in enumerate(_keys(sets.points())):
        own = jnp.asarray(x[seed, :n])
        if n * config.weight_decay < float(jnp.min(jnp.sum(own**2, axis=1))):
            weights = theory.memorizing_weights(own, **numbers, width=x.shape[1])
            losses[k] = objective(weights, x[seed], samples=n)
    return losses


def judge(data: xr.Dataset) -> list[compare.Row]:
    """The bound holds for every net; nets are no further from the minimizer than their excess; who memorizes more."""
    excess, lower = data["net_objective"] / data["lower_bound"], data["lower_bound"]
    stored = (data["stored"] / lower).min()
    # P is ‖·‖² plus a convex part: at a distance r from the minimizer it is at least r² higher
    reach = (np.sqrt(data["net_objective"] - lower) + np.sqrt(data["objective"] - lower)) ** 2
    convex, largest = "[X6]  E‖f − f*‖² ≤ L(f) − L*", int(data["p"].max())
    rows = [
        compare.share(
            f"searches that end within the gap of {data.attrs['tolerance']:.0%}",
            LABEL,
            (data["converged"] == 1).sum(),
            data["converged"].size,
        ),
        compare.number("smallest objective of a trained net over the bound", LABEL, excess.min(), 1.0, relation="≥"),
        compare.number(
            "exact distance to the minimizer over what the excess objective allows, largest",
            convex,
            (data["net_distance"] / reach).max(),
            1.0,
            relation="≤",
        ),
    ]
    if np.isfinite(stored):
        rows.append(compare.number("smallest objective of (9) over the bound", LABEL, stored, 1.0, relation="≥"))
    for n in data["n"].values:
        at = data.sel(n=n)
        rows += [
            compare.mean(
                f"n = {n}: objective of trained nets with p = {largest} over the minimizer's",
                "(6)",
                at["net_objective"].sel(p=largest) / at["objective"],
            ),
            compare.mean(
                f"n = {n}: index of the minimizer less that of the same nets",
                "(3), (4), (6)",
                at["index"] - at["net_index"].sel(p=largest),
            ),
        ]
    predicts = f"the minimizer's index for that of nets with p = {largest} after {data.attrs['steps']} steps"
    rows += agreements.rows(predicts, "(3), (4), (6)", data["index"], data["net_index"].sel(p=largest))
    return [*rows, boundaries.limit(data["index"])]


def describe(data: xr.Dataset) -> str:
    """A line for every n: the minimizer, (9) and the nets."""
    widths = [int(p) for p in data["p"].values]
    rows = list(_lines(data, widths))
    head = ["n", "L*", "gap", "neurons", "index", "(9)", *(f"p={p}: L/L*, index" for p in widths)]
    words = (
        f"{data.attrs['data']}, d = {data.attrs['dimension']}, σ = {data.attrs['noise_std']:g},"
        f" λ = {data.attrs['weight_decay']:g}; means over {data.sizes['seed']} data sets; nets after"
        f" {data.attrs['steps']} steps of Adam; index 1 = memorizing, f_gt is the {data.attrs['truth']}"
    )
    return f"{launch.wrap(words)}\n\n{launch.table(rows, head)}"


def _lines(data: xr.Dataset, widths: list[int]) -> Iterator[list[str]]:
    for n in data["n"].values:
        at = data.sel(n=n).mean("seed")
        excess = (data.sel(n=n)["net_objective"] / data.sel(n=n)["objective"]).mean("seed")
        stored = float((data.sel(n=n)["stored"] / data.sel(n=n)["objective"]).mean("seed"))
        nets = [f"{float(excess.sel(p=p)):.3f} {float(at['net_index'].sel(p=p)):.2f}" for p in widths]
        gap = float(data.sel(n=n)["gap"].max())
        yield [
            f"{n}",
            f"{float(at['objective']):.4f}",
            f"{gap:.1%}",
            f"{float(at['neurons']):.0f}",
            f"{float(at['index']):.2f}",
            f"{stored:.3f}",
            *nets,
        ]


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
