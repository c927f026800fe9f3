"""Blocks modulo rotations: where the gates of a block stay open, W₁ → W₁O, W₂ → W₂O changes nothing.

`block_error` and `principal_angles` need no rotation; `procrustes` finds the best one.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.model import Weights, pad_width, represent
from dae_theory.symmetry.columns import ratio


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


@partial(jax.jit, static_argnames="blocks")
def activation_energy(
    weights: Weights, x: Float[Array, "n d"], labels: Int[Array, " n"], blocks: int
) -> Float[Array, "K p"]:
    """Mean of h_j(x)² over the samples of each cluster, (K, p). A label outside 0…K−1 leaves its sample out."""
    member = jax.nn.one_hot(labels, blocks, dtype=x.dtype)
    return ratio(member.T @ represent(weights, x) ** 2, jnp.sum(member, axis=0)[:, None])


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

    >>> import jax.numpy as jnp
    >>> from dae_theory import symmetry, theory
    >>> x = jnp.array([[2.0, 0.5], [2.0, -0.5], [-2.0, 0.5], [-2.0, -0.5]])
    >>> labels = jnp.array([0, 0, 1, 1])
    >>> a, b = (theory.block_weights(x, labels, (1, 1), noise_std=s, weight_decay=0.1) for s in (0.2, 0.4))
    >>> print(symmetry.block_error(a, b, x, labels, blocks=2).error.round(4))
    [0.0297 0.0297]
    """
    x, blocks = checks.samples("x", x), checks.integer("blocks", blocks, 1)
    checks.shape("x", x, (x.shape[0], learned.dimension))
    checks.shape("labels", labels, (x.shape[0],))
    if learned.dimension != reference.dimension:
        raise Refusal(f"reference must have dimension {learned.dimension}; got {reference.dimension}")
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

    >>> import math
    >>> import jax.numpy as jnp
    >>> from dae_theory import symmetry
    >>> plane, line = jnp.eye(3)[:, :2], jnp.array([[1.0], [0.0], [1.0]])
    >>> print(symmetry.principal_angles(plane, line).round(4), round(math.pi / 4, 4))
    [0.7854] 0.7854
    """
    first, second = checks.array("first", first, 2), checks.array("second", second, 2)
    if first.shape[0] != second.shape[0]:
        raise Refusal(f"second must have {first.shape[0]} rows; got shape {second.shape}")
    for name, columns in (("first", first), ("second", second)):
        if not checks.is_traced(columns) and np.linalg.matrix_rank(np.asarray(columns)) < columns.shape[1]:
            raise Refusal(f"{name} must have independent columns; got shape {columns.shape} of lower rank")
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

    >>> import jax.numpy as jnp
    >>> from dae_theory import model, symmetry
    >>> turn = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    >>> found = symmetry.procrustes(model.Weights(turn, turn), model.Weights(jnp.eye(2), jnp.eye(2)))
    >>> print(found.rotation.round(3), found.relative_error < 1e-6)
    [[ 0.6  0.8]
     [-0.8  0.6]] True
    """
    if learned.dimension != reference.dimension:
        raise Refusal(f"reference must have dimension {learned.dimension}; got {reference.dimension}")
    width = max(learned.width, reference.width)
    learned, reference = pad_width(learned, width), pad_width(reference, width)
    a = jnp.concatenate([learned.decoder, learned.encoder], axis=0)
    b = jnp.concatenate([reference.decoder, reference.encoder], axis=0)
    left, _, right = jnp.linalg.svd(a.T @ b)
    rotation = left @ right
    return Rotation(rotation=rotation, relative_error=jnp.linalg.norm(a @ rotation - b) / jnp.linalg.norm(b))
