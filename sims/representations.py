"""Representations of memorized samples are spiky, those of generalized samples balanced: every score, over samples.

Nets on few samples at their own noisy samples, nets on many at theirs and at held-out ones. Scores of h and the AUROC
of each as a detector of memorization; theory draws a one-hot h, r_i x_iᵀ(x_i + σε), for the memorized samples.
"""

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import compare, detection, noise, theory
from dae_theory.model import Weights, denoise, represent
from dae_theory.randomness import derive
from dae_theory.representation import ORIENTATION, Spikiness, spikiness
from sims import launch
from sims.nets import few_and_many
from sims.nets.side_by_side import one


@dataclass(frozen=True)
class Config(few_and_many.PairConfig):
    """Train nets on few and on many samples and score how spiky their representations are."""

    points: int = 100
    """Noisy samples a net: the few are drawn again until there are so many."""


SMOKE = few_and_many.SMOKE | {"points": 12}
resolve = few_and_many.resolve
GROUPS = ("few, training", "many, training", "many, held out")
SCORES = tuple(field.name for field in fields(Spikiness))
COLUMNS = 6


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Mixture, images as they are, images centred."""
    run.expect(6 * config.seeds, 6 * config.seeds * config.training.steps)
    names, results = [], []
    for pairs in (
        [few_and_many.of_mixture(config, config.points)],
        few_and_many.of_images(config, config.points, (False, True)),
    ):
        for pair, nets in zip(pairs, few_and_many.train_pair(config, run, pairs), strict=True):
            names.append(pair.name)
            results.append(_scores(config, pair, nets) | _example(config, pair, nets))
    side = config.pictures.size
    stacked = {
        name: (("kind", *axes), np.stack([_padded(one_kind[name], side**2, axes) for one_kind in results]))
        for name, axes in DIMS.items()
    }
    coords = {
        "kind": names,
        "group": list(GROUPS),
        "score": list(SCORES),
        "regime": list(few_and_many.REGIMES),
        "seed": np.arange(config.seeds),
    }
    return xr.Dataset(stacked, coords=coords).assign_attrs(width=config.width, noise_std=config.noise_std, side=side)


DIMS = {
    "scores": ("group", "score", "seed", "point"),
    "theory": ("score",),
    "auroc": ("score", "seed"),
    "bars": ("regime", "neuron"),
    "samples": ("regime",),
    "column": ("regime", "rank", "pixel"),
    "noisy": ("regime", "pixel"),
    "denoised": ("regime", "pixel"),
}


def _padded(values: Any, pixels: int, axes: tuple[str, ...]) -> np.ndarray:
    """Pictures cut or filled up to the images' pixels: the mixture has none."""
    values = np.asarray(values)
    if "pixel" not in axes:
        return values.astype(np.float32)
    values = values[..., :pixels]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, pixels - values.shape[-1])]).astype(np.float32)


def _noisy(config: Config, pair: few_and_many.SamplePair, group: int, seed: int) -> jax.Array:
    """Noisy samples of a group, the few again and again."""
    clean = (pair.few, pair.many, pair.fresh)[group]
    rows = jnp.arange(config.points) % len(clean)
    key = derive(jax.random.key(config.seed), "noise of the points", group, seed)
    return noise.corrupt(key, clean[rows], config.noise_std)


def _scores(config: Config, pair: few_and_many.SamplePair, nets: dict[str, Weights]) -> dict[str, Any]:
    values = np.zeros((len(GROUPS), len(SCORES), config.seeds, config.points))
    for group in range(len(GROUPS)):
        for seed in range(config.seeds):
            h = represent(one(nets["few" if group == 0 else "many"], seed), _noisy(config, pair, group, seed))
            scores = spikiness(h)
            values[group, :, seed] = [getattr(scores, name) for name in SCORES]
    auroc = [
        [
            detection.auroc(*(ORIENTATION[name] * np.nan_to_num(values[group, index, seed]) for group in (0, 1)))
            for seed in range(config.seeds)
        ]
        for index, name in enumerate(SCORES)
    ]
    stored = theory.memorizing_weights(
        pair.few, noise_std=config.noise_std, weight_decay=pair.weight_decays["few"], width=config.width
    )
    rows = jnp.arange(config.points) % len(pair.few)
    own = jax.nn.one_hot(rows, config.width, dtype=pair.few.dtype)
    predicted = spikiness(own * represent(stored, _noisy(config, pair, 0, 0)))
    return {
        "scores": values,
        "auroc": auroc,
        "theory": [jnp.mean(getattr(predicted, name)) for name in SCORES],
        "samples": [len(pair.few), len(pair.many)],
    }


def _example(config: Config, pair: few_and_many.SamplePair, nets: dict[str, Weights]) -> dict[str, Any]:
    """One noisy sample of each regime: its representation, the columns that answer most, and what comes out."""
    result: dict[str, list[Any]] = {name: [] for name in ("bars", "column", "noisy", "denoised")}
    for group, regime in enumerate(few_and_many.REGIMES):
        net, y = one(nets[regime], 0), _noisy(config, pair, group, 0)[0]
        h = represent(net, y)
        result["bars"].append(h)
        result["column"].append(net.decoder[:, jnp.argsort(-h)[:COLUMNS]].T)
        result["noisy"].append(y)
        result["denoised"].append(denoise(net, y))
    return {name: jnp.stack(values) for name, values in result.items()}


def judge(data: xr.Dataset) -> list[compare.Row]:
    """AUROC of every score, and the participation ratio of both kinds."""
    rows = []
    for name in data["kind"].values:
        at = data.sel(kind=name)
        for group in GROUPS[:2]:
            ratio = at["scores"].sel(score="participation_ratio", group=group).mean("point")
            predicted, label = (1.0, "[X9]  one-hot h: 1") if "few" in group else (None, "[X9]  balanced: ≫ 1")
            rows.append(compare.mean(f"{name}, {group}: participation ratio", label, ratio, predicted, tolerance=0.1))
        rows += [compare.mean(f"{name}: AUROC of {score}", "Table 1", at["auroc"].sel(score=score)) for score in SCORES]
    return rows


def describe(data: xr.Dataset) -> str:
    """Means of every score in every group, beside theory's one-hot representation."""
    rows = []
    for name in data["kind"].values:
        for score in data["score"].values:
            at = data.sel(kind=name, score=score)
            means = (_mean(at["scores"].sel(group=group)) for group in GROUPS)
            rows.append([str(name), str(score), f"{float(at['theory']):.3f}", *means])
    words = (
        f"representations of p = {data.attrs['width']} neurons, σ = {data.attrs['noise_std']:g}, mean ± SEM over"
        f" {data.sizes['seed']} seeds; AUROC: few from many, large score (small participation) means memorized, never"
        " flipped"
    )
    return "\n".join([launch.wrap(words), launch.table(rows, ["samples", "score", "one-hot (theory)", *GROUPS])])


def _mean(values: xr.DataArray) -> str:
    per_seed = values.mean("point")
    return f"{float(per_seed.mean()):.3f} ± {float(per_seed.std(ddof=1) / np.sqrt(per_seed.size)):.3f}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
