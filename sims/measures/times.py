"""Curves of one run over its records, and what they say: when it generalizes and memorizes, and how that scales."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from dae_theory import dynamics, risk, theory
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive
from sims.worlds.sources import Source, TrainingRows, World

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
    lowest = dataset["test_loss"].min("step")
    dataset["cost_at_the_end"] = dataset["test_loss"].isel(step=-1) / lowest
    memorized = ~dataset["memorizing_censored"] & dataset["memorizing_time"].notnull()
    apart = xr.ufuncs.fabs(xr.ufuncs.log(dataset["step"] / dataset["memorizing_time"]))
    at = apart.fillna(np.inf).argmin("step")
    dataset["cost_at_memorizing"] = (dataset["test_loss"].isel(step=at) / lowest).where(memorized).drop_vars("step")
    return dataset


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
