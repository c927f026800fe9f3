"""The corruption y = x + σε, noise levels, and every conversion between the conventions in use."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key, UInt32

from dae_theory import checks, randomness
from dae_theory.checks import Refusal

_LOGARITHM = (
    1.0000046848976205,
    -0.4999036158820022,
    0.33256777805217635,
    -0.2539783176623325,
    0.2207029963728668,
    -0.1433831255762182,
)
_NUMERATOR = (1.253295824547759, 0.44052887133127805, 0.08437601415161165, 0.010070408328337539, 4.240194931605986e-05)
_DENOMINATOR = (1.0, 0.08945474012723077, 0.03145330500110112, 0.0007643905909751157)


def corrupt(key: Key[Array, ""], x: Float[Array, "*batch d"], noise_std: ArrayLike) -> Float[Array, "*batch d"]:
    """y = x + σε with ε ~ N(0, I): samples of shape (..., d) with fresh noise of standard deviation σ."""
    checks.non_negative("noise_std", noise_std)
    return x + jnp.asarray(noise_std, x.dtype) * jax.random.normal(key, x.shape, x.dtype)


def standard_normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Array:
    """ε ~ N(0, I) of any shape: `jax.random.normal`, but cheaper in float32 under a key of `randomness.HASHED`."""
    if randomness.is_hashed(key) and dtype == jnp.float32:
        return normal_from_bits(jax.random.bits(key, shape, jnp.uint32))
    return jax.random.normal(key, shape, dtype)


def normal_from_bits(bits: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """float32 normal numbers from uniform words, one for one, by the inverse of the distribution function.

    One bit is the sign, the others the probability of both tails, v = (r + ½) 2⁻³¹ = P(|ε| > |z|). With
    w = −log(1 − (1 − v)²),

        z = ±(1 − v) P(w)/Q(w),

    P/Q of degrees 4 and 3, fitted to the quotient z/(1 − v) with the least largest relative error for 0 ≤ w ≤ log 2³¹.
    z is right to 1.7e-5 of itself or 1e-7, its variance to 1e-7; it ends at |z| = 6.3 (that of `jax.random.normal` at
    5.4).
    """
    tail = ((bits >> 1).astype(jnp.int32).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-31)
    w = -_log(tail * (2.0 - tail))
    z = (1.0 - tail) * _polynomial(_NUMERATOR, w) / _polynomial(_DENOMINATOR, w)
    sign = bits << 31
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(z, jnp.uint32) ^ sign, jnp.float32)


def _log(t: Array) -> Array:
    """log t of normal float32 numbers to 3e-6: t = 2^e (1 + m) with 1/√2 ≤ 1 + m < √2, and a polynomial in m."""
    word = jax.lax.bitcast_convert_type(t, jnp.int32)
    exponent = (word - 0x3F3504F3) >> 23  # the bits of 1/√2, so that the shift rounds down from there
    m = jax.lax.bitcast_convert_type(word - (exponent << 23), jnp.float32) - 1.0
    return exponent.astype(jnp.float32) * jnp.float32(math.log(2)) + m * _polynomial(_LOGARITHM, m)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Σ cᵢ xⁱ by Horner's rule."""
    result = jnp.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        result = result * x + jnp.float32(c)
    return result


def geometric_levels(highest: float, lowest: float, count: int) -> Float[Array, " count"]:
    """σ_k = σ_max (σ_min/σ_max)^(k/(count−1)), k = 0 … count−1: noise levels falling by a constant factor."""
    checks.positive("lowest", lowest)
    checks.integer("count", count, 2)
    if not highest > lowest:
        raise Refusal(f"highest must be above lowest = {lowest}; got {highest}")
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
