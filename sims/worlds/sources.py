"""Where the samples of a sim come from: mixtures, manifolds, images, each with the best denoiser it allows.

A *world* is one draw of everything that is not the net: a pool of training samples (a cell with n samples takes the
first n), fresh samples, and the truth, from which f_gt is computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array

from dae_theory import data, theory
from dae_theory.checks import Refusal
from dae_theory.randomness import derive
from sims.launch import contents, limits

MANIFOLDS = {
    "circle": data.Circle,
    "sphere": data.Sphere,
    "torus": data.Torus,
    "swiss_roll": data.SwissRoll,
    "subspaces": data.UnionOfSubspaces,
}
IMAGES = {"digits": None, "mnist": 14, "faces": 16, "fashion": 14}
DENSE = 4096
FRESH = 512  # held-out samples that a world is drawn with at least
LEAST = 8  # images, of which two are held out and the others give a mean and directions


@dataclass(frozen=True)
class SourceConfig:
    """Which data, and their numbers where they are synthetic."""

    data: str = "simplex"
    """simplex | circle | sphere | torus | swiss_roll | subspaces | digits | mnist | faces | fashion | npz:FILE |
    folder:DIR"""
    dimension: int = 32
    """d of synthetic data, where d is no axis."""
    components: int = 4
    """K of the simplex mixture, where K is no axis."""
    separation: float = 3.0
    """Radius of the means over the spread, where separation is no axis."""
    spread: float = 1.0
    """Standard deviation of a component in each of its directions."""
    rank: int = 3
    """Directions of a component of the simplex mixture."""
    image_rank: int = 24
    """Directions of the Gaussians fitted to the classes of images, which stand in for the truth."""
    size: int | None = None
    """Side of images in pixels; default: mnist and fashion 14, faces 16, digits 8, others as they are."""
    center: bool = True
    """Subtract the mean image. Raw images share most of their direction, against the theorems' condition."""

    def check(self, *, dimensions: Sequence[float] = (), components: Sequence[float] = ()) -> None:
        """Raises ValueError for numbers with which there are no data, at the values of d and K that are swept."""
        limits.at_least(self, rank=1, image_rank=1, dimension=1, components=1)
        limits.above_zero(self, "separation", "spread")
        if self.size is not None:
            limits.at_least(self, size=1)
        if self.data == "simplex":
            smallest, most = min(dimensions or (self.dimension,)), max(components or (self.components,))
            if self.rank > smallest:
                raise Refusal(f"--rank must be at most the dimension {smallest:g}; got {self.rank}")
            if most > smallest + 1:
                raise Refusal(
                    f"--components must be at most dimension + 1 = {smallest + 1:g}, the largest number of directions"
                    f" with negative cosines; got {most:g}"
                )


@struct.dataclass
class TrainingRows:
    """The training samples of one cell, padded to a number of rows that many cells share.

    Attributes:
        x: samples, the repeated one first, (rows, d).
        labels: component of each of them, (rows,).
        samples: number of live rows, copies included.
        distinct: live rows without repetitions, (rows,).
    """

    x: Array
    labels: Array
    samples: Array
    distinct: Array


@struct.dataclass
class World:
    """One draw of the data.

    Attributes:
        pool: training samples, float32, (N, d).
        labels: component of each of them, (N,).
        fresh: held-out samples, float64, (m, d).
        truth: what `Source.truth_denoiser` turns into f_gt.
        spectrum: eigenpairs of the components' second moments.
    """

    pool: Array
    labels: Array
    fresh: Array
    truth: Any
    spectrum: theory.Spectrum

    def rows(self, n: Array, copies: Array, most: int) -> TrainingRows:
        """The first n samples of the pool, the first of them m times; `most` is the static number of rows."""
        row = jnp.arange(most)
        place = jnp.maximum(row - (copies - 1), 0)
        samples = n + copies - 1
        return TrainingRows(
            x=self.pool[place],
            labels=self.labels[place],
            samples=samples,
            distinct=(row < samples) & ((row == 0) | (row >= copies)),
        )


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


def source(config: SourceConfig, *, components: Sequence[float] = ()) -> Source:
    """The source that `config.data` names; `components` are the values of K, where it is swept.

    Raises:
        ValueError: the name is unknown, or the data cannot be loaded.
    """
    if config.data == "simplex":
        return _simplex(config, int(max(components, default=config.components)))
    if config.data in MANIFOLDS:
        return _manifold(config, MANIFOLDS[config.data])
    if config.data in IMAGES or config.data.startswith(contents.OWN):
        return _images(config)
    known = ", ".join(["simplex", *MANIFOLDS, *IMAGES, "npz:FILE", "folder:DIR"])
    raise Refusal(f"--data must be one of {known}; got {config.data!r}")


