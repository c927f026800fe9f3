"""When does a net generalize, when does it begin to memorize, and how do both times grow with the samples?

adam      Adam at a constant rate; times in optimizer steps
sgd       plain stochastic gradient descent at a constant rate; time = rate · steps, that of the gradient flow
flow      the gradient flow of the exact objective from the weights and samples of sgd, for a few n

τ_gen: the test loss comes within 5 % of its lowest. τ_mem: the index D_gt/(D_gt + D_emp) at noisy training points
crosses ½ upwards after its minimum, which must be .45 or lower: a run that never generalizes has no time at which that
ends. Runs that generalize and have not memorized yet are censored, and stay in the fit of the exponents as such.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax import Array

from dae_theory import compare, dynamics, training
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import agreements, times
from sims.worlds import sources
from sims.worlds.sources import SourceConfig, World

OPTIMIZERS = {"adam": optax.adam, "sgd": optax.sgd}
FRESH = 256  # held-out samples behind the test loss, where the truth is no mixture
FLOW_TOLERANCE = 1e-5
HEADER = ["n", "τ_gen", "τ_mem", "generalize", "of them not yet memorizing", "lowest index", "lowest test loss"]
HEADER += ["at τ_gen/3", "at τ_mem", "at 3 τ_mem", "at the end"]


@dataclass(frozen=True)
class Config:
    """Follow nets through training and measure how the times of generalizing and memorizing grow with n."""

    samples: tuple[int, ...] = (12, 17, 24, 28, 34, 68, 192)
    """n; a smaller set is the beginning of a larger one."""
    widths: tuple[int, ...] = (24, 64)
    """p."""
    weight_decays: tuple[float, ...] = (1e-4, 1e-3)
    """λ of (6)."""
    seeds: int = 8
    """Nets for every n, p and λ; every seed has its own data and its own initial weights."""
    seed: int = 0
    """Root of all randomness."""
    source: SourceConfig = field(default_factory=SourceConfig)
    noise_std: float = 0.2
    """σ."""
    steps: int = 40000
    """Optimizer steps; runs that do not memorize within them are censored."""
    batch_size: int = 64
    """Noisy samples a step; with fewer samples each gets several draws."""
    adam_rate: float = 2e-3
    """Constant learning rate of Adam."""
    sgd_rate: float = 2e-2
    """Constant learning rate of stochastic gradient descent."""
    init_scale: float = 0.3
    """Expected norm of an initial column."""
    checkpoints: int = 32
    """Log-spaced steps at which a run is measured."""
    evaluation: int = 128
    """Noisy training points behind the index."""
    flow_samples: tuple[int, ...] = (12, 17, 24)
    """Those n for which the gradient flow is solved too, for the first width and the first λ."""
    flow_seeds: int = 4
    """Its replicates, the first of the seeds."""

    @property
    def recorded(self) -> tuple[int, ...]:
        """Steps at which a run is measured."""
        return training.log_spaced(self.steps, self.checkpoints)

    @property
    def measured(self) -> dict[str, Any]:
        """How a record is measured."""
        return {"noise_std": self.noise_std, "evaluation": self.evaluation}

    def settings(self, rule: str, width: int, weight_decay: Any) -> training.Settings:
        """How one net is trained."""
        return training.Settings(
            noise_std=self.noise_std,
            weight_decay=weight_decay,
            learning_rate={"adam": self.adam_rate, "sgd": self.sgd_rate}[rule],
            init_scale=self.init_scale,
            steps=self.steps,
            width=width,
            batch_size=self.batch_size,
            optimizer=OPTIMIZERS[rule],
            schedule=training.constant_rate,
            record_at=self.recorded,
            hashed_noise=True,
        )


SMOKE = {
    "samples": (3, 6),
    "widths": (6,),
    "weight_decays": (1e-4,),
    "seeds": 2,
    "dimension": 8,
    "steps": 100,
    "checkpoints": 8,
    "evaluation": 16,
    "flow_samples": (3,),
    "flow_seeds": 2,
    "size": 8,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "samples", count=2)
    limits.distinct(config, "widths", "weight_decays", "flow_samples")
    limits.at_least(config, samples=2, widths=1, weight_decays=0, seeds=2, batch_size=1, evaluation=2, flow_seeds=1)
    limits.at_least(config, checkpoints=3, steps=config.checkpoints)
    limits.above_zero(config, "noise_std", "adam_rate", "sgd_rate", "init_scale")
    limits.one_of(config, "flow_samples", config.samples)
    if config.flow_seeds > config.seeds:
        raise Refusal(f"--flow-seeds must be at most --seeds = {config.seeds}; got {config.flow_seeds}")
    config.source.check()
    most = sources.source(config.source).most_samples
    if most is not None and max(config.samples) > most:
        raise Refusal(f"--samples must be at most {most} of these data; got {max(config.samples)}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Curves of every net, its two times, and the exponents of both in n."""
    source = sources.source(config.source)
    worlds = _worlds(config, source)
    grid = Grid(weight_decay=sorted(config.weight_decays), n=sorted(config.samples), seed=range(config.seeds))
    runs = len(OPTIMIZERS) * len(config.widths) * grid.size
    run.expect(runs + len(config.flow_samples) * config.flow_seeds, runs * config.steps)
    curves = xr.concat(
        [
            xr.concat(
                [_trained(config, run, source, worlds, grid, rule=rule, width=p) for p in sorted(config.widths)], "p"
            )
            for rule in OPTIMIZERS
        ],
        "rule",
    ).assign_coords(rule=list(OPTIMIZERS), p=sorted(config.widths), step=list(config.recorded))
    dataset = xr.concat([curves, _flows(config, run, source, worlds, curves)], "rule", join="outer")
    dataset = times.timed(dataset.assign_coords(step=list(config.recorded)))
    dataset = times.scaled(dataset, jax.random.key(config.seed))
    dataset = dataset.assign(
        {name: dataset[name].astype(np.float32) for name in ("index", "test_loss")}
    )  # seven digits
    return dataset.assign_attrs(
        truth=source.truth_is,
        data=config.source.data,
        dimension=int(worlds.pool.shape[-1]),
        noise_std=config.noise_std,
        adam_rate=config.adam_rate,
        sgd_rate=config.sgd_rate,
    )


