"""How spiky a representation is, and pooling of activations of any network down to the vectors that are scored.

A memorizing block answers its sample with one neuron (spiky), a generalizing one with all of its p_k neurons
(balanced): Cor. 3.2 and 3.3 of arXiv 2512.20963. The paper's score is the standard deviation over the neurons. That is
not scale-free: it follows the sample's norm and the layer's gain, so the scale-free scores stand beside it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from dae_theory import checks
from dae_theory.checks import Refusal

Pooling = Callable[[Any], Any]

ORIENTATION: Mapping[str, int] = MappingProxyType(
    {"std": 1, "l4_over_l2": 1, "kurtosis": 1, "participation_ratio": -1, "gini": 1, "max_share": 1}
)
"""Sign by which each score of `Spikiness` becomes larger for memorized, that is spikier, representations."""


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
            raise Refusal(f"{name} must hold numbers; got dtype {h.dtype}")
    result = checks.array(name, h, ndim=h.ndim)
    return result.astype(jnp.float32) if result.dtype.itemsize < 4 else result


def spikiness(h: Any) -> Spikiness:
    """All the scores of h, shape (..., p), over its last axis; each has shape (...).

    Works under jit, vmap and grad. Scale-free scores are computed from h/max|h|, so nothing over- or underflows.

    Args:
        h: Activations: a JAX or NumPy array, or a torch tensor.

    Raises:
        ValueError: `h` is a scalar, empty, or has NaN or infinite entries.

    >>> import jax.numpy as jnp
    >>> from dae_theory import representation
    >>> scores = representation.spikiness(jnp.array([[0.0, 5.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    >>> print(scores.participation_ratio, scores.max_share)
    [1. 4.] [1.   0.25]
    """
    return Spikiness(**_scores(h, tuple(_FORMULAS)))


def score(h: Any, name: str) -> Array:
    """One of the scores of `Spikiness` alone, (..., p) → (...): what the others would cost is not computed.

    Raises:
        ValueError: `name` is none of them; as `spikiness`.
    """
    if name not in _FORMULAS:
        raise Refusal(f"name must be one of {list(_FORMULAS)}; got {name!r}")
    return _scores(h, (name,))[name]


def numpy_scores(h: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Some of the scores of `Spikiness` of a NumPy array (..., p), in NumPy alone: nothing goes through a device.

    For streams of many small batches, where handing arrays to JAX and back costs more than the scores.

    Raises:
        ValueError: `h` has no axis or has NaN or infinite entries; a name is none of a score.

    >>> import numpy as np
    >>> from dae_theory import representation
    >>> print(representation.numpy_scores(np.array([[0.0, 5.0, 0.0], [1.0, 1.0, 1.0]]), ["participation_ratio"]))
    {'participation_ratio': array([1., 3.])}
    """
    unknown = [name for name in names if name not in _FORMULAS]
    if unknown:
        raise Refusal(f"names must be among {list(_FORMULAS)}; got {unknown[0]!r}")
    if h.ndim == 0:
        raise Refusal("h must have at least one axis; got a scalar")
    h = h.astype(np.float32) if h.dtype.itemsize < 4 or h.dtype.kind != "f" else h
    if not np.isfinite(h).all():
        raise Refusal("h must be finite; got NaN or infinity")
    with np.errstate(invalid="ignore"):
        return _evaluate(np, h, tuple(names))


def _scores(h: Any, names: tuple[str, ...]) -> dict[str, Array]:
    h = as_array("h", h)
    if h.ndim == 0:
        raise Refusal("h must have at least one axis; got a scalar")
    if checks.is_traced(h) or any(device.platform != "cpu" for device in h.devices()):
        return _compiled(h, names)
    # NumPy sorts 30 times as fast as XLA on a CPU, and compiles nothing.
    with np.errstate(invalid="ignore"):
        return {name: jnp.asarray(value, dtype=h.dtype) for name, value in _evaluate(np, np.asarray(h), names).items()}


def _evaluate(xp: Any, h: Any, names: tuple[str, ...]) -> dict[str, Any]:
    parts = _Parts(xp, h)
    return {name: _FORMULAS[name](parts) for name in names}


_compiled = jax.jit(partial(_evaluate, jnp), static_argnums=1)


class _Parts:
    """What the formulas share, each computed when it is first asked for, in the functions of `xp` (JAX's or NumPy's).

    Sums are over u = h/max|h|; with a zero vector they are 0, and the formulas 0/0 = NaN as promised.
    """

    def __init__(self, xp: Any, h: Any):
        self.xp, self.h, self.p = xp, h, h.shape[-1]
        self.peak = xp.max(xp.abs(h), axis=-1, keepdims=True)
        # The inner wheres here and in `spread` keep gradients elsewhere clean.
        self.unit = h / xp.where(self.peak > 0, self.peak, xp.ones_like(self.peak))

    @cached_property
    def square(self) -> Any:
        return self.unit**2

    @cached_property
    def second(self) -> Any:
        return self.xp.sum(self.square, axis=-1)

    @cached_property
    def fourth(self) -> Any:
        return self.xp.sum(self.square * self.square, axis=-1)

    @cached_property
    def deviation(self) -> Any:
        """(u − mean)²."""
        return (self.unit - self.xp.mean(self.unit, axis=-1, keepdims=True)) ** 2

    @cached_property
    def constant(self) -> Any:
        """Whether all entries are equal: the variance is then rounding noise, the mean being off by a few eps."""
        return self.xp.max(self.h, axis=-1) == self.xp.min(self.h, axis=-1)

    @cached_property
    def spread(self) -> Any:
        """m₂, and 1 for a constant vector."""
        variance = self.xp.mean(self.deviation, axis=-1)
        return self.xp.where(self.constant, self.xp.ones_like(variance), variance)


def _std(q: _Parts) -> Any:
    return q.xp.where(q.constant, q.xp.zeros_like(q.spread), q.xp.sqrt(q.spread)) * q.peak[..., 0]


def _kurtosis(q: _Parts) -> Any:
    fourth = q.xp.mean(q.deviation * q.deviation, axis=-1)
    return q.xp.where(q.constant, q.xp.full_like(fourth, q.xp.nan), fourth / q.spread**2 - 3)


def _gini(q: _Parts) -> Any:
    rank = (2 * q.xp.arange(1, q.p + 1) - q.p - 1).astype(q.h.dtype)
    ordered = q.xp.sort(q.xp.abs(q.unit), axis=-1)
    return ordered @ rank / (q.p * q.xp.sum(ordered, axis=-1))


_FORMULAS: Mapping[str, Callable[[_Parts], Any]] = MappingProxyType(
    {
        "std": _std,
        "l4_over_l2": lambda q: q.xp.sqrt(q.xp.sqrt(q.fourth) / q.second),
        "kurtosis": _kurtosis,
        "participation_ratio": lambda q: q.second**2 / q.fourth,
        "gini": _gini,
        "max_share": lambda q: q.xp.max(q.square, axis=-1) / q.second,
    }
)


def flatten(h: Any) -> Any:
    """No pooling: all activations of a sample as one vector, (batch, ...) → (batch, features)."""
    return h.reshape(h.shape[0], -1)


def _positions(h: Any, channel_axis: int) -> tuple[int, ...]:
    axes = h.ndim
    if isinstance(channel_axis, bool) or not isinstance(channel_axis, int) or not -axes <= channel_axis < axes:
        raise Refusal(f"channel_axis must be an axis of activations {tuple(h.shape)}; got {channel_axis!r}")
    channel = channel_axis % axes
    if channel == 0:
        raise Refusal(f"channel_axis must not be the batch axis 0; got {channel_axis} for activations {tuple(h.shape)}")
    return tuple(axis for axis in range(1, axes) if axis != channel)


def spatial_max(h: Any, *, channel_axis: int = -1) -> Any:
    """Largest activation of each channel over positions, (batch, ..., channels) → (batch, channels).

    Of JAX and NumPy arrays, and of torch tensors, which stay tensors on their device. Torch's convolutions keep
    channels on axis 1: `functools.partial(spatial_max, channel_axis=1)`.

    Raises:
        ValueError: `channel_axis` is no axis of h, or the batch's.
    """
    positions = _positions(h, channel_axis)
    if hasattr(h, "detach"):  # a torch tensor, without importing torch here
        return h.amax(dim=positions) if positions else h
    return jnp.max(h, axis=positions)


def spatial_mean(h: Any, *, channel_axis: int = -1) -> Any:
    """Mean activation of each channel over positions, (batch, ..., channels) → (batch, channels); as `spatial_max`.

    Raises:
        ValueError: `channel_axis` is no axis of h, or the batch's.
    """
    positions = _positions(h, channel_axis)
    if hasattr(h, "detach"):
        return h.mean(dim=positions) if positions else h
    return jnp.mean(h, axis=positions)


def score_batches(batches: Iterable[Any], pooling: Pooling = flatten) -> Spikiness:
    """Scores of every sample of a stream of batches, in order; only one batch is held at a time.

    Args:
        batches: Activations (batch, ...): NumPy, JAX or torch. Batch sizes may differ (each new one compiles once).
        pooling: From (batch, ...) to the vectors to be scored: `flatten`, `spatial_max`, `spatial_mean`, your own.

    Raises:
        ValueError: There is no batch, or one of them is refused by `spikiness`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import representation
    >>> batches = (jnp.eye(4)[rows] for rows in (slice(0, 2), slice(2, 4)))
    >>> print(representation.score_batches(batches).participation_ratio)
    [1. 1. 1. 1.]
    """
    scores = []
    for batch in batches:
        h = as_array("batches", batch)
        if h.ndim < 2:
            raise Refusal(f"batches must hold arrays of shape (batch, ...); got shape {h.shape}")
        scores.append(spikiness(pooling(h)))
    if not scores:
        raise Refusal("batches must hold at least one batch; got none")
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *scores)
