"""Columns modulo scale, splits and permutations: balance, merge parallel neurons, match to a reference.

The function does not change when neurons are permuted, when (w₁, w₂) becomes (c w₁, w₂/c) with c > 0, or when a neuron
is split into parallel ones.
"""

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.model import Weights

# size ‖w₁‖‖w₂‖, over that of the largest neuron, up to which a neuron does not count: f is the sum of its neurons, each
# at most its size times ‖y‖, so one that is left out moves f by less than a thousandth of what the largest one can say
NEGLIGIBLE = 1e-3


@struct.dataclass
class Merged:
    """Weights without parallel copies: largest neuron first, zero columns behind, the width unchanged.

    Attributes:
        weights: The merged, balanced weights, (d, p).
        sizes: s_j = ‖w₁_j‖‖w₂_j‖ of every merged neuron, (p,), decreasing; 0 for the columns left over.
        members: How many of the given neurons each merged neuron stands for, (p,).
        group: The merged neuron to which every given neuron went, (p,); −1 for a dead one.
        live: The number of merged neurons with s_j above `negligible` · max s, a scalar.
    """

    weights: Weights
    sizes: Float[Array, "*members p"]
    members: Int[Array, "*members p"]
    group: Int[Array, "*members p"]
    live: Int[Array, "*members"]


@struct.dataclass
class Match:
    """Best pairing of learned neurons with reference neurons (P of them). Neurons are balanced pairs (w₁; w₂).

    A reference neuron that found no partner is compared with zero: cosine 0, relative error 1, norm ratio 0. For a zero
    column of the reference there is nothing to find: its entries are NaN.

    Attributes:
        assignment: The learned neuron of every reference neuron, (P,); −1 where there is none.
        matched: Whether the reference neuron is not zero and has a partner, (P,).
        cosine: Cosine between the pairs, which is the mean of the encoder's and the decoder's cosine, (P,).
        relative_error: ‖learned − reference‖/‖reference‖ of every pair, (P,).
        norm_ratio: ‖learned‖/‖reference‖ of every pair, (P,).
        distance: Distance of the whole networks modulo permutation, surplus neurons included, over ‖reference‖: scalar.
        surplus: Share of Σ‖learned‖² in neurons without a partner, scalar; NaN when the learned weights are all zero.
    """

    assignment: Int[Array, "*members P"]
    matched: Bool[Array, "*members P"]
    cosine: Float[Array, "*members P"]
    relative_error: Float[Array, "*members P"]
    norm_ratio: Float[Array, "*members P"]
    distance: Float[Array, "*members"]
    surplus: Float[Array, "*members"]


