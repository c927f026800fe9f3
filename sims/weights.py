"""What the columns of a trained net are: the samples themselves when these are few, principal directions when many.

few    the most separable images of a set, centred (all cosines below 0) and as they are (cosines above 0: the theorem's
       condition fails), at two weight decays: columns, merged and matched, beside r_i x_i of (9)
many   all images of the set, as they are (one cluster, its gates open) and centred (mean zero: no block at all): the
       space of the leading left singular vectors of W beside that of (7)-(8), by principal angles, and their σ_j(W)²
       beside the gains (8)
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr

from dae_theory import compare, data, noise, theory
from dae_theory.model import Weights
from dae_theory.randomness import derive
from dae_theory.symmetry import match, merge_parallel, principal_angles
from dae_theory.training import Settings, constant_rate, warmup_then_decay
from sims import launch
from sims.launch import limits
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
    few_rate: float = 3e-3
    """Learning rate of the few; 1e-3 with --paper."""
    many_rate: float = 3e-3
    """Learning rate of the many; 1e-4 with --paper."""
    batch: int = 256
    """Noisy images a step of the many; the few are all seen at every step."""


SMOKE = {"sets": ("digits",), "few_size": 8, "many_size": 8, "seeds": 2, "steps": 20, "many": 200, "width": 12}
PAPER = {
    "many_size": 32, "seeds": 1, "few_decays": (1e-2,), "many_decay": 1e-4, "steps": 50_000,
    "few_rate": 1e-3, "many_rate": 1e-4,
}  # fmt: skip
CENTRED = (True, False)
PARALLEL = 0.95  # cosine from which on neurons are merged
NEGLIGIBLE = 1e-3  # squared norm, relative to the largest neuron, below which a neuron is not counted
RESOLVED = 2.0  # a direction counts as kept beyond doubt when its eigenvalue is above so many λ
SHOWN = 8  # columns of a net that are kept as pictures


def resolve(config: Config) -> Config:
    """Fill in what is open, and refuse what cannot be run."""
    config = published(config, PAPER)
    if not config.sets or len(set(config.sets)) != len(config.sets):
        raise ValueError(f"--sets must be distinct; got {list(config.sets)}")
    limits.at_least(config, seeds=1, few=2, many=config.few, steps=1, batch=1)
    limits.at_least(config, few_size=3, many_size=3, many_decay=0)  # the pictures of eight directions
    limits.above_zero(config, "noise_std", "few_rate", "many_rate")
    if not config.few_decays or min(config.few_decays) < 0 or len(set(config.few_decays)) != len(config.few_decays):
        raise ValueError(f"--few-decays must be distinct values ≥ 0; got {list(config.few_decays)}")
    if config.width < config.few:
        raise ValueError(f"--width must be at least --few = {config.few}; got {config.width}")
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Both kinds of nets for every set, centred and not."""
    decays = np.asarray(config.few_decays)
    models = len(config.sets) * len(CENTRED) * config.seeds * (len(decays) + 1)
    run.expect(models, models * config.steps)
    few = [result for name in config.sets for result in _few(config, run, name)]
    many = [result for name in config.sets for result in _many(config, run, name)]
    kept = max(one["angle"].shape[-1] for one in many)
    pixels = max(one["learned_picture"].shape[-1] for one in few)

    def stacked(results: list[dict[str, Any]], dims: dict[str, tuple[str, ...]]) -> dict[str, Any]:
        return {
            name: (("set", "centred", *axes), _stack([one[name] for one in results], (len(config.sets), 2)))
            for name, axes in dims.items()
        }

    dataset = xr.Dataset(
        stacked(few, FEW_DIMS) | stacked(many, MANY_DIMS),
        coords={
            "set": [name.split(":")[0] for name in config.sets], "centred": list(CENTRED), "decay": decays,
            "seed": np.arange(config.seeds), "sample": np.arange(config.few), "direction": np.arange(1, kept + 1),
        },
    )  # fmt: skip
    return dataset.assign_attrs(
        few=config.few, width=config.width, noise_std=config.noise_std, many_decay=config.many_decay, pixels=pixels,
        steps=config.steps, few_size=config.few_size, many_size=config.many_size, paper=int(config.paper),
    )  # fmt: skip


