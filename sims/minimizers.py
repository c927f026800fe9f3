"""Do trained nets land on the analytic minimizers? Four ensembles, compared modulo the model's symmetries.

samples, wide     simplex of n samples, p > n        columns and norms r_i of (9), after merging and matching
samples, narrow   the same with p = n                how many runs leave a sample without a neuron
clusters, wide    K clusters, p > Σ p_k              rotation-free error of every block of (7)-(8)
clusters, narrow  the same with p = Σ p_k            how many runs give a cluster too few neurons
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import compare, data, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.symmetry import block_error, match, merge_parallel
from dae_theory.training import Settings, train
from sims import launch


@dataclass(frozen=True)
class Config:
    """Train ensembles on separable data and measure how close they come to the formulas (7)-(9)."""

    seeds: int = 16
    """Members of each ensemble."""
    seed: int = 0
    """Root of all randomness."""
    steps: int = 12000
    """Optimizer steps (Adam, warm-up and cosine decay)."""
    learning_rate: float = 1e-2
    """Highest learning rate of the schedule."""
    draws: int = 64
    """Noisy samples a step; a simplex of 5 gets 12 draws of each."""
    dimension: int = 32
    """d."""
    radius: float = 3.0
    """Norm of the samples of the memorizing runs."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    samples: int = 5
    """n of the simplex."""
    samples_width: int = 20
    """p on the simplex, wide."""
    samples_weight_decay: float = 0.05
    """λ on the simplex."""
    clusters: int = 3
    """K."""
    cluster_size: int = 20
    """Samples a cluster."""
    cluster_radius: float = 6.0
    """Norm of the clusters' means."""
    spread: float = 0.3
    """Standard deviation of a cluster in each of its two directions."""
    block_width: int = 6
    """Neurons a cluster, wide."""
    clusters_weight_decay: float = 1e-3
    """λ on the clusters."""


