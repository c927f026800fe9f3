r"""Newcomers: does a neuron that is zero stay zero beside the memorizing solution?

A new pair ε(u, v), ‖u‖ = ‖v‖ = 1, changes the objective (6) by 2ε²(λ − ⟨g(u), v⟩) + O(ε⁴), with the pull

$$g(u) = \frac{1}{n} \sum_i \mathbb{E} \left[ (x_i - f(y_i)) \, (u^\top y_i)_+ \right] , \qquad \text{[X5]}$$

so zero columns are stable iff max_u ‖g(u)‖ ≤ λ. Cor. 3.2 keeps them zero at any λ; at small λ they grow. Here g is in
closed form for the memorizing solution with its gates as they should be: open on the own sample, shut on the others.
Its terms are polynomial in σ, not exponentially small, so no margin is wide enough to silence them. All of it is of the
net without biases: with one of its own (`biases`) a newcomer need not lean on the noise for it.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.theory.arguments import number
from dae_theory.theory.gains import memorizing_gains

ROOT_TWO_PI = math.sqrt(2 * math.pi)


def newcomer_pull(x: Any, direction: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, " d"]:
    """Pull g(u) on a newcomer that looks along u, [X5], at the memorizing solution of n samples.

        g(u) = Σ_i [λ c_i Φ(t_i) + (σ²/n + λ) κ_i exp(−t_i²/2)] x_i/‖x_i‖,
        c_i = uᵀx_i/‖x_i‖,  t_i = c_i‖x_i‖/σ,  κ_i = ‖x_i‖σ/(√(2π)(‖x_i‖² + σ²))

    Best answered by a decoder along g, the newcomer grows iff ‖g(u)‖ > λ. Orthogonal to all samples it sees
    (σ²/n + λ) Σ_i κ_i x_i/‖x_i‖: for a simplex of equal radii nothing at all.

    Args:
        x: samples, none of them zero, shape (n, d).
        direction: u, of any positive length, shape (d,).
        noise_std: σ > 0.
        weight_decay: λ, nλ < min_i ‖x_i‖².

    Raises:
        ValueError: as `memorizing_weights`, σ = 0, or a direction that is zero or has another dimension.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x, along = jnp.array([[2.0, 0.0], [-2.0, 0.0]]), jnp.array([0.0, 1.0])
    >>> pull = theory.newcomer_pull(x, along, noise_std=0.5, weight_decay=0.01)
    >>> print(abs(pull).max() < 1e-6)  # orthogonal to opposite samples of one length: nothing
    True
    """
    x = checks.samples("x", x)
    direction = checks.array("direction", direction, ndim=1)
    checks.shape("direction", direction, x.shape[1:])
    length = jnp.linalg.norm(direction)
    checks.positive("direction", length)
    memorizing_gains(x, noise_std=noise_std, weight_decay=weight_decay)  # for its refusals
    checks.positive("noise_std", noise_std)
    noise_std, weight_decay = number("noise_std", noise_std, x.dtype), number("weight_decay", weight_decay, x.dtype)
    return _total_pull(x, direction / length, noise_std, weight_decay)


def growth_force(cosine: Any, radius: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, ""]:
    """Pull towards one sample of norm R, on a newcomer at cosine c to it; g has no other component.

        g = λcΦ(t) + (σ²+λ)κ exp(−t²/2),  t = cR/σ,  κ = Rσ/(√(2π)(R²+σ²))

    Below zero only for a newcomer that faces away under a strong decay. Scalars only; works under jit, vmap and grad.
    Holds for an open gate, R/σ ≥ 4.

    Raises:
        ValueError: R ≤ 0, σ ≤ 0, λ < 0, or a cosine outside [−1, 1].

    >>> from dae_theory import theory
    >>> print(f"{theory.growth_force(1.0, 2.0, noise_std=0.5, weight_decay=0.01):.3f}")  # λ: the sample's own neuron
    0.010
    """
    radius, noise_std = _positive_pair(radius, noise_std)
    weight_decay = number("weight_decay", weight_decay, radius.dtype)
    checks.finite("cosine", cosine)
    if not checks.is_traced(cosine) and abs(cosine) > 1:
        raise Refusal(f"cosine must lie in [−1, 1]; got {cosine}")
    return _pulls(jnp.asarray(cosine, radius.dtype), radius, noise_std, weight_decay, 1)


def orthogonal_growth_threshold(radius: Any, noise_std: Any) -> Float[Array, ""]:
    """λ* = κσ²/(1−κ): below it a neuron orthogonal to one sample of norm R grows; it learns a bias out of noise.

    κ = Rσ/(√(2π)(R²+σ²)). Holds for an open gate, R/σ ≥ 4. Works under jit, vmap and grad.

    Raises:
        ValueError: R ≤ 0 or σ ≤ 0.

    >>> from dae_theory import theory
    >>> print(f"{theory.orthogonal_growth_threshold(2.0, 0.5):.5f}")
    0.02590
    """
    radius, noise_std = _positive_pair(radius, noise_std)
    return _threshold(jnp.zeros_like(radius), radius, noise_std)


def growth_threshold(radius: Any, noise_std: Any) -> Float[Array, ""]:
    """The largest λ at which some newcomer grows beside one sample of norm R, away from the sample's own direction.

        max_t κσ²e^(−t²/2) / (1 − cΦ(t) − κe^(−t²/2)),  c = tσ/R

    The steepest newcomer leans a little towards the sample, which puts this above `orthogonal_growth_threshold` by a
    share of σ²/(8R²) to leading order: 1.1 % at R/σ = 4, .43 % at 6. The maximum meant is the one near t = σ/(2R),
    the only one at small t. As c → 1 the expression rises again, but only because the gate is taken as
    open: there the newcomer is the sample's own neuron, which pulls with ‖g‖ = λ and no more. Holds for R/σ ≥ 4. Works
    under jit, vmap and grad.

    Raises:
        ValueError: R ≤ 0 or σ ≤ 0.

    >>> from dae_theory import theory
    >>> print(f"{theory.growth_threshold(2.0, 0.5) / theory.orthogonal_growth_threshold(2.0, 0.5):.4f}")
    1.0111
    """
    radius, noise_std = _positive_pair(radius, noise_std)
    return _steepest_threshold(radius, noise_std)


@jax.jit
def _steepest_threshold(radius: Array, noise_std: Array) -> Array:
    """The threshold at its maximum over t, found as a fixed point."""
    # with c = tσ/R the logarithm is stationary where t(1 − cΦ) = (cΦ)', that is t = (σ/R)(Φ + tφ)/(1 − cΦ), a
    # contraction of rate about 0.8 σ/R; its fixed point needs no gradient, since the value is stationary in t there
    ratio = jax.lax.stop_gradient(noise_std / radius)

    def contract(_, t):
        firing = ndtr(t)
        return ratio * (firing + t * jnp.exp(-(t**2) / 2) / ROOT_TWO_PI) / (1 - ratio * t * firing)

    t = jax.lax.fori_loop(0, 60, contract, ratio / 2)
    return _threshold(t * noise_std / radius, radius, noise_std)


def tied_growth_gain(radius: Any, noise_std: Any) -> Float[Array, ""]:
    """Largest ⟨g(u), u⟩ = φ(1) σ⁴/(R²+σ²) ≈ 0.242 σ⁴/(R²+σ²) of a tied newcomer at λ = 0, reached at cosine σ/R.

    A tied pair εu lowers the objective by 2ε² times this. Works under jit, vmap and grad; holds for R/σ ≥ 4.

    Raises:
        ValueError: R ≤ 0 or σ ≤ 0.

    >>> from dae_theory import theory
    >>> print(f"{theory.tied_growth_gain(2.0, 0.5):.5f}")
    0.00356
    """
    radius, noise_std = _positive_pair(radius, noise_std)
    return math.exp(-0.5) / ROOT_TWO_PI * noise_std**4 / (radius**2 + noise_std**2)


def _kappa(radius: Array, noise_std: Array) -> Array:
    """κ = Rσ/(√(2π)(R²+σ²))."""
    return radius * noise_std / (ROOT_TWO_PI * (radius**2 + noise_std**2))


@jax.jit
def _total_pull(x: Array, unit: Array, noise_std: Array, weight_decay: Array) -> Array:
    """The pulls of all samples on a newcomer along a unit vector, each along its sample."""
    radii = jnp.linalg.norm(x, axis=1)
    units = x / radii[:, None]
    return _pulls(units @ unit, radii, noise_std, weight_decay, len(x)) @ units


@jax.jit
def _pulls(cosine: Array, radius: Array, noise_std: Array, weight_decay: Array, samples: Any) -> Array:
    """λcΦ(t) + (σ²/n + λ)κ exp(−t²/2) for every sample."""
    t = cosine * radius / noise_std
    bump = _kappa(radius, noise_std) * jnp.exp(-(t**2) / 2)
    return weight_decay * cosine * ndtr(t) + (noise_std**2 / samples + weight_decay) * bump


@jax.jit
def _threshold(cosine: Array, radius: Array, noise_std: Array) -> Array:
    """λ that solves ‖g‖ = λ at the given cosine: κσ²e^(−t²/2)/(1 − cΦ(t) − κe^(−t²/2))."""
    t = cosine * radius / noise_std
    bump = _kappa(radius, noise_std) * jnp.exp(-(t**2) / 2)
    return noise_std**2 * bump / (1 - cosine * ndtr(t) - bump)


def _positive_pair(radius: Any, noise_std: Any) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """R and σ, both > 0, in one floating dtype."""
    checks.positive("radius", radius)
    checks.positive("noise_std", noise_std)
    dtype = jnp.result_type(jnp.asarray(radius).dtype, float)
    return number("radius", radius, dtype), number("noise_std", noise_std, dtype)
