"""From how many copies on does a net store one sample that stands beside abundant data? Cor. 3.4: m* = nλ/‖x‖².

A mixture's components and the sample x sit on a simplex, each component with directions of spread of its own. Nets are
trained for every number of copies m; the squared norm of the neurons on x is put beside [X3], r²‖x‖² =
(m‖x‖² − nλ)₊/(m(‖x‖² + σ²)), that of every component's neurons beside the sum of its gains (8).

Here one sample is duplicated, beside components that are learned as subspaces. In `sims.duplicates` there are no
components: every sample is duplicated, with other norms and other numbers of copies, and the order in time is measured.
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
from sims.nets.training import need_finite, told_diverged


@dataclass(frozen=True)
class Config:
    """Train nets on a mixture and m copies of one more sample, and measure which block gets how much norm.

    `sims.duplicates` is about many samples, all duplicated, without a mixture.
    """

    copies: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 11, 16, 32)
    """m."""
    components: int = 2
    """K of the mixture beside the copies."""
    per_component: int = 300
    """Samples a component."""
    dimension: int = 24
    """d."""
    radius: float = 6.0
    """Norm of the components' means and of the duplicated sample."""
    spread: float = 0.9
    """Standard deviation of a component in each of its two directions."""
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


SMOKE = {"copies": (2, 8), "per_component": 40, "seeds": 2, "steps": 50}
DIRECTIONS = 2
ALIGNED = 0.9  # cosine to x from which on a neuron is counted as its own
SURVIVES = 0.02  # squared norm from which on the sample counts as stored
TOLERANCE = 0.02


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "copies")
    limits.at_least(config, copies=1, seeds=2, components=1, steps=1, per_component=DIRECTIONS + 1, width=1)
    limits.above_zero(config, "threshold", "radius", "spread", "noise_std", "learning_rate")
    limits.at_least(config, dimension=config.components + DIRECTIONS * (config.components + 1))
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Measured and predicted squared norms of every block."""
    copies, others = np.asarray(sorted(config.copies)), config.components * config.per_component
    pool, labels, decay = _problem(config)
    grid = Grid(copies=copies, seed=np.arange(config.seeds))
    run.expect(grid.size, grid.size * config.steps)
    member = partial(_member, config=config, labels=labels, decay=decay)
    measured = run.ensemble("nets", member, grid.points(), pool)
    need_finite("hybrid", measured["finite"], config.learning_rate)
    dataset = grid.dataset(measured, {"components": ["component"]})

    def predicted(m: Any) -> Any:
        return theory.duplicate_norm_squared(
            pool[0], copies=m, samples=others + m, noise_std=config.noise_std, weight_decay=decay
        )

    fine = np.geomspace(copies[0], copies[-1], 200)
    dataset["sample_theory"] = "copies", [float(predicted(m)) for m in copies]
    dataset["fine_theory"] = "fine", [float(predicted(m)) for m in fine]
    dataset["components_theory"] = (
        ("copies", "component"),
        [_component_norms(config, pool, labels, m, decay) for m in copies],
    )
    square = float(jnp.sum(pool[0] ** 2))
    dataset = dataset.assign_coords(fine=fine).assign_attrs(
        others=others,
        square=square,
        weight_decay=decay,
        noise_std=config.noise_std,
        width=config.width,
        star=others * decay / (square - decay),
        dimension=config.dimension,
        survives=SURVIVES,
    )
    return with_threshold(dataset)


def _problem(config: Config) -> tuple[Array, np.ndarray, float]:
    """x in row 0, then the components' samples; labels −1 for x; λ."""
    key = derive(jax.random.key(config.seed), "data")
    count = config.components + 1
    means = data.simplex_means(derive(key, "means"), dimension=config.dimension, components=count, radius=config.radius)
    # directions of spread that see no other mean and component: a neuron shared by two of them costs less there
    drawn = jax.random.normal(derive(key, "spread"), (config.dimension, DIRECTIONS * count))
    basis, _ = jnp.linalg.qr(jnp.concatenate([means[:-1].T, drawn], axis=1))
    factors = config.spread * basis[:, count - 1 :].T.reshape(count, DIRECTIONS, config.dimension)
    mixture = data.GaussianMixture(jnp.full(count, 1 / count), means, jnp.swapaxes(factors, 1, 2))
    samples = mixture.sample_balanced(derive(key, "samples"), config.per_component)
    kept = np.asarray(samples.labels) < config.components
    pool = jnp.concatenate([mixture.means[-1:], samples.x[kept]])
    square, others = float(jnp.sum(pool[0] ** 2)), int(kept.sum())
    decay = config.threshold * square / (others + config.threshold)
    return pool, np.concatenate([[-1], np.asarray(samples.labels)[kept]]), decay


