"""Every score of every layer of a net, the table of them with the net before as baseline, and what it reproduces."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import detection, memorization, representation
from dae_theory.randomness import derive
from sims.nets.convolutional import LAYERS
from sims.nets.images import ImageSet

KINDS = {
    "std": "std",
    "scale-free": "scale-free score",
    "loss": "loss at the sample",
    "input": "control of the input",
}
FOLDS = 5  # of the choice of the best score of a kind


def kind_of(name: str) -> str:
    """Which of `KINDS` a column is of."""
    if name.startswith("denoising_loss"):
        return "loss"
    if "/" not in name:
        return "input"
    return "std" if name.split("/")[1].startswith("std") else "scale-free"


def net_columns(net: Any, x: np.ndarray, levels: tuple[float, ...], seed: int) -> list[detection.Column]:
    """Every score of every layer of a net of ours at every level, and the controls; maxima over positions."""

    @jax.jit
    def forward(y: Array, level: Array) -> tuple[Array, dict[str, Array]]:
        hidden = net.activations(y, level)
        return net.denoise(y, level), {name: representation.spatial_max(hidden[name]) for name in LAYERS}

    def one(y: np.ndarray, level: float) -> tuple[Any, Any]:
        return forward(jnp.asarray(y), jnp.asarray(level, jnp.float32))

    return detection.stream_columns(one, x.astype(np.float32), noise_std=levels, batch_size=len(x), seed=seed)


def table(
    key: Array,
    columns: list[detection.Column],
    baseline: list[detection.Column] | None,
    seen: np.ndarray,
    held_out: np.ndarray,
    resamples: int,
) -> xr.Dataset:
    """The headline of every row along `line`, which rows alarm, and along `kind` the best score, cross-fitted."""
    kept = seen | held_out

    def of(columns: list[detection.Column]) -> list[detection.Column]:
        return [replace(column, scores=column.scores[kept]) for column in columns]

    rows = detection.evaluate(
        derive(key, "table"),
        of(columns),
        seen[kept],
        baseline=None if baseline is None else of(baseline),
        combine=False,
        resamples=resamples,
    ).rows
    best = [
        detection.cross_fit(
            derive(key, kind), [c for c in of(columns) if kind_of(c.name) == kind], seen[kept], folds=FOLDS
        ).auroc
        for kind in KINDS
    ]
    ends = ("estimate", "low", "high")
    return xr.Dataset(
        {end: ("line", np.asarray([getattr(row.headline, end) for row in rows], np.float32)) for end in ends}
        | {"alarms": ("line", np.asarray([row.alarms for row in rows], np.int8))}
        | {"best": (("kind", "bound"), np.asarray([[getattr(one, end) for end in ends] for one in best]))},
        coords={"line": [row.name for row in rows], "kind": list(KINDS), "bound": list(ends)},
    )


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
