"""Is a memorized sample carried by one neuron? Knock-out, kept shares and dimension in nets on duplicates and clusters.

Nets are trained on a few samples in many copies beside clusters. In each, after merging its parallel neurons, the
neuron most active on a sample is silenced. A stored sample (9) is lost whole, L + Δ = ‖x‖², and no other notices; a
sample of a cluster loses what one of its directions carried. All losses are exact in the noise. What the most active
neuron leaves behind is split among neurons along the sample and oblique ones, by what they contribute to it.

The same is measured, by Monte Carlo, on every layer of hidden neurons of two noise-conditional nets on images, a few of
which stand in the set many times: the published ReLU net and a small diffusion transformer.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, intrinsic_dimension, knock_out, model
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from dae_theory.symmetry import merge_parallel
from dae_theory.training import Settings, train
from sims import launch
from sims.launch import limits
from sims.measures import carried_images
from sims.nets.images import check_deep
from sims.worlds.images import ImagesConfig


@dataclass(frozen=True)
class Config:
    """Train nets on duplicated samples beside clusters and silence neurons."""

    duplicates: int = 6
    """Samples that stand in many copies."""
    copies: int = 40
    """Copies of each of them."""
    components: int = 2
    """K, clusters beside them."""
    per_component: int = 400
    """Samples of each cluster."""
    dimension: int = 24
    """d of the data."""
    radius: float = 6.0
    """Norm of the duplicated samples and of the clusters' means."""
    spread: float = 1.5
    """Standard deviation of a cluster in each of its two directions."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    weight_decay: float = 0.02
    """λ of (6)."""
    width: int = 60
    """p, neurons of each net."""
    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    """Shares of the neurons that are kept at random."""
    seeds: int = 5
    """Replicates, one net each."""
    seed: int = 0
    """Root of all randomness."""
    steps: int = 5000
    """Optimizer steps (Adam, warm-up and cosine decay)."""
    learning_rate: float = 1e-2
    """Highest learning rate of the schedule."""

    pictures: ImagesConfig = field(default_factory=partial(ImagesConfig, size=12))
    image_duplicates: int = 24
    """Images that stand in the set many times."""
    image_copies: int = 100
    """How many times."""
    once: int = 600
    """Images that stand in it once."""
    fresh: int = 100
    """Images that do not."""
    image_noise_std: float = 0.2
    """σ at which neurons of the nets on images are silenced."""
    image_width: int = 256
    """p of the noise-conditional ReLU net."""
    image_steps: int = 6000
    """Its optimizer steps."""
    patch: int = 6
    """Side of the patches of the transformer."""
    deep_width: int = 96
    """Channels of its stream."""
    depth: int = 3
    """Its blocks."""
    deep_steps: int = 2500
    """Its optimizer steps."""
    draws: int = 4
    """Noise draws an image."""


SMOKE = {
    "duplicates": 2,
    "per_component": 40,
    "seeds": 2,
    "steps": 50,
    "width": 20,
    "shares": (0.5, 1.0),
    "images": "digits",
    "size": 8,
    "image_duplicates": 12,
    "image_copies": 4,
    "once": 24,
    "fresh": 24,
    "image_width": 24,
    "image_steps": 40,
    "patch": 4,
    "deep_width": 16,
    "depth": 1,
    "deep_steps": 40,
    "draws": 1,
}
DIRECTIONS = 2
ALIGNED = 0.9  # cosine from which on neurons count as copies of one
KINDS = ("duplicated", "cluster", "fresh")


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, duplicates=1, copies=1, components=1, per_component=20, width=1, seeds=2, steps=1)
    limits.above_zero(config, "radius", "spread", "noise_std", "weight_decay", "learning_rate", "shares")
    limits.distinct(config, "shares")
    if max(config.shares) > 1:
        raise Refusal(f"--shares must lie in (0, 1]; got {list(config.shares)}")
    blocks = config.duplicates + config.components
    limits.at_least(config, dimension=blocks + DIRECTIONS * blocks)
    limits.at_least(config, image_duplicates=12, image_copies=2, once=12, fresh=12, image_width=16, draws=1)
    limits.at_least(config, image_steps=1, deep_steps=1)
    limits.above_zero(config, "image_noise_std")
    check_deep(config, size=config.pictures.size, width="deep_width")
    counts = {"image_duplicates": config.image_duplicates, "once": config.once, "fresh": config.fresh}
    return replace(config, pictures=config.pictures.enough(counts))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Every net's losses, knock-outs, kept shares and dimensions, by kind of sample."""
    sets = _samples(config)
    copied = np.repeat(sets["duplicated"], config.copies, axis=0)
    run.expect(config.seeds + 2, config.seeds * config.steps + config.image_steps + config.deep_steps)
    training = jnp.asarray(np.concatenate([copied, sets["cluster"]]))
    weights = run.ensemble("nets", partial(_member, config=config), {"seed": np.arange(config.seeds)}, training)
    measured = [
        _measure(config, jax.tree.map(lambda leaf, at=at: leaf[at], weights), sets) for at in range(config.seeds)
    ]
    fields = {name: np.stack([one[name] for one in measured]) for name in measured[0]}
    axes = {"kept": ("seed", "net", "kind", "share"), "neurons": ("seed", "net")}
    two_layer = xr.Dataset(
        {name: (axes.get(name, ("seed", "kind")), values) for name, values in fields.items()},
        coords={"kind": list(KINDS), "share": list(config.shares), "net": ["trained", "merged"]},
    )
    return xr.merge([two_layer, carried_images.measured(config, run)]).assign_attrs(
        width=config.width, noise_std=config.noise_std, image_noise_std=config.image_noise_std
    )


