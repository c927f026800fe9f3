"""Gains of the analytic solutions: how much of every direction survives noise and weight decay.

With second-moment eigenvalue e, share ρ of the data and gates as the block form wants them, the objective (6) separates
into one problem per direction, ρ[e(1−a)² + σ²a²] + 2λa, minimal at

    a = (e − λ/ρ)₊ / (e + σ²).

With Λ = n_k e and ρ = n_k/n this is (Λ − nλ)/(Λ + n_kσ²), Thm 3.1, eq. (8); with one sample a block it is Cor. 3.2,
with m copies of a sample Cor. 3.4, and with population eigenvalues Cor. 3.3. The gains are the squared singular values
of W_k, and the singular values of the denoiser's Jacobian wherever the gates of block k, and only they, are open.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.theory.arguments import cluster_labels, number, ranks_tuple
from dae_theory.theory.spectra import Spectrum, mixture_spectrum, sample_spectrum


@jax.jit
def gain(eigenvalue: Array, proportion: Array, *, ridge: Array, weight_decay: Array) -> Array:
    """Gain a = (e − λ/ρ)₊ / (e + s) of one direction; the solutions have s = σ². Arguments must broadcast.

    With Λ = n_k e and ρ = n_k/n this is (Λ − nλ)/(Λ + n_kσ²), eq. (8). A direction with Λ ≤ nλ is exactly zero.
    """
    alive = eigenvalue > 0
    shrunk = jnp.maximum(eigenvalue - weight_decay / proportion, 0)
    return jnp.where(alive, shrunk / (jnp.where(alive, eigenvalue, 1) + ridge), 0)


@partial(jax.jit, static_argnames="ranks")
def kept_gains(spectrum: Spectrum, ranks: tuple[int, ...], *, ridge: Array, weight_decay: Array) -> Float[Array, "K r"]:
    """Gains of the leading p_k directions of every block, zero for the others."""
    kept = np.arange(spectrum.eigenvalues.shape[1])[None, :] < np.asarray(ranks)[:, None]
    gains = gain(spectrum.eigenvalues, spectrum.proportions[:, None], ridge=ridge, weight_decay=weight_decay)
    return jnp.where(kept, gains, 0)


def sample_blocks(
    x: Any, labels: Any, ranks: Any, *, noise_std: Any, weight_decay: Any
) -> tuple[Spectrum, tuple[int, ...], Float[Array, "K r"]]:
    """Spectrum, ranks and gains of the block solution on samples, with every refusal of `block_weights`."""
    x = checks.samples("x", x)
    ranks = ranks_tuple(ranks)
    noise_std, weight_decay = number("noise_std", noise_std, x.dtype), number("weight_decay", weight_decay, x.dtype)
    values = cluster_labels(labels, x.shape[0], len(ranks))
    sizes = np.bincount(values, minlength=len(ranks))
    if 0 in sizes:
        raise Refusal(f"labels must give every cluster a sample; got none for cluster {list(sizes).index(0)}")
    for k, (rank, size) in enumerate(zip(ranks, sizes, strict=True)):
        if rank > min(size, x.shape[1]):
            raise Refusal(
                f"ranks must not exceed cluster size and dimension; got {rank} for cluster {k} "
                f"of {size} samples in {x.shape[1]} dimensions"
            )
    spectrum = sample_spectrum(x, values, len(ranks))
    _check_kept(spectrum, ranks, weight_decay, sizes)
    return spectrum, ranks, kept_gains(spectrum, ranks, ridge=noise_std**2, weight_decay=weight_decay)


def mixture_blocks(
    mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any, ridge: Any = None
) -> tuple[Spectrum, tuple[int, ...], Float[Array, "K r"]]:
    """Spectrum, ranks and gains of the population solution; the ridge s is σ² unless given."""
    ranks = ranks_tuple(ranks)
    spectrum = mixture_spectrum(mixture)
    blocks, kept = spectrum.eigenvalues.shape
    dtype = spectrum.eigenvalues.dtype
    noise_std, weight_decay = number("noise_std", noise_std, dtype), number("weight_decay", weight_decay, dtype)
    if len(ranks) != blocks:
        raise Refusal(f"ranks must hold one rank for each of the {blocks} components; got {len(ranks)}")
    if max(ranks) > kept:
        raise Refusal(f"ranks must not exceed {kept}, the largest rank of a second moment here; got {max(ranks)}")
    _check_kept(spectrum, ranks, weight_decay, [spectrum.directions.shape[1]] * blocks)
    ridge = noise_std**2 if ridge is None else number("ridge", ridge, dtype)
    return spectrum, ranks, kept_gains(spectrum, ranks, ridge=ridge, weight_decay=weight_decay)


def memorizing_gains(x: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, " n"]:
    """Gains a_i = (‖x_i‖² − nλ)/(‖x_i‖² + σ²) of the memorizing solution, shape (n,).

    a_i is ‖w_i‖² and the one singular value of the Jacobian at x_i. Arguments and errors as in `memorizing_weights`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 0.0]])
    >>> print(theory.memorizing_gains(x, noise_std=0.5, weight_decay=0.1).round(4))  # (4 − .2)/4.25, (1 − .2)/1.25
    [0.8941 0.64  ]
    """
    x = checks.samples("x", x)
    noise_std, weight_decay = number("noise_std", noise_std, x.dtype), number("weight_decay", weight_decay, x.dtype)
    squares, gains = _single_gains(x, noise_std, weight_decay)
    if not checks.is_traced(squares):
        smallest = float(np.min(squares))
        if smallest == 0:
            raise Refusal(f"x must not contain a zero sample; got one in row {np.argmin(squares)}")
        if not checks.is_traced(weight_decay) and weight_decay >= smallest / len(x):
            raise Refusal(f"weight_decay must be below min ‖x_i‖²/n = {smallest / len(x):.6g}; got {weight_decay}")
    return gains


def block_gains(x: Any, labels: Any, ranks: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, "K r"]:
    """Gains a_j = (Λ_j − nλ)/(Λ_j + n_kσ²) of the block solution, descending, zero past p_k, shape (K, r).

    They are the non-zero singular values of the Jacobian anywhere on cluster k. Arguments and errors as in
    `block_weights`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.5], [2.0, -0.5], [-2.0, 0.5], [-2.0, -0.5]])
    >>> gains = theory.block_gains(x, jnp.array([0, 0, 1, 1]), (1, 1), noise_std=0.2, weight_decay=0.1)
    >>> print(gains.round(4))  # (8 − .4)/(8 + .08), then none
    [[0.9406 0.    ]
     [0.9406 0.    ]]
    """
    return sample_blocks(x, labels, ranks, noise_std=noise_std, weight_decay=weight_decay)[2]


def population_gains(mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, "K r"]:
    """Gains (e_j − λ/ρ_k)/(e_j + σ²) of the population solution, descending, zero past p_k, shape (K, r).

    Arguments and errors as in `population_weights`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> print(theory.population_gains(mixture, (2, 1), noise_std=0.5, weight_decay=0.0).round(4))
    [[0.9412 0.5   ]
     [0.9412 0.    ]]
    """
    return mixture_blocks(mixture, ranks, noise_std=noise_std, weight_decay=weight_decay)[2]


def weight_decay_of_gain(gain: Any, eigenvalue: Any, proportion: Any, *, noise_std: Any) -> Float[Array, "*batch"]:
    """λ = ρ(e − a(e + σ²)), at which theory has the gain a > 0 on a direction: the inverse of `gain` in λ.

    For a net whose optimizer has no λ of (6), such as decoupled decay: a is ‖w₁‖‖w₂‖ of the neuron that holds a sample,
    e = ‖x‖² and ρ = 1/n. Below zero where the gain is above that of no decay, e/(e + σ²).

    Args:
        gain: a, any shape.
        eigenvalue: e ≥ 0 of the direction; must broadcast with a.
        proportion: share ρ > 0 of its block; must broadcast with a.
        noise_std: σ ≥ 0.

    Raises:
        ValueError: e < 0, ρ ≤ 0 or σ < 0.

    >>> from dae_theory import theory
    >>> print(f"{theory.weight_decay_of_gain(0.8, 1.0, 0.5, noise_std=0.25):.3f}")  # ½(1 − .8·1.0625)
    0.075
    """
    checks.non_negative("eigenvalue", eigenvalue)
    checks.positive("proportion", proportion)
    eigenvalue = jnp.asarray(eigenvalue, jnp.result_type(jnp.asarray(gain).dtype, float))
    variance = number("noise_std", noise_std, eigenvalue.dtype) ** 2
    return jnp.asarray(proportion) * (eigenvalue - jnp.asarray(gain) * (eigenvalue + variance))


def survival_copies(x: Any, *, samples: Any, weight_decay: Any) -> Float[Array, "*batch"]:
    """Copies m* = nλ/‖x‖² from which on a sample survives the weight decay, Cor. 3.4: it does iff m > m*.

    n counts all samples, the copies among them. Beside n₀ others, n = n₀ + m, so it survives iff m > n₀λ/(‖x‖² − λ).

    Args:
        x: one sample or many, shape (..., d).
        samples: n.
        weight_decay: λ ≥ 0.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> print(f"{theory.survival_copies(jnp.array([1.0, 0.0]), samples=50, weight_decay=0.1):.2f}")
    5.00
    """
    x = checks.array("x", x, ndim=np.ndim(x) or 1)
    count, weight_decay = number("samples", samples, x.dtype), number("weight_decay", weight_decay, x.dtype)
    return count * weight_decay / jnp.sum(x**2, axis=-1)


def duplicate_norm_squared(
    x: Any, *, copies: Any, samples: Any, noise_std: Any, weight_decay: Any
) -> Float[Array, "*batch"]:
    """Squared length ‖w‖² = r²‖x‖² = (m‖x‖² − nλ)₊ / (m(‖x‖² + σ²)) of the neuron that m copies of x get, [X3].

    Zero up to m* = `survival_copies`. Works under jit, vmap and grad.

    Args:
        x: one sample or many, shape (..., d).
        copies: m > 0.
        samples: n ≥ m, the copies among them.
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0.

    Raises:
        ValueError: bad samples or numbers, or more copies than samples.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x, numbers = jnp.array([1.0, 0.0]), {"samples": 50, "noise_std": 0.5, "weight_decay": 0.1}
    >>> print(*(f"{theory.duplicate_norm_squared(x, copies=copies, **numbers):.3f}" for copies in (5, 10, 20)))
    0.000 0.400 0.600
    """
    x = checks.array("x", x, ndim=np.ndim(x) or 1)
    checks.positive("copies", copies)
    if not (checks.is_traced(copies) or checks.is_traced(samples)) and copies > samples:
        raise Refusal(f"copies must not exceed the {samples} samples they are part of; got {copies}")
    share = number("copies", copies, x.dtype) / number("samples", samples, x.dtype)
    noise_std, weight_decay = number("noise_std", noise_std, x.dtype), number("weight_decay", weight_decay, x.dtype)
    return gain(jnp.sum(x**2, axis=-1), share, ridge=noise_std**2, weight_decay=weight_decay)


@jax.jit
def _single_gains(x: Array, noise_std: Array, weight_decay: Array) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """‖x_i‖² and the gain of a block that holds x_i alone, with the share 1/n."""
    squares = jnp.sum(x**2, axis=1)
    shares = jnp.full_like(squares, 1 / len(x))
    return squares, gain(squares, shares, ridge=noise_std**2, weight_decay=weight_decay)


def _check_kept(spectrum: Spectrum, ranks: tuple[int, ...], weight_decay: Array, sizes: Any) -> None:
    """Refuse kept directions that do not exist (names ranks) or that the weight decay kills (names weight_decay)."""
    if checks.is_traced(spectrum.eigenvalues):
        return
    eigenvalues, proportions = np.asarray(spectrum.eigenvalues), np.asarray(spectrum.proportions)
    eps = np.finfo(eigenvalues.dtype).eps
    for k, rank in enumerate(ranks):
        if rank == 0:
            continue
        smallest, largest = eigenvalues[k, rank - 1], eigenvalues[k, 0]
        if smallest <= largest * (max(sizes[k], spectrum.directions.shape[1]) * eps) ** 2:
            raise Refusal(f"ranks must not exceed the rank of the data; got {rank} for block {k}")
        if not checks.is_traced(weight_decay) and weight_decay >= proportions[k] * smallest:
            raise Refusal(
                f"weight_decay must be below {proportions[k] * smallest:.6g}, share times eigenvalue of direction "
                f"{rank} of block {k}; got {weight_decay}"
            )
