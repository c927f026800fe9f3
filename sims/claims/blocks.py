"""Claims on blocks of samples: (7)-(8), what Thm 3.1 leaves unsaid (erratum 4), and copies beside them, [X3]."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import data, theory
from dae_theory.compare import Row
from dae_theory.model import Weights, jacobian
from dae_theory.randomness import derive
from sims.claims.claim import (
    ACCURACY,
    DIMENSION,
    Problem,
    bounded,
    derivative,
    draw,
    exact,
    slope,
    stack,
    unstack,
    vertex,
)

COMPONENTS, RANK, SIZE, DECAY = 3, 2, 20, 1e-3
RANKS = (RANK,) * COMPONENTS


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    key = derive(root, "blocks")
    return [*_finite(key), *_pointing(key), *_hybrid(key)]


def _clusters(key: Any, radius: float, spread: float, noise_std: float, clean: bool) -> tuple[Problem, Any, Weights]:
    """Samples of a mixture, their labels, and (7)-(8); directions of spread are orthogonal to all means if clean."""
    mixture = data.simplex_mixture(
        derive(key, "components"),
        dimension=DIMENSION,
        components=COMPONENTS,
        radius=radius,
        rank=RANK,
        spread=spread,
        clean=clean,
    )
    drawn = mixture.sample_balanced(derive(key, "samples"), SIZE)
    problem = Problem(np.asarray(drawn.x), noise_std, DECAY)
    return problem, drawn.labels, theory.block_weights(problem.x, drawn.labels, RANKS, **problem.numbers)


def _finite(key: Any) -> list[Row]:
    """(7)-(8): stationary and of non-negative curvature where the gates are sure, and not where they are not.

    Long since one line a claim.
    """
    near, _, near_weights = _clusters(key, 3.0, 0.1, 0.1, clean=True)
    loose, labels, loose_weights = _clusters(key, 3.0, 0.3, 0.1, clean=False)
    margin = theory.margins(loose_weights, loose.x, labels, theory.block_of_neuron(RANKS), noise_std=0.1)
    far, labels, weights = _clusters(key, 6.0, 0.3, 0.1, clean=True)
    noisy, _, noisy_weights = _clusters(key, 6.0, 0.3, 0.2, clean=True)

    curvatures = np.linalg.eigvalsh(_hessian(far, stack(weights)))
    rounding = ACCURACY * curvatures.size * np.max(np.abs(curvatures))
    flat = np.abs(curvatures) <= rounding
    quarter = jnp.asarray(np.linalg.qr(draw(key, "turn").standard_normal((RANK, RANK)))[0])
    turned = jax.tree.map(lambda part: part.at[:, :RANK].set(part[:, :RANK] @ quarter), weights)

    gains = np.asarray(theory.block_gains(far.x, labels, RANKS, **far.numbers))
    mean = far.x[np.asarray(labels) == 0].mean(axis=0)
    singular = np.linalg.svd(np.asarray(jacobian(weights, jnp.asarray(mean))), compute_uv=False)
    spectrum = theory.sample_spectrum(far.x, labels)
    second = np.asarray(spectrum.directions[0, :, RANK - 1])

    def at_gain(gain: float) -> float:
        """L with the second direction of block 0 at the given gain, the rest of the block as it is."""
        values = stack(weights)
        stretch = np.sqrt(gain / gains[0, RANK - 1]) - 1
        values[:, :, :RANK] += stretch * second[None, :, None] * (second @ values[:, :, :RANK])[:, None, :]
        return far.loss(unstack(values))

    start = 2 * (DECAY - float(spectrum.eigenvalues[0, RANK - 1] * spectrum.proportions[0]))
    size = float(np.mean(np.sum(far.x**2, axis=1)))
    return [
        exact("(7)-(8)", "stationary: gradient norm, radius 3, spread 0.1, σ = 0.1", 0, near.steepness(near_weights)),
        exact("(7)-(8)", "stationary: gradient norm, radius 6, spread 0.3, σ = 0.1", 0, far.steepness(weights)),
        bounded("(7)-(8)", "gradient norm, radius 6, spread 0.3, σ = 0.2", noisy.steepness(noisy_weights), "≤", 1e-8),
        bounded(
            "Thm 3.1",
            f"not stationary, spread at random to the means, margin {float(margin.worst):.1f}: gradient norm",
            loose.steepness(loose_weights),
            "≥",
            ACCURACY,
        ),
        bounded(
            "Thm 3.1",
            "O_k is not free: gradient norm with one block turned at random",
            far.steepness(turned),
            "≥",
            ACCURACY,
        ),
        bounded(
            "Thm 3.1",
            "a local minimum: least curvature of all, up to rounding",
            curvatures[0],
            "≥",
            0,
            tolerance=rounding,
        ),
        exact("[X8]", "flat directions: Σ_k p_k(p_k − 1)/2", COMPONENTS * RANK * (RANK - 1) / 2, flat.sum()),
        exact(
            "(8)",
            "gain of a direction, (Λ_j − nλ)/(Λ_j + n_kσ²), where the exact objective is least",
            gains[0, RANK - 1],
            vertex(at_gain, 0.3),
            size=size,
        ),
        exact(
            "(8)",
            "a direction starts to be kept at Λ_j = nλ: slope of L in its gain at zero, 2(λ − Λ_j/n)",
            start,
            slope(at_gain, 0.3),
            size=size,
        ),
        exact(
            "(7)-(8)",
            "objective of (7)-(8) in closed form",
            theory.block_objective(far.x, labels, RANKS, **far.numbers),
            far.loss(weights),
        ),
        exact(
            "(8)",
            "J on cluster k: rank p_k, singular values a_j",
            np.pad(gains[0, :RANK], (0, DIMENSION - RANK)),
            singular,
        ),
    ]


def _hessian(problem: Problem, values: np.ndarray) -> np.ndarray:
    """Second derivatives of (6), by differences of the exact gradient that are exact while the gates are sure."""
    rows = []
    for index in np.ndindex(values.shape):
        direction = np.zeros_like(values)
        direction[index] = 1.0
        rows.append(derivative(lambda t, d=direction: problem.gradient(unstack(values + t * d)), 0.01).ravel())
    hessian = np.stack(rows)
    return (hessian + hessian.T) / 2


def _pointing(key: Any) -> list[Row]:
    """Erratum 4, second half: a direction of spread that points at another mean, at the same α and β."""
    means = np.zeros((COMPONENTS, DIMENSION))
    means[0, 0], means[1, :2], means[2, :2] = 4.0, (-2.0, 4.0), (-2.0, -4.0)
    draws = draw(key, "pointing").standard_normal((COMPONENTS, SIZE))
    draws = (draws - draws.mean(axis=1, keepdims=True)) / draws.std(axis=1, keepdims=True)
    steepness, separability = [], []
    for axis in (2, 1):  # orthogonal to all means; along what the other means have orthogonal to the first
        x = np.repeat(means, SIZE, axis=0)
        labels = np.repeat(np.arange(COMPONENTS), SIZE)
        x[np.arange(len(x)), np.asarray([axis, 3, 4])[labels]] += 0.8 * draws.ravel()
        problem = Problem(x, 0.1, DECAY)
        steepness.append(problem.steepness(theory.block_weights(x, labels, RANKS, **problem.numbers)))
        separability.append(data.separability(x, labels))
    return [
        exact(
            "Thm 3.1",
            "same α and β for directions of spread away from the other mean and towards it",
            [separability[0].alpha, separability[0].beta],
            [separability[1].alpha, separability[1].beta],
            erratum=4,
        ),
        exact(
            "Thm 3.1",
            "directions of spread away from the other mean: gradient norm at (7)-(8)",
            0,
            steepness[0],
            erratum=4,
        ),
        bounded(
            "Thm 3.1",
            "towards it the formula is not near a minimum: gradient norm; printed: vanishes",
            steepness[1],
            "≥",
            ACCURACY,
            tolerance=ACCURACY,
            printed=0.0,
            erratum=4,
        ),
    ]


def _hybrid(key: Any) -> list[Row]:
    """Cor. 3.4, [X3]: copies of a sample beside two clusters."""
    copies = size = SIZE
    mixture = data.simplex_mixture(
        derive(key, "components"),
        dimension=DIMENSION,
        components=COMPONENTS,
        radius=6.0,
        rank=RANK,
        spread=0.3,
        clean=True,
    )
    labels = np.repeat([0, 1, 2], [copies, size, size])
    spread = np.asarray(mixture.sample_balanced(derive(key, "hybrid"), size).x).reshape(size, COMPONENTS, DIMENSION)
    x = np.concatenate([np.tile(np.asarray(mixture.means[0]), (copies, 1)), spread[:, 1], spread[:, 2]])
    problem = Problem(x, 0.1, 0.01)
    weights = theory.block_weights(x, labels, (1, RANK, RANK), **problem.numbers)
    squares = float(np.sum(x[0] ** 2))

    def at_length(square: float) -> float:
        values = stack(weights)
        values[:, :, 0] = np.sqrt(square / squares) * x[0]
        return problem.loss(unstack(values))

    predicted = theory.duplicate_norm_squared(x[0], copies=copies, samples=len(x), **problem.numbers)
    threshold = theory.survival_copies(x[0], samples=len(x), weight_decay=problem.weight_decay)
    # at m copies L has the slope 2(λ − m‖x‖²/n) in the neuron's squared length at zero: the m where that vanishes
    crossing = copies + slope(at_length, 0.3) * len(x) / (2 * squares)
    return [
        exact("Cor. 3.4", "copies beside clusters: gradient norm", 0, problem.steepness(weights)),
        exact(
            "[X3]",
            "‖w‖² = (m‖x‖² − nλ)/(m(‖x‖² + σ²)) where the exact objective is least",
            predicted,
            vertex(at_length, 0.3),
            size=squares,
        ),
        exact("[X3]", "a copied sample survives from m* = nλ/‖x‖² copies on", threshold, crossing, size=len(x)),
    ]
