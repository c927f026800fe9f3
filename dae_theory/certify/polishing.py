"""From any weights to a stationary point of the exact objective (6): L-BFGS, then Newton's method.

L-BFGS (optax) descends without second derivatives until the gradient is small; Newton's steps −|H|⁻¹∂L then square the
error, where |H| has the absolute curvatures, so that a step goes downhill at a saddle too. At columns that shrink to
zero the objective is homogeneous of degree 2, so by Euler's theorem a Newton step takes them to exactly zero.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Float

from dae_theory import checks
from dae_theory.certify import curvature
from dae_theory.certify.certificate import LARGEST
from dae_theory.certify.objective import Objective, checked, norm
from dae_theory.checks import Refusal
from dae_theory.model import Weights

HANDOVER = 1e-7  # gradient norm at which Newton's method takes over
PATIENCE = 100  # steps of L-BFGS without a smaller loss or gradient after which it is given up
STIFF = 1e-4  # curvature over the largest from which on a direction is stiff
CORRECTIONS = 3  # of a Newton step, back to the floor of a curved valley
LEAST_DAMPING = 1e-12  # over the largest curvature, added to what a Newton step divides by


@struct.dataclass
class Polished:
    """A point made by `polish`.

    Attributes:
        weights: where it ended.
        loss: L of (6) there.
        gradient_norm: ‖∂L‖ there.
        converged: whether the gradient norm is within the tolerance.
        steps: how many steps of L-BFGS it took.
    """

    weights: Weights
    loss: Float[Array, "*members"]
    gradient_norm: Float[Array, "*members"]
    converged: Array
    steps: Array


def polish(
    weights: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    samples: ArrayLike | None = None,
    tolerance: float = 1e-9,
    max_steps: int = 5000,
    newton_steps: int = 100,
) -> Polished:
    """A stationary point of the exact objective (6), downhill from the given weights.

    Works under jit and vmap; failure is data (`converged`). A vmapped batch runs until its last member is done; on
    several CPU devices members go one by one (`group=1` in `ensemble.run`), since Newton's method decomposes matrices.

    Args:
        weights: decoder and encoder, (d, p) each, float64.
        x: samples, (n, d).
        noise_std: σ > 0.
        weight_decay: λ ≥ 0.
        samples: how many rows of x count, from the first on; all by default.
        tolerance: gradient norm to reach.
        max_steps: of L-BFGS.
        newton_steps: of Newton's method at most, each with a Hessian of (2dp)² entries; 0 for L-BFGS alone, which
            then goes for the tolerance itself.

    Raises:
        ValueError: bad weights, samples, σ, λ, tolerance or numbers of steps, single precision, or Newton steps with
            more than 4000 weights.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import certify, symmetry, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> numbers = {"noise_std": 0.2, "weight_decay": 0.1}
    >>> stored = theory.memorizing_weights(x, **numbers)
    >>> polished = certify.polish(jax.tree.map(lambda w: 0.9 * w, stored), x, **numbers)
    >>> print(polished.converged, symmetry.match(polished.weights, stored).distance < 1e-6)
    True True
    """
    weights, objective = checked(weights, x, noise_std=noise_std, weight_decay=weight_decay, samples=samples)
    checks.positive("tolerance", tolerance)
    checks.shape("tolerance", tolerance, ())
    max_steps = checks.integer("max_steps", max_steps, 0)
    newton_steps = checks.integer("newton_steps", newton_steps, 0)
    if newton_steps and 2 * weights.encoder.size > LARGEST:
        raise Refusal(
            f"newton_steps must be 0 for more than {LARGEST} weights, whose Hessian does not fit;"
            f" got {newton_steps} with {2 * weights.encoder.size} weights"
        )
    return _polish(weights, objective, tolerance, max_steps, newton_steps)


@partial(jax.jit, static_argnames="newton_steps")
def _polish(
    weights: Weights, objective: Objective, tolerance: ArrayLike, max_steps: ArrayLike, newton_steps: int
) -> Polished:
    start, rebuild = ravel_pytree(weights)
    target = jnp.asarray(jnp.maximum(tolerance, HANDOVER) if newton_steps else tolerance, start.dtype)
    flat, steps = _descend(lambda values: objective.loss(rebuild(values)), start, target, max_steps)

    if newton_steps:
        flat = _newton(objective, rebuild(flat), tolerance, newton_steps)
    ended = rebuild(flat)
    loss, gradient = objective.value_and_grad(ended)
    steepness = norm(gradient)
    return Polished(ended, loss, steepness, steepness <= tolerance, steps)


def _descend(loss_of, start: Array, target: Array, max_steps: ArrayLike) -> tuple[Array, Array]:
    """Where L-BFGS ends, by its gradient or for want of any gain, and how many steps it took."""
    optimizer = optax.lbfgs(memory_size=30)
    value_and_grad = optax.value_and_grad_from_state(loss_of)

    def going(carry) -> Array:
        *_, steepness, waited, steps = carry
        return (steepness > target) & (waited < PATIENCE) & (steps < max_steps)

    def step(carry):
        point, state, lowest, flattest, _, waited, steps = carry
        value, gradient = value_and_grad(point, state=state)
        steepness = jnp.linalg.norm(gradient)
        gains = (value < lowest) | (steepness < flattest)
        change, state = optimizer.update(gradient, state, point, value=value, grad=gradient, value_fn=loss_of)
        # the point stays where its gradient is within the target
        moved = point + jnp.where(steepness > target, jnp.asarray(change), 0)
        least = jnp.minimum(lowest, value), jnp.minimum(flattest, steepness)
        return moved, state, *least, steepness, jnp.where(gains, 0, waited + 1), steps + 1

    with jax.numpy_dtype_promotion("standard"):
        infinite = jnp.asarray(jnp.inf, start.dtype)
        carry = start, optimizer.init(start), infinite, infinite, infinite, 0, 0
        end, *_, steps = jax.lax.while_loop(going, step, carry)
    return end, jnp.asarray(steps)


def _newton(objective: Objective, weights: Weights, tolerance: ArrayLike, max_steps: int) -> Array:
    """Steps −Σ_k v_k(v_kᵀ∂L)/(|κ_k| + μ), taken where they lower the gradient or the loss.

    Valleys are curved and a long step along a flat direction leaves them, so that each step is followed by corrections
    in the stiff directions alone. The damping μ falls tenfold after a step that is taken and rises a hundredfold after
    one that is not (Levenberg and Marquardt).
    """
    start, rebuild = ravel_pytree(weights)
    epsilon = float(jnp.finfo(start.dtype).eps)

    def at(flat: Array) -> tuple[Array, Array]:
        loss, gradient = objective.value_and_grad(rebuild(flat))
        return loss, ravel_pytree(gradient)[0]

    def going(carry) -> Array:
        _, _, slope, damping, steps = carry
        return (jnp.linalg.norm(slope) > tolerance) & (damping < 1) & (steps < max_steps)

    def step(carry):
        flat, loss, slope, damping, steps = carry
        curvatures, vectors = jnp.linalg.eigh(curvature.hessian(objective.loss, rebuild(flat)))
        damped = jnp.abs(curvatures) + damping * jnp.max(jnp.abs(curvatures))
        moved = flat - vectors @ ((vectors.T @ slope) / damped)
        stiff = jnp.where(damped > STIFF * jnp.max(damped), 1 / damped, 0)

        def corrected(carry, left: Array):
            point, *_ = carry
            ended, ending = at(point)
            back = jnp.where(left > 0, vectors @ (stiff * (vectors.T @ ending)), 0)
            return (point - back, ended, ending), None

        lefts = jnp.arange(CORRECTIONS, -1, -1)
        (moved, ended, ending), _ = jax.lax.scan(corrected, (moved, loss, slope), lefts)
        rounding = 64 * epsilon * (1 + jnp.abs(loss))
        flatter = jnp.linalg.norm(ending) < jnp.linalg.norm(slope)
        taken = (ended < loss - rounding) | (flatter & (ended <= loss + rounding))
        best = (jnp.where(taken, new, old) for new, old in ((moved, flat), (ended, loss), (ending, slope)))
        return *best, jnp.where(taken, jnp.maximum(0.1 * damping, LEAST_DAMPING), 100 * damping), steps + 1

    begin = start, *at(start), jnp.asarray(LEAST_DAMPING, start.dtype), 0
    end, *_ = jax.lax.while_loop(going, step, begin)
    return end
