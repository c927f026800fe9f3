"""Comparing weights modulo the symmetries of the model f(y) = W₂ [W₁ᵀ y]₊, eq. (5) of arXiv 2512.20963.

The function does not change when neurons are permuted, when (w₁, w₂) becomes (c w₁, w₂/c) with c > 0, or when a neuron
is split into parallel ones; where the gates of a block stay open it does not change under rotations inside the block.
So: `balance`, `merge_parallel`, then `match` for columns; `block_error` and `principal_angles` need no rotation, and
`procrustes` finds the best one. Every function works under jit and vmap.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from dae_theory import checks
from dae_theory.model import Weights, pad_width, represent

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


@struct.dataclass
class BlockMatch:
    """Rotation-free comparison of blocks: V_k = Σ_{j in block k} w₂_j w₁_jᵀ, learned against reference.

    Attributes:
        error: ‖V_k − V_k,reference‖_F / ‖V_k,reference‖_F, (K,); NaN where the reference has no such block.
        block_of_neuron: The cluster on which each learned neuron is most active, (p,); −1 if silent on all of them.
        neurons: How many learned neurons each block has, (K,).
        leakage: Share of a block's activation energy spent on other clusters, (K,); NaN for a block without neurons.
    """

    error: Float[Array, "*members K"]
    block_of_neuron: Int[Array, "*members p"]
    neurons: Int[Array, "*members K"]
    leakage: Float[Array, "*members K"]


@struct.dataclass
class Rotation:
    """Solution of the orthogonal Procrustes problem.

    Attributes:
        rotation: O, orthogonal, (p, p): min ‖learned O − reference‖_F over the stacked (W₂; W₁).
        relative_error: ‖learned O − reference‖_F / ‖reference‖_F, scalar.
    """

    rotation: Float[Array, "*members p p"]
    relative_error: Float[Array, "*members"]


def _root(square: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """√ with derivative 0 at 0, so that dead columns do not make gradients NaN."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def _lengths(columns: Float[Array, "d p"]) -> Float[Array, " p"]:
    return _root(jnp.sum(columns**2, axis=0))


def _ratio(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
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
        decoder=weights.decoder * _ratio(length, decoder)[None, :],
        encoder=weights.encoder * _ratio(length, encoder)[None, :],
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
    """Which neurons count: ‖w₁_j‖‖w₂_j‖ > `NEGLIGIBLE` · max_j ‖w₁_j‖‖w₂_j‖, shape (p,)."""
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
    """
    if not checks.is_traced(cosine) and not 0 < cosine <= 1:
        raise ValueError(f"cosine must be in (0, 1]; got {cosine}")
    if not checks.is_traced(negligible) and not 0 <= negligible < 1:
        raise ValueError(f"negligible must be in [0, 1); got {negligible}")
    return _merge_parallel(weights, cosine, negligible)


@jax.jit
def _merge_parallel(weights: Weights, cosine: ArrayLike, negligible: ArrayLike) -> Merged:
    encoder, decoder = _lengths(weights.encoder), _lengths(weights.decoder)
    order = jnp.argsort(-encoder * decoder)
    size = (encoder * decoder)[order]
    u = _ratio(weights.encoder, encoder[None, :])[:, order]
    v = _ratio(weights.decoder, decoder[None, :])[:, order]
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
    mean_u, mean_v = _ratio(share @ u.T, total[:, None]).T, _ratio(share @ v.T, total[:, None]).T
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
    """
    if learned.dimension != reference.dimension:
        raise ValueError(f"reference must have dimension {learned.dimension}; got {reference.dimension}")
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
        cosine=jnp.where(exists, _ratio(jnp.sum(found * b, axis=0), found_length * length), jnp.nan),
        relative_error=jnp.where(exists, error / length, jnp.nan),
        norm_ratio=jnp.where(exists, found_length / length, jnp.nan),
        distance=_root(jnp.sum(error**2) + alone) / jnp.linalg.norm(b),
        surplus=alone / jnp.sum(learned_length**2),
    )


@partial(jax.jit, static_argnames="blocks")
def activation_energy(
    weights: Weights, x: Float[Array, "n d"], labels: Int[Array, " n"], blocks: int
) -> Float[Array, "K p"]:
    """Mean of h_j(x)² over the samples of each cluster, (K, p). A label outside 0…K−1 leaves its sample out."""
    member = jax.nn.one_hot(labels, blocks, dtype=x.dtype)
    return _ratio(member.T @ represent(weights, x) ** 2, jnp.sum(member, axis=0)[:, None])


