"""Two controls of detection: nets in which nothing is memorized must not alarm, one that holds images by heart must.

negative   a convolutional denoiser without biases, untrained, and trained on many images once each: images that it saw
           against held-out ones
positive   the same net trained on with a few images in many copies among the others: these against held-out ones, as
           gains on the net before

All rows of a table are counted: every score of every layer at every noise level, with intervals that hold together.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, detection, memorization, representation
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits
from sims.measures import suspects
from sims.nets.convolutional import LAYERS, ConvolutionalConfig
from sims.nets.images import ImageSet, image_set
from sims.worlds.images import ImagesConfig


@dataclass(frozen=True)
class Config:
    """Score an untrained, a generalizing and an overfitted convolutional net."""

    pictures: ImagesConfig = field(default_factory=partial(ImagesConfig, size=12))
    duplicates: int = 50
    """Images that the last net sees many times."""
    copies: int = 200
    """How many times."""
    many: int = 1200
    """Images that stand in the set once."""
    others: int = 300
    """Of these, and of held-out images, this many are scored each."""
    net: ConvolutionalConfig = field(default_factory=ConvolutionalConfig)
    noise_stds: tuple[float, ...] = (0.1, 0.3, 0.6)
    """σ at which the nets are read."""
    start: float = 0.3
    """σ from which one step must come back to an image that counts as reproduced."""
    resamples: int = 200
    """Bootstrap resamples of gains."""
    seed: int = 0
    """Root of all randomness."""


SMOKE = {
    "images": "digits",
    "size": 8,
    "duplicates": 10,
    "many": 60,
    "others": 30,
    "channels": 4,
    "many_steps": 40,
    "overfitting_steps": 60,
    "noise_stds": (0.3,),
    "resamples": 20,
}
CONTROLS = {
    "untrained": "untrained net, images it will see against held-out ones",
    "generalizing": "net trained on many images, images seen once against held-out ones",
    "overfitted": "net that saw some images many times, these against held-out ones",
}
BEFORE = {"untrained": None, "generalizing": "untrained", "overfitted": "generalizing"}
KINDS = {
    "std": "std",
    "scale-free": "scale-free scores",
    "loss": "loss at the sample",
    "input": "controls of the input",
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.at_least(config, duplicates=8, copies=2, many=1, others=8, resamples=2)
    limits.above_zero(config, "noise_stds", "start")
    limits.distinct(config, "noise_stds")
    config.net.check()
    if config.others > config.many:
        raise Refusal(f"--others must be at most --many = {config.many}; got {config.others}")
    config = replace(config, pictures=config.pictures.resolved())
    if config.pictures.size % 2:
        raise Refusal(f"--size must be even; got {config.pictures.size}")
    needed = config.duplicates + config.many + config.others
    config.pictures.check_count(needed, "--duplicates, --many and --others (held-out ones) together", center=True)
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Train the three nets, score images in each, and keep what of each table is not chance."""
    run.expect(2, config.net.steps)
    root = jax.random.key(config.seed)
    images = image_set(
        derive(root, "images"),
        config.pictures.load(center=True),
        duplicates=config.duplicates,
        copies=config.copies,
        once=config.many,
        fresh=config.others,
    )
    nets = dict(zip(CONTROLS, config.net.train(derive(root, "net"), images, run), strict=True))
    rows = images.some(config.others)
    x, copies = np.asarray(images.x[rows]), images.copies[rows]
    columns, tables = {}, {}
    for name, net in nets.items():
        run.say(f"scoring {len(x)} images in the {name} net")
        columns[name] = net_columns(net, x, config.noise_stds, config.seed)
    for number, name in enumerate(CONTROLS):
        run.say(f"table of the {name} net, {config.resamples} resamples")
        seen = copies > 1 if name == "overfitted" else copies == 1
        tables[name] = _table(derive(root, "table", number), columns, name, seen, copies == 0, config.resamples)
    shares = {
        name: reproduced(derive(root, "reproduced"), net, images, rows, config.start) for name, net in nets.items()
    }
    result = xr.concat(list(tables.values()), xr.IndexVariable("control", list(CONTROLS)), combine_attrs="drop")
    kinds = {"duplicated": copies > 1, "once": copies == 1, "held out": copies == 0}
    result["reproduced"] = (
        ("control", "images"),
        [[float(share[which].mean()) for which in kinds.values()] for share in shares.values()],
    )
    result = result.assign_coords(images=list(kinds)).assign_attrs(
        duplicates=config.duplicates, others=config.others, start=config.start
    )
    pictures = _pictures(nets["overfitted"], columns["overfitted"], images, rows, config)
    return result.merge(pictures).assign_attrs(pictures.attrs)


def net_columns(net: Any, x: np.ndarray, levels: tuple[float, ...], seed: int) -> list[detection.Column]:
    """Every score of every layer of a net of ours at every level, and the controls; maxima over positions."""

    @jax.jit
    def forward(y: Array, level: Array) -> tuple[Array, dict[str, Array]]:
        hidden = net.activations(y, level)
        return net.denoise(y, level), {name: representation.spatial_max(hidden[name]) for name in LAYERS}

    def one(y: np.ndarray, level: float) -> tuple[Any, Any]:
        return forward(jnp.asarray(y), jnp.asarray(level, jnp.float32))

    return detection.stream_columns(one, x.astype(np.float32), noise_std=levels, batch_size=len(x), seed=seed)