def _root(square: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """√ with derivative 0 at 0, so that dead columns do not make gradients NaN."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def _lengths(columns: Float[Array, "d p"]) -> Float[Array, " p"]:
    return _root(jnp.sum(columns**2, axis=0))


def ratio(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
    """Quotient that is 0 where the denominator is 0 (for directions of zero columns)."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)


@jax.jit
def balance(weights: Weights) -> Weights:
    """The same function with ‖w₁_j‖ = ‖w₂_j‖: (w₁, w₂) → (c w₁, w₂/c), c² = ‖w₂‖/‖w₁‖.

    Stationary points of (6) with λ > 0 are balanced already. A neuron with one zero column contributes nothing to f,
    and both its columns become zero.
    """
    encoder, decoder = _lengths(weights.encoder), _lengths(weights.decoder)
    length = _root(encoder * decoder)
    return Weights(
        decoder=weights.decoder * ratio(length, decoder)[None, :],
        encoder=weights.encoder * ratio(length, encoder)[None, :],
    )


@jax.jit
def asymmetry(weights: Weights) -> Float[Array, ""]:
    """‖W₁ − W₂‖_F / ‖W₁‖_F after balancing: 0 for tied weights, √2 for orthogonal ones, 2 for opposite ones.

    Balance fixes lengths, not directions, so training without tying does not give 0 in general. NaN when no neuron is
    alive.
    """
    balanced = balance(weights)
    return jnp.linalg.norm(balanced.encoder - balanced.decoder) / jnp.linalg.norm(balanced.encoder)


@jax.jit
def alive(weights: Weights) -> Bool[Array, " p"]:
    """Which neurons count: ‖w₁_j‖‖w₂_j‖ > `NEGLIGIBLE` · max_j ‖w₁_j‖‖w₂_j‖, shape (p,).

    >>> import jax.numpy as jnp
    >>> from dae_theory import model, symmetry
    >>> columns = jnp.array([[2.0, 1e-6, 0.0]])
    >>> print(symmetry.alive(model.Weights(columns, columns)))
    [ True False False]
    """
    sizes = _lengths(weights.encoder) * _lengths(weights.decoder)
    return sizes > NEGLIGIBLE * jnp.max(sizes)


def merge_parallel(weights: Weights, cosine: float = 0.99, *, negligible: float = NEGLIGIBLE) -> Merged:
    """Merge the parallel copies of every neuron; columns c₁ŵ, c₂ŵ, … act as one of length √(Σ c²) (balanced).

    With s_j = ‖w₁_j‖‖w₂_j‖ and unit directions û_j, v̂_j of encoder and decoder, the largest neuron left leads, and
    takes with it all that have cosine ≥ c to it in both directions. The group with S = Σ s_j becomes

        V = v̄ S ūᵀ,   ū = Σ s_j û_j / S,   v̄ = Σ s_j v̂_j / S,

    and Σ s_j v̂_j û_jᵀ − V = Σ s_j (v̂_j − v̄)(û_j − ū)ᵀ exactly. Hence parallel neurons are merged without error, and
    otherwise a group errs by at most 2(1 − c) S ‖y‖ at an input y to which its gates agree, and by at most
    2 √(2(1 − c)) S ‖y‖ at any input.

    Args:
        weights: Weights of one network, (d, p).
        cosine: c in (0, 1].
        negligible: Neurons with s_j ≤ negligible · max s are kept, but not counted in `live`; see
            `NEGLIGIBLE`.

    Raises:
        ValueError: `cosine` is outside (0, 1], or `negligible` outside [0, 1).

    >>> import jax.numpy as jnp
    >>> from dae_theory import model, symmetry
    >>> columns = jnp.array([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    >>> merged = symmetry.merge_parallel(model.Weights(columns, columns))
    >>> print(merged.weights.encoder, merged.live)
    [[5. 0. 0.]
     [0. 1. 0.]] 2
    """
    if not checks.is_traced(cosine) and not 0 < cosine <= 1:
        raise Refusal(f"cosine must be in (0, 1]; got {cosine}")
    if not checks.is_traced(negligible) and not 0 <= negligible < 1:
        raise Refusal(f"negligible must be in [0, 1); got {negligible}")
    return _merge_parallel(weights, cosine, negligible)


@jax.jit
def _merge_parallel(weights: Weights, cosine: ArrayLike, negligible: ArrayLike) -> Merged:
    encoder, decoder = _lengths(weights.encoder), _lengths(weights.decoder)
    order = jnp.argsort(-encoder * decoder)
    size = (encoder * decoder)[order]
    u = ratio(weights.encoder, encoder[None, :])[:, order]
    v = ratio(weights.decoder, decoder[None, :])[:, order]
    alive = size > 0
    # The rounding of a cosine must not keep exactly parallel columns apart when c = 1, nor a column from itself.
    slack = 8 * jnp.finfo(u.dtype).eps
    near = (jnp.minimum(u.T @ u, v.T @ v) >= cosine - slack) | jnp.eye(size.shape[0], dtype=bool)
    near = near & alive[:, None] & alive[None, :]

    def lead(taken: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        index, close = row
        follows = close & ~taken & ~taken[index]
        return taken | follows, follows

    _, follows = lax.scan(lead, ~alive, (jnp.arange(size.shape[0]), near))
    share = jnp.where(follows, size[None, :], 0)
    total = jnp.sum(share, axis=1)
    mean_u, mean_v = ratio(share @ u.T, total[:, None]).T, ratio(share @ v.T, total[:, None]).T
    merged = balance(Weights(decoder=mean_v * total[None, :], encoder=mean_u))
    sizes = _lengths(merged.encoder) * _lengths(merged.decoder)
    final = jnp.argsort(-sizes)
    sizes, follows = sizes[final], follows[final]
    group = jnp.where(jnp.any(follows, axis=0), jnp.argmax(follows, axis=0), -1)
    return Merged(
        weights=jax.tree.map(lambda columns: columns[:, final], merged),
        sizes=sizes,
        members=jnp.sum(follows, axis=1),
        group=jnp.zeros_like(group).at[order].set(group),
        live=jnp.sum(sizes > negligible * sizes[0]),
    )


def _pairs(weights: Weights) -> Float[Array, "e p"]:
    balanced = balance(weights)
    return jnp.concatenate([balanced.decoder, balanced.encoder], axis=0)


def match(learned: Weights, reference: Weights) -> Match:
    """Pair learned neurons with reference neurons so that the networks are as close as permutations allow.

    With neurons as balanced pairs a_i (learned) and b_j (reference), the pairing maximises Σ ⟨a_π(j), b_j⟩₊, which
    minimises Σ_j ‖a_π(j) − b_j‖² + Σ_rest ‖a_i‖² when neurons may stay alone. Widths may differ. Not differentiated
    through the pairing itself.

    Raises:
        ValueError: `reference` has another dimension than `learned`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import model, symmetry
    >>> reference = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> columns = jnp.array([[0.0, 1.1], [1.0, 0.0]])
    >>> found = symmetry.match(model.Weights(columns, columns), reference)
    >>> print(found.assignment, found.cosine, found.norm_ratio)
    [1 0] [1. 1.] [1.1 1. ]
    """
    if learned.dimension != reference.dimension:
        raise Refusal(f"reference must have dimension {learned.dimension}; got {reference.dimension}")
    return _match(learned, reference)


@jax.jit
def _match(learned: Weights, reference: Weights) -> Match:
    a, b = _pairs(learned), _pairs(reference)
    gain = jnp.maximum(b.T @ a, 0)
    # optax keeps its potentials in the default float, so that strict promotion needs the costs there too.
    cost = -lax.stop_gradient(gain).astype(jnp.result_type(float))
    rows, columns = optax.assignment.hungarian_algorithm(cost)
    partner = jnp.full(b.shape[1], -1, dtype=columns.dtype).at[rows].set(columns)
    matched = (partner >= 0) & (jnp.take_along_axis(gain, jnp.maximum(partner, 0)[:, None], axis=1)[:, 0] > 0)
    partner = jnp.where(matched, partner, -1)
    found = jnp.where(matched[None, :], a[:, jnp.maximum(partner, 0)], 0)

    found_length, length, learned_length = _lengths(found), _lengths(b), _lengths(a)
    exists = length > 0
    error = _lengths(found - b)
    used = jnp.any(partner[:, None] == jnp.arange(a.shape[1], dtype=partner.dtype)[None, :], axis=0)
    alone = jnp.sum(jnp.where(used, 0, learned_length**2))
    return Match(
        assignment=partner,
        matched=matched,
        cosine=jnp.where(exists, ratio(jnp.sum(found * b, axis=0), found_length * length), jnp.nan),
        relative_error=jnp.where(exists, error / length, jnp.nan),
        norm_ratio=jnp.where(exists, found_length / length, jnp.nan),
        distance=_root(jnp.sum(error**2) + alone) / jnp.linalg.norm(b),
        surplus=alone / jnp.sum(learned_length**2),
    )
