"""Does a zero column stay zero? The growth of a newcomer beside a memorized sample, exactly and in trained nets.

exact   growth ⟨g(u), v⟩ − λ of a pair ε(u, v), [X5], from the exact g beside (9), all gates counted; the λ where it
        changes sign, for u orthogonal to the sample and for the best u of all
nets    p > n: (9) with small random columns behind it, gradient descent on the exact risk, for λ around the threshold
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from scipy.optimize import minimize_scalar, root_scalar

from dae_theory import certify, compare, risk, theory
from dae_theory.checks import Refusal
from dae_theory.directions import unit
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Find the weight decay that keeps zero columns zero beside one memorized sample, and see whether nets obey it."""

    ratios: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
    """R/σ ≥ 1, the sample's norm over the noise; theory claims to hold from 4 on."""
    noise_std: float = 0.2
    """σ; with R/σ it fixes the norm R of the sample."""
    weight_decays: tuple[float, ...] = (0.3, 0.5, 0.7, 0.85, 0.95, 1.05, 1.15, 1.3, 1.6, 2.0)
    """λ of the nets, in units of λ*."""
    net_ratio: float = 5.0
    """R/σ of the nets' sample."""
    dimension: int = 8
    """d of the nets."""
    extra: int = 4
    """Random columns behind the neuron of (9); p = 1 + extra."""
    start: float = 0.03
    """Norm of a random column over that of the column of (9)."""
    seeds: int = 16
    """Nets a λ; the random columns are the same for every λ."""
    seed: int = 0
    """Root of all randomness."""
    steps: int = 12000
    """Steps of gradient descent with momentum on the exact risk: no noise is drawn."""
    learning_rate: float = 0.2
    """Step size in units of 1/R²."""
    momentum: float = 0.95
    """Of gradient descent, in [0, 1)."""


