"""Do spiky representations give memorized samples away? Detection tables for nets whose memory is known.

relu         two-layer nets at one noise level, on the hybrid mixture: few samples many times, beside abundant clusters;
             representations as trained, and with parallel copies of a neuron merged
conditional  the published ReLU net for all noise levels, on images: a few many times, beside many once
deep         a small diffusion transformer on the same images

Memorized are the duplicated samples that the rule of nearest neighbours confirms to be reproduced; the others are
samples seen once and fresh ones. Layer, noise level and score are chosen on one split and reported on the other.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import data, model, sampling, symmetry, training
from dae_theory.model import Weights
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures.cases import Case, reproduced
from sims.measures.detection import detect
from sims.nets.images import ImageSet, deep_net, image_set, relu_net


@dataclass(frozen=True)
class Config:
    """Detect memorized samples by their representations in ReLU nets, a noise-conditional net and a small deep one."""

    seeds: int = 16
    """Two-layer nets, each with a mixture of its own; half choose, half report."""
    dimension: int = 32
    """d of the mixture."""
    clusters: int = 3
    """Abundant clusters."""
    rank: int = 4
    """Directions of spread of each."""
    radius: float = 4.0
    """Norm of their means."""
    spread: float = 0.5
    """Standard deviation in each of these directions."""
    per_cluster: int = 300
    """Samples of each."""
    duplicates: int = 10
    """Samples of other components that stand in the set many times."""
    copies: int = 30
    """How many times."""
    width: int = 64
    """p of the two-layer nets."""
    noise_std: float = 0.2
    """σ that they are trained at."""
    weight_decay: float = 1e-3
    """λ of (6)."""
    steps: int = 4000
    """Optimizer steps of the two-layer nets."""
    mixture_levels: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
    """σ at which their representations are read."""

    images: str = "mnist"
    """Images of the other two: mnist, digits, faces, fashion, npz:FILE or folder:DIR."""
    size: int = 12
    """Side that they are reduced to."""
    image_duplicates: int = 24
    """Images that stand in the set many times."""
    image_copies: int = 100
    """How many times."""
    many: int = 1200
    """Images that stand in it once."""
    others: int = 300
    """Of these, and of fresh images, this many are scored each."""
    levels: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
    """σ at which activations are read."""
    conditional_start: float = 0.3
    """σ at which the chains of the noise-conditional ReLU net start that confirm a sample."""
    deep_start: float = 0.8
    """The same of the deep net."""
    batch_size: int = 64
    """Noisy images a step."""
    conditional_width: int = 256
    """p of the noise-conditional ReLU net."""
    conditional_steps: int = 15000
    """Its optimizer steps."""
    patch: int = 6
    """Side of the patches of the deep net."""
    deep_width: int = 96
    """Channels of its stream."""
    depth: int = 3
    """Its blocks."""
    deep_steps: int = 6000
    """Its optimizer steps."""
    draws: int = 4
    """Noise draws over which a score is averaged."""
    chains: int = 8
    """Chains a sample that confirm whether it is reproduced; more than half must return to it."""
    fpr: float = 0.01
    """False positive rate at which thresholds are fitted."""
    resamples: int = 1000
    """Bootstrap resamples."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {
    "seeds": 2,
    "per_cluster": 30,
    "duplicates": 6,
    "steps": 1500,
    "mixture_levels": (0.2,),
    "images": "digits",
    "size": 8,
    "image_duplicates": 4,
    "many": 20,
    "others": 20,
    "levels": (0.4,),
    "conditional_width": 32,
    "conditional_steps": 400,
    "patch": 4,
    "deep_width": 32,
    "depth": 1,
    "deep_steps": 400,
    "draws": 1,
    "chains": 2,
    "resamples": 20,
}
TARGET = 0.95
CASES = ("relu", "conditional", "deep")


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, seeds=2, duplicates=2, copies=2, image_duplicates=4, others=4)
    limits.at_least(config, per_cluster=1, width=1, steps=1, image_copies=1, batch_size=1, conditional_width=1)
    limits.at_least(config, conditional_steps=1, deep_steps=1, deep_width=1, depth=1, draws=1, chains=1, resamples=2)
    limits.above_zero(config, "radius", "spread", "noise_std", "conditional_start", "deep_start")
    if not 0 < config.fpr < 1:
        raise ValueError(f"--fpr must lie in (0, 1); got {config.fpr}")
    if config.clusters + config.duplicates > config.dimension + 1:
        raise ValueError(f"--clusters and --duplicates must be at most d + 1 = {config.dimension + 1} together")
    if config.size % config.patch:
        raise ValueError(f"--patch must divide --size = {config.size}; got {config.patch}")
    for option, values in (("--levels", config.levels), ("--mixture-levels", config.mixture_levels)):
        if not values or not min(values) > 0 or len(set(values)) != len(values):
            raise ValueError(f"{option} must be distinct values > 0; got {list(values)}")
    if config.others > config.many:
        raise ValueError(f"--others must be at most --many = {config.many}; got {config.others}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train the nets of the three cases, confirm what they reproduce, score, choose, report."""
    run.expect(config.seeds + 2, config.seeds * config.steps + config.conditional_steps + config.deep_steps)
    root = jax.random.key(config.seed)
    images = image_set(
        derive(root, "images"), config.images, config.size, duplicates=config.image_duplicates,
        copies=config.image_copies, once=config.many, fresh=config.others,
    )  # fmt: skip
    tables: list[xr.Dataset] = []
    for name in CASES:
        started = time.perf_counter()
        made = _relu(root, config, run) if name == "relu" else _on_images(root, config, run, name, images)
        case, shares, fit = made
        seconds = time.perf_counter() - started
        table = detect(
            derive(root, "detect", CASES.index(name)), case, shares, fit, draws=config.draws, fpr=config.fpr,
            resamples=config.resamples,
        )  # fmt: skip
        tables.append(table.assign_attrs({f"{name}_seconds": seconds}))
    return xr.merge(tables, combine_attrs="no_conflicts")


def _relu(root: Array, config: Config, run: launch.Run) -> tuple[Case, np.ndarray, np.ndarray]:
    """Two-layer nets on the hybrid mixture; half of them are the fitting split."""
    worlds = [_world(derive(root, "world", seed), config) for seed in range(config.seeds)]
    settings = training.Settings(
        steps=config.steps, width=config.width, batch_size=128, noise_std=config.noise_std,
        weight_decay=config.weight_decay, learning_rate=3e-3, init_scale=0.3,
    )  # fmt: skip
    stack = jnp.asarray(np.stack([np.repeat(x, copies, axis=0) for x, copies in worlds]))

    def member(point: dict[str, Array], stack: Array) -> Weights:
        return training.train(derive(root, "relu", point["seed"]), stack[point["seed"]], settings).weights

    weights = run.ensemble("relu", member, {"seed": np.arange(config.seeds)}, stack, group=1)
    x, copies = jnp.asarray(np.stack([x for x, _ in worlds])), np.concatenate([copies for _, copies in worlds])
    merged = jax.vmap(lambda net: symmetry.merge_parallel(net).weights)(weights)

    def grouped(function: Any, nets: Weights = weights) -> Any:
        return lambda y, _: jax.vmap(function)(nets, y.reshape(x.shape)).reshape(len(copies), -1)

    def activations(y: Array, noise_std: Any) -> dict[str, Array]:
        nets = {"hidden": weights, "merged": merged}
        return {name: grouped(model.represent, net)(y, noise_std) for name, net in nets.items()}

    case = Case(
        "relu", x.reshape(-1, config.dimension), copies, x[0], grouped(model.denoise),
        activations, config.mixture_levels, config.noise_std,
    )  # fmt: skip
    shares = []
    for seed, (own, seen) in enumerate(worlds):
        net = jax.tree.map(lambda w, seed=seed: jnp.asarray(np.asarray(w)[seed]), weights)
        one = replace(
            case, x=jnp.asarray(own), copies=seen, training=jnp.asarray(own[seen > 0]),
            denoise=lambda y, _, net=net: model.denoise(net, y),
        )  # fmt: skip
        shares.append(reproduced(derive(root, "confirm relu", seed), one, config.chains))
    fit = np.repeat(np.arange(config.seeds) < config.seeds // 2, x.shape[1])
    return case, np.concatenate(shares), fit


def _world(key: Array, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Samples and how often each is in the training set: abundant ones, duplicates, fresh ones of the clusters."""
    mixture = data.simplex_mixture(
        derive(key, "mixture"), dimension=config.dimension, components=config.clusters + config.duplicates,
        radius=config.radius, rank=config.rank, spread=config.spread,
    )  # fmt: skip
    count = config.per_cluster + config.per_cluster // 3
    samples = mixture.sample_balanced(derive(key, "samples"), count)
    x = np.asarray(samples.x, np.float32)[np.argsort(np.asarray(samples.labels), kind="stable")]
    x = x.reshape(-1, count, config.dimension)
    abundant, others = x[: config.clusters], x[config.clusters :, 0]  # of the other components one sample each
    seen = np.where(np.arange(count) < config.per_cluster, 1, 0)
    copies = np.concatenate([np.tile(seen, config.clusters), np.full(config.duplicates, config.copies)])
    return np.concatenate([abundant.reshape(-1, config.dimension), others]), copies


def _on_images(
    root: Array, config: Config, run: launch.Run, name: str, images: ImageSet
) -> tuple[Case, np.ndarray, np.ndarray | None]:
    """A noise-conditional net on images."""
    key = derive(root, name)
    if name == "conditional":
        network = relu_net(
            key, images, run, width=config.conditional_width, steps=config.conditional_steps,
            batch_size=config.batch_size,
        )  # fmt: skip
    else:
        network = deep_net(
            key, images, run, patch=config.patch, width=config.deep_width, depth=config.depth, steps=config.deep_steps,
            batch_size=config.batch_size,
        )  # fmt: skip
    start = config.conditional_start if name == "conditional" else config.deep_start
    rows = images.some(config.others)
    case = Case(
        name, images.x[rows], images.copies[rows], images.distinct, network.denoise, network.activations, config.levels,
        start, sampling.geometric_schedule(start, 0.05, 12),
    )  # fmt: skip
    return case, reproduced(derive(key, "confirm"), case, config.chains), None


def report(result: xr.Dataset) -> str:
    """The three tables, what was confirmed, what was chosen, and the verdict."""
    return "\n\n".join(_report_case(result, name) for name in CASES)


def _report_case(result: xr.Dataset, name: str) -> str:
    fact = {key.removeprefix(f"{name}_"): value for key, value in result.attrs.items() if key.startswith(f"{name}_")}
    chosen = [
        f"{row}: {layer} at σ = {level:g}"
        for row, layer, level in zip(
            result[f"{name}_row"].values, result[f"{name}_chosen_layer"].values, result[f"{name}_chosen_level"].values,
            strict=True,
        )
        if np.isfinite(level)
    ]  # fmt: skip
    best = result.sel({f"{name}_row": fact["best"]})
    area = float(best[f"{name}_auroc"])
    low, high = (float(best[f"{name}_auroc_delong_{end}"]) for end in ("low", "high"))
    gap, gap_low, gap_high = fact["gap"]
    lines = [
        f"{name}: {fact['confirmed']} of {fact['duplicated']} duplicated samples are reproduced from "
        f"σ = {fact['start']:g}; of those seen once {fact['once_confirmed']} of {fact['once']}, of fresh ones (the "
        f"null) {fact['fresh_confirmed']} of {fact['fresh']}; trained and confirmed in {fact['seconds']:.0f} s",
        *([] if fact["enough"] else ["TOO FEW: the table is of duplicated samples, which the net does not reproduce"]),
        fact["table"],
        "chosen on the fitting split: " + "; ".join(chosen),
        f"best score {fact['best']}: AUROC {area:.3f} [{low:.3f}, {high:.3f}] on the reporting split, "
        + (f"at least {TARGET}" if area >= TARGET else f"BELOW {TARGET}"),
        f"best scale-free score ({fact['scale_free']}) minus std: AUROC {gap:+.3f} [{gap_low:+.3f}, {gap_high:+.3f}]",
    ]
    return "\n".join(lines)


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
