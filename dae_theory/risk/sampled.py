"""Sampled estimates of what has no closed form, and of what has one, as a check: means with their standard errors."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from dae_theory import checks
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive
from dae_theory.risk.exact import arguments


@struct.dataclass
class Sampled:
    """A Monte Carlo estimate: its mean and the standard error of that mean."""

    mean: Float[Array, "*members"]
    sem: Float[Array, "*members"]


def sampled_loss(
    key: Key[Array, ""],
    weights: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    draws: int,
) -> Sampled:
    """The objective (6) with its noise sampled: `draws` ≥ 2 noises for every sample, and the standard error.

    The samples are fixed, so the error is that of the noise alone: SEM² = (1/n²) Σ_i var_i/draws.

    Raises:
        ValueError: bad weights, samples, σ, λ, key or draws.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import risk, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> numbers = {"noise_std": 0.2, "weight_decay": 0.1}
    >>> weights = theory.memorizing_weights(x, **numbers)
    >>> sampled = risk.sampled_loss(jax.random.key(0), weights, x, draws=1000, **numbers)
    >>> print(abs(sampled.mean - risk.expected_loss(weights, x, **numbers)) < 5 * sampled.sem)
    True
    """
    weights, x, noise_std, weight_decay = arguments(weights, x, noise_std, weight_decay)
    error = _sampled(key, lambda y: jnp.sum((denoise(weights, y) - x) ** 2, axis=1), x, noise_std, draws)
    penalty = jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder**2)
    return Sampled(error.mean + weight_decay * penalty, error.sem)


def sampled_distance(
    key: Key[Array, ""],
    weights: Weights,
    x: ArrayLike,
    reference: Callable[[Array], Array],
    *,
    noise_std: ArrayLike,
    draws: int,
) -> Sampled:
    """Mean of ‖f(y) − f_ref(y)‖² over y = x_i + σε, sampled as in `sampled_loss`, and its standard error.

    Args:
        key: a typed key.
        weights: decoder and encoder, (d, p) each.
        x: samples, (n, d): the training set, or fresh ones for a distance on test data.
        reference: f_ref from (n, d) to (n, d), such as the empirical denoiser (3) or a mixture's posterior mean.
        noise_std: σ ≥ 0.
        draws: noises for every sample, at least 2.

    Raises:
        ValueError: bad weights, samples, σ, key or draws.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import risk, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> weights = theory.memorizing_weights(x, noise_std=0.2, weight_decay=0.0)
    >>> memory = theory.empirical_denoiser(x, 0.2)
    >>> print(risk.sampled_distance(jax.random.key(0), weights, x, memory, noise_std=0.2, draws=100).mean < 0.05)
    True
    """
    weights, x, noise_std, _ = arguments(weights, x, noise_std)
    return _sampled(key, lambda y: jnp.sum((denoise(weights, y) - reference(y)) ** 2, axis=1), x, noise_std, draws)


def _sampled(key: Array, error: Callable[[Array], Array], x: Array, noise_std: Array, draws: int) -> Sampled:
    """Mean over samples and draws of an error per row, with running means and squared deviations (Welford)."""
    checks.typed_key("key", key)
    draws = checks.integer("draws", draws, 2)

    def draw(carry: tuple[Array, Array], index: Array):
        mean, squares = carry
        y = x + noise_std * jax.random.normal(derive(key, "risk noise", index), x.shape, x.dtype)
        value = error(y)
        moved = mean + (value - mean) / (index + 1).astype(x.dtype)
        return (moved, squares + (value - mean) * (value - moved)), None

    start = jnp.zeros(x.shape[0], x.dtype), jnp.zeros(x.shape[0], x.dtype)
    (mean, squares), _ = jax.lax.scan(draw, start, jnp.arange(draws))
    variances = squares / (draws * (draws - 1))
    return Sampled(jnp.mean(mean), jnp.sqrt(jnp.sum(variances)) / x.shape[0])
