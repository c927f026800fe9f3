"""Where does Thm 3.1 hold? The block weights (7)-(8) over separation and noise, with the exact objective as the judge.

In every cell the gradient of (6) at the formula says whether it is stationary, and polishing from there shows what the
true minimizer looks like: its certificate, its distance from the blocks, and how far W₁ and W₂ part. The formula's own
condition is its worst margin [X1]: no gate is wrong with a probability above Φ(−margin).
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import xarray as xr

from dae_theory import certify, data, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.symmetry import asymmetry, block_error
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Certify the block weights of Thm 3.1 in every cell of a grid of separations and noises, and polish from them."""

    seed: int = 0
    """Root of all randomness."""
    draws: int = 4
    """Data sets: each has its own directions of spread, the same ones in all its cells."""
    clusters: int = 3
    """K."""
    cluster_size: int = 20
    """Samples a cluster."""
    dimension: int = 10
    """d."""
    directions: int = 1
    """Directions in which a cluster is spread."""
    neurons: int = 2
    """p_k, neurons a cluster: one for the mean and one for every direction keep a cluster whole."""
    spread: float = 0.3
    """Standard deviation of a cluster in each of its directions."""
    radii: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 9.0)
    """Norms of the clusters' means."""
    noise_stds: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7)
    """Values of σ."""
    weight_decay: float = 1e-3
    """λ of the objective (6)."""
    clean: bool = False
    """Directions of spread orthogonal to all means; else they may point at other means, which narrows the margin."""
    stationary: float = 1e-8
    """Gradient norm up to which the formula counts as stationary."""


SMOKE = {"draws": 1, "radii": (2.0, 6.0), "noise_stds": (0.1, 0.4), "cluster_size": 6}
STARTS = 8  # ascents in the search for growing neurons
CASES = ((6.0, 0.2), (3.0, 0.1))  # (radius, largest σ) that the report tells in full, where the grid has them


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    for option in ("radii", "noise_stds"):
        values = np.asarray(getattr(config, option), float)
        if len(np.unique(values)) != len(values) or len(values) < 2 or not np.all(np.isfinite(values) & (values > 0)):
            raise ValueError(
                f"--{option.replace('_', '-')} must be at least two distinct positive values; got {values.tolist()}"
            )
    if config.draws < 1:
        raise ValueError(f"--draws must be at least 1; got {config.draws}")
    limits.above_zero(config, "spread", "stationary")
    ranks = (config.neurons,) * config.clusters
    for x, labels in _problems(config).values():
        # refuses a rank or a weight decay that some cluster cannot carry
        theory.block_gains(x, labels, ranks, noise_std=0.0, weight_decay=config.weight_decay)
    return config


