r"""[X14] Lazy or rich: the tangent kernel of the net, its drift, and the model that is linear in the weights.

$$K(y, y') = \sum_j \left[ h_j h_j' \, I + g_j g_j' \langle y, y' \rangle \, w_{2,j} w_{2,j}^\top \right],
\quad h_j = (w_{1,j}^\top y)_+, \quad g_j = 1[w_{1,j}^\top y > 0]$$

It is J(y) J(y')ᵀ with J the derivative of f(y) in all weights. While a run leaves it as it was, the net is as good as

$$f_0(y) + \partial f_0(y) \cdot (W - W_0),$$

which learns no features (*lazy*); in the *rich* regime the kernel moves. Large initial weights make a run lazy.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.model import Weights, denoise, represent


def tangent_kernel(
    weights: Weights, y: Float[Array, "m d"], other: Float[Array, "k d"] | None = None
) -> Float[Array, "m k d d"]:
    """K(y, y') of the module for every pair of rows of y and of `other` (y itself by default), (m, k, d, d).

    Its transpose is K(y', y). Costs O(m k d² p).

    Raises:
        ValueError: inputs of another dimension than the weights.

    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model
    >>> weights, y = model.Weights(jnp.eye(2), jnp.eye(2)), jnp.array([[1.0, 0.0]])
    >>> print(dynamics.tangent_kernel(weights, y)[0, 0])  # ‖h‖² I, and ‖y‖² where gates are open
    [[2. 0.]
     [0. 1.]]
    """
    y = _inputs("y", y, weights)
    other = y if other is None else _inputs("other", other, weights)
    return jax.vmap(lambda row: _kernel_row(weights, row, other))(y)


def _kernel_row(weights: Weights, y: Float[Array, " d"], other: Float[Array, "k d"]) -> Float[Array, "k d d"]:
    hidden, hidden_other = represent(weights, y), represent(weights, other)
    gates = (hidden > 0)[None, :] & (hidden_other > 0)
    scaled = jnp.where(gates, (other @ y)[:, None], 0)
    decoded = jnp.einsum("aj,kj,bj->kab", weights.decoder, scaled, weights.decoder)
    return decoded + (hidden_other @ hidden)[:, None, None] * jnp.eye(y.shape[0], dtype=decoded.dtype)[None]


def kernel_drift(
    weights: Weights, start: Weights, y: Float[Array, "m d"], *, outputs: int | None = None
) -> Float[Array, ""]:
    """‖K − K₀‖_F/‖K₀‖_F over all pairs of rows of y, such as noisy training points; row by row, nothing is held.

    0 for a lazy run. Infinite or NaN where every neuron is silent on every row at the start.

    Args:
        weights: the weights now, (d, p) each.
        start: the weights at the start, of any width.
        y: inputs, (m, d).
        outputs: how many coordinates of f count, from the first on; all by default. With `biases` the last does not.

    Raises:
        ValueError: inputs of another dimension than the weights, or outputs out of range.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model
    >>> start, y = model.Weights(jnp.eye(2), jnp.eye(2)), jnp.array([[1.0, 0.0], [1.0, 2.0]])
    >>> doubled = jax.tree.map(lambda w: 2 * w, start)
    >>> print(dynamics.kernel_drift(start, start, y), dynamics.kernel_drift(doubled, start, y))  # 2² − 1
    0.0 3.0
    """
    y = _inputs("y", _inputs("y", y, weights), start)
    if outputs is not None:
        checks.count("outputs", outputs, 1, y.shape[1], "the columns of y")

    def squares(row: Array) -> tuple[Array, Array]:
        after, before = (_kernel_row(here, row, y)[:, :outputs, :outputs] for here in (weights, start))
        return jnp.sum((after - before) ** 2), jnp.sum(before**2)

    change, size = jax.lax.map(squares, y)
    return jnp.sqrt(jnp.sum(change) / jnp.sum(size))


def weight_movement(weights: Weights, start: Weights) -> Float[Array, ""]:
    """‖W − W₀‖/‖W₀‖ over both matrices; NaN or infinite from W₀ = 0.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model
    >>> start = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> print(dynamics.weight_movement(jax.tree.map(lambda w: 2 * w, start), start))
    1.0
    """
    change = jax.tree.map(jnp.subtract, weights, start)
    return jnp.sqrt(_square(change) / _square(start))


def _square(weights: Weights) -> Array:
    return jnp.sum(weights.decoder**2) + jnp.sum(weights.encoder**2)


def linearized(weights: Weights, start: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """f₀(y) + ∂f₀(y)·(W − W₀), the net to first order in the weights around `start`, for inputs (..., d).

    Explicitly W₂ h₀ + W₂⁰ g₀ ∘ (W₁ − W₁⁰)ᵀy, with the representation h₀ and the gates g₀ of the start: a linear model.
    Trained by `training.Settings(denoiser=dynamics.linearized)`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model
    >>> start = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> moved = model.Weights(1.1 * start.decoder, 1.1 * start.encoder)
    >>> y = jnp.array([1.0, 0.0])
    >>> print(model.denoise(moved, y).round(3), dynamics.linearized(moved, start, y).round(3))  # 1.1² and 1 + .1 + .1
    [1.21 0.  ] [1.2 0. ]
    """
    change = jax.tree.map(jnp.subtract, weights, start)
    value, slope = jax.jvp(lambda here: denoise(here, y), (start,), (change,))
    return value + slope


def centered(weights: Weights, start: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """f(y) − f₀(y), the net without its output at `start`: its limit at large initial weights is the linear model's.

    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model
    >>> start = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> moved = model.Weights(1.1 * start.decoder, 1.1 * start.encoder)
    >>> print(dynamics.centered(moved, start, jnp.array([1.0, 0.0])).round(3))
    [0.21 0.  ]
    """
    return denoise(weights, y) - denoise(start, y)


def centered_linearized(weights: Weights, start: Weights, y: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """∂f₀(y)·(W − W₀), `linearized` without the output at `start`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import dynamics, model
    >>> start = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> moved = model.Weights(1.1 * start.decoder, 1.1 * start.encoder)
    >>> print(dynamics.centered_linearized(moved, start, jnp.array([1.0, 0.0])).round(3))
    [0.2 0. ]
    """
    return linearized(weights, start, y) - denoise(start, y)


def _inputs(name: str, y: Array, weights: Weights) -> Array:
    y = checks.samples(name, y)
    if y.shape[1] != weights.dimension:
        raise Refusal(f"{name} must have {weights.dimension} columns, as the weights have rows; got shape {y.shape}")
    return y
