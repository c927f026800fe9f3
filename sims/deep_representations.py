"""Spiky and balanced representations in deep nets: the same small diffusion transformer on few and on many images.

The two nets of a seed differ in nothing but the number of images. Or, with --activations FILE.npz (an array (n, ...)
for each layer, and `memorized` (n,) of 0 and 1), the same comparison within any network whose activations were saved.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, detection, files, representation, sampling
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from dae_theory.representation import ORIENTATION
from sims import launch
from sims.launch import contents, limits
from sims.measures.cases import Case, reproduced
from sims.nets.images import ImageSet, check_deep, deep_net, image_set
from sims.worlds.activations import Activations, pooled, read_activations
from sims.worlds.images import ImagesConfig


@dataclass(frozen=True)
class Config:
    """Compare how spiky a deep net's activations are where it memorizes and where it generalizes."""

    activations: str = field(default="", metadata=contents.PATH)
    """File (.npz) with activations of another network; empty: train our own."""
    pictures: ImagesConfig = field(default_factory=partial(ImagesConfig, size=12))
    few: int = 24
    """Images of the net that should memorize."""
    many: int = 3000
    """Images of the net that should generalize."""
    fresh: int = 100
    """Images of neither; of the training images as many are looked at."""
    seeds: int = 3
    """Pairs of nets, each with images and initial weights of its own."""
    steps: int = 2000
    """Optimizer steps of every net."""
    batch_size: int = 64
    """Noisy images a step."""
    patch: int = 6
    """Side of the patches."""
    width: int = 96
    """Channels of the stream."""
    depth: int = 3
    """Blocks."""
    noise_std: float = 0.2
    """σ at which activations are read."""
    start: float = 0.8
    """σ at which the chains start that tell whether an image is reproduced."""
    chains: int = 4
    """Chains an image."""
    pooling: Literal["max", "mean", "none"] = "max"
    """How activations become vectors: maxima or means over positions, or all entries."""
    channel_axis: int = -1
    """Axis of the channels in saved activations with positions (1 for torch's convolutions)."""
    layer: str = ""
    """Layer shown in detail; empty: the hidden neurons of the last block, or the last layer of a file."""
    seed: int = 0
    """Root of all randomness."""
    digest: str = ""
    """Leave empty: filled in from the contents of the file, so that another content is another record."""


SMOKE = {
    "images": "digits",
    "size": 8,
    "few": 4,
    "many": 60,
    "fresh": 10,
    "seeds": 1,
    "steps": 60,
    "patch": 4,
    "width": 16,
    "depth": 1,
    "chains": 1,
}
SCORES = tuple(ORIENTATION)
BARS = 64


