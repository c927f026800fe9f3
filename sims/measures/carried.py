"""What gives duplicated samples away in one hidden layer, and who carries them: scores, silenced neurons, dimensions.

A network comes as a `silencing.Answer` of one of its layers, so that this serves nets of any kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from dae_theory import detection, diffusion, intrinsic_dimension, layered, representation, silencing, symmetry
from dae_theory.checks import Refusal
from dae_theory.layered import Layered
from dae_theory.randomness import derive

PARALLEL = 0.9  # cosine from which on neurons of a layer are merged as copies
KINDS = ("duplicated", "once")
CLOUDS, COPIES = 4, 150  # samples of a kind, and noisy copies of each, whose representations are a cloud


@dataclass(frozen=True)
class Measures:
    """How a layer is measured: σ, noise draws, samples of a kind, neurons silenced at once, shares kept at random."""

    noise_std: float
    draws: int
    measured: int
    counts: tuple[int, ...]
    shares: tuple[float, ...]


def numbers(key: Array, answer: silencing.Answer, x: Mapping[str, Array], width: int, how: Measures) -> dict[str, Any]:
    """What needs the network, by JAX: scores and losses of all samples, effects on some, representations.

    Args:
        key: of the noise.
        answer: the network with factors on one layer.
        x: duplicated, once and fresh samples, each (n, d).
        width: p of the layer.
        how: sizes.
    """
    found: dict[str, Any] = {}
    common = {"noise_std": how.noise_std, "draws": how.draws}
    for kind in KINDS:
        rows = x[kind]
        ones = jnp.ones((len(rows), width), rows.dtype)

        def scored(draw: Array, rows: Array = rows, ones: Array = ones, kind: str = kind) -> tuple[Array, Array]:
            noise = jax.random.normal(derive(key, f"score {kind}", draw), rows.shape, rows.dtype)
            output, h = answer(rows + jnp.asarray(how.noise_std, rows.dtype) * noise, ones)
            scores = representation.spikiness(h)
            oriented = [sign * getattr(scores, name) for name, sign in representation.ORIENTATION.items()]
            return jnp.stack(oriented), -jnp.sum((output - rows) ** 2, axis=1)

        scores, losses = jax.lax.map(scored, jnp.arange(how.draws))
        found |= {f"scores {kind}": jnp.mean(scores, axis=0), f"losses {kind}": jnp.mean(losses, axis=0)}
        some = rows[: how.measured]
        silenced = silencing.silence(derive(key, kind), answer, some, width, **common, counts=how.counts)
        notes = silencing.noticed(derive(key, kind), answer, some, silenced.order[:, 0], width, **common)
        found[f"silenced {kind}"], found[f"noticed {kind}"] = silenced, notes
        found[f"kept {kind}"] = kept(key, answer, some, width, how)
    for kind in ("duplicated", "fresh"):
        rows = x[kind]
        noise = jax.random.normal(derive(key, f"cloud {kind}"), (CLOUDS * COPIES, rows.shape[1]), rows.dtype)
        around = jnp.repeat(rows[:CLOUDS], COPIES, axis=0) + jnp.asarray(how.noise_std, rows.dtype) * noise
        for name, points in (("set", rows[:300]), ("cloud", around)):
            found[f"{name} {kind}"] = answer(points, jnp.ones((len(points), width), rows.dtype))[1]
    return found


def kept(key: Array, answer: silencing.Answer, x: Array, width: int, how: Measures) -> Array:
    """Mean loss with every share of the neurons kept at random, (shares,)."""
    common = {"noise_std": how.noise_std, "draws": how.draws}
    keys = [derive(key, "kept", number) for number in range(len(how.shares))]
    pairs = zip(keys, how.shares, strict=True)
    return jnp.stack([jnp.mean(silencing.kept_at_random(k, answer, x, width, q, **common)) for k, q in pairs])


def fields(found: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The numbers as labelled fields of one layer."""
    pair = [np.asarray(found[f"scores {kind}"]) for kind in KINDS]
    areas = [_area(*sides) for sides in zip(*pair, strict=True)]
    silenced = [found[f"silenced {kind}"] for kind in KINDS]
    others = []
    for kind in KINDS:
        notes = np.asarray(found[f"noticed {kind}"])
        own = float(np.trace(notes))
        others.append((notes.sum() - own) / (len(notes) - 1) / own if len(notes) > 1 else np.nan)
    stored = np.asarray([float(jnp.mean(one.empty - one.loss)) for one in silenced])
    loss = np.asarray([float(jnp.mean(one.loss)) for one in silenced])
    excess = np.stack([np.asarray(found[f"kept {kind}"]) for kind in KINDS]) - loss[:, None]
    return {
        "auroc": ("score", np.asarray(areas)),
        "control": ((), _area(*(np.asarray(found[f"losses {kind}"]) for kind in KINDS))),
        "loss": ("kind", loss),
        "stored": ("kind", stored),
        "carried": (("kind", "count"), np.stack([np.asarray(one.carried) for one in silenced])),
        "others": ("kind", np.asarray(others)),
        "lost": (("kind", "share"), excess / stored[:, None]),
        "dimension": ("of", [_dimension(found[f"set {kind}"]) for kind in ("duplicated", "fresh")]),
        "cloud": (
            "of",
            [
                np.mean([_dimension(part) for part in np.split(np.asarray(found[f"cloud {kind}"]), CLOUDS)])
                for kind in ("duplicated", "fresh")
            ],
        ),
    }