def _worlds(config: Config, source: sources.Source) -> World:
    """The data of every seed, stacked."""
    at = {
        "d": config.source.dimension,
        "K": config.source.components,
        "separation": config.source.separation,
    }
    root = jax.random.key(config.seed)
    drawn = [source.draw(derive(root, "world", seed), at, max(config.samples), FRESH) for seed in range(config.seeds)]
    return jax.tree.map(lambda *fields: jnp.stack(fields), *drawn)


def _trained(
    config: Config, run: launch.Run, source: sources.Source, worlds: World, grid: Grid, *, rule: str, width: int
) -> xr.Dataset:
    """Curves of the nets of one rule and width."""

    def member(point: dict[str, Array], worlds: World) -> dict[str, Array]:
        world = jax.tree.map(lambda leaf: leaf[point["seed"]], worlds)
        rows = world.rows(point["n"], jnp.ones((), point["n"].dtype), max(config.samples))
        settings = config.settings(rule, width, point["weight_decay"].astype(rows.x.dtype))
        key = derive(jax.random.key(config.seed), "nets", point["seed"])
        path = training.train(key, rows.x, settings, samples=rows.samples, observe=lambda w: w).history.observed
        return times.curves(path, rows, world, key, source, **config.measured)

    found = run.ensemble(f"{rule}-{width}", member, grid.points(), worlds)
    return grid.dataset(found, dict.fromkeys(found, ("step",)))


def _flows(config: Config, run: launch.Run, source: sources.Source, worlds: World, curves: xr.Dataset) -> xr.Dataset:
    """Curves of the gradient flow at the times of stochastic gradient descent, where it is solved; NaN elsewhere."""
    width, decay = min(config.widths), min(config.weight_decays)
    settings = config.settings("sgd", width, decay)
    when = training.elapsed(settings, np.asarray(config.recorded))

    def member(point: dict[str, Array], worlds: World, *, n: int) -> dict[str, Array]:
        world = jax.tree.map(lambda leaf: leaf[point["seed"]], worlds)
        rows = world.rows(jnp.asarray(n), jnp.asarray(1), n)
        key = derive(jax.random.key(config.seed), "nets", point["seed"])
        start = training.initial_weights(
            key, rows.x.shape[1], width, scale=config.init_scale, tied=False, neurons=width, dtype=rows.x.dtype
        )
        start = Weights(start.decoder.astype(jnp.float64), start.encoder.astype(jnp.float64))
        numbers = {"noise_std": config.noise_std, "weight_decay": decay, "times": when}
        flow = dynamics.gradient_flow(start, rows.x.astype(jnp.float64), tolerance=FLOW_TOLERANCE, **numbers)
        return times.curves(flow.weights, rows, world, key, source, **config.measured)

    flows = xr.full_like(curves.isel(rule=[0]), np.nan).assign_coords(rule=["flow"])
    points = {"seed": np.arange(config.flow_seeds)}
    for n in sorted(config.flow_samples):
        found = run.ensemble(f"flow-{n}", partial(member, n=n), points, worlds, group=1)
        where = {"rule": "flow", "p": width, "weight_decay": decay, "n": n, "seed": points["seed"]}
        for name, values in found.items():
            flows[name].loc[where] = np.asarray(values)
    return flows


