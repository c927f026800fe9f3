"""Where does the scale-free signal disappear: with depth, biases, or a skip connection? And who carries a sample?

Nets of one, two and three hidden layers, without and with biases, without and with a skip connection f(y) = y + g(y),
on the hybrid mixture: few samples many times, beside abundant clusters. In every hidden layer the scores of duplicated
samples are held against those of samples seen once; the neurons most active on a sample are silenced, before and after
merging parallel ones; a random share of the neurons is kept; and the dimension of the representations is measured. All
at the σ of training.
"""

from dataclasses import dataclass, field, replace
from functools import partial

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import carried
from sims.nets.layered import train_nets
from sims.nets.training import TrainingConfig
from sims.worlds.mixture import MixtureConfig


@dataclass(frozen=True)
class Config:
    """Train nets of several depths on duplicated samples beside clusters, and see what gives the duplicates away."""

    depths: tuple[int, ...] = (1, 2, 3)
    """L, hidden layers."""
    mixture: MixtureConfig = field(
        default_factory=partial(MixtureConfig, components=3, dimension=32, rank=4, radius=6.0, spread=0.6)
    )
    per_component: int = 300
    """Samples of each of the K abundant components."""
    duplicates: int = 20
    """Samples, each of a component of its own, that stand in the set many times."""
    copies: int = 30
    """How many times."""
    noise_std: float = 0.2
    """σ of training, at which all is measured too."""
    weight_decay: float = 3e-4
    """λ of (6), on all matrices and biases."""
    width: int = 64
    """p, neurons of every hidden layer."""
    gain: float = 0.5
    """Of the initial weights: 1 keeps the size of activations from layer to layer."""
    training: TrainingConfig = field(
        default_factory=partial(TrainingConfig, steps=6000, batch_size=128, learning_rate=3e-3)
    )
    counts: tuple[int, ...] = (1, 4, 16)
    """How many of the most active neurons are silenced at once."""
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Shares of a layer's neurons that are kept at random."""
    measured: int = 50
    """Samples of each kind on which neurons are silenced."""
    draws: int = 8
    """Noise draws a sample."""
    seeds: int = 5
    """Mixtures, each with its nets."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {
    "depths": (1, 2),
    "per_component": 24,
    "dimension": 12,
    "rank": 2,
    "duplicates": 6,
    "copies": 4,
    "width": 16,
    "steps": 60,
    "counts": (1, 2),
    "shares": (0.5,),
    "measured": 20,
    "draws": 2,
    "seeds": 2,
}
TARGET = 0.95
SCALE_FREE = "gini"  # named beforehand: the score that did best in the paper's net (`detection`)


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, depths=1, per_component=20, duplicates=2, copies=1, width=1, measured=20, draws=1, seeds=2)
    limits.at_least(config, counts=1)
    limits.above_zero(config, "noise_std", "gain", "shares")
    limits.at_least(config, weight_decay=0)
    limits.distinct(config, "depths", "counts", "shares")
    config.training.check()
    replace(config.mixture, components=config.mixture.components + config.duplicates).check()
    if max(config.shares) > 1:
        raise Refusal(f"--shares must lie in (0, 1]; got {list(config.shares)}")
    if max(config.counts) > config.width:
        raise Refusal(f"--counts must be at most --width = {config.width}; got {list(config.counts)}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Nets of every depth as one ensemble each, then what is measured on every hidden layer."""
    count = 4 * config.seeds * len(config.depths)
    run.expect(count, count * config.training.steps)
    root = jax.random.key(config.seed)
    worlds = [_world(derive(root, "world", seed), config) for seed in range(config.seeds)]
    pools = np.stack([np.concatenate([np.repeat(w["duplicated"], config.copies, axis=0), w["once"]]) for w in worlds])
    settings = config.training.settings(
        width=config.width, noise_std=config.noise_std, weight_decay=config.weight_decay
    )
    how = carried.Measures(config.noise_std, config.draws, config.measured, config.counts, config.shares)
    parts = []
    for depth in config.depths:
        nets = train_nets(run, f"depth {depth}", pools, settings, root=root, depth=depth, gain=config.gain)
        for bias in range(2):
            for skip in range(2):
                chosen = jax.tree.map(lambda leaf, bias=bias, skip=skip: leaf[bias, skip], nets)
                measured = [
                    carried.layered_measures(
                        derive(root, "measure", seed),
                        jax.tree.map(lambda leaf, seed=seed: leaf[seed], chosen),
                        worlds[seed],
                        how,
                    )
                    for seed in range(config.seeds)
                ]
                part = xr.concat(measured, "seed")
                parts.append(part.assign_coords(net=("layer", [_name(depth, bias, skip)] * depth)))
    data = xr.concat(parts, "layer")
    return data.assign_attrs(
        {name: getattr(config, name) for name in ("duplicates", "copies", "width", "noise_std", "weight_decay")}
    )


def _name(depth: int, bias: int, skip: int) -> str:
    return f"{depth} hidden, {'biases' if bias else 'no biases'}, {'skip' if skip else 'no skip'}"


