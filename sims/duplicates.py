"""Which of many samples are stored, and in which order: samples of unequal norms and multiplicities in one data set.

A sample with m_i copies is its own block, so it survives the weight decay iff m_i > m*_i = nλ/‖x_i‖², Cor. 3.4, with
squared norm [X3]. Along the way, under gradient descent from small weights, a tied column along x_i grows like
exp(4η(m_i‖x_i‖²/n − λ)t): half the noise opens its gate. More copies are stored earlier.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Train nets on samples with various numbers of copies and measure which are stored, how strongly and when."""

    copies: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 12)
    """m; every net sees each of them twice, on samples drawn for it."""
    radii: tuple[float, float] = (8.0, 14.0)
    """Smallest and largest norm of a sample; they are spread evenly and shuffled for every net."""
    dimension: int = 24
    """d."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    threshold: float = 4.4
    """m* of a sample of mean squared norm; it fixes λ."""
    width: int = 300
    """p; with 100 a tenth of the samples with m/m* from 1.2 to 1.5 finds no column: stronger ones have claimed all."""
    seeds: int = 24
    """Nets."""
    seed: int = 0
    """Root of all randomness."""
    steps: int = 6000
    """Steps of gradient descent: half at a constant rate, half with a cosine decay."""
    rate: float = 0.02
    """η times the largest m_i‖x_i‖²/n."""


SMOKE = {"copies": (1, 3, 8), "seeds": 2, "steps": 100, "width": 12}
TWICE = 2
ALIGNED = 0.9  # cosine to a sample from which on a column is counted as its own
SURVIVES = 0.02  # squared norm from which on a sample counts as stored
TIMES = 200


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if len(set(config.copies)) != len(config.copies) or min(config.copies) < 1:
        raise ValueError(f"--copies must be distinct and ≥ 1; got {list(config.copies)}")
    if not 0 < config.radii[0] <= config.radii[1]:
        raise ValueError(f"--radii must be positive and in order; got {list(config.radii)}")
    limits.at_least(config, seeds=2, steps=2, width=1, dimension=TWICE * len(config.copies))
    limits.above_zero(config, "threshold", "rate", "noise_std")
    return config


def hold_then_decay(steps: int) -> optax.Schedule:
    """The learning rate times 1 for half the steps, then a cosine down to 0."""
    hold = steps // 2
    return optax.join_schedules([optax.constant_schedule(1.0), optax.cosine_decay_schedule(1.0, steps - hold)], [hold])


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Every net's samples with their copies, norms, stored norms and times."""
    run.expect(config.seeds, config.seeds * config.steps)
    problems = [_problem(config, seed) for seed in range(config.seeds)]
    points = {name: np.stack([one[name] for one in problems]) for name in problems[0]}
    total = TWICE * sum(config.copies)
    decay = float(config.threshold * np.mean(np.linspace(*config.radii, len(points["copies"][0])) ** 2) / total)
    record_at = tuple(int(step) for step in np.unique(np.geomspace(1, config.steps, TIMES).astype(int)))
    member = partial(_member, config=config, decay=decay, record_at=record_at)
    measured = run.ensemble("nets", member, {"seed": np.arange(config.seeds), **points})
    square = np.sum(points["x"] ** 2, axis=2)
    predicted = [
        theory.duplicate_norm_squared(x, copies=m, samples=total, noise_std=config.noise_std, weight_decay=decay)
        for x, m in zip(points["x"].reshape(-1, config.dimension), points["copies"].ravel(), strict=True)
    ]
    star = np.asarray(theory.survival_copies(points["x"], samples=total, weight_decay=decay))
    fields = {
        "copies": points["copies"],
        "square": square,
        "star": star,
        "predicted": np.reshape(np.asarray(predicted), square.shape),
        "stored": np.asarray(measured["final"]),
        "half_time": np.asarray(measured["half_time"]),
        "rate": 4 * np.asarray(measured["learning_rate"])[:, None] * (points["copies"] * square / total - decay),
    }
    return xr.Dataset({name: (("seed", "sample"), values) for name, values in fields.items()}).assign_attrs(
        samples=total, weight_decay=decay, width=config.width, noise_std=config.noise_std, steps=config.steps,
        hold=config.steps // 2, survives=SURVIVES, dimension=config.dimension,
    )  # fmt: skip


