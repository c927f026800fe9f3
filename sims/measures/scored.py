"""Images of a folder scored by a torch module or a diffusers pipeline, for the table and the contact sheet."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from dae_theory import data, detection
from dae_theory.checks import Refusal
from dae_theory.data.folder import image_files
from sims.measures import suspects
from sims.nets import foreign
from sims.worlds import groups
from sims.worlds.activations import POOLINGS

MEMORIZED = "memorized"  # subfolder that is looked for unless another is named


@dataclass(frozen=True)
class Scored:
    """Scores of n images.

    Attributes:
        columns: oriented scores.
        baseline: the same scores by a net that cannot have memorized the images; None where there is none.
        memorized: labels, (n,), or None.
        groups: what images belong to, (n,), or None.
        names: paths below the folder.
        rank_by: name of the column by which images are ordered.
        shown: the most and least suspicious images, as `suspects.pictures` gives them.
    """

    columns: list[detection.Column]
    baseline: list[detection.Column] | None
    memorized: np.ndarray | None
    groups: np.ndarray | None
    names: list[str]
    rank_by: str
    shown: xr.Dataset


def by_module(config: Any) -> Scored:
    """As `sims.score_model` is configured: the module with its weights, and a baseline where there is one."""
    from dae_theory.adapters import torch as adapter

    trained, baseline = foreign.load(config.module, config.weights, config.seed, config.baseline)
    size = (config.size, config.size) if config.size else None
    images = data.load_images(f"folder:{config.images}", size=size, colour=config.colour)
    pixels = _channels_first(images)
    asked: dict[str, Any] = {"noise_std": config.noise_stds, "batch_size": config.batch_size, "seed": config.seed}
    try:
        names = list(config.names) or adapter.default_names(trained, pixels, config.noise_stds)
    except (RuntimeError, TypeError) as error:  # of its own forward pass
        raise Refusal(
            f"--module must take what --images gives, {pixels.shape[1:]} an image; it answers: {error}. --colour gives "
            "three channels and --size another size; a net that takes the noise level too needs a factory that wraps it"
        ) from error
    if config.pooling != "max":
        asked["pooling"] = partial(POOLINGS["mean"], channel_axis=1) if config.pooling == "mean" else POOLINGS["none"]
    compared = bool(config.baseline) or (config.untrained and bool(config.weights))
    nets = [trained, baseline] if compared else [trained]
    columns = [adapter.module_columns(net, pixels, names=names, **asked) for net in nets]

    def answers(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return adapter.denoise_some(
            trained, pixels, rows.tolist(), noise_std=config.noise_stds[0], level=0, seed=config.seed
        )

    return _scored(config, images, pixels, columns[0], columns[1] if compared else None, answers)


def by_pipeline(config: Any) -> Scored:
    """As `sims.score_model` is configured: a diffusers pipeline at one timestep."""
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
    return _scored(config, images, pixels, result.columns(), None, None)


def _scored(
    config: Any,
    images: data.Images,
    pixels: np.ndarray,
    columns: list[detection.Column],
    baseline: list[detection.Column] | None,
    answers: Any,
) -> Scored:
    names = [file.relative_to(config.images).as_posix() for file in image_files(config.images)]
    rank_by = config.rank_by or next(column.name for column in columns if column.name.startswith("denoising_loss"))
    shown = suspects.pictures(columns, names, pixels, rank_by, answers)
    return Scored(columns, baseline, _labels(config, images), groups.read(config.groups, names), names, rank_by, shown)


def _channels_first(images: data.Images) -> np.ndarray:
    pixels = np.asarray(images.x, dtype=np.float32).reshape(len(images.x), *images.shape)
    return pixels[:, None] if pixels.ndim == 3 else np.moveaxis(pixels, -1, 1)


def _labels(config: Any, images: data.Images) -> np.ndarray | None:
    """Which images lie in the folder of memorized ones; None where there is none."""
    if config.memorized not in images.names or len(images.names) < 2:
        if config.memorized not in ("", MEMORIZED):
            raise Refusal(
                f"--memorized must be one of the subfolders {list(images.names)}, or empty for images without labels;"
                f" got {config.memorized!r}"
            )
        return None
    return np.asarray(images.labels) == images.names.index(config.memorized)
