r"""In which order does a net learn the principal components of its data, how fast, and what do biases change?

The exact flow on the population (n → ∞) from small random weights, with and without biases of the encoder:

gaussian  one centred Gaussian; a ReLU neuron answers to half of it, so a direction of energy e pulls with G = e/2
clusters  two clusters around ±m; a neuron answers to one of them, whose direction of energy e pulls with G = ρe

A gain a, quadratic in the weights, then grows alone at the rate 4(G − λ) [X5] up to its end (G − λ)/(G + Gσ²/e) of
Cor. 3.3: logistic, from a tenth to half of the end within log 9/(4(G − λ)). From weights whose components along the
direction are s and t, a(0) = ‖s + t‖²/8, it would be at half of the end at τ = log(end/a(0) − 1)/(4(G − λ)).

Without biases f is linear only in mirrored pairs (Refinetti & Goldt 2022 call it the weak case): two neurons a
direction. With biases a neuron whose gate stays open is linear by itself, up to a constant that one more neuron takes.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from dae_theory import compare, dynamics, theory, training
from dae_theory.data import GaussianMixture
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import principal
from sims.worlds import populations
from sims.worlds.populations import PopulationsConfig

RECORDS = 400  # times of a flow, log-spaced over three decades
DRAWN = 4  # every fourth of them is kept, of the first seed
TENTH, HALF = 0.1, 0.5  # of a gain's end; learned: it comes to half
NAMES = {False: "without biases", True: "with biases"}


@dataclass(frozen=True)
class Config:
    """Follow the flow on a population from small weights and see when each principal direction is learned."""

    population: PopulationsConfig = field(default_factory=PopulationsConfig)
    widths: tuple[int, ...] = (4, 5, 6, 8, 16)
    """p."""
    seeds: int = 8
    """Initial weights for every p; the same with and without biases, which start at 0."""
    seed: int = 0
    """Root of all randomness."""
    noise_std: float = 0.2
    """σ."""
    weight_decay: float = 1e-3
    """λ of (6)."""
    init_scale: float = 0.01
    """Expected norm of an initial column."""
    duration: float = 100.0
    """Time of the flow; η · steps of the descent that follows it."""
    tolerance: float = 1e-6
    """Of a step of the solver."""

    @property
    def times(self) -> np.ndarray:
        """When the gains are measured."""
        return np.geomspace(self.duration / 1000, self.duration, RECORDS)


SMOKE = {
    "energies": (2.0, 1.0),
    "cluster_energies": (1.0,),
    "dimension": 3,
    "widths": (4,),
    "seeds": 2,
    "duration": 20.0,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    config.population.check()
    limits.distinct(config, "widths")
    limits.at_least(config, widths=1, seeds=2, weight_decay=0)
    limits.above_zero(config, "noise_std", "init_scale", "duration", "tolerance")
    return replace(config, widths=tuple(sorted(config.widths)), population=config.population.sorted())


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Gains over time, and when each direction is at a tenth and at half of its end."""
    cases = config.population.mixtures()
    grid = Grid(p=config.widths, seed=range(config.seeds))
    run.expect(2 * len(cases) * grid.size, 0)
    parts = []
    for name, mixture in cases.items():
        own = populations.spectrum(mixture)
        both: list[xr.Dataset] = []
        for biased in NAMES:
            member = partial(_member, mixture=mixture, own=own, biased=biased, config=config)
            found = run.ensemble(f"{name}-{biased:d}", member, grid.points(), group=1)
            behind = {"gain": ("component", "own", "time"), "start": ("component", "own")}
            both.append(grid.dataset(found, behind))
        parts.append(_timed(config, xr.concat(both, "biases"), own))
    dataset = xr.concat(parts, "data", join="outer")
    return dataset.assign_coords(
        data=list(cases), biases=list(map(int, NAMES)), time=config.times[::DRAWN]
    ).assign_attrs(noise_std=config.noise_std, weight_decay=config.weight_decay, rank=len(config.population.energies))


def _member(
    point: dict[str, Array], _: Any, *, mixture: GaussianMixture, own: theory.Spectrum, biased: bool, config: Config
) -> dict[str, Array]:
    """One flow; narrower nets have columns of zeros, which stay zero."""
    key, widest = derive(jax.random.key(config.seed), "weights", point["seed"]), max(config.widths)
    start = training.initial_weights(
        key,
        config.population.dimension,
        widest,
        scale=config.init_scale,
        tied=False,
        neurons=point["p"],
        dtype=jnp.dtype("float64"),
    )
    along = jnp.einsum("kdj,dp->kjp", own.directions, start.decoder + start.encoder)
    if biased:
        start = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.zeros_like(leaf[:1])]), start)
    flow = dynamics.gradient_flow(
        start,
        mixture,
        times=config.times,
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        tolerance=config.tolerance,
        with_biases=biased,
    )

    def measure(matrices: tuple[Array, Array]) -> Array:
        return principal.gains(Weights(*matrices), mixture, own, config.noise_std)

    curves = jax.lax.map(measure, (flow.weights.decoder, flow.weights.encoder))
    return {
        "gain": jnp.moveaxis(curves, 0, -1),
        "start": jnp.sum(along**2, axis=-1) / 8,
        "objective": flow.loss[-1],
        "converged": flow.converged,
    }


