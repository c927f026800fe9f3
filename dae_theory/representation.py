"""How spiky a representation is, and pooling of activations of any network down to the vectors that are scored.

A memorizing block answers its sample with one neuron (spiky), a generalizing one with all of its p_k neurons
(balanced): Cor. 3.2 and 3.3 of arXiv 2512.20963. The paper's score is the standard deviation over the neurons. That is
not scale-free: it follows the sample's norm and the layer's gain, so the scale-free scores stand beside it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from dae_theory import checks

Pooling = Callable[[Array], Array]


@struct.dataclass
class Spikiness:
    """Scores of representations h, one number each; p neurons, sums over them. Large std, small participation: spiky.

    All but `std` are unchanged by h → c h, c > 0. They are 0/0 for the zero vector, and `kurtosis` for any constant
    one: NaN then. Activations may be negative in deep networks; `gini` is that of |h|.

    Attributes:
        std: √(Σ (h − mean)²/p), the population's (ddof = 0), in the units of h.
        l4_over_l2: ‖h‖₄/‖h‖₂ in [p^(−1/4), 1]; 1 = one-hot.
        kurtosis: Excess kurtosis m₄/m₂² − 3 in [−2, ∞).
        participation_ratio: (Σ h²)²/Σ h⁴ in [1, p], the effective number of neurons; 1 = one-hot, p = flat.
        gini: Σ_i (2i − p − 1) |h|_(i) / (p Σ |h|), |h|_(i) increasing, in [0, 1 − 1/p]; 0 = flat.
        max_share: max h² / Σ h² in [1/p, 1]; 1 = one-hot.
    """

    std: Float[Array, "*batch"]
    l4_over_l2: Float[Array, "*batch"]
    kurtosis: Float[Array, "*batch"]
    participation_ratio: Float[Array, "*batch"]
    gini: Float[Array, "*batch"]
    max_share: Float[Array, "*batch"]


def as_array(name: str, h: Any) -> Array:
    """Activations from NumPy, JAX or torch (any device, with or without gradient) as a floating JAX array.

    Half precision becomes float32, since fourth powers leave its range.

    Raises:
        ValueError: The entries are not real numbers, or some are NaN or infinite.
    """
    if hasattr(h, "detach"):  # a torch tensor, without importing torch here
        h = h.detach().cpu()
        h = (h.float() if h.dtype.itemsize < 4 else h).numpy()
    if not isinstance(h, jax.Array):
        h = np.asarray(h)
        if not (jnp.issubdtype(h.dtype, jnp.number) or h.dtype == bool):
            raise ValueError(f"{name} must hold numbers; got dtype {h.dtype}")
    result = checks.array(name, h, ndim=h.ndim)
    return result.astype(jnp.float32) if result.dtype.itemsize < 4 else result


def spikiness(h: Any) -> Spikiness:
    """All the scores of h, shape (..., p), over its last axis; each has shape (...).

    Works under jit, vmap and grad. Scale-free scores are computed from h/max|h|, so nothing over- or underflows.

    Args:
        h: Activations: a JAX or NumPy array, or a torch tensor.

    Raises:
        ValueError: `h` is a scalar, empty, or has NaN or infinite entries.
    """
    h = as_array("h", h)
    if h.ndim == 0:
        raise ValueError("h must have at least one axis; got a scalar")
    return _spikiness(h)


@jax.jit
def _spikiness(h: Array) -> Spikiness:
    p = h.shape[-1]
    peak = jnp.max(jnp.abs(h), axis=-1, keepdims=True)
    unit = h / jnp.where(peak > 0, peak, 1)
    second, fourth = jnp.sum(unit**2, axis=-1), jnp.sum(unit**4, axis=-1)
    # With a zero vector 0/0 = NaN below, as promised; the inner wheres keep gradients elsewhere clean.
    centred = unit - jnp.mean(unit, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1)
    # A constant vector's variance is rounding noise: the mean of p equal numbers is off by a few eps.
    constant = jnp.max(h, axis=-1) == jnp.min(h, axis=-1)
    variance = jnp.where(constant, 0, variance)
    spread = jnp.where(constant, 1, variance)
    rank = (2 * jnp.arange(1, p + 1) - p - 1).astype(h.dtype)
    ordered = jnp.sort(jnp.abs(unit), axis=-1)
    return Spikiness(
        std=jnp.where(constant, 0, jnp.sqrt(spread)) * peak[..., 0],
        l4_over_l2=jnp.sqrt(jnp.sqrt(fourth) / second),
        kurtosis=jnp.where(constant, jnp.nan, jnp.mean(centred**4, axis=-1) / spread**2 - 3),
        participation_ratio=second**2 / fourth,
        gini=ordered @ rank / (p * jnp.sum(ordered, axis=-1)),
        max_share=jnp.max(unit**2, axis=-1) / second,
    )


def flatten(h: Array) -> Array:
    """No pooling: all activations of a sample as one vector, (batch, ...) → (batch, features)."""
    return h.reshape(h.shape[0], -1)


def _positions(h: Array, channel_axis: int) -> tuple[int, ...]:
    channel = channel_axis % h.ndim
    if channel == 0:
        raise ValueError(f"channel_axis must not be the batch axis 0; got {channel_axis} for shape {h.shape}")
    return tuple(axis for axis in range(1, h.ndim) if axis != channel)


def spatial_max(h: Array, *, channel_axis: int = -1) -> Array:
    """Largest activation of each channel over positions, (batch, ..., channels) → (batch, channels).

    Torch's convolutions keep channels on axis 1: `functools.partial(spatial_max, channel_axis=1)`.
    """
    return jnp.max(h, axis=_positions(h, channel_axis))


def spatial_mean(h: Array, *, channel_axis: int = -1) -> Array:
    """Mean activation of each channel over positions, (batch, ..., channels) → (batch, channels)."""
    return jnp.mean(h, axis=_positions(h, channel_axis))


def score_batches(batches: Iterable[Any], pooling: Pooling = flatten) -> Spikiness:
    """Scores of every sample of a stream of batches, in order; only one batch is held at a time.

    Args:
        batches: Activations (batch, ...): NumPy, JAX or torch. Batch sizes may differ (each new one compiles once).
        pooling: From (batch, ...) to the vectors to be scored: `flatten`, `spatial_max`, `spatial_mean`, your own.

    Raises:
        ValueError: There is no batch, or one of them is refused by `spikiness`.
    """
    scores = []
    for batch in batches:
        h = as_array("batches", batch)
        if h.ndim < 2:
            raise ValueError(f"batches must hold arrays of shape (batch, ...); got shape {h.shape}")
        scores.append(spikiness(pooling(h)))
    if not scores:
        raise ValueError("batches must hold at least one batch; got none")
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *scores)
