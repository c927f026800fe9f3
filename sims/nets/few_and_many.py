"""Two nets that differ in n alone: one on the most separable few samples of a pool, one on the whole pool.

The pool is drawn from a mixture whose means are a simplex, or consists of images. Optimizer, rate, weight decay, width
and noise are the same, but for `--paper`: the published nets differ in all but width and noise.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import data, noise
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import Settings, constant_rate
from sims import launch
from sims.launch import limits
from sims.nets.side_by_side import OPTIMIZERS, published, train_nets
from sims.worlds.sources import fit_mixture

REGIMES = ("few", "many")
DIRECTIONS = 2  # of spread of a component


@dataclass(frozen=True)
class PairConfig:
    """Two nets that differ in n alone."""

    paper: bool = False
    """The published setting: d = 1024, 50,000 steps, few by RMSprop at decay 1e-2, many by Adam at decay 1e-4."""
    images: str = "mnist"
    """Images beside the mixture: mnist, faces, digits, fashion, npz:FILE or folder:DIR."""
    size: int = 14
    """Side of the images in pixels; 32 with --paper."""
    few: int = 5
    """n of the memorizing nets, on images; on the mixture one sample a component."""
    many: int = 4000
    """Largest n of the generalizing nets; 10,000 with --paper."""
    components: int = 4
    """K of the mixture."""
    dimension: int = 32
    """d of the mixture."""
    radius: float = 6.0
    """Norm of the mixture's means."""
    spread: float = 0.5
    """Standard deviation of a component in each of its two directions."""
    seeds: int = 3
    """Nets of every kind; at least two, for an error bar."""
    seed: int = 0
    """Root of all randomness."""
    width: int = 100
    """p, neurons."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    decay: float = 1e-3
    """Coupled weight decay of the optimizer: λ = decay · d/2; 1e-2 and 1e-4 with --paper."""
    steps: int = 4000
    """Optimizer steps (RMSprop, warm-up and cosine decay); 50,000 with --paper, at a constant rate."""
    learning_rate: float = 3e-3
    """1e-3 and 1e-4 with --paper."""
    batch: int = 128
    """Noisy samples a step; the few get several draws each, one with --paper."""


SMOKE = {"images": "digits", "size": 8, "many": 200, "dimension": 8, "seeds": 2, "width": 16, "steps": 30, "batch": 40}
PAPER = {"size": 32, "many": 10_000, "steps": 50_000}


@dataclass(frozen=True)
class World:
    """Samples of one kind.

    Attributes:
        name: in words.
        few: (n, d), many: (N, d): training samples; the few are among the many.
        labels: component of each of the many, (N,); zeros for images.
        fresh: held-out samples, (m, d).
        truth: the mixture that the samples come from, or Gaussians fitted to the training images.
        side: of the pictures; 0 for the mixture.
        weight_decays: λ of (6) of a regime.
    """

    name: str
    few: Array
    many: Array
    labels: np.ndarray
    fresh: Array
    truth: data.GaussianMixture
    side: int
    weight_decays: dict[str, float]

    def training(self, regime: str) -> Array:
        """Training samples of a regime."""
        return self.few if regime == "few" else self.many


def resolve(config: Any) -> Any:
    """Fill in the published setting where it is asked for, and refuse what cannot be run."""
    config = published(config, PAPER)
    limits.at_least(config, seeds=2, few=2, components=2, dimension=config.components + DIRECTIONS)
    limits.at_least(config, size=1, width=1, steps=1, batch=1, decay=0, points=1)
    limits.above_zero(config, "radius", "spread", "noise_std", "learning_rate")
    if config.many < 2 * config.few:
        raise ValueError(f"--many must be at least twice --few; got {config.many}")
    return config


def _weight_decays(config: PairConfig, dimension: int) -> dict[str, float]:
    coupled = (1e-2, 1e-4) if config.paper else (config.decay, config.decay)
    return {
        regime: noise.weight_decay_from_optimizer(decay, dimension)
        for regime, decay in zip(REGIMES, coupled, strict=True)
    }


def mixture_world(config: PairConfig, fresh: int) -> World:
    """A mixture on a simplex: means at cosine −1/(K − 1)."""
    key = derive(jax.random.key(config.seed), "mixture")
    truth = data.simplex_mixture(
        key, dimension=config.dimension, components=config.components, radius=config.radius, rank=DIRECTIONS,
        spread=config.spread, clean=True,
    )  # fmt: skip
    pool = truth.sample_balanced(derive(key, "pool"), max(2, config.many // config.components))
    few = pool.x[: config.components]  # one of each: rows go round the components
    return World(
        "mixture", few, pool.x, np.asarray(pool.labels), truth.sample(derive(key, "fresh"), fresh).x, truth, 0,
        _weight_decays(config, config.dimension),
    )  # fmt: skip


def image_worlds(config: PairConfig, fresh: int, centred: tuple[bool, ...]) -> list[World]:
    """Images as they are or centred, some held out; the truth is a Gaussian a class, or one, fitted to the others."""
    images = data.load_images(config.images, size=config.size)
    raw, labels = np.asarray(images.x), np.asarray(images.labels)
    order = np.asarray(jax.random.permutation(derive(jax.random.key(config.seed), "order"), len(raw)))
    held_out = order[: min(fresh, len(raw) // 5)]
    train = order[len(held_out) :][: config.many]
    rank = min(24, raw.shape[1])
    if np.unique(labels[train], return_counts=True)[1].min() < 2 * rank:
        labels = np.zeros_like(labels)
    worlds = []
    for center in centred:
        x = raw - raw[train].mean(axis=0) if center else raw
        pool = jnp.asarray(x[train])
        worlds.append(
            World(
                name=f"{config.images.split(':')[0]}, {'centred' if center else 'as they are'}",
                few=pool[data.most_separable(pool, config.few)],
                many=pool,
                labels=np.zeros(len(train), int),
                fresh=jnp.asarray(x[held_out]),
                truth=fit_mixture(x[train], labels[train], rank),
                side=config.size,
                weight_decays=_weight_decays(config, x.shape[1]),
            )
        )
    return worlds


def train_pair(config: PairConfig, run: launch.Run, worlds: list[World]) -> list[dict[str, Weights]]:
    """Nets (seed, …) of both regimes, for each of several worlds of one dimension and size."""
    nets = {}
    for regime in REGIMES:
        settings = Settings(
            noise_std=config.noise_std, weight_decay=worlds[0].weight_decays[regime], steps=config.steps,
            learning_rate=config.learning_rate, width=config.width, tied=True, batch_size=config.batch,
            optimizer=OPTIMIZERS["rmsprop"],
        )  # fmt: skip
        if config.paper:
            few = regime == "few"
            settings = replace(
                settings,
                schedule=constant_rate, learning_rate=1e-3 if few else 1e-4, batch_size=None if few else config.batch,
                optimizer=OPTIMIZERS["rmsprop" if few else "adam"],
            )  # fmt: skip
        nets[regime] = train_nets(
            run, f"{regime}-{worlds[0].many.shape[1]}", jnp.stack([world.training(regime) for world in worlds]),
            settings, root=jax.random.key(config.seed), seeds=np.arange(config.seeds),
        )  # fmt: skip
    return [
        {regime: jax.tree.map(lambda w, i=index: w[i, 0], nets[regime]) for regime in REGIMES}
        for index in range(len(worlds))
    ]
