"""The corruption y = x + σε, noise levels, and every conversion between the conventions in use."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from dae_theory import checks


def corrupt(key: Key[Array, ""], x: Float[Array, "*batch d"], noise_std: ArrayLike) -> Float[Array, "*batch d"]:
    """y = x + σε with ε ~ N(0, I): samples of shape (..., d) with fresh noise of standard deviation σ."""
    checks.non_negative("noise_std", noise_std)
    return x + jnp.asarray(noise_std, x.dtype) * jax.random.normal(key, x.shape, x.dtype)


def geometric_levels(highest: float, lowest: float, count: int) -> Float[Array, " count"]:
    """σ_k = σ_max (σ_min/σ_max)^(k/(count−1)), k = 0 … count−1: noise levels falling by a constant factor."""
    checks.positive("lowest", lowest)
    checks.integer("count", count, 2)
    if not highest > lowest:
        raise ValueError(f"highest must be above lowest = {lowest}; got {highest}")
    return jnp.geomspace(highest, lowest, count)


def score(denoised: Float[Array, "*batch d"], y: Float[Array, "*batch d"], noise_std: ArrayLike) -> Array:
    """∇ log p_σ(y) = (f(y) − y)/σ² (Tweedie), for the posterior-mean denoiser f; shape (..., d)."""
    checks.positive("noise_std", noise_std)
    return (denoised - y) / jnp.asarray(noise_std, y.dtype) ** 2


def weight_decay_from_optimizer(coupled: float, dimension: int) -> float:
    """λ of (6) that an optimizer's coupled L2 penalty stands for: λ = weight_decay · d/2.

    Holds when the optimizer adds weight_decay · w to the gradient of the squared error *averaged over samples and
    coordinates* (d = 1024: 1e-2 ↔ 5.12). Does not hold for decoupled decay (AdamW).

    >>> from dae_theory import noise
    >>> noise.weight_decay_from_optimizer(1e-2, dimension=1024)
    5.12
    """
    checks.non_negative("coupled", coupled)
    return coupled * checks.integer("dimension", dimension, 1) / 2


def std_from_alpha_bar(alpha_bar: ArrayLike) -> Array:
    """σ_t = √((1 − ᾱ_t)/ᾱ_t): the noise level, against unscaled data, of a variance-preserving timestep.

    >>> from dae_theory import noise
    >>> print(f"{noise.std_from_alpha_bar(0.5):.3f}")
    1.000
    """
    return jnp.sqrt((1 - jnp.asarray(alpha_bar)) / jnp.asarray(alpha_bar))


def alpha_bar_from_std(noise_std: ArrayLike) -> Array:
    """ᾱ = 1/(1 + σ²), the inverse of `std_from_alpha_bar`.

    >>> from dae_theory import noise
    >>> print(f"{noise.alpha_bar_from_std(1.0):.3f} {noise.std_from_alpha_bar(noise.alpha_bar_from_std(2.0)):.3f}")
    0.500 2.000
    """
    return 1 / (1 + jnp.asarray(noise_std) ** 2)
