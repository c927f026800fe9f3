"""Where does the kernel limit end: which initial scale makes a net learn features, and what does that do to memorizing?

net      f − f₀, the net without its output at initialization, by plain gradient descent
linear   ∂f₀·(W − W₀), its tangent at initialization, from the same weights, samples, batches and noise

At large initial scale the first becomes the second: the kernel [X14] stays (drift 0) and no features are learned. There
is no weight decay here: it pulls to zero and not to the initial weights, so that it would move a lazy run's kernel.
The rate is divided by scale² above scale 1, since the kernel grows like scale²: steps then do equal work in the limit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax import Array

from dae_theory import biases, boundary, compare, training
from dae_theory.checks import Refusal
from dae_theory.grid import Grid
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import lazy
from sims.nets import training as nets
from sims.worlds import sources
from sims.worlds.sources import SourceConfig, World

HALF = 0.5  # of the kernel's first size: the drift at which a run counts as neither lazy nor rich
NEAR = 0.1  # relative distance in function up to which net and linear model count as one


@dataclass(frozen=True)
class Config:
    """Train nets and their linear models from initial weights of every size, and see how far the kernel moves."""

    scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    """Expected norms of an initial column."""
    samples: tuple[int, ...] = (4, 8, 16, 32, 64)
    """n; a smaller set is the beginning of a larger one."""
    seeds: int = 8
    """Nets for every scale and n; every seed has its own data and its own directions of the initial weights."""
    seed: int = 0
    """Root of all randomness."""
    source: SourceConfig = field(default_factory=SourceConfig)
    noise_std: float = 0.2
    """σ."""
    width: int = 48
    """p."""
    biases: bool = False
    """Nets with biases of the encoder."""
    steps: int = 4000
    """Optimizer steps."""
    batch_size: int = 32
    """Noisy samples a step; with fewer samples each gets several draws."""
    learning_rate: float = 0.03
    """Constant rate of plain gradient descent up to scale 1; above, it is divided by the squared scale."""
    evaluation: int = 128
    """Noisy training points behind the index and the distance of net and linear model."""
    kernel_points: int = 64
    """Noisy training points between which the kernel is compared."""
    fresh: int = 1024
    """Noisy held-out points behind a test loss."""

    def settings(self, scale: Any, denoiser: Callable[[Weights, Weights, Array], Array]) -> training.Settings:
        """How one model is trained."""
        return training.Settings(
            noise_std=self.noise_std,
            weight_decay=0.0,
            learning_rate=self.learning_rate / jnp.maximum(1, scale**2),
            init_scale=scale,
            steps=self.steps,
            width=self.width,
            batch_size=self.batch_size,
            optimizer=optax.sgd,
            schedule=training.constant_rate,
            denoiser=biases.with_biases(denoiser) if self.biases else denoiser,
            hashed_noise=True,
        )


SMOKE = {
    "scales": (0.3, 3.0),
    "samples": (3, 6),
    "seeds": 2,
    "dimension": 6,
    "width": 8,
    "steps": 60,
    "evaluation": 16,
    "kernel_points": 6,
    "fresh": 32,
    "size": 6,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    config.source.check()
    limits.distinct(config, "scales", count=2)
    limits.distinct(config, "samples")
    limits.at_least(config, samples=1, seeds=2, width=1, steps=1, batch_size=1, evaluation=1, kernel_points=1, fresh=1)
    limits.above_zero(config, "scales", "noise_std", "learning_rate")
    most = sources.source(config.source).most_samples
    if most is not None and max(config.samples) > most:
        raise Refusal(f"--samples must be at most {most} of these data; got {max(config.samples)}")
    return replace(config, scales=tuple(sorted(config.scales)), samples=tuple(sorted(config.samples)))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Both models at every scale and n, and where the drift of the kernel falls through ½."""
    source, at = sources.source(config.source), config.source
    place = {"d": at.dimension, "K": at.components, "separation": at.separation}
    root = jax.random.key(config.seed)
    drawn = [
        source.draw(derive(root, "world", seed), place, max(config.samples), config.fresh)
        for seed in range(config.seeds)
    ]
    worlds = jax.tree.map(lambda *fields: jnp.stack(fields), *drawn)
    grid = Grid(scale=config.scales, n=config.samples, seed=range(config.seeds))
    run.expect(grid.size, 2 * grid.size * config.steps)
    found = run.ensemble("models", partial(_models, config=config, source=source), grid.points(), worlds)
    nets.need_finite("lazy_rich", found["finite"], config.learning_rate)
    dataset = grid.dataset(found)
    half = [
        boundary.locate(
            derive(root, "half", n), config.scales, dataset["drift"].sel(n=n).transpose("seed", "scale").values, HALF
        )
        for n in config.samples
    ]
    for name, part in (("half", "location"), ("half_low", "low"), ("half_high", "high")):
        dataset[name] = "n", [getattr(crossing, part) for crossing in half]
    return dataset.assign_attrs(
        data=at.data,
        truth=source.truth_is,
        dimension=int(worlds.pool.shape[-1]),
        width=config.width,
        biases=int(config.biases),
        noise_std=config.noise_std,
        steps=config.steps,
        learning_rate=config.learning_rate,
    )