# both kinds of mixture here have factors with orthogonal columns, so that no member of an ensemble decomposes them
_mixture_denoiser = partial(theory.mixture_denoiser, orthogonal=True)


def _pad_components(record: Any, components: int) -> Any:
    """A mixture or spectrum with components of proportion 0 behind, so that those of different K stack."""

    def pad(field: Array) -> Array:
        return jnp.pad(field, [(0, components - len(field))] + [(0, 0)] * (field.ndim - 1))

    return jax.tree.map(pad, record)


@partial(jax.jit, static_argnames=("dimension", "components", "rank", "most", "pool", "fresh"))
def _of_mixture(
    key: Array,
    radius: Array,
    spread: Array,
    *,
    dimension: int,
    components: int,
    rank: int,
    most: int,
    pool: int,
    fresh: int,
) -> World:
    """One program instead of a hundred small ones, which would take seconds to compile before anything trains."""
    mixture = data.simplex_mixture(
        derive(key, "mixture"), dimension=dimension, components=components, radius=radius, rank=rank, spread=spread
    )
    samples = mixture.sample(derive(key, "pool"), pool)
    return World(
        pool=samples.x.astype(jnp.float32),
        labels=samples.labels,
        fresh=mixture.sample(derive(key, "fresh"), fresh).x,
        truth=_pad_components(mixture, most),
        spectrum=_pad_components(theory.mixture_spectrum(mixture), most),
    )


def _simplex(config: SourceConfig, most: int) -> Source:
    """Mixtures of up to `most` components."""

    def draw(key: Array, at: dict[str, Any], pool: int, fresh: int) -> World:
        sizes = {"dimension": int(at["d"]), "components": int(at["K"]), "rank": config.rank}
        radius = jnp.asarray(float(at["separation"]) * config.spread)
        return _of_mixture(key, radius, jnp.asarray(config.spread), **sizes, most=most, pool=pool, fresh=fresh)

    return Source(draw, _mixture_denoiser, "posterior mean of the mixture", is_mixture=True)


def _manifold(config: SourceConfig, family: Any) -> Source:
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


def _images(config: SourceConfig) -> Source:
    size = config.size or IMAGES.get(config.data)
    try:
        images = data.load_images(config.data, size=size, center=config.center)
    except ValueError as error:
        raise Refusal(f"--data {config.data} cannot be used: {error}") from error
    if len(images.x) < LEAST:
        raise Refusal(f"--data must hold at least {LEAST} images; {config.data} holds {len(images.x)}")
    x = np.asarray(images.x, float)
    labels = np.zeros(len(x), int) if images.labels is None else np.unique(images.labels, return_inverse=True)[1]
    if np.bincount(labels).min() < 2 * config.image_rank:
        labels = np.zeros(len(x), int)  # classes too small to fit: one component
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


def draw_worlds(
    key: Array, source: Source, at: Mapping[str, np.ndarray], seeds: np.ndarray, *, dimension: int, fresh: int
) -> tuple[World, np.ndarray]:
    """The distinct worlds of one dimension, stacked, and for every point which of them is its own (−1: none).

    Args:
        key: root; a world's draws depend on it and the seed alone.
        source: what draws them.
        at: every axis at every point, as from `axes.coordinates`.
        seeds: replicate of every point.
        dimension: d of the worlds to draw.
        fresh: held-out samples of each.
    """
    place = np.stack([seeds, at["K"], at["separation"]], axis=1)
    here = at["d"] == dimension
    distinct, inverse = np.unique(place[here], axis=0, return_inverse=True)
    drawn = [
        source.draw(
            derive(key, "world", int(seed)),
            {"d": dimension, "K": components, "separation": separation},
            int(at["n"].max()),
            max(fresh, FRESH),
        )
        for seed, components, separation in distinct
    ]
    index = np.full(len(seeds), -1)
    index[here] = inverse.ravel()
    drawn = [replace(world, fresh=world.fresh[:fresh]) for world in drawn]
    return jax.tree.map(lambda *fields: jax.device_put(np.stack(fields)), *drawn), index
