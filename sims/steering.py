"""Does steering (11) move generalized samples smoothly and memorized ones in jumps? Response curves, measured.

Data: K clusters with many samples each, and one sample present m times. Sources: the repeated sample (memorized) and
fresh points of the first cluster (generalized). Targets: the second cluster, for both; for generalized points also the
quarter of their own cluster that reaches furthest in one direction. v is the mean representation of the noised target.

One application, f(y) + a W₂v, is affine in a whatever the weights are. So (11) is applied k times at one noise level,
or at every step of a sampler, and curves are drawn over the dose: the sum of all a. f is positively homogeneous, which
leaves lengths open, so outputs are compared by direction. Models: trained nets, the block weights of theory, f_gt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, memorization, noise, sampling, steering, theory
from dae_theory.randomness import derive
from dae_theory.training import Settings
from sims import launch
from sims.launch import limits
from sims.measures.chains import unit
from sims.nets import noise_levels

CONDITIONS = ("generalized, own cluster", "generalized, other cluster", "memorized, other cluster")
MODELS = ("nets", "analytic", "f_gt")
SAMPLER = "sampler"
JUMP = 1.5  # twice as many doses shrink the largest step of a smooth curve by 2, of a jump by 1


@dataclass(frozen=True)
class Config:
    """Steer memorized and generalized samples of a hybrid net and measure how smoothly they respond."""

    components: int = 3
    """K clusters with many samples; the repeated sample lies where mean K + 1 of the simplex is."""
    samples: int = 384
    """Training samples of each cluster."""
    copies: int = 96
    """m, how often the repeated sample is present."""
    seeds: int = 8
    """Replicates: each has its own data, nets and noise."""
    seed: int = 0
    """Root of all randomness."""
    dimension: int = 16
    """d."""
    radius: float = 3.0
    """Norm of the means and of the repeated sample."""
    rank: int = 3
    """r, directions of a cluster."""
    spread: float = 0.8
    """Standard deviation of a cluster in each of them."""
    highest: float = 0.5
    """σ from which steered chains start, at a sample with noise."""
    lowest: float = 0.02
    """Last σ before 0."""
    levels: int = 14
    """Geometric noise levels, one net each."""
    iterations: tuple[int, ...] = (1, 3, 10, 30)
    """k, applications of (11) at one noise level, the middle one."""
    dose: float = 4.0
    """Largest sum of all strengths a of a run."""
    doses: int = 81
    """Equally spaced doses from 0 on; odd, since every second one is also looked at alone."""
    chains: int = 64
    """Steered samples a condition."""
    width: int = 48
    """p of the nets."""
    steps: int = 3000
    """Optimizer steps of a net."""
    batch_size: int = 64
    """Samples a step."""
    learning_rate: float = 5e-3
    """Highest learning rate of the schedule."""
    init_scale: float = 0.03
    """Expected norm of an initial column."""
    weight_decay: float = 3e-3
    """λ of (6)."""


SMOKE = {"seeds": 2, "levels": 3, "iterations": (2,), "doses": 9, "chains": 8, "steps": 40, "samples": 32,
         "copies": 8, "dimension": 8, "rank": 2, "width": 16}  # fmt: skip


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(
        config, components=2, samples=2, copies=1, seeds=2, levels=2, chains=2, width=1, steps=1, batch_size=1, rank=1
    )
    limits.above_zero(config, "radius", "spread", "lowest", "dose", "learning_rate", "init_scale")
    if config.rank > config.dimension - config.components:
        raise ValueError(f"--rank must be at most d − K = {config.dimension - config.components}; got {config.rank}")
    if not config.highest > config.lowest:
        raise ValueError(f"--highest must be above --lowest = {config.lowest}; got {config.highest}")
    if config.doses < 5 or config.doses % 2 == 0:
        raise ValueError(f"--doses must be odd and at least 5; got {config.doses}")
    if not config.iterations or min(config.iterations) < 1 or len(set(config.iterations)) != len(config.iterations):
        raise ValueError(f"--iterations must be distinct whole numbers ≥ 1; got {list(config.iterations)}")
    total = config.components * config.samples + config.copies
    most = min(config.copies * config.radius**2, config.samples * config.spread**2) / total / 2
    if not 0 <= config.weight_decay < most:
        raise ValueError(f"--weight-decay must lie in [0, {most:.3g}), or theory's weights may vanish;"
                         f" got {config.weight_decay}")  # fmt: skip
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train one set of nets a seed as one ensemble, then steer."""
    schedule = sampling.geometric_schedule(config.highest, config.lowest, config.levels)
    run.expect(config.seeds * config.levels, config.seeds * config.levels * config.steps)
    worlds = [_world(config, seed) for seed in range(config.seeds)]
    settings = Settings(
        steps=config.steps, width=config.width, batch_size=config.batch_size, learning_rate=config.learning_rate,
        init_scale=config.init_scale, weight_decay=config.weight_decay,
    )  # fmt: skip
    seeds = np.arange(config.seeds)
    members = {"identity": seeds[:, None], "pool": seeds, "n": np.full(config.seeds, len(worlds[0]["x"]))}
    pools = jnp.stack([world["x"] for world in worlds])
    sets = noise_levels.train_sets(run, "nets", members, pools, schedule[:-1], settings, seed=config.seed)
    measured = [_measure(config, world, noise_levels.one(sets, seed), schedule) for seed, world in enumerate(worlds)]
    axes = ("seed", "model", "procedure", "condition")
    variables = {
        name: ((*axes, "dose") if name == "moved" else ("seed", "start") if name == "memorized" else axes,
               np.stack([one[name] for one in measured]).astype(np.float32))
        for name in measured[0]
    }  # fmt: skip
    coordinates = {
        "model": list(MODELS), "procedure": [*(f"{k} ×" for k in config.iterations), SAMPLER],
        "condition": list(CONDITIONS), "dose": _doses(config), "start": ["generalized", "memorized"],
    }  # fmt: skip
    return xr.Dataset(variables, coordinates).assign_attrs(
        {name: getattr(config, name) for name in ("components", "copies", "samples", "chains", "doses", "highest")},
        level=float(schedule[config.levels // 2]),
    )


def _doses(config: Config) -> np.ndarray:
    return np.linspace(0, config.dose, config.doses)


def _world(config: Config, seed: int) -> dict[str, Any]:
    """Training samples with the repeated one behind, sources and targets of the conditions."""
    key = derive(jax.random.key(config.seed), "world", seed)
    mixture = data.simplex_mixture(
        derive(key, "mixture"), dimension=config.dimension, components=config.components + 1, radius=config.radius,
        rank=config.rank, spread=config.spread, clean=True,
    )  # fmt: skip
    samples = mixture.sample_balanced(derive(key, "samples"), config.samples)
    abundant, labels = samples.x[samples.labels < config.components], samples.labels[samples.labels < config.components]
    repeated = mixture.means[config.components]
    home, away = (
        mixture.sample_component(derive(key, name), k, 4 * config.chains).x for k, name in enumerate(("home", "away"))
    )
    reach = (home - mixture.means[:1]) @ mixture.factors[0, :, 0]
    copies = jnp.tile(repeated[None], (config.chains, 1))
    proportions = jnp.asarray([config.samples] * config.components + [config.copies], float)
    return {
        "x": jnp.concatenate([abundant, jnp.tile(repeated[None], (config.copies, 1))]),
        "labels": np.append(np.asarray(labels), [config.components] * config.copies),
        "mixture": data.GaussianMixture(
            proportions / jnp.sum(proportions), mixture.means, mixture.factors.at[config.components].set(0)
        ),
        "sources": (home[: config.chains], home[: config.chains], copies),
        "targets": (home[jnp.argsort(-reach)[: config.chains]], away[: config.chains], away[: config.chains]),
        "key": derive(key, "chains"),
    }


def _measure(
    config: Config, world: dict[str, Any], nets: sampling.DenoiserSet, schedule: Array
) -> dict[str, np.ndarray]:
    """Responses of one seed: every measure has the axes model, procedure, condition."""
    ranks = (config.rank + 1,) * config.components + (1,)
    columns = [
        theory.block_weights(
            world["x"], world["labels"], ranks, noise_std=float(sigma), weight_decay=config.weight_decay,
            width=max(config.width, sum(ranks)),
        )
        for sigma in schedule[:-1]
    ]  # fmt: skip
    analytic = sampling.set_of_denoisers(jax.tree.map(lambda *w: jnp.stack(w), *columns), schedule[:-1])
    doses = jnp.asarray(_doses(config))
    followers = [
        partial(_follow_set, nets, world["key"]), partial(_follow_set, analytic, world["key"]),
        partial(_follow_mixture, world["mixture"], world["key"]),
    ]  # fmt: skip
    stack = partial(jax.tree.map, lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]))
    measured = [
        [
            stack(*[
                _curves(follow(source, target, schedule, doses, iterations=k), target, doses)
                for source, target in zip(world["sources"], world["targets"], strict=True)
            ])
            for k in (*config.iterations, 0)
        ]
        for follow in followers
    ]  # fmt: skip
    ends = [_unsteered(nets, world["key"], source, schedule) for source in world["sources"][1:]]
    directions = unit(world["x"])
    return stack(*[stack(*procedures) for procedures in measured]) | {
        "memorized": np.stack([np.mean(memorization.memorized(unit(end), directions)) for end in ends])
    }


