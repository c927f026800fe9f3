"""Isometries that place a low-dimensional thing in d dimensions, and what all the embedded things share."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal

_HIGHEST = jax.lax.Precision.HIGHEST


@struct.dataclass
class Embedding:
    """The isometry u -> x = shift + B u of R^m into R^d, with BᵀB = I.

    Attributes:
        basis: B, shape (d, m).
        shift: image of the origin, shape (d,).
    """

    basis: Float[Array, "*batch d m"]
    shift: Float[Array, "*batch d"]

    @staticmethod
    def random(key: Array, *, dimension: int, span: int, offset: Any = 0.0) -> "Embedding":
        """A uniformly random isometry of R^span into R^dimension, then a translation by `offset`.

        The translation is along a uniformly random unit vector orthogonal to the basis; if dimension = span there is
        none, and it is along any uniformly random unit vector.

        Raises:
            ValueError: `dimension` is below `span`, or `offset` is not finite.
        """
        checks.typed_key("key", key)
        span = checks.integer("span", span, 1)
        dimension = checks.integer("dimension", dimension, 1)
        if dimension < span:
            raise Refusal(f"dimension must be at least {span}, the span of the manifold; got {dimension}")
        checks.finite("offset", offset)
        basis_key, direction_key = jax.random.split(key)
        if dimension > span:
            frame = jax.random.orthogonal(basis_key, dimension, m=span + 1)
            basis, direction = frame[:, :span], frame[:, span]
        else:
            basis = jax.random.orthogonal(basis_key, dimension)
            direction = jax.random.orthogonal(direction_key, dimension, m=1)[:, 0]
        return Embedding(basis, jnp.asarray(offset, dtype=basis.dtype) * direction)

    @property
    def dimension(self) -> int:
        """d, the dimension of the space around."""
        return self.basis.shape[-2]

    def embed(self, coordinates: Float[Array, "*batch m"]) -> Float[Array, "*batch d"]:
        """x = shift + B u."""
        image = jnp.matmul(coordinates, self.basis.T, precision=_HIGHEST)
        return jnp.broadcast_to(self.shift, image.shape) + image

    def coordinates(self, x: Float[Array, "*batch d"]) -> Float[Array, "*batch m"]:
        """u = Bᵀ(x − shift), the coordinates of the nearest point of the embedded space."""
        return jnp.matmul(x - jnp.broadcast_to(self.shift, x.shape), self.basis, precision=_HIGHEST)


def length(name: str, value: Any, embedding: Embedding) -> Array:
    """A positive length as an array of the embedding's dtype."""
    checks.positive(name, value)
    return jnp.asarray(value, dtype=embedding.basis.dtype)


def uniform_direction(key: Array, n: int, dimension: int, dtype: Any) -> Array:
    """Uniform points of the unit sphere of R^dimension, shape (n, dimension)."""
    normal = jax.random.normal(key, (n, dimension), dtype=dtype)
    return normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
