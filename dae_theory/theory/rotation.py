"""The rotation O_k of a block, chosen for the margin.

Thm 3.1, eq. (8), leaves O_k open, but the formula is stationary only where every neuron of block k is active on cluster
k and silent on all others. With W_k = U D Oᵀ (D the square roots of the gains) the pre-activation of neuron j on a
sample x is b(x)ᵀ o_j, b = D Uᵀ x, where o_j is row j of O: turning O turns the neurons inside the block and leaves
W_kW_kᵀ, hence the denoiser, alone.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float

LEARNING_RATE = 0.02
SOFTEST, SHARPEST = 0.03, 0.003  # temperatures of the smooth minimum, in units of the largest margin at the start


@struct.dataclass
class Gates:
    """What the rotation of one block has to get right: g groups of q points each, in the block's coordinates.

    Attributes:
        points: b_gi, the scaled coordinates D Uᵀ x of points, shape (g, q, p).
        signs: s_gi, +1 where the neurons must be active and −1 where they must be silent, shape (g, q).
        covariances: C_g, covariance of b under the spread that the margin is measured in, shape (g, p, p).
    """

    points: Float[Array, "g q p"]
    signs: Float[Array, "g q"]
    covariances: Float[Array, "g p p"]


def gate_margins(neurons: Float[Array, "p p"], gates: Gates) -> Float[Array, "g q p"]:
    """Margins s_gi b_giᵀo_j / √(o_jᵀC_g o_j) of neurons given as columns o_j.

    With C = σ²D² this is the pre-activation in units of σ‖w_j‖, [X1].
    """
    variances = jnp.einsum("pj,gpr,rj->gj", neurons, gates.covariances, neurons)
    return gates.signs[:, :, None] * (gates.points @ neurons) / jnp.sqrt(variances)[:, None, :]


def householder(mean: Float[Array, " p"]) -> Float[Array, "p p"]:
    """The reflection, times −1, that sends the direction b̂ of a block's mean onto e = (1, …, 1)/√p.

    O = 2vvᵀ/vᵀv − I with v = b̂ + e, so O b̂ = e and every neuron sees the mean equally. The coordinates of the mean are
    ≥ 0 (see `Spectrum`), hence ‖v‖² ≥ 2 and nothing cancels. A zero mean gives no direction to share: O fixes e.
    """
    size = mean.shape[0]
    ones = jnp.full((size,), size**-0.5, mean.dtype)
    length = jnp.linalg.norm(mean)
    direction = jnp.where(length > 0, mean / jnp.where(length > 0, length, 1), ones)
    v = direction + ones
    return 2 * jnp.outer(v, v) / (v @ v) - jnp.eye(size, dtype=mean.dtype)


@partial(jax.jit, static_argnames="steps")
def margin_rotation(mean: Float[Array, " p"], gates: Gates, steps: int) -> Float[Array, "p p"]:
    """Neurons o_j (columns) of one block, from the Householder reflection to the widest worst margin found.

    Two ascents of a smooth minimum of all margins, sharpened as they go: the first over the rotations that keep every
    neuron's view of the mean equal, the second over all rotations, which gives up that equality where it buys margin.
    Deterministic. The best point of the path by the true minimum is returned, so the result is never worse than the
    reflection; it is a local optimum, and the worst margin is what `gates.margins` reports.

    Args:
        mean: coordinates D Uᵀ x̄ of the block's mean, all ≥ 0, shape (p,).
        gates: points to get right.
        steps: gradient steps of each ascent; 0 keeps the reflection.
    """
    size = mean.shape[0]
    start = householder(mean)
    if size == 1 or steps == 0:
        return start
    everything = jnp.ones((size, size), mean.dtype)
    equal_view = everything.at[0].set(0).at[:, 0].set(0)
    frame = householder(jnp.zeros_like(mean).at[0].set(1))  # an orthogonal matrix whose first column is e

    def stage(neurons, free):
        return _ascend(neurons, frame, free, gates, steps), None

    return jax.lax.scan(stage, start, jnp.stack([equal_view, everything]))[0]


def _ascend(
    start: Float[Array, "p p"], frame: Float[Array, "p p"], free: Float[Array, "p p"], gates: Gates, steps: int
) -> Float[Array, "p p"]:
    """Best of `steps` Adam steps, each a rotation Q(A) = (I − A)⁻¹(I + A) with A skew, and zero where `free` is zero.

    `frame` holds the axes that `free` speaks of. Gradient and step are those at A = 0, at the neurons reached so far.
    """
    identity = jnp.eye(start.shape[0], dtype=start.dtype)
    scale = jnp.max(jnp.abs(gate_margins(start, gates)))
    optimizer = optax.adam(LEARNING_RATE)

    def skew(generator):
        return frame @ (free * (generator - generator.T) / 2) @ frame.T

    def negative_smooth_minimum(generator, neurons, temperature):
        margins = gate_margins(neurons + 2 * neurons @ skew(generator), gates)  # Q(A) = I + 2A to first order
        return temperature * jax.nn.logsumexp(-margins / temperature)

    def step(carry, temperature):
        neurons, state, best, best_neurons = carry
        gradient = jax.grad(negative_smooth_minimum)(jnp.zeros_like(neurons), neurons, temperature * scale)
        with jax.numpy_dtype_promotion("standard"):  # adam mixes its integer step count with floats
            update, state = optimizer.update(gradient, state)
        turn = skew(update)
        neurons = neurons @ jnp.linalg.solve(identity - turn, identity + turn)
        worst = jnp.min(gate_margins(neurons, gates))
        best_neurons = jnp.where(worst > best, neurons, best_neurons)
        return (neurons, state, jnp.maximum(best, worst), best_neurons), None

    temperatures = jnp.geomspace(SOFTEST, SHARPEST, steps, dtype=start.dtype)
    carry = (start, optimizer.init(start), jnp.min(gate_margins(start, gates)), start)
    return jax.lax.scan(step, carry, temperatures)[0][3]