def _problem(config: Config, seed: int) -> dict[str, np.ndarray]:
    """Samples on a simplex, stretched to their norms, and how often each appears."""
    key = derive(jax.random.key(config.seed), "data", seed)
    count = TWICE * len(config.copies)
    directions = data.simplex_means(derive(key, "simplex"), dimension=config.dimension, components=count, radius=1.0)
    norms = jax.random.permutation(derive(key, "norms"), np.linspace(*config.radii, count))
    copies = jax.random.permutation(derive(key, "copies"), np.repeat(config.copies, TWICE))
    return {"x": np.asarray(directions * norms[:, None]), "copies": np.asarray(copies)}


def _member(
    point: dict[str, Any], _: None, *, config: Config, decay: float, record_at: tuple[int, ...]
) -> dict[str, Any]:
    """One net: squared norm of the columns on every sample at the end, and when it first passed half of that."""
    total = TWICE * sum(config.copies)
    x, copies = point["x"], point["copies"]
    rows = jnp.repeat(jnp.arange(len(x)), copies, total_repeat_length=total)
    rate = config.rate / jnp.max(copies.astype(x.dtype) * jnp.sum(x**2, axis=1) / total)
    unit = x / jnp.linalg.norm(x, axis=1, keepdims=True)

    def stored(weights: Weights) -> Array:
        squares = jnp.sum(weights.encoder**2, axis=0)
        cosine = unit.astype(squares.dtype) @ weights.encoder / jnp.sqrt(squares + 1e-30)[None, :]
        return jnp.where(cosine > ALIGNED, 1.0, 0.0).astype(squares.dtype) @ squares

    settings = Settings(
        noise_std=config.noise_std, weight_decay=decay, learning_rate=rate, steps=config.steps, width=config.width,
        tied=True, init_scale=1e-2, optimizer=optax.sgd, schedule=hold_then_decay, record_at=record_at,
    )  # fmt: skip
    key = derive(jax.random.key(config.seed), "nets", point["seed"])
    history = train(key, x[rows].astype(jnp.float32), settings, observe=stored).history
    final = history.observed[-1]
    passed = history.observed >= final[None, :] / 2
    return {
        "final": final.astype(x.dtype),
        "half_time": jnp.where(final > SURVIVES, history.step[jnp.argmax(passed, axis=0)].astype(x.dtype), jnp.nan),
        "learning_rate": rate,
    }


def report(data: xr.Dataset) -> str:
    """Survival and norms by copies over m*, then the order."""
    ratio, stored = data["copies"] / data["star"], data["stored"]
    rows = []
    for low, high in BINS:
        inside = (ratio >= low) & (ratio < high)
        if not bool(inside.any()):
            continue
        error = (stored - data["predicted"]).where(inside)
        per_seed = error.mean("sample").dropna("seed").values
        found = compare.compare(0.0, per_seed, tolerance=0.02, scale=1.0)
        rows.append(
            [
                f"[{low:g}, {high:g})",
                f"{int(inside.sum())}",
                "yes" if low >= 1 else "no",
                f"{float((stored.where(inside) > SURVIVES).sum() / inside.sum()):.3f}",
                f"{float(data['predicted'].where(inside).mean()):.4f}",
                f"{float(stored.where(inside).mean()):.4f}",
                f"{float(found.mean):+.4f} ± {float(found.sem):.4f}",
                str(found.verdict),
            ]
        )
    right = ((stored > SURVIVES) == (data["predicted"] > SURVIVES)).mean()
    time, rate = data["half_time"].values.ravel(), data["rate"].values.ravel()
    used = np.isfinite(time) & (rate > 0)
    order = _rank_correlation(time[used], rate[used]) if used.sum() > 2 else float("nan")
    header = ["m/m*", "samples", "theory: stored", "stored", "[X3]", "norm²", "difference ± SEM", "within 0.02"]
    return "\n".join(
        [
            f"{data.sizes['sample']} samples in {data.attrs['samples']} copies, p = {data.attrs['width']}, λ = "
            f"{data.attrs['weight_decay']:.3g}, {data.sizes['seed']} nets",
            launch.table(rows, header),
            f"{float(right):.1%} of all samples are stored or not as [X3] says (norm² above {SURVIVES:g})",
            f"order: rank correlation of growth rate and time to half the final norm² {order:+.3f}",
        ]
    )


BINS = ((0, 0.5), (0.5, 0.8), (0.8, 1.0), (1.0, 1.2), (1.2, 1.5), (1.5, 2.0), (2.0, 3.0), (3.0, 10.0))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(first)), np.argsort(np.argsort(second)))[0, 1])


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
