"""What do trained nets converge to? An Adam-trained ensemble, polished and certified in one program.

Adam ends near a point where the exact objective (6) is stationary; polishing takes each net there, and its certificate
says what it is: a saddle, a minimum in which a new neuron would grow, or one over all widths. On a simplex of samples
theory knows the last one, (9), so that every verdict can be checked against the samples that the net holds.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import certify, compare, risk, theory
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from dae_theory.symmetry import match, merge_parallel
from dae_theory.training import train
from sims import launch
from sims.launch import limits
from sims.measures import verdicts
from sims.nets.training import TrainingConfig
from sims.worlds.simplex import SimplexConfig


@dataclass(frozen=True)
class Config:
    """Train nets of several widths on a simplex of samples, polish them to stationary points, and certify those."""

    seeds: int = 16
    """Nets of every width."""
    seed: int = 0
    """Root of all randomness."""
    widths: tuple[int, ...] = (4, 5, 6, 8, 10)
    """p, the numbers of neurons."""
    simplex: SimplexConfig = field(default_factory=lambda: SimplexConfig(dimension=8))
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    weight_decay: float = 1e-2
    """λ of the objective (6)."""
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(batch_size=60, learning_rate=1e-2))
    tolerance: float = 1e-9
    """Gradient norm that polishing goes for."""
    starts: int = 16
    """Ascents in each search for a growing neuron."""


SMOKE = {"seeds": 2, "widths": (3, 4), "samples": 4, "dimension": 4, "steps": 200, "starts": 4}
CERTIFICATE = "(6)  G = max_u ‖g(u)‖ ≤ λ: global over all widths"
STORED = 0.99  # cosine from which on a neuron counts as holding a sample


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    config.simplex.check(config.weight_decay)
    config.training.check()
    limits.distinct(config, "widths")
    limits.at_least(config, seeds=2, widths=1, starts=1)
    limits.above_zero(config, "noise_std", "tolerance")
    most = certify.LARGEST // (2 * config.simplex.dimension)
    if max(config.widths) > most:
        raise Refusal(f"--widths must be at most {most}, for Hessians that fit in memory; got {max(config.widths)}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train, polish and certify every net, and the minimizer next to (9) beside them."""
    grid = Grid(p=sorted(config.widths), seed=range(config.seeds))
    simplex = config.simplex
    x = simplex.draw(jax.random.key(config.seed))
    run.expect(grid.size, grid.size * config.training.steps)
    # the last member is not trained: it starts from (9), in the same program
    nets = {**grid.points(), "stored": np.zeros(grid.size, bool)}
    last = {"p": simplex.samples, "seed": 0, "stored": True}
    points = {name: np.append(values, np.asarray(last[name], values.dtype)) for name, values in nets.items()}
    # a certificate decomposes matrices: members go one by one
    member = partial(_member, config=config, width=max(*config.widths, simplex.samples))
    results = run.ensemble("nets", member, points, x, group=1)
    dataset = grid.dataset({name: values[:-1] for name, values in results.items()})
    return dataset.assign_attrs(
        verdicts=list(certify.VERDICTS),
        **{f"stored_{name}": float(results[name][-1]) for name in ("loss", "growth", "gradient", "code")},
        samples=simplex.samples,
        starts=config.starts,
        tolerance=config.tolerance,
        data=f"simplex of n = {simplex.samples} samples of norm {simplex.radius:g} in d = {simplex.dimension},"
        f" σ = {config.noise_std:g}, λ = {config.weight_decay:g}",
    )


def _member(point: dict[str, Any], x: Any, *, config: Config, width: int) -> dict[str, Any]:
    """One net: trained in float32, polished and certified in float64."""
    numbers: dict[str, Any] = {"noise_std": config.noise_std, "weight_decay": config.weight_decay}
    settings = config.training.settings(**numbers, width=width)
    settings = replace(settings, batch_size=max(config.training.batch_size, config.simplex.samples))
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


