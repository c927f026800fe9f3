"""Mixtures of low-rank Gaussians, eq. (4), and the simplex of equally obtuse means."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from flax import struct
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.data.samples import Samples, place

_HIGHEST = jax.lax.Precision.HIGHEST


@struct.dataclass
class GaussianMixture:
    """Mixture of low-rank Gaussians, eq. (4): x ~ Σ_k ρ_k N(μ_k, Σ_k) with Σ_k = F_k F_kᵀ.

    A sample is x = μ_k + F_k z with k ~ ρ and z ~ N(0, I_r). A pytree: every field may be swept under vmap. Fields are
    checked where they are used, see `checked`.

    Attributes:
        proportions: ρ, positive, summing to 1, shape (K,).
        means: μ, one mean a row, shape (K, d).
        factors: F, shape (K, d, r).

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import data
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> samples = mixture.sample(jax.random.key(0), 5)
    >>> samples.x.shape, samples.labels.shape
    ((5, 2), (5,))
    >>> print(mixture.second_moments()[0])
    [[4.   0.  ]
     [0.   0.25]]
    """

    proportions: Float[Array, "*batch K"]
    means: Float[Array, "*batch K d"]
    factors: Float[Array, "*batch K d r"]

    @property
    def components(self) -> int:
        """K, the number of components."""
        return self.means.shape[-2]

    @property
    def dimension(self) -> int:
        """d, the dimension of the data."""
        return self.means.shape[-1]

    @property
    def rank(self) -> int:
        """r, the number of columns of each factor."""
        return self.factors.shape[-1]

    def checked(self) -> "GaussianMixture":
        """The mixture with its fields as arrays of the means' dtype.

        Raises:
            ValueError: shapes do not fit, an entry is not finite, or the proportions are not positive or do not sum
                to 1 within 1e-6. Values are not looked at under jit, vmap or grad.
        """
        means = checks.array("means", self.means, 2)
        factors = checks.array("factors", self.factors, 3).astype(means.dtype)
        if factors.shape[:2] != means.shape:
            raise Refusal(f"factors must have shape {means.shape} + (rank,) as means do; got {factors.shape}")
        return GaussianMixture(checks.proportions(self.proportions, means.shape[0]).astype(means.dtype), means, factors)

    def sample(self, key: Array, n: int) -> Samples:
        """n independent samples, labelled by their component.

        The draws of row i depend on the key and i alone, so the first m of n samples are the m samples that `n = m`
        gives (labels exactly, x up to the rounding of a matrix product). `n` is static under jit.

        Raises:
            ValueError: `n` is below 1, `key` is no typed key, or the mixture is refused by `checked`.
        """
        checks.typed_key("key", key)
        n = checks.integer("n", n, 1)
        mixture = self.checked()
        label_key, noise_key = jax.random.split(key)
        labels = jax.random.categorical(label_key, jnp.log(mixture.proportions), shape=(n,)).astype(jnp.int32)
        return mixture._draw(noise_key, labels)

    def sample_balanced(self, key: Array, per_component: int) -> Samples:
        """The same number of samples from every component, whatever the proportions.

        Row i belongs to component i mod K, so the first m·K rows are those that `per_component = m` gives.

        Raises:
            ValueError: `per_component` is below 1, `key` is no typed key, or the mixture is refused by `checked`.
        """
        checks.typed_key("key", key)
        per_component = checks.integer("per_component", per_component, 1)
        mixture = self.checked()
        return mixture._draw(key, jnp.tile(jnp.arange(mixture.components, dtype=jnp.int32), per_component))

    def sample_component(self, key: Array, component: Any, n: int) -> Samples:
        """n independent samples of one component (an index, 0 to K − 1, that may be traced).

        Raises:
            ValueError: `n` is below 1, `component` out of range, `key` is no typed key, or the mixture is refused.
        """
        checks.typed_key("key", key)
        n = checks.integer("n", n, 1)
        mixture = self.checked()
        if not checks.is_traced(component) and not 0 <= component < mixture.components:
            raise Refusal(f"component must be between 0 and {mixture.components - 1}; got {component}")
        return mixture._draw(key, jnp.full((n,), component, dtype=jnp.int32))

    def covariances(self) -> Float[Array, "K d d"]:
        """Σ_k = F_k F_kᵀ, shape (K, d, d)."""
        factors = self.checked().factors
        return jnp.einsum("kir,kjr->kij", factors, factors, precision=_HIGHEST)

    def second_moments(self) -> Float[Array, "K d d"]:
        """S_k = E[x xᵀ | k] = μ_k μ_kᵀ + Σ_k, eq. (10), shape (K, d, d)."""
        means = self.checked().means
        return means[:, :, None] * means[:, None, :] + self.covariances()

    def _draw(self, noise_key: Array, labels: Array) -> Samples:
        # Row-major noise: row i holds the same numbers whatever the number of rows (partitionable threefry).
        noise = jax.random.normal(noise_key, (labels.shape[0], self.rank), dtype=self.means.dtype)
        return Samples(place(labels, noise, self.means, self.factors), labels)


def simplex_means(key: Array, *, dimension: int, components: int, radius: Any) -> Float[Array, "K d"]:
    """K points of norm `radius` at pairwise cosine exactly −1/(K−1), in a random orientation: shape (K, d).

    The most obtuse arrangement of K directions (below Def. 3.1: β < 0 forces K ≤ 1 + 1/|β| and K ≤ d + 1): the vertices
    e_k − 1/K of a regular simplex, in an orthonormal basis of their (K−1)-dimensional span, scaled, and carried into
    d dimensions by a uniformly random isometry. K = 1 gives one uniformly random direction.

    Args:
        key: typed key.
        dimension: d.
        components: K, at most d + 1.
        radius: R > 0, the norm of every point; may be traced.

    Raises:
        ValueError: K > d + 1, a size below 1, or a radius that is not positive.

    >>> import jax
    >>> from dae_theory import data
    >>> x = data.simplex_means(jax.random.key(0), dimension=4, components=3, radius=2.0)
    >>> print((x @ x.T).round(3))
    [[ 4. -2. -2.]
     [-2.  4. -2.]
     [-2. -2.  4.]]
    """
    checks.typed_key("key", key)
    dimension = checks.integer("dimension", dimension, 1)
    components = checks.integer("components", components, 1)
    if components > dimension + 1:
        raise Refusal(
            f"components must be at most dimension + 1 = {dimension + 1}, the largest number of directions with "
            f"negative cosines; got {components}"
        )
    checks.positive("radius", radius)
    span = max(components - 1, 1)
    vertices = scipy.linalg.helmert(components).T * np.sqrt(components / span) if components > 1 else np.ones((1, 1))
    isometry = jax.random.orthogonal(key, dimension, m=span)
    vertices = jnp.asarray(vertices, dtype=isometry.dtype)
    return jnp.asarray(radius, dtype=isometry.dtype) * jnp.matmul(vertices, isometry.T, precision=_HIGHEST)


def simplex_mixture(
    key: Array,
    *,
    dimension: int,
    components: int,
    radius: Any,
    rank: int,
    spread: Any,
    proportions: Any = None,
    clean: bool = False,
) -> GaussianMixture:
    """Mixture with `simplex_means` and equal round spread: F_k = spread · Q_k, Q_k (d, rank) orthonormal and random.

    Each component has standard deviation `spread` in `rank` directions and none in the others. The directions of each
    component are drawn on their own, uniformly over all subspaces, and not kept away from the means: a mean has on
    average the share rank/d of its squared length among them, so norms vary within a cluster as they do in data, and
    directions of spread may point at other means. With `clean = True` they are drawn orthogonal to all means: then S_k
    has exactly the eigenvalues radius², spread² (rank times) and 0.

    Args:
        key: typed key.
        dimension: d.
        components: K, at most d + 1.
        radius: R > 0, the norm of the means; may be traced.
        rank: r, at most d, or at most d minus the dimension of the means' span, max(K − 1, 1), when `clean`.
        spread: s ≥ 0; may be traced.
        proportions: ρ, shape (K,), positive, summing to 1; equal where None.
        clean: whether the directions of spread are orthogonal to every mean.

    Raises:
        ValueError: K > d + 1, a size below 1, `rank` too large, radius ≤ 0, spread < 0, or proportions refused.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import data
    >>> mixture = data.simplex_mixture(
    ...     jax.random.key(0), dimension=4, components=2, radius=2.0, rank=1, spread=0.5, clean=True
    ... )
    >>> print(jnp.linalg.eigvalsh(mixture.second_moments()[0])[2:].round(3))
    [0.25 4.  ]
    """
    checks.typed_key("key", key)
    mean_key, factor_key = jax.random.split(key)
    means = simplex_means(mean_key, dimension=dimension, components=components, radius=radius)
    rank = checks.integer("rank", rank, 1)
    checks.non_negative("spread", spread)
    span = max(components - 1, 1)
    room = dimension - span if clean else dimension
    if rank > room:
        allowed = f"dimension − {span} (the span of the means, with clean=True)" if clean else "dimension"
        raise Refusal(f"rank must be at most {allowed} = {room}; got {rank}")
    directions = jax.random.normal(factor_key, (components, dimension, rank), dtype=means.dtype)
    if clean:
        # All but one of the means span the same space as all of them do, and are linearly independent.
        basis, _ = jnp.linalg.qr(means[:span].T)
        overlap = jnp.einsum("di,kdr->kir", basis, directions, precision=_HIGHEST)
        directions = directions - jnp.einsum("di,kir->kdr", basis, overlap, precision=_HIGHEST)
    # The columns span a uniformly random subspace; which orthonormal basis of it does not matter for Q Qᵀ.
    orthonormal, _ = jnp.linalg.qr(directions)
    factors = jnp.asarray(spread, dtype=means.dtype) * orthonormal
    equal = np.full(components, 1 / components) if proportions is None else proportions
    return GaussianMixture(checks.proportions(equal, components).astype(means.dtype), means, factors)
