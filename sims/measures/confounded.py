"""Samples that look memorized to some score and are not, and every score of them, with what it costs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import detection, geometry, representation
from dae_theory.randomness import derive

KINDS = ("memorized", "ordinary", "easy", "large norm", "near duplicate", "other source")
CONFOUNDERS = KINDS[2:]
REPRESENTATION = ("std", "gini")
SCORES = (*REPRESENTATION, "loss", "score norm", "local dimension", "kept directions", "curvature", "flattest")
"""Larger for memorized: dimension, kept directions and loss with their sign turned."""
TIMED = 8  # samples on which the Jacobian is timed


@dataclass(frozen=True)
class Subject:
    """A net and samples of every kind.

    Attributes:
        x: (m, d).
        kinds: places in `KINDS`, (m,).
        noise_std: σ at which it is asked.
        denoise: (y, σ) -> f(y), (m, d).
        activations: (y, σ) -> pooled activations by layer, each (m, p).
    """

    x: np.ndarray
    kinds: np.ndarray
    noise_std: float
    denoise: Callable[[Array, Any], Array]
    activations: Callable[[Array, Any], dict[str, Array]]


@dataclass(frozen=True)
class Scores:
    """Scores (L or 1, m) by name, L layers, and seconds a sample by name, `forward` among them."""

    values: dict[str, np.ndarray]
    seconds: dict[str, float]
    layers: tuple[str, ...]


def scores(key: Array, subject: Subject, draws: int) -> Scores:
    """Every score of every sample: averages over noise draws where noise is added, one draw for the Jacobian.

    FLIPD is taken at the samples themselves, all others at noised ones.
    """
    x, level = jnp.asarray(subject.x), jnp.asarray(subject.noise_std, subject.x.dtype)
    noisy = [x + level * jax.random.normal(derive(key, "noise", draw), x.shape, x.dtype) for draw in range(draws)]

    @jax.jit
    def forward(y: Array) -> tuple[Array, Array]:
        answer = subject.denoise(y, level)
        return -jnp.sum((answer - x) ** 2, axis=1), jnp.linalg.norm(answer - y, axis=1) / level**2

    @jax.jit
    def spikiness(y: Array) -> Array:
        found = [representation.spikiness(h) for h in subject.activations(y, level).values()]
        return jnp.stack([jnp.stack([getattr(one, name) for name in REPRESENTATION]) for one in found])

    @jax.jit
    def local(y: Array) -> geometry.LocalGeometry:
        return geometry.local_geometry(lambda z: subject.denoise(z, level), y, noise_std=level)

    shown = np.mean([np.asarray(spikiness(y)) for y in noisy], axis=0)
    loss, norm = np.mean([np.stack([np.asarray(part) for part in forward(y)]) for y in noisy], axis=0)
    at_noised, at_samples = local(noisy[0]), local(x)
    values = {name: shown[:, index] for index, name in enumerate(REPRESENTATION)} | {
        "loss": loss[None],
        "score norm": norm[None],
        "local dimension": -np.asarray(at_samples.dimension)[None],
        "kept directions": -np.asarray(at_noised.kept, float)[None],
        "curvature": np.asarray(at_noised.curvature)[None],
        "flattest": np.asarray(at_noised.flattest)[None],
    }
    pass_seconds, spiky_seconds = (_seconds(call, noisy[0]) for call in (forward, spikiness))
    local_seconds = _seconds(local, noisy[0][:TIMED])  # point by point, so its cost is that of each
    seconds: dict[str, float] = dict.fromkeys(("forward", "loss", "score norm"), pass_seconds)
    seconds |= dict.fromkeys(REPRESENTATION, max(spiky_seconds, pass_seconds))
    seconds |= dict.fromkeys(SCORES[4:], local_seconds)
    layers = tuple(subject.activations(noisy[0][:1], level))
    return Scores(values, seconds, layers)


def _seconds(call: Callable[[Array], Any], y: Array) -> float:
    """A sample, the fastest of three calls after the first, which may compile."""
    jax.block_until_ready(call(y))
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        jax.block_until_ready(call(y))
        best = min(best, time.perf_counter() - started)
    return best / len(y)


def compare(key: Array, found: list[Scores], kinds: list[np.ndarray]) -> xr.Dataset:
    """AUROC of every score: memorized against ordinary and against each confounder, and confounder against ordinary.

    A score of a representation is that of the layer with the best AUROC, memorized against ordinary, on half of the
    samples; all AUROCs of it are reported on the other half, those of other scores on all samples.

    Args:
        key: of the halves.
        found: of nets of one kind, whose samples are pooled.
        kinds: of each net's samples.
    """
    kind = np.concatenate(kinds)
    half = np.asarray(jax.random.bernoulli(derive(key, "half"), 0.5, kind.shape))
    pairs = [("finds", "ordinary", 0, 1)]
    for number, name in enumerate(CONFOUNDERS, start=2):
        pairs += [("finds", name, 0, number), ("fooled", name, number, 1)]
    areas = {name: np.full((len(SCORES), len(KINDS) - 1, 3), np.nan) for name in ("finds", "fooled")}
    chosen = []
    for row, name in enumerate(SCORES):
        values = np.concatenate([one.values[name] for one in found], axis=1)
        report, layer = np.ones(kind.size, dtype=bool), 0
        if len(values) > 1:
            choosing = [_area(part, kind, 0, 1, half)[0] for part in values]
            layer, report = int(np.argmax(choosing)), ~half
        chosen.append(found[0].layers[layer] if name in REPRESENTATION else "")
        for which, against, positive, negative in pairs:
            column = KINDS.index(against) - 1
            areas[which][row, column] = _area(values[layer], kind, positive, negative, report)
    spent = [float(np.mean([one.seconds[name] / one.seconds["forward"] for one in found])) for name in SCORES]
    return xr.Dataset(
        {name: (("score", "against", "bound"), values) for name, values in areas.items()}
        | {"cost": ("score", spent), "layer": ("score", np.asarray(chosen, dtype=str))},
        coords={"score": list(SCORES), "against": list(KINDS[1:]), "bound": ["estimate", "low", "high"]},
    )


def _area(values: np.ndarray, kind: np.ndarray, positive: int, negative: int, kept: np.ndarray) -> tuple[float, ...]:
    those = kept & np.isin(kind, (positive, negative))
    interval = detection.areas(values[None, those], kind[those] == positive).interval(0)
    return interval.estimate, interval.low, interval.high
