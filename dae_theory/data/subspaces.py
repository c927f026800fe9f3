"""Union of affine subspaces in random directions."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.data.embedding import Embedding, length, uniform_direction
from dae_theory.data.samples import Samples, place


@struct.dataclass
class UnionOfSubspaces:
    """K affine subspaces x = c_k + B_k z of dimension r, with equal chances; z is uniform in the ball of radius R.

    The label is the subspace. Without offset (c_k = 0) they are linear subspaces, and every cluster has mean zero.
    Gaussian coordinates instead of the ball's make a `GaussianMixture` with means c_k and factors B_k.

    Attributes:
        embedding: K isometries of R^r into R^d, a batch: basis (K, d, r), shift (K, d).
        radius: R > 0.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import data
    >>> union = data.UnionOfSubspaces.embedded(jax.random.key(0), dimension=4, subspaces=2, subspace_dimension=1)
    >>> jnp.linalg.matrix_rank(union.sample(jax.random.key(1), 20).x).item()
    2
    """

    embedding: Embedding
    radius: Float[Array, "*batch"]

    @property
    def subspaces(self) -> int:
        """K, the number of subspaces."""
        return self.embedding.basis.shape[-3]

    @property
    def intrinsic_dimension(self) -> int:
        """r, the dimension of each subspace."""
        return self.embedding.basis.shape[-1]

    @staticmethod
    def embedded(
        key: Array,
        *,
        dimension: int,
        subspaces: int,
        subspace_dimension: int,
        radius: Any = 1.0,
        offset: Any = 0.0,
    ) -> "UnionOfSubspaces":
        """Random subspaces of R^dimension, each moved by `offset` in a direction of its own (see `Embedding.random`).

        Raises:
            ValueError: dimension < subspace_dimension, a size below 1, radius ≤ 0, or an offset that is not finite.
        """
        checks.typed_key("key", key)
        rank = checks.integer("subspace_dimension", subspace_dimension, 1)
        keys = jax.random.split(key, checks.integer("subspaces", subspaces, 1))
        embedding = jax.vmap(lambda one: Embedding.random(one, dimension=dimension, span=rank, offset=offset))(keys)
        return UnionOfSubspaces(embedding, length("radius", radius, embedding))

    def sample(self, key: Array, n: int) -> Samples:
        """n independent points, labelled by their subspace. `n` is static under jit.

        Raises:
            ValueError: `n` is below 1 or `key` is no typed key.
        """
        checks.typed_key("key", key)
        n = checks.integer("n", n, 1)
        label_key, direction_key, depth_key = jax.random.split(key, 3)
        labels = jax.random.randint(label_key, (n,), 0, self.subspaces, dtype=jnp.int32)
        rank, dtype = self.intrinsic_dimension, self.embedding.basis.dtype
        # A ball's volume grows like depth^r, so depth^r is uniform.
        depth = jax.random.uniform(depth_key, (n,), dtype=dtype) ** (1 / rank)
        coordinates = (self.radius * depth)[:, None] * uniform_direction(direction_key, n, rank, dtype)
        return Samples(place(labels, coordinates, self.embedding.shift, self.embedding.basis), labels)
