r"""Silencing by sampling, any network of which hidden neurons can be multiplied by numbers: how few carry a sample?

$$f_c(y): \; h \to c \odot h \text{ in one layer}, \qquad L_c(x) = E\|f_c(x + \sigma\varepsilon) - x\|^2$$

c = 1 is the net, c = 0 silences the layer. What the layer holds of a sample, and the part of it that its k most active
neurons carry, are

$$S(x) = L_0(x) - L_1(x), \qquad \Delta_k(x) / S(x), \quad \Delta_k = L_{c_k} - L_1, \quad c_k = 0 \text{ on the } k, 1
\text{ on the others.}$$

Of a net (5) S = ‖x‖² − L, and for k = 1 the expectation has the closed form of `knock_out`; here it is the mean over
noise draws, the same for every c. With c Bernoulli(q)/q the loss says how redundant the layer is. Neurons of a
convolution or a transformer are channels, silenced at all positions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int, Key

from dae_theory import checks
from dae_theory.checks import Refusal
from dae_theory.randomness import derive

Answer = Callable[[Array, Array], tuple[Array, Array]]
"""(noisy samples (m, d), factors c (m, p)) -> (outputs (m, d), activations (m, p) before the factors)."""


@struct.dataclass
class Silenced:
    """What silencing the most active neurons of one layer does to each of n samples.

    Attributes:
        order: Neurons by mean activation, the most active first, (n, p).
        loss: L_1 of each sample, all neurons at work, (n,).
        empty: L_0, the layer silent, (n,).
        own: Δ_k for each of the counts k, (n, counts).
    """

    order: Int[Array, "n p"]
    loss: Float[Array, " n"]
    empty: Float[Array, " n"]
    own: Float[Array, "n counts"]

    @property
    def carried(self) -> Float[Array, " counts"]:
        """mean Δ_k / mean S, what k neurons carry of what the layer holds of these samples; NaN where that is nothing,
        S ≤ 0.
        """
        stored = jnp.mean(self.empty - self.loss)
        return jnp.where(stored > 0, jnp.mean(self.own, axis=0) / stored, jnp.nan)


def silence(
    key: Key[Array, ""], answer: Answer, x: Any, width: int, *, noise_std: Any, draws: int, counts: tuple[int, ...]
) -> Silenced:
    """Silence, for each sample, the k neurons of a layer that are most active on it.

    Args:
        key: of the noise.
        answer: the network and its layer, JAX functions; a row of its arguments must decide that row of its results.
        x: samples, (n, d).
        width: p, neurons of the layer.
        noise_std: σ ≥ 0.
        draws: noise draws a sample.
        counts: k, each from 1 to p.

    Raises:
        ValueError: a bad key or samples, σ < 0, no draw, or counts out of range.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import layered, model, silencing
    >>> net = layered.of_weights(model.Weights(jnp.eye(2), jnp.eye(2)))
    >>> def answer(y, factors):
    ...     f, hidden = layered.forward(net, y, {0: factors})
    ...     return f, hidden[0]
    >>> x = jnp.array([[3.0, 4.0]])
    >>> found = silencing.silence(jax.random.key(0), answer, x, 2, noise_std=0.0, draws=1, counts=(1, 2))
    >>> print(found.own, found.carried)
    [[16. 25.]] [0.64 1.  ]
    """
    x, noisy = _noisy(key, x, noise_std, draws)
    checks.integer("width", width, 1)
    if any(not 1 <= count <= width for count in counts):
        raise Refusal(f"counts must be from 1 to the width {width}; got {counts}")
    full = jnp.ones((len(x), width), x.dtype)
    loss, active = _mean_loss(answer, x, noisy, full)
    order = jnp.argsort(-active, axis=1)
    rank = jnp.argsort(order, axis=1)
    kept = jnp.stack([jnp.zeros_like(full), *((rank >= count).astype(x.dtype) for count in counts)])
    losses = lax.map(lambda factors: _mean_loss(answer, x, noisy, factors)[0], kept)
    return Silenced(order, loss, losses[0], (losses[1:] - loss[None]).T)


def noticed(
    key: Key[Array, ""], answer: Answer, x: Any, units: Int[Array, " n"], width: int, *, noise_std: Any, draws: int
) -> Float[Array, "n n"]:
    """Loss that sample j gains when the neuron of sample i is silenced, (i, j): the diagonal is a sample's own.

    Args:
        key, answer, x, width, noise_std, draws: as `silence`.
        units: a neuron for each sample, as `Silenced.order[:, 0]`.

    Raises:
        ValueError: as `silence`; `units` are not one a sample.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import layered, model, silencing
    >>> net = layered.of_weights(model.Weights(jnp.eye(2), jnp.eye(2)))
    >>> def answer(y, factors):
    ...     f, hidden = layered.forward(net, y, {0: factors})
    ...     return f, hidden[0]
    >>> x, units = jnp.array([[3.0, 0.0], [0.0, 4.0]]), jnp.array([0, 1])
    >>> print(silencing.noticed(jax.random.key(0), answer, x, units, 2, noise_std=0.0, draws=1))
    [[ 9.  0.]
     [ 0. 16.]]
    """
    x, noisy = _noisy(key, x, noise_std, draws)
    checks.shape("units", units, (len(x),))
    loss, _ = _mean_loss(answer, x, noisy, jnp.ones((len(x), width), x.dtype))

    def without(unit: Array) -> Array:
        factors = (jnp.arange(width) != unit).astype(x.dtype)
        return _mean_loss(answer, x, noisy, jnp.broadcast_to(factors, (len(x), width)))[0] - loss

    return lax.map(without, units)


def kept_at_random(
    key: Key[Array, ""], answer: Answer, x: Any, width: int, share: float, *, noise_std: Any, draws: int
) -> Float[Array, " n"]:
    """Mean loss of every sample when each neuron of the layer is kept with probability q and rescaled by 1/q, (n,).

    Args:
        key, answer, x, width, noise_std, draws: as `silence`; every draw of the noise has neurons of its own.
        share: q in (0, 1].

    Raises:
        ValueError: `share` is outside (0, 1]; as `silence`.

    >>> import jax, jax.numpy as jnp
    >>> from dae_theory import layered, model, silencing
    >>> net = layered.of_weights(model.Weights(jnp.eye(2), jnp.eye(2)))
    >>> def answer(y, factors):
    ...     f, hidden = layered.forward(net, y, {0: factors})
    ...     return f, hidden[0]
    >>> x, key = jnp.array([[3.0, 4.0]]), jax.random.key(0)
    >>> print(silencing.kept_at_random(key, answer, x, 2, 1.0, noise_std=0.0, draws=3))
    [0.]
    """
    if not 0 < share <= 1:
        raise Refusal(f"share must be in (0, 1]; got {share}")
    x, noisy = _noisy(key, x, noise_std, draws)
    keep = jax.random.bernoulli(derive(key, "kept"), share, (draws, len(x), width)).astype(x.dtype) / share
    losses = lax.map(lambda pair: jnp.sum((answer(*pair)[0] - x) ** 2, axis=1), (noisy, keep))
    return jnp.mean(losses, axis=0)


def _noisy(key: Array, x: Any, noise_std: Any, draws: int) -> tuple[Array, Array]:
    """x and x + σε, (draws, n, d)."""
    checks.typed_key("key", key)
    x = checks.samples("x", x)
    checks.non_negative("noise_std", noise_std)
    noise = jax.random.normal(derive(key, "noise"), (checks.integer("draws", draws, 1), *x.shape), x.dtype)
    return x, x[None] + jnp.asarray(noise_std, x.dtype) * noise


def _mean_loss(answer: Answer, x: Array, noisy: Array, factors: Array) -> tuple[Array, Array]:
    """L_c and the mean activations, over the draws."""

    def one(y: Array) -> tuple[Array, Array]:
        output, active = answer(y, factors)
        return jnp.sum((output - x) ** 2, axis=1), active

    losses, active = lax.map(one, noisy)
    return jnp.mean(losses, axis=0), jnp.mean(active, axis=0)
