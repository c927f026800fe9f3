"""What a step of training sees: which samples, and what noise."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from dae_theory import randomness
from dae_theory.noise import standard_normal


def rows(
    key: Key[Array, ""], count: int, samples: Array, batch_size: int | None, dtype: Any
) -> tuple[Int[Array, " rows"], Float[Array, " rows"]]:
    """Which of `count` rows a step sees, the first `samples` of them live, and the weight of each in the mean.

    Without a batch size all of them, once. Else as many slots: with fewer samples than slots each sample fills
    ⌊batch_size/samples⌋ of them and the rest weigh nothing; with more, slots pick samples with replacement.
    """
    position = jnp.arange(count)
    if batch_size is None:
        return position, jnp.where(position < samples, 1.0, 0.0).astype(dtype) / jnp.asarray(samples, dtype)
    slot = jnp.arange(batch_size)
    copies = batch_size // samples
    few = slot < copies * samples
    picked = jax.random.randint(key, (batch_size,), 0, samples)
    index = jnp.where(copies > 0, slot % samples, picked)
    counted = jnp.where(copies > 0, copies * samples, batch_size)
    return index, jnp.where((copies == 0) | few, 1.0, 0.0).astype(dtype) / jnp.asarray(counted, dtype)


def draw_of(step: Array, *, antithetic: bool) -> Array:
    """The number of the draw that a step uses: its own, or that of its pair of steps."""
    return step // 2 if antithetic else step


def noise(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any, *, hashed: bool) -> Array:
    """ε ~ N(0, I) for one step, by the key's own bits or by `randomness.HASHED`."""
    return standard_normal(randomness.hashed(key) if hashed else key, shape, dtype)
