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
ENDS = ("estimate", "low", "high")
FOLDS = 5  # of the choice of the best score of a kind


def kind_of(name: str) -> str:
    """Which of `KINDS` a column is of."""
    if name.startswith("denoising_loss"):
        return "loss"
    if "/" not in name:
        return "input"
    return "std" if name.split("/")[1].startswith("std") else "scale-free"


@jax.jit
def _forward(net: Any, y: Array, level: Array) -> tuple[Array, dict[str, Array]]:
    hidden = net.activations(y, level)
    return net.denoise(y, level), {name: representation.spatial_max(hidden[name]) for name in LAYERS}


@jax.jit
def denoised(net: Any, y: Array, level: Any) -> Array:
    """f(y), compiled once for all nets of a kind."""
    return net.denoise(y, level)


def net_columns(net: Any, x: np.ndarray, levels: tuple[float, ...], seed: int) -> list[detection.Column]:
    """Every score of every layer of a net of ours at every level, and the controls; maxima over positions."""

    def one(y: np.ndarray, level: float) -> tuple[Any, Any]:
        return _forward(net, jnp.asarray(y), jnp.asarray(level, jnp.float32))

    return detection.stream_columns(one, x.astype(np.float32), noise_std=levels, batch_size=len(x), seed=seed)


def table(
    key: Array,
    columns: list[detection.Column],
    baseline: list[detection.Column] | None,
    seen: np.ndarray,
    held_out: np.ndarray,
) -> xr.Dataset:
    """What of a table of all samples is not chance: AUROC − ½ of every row along `line`, or its gain on a baseline,
    with intervals that hold for all rows together; along `kind` AUROC of the best score of a kind, cross-fitted.
    """
    kept = seen | held_out
    labels, count = seen[kept], len(columns)
    scores = np.stack([column.scores[kept] for column in (*columns, *(baseline or ()))])
    found = detection.areas(scores, labels)
    level = detection.simultaneous_level(
        derive(key, "together"), found, scores, labels, differences=baseline is not None
    )
    if baseline is None:
        whole = [found.interval(row, level=level) for row in range(count)]
        rows = np.asarray([[one.estimate, one.low, one.high] for one in whole]) - 0.5
    else:
        gains = [found.difference(row, row + count, level=level) for row in range(count)]
        rows = np.asarray([[one.estimate, one.low, one.high] for one in gains])
    own = [replace(column, scores=column.scores[kept]) for column in columns]
    best = [
        detection.cross_fit(
            derive(key, kind), [column for column in own if kind_of(column.name) == kind], labels, folds=FOLDS
        ).auroc
        for kind in KINDS
    ]
    return xr.Dataset(
        {
            **{end: ("line", rows[:, place].astype(np.float32)) for place, end in enumerate(ENDS)},
            "best": (("kind", "bound"), np.asarray([[getattr(one, end) for end in ENDS] for one in best])),
        },
        coords={"line": [column.name for column in columns], "kind": list(KINDS), "bound": list(ENDS)},
    )


def reproduced(key: Array, net: Any, images: ImageSet, rows: np.ndarray, start: float) -> np.ndarray:
    """Whether f(x + σε) is nearer to x than a third of its distance to any other training image, (m,)."""
    x, training = images.x[rows], np.asarray(images.distinct)
    ends = np.asarray(denoised(net, x + jnp.float32(start) * jax.random.normal(key, x.shape, x.dtype), start))
    own = np.linalg.norm(ends - np.asarray(x), axis=1)
    distances = np.sqrt(np.maximum(_squares(ends, training), 0))
    same = np.isclose(_squares(np.asarray(x), training), 0, atol=1e-3)
    return own < memorization.THRESHOLD * np.min(np.where(same, np.inf, distances), axis=1)


def _squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(float), other.astype(float)
    return np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1)[None] - 2 * one @ other.T
