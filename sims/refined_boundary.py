"""The boundary between memorizing and generalizing, located by spending nets where its band is widest.

A coarse grid over n brackets the boundary at every width p; then, round by round, the lines with the widest bands get
nets of their own at the n between which resamples find the boundary. Beside it the same cost on a uniform grid. No
index is taken to fall monotonically; what hides between two points of the coarse grid is not seen. At one n the lines
share their data, so that what is odd in these moves all lines alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import compare
from dae_theory.checks import Refusal
from sims import launch
from sims.launch import limits
from sims.measures import refinement
from sims.measures.boundaries import LEVEL, LOW
from sims.measures.refinement import Band, Line
from sims.nets import indexed
from sims.nets.training import TrainingConfig, need_finite
from sims.worlds import sources

CHUNK = 24  # members a program call, the same in every round: one compilation
APART = 100_000  # between the numbers of the worlds at one n and the next
UNIFORM = 50_000  # worlds of the uniform grid begin here, so that no net is shared


@dataclass(frozen=True)
class Config:
    """Locate the boundary in n at several widths in rounds, and compare with a uniform grid of equal cost."""

    source: sources.SourceConfig = field(default_factory=sources.SourceConfig)
    """What the nets see: a synthetic set or images, their size and their spread."""
    widths: tuple[int, ...] = (12, 16, 24, 32, 48)
    """Values of p, one line each."""
    coarse: tuple[int, ...] = (2, 8, 32, 128, 512)
    """Values of n of the first round."""
    replicates: int = 4
    """Nets of the first round, and of the uniform grid, at every n."""
    rounds: int = 10
    """Rounds of refinement."""
    budget: int = 24
    """Nets a round."""
    finest: float = 1.5
    """Factor between two n from which on they get more nets rather than another n between them."""
    noise_std: float = 0.2
    """σ."""
    weight_decay: float = 1e-3
    """λ of the objective (6)."""
    init_scale: float = 0.3
    """Expected norm of an initial column."""
    training: TrainingConfig = TrainingConfig(steps=3000, generator="hashed")
    """How every net is trained, by Adam: for how long, on how many draws a step, at which rate."""
    evaluation: int = 128
    """Noisy training points behind the index."""
    resamples: int = 500
    """Bootstrap resamples behind every band."""
    seed: int = 0
    """Root of all randomness."""

    @property
    def cost(self) -> int:
        """Nets of all rounds, if every round is spent."""
        return len(self.widths) * len(self.coarse) * self.replicates + self.rounds * self.budget

    def uniform(self) -> list[int]:
        """n of the uniform grid, evenly in log n over the coarse one, at no more than the cost of all rounds."""
        count = self.cost // (len(self.widths) * self.replicates)
        return sorted({round(n) for n in np.geomspace(min(self.coarse), max(self.coarse), count)})


SMOKE = {
    "dimension": 8,
    "widths": (6, 12),
    "coarse": (2, 8, 64),
    "replicates": 2,
    "rounds": 2,
    "budget": 4,
    "steps": 600,
    "evaluation": 16,
    "resamples": 20,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "widths")
    limits.distinct(config, "coarse", count=3)
    limits.at_least(config, widths=1, coarse=2, replicates=2, rounds=1, weight_decay=0, evaluation=2, resamples=2)
    limits.at_least(config, budget=2 * len(config.widths))
    limits.above_zero(config, "noise_std", "init_scale")
    if not config.finest > 1:
        raise Refusal(f"--finest must be above 1; got {config.finest}")
    config.training.check()
    config.source.check()
    most = sources.source(config.source).most_samples
    if most is not None and max(config.coarse) > most:
        raise Refusal(f"--coarse must be at most {most} with these data; got {max(config.coarse)}")
    return replace(config, coarse=tuple(sorted(config.coarse)), widths=tuple(sorted(config.widths)))


class _Nets:
    """Every net trained so far, by line and n; a round's nets are one part of the record."""

    def __init__(self, config: Config, run: launch.Run):
        self._config, self._run = config, run
        self._source = sources.source(config.source)
        width = max(config.widths)
        settings = config.training.settings(width=width, weight_decay=config.weight_decay, init_scale=config.init_scale)
        self._member = partial(indexed.member, settings=settings)
        self.rows: list[tuple[int, int, int, float]] = []  # round, p, n, index

    def train(self, part: str, number: int, places: list[tuple[int, int]], first_world: int = 0) -> None:
        """One more net at every (p, n), each with data of its own; `number` is that of the round."""
        given = dict.fromkeys(places, 0)
        for _, p, n, _ in self.rows:
            if (p, n) in given:
                given[p, n] += 1
        worlds = []
        for p, n in places:
            worlds.append(n * APART + first_world + given[p, n])
            given[p, n] += 1
        config = self._config
        p, n = (np.asarray(values) for values in zip(*places, strict=True))
        points = indexed.points(
            jax.random.key(config.seed),
            self._source,
            {"d": config.source.dimension, "K": config.source.components, "separation": config.source.separation},
            np.asarray(worlds),
            n,
            most=max(config.coarse),
            noise_std=config.noise_std,
            evaluation=config.evaluation,
        )
        chunk = self._run.launch.chunk or CHUNK
        found = self._run.ensemble(part, self._member, points | {"p": jnp.asarray(p)}, chunk=chunk)
        need_finite("refined_boundary", np.asarray(found["finite"]).all(keepdims=True), config.training.learning_rate)
        index = np.asarray(found["index"], float)
        self.rows += [(number, *place, float(value)) for place, value in zip(places, index, strict=True)]

    def lines(self) -> dict[int, dict[int, list[float]]]:
        """p -> n -> index of the nets there."""
        found: dict[int, dict[int, list[float]]] = {p: {} for p in self._config.widths}
        for _, p, n, value in self.rows:
            found[p].setdefault(n, []).append(value)
        return found


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Rounds, then the uniform grid of equal cost; bands after every round."""
    grid = config.uniform()
    models = config.cost + len(grid) * len(config.widths) * config.replicates
    run.expect(models, models * config.training.steps)
    nets, uniform = _Nets(config, run), _Nets(config, run)
    nets.train("coarse", 0, [(p, n) for p in config.widths for n in config.coarse for _ in range(config.replicates)])
    history = [_bands(config, nets.lines())]
    costs = [len(nets.rows)]
    for number in range(1, config.rounds + 1):
        places = refinement.plan(nets.lines(), history[-1], config.budget, finest=config.finest)
        if places:
            nets.train(f"round-{number}", number, places)
        history.append(_bands(config, nets.lines()))
        costs.append(len(nets.rows))
    uniform.train(
        "uniform", 0, [(p, n) for p in config.widths for n in grid for _ in range(config.replicates)], UNIFORM
    )
    beside = [_bands(config, uniform.lines())]
    data = xr.merge(
        [
            _told("refined", history, costs, config.widths),
            _told("uniform", beside, [len(uniform.rows)], config.widths),
            _flat("refined", nets.rows),
            _flat("uniform", uniform.rows),
        ]
    )
    data["difference"] = (("p", "end"), _differences(history[-1], beside[-1], config.widths))
    return data.assign_coords(p=list(config.widths), end=["low", "high"]).assign_attrs(
        level=LEVEL, low=LOW, data=config.source.data, steps=config.training.steps
    )


def _bands(config: Config, lines: Mapping[int, Line]) -> dict[int, Band]:
    numbers = {"level": LEVEL, "below": LOW, "resamples": config.resamples}
    return {p: refinement.locate(line, config.seed + p, **numbers) for p, line in lines.items()}


def _told(name: str, history: list[dict[int, Band]], costs: list[int], widths: tuple[int, ...]) -> xr.Dataset:
    """Cost and bands, along `NAME_stage`."""
    stage = f"{name}_stage"
    fields = {
        f"{name}_{what}": ((stage, "p"), np.asarray([[getattr(bands[p], what) for p in widths] for bands in history]))
        for what in ("location", "low", "high", "found", "width")
    }
    return xr.Dataset({**fields, f"{name}_cost": (stage, costs)})


def _flat(name: str, rows: list[tuple[int, int, int, float]]) -> xr.Dataset:
    """Every net, along `NAME_net`."""
    number, p, n, index = (np.asarray(values) for values in zip(*rows, strict=True))
    fields = {"round": number, "p_of": p, "n_of": n, "index": index.astype(np.float32)}
    return xr.Dataset({f"{name}_{what}": (f"{name}_net", values) for what, values in fields.items()})


def _differences(refined: dict[int, Band], uniform: dict[int, Band], widths: tuple[int, ...]) -> np.ndarray:
    """95 % band of log(refined/uniform) of every line's boundary, (P, 2); both are resampled on their own."""
    ends = []
    for p in widths:
        gap = np.log(refined[p].resamples / uniform[p].resamples)
        gap = gap[np.isfinite(gap)]
        ends.append(np.quantile(gap, [0.025, 0.975]) if gap.size else np.full(2, np.nan))
    return np.asarray(ends)


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Boundaries, whether both grids agree on them, and the band at equal cost."""
    rows = []
    last, beside = data.isel(refined_stage=-1), data.isel(uniform_stage=-1)
    for p in data["p"].values:
        at = last.sel(p=p)
        if np.isfinite(at["refined_location"]):
            middle, low, high = (float(at[f"refined_{what}"]) for what in ("location", "low", "high"))
            claim = f"boundary in n at p = {p}: index = {LEVEL:g}"
            rows.append(compare.interval(claim, "(3), (4)", middle, low, high))
        middle = float(np.log(at["refined_location"] / beside["uniform_location"].sel(p=p)))
        if np.isfinite(middle):
            low, high = (float(end) for end in data["difference"].sel(p=p))
            claim = f"log of the boundary at p = {p}, refined over uniform"
            rows.append(compare.interval(claim, "0: one boundary, whatever the grid", middle, low, high, 0.0))
    if not _shared(data).any():
        return rows
    costs = int(last["refined_cost"]), int(beside["uniform_cost"])
    claim = f"width of the bands, {costs[0]} nets in rounds over {costs[1]} on a uniform grid, geometric mean of lines"
    ratio = _mean_width(data, "refined")[-1] / _mean_width(data, "uniform")[-1]
    rows.append(compare.number(claim, "½: the band halves", ratio, 0.5, relation="≤"))
    growth = int(last["refined_cost"]) / int(data["refined_cost"][0])
    claim = f"width of the bands after the rounds, at {growth:.2g} times the nets, over that of the first round"
    rows.append(compare.number(claim, "band/band", _mean_width(data, "refined")[-1] / _mean_width(data, "refined")[0]))
    claim = "share of the uniform grid's nets with which the rounds reach its band"
    rows.append(compare.number(claim, "cost/cost", cost_to_reach(data) / costs[1]))
    return rows


def _mean_width(data: xr.Dataset, name: str) -> np.ndarray:
    """Geometric mean of log(high/low) over the lines of `_shared`, at every stage; NaN without any."""
    widths = data[f"{name}_width"].values[:, _shared(data)]
    return np.exp(np.log(widths).mean(axis=1)) if widths.size else np.full(len(widths), np.nan)


def _shared(data: xr.Dataset) -> np.ndarray:
    """Lines that end with a boundary on both grids."""
    ends = [data[f"{kind}_width"].isel({f"{kind}_stage": -1}).values for kind in ("refined", "uniform")]
    return np.all(np.isfinite(ends), axis=0)


def cost_to_reach(data: xr.Dataset) -> float:
    """Nets after the first round whose mean band is no wider than the whole uniform grid's; NaN if there is none."""
    reached = np.flatnonzero(_mean_width(data, "refined") <= _mean_width(data, "uniform")[-1])
    return float(data["refined_cost"][reached[0]]) if reached.size else float("nan")


def describe(data: xr.Dataset) -> str:
    """Cost against band, round by round."""
    header = ["", "nets", "band", *(f"p = {p}" for p in data["p"].values)]
    cells = []
    for name in ("refined", "uniform"):
        for stage, mean in enumerate(_mean_width(data, name)):
            at = data.isel({f"{name}_stage": stage})
            bands = [f"{at[f'{name}_low'].sel(p=p):.3g}-{at[f'{name}_high'].sel(p=p):.3g}" for p in data["p"].values]
            word = f"round {stage}" if name == "refined" else "uniform"
            cells.append([word, int(at[f"{name}_cost"]), f"{mean:.3f}", *bands])
    words = (
        f"boundary in n: index falls below {LEVEL:g} on its way to {LOW:g} or less, of the mean over nets at every n;"
        " 95 % bands from resampled nets; band: log(high/low), geometric mean over lines"
    )
    return f"{launch.wrap(words)}\n{launch.table(cells, header)}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
