"""Losses of the analytic solutions in closed form, right and as printed.

Per direction of a block with second-moment eigenvalue e, a filter of gain a leaves the bias e(1−a)² and lets through
the noise σ²a². Summed over directions and weighted by the blocks' shares ρ_k this is the data term of (6) as far as the
gates are right: a `loss` is the data term, an `objective` adds λ(‖W₁‖² + ‖W₂‖²) = 2λ Σ a.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.theory.arguments import number
from dae_theory.theory.gains import memorizing_gains, mixture_blocks, sample_blocks


def memorizing_loss(x: Any, *, noise_std: Any, weight_decay: Any = 0.0) -> Float[Array, ""]:
    """Data term of (6) at the memorizing solution (9), Cor. 3.2.

        (1/n) Σ_i [‖x_i‖²(1−a_i)² + σ²a_i²],  a_i = (‖x_i‖² − nλ)/(‖x_i‖² + σ²)

    At λ = 0 it is (1/n) Σ_i σ²‖x_i‖²/(σ² + ‖x_i‖²): below σ², and free of d. Holds where every neuron is silent on all
    samples but its own, see `gate_error`. Arguments and errors as in `memorizing_weights`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.0], [-2.0, 0.0]])
    >>> print(f"{theory.memorizing_loss(x, noise_std=1.0):.3f}")  # σ²R²/(σ² + R²)
    0.800
    """
    return _value(*_memorizing(x, noise_std, weight_decay), noise_std)


def memorizing_objective(x: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, ""]:
    """Objective (6) at the memorizing solution: `memorizing_loss` + 2λ Σ_i a_i."""
    return _value(*_memorizing(x, noise_std, weight_decay), noise_std, weight_decay)


def block_loss(x: Any, labels: Any, ranks: Any, *, noise_std: Any, weight_decay: Any = 0.0) -> Float[Array, ""]:
    """Data term of (6) at the block solution (7)-(8).

        (1/n) Σ_k [Σ_{j≤p_k} Λ_j(1−a_j)² + n_kσ²a_j² + Σ_{j>p_k} Λ_j],  a_j = (Λ_j − nλ)/(Λ_j + n_kσ²)

    Holds where the gates are right under the noise, see `margins`. Arguments and errors as in `block_weights`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.5], [2.0, -0.5], [-2.0, 0.5], [-2.0, -0.5]])
    >>> print(f"{theory.block_loss(x, jnp.array([0, 0, 1, 1]), (1, 1), noise_std=1.0):.3f}")  # 4/5 kept, 1/4 not
    1.050
    """
    spectrum, _, gains = sample_blocks(x, labels, ranks, noise_std=noise_std, weight_decay=weight_decay)
    return _value(spectrum.eigenvalues, spectrum.proportions, gains, noise_std)


def block_objective(x: Any, labels: Any, ranks: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, ""]:
    """Objective (6) at the block solution: `block_loss` + 2λ Σ_kj a_kj."""
    spectrum, _, gains = sample_blocks(x, labels, ranks, noise_std=noise_std, weight_decay=weight_decay)
    return _value(spectrum.eigenvalues, spectrum.proportions, gains, noise_std, weight_decay)


def population_loss(mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any = 0.0) -> Float[Array, ""]:
    """Test loss E‖f(x + σε) − x‖² of the population solution of Cor. 3.3, [X4].

        Σ_k ρ_k [Σ_{j≤p_k} e_j(1−a_j)² + σ²a_j² + Σ_{j>p_k} e_j],  a_j = (e_j − λ/ρ_k)/(e_j + σ²)

    At λ = 0 a kept direction costs σ²e_j/(e_j + σ²). Holds where the gates are sure, see `population_weights`, for the
    arguments and errors too.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> print(f"{theory.population_loss(mixture, (1, 1), noise_std=1.0):.3f}")  # 4/5 kept, 1/4 not
    1.050
    """
    spectrum, _, gains = mixture_blocks(mixture, ranks, noise_std=noise_std, weight_decay=weight_decay)
    return _value(spectrum.eigenvalues, spectrum.proportions, gains, noise_std)


def population_objective(mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, ""]:
    """Objective (6) at the population solution as n → ∞: `population_loss` + 2λ Σ_kj a_kj.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> print(f"{theory.population_objective(mixture, (1, 1), noise_std=1.0, weight_decay=0.1):.3f}")
    1.362
    """
    spectrum, _, gains = mixture_blocks(mixture, ranks, noise_std=noise_std, weight_decay=weight_decay)
    return _value(spectrum.eigenvalues, spectrum.proportions, gains, noise_std, weight_decay)


def printed_population_loss(mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any = 0.0) -> Float[Array, ""]:
    """The bias alone, as Cor. 3.3's bound on the test loss has it: for comparison with `population_loss`.

        Σ_k ρ_k [Σ_{j≤p_k} e_j(1−a_j)² + Σ_{j>p_k} e_j],  at λ = 0: e_j(1−a_j)² = e_jσ⁴/(e_j + σ²)²

    The noise that the filter lets through, σ²a_j² for every kept direction, is missing from it.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> print(f"{theory.printed_population_loss(mixture, (1, 1), noise_std=1.0):.3f}")  # 4/25 and 1/4
    0.410
    """
    spectrum, _, gains = mixture_blocks(mixture, ranks, noise_std=noise_std, weight_decay=weight_decay)
    return _value(spectrum.eigenvalues, spectrum.proportions, gains, noise_std=0.0)


def _value(
    eigenvalues: Float[Array, "K r"],
    proportions: Float[Array, " K"],
    gains: Float[Array, "K r"],
    noise_std: Any,
    penalty: Any = 0.0,
) -> Float[Array, ""]:
    """Σ_k ρ_k Σ_j [e_j(1−a_j)² + σ²a_j²] + 2λ Σ_kj a_kj, with λ the penalty."""
    dtype = gains.dtype
    return _sum(
        eigenvalues, proportions, gains, number("noise_std", noise_std, dtype), number("penalty", penalty, dtype)
    )


@jax.jit
def _sum(eigenvalues: Array, proportions: Array, gains: Array, noise_std: Array, penalty: Array) -> Array:
    lost = eigenvalues * (1 - gains) ** 2
    passed = noise_std**2 * gains**2
    return proportions @ jnp.sum(lost + passed, axis=1) + 2 * penalty * jnp.sum(gains)


def _memorizing(x: Any, noise_std: Any, weight_decay: Any) -> tuple[Array, Array, Array]:
    """Eigenvalues ‖x_i‖², shares 1/n and gains a_i, every sample a block of one direction."""
    x = checks.samples("x", x)
    gains = memorizing_gains(x, noise_std=noise_std, weight_decay=weight_decay)
    return jnp.sum(x**2, axis=1)[:, None], jnp.full_like(gains, 1 / len(x)), gains[:, None]