def _models(point: dict[str, Array], worlds: World, *, config: Config, source: sources.Source) -> dict[str, Array]:
    """One net and its linear model, measured."""
    root = jax.random.key(config.seed)
    world = jax.tree.map(lambda leaf: leaf[point["seed"]], worlds)
    rows = world.rows(point["n"], jnp.ones((), point["n"].dtype), max(config.samples))
    scale, key = point["scale"].astype(rows.x.dtype), derive(root, "nets", point["seed"])
    x = biases.with_constant(rows.x) if config.biases else rows.x
    start = training.initial_weights(
        key, x.shape[1], config.width, scale=scale, tied=False, neurons=config.width, dtype=x.dtype
    )
    trained = {
        name: training.train(key, x, config.settings(scale, model), samples=rows.samples)
        for name, model in lazy.MODELS.items()
    }
    found = lazy.beside(
        derive(root, "noise", point["seed"]),
        start,
        {name: one.weights for name, one in trained.items()},
        rows,
        world,
        source,
        noise_std=config.noise_std,
        evaluation=config.evaluation,
        kernel_points=config.kernel_points,
    )
    return found | {"finite": trained["net"].finite & trained["linear"].finite}


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Both ends of the axis of scales, the laws towards the lazy one, where the drift is ½, and what features do."""
    scales = data["scale"].values
    small, large = scales[0], scales[-1]
    rich, kernel = data.sel(scale=small), data.sel(scale=large)
    paired = {name: data[name].mean("n") for name in ("drift", "distance")}  # one number a seed
    rows = [
        compare.mean(
            f"kernel drift at scale {small:g} less that at scale {large:g}",
            "[X14]  ‖K − K₀‖/‖K₀‖",
            paired["drift"].sel(scale=small) - paired["drift"].sel(scale=large),
            0.0,
            relation="≥",
        ),
        compare.mean(
            f"scale {large:g}: net and linear model apart, relative distance",
            f"[X14]  lazy: below {NEAR:g}",
            paired["distance"].sel(scale=large),
            NEAR,
            relation="≤",
        ),
        compare.mean(
            f"scale {small:g}: net and linear model apart, relative distance",
            f"[X14]  rich: above {NEAR:g}",
            paired["distance"].sel(scale=small),
            NEAR,
            relation="≥",
        ),
        compare.mean(
            f"scale {large:g}: index of the net less that of its linear model",
            "[X14]  0, to .01",
            (kernel["net_index"] - kernel["linear_index"]).mean("n"),
            0.0,
            tolerance=0.01,
            scale=1.0,
        ),
        *_laws(data),
    ]
    if len(data["n"]) > 1:
        few, many = data["n"].values[[0, -1]]
        fall = data["net_index"].sel(n=few) - data["net_index"].sel(n=many)
        rows += [
            compare.mean(
                f"fall of the index from n = {few} to {many}, at scale {scale:g}", "(3), (4)", fall.sel(scale=scale)
            )
            for scale in (small, large)
        ]
    for n in data["n"].values:
        at, first, last = data.sel(n=n), rich.sel(n=n), kernel.sel(n=n)
        rows += [
            compare.interval(
                f"n = {n}: scale at which the kernel drift falls through {HALF:g}",
                "[X14]",
                at["half"],
                at["half_low"],
                at["half_high"],
            ),
            compare.mean(
                f"n = {n}: index at scale {small:g} less that at scale {large:g}",
                "(3), (4)",
                first["net_index"] - last["net_index"],
            ),
            compare.mean(
                f"n = {n}: test loss at scale {small:g} over that at scale {large:g}",
                "E‖f − x‖²",
                first["net_test_loss"] / last["net_test_loss"],
            ),
        ]
    return rows


def _laws(data: xr.Dataset) -> list[compare.Row]:
    """Exponents in the scale between the third largest and the largest.

    W − W₀ ∝ 1/scale does a given work, so the movement falls like scale⁻². K follows it, like scale⁻², where no gate
    turns; a share ∝ scale⁻² of the gates does, each for entries of K of order one: like scale⁻¹ in the root of the mean
    square. Between few and many noisy points the exponent of the drift lies between the two.
    """
    small, large = data["scale"].values[-3:][[0, -1]]
    slopes = {}
    for name in ("net_movement", "drift"):
        log = xr.ufuncs.log((data[name] ** 2).mean("n")) / 2
        slopes[name] = (log.sel(scale=large) - log.sel(scale=small)) / np.log(large / small)
    words = f"in the scale, from {small:g} to {large:g}"
    movement, drift = f"exponent of weight movement {words}", f"exponent of kernel drift {words}"
    return [
        compare.mean(movement, "[X14]  ∝ scale^−2, to 5 %", slopes["net_movement"], -2.0, tolerance=0.05),
        compare.mean(drift, "[X14]  gates turn: ≤ −1", slopes["drift"], -1.0, relation="≤"),
        compare.mean(drift, "[X14]  no gate turns: −2", slopes["drift"], -2.0, relation="≥"),
    ]


def describe(data: xr.Dataset) -> str:
    """A line for every n and scale: means over the seeds."""
    head = ["n", "scale", "drift", "movement", "apart", "index", "linear", "test loss", "linear", "f_gt"]
    names = ("drift", "net_movement", "distance", "net_index", "linear_index")
    names += ("net_test_loss", "linear_test_loss", "best_test_loss")
    lines = []
    for n in data["n"].values:
        for scale in data["scale"].values:
            mean = data.sel(n=n, scale=scale).mean("seed")
            lines.append([f"{n}", f"{scale:g}", *(f"{float(mean[name]):.3g}" for name in names)])
    given = data.attrs
    biased = " with biases" if given["biases"] else ""
    words = (
        f"{given['data']}, d = {given['dimension']}, p = {given['width']}{biased}, σ = {given['noise_std']:g}, no"
        f" weight decay, {given['steps']} steps; means over {data.sizes['seed']} seeds; index 1 = memorizing,"
        f" f_gt is the {given['truth']}; apart: ‖f − linear‖/‖f‖ at noisy training points"
    )
    return "\n".join([launch.wrap(words), "", launch.table(lines, head), *nets.told_diverged(data["finite"])])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
