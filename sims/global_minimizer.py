"""The end of training: the minimizer of (6) over all widths, with its gap, and where trained nets and (9) stand.

Theory speaks of minimizers. Here they are found, on small data sets: their objective and lower bound [X6], how many
neurons they use, whether they memorize; and for nets trained on the same samples the objective over that bound, the
exact distance in function, and the same index. Nets that stop early are away from the minimizer by these numbers.

Why they are is decided by experiments. Nets of one width are trained ten times longer (time), taken down the exact
objective from there (the optimizer's noise), have neurons exchanged for newcomers (local minima); what is left only
more neurons remove (width), and nets of other widths say the same from outside. On clean data, where (9) and the blocks
(7)-(8) are exact, it is measured how much lower the minimizer still is, and what it adds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, theory
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings
from sims import launch
from sims.launch import limits
from sims.measures import boundaries, clean, excess, index, minimizers, second_search
from sims.measures.index import Place
from sims.nets.ended import SCHEDULES, ended
from sims.nets.training import need_finite
from sims.worlds import sources
from sims.worlds.sources import SourceConfig

BOUND = "[X6]  D = 2s(A + C) − s²A ≤ L of any width"


@dataclass(frozen=True)
class Config:
    """Find the minimizer of the objective over all widths on small data sets, and why trained nets are above it."""

    seeds: int = 3
    """Data sets of every size, each with its own nets."""
    seed: int = 0
    """Root of all randomness."""
    samples: tuple[int, ...] = (2, 4, 8, 16)
    """n, the sizes of the data sets."""
    noise_stds: tuple[float, ...] = (0.2,)
    """σ of the noise, in the units of the data."""
    weight_decays: tuple[float, ...] = (1e-3,)
    """λ of the objective (6)."""
    widths: tuple[int, ...] = (12, 48, 128)
    """p of the trained nets."""
    studied: int = 48
    """The one of these widths whose nets are taken apart."""
    source: SourceConfig = field(default_factory=SourceConfig)
    steps: tuple[int, ...] = (300, 3000, 30_000)
    """Lengths of training: one run at the constant rate, one each where it decays. The last two are compared."""
    batch_size: int = 64
    """Noisy samples a step; with fewer samples each gets several draws."""
    learning_rate: float = 5e-3
    """Constant learning rate, and the highest where it decays."""
    init_scale: float = 0.3
    """Expected norm of an initial column."""
    most: int = 512
    """The most neurons of a minimizer."""
    tolerance: float = 2e-2
    """Relative gap at which a search ends."""
    margin: float = 1e-2
    """A net reaches the minimizer where its objective is above by no more than this share."""
    rounds: int = 40
    """How many times newcomers join at most."""
    starts: int = 192
    """Ascents in each search for newcomers."""
    exchanges: int = 10
    """How many times newcomers take the place of neurons at most."""
    descent: int = 1000
    """Steps of a descent of the exact objective."""
    clean: int = 3
    """Data sets on which (9) and the blocks (7)-(8) stand beside the minimizer; 0 for none."""
    evaluation: int = 512
    """Noisy training points behind every index."""
    twice: int = 0
    """Data sets of every size whose minimizer is searched for twice, the second time to a third of the gap."""

    def searches(self) -> minimizers.Searches:
        """How long minimizers are searched for."""
        names = ("most", "tolerance", "rounds", "exchanges", "starts", "descent")
        return minimizers.Searches(**{name: getattr(self, name) for name in names})


SMOKE = {
    "seeds": 2,
    "samples": (2, 3),
    "widths": (4,),
    "studied": 4,
    "dimension": 4,
    "components": 2,
    "rank": 1,
    "steps": (20, 60),
    "most": 16,
    "rounds": 2,
    "exchanges": 1,
    "descent": 20,
    "clean": 0,
    "starts": 8,
    "evaluation": 32,
    "noise_stds": (0.5,),
    "weight_decays": (0.05,),
    "twice": 1,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    config.source.check()
    limits.distinct(config, "samples", "widths", "noise_stds", "weight_decays")
    limits.distinct(config, "steps", count=2)
    limits.at_least(config, seeds=2, samples=1, widths=1, steps=1, batch_size=1, evaluation=2)
    limits.at_least(config, most=1, rounds=1, starts=1, exchanges=1, descent=1, clean=0, twice=0)
    limits.above_zero(config, "noise_stds", "weight_decays", "tolerance", "margin", "init_scale", "learning_rate")
    limits.one_of(config, "studied", config.widths)
    if config.clean == 1:
        raise Refusal("--clean must be 0, or 2 or more for a standard error; got 1")
    if config.twice > config.seeds:
        raise Refusal(f"--twice must be at most --seeds = {config.seeds}; got {config.twice}")
    most = sources.source(config.source).most_samples
    if most is not None and max(config.samples) > most:
        raise Refusal(f"--samples must be at most {most} with these data; got {max(config.samples)}")
    names = ("samples", "widths", "noise_stds", "weight_decays", "steps")
    return replace(config, **{name: tuple(sorted(getattr(config, name))) for name in names})


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Nets of every width on every data set, then the minimizers, then how they stand to each other."""
    source, at = sources.source(config.source), config.source
    axes: dict[str, Any] = {"noise_std": config.noise_stds, "weight_decay": config.weight_decays}
    sets = Grid(**axes, n=config.samples, seed=range(config.seeds))
    places = [
        Place(float(sigma), float(decay), int(n), int(seed))
        for sigma, decay, n, seed in zip(*sets.points().values(), strict=True)
    ]
    place = {"d": source.dimension or at.dimension, "K": at.components, "separation": at.separation}
    root = jax.random.key(config.seed)
    drawn = [source.draw(derive(root, "world", seed), place, max(config.samples), 2) for seed in range(config.seeds)]
    worlds = jax.tree.map(lambda *fields: jnp.stack(fields), *drawn)
    x = np.asarray(worlds.pool, float)
    members = len(config.widths) * sets.size
    searched = 2 * sets.size + sets.size // config.seeds * config.twice
    run.expect(members + searched + config.clean, members * (sum(config.steps) + max(config.steps)))
    trained = {width: _nets(config, run, sets, worlds.pool, width) for width in config.widths}
    found, least = minimizers.found(run, x, places, config.searches())
    runs = len(SCHEDULES) * len(config.steps)
    last = SCHEDULES.index("decaying") * len(config.steps) + len(config.steps) - 1
    early, late = (trained[config.studied][back::runs] for back in (last - 1, last))
    numbers, apart = minimizers.taken_apart(run, x, places, early, late, config.searches())
    beside = partial(index.indices, root, worlds, source=source, evaluation=config.evaluation)
    found |= numbers | {"index": beside(least, places), "stored": _stored(x, places)}
    found |= {f"{stage}_index": beside(nets, places) for stage, nets in apart.items()}
    found |= second_search.found(run, x, places, least, config.searches(), config.twice, beside)
    for stage, nets in (("early", early), ("late", late)):
        found[f"{stage}_distance"] = index.distances(x, nets, least, places)
    dataset = sets.dataset(found).merge(_beside(config, sets, trained, places, x, beside))
    dataset = excess.with_paths(dataset.assign_attrs(margin=config.margin, studied=config.studied))
    first = config.noise_stds[0], config.weight_decays[0]
    dataset = boundaries.with_limits(dataset).merge(clean.cases(run, root, config.clean, config.searches(), *first))
    return dataset.assign_attrs(
        tolerance=config.tolerance,
        data=config.source.data,
        dimension=place["d"],
        truth=source.truth_is,
    )