FEW_DIMS = {
    "cosine": ("decay", "seed", "sample"),
    "norm_ratio": ("decay", "seed", "sample"),
    "neurons": ("decay", "seed"),
    "unmerged": ("decay", "seed"),
    "surplus": ("decay", "seed"),
    "few_decay": ("decay",),
    "largest_cosine": (),
    "gate_margin": (),
    "few_side": (),
    "analytic_picture": ("sample", "pixel"),
    "learned_picture": ("column", "pixel"),
    "column_cosine": ("column",),
    "column_norm": ("column",),
}
MANY_DIMS = {
    "angle": ("seed", "direction"),
    "captured": ("seed", "direction"),
    "gain": ("seed", "direction"),
    "gain_theory": ("direction",),
    "resolved": (),
    "samples": (),
    "weight_decay": (),
    "open_gates": ("seed",),
    "many_side": (),
    "eigen_picture": ("column", "many_pixel"),
    "many_picture": ("column", "many_pixel"),
}


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


def _pictures(columns: Any) -> np.ndarray:
    """Columns as rows of whole numbers, ±127 at the largest entry: small, and enough to look at."""
    rows = np.asarray(columns).T
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return np.round(127 * rows / np.where(largest > 0, largest, 1)).astype(np.int8)


def _few(config: Config, run: launch.Run, name: str) -> list[dict[str, Any]]:
    """Nets on the most separable images, centred and as they are."""
    worlds = [
        x[data.most_separable(x, config.few)]
        for x in _centred(data.load_images(name, size=_side(name, config.few_size)).x)
    ]
    decays = [noise.weight_decay_from_optimizer(decay, worlds[0].shape[1]) for decay in config.few_decays]
    settings = Settings(
        noise_std=config.noise_std, learning_rate=config.few_rate, steps=config.steps, width=config.width, tied=True,
        optimizer=OPTIMIZERS["rmsprop"], schedule=constant_rate if config.paper else warmup_then_decay,
    )  # fmt: skip
    nets = train_nets(
        run, f"few-{config.sets.index(name)}", worlds, settings, root=derive(jax.random.key(config.seed), name),
        seeds=np.arange(config.seeds), weight_decays=decays,
    )  # fmt: skip
    return [_against_samples(one(nets, world), x, decays, config.noise_std) for world, x in enumerate(worlds)]


def _against_samples(nets: Weights, x: Any, decays: list[float], noise_std: float) -> dict[str, Any]:
    """Nets (decay, seed) on the samples x against (9)."""
    fields: dict[str, list[Any]] = {key: [] for key in ("cosine", "norm_ratio", "neurons", "unmerged", "surplus")}
    shape = nets.encoder.shape[:2]
    for index in np.ndindex(*shape):
        net = one(nets, *index)
        merged = merge_parallel(net, PARALLEL)
        reference = theory.memorizing_weights(x, noise_std=noise_std, weight_decay=decays[index[0]])
        found = match(merged.weights, reference)
        squares = np.sum(np.asarray(net.encoder) ** 2, axis=0)
        fields["cosine"].append(found.cosine)
        fields["norm_ratio"].append(found.norm_ratio)
        fields["neurons"].append(merged.live)
        fields["unmerged"].append(np.sum(squares > NEGLIGIBLE * squares.max()))
        fields["surplus"].append(found.surplus)
    result = {key: np.asarray(values, float).reshape(*shape, *np.shape(values)[1:]) for key, values in fields.items()}
    directions = np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
    cosines = directions @ directions.T - 2 * np.eye(len(directions))
    return result | {
        "few_decay": np.asarray(decays),
        "largest_cosine": cosines.max(),
        "gate_margin": np.min(-cosines.max(axis=0) * np.linalg.norm(x, axis=1)) / noise_std,
        "few_side": round(x.shape[1] ** 0.5),
        "analytic_picture": _pictures(np.asarray(x).T),
        **_columns(merge_parallel(one(nets, 0, 0), PARALLEL).weights, x, decays[0], noise_std),
    }


