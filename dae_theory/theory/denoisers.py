"""The reference denoisers: the posterior mean under the training samples, eq. (3), and under the mixture (4).

A model that agrees with the first memorizes, one that agrees with the second generalizes. Both are returned as
functions of y, differentiable and usable under jit and vmap, with σ traced or not.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.theory.arguments import number
from dae_theory.theory.spectra import mixture_arrays

# scores are differences of large numbers over σ²: the reduced matmul precision of accelerators would spoil them
_full_precision = jax.default_matmul_precision("highest")

Denoiser = Callable[[Float[Array, "*batch d"]], Float[Array, "*batch d"]]


def empirical_denoiser(x: Any, noise_std: Any, *, samples: Any = None, chunk: int = 4096) -> Denoiser:
    """Optimal denoiser of the samples themselves, eq. (3).

        f_emp(y) = Σ_i w_i x_i,  w_i ∝ exp(−‖y − x_i‖²/(2σ²))

    A stable softmax, streamed over chunks of samples: for inputs y of shape (m, d) the memory beside the samples is
    O(m · chunk), forwards and backwards, however large n is. At σ = 0 it is the nearest sample (their mean, if tied).

    Args:
        x: samples, shape (n, d).
        noise_std: σ ≥ 0.
        samples: how many rows of x count, from the first on, traced or not; rows behind them are padding.
        chunk: the most samples looked at together.

    Returns:
        A function from y of shape (..., d) to f_emp(y) of the same shape; y has the dtype of x.

    Raises:
        ValueError: bad samples, noise or chunk; from the function, y of another dimension.

    >>> import math
    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> denoise = theory.empirical_denoiser(jnp.array([[1.0], [-1.0]]), 1.0)
    >>> print(denoise(jnp.array([0.5])).round(4), round(math.tanh(0.5), 4))
    [0.4621] 0.4621
    """
    x = checks.samples("x", x)
    variance = number("noise_std", noise_std, x.dtype) ** 2
    count, dimension = x.shape
    if samples is not None and not checks.is_traced(samples) and not 1 <= samples <= count:
        raise Refusal(f"samples must be from 1 to {count}, the rows of x; got {samples}")
    chunks = -(-count // checks.integer("chunk", chunk, minimum=1))
    size = -(-count // chunks)
    # distances lose fewer digits around the mean; zeros that fill up the last chunk are marked as absent
    center = jnp.mean(x, axis=0)
    rows = jnp.pad(x - center[None, :], ((0, chunks * size - count), (0, 0))).reshape(chunks, size, dimension)
    present = jnp.arange(chunks * size).reshape(chunks, size) < (count if samples is None else samples)

    def denoise(y):
        _last_axis(y, dimension)
        offsets = _streamed_mean(rows, present, variance, y.reshape(-1, dimension) - center[None, :])
        return (offsets + center[None, :]).reshape(y.shape)

    return denoise


@jax.jit
@_full_precision
def _streamed_mean(
    rows: Float[Array, "chunks size d"],
    present: Bool[Array, "chunks size"],
    variance: Float[Array, ""],
    y: Float[Array, "m d"],
) -> Float[Array, "m d"]:
    """Softmax-weighted mean of the rows that are present, chunk by chunk; the first chunk has at least one."""

    def boltzmann(gap):
        """exp(gap/σ²) for gap ≤ 0, with its limit at σ = 0."""
        safe = jnp.where(variance > 0, variance, 1)
        return jnp.where(variance > 0, jnp.exp(gap / safe), (gap >= 0).astype(gap.dtype))

    @jax.checkpoint
    def sums(rows, present):
        """Highest score (‖y‖² − ‖y − x_i‖²)/2 of a chunk, and the weighted sums relative to it."""
        scores = y @ rows.T - jnp.sum(rows**2, axis=1)[None, :] / 2
        best = jax.lax.stop_gradient(jnp.max(jnp.where(present[None, :], scores, -jnp.inf), axis=1))
        gaps = jnp.where(present[None, :], scores - best[:, None], 0)
        weights = jnp.where(present[None, :], boltzmann(gaps), 0)
        return best, weights @ rows, jnp.sum(weights, axis=1)

    def add(total, chunk):
        best, numerator, denominator = total
        chunk_best, chunk_numerator, chunk_denominator = sums(*chunk)
        chunk_best = jnp.where(jnp.any(chunk[1]), chunk_best, best)  # an empty chunk has no best, and zero sums
        highest = jnp.maximum(best, chunk_best)
        old, new = boltzmann(best - highest), boltzmann(chunk_best - highest)
        numerator = old[:, None] * numerator + new[:, None] * chunk_numerator
        return (highest, numerator, old * denominator + new * chunk_denominator), None

    (_, numerator, denominator), _ = jax.lax.scan(add, sums(rows[0], present[0]), (rows[1:], present[1:]))
    return numerator / denominator[:, None]


def mixture_denoiser(mixture: Any, noise_std: Any, *, orthogonal: bool = False) -> Denoiser:
    """Optimal denoiser of the mixture (4), its posterior mean.

        f_gt(y) = Σ_k r_k(y) [μ_k + Σ_k(Σ_k + σ²I)⁻¹(y − μ_k)],  r_k ∝ ρ_k N(y; μ_k, Σ_k + σ²I)

    Costs O(K d r) an input: Σ_k = F_kF_kᵀ enters through the singular pairs of F_k, which is Woodbury's identity
    without its cancellation, and r_k through a log-sum-exp.

    Args:
        mixture: a record with proportions (K,), means (K, d) and factors (K, d, r).
        noise_std: σ > 0.
        orthogonal: the columns of every F_k are known to be orthogonal (as those of `simplex_mixture` and of principal
            components are), which saves their decomposition; it is not checked.

    Returns:
        A function from y of shape (..., d) to f_gt(y) of the same shape; y has the dtype of the means.

    Raises:
        ValueError: a malformed mixture or σ ≤ 0; from the function, y of another dimension.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> denoise = theory.mixture_denoiser(mixture, 0.5)
    >>> print(denoise(jnp.array([2.0, 1.0])).round(3))  # keeps the mean, halves the spread: Σ = σ²I along it
    [2.  0.5]
    """
    components, variance = _components(mixture, noise_std, orthogonal)

    def denoise(y):
        _last_axis(y, components.means.shape[1])
        log_joint, posterior_means = _posteriors(components, variance, y.reshape(-1, y.shape[-1]))
        return jnp.einsum("mk,mkd->md", jax.nn.softmax(log_joint, axis=1), posterior_means).reshape(y.shape)

    return denoise


def mixture_log_density(mixture: Any, noise_std: Any) -> Callable[[Float[Array, "*batch d"]], Float[Array, "*batch"]]:
    """Log density log Σ_k ρ_k N(y; μ_k, Σ_k + σ²I) of a noisy input under the mixture (4).

    Its gradient is the score, (f_gt(y) − y)/σ². Arguments and errors as in `mixture_denoiser`.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> y = jnp.array([2.0, 1.0])
    >>> score = jax.grad(theory.mixture_log_density(mixture, 0.5))(y)
    >>> denoise = theory.mixture_denoiser(mixture, 0.5)
    >>> print(jnp.allclose(score, (denoise(y) - y) / 0.5**2, atol=1e-4))
    True
    """
    components, variance = _components(mixture, noise_std)

    def log_density(y):
        _last_axis(y, components.means.shape[1])
        log_joint, _ = _posteriors(components, variance, y.reshape(-1, y.shape[-1]))
        return jax.nn.logsumexp(log_joint, axis=1).reshape(y.shape[:-1])

    return log_density


@struct.dataclass
class _Components:
    """A mixture with its factors as singular pairs, Σ_k = U diag(s²) Uᵀ.

    Attributes:
        log_proportions: log ρ_k, shape (K,).
        means: μ_k, shape (K, d).
        directions: U of every component, shape (K, d, r).
        variances: s², shape (K, r).
    """

    log_proportions: Float[Array, " K"]
    means: Float[Array, "K d"]
    directions: Float[Array, "K d r"]
    variances: Float[Array, "K r"]


def _components(mixture: Any, noise_std: Any, orthogonal: bool = False) -> tuple[_Components, Float[Array, ""]]:
    """Components of a checked mixture, and σ² > 0."""
    proportions, means, factors = mixture_arrays(mixture)
    checks.positive("noise_std", noise_std)
    if orthogonal:
        variances = jnp.sum(factors**2, axis=1)
        directions = factors / jnp.sqrt(jnp.where(variances > 0, variances, 1))[:, None, :]
    else:
        directions, singular, _ = jnp.linalg.svd(factors, full_matrices=False)
        variances = singular**2
    components = _Components(jnp.log(proportions), means, directions, variances)
    return components, number("noise_std", noise_std, means.dtype) ** 2


@jax.jit
@_full_precision
def _posteriors(
    components: _Components, variance: Float[Array, ""], y: Float[Array, "m d"]
) -> tuple[Float[Array, "m K"], Float[Array, "m K d"]]:
    """log ρ_k N(y; μ_k, Σ_k + σ²I), and the posterior mean under every component."""
    means, directions = components.means, components.directions
    inside = components.variances + variance
    dimension, rank = directions.shape[1:]
    log_volume = jnp.sum(jnp.log(inside), axis=1) + (dimension - rank) * jnp.log(variance)
    log_volume = log_volume + dimension * math.log(2 * math.pi)
    offsets = y[:, None, :] - means[None]
    coordinates = jnp.einsum("mkd,kdr->mkr", offsets, directions)
    remainder = offsets - jnp.einsum("mkr,kdr->mkd", coordinates, directions)
    distance = jnp.sum(coordinates**2 / inside[None], axis=2) + jnp.sum(remainder**2, axis=2) / variance
    log_joint = components.log_proportions[None] - (distance + log_volume[None]) / 2
    shrunk = coordinates * (components.variances / inside)[None]
    return log_joint, means[None] + jnp.einsum("mkr,kdr->mkd", shrunk, directions)


def _last_axis(y: Array, dimension: int) -> None:
    """Refuse inputs of another dimension."""
    if y.ndim == 0 or y.shape[-1] != dimension:
        raise Refusal(f"y must have shape (..., {dimension}); got {y.shape}")
