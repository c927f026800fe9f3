"""Duplicates beside abundant clusters, Cor. 3.4: a sample gets a neuron of its own from m* = nλ/‖x‖² copies on.

Clusters and the sample x sit on a simplex, each cluster with directions of spread of its own. Nets are trained for
every number of copies m; the squared norm of the neurons on x is put beside [X3], r²‖x‖² =
(m‖x‖² − nλ)₊/(m(‖x‖² + σ²)), that of every cluster's neurons beside the sum of its gains (8).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, theory
from dae_theory.grid import Grid
from dae_theory.randomness import derive
from dae_theory.symmetry import activation_energy, merge_parallel
from dae_theory.training import Settings, train
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Train nets on clusters and m copies of one sample and measure which block gets how much norm."""

    copies: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 11, 16, 32)
    """m."""
    clusters: int = 2
    """K, beside the copies."""
    cluster_size: int = 300
    """Samples a cluster."""
    dimension: int = 24
    """d."""
    radius: float = 6.0
    """Norm of the clusters' means and of the duplicated sample."""
    spread: float = 0.9
    """Standard deviation of a cluster in each of its two directions."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    threshold: float = 4.4
    """m* that is asked for; it fixes λ."""
    width: int = 40
    """p."""
    seeds: int = 5
    """Nets for every m."""
    seed: int = 0
    """Root of all randomness."""
    steps: int = 5000
    """Optimizer steps (Adam, warm-up and cosine decay), every sample with fresh noise at each."""
    learning_rate: float = 1e-2
    """Highest learning rate of the schedule."""


SMOKE = {"copies": (2, 8), "cluster_size": 40, "seeds": 2, "steps": 50}
DIRECTIONS = 2
ALIGNED = 0.9  # cosine to x from which on a neuron is counted as its own
SURVIVES = 0.02  # squared norm from which on the sample counts as stored


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if len(set(config.copies)) != len(config.copies) or min(config.copies) < 1:
        raise ValueError(f"--copies must be distinct and ≥ 1; got {list(config.copies)}")
    limits.at_least(config, seeds=2, clusters=1, steps=1, cluster_size=DIRECTIONS + 1)
    limits.at_least(config, width=1)
    limits.above_zero(config, "threshold", "radius", "spread", "noise_std", "learning_rate")
    least = config.clusters + DIRECTIONS * (config.clusters + 1)
    if config.dimension < least:
        raise ValueError(f"--dimension must be at least {least}; got {config.dimension}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Measured and predicted squared norms of every block."""
    copies, others = np.asarray(sorted(config.copies)), config.clusters * config.cluster_size
    pool, labels, decay = _problem(config)
    grid = Grid(copies=copies, seed=np.arange(config.seeds))
    run.expect(grid.size, grid.size * config.steps)
    member = partial(_member, config=config, labels=labels, decay=decay)
    dataset = grid.dataset(run.ensemble("nets", member, grid.points(), pool), {"clusters": ["cluster"]})

    def predicted(m: Any) -> Any:
        return theory.duplicate_norm_squared(
            pool[0], copies=m, samples=others + m, noise_std=config.noise_std, weight_decay=decay
        )

    fine = np.geomspace(copies[0], copies[-1], 200)
    dataset["sample_theory"] = "copies", [float(predicted(m)) for m in copies]
    dataset["fine_theory"] = "fine", [float(predicted(m)) for m in fine]
    dataset["clusters_theory"] = (
        ("copies", "cluster"),
        [_cluster_norms(config, pool, labels, m, decay) for m in copies],
    )
    square = float(jnp.sum(pool[0] ** 2))
    low, high = _band(dataset)
    return dataset.assign_coords(fine=fine).assign_attrs(
        others=others, square=square, weight_decay=decay, noise_std=config.noise_std, width=config.width,
        star=others * decay / (square - decay), dimension=config.dimension, survives=SURVIVES,
        band_low=low, band_high=high,
    )  # fmt: skip


def _problem(config: Config) -> tuple[Array, np.ndarray, float]:
    """x in row 0, then the clusters' samples; labels −1 for x; λ."""
    key = derive(jax.random.key(config.seed), "data")
    count = config.clusters + 1
    means = data.simplex_means(derive(key, "means"), dimension=config.dimension, components=count, radius=config.radius)
    # directions of spread that see no other mean and no other cluster: a neuron shared by two clusters costs less there
    drawn = jax.random.normal(derive(key, "spread"), (config.dimension, DIRECTIONS * count))
    basis, _ = jnp.linalg.qr(jnp.concatenate([means[:-1].T, drawn], axis=1))
    factors = config.spread * basis[:, count - 1 :].T.reshape(count, DIRECTIONS, config.dimension)
    mixture = data.GaussianMixture(jnp.full(count, 1 / count), means, jnp.swapaxes(factors, 1, 2))
    samples = mixture.sample_balanced(derive(key, "samples"), config.cluster_size)
    kept = np.asarray(samples.labels) < config.clusters
    pool = jnp.concatenate([mixture.means[-1:], samples.x[kept]])
    square, others = float(jnp.sum(pool[0] ** 2)), int(kept.sum())
    decay = config.threshold * square / (others + config.threshold)
    return pool, np.concatenate([[-1], np.asarray(samples.labels)[kept]]), decay


