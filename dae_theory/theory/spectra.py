"""Second moments of clusters and of mixture components, in their own eigenbases.

Everything the analytic solutions need to know of a block is its share ρ_k of the data and the eigenpairs (e_j, u_j) of
its second moment: S_k = X_kᵀX_k / n_k for samples, S_k = μ_kμ_kᵀ + Σ_k, eq. (10), for a population. With Λ_j = n_k e_j
and ρ_k = n_k / n the finite-sample formulas of Thm 3.1 and the population formulas of Cor. 3.3 are one and the same.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.theory.arguments import cluster_labels


@struct.dataclass
class Spectrum:
    """Eigenpairs of the second moments of K blocks, S_k = Σ_j e_kj u_kj u_kjᵀ.

    Attributes:
        eigenvalues: e_kj, descending in j, zero past the rank of the block, shape (K, r).
        directions: u_kj as columns, with u_kjᵀ x̄_k ≥ 0, shape (K, d, r).
        proportions: ρ_k, the share of the data in block k, shape (K,).
        means: x̄_k, shape (K, d).
    """

    eigenvalues: Float[Array, "*batch K r"]
    directions: Float[Array, "*batch K d r"]
    proportions: Float[Array, "*batch K"]
    means: Float[Array, "*batch K d"]


def sample_spectrum(x: Any, labels: Any, blocks: int | None = None) -> Spectrum:
    """Spectrum of labelled samples: e_j = s_j² / n_k, with s_j the singular values of the cluster X_k.

    The singular values come from X_k itself and not from its Gram matrix, so that small ones keep their digits.

    Args:
        x: samples, shape (n, d).
        labels: cluster of every sample, concrete integers in 0 … K − 1, shape (n,); every cluster holds a sample.
        blocks: K; by default one more than the largest label.

    Raises:
        ValueError: bad samples or labels, or a cluster without samples.
    """
    x = checks.samples("x", x)
    count, dimension = x.shape
    values = cluster_labels(labels, count, count if blocks is None else blocks)
    blocks = int(values.max()) + 1 if blocks is None else blocks
    members = [np.flatnonzero(values == k) for k in range(blocks)]
    sizes = [len(rows) for rows in members]
    if 0 in sizes:
        raise Refusal(f"labels must give every cluster a sample; got none for cluster {sizes.index(0)}")
    kept = min(max(sizes), dimension)
    return _cluster_spectrum(x, members, kept)


def mixture_spectrum(mixture: Any) -> Spectrum:
    """Spectrum of the components of a mixture (4): S_k = μ_kμ_kᵀ + F_kF_kᵀ, eq. (10).

    S_k is never formed: its eigenpairs are the singular pairs of (μ_k F_k), so the cost is O(K d r²).

    Args:
        mixture: a record with proportions (K,), means (K, d) and factors (K, d, r), Σ_k = F_kF_kᵀ.

    Raises:
        ValueError: a field is malformed, or the proportions are not positive or do not sum to 1.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(jnp.ones(1), jnp.array([[3.0, 0.0]]), jnp.array([[[0.0], [2.0]]]))
    >>> print(theory.mixture_spectrum(mixture).eigenvalues.round(3))
    [[9. 4.]]
    """
    proportions, means, factors = mixture_arrays(mixture)
    return _component_spectrum(proportions, means, factors)


def mixture_arrays(mixture: Any) -> tuple[Float[Array, " K"], Float[Array, "K d"], Float[Array, "K d r"]]:
    """Proportions, means and factors of a mixture, checked against each other.

    Raises:
        ValueError: a field is malformed, or the proportions are not positive or do not sum to 1.
    """
    means = checks.array("means", mixture.means, ndim=2)
    factors = checks.array("factors", mixture.factors, ndim=3).astype(means.dtype)
    checks.shape("factors", factors, (*means.shape, factors.shape[2]))
    proportions = checks.proportions(mixture.proportions, len(means)).astype(means.dtype)
    return proportions, means, factors


@partial(jax.jit, static_argnames="kept")
def _cluster_spectrum(x: Float[Array, "n d"], members: list[Any], kept: int) -> Spectrum:
    """Spectrum of clusters given by the rows they hold, with `kept` directions each."""
    clusters = [x[rows] for rows in members]
    pairs = [_principal_directions(cluster, kept) for cluster in clusters]
    counts = jnp.asarray([len(rows) for rows in members], x.dtype)
    means = jnp.stack([cluster.mean(axis=0) for cluster in clusters])
    return Spectrum(
        eigenvalues=jnp.stack([squares for squares, _ in pairs]) / counts[:, None],
        directions=_towards(jnp.stack([directions for _, directions in pairs]), means),
        proportions=counts / jnp.sum(counts),
        means=means,
    )


@jax.jit
def _component_spectrum(
    proportions: Float[Array, " K"], means: Float[Array, "K d"], factors: Float[Array, "K d r"]
) -> Spectrum:
    """Spectrum of the components, S_k = (μ_k F_k)(μ_k F_k)ᵀ."""
    rows = jnp.concatenate([means[:, None, :], jnp.swapaxes(factors, 1, 2)], axis=1)
    squares, directions = _principal_directions(rows, min(rows.shape[1:]))
    return Spectrum(eigenvalues=squares, directions=_towards(directions, means), proportions=proportions, means=means)


def _principal_directions(
    rows: Float[Array, "*K m d"], kept: int
) -> tuple[Float[Array, "*K r"], Float[Array, "*K d r"]]:
    """Squared singular values and right singular vectors of rows, padded with zeros up to `kept` of them."""
    _, singular, transposed = jnp.linalg.svd(rows, full_matrices=False)
    missing = kept - singular.shape[-1]
    none = [(0, 0)] * (singular.ndim - 1)
    squares = jnp.pad(singular**2, [*none, (0, missing)])
    directions = jnp.pad(jnp.swapaxes(transposed, -1, -2), [*none, (0, 0), (0, missing)])
    return squares, directions


def _towards(directions: Float[Array, "K d r"], means: Float[Array, "K d"]) -> Float[Array, "K d r"]:
    """The same directions, each with the sign that gives its block's mean a coordinate ≥ 0.

    A singular vector has no sign of its own; with this one the weights turn with the data when the data are rotated.
    """
    coordinates = jnp.einsum("kdr,kd->kr", directions, means)
    return directions * jnp.where(coordinates < 0, -1.0, 1.0).astype(directions.dtype)[:, None, :]
