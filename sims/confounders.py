"""Which score is fooled by what? Samples that are easy, long, near a memorized one or of another source.

two-layer      ReLU nets at one noise level on a few samples many times beside the abundant clusters of a mixture
relu           the published ReLU net for all noise levels, on images: a few many times, beside many once
convolutional  a convolutional net without biases, overfitted to a few images among many

Scores: std and Gini of a representation, the loss at the sample, the norm of the score, the local dimension FLIPD, the
directions that the Jacobian keeps, and curvatures of the log-density (`geometry`). A score is fooled where AUROC of
confounders against ordinary samples is far from ½; it is of use where memorized samples still stand out against them.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, model, representation
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import confounded, controlled
from sims.nets.convolutional import LAYERS, ConvolutionalConfig
from sims.nets.hybrid import hybrid_nets, hybrid_samples
from sims.nets.images import ImageSet, image_set, relu_net
from sims.nets.training import TrainingConfig
from sims.worlds import lookalikes
from sims.worlds.images import ImagesConfig
from sims.worlds.mixture import MixtureConfig


@dataclass(frozen=True)
class Config:
    """Score memorized, ordinary and confounding samples in three kinds of nets."""

    seeds: int = 10
    """Two-layer nets, each with a mixture of its own."""
    mixture: MixtureConfig = field(default_factory=partial(MixtureConfig, rank=4, radius=4.0))
    per_component: int = 300
    """Samples of each of the K abundant components."""
    mixture_duplicates: int = 10
    """Samples of other components that stand in each set many times."""
    mixture_copies: int = 30
    """How many times."""
    width: int = 64
    """p of the two-layer nets."""
    noise_std: float = 0.2
    """σ that they are trained and read at."""
    weight_decay: float = 1e-3
    """λ of (6)."""
    training: TrainingConfig = field(default_factory=partial(TrainingConfig, batch_size=128, learning_rate=3e-3))
    near: float = 0.3
    """How far a near duplicate lies from a memorized sample of the mixture, in norms of it; images move by a pixel."""

    pictures: ImagesConfig = field(default_factory=partial(ImagesConfig, size=12))
    other_images: str = "faces"
    """Images of another source, as --images."""
    duplicates: int = 24
    """Images that stand in the set many times."""
    copies: int = 1000
    """How many times."""
    many: int = 1200
    """Images that stand in it once."""
    pool: int = 500
    """Held-out images of which the ordinary, easy and long ones are chosen."""
    each: int = 50
    """Samples of each kind; of two-layer nets at least 4 from each."""
    image_noise_std: float = 0.3
    """σ at which nets on images are read."""
    conditional_width: int = 256
    """p of the ReLU net for all noise levels."""
    conditional_steps: int = 4000
    """Its optimizer steps."""
    net: ConvolutionalConfig = field(default_factory=partial(ConvolutionalConfig, overfitting_steps=6000))
    draws: int = 4
    """Noise draws over which scores are averaged; those of the Jacobian are of one."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {
    "seeds": 1,
    "per_component": 60,
    "mixture_duplicates": 6,
    "width": 32,
    "steps": 200,
    "images": "digits",
    "size": 8,
    "other_images": "digits",
    "duplicates": 8,
    "many": 40,
    "pool": 60,
    "each": 8,
    "conditional_width": 16,
    "conditional_steps": 60,
    "channels": 4,
    "many_steps": 20,
    "overfitting_steps": 30,
    "draws": 1,
}
NETS = {
    "two-layer": "two-layer nets, hybrid mixture",
    "relu": "ReLU net for all noise levels, images",
    "convolutional": "overfitted convolutional net, images",
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, seeds=1, per_component=1, mixture_duplicates=2, mixture_copies=2, width=1, draws=1)
    limits.at_least(config, duplicates=4, copies=2, many=1, each=4, conditional_width=1, conditional_steps=1)
    limits.above_zero(config, "noise_std", "image_noise_std", "near")
    config.mixture.check()
    config.training.check()
    config.net.check()
    if config.pool < 3 * config.each:
        raise Refusal(f"--pool must be at least 3 · --each = {3 * config.each}; got {config.pool}")
    together, room = config.mixture.components + config.mixture_duplicates, config.mixture.dimension + 1
    if together > room:
        raise Refusal(f"--components and --mixture-duplicates must be at most d + 1 = {room} together; got {together}")
    counts = {"duplicates": config.duplicates, "many": config.many, "pool": config.pool}
    return replace(config, pictures=config.pictures.enough(counts, even=True))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train the nets, gather samples of every kind, score and compare them."""
    steps = config.seeds * config.training.steps + config.conditional_steps + config.net.steps
    run.expect(config.seeds + 3, steps)
    root, parts = jax.random.key(config.seed), []
    for number, (name, subjects) in enumerate(_subjects(root, config, run).items()):
        run.say(f"scoring samples in {len(subjects)} {name} net{'s' * (len(subjects) > 1)}")
        found = [
            confounded.scores(derive(root, "scores", number, index), one, config.draws)
            for index, one in enumerate(subjects)
        ]
        part = confounded.compare(derive(root, "halves", number), found, [one.kinds for one in subjects])
        parts.append(part.assign(reproduced=subjects[0].reproduced))
    result = xr.concat(parts, xr.IndexVariable("net", list(NETS)), combine_attrs="drop")
    return result.assign_attrs(duplicates=config.duplicates, noise_std=config.image_noise_std, each=config.each)


def _subjects(root: Array, config: Config, run: launch.Run) -> dict[str, list[confounded.Subject]]:
    images = image_set(
        derive(root, "images"),
        config.pictures.load(center=True),
        duplicates=config.duplicates,
        copies=config.copies,
        once=config.many,
        fresh=config.pool,
    )
    x, kinds = _of_images(derive(root, "kinds"), config, images)
    relu = relu_net(
        derive(root, "relu"), images, run, width=config.conditional_width, steps=config.conditional_steps, batch_size=64
    )
    net = config.net.train(derive(root, "net"), images, run)[-1]

    level, rows = config.image_noise_std, np.flatnonzero(images.copies > 1)
    back = [
        int(controlled.reproduced(derive(root, "reproduced", number), one, images, rows, level).sum())
        for number, one in enumerate((relu, net))
    ]
    return {
        "two-layer": _two_layer(derive(root, "two-layer"), config, run),
        "relu": [confounded.Subject(x, kinds, level, relu, _denoise, _activations, back[0])],
        "convolutional": [confounded.Subject(x, kinds, level, net, _denoise, _pooled, back[1])],
    }


def _denoise(net: Any, y: Array, noise_std: Any) -> Array:
    return net.denoise(y, noise_std)


def _activations(net: Any, y: Array, noise_std: Any) -> dict[str, Array]:
    return net.activations(y, noise_std)


def _pooled(net: Any, y: Array, noise_std: Any) -> dict[str, Array]:
    hidden = net.activations(y, noise_std)
    return {name: representation.spatial_max(hidden[name]) for name in LAYERS}


def _of_images(key: Array, config: Config, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Duplicated images; held-out ones: ordinary, of least contrast, longest; near duplicates; another source."""
    x, copies = np.asarray(images.x), images.copies
    memorized, pool = x[copies > 1], x[copies == 0]
    contrast = (pool + images.mean.reshape(1, -1)).std(axis=1)
    easy, large, ordinary = lookalikes.extremes(contrast, np.linalg.norm(pool, axis=1), config.each)
    near = lookalikes.near_images(memorized, images.mean, images.shape)[: config.each]
    others = replace(config.pictures, images=config.other_images, images_digest="").load()
    picked = np.asarray(jax.random.permutation(derive(key, "others"), len(others.x)))[: config.each]
    source = np.asarray(others.x)[picked] - images.mean.reshape(1, -1)
    return lookalikes.joined([memorized, pool[ordinary], pool[easy], pool[large], near, source])


