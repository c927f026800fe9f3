"""The analytic minimizers: Thm 3.1 with eqs. (7)-(8), and its corollaries 3.2 (9), 3.3 and 3.4 (arXiv 2512.20963).

All weights are tied, W₁ = W₂ = (W_1 … W_K 0 …) with W_k = U_k diag(√a) O_kᵀ: leading eigenvectors of the block's second
moment, the gains of `gains.py`, and a rotation chosen for the margin. They are stationary points of (6) only as far as
the gates are right under the noise: `margins` measures that.

All are of the net without biases, f(y) = W₂[W₁ᵀy]₊. With biases b of the encoder [X15] none of them is stationary
where a block's mean is not zero: gains a below 1 leave out a part of it, so that at b = 0 and with sure gates the
objective falls in b_j, by ∂L/∂b_j = −2ρ_k⟨w2_j, x̄_k − f(x̄_k)⟩ (for (9): −(2/n) r_j‖x_j‖²(1 − a_j)), and no minimizer
is known in closed form. There `biases.expected_loss` and `biases.mixture_loss` are the exact objectives, and
`dynamics.gradient_flow` `with_biases` leads to their minima.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dae_theory import checks
from dae_theory.model import Weights, pad_width
from dae_theory.theory.arguments import full_width, ranks_tuple
from dae_theory.theory.gains import memorizing_gains, mixture_blocks, sample_blocks
from dae_theory.theory.rotation import Gates, margin_rotation
from dae_theory.theory.spectra import Spectrum, mixture_arrays


def block_weights(
    x: Any, labels: Any, ranks: Any, *, noise_std: Any, weight_decay: Any, width: Any = None, rotation_steps: int = 150
) -> Weights:
    """The block minimizer of Thm 3.1, eqs. (7)-(8), up to its residual R.

        W_k = U_k (I + n_kσ²Λ⁻¹)^(−1/2) (I − nλΛ⁻¹)^(1/2) O_kᵀ,    X_kᵀX_k = UΛUᵀ, leading p_k eigenpairs

    It covers the generalizing regime (large clusters, small ranks), the memorizing one (a cluster for every sample,
    rank 1) and the hybrid of Cor. 3.4: m copies of a sample are a cluster of rank 1 whose column is r x with
    r² = (m‖x‖² − nλ) / (m‖x‖²(‖x‖² + σ²)) [X3]. A rank of 0 leaves a cluster without neurons.

    Of the net without biases; with biases of the encoder it is not stationary, see the module.

    Holds where the clusters are separable, Def. 3.1, and the noise is small against the margin; O_k is chosen for that
    margin by `rotation.margin_rotation`, and `margins` measures it. Works under jit and vmap over everything but labels
    and ranks, which decide shapes.

    Args:
        x: samples, shape (n, d).
        labels: cluster of every sample, integers in 0 … K − 1, shape (n,).
        ranks: neurons p_k ≥ 0 of cluster k, length K.
        noise_std: σ ≥ 0, in the units of x.
        weight_decay: λ ≥ 0 of (6), in the units of x².
        width: p, default Σ_k p_k; more neurons are zero columns at the end.
        rotation_steps: steps of each ascent over O_k; 0 keeps the Householder reflection.

    Raises:
        ValueError: bad samples, labels or numbers; fewer ranks than clusters; a rank above the cluster's rank; nλ ≥ Λ_j
            for a kept direction (names weight_decay); Σ_k p_k above the width.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.5], [2.0, -0.5], [-2.0, 0.5], [-2.0, -0.5]])
    >>> weights = theory.block_weights(x, jnp.array([0, 0, 1, 1]), (1, 1), noise_std=0.2, weight_decay=0.1)
    >>> print((weights.decoder @ weights.encoder.T).round(3))  # both blocks: (Λ − nλ)/(Λ + n_kσ²) along ±e₁, summed
    [[1.881 0.   ]
     [0.    0.   ]]
    """
    x = checks.samples("x", x)
    spectrum, ranks, gains = sample_blocks(x, labels, ranks, noise_std=noise_std, weight_decay=weight_decay)
    return _assemble(
        spectrum, ranks, gains, np.asarray(labels), (x,), gates=_sample_gates, width=width, steps=rotation_steps
    )


def memorizing_weights(x: Any, *, noise_std: Any, weight_decay: Any, width: Any = None) -> Weights:
    """The memorizing minimizer of Cor. 3.2, eq. (9): columns r_i x_i, then zeros.

        r_i² = (‖x_i‖² − nλ) / (‖x_i‖⁴ + σ²‖x_i‖²)

    Of the net without biases; with biases of the encoder it is not stationary, see the module.

    Holds where the samples point away from each other, so that every neuron is silent on all samples but its own (see
    `gate_error`); for repeated samples use `block_weights` with one cluster for the copies. The zero columns are not
    always stable, see `growth_threshold`.

    Args:
        x: samples, none of them zero, shape (n, d).
        noise_std: σ ≥ 0.
        weight_decay: λ, nλ < min_i ‖x_i‖².
        width: p ≥ n, default n.

    Raises:
        ValueError: bad samples or numbers, nλ ≥ ‖x_i‖² for some i (names weight_decay), or a width below n.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> weights = theory.memorizing_weights(x, noise_std=0.2, weight_decay=0.1, width=4)
    >>> print(weights.encoder.round(3))  # columns r_i x_i, then a zero
    [[ 0.957 -0.485 -0.485  0.   ]
     [ 0.     0.824 -0.824  0.   ]]
    """
    x = checks.samples("x", x)
    width = full_width(width, x.shape[0])
    gains = memorizing_gains(x, noise_std=noise_std, weight_decay=weight_decay)
    return _join([_memorizing_columns(x, gains)], width)


def population_weights(
    mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any, width: Any = None, rotation_steps: int = 150
) -> Weights:
    """The generalizing minimizer of Cor. 3.3 as n → ∞: block k is the rank-p_k filter of S_k = μ_kμ_kᵀ + Σ_k.

        W_kW_kᵀ = Σ_{j≤p_k} (e_j − λ/ρ_k)/(e_j + σ²) u_ju_jᵀ

    Of the net without biases; with biases of the encoder it is not stationary, see the module.

    The paper prints S_k + σI where S_k + σ²I is right; see `printed_population_filter`. Holds where the gates are sure:
    the pre-activation of neuron w on component ℓ is normal with mean wᵀμ_ℓ and variance wᵀ(Σ_ℓ + σ²I)w, and O_k is
    chosen for the worst ratio of the two.

    Args:
        mixture: a record with proportions (K,), means (K, d) and factors (K, d, r).
        ranks: neurons p_k ≥ 0 of component k, length K.
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0 of (6), λ < ρ_k e_j for the kept directions.
        width: p, default Σ_k p_k.
        rotation_steps: steps of each ascent over O_k; 0 keeps the Householder reflection.

    Raises:
        ValueError: a malformed mixture, not one rank a component, a rank above that of S_k, λ ≥ ρ_k e_j for a kept
            direction (names weight_decay), or Σ_k p_k above the width.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> weights = theory.population_weights(mixture, (1, 1), noise_std=0.2, weight_decay=0.1)
    >>> print(jnp.linalg.norm(weights.encoder, axis=0).round(4))  # √((e − λ/ρ)/(e + σ²)) with e = 4
    [0.9698 0.9698]
    """
    spectrum, ranks, gains = mixture_blocks(mixture, ranks, noise_std=noise_std, weight_decay=weight_decay)
    _, means, factors = mixture_arrays(mixture)
    # without noise and spread a neuron's pre-activation is exact and its margin infinite: keep the ratio finite
    tiny = jnp.finfo(means.dtype).eps * jnp.max(spectrum.eigenvalues)
    evidence = (means, factors, jnp.maximum(jnp.asarray(noise_std, means.dtype) ** 2, tiny))
    parts = spectrum, ranks, gains, np.arange(len(ranks)), evidence
    return _assemble(*parts, gates=_component_gates, width=width, steps=rotation_steps)


def population_filter(mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, "K d d"]:
    """Filters W_kW_kᵀ = Σ_{j≤p_k} (e_j − λ/ρ_k)/(e_j + σ²) u_ju_jᵀ of Cor. 3.3, shape (K, d, d).

    Arguments and errors as in `population_weights`.
    """
    spectrum, _, gains = mixture_blocks(mixture, ranks, noise_std=noise_std, weight_decay=weight_decay)
    return _filter(spectrum, gains)


def printed_population_filter(mixture: Any, ranks: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, "K d d"]:
    """The filters with (S_k + σI)⁻¹, as Cor. 3.3 is printed: for comparison only, σI has the wrong units.

    Arguments and errors as in `population_weights`.
    """
    numbers = {"noise_std": noise_std, "weight_decay": weight_decay}
    spectrum, _, gains = mixture_blocks(mixture, ranks, **numbers, ridge=noise_std)
    return _filter(spectrum, gains)


def block_of_neuron(ranks: Any, width: Any = None) -> np.ndarray:
    """Block of every neuron of `block_weights` and `population_weights`: p_k times k, then −1 for the zero columns.

    Raises:
        ValueError: bad ranks, or Σ_k p_k above the width.

    >>> from dae_theory import theory
    >>> print(theory.block_of_neuron((2, 1), width=4))
    [ 0  0  1 -1]
    """
    ranks = ranks_tuple(ranks)
    blocks = np.repeat(np.arange(len(ranks)), ranks)
    return np.pad(blocks, (0, full_width(width, len(blocks)) - len(blocks)), constant_values=-1)


def _assemble(
    spectrum: Spectrum,
    ranks: tuple[int, ...],
    gains: Float[Array, "K r"],
    owners: np.ndarray,
    evidence: tuple[Array, ...],
    *,
    gates: Callable[..., Gates],
    width: int | None,
    steps: int,
) -> Weights:
    """Columns U_k diag(√a) O_kᵀ of all blocks, O_k chosen to get the gates right on evidence owned by the blocks."""
    steps = checks.integer("rotation_steps", steps, minimum=0)
    width = full_width(width, sum(ranks))
    columns = [
        _block_columns(spectrum, gains, k, owners == k, evidence, rank=rank, gates=gates, steps=steps)
        for k, rank in enumerate(ranks)
        if rank
    ]
    return _join(columns, width)


@partial(jax.jit, static_argnames=("rank", "gates", "steps"))
def _block_columns(
    spectrum: Spectrum,
    gains: Float[Array, "K r"],
    block: Any,
    own: Bool[Array, " n"],
    evidence: tuple[Array, ...],
    *,
    rank: int,
    gates: Callable[..., Gates],
    steps: int,
) -> Float[Array, "d p"]:
    """U diag(√a) Oᵀ of one block, given by its index."""
    basis = spectrum.directions[block, :, :rank] * jnp.sqrt(gains[block, :rank])[None, :]
    signs = jnp.where(own, 1, -1).astype(gains.dtype)
    return basis @ margin_rotation(spectrum.means[block] @ basis, gates(basis, signs, *evidence), steps)


@partial(jax.jit, static_argnames="width")
def _join(columns: list[Float[Array, "d _"]], width: int) -> Weights:
    """Tied weights from the columns of all blocks, zero columns behind."""
    stacked = jnp.concatenate(columns, axis=1)
    return pad_width(Weights(decoder=stacked, encoder=stacked), width)


@jax.jit
def _memorizing_columns(x: Float[Array, "n d"], gains: Float[Array, " n"]) -> Float[Array, "d n"]:
    """√a_i x_i/‖x_i‖, that is r_i x_i, as columns."""
    return (x * (jnp.sqrt(gains) / jnp.linalg.norm(x, axis=1))[:, None]).T


def _sample_gates(basis: Float[Array, "d p"], signs: Float[Array, " n"], x: Float[Array, "n d"]) -> Gates:
    """Every sample's pre-activation in units of ‖w_j‖, the standard deviation that noise gives it, up to σ."""
    return Gates(points=(x @ basis)[None], signs=signs[None], covariances=(basis.T @ basis)[None])


def _component_gates(
    basis: Float[Array, "d p"],
    signs: Float[Array, " K"],
    means: Float[Array, "K d"],
    factors: Float[Array, "K d r"],
    variance: Float[Array, ""],
) -> Gates:
    """Every component's mean pre-activation in units of its standard deviation under spread and noise."""
    spread = jnp.einsum("kdr,dp->kpr", factors, basis)
    covariances = spread @ jnp.swapaxes(spread, 1, 2) + variance * (basis.T @ basis)[None]
    return Gates(points=(means @ basis)[:, None, :], signs=signs[:, None], covariances=covariances)


@jax.jit
def _filter(spectrum: Spectrum, gains: Float[Array, "K r"]) -> Float[Array, "K d d"]:
    """Σ_j a_kj u_kj u_kjᵀ of every block."""
    return jnp.einsum("kdj,kj,kej->kde", spectrum.directions, gains, spectrum.directions)
