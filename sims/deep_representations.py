"""Spiky and balanced representations in deep nets: the same small diffusion transformer on few and on many images.

The two nets of a seed differ in nothing but the number of images. Or, with --activations FILE.npz (an array (n, ...)
for each layer, and `memorized` (n,) of 0 and 1), the same comparison within any network whose activations were saved.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import detection, representation, sampling
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures.cases import Case, reproduced
from sims.nets.images import ImageSet, deep_net, image_set
from sims.score_model import POOLINGS, RESERVED, digest


@dataclass(frozen=True)
class Config:
    """Compare how spiky a deep net's activations are where it memorizes and where it generalizes."""

    activations: str = ""
    """File (.npz) with activations of another network; empty: train our own."""
    images: str = "mnist"
    """Images: mnist, digits, faces, fashion, npz:FILE or folder:DIR."""
    size: int = 12
    """Side that they are reduced to."""
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
    layer: str = ""
    """Layer shown in detail; empty: the hidden neurons of the last block, or the last layer of a file."""
    seed: int = 0
    """Root of all randomness."""
    digest: str = ""
    """Leave empty: filled in from the contents of the file, so that another content is another record."""


SMOKE = {
    "images": "digits", "size": 8, "few": 4, "many": 60, "fresh": 10, "seeds": 1, "steps": 60, "patch": 4, "width": 16,
    "depth": 1, "chains": 1,
}  # fmt: skip
SCORES = ("std", "l4_over_l2", "kurtosis", "participation_ratio", "gini", "max_share")
BARS = 64


def resolve(config: Config) -> Config:
    """Refuse what cannot be run, and fill in the digest of a file."""
    limits.at_least(config, few=2, many=2, fresh=2, seeds=1, steps=1, chains=1)
    if config.size % config.patch:
        raise ValueError(f"--patch must divide --size = {config.size}; got {config.patch}")
    limits.above_zero(config, "noise_std", "start")
    if not config.activations:
        return config
    path = Path(config.activations)
    if not path.is_file():
        raise ValueError(f"--activations must be a file; got {config.activations!r}")
    return replace(config, digest=digest([path]))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Scores of every layer in every group of samples."""
    return _from_file(config) if config.activations else _from_nets(config, run)


def _from_file(config: Config) -> xr.Dataset:
    with np.load(config.activations) as file:
        arrays = {name: file[name] for name in file.files}
    layers = [name for name in arrays if name not in RESERVED and arrays[name].ndim > 1]
    if "memorized" not in arrays or not layers:
        raise SystemExit(f"deep_representations: {config.activations} must hold `memorized` and activations")
    memorized = arrays["memorized"].astype(bool)
    groups = {
        name: [{layer: arrays[layer][part] for layer in layers}]
        for name, part in (("memorized", memorized), ("others", ~memorized))
    }
    return _described(groups, config, config.layer or layers[-1])


def _from_nets(config: Config, run: launch.Run) -> xr.Dataset:
    run.expect(2 * config.seeds, 2 * config.seeds * config.steps)
    root = jax.random.key(config.seed)
    groups: dict[str, list[dict[str, Any]]] = {}
    rates, scale = {}, None
    for name, count in (("few", config.few), ("many", config.many)):
        for seed in range(config.seeds):
            # the fresh images of a seed come first in its order, so that both nets share them
            images = image_set(
                derive(root, "images", seed), config.images, config.size, duplicates=0, copies=1, once=count,
                fresh=config.fresh, fresh_first=True,
            )  # fmt: skip
            scale = images.scale if scale is None else scale
            network = deep_net(
                derive(root, "net", seed), images, run, patch=config.patch, width=config.width, depth=config.depth,
                steps=config.steps, batch_size=config.batch_size, part=f"{name}-{seed}",
                scale=scale,
            )  # fmt: skip
            shares = _reproduced(derive(root, "chains", seed), network, images, config)
            for kind, copies in (("training", 1), ("fresh", 0)):
                x = images.x[np.flatnonzero(images.copies == copies)[: config.fresh]]
                noise = jax.random.normal(derive(root, kind, seed), x.shape, x.dtype)
                y = x + jnp.asarray(config.noise_std, x.dtype) * noise
                groups.setdefault(f"{name}, {kind}", []).append(network.activations(y, config.noise_std))
                rates.setdefault(f"{name}, {kind}", []).append(shares[kind])
    described = _described(groups, config, config.layer or f"block{config.depth - 1}.hidden")
    return described.assign(reproduced=(("group", "seed"), np.asarray(list(rates.values()))))


def _reproduced(key: Array, network: Any, images: ImageSet, config: Config) -> dict[str, float]:
    """Share of chains that come back to the image they started from, for training images and fresh ones (the null)."""
    rows = images.some(config.fresh)
    case = Case(
        "deep", images.x[rows], images.copies[rows], images.distinct, network.denoise, network.activations, (),
        config.start, sampling.geometric_schedule(config.start, 0.05, 12),
    )  # fmt: skip
    shares = reproduced(key, case, config.chains)
    return {kind: float(shares[case.copies == copies].mean()) for kind, copies in (("training", 1), ("fresh", 0))}


def _described(groups: dict[str, list[dict[str, Any]]], config: Config, shown: str) -> xr.Dataset:
    """Mean scores by group, seed and layer; values and one sample's activations in the layer that is shown."""
    first = next(iter(groups.values()))[0]
    layers = sorted(first, key=lambda layer: layer != "embedding")
    if shown not in layers:
        raise SystemExit(f"deep_representations: --layer must be one of {', '.join(layers)}; got {shown!r}")
    means, values, bars = [], [], []
    for parts in groups.values():
        pooled = [{layer: _pooled(h[layer], config.pooling) for layer in layers} for h in parts]
        scores = [{layer: representation.spikiness(h[layer]) for layer in layers} for h in pooled]
        means.append(
            [
                [[float(jnp.nanmean(getattr(one[layer], score))) for score in SCORES] for layer in layers]
                for one in scores
            ]
        )
        values.append(
            np.concatenate([[np.asarray(getattr(one[shown], score)) for score in SCORES] for one in scores], axis=1)
        )
        chosen = np.sort(np.abs(np.asarray(pooled[0][shown][0])))[::-1][:BARS]
        bars.append(np.pad(chosen, (0, BARS - len(chosen)), constant_values=np.nan))
    longest = max(value.shape[1] for value in values)
    padded = [np.pad(v.astype(float), ((0, 0), (0, longest - v.shape[1])), constant_values=np.nan) for v in values]
    return xr.Dataset(
        {
            "mean": (("group", "seed", "layer", "score"), np.asarray(means)),
            "value": (("group", "score", "sample"), np.asarray(padded, np.float32)),
            "bar": (("group", "neuron"), np.asarray(bars, np.float32)),
            "width": ("layer", [_pooled(first[layer], config.pooling).shape[1] for layer in layers]),
        },
        coords={"group": list(groups), "layer": layers, "score": list(SCORES)},
        attrs={"shown": shown, "noise_std": config.noise_std, "pooling": config.pooling, "file": config.activations},
    )


