"""The quadrant probability Φ₂ of a bivariate normal law, its value and its derivatives in closed form.

For standard normal u, v with correlation ρ, s = √(1−ρ²), and the standardized distances of each threshold from the mean
of the other coordinate, α = (b − ρa)/s and β = (a − ρb)/s:

    P  = Φ₂(a, b; ρ) = P(u ≤ a, v ≤ b)
    F  = φ(a) Φ(α) = ∂P/∂a          F' = φ(b) Φ(β) = ∂P/∂b
    φ₂ = φ(a) φ(α) / s = ∂P/∂ρ       (the last one is Plackett's identity, the simplest case of Price's theorem)

P is a sum of two of Owen's functions T(h, t) = (1/2π) ∫₀ᵗ exp(−h²(1+u²)/2)/(1+u²) du, each reduced to 0 ≤ t ≤ 1, where
the integrand is analytic in the ellipse through its poles ±i and bounded by one there, so that 2N Gauss-Legendre nodes
leave an error of order (1+√2)^(−4N) for *every* h. Both sides of that reduction are needed for α and β alone, so value
and derivatives share every exponential.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike

from dae_theory import checks
from dae_theory.checks import Refusal

# Thresholds beyond this many standard deviations are the same as infinite ones: exp(−100²/2) is zero in every format.
_FAR = 100.0


# An array. JAX rebuilds the records of a derivative rule around placeholders too, which a checked type would refuse.
Leaf = Any


@struct.dataclass
class Threshold:
    """A threshold a in standard deviations with what every quadrant beside it needs; made by `threshold`.

    Attributes:
        value: a, within ±100.
        density: φ(a).
        tail: Φ(−|a|), so that no digit is lost in either tail.
    """

    value: Leaf
    density: Leaf
    tail: Leaf


@struct.dataclass
class Quadrant:
    """P, F, F' and φ₂ of the module's equations, all of one shape.

    At |ρ| = 1 the density φ₂ is a line mass; it is reported as 0 there, which is its value at almost every (a, b).
    """

    probability: Leaf
    first_edge: Leaf
    second_edge: Leaf
    density: Leaf


def upper_tail(distance: Array) -> Array:
    """Φ(−x) for x ≥ 0, with its relative precision."""
    return 0.5 * jax.lax.erfc(distance * math.sqrt(0.5))


def threshold(value: Array) -> Threshold:
    """The `Threshold` at a; infinite a are allowed."""
    a = jnp.clip(value, -_FAR, _FAR)
    return Threshold(a, jnp.exp(-0.5 * a * a) / math.sqrt(2 * math.pi), upper_tail(jnp.abs(a)))


def cumulative(at: Threshold) -> Array:
    """Φ(a)."""
    return jnp.where(at.value >= 0, 1 - at.tail, at.tail)


@functools.cache
def _nodes(dtype: np.dtype) -> list[tuple[float, float]]:
    """Squared Gauss-Legendre nodes in (0, 1) and their weights/2π, enough of them for the precision of `dtype`."""
    half = 10 if jnp.finfo(dtype).bits == 64 else 5
    nodes, weights = np.polynomial.legendre.leggauss(2 * half)
    return [(float(x * x), float(w / (2 * math.pi))) for x, w in zip(nodes[half:], weights[half:], strict=True)]


def _owens_t(first: Threshold, second: Threshold) -> Array:
    """T(|a|, |α|/|a|) ≥ 0, by T(a, α/a) + T(α, a/α) = ½Φ(−a) + ½Φ(−α) − Φ(−a)Φ(−α) where |α| > |a|."""
    a, alpha = jnp.abs(first.value), jnp.abs(second.value)
    swap = alpha > a
    far, near = jnp.maximum(a, alpha), jnp.minimum(a, alpha)
    slope = near / far
    exponent, squared = -0.5 * near * near, slope * slope
    total = jnp.zeros_like(slope)
    for node, weight in _nodes(slope.dtype):
        total = total + jnp.exp(exponent * node) * (weight / (1 + squared * node))
    below = total * slope * (math.sqrt(2 * math.pi) * jnp.where(swap, second.density, first.density))
    both = first.tail * second.tail
    return jnp.where(swap, 0.5 * (first.tail + second.tail) - both - below, below)


def _conditional(a: Array, b: Array, rho: Array) -> tuple[Array, Array, Array]:
    """α, β and 1/s (0 at s = 0), by differences that lose no digit as ρ → ±1."""
    squared = (1 - rho) * (1 + rho)
    proper = squared > 0
    s = jnp.where(proper, jnp.sqrt(jnp.where(proper, squared, 1)), 0)
    inverse = jnp.where(proper, 1 / jnp.where(proper, s, 1), 0)
    sign = jnp.where(rho < 0, -1, 1).astype(rho.dtype)
    # b − ρa = (b − a) + (1−ρ)a for ρ > 0, and (1−ρ)/s = s/(1+ρ); likewise with b + a for ρ < 0
    slope = sign * s / (1 + jnp.abs(rho))
    difference = b - sign * a
    gap = jnp.where(proper, difference * inverse, 2 * _FAR * jnp.sign(difference))
    alpha = jnp.clip(gap + slope * a, -_FAR, _FAR)
    beta = jnp.clip(slope * b - sign * gap, -_FAR, _FAR)
    return alpha, beta, inverse


@jax.custom_jvp
def quadrant(first: Threshold, second: Threshold, rho: Array) -> Quadrant:
    """P, F, F' and φ₂ for arrays that broadcast; |ρ| ≤ 1. Derivatives of every order follow from closed forms."""
    # The angle of the ray from the mean to (a, b) is undefined at (0, 0), where P has a limit all the same: step aside.
    least = math.sqrt(jnp.finfo(first.value.dtype).tiny)
    origin = (jnp.abs(first.value) < least) & (jnp.abs(second.value) < least)
    a, b = jnp.where(origin, least, first.value), jnp.where(origin, least, second.value)
    alpha, beta, inverse = _conditional(a, b, rho)

    def side(pair):
        """Φ(±a)/2 ± T, the edge φ(a)Φ(α) and φ(a)φ(α), for a or for b."""
        own, distance = pair
        other = threshold(distance)
        wedge = _owens_t(own, other)
        right = own.value >= 0
        share = jnp.where(right, 0.5, -0.5) * own.tail + jnp.where(right == (distance >= 0), wedge, -wedge)
        return share, own.density * cumulative(other), own.density * other.density

    # A loop over the two sides, because what it returns is kept: XLA would otherwise copy chains of cheap operations,
    # with all the exponentials behind them, into each of their many users.
    thresholds = Threshold(a, first.density, first.tail), Threshold(b, second.density, second.tail)
    own = jax.tree.map(lambda *sides: jnp.stack(jnp.broadcast_arrays(*sides, rho)[:2]), *thresholds)
    share, edge, peak = jax.lax.map(side, (own, jnp.stack([alpha, beta])))
    probability = jnp.where((a >= 0) & (b >= 0), 1, 0) - share[0] - share[1]
    return Quadrant(
        probability=jnp.maximum(probability, 0),
        first_edge=edge[0],
        second_edge=edge[1],
        density=peak[0] * inverse,
    )