def _cases(dataset: xr.Dataset, rules: Iterable[str]) -> Iterator[tuple[xr.Dataset, str]]:
    """Every rule, p and λ, with its words."""
    for rule, width, decay in itertools.product(rules, dataset["p"].values, dataset["weight_decay"].values):
        yield dataset.sel(rule=rule, p=width, weight_decay=decay), f"{rule}, p = {width}, λ = {decay:g}"


def judge(dataset: xr.Dataset) -> list[compare.Row]:
    """The exponents beside those of random features and U-Nets, what the window is worth, and descent by its flow."""
    rows = []
    for here, words in _cases(dataset, OPTIMIZERS):
        rows += [*times.exponents(here, words), *times.costs(here, words)]
    index = dataset["index"]
    predicts = "the flow's index for that of sgd, every net at every time"
    rows += agreements.rows(predicts, "Ẇ = −∂L", index.sel(rule="flow"), index.sel(rule="sgd"))
    return [*rows, *_followed(dataset)]


def _followed(dataset: xr.Dataset) -> list[compare.Row]:
    """Does descent follow the flow? Test loss at the end and both times, where both are known."""
    last = dataset["test_loss"].isel(step=-1)
    rows = [_beside("test loss at the end", last)]
    for name, symbol in (("generalizing", "τ_gen"), ("memorizing", "τ_mem")):
        seen = ~dataset[f"{name}_censored"] & ~dataset[f"{name}_early"]
        rows.append(_beside(symbol, dataset[f"{name}_time"].where(seen)))
    return rows


def _beside(words: str, values: xr.DataArray) -> compare.Row:
    """Ratio of descent to flow, over the runs that have both; 1 to O(η) and the noise, O(√η)."""
    ratio = (values.sel(rule="sgd") / values.sel(rule="flow")).values
    ratio = ratio[np.isfinite(ratio)]
    claim = f"{words} of sgd over that of its gradient flow"
    if ratio.size:
        return compare.mean(claim, f"Ẇ = −∂L, runs: {ratio.size}", ratio)
    return compare.interval(claim, "Ẇ = −∂L", np.nan, np.nan, np.nan, unknown="no run has both")


def describe(dataset: xr.Dataset) -> str:
    """Median times for every n, with how many runs are censored, and what stopping outside of the window costs."""
    tables = []
    for here, words in _cases(dataset, dataset["rule"].values):
        rows = [_line(here.sel(n=n)) for n in dataset["n"].values if np.isfinite(here["index"].sel(n=n)).any()]
        if rows:
            title = launch.wrap(f"{words}; times in steps; test loss over the run's lowest at four stops")
            tables += [title, launch.table(rows, HEADER)]
    return "\n".join(tables)


def _line(here: xr.Dataset) -> list[str]:
    """One n: medians over the seeds that have the time, a censored run counting as later than all others."""
    texts = [str(int(here["n"]))]
    for name in ("generalizing", "memorizing"):
        seen = np.where(here[f"{name}_censored"], np.inf, here[f"{name}_time"])
        seen = seen[~np.isnan(seen)]
        middle = np.median(seen) if seen.size else np.nan
        texts.append("never" if np.isnan(middle) else "later" if np.isinf(middle) else f"{middle:.0f}")
    runs = int(np.isfinite(here["memorizing_time"]).sum())
    texts.append(f"{runs} of {int(here['index'].notnull().all('step').sum())}")
    texts.append(f"{int(here['memorizing_censored'].sum())}")
    texts.append(f"{float(here['index'].min('step').median('seed')):.3f}")
    texts.append(f"{float(here['test_loss'].min('step').median('seed')):.3f}")
    for cost in times.STOPS:
        middle = float(here[cost].median("seed"))
        texts.append("" if np.isnan(middle) else f"{middle:.2f}")
    return texts


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
