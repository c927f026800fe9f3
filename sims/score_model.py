"""Score samples by the activations they cause: of a diffusers pipeline, or activations saved in a file.

python -m sims.score_model --activations FILE.npz
python -m sims.score_model --pipeline DIR_OR_NAME --images DIR

A file holds one array (n, ...) for each layer, `memorized` (n,) with 0 and 1, and, for the controls, `inputs` (n, ...)
and `denoised` (n, ...) where there are any. A folder of images has a subfolder `memorized` with the samples known to be
memorized and others beside it; without it, scores are recorded and no table can be made.
"""

import hashlib
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from dae_theory import data, detection, model, representation, theory
from dae_theory.randomness import derive
from sims import launch
from sims.launch import limits


@dataclass(frozen=True)
class Config:
    """Detect memorized samples by how spiky their activations are; thresholds are fitted on one half, reported on the
    other.
    """

    activations: str = ""
    """File (.npz) with activations, or `demo`: the analytic network of a hybrid mixture, where the answer is known."""
    pipeline: str = ""
    """Folder or name of a diffusers pipeline (needs the extra torch)."""
    images: str = ""
    """Folder of images for the pipeline."""
    memorized: str = "memorized"
    """Subfolder of images with the memorized ones."""
    names: tuple[str, ...] = ()
    """Modules of the network to read; by default every block."""
    timestep: int = 100
    """t of the forward noise."""
    pooling: Literal["max", "mean", "none"] = "max"
    """How activations become vectors: maxima or means over positions, or all entries."""
    channel_axis: int = 1
    """Axis of the channels in saved activations with positions; a pipeline knows its own."""
    batch_size: int = 16
    """Images given to the pipeline at once."""
    fpr: float = 0.01
    """False positive rate at which thresholds are fitted."""
    resamples: int = 1000
    """Bootstrap resamples."""
    seed: int = 0
    """Root of all randomness."""
    digest: str = ""
    """Leave empty: filled in from the contents of the inputs, so that changed inputs are another record."""


SMOKE = {"activations": "demo", "resamples": 50}
POOLINGS = {"max": representation.spatial_max, "mean": representation.spatial_mean, "none": representation.flatten}
RESERVED = ("memorized", "inputs", "denoised")


def resolve(config: Config) -> Config:
    """Refuse what cannot be run, and fill in the digest of the inputs."""
    if config.pipeline and config.activations == SMOKE["activations"]:
        config = replace(config, activations="")  # --smoke --pipeline ...
    if bool(config.activations) == bool(config.pipeline):
        raise ValueError("give either --activations FILE.npz or --pipeline NAME with --images DIR")
    if config.pipeline and not config.images:
        raise ValueError("--images must name a folder when --pipeline is given")
    paths = [Path(config.pipeline), Path(config.images)] if config.pipeline else [Path(config.activations)]
    if config.activations not in ("", "demo") and not paths[0].is_file():
        raise ValueError(f"--activations must be a file or `demo`; got {config.activations!r}")
    if config.images and not paths[1].is_dir():
        raise ValueError(f"--images must be a folder; got {config.images!r}")
    limits.at_least(config, batch_size=1, resamples=2, timestep=0)
    if not 0 < config.fpr < 1:
        raise ValueError(f"--fpr must lie in (0, 1); got {config.fpr}")
    return replace(config, digest=digest(paths))