def _world(key: Array, config: Config) -> dict[str, np.ndarray]:
    """Duplicated samples, unseen ones of their components, samples seen once and fresh ones of the same clusters."""
    components = config.mixture.components
    parts = replace(config.mixture, components=components + config.duplicates)
    half = config.per_component
    samples = parts.draw(derive(key, "mixture"), clean=False).sample_balanced(derive(key, "samples"), 2 * half)
    x = np.asarray(samples.x, np.float32)[np.argsort(np.asarray(samples.labels), kind="stable")]
    x = x.reshape(-1, 2 * half, parts.dimension)
    once, fresh = (x[:components, part].reshape(-1, parts.dimension) for part in (slice(half), slice(half, None)))
    return {"duplicated": x[components:, 0], "siblings": x[components:, 1], "once": once, "fresh": fresh}


def judge(data: xr.Dataset) -> list[compare.Row]:
    """In each net's last hidden layer: does Gini find the duplicates, does the control, who carries them; then why."""
    rows = []
    for name in _nets(data):
        last = _last(data, name)
        area = last["auroc"].sel(score=SCALE_FREE)
        rows.append(compare.mean(f"{name}: AUROC of Gini", "Table 1", area, TARGET, relation="≥"))
        rows.append(compare.mean(f"{name}: AUROC of the std", "Table 1", last["auroc"].sel(score="std")))
        rows.append(compare.mean(f"{name}: AUROC of the loss at the sample, a control", "Table 1", last["control"]))
        rows.append(compare.mean(f"{name}: way from an unseen sibling to the stored duplicate", "(3)", last["pull"]))
        for kind, words in (("duplicated", "duplicates"), ("once", "samples seen once")):
            share = last["carried"].sel(kind=kind, count=1, version="merged")
            rows.append(compare.mean(f"{name}: of {words}, the most active merged neuron carries", "(8), (9)", share))
    for score in (SCALE_FREE, "std"):
        for factor, without, having in _contrasts(data):
            pairs = [
                _last(data, b)["auroc"].sel(score=score).values - _last(data, a)["auroc"].sel(score=score).values
                for a, b in zip(without, having, strict=True)
            ]
            claim = f"AUROC of {'Gini' if score == SCALE_FREE else 'the std'}, change with {factor}"
            rows.append(compare.mean(claim, "Table 1", np.mean(pairs, axis=0), 0.0, scale=0.1))
    return rows


def _nets(data: xr.Dataset) -> list[str]:
    return list(dict.fromkeys(map(str, data["net"].values)))


def _last(data: xr.Dataset, name: str) -> xr.Dataset:
    """The last hidden layer of a net."""
    return data.isel(layer=int(np.flatnonzero(data["net"].values == name)[-1]))


def _contrasts(data: xr.Dataset) -> list[tuple[str, list[str], list[str]]]:
    """Pairs of nets that differ in one thing: biases, skip, and, apart with and without skip, depth."""
    names = _nets(data)
    depths = sorted({int(name.split()[0]) for name in names})
    found = [
        ("biases", [n for n in names if "no biases" in n], [n for n in names if "no biases" not in n]),
        ("a skip connection", [n for n in names if "no skip" in n], [n for n in names if "no skip" not in n]),
    ]
    for word, plain in (("without skip", True), ("with skip", False)):
        among = [name for name in names if ("no skip" in name) == plain]
        first, last = ([n for n in among if n.startswith(f"{depth} ")] for depth in (depths[0], depths[-1]))
        if len(depths) > 1:
            found.append((f"{depths[0]} to {depths[-1]} hidden layers, {word}", first, last))
    return found


def describe(data: xr.Dataset) -> str:
    """Every hidden layer of every net: scores, control, what neurons carry, dimension; mean ± SEM over seeds."""
    rows = []
    for index in range(data.sizes["layer"]):
        at = data.isel(layer=index)
        carries = [at["carried"].sel(kind=kind, version="merged").isel(count=0) for kind in carried.KINDS]
        values = [at["pull"], at["auroc"].sel(score="std"), at["auroc"].sel(score=SCALE_FREE), at["control"], *carries]
        values += [at["cloud"].sel(of=kind) for kind in ("duplicated", "fresh")]
        depth, bias, skip = at["net"].item().split(", ")
        kind = "".join(f" {word}" for word in (bias, skip) if not word.startswith("no "))
        rows.append([f"{at['place'].item()}/{depth.split()[0]}{kind}", *(f"{float(v.mean()):.2f}" for v in values)])
    header = ["layer", "pull", "std", "Gini", "loss", "carried", "once", "dim.", "fresh"]
    words = (
        f"{data.attrs['duplicates']} duplicates × {data.attrs['copies']} copies a net, means over {data.sizes['seed']}"
        " seeds: way that an unseen sample of a duplicate's component is moved to the duplicate; AUROC of std, Gini and"
        " minus the loss, against samples seen once; share that the most active neuron, copies merged, carries of a"
        " duplicate and of a sample seen once; dimension of noisy copies of a duplicate and of a fresh sample"
    )
    return "\n".join([launch.wrap(words), launch.table(rows, header)])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
