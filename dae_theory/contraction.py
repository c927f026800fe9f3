"""The mean of hᵀA h over samples and noise: the one part of the exact risk that costs O(n p²).

    Q(A, m, C, ω) = Σ_i ω_i ⟨A, E h hᵀ⟩,   h = (z)₊,   z ~ N(m_i, C)

One sweep over the pairs gives Q and all its derivatives, since they share every quadrant probability. Pairs are visited
by offset: at offset k neuron j meets neuron j+k (mod p), for k = 1 … ⌊p/2⌋, so that each unordered pair is visited
once, in slabs of shape (p, n) without gathers, and nothing of shape (n, p, p) ever exists.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float

from dae_theory import gaussian
from dae_theory.bivariate import Leaf

# Arrays of the size of one slab that are alive at once in a sweep, by measurement an upper bound.
_SLABS_ALIVE = 24


@struct.dataclass
class _Contraction:
    """Q with ∂Q/∂A = Σ_i ω_i E h hᵀ, ∂Q/∂m and ∂Q/∂C (symmetric, for symmetric changes of C), shaped as A, m and C."""

    value: Leaf
    matrix: Leaf
    mean: Leaf
    covariance: Leaf


def _rows_from(rows: Array, offset: Array, width: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(rows, offset, width, axis=0)


def _sweep(matrix: Array, mean: Array, covariance: Array, share: Array) -> _Contraction:
    """The derivatives of Q for samples that fit in memory at once; `mean` has shape (p, n)."""
    width, count = mean.shape
    z = gaussian.marginal(mean, jnp.diagonal(covariance)[:, None])
    own = gaussian.relu(z)
    offsets = jnp.arange(1, width // 2 + 1)
    row = jnp.broadcast_to(jnp.arange(width)[None, :], (width // 2, width))
    column = (row + offsets[:, None]) % width
    # an even width meets its opposite neurons twice
    visits = jnp.where(2 * offsets == width, 0.5, 1).astype(mean.dtype)[:, None]
    symmetric = matrix + matrix.T
    wrapped = jax.tree.map(lambda rows: jnp.concatenate([rows, rows[: width // 2]]), z)

    def visit(carry, pair):
        value, gated = carry
        offset, c, weight = pair
        other = jax.tree.map(lambda rows: _rows_from(rows, offset, width), wrapped)
        product = gaussian.relu_product(z, other, c[:, None])
        sums = jax.tree.map(
            lambda rows: rows @ share, (product.value, product.both, product.first_spread, product.second_spread)
        )
        gated = gated.at[:width].add(weight[:, None] * product.first_gated)
        met = _rows_from(gated, offset, width) + weight[:, None] * product.second_gated
        gated = jax.lax.dynamic_update_slice_in_dim(gated, met, offset, axis=0)
        return (value + weight @ sums[0], gated), sums

    start = jnp.zeros((), mean.dtype), jnp.zeros((width + width // 2, count), mean.dtype)
    pairs = offsets, covariance[row, column], visits * symmetric[row, column]
    (value, gated), (second, both, spread, other_spread) = jax.lax.scan(visit, start, pairs)
    weight = pairs[2]
    diagonal = jnp.diagonal(matrix)
    own_second, own_gate = own.second @ share, own.gate @ share

    def scatter(diagonal_part: Array, pair_part: Array) -> Array:
        half = jnp.zeros_like(matrix).at[row, column].add(pair_part)
        return half + half.T + jnp.diag(diagonal_part)

    gated = gated[:width].at[: width // 2].add(gated[width:]) + 2 * diagonal[:, None] * own.first
    spreads = jnp.sum(weight * spread, axis=0).at[column].add(weight * other_spread)
    return _Contraction(
        value=value + diagonal @ own_second,
        matrix=scatter(own_second, visits * second),
        mean=gated * share[None, :],
        covariance=scatter(diagonal * own_gate + spreads, 0.5 * weight * both),
    )


def _chunked_sweep(matrix: Array, mean: Array, covariance: Array, share: Array, memory: int) -> _Contraction:
    """`_sweep` over chunks of samples whose slabs fit into `memory` bytes; `mean` has shape (n, p)."""
    count, width = mean.shape
    chunk = max(1, memory // (_SLABS_ALIVE * width * mean.dtype.itemsize))
    if chunk >= count:
        result = _sweep(matrix, mean.T, covariance, share)
        return _Contraction(result.value, result.matrix, result.mean.T, result.covariance)
    chunks = math.ceil(count / chunk)
    chunk = math.ceil(count / chunks)
    # samples that only fill up the last chunk have no share
    missing = chunks * chunk - count
    means = jnp.pad(mean, ((0, missing), (0, 0))).reshape(chunks, chunk, width)
    shares = jnp.pad(share, (0, missing)).reshape(chunks, chunk)

    def step(total: tuple[Array, Array, Array], part: tuple[Array, Array]):
        result = _sweep(matrix, part[0].T, covariance, part[1])
        sums = result.value, result.matrix, result.covariance
        return jax.tree.map(jnp.add, total, sums), result.mean.T

    zero = jnp.zeros((), mean.dtype), jnp.zeros_like(matrix), jnp.zeros_like(covariance)
    (value, second, covariances), rows = jax.lax.scan(step, zero, (means, shares))
    return _Contraction(value, second, rows.reshape(-1, width)[:count], covariances)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4,))
def _opaque_sweep(matrix: Array, mean: Array, covariance: Array, share: Array, memory: int) -> _Contraction:
    """`_chunked_sweep`, kept whole when a gradient is taken.

    JAX cuts a scan into a known and a linear part when it prepares a reverse pass, and forgets custom derivative rules
    in the known part: a second derivative would then differentiate the formulas behind `gaussian`, which have none at
    parallel and opposite columns. What is known to a function with a rule of its own is left alone.
    """
    return _chunked_sweep(matrix, mean, covariance, share, memory)


@_opaque_sweep.defjvp
def _opaque_sweep_jvp(memory, primals, tangents):
    return jax.jvp(functools.partial(_chunked_sweep, memory=memory), primals, tangents)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4,))
def contraction(
    matrix: Float[Array, "p p"],
    mean: Float[Array, "n p"],
    covariance: Float[Array, "p p"],
    share: Float[Array, " n"],
    memory: int,
) -> Float[Array, ""]:
    """Q(A, m, C, ω), exact; its gradient costs no more than its value, and higher derivatives exist.

    Args:
        matrix: A, shape (p, p).
        mean: m_i as rows, shape (n, p).
        covariance: C, shape (p, p), symmetric positive semidefinite; only symmetric changes of it are differentiated.
        share: ω, shape (n,); treated as constant.
        memory: bytes the sweep may hold at once; samples are taken in chunks that fit.
    """
    return _opaque_sweep(matrix, mean, covariance, share, memory).value


@contraction.defjvp
def _contraction_jvp(memory, primals, tangents):
    matrix, mean, covariance, share = primals
    result = _opaque_sweep(matrix, mean, covariance, share, memory)
    parts = zip((result.matrix, result.mean, result.covariance), tangents[:3], strict=True)
    return result.value, sum(jnp.vdot(slope, change) for slope, change in parts)
