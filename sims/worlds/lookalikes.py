"""Samples that are not memorized but stand out: of a mixture, and of images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory.randomness import derive


def extremes(difficulty: np.ndarray, norms: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of the easiest samples, of those of the largest norm among the rest, and of `each` ordinary ones.

    Ordinary are those in the middle of the order by norm once both ends are gone.
    """
    easy = np.argsort(difficulty, kind="stable")[:each]
    rest = np.setdiff1d(np.arange(len(norms)), easy)
    rest = rest[np.argsort(norms[rest], kind="stable")]
    large, rest = rest[-each:], rest[:-each]
    start = (len(rest) - each) // 2
    return easy, large, rest[start : start + each]


def near_vectors(key: Array, x: np.ndarray, share: float) -> np.ndarray:
    """x + share ‖x‖ u, u a random direction."""
    direction = jax.random.normal(derive(key, "near"), x.shape, jnp.asarray(x).dtype)
    unit = np.asarray(direction / jnp.linalg.norm(direction, axis=1, keepdims=True))
    return x + share * np.linalg.norm(x, axis=1, keepdims=True) * unit


def near_images(x: np.ndarray, mean: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Centred images moved by one pixel to the right; the edge column is repeated."""
    pixels = (x + mean.reshape(1, -1)).reshape(-1, *shape)
    moved = np.concatenate([pixels[:, :, :1], pixels[:, :, :-1]], axis=2)
    return moved.reshape(len(x), -1) - mean.reshape(1, -1)


def joined(parts: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Samples of all kinds in their order, and the kind of each."""
    x = np.concatenate([np.asarray(part, np.float32) for part in parts])
    return x, np.repeat(np.arange(len(parts)), [len(part) for part in parts])