def _two_layer(key: Array, config: Config, run: launch.Run) -> list[confounded.Subject]:
    """Nets of their own mixtures, with samples of every kind."""
    worlds = [_world(derive(key, "world", seed), config) for seed in range(config.seeds)]

    def denoise(net: model.Weights, y: Array, _: Any) -> Array:
        return model.denoise(net, y)

    def activations(net: model.Weights, y: Array, _: Any) -> dict[str, Array]:
        return {"hidden": model.represent(net, y)}

    nets = hybrid_nets(key, "two-layer", config, run, jnp.asarray(np.stack([stack for stack, _, _ in worlds])))
    return [
        confounded.Subject(x, kinds, config.noise_std, net, denoise, activations)
        for (_, x, kinds), net in zip(worlds, nets, strict=True)
    ]


def _world(key: Array, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The training set of one net with its copies, samples of every kind, and their kinds."""
    each = max(4, config.each // config.seeds)
    drawn, abundant, memorized = hybrid_samples(
        key, config.mixture, config.mixture_duplicates, config.per_component + 4 * each
    )
    kept, pool = (
        abundant[:, part].reshape(-1, abundant.shape[-1])
        for part in np.s_[: config.per_component, config.per_component :]
    )
    means = np.repeat(np.asarray(drawn.means)[: len(abundant)], 4 * each, axis=0)
    easy, large, ordinary = lookalikes.extremes(
        np.linalg.norm(pool - means, axis=1), np.linalg.norm(pool, axis=1), each
    )
    near = lookalikes.near_vectors(key, memorized, config.near)[:each]
    source = config.mixture.draw(derive(key, "other"), clean=False).sample(derive(key, "source"), each).x
    stack = np.concatenate([kept, np.repeat(memorized, config.mixture_copies, axis=0)])
    return stack, *lookalikes.joined([memorized, pool[ordinary], pool[easy], pool[large], near, source])


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Of every net and score: does it find memorized samples among ordinary ones, and its worst confounder.

    The lowest of several is read with the interval that holds for all of them.
    """
    rows = []
    for net, words in NETS.items():
        if (back := int(data["reproduced"].sel(net=net))) != confounded.UNKNOWN:
            claim = f"{words}: memorized images reproduced from σ = {data.attrs['noise_std']:g}"
            rows.append(compare.share(claim, "d₁/d₂ < 1/3", back, data.attrs["duplicates"]))
        for score in confounded.SCORES:
            at = data.sel(net=net, score=score)
            claim = f"{words}: {score}, AUROC of memorized against ordinary samples"
            rows.append(compare.interval(claim, "Table 1", *map(float, at["finds"].sel(against="ordinary").values)))
            worst = at["together"].isel(against=int(np.argmin(at["together"].sel(bound="estimate").values)))
            claim = f"{words}: {score}, AUROC of memorized against {worst['against'].item()} samples, its lowest"
            rows.append(compare.interval(claim, "Table 1, all kinds", *map(float, worst.values)))
    return rows


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve)


if __name__ == "__main__":
    launch.main(SIM)
