"""Two controls of detection: nets in which nothing is memorized must not alarm, one that holds images by heart must.

negative   a convolutional denoiser without biases, untrained, and trained on many images once each: images that it saw
           against held-out ones
positive   the same net trained on with a few images in many copies among the others, until it holds them by heart:
           these against held-out ones, as gains on the net before

Several nets, each with weights and images of its own. All rows of a table are counted: every score of every layer at
every noise level, with intervals that hold together. Which score is the best of its kind is chosen by cross-fitting.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, detection
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import controlled, suspects
from sims.nets.convolutional import ConvolutionalConfig
from sims.nets.images import ImageSet, image_set
from sims.worlds.images import ImagesConfig


@dataclass(frozen=True)
class Config:
    """Score untrained, generalizing and overfitted convolutional nets."""

    seeds: int = 5
    """Nets, each with images of its own; all three of one are the same net at three times."""
    pictures: ImagesConfig = field(default_factory=partial(ImagesConfig, size=12))
    duplicates: int = 16
    """Images that the last net sees many times."""
    copies: int = 2000
    """How many times."""
    many: int = 1200
    """Images that stand in the set once."""
    others: int = 300
    """Of these, and of held-out images, this many are scored each."""
    net: ConvolutionalConfig = field(default_factory=partial(ConvolutionalConfig, overfitting_steps=6000))
    noise_stds: tuple[float, ...] = (0.1, 0.3, 0.6)
    """σ at which the nets are read."""
    start: float = 0.3
    """σ from which one step must come back to an image that counts as reproduced."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {
    "seeds": 2,
    "images": "digits",
    "size": 8,
    "duplicates": 8,
    "many": 24,
    "others": 12,
    "channels": 2,
    "many_steps": 4,
    "overfitting_steps": 4,
    "noise_stds": (0.3,),
}
CONTROLS = {
    "untrained": "untrained net, images it will see against held-out ones",
    "generalizing": "net trained on many images, images seen once against held-out ones",
    "overfitted": "net that saw some images many times, these against held-out ones",
}
BEFORE = {"untrained": None, "generalizing": "untrained", "overfitted": "generalizing"}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, seeds=2, duplicates=8, copies=2, many=1, others=8)
    limits.above_zero(config, "noise_stds", "start")
    limits.distinct(config, "noise_stds")
    config.net.check()
    if config.others > config.many:
        raise Refusal(f"--others must be at most --many = {config.many}; got {config.others}")
    counts = {"duplicates": config.duplicates, "many": config.many, "others": config.others}
    return replace(config, pictures=config.pictures.enough(counts, even=True))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train every net to its three states, score images in each, and keep what of each table is not chance."""
    run.expect(2 * config.seeds, config.seeds * config.net.steps)
    loaded, root = config.pictures.load(center=True), jax.random.key(config.seed)
    nets, pictures = [], xr.Dataset()
    for seed in range(config.seeds):
        found, shown = _net(derive(root, "net", seed), f"net {seed + 1} of {config.seeds}", config, loaded, run)
        nets.append(found)
        pictures = pictures if seed else shown
    result = xr.concat(nets, xr.IndexVariable("net", np.arange(config.seeds)), combine_attrs="drop")
    sizes = {"duplicates": config.duplicates, "others": config.others, "start": config.start}
    return result.merge(pictures).assign_attrs(sizes | pictures.attrs)


def _net(key: Array, words: str, config: Config, loaded: data.Images, run: launch.Run) -> tuple[xr.Dataset, xr.Dataset]:
    """The tables of one net along `control`, what it reproduces, and its contact sheet."""
    images = image_set(
        derive(key, "images"),
        loaded,
        duplicates=config.duplicates,
        copies=config.copies,
        once=config.many,
        fresh=config.others,
    )
    states = dict(zip(CONTROLS, config.net.train(derive(key, "train"), images, run), strict=True))
    rows = images.some(config.others)
    x, copies = np.asarray(images.x[rows]), images.copies[rows]
    kinds = {"duplicated": copies > 1, "once": copies == 1, "held out": copies == 0}
    columns: dict[str, list[detection.Column]] = {}
    parts = []
    for number, (name, net) in enumerate(states.items()):
        run.say(f"{words}: scoring {len(x)} images, {name}")
        columns[name] = controlled.net_columns(net, x, config.noise_stds, config.seed)
        part = controlled.table(
            derive(key, "table", number),
            columns[name],
            columns.get(BEFORE[name] or ""),
            kinds["duplicated" if name == "overfitted" else "once"],
            kinds["held out"],
        )
        back = controlled.reproduced(derive(key, "reproduced", number), net, images, rows, config.start)
        parts.append(part.assign(reproduced=("images", [int(back[which].sum()) for which in kinds.values()])))
    found = xr.concat(parts, xr.IndexVariable("control", list(CONTROLS)), combine_attrs="drop")
    pictures = _pictures(states["overfitted"], columns["overfitted"], images, rows, config)
    return found.assign_coords(images=list(kinds)), pictures


def _pictures(
    net: Any, columns: list[detection.Column], images: ImageSet, rows: np.ndarray, config: Config
) -> xr.Dataset:
    """The most and least suspicious images by the loss, as the overfitted net denoises them."""
    rank_by = next(column.name for column in columns if controlled.kind_of(column.name) == "loss")
    x, mean = np.asarray(images.x[rows]), images.mean.reshape(images.shape)

    def shown(pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(-1, 1, *images.shape) + mean

    def answers(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        level = config.noise_stds[0]
        noisy = np.concatenate([detection.noised(x[k : k + 1], level, config.seed, 0, int(k)) for k in places])
        return shown(noisy), shown(np.asarray(controlled.denoised(net, jnp.asarray(noisy), level)))

    copies = images.copies[rows]
    words = {1: "seen once", 0: "held out"}
    names = [words.get(int(count), f"{count} times") for count in copies]
    found = suspects.pictures(columns, names, shown(x), rank_by, answers)
    return found.assign(memorized=("sample", (copies > 1).astype(np.int8)))


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Tables that alarm where nothing is memorized, what overfitted nets reproduce, and which scores find it."""
    rows = []
    for name in ("untrained", "generalizing"):
        at = data.sel(control=name)
        alarms = ((at["low"] > 0) | (at["high"] < 0)).any("line")
        claim = f"tables with a row that alarms: {CONTROLS[name]}"
        rows.append(compare.share(claim, "max-statistic", int(alarms.sum()), alarms.size, 0.05, relation="≤"))
    overfitted = data.sel(control="overfitted")
    for which, each in (("duplicated", "duplicates"), ("held out", "others")):
        claim = f"overfitted nets: {which} images reproduced from σ = {data.attrs['start']:g}"
        total = data.attrs[each] * data.sizes["net"]
        rows.append(compare.share(claim, "d₁/d₂ < 1/3", int(overfitted["reproduced"].sel(images=which).sum()), total))
    kinds = np.asarray([controlled.kind_of(str(line)) for line in data["line"].values])
    for kind, words in controlled.KINDS.items():
        if kind == "input":
            continue
        best = overfitted["best"].sel(kind=kind)
        claim = f"overfitted nets: AUROC of the best {words}, cross-fitted, mean over nets"
        rows.append(compare.mean(claim, "Table 1", best.sel(bound="estimate").values))
        claim = f"overfitted nets in which the interval of this AUROC is above ½: {words}"
        rows.append(compare.share(claim, "Table 1", int((best.sel(bound="low") > 0.5).sum()), data.sizes["net"], 1.0))
        found = (overfitted["low"].isel(line=kinds == kind) > 0).any("line")
        claim = f"overfitted nets in which a row gains on the net before, all rows counted: {words}"
        rows.append(compare.share(claim, "Table 1", int(found.sum()), data.sizes["net"], 1.0))
    return rows


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve)


if __name__ == "__main__":
    launch.main(SIM)