def _table(
    key: Array,
    columns: dict[str, list[detection.Column]],
    name: str,
    seen: np.ndarray,
    held_out: np.ndarray,
    resamples: int,
) -> xr.Dataset:
    """What of a table is not chance: the headline of every row, AUROC, and which rows alarm."""
    kept = seen | held_out

    def of(which: str) -> list[detection.Column]:
        return [replace(column, scores=column.scores[kept]) for column in columns[which]]

    before = BEFORE[name]
    table = detection.evaluate(
        key,
        of(name),
        seen[kept],
        baseline=None if before is None else of(before),
        combine=False,
        resamples=resamples,
    )
    rows = table.rows
    chosen = {
        kind: detection.best_column([c for c in table.columns if kind_of(c.name) == kind], table.memorized, table.fit)
        for kind in KINDS
    }
    values = {
        "auroc": [row.auroc.estimate for row in rows],
        "auroc_low": [row.delong.low for row in rows],
        "auroc_high": [row.delong.high for row in rows],
        **{end: [getattr(row.headline, end) for row in rows] for end in ("estimate", "low", "high")},
        "alarms": [int(row.alarms) for row in rows],
        "chosen": [int(row.name in {column.name for column in chosen.values()}) for row in rows],
    }
    return xr.Dataset(
        {field: ("line", np.asarray(column)) for field, column in values.items()},
        coords={"line": [row.name for row in rows]},
    )


def kind_of(name: str) -> str:
    """Which of `KINDS` a column is of."""
    if name.startswith("denoising_loss"):
        return "loss"
    if "/" not in name:
        return "input"
    return "std" if name.split("/")[1].startswith("std") else "scale-free"


def reproduced(key: Array, net: Any, images: ImageSet, rows: np.ndarray, start: float) -> np.ndarray:
    """Whether f(x + σε) is nearer to x than a third of its distance to any other training image, (m,)."""
    x, training = images.x[rows], np.asarray(images.distinct)
    ends = np.asarray(net.denoise(x + jnp.float32(start) * jax.random.normal(key, x.shape, x.dtype), start))
    own = np.linalg.norm(ends - np.asarray(x), axis=1)
    distances = np.sqrt(np.maximum(_squares(ends, training), 0))
    same = np.isclose(_squares(np.asarray(x), training), 0, atol=1e-3)
    return own < memorization.THRESHOLD * np.min(np.where(same, np.inf, distances), axis=1)


def _squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(float), other.astype(float)
    return np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)[None] - 2 * one @ other.T


def _pictures(
    net: Any, columns: list[detection.Column], images: ImageSet, rows: np.ndarray, config: Config
) -> xr.Dataset:
    """The most and least suspicious images by the loss, as the overfitted net denoises them."""
    rank_by = next(column.name for column in columns if kind_of(column.name) == "loss")
    x, mean = np.asarray(images.x[rows]), images.mean.reshape(images.shape)

    def shown(pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(-1, 1, *images.shape) + mean

    def answers(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        level = config.noise_stds[0]
        noisy = np.concatenate([detection.noised(x[k : k + 1], level, config.seed, 0, int(k)) for k in places])
        return shown(noisy), shown(np.asarray(net.denoise(jnp.asarray(noisy), level)))

    copies = images.copies[rows]
    words = {1: "seen once", 0: "held out"}
    names = [words.get(int(count), f"{count} times") for count in copies]
    found = suspects.pictures(columns, names, shown(x), rank_by, answers)
    return found.assign(memorized=("sample", (copies > 1).astype(np.int8)))


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Rows that alarm where nothing is memorized, what the overfitted net reproduces, and which scores find it."""
    rows = []
    for name in ("untrained", "generalizing"):
        alarms = data["alarms"].sel(control=name)
        claim = f"rows of the table that alarm: {CONTROLS[name]}"
        rows.append(compare.share(claim, "max-statistic", int(alarms.sum()), alarms.size, 0.0, relation="≤"))
    overfitted = data.sel(control="overfitted")
    for which in ("duplicated", "held out"):
        share, count = float(overfitted["reproduced"].sel(images=which)), data.attrs["duplicates"]
        count = count if which == "duplicated" else data.attrs["others"]
        claim = f"overfitted net: {which} images reproduced from σ = {data.attrs['start']:g}"
        rows.append(compare.share(claim, "d₁/d₂ < 1/3", round(share * count), count))
    for line in data["line"].values[overfitted["chosen"].values == 1]:
        at, kind = overfitted.sel(line=line), kind_of(str(line))
        if kind == "input":
            continue
        ends = (float(at["auroc_low"]), float(at["auroc_high"]))
        best = f"{KINDS[kind]}, the best on the other half ({line})"
        rows.append(compare.interval(f"overfitted net: AUROC of {best}", "Table 1", float(at["auroc"]), *ends))
        ends = (float(at["low"]), float(at["high"]))
        claim = f"overfitted net: gain on the net before of {best}, all rows counted"
        rows.append(compare.interval(claim, "Table 1", float(at["estimate"]), *ends))
    surviving = int((overfitted["low"] > 0).sum())
    claim = f"rows of the table that find something: {CONTROLS['overfitted']}"
    rows.append(compare.number(claim, "max-statistic", surviving, 1, relation="≥"))
    return rows


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve)


if __name__ == "__main__":
    launch.main(SIM)
