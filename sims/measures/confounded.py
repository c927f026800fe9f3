"""Samples that look memorized to some score and are not, and every score of them, with what it costs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
UNKNOWN = -1
TIMED = 8  # samples on which the Jacobian is timed


@dataclass(frozen=True)
class Subject:
    """A net and samples of every kind.

    Attributes:
        x: (m, d).
        kinds: places in `KINDS`, (m,).
        noise_std: σ at which it is asked.
        net: a pytree, what nets of a kind differ in.
        denoise: (net, y, σ) -> f(y), (m, d); one function for nets of a kind, which then share their programs.
        activations: (net, y, σ) -> pooled activations by layer, each (m, p).
        reproduced: how many memorized samples it reproduces, where that was asked.
    """

    x: np.ndarray
    kinds: np.ndarray
    noise_std: float
    net: Any
    denoise: Callable[[Any, Array, Any], Array]
    activations: Callable[[Any, Array, Any], dict[str, Array]]
    reproduced: int = UNKNOWN


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

    forward = partial(_forward, subject.denoise, subject.net, x, level=level)
    spikiness = partial(_spikiness, subject.activations, subject.net, level=level)
    local = partial(_local, subject.denoise, subject.net, level=level)
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
    layers = tuple(sorted(jax.eval_shape(subject.activations, subject.net, x, level)))
    return Scores(values, seconds, layers)


@partial(jax.jit, static_argnums=0)
def _forward(denoise: Callable[..., Array], net: Any, x: Array, y: Array, level: Array) -> tuple[Array, Array]:
    """Minus the loss at x, and the norm of the score at y."""
    answer = denoise(net, y, level)
    return -jnp.sum((answer - x) ** 2, axis=1), jnp.linalg.norm(answer - y, axis=1) / level**2


@partial(jax.jit, static_argnums=0)
def _spikiness(activations: Callable[..., dict[str, Array]], net: Any, y: Array, level: Array) -> Array:
    """The scores of `REPRESENTATION` by layer, in the order of their names, (L, scores, m)."""
    found = [representation.spikiness(h) for _, h in sorted(activations(net, y, level).items())]
    return jnp.stack([jnp.stack([getattr(one, name) for name in REPRESENTATION]) for one in found])


@partial(jax.jit, static_argnums=0)
def _local(denoise: Callable[..., Array], net: Any, y: Array, level: Array) -> geometry.LocalGeometry:
    return geometry.local_geometry(lambda z: denoise(net, z, level), y, noise_std=level)


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
    samples; all AUROCs of it are reported on the other half, those of other scores on all samples. Samples of several
    nets are pooled, and intervals go by net. `together` are the intervals of `finds` that hold for all kinds of samples
    at once, so that the lowest of them may be read.

    Args:
        key: of the halves and the bootstrap.
        found: of nets of one kind.
        kinds: of each net's samples.
    """
    kind = np.concatenate(kinds)
    half = np.asarray(jax.random.bernoulli(derive(key, "half"), 0.5, kind.shape))
    unit = np.arange(kind.size) if len(kinds) == 1 else np.repeat(np.arange(len(kinds)), [one.size for one in kinds])
    areas = {name: np.full((len(SCORES), len(KINDS) - 1, 3), np.nan) for name in ("finds", "together", "fooled")}
    chosen = []
    for row, name in enumerate(SCORES):
        values = np.concatenate([one.values[name] for one in found], axis=1)
        report, layer = np.ones(kind.size, dtype=bool), 0
        if len(values) > 1:
            choosing = [_area(part, kind, unit, 0, 1, half)[0].estimates[0] for part in values]
            layer, report = int(np.argmax(choosing)), ~half
        chosen.append(found[0].layers[layer] if name in REPRESENTATION else "")
        finds = [_area(values[layer], kind, unit, 0, negative, report) for negative in range(1, len(KINDS))]
        fooled = [_area(values[layer], kind, unit, positive, 1, report)[0] for positive in range(2, len(KINDS))]
        influence = np.zeros((unit.max() + 1, len(finds)))
        for column, (area, units) in enumerate(finds):
            influence[units, column] = area.influence[:, 0]
        level = detection.bootstrap_level(derive(key, "together", row), influence)
        areas["finds"][row] = [_ends(area) for area, _ in finds]
        areas["together"][row] = [_ends(area, level) for area, _ in finds]
        areas["fooled"][row, 1:] = [_ends(area) for area in fooled]
    spent = [float(np.mean([one.seconds[name] / one.seconds["forward"] for one in found])) for name in SCORES]
    return xr.Dataset(
        {name: (("score", "against", "bound"), values) for name, values in areas.items()}
        | {"cost": ("score", spent), "layer": ("score", np.asarray(chosen, dtype=str))},
        coords={"score": list(SCORES), "against": list(KINDS[1:]), "bound": ["estimate", "low", "high"]},
    )


def _area(
    values: np.ndarray, kind: np.ndarray, unit: np.ndarray, positive: int, negative: int, kept: np.ndarray
) -> tuple[detection.Areas, np.ndarray]:
    """AUROC of one kind against another, and the units, samples or nets, that its influence is of."""
    those = kept & np.isin(kind, (positive, negative))
    return detection.areas(values[None, those], kind[those] == positive, groups=unit[those]), np.unique(unit[those])


def _ends(area: detection.Areas, level: float = 0.95) -> tuple[float, float, float]:
    interval = area.interval(0, level=level)
    return interval.estimate, interval.low, interval.high