def _problems(config: Config) -> dict[tuple[int, float], tuple[jax.Array, np.ndarray]]:
    """(draw, radius) -> samples and labels. A draw keeps its orientation, directions and deviations at every radius."""
    problems = {}
    for draw in range(config.draws):
        key = derive(jax.random.key(config.seed), "clusters", draw)
        unit = data.simplex_mixture(
            key,
            dimension=config.dimension,
            components=config.clusters,
            radius=1.0,
            rank=config.directions,
            spread=config.spread,
            clean=config.clean,
        )
        for radius in sorted(config.radii):
            mixture = dataclasses.replace(unit, means=radius * unit.means)
            samples = mixture.sample_balanced(derive(key, "samples"), config.cluster_size)
            problems[draw, radius] = samples.x, np.asarray(samples.labels)
    return problems


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Certify the formula and the point it polishes to, in every cell of every data set."""
    problems = _problems(config)
    labels = next(iter(problems.values()))[1]
    sigma = np.sort(np.asarray(config.noise_stds, float))
    x = jnp.repeat(jnp.stack([samples for samples, _ in problems.values()]), len(sigma), axis=0)
    sigmas = jnp.tile(jnp.asarray(sigma), len(problems))
    ranks = (config.neurons,) * config.clusters

    def formula(x: jax.Array, noise_std: jax.Array) -> Weights:
        return theory.block_weights(x, labels, ranks, noise_std=noise_std, weight_decay=config.weight_decay)

    run.expect(len(sigmas), 0)
    # the formula decomposes stacks of matrices, which an ensemble on several CPU devices must not: so it comes first;
    # and certificates decompose one matrix, so members run one by one on a device
    measured = run.ensemble(
        "cells",
        partial(_cell, config=config, labels=labels),
        {"formula": jax.jit(jax.vmap(formula))(x, sigmas), "x": x, "sigma": sigmas},
        group=1,
    )
    radii = np.sort(np.asarray(config.radii, float))
    shape = config.draws, len(radii), len(sigma)
    rotations = config.clusters * config.neurons * (config.neurons - 1) // 2
    return xr.Dataset(
        {name: (("draw", "radius", "sigma"), np.asarray(values).reshape(shape)) for name, values in measured.items()},
        coords={"draw": np.arange(config.draws), "radius": radii, "sigma": sigma},
        attrs={
            "spread": config.spread,
            "stationary": config.stationary,
            "predicted_flat": rotations,
            "sure_margin": float(-scipy.stats.norm.ppf(config.stationary)),
            "verdicts": list(certify.VERDICTS),
            "data": f"K = {config.clusters} clusters of {config.cluster_size} samples in d = {config.dimension}, spread"
            f" {config.spread:g}, {config.neurons} neurons a cluster, λ = {config.weight_decay:g}",
        },
    )


def _cell(point: dict[str, Any], _: None, *, config: Config, labels: np.ndarray) -> dict[str, Any]:
    """The formula and the minimizer beneath it in one cell."""
    formula, x = point["formula"], point["x"]
    numbers = {"noise_std": point["sigma"], "weight_decay": config.weight_decay}
    blocks = theory.block_of_neuron((config.neurons,) * config.clusters)
    margins = theory.margins(formula, x, labels, blocks, noise_std=point["sigma"])
    polished = certify.polish(formula, x, **numbers)
    both = jax.tree.map(lambda *parts: jnp.stack(parts), formula, polished.weights)
    certified = jax.lax.map(lambda weights: certify.certify(weights, x, **numbers, starts=STARTS), both)
    at_formula, at_minimum = (jax.tree.map(lambda part, i=i: part[i], certified) for i in (0, 1))
    found = block_error(polished.weights, formula, x, labels, blocks=config.clusters)
    return {
        "margin": margins.worst,
        "own_margin": jnp.min(margins.own),
        "cross_margin": jnp.min(margins.cross),
        "gradient": at_formula.gradient_norm,
        "formula_curvature": at_formula.smallest_curvature,
        "formula_flat": at_formula.flat_directions,
        "formula_verdict": at_formula.code,
        "formula_growth": at_formula.growth,
        "converged": polished.converged,
        "polished_gradient": at_minimum.gradient_norm,
        "curvature": at_minimum.smallest_curvature,
        "flat": at_minimum.flat_directions,
        "growth": at_minimum.growth,
        "verdict": at_minimum.code,
        "loss_drop": 1 - at_minimum.loss / at_formula.loss,
        "block_error": jnp.max(found.error),
        "neurons_moved": jnp.sum(jnp.abs(found.neurons - config.neurons)) / 2,
        "leakage": jnp.max(found.leakage),
        "asymmetry": asymmetry(polished.weights),
    }


def report(data: xr.Dataset) -> str:
    """The two regimes in full, how well the margin predicts the certificate, and the verdicts of all cells."""
    rows = []
    for radius, largest in CASES:
        if radius in data["radius"].values:
            part = data.sel(radius=radius)
            cells = part.sel(sigma=part["sigma"][part["sigma"] <= largest * (1 + 1e-9)])
            if radius == CASES[-1][0]:
                cells = cells.isel(sigma=slice(-1, None))
            rows += [_row(data, cells.isel(sigma=k, draw=draw)) for k in range(cells.sizes["sigma"])
                     for draw in range(cells.sizes["draw"])]  # fmt: skip
    sure = data.attrs["sure_margin"]
    wide, stationary = data["margin"] >= sure, data["gradient"] <= data.attrs["stationary"]
    flat = (data["formula_flat"] == data.attrs["predicted_flat"]) & stationary
    kinds = [
        f"{verdict}: {int((data['verdict'] == code).sum())}" for code, verdict in enumerate(data.attrs["verdicts"])
    ]
    return "\n".join(
        [
            f"{data.attrs['data']}; {data.sizes['draw']} data sets",
            "",
            launch.table(
                rows,
                ["radius", "σ", "data set", "margin", "‖gradient‖ at (7)-(8)", "certificate there", "flat (predicted)",
                 "polished", "block error", "asymmetry", "loss saved"],
            ),
            "",
            f"margin ≥ {sure:.2f}, where Φ(−margin) ≤ {data.attrs['stationary']:g}: the formula is stationary in"
            f" {_of(stationary, wide)} cells; below, in {_of(stationary, ~wide)}",
            f"where it is stationary, the flat directions are the {data.attrs['predicted_flat']} rotations in"
            f" {_of(flat, stationary)} cells",
            f"polished points, all cells: {'; '.join(kinds)}; not converged: {int((data['converged'] == 0).sum())}",
        ]
    )  # fmt: skip


def _row(data: xr.Dataset, at: xr.Dataset) -> list[str]:
    verdicts = data.attrs["verdicts"]
    return [
        f"{float(at['radius']):g}",
        f"{float(at['sigma']):g}",
        f"{int(at['draw'])}",
        f"{float(at['margin']):.2f}",
        f"{float(at['gradient']):.1e}",
        verdicts[int(at["formula_verdict"])],
        f"{int(at['formula_flat'])} ({data.attrs['predicted_flat']})",
        verdicts[int(at["verdict"])] + ("" if at["converged"] else " (not converged)"),
        f"{float(at['block_error']):.1e}",
        f"{float(at['asymmetry']):.1e}",
        f"{float(at['loss_drop']):.1%}",
    ]


def _of(happened: xr.DataArray, among: xr.DataArray) -> str:
    return f"{int((happened & among).sum())} of {int(among.sum())}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
