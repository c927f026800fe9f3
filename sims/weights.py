"""What the columns of a trained net are: the samples themselves when these are few, principal directions when many.

few    the most separable images of a set, centred (all cosines below 0) and as they are (cosines above 0: the theorem's
       condition fails), at two weight decays: columns, merged and matched, beside r_i x_i of (9)
many   all images of the set, as they are (one cluster, its gates open) and centred (mean zero: no block at all): the
       space of the leading left singular vectors of W beside that of (7)-(8), by principal angles, and their σ_j(W)²
       beside the gains (8)
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import xarray as xr

from dae_theory import compare, data, noise
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from dae_theory.training import Settings, constant_rate, warmup_then_decay
from sims import launch
from sims.launch import contents, limits
from sims.measures import columns
from sims.nets.side_by_side import OPTIMIZERS, one, published, train_nets


@dataclass(frozen=True)
class Config:
    """Train nets on few and on many images and compare their columns with the analytic ones."""

    paper: bool = False
    """The published setting: d = 1024, 50,000 steps at a constant rate, few by RMSprop, many by Adam."""
    sets: tuple[str, ...] = ("faces", "mnist")
    """Images: faces, mnist, digits, fashion, npz:FILE or folder:DIR."""
    few: int = 5
    """n of the memorizing nets: the most separable images."""
    many: int = 10_000
    """Largest n of the generalizing nets; a smaller set is taken whole."""
    few_size: int = 32
    """Side of the few images in pixels."""
    many_size: int = 16
    """Side of the many images in pixels; 32 with --paper."""
    seeds: int = 3
    """Nets of every kind; 1 with --paper, as published."""
    seed: int = 0
    """Root of all randomness."""
    width: int = 100
    """p, neurons."""
    noise_std: float = 0.2
    """σ of the noise, in the units of the data."""
    few_decays: tuple[float, ...] = (1e-2, 1e-3)
    """Coupled weight decay of the optimizer, λ = decay · d/2; the first, published, is drawn. Only it with --paper."""
    many_decay: float = 1e-3
    """The same of the many: what the few have too; 1e-4 with --paper."""
    steps: int = 6000
    """Optimizer steps; 50,000 with --paper."""
    few_learning_rate: float = 3e-3
    """Learning rate of the few; 1e-3 with --paper."""
    many_learning_rate: float = 3e-3
    """Learning rate of the many; 1e-4 with --paper."""
    batch_size: int = 256
    """Noisy images a step of the many; the few are all seen at every step."""
    sets_digest: str = ""
    """Leave empty: filled in from the contents of FILE or DIR, so that changed images are another record."""


SMOKE = {"sets": ("digits",), "few_size": 8, "many_size": 8, "seeds": 2, "steps": 20, "many": 200, "width": 12}
PAPER = {
    "many_size": 32,
    "seeds": 1,
    "few_decays": (1e-2,),
    "many_decay": 1e-4,
    "steps": 50_000,
    "few_learning_rate": 1e-3,
    "many_learning_rate": 1e-4,
}
CENTRED = (True, False)


def resolve(config: Config) -> Config:
    """Fill in what is open, and refuse what cannot be run."""
    config = published(config, PAPER)
    limits.distinct(config, "sets", "few_decays")
    limits.at_least(config, seeds=1, few=2, many=config.few, steps=1, batch_size=1, width=config.few)
    limits.at_least(config, few_size=3, many_size=3, few_decays=0, many_decay=0)  # pictures of eight directions
    limits.above_zero(config, "noise_std", "few_learning_rate", "many_learning_rate")
    digest = "+".join(filter(None, (contents.digest("sets", name) for name in config.sets)))
    for name in config.sets:
        count = len(data.load_images(name, size=_side(name, config.few_size)).x)
        if count < config.few:
            raise Refusal(f"--few must be at most {count}, the images of {name}; got {config.few}")
    return replace(config, sets_digest=digest)


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Both kinds of nets for every set, centred and not."""
    decays = np.asarray(config.few_decays)
    models = len(config.sets) * len(CENTRED) * config.seeds * (len(decays) + 1)
    run.expect(models, models * config.steps)
    worlds = [_worlds(config, name) for name in config.sets]  # all are read before any net is trained
    few = [result for name, (x, _) in zip(config.sets, worlds, strict=True) for result in _few(config, run, name, x)]
    many = [result for name, (_, x) in zip(config.sets, worlds, strict=True) for result in _many(config, run, name, x)]
    kept = max(one["angle"].shape[-1] for one in many)
    pixels = max(one["learned_picture"].shape[-1] for one in few)

    def stacked(results: list[dict[str, Any]], dims: dict[str, tuple[str, ...]]) -> dict[str, Any]:
        return {
            name: (("set", "centred", *axes), _stack([one[name] for one in results], (len(config.sets), 2)))
            for name, axes in dims.items()
        }

    dataset = xr.Dataset(
        stacked(few, columns.SAMPLES_DIMS) | stacked(many, columns.BLOCK_DIMS),
        coords={
            "set": [name.split(":")[0] for name in config.sets],
            "centred": list(CENTRED),
            "decay": decays,
            "seed": np.arange(config.seeds),
            "sample": np.arange(config.few),
            "direction": np.arange(1, kept + 1),
        },
    )
    names = ("few", "width", "noise_std", "many_decay", "steps", "few_size", "many_size")
    attributes = {name: getattr(config, name) for name in names}
    return dataset.assign_attrs(**attributes, pixels=pixels, paper=int(config.paper))