@partial(jax.jit, static_argnames="iterations")
def _follow_set(
    nets: sampling.DenoiserSet, key: Array, source: Array, target: Array, schedule: Array, doses: Array, *,
    iterations: int,
) -> Array:  # fmt: skip
    """Ends of steering a set of nets by (11)."""
    noisy = _noisy_targets(key, target, schedule)

    def steered(y: Array, noise_std: Array, strength: Array) -> Array:
        weights = nets.at(noise_std)
        v = steering.mean_representation(weights, noisy[nets.level(noise_std)])
        return steering.steered_denoiser(weights, v, strength)(y)

    return _follow(steered, key, source, schedule, doses, iterations)


@partial(jax.jit, static_argnames="iterations")
def _follow_mixture(
    mixture: data.GaussianMixture, key: Array, source: Array, target: Array, schedule: Array, doses: Array, *,
    iterations: int,
) -> Array:  # fmt: skip
    """The same for f_gt, whose mean answer to the target takes the place of W₂v, which is that of the net."""
    noisy = _noisy_targets(key, target, schedule)

    def steered(y: Array, noise_std: Array, strength: Array) -> Array:
        f_gt = theory.mixture_denoiser(mixture, noise_std, orthogonal=True)
        level = jnp.argmin(jnp.abs(schedule[:-1] - noise_std))
        return f_gt(y) + strength * jnp.mean(f_gt(noisy[level]), axis=0)[None]

    return _follow(steered, key, source, schedule, doses, iterations)