def _columns(merged: Weights, x: Any, decay: float, noise_std: float) -> dict[str, np.ndarray]:
    """Pictures of the largest merged columns: those matched to a sample first, in its order, then the others."""
    found = match(merged, theory.memorizing_weights(x, noise_std=noise_std, weight_decay=decay))
    partner = np.asarray(found.assignment)
    others = [column for column in range(merged.width) if column not in partner]
    order = np.concatenate([partner, others])[:SHOWN]
    columns = np.asarray(merged.encoder)[:, order]
    norms = np.linalg.norm(columns, axis=0)
    unit = columns / np.where(norms > 0, norms, 1)
    directions = np.asarray(x) / np.linalg.norm(x, axis=1, keepdims=True)
    return {
        "learned_picture": _pictures(columns),
        "column_cosine": np.max(directions @ unit, axis=0),
        "column_norm": norms,
    }


def _many(config: Config, run: launch.Run, name: str) -> list[dict[str, Any]]:
    """Nets on many images, centred and as they are."""
    worlds = _centred(data.load_images(name, size=_side(name, config.many_size), limit=config.many).x)
    decay = noise.weight_decay_from_optimizer(config.many_decay, worlds[0].shape[1])
    settings = Settings(
        noise_std=config.noise_std, weight_decay=decay, learning_rate=config.many_rate, steps=config.steps,
        width=config.width, tied=True, batch_size=config.batch,
        optimizer=OPTIMIZERS["adam" if config.paper else "rmsprop"],
        schedule=constant_rate if config.paper else warmup_then_decay,
    )  # fmt: skip
    nets = train_nets(
        run, f"many-{config.sets.index(name)}", worlds, settings, root=derive(jax.random.key(config.seed), name),
        seeds=np.arange(config.seeds),
    )  # fmt: skip
    return [
        _against_block(np.asarray(nets.encoder[world, 0]), x, decay, config.noise_std) for world, x in enumerate(worlds)
    ]


def _against_block(encoders: np.ndarray, x: Any, decay: float, noise_std: float) -> dict[str, Any]:
    """Tied nets (seed, d, p) on the samples x against the block solution of one cluster that holds them all."""
    one_cluster, width = np.zeros(len(x), int), encoders.shape[-1]
    spectrum = theory.sample_spectrum(x, one_cluster)
    eigenvalues, directions = np.asarray(spectrum.eigenvalues[0]), np.asarray(spectrum.directions[0])
    kept = max(1, min(int(np.sum(eigenvalues > decay)), width))
    resolved = max(1, min(int(np.sum(eigenvalues > RESOLVED * decay)), width))
    gains = theory.block_gains(x, one_cluster, (kept,), noise_std=noise_std, weight_decay=decay)[0, :kept]
    fields: dict[str, list[Any]] = {key: [] for key in ("angle", "captured", "gain", "open_gates")}
    bases, singular, _ = np.linalg.svd(encoders, full_matrices=False)
    for basis, encoder in zip(bases, encoders, strict=True):
        angles = np.asarray(principal_angles(basis[:, :resolved], directions[:, :resolved]))
        squares = np.sum(encoder**2, axis=0)
        live = squares > NEGLIGIBLE * squares.max()
        fields["angle"].append(np.pad(np.degrees(angles), (0, kept - resolved), constant_values=np.nan))
        fields["captured"].append(np.sum((basis[:, :kept].T @ directions[:, :kept]) ** 2, axis=0))
        fields["open_gates"].append(np.mean(np.asarray(x) @ encoder[:, live] > 0))
    largest = np.argsort(-np.sum(encoders[0] ** 2, axis=0))[:SHOWN]
    return {key: np.asarray(values, float) for key, values in fields.items() if values} | {
        "gain": singular[:, :kept] ** 2,
        "gain_theory": np.asarray(gains),
        "resolved": float(resolved),
        "samples": float(len(x)),
        "weight_decay": decay,
        "many_side": round(x.shape[1] ** 0.5),
        "eigen_picture": _pictures(directions[:, :SHOWN]),
        "many_picture": _pictures(encoders[0][:, largest]),
    }


