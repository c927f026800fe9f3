"""Claims on the population: Cor. 3.3 and its test loss [X4], with the printed forms (errata 1 and 2)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import data, risk, theory
from dae_theory.compare import Row
from dae_theory.model import Weights, denoise, represent
from dae_theory.randomness import derive
from dae_theory.representation import spikiness
from sims.claims.claim import (
    DIMENSION,
    derivative,
    draw,
    exact,
    sampled,
    stack,
    unstack,
    vertex,
)

COMPONENTS, RANK, SIZE, DECAY = 3, 2, 20, 1e-3
RANKS = (RANK,) * COMPONENTS


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    key = derive(root, "blocks")
    return [*_population(key, config.draws)]


def _population(key: Any, draws: int) -> list[Row]:
    """Cor. 3.3 on a mixture whose gates are sure, against the exact risk over samples and noise.

    Long since one line a claim.
    """
    noise_std, decay = 0.2, 0.005
    mixture = data.simplex_mixture(
        derive(key, "components"),
        dimension=DIMENSION,
        components=COMPONENTS,
        radius=8.0,
        rank=1,
        spread=0.3,
        clean=True,
    )
    numbers = {"noise_std": noise_std, "weight_decay": decay}
    weights = theory.population_weights(mixture, RANKS, **numbers, rotation_steps=0)

    def objective(weights: Weights) -> float:
        loss = risk.mixture_loss(weights, mixture, noise_std=noise_std)
        return float(loss) + decay * float(np.sum(stack(weights) ** 2))

    values = stack(weights)
    directions = draw(key, "directions").standard_normal((20, *values.shape))
    slopes = [derivative(lambda t, d=d: objective(unstack(values + t * d)), 0.01) for d in directions]
    second = np.asarray(mixture.factors[0, :, 0]) / 0.3
    gain, printed = (
        second @ np.asarray(of(mixture, RANKS, **numbers)[0]) @ second
        for of in (theory.population_filter, theory.printed_population_filter)
    )

    def at_gain(square: float) -> float:
        """Objective with the direction of spread of component 0 at another gain."""
        stretch = np.sqrt(square / gain) - 1
        moved = values.copy()
        moved[:, :, :RANK] += stretch * second[None, :, None] * (second @ values[:, :, :RANK])[:, None, :]
        return objective(unstack(moved))

    free = theory.population_weights(mixture, RANKS, noise_std=noise_std, weight_decay=0.0, rotation_steps=0)
    loss = theory.population_loss(mixture, RANKS, noise_std=noise_std)
    wrong = float(theory.printed_population_loss(mixture, RANKS, noise_std=noise_std))
    x = mixture.sample(derive(key, "test"), draws).x
    y = x + noise_std * jnp.asarray(draw(key, "test noise").standard_normal(x.shape))
    errors = np.sum((np.asarray(denoise(free, y)) - np.asarray(x)) ** 2, axis=1)
    hidden = represent(weights, mixture.means[0])
    size = float(np.sum(np.asarray(mixture.means[0]) ** 2))
    return [
        exact(
            "Cor. 3.3",
            "stationary under the population: slope along random directions, worst of 20",
            0,
            slopes,
            size=size,
        ),
        exact(
            "Cor. 3.3",
            "(S_k + σ²I)⁻¹ not (S_k + σI)⁻¹: gain of the direction of spread, e = 0.09, σ = 0.2",
            gain,
            vertex(at_gain, 0.3),
            size=size,
            printed=float(printed),
            erratum=1,
        ),
        exact(
            "[X4]",
            "[X4] not the bias alone: test loss at λ = 0, exact",
            loss,
            risk.mixture_loss(free, mixture, noise_std=noise_std),
            size=size,
            printed=wrong,
            erratum=2,
        ),
        sampled(
            "[X4]", "[X4] not the bias alone: test loss at λ = 0, Monte Carlo", loss, errors, printed=wrong, erratum=2
        ),
        exact(
            "[X4]",
            "test loss at any gains, λ > 0",
            theory.population_loss(mixture, RANKS, **numbers),
            risk.mixture_loss(weights, mixture, noise_std=noise_std),
            size=size,
        ),
        exact(
            "Cor. 3.3",
            "balanced: participation ratio of h(μ_k) is p_k, for O_k a reflection",
            RANK,
            spikiness(hidden).participation_ratio,
        ),
        exact("Cor. 3.3", "silent elsewhere: h(μ_k) on foreign neurons", 0, hidden[RANK:]),
        _concentration(key, mixture),
    ]


def _concentration(key: Any, mixture: Any) -> Row:
    """X_kᵀX_k/n_k → S_k: n_k E‖X_kᵀX_k/n_k − S_k‖² = (tr S)² + 2tr Σ² + 4μᵀΣμ − ‖S‖² for Gaussian samples."""
    size, repeats = 100, 200
    x = np.asarray(mixture.sample_component(derive(key, "component"), 0, size * repeats).x)
    x = x.reshape(repeats, size, DIMENSION)
    moment, covariance = (np.asarray(part)[0] for part in (mixture.second_moments(), mixture.covariances()))
    mean = np.asarray(mixture.means[0])
    variance = np.trace(moment) ** 2 + 2 * np.sum(covariance**2) + 4 * mean @ covariance @ mean - np.sum(moment**2)
    squares = size * np.sum((x.swapaxes(1, 2) @ x / size - moment) ** 2, axis=(1, 2))
    return sampled("Cor. 3.3", "S_k from n_k samples: n_k E‖X_kᵀX_k/n_k − S_k‖²", variance, squares)
