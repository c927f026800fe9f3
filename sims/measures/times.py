"""Curves of one run over its records, and what they say: when it generalizes and memorizes, and how that scales."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from dae_theory import compare, dynamics, risk, theory
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive
from sims.measures.boundaries import INDEX
from sims.worlds.sources import Source, TrainingRows, World

COSTS = {  # what is stopped at, as a multiple of a time; the test loss there over the run's lowest is what it costs
    "cost_early": ("generalizing", 1 / 3),
    "cost_at_memorizing": ("memorizing", 1.0),
    "cost_late": ("memorizing", 3.0),
}
STOPS = {
    "cost_early": "τ_gen/3, before the window",
    "cost_at_memorizing": "τ_mem, the end of the window",
    "cost_late": "3 τ_mem, after the window",
    "cost_at_the_end": "the last step",
}
LAWS = (("generalizing", "τ_gen", "τ_gen constant", 0.0), ("memorizing", "τ_mem", "τ_mem ∝ n", 1.0))
LOW = 0.45  # a run whose index never comes down to this has no generalizing phase; that of f = 0 is just below ½


def curves(
    path: Weights, rows: TrainingRows, world: World, key: Array, source: Source, *, noise_std: float, evaluation: int
) -> dict[str, Array]:
    """Index and test loss at every record; the noise of evaluation is the same at all of them."""
    x, sigma = rows.x.astype(jnp.float64), noise_std
    clean = x[jnp.arange(evaluation) % rows.samples]
    y = clean + sigma * jax.random.normal(derive(key, "evaluation"), clean.shape, clean.dtype)
    truth = source.truth_denoiser(world.truth, sigma)(y)
    empirical = theory.empirical_denoiser(x, sigma, samples=rows.samples)(y)
    fresh = world.fresh + sigma * jax.random.normal(derive(key, "fresh"), world.fresh.shape, world.fresh.dtype)

    def measure(matrices: tuple[Array, Array]) -> dict[str, Array]:
        weights = Weights(*(matrix.astype(jnp.float64) for matrix in matrices))
        output = denoise(weights, y)
        to_truth, to_empirical = (jnp.sum((output - other) ** 2) for other in (truth, empirical))
        if source.is_mixture:
            loss = risk.mixture_loss(weights, world.truth, noise_std=sigma)
        else:
            loss = jnp.mean(jnp.sum((denoise(weights, fresh) - world.fresh) ** 2, axis=1))
        return {"index": to_truth / (to_truth + to_empirical), "test_loss": loss}

    return jax.lax.map(measure, (path.decoder, path.encoder))


def timed(dataset: xr.Dataset) -> xr.Dataset:
    """Both times of every run, in steps (of the flow: of the descent that follows it), and what the window is worth."""
    curves = dataset.transpose(..., "step")
    dims = curves["index"].dims[:-1]
    steps = curves["step"].values
    for name, found in (
        ("generalizing", dynamics.generalizing_time(steps, curves["test_loss"].values)),
        ("memorizing", dynamics.memorizing_time(steps, curves["index"].values, below=LOW)),
    ):
        dataset[f"{name}_time"] = dims, found.time
        dataset[f"{name}_censored"] = dims, found.censored
        dataset[f"{name}_early"] = dims, found.early
    seen = {name: ~dataset[f"{name}_censored"] & ~dataset[f"{name}_early"] for name in ("generalizing", "memorizing")}
    lowest = dataset["test_loss"].min("step")
    for cost, (name, factor) in COSTS.items():
        at = factor * dataset[f"{name}_time"].where(seen[name])
        dataset[cost] = dims, _at(steps, curves["test_loss"].values, at.transpose(*dims).values) / lowest.values
    dataset["cost_at_the_end"] = dataset["test_loss"].isel(step=-1, drop=True) / lowest
    return dataset


def _at(steps: np.ndarray, curves: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Every curve at its own time, linear in log t between records; NaN at a time that was not recorded or is NaN."""
    found = [
        np.interp(np.log(time), np.log(steps), curve, left=np.nan, right=np.nan)
        for curve, time in zip(curves.reshape(-1, len(steps)), times.ravel(), strict=True)
    ]
    return np.reshape(found, times.shape)


def scaled(dataset: xr.Dataset, key: Array) -> xr.Dataset:
    """Exponents of both times in n, with intervals over seeds, for every rule, p and λ."""
    for name in ("generalizing", "memorizing"):
        parts = [dataset[f"{name}_{what}"].transpose(..., "seed", "n") for what in ("time", "censored", "early")]
        dims, shape = parts[0].dims[:-2], parts[0].shape[:-2]
        fits = [
            dynamics.scaling_exponent(
                derive(key, name, place), dataset["n"].values, *(part.values[at] for part in parts)
            )
            for place, at in enumerate(np.ndindex(shape))
        ]
        for what in ("exponent", "low", "high", "known", "censored", "early", "missing"):
            values = np.asarray([getattr(fit, what) for fit in fits]).reshape(shape)
            dataset[f"{name}_fit_{what}"] = dims, values
    return dataset


def of_map(data: xr.Dataset, key: Array) -> xr.Dataset:
    """A phase diagram over time with both times of every net, and over n their exponents, named as in `timed`."""
    curves = data[[INDEX, "test_loss"]].rename({INDEX: "index", "steps": "step"})
    found = timed(curves.map(lambda curve: curve.where(np.isfinite(curve))))  # diverged nets end before their run
    if "n" in found.dims:
        found = scaled(found, key)
    names = [name for name in found if str(name).startswith(("generalizing_", "memorizing_"))]
    return data.assign({name: (found[name].dims, found[name].values) for name in names})


def exponents(here: xr.Dataset, words: str) -> list[compare.Row]:
    """Both exponents of one rule, p and λ beside Bonnaire et al.'s; where too few runs cross, how many do."""
    rows = []
    for name, symbol, law, predicted in LAWS:
        exponent, low, high = (float(here[f"{name}_fit_{what}"]) for what in ("exponent", "low", "high"))
        known, later, early = (int(here[f"{name}_fit_{what}"]) for what in ("known", "censored", "early"))
        crossed = f"{known} of {known + later + early} runs that generalize cross"
        unknown = {"generalizing": f"τ_gen is seen in {known} of {known + later + early} runs", "memorizing": crossed}
        claim, label = f"exponent of {symbol} in n; {words}", f"Bonnaire et al. 2025: {law}"
        rows.append(compare.interval(claim, label, exponent, low, high, predicted, unknown=unknown[name]))
    return rows


def costs(here: xr.Dataset, words: str) -> list[compare.Row]:
    """What the test loss costs at each stop, in units of the run's lowest: mean over the runs that reach it."""
    rows = []
    for name, stop in STOPS.items():
        values = here[name].values[here["index"].notnull().any("step").values]
        reached = values[np.isfinite(values)]
        claim = f"test loss at {stop}, over the lowest; {words}"
        label = f"early stopping, {reached.size} of {values.size} runs"
        if reached.size:
            rows.append(compare.mean(claim, label, reached))
        else:
            rows.append(compare.interval(claim, label, np.nan, np.nan, np.nan, unknown="no run gets there"))
    return rows