def block_error(learned: Weights, reference: Weights, x: ArrayLike, labels: ArrayLike, *, blocks: int) -> BlockMatch:
    """Compare each block's linear map V_k = W₂_k W₁_kᵀ, which no rotation inside the block and no splitting changes.

    Neurons, learned and reference alike, belong to the cluster on which their mean activation energy is largest. A
    neuron active on several clusters shows up as leakage. Widths may differ.

    Args:
        learned: Weights (d, p).
        reference: Weights (d, P), such as those of Thm 3.1 or Cor. 3.3.
        x: Samples of the clusters, (n, d).
        labels: Cluster of each sample, (n,); a label outside 0…K−1 leaves the sample out.
        blocks: K, the number of clusters.

    Raises:
        ValueError: `reference`, `x` or `labels` does not fit, or `blocks` is not a positive integer.
    """
    x, blocks = checks.samples("x", x), checks.integer("blocks", blocks, 1)
    checks.shape("x", x, (x.shape[0], learned.dimension))
    checks.shape("labels", labels, (x.shape[0],))
    if learned.dimension != reference.dimension:
        raise ValueError(f"reference must have dimension {learned.dimension}; got {reference.dimension}")
    return _block_error(learned, reference, x, jnp.asarray(labels), blocks)


@partial(jax.jit, static_argnames="blocks")
def _block_error(learned: Weights, reference: Weights, x: Array, labels: Array, blocks: int) -> BlockMatch:
    def attribute(weights: Weights) -> tuple[Array, Array, Array]:
        energy = activation_energy(weights, x, labels, blocks) * jnp.sum(weights.decoder**2, axis=0)[None]
        block = jnp.where(jnp.max(energy, axis=0) > 0, jnp.argmax(energy, axis=0), -1)
        inside = jax.nn.one_hot(block, blocks, dtype=x.dtype).T
        return energy, block, inside

    def maps(weights: Weights, inside: Array) -> Array:
        return jnp.einsum("dp,kp,ep->kde", weights.decoder, inside, weights.encoder, precision=lax.Precision.HIGHEST)

    energy, block, inside = attribute(learned)
    _, _, reference_inside = attribute(reference)
    target = maps(reference, reference_inside)
    norm = jnp.linalg.norm(target, axis=(1, 2))
    error = jnp.linalg.norm(maps(learned, inside) - target, axis=(1, 2))
    spent, kept = inside @ jnp.sum(energy, axis=0), jnp.sum(inside * energy, axis=1)
    return BlockMatch(
        error=jnp.where(norm > 0, error / norm, jnp.nan),
        block_of_neuron=block,
        neurons=jnp.sum(inside > 0, axis=1),
        leakage=jnp.where(spent > 0, 1 - kept / spent, jnp.nan),
    )


def principal_angles(first: ArrayLike, second: ArrayLike) -> Float[Array, " q"]:
    """Principal angles θ₁ ≤ θ₂ ≤ … between the column spaces, min(r, s) of them, in radians.

    With orthonormal bases Q₁, Q₂: cos θ from the singular values of Q₁ᵀQ₂ and sin θ from those of Q₂ − Q₁Q₁ᵀQ₂, so that
    small angles are as accurate as large ones.

    Raises:
        ValueError: The columns of `first` or `second` are dependent, or the two live in different dimensions.
    """
    first, second = checks.array("first", first, 2), checks.array("second", second, 2)
    if first.shape[0] != second.shape[0]:
        raise ValueError(f"second must have {first.shape[0]} rows; got shape {second.shape}")
    for name, columns in (("first", first), ("second", second)):
        if not checks.is_traced(columns) and np.linalg.matrix_rank(np.asarray(columns)) < columns.shape[1]:
            raise ValueError(f"{name} must have independent columns; got shape {columns.shape} of lower rank")
    if first.shape[1] < second.shape[1]:
        first, second = second, first
    return _principal_angles(first, second)


@jax.jit
def _principal_angles(first: Array, second: Array) -> Array:
    basis, other = jnp.linalg.qr(first)[0], jnp.linalg.qr(second)[0]
    overlap = basis.T @ other
    cosine = jnp.linalg.svd(overlap, compute_uv=False)
    sine = jnp.linalg.svd(other - basis @ overlap, compute_uv=False)[::-1]
    return jnp.arctan2(sine, cosine)


def procrustes(learned: Weights, reference: Weights) -> Rotation:
    """The rotation of the neurons, O = UVᵀ from AᵀB = USVᵀ, that brings A = (W₂; W₁) of `learned` closest to B.

    It is a symmetry of f only inside one block with open gates: give it the columns of one block. Weights are compared
    as they are; balance them first. A narrower network is padded with zero columns.

    Raises:
        ValueError: `reference` has another dimension than `learned`.
    """
    if learned.dimension != reference.dimension:
        raise ValueError(f"reference must have dimension {learned.dimension}; got {reference.dimension}")
    width = max(learned.width, reference.width)
    learned, reference = pad_width(learned, width), pad_width(reference, width)
    a = jnp.concatenate([learned.decoder, learned.encoder], axis=0)
    b = jnp.concatenate([reference.decoder, reference.encoder], axis=0)
    left, _, right = jnp.linalg.svd(a.T @ b)
    rotation = left @ right
    return Rotation(rotation=rotation, relative_error=jnp.linalg.norm(a @ rotation - b) / jnp.linalg.norm(b))
