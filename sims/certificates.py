"""What do trained nets converge to? An Adam-trained ensemble, polished and certified in one program.

Adam ends near a point where the exact objective (6) is stationary; polishing takes each net there, and its certificate
says what it is: a saddle, a minimum in which a new neuron would grow, or one over all widths. On a simplex of samples
theory knows the last one, (9), so that every verdict can be checked against the samples that the net holds.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import certify, data, risk, theory
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from dae_theory.symmetry import match, merge_parallel
from dae_theory.training import Settings, train
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Train nets of several widths on a simplex of samples, polish them to stationary points, and certify those."""

    seeds: int = 16
    """Nets of every width."""
    seed: int = 0
    """Root of all randomness."""
    widths: tuple[int, ...] = (4, 5, 6, 8, 10)
    """p, the numbers of neurons."""
    samples: int = 5
    """n of the simplex."""
    dimension: int = 8
    """d."""
    radius: float = 3.0
    """Norm of the samples."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    weight_decay: float = 1e-2
    """λ of the objective (6)."""
    steps: int = 4000
    """Optimizer steps (Adam, warm-up and cosine decay)."""
    learning_rate: float = 1e-2
    """Highest learning rate of the schedule."""
    draws: int = 60
    """Noisy samples a step."""
    tolerance: float = 1e-9
    """Gradient norm that polishing goes for."""
    starts: int = 16
    """Ascents in each search for a growing neuron."""


SMOKE = {"seeds": 2, "widths": (3, 4), "samples": 4, "dimension": 4, "steps": 200, "starts": 4}
STORED = 0.99  # cosine from which on a neuron counts as holding a sample


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if config.seeds < 2:
        raise ValueError(f"--seeds must be at least 2; got {config.seeds}")
    if len(set(config.widths)) != len(config.widths) or not config.widths or min(config.widths) < 1:
        raise ValueError(f"--widths must be distinct positive numbers; got {config.widths}")
    if not 2 <= config.samples <= config.dimension + 1:
        raise ValueError(f"--samples must be from 2 to dimension + 1 = {config.dimension + 1}; got {config.samples}")
    limits.at_least(config, steps=1, draws=1, starts=1)
    limits.above_zero(config, "radius", "noise_std", "tolerance", "weight_decay", "learning_rate")
    most = certify.LARGEST // (2 * config.dimension)
    if max(config.widths) > most:
        raise ValueError(f"--widths must be at most {most}, for Hessians that fit in memory; got {max(config.widths)}")
    if config.samples * config.weight_decay >= config.radius**2:
        raise ValueError(f"--weight-decay must be below radius²/samples; got {config.weight_decay}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train, polish and certify every net, and the minimizer next to (9) beside them."""
    grid = Grid(p=sorted(config.widths), seed=range(config.seeds))
    x = data.simplex_means(
        derive(jax.random.key(config.seed), "simplex"),
        dimension=config.dimension,
        components=config.samples,
        radius=config.radius,
    )
    run.expect(grid.size, grid.size * config.steps)
    # the last member is not trained: it starts from (9), in the same program
    nets = {**grid.points(), "stored": np.zeros(grid.size, bool)}
    last = {"p": config.samples, "seed": 0, "stored": True}
    points = {name: np.append(values, np.asarray(last[name], values.dtype)) for name, values in nets.items()}
    # a certificate decomposes matrices: members go one by one
    member = partial(_member, config=config, width=max(*config.widths, config.samples))
    results = run.ensemble("nets", member, points, x, group=1)
    dataset = grid.dataset({name: values[:-1] for name, values in results.items()})
    return dataset.assign_attrs(
        verdicts=list(certify.VERDICTS),
        **{f"stored_{name}": float(results[name][-1]) for name in ("loss", "growth", "gradient", "code")},
        samples=config.samples,
        starts=config.starts,
        tolerance=config.tolerance,
        data=f"simplex of n = {config.samples} samples of norm {config.radius:g} in d = {config.dimension},"
        f" σ = {config.noise_std:g}, λ = {config.weight_decay:g}",
    )


