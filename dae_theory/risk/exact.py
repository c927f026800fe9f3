"""The objective (6) and the test loss under a mixture, their noise integral in closed form.

    L(W₂, W₁) = (1/n) Σ_i E_ε ‖f(x_i + σε) − x_i‖² + λ(‖W₁‖²_F + ‖W₂‖²_F)

With y Gaussian, z = W₁ᵀy is Gaussian and h = (z)₊ has the moments of `gaussian`. For any target t jointly Gaussian with
y, with mean τ and cov(t, y) = B, Stein's lemma gives E t h_j = τ E h_j + B w1_j P(z_j > 0), hence

    E ‖f(y) − t‖² = ⟨W₂ᵀW₂, E hhᵀ⟩ − 2 Σ_j w2_jᵀ(τ E h_j + B w1_j P(z_j > 0)) + E ‖t‖².

The data enter through W₁ᵀE y and W₂ᵀτ alone, so the pairs of neurons cost O(n p²) whatever d is. Targets used here: the
clean sample (training loss, and the test loss under a mixture component) and an affine function of y.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from dae_theory import checks, gaussian
from dae_theory.checks import Refusal
from dae_theory.contraction import contraction
from dae_theory.model import Weights

# Bytes that a sweep over the pairs may hold at once, unless the caller says otherwise.
MEMORY = 2**28

full_precision = jax.default_matmul_precision("highest")


def arguments(weights: Weights, x: Any, noise_std: Any, weight_decay: Any = 0.0) -> tuple[Weights, Array, Array, Array]:
    """Weights, samples, σ and λ as arrays of one floating dtype, the wider one of weights and samples.

    Raises:
        ValueError: wrong shapes, NaN or infinity, negative σ or λ.
    """
    x = checks.samples("x", x)
    if not isinstance(weights, Weights):
        raise Refusal(f"weights must be model.Weights(decoder, encoder); got {type(weights).__name__}")
    encoder, decoder = checks.array("encoder", weights.encoder, 2), checks.array("decoder", weights.decoder, 2)
    checks.shape("decoder", decoder, encoder.shape)
    if encoder.shape[0] != x.shape[1]:
        raise Refusal(f"x must have {encoder.shape[0]} columns, as the weights have rows; got shape {x.shape}")
    dtype = np.promote_types(np.promote_types(encoder.dtype, decoder.dtype), x.dtype)
    noise_std, weight_decay = (
        _scalar(name, value, dtype) for name, value in (("noise_std", noise_std), ("weight_decay", weight_decay))
    )
    return Weights(decoder.astype(dtype), encoder.astype(dtype)), x.astype(dtype), noise_std, weight_decay


def expected_loss(
    weights: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    samples: ArrayLike | None = None,
    memory: int = MEMORY,
) -> Float[Array, ""]:
    """The objective (6), exactly: the mean over noise is a closed form, see the module.

    Differentiable in weights, samples, σ and λ, twice and more; `jax.value_and_grad` costs less than two values. Holds
    for every σ ≥ 0 and any columns: zero, parallel and opposite ones are limits, not exceptions. Where (6) has a kink
    (a zero column of W₁; at σ = 0 also w1_jᵀx_i = 0) the gradient is the mean of its one-sided derivatives.

    Args:
        weights: decoder and encoder, (d, p) each.
        x: samples, (n, d).
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0 of (6).
        samples: how many rows of x count, from the first on (traced or not); all by default. Rows behind are padding.
        memory: bytes the sweep over the pairs may hold; samples are taken in chunks that fit.

    Raises:
        ValueError: bad weights, samples, σ or λ, or a number of samples out of range.

    >>> import jax.numpy as jnp
    >>> from dae_theory import risk, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> numbers = {"noise_std": 0.2, "weight_decay": 0.1}
    >>> weights = theory.memorizing_weights(x, **numbers)
    >>> print(f"{risk.expected_loss(weights, x, **numbers):.4f} {theory.memorizing_objective(x, **numbers):.4f}")
    0.6109 0.6109
    """
    weights, x, noise_std, weight_decay = arguments(weights, x, noise_std, weight_decay)
    memory = checks.integer("memory", memory, 1)
    return shared_loss(weights, x, noise_std, weight_decay, shares(x, samples), memory)


@partial(jax.jit, static_argnames="memory")
@full_precision
def shared_loss(
    weights: Weights, x: Array, noise_std: Array, weight_decay: Array, share: Array, memory: int = MEMORY
) -> Float[Array, ""]:
    """`expected_loss` for arguments already checked; `share` is the weight of each row, (n,)."""
    covariance = noise_std**2 * (weights.encoder.T @ weights.encoder)
    error = square(weights, x @ weights.encoder, covariance, x, None, share, memory) + share @ jnp.sum(x**2, axis=1)
    return error + weight_decay * (jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder**2))


def square(
    weights: Weights,
    mean: Array,
    covariance: Array,
    target: Array,
    cross: Array | None,
    share: Array,
    memory: int,
) -> Float[Array, ""]:
    """Σ_i ω_i E[‖f‖² − 2 fᵀt] for z ~ N(m_i, C), E t = τ_i and w2_jᵀ B w1_j in `cross` (None for B = 0)."""
    hidden = gaussian.relu(gaussian.marginal(mean, jnp.diagonal(covariance)[None, :]))
    pull = jnp.sum((target @ weights.decoder) * hidden.first, axis=1)
    if cross is not None:
        pull = pull + hidden.gate @ cross
    return contraction(weights.decoder.T @ weights.decoder, mean, covariance, share, memory) - 2 * (share @ pull)


def mixture_losses(weights: Weights, mixture: Any, *, noise_std: ArrayLike) -> Float[Array, " K"]:
    """Exact test loss E ‖f(x + σε) − x‖² under each component x ~ N(μ_k, F_kF_kᵀ) of a mixture (4), shape (K,).

    There y ~ N(μ_k, Σ_k + σ²I) and cov(x, y) = Σ_k. Holds for every gate, open or not. Sum with the proportions for the
    test loss, see `mixture_loss`.

    Args:
        weights: decoder and encoder, (d, p) each.
        mixture: a record with means (K, d) and factors (K, d, r).
        noise_std: σ ≥ 0.

    Raises:
        ValueError: bad weights, means, factors or σ.
    """
    weights, means, noise_std, _ = arguments(weights, checks.array("means", mixture.means, 2), noise_std)
    factors = checks.array("factors", mixture.factors, 3).astype(means.dtype)
    checks.shape("factors", factors, (*means.shape, factors.shape[2]))
    return _mixture_losses(weights, means, factors, noise_std**2)


@jax.jit
@full_precision
def _mixture_losses(weights: Weights, means: Array, factors: Array, variance: Array) -> Float[Array, " K"]:
    def component(mean: Array, factor: Array) -> Array:
        cross = jnp.sum((weights.encoder.T @ factor) * (weights.decoder.T @ factor), axis=1)
        own = jnp.sum(mean**2) + jnp.sum(factor**2)
        z = moments(weights, mean, factor, variance)
        return own + square(weights, *z, mean[None, :], cross, jnp.ones(1, mean.dtype), MEMORY)

    return jax.vmap(component)(means, factors)


def moments(weights: Weights, mean: Array, factor: Array, variance: Array) -> tuple[Array, Array]:
    """Mean (1, p) and covariance (p, p) of z = W₁ᵀy for y ~ N(μ, FFᵀ + σ²I)."""
    encoded = weights.encoder.T @ factor
    covariance = encoded @ encoded.T + variance * (weights.encoder.T @ weights.encoder)
    return (mean @ weights.encoder)[None, :], covariance


def mixture_loss(weights: Weights, mixture: Any, *, noise_std: ArrayLike) -> Float[Array, ""]:
    """Exact test loss under a mixture (4), Σ_k ρ_k of `mixture_losses`; the mixture also has proportions (K,).

    Raises:
        ValueError: as `mixture_losses`, or proportions that are not positive or do not sum to 1.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, risk, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> weights = theory.population_weights(mixture, (1, 1), noise_std=0.2, weight_decay=0.1)
    >>> print(f"{risk.mixture_loss(weights, mixture, noise_std=0.2):.4f}")
    0.2995
    >>> print(f"{theory.population_loss(mixture, (1, 1), noise_std=0.2, weight_decay=0.1):.4f}")
    0.2995
    """
    losses = mixture_losses(weights, mixture, noise_std=noise_std)
    return checks.proportions(mixture.proportions, len(losses)).astype(losses.dtype) @ losses


def shares(x: Array, samples: ArrayLike | None) -> Array:
    """1/n for the rows that count, 0 for padding."""
    rows = x.shape[0]
    if samples is None:
        return jnp.full(rows, 1 / rows, x.dtype)
    checks.count("samples", samples, 1, rows, "the rows of x")
    count = jnp.asarray(samples)
    return jnp.where(jnp.arange(rows) < count, 1 / count.astype(x.dtype), 0)


def _scalar(name: str, value: Any, dtype: Any) -> Array:
    checks.non_negative(name, value)
    checks.shape(name, value, ())
    return jnp.asarray(value, dtype)
