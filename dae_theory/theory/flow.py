"""Where the probability flow of the memorizing solution (9) ends: along a stored sample, at a length left to chance."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.directions import unit
from dae_theory.theory.arguments import number


def stored_lengths(x: Any, start: Any, noise_std: Any) -> Float[Array, " m"]:
    """Lengths at which chains through (9) end, in units of the sample that they end along, λ → 0.

        ⟨x_end, x_i⟩/‖x_i‖² = ⟨y₀, x̂_i⟩₊/√(R² + σ₀²),   x̂_i = x_i/R,   R = ‖x_i‖,   i = argmax_j ⟨y₀, x̂_j⟩

    While the gate of x_i alone is open, (9) denoises along x̂_i as for N(0, R²): f(y) = R²/(R² + σ²) ⟨y, x̂_i⟩ x̂_i.
    Then the flow dy/dσ = (y − f(y))/σ has the closed form y_σ = y₀ √((R² + σ²)/(R² + σ₀²)) along x̂_i and y_σ = y₀ σ/σ₀
    across it. Where no gate is open f = 0 and the chain ends at 0. f is positively homogeneous, so nothing draws the
    length to 1: it is as random as the start.

    Args:
        x: stored samples, (n, d).
        start: y₀, (m, d).
        noise_std: σ₀ > 0, where chains start.

    Raises:
        ValueError: `x` or `start` is no finite array of rows, their dimensions differ, or `noise_std` is not positive.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x, start = jnp.array([[2.0, 0.0], [-2.0, 0.0]]), jnp.array([[3.0, 1.0], [-1.0, 0.5]])
    >>> print(theory.stored_lengths(x, start, noise_std=1.5))  # 3/2.5 and 1/2.5
    [1.2 0.4]
    """
    x, start = checks.samples("x", x), checks.samples("start", start)
    if start.shape[1] != x.shape[1]:
        raise Refusal(f"start must have dimension {x.shape[1]} as x has; got shape {start.shape}")
    checks.positive("noise_std", noise_std)
    along = start @ unit(x).T
    squares = jnp.sum(x[jnp.argmax(along, axis=1)] ** 2, axis=1)
    return jnp.maximum(jnp.max(along, axis=1), 0) / jnp.sqrt(squares + number("noise_std", noise_std, x.dtype) ** 2)
