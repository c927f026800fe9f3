"""What does a generalizing net cost on fresh data? Cor. 3.3 against the samples a component n_k.

trained   nets with a few neurons a direction on K well separated components; exact test loss under the mixture
blocks    the same exact test loss of (7)-(8) on each net's own samples: what the theorem predicts at finite n_k
theory    the population loss [X4], and the bound as printed, which keeps the bias and drops the noise passed on
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import compare, data, risk, theory
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import train
from sims import launch
from sims.launch import limits
from sims.nets.training import TrainingConfig
from sims.worlds.mixture import MixtureConfig


@dataclass(frozen=True)
class Config:
    """Train nets on more and more samples of a mixture and compare their exact test loss with two formulas."""

    per_component: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    """n_k, samples a component; a smaller set is the beginning of a larger one."""
    seeds: int = 16
    """Nets for every n_k; every seed has its own samples and its own initial weights."""
    seed: int = 0
    """Root of all randomness."""
    mixture: MixtureConfig = field(default_factory=partial(MixtureConfig, dimension=16, radius=8.0, spread=1.0))
    """Directions of spread are orthogonal to all means; with the mean they are the rank p_k = rank + 1."""
    noise_std: float = 0.5
    """σ."""
    weight_decay: float = 0.02
    """λ of (6): large enough to keep newcomers [X5] from growing a bias, small against the kept eigenvalues."""
    neurons: int = 3
    """Neurons a direction; p = K (rank + 1) times this."""
    training: TrainingConfig = field(default_factory=partial(TrainingConfig, steps=12000, batch_size=192))

    @property
    def ranks(self) -> tuple[int, ...]:
        """p_k of every component: its mean and its directions of spread."""
        return (self.mixture.rank + 1,) * self.mixture.components

    @property
    def width(self) -> int:
        """p."""
        return self.neurons * sum(self.ranks)

    @property
    def levels(self) -> dict[str, float]:
        """σ and λ, as theory takes them."""
        return {"noise_std": self.noise_std, "weight_decay": self.weight_decay}


SMOKE = {"per_component": (2, 16), "seeds": 2, "steps": 100}
TOLERANCE = 0.01


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "per_component", count=2)
    limits.at_least(config, per_component=1, seeds=2, neurons=1)
    limits.above_zero(config, "noise_std")
    config.mixture.check()
    config.training.check()
    most = config.mixture.spread**2 / config.mixture.components
    if not 0 <= config.weight_decay < most:
        raise Refusal(f"--weight-decay must be from 0 to below spread²/K = {most:.3g}; got {config.weight_decay}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Every n_k and seed in one program; the blocks of (7)-(8) on the same samples; the two formulas."""
    sizes = np.asarray(sorted(config.per_component))
    grid = Grid(per_component=sizes, seed=range(config.seeds))
    points = grid.points()
    run.expect(grid.size, grid.size * config.training.steps)
    mixture = config.mixture.draw(derive(jax.random.key(config.seed), "mixture"))
    most = int(sizes.max())
    trained = run.ensemble("nets", partial(_net, config=config, most=most), points, mixture)
    # one at a time: LAPACK calls batched over members and devices at once can lock up the CPU's thread pool
    blocks = [
        _blocks(mixture, jnp.asarray(seed), jnp.asarray(size), config=config, most=most)
        for size, seed in zip(points["per_component"], points["seed"], strict=True)
    ]
    filters = theory.population_weights(mixture, config.ranks, **config.levels, width=config.width, rotation_steps=0)
    stacked = jax.tree.map(lambda nets, *others: jnp.concatenate([nets, jnp.stack(others)]), trained, *blocks, filters)
    exact = partial(risk.mixture_loss, mixture=mixture, noise_std=config.noise_std)
    losses = np.asarray(jax.jit(jax.vmap(exact))(stacked))

    dataset = grid.dataset({"trained": losses[: grid.size], "blocks": losses[grid.size : -1]})
    dataset["limit"] = limit(dataset)
    dataset["population"] = float(theory.population_loss(mixture, config.ranks, **config.levels))
    dataset["printed"] = float(theory.printed_population_loss(mixture, config.ranks, **config.levels))
    # the filters behind [X4] with their gates as they are: how far "well separated" holds
    dataset["population_exact"] = losses[-1]
    return dataset.assign_attrs(
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        components=config.mixture.components,
        rank=config.mixture.rank,
        width=config.width,
        dimension=config.mixture.dimension,
        separation=config.mixture.radius / config.mixture.spread,
    )