@quadrant.defjvp
def _quadrant_jvp(primals, tangents):
    first, second, rho = primals
    value = quadrant(first, second, rho)
    return value, quadrant_change(first, second, rho, value, tangents[0].value, tangents[1].value, tangents[2])


def quadrant_change(
    first: Threshold, second: Threshold, rho: Array, value: Quadrant, da: Array, db: Array, drho: Array
) -> Quadrant:
    """Derivative of the `Quadrant` in the direction (da, db, dρ), from its value alone.

    ∂F/∂a = −aF − ρφ₂, ∂F/∂b = φ₂, ∂F/∂ρ = ∂φ₂/∂a = −φ₂β/s, ∂φ₂/∂b = −φ₂α/s, ∂φ₂/∂ρ = φ₂(ρ + αβ)/s²
    """
    a, b, density = first.value, second.value, value.density
    alpha, beta, inverse = _conditional(a, b, rho)
    first_slope, second_slope = -density * beta * inverse, -density * alpha * inverse
    return Quadrant(
        probability=value.first_edge * da + value.second_edge * db + density * drho,
        first_edge=-(a * value.first_edge + rho * density) * da + density * db + first_slope * drho,
        second_edge=-(b * value.second_edge + rho * density) * db + density * da + second_slope * drho,
        density=first_slope * da + second_slope * db + density * (rho + alpha * beta) * (inverse * inverse) * drho,
    )


def bivariate_normal_cdf(a: ArrayLike, b: ArrayLike, rho: ArrayLike) -> Array:
    """Φ₂(a, b; ρ) = P(u ≤ a, v ≤ b) for standard normal u, v with correlation ρ.

    Holds for every real (or infinite) a, b and −1 ≤ ρ ≤ 1, the ends included; the absolute error is a few units of the
    last place of 1. First derivatives are Φ₂'s own, finite everywhere; where the density ∂Φ₂/∂ρ is infinite (ρ = ±1 and
    a = ±b) it is given as 0. The arguments broadcast by NumPy's rules.

    Raises:
        ValueError: NaN in a or b, or ρ outside [−1, 1].

    >>> from dae_theory import gaussian
    >>> print(f"{gaussian.bivariate_normal_cdf(0.0, 0.0, 0.5):.4f}")  # 1/4 + arcsin(½)/2π
    0.3333
    """
    a, b, rho = jnp.asarray(a), jnp.asarray(b), jnp.asarray(rho)
    dtype = functools.reduce(np.promote_types, (array.dtype for array in (a, b, rho)))
    dtype = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)
    for name, array in (("a", a), ("b", b)):
        if not checks.is_traced(array) and np.any(np.isnan(np.asarray(array))):
            raise Refusal(f"{name} must be free of NaN; got {array}")
    if not checks.is_traced(rho) and not np.all(np.abs(np.asarray(rho)) <= 1):
        raise Refusal(f"rho must lie in [−1, 1]; got {rho}")
    return _cdf(*jnp.broadcast_arrays(*(array.astype(dtype) for array in (a, b, rho))))


@jax.jit
def _cdf(a: Array, b: Array, rho: Array) -> Array:
    return quadrant(threshold(a), threshold(b), rho).probability
