"""Which combination of n, p, d, σ, K and rank decides when a net stops memorizing?

Curves of the index over n for many mixtures, widths and noise levels, at one training. Divided by the right scale they
fall on one curve: how nearly they do is a number, 1 − what is missed of a curve that the others predict. Beside stated
scales, the one whose exponents are fitted to where the index falls through ½.
"""

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from dae_theory import compare
from dae_theory.checks import Refusal
from dae_theory.training import Settings
from sims import launch
from sims.launch import limits
from sims.measures import collapse
from sims.measures.boundaries import LEVEL, LOW
from sims.nets import indexed
from sims.nets.training import TrainingConfig, need_finite
from sims.worlds import sources

NUMBERS = ("K", "rank", "d", "p", "sigma")
SYMBOLS = {"K": "K", "rank": "rank", "d": "d", "p": "p", "sigma": "σ"}


@dataclass(frozen=True)
class Config:
    """Measure index curves over n for several mixtures, widths and noise levels, and how well they collapse."""

    samples: tuple[int, ...] = (4, 8, 12, 16, 24, 32, 48, 64, 128)
    """Values of n."""
    components: tuple[int, ...] = (4, 2, 8)
    """Values of K; the first of every list is that of the base, the others are moved one list at a time."""
    ranks: tuple[int, ...] = (3, 1, 6)
    """Directions of spread of a component; crossed with --components."""
    dimensions: tuple[int, ...] = (32, 16, 64)
    """Values of d."""
    widths: tuple[int, ...] = (48, 24, 96)
    """Values of p."""
    noise_stds: tuple[float, ...] = (0.2, 0.1, 0.4)
    """Values of σ."""
    separation: float = 3.0
    """Radius of the means over the spread, which is 1."""
    weight_decay: float = 1e-3
    """λ of the objective (6)."""
    init_scale: float = 0.3
    """Expected norm of an initial column."""
    training: TrainingConfig = TrainingConfig(steps=3000, generator="hashed")
    """How every net is trained, by Adam: for how long, on how many draws a step, at which rate."""
    seeds: int = 4
    """Replicates: each has data and nets of its own."""
    evaluation: int = 128
    """Noisy training points behind the index."""
    resamples: int = 200
    """Bootstrap resamples of the seeds behind every band."""
    seed: int = 0
    """Root of all randomness."""

    def curves(self) -> list[dict[str, Any]]:
        """The numbers of every curve, the base first."""
        lists = (self.components, self.ranks, self.dimensions, self.widths, self.noise_stds)
        values = dict(zip(NUMBERS, lists, strict=True))
        base = {name: value[0] for name, value in values.items()}
        moved = [base | {name: other} for name, value in values.items() for other in value[1:]]
        crossed = [base | {"K": k, "rank": r} for k in self.components[1:] for r in self.ranks[1:]]
        return [base, *moved, *crossed]