def _member(point: dict[str, Any], x: Any, *, config: Config, width: int) -> dict[str, Any]:
    """One net: trained in float32, polished and certified in float64."""
    numbers: dict[str, Any] = {"noise_std": config.noise_std, "weight_decay": config.weight_decay}
    settings = Settings(
        **numbers,
        learning_rate=config.learning_rate,
        steps=config.steps,
        width=width,
        batch_size=max(config.draws, config.samples),
    )
    key = derive(jax.random.key(config.seed), "net", point["p"], point["seed"])
    trained = train(key, x.astype(jnp.float32), settings, neurons=point["p"]).weights
    stored = theory.memorizing_weights(x, **numbers, width=width)
    trained = jax.tree.map(lambda w, s: jnp.where(point["stored"], s, w.astype(jnp.float64)), trained, stored)
    loss, gradient = jax.value_and_grad(lambda weights: risk.expected_loss(weights, x, **numbers))(trained)
    polished = certify.polish(trained, x, **numbers, tolerance=config.tolerance)
    found = certify.certify(
        polished.weights, x, **numbers, neurons=point["p"], tolerance=10 * config.tolerance, starts=config.starts
    )
    held = match(merge_parallel(polished.weights).weights, stored).cosine
    return {
        "trained_loss": loss,
        "trained_gradient": jnp.sqrt(sum(jnp.sum(part**2) for part in jax.tree.leaves(gradient))),
        "loss": found.loss,
        "gradient": found.gradient_norm,
        "converged": polished.converged,
        "curvature": found.smallest_curvature,
        "growth": found.growth,
        "flat": found.flat_directions,
        "predicted_flat": found.predicted_flat_directions,
        "zero": found.zero_neurons,
        "code": found.code,
        "stored": jnp.sum(held > STORED),
    }


def report(data: xr.Dataset) -> str:
    """Share of every verdict, what it took, and whether the verdicts are right."""
    words = [verdict.replace(" N ", f" {data.attrs['starts']} ") for verdict in data.attrs["verdicts"]]
    shares = [f"  {_share(data['code'] == code):>6}  {verdict}" for code, verdict in enumerate(words)]
    rows = []
    for width in data["p"].values:
        at = data.sel(p=width)
        rows.append(
            [
                f"{width}",
                *(f"{_share(at['code'] == code)}" for code in range(len(words))),
                f"{float((at['stored'] == data.attrs['samples']).mean()):.0%}",
                f"{float(at['converged'].mean()):.0%}",
                f"{float(at['trained_gradient'].median()):.0e}",
                f"{float(at['gradient'].max()):.0e}",
                f"{float((at['trained_loss'] / at['loss'] - 1).median()):.1e}",
                f"{float(at['growth'].median()):.3g}",
            ]
        )
    whole, best = data["code"] == certify.GLOBAL, data.attrs["stored_loss"]
    excess = data["loss"] / best - 1
    all_stored = data["stored"] == data.attrs["samples"]
    bound = (data["loss"] / np.maximum(data["growth"], 1) <= best * (1 + 1e-9)) | (data["code"] == 0)
    header = [
        "p", "not st.", "saddle", "local", "grows", "global", "all stored", "polished", "‖∂‖ trained", "‖∂‖ left (max)",
        "loss gained", "growth",
    ]  # fmt: skip
    return "\n".join(
        [
            f"{data.attrs['data']}; {data.sizes['seed']} nets a width, trained with Adam, polished and certified in one"
            " program",
            f"theory's minimizer, polished from (9): loss {best:.8g},"
            f" gradient {data.attrs['stored_gradient']:.0e}, growth {data.attrs['stored_growth']:.6f}:"
            f" {words[int(data.attrs['stored_code'])]}",
            "",
            launch.table(rows, header),
            "",
            f"share of every verdict, {data['code'].size} nets:",
            *shares,
            "",
            f"nets called global minimum hold all samples: {_of(all_stored, whole)}; their loss is that of (9) to"
            f" {float(np.abs(excess.where(whole)).max()):.0e}",
            f"nets that hold all samples are called global minimum: {_of(whole, all_stored)}",
            f"loss over growth, the bound for all widths, is below the loss of (9): {_of(bound, data['code'] > 0)}",
        ]
    )


def _share(happened: xr.DataArray) -> str:
    return f"{float(happened.mean()):.0%}"


def _of(happened: xr.DataArray, among: xr.DataArray) -> str:
    return f"{int((happened & among).sum())} of {int(among.sum())}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