def resolve(config: Config) -> Config:
    """Refuse what cannot be run, and fill in the digests of files."""
    limits.at_least(config, few=2, many=2, fresh=2, seeds=1, steps=1, batch_size=1, chains=1)
    limits.above_zero(config, "noise_std", "start")
    if config.activations:
        saved = read_activations(config.activations)
        config = replace(config, digest=files.digest(config.activations)[:16])
        layers = list(saved.layers)
    else:
        config = replace(config, pictures=config.pictures.resolved())
        check_deep(config, size=config.pictures.size, width="width")
        most = max(config.few, config.many)
        config.pictures.check_count(
            most + config.fresh, f"the larger of --few and --many = {most}, and --fresh", center=True
        )
        layers = ["embedding"] + [
            f"block{block}.{part}" for block in range(config.depth) for part in ("attention", "hidden", "stream")
        ]
    if config.layer not in ("", *layers):
        raise Refusal(f"--layer must be one of {', '.join(layers)}; got {config.layer!r}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Scores of every layer in every group of samples."""
    return _from_file(config) if config.activations else _from_nets(config, run)


def _from_file(config: Config) -> xr.Dataset:
    saved: Activations = read_activations(config.activations)
    groups = {
        name: [{layer: h[part] for layer, h in saved.layers.items()}]
        for name, part in (("memorized", saved.memorized), ("others", ~saved.memorized))
    }
    return _described(groups, config, config.layer or list(saved.layers)[-1], config.channel_axis)


def _from_nets(config: Config, run: launch.Run) -> xr.Dataset:
    run.expect(2 * config.seeds, 2 * config.seeds * config.steps)
    root = jax.random.key(config.seed)
    groups: dict[str, list[dict[str, Any]]] = {}
    rates, scale = {}, None
    loaded = config.pictures.load(center=True)
    for name, count in (("few", config.few), ("many", config.many)):
        for seed in range(config.seeds):
            # the fresh images of a seed come first in its order, so that both nets share them
            images = image_set(
                derive(root, "images", seed),
                loaded,
                duplicates=0,
                copies=1,
                once=count,
                fresh=config.fresh,
                fresh_first=True,
            )
            scale = images.scale if scale is None else scale
            network = deep_net(
                derive(root, "net", seed),
                images,
                run,
                patch=config.patch,
                width=config.width,
                depth=config.depth,
                steps=config.steps,
                batch_size=config.batch_size,
                part=f"{name}-{seed}",
                scale=scale,
            )
            shares = _reproduced(derive(root, "chains", seed), network, images, config)
            for kind, copies in (("training", 1), ("fresh", 0)):
                x = images.x[np.flatnonzero(images.copies == copies)[: config.fresh]]
                noise = jax.random.normal(derive(root, kind, seed), x.shape, x.dtype)
                y = x + jnp.asarray(config.noise_std, x.dtype) * noise
                groups.setdefault(f"{name}, {kind}", []).append(network.activations(y, config.noise_std))
                rates.setdefault(f"{name}, {kind}", []).append(shares[kind])
    described = _described(groups, config, config.layer or f"block{config.depth - 1}.hidden", -1)
    return described.assign(reproduced=(("group", "seed"), np.asarray(list(rates.values()))))


def _reproduced(key: Array, network: Any, images: ImageSet, config: Config) -> dict[str, float]:
    """Share of chains that come back to the image they started from, for training images and fresh ones (the null)."""
    rows = images.some(config.fresh)
    case = Case(
        "deep",
        images.x[rows],
        images.copies[rows],
        images.distinct,
        network.denoise,
        network.activations,
        (),
        config.start,
        sampling.geometric_schedule(config.start, 0.05, 12),
    )
    shares = reproduced(key, case, config.chains)
    return {kind: float(shares[case.copies == copies].mean()) for kind, copies in (("training", 1), ("fresh", 0))}


def _described(groups: dict[str, list[dict[str, Any]]], config: Config, shown: str, channel_axis: int) -> xr.Dataset:
    """Mean scores by group, seed and layer; values and one sample's activations in the layer that is shown."""
    first = next(iter(groups.values()))[0]
    layers = sorted(first, key=lambda layer: layer != "embedding")
    pooling = pooled(config.pooling, channel_axis)

    def vectors(h: Any) -> Any:
        return pooling(representation.as_array("activations", h))

    means, values, bars = [], [], []
    for parts in groups.values():
        reduced = [{layer: vectors(h[layer]) for layer in layers} for h in parts]
        scores = [{layer: representation.spikiness(h[layer]) for layer in layers} for h in reduced]
        means.append(
            [
                [[float(jnp.nanmean(getattr(one[layer], score))) for score in SCORES] for layer in layers]
                for one in scores
            ]
        )
        values.append(
            np.concatenate([[np.asarray(getattr(one[shown], score)) for score in SCORES] for one in scores], axis=1)
        )
        chosen = np.sort(np.abs(np.asarray(reduced[0][shown][0])))[::-1][:BARS]
        bars.append(np.pad(chosen, (0, BARS - len(chosen)), constant_values=np.nan))
    longest = max(value.shape[1] for value in values)
    padded = [np.pad(v.astype(float), ((0, 0), (0, longest - v.shape[1])), constant_values=np.nan) for v in values]
    return xr.Dataset(
        {
            "mean": (("group", "seed", "layer", "score"), np.asarray(means)),
            "value": (("group", "score", "sample"), np.asarray(padded, np.float32)),
            "bar": (("group", "neuron"), np.asarray(bars, np.float32)),
            "width": ("layer", [vectors(first[layer]).shape[1] for layer in layers]),
        },
        coords={"group": list(groups), "layer": layers, "score": list(SCORES)},
        attrs={"shown": shown, "noise_std": config.noise_std, "pooling": config.pooling, "file": config.activations},
    )


def judge(data: xr.Dataset) -> list[compare.Row]:
    """How often images are reproduced, the scores of the layer shown, and how well they tell memorized images apart."""
    layer, rows = data.attrs["shown"], []
    for group in map(str, data["group"].values):
        if "reproduced" in data:
            rates = data["reproduced"].sel(group=group)
            rows.append(compare.mean(f"{group}: chains that come back to their image", "d₁/d₂ < 1/3", rates))
        for score in ("std", "participation_ratio"):
            members = data["mean"].sel(group=group, layer=layer, score=score)
            rows.append(compare.mean(f"{group}: {score.replace('_', ' ')} in {layer}", "[X9]", members))
    spiky, balanced = pair(data)
    first, second = (data["mean"].sel(group=group, layer=layer) for group in (spiky, balanced))
    words = "{} in {}: memorized images over others"
    expected: tuple[tuple[str, compare.Relation], ...] = (("std", "≥"), ("participation_ratio", "≤"))
    for score, relation in expected:
        share = first.sel(score=score) / second.sel(score=score)
        rows.append(compare.mean(words.format(score.replace("_", " "), layer), "[X9]", share, 1.0, relation=relation))
    for score in SCORES:
        values = (
            ORIENTATION[score] * data["value"].sel(group=group, score=score).values for group in (spiky, balanced)
        )
        sides = [part[np.isfinite(part)] for part in values]
        if all(part.size > 1 for part in sides):
            area = detection.delong_interval(*sides)
            claim = f"{score.replace('_', ' ')} in {layer}: AUROC of {spiky} above {balanced}"
            rows.append(compare.interval(claim, "Table 1", area.estimate, area.low, area.high))
    return rows


def pair(data: xr.Dataset) -> tuple[str, str]:
    """The two groups that should differ."""
    groups = [str(group) for group in data["group"].values]
    return (groups[0], groups[-1]) if len(groups) == 2 else ("few, training", "many, training")


def describe(data: xr.Dataset) -> str:
    """Layer by layer, the first group beside the one it should differ from."""
    groups, rows = pair(data), []
    for layer in data["layer"].values:
        means = [
            _with_sem(data["mean"].sel(group=group, layer=layer, score=score).values)
            for score in ("std", "participation_ratio")
            for group in groups
        ]
        rows.append([str(layer), *means])
    header = ["layer", *(f"{score}: {group}" for score in ("std", "participation") for group in groups)]
    words = f"activations at σ = {data.attrs['noise_std']:g}, pooling {data.attrs['pooling']}, mean ± SEM over seeds"
    return "\n".join([launch.wrap(words), launch.table(rows, header)])


def _with_sem(members: np.ndarray) -> str:
    error = f" ± {members.std(ddof=1) / len(members) ** 0.5:.2g}" if len(members) > 1 else ""
    return f"{members.mean():.3g}{error}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
