"""The axes a phase diagram may have: the field of the configuration each one moves, its values, its label."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_theory.checks import Refusal
from sims import launch


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        field: the configuration's field it replaces.
        label: word and symbol, for figures and tables.
        integer: whether its values are whole numbers.
        values: what it runs over unless the user says otherwise.
        of_mixture: whether it changes the mixture itself, so that it exists for `--data simplex` only.
        redraws: whether nets at two of its values draw initial weights, batches and noise of their own; otherwise they
            are one run at several times, or start from the same directions.
        rises: whether nets come to memorize along it, so that a boundary is where the index rises.
    """

    field: str
    label: str
    integer: bool
    values: tuple[float, ...]
    of_mixture: bool = False
    redraws: bool = True
    rises: bool = False


AXES: Mapping[str, Axis] = {
    "n": Axis("n", "training samples $n$", True, tuple(2**k for k in range(1, 13))),
    "p": Axis("p", "neurons $p$", True, (2, 4, 8, 12, 16, 24, 32, 48)),
    "sigma": Axis("noise_std", r"noise std $\sigma$", False, (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)),
    "lambda": Axis("weight_decay", r"weight decay $\lambda$", False, (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)),
    "copies": Axis("copies", "copies of one sample $m$", True, (1, 2, 4, 8, 16, 32, 64, 128)),
    "d": Axis("dimension", "dimension $d$", True, (8, 16, 32, 64), of_mixture=True),
    "K": Axis("components", "mixture components $K$", True, (1, 2, 3, 4, 6, 8), of_mixture=True),
    "separation": Axis(
        "separation", "separation (radius / spread)", False, (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), of_mixture=True
    ),
    "steps": Axis(
        "steps",
        "steps of training",
        True,
        (10, 30, 100, 300, 1000, 3000, 10_000, 30_000),
        redraws=False,
        rises=True,
    ),
    "scale": Axis(
        "init_scale", "initial norm of a column", False, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), redraws=False
    ),
}


def axis_values(name: str, given: tuple[float, ...], *, option: str, most: int | None = None) -> np.ndarray:
    """The sorted values of an axis: those given, or its own (up to `most`, for an axis limited by the data).

    Raises:
        ValueError: naming the option: values that repeat, are not whole where they must be, not positive, or too large.
    """
    axis = AXES[name]
    values = np.asarray(given or [v for v in axis.values if most is None or v <= most], float)
    if len(np.unique(values)) != len(values) or len(values) < 2:
        raise Refusal(f"{option} must be at least two distinct values; got {values.tolist()}")
    lowest = 0 if name == "lambda" else np.nextafter(0, 1)
    if not np.all(np.isfinite(values)) or values.min() < lowest:
        raise Refusal(f"{option} must be {'≥' if name == 'lambda' else '>'} 0 for axis {name}; got {values.tolist()}")
    if axis.integer and np.any(values != np.round(values)):
        raise Refusal(f"{option} must be whole numbers for axis {name}; got {values.tolist()}")
    if most is not None and values.max() > most:
        raise Refusal(f"{option} must be at most {most} for axis {name} with these data; got {values.max():g}")
    return np.sort(values).astype(int if axis.integer else float)


def fine_values(name: str, values: np.ndarray, count: int = 49) -> np.ndarray:
    """A dense version of an axis for theory's lines; axes of the mixture keep their own values."""
    if AXES[name].of_mixture or values.min() <= 0:
        return values.astype(float)
    return np.geomspace(values[0], values[-1], count)


def coordinates(config: Any, points: Mapping[str, np.ndarray], dimension: int | None) -> dict[str, np.ndarray]:
    """Every axis at every point: what the grid moves, and elsewhere the configuration's value (or the data's own d)."""
    size = len(next(iter(points.values())))
    given = launch.flat(config)
    fixed = {name: given[axis.field] for name, axis in AXES.items()}
    fixed["d"] = dimension or fixed["d"]
    return {name: np.asarray(points[name] if name in points else np.full(size, fixed[name])) for name in AXES}


def identities(at: Mapping[str, np.ndarray], seeds: np.ndarray) -> np.ndarray:
    """For every point a number that belongs to its cell and seed, whatever grid they stand in: what nets draw from."""
    own = {name: values for name, values in sorted(at.items()) if AXES[name].redraws}
    texts = [
        json.dumps([int(seed), {name: float(values[i]) for name, values in own.items()}])
        for i, seed in enumerate(seeds)
    ]
    return np.asarray([zlib.crc32(text.encode()) for text in texts], np.uint32)
