"""Do spiky representations give memorized samples away? Detection tables for nets whose memory is known.

relu         two-layer nets at one noise level, on the hybrid mixture: few samples many times, beside abundant clusters;
             representations as trained, and with parallel copies of a neuron merged
conditional  the published ReLU net for all noise levels, on images: a few many times, beside many once
deep         a small diffusion transformer on the same images

Memorized are the duplicated samples that the rule of nearest neighbours confirms to be reproduced; the others are
samples seen once and fresh ones. Layer, noise level and score are chosen on one split and reported on the other.
"""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, sampling
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures.cases import Case, reproduced
from sims.measures.detection import detect
from sims.measures.hybrid_case import hybrid_case
from sims.measures.tables import score_lines
from sims.nets.images import ImageSet, check_deep, deep_net, image_set, relu_net
from sims.nets.training import TrainingConfig
from sims.worlds.images import ImagesConfig
from sims.worlds.mixture import MixtureConfig


@dataclass(frozen=True)
class Config:
    """Detect memorized samples by their representations in ReLU nets, a noise-conditional net and a small deep one."""

    seeds: int = 16
    """Two-layer nets, each with a mixture of its own; half choose, half report."""
    mixture: MixtureConfig = field(default_factory=partial(MixtureConfig, rank=4, radius=4.0))
    per_component: int = 300
    """Samples of each of the K abundant components."""
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
    training: TrainingConfig = field(default_factory=partial(TrainingConfig, batch_size=128, learning_rate=3e-3))
    mixture_noise_stds: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
    """σ at which their representations are read."""

    pictures: ImagesConfig = field(default_factory=partial(ImagesConfig, size=12))
    image_duplicates: int = 24
    """Images that stand in the set many times."""
    image_copies: int = 100
    """How many times."""
    many: int = 1200
    """Images that stand in it once."""
    others: int = 300
    """Of these, and of fresh images, this many are scored each."""
    noise_stds: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
    """σ at which activations are read."""
    conditional_start: float = 0.3
    """σ at which the chains of the noise-conditional ReLU net start that confirm a sample."""
    deep_start: float = 0.8
    """The same of the deep net."""
    image_batch_size: int = 64
    """Noisy images a step of the nets on images."""
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
    "per_component": 30,
    "duplicates": 6,
    "steps": 300,
    "mixture_noise_stds": (0.2,),
    "images": "digits",
    "size": 8,
    "image_duplicates": 4,
    "many": 20,
    "others": 20,
    "noise_stds": (0.4,),
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
CASES = {
    "relu": "two-layer nets, one noise level, hybrid mixture",
    "conditional": "ReLU net for all noise levels, images",
    "deep": "diffusion transformer, images",
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, seeds=2, duplicates=2, copies=2, image_duplicates=4, image_copies=2, others=4)
    limits.at_least(config, per_component=1, width=1, image_batch_size=1, conditional_width=1, draws=1, chains=1)
    limits.at_least(config, conditional_steps=1, deep_steps=1, resamples=2)
    limits.above_zero(config, "noise_std", "conditional_start", "deep_start", "noise_stds", "mixture_noise_stds")
    limits.distinct(config, "noise_stds", "mixture_noise_stds")
    config.mixture.check()
    config.training.check()
    if not 0 < config.fpr < 1:
        raise Refusal(f"--fpr must lie in (0, 1); got {config.fpr}")
    together, room = config.mixture.components + config.duplicates, config.mixture.dimension + 1
    if together > room:
        raise Refusal(f"--components and --duplicates must be at most d + 1 = {room} together; got {together}")
    if config.others > config.many:
        raise Refusal(f"--others must be at most --many = {config.many}; got {config.others}")
    check_deep(config, size=config.pictures.size, width="deep_width")
    counts = {"image_duplicates": config.image_duplicates, "many": config.many, "others": config.others}
    return replace(config, pictures=config.pictures.enough(counts))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train the nets of the three cases, confirm what they reproduce, score, choose, report."""
    steps = config.seeds * config.training.steps + config.conditional_steps + config.deep_steps
    run.expect(config.seeds + 2, steps)
    root = jax.random.key(config.seed)
    images = image_set(
        derive(root, "images"),
        config.pictures.load(center=True),
        duplicates=config.image_duplicates,
        copies=config.image_copies,
        once=config.many,
        fresh=config.others,
    )
    tables: list[xr.Dataset] = []
    for number, name in enumerate(CASES):
        started = time.perf_counter()
        made = hybrid_case(root, config, run) if name == "relu" else _on_images(root, config, run, name, images)
        case, shares, fit = made
        seconds = time.perf_counter() - started
        table = detect(
            derive(root, "detect", number),
            case,
            shares,
            fit,
            draws=config.draws,
            fpr=config.fpr,
            resamples=config.resamples,
        )
        tables.append(table.assign_attrs({f"{name}_seconds": seconds}))
    return xr.merge(tables, combine_attrs="no_conflicts")


def _on_images(
    root: Array, config: Config, run: launch.Run, name: str, images: ImageSet
) -> tuple[Case, np.ndarray, np.ndarray | None]:
    """A noise-conditional net on images."""
    key = derive(root, name)
    if name == "conditional":
        network = relu_net(
            key,
            images,
            run,
            width=config.conditional_width,
            steps=config.conditional_steps,
            batch_size=config.image_batch_size,
        )
    else:
        network = deep_net(
            key,
            images,
            run,
            patch=config.patch,
            width=config.deep_width,
            depth=config.depth,
            steps=config.deep_steps,
            batch_size=config.image_batch_size,
        )
    start = config.conditional_start if name == "conditional" else config.deep_start
    rows = images.some(config.others)
    case = Case(
        name,
        images.x[rows],
        images.copies[rows],
        images.distinct,
        network.denoise,
        network.activations,
        config.noise_stds,
        start,
        sampling.geometric_schedule(start, 0.05, 12),
    )
    return case, reproduced(derive(key, "confirm"), case, config.chains), None


def judge(data: xr.Dataset) -> list[compare.Row]:
    """What the nets reproduce, the best score against the target, and what it gains on the std and on the controls."""
    rows, rule = [], "d₁/d₂ < 1/3"
    for name, words in CASES.items():
        fact = _facts(data, name)
        gap, low, high = fact["gap"]
        rows += [
            compare.share(f"{words}: duplicates reproduced", rule, fact["confirmed"], fact["duplicated"]),
            compare.share(f"{words}: the rule on fresh samples", rule, fact["fresh_confirmed"], fact["fresh"]),
            _area(data, name, fact["best"], f"{words}: AUROC of the best score ({fact['best']})", TARGET),
            _area(data, name, "std", f"{words}: AUROC of the std"),
            _area(data, name, "denoising_loss", f"{words}: AUROC of the loss at the sample, a control"),
            _area(data, name, "input_norm", f"{words}: AUROC of the input norm, a control"),
            compare.interval(f"{words}: AUROC, best scale-free score minus std", "Table 1", gap, low, high),
        ]
    return rows


def _area(data: xr.Dataset, name: str, row: str, claim: str, least: float | None = None) -> compare.Row:
    at = data.sel({f"{name}_row": row})
    low, high = (float(at[f"{name}_auroc_delong_{end}"]) for end in ("low", "high"))
    relation = "≥" if least else "="
    return compare.interval(claim, "Table 1", float(at[f"{name}_auroc"]), low, high, least, relation=relation)


def _facts(data: xr.Dataset, name: str) -> dict[str, Any]:
    """The attributes of one case."""
    return {key.removeprefix(f"{name}_"): value for key, value in data.attrs.items() if key.startswith(f"{name}_")}


def describe(data: xr.Dataset) -> str:
    """The three tables, what was confirmed, and what was chosen."""
    return "\n\n".join(_describe_case(data, name) for name in CASES)


def _describe_case(data: xr.Dataset, name: str) -> str:
    fact, row = _facts(data, name), f"{name}_row"
    places = zip(
        data[row].values, data[f"{name}_chosen_layer"].values, data[f"{name}_chosen_level"].values, strict=True
    )
    chosen = [
        f"{line}: {f'{layer} at ' if layer else ''}σ = {level:g}" for line, layer, level in places if np.isfinite(level)
    ]
    values = {
        str(field).removeprefix(f"{name}_"): data[field].values
        for field in data
        if data[field].dims == (row,) and "chosen" not in str(field)
    }
    counted = (
        f"{name}: {fact['confirmed']} of {fact['duplicated']} duplicated samples are reproduced from"
        f" σ = {fact['start']:g}; of those seen once {fact['once_confirmed']} of {fact['once']}, of fresh ones (the"
        f" null) {fact['fresh_confirmed']} of {fact['fresh']}; trained and confirmed in {fact['seconds']:.0f} s"
    )
    few = "" if fact["enough"] else "; too few are reproduced, so the table is of all duplicated samples"
    words = (
        "* a control. Thresholds fitted, and layer and level chosen, on the fitting split, reported on the other;"
        f" scale-free: {fact['scale_free']}; chosen {'; '.join(chosen)}"
    )
    return "\n".join([launch.wrap(counted + few), score_lines(data[row].values, values), launch.wrap(words)])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