def _nets(config: Config, run: launch.Run, sets: Grid, pools: Array, width: int) -> list[Weights]:
    """The trained nets of a width: data sets by schedules by lengths, in this order."""
    found = run.ensemble(f"nets-{width}", partial(_net, config=config, width=width), sets.points(), pools)
    need_finite("global_minimizer", np.isfinite(found["encoder"]).all(axis=(-2, -1)), config.learning_rate)
    shape = (-1, *found["encoder"].shape[-2:])
    pairs = (np.asarray(found[name]).reshape(shape) for name in ("decoder", "encoder"))
    return [Weights(jnp.asarray(decoder), jnp.asarray(encoder)) for decoder, encoder in zip(*pairs, strict=True)]


def _net(point: dict[str, Any], pools: Array, *, config: Config, width: int) -> dict[str, Array]:
    """The weights of one net by schedule and length."""
    settings = Settings(
        noise_std=point["noise_std"].astype(pools.dtype),
        weight_decay=point["weight_decay"].astype(pools.dtype),
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        init_scale=config.init_scale,
        steps=config.steps[-1],
        width=width,
    )
    key = derive(jax.random.key(config.seed), "net", point["n"], width, point["seed"])
    weights = ended(key, pools[point["seed"]], settings, config.steps, samples=point["n"])
    return {"decoder": weights.decoder, "encoder": weights.encoder}


