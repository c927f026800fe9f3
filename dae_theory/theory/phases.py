"""Conditions behind the lines over a phase diagram, each a scalar of the problem's numbers.

A condition is positive where it allows the memorizing solution (9) and zero on its line, so that over any two axes the
line is the zero contour of the function, mapped over the mesh. Everything works under jit and vmap over every number.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.theory.arguments import number
from dae_theory.theory.spectra import Spectrum


@struct.dataclass
class Allocation:
    """The best way to share p neurons among the directions of K blocks.

    Attributes:
        ranks: neurons p_k of every block, shape (K,); in sum below p where the weight decay leaves no more directions.
        objective: the objective (6) that it reaches, shape ().
    """

    ranks: Int[Array, "*batch K"]
    objective: Float[Array, "*batch"]


def width_condition(samples: Any, width: Any) -> Array:
    """p − n: (9) gives every sample a neuron of its own, Cor. 3.2; necessary for memorizing all of them."""
    return jnp.asarray(width - samples)


def angle_condition(samples: Any, dimension: Any) -> Array:
    """d + 1 − n: no more than d + 1 vectors have pairwise negative cosines, Def. 3.1 with β < 0.

    Necessary for (9), where every neuron is silent on all other samples with a margin; beyond it a network can still
    memorize, but not in this form.
    """
    return jnp.asarray(dimension + 1 - samples)


def simplex_gate_margin(samples: Any, radius: Any, noise_std: Any) -> Float[Array, ""]:
    """Margin R/((n − 1)σ) of a foreign neuron on a simplex of n samples of norm R, cosine −1/(n − 1); [X1], [X2].

    It fires wrongly with probability Φ(−margin). No arrangement of n samples of norm R has a wider worst margin.

    Raises:
        ValueError: n ≤ 1, R < 0 or σ ≤ 0.
    """
    radius = number("radius", radius, _floating(radius))
    checks.positive("noise_std", noise_std)
    _above_one("samples", samples)
    return radius / ((number("samples", samples, radius.dtype) - 1) * number("noise_std", noise_std, radius.dtype))


def simplex_gate_error(samples: Any, radius: Any, noise_std: Any) -> Float[Array, ""]:
    """P(neuron j fires on x_i + σε) = Φ(−R/((n − 1)σ)) on a simplex, [X2]; errors as in `simplex_gate_margin`.

    >>> from dae_theory import theory
    >>> print(f"{theory.simplex_gate_error(5, 1.0, 0.1):.5f}")  # Φ(−2.5)
    0.00621
    """
    return ndtr(-simplex_gate_margin(samples, radius, noise_std))


def gate_condition(samples: Any, radius: Any, noise_std: Any, *, margin: Any = 2.5) -> Float[Array, ""]:
    """R/((n − 1)σ) − margin: from a margin of 2.5 on, the loss of (9) holds to one per cent on a simplex of n ≤ 8.

    At that margin a foreign neuron fires with probability Φ(−2.5) = 0.6 %, chosen for the accuracy of the loss and not
    fitted to any network. As all n − 1 of them may, the error there grows with n: 2 % at 16 samples, 4 % at 31. Errors
    as in `simplex_gate_margin`.

    >>> from dae_theory import theory
    >>> print(theory.gate_condition(5, 1.0, 0.1) >= 0, theory.gate_condition(5, 1.0, 0.2) >= 0)
    True False
    """
    worst = simplex_gate_margin(samples, radius, noise_std)
    return worst - number("margin", margin, worst.dtype)


def isolation_condition(samples: Any, firing: Any) -> Float[Array, ""]:
    """1 − (n − 1)P: below one foreign neuron fires, on average, on a noisy sample of n.

    P is the mean probability that the neuron of one sample fires on another, [X2], for samples drawn as the data are
    (the mean of `gate_error(...).firing` off the diagonal). One-hot representations of n samples need this to be
    positive; on data in clusters P is about the share of pairs in one cluster, so the line lies near the number of
    clusters.

    Args:
        samples: n ≥ 1.
        firing: P in [0, 1].
    """
    firing = number("firing", firing, _floating(firing))
    return 1 - (number("samples", samples, firing.dtype) - 1) * firing


def decay_condition(samples: Any, radius: Any, weight_decay: Any, *, copies: Any = 1) -> Float[Array, ""]:
    """m R² − nλ: a sample of norm R, present m times among n, survives the weight decay; Cor. 3.2 (m = 1) and 3.4.

    Raises:
        ValueError: a negative number.
    """
    radius = number("radius", radius, _floating(radius))
    samples, copies = number("samples", samples, radius.dtype), number("copies", copies, radius.dtype)
    return copies * radius**2 - samples * number("weight_decay", weight_decay, radius.dtype)


def objective_decrease(
    eigenvalue: Any, proportion: Any, *, noise_std: Any, weight_decay: Any
) -> Float[Array, "*batch"]:
    """By how much one neuron on one direction lowers the objective (6): ρ(e − λ/ρ)₊²/(e + σ²).

    The direction contributes ρ[e(1−a)² + σ²a²] + 2λa, which is ρe without a neuron and at the best gain
    a = (e − λ/ρ)₊/(e + σ²) less by this. It grows with e, so that the leading directions of a block come first.

    Args:
        eigenvalue: e ≥ 0 of the block's second moment; ‖x‖² for a sample of its own.
        proportion: share ρ > 0 of the block, 1/n for a sample of its own; broadcasts with e.
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0.

    >>> from dae_theory import theory
    >>> print(f"{theory.objective_decrease(4.0, 0.5, noise_std=1.0, weight_decay=0.0):.3f}")  # ρe²/(e + σ²)
    1.600
    """
    eigenvalue = jnp.asarray(eigenvalue, _floating(eigenvalue))
    proportion = jnp.asarray(proportion, eigenvalue.dtype)
    return _decrease(eigenvalue, proportion, *_levels(noise_std, weight_decay, eigenvalue.dtype))


def best_allocation(spectrum: Spectrum, width: Any, *, noise_std: Any, weight_decay: Any) -> Allocation:
    """The block solution with p neurons in all that has the lowest objective (6).

    Directions contribute one by one, see `objective_decrease`: the objective is Σ_k ρ_k tr S_k less the sum over the
    kept ones, so the p largest decreases are exactly the best choice. Whether the blocks' gates can be right is another
    question: `margins` of the weights answers it.

    Args:
        spectrum: of samples (`sample_spectrum`) or of a mixture (`mixture_spectrum`).
        width: p ≥ 0, may be traced.
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> best = theory.best_allocation(theory.mixture_spectrum(mixture), 3, noise_std=0.5, weight_decay=0.01)
    >>> print(best.ranks)
    [2 1]
    """
    checks.non_negative("width", width)
    return _best_allocation(spectrum, width, *_levels(noise_std, weight_decay, spectrum.eigenvalues.dtype))


def allocation_condition(
    spectrum: Spectrum, samples: Any, width: Any, *, noise_std: Any, weight_decay: Any
) -> Float[Array, ""]:
    """Objective of the best block allocation less that of memorizing min(p, n) of n samples, both with p neurons.

    The samples are taken to have one norm, ‖x‖² = T = Σ_k ρ_k tr S_k; with unequal norms memorizing gains a little
    more. A fractional p interpolates between integers. Both objectives are those of the formulas: the block one holds
    where the clusters are separable, the memorizing one only where the *samples* are, which two of one tight cluster
    never are (their cosine is positive). There the zero of this function says from where on a network would prefer to
    tell them apart; it is no prediction that the bias-free network can.

    Args:
        spectrum: of the data, see `best_allocation`.
        samples: n ≥ 1.
        width: p ≥ 0.
        noise_std: σ ≥ 0.
        weight_decay: λ ≥ 0.
    """
    dtype = spectrum.eigenvalues.dtype
    checks.positive("samples", samples)
    count, width = number("samples", samples, dtype), number("width", width, dtype)
    return _condition(spectrum, count, width, *_levels(noise_std, weight_decay, dtype))


def memorizing_boundary(spectrum: Spectrum, samples: Any, *, noise_std: Any, weight_decay: Any) -> Float[Array, ""]:
    """The width p at which memorizing p of n samples overtakes the best block allocation.

    The zero of `allocation_condition`, which says what is assumed and has the same arguments. The decrease of the
    blocks, C(p), is concave and that of memorizing, pδ with δ = (T − nλ)₊²/(n(T + σ²)), linear up to p = n, so they
    cross at most once; ∞ where they do not up to p = n. At λ = 0 and σ² ≪ T they cross just below p = n.

    >>> import jax.numpy as jnp
    >>> from dae_theory import data, theory
    >>> mixture = data.GaussianMixture(
    ...     proportions=jnp.array([0.5, 0.5]),
    ...     means=jnp.array([[2.0, 0.0], [-2.0, 0.0]]),
    ...     factors=jnp.array([[[0.0], [0.5]], [[0.0], [0.5]]]),
    ... )
    >>> spectrum = theory.mixture_spectrum(mixture)
    >>> print(f"{theory.memorizing_boundary(spectrum, 40, noise_std=1.0, weight_decay=0.001):.1f} neurons")
    38.5 neurons
    """
    dtype = spectrum.eigenvalues.dtype
    checks.positive("samples", samples)
    return _boundary(spectrum, number("samples", samples, dtype), *_levels(noise_std, weight_decay, dtype))


def _levels(noise_std: Any, weight_decay: Any, dtype: Any) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """σ and λ, checked."""
    return number("noise_std", noise_std, dtype), number("weight_decay", weight_decay, dtype)


@jax.jit
def _decrease(eigenvalue: Array, proportion: Array, noise_std: Array, weight_decay: Array) -> Array:
    """ρ(e − λ/ρ)₊²/(e + σ²), zero for e = 0."""
    shrunk = jnp.maximum(eigenvalue - weight_decay / proportion, 0)
    safe = jnp.where(eigenvalue > 0, eigenvalue, 1)
    return jnp.where(eigenvalue > 0, proportion * shrunk**2 / (safe + noise_std**2), 0)


@jax.jit
def _best_allocation(spectrum: Spectrum, width: Any, noise_std: Array, weight_decay: Array) -> Allocation:
    """The `width` largest decreases, as far as they are positive."""
    decreases = _decrease(spectrum.eigenvalues, spectrum.proportions[:, None], noise_std, weight_decay)
    flat = decreases.reshape(-1)
    order = jnp.argsort(-flat, stable=True)
    chosen = jnp.zeros_like(flat, dtype=bool).at[order].set(jnp.arange(flat.size) < width)
    kept = (chosen & (flat > 0)).reshape(decreases.shape)
    objective = _total_variance(spectrum) - jnp.sum(jnp.where(kept, decreases, 0))
    return Allocation(ranks=jnp.sum(kept, axis=1), objective=objective)


def _competitors(
    spectrum: Spectrum, samples: Array, noise_std: Array, weight_decay: Array
) -> tuple[Float[Array, " m"], Float[Array, ""], Float[Array, " m"]]:
    """Decrease C(p) of the blocks at p = 0, 1, …, that of one memorized sample, and the widths."""
    decreases = _decrease(spectrum.eigenvalues, spectrum.proportions[:, None], noise_std, weight_decay)
    block_gain = jnp.pad(jnp.cumsum(-jnp.sort(-decreases.reshape(-1))), (1, 0))
    sample_gain = _decrease(_total_variance(spectrum), 1 / samples, noise_std, weight_decay)
    return block_gain, sample_gain, jnp.arange(block_gain.size, dtype=block_gain.dtype)


@jax.jit
def _condition(spectrum: Spectrum, samples: Array, width: Array, noise_std: Array, weight_decay: Array) -> Array:
    """min(p, n) δ − C(p)."""
    block_gain, sample_gain, widths = _competitors(spectrum, samples, noise_std, weight_decay)
    return jnp.minimum(width, samples) * sample_gain - jnp.interp(width, widths, block_gain)


@jax.jit
def _boundary(spectrum: Spectrum, samples: Array, noise_std: Array, weight_decay: Array) -> Array:
    """Root of pδ = C(p), between two widths or past the last one."""
    block_gain, sample_gain, widths = _competitors(spectrum, samples, noise_std, weight_decay)
    lead = block_gain - widths * sample_gain
    ahead = jnp.sum((lead >= 0) & (widths > 0))  # concave from zero: ahead on the first widths, behind ever after
    last = lead.size - 1
    here, there = lead[ahead], lead[jnp.minimum(ahead + 1, last)]
    inside = widths[ahead] + here / jnp.where(here > there, here - there, 1)
    beyond = block_gain[last] / jnp.where(sample_gain > 0, sample_gain, 1)
    crossing = jnp.where(ahead == last, beyond, inside)
    return jnp.where((sample_gain > 0) & (crossing <= samples), crossing, jnp.inf)


def _total_variance(spectrum: Spectrum) -> Float[Array, ""]:
    """T = Σ_k ρ_k tr S_k, the mean of ‖x‖²."""
    return spectrum.proportions @ jnp.sum(spectrum.eigenvalues, axis=1)


def _floating(value: Any) -> Any:
    """The floating dtype of a number, the session's default for integers."""
    dtype = jnp.asarray(value).dtype
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


def _above_one(name: str, value: Any) -> None:
    """Refuse a number that is not above one."""
    checks.finite(name, value)
    if not checks.is_traced(value) and value <= 1:
        raise Refusal(f"{name} must be > 1; got {value}")