def _samples(config: Config) -> dict[str, np.ndarray]:
    key = derive(jax.random.key(config.seed), "data")
    mixture = data.simplex_mixture(
        key,
        dimension=config.dimension,
        components=config.duplicates + config.components,
        radius=config.radius,
        rank=DIRECTIONS,
        spread=config.spread,
    )
    drawn = [mixture.sample_balanced(derive(key, name), config.per_component) for name in ("cluster", "fresh")]
    among = [np.asarray(samples.x)[np.asarray(samples.labels) >= config.duplicates] for samples in drawn]
    return {"duplicated": np.asarray(mixture.means[: config.duplicates]), "cluster": among[0], "fresh": among[1]}


def _member(point: dict[str, Any], x: Array, *, config: Config) -> model.Weights:
    settings = Settings(
        noise_std=config.noise_std,
        weight_decay=config.weight_decay,
        learning_rate=config.learning_rate,
        steps=config.steps,
        width=config.width,
        batch_size=x.shape[0],
    )
    key = derive(jax.random.key(config.seed), "nets", point["seed"])
    return train(key, x.astype(jnp.float32), settings).weights


def _measure(config: Config, weights: model.Weights, sets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One net: by kind, what silencing takes from a sample's own share and from the others, and the rest."""
    trained = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), weights)
    merged = merge_parallel(trained, cosine=ALIGNED).weights
    own, others, lost, dimension, kept, aligned, most = [], [], [], [], [], [], []
    for kind in KINDS:
        x = jnp.asarray(sets[kind][:100])
        found = knock_out.knock_out(merged, x, noise_std=config.noise_std)
        stored = jnp.sum(x**2, axis=1) - found.loss
        own.append(float(jnp.mean(found.own / stored)))
        lost.append(float(jnp.mean((found.loss + found.own) / jnp.sum(x**2, axis=1))))
        others.append(float(jnp.mean(found.others / found.own)) if len(x) > 1 else np.nan)
        said = knock_out.contributions(merged, x, noise_std=config.noise_std)
        most.append(float(jnp.mean(jnp.take_along_axis(said, found.neuron[:, None], axis=1) ** 2)))
        along = knock_out.alignment(merged, x) > ALIGNED
        aligned.append(float(jnp.mean(jnp.sum(jnp.where(along, said, 0), axis=1))))
        h = np.asarray(model.represent(merged, jnp.asarray(sets[kind])))
        dimension.append(intrinsic_dimension.two_nearest(h).estimate if len(h) >= 20 else np.nan)
    for net in (trained, merged):
        kept.append(
            [
                [
                    float(jnp.mean(knock_out.kept_share_loss(net, sets[kind][:100], share, noise_std=config.noise_std)))
                    for share in config.shares
                ]
                for kind in KINDS
            ]
        )
    counts = [int(jnp.sum(jnp.linalg.norm(net.decoder, axis=0) > 0.1)) for net in (trained, merged)]
    values = {"own": own, "others": others, "lost": lost, "dimension": dimension, "kept": kept, "neurons": counts}
    values |= {"aligned": aligned, "most": most}
    return {name: np.asarray(value) for name, value in values.items()}


def judge(data: xr.Dataset) -> list[compare.Row]:
    """A duplicated sample is carried by one neuron, one of a cluster by several, and none tells of the other."""
    own, others, lost = (data[name] for name in ("own", "others", "lost"))
    rows = [
        compare.mean(
            "of a duplicated sample's stored part, its neuron carries",
            "(9)",
            own.sel(kind="duplicated"),
            1.0,
            tolerance=0.05,
        ),
        compare.mean(
            "what a duplicated sample's neuron carries, over the square of what it contributes",
            "Δ = s²‖x‖²",
            own.sel(kind="duplicated") / data["most"].sel(kind="duplicated"),
            1.0,
            tolerance=0.05,
        ),
        *_split(data),
        compare.mean("of a cluster's sample, its most active neuron carries", "(8)", own.sel(kind="cluster")),
        compare.mean("of a fresh sample, its most active neuron carries", "(8)", own.sel(kind="fresh")),
        compare.mean(
            "what other duplicated samples lose with it, over its own loss",
            "(9)",
            others.sel(kind="duplicated"),
            0.0,
            tolerance=0.02,
            scale=1.0,
        ),
        compare.mean("what other samples of clusters lose, over its own loss", "(8)", others.sel(kind="cluster")),
        compare.mean(
            "loss of a duplicated sample without its neuron, over ‖x‖²",
            "(9)",
            lost.sel(kind="duplicated"),
            1.0,
            tolerance=0.05,
        ),
        compare.mean(
            "intrinsic dimension of representations of fresh samples",
            "two nearest neighbours",
            data["dimension"].sel(kind="fresh"),
            float(DIRECTIONS),
            tolerance=0.2,
        ),
    ]
    for net in ("trained", "merged"):
        rows.append(compare.mean(f"neurons of the {net} net", "symmetries", data["neurons"].sel(net=net)))
    return rows + carried_images.rows(data)


def _split(data: xr.Dataset) -> list[compare.Row]:
    """Of what is said along a duplicated sample: by neurons along it, and by oblique ones; the two sum to 1."""
    aligned = data["aligned"].sel(kind="duplicated")
    words = "of what a net says along a duplicated sample, {} contribute"
    return [
        compare.mean(words.format("neurons of cosine above .9 with it"), "(9)", aligned, 1.0, tolerance=0.05),
        compare.mean(words.format("oblique neurons"), "(9)", 1 - aligned),
    ]


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve)

if __name__ == "__main__":
    launch.main(SIM)