def _beside(
    config: Config, sets: Grid, trained: dict[int, list[Weights]], places: Sequence[Place], x: np.ndarray, indices: Any
) -> xr.Dataset:
    """Objective and index of every trained net."""
    parts = []
    names = ("schedule", "steps")
    for width, nets in trained.items():
        each = [at for at in places for _ in range(len(SCHEDULES) * len(config.steps))]
        numbers = {"net_objective": index.objectives(x, nets, each), "net_index": indices(nets, each)}
        shape = (sets.size, len(SCHEDULES), len(config.steps))
        flat = {name: values.reshape(shape) for name, values in numbers.items()}
        parts.append(sets.dataset(flat, dict.fromkeys(flat, names)).expand_dims(p=[width]))
    return xr.concat(parts, "p").assign_coords(schedule=list(SCHEDULES), steps=list(config.steps))


def _stored(x: np.ndarray, places: Sequence[Place]) -> np.ndarray:
    """The exact objective of (9) on every data set; NaN where the decay erases a sample."""
    losses = np.full(len(places), np.nan)
    for k, at in enumerate(places):
        own = jnp.asarray(x[at.world, : at.n])
        if at.n * at.weight_decay < float(jnp.min(jnp.sum(own**2, axis=1))):
            numbers: dict[str, Any] = {"noise_std": at.noise_std, "weight_decay": at.weight_decay}
            weights = theory.memorizing_weights(own, **numbers, width=max(x.shape[1:]))
            losses[k] = index.objectives(x, [weights], [at])[0]
    return losses


def judge(data: xr.Dataset) -> list[compare.Row]:
    """The bound holds for every net; who memorizes more; and why nets are above the minimizer."""
    over, lower = data["net_objective"] / data["lower_bound"], data["lower_bound"]
    stored = (data["stored"] / lower).min()
    late = data["net_objective"].sel(p=data.attrs["studied"], schedule="decaying").isel(steps=-1)
    # P is ‖·‖² plus a convex part: at a distance r from the minimizer it is at least r² higher
    reach = (np.sqrt(late - lower) + np.sqrt(np.maximum(data["objective"] - lower, 0))) ** 2  # 0 up to rounding
    rows = [
        compare.share(
            f"searches that end within the gap of {data.attrs['tolerance']:.0%}",
            BOUND,
            (data["converged"] == 1).sum(),
            data["converged"].size,
        ),
        compare.number("smallest objective of a trained net over the bound", BOUND, over.min(), 1.0, relation="≥"),
        compare.number(
            "exact distance to the minimizer over what the excess objective allows, largest",
            "[X6]  E‖f − f*‖² ≤ L(f) − L*",
            (data["late_distance"] / reach).max(),
            1.0,
            relation="≤",
        ),
    ]
    if np.isfinite(stored):
        rows.append(compare.number("smallest objective of (9) over the bound", BOUND, stored, 1.0, relation="≥"))
    return [*rows, *excess.rows(data), *second_search.rows(data), *clean.rows(data), *boundaries.limits(data)]


def describe(data: xr.Dataset) -> str:
    """A line for every σ, λ and n: the minimizer, (9) and the nets after the longest run at a decaying rate."""
    widths = [int(p) for p in data["p"].values]
    rows = list(_lines(data, widths))
    head = ["σ", "λ", "n", "L*", "gap", "neurons", "index", "(9)", *(f"p={p}: L/L*, index" for p in widths)]
    words = (
        f"{data.attrs['data']}, d = {data.attrs['dimension']}; means over {data.sizes['seed']} data sets; nets after"
        f" {int(data['steps'].values[-1])} steps of Adam at a decaying rate; index 1 = memorizing, f_gt is the"
        f" {data.attrs['truth']}"
    )
    return f"{launch.wrap(words)}\n\n{launch.table(rows, head)}"


def _lines(data: xr.Dataset, widths: list[int]) -> Iterator[list[str]]:
    nets = data.sel(schedule="decaying").isel(steps=-1)
    for _, at in boundaries.places(data, ["noise_std", "weight_decay", "n"]):
        cell = nets.sel(at)
        excesses, stored = cell["net_objective"] / cell["objective"], cell["stored"] / cell["objective"]
        yield [
            *(f"{value:g}" for value in at.values()),
            f"{float(cell['objective'].mean()):.4f}",
            f"{float(cell['gap'].max()):.1%}",
            f"{float(cell['neurons'].mean()):.0f}",
            f"{float(cell['index'].mean()):.2f}",
            f"{float(stored.mean()):.3g}",
            *(f"{float(excesses.sel(p=p).mean()):.3f} {float(cell['net_index'].sel(p=p).mean()):.2f}" for p in widths),
        ]


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