def _centred(x: Any) -> list[Any]:
    """Images with their mean subtracted, and as they are, in the order of `CENTRED`."""
    return [x - x.mean(axis=0)[None, :], x]


def _side(name: str, size: int) -> int:
    """Sets that are smaller than asked for keep their size."""
    return min(size, {"digits": 8, "mnist": 28, "fashion": 28}.get(name, size))


def report(data: xr.Dataset) -> str:
    """Columns on samples, then subspaces and gains."""
    few, many = [], []
    for name in data["set"].values:
        for centred in CENTRED:
            at = data.sel(set=name, centred=centred)
            words = f"{name}, {'centred' if centred else 'as they are'}"
            for decay in data["decay"].values:
                cell = at.sel(decay=decay)
                cosine, ratio = cell["cosine"], cell["norm_ratio"]
                worst = float(np.abs(ratio - 1).max())
                few.append(
                    [
                        words,
                        f"{float(at['largest_cosine']):+.3f}",
                        f"{float(cell['few_decay']):.3g}",
                        f"{float(cosine.min()):.4f}",
                        _mean(1.0, ratio),
                        f"{worst:.2%}",
                        f"{float(cell['neurons'].mean()):.1f}",
                        f"{float(cell['surplus'].mean()):.4f}",
                        "holds" if float(cosine.min()) >= 0.999 and worst <= 0.02 else "FAILS",
                    ]
                )
            angle, resolved = at["angle"], int(at["resolved"])
            error = abs(at["gain"] / at["gain_theory"] - 1).isel(direction=slice(0, resolved))
            many.append(
                [
                    words,
                    f"{int(at['samples'])}",
                    f"{float(at['weight_decay']):.3g}",
                    f"{resolved}",
                    f"{float(angle.median()):.2f}°",
                    f"{float(angle.max()):.1f}°",
                    f"{float(at['captured'].isel(direction=slice(0, resolved)).mean()):.4f}",
                    f"{float(error.median()):.1%}",
                    f"{float(at['open_gates'].mean()):.2f}",
                ]
            )
    width, seeds = data.attrs["width"], data.sizes["seed"]
    return "\n".join(
        [
            f"few: n = {data.attrs['few']}, p = {width}, {seeds} seeds; columns after merging against (9)",
            launch.table(
                few,
                [
                    "images", "max cosine", "λ", "worst cosine to r_i x_i", "norm over r_i‖x_i‖", "worst norm",
                    "neurons", "surplus", "≥ 0.999, ≤ 2 %",
                ],
            ),
            "",
            f"many: p = {width}; leading directions with e_j > {RESOLVED:g}λ against the block solution of one cluster;"
            " gain error: median of |σ_j(W)²/a_j − 1|; open: share of gates open on the samples",
            launch.table(
                many,
                ["images", "n", "λ", "directions", "median angle", "largest", "captured", "gain error", "open"],
            ),
            "centred images have mean zero: no gate is open on all of them, and no block of (7)-(8) holds them",
        ]
    )  # fmt: skip


def _mean(predicted: float, values: xr.DataArray) -> str:
    per_seed = values.mean("sample").values
    if len(per_seed) < 2:
        return f"{per_seed.mean():.4f}"
    found = compare.compare(predicted, per_seed, scale=1.0)
    return f"{float(found.mean):.4f} ± {float(found.sem):.4f}"


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
