"""Generalization error of Cor. 3.3: test loss of trained nets against the samples a cluster n_k.

trained   nets with a few neurons a direction on K well separated clusters; exact test loss under the mixture
blocks    the same exact test loss of (7)-(8) on each net's own samples: what the theorem predicts at finite n_k
theory    the population loss [X4], and the bound as printed, which keeps the bias and drops the noise passed on
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import compare, data, risk, theory
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Train nets on more and more samples of a mixture and compare their exact test loss with two formulas."""

    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    """n_k, samples a cluster; a smaller set is the beginning of a larger one."""
    seeds: int = 16
    """Nets a size; every seed has its own samples and its own initial weights."""
    seed: int = 0
    """Root of all randomness."""
    clusters: int = 3
    """K."""
    dimension: int = 16
    """d."""
    rank: int = 2
    """Directions of spread of a cluster, orthogonal to all means; with the mean they are the rank p_k = rank + 1."""
    radius: float = 8.0
    """Norm of the means."""
    spread: float = 1.0
    """Standard deviation of a cluster in each of its directions."""
    noise_std: float = 0.5
    """σ."""
    weight_decay: float = 0.02
    """λ of (6): large enough to keep newcomers [X5] from growing a bias, small against the kept eigenvalues."""
    neurons: int = 3
    """Neurons a direction; p = K (rank + 1) times this."""
    steps: int = 12000
    """Optimizer steps (Adam, warm-up and cosine decay)."""
    draws: int = 192
    """Noisy samples a step."""
    learning_rate: float = 5e-3
    """Highest learning rate of the schedule."""