def _timed(config: Config, found: xr.Dataset, own: theory.Spectrum) -> xr.Dataset:
    """Directions of all components in one row, from the strongest pull on, with the law's numbers and the times."""
    share = np.asarray(own.proportions)
    share = share / 2 if len(share) == 1 else share  # a neuron answers to half of a Gaussian
    energy = np.asarray(own.eigenvalues)
    pull = (share[:, None] * energy).ravel()
    order = np.argsort(-pull, kind="stable")
    end = ((share[:, None] * energy - config.weight_decay) / (share[:, None] * (energy + config.noise_std**2))).ravel()
    flat = (
        found.stack(direction=("component", "own")).isel(direction=order).drop_vars(("direction", "component", "own"))
    )
    place = {"direction": np.arange(len(order))}
    flat = flat.assign_coords(place)
    pull, end = (xr.DataArray(values[order], dims="direction", coords=place) for values in (pull, end))
    part = (flat["gain"] / end).transpose("biases", "p", "seed", "direction", "time")
    times = {level: principal.reached(config.times, part.values, level) for level in (TENTH, HALF)}
    rate = 4 * (pull - config.weight_decay)
    start = flat["start"].isel(biases=0, drop=True) / end
    return xr.Dataset(
        {
            "gain": part.isel(seed=0, time=slice(None, None, DRAWN)).astype(np.float32),
            "half": (part.dims[:-1], times[HALF]),
            "rise": (part.dims[:-1], times[HALF] - times[TENTH]),
            "alone": np.log(1 / start - 1) / rate,
            "start": start,
            "pull": pull,
            "objective": found["objective"],
            "converged": found["converged"],
        }
    )


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Order, rates and times beside those of a direction alone; how many are learned by how many neurons."""
    rows, widest = [], data["p"].values[-1]
    law = 4 * (data["pull"] - data.attrs["weight_decay"])
    for case in data["data"].values:
        for biased, words in NAMES.items():
            at = data.sel(data=case, biases=int(biased))
            ordered = _ordered(at)
            for place, width in enumerate(data["p"].values):
                claim = f"{case}, {words}, p = {width}: runs that learn directions in the order of their pulls"
                rows.append(compare.share(claim, "[X5]  G_1 > G_2 > …", ordered[place].sum(), data.sizes["seed"], 1.0))
            ratio = (at["rise"] * law.sel(data=case) / np.log(9)).sel(p=widest).values
            claim = f"{case}, {words}, p = {widest}: time from a tenth to half of the end, over the law's"
            rows.append(
                compare.mean(claim, "[X5]  log 9/(4(G − λ)), to 10 %", ratio[np.isfinite(ratio)], 1.0, tolerance=0.1)
            )
    alone = data.sel(data="gaussian", biases=0, p=widest)
    for place in range(data.attrs["rank"]):
        at = alone.isel(direction=place)
        claim = f"gaussian, without biases, p = {widest}, G = {float(at['pull']):g}: time of half over that alone"
        rows.append(compare.mean(claim, "[X5]  τ of the direction alone", (at["half"] / at["alone"]).values, 1.0))
    return [*rows, *_learned(data)]


def _ordered(at: xr.Dataset) -> np.ndarray:
    """Whether no direction of a run comes before one of a stronger pull; one not learned comes last."""
    times = at["half"].transpose("p", "seed", "direction").fillna(np.inf).values
    pull = at["pull"].values
    earlier = pull[:, None] > pull[None, :]  # NaN where there is no direction: compares as False
    return ~np.any(earlier & (times[..., :, None] > times[..., None, :]), axis=(-2, -1))


def _learned(data: xr.Dataset) -> list[compare.Row]:
    """How many directions of the Gaussian p neurons learn, and at what price."""
    rows, gaussian, rank = [], data.sel(data="gaussian"), data.attrs["rank"]
    for width in data["p"].values:
        at = gaussian.sel(p=width)
        count = at["half"].notnull().sum("direction")
        for biased, words in NAMES.items():
            linear = min(width - 1 if biased else width // 2, rank)
            predicted = linear if biased or width % 2 == 0 else None  # one neuron learns half of a direction
            label = "one neuron a direction and one for the constant" if biased else "two neurons a direction"
            learned = count.sel(biases=int(biased)).values
            claim = f"gaussian, {words}, p = {width}: directions learned of {rank}"
            rows.append(compare.mean(claim, label, learned))
            if predicted is not None:
                claim = f"gaussian, {words}, p = {width}: runs that learn {predicted} directions"
                rows.append(compare.share(claim, label, (learned == predicted).sum(), learned.size, 1.0))
        ratio = (at["objective"].sel(biases=1) / at["objective"].sel(biases=0)).values
        rows.append(compare.mean(f"gaussian, p = {width}: objective with biases over without", "(6), n → ∞", ratio))
    return rows


def describe(data: xr.Dataset) -> str:
    """A line for every direction and width: when it is learned, in how many runs."""
    head = ["data", "biases", "p", "G", "learned", "time of half", "alone", "tenth to half", "law"]
    lines = []
    for case in data["data"].values:
        for biased in data["biases"].values:
            for width in data["p"].values:
                at = data.sel(data=case, biases=biased, p=width)
                lines += [_line(at.isel(direction=place), width) for place in np.flatnonzero(at["pull"].notnull())]
    lost = int((data["converged"] == 0).sum())
    return "\n".join([launch.table(lines, head), *([f"{lost} flows ended before their time"] if lost else [])])


def _line(at: xr.Dataset, width: int) -> list[str]:
    names = ("half", "alone", "rise")
    half, alone, rise = (float(at[name].median("seed")) for name in names)
    law = np.log(9) / (4 * (float(at["pull"]) - at.attrs["weight_decay"]))
    known = str(at["data"].values) == "gaussian"
    return [
        str(at["data"].values),
        "yes" if int(at["biases"]) else "no",
        f"{width}",
        f"{float(at['pull']):g}",
        f"{int(at['half'].notnull().sum())} of {at.sizes['seed']}",
        *("" if np.isnan(value) else f"{value:.2f}" for value in (half, alone if known else np.nan, rise, law)),
    ]


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
