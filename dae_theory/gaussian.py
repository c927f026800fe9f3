r"""Moments of ReLUs of Gaussian variables in closed form, with their derivatives by Price's theorem.

z = (z₁ … z_p) ~ N(m, C), s_j = √C_jj, a_j = m_j/s_j, ρ = C_ij/(s_i s_j), and P, F, F', φ₂ of `bivariate` at
(a_i, a_j; ρ):

$$\mathbb{E} (z_i)_+ = m_i \Phi(a_i) + s_i \varphi(a_i) , \qquad
\mathbb{E} (z_i)_+^2 = (m_i^2 + s_i^2) \Phi(a_i) + m_i s_i \varphi(a_i)$$

$$\mathbb{E} (z_i)_+ (z_j)_+ = (m_i m_j + C_{ij}) P + m_j s_i F + m_i s_j F' + s_i s_j (1 - \rho^2) \varphi_2$$

A Gaussian expectation E obeys ∂E/∂C_ij = ∂²E/∂m_i∂m_j and ∂E/∂C_ii = ½ ∂²E/∂m_i² (Price), and a ReLU's first two
derivatives are a gate and a point mass, so the derivatives of each row above are among

    G_i = E 1[z_i>0] (z_j)₊ = m_j P + C_ij F/s_i + s_j F'        (∂/∂m_i)
    P   = E 1[z_i>0] 1[z_j>0]                                   (∂/∂C_ij)
    D_i = ½ E δ(z_i) (z_j)₊ = (1/2s_i) [(m_j − C_ij a_i/s_i) F + s_i s_j (1−ρ²) φ₂ / s_i]     (∂/∂C_ii)

and those of G, P, D are again among them and F/s_i, φ₂/(s_i s_j). The rules below say so, and never divide by zero:

- a noise-free variable (s_j = 0) is (m_j)₊, and every derivative that would be infinite there is given as 0;
- at m_j = s_j = 0 the gate is open with probability ½, the limit from s_j → 0 and the derivative symmetric in ±;
- |ρ| = 1 needs no case of its own.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.typing import ArrayLike

from dae_theory import checks
from dae_theory.bivariate import Leaf, bivariate_normal_cdf, cumulative, quadrant, quadrant_change, threshold
from dae_theory.checks import Refusal

__all__ = [
    "Marginal",
    "ReluMoments",
    "ReluProduct",
    "bivariate_normal_cdf",
    "marginal",
    "relu",
    "relu_moments",
    "relu_product",
]


@struct.dataclass
class Marginal:
    """One Gaussian variable with what its moments need; made by `marginal`. Derivatives see `mean` and `variance` only.

    Attributes:
        mean: m.
        variance: s².
        std: s.
        inverse_std: 1/s, and 0 for a noise-free variable.
        threshold: a = m/s with φ(a) and Φ(−|a|).
    """

    mean: Leaf
    variance: Leaf
    std: Leaf
    inverse_std: Leaf
    threshold: Leaf


@struct.dataclass
class ReluMoments:
    """Moments of one (z)₊: E (z)₊, E (z)₊², the gate Φ(a) = P(z > 0), and the density φ(a)/s of z at 0."""

    first: Leaf
    second: Leaf
    gate: Leaf
    density: Leaf


@struct.dataclass
class ReluProduct:
    """E (z_i)₊(z_j)₊, its derivatives G_i, G_j, P, D_i, D_j (the module's equations), and P, F, F', φ₂ behind them."""

    value: Leaf
    first_gated: Leaf
    second_gated: Leaf
    both: Leaf
    first_spread: Leaf
    second_spread: Leaf
    quadrant: Leaf


def marginal(mean: Array, variance: Array) -> Marginal:
    """The `Marginal` N(m, s²) for arrays that broadcast.

    A standard deviation below tiny^¼ (1e-77 in float64, 3e-10 in float32) counts as zero.
    """
    noisy = variance > jnp.finfo(variance.dtype).tiny ** 0.5
    std = jnp.where(noisy, jnp.sqrt(jnp.where(noisy, variance, 1)), 0)
    inverse = jnp.where(noisy, 1 / jnp.where(noisy, std, 1), 0)
    standardized = jnp.where(noisy, mean * inverse, jnp.sign(mean) * jnp.finfo(mean.dtype).max)
    return Marginal(mean, variance, std, inverse, threshold(standardized))


@jax.custom_jvp
def relu(z: Marginal) -> ReluMoments:
    """Moments of (z)₊ for one variable; derivatives of every order follow from closed forms."""
    gate = cumulative(z.threshold)
    first = z.mean * gate + z.std * z.threshold.density
    return ReluMoments(
        first=first,
        second=z.mean * first + z.variance * gate,
        gate=gate,
        density=z.threshold.density * z.inverse_std,
    )


@relu.defjvp
def _relu_jvp(primals, tangents):
    """∂/∂m: Φ, 2E(z)₊, φ/s, −(a/s)φ/s; ∂/∂C_ii is half the second of them, row by row."""
    (z,), (change,) = primals, tangents
    value = relu(z)
    dm, half_dv = change.mean, 0.5 * change.variance
    scaled = z.threshold.value * z.inverse_std
    slope = -scaled * value.density
    curvature = value.density * (scaled * scaled - z.inverse_std * z.inverse_std)
    return value, ReluMoments(
        first=value.gate * dm + value.density * half_dv,
        second=2 * (value.first * dm + value.gate * half_dv),
        gate=value.density * dm + slope * half_dv,
        density=slope * dm + curvature * half_dv,
    )


def _correlation(first: Marginal, second: Marginal, covariance: Array) -> Array:
    return jnp.clip(covariance * first.inverse_std * second.inverse_std, -1, 1)


@jax.custom_jvp
def relu_product(first: Marginal, second: Marginal, covariance: Array) -> ReluProduct:
    """E (z_i)₊(z_j)₊ and its derivatives, for arrays that broadcast; derivatives of every order are closed forms."""
    rho = _correlation(first, second, covariance)
    q = quadrant(first.threshold, second.threshold, rho)
    first_pull = covariance * first.inverse_std
    second_pull = covariance * second.inverse_std
    # 1−ρ² from the ρ that the quadrant saw: near |ρ| = 1 the errors of P, D_i and D_j then cancel in a chain rule
    residual = first.std * second.std * ((1 - rho) * (1 + rho)) * q.density
    return ReluProduct(
        value=(first.mean * second.mean + covariance) * q.probability
        + second.mean * first.std * q.first_edge
        + first.mean * second.std * q.second_edge
        + residual,
        first_gated=second.mean * q.probability + second.std * q.second_edge + first_pull * q.first_edge,
        second_gated=first.mean * q.probability + first.std * q.first_edge + second_pull * q.second_edge,
        both=q.probability,
        first_spread=0.5
        * first.inverse_std
        * ((second.mean - first_pull * first.threshold.value) * q.first_edge + first.inverse_std * residual),
        second_spread=0.5
        * second.inverse_std
        * ((first.mean - second_pull * second.threshold.value) * q.second_edge + second.inverse_std * residual),
        quadrant=q,
    )


@relu_product.defjvp
def _relu_product_jvp(primals, tangents):
    """With f = F/s_i, g = φ₂/(s_i s_j) and half means ½∂²/∂m²:

    ∂P/∂m_i = f,   ∂f/∂m_i = −(a_i/s_i) f − (C_ij/C_ii) g,   ∂P/∂C_ij = ∂f/∂m_j = g
    ∂D_i/∂m_i = −½ (C_ij/C_ii) f − (m_i/C_ii) D_i,   ∂D_i/∂m_j = ½ f,   ∂D_i/∂C_ij = ½ ∂f/∂m_i,   ∂D_i/∂C_jj = ¼ g
    """
    first, second, covariance = primals
    value = relu_product(first, second, covariance)
    q = value.quadrant
    dc = tangents[2]
    density = q.density * first.inverse_std * second.inverse_std

    def one_side(own: Marginal, edge: Array, spread: Array):
        """f, ∂f/∂m_own, ∂D/∂m_own and ∂D/∂C_own for one of the two variables."""
        f = edge * own.inverse_std
        scaled = own.threshold.value * own.inverse_std
        precision = own.inverse_std * own.inverse_std
        slope = covariance * precision
        f_slope = -scaled * f - slope * density
        spread_slope = -0.5 * slope * f - scaled * spread
        spread_curvature = -0.25 * slope * f_slope - 0.5 * precision * spread - 0.5 * scaled * spread_slope
        return f, f_slope, spread_slope, spread_curvature

    f, f_slope, df, ddf = one_side(first, q.first_edge, value.first_spread)
    g, g_slope, dg, ddg = one_side(second, q.second_edge, value.second_spread)
    dm, dn = tangents[0].mean, tangents[1].mean
    dv, dw = tangents[0].variance, tangents[1].variance

    def threshold_change(own: Marginal, mean: Array, variance: Array) -> Array:
        return own.inverse_std * (mean - 0.5 * own.threshold.value * own.inverse_std * variance)

    rho = _correlation(first, second, covariance)
    relative_variance = first.inverse_std**2 * dv + second.inverse_std**2 * dw
    drho = first.inverse_std * second.inverse_std * dc - 0.5 * rho * relative_variance
    da, db = threshold_change(first, dm, dv), threshold_change(second, dn, dw)
    return value, ReluProduct(
        value=value.first_gated * dm
        + value.second_gated * dn
        + value.both * dc
        + value.first_spread * dv
        + value.second_spread * dw,
        first_gated=2 * value.first_spread * dm + value.both * dn + f * dc + df * dv + 0.5 * g * dw,
        second_gated=value.both * dm + 2 * value.second_spread * dn + g * dc + 0.5 * f * dv + dg * dw,
        both=f * dm + g * dn + density * dc + 0.5 * f_slope * dv + 0.5 * g_slope * dw,
        first_spread=df * dm + 0.5 * f * dn + 0.5 * f_slope * dc + ddf * dv + 0.25 * density * dw,
        second_spread=0.5 * g * dm + dg * dn + 0.5 * g_slope * dc + 0.25 * density * dv + ddg * dw,
        quadrant=quadrant_change(first.threshold, second.threshold, rho, q, da, db, drho),
    )


def relu_moments(mean: ArrayLike, covariance: ArrayLike) -> tuple[Array, Array]:
    """E (z)₊ and E (z)₊(z)₊ᵀ for z ~ N(m, C): the module's equations for every pair.

    Holds for any covariance, singular ones included (parallel and opposite variables, zero rows). Absolute error about
    1e-15 of the terms (m_i m_j + C_ij and alike).

    Args:
        mean: m, shape (p,).
        covariance: C, shape (p, p), symmetric with non-negative diagonal and |C_ij| ≤ √(C_ii C_jj).

    Returns:
        First moments (p,) and second moments (p, p).

    Raises:
        ValueError: wrong shapes, NaN or infinity, or a matrix that is not a covariance.

    >>> import jax.numpy as jnp
    >>> from dae_theory import gaussian
    >>> first, second = gaussian.relu_moments(jnp.zeros(2), jnp.eye(2))
    >>> print(first.round(4))  # 1/√(2π)
    [0.3989 0.3989]
    >>> print(second.round(4))  # ½ and 1/(2π)
    [[0.5    0.1592]
     [0.1592 0.5   ]]
    """
    m = checks.array("mean", mean, ndim=1)
    c = checks.array("covariance", covariance, ndim=2)
    checks.shape("covariance", c, (m.size, m.size))
    if not checks.is_traced(c):
        _refuse_impossible(np.asarray(c, dtype=np.float64), float(jnp.finfo(c.dtype).eps))
    dtype = np.promote_types(m.dtype, c.dtype)
    return _relu_moments(m.astype(dtype), c.astype(dtype))


@jax.jit
def _relu_moments(mean: Array, covariance: Array) -> tuple[Array, Array]:
    z = marginal(mean, jnp.diagonal(covariance))
    own = relu(z)
    row, column = (jax.tree.map(functools.partial(jnp.expand_dims, axis=axis), z) for axis in (1, 0))
    pairs = relu_product(row, column, covariance).value
    return own.first, jnp.where(jnp.eye(mean.size, dtype=bool), jnp.diag(own.second), pairs)


def _refuse_impossible(covariance: np.ndarray, epsilon: float) -> None:
    variances = np.diag(covariance)
    scale = np.sqrt(np.outer(np.maximum(variances, 0), np.maximum(variances, 0)))
    slack = 64 * epsilon * np.max(np.abs(covariance))
    if np.any(variances < 0):
        raise Refusal(f"covariance must have a diagonal ≥ 0; got {variances.min()}")
    if np.any(np.abs(covariance - covariance.T) > slack):
        raise Refusal(f"covariance must be symmetric; got entries {np.abs(covariance - covariance.T).max()} apart")
    if np.any(np.abs(covariance) > scale + slack):
        raise Refusal("covariance must have |C_ij| ≤ √(C_ii C_jj); got an entry above it")
    lowest = np.linalg.eigvalsh(covariance)[0]
    if lowest < -len(covariance) * slack:
        raise Refusal(f"covariance must be positive semidefinite; got the eigenvalue {lowest}")
