"""Second derivatives of the exact objective, and how many of its directions the model's symmetries make flat.

A minimizer of (6) is never isolated. Neurons that answer the same inputs, because they are parallel or because all
their gates are sure, may be mixed by any rotation O (W₁ → W₁O, W₂ → W₂O). For a block of p_k neurons whose stacked
columns have rank r the orbit has

    p_k(p_k−1)/2 − (p_k−r)(p_k−r−1)/2    dimensions,

for full rank the p_k(p_k−1)/2 rotations of theory. Without weight decay all weights with the same function do, and
with r₁, r₂ the ranks of W₁ and W₂ they have

    2dp_k − d(r₁ + r₂) + r₁r₂    dimensions where all gates are sure: the weights with the same W₂W₁ᵀ,
    p_k + dp_k − d               where neurons are parallel, W₁ = ucᵀ: the weights with the same W₂c,
    2dp_k                        where no gate ever opens.

Not counted: pairs of opposite columns, W₁ = (U, −U) and W₂ = (V, −V), which make a linear map and may be rotated
together whatever their gates do.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from dae_theory import gaussian
from dae_theory.certify.objective import Objective
from dae_theory.model import Weights

PARALLEL = 1e-12  # 1 − cosine up to which two columns count as parallel
SURE = 1e-7  # probability of a wrong gate up to which it counts as sure
RANK = 1e-9  # eigenvalue of a Gram matrix, over the largest, above which it counts
GROUP = 16  # Hessian columns made at once, at most


def hessian(loss: Callable[[Weights], Array], weights: Weights) -> Float[Array, "m m"]:
    """∂²L of a loss of the weights as a dense symmetric matrix, m = 2dp, in the order of `ravel_pytree`.

    Forward over reverse, `GROUP` columns at once. At parallel and opposite columns the objective has two derivatives,
    not three; 1 − ρ² is known to rounding only there, and its root enters: right to about 1e-8, elsewhere to rounding.
    """
    flat, rebuild = ravel_pytree(weights)
    gradient = jax.grad(lambda values: loss(rebuild(values)))

    def column(unit: Array) -> Array:
        return jax.jvp(gradient, (flat,), (unit,))[1]

    # groups of one size, the last filled up: a remainder would be compiled as a second program
    groups = math.ceil(flat.size / GROUP)
    units = jnp.eye(groups * math.ceil(flat.size / groups), flat.size, dtype=flat.dtype)
    rows = jax.lax.map(jax.vmap(column), units.reshape(groups, -1, flat.size)).reshape(-1, flat.size)[: flat.size]
    return 0.5 * (rows + rows.T)


def predicted_flat_directions(weights: Weights, objective: Objective) -> Array:
    """The number of flat directions that the symmetries above account for; zero columns have no part in it.

    Blocks are read from the weights: neurons are of one block if they are parallel, or if every gate of both is sure on
    every sample and open on the same ones.
    """
    x, noise_std, p = objective.x, objective.noise_std, weights.width
    lengths = jnp.linalg.norm(weights.encoder, axis=0)
    alive = lengths > 0
    unit = weights.encoder / jnp.where(alive, lengths, 1)[None, :]
    fires = gaussian.relu(gaussian.marginal(x @ unit, jnp.broadcast_to(noise_std**2, (1, 1)))).gate
    counts = (objective.share > 0)[:, None]
    sure = jnp.all(~counts | (fires < SURE) | (fires > 1 - SURE), axis=0)
    opened = (counts & (fires > 0.5)).astype(x.dtype)
    differs = opened.T @ (1 - opened)
    shared = sure[:, None] & sure[None, :] & (differs + differs.T < 0.5) & jnp.any(opened > 0, axis=0)[None, :]
    parallel = unit.T @ unit > 1 - PARALLEL
    block = (alive[:, None] & alive[None, :] & (shared | parallel)) | (jnp.eye(p, dtype=bool) & alive[:, None])

    dimension = weights.dimension
    closed = ~jnp.any(opened > 0, axis=0)
    encoder_gram, decoder_gram = weights.encoder.T @ weights.encoder, weights.decoder.T @ weights.decoder

    def rank(gram: Array, members: Array) -> Array:
        values = jnp.linalg.eigvalsh(jnp.where(members[:, None] & members[None, :], gram, 0))
        return jnp.sum((values > RANK * jnp.maximum(values[-1], 1e-30)).astype(jnp.int32))

    def orbit(block: tuple[Array, Array, Array]) -> Array:
        members, sure, closed = block
        size = jnp.sum(members.astype(jnp.int32))
        first, second, both = (
            rank(gram, members) for gram in (encoder_gram, decoder_gram, encoder_gram + decoder_gram)
        )
        missing = size - both
        rotations = (size * (size - 1) - missing * (missing - 1)) // 2
        same_map = 2 * dimension * size - dimension * (first + second) + first * second
        same_neuron = size + dimension * size - dimension
        without_decay = jnp.where(sure, jnp.where(closed, 2 * dimension * size, same_map), same_neuron)
        return jnp.where(objective.weight_decay > 0, rotations, without_decay)

    # every member of a block counts it once
    size = jnp.maximum(jnp.sum(block.astype(jnp.int32), axis=1), 1)
    dimensions = jax.lax.map(orbit, (block, sure, closed))
    share_of_block = jnp.where(alive, dimensions.astype(x.dtype) / size.astype(x.dtype), 0)
    return jnp.round(jnp.sum(share_of_block)).astype(jnp.int32)
