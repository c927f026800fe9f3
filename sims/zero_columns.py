"""Does a zero column stay zero? The growth of a newcomer beside a memorized sample, exactly and in trained nets.

exact   growth ⟨g(u), v⟩ − λ of a pair ε(u, v), [X5], from the gradient of the exact risk at a zero decoder column
        beside (9); the λ where it changes sign, for u orthogonal to the sample and for the best u of all
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

from dae_theory import compare, risk, theory
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
    decays: tuple[float, ...] = (0.3, 0.5, 0.7, 0.85, 0.95, 1.05, 1.15, 1.3, 1.6, 2.0)
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


SMOKE = {"ratios": (4.0, 8.0), "decays": (0.5, 1.5), "seeds": 2, "steps": 100}
OPEN = 4.0  # R/σ from which on the formulas claim to hold: the sample's own gate is open
TOLERANCE = 0.01
FINE = np.linspace(0, 2, 21)  # λ/λ* of the growth curves


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    for option, values, least in (("--ratios", config.ratios, 1), ("--decays", config.decays, np.nextafter(0, 1))):
        if not values or not min(values) >= least or len(set(values)) != len(values):
            raise ValueError(f"{option} must be distinct values {'≥ 1' if least == 1 else '> 0'}; got {list(values)}")
    limits.at_least(config, seeds=2, steps=1, extra=1, dimension=2)
    limits.above_zero(config, "noise_std", "net_ratio", "start", "learning_rate")
    radius = config.net_ratio * config.noise_std
    most = radius**2 / float(theory.orthogonal_growth_threshold(radius, config.noise_std))
    if max(config.decays) >= most:
        raise ValueError(f"--decays must be below R²/λ* = {most:.3g}, or (9) vanishes; got {list(config.decays)}")
    if not 0 <= config.momentum < 1:
        raise ValueError(f"--momentum must lie in [0, 1); got {config.momentum}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Growth and thresholds from the exact risk for every R/σ, then the nets."""
    decays, seeds = np.asarray(sorted(config.decays)), np.arange(config.seeds)
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
    """⟨g(u), x/R⟩ of [X5] beside (9) of one sample, for u at the given cosine to it; g has no other component.

    (6) with a pair (u, w) appended is quadratic in w, and its data term has the derivative −2g(u) in w at w = 0: the
    exact risk gives g without any step size.
    """
    x = jnp.stack([radius, jnp.zeros_like(radius)])[None]
    weights = theory.memorizing_weights(x, noise_std=noise_std, weight_decay=weight_decay, width=2)
    newcomer = jnp.stack([cosine, jnp.sqrt(1 - cosine**2)])
    encoder = weights.encoder.at[:, 1].set(newcomer)

    def objective(decoder: Array) -> Array:
        return risk.expected_loss(Weights(decoder, encoder), x, noise_std=noise_std, weight_decay=weight_decay)

    return -jax.grad(objective)(weights.decoder)[0, 1] / 2


def _exact(radius: float, noise_std: float) -> dict[str, Any]:
    """Thresholds by root finding on the exact risk, and theory's, for one R and σ."""
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
        drawn = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
        return columns.at[:, 1:].set(config.start * own * drawn.T)

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


def report(data: xr.Dataset) -> str:
    """Thresholds from the exact risk beside theory's, then what the nets did."""
    rows = []
    for ratio in data["ratio"].values:
        at = data.sel(ratio=ratio)
        row = [f"{ratio:g}"]
        for name in ("orthogonal", "all"):
            deviation = float(at[name] / at[f"{name}_theory"]) - 1
            row += [f"{float(at[f'{name}_theory']):.6g}", f"{float(at[name]):.6g}", f"{deviation:+.1e}"]
        inside = ratio >= data.attrs["open"]
        holds = all(abs(float(at[name] / at[f"{name}_theory"]) - 1) <= TOLERANCE for name in ("orthogonal", "all"))
        rows.append([*row, ("holds" if holds else "FAILS") if inside else "outside R/σ ≥ 4"])
    header = ["R/σ", "λ*", "exact risk", "deviation", "λ, all directions", "exact risk", "deviation", "within 1 %"]

    nets, obeyed = [], 0
    for decay in data["decay"].values:
        at = data.sel(decay=decay)
        grows = decay < data.attrs["net_threshold"]
        obeyed += int((at["grew"] == grows).sum())
        size = compare.compare(0.0, at["size"].values, scale=1.0)
        nets.append(
            [
                f"{decay:g}",
                "grows" if grows else "stays",
                f"{float(at['grew'].mean()):.2f}",
                f"{float(size.mean):.2e} ± {float(size.sem):.1e}",
                f"{float(at['cosine'].median()):+.3f}",
                f"{float(at['gradient'].max()):.0e}",
            ]
        )
    columns = ["λ/λ*", "theory", "share that grew", "size, mean ± SEM", "median cosine to x", "largest gradient"]
    return "\n".join(
        [
            "weight decay below which a zero column grows, σ = " + f"{data.attrs['noise_std']:g}",
            launch.table(rows, header),
            "",
            f"nets with p = {1 + data.attrs['extra']}, n = 1, R/σ = {data.attrs['net_ratio']:g}: {data.sizes['seed']} a"
            f" λ, size Σ‖w1‖‖w2‖ of the extra columns over that of (9), {data.attrs['start']:.1e} at the start;"
            f" threshold over all directions {data.attrs['net_threshold']:.3f} λ*",
            launch.table(nets, columns),
            f"{obeyed} of {data['grew'].size} nets do as the threshold says",
        ]
    )


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
