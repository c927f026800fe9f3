"""Which of many duplicated samples are stored, and in which order?

A sample with m_i copies is its own block, so it survives the weight decay iff m_i > m*_i = nλ/‖x_i‖², Cor. 3.4, with
squared norm [X3]. Along the way, under gradient descent from small weights, a tied column along x_i grows like
exp(4η(m_i‖x_i‖²/n − λ)t): half the noise opens its gate. More copies are stored earlier.

Here every sample is duplicated, with norms and numbers of copies of its own, and nothing else is learned. In
`sims.hybrid` one sample is duplicated, beside a mixture whose components are learned as subspaces.
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
from scipy import stats

from dae_theory import compare, data, theory
from dae_theory.checks import Refusal
from dae_theory.directions import unit
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, train
from sims import launch
from sims.launch import limits
from sims.nets.training import need_finite, told_diverged


@dataclass(frozen=True)
class Config:
    """Train nets on samples with various numbers of copies and measure which are stored, how strongly and when.

    `sims.hybrid` is about one duplicated sample beside a mixture.
    """

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
    learning_rate: float = 0.02
    """η times the largest m_i‖x_i‖²/n."""


SMOKE = {"copies": (1, 3, 8), "seeds": 2, "steps": 100, "width": 12}
TWICE = 2
ALIGNED = 0.9  # cosine to a sample from which on a column is counted as its own
SURVIVES = 0.02  # squared norm from which on a sample counts as stored
NEAR = 1.2  # m/m* up to which the growth is too slow for the steps taken
TIMES = 200


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "copies")
    limits.above_zero(config, "threshold", "learning_rate", "noise_std", "radii")
    if config.radii[0] > config.radii[1]:
        raise Refusal(f"--radii must be in order; got {list(config.radii)}")
    limits.at_least(config, copies=1, seeds=2, steps=2, width=1, dimension=TWICE * len(config.copies))
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
    need_finite("duplicates", measured["finite"], config.learning_rate)
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
        "growth_rate": 4 * np.asarray(measured["learning_rate"])[:, None] * (points["copies"] * square / total - decay),
    }
    dataset = xr.Dataset({name: (("seed", "sample"), values) for name, values in fields.items()})
    dataset["finite"] = "seed", np.asarray(measured["finite"])
    dataset = dataset.assign_attrs(
        samples=total,
        weight_decay=decay,
        width=config.width,
        noise_std=config.noise_std,
        steps=config.steps,
        hold=config.steps // 2,
        survives=SURVIVES,
        dimension=config.dimension,
    )
    return with_fits(dataset)


def with_fits(dataset: xr.Dataset) -> xr.Dataset:
    """The record, with the rms difference of the norms from [X3], and with time = height · rate^slope fitted in logs.

    `timed` says which samples count: those that are stored and should grow. `height` is that of the line of slope −1.
    """
    rate, time = dataset["growth_rate"], dataset["half_time"]
    timed = (time.notnull() & (rate > 0)).values
    logs = np.log(np.where(timed, rate.values, 1)[timed]), np.log(np.where(timed, time.values, 1)[timed])
    enough = timed.sum() > 2
    return dataset.assign(timed=(time.dims, timed)).assign_attrs(
        rms=float(np.sqrt(((dataset["predicted"] - dataset["stored"]) ** 2).mean())),
        height=float(np.exp(np.mean(logs[0] + logs[1]))) if enough else np.nan,
        slope=float(np.polyfit(*logs, 1)[0]) if enough else np.nan,
        rank_correlation=float(np.asarray(stats.spearmanr(*logs))[0]) if enough else np.nan,
    )


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
    rate = config.learning_rate / jnp.max(copies.astype(x.dtype) * jnp.sum(x**2, axis=1) / total)
    directions = unit(x)

    def stored(weights: Weights) -> Array:
        squares = jnp.sum(weights.encoder**2, axis=0)
        cosine = directions.astype(squares.dtype) @ weights.encoder / jnp.sqrt(squares + 1e-30)[None, :]
        return jnp.where(cosine > ALIGNED, 1.0, 0.0).astype(squares.dtype) @ squares

    settings = Settings(
        noise_std=config.noise_std,
        weight_decay=decay,
        learning_rate=rate,
        steps=config.steps,
        width=config.width,
        tied=True,
        init_scale=1e-2,
        optimizer=optax.sgd,
        schedule=hold_then_decay,
        record_at=record_at,
    )
    key = derive(jax.random.key(config.seed), "nets", point["seed"])
    trained = train(key, x[rows].astype(jnp.float32), settings, observe=stored)
    history = trained.history
    final = jnp.where(trained.finite, history.observed[-1], jnp.nan)
    passed = history.observed >= final[None, :] / 2
    return {
        "final": final.astype(x.dtype),
        "half_time": jnp.where(final > SURVIVES, history.step[jnp.argmax(passed, axis=0)].astype(x.dtype), jnp.nan),
        "learning_rate": rate,
        "finite": trained.finite,
    }


def judge(dataset: xr.Dataset) -> list[compare.Row]:
    """Survival on both sides of m*, norms, order; of the nets that did not diverge."""
    given, ratio = dataset.attrs, dataset["copies"] / dataset["star"]
    measured = dataset["stored"].notnull()
    stored = dataset["stored"] > given["survives"]
    far, near = ratio > NEAR, (ratio > 1) & (ratio <= NEAR)
    groups = (
        ("samples with m < m* that are stored", "Cor. 3.4  m* = nλ/‖x‖²", ratio < 1, 0.0),
        (f"samples with m > {NEAR:g} m* that are stored", "Cor. 3.4", far, 1.0),
        (
            f"samples with m from m* to {NEAR:g} m* stored so far: the growth rate vanishes at m*",
            "Cor. 3.4",
            near,
            None,
        ),
    )
    rows = []
    for claim, label, chosen, predicted in groups:
        chosen = chosen & measured
        if count := int(chosen.sum()):
            rows.append(compare.share(claim, label, (stored & chosen).sum(), count, predicted))
    right = (stored == (dataset["predicted"] > given["survives"])) & measured
    claim = f"samples that are stored or not as [X3] says: norm above {given['survives']:g}"
    rows.append(compare.share(claim, "[X3]", right.sum(), measured.sum()))
    gap = (dataset["stored"] - dataset["predicted"]).where(stored).mean("sample").dropna("seed")
    if gap.size:
        claim = "norm of stored samples minus predicted"
        rows.append(compare.mean(claim, "[X3]", gap, 0.0, tolerance=0.01, scale=1.0))
    if np.isfinite(given["slope"]):
        label = "time ∝ 1/(4η(m‖x‖²/n − λ))"
        claim = "power of the growth rate in the time to half the norm"
        rows.append(compare.number(claim, label, given["slope"], -1.0, tolerance=0.1))
        claim = "rank correlation of the growth rate and the time to half the norm"
        rows.append(compare.number(claim, label, given["rank_correlation"]))
    return rows


BINS = ((0, 0.5), (0.5, 0.8), (0.8, 1.0), (1.0, 1.2), (1.2, 1.5), (1.5, 2.0), (2.0, 3.0), (3.0, 10.0))


def describe(dataset: xr.Dataset) -> str:
    """Survival and norms by copies over m*."""
    ratio, stored = dataset["copies"] / dataset["star"], dataset["stored"]
    rows = []
    for low, high in BINS:
        inside = (ratio >= low) & (ratio < high) & stored.notnull()
        if not bool(inside.any()):
            continue
        gap = (stored - dataset["predicted"]).where(inside).mean("sample").dropna("seed").values
        found = compare.compare(0.0, gap, scale=1.0)
        rows.append(
            [
                f"[{low:g}, {high:g})",
                f"{int(inside.sum())}",
                f"{float((stored.where(inside) > SURVIVES).sum() / inside.sum()):.3f}",
                f"{float(dataset['predicted'].where(inside).mean()):.4f}",
                f"{float(stored.where(inside).mean()):.4f}",
                f"{float(found.mean):+.4f} ± {float(found.sem):.4f}",
            ]
        )
    title = (
        f"{dataset.sizes['sample']} samples in {dataset.attrs['samples']} copies, p = {dataset.attrs['width']},"
        f" λ = {dataset.attrs['weight_decay']:.3g}, {dataset.sizes['seed']} nets"
    )
    header = ["m/m*", "samples", "stored", "[X3]", "norm²", "difference ± SEM"]
    return "\n".join([launch.wrap(title), launch.table(rows, header), *told_diverged(dataset["finite"])])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