def _pooled(h: Any, pooling: str) -> Array:
    h = representation.as_array("activations", h)
    return POOLINGS[pooling](h) if h.ndim > 2 else h


def report(data: xr.Dataset) -> str:
    """Layer by layer, the first group beside the one it should differ from."""
    groups = [str(group) for group in data["group"].values]
    spiky, balanced = (groups[0], groups[-1]) if len(groups) == 2 else ("few, training", "many, training")
    rows = []
    for layer in data["layer"].values:
        cells = [str(layer)]
        for score in ("std", "participation_ratio"):
            pair = [data["mean"].sel(group=group, layer=layer, score=score).values for group in (spiky, balanced)]
            cells += [_with_sem(part) for part in pair]
        rows.append(cells)
    header = ["layer", *(f"{score}: {group}" for score in ("std", "participation") for group in (spiky, balanced))]
    lines = [f"activations at σ = {data.attrs['noise_std']:g}, pooling {data.attrs['pooling']}, mean ± SEM over seeds"]
    if "reproduced" in data:
        rates = [f"{group} {_with_sem(data['reproduced'].sel(group=group).values)}" for group in groups]
        lines.append("share of chains that come back to their image: " + "; ".join(rates))
    shown = data["value"].values
    for number, score in enumerate(SCORES):
        positive, negative = (shown[groups.index(group), number] for group in (spiky, balanced))
        sign = -1 if score == "participation_ratio" else 1
        scores = [sign * part[np.isfinite(part)] for part in (positive, negative)]
        if all(part.size > 1 for part in scores):
            area = detection.delong_interval(*scores)
            lines.append(
                f"{data.attrs['shown']}, {score}: {spiky} above {balanced} with AUROC "
                f"{area.estimate:.3f} [{area.low:.3f}, {area.high:.3f}]"
            )
    return "\n".join([*lines, launch.table(rows, header)])


def _with_sem(members: np.ndarray) -> str:
    error = f" ± {members.std(ddof=1) / len(members) ** 0.5:.2g}" if len(members) > 1 else ""
    return f"{members.mean():.3g}{error}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