SMOKE = {"sizes": (2, 16), "seeds": 2, "steps": 100}
TOLERANCE = 0.01


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if len(config.sizes) < 2 or min(config.sizes) < 1 or len(set(config.sizes)) != len(config.sizes):
        raise ValueError(f"--sizes must be two or more distinct numbers of at least 1; got {list(config.sizes)}")
    limits.at_least(config, seeds=2, clusters=2, rank=1, neurons=1, steps=1, draws=1)
    room = config.dimension - config.clusters + 1
    if config.rank > room:
        raise ValueError(f"--rank must be at most dimension − clusters + 1 = {room}; got {config.rank}")
    limits.above_zero(config, "radius", "spread", "noise_std", "learning_rate")
    most = config.spread**2 / config.clusters
    if not 0 <= config.weight_decay < most:
        raise ValueError(f"--weight-decay must be from 0 to below spread²/K = {most:.3g}; got {config.weight_decay}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Every size and seed in one program; the blocks of (7)-(8) on the same samples; the two formulas."""
    sizes = np.asarray(sorted(config.sizes))
    grid = Grid(size=sizes, seed=range(config.seeds))
    points = grid.points()
    run.expect(grid.size, grid.size * config.steps)
    mixture = _mixture(config)
    rows = int(sizes.max())
    trained = run.ensemble("nets", partial(_net, config=config, rows=rows), points, mixture)
    # one at a time: LAPACK calls batched over members and devices at once can lock up the CPU's thread pool
    blocks = [
        _blocks(mixture, jnp.asarray(seed), jnp.asarray(size), config=config, rows=rows)
        for size, seed in zip(points["size"], points["seed"], strict=True)
    ]
    ranks = (config.rank + 1,) * config.clusters
    numbers = {"noise_std": config.noise_std, "weight_decay": config.weight_decay}
    filters = theory.population_weights(mixture, ranks, **numbers, width=_width(config), rotation_steps=0)
    stacked = jax.tree.map(lambda nets, *others: jnp.concatenate([nets, jnp.stack(others)]), trained, *blocks, filters)
    exact = partial(risk.mixture_loss, mixture=mixture, noise_std=config.noise_std)
    losses = np.asarray(jax.jit(jax.vmap(exact))(stacked))

    dataset = grid.dataset({"trained": losses[: grid.size], "blocks": losses[grid.size : -1]})
    dataset["population"] = float(theory.population_loss(mixture, ranks, **numbers))
    dataset["printed"] = float(theory.printed_population_loss(mixture, ranks, **numbers))
    # the filters behind [X4] with their gates as they are: how far "well separated" holds
    dataset["population_exact"] = losses[-1]
    return dataset.assign_attrs(
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        clusters=config.clusters,
        rank=config.rank,
        width=_width(config),
        dimension=config.dimension,
        separation=config.radius / config.spread,
    )


def _mixture(config: Config) -> data.GaussianMixture:
    return data.simplex_mixture(
        derive(jax.random.key(config.seed), "mixture"),
        dimension=config.dimension,
        components=config.clusters,
        radius=config.radius,
        rank=config.rank,
        spread=config.spread,
        clean=True,
    )


def _samples(config: Config, mixture: data.GaussianMixture, seed: Any, size: int) -> data.Samples:
    """The samples of one seed; those of a smaller size are the first rows of these."""
    return mixture.sample_balanced(derive(jax.random.key(config.seed), "samples", seed), size)


@partial(jax.jit, static_argnames=("config", "rows"))
def _blocks(mixture: data.GaussianMixture, seed: Any, size: Any, *, config: Config, rows: int) -> Weights:
    """The analytic blocks (7)-(8) on one net's samples, as wide as the net.

    Zero rows change no X_kᵀX_k, and with the others scaled by √(rows/n) the means over all rows are those over n: one
    program for every size. Directions that are missing or decayed have gain 0.
    """
    x = _samples(config, mixture, seed, rows).x
    samples = config.clusters * size
    scale = jnp.where(jnp.arange(len(x)) < samples, jnp.sqrt(len(x) / samples.astype(x.dtype)), 0)
    return theory.block_weights(
        x * scale[:, None],
        np.tile(np.arange(config.clusters), rows),
        (config.rank + 1,) * config.clusters,
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        width=_width(config),
        rotation_steps=0,
    )


def _net(point: dict[str, Any], mixture: data.GaussianMixture, *, config: Config, rows: int) -> Weights:
    """One net trained on the samples of its seed and size."""
    x = _samples(config, mixture, point["seed"], rows).x
    settings = Settings(
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        learning_rate=config.learning_rate,
        steps=config.steps,
        width=_width(config),
        batch_size=config.draws,
        init_scale=0.3,
    )
    key = derive(jax.random.key(config.seed), "nets", point["seed"])
    trained = train(key, x.astype(jnp.float32), settings, samples=config.clusters * point["size"]).weights
    return jax.tree.map(lambda w: w.astype(x.dtype), trained)


def _width(config: Config) -> int:
    return config.neurons * config.clusters * (config.rank + 1)


def limit(data: xr.Dataset) -> np.ndarray:
    """Test loss of every seed's nets as n → ∞: the excess falls like 1/n, so the two largest sizes extrapolate it."""
    small, large = data["size"].values[-2:]
    below, above = (data["trained"].sel(size=size).values for size in (small, large))
    return (large * above - small * below) / (large - small)


def report(data: xr.Dataset) -> str:
    """Test loss for every n_k, and which of the two formulas its limit agrees with."""
    population, printed = float(data["population"]), float(data["printed"])
    rows = []
    for size in data["size"].values:
        trained, blocks = (data[name].sel(size=size).values for name in ("trained", "blocks"))
        to_population = compare.compare(population, trained)
        to_blocks = compare.compare(0.0, trained - blocks, scale=1.0)
        rows.append(
            [str(size), _mean(to_population), f"{float(to_population.deviation):+.2%}", _mean(to_blocks, sign="+")]
        )
    header = ["n_k", "trained, mean ± SEM", "over [X4]", "trained − blocks (7)-(8), same samples"]
    verdicts = []
    for name, value in (("[X4]", population), ("printed", printed)):
        found = compare.compare(value, limit(data), tolerance=TOLERANCE)
        verdicts.append([name, f"{value:.5f}", _mean(found), f"{float(found.deviation):+.2%}", str(found.verdict)])
    return "\n".join(
        [
            f"K = {data.attrs['clusters']}, d = {data.attrs['dimension']}, p = {data.attrs['width']},"
            f" σ = {data.attrs['noise_std']:g}, λ = {data.attrs['weight_decay']:g}; {data.sizes['seed']} nets a size",
            launch.table(rows, header),
            "",
            f"n → ∞, extrapolated from n_k = {data['size'].values[-2]} and {data['size'].values[-1]}; agreement within"
            f" {TOLERANCE:.0%}",
            launch.table(verdicts, ["formula", "theory", "trained, mean ± SEM", "deviation", "verdict"]),
            f"[X4] has its gates open; with the gates as they are the same filter costs"
            f" {float(data['population_exact']):.5f}",
        ]
    )


def _mean(found: compare.Comparison, sign: str = "") -> str:
    return f"{float(found.mean):{sign}.5f} ± {float(found.sem):.5f}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
