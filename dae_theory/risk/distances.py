"""Exact distances between functions, mean over noisy inputs: of a net to another net, and to an affine map.

f_a − f_b is one net of p_a + p_b neurons with encoder (W₁a, W₁b) and decoder (W₂a, −W₂b), so that

    E ‖f_a(y) − f_b(y)‖² = Σ_i ω_i ⟨W₂ᵀW₂, E h hᵀ⟩

of that net, see `contraction`. Permuted, rescaled and split neurons are at distance zero.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from dae_theory import checks
from dae_theory.contraction import contraction
from dae_theory.model import Weights
from dae_theory.risk.exact import MEMORY, arguments, full_precision, moments, shares, square


def network_distance(
    a: Weights,
    b: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    samples: ArrayLike | None = None,
    memory: int = MEMORY,
) -> Float[Array, ""]:
    """Exact mean of ‖f_a(y) − f_b(y)‖² over y = x_i + σε, see the module.

    Differentiable as `expected_loss` is. Equal functions are at a distance of rounding, about 1e-16 of E‖f‖², which may
    have either sign.

    Args:
        a: decoder and encoder, (d, p) each.
        b: the same of another net, of any width.
        x: samples, (n, d).
        noise_std: σ ≥ 0.
        samples: how many rows of x count, from the first on; all by default.
        memory: as in `expected_loss`.

    Raises:
        ValueError: bad weights, samples or σ, or a number of samples out of range.

    >>> import jax.numpy as jnp
    >>> from dae_theory import model, risk, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> a = theory.memorizing_weights(x, noise_std=0.2, weight_decay=0.1)
    >>> b = model.Weights(decoder=2 * a.decoder[:, ::-1], encoder=0.5 * a.encoder[:, ::-1])
    >>> print(abs(risk.network_distance(a, b, x, noise_std=0.2)) < 1e-6)  # the same function
    True
    """
    both, x, noise_std = _difference(a, b, x, noise_std)
    memory = checks.integer("memory", memory, 1)
    return _network(both, x, noise_std**2, shares(x, samples), memory)


def mixture_network_distance(a: Weights, b: Weights, mixture: Any, *, noise_std: ArrayLike) -> Float[Array, ""]:
    """Exact mean of ‖f_a(y) − f_b(y)‖² over y = x + σε with x drawn from a mixture (4).

    Args:
        a: decoder and encoder, (d, p) each.
        b: the same of another net, of any width.
        mixture: a record with proportions (K,), means (K, d) and factors (K, d, r).
        noise_std: σ ≥ 0.

    Raises:
        ValueError: bad weights, proportions, means, factors or σ.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, risk, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> a, b = (theory.population_weights(mixture, (1, 1), noise_std=s, weight_decay=0.0) for s in (0.2, 0.4))
    >>> print(f"{risk.mixture_network_distance(a, b, mixture, noise_std=0.2):.4f}")
    0.0033
    """
    both, means, noise_std = _difference(a, b, checks.array("means", mixture.means, 2), noise_std)
    factors = checks.array("factors", mixture.factors, 3).astype(means.dtype)
    checks.shape("factors", factors, (*means.shape, factors.shape[2]))
    proportions = checks.proportions(mixture.proportions, len(means)).astype(means.dtype)
    return _mixture_network(both, means, factors, proportions, noise_std**2)


def _difference(a: Weights, b: Weights, x: ArrayLike, noise_std: ArrayLike) -> tuple[Weights, Array, Array]:
    """The net f_a − f_b, with checked samples and σ of its dtype."""
    a, x, noise_std, _ = arguments(a, x, noise_std)
    b, x, noise_std, _ = arguments(b, x, noise_std)
    a = jax.tree.map(lambda part: part.astype(x.dtype), a)
    decoder = jnp.concatenate([a.decoder, -b.decoder], axis=1)
    return Weights(decoder, jnp.concatenate([a.encoder, b.encoder], axis=1)), x, noise_std


@partial(jax.jit, static_argnames="memory")
@full_precision
def _network(weights: Weights, x: Array, variance: Array, share: Array, memory: int) -> Float[Array, ""]:
    covariance = variance * (weights.encoder.T @ weights.encoder)
    return contraction(weights.decoder.T @ weights.decoder, x @ weights.encoder, covariance, share, memory)


@jax.jit
@full_precision
def _mixture_network(
    weights: Weights, means: Array, factors: Array, proportions: Array, variance: Array
) -> Float[Array, ""]:
    gram, one = weights.decoder.T @ weights.decoder, jnp.ones(1, means.dtype)

    def component(mean: Array, factor: Array) -> Array:
        return contraction(gram, *moments(weights, mean, factor, variance), one, MEMORY)

    return proportions @ jax.vmap(component)(means, factors)


def affine_distance(
    weights: Weights,
    x: ArrayLike,
    slope: ArrayLike,
    intercept: ArrayLike,
    *,
    noise_std: ArrayLike,
    memory: int = MEMORY,
) -> Float[Array, ""]:
    """Exact mean of ‖f(y) − (A y + b)‖² over y = x_i + σε.

    Affine references are the denoiser of one Gaussian component, A = Σ(Σ+σ²I)⁻¹ and b = μ − Aμ, of one sample (A = 0,
    b = x_1), and the filters of Cor. 3.3. Distances to other denoisers are sampled, see `sampled_distance`.

    Args:
        weights: decoder and encoder, (d, p) each.
        x: samples, (n, d).
        slope: A, (d, d).
        intercept: b, (d,).
        noise_std: σ ≥ 0.
        memory: as in `expected_loss`.

    Raises:
        ValueError: bad arguments.

    >>> import jax.numpy as jnp
    >>> from dae_theory import risk, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> weights = theory.memorizing_weights(x[:1], noise_std=0.2, weight_decay=0.0)
    >>> slope = weights.decoder @ weights.encoder.T
    >>> print(risk.affine_distance(weights, x[:1], slope, jnp.zeros(2), noise_std=0.2) < 1e-6)  # its gate is open
    True
    """
    weights, x, noise_std, _ = arguments(weights, x, noise_std)
    slope = checks.array("slope", slope, 2).astype(x.dtype)
    intercept = checks.array("intercept", intercept, 1).astype(x.dtype)
    checks.shape("slope", slope, (x.shape[1], x.shape[1]))
    checks.shape("intercept", intercept, (x.shape[1],))
    return _affine(weights, x, slope, intercept, noise_std**2, memory)


@partial(jax.jit, static_argnames="memory")
@full_precision
def _affine(
    weights: Weights, x: Array, slope: Array, intercept: Array, variance: Array, memory: int
) -> Float[Array, ""]:
    target = x @ slope.T + intercept[None, :]
    cross = variance * jnp.sum(weights.decoder * (slope @ weights.encoder), axis=0)
    covariance = variance * (weights.encoder.T @ weights.encoder)
    share = shares(x, None)
    own = share @ jnp.sum(target**2, axis=1) + variance * jnp.sum(slope**2)
    return own + square(weights, x @ weights.encoder, covariance, target, cross, share, memory)