SMOKE = {
    "samples": (3, 8, 32),
    "components": (2, 3),
    "ranks": (1, 2),
    "dimensions": (8, 10),
    "widths": (12, 6),
    "noise_stds": (0.2, 0.3),
    "seeds": 2,
    "steps": 60,
    "evaluation": 16,
    "resamples": 10,
}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    limits.distinct(config, "samples", count=3)
    limits.distinct(config, "components", "ranks", "dimensions", "widths", "noise_stds")
    limits.at_least(config, samples=2, components=1, ranks=1, dimensions=1, widths=1, weight_decay=0)
    limits.at_least(config, seeds=2, evaluation=2, resamples=2)
    limits.above_zero(config, "noise_stds", "separation", "init_scale")
    config.training.check()
    if len(config.curves()) < 2:
        raise Refusal(
            "--components, --ranks, --dimensions, --widths or --noise-stds must hold 2 values: one is one curve"
        )
    for curve in config.curves():
        _source_config(config, curve).check()
    return replace(config, samples=tuple(sorted(config.samples)))


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Index of every net, then crossings, exponents and collapses."""
    curves = config.curves()
    shape = len(config.samples), config.seeds
    models = len(curves) * shape[0] * shape[1]
    run.expect(models, models * config.training.steps)
    index, finite = (np.full((len(curves), *shape), np.nan) for _ in range(2))
    programs = sorted({(curve["d"], _padded(config, curve["p"])) for curve in config.curves()})
    for dimension, width in programs:  # widths below the base are padded to it
        here = [c for c, at in enumerate(curves) if (at["d"], _padded(config, at["p"])) == (dimension, width)]
        points = [_points(config, curves[c]) for c in here]
        stacked = jax.tree.map(lambda *parts: jax.numpy.concatenate(parts), *points)
        member = partial(indexed.member, settings=_settings(config, width))
        found = run.ensemble(f"d{dimension}-p{width}", member, stacked)
        for name, target in (("index", index), ("finite", finite)):
            target[here] = np.asarray(found[name]).reshape(len(here), *shape)
    need_finite("finite_size", finite, config.training.learning_rate)
    data = xr.Dataset(
        {"index": (("curve", "n", "seed"), index.astype(np.float32)), "diverged": int((finite == 0).sum())},
        coords={"n": list(config.samples)}
        | {name: ("curve", np.asarray([at[name] for at in curves], float)) for name in NUMBERS},
    )
    return _analysed(data, config).assign_attrs(steps=config.training.steps, level=LEVEL)


def _padded(config: Config, width: int) -> int:
    return max(width, config.widths[0])


def _settings(config: Config, width: int) -> Settings:
    decay, scale = config.weight_decay, config.init_scale
    return config.training.settings(width=width, weight_decay=decay, init_scale=scale)


def _source_config(config: Config, curve: dict[str, Any]) -> sources.SourceConfig:
    numbers = {"dimension": curve["d"], "components": curve["K"], "rank": curve["rank"]}
    return sources.SourceConfig(separation=config.separation, **numbers)


def _points(config: Config, curve: dict[str, Any]) -> dict[str, Any]:
    """The nets of one curve, n first."""
    n, seed = (part.ravel() for part in np.meshgrid(config.samples, np.arange(config.seeds), indexing="ij"))
    at = {"d": curve["d"], "K": curve["K"], "separation": config.separation}
    points = indexed.points(
        jax.random.key(config.seed),
        sources.source(_source_config(config, curve)),
        at,
        seed,
        n,
        most=max(config.samples),
        noise_std=curve["sigma"],
        evaluation=config.evaluation,
    )
    return points | {"p": jax.numpy.full(len(n), curve["p"])}


def _analysed(data: xr.Dataset, config: Config) -> xr.Dataset:
    """With crossings, exponents and the quality of every collapse, each with its 95 % band over resampled seeds."""
    n, values = data["n"].values.astype(float), data["index"].values.astype(float)
    logs = np.log(np.stack([data[name].values for name in NUMBERS], axis=1))
    scales = _scales(data, n, logs)
    resample = np.random.default_rng(config.seed).integers(0, config.seeds, (config.resamples, config.seeds))
    results = []
    mean, widened = values.mean(axis=-1), np.sqrt(config.seeds / (config.seeds - 1))
    for picked in [np.arange(config.seeds), *resample]:  # first as measured; data of a seed go together in all curves
        # a mean over m resampled seeds strays by √((m − 1)/m) of its standard error
        curves = mean + widened * (values[:, :, picked].mean(axis=-1) - mean)
        places = collapse.crossings(n, curves, LEVEL, LOW)
        powers, left = collapse.exponents(logs, places)
        qualities = [collapse.quality(n, curves, scale) for scale in scales.values()]
        results.append((places, np.append(powers[1:], left), np.asarray(qualities)))
    dims = {"crossing": "curve", "exponent": "number", "quality": "scale"}
    for name, parts in zip(dims, zip(*results, strict=True), strict=True):
        stacked = np.stack(parts)
        low, high = _band(stacked[1:])
        for suffix, part in (("", stacked[0]), ("_low", low), ("_high", high)):
            data[name + suffix] = (dims[name], np.exp(part) if name == "crossing" else part)
        data[f"{name}_resampled"] = (("resample", dims[name]), stacked[1:].astype(np.float32))
    data = data.assign_coords(number=[*NUMBERS, "left"], scale=list(scales))
    named = {word: found(0, values.mean(axis=-1)) for word, found in scales.items() if word != FITTED}
    named[FITTED] = collapse.scale_of(logs, data["exponent"].values[:-1])
    data["log_scale"] = (("scale", "curve"), np.stack([named[word] for word in scales]))
    return data.drop_vars("crossing_resampled")


FITTED = "fitted"


def _band(resamples: np.ndarray) -> np.ndarray:
    """Ends of the middle 95 % of what is finite, along the first axis; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.nanquantile(resamples, [0.025, 0.975], axis=0)


