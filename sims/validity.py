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

from dae_theory import certify, compare, data, theory
from dae_theory.checks import Refusal
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.symmetry import asymmetry, block_error
from sims import launch
from sims.launch import limits
from sims.measures import verdicts


@dataclass(frozen=True)
class Config:
    """Certify the block weights of Thm 3.1 in every cell of a grid of separations and noises, and polish from them."""

    seed: int = 0
    """Root of all randomness."""
    seeds: int = 4
    """Data sets: each has its own directions of spread, the same ones in all its cells."""
    components: int = 3
    """K, clusters of samples."""
    per_component: int = 20
    """Samples a cluster."""
    dimension: int = 10
    """d."""
    rank: int = 1
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


SMOKE = {"seeds": 1, "radii": (2.0, 6.0), "noise_stds": (0.1, 0.4), "per_component": 6}
STARTS = 8  # ascents in the search for growing neurons
CASES = ((6.0, 0.2), (3.0, 0.1))  # (radius, largest σ) that are told in full, where the grid has them


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "radii", "noise_stds", count=2)
    limits.above_zero(config, "radii", "noise_stds", "spread", "stationary")
    limits.at_least(config, seeds=1, components=2, per_component=1, rank=1, neurons=1, weight_decay=0)
    most = min(config.rank + 1, config.per_component)
    if config.neurons > most:
        words = "the mean and the directions of spread, or the samples of a cluster"
        raise Refusal(f"--neurons must be at most {most}, {words}; got {config.neurons}")
    ranks = (config.neurons,) * config.components
    for x, labels in _problems(config).values():
        # refuses a weight decay that some cluster cannot carry
        theory.block_gains(x, labels, ranks, noise_std=0.0, weight_decay=config.weight_decay)
    return config


def _problems(config: Config) -> dict[tuple[int, float], tuple[jax.Array, np.ndarray]]:
    """(draw, radius) -> samples and labels. A draw keeps its orientation, directions and deviations at every radius."""
    problems = {}
    for draw in range(config.seeds):
        key = derive(jax.random.key(config.seed), "clusters", draw)
        unit = data.simplex_mixture(
            key,
            dimension=config.dimension,
            components=config.components,
            radius=1.0,
            rank=config.rank,
            spread=config.spread,
            clean=config.clean,
        )
        for radius in sorted(config.radii):
            mixture = dataclasses.replace(unit, means=radius * unit.means)
            samples = mixture.sample_balanced(derive(key, "samples"), config.per_component)
            problems[draw, radius] = samples.x, np.asarray(samples.labels)
    return problems


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Certify the formula and the point it polishes to, in every cell of every data set."""
    problems = _problems(config)
    labels = next(iter(problems.values()))[1]
    sigma = np.sort(np.asarray(config.noise_stds, float))
    x = jnp.repeat(jnp.stack([samples for samples, _ in problems.values()]), len(sigma), axis=0)
    sigmas = jnp.tile(jnp.asarray(sigma), len(problems))
    ranks = (config.neurons,) * config.components

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
    shape = config.seeds, len(radii), len(sigma)
    rotations = config.components * config.neurons * (config.neurons - 1) // 2
    return xr.Dataset(
        {name: (("draw", "radius", "sigma"), np.asarray(values).reshape(shape)) for name, values in measured.items()},
        coords={"draw": np.arange(config.seeds), "radius": radii, "sigma": sigma},
        attrs={
            "spread": config.spread,
            "stationary": config.stationary,
            "predicted_flat": rotations,
            "sure_margin": float(-scipy.stats.norm.ppf(config.stationary)),
            "verdicts": list(certify.VERDICTS),
            "data": f"K = {config.components} clusters of {config.per_component} samples in d = {config.dimension},"
            f" spread {config.spread:g}, {config.neurons} neurons a cluster, λ = {config.weight_decay:g}",
        },
    )


def _cell(point: dict[str, Any], _: None, *, config: Config, labels: np.ndarray) -> dict[str, Any]:
    """The formula and the minimizer beneath it in one cell."""
    formula, x = point["formula"], point["x"]
    numbers = {"noise_std": point["sigma"], "weight_decay": config.weight_decay}
    blocks = theory.block_of_neuron((config.neurons,) * config.components)
    margins = theory.margins(formula, x, labels, blocks, noise_std=point["sigma"])
    polished = certify.polish(formula, x, **numbers)
    both = jax.tree.map(lambda *parts: jnp.stack(parts), formula, polished.weights)
    certified = jax.lax.map(lambda weights: certify.certify(weights, x, **numbers, starts=STARTS), both)
    at_formula, at_minimum = (jax.tree.map(lambda part, i=i: part[i], certified) for i in (0, 1))
    found = block_error(polished.weights, formula, x, labels, blocks=config.components)
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


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Stationary cells on both sides of the margin's boundary, flat directions, and what polishing leads to."""
    sure, most = data.attrs["sure_margin"], data.attrs["stationary"]
    wide, stationary = data["margin"] >= sure, data["gradient"] <= most
    flat = (data["formula_flat"] == data.attrs["predicted_flat"]) & stationary
    converged = data["converged"] == 1
    moved = data["block_error"].where(~stationary & converged)
    kept = data["block_error"].where(stationary)
    formula = f"(7), (8); ‖∂L‖ ≤ {most:g}"
    rotations = f"stationary cells whose flat directions are the {data.attrs['predicted_flat']} rotations of the blocks"
    return [
        compare.share(
            f"cells with margin m ≥ {sure:.1f} where the formula is stationary",
            f"{formula} where Φ(−m) is below",
            (stationary & wide).sum(),
            wide.sum(),
            1.0,
        ),
        compare.share(
            f"cells with margin m < {sure:.1f} where the formula is stationary",
            formula,
            (stationary & ~wide).sum(),
            (~wide).sum(),
        ),
        compare.share(rotations, "Σ_k p_k(p_k − 1)/2", flat.sum(), stationary.sum(), 1.0),
        compare.number(
            "largest block error after polishing, stationary cells", "(7), (8)", kept.max(), 0.0, tolerance=1e-6
        ),
        compare.number("median block error after polishing, other cells", "Thm 3.1: small", moved.median()),
        compare.share("cells where polishing converged", "stationary: ‖∂L‖ → 0", converged.sum(), converged.size),
    ]


