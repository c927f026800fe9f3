"""Local descent of (6) over encoders alone: the best decoder of an encoder is known.

At given W₁, (6) is quadratic in W₂ and minimal at W₂ᵀ = (Γ + λ)⁻¹B, Γ = E hhᵀ and B = E h xᵀ, so that

    φ(W₁) = E‖x‖² − tr(Bᵀ(Γ + λ)⁻¹B) + λ‖W₁‖²

has the minimizers of (6), half as many variables, and ∂φ = ∂L/∂W₁ at that W₂.
"""

import numpy as np
import scipy.linalg
import scipy.optimize

from dae_theory.certify.minimizer.tiles import Data, Pairs, singles

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


def descend(data: Data, encoder: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Encoder and its best decoder after some steps of L-BFGS on φ."""

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, _, slope = best_decoder(data, flat.reshape(encoder.shape))
        return value, slope.ravel()

    options = {"maxiter": steps, "maxcor": MEMORY, "ftol": 1e-15, "gtol": 1e-12}
    ended = scipy.optimize.minimize(value_and_slope, encoder.ravel(), jac=True, method="L-BFGS-B", options=options)
    encoder = ended.x.reshape(encoder.shape)
    return encoder, best_decoder(data, encoder)[1]
