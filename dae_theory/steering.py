"""Steering by adding to the representation, eq. (11) of arXiv 2512.20963, and its measured response.

f_a(y) = W₂ (h(y) + a v) = f(y) + a W₂ v,   v the mean representation of a target set.

One application is affine in a whatever the weights are, so one step can show neither smooth nor abrupt steering:
differences between memorized and generalized samples appear only where the steered denoiser is applied repeatedly, in
`iterate` or inside a sampler. `response_curve` measures any map from the strength to outputs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.model import Weights, represent


@struct.dataclass
class Response:
    """How m outputs follow the strength of steering, at strengths a_1 < … < a_s.

    A straight response has monotonicity 1 and, with equally spaced strengths, jumps of 1/(s − 1), the smallest there
    is; an output that snaps over has a jump of 1. Ratios are NaN for an output that does not move at all.

    Attributes:
        strengths: a, (s,).
        distance: ‖output − target‖, (m, s).
        moved: Distance moved towards the target since a_1, (m, s); negative when driven away.
        monotonicity: Spearman's correlation of `moved` with a in [−1, 1], ties at mean ranks, (m,).
        increasing: Share of the s − 1 steps that lead towards the target, (m,).
        largest_jump: Largest |change of `moved`| between neighbouring strengths, as a share of the sum of all, (m,).
        largest_step: The same for the path of the output itself, ‖output_{k+1} − output_k‖, (m,): no target needed.
    """

    strengths: Float[Array, "*members s"]
    distance: Float[Array, "*members m s"]
    moved: Float[Array, "*members m s"]
    monotonicity: Float[Array, "*members m"]
    increasing: Float[Array, "*members m"]
    largest_jump: Float[Array, "*members m"]
    largest_step: Float[Array, "*members m"]


def mean_representation(weights: Weights, x: Float[Array, "n d"]) -> Float[Array, " p"]:
    """v, the mean of h over a target set, (n, d) → (p,). Give noised samples for the representation under noise."""
    return jnp.mean(represent(weights, x), axis=0)


def steered_denoiser(
    weights: Weights, direction: Float[Array, " p"], strength: ArrayLike
) -> Callable[[Float[Array, "*batch d"]], Float[Array, "*batch d"]]:
    """The denoiser f_a(y) = W₂ (h(y) + a v), eq. (11), as a function of y, to stand in for f in any sampler.

    Raises:
        ValueError: `direction` has another length than the width of the weights; it or `strength`, one number, is not
            finite.

    >>> import jax.numpy as jnp
    >>> from dae_theory import model, steering
    >>> weights = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> steered = steering.steered_denoiser(weights, jnp.array([0.0, 1.0]), strength=0.5)
    >>> print(steered(jnp.array([1.0, 0.0])))
    [1.  0.5]
    """
    checks.shape("direction", direction, (weights.width,))
    checks.shape("strength", strength, ())
    checks.finite("direction", direction)
    checks.finite("strength", strength)
    shift = weights.decoder @ direction * jnp.asarray(strength, dtype=weights.decoder.dtype)

    def denoiser(y: Array) -> Array:
        return represent(weights, y) @ weights.decoder.T + shift.reshape((1,) * (y.ndim - 1) + shift.shape)

    return denoiser


def iterate(denoiser: Callable[[Array], Array], y: Float[Array, "*batch d"], steps: int) -> Float[Array, "*batch d"]:
    """y after `steps` applications of a denoiser, the noise-free limit of sampling at one noise level.

    Raises:
        ValueError: `steps` is not a positive integer.
    """
    return lax.fori_loop(0, checks.integer("steps", steps, 1), lambda _, state: denoiser(state), y)


def _rank(values: Array) -> Array:
    """Mean ranks along the last axis, 1 … s."""
    below = (values[..., None, :] < values[..., :, None]).astype(values.dtype)
    equal = (values[..., None, :] == values[..., :, None]).astype(values.dtype)
    return jnp.sum(below, axis=-1) + (jnp.sum(equal, axis=-1) + 1) / 2


def _correlation(first: Array, second: Array) -> Array:
    first, second = (values - jnp.mean(values, axis=-1, keepdims=True) for values in (first, second))
    return jnp.sum(first * second, axis=-1) / jnp.sqrt(jnp.sum(first**2, axis=-1) * jnp.sum(second**2, axis=-1))


def response_curve(respond: Callable[[Array], Array], target: Any, strengths: Any) -> Response:
    """Outputs against the strength of steering, measured by their distance to a target.

    Args:
        respond: From one strength, a scalar, to the outputs (m, d); it is mapped over the strengths. A stochastic
            sampler must use the same keys at every strength, or noise is counted as jumps.
        target: One target (d,) for all outputs, or one each, (m, d).
        strengths: a, (s,), increasing, s ≥ 2; outputs are compared with those at a_1, usually 0.

    Raises:
        ValueError: `strengths` are fewer than two or not increasing, or `target` does not fit the outputs.

    >>> import jax.numpy as jnp
    >>> from dae_theory import model, steering
    >>> weights, target = model.Weights(jnp.eye(2), jnp.eye(2)), jnp.array([0.0, 3.0])
    >>> y = jnp.array([[1.0, 0.0]])
    >>> curve = steering.response_curve(
    ...     lambda a: steering.steered_denoiser(weights, target, a)(y), target, jnp.linspace(0, 1, 5)
    ... )
    >>> print(curve.monotonicity, curve.largest_step)
    [1.] [0.25]
    """
    strengths, target = checks.array("strengths", strengths, 1), jnp.asarray(target)
    checks.finite("target", target)
    if strengths.size < 2:
        raise Refusal(f"strengths must be at least two; got {strengths.size}")
    if not checks.is_traced(strengths) and bool(jnp.any(strengths[1:] <= strengths[:-1])):
        raise Refusal(f"strengths must increase; got {strengths}")
    outputs = jnp.moveaxis(lax.map(respond, strengths), 0, 1)
    if target.shape not in (outputs.shape[2:], (outputs.shape[0], *outputs.shape[2:])):
        raise Refusal(f"target must have shape (d,) or (m, d) for outputs {outputs.shape}; got {target.shape}")
    return _measure(outputs, target.reshape((-1, 1, outputs.shape[2])), strengths)


@jax.jit
def _measure(outputs: Array, target: Array, strengths: Array) -> Response:
    distance = jnp.linalg.norm(outputs - target, axis=-1)
    moved = distance[:, :1] - distance
    changes = jnp.diff(moved, axis=1)
    path = jnp.linalg.norm(jnp.diff(outputs, axis=1), axis=-1)
    order = jnp.broadcast_to(_rank(strengths).astype(moved.dtype)[None, :], moved.shape)
    return Response(
        strengths=strengths,
        distance=distance,
        moved=moved,
        monotonicity=_correlation(_rank(moved), order),
        increasing=jnp.mean((changes > 0).astype(moved.dtype), axis=1),
        largest_jump=jnp.max(jnp.abs(changes), axis=1) / jnp.sum(jnp.abs(changes), axis=1),
        largest_step=jnp.max(path, axis=1) / jnp.sum(path, axis=1),
    )