def _cluster_norms(config: Config, pool: Array, labels: np.ndarray, copies: int, decay: float) -> np.ndarray:
    """Σ_j (Λ_j − nλ)₊/(Λ_j + n_kσ²) of every cluster."""
    spectrum = theory.sample_spectrum(pool[1:], labels[1:], config.clusters)
    own, n = np.asarray(spectrum.eigenvalues) * config.cluster_size, len(pool) - 1 + copies
    return np.sum(np.maximum(own - n * decay, 0) / (own + config.cluster_size * config.noise_std**2), axis=1)


def _member(point: dict[str, Any], pool: Array, *, config: Config, labels: np.ndarray, decay: float) -> dict[str, Any]:
    """One net: squared norms of the neurons on x and of those on every cluster."""
    most, copies = max(config.copies), point["copies"]
    source = jnp.maximum(jnp.arange(most + len(pool) - 1) - (copies - 1), 0)  # row 0 comes `copies` times
    settings = Settings(
        noise_std=config.noise_std, weight_decay=decay, learning_rate=config.learning_rate, steps=config.steps,
        width=config.width, tied=True,
    )  # fmt: skip
    key = derive(jax.random.key(config.seed), "nets", point["seed"])
    rows = jnp.minimum(source, len(pool) - 1)
    weights = train(key, pool[rows].astype(jnp.float32), settings, samples=copies + len(pool) - 1).weights
    weights = merge_parallel(jax.tree.map(lambda w: w.astype(jnp.float64), weights)).weights
    squares = jnp.sum(weights.encoder**2, axis=0)
    cosine = pool[0] @ weights.encoder / (jnp.linalg.norm(pool[0]) * jnp.sqrt(squares + 1e-30))
    own = cosine > ALIGNED
    energy = activation_energy(weights, pool, jnp.asarray(labels), config.clusters)
    cluster = jnp.where(own, -1, jnp.argmax(energy, axis=0))
    inside = (cluster[None, :] == jnp.arange(config.clusters)[:, None]).astype(squares.dtype)
    return {"sample": jnp.sum(jnp.where(own, squares, 0.0)), "clusters": inside @ squares}


def measured_threshold(data: xr.Dataset) -> np.ndarray:
    """m* of every seed: [X3] reads ‖x‖² − ‖w‖²(‖x‖² + σ²) = λ n/m, a line through 0 whose slope gives m*."""
    square, n = data.attrs["square"], data.attrs["others"] + data["copies"]
    stored = data["sample"].transpose("seed", "copies") > SURVIVES
    gap = (square - data["sample"] * (square + data.attrs["noise_std"] ** 2)).where(stored)
    ratio = (n / data["copies"]).where(stored)
    decay = (gap * ratio).sum("copies") / (ratio**2).sum("copies")
    return (data.attrs["others"] * decay / (square - decay)).values


def _band(data: xr.Dataset) -> tuple[float, float]:
    """From the largest m at which no net stored x to the smallest from which on all did."""
    share, copies = (data["sample"] > SURVIVES).mean("seed").values, data["copies"].values
    always = np.minimum.accumulate(share[::-1])[::-1] == 1
    return float(copies[share == 0].max(initial=0)), float(copies[always].min(initial=copies[-1]))


def report(data: xr.Dataset) -> str:
    """Norms against theory for every m, then the threshold."""
    rows = []
    for m in data["copies"].values:
        at = data.sel(copies=m)
        sample = compare.compare(float(at["sample_theory"]), at["sample"].values, tolerance=0.02, scale=1.0)
        clusters = compare.compare(
            at["clusters_theory"].values, at["clusters"].transpose("seed", "cluster").values, tolerance=0.02
        )
        rows.append(
            [
                f"{m}",
                f"{float(sample.predicted):.4f}",
                f"{float(sample.mean):.4f} ± {float(sample.sem):.4f}",
                f"{float((at['sample'] > SURVIVES).mean()):.2f}",
                str(sample.verdict),
                " ".join(f"{value:.3f}" for value in np.asarray(clusters.predicted)),
                " ".join(f"{v:.3f} ± {s:.3f}" for v, s in zip(clusters.mean, clusters.sem, strict=True)),
            ]
        )
    found = compare.compare(data.attrs["star"], measured_threshold(data), tolerance=0.02)
    low, high = data.attrs["band_low"], data.attrs["band_high"]
    inside = "inside" if low <= data.attrs["star"] <= high else "OUTSIDE"
    header = ["m", "[X3]", "norm² on x, mean ± SEM", "stored", "within 0.02", "clusters (8)", "mean ± SEM"]
    return "\n".join(
        [
            f"{data.attrs['others']} samples in {data.sizes['cluster']} clusters and m copies of x, p = "
            f"{data.attrs['width']}, λ = {data.attrs['weight_decay']:.3g}, {data.sizes['seed']} seeds",
            launch.table(rows, header),
            f"m* = n₀λ/(‖x‖² − λ) = {data.attrs['star']:.3f}, {inside} the band ({low:g}, {high:g}) between never and"
            f" always stored; from the slope of the norms {float(found.mean):.3f} ± {float(found.sem):.3f}"
            f" ({float(found.deviation):+.2%}, {found.verdict})",
        ]
    )


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