def _area(positive: np.ndarray, negative: np.ndarray) -> float:
    """AUROC; a silent layer, whose scale-free scores are undefined, tells nothing: NaN."""
    if not (np.isfinite(positive).all() and np.isfinite(negative).all()):
        return np.nan
    return float(detection.auroc(positive, negative))


def _dimension(h: Any) -> float:
    """By two nearest neighbours; NaN where fewer than ten representations differ."""
    try:
        return intrinsic_dimension.two_nearest(np.asarray(h, float)).estimate
    except Refusal:
        return np.nan


def answer_of(net: Layered, layer: int) -> silencing.Answer:
    """A layered net with factors on one of its layers."""

    def answer(y: Array, factors: Array) -> tuple[Array, Array]:
        output, hidden = layered.forward(net, y, {layer: factors})
        return output, hidden[layer]

    return answer


@partial(jax.jit, static_argnames="how")
def _pull(key: Array, net: Layered, x: dict[str, Array], how: Measures) -> Array:
    """⟨f(z + σε) − z, x − z⟩/‖x − z‖², z unseen and of the component of the duplicate x: 1 = f returns x, 0 = z."""
    z, way = x["siblings"], x["duplicated"] - x["siblings"]
    noise = jax.random.normal(derive(key, "pull"), (how.draws, *z.shape), z.dtype)
    outputs = jnp.mean(jax.lax.map(lambda e: layered.forward(net, z + how.noise_std * e)[0], noise), axis=0)
    return jnp.mean(jnp.sum((outputs - z) * way, axis=1) / jnp.sum(way**2, axis=1))


@partial(jax.jit, static_argnames=("layer", "how"))
def _layer(key: Array, net: Layered, x: dict[str, Array], layer: int, how: Measures) -> tuple[Any, Any, Any]:
    around = layered.around(net, layer)
    merged = symmetry.merge_parallel(around, cosine=PARALLEL)
    small = answer_of(layered.replaced(net, layer, merged.weights), layer)
    found = numbers(key, answer_of(net, layer), x, net.width, how)
    some = {kind: x[kind][: how.measured] for kind in KINDS}
    again = {kind: kept(key, small, rows, net.width, how) for kind, rows in some.items()}
    common = {"noise_std": how.noise_std, "draws": how.draws, "counts": how.counts}
    fewer = {
        kind: silencing.silence(derive(key, kind), small, rows, net.width, **common) for kind, rows in some.items()
    }
    return found, (again, fewer), jnp.stack([jnp.sum(symmetry.alive(around)), merged.live])


