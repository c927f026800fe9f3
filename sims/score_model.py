"""Score samples by the activations they cause: of a torch module, a diffusers pipeline, or saved in a file.

python -m sims.score_model --activations FILE.npz
python -m sims.score_model --pipeline DIR_OR_NAME --images DIR
python -m sims.score_model --module package.module:factory --weights FILE --images DIR

A file holds one array (n, ...) for each layer, `memorized` (n,) with 0 and 1, and, for the controls, `inputs` (n, ...)
and `denoised` (n, ...) where there are any. A folder of images has a subfolder `memorized` with the samples known to be
memorized and others beside it; without it, scores are recorded and no table can be made. Scores of images stand in
scores.csv beside the record as well, the most suspicious image first.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import compare, data, detection, model, theory
from dae_theory.checks import Refusal
from dae_theory.data.folder import image_files
from dae_theory.randomness import derive
from sims import launch
from sims.launch import contents, limits
from sims.measures import suspects
from sims.measures.tables import CONTROLS, score_lines
from sims.nets import foreign
from sims.worlds.activations import POOLINGS, Activations, pooled, read_activations

DEMO = "demo"


@dataclass(frozen=True)
class Config:
    """Detect memorized samples by how spiky their activations are; thresholds are fitted on one half, reported on the
    other.
    """

    activations: str = field(default="", metadata=contents.PATH)
    """File (.npz) with activations, or `demo`: the analytic network of a hybrid mixture, where the answer is known."""
    pipeline: str = field(default="", metadata=contents.PATH)
    """Folder or name of a diffusers pipeline (needs the extra torch)."""
    module: str = ""
    """package.module:factory of a torch denoiser, from noised images (b, c, h, w) in [−1, 1] to clean ones."""
    weights: str = field(default="", metadata=contents.PATH)
    """Its weights, as torch.save(net.state_dict(), FILE) writes them."""
    untrained: bool = True
    """Compare with the same module without its weights, which can have memorized nothing."""
    noise_stds: tuple[float, ...] = (0.1, 0.3)
    """σ at which the module is read."""
    colour: bool = False
    """Give the module images with three channels instead of one."""
    size: int = 0
    """Height and width that images are cut to; 0 leaves them as they are."""
    rank_by: str = ""
    """Score by which images are ordered in scores.csv; by default the denoising loss at the first noise level."""
    images: str = field(default="", metadata=contents.PATH)
    """Folder of images for the pipeline or module."""
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


SMOKE = {"activations": DEMO, "resamples": 50}


def resolve(config: Config) -> Config:
    """Refuse what cannot be run."""
    if config.pipeline and config.activations == DEMO:
        config = replace(config, activations="")  # --smoke --pipeline ...
    if config.module and config.activations == DEMO:
        config = replace(config, activations="")
    if sum(map(bool, (config.activations, config.pipeline, config.module))) != 1:
        raise Refusal("give one of --activations FILE.npz, --pipeline NAME or --module NAME; these with --images")
    if not config.activations and not config.images:
        raise Refusal("--images must name a folder when --pipeline or --module is given")
    if config.module:
        limits.above_zero(config, "noise_stds")
        limits.distinct(config, "noise_stds")
        foreign.load(config.module, config.weights, config.seed)
    if config.images and not Path(config.images).is_dir():
        raise Refusal(f"--images must be a folder; got {config.images!r}")
    limits.at_least(config, batch_size=1, resamples=2, timestep=0, size=0)
    if not 0 < config.fpr < 1:
        raise Refusal(f"--fpr must lie in (0, 1); got {config.fpr}")
    if config.activations not in ("", DEMO):
        read_activations(config.activations)
    return config


def compute(config: Config, run: launch.Run) -> xr.Dataset:
    """Scores of every sample, and the table where labels are known."""
    key = derive(jax.random.key(config.seed), "table")
    options = {"fpr": config.fpr, "resamples": config.resamples}
    if not config.activations:
        columns, memorized, baseline = _from_module(config) if config.module else (*_from_pipeline(config), None)
        table = None
        if memorized is not None:
            table = detection.evaluate(key, columns, memorized, baseline=baseline, **options)
        names = [str(file.relative_to(config.images)) for file in image_files(config.images)]
        run.record.folder.mkdir(parents=True, exist_ok=True)
        rank_by = config.rank_by or next(c.name for c in columns if c.name.startswith("denoising_loss"))
        suspects.write(run.record.folder / "scores.csv", columns, names, memorized, rank_by)
    else:
        saved = _demo(config.seed) if config.activations == DEMO else read_activations(config.activations)
        memorized, table = saved.memorized, _table(key, saved, config, **options)
        columns = list(table.columns)
    labels = np.full(columns[0].scores.size, -1) if memorized is None else memorized.astype(int)
    scored = xr.Dataset(
        {
            "score": (("column", "sample"), np.stack([column.scores for column in columns])),
            "memorized": ("sample", labels),
        },
        coords={"column": [column.name for column in columns]},
    )
    if table is None:
        return scored
    lines = xr.Dataset(
        {name: ("line", values) for name, values in table.arrays().items()},
        coords={"line": [row.name for row in table.rows]},
    )
    counts = {"fitted_on": table.fitted_on, "reported_on": table.reported_on}
    words = {"table": str(table), "verdict": table.verdict()}
    return scored.merge(lines).assign_attrs(fpr=config.fpr, **words, **counts)


def _table(key: Array, saved: Activations, config: Config, **options: Any) -> detection.ScoreTable:
    return detection.score_table(
        key,
        saved.layers,
        saved.memorized,
        inputs=saved.inputs,
        denoised=saved.denoised,
        pooling=pooled(config.pooling, config.channel_axis),
        **options,
    )


def _demo(seed: int) -> Activations:
    """Cor. 3.4 at work: duplicated samples, each with a neuron of its own, beside two abundant clusters."""
    dimension, clusters, duplicates, rank, noise_std = 32, 2, 6, 4, 0.2
    key = derive(jax.random.key(seed), "demo")
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
    return Activations(
        {"representation": np.asarray(model.represent(weights, y))}, spiky, x, np.asarray(model.denoise(weights, y))
    )


def _from_module(
    config: Config,
) -> tuple[list[detection.Column], np.ndarray | None, list[detection.Column] | None]:
    """Scores in the module, labels, and scores in the same module without its weights."""
    from dae_theory.adapters import torch as adapter

    trained, untrained = foreign.load(config.module, config.weights, config.seed)
    size = (config.size, config.size) if config.size else None
    images = data.load_images(f"folder:{config.images}", size=size, colour=config.colour)
    pixels = _channels_first(images)
    asked: dict[str, Any] = {"noise_std": config.noise_stds, "batch_size": config.batch_size, "seed": config.seed}
    names = list(config.names) or adapter.default_names(trained, pixels, config.noise_stds)
    if config.pooling != "max":
        asked["pooling"] = partial(POOLINGS["mean"], channel_axis=1) if config.pooling == "mean" else POOLINGS["none"]
    nets = [trained, untrained] if config.untrained and config.weights else [trained]
    columns = [adapter.module_columns(net, pixels, names=names, **asked) for net in nets]
    return columns[0], _labels(config, images), columns[1] if len(columns) > 1 else None


def _channels_first(images: data.Images) -> np.ndarray:
    pixels = np.asarray(images.x, dtype=np.float32).reshape(len(images.x), *images.shape)
    return pixels[:, None] if pixels.ndim == 3 else np.moveaxis(pixels, -1, 1)


def _labels(config: Config, images: data.Images) -> np.ndarray | None:
    """Which images lie in the folder of memorized ones; None where there is none."""
    if config.memorized not in images.names or len(images.names) < 2:
        return None
    return np.asarray(images.labels) == images.names.index(config.memorized)


def _from_pipeline(config: Config) -> tuple[list[detection.Column], np.ndarray | None]:
    from dae_theory.adapters import diffusers as adapter

    pipeline = adapter.load(config.pipeline)
    plan = adapter.recipe(pipeline)
    images = data.load_images(f"folder:{config.images}", size=plan.size, colour=plan.channels == 3)
    pixels = _channels_first(images)
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
    return result.columns(), _labels(config, images)


def judge(scored: xr.Dataset) -> list[compare.Row]:
    """The scores together, fitted on one half and reported on the other, beside the trivial controls of the inputs."""
    rows = []
    for name in ("combined", *CONTROLS):
        if "line" in scored.dims and name in scored["line"].values:
            at = scored.sel(line=name)
            ends = (float(at[f"auroc_delong_{end}"]) for end in ("low", "high"))
            words = "all scores combined" if name == "combined" else f"{name.replace('_', ' ')}, a control"
            rows.append(compare.interval(f"AUROC of {words}", "Table 1", float(at["auroc"]), *ends))
    return rows


def describe(scored: xr.Dataset) -> str:
    """The table; without labels, where the scores lie."""
    if "line" not in scored.dims:
        rows = [
            [name, *(f"{value:.4g}" for value in np.nanquantile(scores, [0, 0.5, 1])), int(np.nanargmax(scores))]
            for name, scores in zip(scored["column"].values, scored["score"].values, strict=True)
        ]
        return launch.table(rows, ["score", "lowest", "median", "highest", "of sample"])
    values = {name: scored[name].values for name in scored if scored[name].dims == ("line",)}
    (fit, fit_others), (report, report_others) = scored.attrs["fitted_on"], scored.attrs["reported_on"]
    words = (
        f"* a control. Thresholds fitted at FPR {scored.attrs['fpr']:g} on {fit} memorized and {fit_others} other"
        f" samples, reported on {report} and {report_others}"
    )
    verdict = [launch.wrap(scored.attrs["verdict"])] if "verdict" in scored.attrs else []
    return "\n".join([score_lines(scored["line"].values, values), launch.wrap(words), *verdict])


SIM = launch.Sim(Config, compute, judge, SMOKE, resolve, describe)


if __name__ == "__main__":
    launch.main(SIM)