def digest(paths: list[Path]) -> str:
    """SHA-256 of files' contents, and for folders of what is in them by name and size."""
    contents = hashlib.sha256()
    for path in paths:
        if path.is_file():
            contents.update(path.read_bytes())
        elif path.is_dir():
            for file in sorted(part for part in path.rglob("*") if part.is_file()):
                contents.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
    return contents.hexdigest()[:16]


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Scores of every sample, and the table where labels are known."""
    if config.pipeline:
        columns, memorized = _from_pipeline(config)
    else:
        columns, memorized = _from_arrays(config, _demo(config) if config.activations == "demo" else None)
    scored = xr.Dataset(
        {
            "score": (("column", "sample"), np.stack([column.scores for column in columns])),
            "memorized": (
                "sample",
                np.full(columns[0].scores.size, -1) if memorized is None else memorized.astype(int),
            ),
        },
        coords={"column": [column.name for column in columns]},
    )
    if memorized is None:
        return scored.assign_attrs(table=_plain(columns))
    table = detection.evaluate(
        derive(jax.random.key(config.seed), "table"), columns, memorized, fpr=config.fpr, resamples=config.resamples
    )
    rows = xr.Dataset(
        {name: ("line", values) for name, values in table.arrays().items()},
        coords={"line": [row.name for row in table.rows]},
    )
    return scored.merge(rows).assign_attrs(table=str(table))


def _plain(columns: list[detection.Column]) -> str:
    rows = [
        [
            column.name,
            *(f"{value:.4g}" for value in np.quantile(column.scores, [0, 0.5, 1])),
            int(column.scores.argmax()),
        ]
        for column in columns
    ]
    return launch.table(rows, ["score", "lowest", "median", "highest", "of sample"])


def _from_arrays(config: Config, arrays: Any) -> tuple[list[detection.Column], np.ndarray]:
    arrays = _saved(config.activations) if arrays is None else arrays
    layers = [name for name in arrays if name not in RESERVED and np.ndim(arrays[name]) > 1]
    if "memorized" not in arrays or not layers:
        raise SystemExit(f"score_model: {config.activations} must hold `memorized` and activations; got {list(arrays)}")
    memorized = np.asarray(arrays["memorized"])
    for name in ("memorized", *layers):
        if np.ndim(arrays[name]) < 1 or len(arrays[name]) != memorized.size:
            raise SystemExit(
                f"score_model: {name} must have one entry a sample, {memorized.size} as `memorized`;"
                f" got shape {np.shape(arrays[name])}"
            )
        if name != "memorized" and not np.all(np.isfinite(arrays[name])):
            raise SystemExit(f"score_model: {name} must be finite; it holds NaN or infinity")
    if not np.isin(memorized, (0, 1)).all() or min(np.sum(memorized == 0), np.sum(memorized == 1)) < 2:
        raise SystemExit(
            "score_model: memorized must be 0 or 1, at least two samples of either; got"
            f" {dict(zip(*(part.tolist() for part in np.unique(memorized, return_counts=True)), strict=True))}"
        )
    columns = []
    for name in layers:
        positions = np.ndim(arrays[name]) > 2 and config.pooling != "none"
        pooling = POOLINGS[config.pooling] if positions else representation.flatten
        if positions:
            pooling = partial(pooling, channel_axis=config.channel_axis)
        columns += [replace(c, name=f"{name}/{c.name}") for c in detection.score_columns(arrays[name], pooling)]
    if "inputs" in arrays:
        columns += detection.control_columns(arrays["inputs"], arrays.get("denoised"))
    return columns, memorized.reshape(-1) if memorized.shape == (memorized.size, 1) else memorized


def _saved(file: str) -> dict[str, np.ndarray]:
    try:
        with np.load(file) as saved:
            return {name: saved[name] for name in saved.files}
    except (ValueError, OSError, AttributeError, zipfile.BadZipFile) as error:
        raise SystemExit(f"score_model: --activations must be an .npz of numeric arrays; {file}: {error}") from error


def _demo(config: Config) -> dict[str, Any]:
    """Cor. 3.4 at work: duplicated samples, each with a neuron of its own, beside two abundant clusters."""
    dimension, clusters, duplicates, rank, noise_std = 32, 2, 6, 4, 0.2
    key = derive(jax.random.key(config.seed), "demo")
    mixture = data.simplex_mixture(
        key, dimension=dimension, components=clusters + duplicates, radius=4.0, rank=rank - 1, spread=0.5
    )
    samples = mixture.sample_balanced(derive(key, "samples"), 60)
    spiky = np.asarray(samples.labels) < duplicates
    x = np.where(spiky[:, None], np.asarray(mixture.means)[np.asarray(samples.labels)], np.asarray(samples.x))
    weights = theory.block_weights(
        x, samples.labels, (1,) * duplicates + (rank,) * clusters, noise_std=noise_std, weight_decay=1e-3
    )
    y = jnp.asarray(x) + noise_std * jax.random.normal(derive(key, "noise"), x.shape)
    return {
        "representation": np.asarray(model.represent(weights, y)),
        "memorized": spiky,
        "inputs": x,
        "denoised": np.asarray(model.denoise(weights, y)),
    }


def _from_pipeline(config: Config) -> tuple[list[detection.Column], np.ndarray | None]:
    from dae_theory.adapters import diffusers as adapter

    pipeline = adapter.load(config.pipeline)
    plan = adapter.recipe(pipeline)
    images = data.load_images(f"folder:{config.images}", size=plan.size, colour=plan.channels == 3)
    pixels = np.asarray(images.x, dtype=np.float32).reshape(len(images.x), *images.shape)
    pixels = pixels[:, None] if pixels.ndim == 3 else np.moveaxis(pixels, -1, 1)
    pooling = POOLINGS[config.pooling]
    if config.pooling != "none":
        # The recipe's own pooling knows where the channels are: replace the reduction, keep the axis.
        pooling = partial(pooling, **getattr(plan.pooling, "keywords", {}))
    result = adapter.score_images(
        pipeline,
        pixels,
        timestep=config.timestep,
        names=config.names or None,
        pooling=pooling,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    memorized = None
    if config.memorized in images.names and len(images.names) > 1:
        memorized = np.asarray(images.labels) == images.names.index(config.memorized)
    return result.columns(), memorized


def report(scored: xr.Dataset) -> str:
    """The table."""
    return str(scored.attrs["table"])


SIM = launch.Sim(Config, compute, launch.unjudged, SMOKE, resolve, describe=report)


if __name__ == "__main__":
    launch.main(SIM)
