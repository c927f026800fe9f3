"""What the ends of chains are near to: shares by d₁/d₂, and lengths along the nearest sample."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dae_theory import memorization
from dae_theory.directions import unit


def ratios(points: Array, training: Array) -> np.ndarray:
    """d₁/d₂ of every point, (m,)."""
    return np.asarray(memorization.nearest_distances(points, training).ratio)


def below(ratio: np.ndarray, share: Any) -> np.ndarray:
    """Share of points with d₁/d₂ < u, for every u."""
    return np.asarray(np.mean(ratio.reshape(-1, *(1,) * np.ndim(share)) < share, axis=0))


def lengths(points: Array, training: Array) -> Array:
    """⟨x, x_i⟩/‖x_i‖², x_i being the sample at the smallest angle."""
    nearest = training[jnp.argmax(unit(points) @ unit(training).T, axis=1)]
    return jnp.sum(points * nearest, axis=1) / jnp.sum(nearest**2, axis=1)


def density(values: Any, edges: np.ndarray) -> np.ndarray:
    """Histogram with area 1, less what lies outside the edges."""
    return np.histogram(np.asarray(values), edges)[0] / len(values) / np.diff(edges)