def limit(dataset: xr.Dataset) -> xr.DataArray:
    """Test loss of every seed's nets as n_k → ∞: its excess falls like 1/n_k, so the two largest extrapolate it."""
    small, large = dataset["per_component"].values[-2:]
    below, above = (dataset["trained"].sel(per_component=size, drop=True) for size in (small, large))
    return (large * above - small * below) / (large - small)


def _samples(config: Config, mixture: data.GaussianMixture, seed: Any, size: int) -> data.Samples:
    """The samples of one seed; those of a smaller size are the first rows of these."""
    return mixture.sample_balanced(derive(jax.random.key(config.seed), "samples", seed), size)


@partial(jax.jit, static_argnames=("config", "most"))
def _blocks(mixture: data.GaussianMixture, seed: Any, size: Any, *, config: Config, most: int) -> Weights:
    """The analytic blocks (7)-(8) on one net's samples, as wide as the net.

    Zero rows change no X_kᵀX_k, and with the others scaled by √(rows/n) the means over all rows are those over n: one
    program for every size. Directions that are missing or decayed have gain 0.
    """
    x = _samples(config, mixture, seed, most).x
    samples = config.mixture.components * size
    scale = jnp.where(jnp.arange(len(x)) < samples, jnp.sqrt(len(x) / samples.astype(x.dtype)), 0)
    labels = np.tile(np.arange(config.mixture.components), most)
    return theory.block_weights(
        x * scale[:, None], labels, config.ranks, **config.levels, width=config.width, rotation_steps=0
    )


def _net(point: dict[str, Any], mixture: data.GaussianMixture, *, config: Config, most: int) -> Weights:
    """One net trained on the samples of its seed and size."""
    x = _samples(config, mixture, point["seed"], most).x
    settings = config.training.settings(**config.levels, width=config.width, init_scale=0.3)
    key = derive(jax.random.key(config.seed), "nets", point["seed"])
    samples = config.mixture.components * point["per_component"]
    trained = train(key, x.astype(jnp.float32), settings, samples=samples).weights
    return jax.tree.map(lambda w: w.astype(x.dtype), trained)


def judge(dataset: xr.Dataset) -> list[compare.Row]:
    """The loss that nets approach, n_k → ∞, against both formulas; and what the blocks on the same samples cost."""
    small, large = dataset["per_component"].values[-2:]
    population, printed, exact = (float(dataset[name]) for name in ("population", "printed", "population_exact"))
    reached, filters = dataset["limit"].values, "Σ_k ρ_k [Σ_{j≤p_k} "
    claim = f"test loss of trained nets, extrapolated from n_k = {small} and {large}"
    corrected, bias = f"[X4]  {filters}σ²e_j/(e_j + σ²) + Σ_{{j>p_k}} e_j]", f"{filters}e_jσ⁴/(e_j + σ²)²]"
    gap = (dataset["trained"] - dataset["blocks"]).sel(per_component=large) / population
    return [
        compare.mean(claim, corrected, reached, population, tolerance=TOLERANCE),
        compare.mean(claim, f"Cor. 3.3 as printed, the bias alone  {bias}", reached, printed, tolerance=TOLERANCE),
        compare.number(
            "loss of the population's filters, gates as they are",
            "[X4], gates open",
            exact,
            population,
            tolerance=TOLERANCE * population,
        ),
        compare.mean(
            f"trained nets − blocks on the same samples, over [X4], n_k = {large}",
            "(7), (8)",
            gap,
            0.0,
            scale=1.0,
            tolerance=TOLERANCE,
        ),
    ]


def describe(dataset: xr.Dataset) -> str:
    """Test loss for every n_k, over that of the population, and beside that of the blocks."""
    population = float(dataset["population"])
    rows = []
    for size in dataset["per_component"].values:
        trained, blocks = (dataset[name].sel(per_component=size).values for name in ("trained", "blocks"))
        found = compare.compare(population, trained)
        gap = compare.compare(0.0, trained - blocks, scale=1.0)
        rows.append([str(size), _mean(found), f"{float(found.deviation):+.2%}", _mean(gap, sign="+")])
    header = ["n_k", "trained, mean ± SEM", "over [X4]", "trained − blocks (7)-(8)"]
    title = (
        f"K = {dataset.attrs['components']}, d = {dataset.attrs['dimension']}, p = {dataset.attrs['width']},"
        f" σ = {dataset.attrs['noise_std']:g}, λ = {dataset.attrs['weight_decay']:g};"
        f" {dataset.sizes['seed']} nets for every n_k, blocks on the same samples"
    )
    return "\n".join([launch.wrap(title), launch.table(rows, header)])


def _mean(found: compare.Comparison, sign: str = "") -> str:
    return f"{float(found.mean):{sign}.5f} ± {float(found.sem):.5f}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
