"""Two nets that differ in n alone: one on the most separable few samples of a pool, one on the whole pool.

The pool is drawn from a mixture whose means are a simplex, or consists of images. Optimizer, rate, weight decay, width
and noise are the same, but for `--paper`: the published nets differ in all but width and noise.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import data, noise
from dae_theory.checks import Refusal
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.training import constant_rate
from sims import launch
from sims.launch import limits
from sims.nets.side_by_side import OPTIMIZERS, published, train_nets
from sims.nets.training import TrainingConfig
from sims.worlds.images import ImagesConfig
from sims.worlds.mixture import MixtureConfig

REGIMES = ("few", "many")


@dataclass(frozen=True)
class PairConfig:
    """Two nets that differ in n alone."""

    paper: bool = False
    """The published setting: images of side 32 (d = 1024), 10,000 of them, 50,000 steps at a constant rate; few by
    RMSprop at decay 1e-2, rate 1e-3 and one draw of noise a sample, many by Adam at decay 1e-4 and rate 1e-4."""
    pictures: ImagesConfig = field(default_factory=ImagesConfig)
    few: int = 5
    """n of the memorizing nets, on images; on the mixture one sample a component."""
    many: int = 4000
    """Largest n of the generalizing nets; 10,000 with --paper."""
    mixture: MixtureConfig = field(default_factory=partial(MixtureConfig, components=4))
    seeds: int = 3
    """Nets of every kind; at least two, for an error bar."""
    seed: int = 0
    """Root of all randomness."""
    width: int = 100
    """p, neurons."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    decay: float = 1e-3
    """Coupled weight decay of the optimizer (RMSprop): λ = decay · d/2; 1e-2 and 1e-4 with --paper."""
    training: TrainingConfig = field(default_factory=partial(TrainingConfig, batch_size=128, learning_rate=3e-3))


SMOKE = {
    "images": "digits",
    "size": 8,
    "many": 200,
    "dimension": 8,
    "seeds": 2,
    "width": 16,
    "steps": 30,
    "batch_size": 40,
}
PAPER = {"size": 32, "many": 10_000, "steps": 50_000}


@dataclass(frozen=True)
class SamplePair:
    """Few samples and many of one kind.

    Attributes:
        name: of the kind, in words.
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

    def of(self, regime: str) -> Array:
        """Training samples of a regime."""
        return self.few if regime == "few" else self.many


def resolve(config: Any) -> Any:
    """Fill in the published setting where it is asked for, and refuse what cannot be run."""
    config = published(config, PAPER)
    config = replace(config, pictures=config.pictures.resolved())
    config.mixture.check()
    config.training.check()
    limits.at_least(config, seeds=2, few=2, width=1, decay=0, points=1)
    limits.above_zero(config, "noise_std")
    if config.many < 2 * config.few:
        raise Refusal(f"--many must be at least twice --few = {config.few}; got {config.many}")
    config.pictures.check_count(max(5, -(-5 * config.few // 2)), f"twice --few = {config.few} and a fifth to hold out")
    return config


def _weight_decays(config: PairConfig, dimension: int) -> dict[str, float]:
    coupled = (1e-2, 1e-4) if config.paper else (config.decay, config.decay)
    return {
        regime: noise.weight_decay_from_optimizer(decay, dimension)
        for regime, decay in zip(REGIMES, coupled, strict=True)
    }


def of_mixture(config: PairConfig, fresh: int) -> SamplePair:
    """A mixture on a simplex: means at cosine −1/(K − 1)."""
    key, components = derive(jax.random.key(config.seed), "mixture"), config.mixture.components
    truth = config.mixture.draw(key)
    pool = truth.sample_balanced(derive(key, "pool"), max(2, config.many // components))
    return SamplePair(
        name="mixture",
        few=pool.x[:components],  # one of each: rows go round the components
        many=pool.x,
        labels=np.asarray(pool.labels),
        fresh=truth.sample(derive(key, "fresh"), fresh).x,
        truth=truth,
        side=0,
        weight_decays=_weight_decays(config, config.mixture.dimension),
    )


def of_images(config: PairConfig, fresh: int, centred: tuple[bool, ...]) -> list[SamplePair]:
    """Images as they are or centred, some held out; the truth is a Gaussian a class, or one, fitted to the others."""
    images = config.pictures.load()
    raw, labels = np.asarray(images.x), np.asarray(images.labels)
    order = np.asarray(jax.random.permutation(derive(jax.random.key(config.seed), "order"), len(raw)))
    held_out = order[: min(fresh, len(raw) // 5)]
    train = order[len(held_out) :][: config.many]
    rank = min(24, raw.shape[1])
    if np.unique(labels[train], return_counts=True)[1].min() < 2 * rank:
        labels = np.zeros_like(labels)
    pairs = []
    for center in centred:
        x = raw - raw[train].mean(axis=0) if center else raw
        pool = jnp.asarray(x[train])
        pairs.append(
            SamplePair(
                name=f"{config.pictures.images.split(':')[0]}, {'centred' if center else 'as they are'}",
                few=pool[data.most_separable(pool, config.few)],
                many=pool,
                labels=np.zeros(len(train), int),
                fresh=jnp.asarray(x[held_out]),
                truth=data.fit_mixture(x[train], labels[train], rank),
                side=config.pictures.size,
                weight_decays=_weight_decays(config, x.shape[1]),
            )
        )
    return pairs


def train_pair(config: PairConfig, run: launch.Run, pairs: list[SamplePair]) -> list[dict[str, Weights]]:
    """Nets (seed, …) of both regimes, for each of several kinds of samples of one dimension and size."""
    nets = {}
    for regime in REGIMES:
        settings = config.training.settings(
            noise_std=config.noise_std,
            weight_decay=pairs[0].weight_decays[regime],
            width=config.width,
            tied=True,
            optimizer=OPTIMIZERS["rmsprop"],
        )
        if config.paper:
            few = regime == "few"
            settings = replace(
                settings,
                schedule=constant_rate,
                learning_rate=1e-3 if few else 1e-4,
                batch_size=None if few else config.training.batch_size,
                optimizer=OPTIMIZERS["rmsprop" if few else "adam"],
            )
        nets[regime] = train_nets(
            run,
            f"{regime}-{pairs[0].many.shape[1]}",
            jnp.stack([pair.of(regime) for pair in pairs]),
            settings,
            root=jax.random.key(config.seed),
            seeds=np.arange(config.seeds),
        )
    return [
        {regime: jax.tree.map(lambda w, i=index: w[i, 0], nets[regime]) for regime in REGIMES}
        for index in range(len(pairs))
    ]