def _noisy_targets(key: Array, target: Array, schedule: Array) -> Array:
    """The target set under noise of every level, (L, m, d)."""
    numbers = jnp.arange(len(schedule) - 1)
    return jax.vmap(lambda k, sigma: noise.corrupt(derive(key, "target", k), target, sigma))(numbers, schedule[:-1])


def _follow(
    steered: Callable[[Array, Array, Array], Array], key: Array, source: Array, schedule: Array, doses: Array,
    iterations: int,
) -> Array:  # fmt: skip
    """Directions of the ends for every dose, (doses, m, d); `iterations` = 0 steers a sampler.

    A sampler moves y by a W₂v for every factor e that σ falls by, so its dose is a log(σ_0/σ_L).
    """
    levels = schedule[:-1]

    def ends(dose: Array) -> Array:
        if iterations:
            middle = levels[len(levels) // 2]
            y = noise.corrupt(derive(key, "start"), source, middle)
            return unit(steering.iterate(lambda y: steered(y, middle, dose / iterations), y, iterations))
        y = noise.corrupt(derive(key, "start"), source, levels[0])
        strength = dose / jnp.log(levels[0] / levels[-1])
        return unit(sampling.sample(key, lambda y, sigma: steered(y, sigma, strength), schedule, y).x)

    return jax.lax.map(ends, doses)


@jax.jit
def _curves(ends: Array, target: Array, doses: Array) -> dict[str, Array]:
    """Measures of the response of all chains towards the direction of the target's mean, averaged over the chains."""
    goal = unit(jnp.mean(target, axis=0)[None])[0]

    def curve(doses: Array, ends: Array) -> steering.Response:
        return steering.response_curve(lambda dose: ends[jnp.searchsorted(doses, dose)], goal, doses)

    full, half = curve(doses, ends), curve(doses[::2], ends[::2])
    return {
        "moved": jnp.mean(full.moved, axis=0),
        "monotonicity": jnp.mean(full.monotonicity),
        "increasing": jnp.mean(full.increasing),
        "largest_jump": jnp.mean(full.largest_jump),
        "largest_step": jnp.mean(full.largest_step),
        "largest_step_halved": jnp.mean(half.largest_step),
    }


@jax.jit
def _unsteered(nets: sampling.DenoiserSet, key: Array, source: Array, schedule: Array) -> Array:
    return sampling.sample(key, nets, schedule, noise.corrupt(derive(key, "start"), source, schedule[0])).x


def report(data: xr.Dataset) -> str:
    """Monotonicity and largest steps of every procedure, and whether memorized samples jump further."""
    rows = []
    for procedure in data["procedure"].values:
        for model in MODELS:
            at = data.sel(procedure=procedure, model=model)
            for condition in CONDITIONS:
                one = at.sel(condition=condition)
                refined = one["largest_step_halved"] / one["largest_step"]
                rows.append(
                    [procedure, model, condition, _mean(one["monotonicity"]), _mean(one["largest_step"]),
                     f"{float(refined.mean()):.2f}"]
                )  # fmt: skip
            gap = at["largest_step"].sel(condition=CONDITIONS[2]) - at["largest_step"].sel(condition=CONDITIONS[1])
            found = compare.compare(0.0, gap.values, scale=1.0)
            rows[-1].append(f"{float(found.mean):+.3f} ± {float(found.sem):.3f} (z = {float(found.z):+.1f})")
    rows = [row + [""] * (7 - len(row)) for row in rows]
    header = [
        "procedure",
        "model",
        "source and target",
        "monotonicity",
        "largest step",
        "finer",
        "memorized − generalized",
    ]
    lines = []
    for procedure in data["procedure"].values:
        at = data.sel(procedure=procedure, model="nets")
        steps = at["largest_step"]
        gap = steps.sel(condition=CONDITIONS[2]) - steps.sel(condition=CONDITIONS[1])
        gap = compare.compare(0.0, gap.values, scale=1.0)
        finer = [float((at["largest_step_halved"] / steps).sel(condition=c).mean()) for c in CONDITIONS[1:]]
        larger = "larger steps" if float(gap.z) > 3 else "no larger steps"
        jumps = "a jump" if finer[1] < JUMP else "no jump"
        lines.append(f"  {procedure:<8} memorized: {larger} ({float(gap.mean):+.3f} ± {float(gap.sem):.3f}), {jumps}"
                     f" (finer {finer[1]:.2f}); generalized: {'a jump' if finer[0] < JUMP else 'no jump'}"
                     f" (finer {finer[0]:.2f})")  # fmt: skip
    start = data["memorized"].mean("seed")
    return "\n".join(
        [
            f"steering (11), {data.sizes['seed']} seeds × {data.attrs['chains']} chains, {data.attrs['doses']} doses:"
            f" largest step as a share of the path (least possible {1 / (data.attrs['doses'] - 1):.4f}), mean ± SEM",
            "finer: by how much twice as many doses shrink it (2 = smooth, 1 = a jump)",
            launch.table(rows, header),
            "",
            "unsteered ends memorized by direction: "
            + ", ".join(f"{name} {float(start.sel(start=name)):.2f}" for name in data["start"].values),
            "claim: memorized samples move in jumps, generalized ones smoothly (trained nets, same target)",
            *lines,
        ]
    )


def _mean(values: xr.DataArray) -> str:
    return f"{float(values.mean()):.3f} ± {float(values.std(ddof=1)) / values.size**0.5:.3f}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
