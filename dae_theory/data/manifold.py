"""Manifolds embedded in d dimensions by a random isometry, optionally moved off the origin.

Points are uniform with respect to length or area. A network without biases treats a point and its multiples alike, and
a manifold centred at the origin has mean zero, so no direction. `offset` moves it off the origin, orthogonally
to its own span where the dimension leaves room: its points then share a direction, and the farther they are moved, the
smaller the angles between them.

The draws of row i depend on the key and i alone: the first m of n samples are those that `n = m` gives.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.data.embedding import Embedding, length, uniform_direction
from dae_theory.data.samples import Samples


class _Manifold:
    """What the embedded manifolds share: place the drawn coordinates, and label them by equal parts of the manifold."""

    embedding: Embedding
    sectors: int

    def _draw(self, key: Array, n: int) -> tuple[Array, Array]:
        """Coordinates (n, m), and a position in [0, 1), uniformly distributed, whose equal parts are the labels."""
        raise NotImplementedError

    def sample(self, key: Array, n: int) -> Samples:
        """n independent points, uniform on the manifold, labelled 0 … sectors − 1. `n` is static under jit.

        Raises:
            ValueError: `n` is below 1 or `key` is no typed key.
        """
        checks.typed_key("key", key)
        coordinates, position = self._draw(key, checks.integer("n", n, 1))
        # A position just below 1 may round up when multiplied.
        labels = jnp.minimum(jnp.floor(position * self.sectors).astype(jnp.int32), self.sectors - 1)
        return Samples(self.embedding.embed(coordinates), labels)


@struct.dataclass
class Circle(_Manifold):
    """Circle u = R (cos φ, sin φ), uniform in φ; label j is the sector 2πj/sectors ≤ φ < 2π(j+1)/sectors.

    Attributes:
        embedding: isometry of the plane into R^d.
        radius: R > 0.
        sectors: number of labels (static).

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import data
    >>> circle = data.Circle.embedded(jax.random.key(0), dimension=4, radius=2.0)
    >>> print(jnp.linalg.norm(circle.sample(jax.random.key(1), 3).x, axis=1).round(3))
    [2. 2. 2.]
    """

    embedding: Embedding
    radius: Float[Array, "*batch"]
    sectors: int = struct.field(pytree_node=False, default=8)

    intrinsic_dimension = 1

    @staticmethod
    def embedded(key: Array, *, dimension: int, radius: Any = 1.0, offset: Any = 0.0, sectors: int = 8) -> "Circle":
        """A circle at a random place of R^dimension, dimension ≥ 2, moved by `offset` (see `Embedding.random`).

        Raises:
            ValueError: dimension < 2, radius ≤ 0, sectors < 1, or an offset that is not finite.
        """
        embedding = Embedding.random(key, dimension=dimension, span=2, offset=offset)
        return Circle(embedding, length("radius", radius, embedding), checks.integer("sectors", sectors, 1))

    def _draw(self, key: Array, n: int) -> tuple[Array, Array]:
        turn = jax.random.uniform(key, (n,), dtype=self.embedding.basis.dtype)
        return self.radius * _on_circle(turn), turn


@struct.dataclass
class Sphere(_Manifold):
    """Sphere S^k of radius R in R^(k+1), uniform; labels are equal sectors of the angle of the first two coordinates.

    Attributes:
        embedding: isometry of R^(k+1) into R^d.
        radius: R > 0.
        sectors: number of labels (static).

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import data
    >>> sphere = data.Sphere.embedded(jax.random.key(0), dimension=4, radius=2.0)
    >>> print(jnp.linalg.norm(sphere.sample(jax.random.key(1), 3).x, axis=1).round(3))
    [2. 2. 2.]
    """

    embedding: Embedding
    radius: Float[Array, "*batch"]
    sectors: int = struct.field(pytree_node=False, default=8)

    @property
    def intrinsic_dimension(self) -> int:
        """k, the dimension of the sphere itself (2 for the ordinary one)."""
        return self.embedding.basis.shape[-1] - 1

    @staticmethod
    def embedded(
        key: Array,
        *,
        dimension: int,
        sphere_dimension: int = 2,
        radius: Any = 1.0,
        offset: Any = 0.0,
        sectors: int = 8,
    ) -> "Sphere":
        """A sphere S^k, k = `sphere_dimension` < dimension, moved by `offset` (see `Embedding.random`).

        Raises:
            ValueError: dimension ≤ sphere_dimension, sphere_dimension < 1, radius ≤ 0, sectors < 1, or an offset that
                is not finite.
        """
        span = checks.integer("sphere_dimension", sphere_dimension, 1) + 1
        embedding = Embedding.random(key, dimension=dimension, span=span, offset=offset)
        return Sphere(embedding, length("radius", radius, embedding), checks.integer("sectors", sectors, 1))

    def _draw(self, key: Array, n: int) -> tuple[Array, Array]:
        direction = uniform_direction(key, n, self.embedding.basis.shape[-1], self.embedding.basis.dtype)
        turn = jnp.arctan2(direction[:, 1], direction[:, 0]) / (2 * math.pi)
        return self.radius * direction, turn - jnp.floor(turn)


@struct.dataclass
class Torus(_Manifold):
    """Torus of revolution in R³, uniform with respect to its area; labels are equal sectors of the angle φ.

    u = ((R + r cos ψ) cos φ, (R + r cos ψ) sin φ, r sin ψ). The area element is r(R + r cos ψ) dφ dψ, so φ is uniform
    and ψ has density (1 + (r/R) cos ψ)/2π: draw ψ uniformly and replace it by π − ψ with probability
    (1 − (r/R) cos ψ)/2. That is exact and rejects nothing.

    Attributes:
        embedding: isometry of R³ into R^d.
        ring_radius: R, distance of the tube's centre from the axis.
        tube_radius: r, 0 < r ≤ R.
        sectors: number of labels (static).

    >>> import jax
    >>> from dae_theory import data
    >>> torus = data.Torus.embedded(jax.random.key(0), dimension=4, ring_radius=1.0, tube_radius=0.4)
    >>> torus.sample(jax.random.key(1), 3).x.shape
    (3, 4)
    """

    embedding: Embedding
    ring_radius: Float[Array, "*batch"]
    tube_radius: Float[Array, "*batch"]
    sectors: int = struct.field(pytree_node=False, default=8)

    intrinsic_dimension = 2

    @staticmethod
    def embedded(
        key: Array,
        *,
        dimension: int,
        ring_radius: Any = 1.0,
        tube_radius: Any = 0.4,
        offset: Any = 0.0,
        sectors: int = 8,
    ) -> "Torus":
        """A torus at a random place of R^dimension, dimension ≥ 3, moved by `offset` (see `Embedding.random`).

        Raises:
            ValueError: dimension < 3, a radius ≤ 0, tube_radius > ring_radius, sectors < 1, or an offset that is not
                finite.
        """
        embedding = Embedding.random(key, dimension=dimension, span=3, offset=offset)
        ring = length("ring_radius", ring_radius, embedding)
        tube = length("tube_radius", tube_radius, embedding)
        if not checks.is_traced(ring) and not checks.is_traced(tube) and tube > ring:
            raise Refusal(f"tube_radius must be at most ring_radius = {ring_radius}; got {tube_radius}")
        return Torus(embedding, ring, tube, checks.integer("sectors", sectors, 1))

    def _draw(self, key: Array, n: int) -> tuple[Array, Array]:
        ring_key, tube_key, flip_key = jax.random.split(key, 3)
        dtype = self.embedding.basis.dtype
        turn = jax.random.uniform(ring_key, (n,), dtype=dtype)
        tube = _on_circle(jax.random.uniform(tube_key, (n,), dtype=dtype))
        chance = (1 - self.tube_radius / self.ring_radius * tube[:, 0]) / 2
        flip = jax.random.uniform(flip_key, (n,), dtype=dtype) < chance
        outward = jnp.where(flip, -tube[:, 0], tube[:, 0])  # ψ -> π − ψ turns the cosine and keeps the sine.
        distance = self.ring_radius + self.tube_radius * outward
        return jnp.concatenate([distance[:, None] * _on_circle(turn), self.tube_radius * tube[:, 1:]], axis=1), turn


@struct.dataclass
class SwissRoll(_Manifold):
    """Swiss roll in R³, uniform with respect to its area; labels are strips of equal area from the inside out.

    u = (c t cos t, c t sin t, h) with t from 3π/2 to 9π/2, c = R/(9π/2), and h uniform in [−H/2, H/2]. The arc length
    from the centre, s(t) = c (t √(1+t²) + asinh t)/2, is uniform; t is found from it by Newton's method.

    Attributes:
        embedding: isometry of R³ into R^d.
        radius: R > 0, the distance of the outer edge from the axis.
        height: H > 0, the width of the sheet.
        sectors: number of labels (static).

    >>> import jax
    >>> from dae_theory import data
    >>> roll = data.SwissRoll.embedded(jax.random.key(0), dimension=4, height=2.0)
    >>> roll.sample(jax.random.key(1), 3).x.shape
    (3, 4)
    """

    embedding: Embedding
    radius: Float[Array, "*batch"]
    height: Float[Array, "*batch"]
    sectors: int = struct.field(pytree_node=False, default=8)

    intrinsic_dimension = 2

    @staticmethod
    def embedded(
        key: Array,
        *,
        dimension: int,
        radius: Any = 1.0,
        height: Any = 1.0,
        offset: Any = 0.0,
        sectors: int = 8,
    ) -> "SwissRoll":
        """A swiss roll at a random place of R^dimension, dimension ≥ 3, moved by `offset` (see `Embedding.random`).

        Raises:
            ValueError: dimension < 3, radius or height ≤ 0, sectors < 1, or an offset that is not finite.
        """
        embedding = Embedding.random(key, dimension=dimension, span=3, offset=offset)
        lengths = length("radius", radius, embedding), length("height", height, embedding)
        return SwissRoll(embedding, *lengths, checks.integer("sectors", sectors, 1))

    def _draw(self, key: Array, n: int) -> tuple[Array, Array]:
        roll_key, height_key = jax.random.split(key)
        dtype = self.embedding.basis.dtype
        position = jax.random.uniform(roll_key, (n,), dtype=dtype)
        across = jax.random.uniform(height_key, (n,), dtype=dtype, minval=-0.5, maxval=0.5)
        first, last = 1.5 * math.pi, 4.5 * math.pi
        angle = _spiral_angle(_spiral_length(first) + position * (_spiral_length(last) - _spiral_length(first)))
        distance = self.radius / last * angle
        plane = distance[:, None] * _on_circle(angle / (2 * math.pi))
        return jnp.concatenate([plane, (self.height * across)[:, None]], axis=1), position


def _on_circle(turn: Array) -> Array:
    """(cos φ, sin φ) at φ = 2π·turn, shape (n, 2)."""
    return jnp.stack([jnp.cos(2 * math.pi * turn), jnp.sin(2 * math.pi * turn)], axis=1)


def _spiral_length(angle: Any) -> Any:
    """s(t) = ∫₀ᵗ √(1+τ²) dτ = (t √(1+t²) + asinh t)/2."""
    return (angle * (1 + angle**2) ** 0.5 + jnp.arcsinh(angle)) / 2


def _spiral_angle(distance: Array) -> Array:
    """t with s(t) = distance, for t beyond 3π/2.

    s is convex and s(t) ≥ t²/2, so Newton's method from t = √(2s) comes down on the root without passing it, and its
    error, at most 0.3 at first, is squared and divided by 2t every time: after five steps it is below rounding.
    """
    angle = jnp.sqrt(2 * distance)
    for _ in range(5):
        angle = angle - (_spiral_length(angle) - distance) / jnp.sqrt(1 + angle**2)
    return angle