SMOKE = {"seeds": 2, "steps": 200, "dimension": 8}
DIRECTIONS = 2  # of spread of a cluster: with its mean, three eigenvectors a block
STORED = 0.9  # cosine from which on a neuron counts as holding a sample


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if config.seeds < 2:
        raise ValueError(f"--seeds must be at least 2; got {config.seeds}")
    if config.samples > config.dimension + 1:
        raise ValueError(f"--samples must be at most dimension + 1 = {config.dimension + 1}; got {config.samples}")
    if config.samples_width <= config.samples:
        raise ValueError(f"--samples-width must be above --samples = {config.samples}; got {config.samples_width}")
    if config.block_width <= DIRECTIONS + 1:
        raise ValueError(f"--block-width must be above {DIRECTIONS + 1}, the rank of a block; got {config.block_width}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train the four ensembles and compare each member with the analytic weights of its own data."""
    members = np.arange(config.seeds)
    rank = DIRECTIONS + 1
    narrow, wide = rank * config.clusters, config.block_width * config.clusters
    run.expect(4 * config.seeds, 4 * config.seeds * config.steps)
    variables: dict[str, Any] = {}
    for name, width in (("wide", config.samples_width), ("narrow", config.samples)):
        member = partial(_on_samples, config=config, width=width)
        for key, values in run.ensemble(f"samples-{name}", member, members).items():
            variables[f"samples_{name}_{key}"] = (("seed", "sample")[: values.ndim], values)
    for name, width in (("wide", wide), ("narrow", narrow)):
        problems = [_clusters(config, int(seed)) for seed in members]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
        member = partial(_on_clusters, config=config, width=width)
        for key, values in run.ensemble(f"clusters-{name}", member, (members, stacked)).items():
            variables[f"clusters_{name}_{key}"] = (("seed", "cluster")[: values.ndim], values)
    return xr.Dataset(variables, coords={"seed": members}, attrs={"rank": rank})


def _train(config: Config, key: jax.Array, x: jax.Array, width: int, weight_decay: float) -> Weights:
    settings = Settings(
        noise_std=config.noise_std,
        weight_decay=weight_decay,
        learning_rate=config.learning_rate,
        steps=config.steps,
        width=width,
        batch_size=max(config.draws, len(x)),
    )
    weights = train(key, x.astype(jnp.float32), settings).weights
    return jax.tree.map(lambda w: w.astype(jnp.float64), weights)


def _on_samples(seed: Any, _: None, *, config: Config, width: int) -> dict[str, Any]:
    """One net on a simplex of samples against (9)."""
    root = jax.random.key(config.seed)
    # a rotation of the simplex changes nothing but the draw of the initial weights relative to it
    x = data.simplex_means(
        derive(root, "simplex"), dimension=config.dimension, components=config.samples, radius=config.radius
    )
    learned = _train(config, derive(root, "samples", seed), x, width, config.samples_weight_decay)
    reference = theory.memorizing_weights(x, noise_std=config.noise_std, weight_decay=config.samples_weight_decay)
    merged = merge_parallel(learned)
    matched = match(merged.weights, reference)
    return {
        "cosine": matched.cosine,
        "norm_ratio": matched.norm_ratio,
        "stored": matched.cosine > STORED,
        "neurons": merged.live,
        "surplus": matched.surplus,
    }


def _clusters(config: Config, seed: int) -> dict[str, Any]:
    """Samples, labels and analytic weights of one member's clusters."""
    key = derive(jax.random.key(config.seed), "clusters", seed)
    mixture = data.simplex_mixture(
        key,
        dimension=config.dimension,
        components=config.clusters,
        radius=config.cluster_radius,
        rank=DIRECTIONS,
        spread=config.spread,
    )
    samples = mixture.sample_balanced(derive(key, "samples"), config.cluster_size)
    ranks = (DIRECTIONS + 1,) * config.clusters
    reference = theory.block_weights(
        samples.x, samples.labels, ranks, noise_std=config.noise_std, weight_decay=config.clusters_weight_decay
    )
    margins = theory.margins(
        reference, samples.x, samples.labels, theory.block_of_neuron(ranks), noise_std=config.noise_std
    )
    return {"x": samples.x, "labels": samples.labels, "reference": reference, "margin": margins.worst}


def _on_clusters(point: Any, _: None, *, config: Config, width: int) -> dict[str, Any]:
    """One net on clusters against (7)-(8)."""
    seed, problem = point
    key = derive(jax.random.key(config.seed), "cluster nets", seed)
    learned = _train(config, key, problem["x"], width, config.clusters_weight_decay)
    merged = merge_parallel(learned).weights
    blocks = block_error(merged, problem["reference"], problem["x"], problem["labels"], blocks=config.clusters)
    size = jnp.linalg.norm(merged.encoder, axis=0) * jnp.linalg.norm(merged.decoder, axis=0)
    counted = (size > 1e-2 * jnp.max(size))[None, :] & (
        blocks.block_of_neuron[None, :] == jnp.arange(config.clusters)[:, None]
    )
    return {
        "error": blocks.error,
        "neurons": jnp.sum(counted, axis=1),
        "leakage": blocks.leakage,
        "margin": problem["margin"],
    }


def report(data: xr.Dataset) -> str:
    """Theory beside each ensemble, mean ± SEM over seeds, and the shares of narrow nets that miss something."""
    rank = data.attrs["rank"]
    rows = [
        _row("samples, wide: cosine of merged columns", 1.0, data["samples_wide_cosine"], tolerance=1e-3),
        _row("samples, wide: r_i over (9)", 1.0, data["samples_wide_norm_ratio"], tolerance=1e-2),
        _row("samples, wide: energy in other neurons", 0.0, data["samples_wide_surplus"], tolerance=1e-2),
        _row("clusters, wide: block error", 0.0, data["clusters_wide_error"], tolerance=5e-2),
        _row("clusters, wide: energy on other clusters", 0.0, data["clusters_wide_leakage"], tolerance=1e-2),
    ]
    missed = (data["samples_narrow_stored"] == 0).any("sample").values
    starved = (data["clusters_narrow_neurons"] < rank).any("cluster").values
    return "\n".join(
        [
            launch.table(rows, ["quantity", "theory", "mean ± SEM", "deviation", "tolerance", "verdict"]),
            "",
            f"samples, narrow (p = n): {_share(missed)} of runs leave some sample without a neuron",
            f"clusters, narrow (p = Σ p_k): {_share(starved)} of runs give some cluster fewer than {rank} neurons",
            f"smallest margin [X1] of the analytic blocks: {float(data['clusters_wide_margin'].min()):.1f} σ‖w‖",
        ]
    )


def _row(what: str, predicted: float, values: xr.DataArray, *, tolerance: float) -> list[str]:
    """Mean over samples or clusters within a seed, then over seeds, which are independent."""
    inside = [dimension for dimension in values.dims if dimension != "seed"]
    found = compare.compare(predicted, values.mean(inside).values, tolerance=tolerance, scale=1.0)
    return [
        what,
        f"{predicted:g}",
        f"{float(found.mean):.5f} ± {float(found.sem):.5f}",
        f"{float(found.deviation):+.5f}",
        f"{tolerance:g}",
        str(found.verdict),
    ]


def _share(happened: np.ndarray) -> str:
    share = happened.mean()
    return f"{share:.0%} ± {np.sqrt(share * (1 - share) / len(happened)):.0%}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
