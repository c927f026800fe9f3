"""Local descent of (6) over encoders alone: the best decoder of an encoder is known.

At given W₁, (6) is quadratic in W₂ and minimal at W₂ᵀ = (Γ + λ)⁻¹B, Γ = E hhᵀ and B = E h xᵀ, so that

    φ(W₁) = E‖x‖² − tr(Bᵀ(Γ + λ)⁻¹B) + λ‖W₁‖²

has the minimizers of (6), half as many variables, and ∂φ = ∂L/∂W₁ at that W₂.
"""

import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.optimize
from jax.typing import ArrayLike
from threadpoolctl import threadpool_limits

from dae_theory import checks
from dae_theory.certify.minimizer.tiles import Data, Pairs, on_host, singles
from dae_theory.certify.objective import checked
from dae_theory.certify.polishing import Polished
from dae_theory.model import Weights

MEMORY = 40  # of L-BFGS


def best_decoder(data: Data, encoder: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """φ, W₂ (d, p) and ∂φ (d, p)."""
    own, pairs = singles(data, encoder), Pairs(data, encoder)
    overlap = own.first.T @ (data.share[:, None] * data.x)
    matrix = pairs.value + data.weight_decay * np.eye(encoder.shape[1])
    decoder = scipy.linalg.cho_solve(scipy.linalg.cho_factor(matrix, lower=True), overlap).T
    value = data.energy - float(np.sum(overlap * decoder.T)) + data.weight_decay * float(np.sum(encoder**2))
    weight = data.share[:, None] * (data.x @ decoder)
    direct = data.x.T @ (weight * own.gate) + data.noise_std**2 * encoder * np.sum(weight * own.density, axis=0)
    return value, decoder, 2 * (pairs.slope(decoder.T @ decoder) - direct + data.weight_decay * encoder)


def settle(
    weights: Weights,
    x: ArrayLike,
    *,
    noise_std: ArrayLike,
    weight_decay: ArrayLike,
    tolerance: float = 1e-6,
    max_steps: int = 1000,
) -> Polished:
    """A stationary point of the exact objective (6) downhill from the given encoder, with the best decoder.

    L-BFGS on φ(W₁) = min over W₂ of (6), for nets of any number of neurons; `polish` goes down in both matrices and
    squares the error at its end, at the cost of a Hessian. Runs on the host: neither jit nor vmap; one program is
    compiled, whatever the sizes. Failure is data (`converged`).

    Args:
        weights: decoder and encoder, (d, p) each, float64; the decoder does not count.
        x: samples, (n, d).
        noise_std: σ > 0.
        weight_decay: λ > 0: without decay the best decoder is not unique.
        tolerance: gradient norm to reach, > 0.
        max_steps: of L-BFGS, ≥ 1.

    Raises:
        ValueError: bad weights, samples, σ, λ, tolerance or number of steps, or single precision.

    >>> import jax.numpy as jnp
    >>> from dae_theory import certify, symmetry, theory
    >>> x = jnp.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    >>> numbers = {"noise_std": 0.1, "weight_decay": 0.1}
    >>> stored = theory.memorizing_weights(x, **numbers)
    >>> ended = certify.settle(type(stored)(stored.decoder, stored.encoder + 0.1), x, **numbers)
    >>> print(ended.converged, symmetry.match(ended.weights, stored).distance < 1e-4)
    True True
    """
    checks.positive("weight_decay", weight_decay)
    checks.positive("tolerance", tolerance)
    checks.shape("tolerance", tolerance, ())
    max_steps = checks.integer("max_steps", max_steps, 1)
    weights, objective = checked(weights, x, noise_std=noise_std, weight_decay=weight_decay)
    data = on_host(objective)
    with threadpool_limits(limits=1, user_api="blas"):
        encoder, decoder, steps = _descend(data, np.asarray(weights.encoder), max_steps, float(tolerance))
        value, _, slope = best_decoder(data, encoder)
    steepness = float(np.linalg.norm(slope))  # the decoder's part of the gradient is zero
    return Polished(
        Weights(jnp.asarray(decoder), jnp.asarray(encoder)),
        jnp.asarray(value),
        jnp.asarray(steepness),
        jnp.asarray(steepness <= tolerance),
        jnp.asarray(steps),
    )


def descend(data: Data, encoder: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Encoder and its best decoder after some steps of L-BFGS on φ."""
    return _descend(data, encoder, steps, 0.0)[:2]


def _descend(data: Data, encoder: np.ndarray, steps: int, tolerance: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Encoder, its best decoder, and how many steps it took until the gradient was small."""

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, _, slope = best_decoder(data, flat.reshape(encoder.shape))
        return value, slope.ravel()

    # a norm is at most √(number of entries) times the largest entry: with this bound it is within the tolerance
    slope = max(1e-12, tolerance / np.sqrt(encoder.size))
    options = {"maxiter": steps, "maxfun": 3 * steps, "maxcor": MEMORY, "ftol": 1e-15, "gtol": slope}
    ended = scipy.optimize.minimize(value_and_slope, encoder.ravel(), jac=True, method="L-BFGS-B", options=options)
    encoder = ended.x.reshape(encoder.shape)
    return encoder, best_decoder(data, encoder)[1], int(ended.nit)