def _component_norms(config: Config, pool: Array, labels: np.ndarray, copies: int, decay: float) -> np.ndarray:
    """Σ_j (Λ_j − nλ)₊/(Λ_j + n_kσ²) of every component, (8)."""
    spectrum = theory.sample_spectrum(pool[1:], labels[1:], config.components)
    share = jnp.asarray(config.per_component / (len(pool) - 1 + copies))
    gains = theory.gain(spectrum.eigenvalues, share, ridge=config.noise_std**2, weight_decay=decay)
    return np.sum(gains, axis=1)


def _member(point: dict[str, Any], pool: Array, *, config: Config, labels: np.ndarray, decay: float) -> dict[str, Any]:
    """One net: squared norms of the neurons on x and of those on every component; NaN where it diverged."""
    most, copies = max(config.copies), point["copies"]
    source = jnp.maximum(jnp.arange(most + len(pool) - 1) - (copies - 1), 0)  # row 0 comes `copies` times
    settings = Settings(
        noise_std=config.noise_std,
        weight_decay=decay,
        learning_rate=config.learning_rate,
        steps=config.steps,
        width=config.width,
        tied=True,
    )
    key = derive(jax.random.key(config.seed), "nets", point["seed"])
    rows = jnp.minimum(source, len(pool) - 1)
    trained = train(key, pool[rows].astype(jnp.float32), settings, samples=copies + len(pool) - 1)
    weights = merge_parallel(jax.tree.map(lambda w: w.astype(jnp.float64), trained.weights)).weights
    squares = jnp.sum(weights.encoder**2, axis=0)
    cosine = pool[0] @ weights.encoder / (jnp.linalg.norm(pool[0]) * jnp.sqrt(squares + 1e-30))
    own = cosine > ALIGNED
    energy = activation_energy(weights, pool, jnp.asarray(labels), config.components)
    component = jnp.where(own, -1, jnp.argmax(energy, axis=0))
    inside = (component[None, :] == jnp.arange(config.components)[:, None]).astype(squares.dtype)
    measured = {"sample": jnp.sum(jnp.where(own, squares, 0.0)), "components": inside @ squares}
    measured = {name: jnp.where(trained.finite, values, jnp.nan) for name, values in measured.items()}
    return measured | {"finite": trained.finite}


def with_threshold(dataset: xr.Dataset) -> xr.Dataset:
    """The record, with what it says of m*: the norms' slope for every seed, and where nets start to store x.

    [X3] reads ‖x‖² − ‖w‖²(‖x‖² + σ²) = λ n/m, a line through 0 whose slope λ gives m* = n₀λ/(‖x‖² − λ) beside n₀ other
    samples. The band is from the largest m at which no net stored x to the smallest from which on all did.
    """
    given = dataset.attrs
    square, n = given["square"], given["others"] + dataset["copies"]
    stored = _stored(dataset) == 1
    gap = (square - dataset["sample"] * (square + given["noise_std"] ** 2)).where(stored)
    ratio = (n / dataset["copies"]).where(stored)
    decay = (gap * ratio).sum("copies") / (ratio**2).sum("copies")
    dataset["threshold"] = given["others"] * decay / (square - decay)
    share, copies = _stored(dataset).mean("seed").values, dataset["copies"].values
    always = np.minimum.accumulate(share[::-1])[::-1] == 1
    return dataset.assign_attrs(
        band_low=float(copies[share == 0].max(initial=0)),
        band_high=float(copies[always].min(initial=copies[-1])),
    )


