"""Would a new neuron grow? The pull on it in closed form, and a search for the direction that is pulled most.

A new pair ε(u, v), ‖u‖ = ‖v‖ = 1, changes the objective (6) by 2ε²(λ − ⟨g(u), v⟩) + O(ε⁴), with the pull

    g(u) = (1/n) Σ_i E[(x_i − f(y_i)) (uᵀy_i)₊] = (1/n) Σ_i [x_i E h_u − W₂ E(h h_u)],   h_u = (uᵀy_i)₊      [X5]

whose moments are those of `gaussian`: O(n p) a direction. The newcomer grows iff G = max_u ‖g(u)‖ > λ. At a stationary
point every neuron w1_j ≠ 0 has ‖g(ŵ1_j)‖ = λ, so G/λ ≥ 1 there, and f being linear in the measure Σ_j w2_j ⊗ δ(w1_j),
the objective convex in it, G = λ certifies a global minimum over all widths. In general, with the optimum's own norm
bounded by its value,

    L ≥ min over all widths ≥ L λ/G      at a stationary point.

Cauchy and Schwarz give G² ≤ E‖x − f(y)‖² · (λ_max(XᵀX/n) + σ²): where that is below λ² no search is needed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special
import scipy.stats
from flax import struct
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from dae_theory import checks, gaussian
from dae_theory.certify.objective import Objective, checked
from dae_theory.model import Weights

ASCENT_STEPS = 100  # of L-BFGS from every start, at most
ASCENT_SLOPE = 1e-6  # slope of log ‖g‖ at which an ascent has arrived: the error of ‖g‖ is of its square
AGREEMENT = 1e-6  # relative distance from the largest pull within which a start has found it


@struct.dataclass
class Newcomer:
    """The direction found to be pulled most, [X5].

    Attributes:
        pull: G, the largest ‖g(u)‖ found.
        direction: u, a unit vector, shape (d,).
        decoder: v = g(u)/‖g(u)‖, the decoder that answers it best, shape (d,).
        agreeing: how many starts ended at this pull, to one part in a million.
        bound: an upper bound of ‖g‖ over the whole sphere.
        starts: how many ascents were made.
    """

    pull: Float[Array, "*members"]
    direction: Float[Array, "*members d"]
    decoder: Float[Array, "*members d"]
    agreeing: Array
    bound: Float[Array, "*members"]
    starts: int = struct.field(pytree_node=False)


def newcomer_pull(
    weights: Weights, x: ArrayLike, direction: ArrayLike, *, noise_std: ArrayLike, samples: ArrayLike | None = None
) -> Float[Array, " d"]:
    """g(u) of [X5] at any weights, exactly; u of any positive length counts by its direction.

    Args:
        weights: decoder and encoder, (d, p) each.
        x: samples, (n, d).
        direction: u, (d,).
        noise_std: σ > 0.
        samples: how many rows of x count, all by default.

    Raises:
        ValueError: bad weights, samples or σ, or a direction that is zero or of another dimension.

    >>> import jax.numpy as jnp
    >>> from dae_theory import certify, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> numbers = {"noise_std": 0.2, "weight_decay": 0.1}
    >>> weights = theory.memorizing_weights(x, **numbers)
    >>> pull = certify.newcomer_pull(weights, x, x[0], noise_std=0.2)
    >>> print(f"{jnp.linalg.norm(pull):.4f}")  # λ: the direction has its neuron
    0.1000
    """
    weights, objective = checked(weights, x, noise_std=noise_std, weight_decay=0.0, samples=samples, double=False)
    direction = checks.array("direction", direction, ndim=1).astype(objective.x.dtype)
    checks.shape("direction", direction, objective.x.shape[1:])
    checks.positive("direction", jnp.linalg.norm(direction))
    return pull(weights, objective, direction)


@jax.jit
def pull(weights: Weights, objective: Objective, direction: Array) -> Float[Array, " d"]:
    """g(u/‖u‖) for checked arguments."""
    x, share = objective.x, objective.share
    with jax.default_matmul_precision("highest"):
        u = direction / jnp.linalg.norm(direction)
        variance = objective.noise_std**2
        own = gaussian.marginal((x @ u)[:, None], jnp.broadcast_to(variance, (1, 1)))
        neurons = gaussian.marginal(x @ weights.encoder, variance * jnp.sum(weights.encoder**2, axis=0)[None, :])
        together = gaussian.relu_product(own, neurons, variance * (u @ weights.encoder)[None, :]).value
        return (share * gaussian.relu(own).first[:, 0]) @ x - weights.decoder @ (share @ together)


def strongest_newcomer(weights: Weights, objective: Objective, loss: Array, starts: int) -> Newcomer:
    """Multi-start ascent of ‖g(u)‖ on the sphere by L-BFGS, for checked arguments.

    Half of the starts are spread evenly over the sphere, whatever the data; the other half are the most pulled
    directions among the samples, the neurons, their opposites and more even ones.

    Args:
        weights: decoder and encoder, (d, p) each.
        objective: (6).
        loss: its value there, for the bound.
        starts: how many ascents, ≥ 1.
    """
    x = objective.x
    dimension = x.shape[1]

    def height(u: Array) -> Array:
        # a point with g = 0 everywhere is finite too
        return -0.5 * jnp.log(jnp.sum(pull(weights, objective, u) ** 2) + jnp.finfo(u.dtype).tiny)

    even = jnp.asarray(even_directions(3 * starts, dimension), x.dtype)
    columns = jnp.concatenate([x, weights.encoder.T])
    length = jnp.linalg.norm(columns, axis=1, keepdims=True)
    # a zero sample or neuron has no direction: an even one stands in
    own = jnp.where(length > 0, columns / jnp.where(length > 0, length, 1), even[:1])
    pool = jnp.concatenate([own, -own, even[starts:]])
    best = jnp.argsort(jax.vmap(height)(pool))[: starts - starts // 2]
    begin = jnp.concatenate([pool[best], even[: starts // 2]])
    ends = jax.vmap(functools.partial(_ascend, height))(begin)
    answers = jax.vmap(lambda u: pull(weights, objective, u))(ends)
    pulls = jnp.linalg.norm(answers, axis=1)
    top = jnp.argmax(pulls)
    error = jnp.maximum(loss - objective.decay(weights), 0)
    return Newcomer(
        pull=pulls[top],
        direction=ends[top] / jnp.linalg.norm(ends[top]),
        decoder=answers[top] / jnp.maximum(pulls[top], jnp.finfo(x.dtype).tiny),
        agreeing=jnp.sum(pulls >= (1 - AGREEMENT) * pulls[top]),
        bound=jnp.sqrt(error * (objective.spread + objective.noise_std**2)),
        starts=starts,
    )


def _ascend(height, start: Array) -> Array:
    """The end of an L-BFGS descent of −log ‖g(u)‖, which sees u by its direction only."""
    linesearch = optax.scale_by_zoom_linesearch(max_linesearch_steps=10, initial_guess_strategy="one")
    optimizer = optax.lbfgs(memory_size=10, linesearch=linesearch)
    value_and_grad = optax.value_and_grad_from_state(height)

    def going(carry) -> Array:
        *_, steps, slope = carry
        return (steps < ASCENT_STEPS) & (slope > ASCENT_SLOPE)

    def step(carry):
        u, state, steps, _ = carry
        value, gradient = value_and_grad(u, state=state)
        change, state = optimizer.update(gradient, state, u, value=value, grad=gradient, value_fn=height)
        moved = optax.apply_updates(u, change)
        # the slope at a point of length 1
        return moved, state, steps + 1, jnp.linalg.norm(gradient) * jnp.linalg.norm(u)

    with jax.numpy_dtype_promotion("standard"):
        end, *_ = jax.lax.while_loop(going, step, (start, optimizer.init(start), 0, jnp.asarray(jnp.inf, start.dtype)))
    return jnp.asarray(end)


@functools.cache
def even_directions(count: int, dimension: int) -> np.ndarray:
    """Unit vectors spread evenly over the sphere, the same at every call: a Sobol sequence through the normal quantile.

    Shape (count, dimension).
    """
    points = scipy.stats.qmc.Sobol(dimension, scramble=False).fast_forward(1).random(count)
    normal = scipy.special.ndtri(points)
    lengths = np.linalg.norm(normal, axis=1, keepdims=True)
    # the sequence's first point is the centre of the cube, which has no direction
    normal = np.where(lengths > 0, normal, np.eye(dimension)[:1])
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)
