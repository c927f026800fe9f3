"""Where the samples of a sim come from: mixtures, manifolds, images, each with the best denoiser it allows.

A *world* is one draw of everything that is not the net: a pool of training samples (a cell with n samples takes the
first n), fresh samples, and the truth, from which f_gt is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array

from dae_theory import data, theory
from dae_theory.randomness import derive

MANIFOLDS = {
    "circle": data.Circle,
    "sphere": data.Sphere,
    "torus": data.Torus,
    "swiss_roll": data.SwissRoll,
    "subspaces": data.UnionOfSubspaces,
}
IMAGES = {"digits": None, "mnist": 14, "faces": 16, "fashion": 14}
DENSE = 4096


@struct.dataclass
class World:
    """One draw of the data.

    Attributes:
        pool: training samples, float32, (N, d).
        labels: cluster of each of them, (N,).
        fresh: held-out samples, float64, (m, d).
        truth: what `Source.truth_denoiser` turns into f_gt.
        spectrum: eigenpairs of the clusters' second moments.
    """

    pool: Array
    labels: Array
    fresh: Array
    truth: Any
    spectrum: theory.Spectrum


@dataclass(frozen=True)
class Source:
    """A family of worlds.

    Attributes:
        draw: (key, coordinates of one world, pool size, fresh size) -> World.
        truth_denoiser: (truth, noise_std) -> f_gt.
        truth_is: what f_gt stands for, in words.
        is_mixture: whether dimension, components and separation may be swept.
        dimension: d of the data, where it is given and not chosen.
        most_samples: size of the largest training pool; None for no limit.
    """

    draw: Callable[[Array, dict[str, Any], int, int], World]
    truth_denoiser: Callable[[Any, Any], Callable[[Array], Array]]
    truth_is: str
    is_mixture: bool
    dimension: int | None = None
    most_samples: int | None = None


def source(config: Any) -> Source:
    """The source that `config.data` names.

    Raises:
        ValueError: the name is unknown, or the data cannot be loaded.
    """
    if config.data == "simplex":
        return _simplex(config)
    if config.data in MANIFOLDS:
        return _manifold(config, MANIFOLDS[config.data])
    if config.data in IMAGES or config.data.startswith(("npz:", "folder:")):
        return _images(config)
    known = ", ".join(["simplex", *MANIFOLDS, *IMAGES, "npz:FILE", "folder:DIR"])
    raise ValueError(f"--data must be one of {known}; got {config.data!r}")


# both kinds of mixture here have factors with orthogonal columns, so that no member of an ensemble decomposes them
_mixture_denoiser = partial(theory.mixture_denoiser, orthogonal=True)


def _pad_components(record: Any, components: int) -> Any:
    """A mixture or spectrum with components of proportion 0 behind, so that those of different K stack."""

    def pad(field: Array) -> Array:
        return jnp.pad(field, [(0, components - len(field))] + [(0, 0)] * (field.ndim - 1))

    return jax.tree.map(pad, record)


def _simplex(config: Any) -> Source:
    most = max(int(value) for value in (config.components, *config.swept_components))

    def draw(key: Array, at: dict[str, Any], pool: int, fresh: int) -> World:
        mixture = data.simplex_mixture(
            derive(key, "mixture"),
            dimension=int(at["d"]),
            components=int(at["K"]),
            radius=float(at["separation"]) * config.spread,
            rank=min(config.rank, int(at["d"])),
            spread=config.spread,
        )
        samples = mixture.sample(derive(key, "pool"), pool)
        return World(
            pool=samples.x.astype(jnp.float32),
            labels=samples.labels,
            fresh=mixture.sample(derive(key, "fresh"), fresh).x,
            truth=_pad_components(mixture, most),
            spectrum=_pad_components(theory.mixture_spectrum(mixture), most),
        )

    return Source(draw, _mixture_denoiser, "posterior mean of the mixture", is_mixture=True)


def _manifold(config: Any, family: Any) -> Source:
    def draw(key: Array, at: dict[str, Any], pool: int, fresh: int) -> World:
        manifold = family.embedded(derive(key, "manifold"), dimension=config.dimension)
        dense = manifold.sample(derive(key, "truth"), DENSE).x
        return World(
            pool=manifold.sample(derive(key, "pool"), pool).x.astype(jnp.float32),
            labels=jnp.zeros(pool, jnp.int32),
            fresh=manifold.sample(derive(key, "fresh"), fresh).x,
            truth=dense,
            spectrum=theory.sample_spectrum(dense, np.zeros(DENSE, int)),
        )

    words = f"average over {DENSE} other points of the manifold"
    return Source(draw, theory.empirical_denoiser, words, is_mixture=False)


def _images(config: Any) -> Source:
    size = config.size or IMAGES.get(config.data)
    images = data.load_images(config.data, size=size, center=config.center)
    x = np.asarray(images.x, float)
    labels = np.zeros(len(x), int) if images.labels is None else np.unique(images.labels, return_inverse=True)[1]
    if np.bincount(labels).min() < 2 * config.image_rank:
        labels = np.zeros(len(x), int)  # classes too small to fit: one cluster
    truth = data.fit_mixture(x, labels, min(config.image_rank, x.shape[1], len(x) - 1))
    spectrum = theory.mixture_spectrum(truth)
    held_out = max(2, min(len(x) // 5, 500))

    def draw(key: Array, at: dict[str, Any], pool: int, fresh: int) -> World:
        order = np.asarray(jax.random.permutation(derive(key, "order"), len(x)))
        return World(
            pool=jnp.asarray(x[order[:pool]], jnp.float32),
            labels=jnp.asarray(labels[order[:pool]], jnp.int32),
            fresh=jnp.asarray(x[order[-held_out:]][:fresh]),
            truth=truth,
            spectrum=spectrum,
        )

    words = f"posterior mean of Gaussians of rank {truth.rank} fitted to all images, {truth.components} classes"
    return Source(
        draw, _mixture_denoiser, words, is_mixture=False, dimension=x.shape[1], most_samples=len(x) - held_out
    )