def layered_measures(key: Array, net: Layered, x: Mapping[str, np.ndarray], how: Measures) -> xr.Dataset:
    """Every hidden layer of one net, along `layer`, before and after merging its copies."""
    parts, rows = [], {kind: jnp.asarray(values) for kind, values in x.items()}
    pull = float(_pull(key, net, rows, how))
    for layer in range(net.depth):
        found, (again, fewer), neurons = _layer(key, net, rows, layer, how)
        part = fields(found) | {"pull": ((), pull)}
        losses = np.asarray([float(jnp.mean(fewer[kind].loss)) for kind in KINDS])
        stored = np.asarray([float(jnp.mean(fewer[kind].empty)) for kind in KINDS]) - losses
        excess = np.stack([np.asarray(again[kind]) for kind in KINDS]) - losses[:, None]
        merged = excess / stored[:, None]
        part["lost"] = (("version", "kind", "share"), np.stack([part["lost"][1], merged]))
        both = [part["carried"][1], np.stack([np.asarray(fewer[kind].carried) for kind in KINDS])]
        part["carried"] = (("version", "kind", "count"), np.stack(both))
        part["merged_loss"] = ("kind", losses)
        part["neurons"] = ("version", np.asarray(neurons))
        parts.append(part)
    return stacked(parts, how).assign_coords(
        version=["trained", "merged"], place=("layer", np.arange(1, net.depth + 1))
    )


def network_measures(key: Array, network: diffusion.Network, x: Mapping[str, Array], how: Measures) -> xr.Dataset:
    """Every layer of hidden neurons of a noise-conditional network, along `layer`, with intervals over samples.

    A neuron's activation is the largest over positions, and it is silenced at all of them.
    """
    sizes = {
        name: h.shape[-1]
        for name, h in network.activations(x["once"][:1], how.noise_std).items()
        if name.split(".")[-1] == "hidden"
    }
    parts = []
    for layer, width in sizes.items():
        found = _network_layer(key, network, dict(x), layer, width, how)
        part, silenced = fields(found), [found[f"silenced {kind}"] for kind in KINDS]
        ends = np.asarray([_ends(np.asarray(one.own), np.asarray(one.empty - one.loss)) for one in silenced])
        parts.append(part | {"carried_ends": (("kind", "count", "end"), ends)})
    return stacked(parts, how).assign_coords(layer=list(sizes), end=["low", "high"])


@partial(jax.jit, static_argnames=("layer", "width", "how"))
def _network_layer(
    key: Array, network: diffusion.Network, x: dict[str, Array], layer: str, width: int, how: Measures
) -> dict[str, Any]:
    def answer(y: Array, factors: Array) -> tuple[Array, Array]:
        edits = {layer: diffusion.Edit(factors, jnp.zeros_like(factors))}
        h = network.activations(y, how.noise_std, edits)[layer]
        pooled = representation.spatial_max(h) if h.ndim > 2 else h
        return network.denoise(y, how.noise_std, edits), pooled

    return numbers(key, answer, x, width, how)


def _ends(own: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """95 % bootstrap over samples of mean Δ_k / mean S, (counts, 2); NaN where some resamples hold nothing, S ≤ 0."""
    rows = np.random.default_rng(0).integers(0, len(stored), (2000, len(stored)))
    held = stored[rows].mean(axis=1)[:, None]
    shares = own[rows].mean(axis=1) / np.where(held > 0, held, np.nan)
    return np.quantile(shares, (0.025, 0.975), axis=0).T


def stacked(parts: list[dict[str, tuple[Any, Any]]], how: Measures) -> xr.Dataset:
    """The fields of several layers, along `layer`."""
    coordinates = {"score": list(representation.ORIENTATION), "kind": list(KINDS), "of": ["duplicated", "fresh"]}
    coordinates |= {"count": list(how.counts), "share": list(how.shares)}
    return xr.concat([xr.Dataset(part) for part in parts], "layer").assign_coords(coordinates)