def _stack(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Arrays of unequal lengths, NaN (or 0 for pictures) behind the shorter ones."""
    arrays = [np.asarray(value) for value in values]
    if arrays[0].ndim == 0:
        return np.stack(arrays).reshape(shape)
    longest = np.max([array.shape for array in arrays], axis=0).astype(int)
    fill = np.nan if arrays[0].dtype.kind == "f" else 0
    padded = [
        np.pad(array, [(0, n - m) for n, m in zip(longest, array.shape, strict=True)], constant_values=fill)
        for array in arrays
    ]
    return np.stack(padded).reshape(*shape, *longest)


def _worlds(config: Config, name: str) -> tuple[list[Any], list[Any]]:
    """The few most separable images and the many of a set, each centred and as they are."""
    few = _centred(data.load_images(name, size=_side(name, config.few_size)).x)
    many = _centred(data.load_images(name, size=_side(name, config.many_size), limit=config.many).x)
    return [x[data.most_separable(x, config.few)] for x in few], many


def _few(config: Config, run: launch.Run, name: str, worlds: list[Any]) -> list[dict[str, Any]]:
    """Nets on the most separable images, centred and as they are."""
    decays = [noise.weight_decay_from_optimizer(decay, worlds[0].shape[1]) for decay in config.few_decays]
    settings = Settings(
        noise_std=config.noise_std,
        learning_rate=config.few_learning_rate,
        steps=config.steps,
        width=config.width,
        tied=True,
        optimizer=OPTIMIZERS["rmsprop"],
        schedule=constant_rate if config.paper else warmup_then_decay,
    )
    root, part = derive(jax.random.key(config.seed), name), f"few-{config.sets.index(name)}"
    nets = train_nets(run, part, worlds, settings, root=root, seeds=np.arange(config.seeds), weight_decays=decays)
    return [columns.against_samples(one(nets, world), x, decays, config.noise_std) for world, x in enumerate(worlds)]


def _many(config: Config, run: launch.Run, name: str, worlds: list[Any]) -> list[dict[str, Any]]:
    """Nets on many images, centred and as they are."""
    decay = noise.weight_decay_from_optimizer(config.many_decay, worlds[0].shape[1])
    settings = Settings(
        noise_std=config.noise_std,
        weight_decay=decay,
        learning_rate=config.many_learning_rate,
        steps=config.steps,
        width=config.width,
        tied=True,
        batch_size=config.batch_size,
        optimizer=OPTIMIZERS["adam" if config.paper else "rmsprop"],
        schedule=constant_rate if config.paper else warmup_then_decay,
    )
    root, part = derive(jax.random.key(config.seed), name), f"many-{config.sets.index(name)}"
    nets = train_nets(run, part, worlds, settings, root=root, seeds=np.arange(config.seeds))
    encoders = [np.asarray(nets.encoder[world, 0]) for world in range(len(worlds))]
    return [
        columns.against_block(encoder, x, decay, config.noise_std) for encoder, x in zip(encoders, worlds, strict=True)
    ]


def _centred(x: Any) -> list[Any]:
    """Images with their mean subtracted, and as they are, in the order of `CENTRED`."""
    return [x - x.mean(axis=0)[None, :], x]


def _side(name: str, size: int) -> int:
    """Sets that are smaller than asked for keep their size."""
    return min(size, {"digits": 8, "mnist": 28, "fashion": 28}.get(name, size))


def judge(data: xr.Dataset) -> list[compare.Row]:
    """Columns of the few against the samples, centred and not; angles and gains of the many."""
    rows = []
    for name in data["set"].values:
        for centred in data["centred"].values:
            at = data.sel(set=name, centred=centred)
            for decay in data["decay"].values:
                cell = at.sel(decay=decay)
                words = f"few {_words(name, centred)}, λ = {float(cell['few_decay']):.3g}"
                rows += columns.stored_rows(words, cell["cosine"], cell["norm_ratio"])
        # centred images have mean zero: no gate is open on all of them, and no block of (7)-(8) holds them
        at = data.sel(set=name, centred=False)
        resolved = at.isel(direction=slice(0, int(at["resolved"])))
        ratio = (resolved["gain"] / resolved["gain_theory"]).mean("direction")
        many, gain = f"many {_words(name, False)}", "(8)  (Λ_j − nλ)/(Λ_j + nσ²)"
        rows += [
            compare.mean(
                f"{many}: median principal angle to the block solution, degrees", "(7)", at["angle"].median("direction")
            ),
            compare.mean(f"{many}: σ_j(W)² over the gain, mean over j", gain, ratio, 1.0, tolerance=0.05),
        ]
    return rows


def _words(name: Any, centred: Any) -> str:
    return f"{name}, {'centred' if centred else 'as they are'}"


def describe(data: xr.Dataset) -> str:
    """What else is known of the few, then of the many."""
    few, many = [], []
    for name in data["set"].values:
        for centred in CENTRED:
            at = data.sel(set=name, centred=centred)
            for decay in data["decay"].values:
                cell = at.sel(decay=decay)
                few.append(
                    [
                        _words(name, centred),
                        f"{float(at['largest_cosine']):+.3f}",
                        f"{float(cell['few_decay']):.3g}",
                        f"{float(cell['norm_ratio'].mean()):.4f}",
                        f"{float(cell['neurons'].mean()):.1f}",
                        f"{float(cell['surplus'].mean()):.4f}",
                    ]
                )
            resolved = at.isel(direction=slice(0, int(at["resolved"])))
            many.append(
                [
                    _words(name, centred),
                    f"{int(at['samples'])}",
                    f"{float(at['weight_decay']):.3g}",
                    f"{int(at['resolved'])}",
                    f"{float(at['angle'].median()):.2f}°",
                    f"{float(at['angle'].max()):.1f}°",
                    f"{float(resolved['captured'].mean()):.4f}",
                    f"{float(abs(resolved['gain'] / resolved['gain_theory'] - 1).median()):.1%}",
                    f"{float(at['open_gates'].mean()):.2f}",
                ]
            )
    width, seeds = data.attrs["width"], data.sizes["seed"]
    first = f"few: n = {data.attrs['few']}, p = {width}, {seeds} seeds; columns after merging against (9)"
    second = (
        f"many: p = {width}; leading directions, e_j > {columns.RESOLVED:g}λ, against the block solution of one"
        " cluster; gain error: median of |σ_j(W)²/a_j − 1|; open: share of gates open on the samples; centred images"
        " have mean zero: no gate is open on all of them, and no block of (7)-(8) holds them"
    )
    headers = (
        ["images", "max cosine", "λ", "norm over r_i‖x_i‖", "neurons", "surplus"],
        ["images", "n", "λ", "directions", "median angle", "largest", "captured", "gain error", "open"],
    )
    parts = launch.wrap(first), launch.table(few, headers[0]), "", launch.wrap(second), launch.table(many, headers[1])
    return "\n".join(parts)


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
