"""Steering by adding to the representation, eq. (11) of arXiv 2512.20963, and its measured response.

f_a(y) = W₂ (h(y) + a v) = f(y) + a W₂ v,   v the mean representation of a target set.

One application is affine in a whatever the weights are, so one step can show neither smooth nor abrupt steering:
differences between memorized and generalized samples appear only where the steered denoiser is applied repeatedly, in
`iterate` or inside a sampler. `response_curve` measures any map from the strength to outputs, of a network of any kind:
in a deeper one the way from the activations that are steered to the output bends, and one application can show more.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dae_theory import checks, representation
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


def response_curve(respond: Callable[[Any], Any], target: Any, strengths: Any, *, compiled: bool = True) -> Response:
    """Outputs against the strength of steering, measured by their distance to a target.

    Args:
        respond: From one strength, a scalar, to the outputs (m, ...), whose entries are taken as one vector each. A
            stochastic sampler must use the same keys at every strength, or noise is counted as jumps.
        target: One target (...) for all outputs, or one each, (m, ...).
        strengths: a, (s,), increasing, s ≥ 2; outputs are compared with those at a_1, usually 0.
        compiled: True: `respond` is made of JAX operations, and mapped over the strengths in one program. False: it is
            any function, called once for each strength with a Python float, and returns NumPy, JAX or torch arrays
            (on any device, with or without gradient); then this function is not for jit. For torch modules:
            `adapters.torch.steered`.

    Raises:
        ValueError: `strengths` are fewer than two or not increasing, `target` does not fit the outputs, the outputs are
            no rows, not finite or of various shapes, or `respond` is not of JAX operations although `compiled` is True.

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
    strengths = checks.array("strengths", strengths, 1)
    if strengths.size < 2:
        raise Refusal(f"strengths must be at least two; got {strengths.size}")
    if not checks.is_traced(strengths) and bool(jnp.any(strengths[1:] <= strengths[:-1])):
        raise Refusal(f"strengths must increase; got {strengths}")
    outputs = jnp.moveaxis((_mapped if compiled else _called)(respond, strengths), 0, 1)
    target = _array(target)
    checks.finite("target", target)
    if target.shape not in (outputs.shape[2:], (outputs.shape[0], *outputs.shape[2:])):
        allowed = f"{outputs.shape[2:]}, or one for each of {outputs.shape[0]} outputs"
        raise Refusal(f"target must have shape {allowed}; got {target.shape}")
    rows = outputs.shape[0] if target.ndim == outputs.ndim - 1 else 1
    flat = outputs.reshape(*outputs.shape[:2], -1)
    return _measure(flat, target.astype(flat.dtype).reshape(rows, 1, -1), strengths)


def _mapped(respond: Callable[[Any], Any], strengths: Array) -> Array:
    """Outputs of a JAX function for all strengths, (s, m, ...)."""
    advice = "respond must be made of JAX operations, or be given with compiled=False"

    def checked(strength: Array) -> Array:
        outputs = respond(strength)
        if hasattr(outputs, "detach"):  # a torch tensor, without importing torch here
            raise Refusal(f"{advice}; it returned a {type(outputs).__name__}")
        return _rows(jnp.asarray(outputs))

    try:
        return lax.map(checked, strengths)
    except jax.errors.JAXTypeError as error:
        raise Refusal(f"{advice}; it asked for the value of its argument") from error


def _called(respond: Callable[[Any], Any], strengths: Array) -> Array:
    """Outputs of any function, called at one strength after the other, (s, m, ...)."""
    if checks.is_traced(strengths):
        raise Refusal("strengths must be numbers where compiled is False; got an array inside jit or vmap")
    outputs = [_rows(_array(respond(float(strength)))) for strength in strengths]
    for one in outputs:
        checks.finite("respond", one)
        checks.shape("respond", one, outputs[0].shape)
    return jnp.stack(outputs)


def _rows(outputs: Array) -> Array:
    if outputs.ndim < 2:
        raise Refusal(f"respond must return outputs (m, ...); got shape {outputs.shape}")
    return outputs


def _array(values: Any) -> Array:
    """A JAX array of numbers of any library, half precision as float32."""
    return representation.as_array("target", values) if hasattr(values, "detach") else jnp.asarray(values)


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
