"""Silencing in closed form, two-layer nets: is a sample carried by one neuron, and how redundant are all?

With the noise integrated, m = E h(x + σε) and S = E h hᵀ (`gaussian.relu_moments`), the loss of a sample and what it
gains when neuron a with decoder column w_a is silenced, f_a = f − w_a h_a, are

    L(x) = tr(W₂ S W₂ᵀ) − 2 xᵀW₂ m + ‖x‖²,   Δ_a(x) = −2 w_aᵀW₂ S e_a + 2 w_aᵀx m_a + ‖w_a‖² S_aa.

A memorizing net (9) has one neuron a sample: Δ is the whole of what was stored, L(x) + Δ_a(x) = ‖x‖², and no other
sample notices. A generalizing one spreads a little over all. With every neuron kept with probability q and rescaled
by 1/q,

    E_q‖f_q − x‖² = L(x) + (1 − q)/q Σ_a ‖w_a‖² S_aa,

so k copies of each neuron (weights over √k) lower the excess k times: a net that is redundant loses little (the error
of a chunk of the neurons falls as chunk^(−1/2) in Doimo et al., NeurIPS 2022).

What is said along the sample is a sum over neurons, E⟨f, x⟩ = Σ_a ⟨w_a, x⟩ m_a, of which neuron a contributes the share
s_a. Where f(x + σε) is near x, and (1 − s_a) x without neuron a, Δ_a is near s_a² ‖x‖²: a neuron that contributes .85
of a sample carries .72 of it by Δ.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int

from dae_theory import checks, gaussian
from dae_theory.checks import Refusal
from dae_theory.directions import unit
from dae_theory.model import Weights


@struct.dataclass
class KnockOut:
    """What silencing the neuron most active on each of n samples does.

    Attributes:
        neuron: The neuron with the largest mean activation m_a on each sample, (n,).
        loss: L of each sample with all neurons, (n,).
        own: Δ of the silenced neuron on its own sample, (n,).
        others: Its mean Δ over the other samples, (n,); NaN for a single sample.
        share: own/‖x‖², 1 − L/‖x‖² when the sample is wholly lost, (n,).
    """

    neuron: Int[Array, " n"]
    loss: Float[Array, " n"]
    own: Float[Array, " n"]
    others: Float[Array, " n"]
    share: Float[Array, " n"]


def knock_out_effects(
    weights: Weights, x: Any, *, noise_std: Any
) -> tuple[Float[Array, " n"], Float[Array, "n p"], Float[Array, "n p"]]:
    """L of every sample (n,), Δ_a of every neuron on every sample (n, p), and the mean activations m (n, p).

    Exact in the noise; p² numbers are held for one sample at a time.

    Args:
        weights: The net (5).
        x: samples, (n, d).
        noise_std: σ ≥ 0.

    Raises:
        ValueError: `x` does not fit the weights; `noise_std` is negative.

    >>> import jax.numpy as jnp
    >>> from dae_theory import knock_out, model
    >>> net = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> loss, effects, _ = knock_out.knock_out_effects(net, jnp.array([[3.0, 4.0]]), noise_std=0.0)
    >>> print(loss, effects)
    [0.] [[ 9. 16.]]
    """
    x = checks.samples("x", x)
    checks.shape("x", x, (x.shape[0], weights.decoder.shape[0]))
    checks.non_negative("noise_std", noise_std)
    return _effects(weights, x.astype(weights.decoder.dtype), jnp.asarray(noise_std, weights.decoder.dtype))


@jax.jit
def _effects(weights: Weights, x: Array, noise_std: Array) -> tuple[Array, Array, Array]:
    covariance = noise_std**2 * (weights.encoder.T @ weights.encoder)
    gram = weights.decoder.T @ weights.decoder

    def one(row: Array) -> tuple[Array, Array, Array]:
        first, second = gaussian.relu_moments(row @ weights.encoder, covariance)
        overlap = row @ weights.decoder
        loss = jnp.sum(gram * second) - 2 * overlap @ first + row @ row
        effect = -2 * jnp.sum(gram * second, axis=0) + 2 * overlap * first + jnp.diag(gram) * jnp.diag(second)
        return loss, effect, first

    return lax.map(one, x)


def knock_out(weights: Weights, x: Any, *, noise_std: Any) -> KnockOut:
    """Silence, for each sample in turn, the neuron that is most active on it.

    Args:
        weights: The net (5).
        x: samples, (n, d).
        noise_std: σ ≥ 0.

    Raises:
        ValueError: As `knock_out_effects`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import knock_out, model
    >>> net = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> found = knock_out.knock_out(net, jnp.array([[3.0, 0.0], [0.0, 4.0]]), noise_std=0.0)
    >>> print(found.neuron, found.own, found.others)
    [0 1] [ 9. 16.] [0. 0.]
    """
    loss, effects, active = knock_out_effects(weights, x, noise_std=noise_std)
    neuron = jnp.argmax(active, axis=1)
    silenced = effects[:, neuron]  # (sample that notices, sample whose neuron it is)
    own, count = jnp.diag(silenced), silenced.shape[0]
    total = jnp.sum(silenced, axis=0)
    norms = jnp.sum(checks.samples("x", x).astype(loss.dtype) ** 2, axis=1)
    others = (total - own) / (count - 1) if count > 1 else jnp.full_like(own, jnp.nan)
    return KnockOut(neuron=neuron, loss=loss, own=own, others=others, share=own / norms)


def contributions(weights: Weights, x: Any, *, noise_std: Any) -> Float[Array, "n p"]:
    """s_a = ⟨w_a, x⟩ E h_a / E⟨f, x⟩, the share of what the net says along each sample that each neuron contributes.

    They sum to 1 for every sample; a neuron whose column points away from the sample has a negative one.

    Args:
        weights: The net (5).
        x: samples, (n, d).
        noise_std: σ ≥ 0.

    Raises:
        ValueError: As `knock_out_effects`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import knock_out, model
    >>> net = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> print(knock_out.contributions(net, jnp.array([[1.0, 3.0]]), noise_std=0.0))
    [[0.1 0.9]]
    """
    x = checks.samples("x", x)
    checks.shape("x", x, (x.shape[0], weights.decoder.shape[0]))
    checks.non_negative("noise_std", noise_std)
    x = x.astype(weights.decoder.dtype)
    variance = jnp.asarray(noise_std, x.dtype) ** 2 * jnp.sum(weights.encoder**2, axis=0)
    first = gaussian.relu(gaussian.marginal(x @ weights.encoder, variance[None])).first
    said = (x @ weights.decoder) * first
    return said / jnp.sum(said, axis=1, keepdims=True)


def alignment(weights: Weights, x: Any) -> Float[Array, "n p"]:
    """The smaller of the cosines of a neuron's two columns with each sample; that with a zero column is 0.

    Raises:
        ValueError: `x` does not fit the weights.

    >>> import jax.numpy as jnp
    >>> from dae_theory import knock_out, model
    >>> print(knock_out.alignment(model.Weights(jnp.eye(2), jnp.eye(2)), jnp.array([[0.6, 0.8]])))
    [[0.6 0.8]]
    """
    x = checks.samples("x", x)
    checks.shape("x", x, (x.shape[0], weights.decoder.shape[0]))
    rows = unit(x.astype(weights.decoder.dtype))
    cosines = []
    for columns in (weights.encoder, weights.decoder):
        lengths = jnp.linalg.norm(columns, axis=0)
        cosines.append(rows @ (columns / jnp.where(lengths > 0, lengths, 1)[None]))
    return jnp.minimum(*cosines)


def kept_share_loss(weights: Weights, x: Any, share: Any, *, noise_std: Any) -> Float[Array, " n"]:
    """Mean loss E_q‖f_q(x + σε) − x‖² of every sample when each neuron is kept with probability q and rescaled, (n,).

    Args:
        weights: The net (5).
        x: samples, (n, d).
        share: q in (0, 1].
        noise_std: σ ≥ 0.

    Raises:
        ValueError: `share` is outside (0, 1]; as `knock_out_effects`.

    >>> import jax.numpy as jnp
    >>> from dae_theory import knock_out, model
    >>> net = model.Weights(jnp.eye(2), jnp.eye(2))
    >>> print(knock_out.kept_share_loss(net, jnp.array([[3.0, 4.0]]), 0.5, noise_std=0.0))
    [25.]
    """
    if not checks.is_traced(share) and not 0 < share <= 1:
        raise Refusal(f"share must be in (0, 1]; got {share}")
    loss, _, _ = knock_out_effects(weights, x, noise_std=noise_std)
    power = _power(weights, checks.samples("x", x).astype(loss.dtype), jnp.asarray(noise_std, loss.dtype))
    return loss + (1 - share) / share * power


@jax.jit
def _power(weights: Weights, x: Array, noise_std: Array) -> Array:
    """Σ_a ‖w_a‖² S_aa of every sample, (n,)."""
    squares = jnp.sum(weights.decoder**2, axis=0)
    deviation = noise_std * jnp.linalg.norm(weights.encoder, axis=0)

    def one(row: Array) -> Array:
        _, second = gaussian.relu_moments(row @ weights.encoder, jnp.diag(deviation**2))
        return squares @ jnp.diag(second)

    return lax.map(one, x)