def _stored(dataset: xr.Dataset) -> xr.DataArray:
    """1 where a net stored x, 0 where not, NaN where it diverged."""
    return (dataset["sample"] > dataset.attrs["survives"]).where(dataset["sample"].notnull())


def judge(dataset: xr.Dataset) -> list[compare.Row]:
    """Threshold, norms of the sample and of the components."""
    given, predicted = dataset.attrs, dataset["sample_theory"]
    low, high, star = (given[name] for name in ("band_low", "band_high", "star"))
    rows = [
        compare.interval(
            "copies from which on x is stored, between never and always",
            "Cor. 3.4  m* = nλ/‖x‖²",
            (low + high) / 2,
            low,
            high,
            star,
        )
    ]
    stored = _stored(dataset)
    for side, chosen, share in (("below", stored["copies"] < star, 0.0), ("above", stored["copies"] > star, 1.0)):
        there = stored.sel(copies=chosen)
        if count := int(there.count()):
            rows.append(compare.share(f"nets {side} m* that stored x", "Cor. 3.4", there.sum(), count, share))
    if bool((predicted > 0).any()):
        ratio = (dataset["sample"] / predicted).sel(copies=predicted > 0).mean("copies", skipna=False)
        label = "Cor. 3.4  r²‖x‖² = (m‖x‖² − nλ)/(m(‖x‖² + σ²)) [X3]"
        claim = "norm of the neurons on x over predicted, above m*"
        rows.append(compare.mean(claim, label, ratio, 1.0, tolerance=TOLERANCE))
    if bool((stored == 1).any()):
        label = "[X3]  ‖x‖² − ‖w‖²(‖x‖² + σ²) = λn/m"
        slope = dataset["threshold"]
        rows.append(compare.mean("m* from the slope of the stored norms", label, slope, star, tolerance=TOLERANCE))
    gap = float(abs(dataset["sample"].mean("seed", skipna=False) - predicted).max(skipna=False))
    components = (dataset["components"] / dataset["components_theory"]).mean(("copies", "component"), skipna=False)
    return [
        *rows,
        compare.number(
            "largest gap of the mean norm on x from predicted, over m", "[X3]", gap, TOLERANCE, relation="≤"
        ),
        compare.mean("norm of the components' neurons over predicted", "(8)", components, 1.0, tolerance=TOLERANCE),
    ]


def describe(dataset: xr.Dataset) -> str:
    """Norms beside theory for every m."""
    rows = []
    stored = _stored(dataset).mean("seed")
    for m in dataset["copies"].values:
        at = dataset.sel(copies=m)
        sample = compare.compare(float(at["sample_theory"]), at["sample"].values)
        components = compare.compare(at["components_theory"].values, at["components"].transpose("seed", "component"))
        rows.append(
            [
                f"{m}",
                f"{float(sample.predicted):.4f}",
                f"{float(sample.mean):.4f} ± {float(sample.sem):.4f}",
                f"{float(stored.sel(copies=m)):.2f}",
                " ".join(f"{value:.3f}" for value in np.asarray(components.predicted)),
                " ".join(f"{v:.3f} ± {s:.3f}" for v, s in zip(components.mean, components.sem, strict=True)),
            ]
        )
    title = (
        f"{dataset.attrs['others']} samples in {dataset.sizes['component']} components and m copies of x,"
        f" p = {dataset.attrs['width']}, λ = {dataset.attrs['weight_decay']:.3g}, {dataset.sizes['seed']} seeds;"
        f" m* = n₀λ/(‖x‖² − λ) = {dataset.attrs['star']:.3f}"
    )
    header = ["m", "[X3]", "norm² on x, mean ± SEM", "stored", "components (8)", "mean ± SEM"]
    return "\n".join([launch.wrap(title), launch.table(rows, header), *told_diverged(dataset["finite"])])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
