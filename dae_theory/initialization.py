"""Weights before training: independent normal columns, the same for a neuron whatever the width."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Key

from dae_theory.model import Weights
from dae_theory.randomness import derive

__all__ = ["initial_weights"]


def initial_weights(
    key: Key[Array, ""], dimension: int, width: int, *, scale: ArrayLike, tied: bool, neurons: ArrayLike, dtype: Any
) -> Weights:
    """Columns with independent N(0, scale²/d) entries; columns from `neurons` on are zero.

    A zero column pair has zero gradient, so it stays zero: this is how narrower nets share a program.
    Neuron j's draw does not depend on the width.
    """
    live = (jnp.arange(width) < neurons).astype(dtype)

    def columns(purpose: str) -> Array:
        rows = jax.random.normal(derive(key, purpose), (width, dimension), dtype)
        return (rows * live[:, None]).T * (jnp.asarray(scale, dtype) / dimension**0.5)

    encoder = columns("encoder")
    return Weights(decoder=encoder if tied else columns("decoder"), encoder=encoder)
