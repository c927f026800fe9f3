"""The residual of Thm 3.1 on a simplex of samples, to first order in the gate errors; nothing is fitted.

Thm 3.1 says that the minimizer of (6) is the analytic one plus R, ‖R‖² ~ e^(−cγ²/σ²) for a margin γ. On a simplex the
gates of (9) err by chance only, and what that costs is in closed form.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.special import ndtr
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.theory.arguments import number
from dae_theory.theory.gains import gain


@struct.dataclass
class SimplexResidual:
    """First order of R on a simplex.

    Attributes:
        shift: δ, by which every column is longer than (9) has it, scalar; negative where it is shorter.
        squared_norm: ‖R‖² = nδ² of one of the two matrices, scalar.
        gradient_norm: norm of ∂L at the weights (9), scalar.
    """

    shift: Float[Array, "*batch"]
    squared_norm: Float[Array, "*batch"]
    gradient_norm: Float[Array, "*batch"]


def simplex_residual(samples: Any, radius: Any, *, noise_std: Any, weight_decay: Any) -> SimplexResidual:
    """R of Thm 3.1 for n samples of norm R at cosines −1/(n − 1), every sample its own block.

    By symmetry the residual lies along the ray W₁ = W₂ = √q X̂ᵀ, where the objective (6) is A q² − 2(B − nλ)q + R² per
    sample. With right gates A = R² + σ² and B = R², hence q = (R² − nλ)/(R² + σ²), eq. (9). A foreign neuron has a
    pre-activation of mean −γ, γ = R/(n − 1), and variance σ²; with t = γ/σ, φ = φ(t), Φ̄ = Φ(−t) the n − 1 of them add

        δB = −Rσ(φ − tΦ̄),    δA = −2[Rσ(φ − tΦ̄) − σ²Φ̄/(n−1)] + (n−1)σ²[(1 + t²)Φ̄ − tφ]

    so the length √q moves by δ = (δB − q δA)/(2A√q), and the 2n columns at (9) have gradients of norm 8Aq|δ|/√(2n).
    Two wrong gates at once are left out: for n ≥ 3 they are rarer by e^(−γ²/2σ²) and more. Two samples are opposite, so
    that f(y) = q x̂x̂ᵀy whichever gate is open: there δ = 0 exactly, for n = 2 alone.
    As σ → 0, δ is of order t⁻³φ(t): ‖R‖² = nδ² ~ (σ/γ)⁶ e^(−γ²/σ²), so the exponent is c = 1 beside a sixth power.

    Of the net without biases, as (9) is (see `memorizing_weights`). Works under jit and vmap.

    Args:
        samples: n ≥ 2.
        radius: R > 0.
        noise_std: σ > 0.
        weight_decay: λ with nλ < R².

    Raises:
        ValueError: numbers outside these ranges.

    >>> from dae_theory import theory
    >>> found = theory.simplex_residual(5, 1.0, noise_std=0.05, weight_decay=0.0)
    >>> print(f"{found.squared_norm:.1e}")  # margins of 5 σ
    5.5e-18
    """
    dtype = jnp.result_type(jnp.asarray(radius).dtype, float)
    checks.positive("radius", radius)
    checks.positive("noise_std", noise_std)
    if not checks.is_traced(samples) and samples < 2:
        raise Refusal(f"samples must be at least 2; got {samples}")
    n, r = number("samples", samples, dtype), number("radius", radius, dtype)
    sigma, decay = number("noise_std", noise_std, dtype), number("weight_decay", weight_decay, dtype)
    if not any(checks.is_traced(value) for value in (n, r, decay)) and n * decay >= r**2:
        raise Refusal(f"weight_decay must be below radius²/samples = {r**2 / n:.6g}; got {weight_decay}")
    return _simplex_residual(n, r, sigma, decay)


@jax.jit
def _simplex_residual(n: Array, radius: Array, sigma: Array, decay: Array) -> SimplexResidual:
    t = radius / ((n - 1) * sigma)
    density, tail = norm.pdf(t), ndtr(-t)
    first = radius * sigma * (density - t * tail)
    second = sigma**2 * ((1 + t**2) * tail - t * density)
    a = radius**2 + sigma**2
    q = gain(radius**2, 1 / n, ridge=sigma**2, weight_decay=decay)
    change_a = -2 * (first - sigma**2 * tail / (n - 1)) + (n - 1) * second
    shift = jnp.where(n > 2, (-first - q * change_a) / (2 * a * jnp.sqrt(q)), 0)
    return SimplexResidual(
        shift=shift, squared_norm=n * shift**2, gradient_norm=8 * a * q * jnp.abs(shift) / jnp.sqrt(2 * n)
    )
