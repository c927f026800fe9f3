"""Claims on the memorizing solution: Def. 3.1, (9), Cor. 3.2, [X1], [X2], and the residual of Thm 3.1."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import root as solve
from scipy.stats import norm

from dae_theory import data, theory
from dae_theory.compare import Row
from dae_theory.model import Weights, jacobian, represent
from dae_theory.randomness import derive
from dae_theory.representation import spikiness
from sims.claims.claim import (
    ACCURACY,
    DIMENSION,
    Problem,
    bounded,
    draw,
    exact,
    rounded,
    sampled,
    slope,
    stack,
    unstack,
    within,
)

SAMPLES, RADIUS, DECAY = 5, 3.0, 1e-3
# (σ, ‖R‖² of one matrix) of the simplex with n = p = 5, R = 3, λ = 1e-3
RESIDUALS = ((0.2, "1E-12"), (0.3, "2E-8"), (0.5, "2E-6"), (0.8, "5E-5"), (1.2, "4E-3"))


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    key = derive(root, "memorizing")
    x = data.simplex_means(derive(key, "simplex"), dimension=DIMENSION, components=SAMPLES, radius=RADIUS)
    noise = draw(key, "noise").standard_normal((config.draws, DIMENSION))
    return [
        *_separability(key, x),
        *_memorizing(x, noise),
        *_loss(key, x, noise),
        *_residual(x),
        *_printed_residual(key),
    ]


def _separability(key: Any, x: Any) -> list[Row]:
    """Def. 3.1: negative angles are scarce, and the simplex has the most of them."""
    measured = data.separability(x, np.arange(SAMPLES))
    full = data.simplex_means(derive(key, "full"), dimension=DIMENSION, components=DIMENSION + 1, radius=RADIUS)
    shaken = np.asarray(x) + 0.2 * draw(key, "shaken").standard_normal((200, *x.shape))
    units = shaken / np.linalg.norm(shaken, axis=2, keepdims=True)
    cosines = units @ units.swapaxes(1, 2) - 2 * np.eye(SAMPLES)
    beta = cosines.max(axis=(1, 2))
    return [
        exact("Def. 3.1", "simplex: β = −1/(M−1)", -1 / (SAMPLES - 1), measured.beta),
        exact("Def. 3.1", "a cluster for every sample: α = 0", 0, measured.alpha),
        exact(
            "Def. 3.1",
            "M = d + 1 samples with β < 0 exist: β = −1/d",
            -1 / DIMENSION,
            data.separability(full, np.arange(len(full))).beta,
        ),
        bounded(
            "Def. 3.1",
            "β < 0 forces M ≤ 1 + 1/|β|: the least slack of 200 perturbed simplices",
            np.min(1 + 1 / np.abs(beta[beta < 0]) - SAMPLES),
            "≥",
            0,
        ),
    ]


def _memorizing(x: Any, noise: np.ndarray) -> list[Row]:
    """(9): stationary, the right length, the right survival, one-hot, and of rank one."""
    problem = Problem(np.asarray(x), 0.08, DECAY)
    weights = theory.memorizing_weights(x, **problem.numbers)
    gains = np.asarray(theory.memorizing_gains(x, **problem.numbers))
    polished = _polish(problem, unstack(1.02 * stack(weights)))
    one = Problem(problem.x[:1], 0.08, DECAY)

    def appear(square: float) -> float:
        column = np.sqrt(square) * problem.x[:1].T / RADIUS
        return one.loss(unstack(np.stack([column, column])))

    y = jnp.asarray(problem.x[np.arange(1000) % SAMPLES] + problem.noise_std * noise[:1000])
    singular = np.linalg.svd(np.asarray(jacobian(weights, x[0])), compute_uv=False)
    expected = np.zeros(DIMENSION)
    expected[0] = gains[0]
    noisy = replace(problem, noise_std=0.6)
    fires = (problem.x[0] + noisy.noise_std * noise) @ np.asarray(weights.encoder[:, 1]) > 0
    sure = [replace(problem, noise_std=sigma) for sigma in (0.02, 0.05, 0.1)]
    steepest = max(one.steepness(theory.memorizing_weights(x, **one.numbers)) for one in sure)
    labels = jnp.arange(SAMPLES)
    margin = theory.margins(weights, x, labels, np.arange(SAMPLES), noise_std=noisy.noise_std)
    return [
        exact("(9)", "stationary on the simplex for σ ≤ 0.1: largest gradient norm", 0, steepest),
        exact(
            "(9)",
            "‖w_i‖² = (‖x_i‖² − nλ)/(‖x_i‖² + σ²) at the minimizer found from lengths 2 % off",
            gains,
            np.sum(stack(polished) ** 2, axis=1),
            size=1 / _curvature(problem),
        ),
        exact(
            "(9)",
            "a sample starts to survive at nλ = ‖x_i‖²: slope of L in ‖w‖² at zero, 2(λ − ‖x‖²/n), n = 1",
            2 * (DECAY - RADIUS**2),
            slope(appear, 0.1),
            size=RADIUS**2,
        ),
        exact(
            "Cor. 3.2",
            "one-hot representation: participation ratio of h(x_i + σε), worst of 1000",
            1,
            spikiness(represent(weights, y)).participation_ratio,
        ),
        exact("(9)", "J(x_i) has rank 1 and the singular value (‖x_i‖² − nλ)/(‖x_i‖² + σ²)", expected, singular),
        exact(
            "[X1]",
            "Φ(−margin in units of σ‖w‖) = P(a foreign neuron fires)",
            norm.cdf(-margin.cross),
            theory.firing_probability(weights, x, noise_std=noisy.noise_std)[0, 1],
        ),
        sampled(
            "[X2]",
            "P(neuron j fires on x_i + σε) = Φ(cos_ij ‖x_i‖/σ)",
            theory.gate_error(x, noise_std=noisy.noise_std).firing[0, 1],
            fires,
        ),
    ]


def _loss(key: Any, x: Any, noise: np.ndarray) -> list[Row]:
    """Cor. 3.2: the loss of (9), and where it holds."""
    free = Problem(np.asarray(x), 0.08, 0.0)
    decayed = replace(free, weight_decay=DECAY)
    loss = free.loss(theory.memorizing_weights(x, **free.numbers))
    formula = theory.memorizing_loss(x, noise_std=free.noise_std)

    wide = 4 * DIMENSION
    turn = np.linalg.qr(draw(key, "wide").standard_normal((wide, DIMENSION)))[0]
    embedded = free.x @ turn.T
    more = draw(key, "wide noise").standard_normal((len(noise), wide))
    weights = theory.memorizing_weights(embedded, **free.numbers)
    clean = embedded[0]
    hidden = np.maximum((clean + free.noise_std * more) @ np.asarray(weights.encoder), 0)
    errors = np.sum((hidden @ np.asarray(weights.decoder).T - clean) ** 2, axis=1)

    unit = np.asarray(x) / RADIUS

    def off(margin: float) -> float:
        """Relative error of the formula on a simplex of radius 1."""
        problem = Problem(unit, 1 / ((SAMPLES - 1) * margin), 0.0)
        stated = theory.memorizing_loss(unit, noise_std=problem.noise_std)
        return abs(problem.loss(theory.memorizing_weights(unit, **problem.numbers)) / float(stated) - 1)

    where = "loss by formula, simplex n = 5: relative error at margin R/((n−1)σ) = "
    return [
        exact("Cor. 3.2", "loss at λ → 0: (1/n) Σ σ²‖x_i‖²/(σ² + ‖x_i‖²)", formula, loss),
        exact(
            "Cor. 3.2",
            "objective at λ > 0",
            theory.memorizing_objective(x, **decayed.numbers),
            decayed.loss(theory.memorizing_weights(x, **decayed.numbers)),
        ),
        bounded("Cor. 3.2", "the loss is below σ²", loss, "≤", free.noise_std**2),
        sampled("Cor. 3.2", f"the loss does not depend on d: d = {wide}", formula, errors),
        *(bounded("Cor. 3.2", f"{where}{margin:g}", off(margin), "≤", 0.01) for margin in (5.0, 2.5)),
        *(bounded("Cor. 3.2", f"{where}{margin:g}", off(margin), "≥", 0.01) for margin in (2.0, 1.25)),
    ]


def _residual(x: Any) -> list[Row]:
    """Thm 3.1: the minimizer is the formula plus R, and ‖R‖² decays exponentially in 1/σ²."""
    margin = RADIUS / (SAMPLES - 1)
    squares, gap = {}, 0.0
    rows = []
    for noise_std, claimed in RESIDUALS:
        problem = Problem(np.asarray(x), noise_std, DECAY)
        weights = theory.memorizing_weights(x, **problem.numbers)
        polished = stack(_polish(problem, weights))
        squares[noise_std] = np.sum((polished - stack(weights)) ** 2) / 2
        gap = max(gap, np.max(np.abs(np.diff(np.linalg.norm(polished, axis=1), axis=0))))
        statement = f"‖R‖² of the minimizer, simplex, σ = {noise_std:g}, γ/σ = {margin / noise_std:.3g}"
        rows.append(rounded("Thm 3.1", statement, claimed, squares[noise_std]))
    fall = np.log(squares[0.2] / squares[0.3]) / (margin**2 * (0.3**-2 - 0.2**-2))
    return [
        *rows,
        bounded("Thm 3.1", "‖R‖² ~ e^(−cγ²/σ²): c between σ = 0.2 and 0.3", fall, "≥", 0),
        exact("[X8]", "‖w1_j‖ = ‖w2_j‖ at a minimizer, worst difference over σ = 0.2 … 1.2", 0, gap, size=1 / DECAY),
    ]


def _printed_residual(key: Any) -> list[Row]:
    """Erratum 4, first half: a foreign gate pushes columns off their samples, against a curvature ~ σ² + nλ only.

    An encoder column moved by δ ⟂ x_i costs (σ²a + nλ)‖δ‖²/n = R²(σ² + nλ)‖δ‖²/(n(R² + σ²)), to which the decoder does
    not couple. To first order R is the gradient at the formula over twice that.
    """
    # three samples of one norm and unequal angles: on a simplex R is radial by symmetry
    angles = np.deg2rad([0.0, 105.0, 225.0])
    x = np.zeros((3, DIMENSION))
    x[:, :2] = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x = x @ np.linalg.qr(draw(key, "turn").standard_normal((DIMENSION, DIMENSION)))[0]
    unit = (x / RADIUS).T
    pushes, moves, curvatures = [], [], []
    for decay in (1e-4, 3e-2):
        problem = Problem(x, 0.15, decay)
        weights = theory.memorizing_weights(x, **problem.numbers)
        pushes.append(np.linalg.norm(_tangential(problem.gradient(weights)[1], unit)))
        moved = stack(_polish(problem, weights)) - stack(weights)
        moves.append(np.linalg.norm(_tangential(moved[1], unit)))
        curvatures.append(_curvature(problem))
    predicted = pushes[0] / pushes[1] * curvatures[1] / curvatures[0]
    # the next order: what the foreign gate, at t standard deviations, adds to the curvature, over the curvature
    t = float(theory.margins(weights, x, jnp.arange(3), np.arange(3), noise_std=0.15).worst)
    added = RADIUS**2 / len(x) * (norm.cdf(-t) + t * norm.pdf(t))
    tolerance = predicted * sum(added / curvature for curvature in curvatures)
    return [
        within(
            "Thm 3.1",
            "‖R‖ off the samples, λ = 1e-4 over λ = 3e-2, grows by 1/(σ² + nλ); printed: without",
            float(predicted),
            float(moves[0] / moves[1]),
            float(tolerance),
            printed=float(pushes[0] / pushes[1]),
            erratum=4,
        )
    ]


def _curvature(problem: Problem) -> float:
    """2R²(σ² + nλ)/(n(R² + σ²)), the least curvature of (6) at (9): an encoder column moved off its sample."""
    variance, squares, n = problem.noise_std**2, np.sum(problem.x[0] ** 2), len(problem.x)
    return float(2 * squares * (variance + n * problem.weight_decay) / (n * (squares + variance)))


def _tangential(columns: np.ndarray, unit: np.ndarray) -> np.ndarray:
    return columns - unit * np.sum(columns * unit, axis=0)


def _polish(problem: Problem, start: Weights) -> Weights:
    """The stationary point of the exact objective next to a start; a search that does not end at one gives NaN."""
    shape = stack(start).shape
    found = solve(
        lambda values: problem.gradient(unstack(values.reshape(shape))).ravel(),
        stack(start).ravel(),
        options={"xtol": ACCURACY / 100},
    )
    polished = found.x.reshape(shape)
    reached = problem.steepness(unstack(polished)) <= ACCURACY
    return unstack(polished if reached else np.full(shape, np.nan))
