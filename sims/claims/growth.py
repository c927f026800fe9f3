"""Claims on newcomers: [X5], the thresholds of erratum 3, and the certificate of global optimality."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm

from dae_theory import data, theory
from dae_theory.compare import Row
from dae_theory.model import denoise
from dae_theory.randomness import derive
from sims.claims.claim import ACCURACY, DIMENSION, Problem, bounded, draw, exact, sampled, stack, unstack, within

RADIUS, NOISE = 3.0, 0.3  # one sample, R/σ = 10: its gate is open up to rounding


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    key = derive(root, "growth")
    return [*_second_order(key, config.draws), *_one_sample(), *_global(key)]


def _second_order(key: Any, draws: int) -> list[Row]:
    """[X5]: what a pair ε(u, v) changes, beside (9) on a simplex."""
    x = data.simplex_means(derive(key, "simplex"), dimension=DIMENSION, components=5, radius=RADIUS)
    problem = Problem(np.asarray(x), 0.08, 0.01)
    weights = theory.memorizing_weights(x, **problem.numbers)
    u, v = draw(key, "pair").standard_normal((2, DIMENSION))
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    before = problem.loss(weights)

    def change(square: float) -> float:
        pair = np.sqrt(square) * np.stack([v, u])[:, :, None]
        return problem.loss(unstack(np.concatenate([stack(weights), pair], axis=2))) - before

    one, two = change(1.0), change(2.0)
    pull = theory.newcomer_pull(x, u, **problem.numbers)
    mean, std = problem.x @ u, problem.noise_std
    seen = (mean**2 + std**2) * norm.cdf(mean / std) + mean * std * norm.pdf(mean / std)
    clean = problem.x[draw(key, "picked").integers(len(x), size=draws)]
    y = clean + problem.noise_std * draw(key, "noise").standard_normal((draws, DIMENSION))
    drawn = (clean - np.asarray(denoise(weights, jnp.asarray(y)))) @ v * np.maximum(y @ u, 0)
    return [
        exact(
            "[X5]",
            "a pair ε(u, v) changes (6) by 2ε²(λ − ⟨g(u), v⟩): coefficient of ε²",
            2 * (problem.weight_decay - np.asarray(pull) @ v),
            (4 * one - two) / 2,
            size=RADIUS**2,
        ),
        exact(
            "[X5]", "and by ε⁴ (1/n) Σ E (uᵀy)₊²: coefficient of ε⁴", np.mean(seen), (two - 2 * one) / 2, size=RADIUS**2
        ),
        sampled("[X5]", "⟨g(u), v⟩ = (1/n) Σ E ⟨x_i − f(y_i), v⟩(uᵀy_i)₊", np.asarray(pull) @ v, drawn),
    ]


def _pull(weight_decay: float, cosine: float, radius: float = RADIUS, noise_std: float = NOISE) -> float:
    """⟨g(u), x/R⟩ beside (9) of one sample, from the gradient of the exact objective at a zero decoder column."""
    x = np.zeros((1, DIMENSION))
    x[0, 0] = radius
    problem = Problem(x, noise_std, weight_decay)
    values = stack(theory.memorizing_weights(x, **problem.numbers, width=2))
    values[1, :2, 1] = cosine, np.sqrt(1 - cosine**2)
    return -problem.gradient(unstack(values))[0, 0, 1] / 2


def _threshold(cosine: float, radius: float = RADIUS, noise_std: float = NOISE) -> float:
    """λ below which a newcomer at a cosine to the sample grows, by root finding on the exact gradient."""
    growth = partial(_growth, cosine=cosine, radius=radius, noise_std=noise_std)
    found: Any = brentq(growth, 1e-3 * noise_std**2, noise_std**2, xtol=1e-15)
    return float(found)


def _growth(weight_decay: float, **options: float) -> float:
    return _pull(weight_decay, **options) - weight_decay


def _largest(function: Callable[[float], float], end: float) -> tuple[float, float]:
    """(largest value, where) of a function with one maximum on [0, end]."""
    found: Any = minimize_scalar(lambda c: -function(c), bounds=(0, end), method="bounded", options={"xatol": 1e-9})
    return -float(found.fun), float(found.x)


def _one_sample() -> list[Row]:
    """Erratum 3 in numbers: where zero columns grow beside one memorized sample. Long since one line a claim."""
    star = float(theory.orthogonal_growth_threshold(RADIUS, NOISE))
    still = theory.growth_force(0.0, RADIUS, noise_std=NOISE, weight_decay=0.0)
    cosines = np.linspace(-1, 1, 21)
    formula = [theory.growth_force(c, RADIUS, noise_std=NOISE, weight_decay=0.01) for c in cosines]
    steepest, _ = _largest(_threshold, NOISE / RADIUS)
    tied, place = _largest(lambda c: c * _pull(0.0, c), 0.9)
    small = NOISE / 10
    kappa = RADIUS * small / (np.sqrt(2 * np.pi) * (RADIUS**2 + small**2))
    return [
        exact(
            "[X5]",
            "‖g‖ = λcΦ(t) + (σ²+λ)κe^(−t²/2) beside one sample, worst of 21 cosines",
            formula,
            [_pull(0.01, c) for c in cosines],
            size=RADIUS,
        ),
        within(
            "[X5]",
            "zero columns beside (9) at λ = 0 are a saddle: coefficient of ε²; printed: ≥ 0",
            -2 * float(still),
            -2 * _pull(0.0, 0.0),
            ACCURACY * RADIUS,
            printed=0.0,
            erratum=3,
        ),
        exact("[X5]", "an orthogonal newcomer grows iff λ < λ* = κσ²/(1−κ)", star, _threshold(0.0), erratum=3),
        exact(
            "[X5]",
            "threshold over all directions away from the sample",
            theory.growth_threshold(RADIUS, NOISE),
            steepest,
            erratum=3,
        ),
        bounded(
            "[X5]",
            "the steepest newcomer leans towards the sample: threshold over λ*",
            steepest / star,
            "≥",
            1,
            erratum=3,
        ),
        exact(
            "[X5]",
            "tied newcomer at λ = 0: best gain 0.242 σ⁴/(R²+σ²)",
            theory.tied_growth_gain(RADIUS, NOISE),
            tied,
            erratum=3,
        ),
        within(
            "[X5]",
            "reached at the cosine σ/R (the place of a maximum is as sharp as √accuracy)",
            NOISE / RADIUS,
            place,
            float(np.sqrt(ACCURACY)),
            erratum=3,
        ),
        exact(
            "[X5]",
            "polynomial in σ, not exponential: λ*/σ² at σ/10",
            kappa / (1 - kappa),
            _threshold(0.0, noise_std=small) / small**2,
            size=1 / small**2,
            erratum=3,
        ),
    ]


def _global(key: Any) -> list[Row]:
    """The loss is convex in the measure Σ_j w2_j ⊗ δ(w1_j), and max ‖g‖ ≤ λ certifies (9) above the threshold."""
    x = draw(key, "data").standard_normal((20, DIMENSION))
    problem = Problem(x, 0.5, 0.05)
    gaps = []
    for pair in draw(key, "nets").standard_normal((100, 2, 2, DIMENSION, 3)) / 2:
        mixed = np.concatenate([pair[0], pair[1]], axis=2) / np.sqrt(2)
        halves = [problem.loss(unstack(net)) for net in pair]
        gaps.append(np.mean(halves) - problem.loss(unstack(mixed)))
    decay = 1.1 * float(theory.growth_threshold(RADIUS, NOISE))
    cosines = np.cos(np.linspace(0, np.pi, 361))
    growth = [abs(_pull(decay, c)) / decay for c in cosines]
    return [
        bounded(
            "[X5]",
            "convex in the measure: (L(A) + L(B))/2 − L(A/2 + B/2), least of 100 pairs of nets",
            min(gaps),
            "≥",
            0,
            erratum=3,
        ),
        exact(
            "[X5]",
            "global optimum: max_u ‖g(u)‖/λ at 1.1 times the threshold is 1, the sample's own neuron",
            1,
            max(growth),
            size=1 / decay,
            erratum=3,
        ),
    ]