def _scales(data: xr.Dataset, n: np.ndarray, logs: np.ndarray) -> dict[str, collapse.Scales]:
    """Words -> what n is divided by."""
    k, rank, d, p, _ = (data[name].values for name in NUMBERS)
    stated = {"n": k**0, "n/d": d, "n/p": p, "n/K": k, "n/(K rank)": k * rank, "n/(K (rank + 1))": k * (rank + 1)}
    found = {word: collapse.fixed(np.log(scale)) for word, scale in stated.items()}
    return found | {FITTED: collapse.fitted(n, logs, LEVEL, LOW)}


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Qualities of the collapses, the best stated one against none, and the exponents of the crossing."""
    rows = []
    for word in data["scale"].values:
        at = data.sel(scale=word)
        claim = f"quality of the collapse over {word if word != FITTED else 'n / fitted powers'}"
        band = (float(at[f"quality{end}"]) for end in ("", "_low", "_high"))
        rows.append(compare.interval(claim, "Q = 1 − missed/total, leaving out a curve at a time", *band))
    stated = data.drop_sel(scale=["n", FITTED])
    best = str(stated["scale"].values[int(np.argmax(stated["quality"].values))])
    gains = data["quality_resampled"].sel(scale=best) - data["quality_resampled"].sel(scale="n")
    gain = float(data["quality"].sel(scale=best) - data["quality"].sel(scale="n"))
    ends = np.quantile(gains, [0.025, 0.975])
    claim = f"quality gained over n itself by {best}, chosen as the best of {stated.sizes['scale']} stated scales"
    rows.append(compare.interval(claim, "Q − Q of n", gain, *ends))
    for name in NUMBERS:
        at = data.sel(number=name)
        band = (float(at[f"exponent{end}"]) for end in ("", "_low", "_high"))
        rows.append(
            compare.interval(
                f"exponent of {SYMBOLS[name]} in n*, where the index is ½", "log n* = a + Σ b log v", *band
            )
        )
    left = data.sel(number="left")
    band = (float(left[f"exponent{end}"]) for end in ("", "_low", "_high"))
    rows.append(compare.interval("rms of log n* that the powers leave", "log n* = a + Σ b log v", *band))
    return rows


def describe(data: xr.Dataset) -> str:
    """Every curve and where its index falls through ½."""
    cells = []
    for c in range(data.sizes["curve"]):
        at = data.isel(curve=c)
        band = [f"{float(at[f'crossing{end}']):.3g}" for end in ("", "_low", "_high")]
        cells.append([*(f"{float(at[name]):g}" for name in NUMBERS), band[0], f"{band[1]} to {band[2]}"])
    missing = int(np.isnan(data["crossing"]).sum())
    words = (
        f"index = ½ at n*, of the mean over {data.sizes['seed']} seeds, {data.attrs['steps']} steps; bands over"
        f" resampled seeds; curves without a crossing: {missing}; nets that diverged: {int(data['diverged'])}"
    )
    table = launch.table(cells, [*(SYMBOLS[name] for name in NUMBERS), "n*", "95 % band"])
    return f"{launch.wrap(words)}\n{table}"


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