def describe(data: xr.Dataset) -> str:
    """The two regimes in full, and what the polished points of all cells are."""
    rows = []
    for radius, largest in CASES:
        if radius in data["radius"].values:
            part = data.sel(radius=radius)
            cells = part.sel(sigma=part["sigma"][part["sigma"] <= largest * (1 + 1e-9)])
            if radius == CASES[-1][0]:
                cells = cells.isel(sigma=slice(-1, None))
            places = np.ndindex(cells.sizes["sigma"], cells.sizes["draw"])
            rows += [_row(cells.isel(sigma=k, draw=draw)) for k, draw in places]
    header = ["radius", "σ", "set", "margin", "‖∂L‖ (7)-(8)", "there", "flat", "polished", "block error", "asymmetry"]
    kinds = [f"{word}: {int((data['verdict'] == code).sum())}" for code, word in enumerate(verdicts.SHORT)]
    failed = int((data["converged"] == 0).sum())
    return "\n".join(
        [
            launch.wrap(f"{data.attrs['data']}; {data.sizes['draw']} data sets"),
            "",
            launch.table(rows, [*header, "loss saved"]),
            "",
            launch.wrap(f"polished points, all cells: {'; '.join(kinds)}; not converged: {failed}"),
        ]
    )


def _row(at: xr.Dataset) -> list[str]:
    return [
        f"{float(at['radius']):g}",
        f"{float(at['sigma']):g}",
        f"{int(at['draw'])}",
        f"{float(at['margin']):.2f}",
        f"{float(at['gradient']):.0e}",
        verdicts.short(float(at["formula_verdict"])),
        f"{int(at['formula_flat'])}",
        verdicts.short(float(at["verdict"])) + ("" if at["converged"] else " (not converged)"),
        f"{float(at['block_error']):.0e}",
        f"{float(at['asymmetry']):.0e}",
        f"{float(at['loss_drop']):.1%}",
    ]


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
