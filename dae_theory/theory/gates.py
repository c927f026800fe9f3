"""Gates under noise: how surely each neuron is active where it should be, and silent where it should not.

Under y = x + σε the pre-activation of a neuron w is normal with mean wᵀx and standard deviation σ‖w‖, so its margin
m = wᵀx/(σ‖w‖) says everything: it fires with probability Φ(m).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Int

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.model import Weights
from dae_theory.theory.arguments import number


@struct.dataclass
class Margins:
    """Worst margins of every neuron in units of σ‖w_j‖, [X1]; negative where a gate is wrong without any noise.

    Attributes:
        own: min over the samples of the neuron's own cluster of w_jᵀx/(σ‖w_j‖), shape (p,).
        cross: min over the samples of all other clusters of −w_jᵀx/(σ‖w_j‖), shape (p,).

    Both are +∞ where there is nothing to get wrong: for zero columns, for neurons of no block, for `own` of a cluster
    without samples, and for `cross` where there is one cluster only.
    """

    own: Float[Array, "*batch p"]
    cross: Float[Array, "*batch p"]

    @property
    def worst(self) -> Float[Array, "*batch"]:
        """The smallest margin m of all: no gate is wrong with a probability above Φ(−m) on any sample."""
        return jnp.minimum(jnp.min(self.own, axis=-1), jnp.min(self.cross, axis=-1))


@struct.dataclass
class GateError:
    """Gates of the memorizing solution under noise, [X2].

    Attributes:
        firing: P(neuron j fires on x_i + σε) = Φ(cos_ij ‖x_i‖/σ), shape (n, n).
        wrong: probability of the wrong gate: `firing` off the diagonal, 1 − `firing` on it, shape (n, n).
    """

    firing: Float[Array, "*batch n n"]
    wrong: Float[Array, "*batch n n"]

    @property
    def worst(self) -> Float[Array, "*batch"]:
        """The largest probability of a wrong gate."""
        return jnp.max(self.wrong, axis=(-2, -1))


def margins(weights: Weights, x: Any, labels: Any, block_of_neuron: Any, *, noise_std: Any) -> Margins:
    """Worst pre-activations of every neuron over its own cluster and over all others, [X1].

    own_j = min_{i∈k(j)} w_jᵀx_i/(σ‖w_j‖),  cross_j = min_{i∉k(j)} −w_jᵀx_i/(σ‖w_j‖), with w_j column j of the encoder.

    Works under jit and vmap over everything.

    Args:
        weights: encoder of shape (d, p); the decoder does not matter.
        x: samples, shape (n, d).
        labels: integer cluster of every sample, shape (n,).
        block_of_neuron: cluster k(j) that neuron j belongs to, −1 for none, shape (p,); see `block_of_neuron`.
        noise_std: σ > 0.

    Raises:
        ValueError: shapes that do not fit, labels that are not integers, or σ ≤ 0.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> weights = theory.memorizing_weights(x, noise_std=0.2, weight_decay=0.1)
    >>> found = theory.margins(weights, x, jnp.arange(3), jnp.arange(3), noise_std=0.2)
    >>> print(found.own.round(2), found.cross.round(2))
    [10.    9.86  9.86] [5.   4.79 4.79]
    """
    x = _samples_of(weights, x)
    labels, blocks = _integers("labels", labels, len(x)), _integers("block_of_neuron", block_of_neuron, weights.width)
    checks.positive("noise_std", noise_std)
    return _margins(weights.encoder, x, labels, blocks, number("noise_std", noise_std, x.dtype))


def firing_probability(weights: Weights, x: Any, *, noise_std: Any) -> Float[Array, "n p"]:
    """P(neuron j fires on x_i + σε) = Φ(w_jᵀx_i/(σ‖w_j‖)) for any weights; w_j is column j of the encoder.

    At σ = 0, and for a zero column, it is 1 if w_jᵀx_i > 0 and 0 otherwise.

    Args:
        weights: encoder of shape (d, p).
        x: samples, shape (n, d).
        noise_std: σ ≥ 0.

    Raises:
        ValueError: shapes that do not fit, or σ < 0.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> weights = theory.memorizing_weights(x, noise_std=1.0, weight_decay=0.1)
    >>> print(theory.firing_probability(weights, x, noise_std=1.0).round(3))
    [[0.977 0.155 0.155]
     [0.159 0.976 0.169]
     [0.159 0.169 0.976]]
    """
    x = _samples_of(weights, x)
    return _firing(weights.encoder, x, number("noise_std", noise_std, x.dtype))


def gate_error(x: Any, *, noise_std: Any) -> GateError:
    """Gates of the memorizing solution (9) under noise, [X2]: Φ(cos_ij ‖x_i‖/σ), free of the neurons' lengths.

    Args:
        x: samples, none of them zero, shape (n, d).
        noise_std: σ ≥ 0.

    Raises:
        ValueError: bad samples, a zero sample, or σ < 0.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> print(f"{theory.gate_error(x, noise_std=1.0).worst:.4f}")
    0.1690
    """
    x = _nonzero_samples(x)
    return _gate_error(x, number("noise_std", noise_std, x.dtype))


def memorizing_margins(x: Any, *, noise_std: Any) -> Margins:
    """Margins of the memorizing solution (9), [X1], free of its columns' lengths: own ‖x_j‖/σ, cross as below.

        cross_j = min_{i≠j} −cos_ij ‖x_i‖/σ

    On a simplex `cross` is `simplex_gate_margin`; it is negative where two samples are at an acute angle.

    Args:
        x: samples, none of them zero, shape (n, d).
        noise_std: σ > 0.

    Raises:
        ValueError: bad samples, a zero sample, or σ ≤ 0.

    >>> import jax.numpy as jnp
    >>> from dae_theory import theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 0.0]])
    >>> found = theory.memorizing_margins(x, noise_std=0.5)
    >>> print(found.own, found.cross)
    [4. 2.] [2. 4.]
    """
    x = _nonzero_samples(x)
    own = jnp.arange(len(x))
    return margins(Weights(decoder=x.T, encoder=x.T), x, own, own, noise_std=noise_std)


@jax.jit
def _margins(encoder: Array, x: Array, labels: Array, blocks: Array, noise_std: Array) -> Margins:
    """Smallest margins over own and over other samples; +∞ over none."""
    deviations = noise_std * jnp.linalg.norm(encoder, axis=0)
    alive = (deviations > 0) & (blocks >= 0)
    scaled = (x @ encoder) / jnp.where(alive, deviations, 1)[None, :]
    own = alive[None, :] & (labels[:, None] == blocks[None, :])
    other = alive[None, :] & (labels[:, None] != blocks[None, :])
    return Margins(
        own=jnp.min(jnp.where(own, scaled, jnp.inf), axis=0), cross=jnp.min(jnp.where(other, -scaled, jnp.inf), axis=0)
    )


@jax.jit
def _firing(encoder: Array, x: Array, noise_std: Array) -> Array:
    """Φ(w_jᵀx_i/(σ‖w_j‖))."""
    return _normal_above_zero(x @ encoder, noise_std * jnp.linalg.norm(encoder, axis=0)[None, :])


@jax.jit
def _gate_error(x: Array, noise_std: Array) -> GateError:
    """Neurons along the samples, of length one."""
    projections = x @ (x / jnp.linalg.norm(x, axis=1)[:, None]).T
    firing, silent = (_normal_above_zero(sign * projections, noise_std[None, None]) for sign in (1, -1))
    return GateError(firing=firing, wrong=jnp.where(jnp.eye(len(x), dtype=bool), silent, firing))


def _normal_above_zero(mean: Array, deviation: Array) -> Array:
    """P(z > 0) for z ~ N(mean, deviation²), with its limit where the deviation is zero."""
    random = deviation > 0
    return jnp.where(random, ndtr(mean / jnp.where(random, deviation, 1)), (mean > 0).astype(mean.dtype))


def _nonzero_samples(x: Any) -> Float[Array, "n d"]:
    """Samples that all have a direction."""
    x = checks.samples("x", x)
    if not checks.is_traced(x) and not np.all(np.any(np.asarray(x), axis=1)):
        raise Refusal(f"x must not contain a zero sample; got one in row {np.argmin(np.any(np.asarray(x), axis=1))}")
    return x


def _samples_of(weights: Weights, x: Any) -> Float[Array, "n d"]:
    """Samples of the dimension of the weights."""
    x = checks.samples("x", x)
    if x.shape[1] != weights.dimension:
        raise Refusal(f"x must have the {weights.dimension} dimensions of the weights; got shape {x.shape}")
    return x


def _integers(name: str, value: Any, length: int) -> Int[Array, " m"]:
    """An integer array of the given length."""
    result = jnp.asarray(value)
    checks.shape(name, result, (length,))
    if not jnp.issubdtype(result.dtype, jnp.integer):
        raise Refusal(f"{name} must be integers; got dtype {result.dtype}")
    return result.astype(jnp.int32)