def judge(data: xr.Dataset) -> list[compare.Row]:
    """What nets that hold every sample are, and those that miss one; how many nets there are of each; the bound."""
    return [*_shares(data), *_numbers(data)]


def _shares(data: xr.Dataset) -> list[compare.Row]:
    """Of all nets, of those that hold every sample and those that do not, and on both sides of p = n."""
    samples, stationary = data.attrs["samples"], data["converged"] == 1
    holds, optimal, grows = data["stored"] == samples, data["code"] == certify.GLOBAL, data["growth"] > 1
    nets = xr.ones_like(holds)
    narrow, wide = nets & (data["p"] < samples), nets & (data["p"] >= samples)
    trials = [
        ("polished nets that are stationary", "(6)  ∂L = 0", stationary, nets, 1.0),
        ("of the nets that hold every sample, those certified global minima", CERTIFICATE, optimal, holds, 1.0),
        ("of the nets certified global minima, those that hold every sample", CERTIFICATE, holds, optimal, 1.0),
        ("of the nets that miss a sample, those in which a new neuron would grow", CERTIFICATE, grows, ~holds, 1.0),
        (f"nets with p < n = {samples} that are global minima", CERTIFICATE, optimal, narrow, 0.0),
        (f"nets with p ≥ n = {samples} that hold every sample", "(9)", holds, wide, None),
    ]
    return [
        compare.share(claim, label, (happened & among).sum(), among.sum(), predicted)
        for claim, label, happened, among, predicted in trials
        if among.any()
    ]


def _numbers(data: xr.Dataset) -> list[compare.Row]:
    """The minimizer next to (9), and losses in units of its loss."""
    loss = data["loss"] / data.attrs["stored_loss"]
    excess = abs(loss.where(data["code"] == certify.GLOBAL) - 1).max()
    bound = (loss / data["growth"].clip(min=1)).min()
    allowed, label = 10 * data.attrs["tolerance"], "(6)  L ≤ best L of any width · G/λ"
    growth, lowest = "growth beside the minimizer next to (9), over λ", "smallest loss over growth, in units of"
    same = "loss of nets certified global minima over that next to (9), largest deviation"
    return [
        compare.number(growth, CERTIFICATE, data.attrs["stored_growth"], 1.0, tolerance=allowed, relation="≤"),
        compare.number(f"{lowest} the loss next to (9)", label, bound, 1.0, tolerance=1e-6, relation="≤"),
        compare.number(same, CERTIFICATE, excess, 0.0, tolerance=1e-9),
    ]


def describe(data: xr.Dataset) -> str:
    """Share of every verdict at every width, and what it took."""
    rows = []
    for width in data["p"].values:
        at = data.sel(p=width)
        rows.append(
            [
                f"{width}",
                *(f"{float((at['code'] == code).mean()):.0%}" for code in range(len(verdicts.SHORT))),
                f"{float((at['stored'] == data.attrs['samples']).mean()):.0%}",
                f"{float(at['trained_gradient'].median()):.0e}",
                f"{float(at['gradient'].max()):.0e}",
                f"{float((at['trained_loss'] / at['loss'] - 1).median()):.1e}",
                f"{float(at['growth'].median()):.3g}",
            ]
        )
    taken = ["all held", "‖∂L‖ trained", "‖∂L‖ polished (max)", "loss gained", "growth"]
    first = f"{data.attrs['data']}; {data.sizes['seed']} nets a width, trained with Adam, polished and certified"
    second = (
        f"theory's minimizer, polished from (9): loss {data.attrs['stored_loss']:.8g}, gradient"
        f" {data.attrs['stored_gradient']:.0e}, growth {data.attrs['stored_growth']:.6f}:"
        f" {verdicts.short(data.attrs['stored_code'])}"
    )
    table = launch.table(rows, ["p", *verdicts.SHORT, *taken])
    return "\n".join([launch.wrap(first), launch.wrap(second), "", table])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