SMOKE = {"ratios": (4.0, 8.0), "weight_decays": (0.5, 1.5), "seeds": 2, "steps": 500}
OPEN = 4.0  # R/σ from which on the formulas claim to hold: the sample's own gate is open
TOLERANCE = 0.01  # to which a threshold should come out
FINE = np.linspace(0, 2, 21)  # λ/λ* of the growth curves


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "ratios", "weight_decays")
    limits.at_least(config, ratios=1)
    limits.at_least(config, seeds=2, steps=1, extra=1, dimension=2)
    limits.above_zero(config, "weight_decays", "noise_std", "net_ratio", "start", "learning_rate")
    radius = config.net_ratio * config.noise_std
    most = radius**2 / float(theory.orthogonal_growth_threshold(radius, config.noise_std))
    if max(config.weight_decays) >= most:
        given = list(config.weight_decays)
        raise Refusal(f"--weight-decays must be below R²/λ* = {most:.3g}, or (9) vanishes; got {given}")
    if not 0 <= config.momentum < 1:
        raise Refusal(f"--momentum must lie in [0, 1); got {config.momentum}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Growth and thresholds from the exact risk for every R/σ, then the nets."""
    decays, seeds = np.asarray(sorted(config.weight_decays)), np.arange(config.seeds)
    run.expect(len(decays) * len(seeds), len(decays) * len(seeds) * config.steps)
    exact = [_exact(ratio * config.noise_std, config.noise_std) for ratio in sorted(config.ratios)]
    ratio = ("ratio", np.asarray(sorted(config.ratios)))
    fields = {
        name: (("ratio", "fine") if np.ndim(value) else "ratio", np.asarray([one[name] for one in exact]))
        for name, value in exact[0].items()
    }
    dataset = xr.Dataset(fields, coords={"ratio": ratio, "fine": FINE})

    radius = config.net_ratio * config.noise_std
    star = float(theory.orthogonal_growth_threshold(radius, config.noise_std))
    grid = Grid(decay=decays, seed=seeds)
    nets = run.ensemble("nets", partial(_net, config=config, star=star), grid.points())
    dataset = xr.merge([dataset, grid.dataset(nets)])
    return dataset.assign_attrs(
        noise_std=config.noise_std,
        net_ratio=config.net_ratio,
        extra=config.extra,
        star=star,
        net_threshold=float(theory.growth_threshold(radius, config.noise_std)) / star,
        start=config.extra * config.start**2,
        open=OPEN,
    )


@jax.jit
def _pull(radius: Any, noise_std: Any, weight_decay: Any, cosine: Any) -> Array:
    """⟨g(u), x/R⟩ of [X5] beside (9) of one sample, for u at the given cosine to it; g has no other component."""
    x = jnp.stack([radius, jnp.zeros_like(radius)])[None]
    weights = theory.memorizing_weights(x, noise_std=noise_std, weight_decay=weight_decay)
    newcomer = jnp.stack([cosine, jnp.sqrt(1 - cosine**2)])
    return certify.newcomer_pull(weights, x, newcomer, noise_std=noise_std)[0]


def _exact(radius: float, noise_std: float) -> dict[str, Any]:
    """Thresholds by root finding on the exact pull, and theory's, for one R and σ."""
    star = float(theory.orthogonal_growth_threshold(radius, noise_std))

    def growth(weight_decay: float, cosine: float = 0.0) -> float:
        return float(_pull(*map(jnp.asarray, (radius, noise_std, weight_decay, cosine)))) - weight_decay

    def threshold(cosine: float) -> float:
        return root_scalar(growth, args=(cosine,), bracket=(star / 2, star * 2), xtol=1e-12 * star).root

    # the steepest newcomer that is not the sample's own neuron leans by less than σ/R, theory.growth_threshold
    lean: Any = minimize_scalar(lambda c: -threshold(c), bounds=(0, noise_std / radius), method="bounded")
    decays = FINE * star
    return {
        "growth": [growth(decay) for decay in decays],
        "growth_theory": [
            float(theory.growth_force(0.0, radius, noise_std=noise_std, weight_decay=decay)) - decay for decay in decays
        ],
        "decay_fine": decays,
        "orthogonal": threshold(0.0),
        "orthogonal_theory": star,
        "all": -lean.fun,
        "all_theory": float(theory.growth_threshold(radius, noise_std)),
        "lean": lean.x,
    }


def _net(point: dict[str, Any], _: None, *, config: Config, star: float) -> dict[str, Any]:
    """One net: (9) and random columns behind it, followed down the exact risk."""
    radius = config.net_ratio * config.noise_std
    decay = point["decay"] * star
    x = jnp.zeros((1, config.dimension)).at[0, 0].set(radius)
    begin = theory.memorizing_weights(x, noise_std=config.noise_std, weight_decay=decay, width=1 + config.extra)
    own = jnp.linalg.norm(begin.encoder[:, 0])
    root = derive(jax.random.key(config.seed), "extra columns", point["seed"])

    def with_extra(columns: Array, purpose: str) -> Array:
        drawn = jax.random.normal(derive(root, purpose), (config.extra, config.dimension), x.dtype)
        return columns.at[:, 1:].set(config.start * own * unit(drawn).T)

    begin = Weights(with_extra(begin.decoder, "decoder"), with_extra(begin.encoder, "encoder"))
    gradient = jax.grad(partial(risk.expected_loss, x=x, noise_std=config.noise_std, weight_decay=decay))
    rate = config.learning_rate / radius**2

    def step(carry: tuple[Weights, Weights], _: None):
        weights, velocity = carry
        velocity = jax.tree.map(lambda v, g: config.momentum * v - rate * g, velocity, gradient(weights))
        return (jax.tree.map(jnp.add, weights, velocity), velocity), None

    still = jax.tree.map(jnp.zeros_like, begin)
    (weights, _), _ = jax.lax.scan(step, (begin, still), None, length=config.steps)
    sizes = jnp.linalg.norm(weights.encoder, axis=0) * jnp.linalg.norm(weights.decoder, axis=0)
    steepness = jnp.linalg.norm(jnp.concatenate(jax.tree.leaves(gradient(weights))))
    size = jnp.sum(sizes[1:]) / own**2
    largest = 1 + jnp.argmax(sizes[1:])
    return {
        "size": size,
        "grew": jnp.where(size > config.extra * config.start**2, 1.0, 0.0),
        "cosine": weights.encoder[0, largest] / jnp.linalg.norm(weights.encoder[:, largest]),
        "gradient": steepness,
    }


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Thresholds from the exact risk over theory's, then what the nets did on both sides."""
    reliable = data.where(data["ratio"] >= data.attrs["open"], drop=True)
    rows = []
    for name, words, equation in (
        ("orthogonal", "orthogonal to the sample", "[X5]  λ* = κσ²/(1 − κ)"),
        ("all", "over all directions", "[X5]  max over c of κσ²e^(−t²/2)/(1 − cΦ(t) − κe^(−t²/2)), t = cR/σ"),
    ):
        ratio = (reliable[name] / reliable[f"{name}_theory"]).values
        worst = ratio[abs(ratio - 1).argmax()] if ratio.size else np.nan
        claim = f"growth threshold, newcomer {words}: exact risk over theory, worst of R/σ ≥ {data.attrs['open']:g}"
        rows.append(compare.number(claim, equation, worst, 1.0, tolerance=TOLERANCE))
    below = data["decay"] < data.attrs["net_threshold"]
    for side, words, predicted in ((below, "below", 1), (~below, "above", 0)):
        grew = data["grew"].where(side, drop=True)
        if grew.size:
            claim = f"nets {words} the threshold whose extra columns grew"
            rows.append(compare.share(claim, "[X5]", grew.sum(), grew.size, predicted))
    closest = [data["decay"].where(below, drop=True)[-1:], data["decay"].where(~below, drop=True)[:1]]
    for decay in (float(value) for side in closest for value in side):
        claim = f"size of the extra columns over that of (9), at λ = {decay:g} λ*"
        rows.append(compare.mean(claim, "(9)", data["size"].sel(decay=decay)))
    return rows


def describe(data: xr.Dataset) -> str:
    """Thresholds at every R/σ, then the nets at every λ."""
    rows = []
    for ratio in data["ratio"].values:
        at = data.sel(ratio=ratio)
        row = [f"{ratio:g}"]
        for name in ("orthogonal", "all"):
            deviation = float(at[name] / at[f"{name}_theory"]) - 1
            row += [f"{float(at[f'{name}_theory']):.6g}", f"{deviation:+.1e}"]
        rows.append(row)
    header = ["R/σ", "λ*, [X5]", "exact risk", "λ of all directions, [X5]", "exact risk"]
    nets = []
    for decay in data["decay"].values:
        at = data.sel(decay=decay)
        size = compare.compare(0.0, at["size"].values, scale=1.0)
        nets.append(
            [
                f"{decay:g}",
                "grows" if decay < data.attrs["net_threshold"] else "stays",
                f"{float(at['grew'].mean()):.2f}",
                f"{float(size.mean):.2e} ± {float(size.sem):.1e}",
                f"{float(at['cosine'].median()):+.3f}",
                f"{float(at['gradient'].max()):.0e}",
            ]
        )
    columns = ["λ/λ*", "theory", "share that grew", "size, mean ± SEM", "median cosine to x", "‖∂L‖ (max)"]
    exact = f"weight decay below which a zero column grows, σ = {data.attrs['noise_std']:g}; exact risk: its deviation"
    trained = (
        f"nets with p = {1 + data.attrs['extra']}, n = 1, R/σ = {data.attrs['net_ratio']:g}: {data.sizes['seed']} a λ,"
        f" size Σ‖w1‖‖w2‖ of the extra columns over that of (9), {data.attrs['start']:.1e} at the start; threshold over"
        f" all directions {data.attrs['net_threshold']:.3f} λ*"
    )
    tables = (launch.wrap(exact), launch.table(rows, header), "", launch.wrap(trained), launch.table(nets, columns))
    return "\n".join(tables)


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
