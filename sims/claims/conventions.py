"""Claims of comparing weights and of units: symmetries [X8], splits (erratum 5), conventions [X11]."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dae_theory import data, noise, theory
from dae_theory.compare import Row
from dae_theory.model import Weights, denoise
from dae_theory.randomness import derive
from dae_theory.symmetry import balance, match, merge_parallel
from sims.claims.claim import (
    ACCURACY,
    DIMENSION,
    WIDTH,
    Problem,
    draw,
    exact,
    stack,
    unstack,
    within,
)

SAMPLES, RADIUS = 5, 3.0


def claims(config: Any, root: jax.Array) -> list[Row]:
    """All rows of this file."""
    key = derive(root, "scores")
    return [*_symmetries(key), *_conventions(key)]


def _symmetries(key: Any) -> list[Row]:
    """[X8] and erratum 5: what leaves f and (6) unchanged."""
    weights = unstack(draw(key, "net").standard_normal((2, DIMENSION, SAMPLES)) / 2)
    y = jnp.asarray(draw(key, "inputs").standard_normal((50, DIMENSION)))
    values, order = stack(weights), np.asarray([3, 0, 4, 1, 2])
    scaled = values * np.asarray([1 / 3, 3])[:, None, None]

    def split(values: np.ndarray) -> np.ndarray:
        """Neuron 0 as two parallel ones, with squares 0.36 and 0.64 of its own."""
        return np.concatenate([0.6 * values[:, :, :1], values[:, :, 1:], 0.8 * values[:, :, :1]], axis=2)

    x = data.simplex_means(derive(key, "simplex"), dimension=DIMENSION, components=SAMPLES, radius=RADIUS)
    problem = Problem(np.asarray(x), 0.05, 0.01)
    reference = theory.memorizing_weights(x, **problem.numbers)
    several = unstack(split(stack(reference)))
    same = abs(problem.loss(several) - problem.loss(reference)) <= ACCURACY and problem.steepness(several) <= ACCURACY
    live = np.sum(np.linalg.norm(several.encoder, axis=0) > 0) if same else np.nan

    gradient = problem.gradient(weights)
    pairing = np.sum(gradient * values, axis=1)
    lengths = np.sum(values**2, axis=1)
    out = denoise(weights, y)
    return [
        exact("[X8]", "permuting neurons leaves f unchanged", out, denoise(unstack(values[:, :, order]), y)),
        exact("[X8]", "(w1, w2) → (c w1, w2/c) leaves f unchanged", out, denoise(unstack(scaled), y)),
        exact("[X8]", "balancing leaves f unchanged", out, denoise(balance(weights), y)),
        exact(
            "[X8]",
            "⟨w1, ∂L/∂w1⟩ − ⟨w2, ∂L/∂w2⟩ = 2λ(‖w1‖² − ‖w2‖²): stationary points are balanced",
            2 * problem.weight_decay * (lengths[1] - lengths[0]),
            pairing[1] - pairing[0],
            size=RADIUS**2,
        ),
        exact(
            "Cor. 3.2",
            "parallel neurons c_kŵ act as one of length √Σc²",
            out,
            denoise(unstack(split(values)), y),
            erratum=5,
        ),
        within(
            "Cor. 3.2",
            "columns of a stationary point with the objective of (9); printed: n and zeros",
            WIDTH,
            float(live),
            0.0,
            printed=SAMPLES,
            erratum=5,
        ),
        exact(
            "Cor. 3.2",
            "distance to (9) after merging and matching",
            0,
            match(merge_parallel(several).weights, reference).distance,
            erratum=5,
        ),
    ]


def _conventions(key: Any) -> list[Row]:
    """[X11]: λ against an optimizer's decay, σ against a timestep."""
    dimension, coupled = 7, 1e-2
    x = jnp.asarray(draw(key, "batch").standard_normal((20, dimension)))
    y = noise.corrupt(derive(key, "corrupt"), x, 0.3)
    weights = unstack(draw(key, "small").standard_normal((2, dimension, 4)))
    decay = noise.weight_decay_from_optimizer(coupled, dimension)

    def mean_square(weights: Weights) -> jax.Array:
        return jnp.mean((denoise(weights, y) - x) ** 2)

    def objective(weights: Weights) -> jax.Array:
        penalty = jnp.sum(weights.encoder**2) + jnp.sum(weights.decoder**2)
        return jnp.mean(jnp.sum((denoise(weights, y) - x) ** 2, axis=1)) + decay * penalty

    optimizer = stack(jax.grad(mean_square)(weights)) + coupled * stack(weights)
    bars = jnp.asarray([0.99, 0.5, 0.01])
    signal, spread = jnp.sqrt(bars), jnp.sqrt(1 - bars)
    return [
        exact(
            "[X11]",
            "λ = weight_decay·d/2: gradient an optimizer's coupled L2 follows, times d",
            stack(jax.grad(objective)(weights)),
            dimension * optimizer,
        ),
        exact(
            "[X11]",
            "d = 1024: weight decay 1e-2 and 1e-4 are λ = 5.12 and 0.0512",
            [5.12, 0.0512],
            [noise.weight_decay_from_optimizer(value, 1024) for value in (1e-2, 1e-4)],
        ),
        exact(
            "[X11]",
            "σ_t = √((1−ᾱ)/ᾱ): noise over signal of y = √ᾱ x + √(1−ᾱ) ε",
            spread / signal,
            noise.std_from_alpha_bar(bars),
        ),
    ]
