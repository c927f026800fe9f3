"""Does steering (11) move generalized samples smoothly and memorized ones in jumps? Response curves, measured.

Data: K clusters with many samples each, and one sample present m times. Sources: the repeated sample (memorized) and
fresh points of the first cluster (generalized). Targets: the second cluster, for both; for generalized points also the
quarter of their own cluster that reaches furthest in one direction. v is the mean representation of the noised target.

One application, f(y) + a W₂v, is affine in a whatever the weights are. So (11) is applied k times at one noise level,
or at every step of a sampler, and curves are drawn over the dose: the sum of all a. f is positively homogeneous, which
leaves lengths open, so outputs are compared by direction. Models: trained nets, the block weights of theory, f_gt; and
a small diffusion transformer on the same data, one net for all noise levels, whose last hidden layer is steered.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, diffusion, memorization, sampling, theory
from dae_theory.checks import Refusal
from dae_theory.directions import unit
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import steered
from sims.nets import noise_levels, patches
from sims.nets.training import TrainingConfig
from sims.worlds.mixture import MixtureConfig

CONDITIONS = ("generalized, own cluster", "generalized, other cluster", "memorized, other cluster")
MODELS = ("nets", "analytic", "f_gt", "deep")
SAMPLER = "sampler"
DEEP_MOST = 3  # applications at one noise level of the deep net, which is slow; and every step of the sampler


@dataclass(frozen=True)
class Config:
    """Steer memorized and generalized samples of a hybrid net and measure how smoothly they respond."""

    mixture: MixtureConfig = field(
        default_factory=partial(MixtureConfig, components=3, dimension=16, rank=3, radius=3.0, spread=0.8)
    )
    per_component: int = 384
    """Training samples of each component."""
    copies: int = 96
    """m, how often the repeated sample is present, which lies where mean K + 1 of the simplex is."""
    seeds: int = 8
    """Replicates: each has its own data, nets and noise."""
    seed: int = 0
    """Root of all randomness."""
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
    training: TrainingConfig = field(default_factory=partial(TrainingConfig, steps=3000))
    init_scale: float = 0.03
    """Expected norm of an initial column."""
    weight_decay: float = 3e-3
    """λ of (6)."""
    deep_steps: int = 2000
    """Optimizer steps of the deep net, which sees a sample as four patches."""
    deep_width: int = 32
    """Channels of its stream."""
    deep_depth: int = 2
    """Its blocks."""


SMOKE = {
    "seeds": 2,
    "levels": 3,
    "iterations": (2,),
    "doses": 9,
    "chains": 8,
    "steps": 40,
    "per_component": 32,
    "copies": 8,
    "dimension": 8,
    "rank": 2,
    "width": 16,
    "deep_steps": 20,
    "deep_width": 8,
    "deep_depth": 1,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    mixture = config.mixture
    limits.at_least(config, components=2, per_component=2, copies=1, seeds=2, levels=2, chains=2, width=1)
    limits.at_least(config, iterations=1)
    limits.at_least(config, deep_steps=1, deep_width=8, deep_depth=1)
    limits.distinct(config, "iterations")
    patches.check(config.mixture.dimension, config.deep_width)
    limits.above_zero(config, "lowest", "dose", "init_scale")
    config.training.check()
    _with_repeated(mixture).check()
    if not config.highest > config.lowest:
        raise Refusal(f"--highest must be above --lowest = {config.lowest}; got {config.highest}")
    if config.doses < 5 or config.doses % 2 == 0:
        raise Refusal(f"--doses must be odd and at least 5; got {config.doses}")
    total = mixture.components * config.per_component + config.copies
    most = min(config.copies * mixture.radius**2, config.per_component * mixture.spread**2) / total / 2
    if not 0 <= config.weight_decay < most:
        raise Refusal(
            f"--weight-decay must lie in [0, {most:.3g}), or theory's weights may vanish; got {config.weight_decay}"
        )
    return config


def _with_repeated(mixture: MixtureConfig) -> MixtureConfig:
    """The mixture with one component more, whose mean is the repeated sample."""
    return replace(mixture, components=mixture.components + 1)


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train one set of nets a seed as one ensemble, then steer."""
    schedule = sampling.geometric_schedule(config.highest, config.lowest, config.levels)
    steps = config.seeds * (config.levels * config.training.steps + config.deep_steps)
    run.expect(config.seeds * (config.levels + 1), steps)
    worlds = [_world(config, seed) for seed in range(config.seeds)]
    settings = config.training.settings(
        width=config.width, init_scale=config.init_scale, weight_decay=config.weight_decay
    )
    seeds = np.arange(config.seeds)
    members = {"identity": seeds[:, None], "pool": seeds, "n": np.full(config.seeds, len(worlds[0]["x"]))}
    pools = jnp.stack([world["x"] for world in worlds])
    sets = noise_levels.train_sets(run, "nets", members, pools, schedule[:-1], settings, seed=config.seed)
    deep = [patches.deep_net(derive(world["key"], "deep"), world["x"], run, config) for world in worlds]
    measured = [
        _measure(config, world, noise_levels.one(sets, seed), deep[seed], schedule) for seed, world in enumerate(worlds)
    ]
    axes = ("seed", "model", "procedure", "condition")
    behind = {"moved": (*axes, "dose"), "memorized": ("seed", "start")}
    variables = {
        name: (behind.get(name, axes), np.stack([one[name] for one in measured]).astype(np.float32))
        for name in measured[0]
    }
    coordinates = {
        "model": list(MODELS),
        "procedure": [*(f"{k} ×" for k in config.iterations), SAMPLER],
        "condition": list(CONDITIONS),
        "dose": _doses(config),
        "start": ["generalized", "memorized"],
    }
    return xr.Dataset(variables, coordinates).assign_attrs(
        {name: getattr(config, name) for name in ("copies", "per_component", "chains", "doses", "highest")},
        components=config.mixture.components,
        level=float(schedule[config.levels // 2]),
    )


def _doses(config: Config) -> np.ndarray:
    return np.linspace(0, config.dose, config.doses)


def _world(config: Config, seed: int) -> dict[str, Any]:
    """Training samples with the repeated one behind, sources and targets of the conditions."""
    key = derive(jax.random.key(config.seed), "world", seed)
    components = config.mixture.components
    mixture = _with_repeated(config.mixture).draw(derive(key, "mixture"))
    samples = mixture.sample_balanced(derive(key, "samples"), config.per_component)
    abundant, labels = samples.x[samples.labels < components], samples.labels[samples.labels < components]
    repeated = mixture.means[components]
    home, away = (
        mixture.sample_component(derive(key, name), k, 4 * config.chains).x for k, name in enumerate(("home", "away"))
    )
    reach = (home - mixture.means[:1]) @ mixture.factors[0, :, 0]
    copies = jnp.tile(repeated[None], (config.chains, 1))
    proportions = jnp.asarray([config.per_component] * components + [config.copies], float)
    return {
        "x": jnp.concatenate([abundant, jnp.tile(repeated[None], (config.copies, 1))]),
        "labels": np.append(np.asarray(labels), [components] * config.copies),
        "mixture": data.GaussianMixture(
            proportions / jnp.sum(proportions), mixture.means, mixture.factors.at[components].set(0)
        ),
        "sources": (home[: config.chains], home[: config.chains], copies),
        "targets": (home[jnp.argsort(-reach)[: config.chains]], away[: config.chains], away[: config.chains]),
        "key": derive(key, "chains"),
    }


def _measure(
    config: Config, world: dict[str, Any], nets: sampling.DenoiserSet, deep: diffusion.Network, schedule: Array
) -> dict[str, np.ndarray]:
    """Responses of one seed: every measure has the axes model, procedure, condition."""
    ranks = (config.mixture.rank + 1,) * config.mixture.components + (1,)
    predicted = partial(
        theory.block_weights,
        world["x"],
        world["labels"],
        ranks,
        weight_decay=config.weight_decay,
        width=max(config.width, sum(ranks)),
    )
    analytic = noise_levels.analytic_set(predicted, schedule[:-1])
    doses = jnp.asarray(_doses(config))
    followers = [
        partial(steered.follow_set, nets, world["key"]),
        partial(steered.follow_set, analytic, world["key"]),
        partial(steered.follow_mixture, world["mixture"], world["key"]),
        partial(steered.follow_network, deep, world["key"], layer=f"block{config.deep_depth - 1}.hidden"),
    ]
    stack = partial(jax.tree.map, lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]))
    measured = []
    for name, follow in zip(MODELS, followers, strict=True):
        procedures = []
        for k in (*config.iterations, 0):
            if name == "deep" and k > DEEP_MOST:
                procedures.append(jax.tree.map(lambda known: np.full_like(known, np.nan), procedures[0]))
                continue
            pairs = zip(world["sources"], world["targets"], strict=True)
            ends = [(follow(source, target, schedule, doses, iterations=k), target) for source, target in pairs]
            procedures.append(stack(*[steered.curves(end, target, doses) for end, target in ends]))
        measured.append(procedures)
    ends = [steered.unsteered(nets, world["key"], source, schedule) for source in world["sources"][1:]]
    directions = unit(world["x"])
    return stack(*[stack(*procedures) for procedures in measured]) | {
        "memorized": np.stack([np.mean(memorization.memorized(unit(end), directions)) for end in ends])
    }


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Smoothness of both kinds of samples for the longest iteration and the sampler; f_gt beside them."""
    own, generalized, memorized = CONDITIONS
    finer = data["largest_step_halved"] / data["largest_step"]
    rows = []
    for procedure in data["procedure"].values[-2:]:
        steps = data["largest_step"].sel(model="nets", procedure=procedure)
        gap = steps.sel(condition=memorized) - steps.sel(condition=generalized)
        at = f"nets, {procedure}"
        rows.append(compare.mean(f"{at}: largest step, memorized − generalized", "(11)", gap, 0.0, relation="≥"))
        for condition, expected, word in ((own, 2.0, "smooth"), (generalized, 2.0, "smooth"), (memorized, 1.0, "jump")):
            shrunk = finer.sel(model="nets", procedure=procedure, condition=condition)
            claim = f"{at}: {condition}: factor by which twice as many doses shrink the largest step"
            rows.append(compare.mean(claim, f"claimed {word}", shrunk, expected, tolerance=0.1))
        for condition in CONDITIONS:
            order = data["monotonicity"].sel(model="nets", procedure=procedure, condition=condition)
            rows.append(compare.mean(f"{at}: {condition}: rank correlation with the dose", "(11)", order))
    for condition in CONDITIONS:
        at = {"model": "deep", "procedure": data["procedure"].values[-1], "condition": condition}
        words = f"deep net, sampler: {condition}"
        rows.append(compare.mean(f"{words}: rank correlation with the dose", "(11)", data["monotonicity"].sel(at)))
        rows.append(compare.mean(f"{words}: factor of twice as many doses", "1 = jump, 2 = smooth", finer.sel(at)))
        way = data["moved"].sel(at).isel(dose=-1)
        rows.append(compare.mean(f"{words}: way towards the target at the largest dose", "(11)", way))
    for condition in (generalized, memorized):
        shrunk = finer.sel(model="f_gt", procedure=data["procedure"].values[-1], condition=condition)
        rows.append(compare.mean(f"f_gt, sampler: {condition}: the same factor", "1 = jump, 2 = smooth", shrunk))
    return rows


def describe(data: xr.Dataset) -> str:
    """Monotonicity and largest steps of every procedure and model."""
    rows = []
    for procedure in data["procedure"].values:
        for model in MODELS:
            for condition in CONDITIONS:
                at = data.sel(procedure=procedure, model=model, condition=condition)
                finer = float((at["largest_step_halved"] / at["largest_step"]).mean())
                steps = _mean(at["largest_step"])
                rows.append([procedure, model, condition, _mean(at["monotonicity"]), steps, f"{finer:.2f}"])
    header = ["procedure", "model", "source and target", "monotonicity", "largest step", "finer"]
    given, start = data.attrs, data["memorized"].mean("seed")
    shares = (f"{name} {float(start.sel(start=name)):.2f}" for name in data["start"].values)
    words = (
        f"steering (11), {data.sizes['seed']} seeds × {given['chains']} chains, {given['doses']} doses: largest step as"
        f" a share of the path (least possible {1 / (given['doses'] - 1):.4f}), mean ± SEM; finer: by how much twice as"
        " many doses shrink it (2 = smooth, 1 = a jump)"
    )
    ends = f"unsteered ends memorized by direction: {', '.join(shares)}"
    return "\n".join([launch.wrap(words), launch.table(rows, header), launch.wrap(ends)])


def _mean(values: xr.DataArray) -> str:
    return f"{float(values.mean()):.3f} ± {float(values.std(ddof=1)) / values.size**0.5:.3f}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
